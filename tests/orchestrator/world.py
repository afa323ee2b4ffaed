"""What is around the orchestrator, as small as its decisions allow: ECS, EventBridge, S3, Prefect.

Time passes from event to event. Whatever takes time in the real executor is a point here at which
the others act, and at which the task may be killed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from deployments.orchestrator.life import Mode, SetWatchdog

START = datetime(2026, 11, 26, 12, tzinfo=UTC)
LEAD = timedelta(minutes=3)
GRACE = timedelta(minutes=10)
SYNC = timedelta(seconds=1)
AHEAD = 3  # runs that Prefect makes of each schedule
FOREVER = datetime.max.replace(tzinfo=UTC)
BY_HAND = -1  # a deployment: the task is not the service's
BUSY = ("PENDING", "RUNNING")


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


class Outside(Exception):
    """What is around us does not answer."""


class Replaced(Exception):
    """The journal is another's."""


# --- Prefect's database --------------------------------------------------------------------------


@dataclass(frozen=True)
class Every:
    """A schedule: its times are whole periods after the beginning, and an offset."""

    minutes: int
    offset: int = 0  # minutes

    def next(self, after: datetime) -> datetime:
        first = START + timedelta(minutes=self.offset)
        return first + ((after - first) // self.period + 1) * self.period

    def newest(self, until: datetime) -> datetime:
        return self.next(until) - self.period

    @property
    def period(self) -> timedelta:
        return timedelta(minutes=self.minutes)


Image = dict[str, Every]  # what its prefect.yaml declares


@dataclass(frozen=True)
class Run:
    due: datetime
    schedule: str = ""  # '' of one that somebody has added
    state: str = "SCHEDULED"
    task: int | None = None  # its ECS task, as the worker wrote it down
    again: int = 0  # which time again
    settled: bool = True  # False: crashed, and it is open whether it runs again
    time: datetime = START  # the schedule's own: `due` moves when it has to wait
    made: datetime = START

    @property
    def expected(self) -> datetime:
        return max(self.due, self.made)


@dataclass
class Database:
    image: int = -1  # it was last reconciled with
    schedules: dict[str, Every] = field(default_factory=dict)
    changed: dict[str, datetime] = field(default_factory=dict)  # schedules: since when
    runs: dict[int, Run] = field(default_factory=dict)
    commits: tuple[tuple[datetime, int], ...] = ()  # when, and a number of its own

    def copy(self) -> Database:
        return Database(
            self.image, dict(self.schedules), dict(self.changed), dict(self.runs), self.commits
        )

    def busy(self) -> list[int]:
        return [number for number, run in self.runs.items() if run.state in BUSY]

    def next(self) -> datetime | None:
        due = [run.due for run in self.runs.values() if run.state == "SCHEDULED"]
        return min(due, default=None)


# --- AWS -----------------------------------------------------------------------------------------


@dataclass
class Journal:
    holder: int = 0  # the number of an ECS task; 0 when asleep
    life: int = 0
    version: int = 0  # stands for the ETag


@dataclass
class Job:
    """An ECS task that a worker has started for a run."""

    number: int
    run: int
    api: int  # the orchestrator's ECS task that it speaks to
    event: datetime  # of what it does next
    takes: timedelta
    well: bool
    state: str = "PROVISIONING"
    stopped: bool = False  # by somebody, not by itself
    tries: int = 0


@dataclass
class Task:
    """An ECS task of the orchestrator's service."""

    number: int
    image: int
    deployment: int
    event: datetime
    status: str = "PROVISIONING"
    told: bool = False
    process: Process | None = None


class Process:
    """What `World` knows of an orchestrator's process; `Executor` is one."""

    acts: Iterator[timedelta]
    database: Database
    life: int
    ours: bool  # the journal names its life
    litestream: bool
    server: bool
    worker: bool
    healthy: datetime  # when its server answers
    begun: datetime  # when its worker did
    taking: int | None  # the run that the worker has taken and not started yet
    waits: bool  # a change may cut its waiting short
    synced: datetime
    uncovered: datetime | None  # since when nothing is synced
    planned: datetime  # when the server makes runs next


class World:
    def __init__(self, mode: Mode, make: Callable[[World, Task], Process]) -> None:
        self.mode, self.make = mode, make
        self.now = START
        self.images: list[Image] = [{}]
        self.deployment = 0
        self.desired = 0
        self.tasks: list[Task] = []
        self.jobs: dict[int, Job] = {}
        self.journal = Journal()
        self.replicas: dict[int, Database] = {}
        self.external = Database()  # of the server that is somebody else's
        self.unheard: list[Job] = []  # their ends are in the queue
        self.requests: dict[int, datetime] = {}  # and when the client asks for a wake-up again
        self.wake_up: datetime | None = None
        self.watchdog: SetWatchdog | None = None
        self.tells = False  # the watchdog has not told yet
        self.overdue: list[SetWatchdog] = []  # of what people were told
        self.late = timedelta()  # how late EventBridge is with a wake-up
        self.tells_late = timedelta()  # and with telling people
        self.s3_away_until = START
        self.provisioning = seconds(20)
        self.stopping = seconds(1)  # the server
        self.numbers = 0
        self.started: Counter[int] = Counter()  # runs whose flows began
        self.unkept: set[int] = set()  # of these, runs of which S3 could not be told
        self.asked: list[datetime] = []  # when runs were asked for
        self.last: tuple[Task, datetime | None] | None = None  # whose history counts; its end
        self.ends: dict[int, Process] = {}  # as the processes were at their ends
        self.asleep_since: datetime | None = START
        self.slept: Database | None = None  # as the last one that went to sleep had it
        self.last_sync_fails = False  # and Litestream says nothing of it
        self.sleeps = 0

    # --- what others do ---

    def truth(self) -> Database | None:
        """The history that the next orchestrator would have; None before there is one."""
        return self.external if self.mode == "external" else self.replicas.get(self.journal.life)

    def number(self) -> int:
        self.numbers += 1
        return self.numbers

    @property
    def live(self) -> int:
        return len(self.images) - 1

    @property
    def s3_away(self) -> bool:
        return self.now < self.s3_away_until

    def alive(self) -> list[Task]:
        return [task for task in self.tasks if task.process]

    def wake(self) -> None:
        self.desired = 1
        self.service()

    def nudge(self) -> None:
        """Who waits looks again soon, as after each `LOOK`."""
        for task in self.alive():
            assert task.process
            if task.process.waits:
                task.event = min(task.event, self.now + seconds(3))

    def kill(self, task: Task) -> None:
        """-9, or the end of a stopTimeout: the process and all its children."""
        process = task.process
        assert process
        task.process, task.status, task.event = None, "STOPPED", FOREVER
        if self.last and self.last[0] is task:
            self.last = (task, self.now)
        self.ends[task.number] = process
        if task.deployment == BY_HAND:
            self.desired = 1  # no service starts it again: whoever started it has to
        self.service()

    def tell_to_end(self, task: Task) -> None:
        if task.process is None:
            task.status, task.event = "STOPPED", FOREVER
        elif not task.told:
            task.told, task.status = True, "STOPPING"
            if task.process.waits:
                task.event = self.now

    def start(self, deployment: int) -> None:
        event = self.now + self.provisioning
        self.tasks.append(Task(self.number(), self.live, deployment, event))

    def service(self) -> None:
        """Its scheduler, with 0 % and 100 %: one that stops does not count, and its successor is
        started beside it (`infra/local/fargate/services.py`).
        """
        live = [
            task
            for task in self.tasks
            if task.status in ("PROVISIONING", "RUNNING") and task.deployment != BY_HAND
        ]
        for task in live:
            if self.desired == 0 or task.deployment != self.deployment:
                self.tell_to_end(task)
        live = [task for task in live if task.status in ("PROVISIONING", "RUNNING")]
        if self.desired and not live:
            self.start(self.deployment)
        self.tasks = [task for task in self.tasks if task.status != "STOPPED"]
        if self.desired or self.alive():
            self.asleep_since = None
        elif self.asleep_since is None:
            self.asleep_since, self.sleeps = self.now, self.sleeps + 1

    # --- Prefect ---

    def commit(self, process: Process, runs: dict[int, Run] | None = None) -> None:
        """Something is written to the database of a process."""
        if runs:
            there = process.database.runs
            new = {n: replace(run, made=self.now) for n, run in runs.items() if n not in there}
            there.update(runs | new)
        process.database.commits += ((self.now, self.number()),)

    def plan(self, process: Process) -> None:
        """The server makes each schedule's next runs, those that are not there."""
        database = process.database
        there = {(run.schedule, run.time) for run in database.runs.values()}
        made = {}
        for name, every in database.schedules.items():
            at = self.now
            for _ in range(AHEAD):
                at = every.next(at)
                if (name, at) not in there:
                    made[self.number()] = Run(at, name, time=at)
        if made:
            self.commit(process, made)
        process.planned = self.now + timedelta(minutes=5)

    def answers(self, process: Process) -> bool:
        return self.mode == "external" or (process.server and process.healthy <= self.now)

    def at(self, address: int) -> Process | None:
        """The orchestrator whose Prefect answers there."""
        for task in self.alive():
            assert task.process
            if self.mode == "external" or task.number == address:
                return task.process if self.answers(task.process) else None
        return None

    # --- time ---

    def run(self, until: datetime, most: int) -> int:
        """Events in their order, up to a time or a number of them; how many."""
        for count in range(most):
            at, happens = min(self._events(), key=lambda event: event[0])
            if at > until:
                self._pass(until)
                return count
            self._pass(max(at, self.now))
            happens()
        return most

    def _pass(self, to: datetime) -> None:
        self.now = to
        for task in self.alive():
            process = task.process
            assert process
            if not (process.litestream and not self.s3_away):
                if process.uncovered is None:
                    process.uncovered = process.synced
            elif to - process.synced >= SYNC:
                self.sync(task)

    def sync(self, task: Task) -> None:
        process = task.process
        assert process
        self.replicas[process.life] = process.database.copy()
        process.synced, process.uncovered = self.now, None
        if process.life == self.journal.life:
            assert self.journal.holder == task.number, "one that was replaced writes (I2)"

    def next_event(self) -> datetime:
        """Of those that a waiting orchestrator would see something of."""
        return min(at for at, _ in self._events(False))

    def _events(self, orchestrators: bool = True) -> Iterator[tuple[datetime, Callable[[], None]]]:
        if self.wake_up:
            yield self.wake_up + self.late, self._woken
        if self.watchdog and self.watchdog.at and self.tells:
            yield self.watchdog.at + self.tells_late, self._overdue
        if self.s3_away:
            yield self.s3_away_until, self.nudge
        for request, at in self.requests.items():
            yield at, lambda request=request: self._ask_for(request)  # type: ignore[misc]
        for job in self.jobs.values():
            if job.state != "STOPPED":
                yield job.event, lambda job=job: self._goes_on(job)  # type: ignore[misc]
        for soon in (self.now,) if self.unheard else ():
            for process in (task.process for task in self.alive()):
                if process and process.worker and self.answers(process):
                    yield soon, lambda process=process: self._hears(process)  # type: ignore[misc]
        for task in self.tasks:
            if task.event < FOREVER and (orchestrators or task.process is None):
                yield task.event, lambda task=task: self._acts(task)  # type: ignore[misc]
            if task.process and (task.process.server or self.mode == "external"):
                yield from self._server_events(task)
        yield FOREVER, lambda: None

    def _server_events(self, task: Task) -> Iterator[tuple[datetime, Callable[[], None]]]:
        process = task.process
        assert process
        if not self.answers(process):
            return
        if process.database.schedules:
            yield process.planned, lambda: self.plan(process)
        if process.worker:
            if process.taking is not None:
                yield process.begun + seconds(2), lambda: self._works(task)
            elif due := process.database.next():
                yield max(due, process.begun + seconds(5)), lambda: self._works(task)

    def set_watchdog(self, to: SetWatchdog) -> None:
        assert not to.at or to.at > self.now, "whether AWS takes a time that is past is not known"
        self.watchdog, self.tells = to, to.at is not None

    def _overdue(self) -> None:
        """The schedule stays as it is, and does not come again."""
        assert self.watchdog
        self.overdue.append(self.watchdog)
        self.tells = False

    def _woken(self) -> None:
        self.wake_up, self.late = None, timedelta()
        self.wake()

    def _ask_for(self, request: int) -> None:
        """Clients set the service to 1 every 15 s until it shows effect."""
        self.requests[request] = self.now + seconds(15)
        self.wake()

    def _acts(self, task: Task) -> None:
        if task.status == "PROVISIONING":
            task.status, task.process = "RUNNING", self.make(self, task)
            task.event = self.now
            return
        process = task.process
        assert process
        process.waits = False
        took = next(process.acts, None)
        if took is None:
            self.kill(task)
        elif task.process:
            task.event = self.now + took

    def _works(self, task: Task) -> None:
        """The worker takes a run, and then starts its ECS task."""
        process = task.process
        assert process
        runs = process.database.runs
        if process.taking is not None:
            number, process.taking = process.taking, None
            run = runs[number]
            job = Job(self.number(), number, task.number, self.now + seconds(30), seconds(90), True)
            if run.state == "PENDING":
                self.jobs[job.number] = job
                self.commit(process, {number: replace(run, task=job.number)})
            process.begun = self.now
            return
        due = [n for n, run in runs.items() if run.state == "SCHEDULED" and run.due <= self.now]
        if due:
            process.taking, process.begun = due[0], self.now
            self.commit(process, {due[0]: replace(runs[due[0]], state="PENDING")})

    def _goes_on(self, job: Job) -> None:
        process = self.at(job.api)
        run = process.database.runs.get(job.run) if process else None
        if job.stopped or process is None or run is None or job.tries > 5:
            self._fails(job)
            return
        if job.state == "PROVISIONING":
            job.state, job.event = "RUNNING", self.now + job.takes
            self.started[job.run] += 1
            if process.uncovered:
                self.unkept.add(job.run)
            self.commit(process, {job.run: replace(run, state="RUNNING")})
        else:
            job.state = "STOPPED"
            state = "COMPLETED" if job.well else "FAILED"
            self.commit(process, {job.run: replace(run, state=state)})
        self.nudge()

    def _fails(self, job: Job) -> None:
        """Prefect does not answer it, or it was stopped: it tries again, and then it is dead."""
        job.tries += 1
        if not job.stopped and job.tries <= 5:
            job.event = self.now + seconds(10)
            return
        job.state = "STOPPED"
        self.unheard.append(job)
        self.nudge()

    def _hears(self, process: Process) -> None:
        """The observer, in the worker: what it could not hear has waited for it in the queue."""
        for job in self.unheard:
            run = process.database.runs.get(job.run)
            if run and run.state in BUSY and run.task in (None, job.number):
                crashed = replace(run, state="CRASHED", settled=False)
                self.commit(process, {job.run: crashed})
        self.unheard = []
        self.nudge()
