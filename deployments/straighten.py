"""From what Prefect's database says of its runs to what is true of them: decided here. Pure.

`set_straight` looks at both sides and carries it out. Prefect learns of an ECS task's end from
events alone; those that nobody was there to hear, or that never were, leave runs that look alive.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from deployments.diagnosis import FORGOTTEN, ORPHANED, Diagnosis, diagnose, stopped

RUN_TAG = "prefect.io/flow-run-id"  # prefect-aws gives it to every ECS task that it starts
GRACE = timedelta(seconds=30)
BEFORE_ALL = datetime.min.replace(tzinfo=UTC)

Task = Mapping[str, Any]  # as DescribeTasks shows it, with tags


@dataclass(frozen=True)
class Run:
    """A flow run that Prefect calls busy."""

    id: str
    name: str
    state: str  # its type: PENDING, RUNNING, CANCELLING, PAUSED; SCHEDULED if it waits to retry
    state_id: str  # every state has its own: a changed one shows
    since: datetime  # when it came into this state
    pid: str | None = None  # `cluster::ECS task's ARN`, once the worker has written it down
    scheduled: datetime = BEFORE_ALL  # when it was last put on the schedule


# --- steps ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Crash:
    run: Run
    why: Diagnosis


@dataclass(frozen=True)
class Cancel:
    """What somebody was cancelling when it ended."""

    run: Run
    why: Diagnosis


@dataclass(frozen=True)
class Reschedule:
    """Nothing of it has run: the worker died after it took it and before it started a task."""

    run: Run


@dataclass(frozen=True)
class Stop:
    """Its ECS task lives, and speaks to the address of a Prefect server that is gone for good. Once
    it has stopped, the run is Crashed.
    """

    run: Run
    task: str  # its ARN


Step = Crash | Cancel | Reschedule | Stop


@dataclass(frozen=True)
class Plan:
    steps: tuple[Step, ...]
    notes: tuple[str, ...] = field(default=())  # what was seen and is left alone
    later: tuple[str, ...] = field(default=())  # runs for which it is to be done again soon


# --- the decision --------------------------------------------------------------------------------


def decide(
    runs: Sequence[Run],
    tasks: Iterable[Task],
    now: datetime,
    grace: timedelta = GRACE,
    api: str = "",
) -> Plan:
    """The steps after which Prefect says what is so; none if it does already.

    `tasks`: all that ECS knows of, those of the runs' pids among them. They were looked at after
    the runs. `api`: the server's address, if a task that speaks to another is an orphan.
    """
    arns, tags = _found(tasks)
    steps: list[Step] = []
    notes = []
    later = []
    for run in runs:
        arn = task_arn(run.pid)
        if run.pid and not arn:
            notes.append(f"left alone: {named(run)} (not started on ECS: {run.pid})")
            continue
        own = {**tags.get(run.id, {}), **({arn: arns[arn]} if arn in arns else {})}
        alive = [task for task in own.values() if not stopped(task)]
        if alive:
            orphans = [task for task in alive if api and _speaks_to(task) not in ("", api)]
            later += [named(run)] if orphans else []
            steps += [
                Stop(run, str(task["taskArn"]))
                for task in orphans
                if task.get("desiredStatus") != "STOPPED"
            ]
            continue
        if run.state == "SCHEDULED":
            continue  # its task has ended while it waited: another comes when it is due
        known = not arn or arn in own
        if run.state == "PENDING" and known and not _begun(run, own.values()):
            if now - run.since > grace:
                steps.append(Reschedule(run))
            else:
                notes.append(
                    f"left alone: {named(run)} (PENDING without an ECS task, not for long)"
                )
                later.append(named(run))
            continue
        newest = max(own.values(), key=_created, default=None)
        why = FORGOTTEN if newest is None else diagnose(newest)
        steps.append(Cancel(run, why) if run.state == "CANCELLING" else Crash(run, why))
    return Plan(tuple(steps), tuple(notes), tuple(later))


def own_tasks(tasks: Iterable[Task], run: str, pid: str | None) -> list[Task]:
    """A run's tasks, by its id or the pid that the worker has written down; the newest last."""
    arn = task_arn(pid)
    own = [
        task
        for task in tasks
        if task["taskArn"] == arn
        or {"key": RUN_TAG, "value": run} in [{**tag} for tag in task.get("tags") or ()]
    ]
    return sorted(own, key=_created)


def _speaks_to(task: Task) -> str:
    """The Prefect API's address that the worker gave it; '' if that cannot be seen."""
    for container in (task.get("overrides") or {}).get("containerOverrides") or ():
        for variable in container.get("environment") or ():
            if variable.get("name") == "PREFECT_API_URL":
                return str(variable.get("value") or "")
    return ""


def _begun(run: Run, own: Iterable[Task]) -> bool:
    """Whether any was started since the run was last put on the schedule. One that runs again, as
    after an interruption of Spot, keeps the pid of the time before until the worker has a new one.
    """
    return any(_created(task) >= run.scheduled for task in own)


def _found(tasks: Iterable[Task]) -> tuple[dict[str, Task], dict[str, dict[str, Task]]]:
    """The tasks by ARN, and by their run's id."""
    arns: dict[str, Task] = {}
    tags: dict[str, dict[str, Task]] = {}
    for task in tasks:
        arn = str(task["taskArn"])
        arns[arn] = task
        for tag in task.get("tags") or ():
            if tag.get("key") == RUN_TAG:
                tags.setdefault(str(tag.get("value")), {})[arn] = task
    return arns, tags


def _created(task: Task) -> datetime:
    created = task.get("createdAt")
    return created if isinstance(created, datetime) else BEFORE_ALL


def cluster_of(pid: str | None) -> str:
    return pid.partition("::")[0] if pid and task_arn(pid) else ""


def task_arn(pid: str | None) -> str:
    """Of `cluster::ARN`; '' of anything else."""
    return pid.partition("::")[2] if pid else ""


# --- in words ------------------------------------------------------------------------------------


def named(run: Run) -> str:
    return f"{run.name} ({run.id})"


def described(step: Step) -> str:
    """A step as lines on the screen."""
    match step:
        case Crash(run, why):
            return f"{run.state} → CRASHED: {named(run)}\n  {_indented(why)}"
        case Cancel(run, why):
            return f"{run.state} → CANCELLED: {named(run)}\n  {_indented(why)}"
        case Reschedule(run):
            return f"{run.state} → SCHEDULED: {named(run)}\n  {NOTHING_RAN}"
        case Stop(run, task):
            return f"stop ECS task {task.rpartition('/')[2]} of {named(run)}\n  {ORPHANED}"


NOTHING_RAN = "its worker ended before it started an ECS task; nothing has run, so it starts again"


def _indented(why: Diagnosis) -> str:
    return str(why).replace("\n", "\n  ")
