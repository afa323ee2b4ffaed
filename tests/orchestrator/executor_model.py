"""What `deployments/orchestrator/executor.py` does to what it sees and to the world, and no more.

Each method bears the name of the executor's that it stands for. A `yield` is how long something
takes: there the others act, and there the task may be killed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

from deployments.orchestrator.life import (
    LEFT,
    LOOK,
    WAIT,
    Do,
    End,
    History,
    Phase,
    Program,
    Seen,
    SetWakeUp,
    SetWatchdog,
    Step,
    Unbegun,
    Wait,
    Work,
    missed,
)
from tests.orchestrator.world import (
    GRACE,
    LEAD,
    Database,
    Journal,
    Outside,
    Process,
    Replaced,
    Run,
    Task,
    World,
    seconds,
)

Decide = Callable[[Seen], tuple[Step, ...]]
TIMES = 2  # `again.TIMES`


@dataclass(frozen=True)
class Care:
    """What the executor takes care of. Without any of it the model finds what goes wrong."""

    looks_after_sleep: bool = True  # `missed`, once the service is at 0
    looks_while_leaving: bool = True  # at Prefect, or at the database once the server is stopped
    holds_on: bool = True  # a life that goes on after it failed to sleep is the journal's again


class Executor(Process):
    def __init__(self, world: World, task: Task, decide: Decide, care: Care) -> None:
        self._world, self._task, self._decide, self._care = world, task, decide, care
        self._own = Database()
        self.life = 0
        self.ours = self.litestream = self.server = self.worker = self.waits = False
        self.healthy = self.begun = self.planned = self.synced = world.now
        self.taking = None
        self.uncovered = None
        self._version = 0
        self.doing = Do.STAY
        self.at_zero = False
        self._stopping: tuple[int, ...] = ()
        self._unsettled: tuple[int, ...] = ()
        self._worker_ended = False
        self._looked_for_newer = self._looked_for_requests = world.now - timedelta(days=1)
        self._waiting = False
        self.seen = Seen(world.now, world.mode, LEAD, GRACE)
        self.acts = self.live()

    @property
    def database(self) -> Database:  # type: ignore[override]
        return self._world.external if self._world.mode == "external" else self._own

    def live(self) -> Iterator[timedelta]:
        while True:
            try:
                yield from self._look()
                for step in self._decide(self.seen):
                    if isinstance(step, End):
                        return
                    yield from self._carry_out(step)
                    if step is Do.SLEEP:
                        return
            except Replaced:
                self.seen = replace(self.seen, replaced=True)
            except Outside:
                self.waits = True
                yield seconds(5)

    # --- killed alone, by the rules of the model ---

    def end_worker(self) -> None:
        self.worker, self.taking, self._worker_ended = False, None, True

    def end_server(self) -> None:
        self.server = False

    def end_litestream(self) -> None:
        self.litestream = False

    # --- look ---

    def _look(self) -> Iterator[timedelta]:
        world = self._world
        if self._worker_ended:
            self.seen, self._worker_ended = replace(self.seen, straight=False), False
        told = self._task.told
        self.seen = seen = replace(
            self.seen,
            now=world.now,
            told_to_end=told,
            litestream=_state(self.litestream),
            server=self._server_state(),
            worker=_state(self.worker),
        )
        if told:
            return
        if not seen.holder:
            self._look_for_predecessor()
        elif seen.history is History.HERE and not seen.replicated:
            self._s3()
            self.seen = replace(self.seen, replicated=self.life in world.replicas)
        elif seen.phase is Phase.LEAVE:
            self._look_while_leaving()
        elif self.seen.straight and self.seen.reconciled:
            self._look_at_work()
        yield seconds(0.2)

    def _server_state(self) -> Program:
        if not self.server:
            return Program.ABSENT
        answers = self._world.answers(self)
        return Program.RUNNING if answers else Program.STARTING

    def _look_for_predecessor(self) -> None:
        holder = self._read_journal().holder
        alive = [task.number for task in self._world.alive()]
        other = holder and holder != self._task.number and holder in alive
        self.seen = replace(self.seen, predecessor=str(holder) if other else "")

    def _look_at_work(self) -> None:
        if not self._world.answers(self):
            self.seen = replace(self.seen, work=None)
            return
        self._s3()
        if not self.worker or self.seen.now - self._looked_for_requests >= seconds(15):
            self._looked_for_requests = self.seen.now
            self._waiting = bool(self._world.requests)
        work = replace(self._asked(), requests=self._waiting)
        self.seen = replace(self.seen, work=work, newer=self._newer())
        if self.seen.watchdog is None:
            self._look_at_watchdog()

    def _look_at_watchdog(self) -> None:
        """Whom it names is not read."""
        left = self._world.watchdog
        if left and left.at and self.seen.now < left.at + LEFT:
            self.seen = replace(self.seen, watchdog=SetWatchdog(left.at))

    def _asked(self) -> Work:
        runs = self.database.runs
        unbegun = {n: run for n, run in runs.items() if run.state in ("SCHEDULED", "PENDING")}
        return Work(
            busy=tuple(map(str, self.database.busy())),
            next=self.database.next(),
            unsettled=tuple(map(str, (*self._unsettled, *self._stopping))),
            unbegun=tuple(Unbegun("", str(n), run.expected) for n, run in unbegun.items()),
        )

    def _look_while_leaving(self) -> None:
        self._s3()
        work = self.seen.work or Work()
        if self._care.looks_while_leaving:
            work = self._asked()
        work = replace(work, requests=bool(self._world.requests))
        self.seen = replace(self.seen, work=work, newer=self._newer())

    def _newer(self) -> bool:
        world = self._world
        if self.seen.newer or self.seen.now - self._looked_for_newer < seconds(30):
            return self.seen.newer
        self._looked_for_newer = self.seen.now
        return world.live != self._task.image

    # --- carry out ---

    def _carry_out(self, step: Step) -> Iterator[timedelta]:
        match step:
            case Wait(pause):
                self.waits = True
                # Nothing is seen sooner than something happens.
                if pause < LOOK:
                    yield seconds(2 if pause < WAIT else 10)  # rather than looking as often
                    return
                soon = self._world.next_event() - self._world.now
                yield max(pause, min(soon, timedelta(minutes=2)))
            case SetWakeUp(at):
                self._world.wake_up = at if at > self._world.now else None  # one past never comes
                self.seen = replace(self.seen, wake_up=at)
                yield seconds(0.3)
                self._change()
            case SetWatchdog():
                self._world.set_watchdog(step)
                self.seen = replace(self.seen, watchdog=step)
                yield seconds(0.3)
            case Do():
                yield from self._do(step)

    def _do(self, step: Do) -> Iterator[timedelta]:
        self.doing = step
        match step:
            case Do.TAKE_OVER:
                self._take_over()
            case Do.RESTORE:
                self._restore()
            case Do.START_LITESTREAM:
                self.litestream, self.synced = True, self._world.now
            case Do.START_SERVER:
                self.server, self.healthy = True, self._world.now + seconds(8)
                self.planned = self.healthy + seconds(10)
            case Do.START_WORKER:
                self.worker, self.begun = True, self._world.now
                self.seen = replace(self.seen, asked_again=False)
                if self.seen.phase is not Phase.WORK:
                    self._phase(Phase.WORK)
            case Do.ADOPT:
                self._change(life=self.life)
                self.seen, self.ours = replace(self.seen, history=History.OURS), True
                self._world.last = (self._task, None)
            case Do.SET_STRAIGHT:
                yield from self._set_straight()
            case Do.RECONCILE:
                self._connected()
                yield seconds(1)
                self._reconcile()
                self.seen = replace(self.seen, reconciled=True)
            case Do.ATTEND:
                yield from self._attend()
            case Do.STOP_WORKER:
                self.worker, self.taking = False, None
                self.seen = replace(self.seen, attended=False)
            case Do.STOP_SERVER:
                yield self._world.stopping
                self.server = False
            case Do.STOP_LITESTREAM:
                if self.litestream and not self._world.s3_away and not self._world.last_sync_fails:
                    self._world.sync(self._task)
                self._world.last_sync_fails = False
                self.litestream = False
            case Do.ASK_AGAIN:
                self._connected()
                self._world.plan(self)
                yield seconds(0.5)
                self.seen = replace(self.seen, wake_up=self._world.wake_up, asked_again=True)
            case Do.LEAVE:
                self._phase(Phase.LEAVE)
            case Do.STAY:
                self._phase(Phase.WORK)
                self.seen = replace(self.seen, asked_again=False, verified=False)
            case Do.VERIFY:
                self._s3()
                yield seconds(1)
                replica = self._world.replicas.get(self.life)
                if replica and replica.commits == self.database.commits:
                    self.seen = replace(self.seen, verified=True)
            case Do.SLEEP:
                yield from self._sleep()
        yield seconds(0.3)

    def _phase(self, phase: Phase) -> None:
        self.seen = replace(self.seen, phase=phase)
        self._change(holder=self._task.number) if self._care.holds_on else self._change()

    def _take_over(self) -> None:
        journal = self._world.journal
        self.life = max((*self._world.replicas, journal.life), default=0) + 1
        self._change(holder=self._task.number)
        self.seen = replace(self.seen, holder=True)

    def _restore(self) -> None:
        self._s3()
        world = self._world
        life = world.journal.life
        there = [n for n in world.replicas if not life or n <= life]
        self._own = world.replicas[max(there)].copy() if there else Database()
        self.seen = replace(self.seen, history=History.HERE)
        self._compare()

    def _compare(self) -> None:
        """The history goes back by one sync at most, and by what could not be written to S3."""
        if not self._world.last:
            return
        task, end = self._world.last
        former = self._world.ends.get(task.number)
        if former is None or end is None:
            return
        lost = set(former.database.commits) - set(self.database.commits)
        covered = min(end, former.uncovered or end) - seconds(1.5)
        assert all(at >= covered for at, _ in lost), f"history is lost: {sorted(lost)}"

    def _set_straight(self) -> Iterator[timedelta]:
        self._connected()
        world, runs = self._world, self.database.runs
        stopping = []
        for number in self.database.busy():
            run = runs[number]
            own = [job for job in world.jobs.values() if job.run == number]
            alive = [job for job in own if job.state != "STOPPED"]
            if alive:
                for job in alive:
                    if world.mode != "external" and job.api != self._task.number:
                        stopping.append(number)
                        if not job.stopped:
                            job.stopped, job.event = True, world.now + seconds(20)
            elif run.state == "PENDING" and not own:
                world.commit(self, {number: replace(run, state="SCHEDULED", due=world.now)})
            else:
                crashed = replace(run, state="CRASHED", settled=False)
                world.commit(self, {number: crashed})
        self._stopping = tuple(stopping)
        yield seconds(0.5)
        if not self.seen.straight:
            self._connected()
            self._catch_up()
        self.seen = replace(self.seen, straight=True, attended=False)

    def _catch_up(self) -> None:
        world, database = self._world, self.database
        for name, every in database.schedules.items():
            own = {n: run for n, run in database.runs.items() if run.schedule == name}
            since = max((*(run.time for run in own.values()), database.changed[name]))
            missed_at = every.newest(world.now)
            if since < missed_at:
                made = {world.number(): Run(missed_at, name, time=missed_at)}
                own |= made
                world.commit(self, made)
            overdue = {
                n: run
                for n, run in own.items()
                if run.state == "SCHEDULED" and run.due <= world.now
            }
            newest = max((run.time for run in overdue.values()), default=None)
            for n, run in overdue.items():
                if run.time != newest:
                    world.commit(self, {n: replace(run, state="SKIPPED")})

    def _reconcile(self) -> None:
        world, database = self._world, self.database
        wanted = world.images[self._task.image]
        if database.image == self._task.image and database.schedules == wanted:
            return
        for name in {*database.schedules, *wanted}:
            if database.schedules.get(name) != wanted.get(name):
                for n, run in tuple(database.runs.items()):
                    if run.schedule == name and run.state == "SCHEDULED" and run.due > world.now:
                        del database.runs[n]
                database.changed[name] = world.now
        database.image, database.schedules = self._task.image, dict(wanted)
        world.commit(self)
        world.plan(self)

    def _attend(self) -> Iterator[timedelta]:
        if self._stopping:
            yield from self._set_straight()
        self._connected()
        world = self._world
        unsettled = []
        for number, run in tuple(self.database.runs.items()):
            if run.settled:
                continue
            own = [job for job in world.jobs.values() if job.run == number]
            if any(job.state != "STOPPED" for job in own):
                unsettled.append(number)
                continue
            if own and own[-1].stopped and run.again < TIMES:  # it was the infrastructure's fault
                made = Run(run.due, state="SCHEDULED", again=run.again + 1)
                world.commit(self, {world.number(): made})
            world.commit(self, {number: replace(run, settled=True)})
        self._unsettled = tuple(unsettled)
        self._waiting = False
        self._s3()
        for request in tuple(world.requests):
            if request not in self.database.runs:  # the idempotency key is the request's
                world.commit(self, {request: Run(world.now)})
            yield seconds(0.2)
            self._s3()
            world.requests.pop(request, None)
        self.seen = replace(self.seen, attended=True)

    def _sleep(self) -> Iterator[timedelta]:
        self._change(holder=0)
        yield seconds(0.3)
        if self._world.s3_away:  # stands for ECS here
            raise Outside
        self.at_zero = self._care.looks_after_sleep
        self._world.desired = 0
        self._world.slept = self.database
        self._world.service()
        if not self._care.looks_after_sleep:
            return
        yield seconds(0.3)
        self._looked_for_newer = self._world.now - timedelta(days=1)
        requests = bool(self._world.requests)
        work = replace(self.seen.work or Work(), requests=requests)
        self.seen = replace(self.seen, now=self._world.now, work=work)
        self.seen = replace(self.seen, newer=self._newer())
        if missed(self.seen):
            self._world.wake()
        self.at_zero = False

    # --- S3, and Prefect ---

    def _s3(self) -> None:
        if self._world.s3_away:
            raise Outside

    def _connected(self) -> None:
        if not self._world.answers(self):
            raise Outside

    def _read_journal(self) -> Journal:
        self._s3()
        self._version = self._world.journal.version
        return self._world.journal

    def _change(self, **changes: int) -> None:
        self._s3()
        journal = self._world.journal
        if journal.version != self._version:
            raise Replaced
        for name, value in changes.items():
            setattr(journal, name, value)
        journal.version += 1
        self._version = journal.version


def _state(runs: bool) -> Program:
    return Program.RUNNING if runs else Program.ABSENT
