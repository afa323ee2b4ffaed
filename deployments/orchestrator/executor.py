"""Looks, and carries out what `life` decides. One orchestrator, one process, one history."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx

from deployments import litestream
from deployments.diagnosis import Diagnosis
from deployments.orchestrator import (
    again,
    catch_up,
    environments,
    history,
    last_words,
    leftovers,
    wake_up,
    watchdog,
)
from deployments.orchestrator.alerts import Alerts, Place
from deployments.orchestrator.journal import (
    FIRST_START,
    LIVES,
    JournalObject,
    Replaced,
    life_folder,
    lives,
)
from deployments.orchestrator.life import (
    LEFT,
    Do,
    End,
    History,
    Phase,
    Program,
    Seen,
    SetWakeUp,
    SetWatchdog,
    Step,
    Wait,
    Work,
    awake_because,
    decide,
    missed,
)
from deployments.orchestrator.look import Names, iso, look, look_at_database, plan_ahead
from deployments.orchestrator.programs import Program as Child
from deployments.orchestrator.requests import Requests
from deployments.orchestrator.surroundings import PORT, Surroundings
from deployments.outputs import LIVE
from deployments.server import connected
from deployments.wanted import POOL
from flows.problem import Problem

PREFECT = version("prefect")
FULL = 64 * 1024 * 1024  # bytes: with less than this, SQLite and Litestream fail soon
SLOWEST = 30.0  # seconds between tries of what fails
_NEWER = timedelta(seconds=30)  # between looks at what is live
_UNVERIFIED = 5  # looks at a replica that is not complete, before another is begun
_UNWATCHED = timedelta(minutes=10)  # after it was given up, before the watchdog is tried again
_ASKED = timedelta(seconds=15)  # between looks for requests while runs go on: S3 bills each of them
_STRAIGHT = timedelta(minutes=10)  # between looks at what ECS has, for ends that nobody heard of

Say = Callable[[str], None]


class Executor:
    """`clients` makes boto3's clients by service; `folder` is where the database is put."""

    def __init__(
        self,
        where: Surroundings,
        clients: Callable[[str], Any],
        folder: Path,
        say: Say,
        told_to_end: threading.Event,
    ) -> None:
        self._where, self._say, self._told = where, say, told_to_end
        self._s3, self._ecs = clients("s3"), clients("ecs")
        self._scheduler, self._ecr = clients("scheduler"), clients("ecr")
        self._folder = folder
        self._database = folder / "prefect.db"
        self._journal = JournalObject(self._s3, where.bucket)
        self._requests = Requests(self._s3, where.bucket, say)
        self._names = Names()
        self._children = {
            Do.START_LITESTREAM: Child("Litestream", 60),
            Do.START_SERVER: Child("Prefect server", 15),
            Do.START_WORKER: Child("worker", 15),
        }
        place = Place(where.topic, where.outputs.stack, where.outputs.values.get("JobLogGroup", ""))
        self._alerts = Alerts(clients("sns"), place, self._journal, say, told_to_end.wait)
        grace = where.overdue if where.topic and where.watchdog[1] else None
        self._seen = Seen(datetime.now(UTC), where.mode, where.lead, grace)
        self._life = 0  # this life's own number
        self._waiting: tuple[str, ...] = ()  # requests that the last look has seen
        self._later_straight: tuple[str, ...] = ()  # runs that are to be set straight again soon
        self._unsettled: tuple[str, ...] = ()  # crashed runs whose ECS tasks have not stopped
        self._again: dict[str, str] = {}  # runs that were run again, and as which
        self._settled: set[str] = set()  # crashed runs that were looked into
        self._why: dict[str, Diagnosis] = {}  # what ECS said of them
        self._unwatched = 0  # times in a row that the watchdog could not be set
        self._gave_up = datetime.min.replace(tzinfo=UTC)
        self._looked_for_newer = self._looked_for_requests = datetime.min.replace(tzinfo=UTC)
        self._straightened = datetime.min.replace(tzinfo=UTC)
        self._failures = self._unverified = 0
        self._because = ""
        self._trouble = self._watchdog_trouble = ""

    def live(self) -> int:
        """Until the end; the exit status."""
        while True:
            try:
                self._look()
                for step in decide(self._seen):
                    if isinstance(step, End):
                        self._say(f"the end: {step.because}")
                        return 0 if step.well else 1
                    self._carry_out(step)
                    if step is Do.SLEEP:
                        self._say("asleep")
                        return 0
                self._well_again()
            except Replaced:
                self._seen = replace(self._seen, replaced=True)
            except Exception as error:
                self._later(error)

    def _later(self, error: Exception) -> None:
        """What failed is tried again: nothing of it was noted as done."""
        if not _outside(error):
            raise error
        pause = min(SLOWEST, 2.0**self._failures)
        self._failures += 1
        self._say(f"{error if isinstance(error, Problem) else f'{type(error).__name__}: {error}'}")
        self._say(f"again in {pause:.0f} s")
        if self._failures == 3 and self._seen.holder:  # it will not pass by itself, perhaps
            try:
                self._note(trouble=str(error))
            except Replaced:
                self._seen = replace(self._seen, replaced=True)
            except Exception as more:
                self._say(f"and that cannot be noted: {more}")
        self._told.wait(pause)

    def _well_again(self) -> None:
        if self._failures >= 3 and self._seen.holder:
            self._note_trouble()
        self._failures = 0

    # --- look ------------------------------------------------------------------------------------

    def _look(self) -> None:
        now = datetime.now(UTC)
        for start, child in self._children.items():
            if (status := child.ended()) is not None:
                self._say(f"the {child.name} has ended by itself (exit status {status})")
                self._told.wait(1)  # one that cannot start should not keep the CPU busy with it
                if start is Do.START_WORKER:  # it may have taken a run and started nothing
                    self._seen = replace(self._seen, straight=False)
        seen = self._seen
        self._seen = replace(
            seen,
            now=now,
            told_to_end=self._told.is_set(),
            hindered=self._hindered(),
            litestream=_state(self._children[Do.START_LITESTREAM]),
            server=self._server_state(),
            worker=_state(self._children[Do.START_WORKER]),
        )
        if self._told.is_set():
            return
        if not seen.holder:
            self._look_for_predecessor()
        elif seen.history is History.HERE and not seen.replicated:
            folder = f"{life_folder(self._life)}/"
            made = bool(history.keys(self._s3, self._where.bucket, folder))
            self._seen = replace(self._seen, replicated=made)
        elif seen.phase is Phase.LEAVE:
            self._look_while_leaving()
        elif self._seen.straight and self._seen.reconciled:
            self._look_at_work()

    def _hindered(self) -> str:
        if self._where.mode == "external" or not self._folder.exists():
            return ""
        free = shutil.disk_usage(self._folder).free
        return f"the disk is full ({free / 1e6:.0f} MB are free)" if free < FULL else ""

    def _server_state(self) -> Program:
        child = self._children[Do.START_SERVER]
        if not child.runs:
            return Program.ABSENT
        if self._seen.server is Program.RUNNING:
            return Program.RUNNING  # it may be slow now and then: that it runs is enough
        try:
            healthy = httpx.get(f"{self._where.api}/health", timeout=2).is_success
        except httpx.HTTPError:
            healthy = False
        if healthy:
            self._say("the Prefect server answers")
        if healthy and self._seen.history is History.OURS:
            self._note(prefect=PREFECT)
        return Program.RUNNING if healthy else Program.STARTING

    def _look_for_predecessor(self) -> None:
        holder = self._journal.read().holder
        if not holder or holder == self._where.task:
            self._seen = replace(self._seen, predecessor="")
            return
        found = self._ecs.describe_tasks(cluster=self._where.cluster, tasks=[holder])["tasks"]
        lives_on = any(task["lastStatus"] not in ("STOPPED", "DELETED") for task in found)
        self._seen = replace(self._seen, predecessor=holder if lives_on else "")

    def _look_at_work(self) -> None:
        try:
            with connected() as client:
                looked = look(client, self._names)
        except (Problem, httpx.HTTPError) as error:
            # The server may have ended this moment: the next look says so.
            self._say(f"Prefect does not say what there is to do: {error}")
            self._seen = replace(self._seen, work=None)
            return
        # On its way to sleep it looks each time: nothing may be missed then.
        idle = self._seen.worker is Program.ABSENT
        if idle or self._seen.now - self._looked_for_requests >= _ASKED:
            self._looked_for_requests = self._seen.now
            self._waiting = self._requests.waiting()
        work = Work(
            looked.busy,
            looked.next,
            looked.next_run,
            bool(self._waiting),
            (*self._unsettled, *self._later_straight),
            looked.unbegun,
        )
        self._seen = replace(self._seen, work=work, newer=self._newer())
        if self._watchdog_trouble and self._seen.now - self._gave_up > _UNWATCHED:
            self._seen = replace(self._seen, watchdog=None)
        if self._seen.watchdog is None and self._seen.grace is not None:
            self._look_at_watchdog()
        self._note(
            because=awake_because(self._seen),
            next=looked.coming,
            last=looked.last,
        )

    def _look_at_watchdog(self) -> None:
        """Where the last life has left it: it may be telling this moment, or has told just now."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            at = watchdog.read(self._scheduler, *self._where.watchdog)
        except (BotoCoreError, ClientError):
            return  # nor can it be set then, and that is said
        if at and self._seen.now < at + LEFT:
            self._seen = replace(self._seen, watchdog=SetWatchdog(at))

    def _look_while_leaving(self) -> None:
        """Prefect is asked for as long as there is one, and then its database."""
        work = self._seen.work or Work()
        if self._seen.server is Program.RUNNING or self._where.mode == "external":
            with connected() as client:
                looked = look(client, self._names)
            work = replace(work, busy=looked.busy, next=looked.next, unbegun=looked.unbegun)
        elif self._database.exists():
            busy, due = look_at_database(self._database)
            work = replace(work, busy=busy, next=due)
        work = replace(work, requests=bool(self._requests.waiting()))
        self._seen = replace(self._seen, work=work, newer=self._newer())

    def _newer(self) -> bool:
        """Whether the tag `live` is another image's than ours."""
        if self._seen.newer or self._seen.now - self._looked_for_newer < _NEWER:
            return self._seen.newer
        self._looked_for_newer = self._seen.now
        digest = self._live()
        if digest == self._where.digest:
            self._note(made_way="")  # what was asked for once may be again, later
            return False
        if not digest:
            return False
        if digest == self._journal.now.made_way:
            # Or else ECS would be given the same image again and again, and never sleep.
            self._trouble = (
                f"the image that is live is {digest}, one orchestrator has ended for it, and ECS "
                f"runs {self._where.digest} all the same"
            )
            self._note_trouble()
            return False
        self._say(f"another image is live: {digest}")
        self._note(made_way=digest)
        return True

    def _live(self) -> str:
        """The digest of the image that is to run; '' if it cannot be known."""
        from botocore.exceptions import ClientError

        repository = self._where.repository.partition("/")[2]
        try:
            found = self._ecr.describe_images(
                repositoryName=repository, imageIds=[{"imageTag": LIVE}]
            )["imageDetails"]
        except ClientError as error:  # the tag is gone, or the role is older than the image
            self._say(f"which image is live cannot be seen: {error}")
            return ""
        return str(found[0]["imageDigest"]) if found else ""

    # --- carry out -------------------------------------------------------------------------------

    def _carry_out(self, step: Step) -> None:
        match step:
            case Wait(seconds, because):
                if because != self._because:
                    self._say(f"awake: {because}")
                    self._because = because
                self._told.wait(seconds.total_seconds())
            case SetWakeUp(at):
                wake_up.move(self._scheduler, *self._where.wake_up, at)
                self._seen = replace(self._seen, wake_up=at)
                self._note(wake_up=iso(at))
                self._say(f"the next wake-up is at {at:%Y-%m-%d %H:%M:%S} UTC")
            case SetWatchdog():
                self._set_watchdog(step)
            case Do():
                self._do(step)

    def _do(self, step: Do) -> None:
        if step is not Do.ATTEND:
            self._say(step.value)
        began = time.monotonic()
        match step:
            case Do.TAKE_OVER:
                self._take_over()
            case Do.RESTORE:
                self._restore()
            case Do.START_LITESTREAM | Do.START_SERVER | Do.START_WORKER:
                self._start(step)
            case Do.ADOPT:
                answers = self._seen.server is Program.RUNNING  # migrations and all
                known = PREFECT if answers else self._journal.now.prefect
                self._journal.change(life=self._life, prefect=known)
                self._s3.delete_object(Bucket=self._where.bucket, Key=FIRST_START)
                self._seen = replace(self._seen, history=History.OURS)
            case Do.SET_STRAIGHT:
                self._set_straight()
            case Do.RECONCILE:
                self._reconcile()
            case Do.ATTEND:
                self._attend()
            case Do.STOP_WORKER:
                self._children[Do.START_WORKER].stop()
                self._seen = replace(self._seen, attended=False)  # it may have ended one meanwhile
            case Do.STOP_SERVER:
                if self._seen.phase is Phase.LEAVE and not self._seen.replaced:
                    last_words.hear_out(self._ecs, self._where.cluster, self._told.wait)
                self._children[Do.START_SERVER].stop()
            case Do.STOP_LITESTREAM:
                self._children[Do.START_LITESTREAM].stop()
            case Do.ASK_AGAIN:
                self._ask_again()
            case Do.LEAVE:
                self._phase(Phase.LEAVE)
            case Do.STAY:
                self._phase(Phase.WORK)
                self._seen = replace(self._seen, asked_again=False, verified=False)
            case Do.VERIFY:
                self._verify()
            case Do.SLEEP:
                self._sleep()
        took = time.monotonic() - began
        if took >= 0.1 and step is not Do.ATTEND:
            self._say(f"… {took:.1f} s")

    def _phase(self, phase: Phase) -> None:
        self._seen = replace(self._seen, phase=phase)
        # The holder too: one that stays after all has given it up already.
        self._note(holder=self._where.task, doing=phase.value, since=iso(self._seen.now))

    def _set_watchdog(self, to: SetWatchdog) -> None:
        """Nobody's work waits for it, and after a few tries no sleep either: it is tried again."""
        from botocore.exceptions import BotoCoreError, ClientError

        place = {"topic": self._where.topic, "stack": self._where.outputs.stack}
        try:
            watchdog.move(self._scheduler, self._where.watchdog, to, **place)
        except (BotoCoreError, ClientError) as error:
            self._unwatched += 1
            self._say(f"the watchdog is not set: {error}")
            if self._unwatched < 3:
                self._told.wait(2.0**self._unwatched)
                return
            self._gave_up = self._seen.now
            self._watchdog_trouble = f"people are not told of runs that do not begin: {error}"
        else:
            self._watchdog_trouble = ""
            if to.at:
                names = watchdog.listed([f"{one.run} of {one.deployment}" for one in to.runs])
                begun = "has not begun" if len(to.runs) == 1 else "have not begun"
                self._say(f"people are told if {names} {begun} by {to.at:%Y-%m-%d %H:%M:%S} UTC")
        self._unwatched = 0
        self._seen = replace(self._seen, watchdog=to)
        self._note_trouble()

    def _note_trouble(self) -> None:
        troubles = (self._trouble, self._alerts.trouble, self._watchdog_trouble)
        self._note(trouble="; ".join(filter(None, troubles)))

    def _note(self, **changes: Any) -> None:
        self._journal.change(**changes)

    def _take_over(self) -> None:
        found = history.keys(self._s3, self._where.bucket, LIVES)
        known = self._journal.now
        self._life = max((*lives(found), known.life), default=0) + 1
        now = iso(self._seen.now)
        there = known.made_way == self._where.digest
        self._journal.change(
            made_way="" if there else known.made_way,
            holder=self._where.task,
            began=now,
            since=now,
            doing=Phase.WAKE.value,
            because="it wakes up",
            trouble="",
            image=self._where.image,
        )
        self._seen = replace(self._seen, holder=True)

    def _replica(self, life: int) -> litestream.Replica:
        return litestream.replica(self._s3, self._where.bucket, life_folder(life))

    def _restore(self) -> None:
        known = self._journal.now
        found = self._replica(known.life)
        bad = history.bring_back(self._s3, found, known, self._database, self._say)
        if bad:  # an older life may be of an older Prefect
            self._journal.change(bad=tuple(sorted({*known.bad, *bad})), prefect="")
        history.compact(self._database, self._say)
        self._seen = replace(self._seen, history=History.HERE)

    def _start(self, step: Do) -> None:
        child = self._children[step]
        if step is Do.START_LITESTREAM:
            configured = self._folder / "litestream.yml"
            configured.write_text(litestream.config(self._replica(self._life), self._database))
            child.start(litestream.command("replicate", configured), environments.of_litestream())
        elif step is Do.START_SERVER:
            # As `prefect server start --background` does, without the command's own imports.
            command = [sys.executable, "-m", "uvicorn", "--factory", environments.SERVER]
            command += ["--host", self._where.address, "--port", str(PORT)]
            command += ["--log-level", "warning", "--timeout-graceful-shutdown", "5"]
            known = self._journal.now.prefect == PREFECT
            child.start(command, environments.of_server(self._where, self._database, known=known))
        else:
            command = [sys.executable, "-m", "prefect", "worker", "start", "--type", "ecs"]
            command += ["--pool", POOL, "--name", "nightshift"]
            command += ["--install-policy", "never", "--no-create-pool-if-not-found"]
            child.start(command, environments.of_worker(self._where, self._folder))
            self._seen = replace(self._seen, asked_again=False)
            if self._seen.phase is not Phase.WORK:
                self._phase(Phase.WORK)

    def _set_straight(self) -> None:
        from deployments.set_straight import straightened

        done = straightened(
            self._where.cluster,
            ecs=self._ecs,
            api="" if self._where.mode == "external" else self._where.api,
            say=self._say,
        )
        self._later_straight = done.later
        if not self._seen.straight:
            with connected() as client:
                catch_up.caught_up(client, environments.catch_up(self._where), self._say)
        self._straightened = self._seen.now
        self._seen = replace(self._seen, straight=True, attended=False)

    def _reconcile(self) -> None:
        """What cannot be reconciled must not keep the rest from running, or what is there."""
        from deployments.reconcile import reconciled

        try:
            wanted, without = environments.wanted(self._where)
            reconciled(wanted, environments.template(self._where), say=self._say)
            self._trouble = "" if without is None else str(without)
        except (Problem, ValueError) as problem:
            if self._failures < 2 and isinstance(
                problem, Problem
            ):  # what is around us may be well again soon
                raise
            self._trouble = str(problem)
        if self._trouble:
            self._say(f"NOT RECONCILED: {self._trouble}")
        self._note_trouble()
        self._seen = replace(self._seen, reconciled=True)

    def _attend(self) -> None:
        """What comes up while runs go on."""
        from deployments.set_straight import look as look_at_tasks

        if self._later_straight or self._seen.now - self._straightened > _STRAIGHT:
            self._set_straight()
        with connected() as client:
            crashed = [
                run
                for run in again.crashed(client, self._seen.now)
                if str(run.id) not in self._settled
            ]
            self._unsettled_runs(client, crashed, look_at_tasks)
            waiting, self._waiting = self._waiting, ()  # if it fails half-way, they are looked for
            self._requests.attend(client, self._again, self._settled, waiting)
            self._alerts.attend(
                client,
                self._seen.now,
                self._settled,
                self._why,
                last=self._seen.worker is Program.ABSENT,
            )
        self._note_trouble()
        self._seen = replace(self._seen, attended=True)

    def _unsettled_runs(self, client: Any, crashed: Any, look_at_tasks: Any) -> None:
        if not crashed:
            self._unsettled = ()
            return
        runs = {str(run.id): run for run in crashed}
        seen = [again.seen(run) for run in crashed]
        tasks = look_at_tasks(self._ecs, self._where.cluster, seen)
        decided = again.decide(seen, tasks)
        self._why |= again.diagnosed(seen, tasks)
        for one in decided.again:
            try:
                made = again.run_again(client, one, runs[one.run.id])
            except httpx.HTTPStatusError as error:
                if error.response.status_code not in (404, 409, 422):
                    raise
                # Its deployment is gone, or takes other parameters by now.
                self._say(f"{one.run.name} cannot run again: {error.response.text}")
                continue
            self._again[one.run.id] = str(made.id)
            if made.created is None or made.created >= self._seen.now:  # not by a former life
                spot = ", on demand" if one.on_demand else ""
                self._say(f"{one.run.name} runs again as {one.name}{spot}: {one.why}")
        open_ = {run.id for run in seen if run.name in decided.unsettled}
        for settled in runs.keys() - open_:
            leftovers.crash(client, runs[settled].id, self._say)
        self._settled |= runs.keys() - open_
        self._unsettled = decided.unsettled

    def _ask_again(self) -> None:
        with connected() as client:
            plan_ahead(client)
        if self._where.wake_up[1]:
            at = wake_up.read(self._scheduler, *self._where.wake_up)
            self._seen = replace(self._seen, wake_up=at)
        self._seen = replace(self._seen, asked_again=True)

    def _verify(self) -> None:
        try:
            good = history.verified(self._replica(self._life), self._database)
        except Problem as problem:
            self._say(str(problem))
            good = False
        if good:
            self._unverified = 0
            self._seen = replace(self._seen, verified=True)
            history.prune(self._s3, self._where.bucket, self._journal.now)
            return
        self._unverified += 1
        self._say("the replica has not got all of it yet")
        if self._unverified % _UNVERIFIED == 0 and history.reachable(self._s3, self._where.bucket):
            self._begin_another_replica()
        self._told.wait(min(SLOWEST, 2.0 * self._unverified))

    def _begin_another_replica(self) -> None:
        """What is here is whole, and what is in S3 does not become so: a copy of the whole anew."""
        self._say(f"the replica of life {self._life} stays incomplete: another begins")
        history.forget_replica(self._database)
        known = lives(history.keys(self._s3, self._where.bucket, LIVES))
        self._life = max((*known, self._life)) + 1
        self._phase(Phase.WORK)
        self._seen = replace(self._seen, history=History.HERE, replicated=False, asked_again=False)

    def _sleep(self) -> None:
        """The journal first: killed in between, ECS starts another, which arrives here again."""
        self._journal.change(holder="", doing="asleep", since=iso(datetime.now(UTC)), because="")
        self._set_count(0)
        # From here on ECS may tell it to end, which is what it does anyway.
        try:
            self._looked_for_newer = datetime.min.replace(tzinfo=UTC)
            self._seen = replace(self._seen, now=datetime.now(UTC))
            self._look_while_leaving()
            why = missed(self._seen)
        except Exception as error:
            why = f"it cannot be seen whether somebody has woken it: {error}"
        if why:
            self._say(f"awake again: {why}")
            self._set_count(1)

    def _set_count(self, count: int) -> None:
        self._ecs.update_service(
            cluster=self._where.cluster, service=self._where.service, desiredCount=count
        )


def _state(child: Child) -> Program:
    return Program.RUNNING if child.runs else Program.ABSENT


def _outside(error: Exception) -> bool:
    """Whether what is around us failed, and may be well again later."""
    from botocore.exceptions import BotoCoreError, ClientError
    from prefect.exceptions import PrefectException

    kinds = (Problem, BotoCoreError, ClientError, PrefectException, httpx.HTTPError, OSError)
    return isinstance(error, (*kinds, sqlite3.Error))


def scratch() -> Path:
    return Path(os.environ.get("PREFECT_HOME") or "/tmp/prefect")  # noqa: S108 - the ECS volume
