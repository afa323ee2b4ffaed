"""Makes Prefect say what is true of its runs: looks at both sides, decides, carries out.

Nobody's change is written over. The order sees to it: the runs are read, then ECS is asked, then a
run is read again before its state is set, and left alone if that has changed meanwhile. A task
that ECS called stopped before the second reading says nothing after it. Who can still come in
between is the observer or a person, and then Prefect's own rules decide: states are set without
force, so that a run that has ended is not Crashed (its server refuses, with the row locked), and
one that is being cancelled becomes nothing but Cancelled. Concurrency slots are freed either way.

A run goes back on the schedule only if no task of its own was there in two looks at ECS, the second
after the second reading. It cannot see into a worker that is alive and takes longer than the grace
to start a task: run this before the worker starts, or with patience.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from deployments.diagnosis import ORPHANED
from deployments.server import PAGE, asking, connected
from deployments.straighten import (
    BEFORE_ALL,
    GRACE,
    NOTHING_RAN,
    Cancel,
    Crash,
    Plan,
    Reschedule,
    Run,
    Step,
    Stop,
    Task,
    cluster_of,
    decide,
    described,
    named,
    task_arn,
)
from deployments.wanted import POOL
from flows.problem import Problem

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun, State

AT_ONCE = 100  # the most that DescribeTasks takes
BUSY = ("PENDING", "RUNNING", "CANCELLING", "PAUSED")  # types of states; but see `suspended`
# Of the type SCHEDULED, and of a flow with retries of its own: the ECS task lives on and waits.
RETRYING = "AwaitingRetry"


def straightened(
    cluster: str,
    *,
    ecs: Any = None,
    grace: timedelta = GRACE,
    api: str = "",
    dry_run: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Plan:
    """Put the truth about our work pool's runs into the server that PREFECT_API_URL names.

    `cluster`: where jobs run. `ecs`: a client of boto3's, by default one with the credentials and
    region at hand. `api`: what `decide` says of it. Returns what was decided. Raises a Problem
    where there is no server, or where ECS does not answer: not to know is no reason to call a run
    dead.
    """
    with connected() as client:
        runs = busy(client)
        decided = Plan(())
        if runs:
            ecs = ecs or _ecs()
            tasks = look(ecs, cluster, runs)
            decided = decide(runs, tasks, datetime.now(UTC), grace, api)
        for note in decided.notes:
            say(f"({note})")
        for step in decided.steps:
            if dry_run:
                say(f"would: {described(step)}")
            else:
                _carry_out(client, ecs, cluster, step, say)
    return decided


# --- look: Prefect -------------------------------------------------------------------------------


def busy(client: SyncPrefectClient) -> tuple[Run, ...]:
    """The runs of our work pool that have an ECS task, or should have one: those that Prefect calls
    PENDING, RUNNING, CANCELLING or PAUSED, and those that wait in their task to retry.
    """
    with asking("which runs are busy"):
        return tuple(_run(client, run) for run in busy_runs(client))


def busy_runs(client: SyncPrefectClient) -> tuple[FlowRun, ...]:
    """The same as Prefect has them."""
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateName,
        FlowRunFilterStateType,
        WorkPoolFilter,
        WorkPoolFilterName,
    )
    from prefect.client.schemas.objects import StateType
    from prefect.client.schemas.sorting import FlowRunSort

    types = [StateType(name) for name in BUSY]
    found: dict[UUID, FlowRun] = {}
    for state in (
        FlowRunFilterState(type=FlowRunFilterStateType(any_=types)),
        FlowRunFilterState(name=FlowRunFilterStateName(any_=[RETRYING])),
    ):
        offset = 0
        while page := client.read_flow_runs(
            flow_run_filter=FlowRunFilter(state=state),
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL])),
            sort=FlowRunSort.ID_DESC,
            limit=PAGE,
            offset=offset,
        ):
            found |= {run.id: run for run in page}
            offset += len(page)
    return tuple(run for run in found.values() if not suspended(run) and not _put_back(run))


def _put_back(run: FlowRun) -> bool:
    """Whether it waits on the schedule to retry, without an ECS task of its own."""
    return bool(run.state and run.state.is_scheduled() and not run.infrastructure_pid)


def suspended(run: FlowRun) -> bool:
    """Whether it waits without an ECS task; one that is paused keeps its own, and waits in it."""
    state = run.state
    return bool(state and state.is_paused() and state.state_details.pause_reschedule)


def _run(client: SyncPrefectClient, run: FlowRun) -> Run:
    assert run.state is not None  # it was asked for by its state
    scheduled = BEFORE_ALL
    if run.state.is_pending():  # of the others it makes no difference
        times = [s.timestamp for s in client.read_flow_run_states(run.id) if s.is_scheduled()]
        scheduled = max(times, default=BEFORE_ALL)
    return Run(
        str(run.id),
        run.name,
        run.state.type.value,
        str(run.state.id),
        run.state.timestamp,
        run.infrastructure_pid,
        scheduled,
    )


# --- look: ECS -----------------------------------------------------------------------------------


def look(ecs: Any, cluster: str, runs: Sequence[Run]) -> tuple[Task, ...]:
    """What ECS knows of the cluster's tasks, and of those that the runs name."""
    wanted = {cluster: dict.fromkeys(_listed(ecs, cluster))}
    for run in runs:
        if arn := task_arn(run.pid):
            # The cluster as the worker wrote it: a name or an ARN.
            of = cluster_of(run.pid).rpartition("/")[2]
            wanted.setdefault(of, {})[arn] = None
    return tuple(task for of, arns in wanted.items() for task in _described(ecs, of, list(arns)))


def _listed(ecs: Any, cluster: str) -> list[str]:
    """Every task, those that stopped within the hour too. ECS does not search by tag."""
    with _asking_ecs("ListTasks", cluster):
        pages = ecs.get_paginator("list_tasks")
        return [
            arn
            for status in ("RUNNING", "STOPPED")
            for page in pages.paginate(cluster=cluster, desiredStatus=status)
            for arn in page["taskArns"]
        ]


def _described(ecs: Any, cluster: str, arns: Sequence[str]) -> Iterator[Task]:
    for first in range(0, len(arns), AT_ONCE):
        with _asking_ecs("DescribeTasks", cluster):
            answer = ecs.describe_tasks(
                cluster=cluster, tasks=list(arns[first : first + AT_ONCE]), include=["TAGS"]
            )
        for failure in answer.get("failures") or ():
            if failure.get("reason") != "MISSING":
                raise _unanswered("DescribeTasks", cluster, str(failure))
        yield from answer["tasks"]


def _ecs() -> Any:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    try:  # more tries than usual: after a long sleep, several things start at once
        return boto3.client("ecs", config=Config(retries={"mode": "standard", "max_attempts": 8}))
    except BotoCoreError as error:  # no region
        raise _unanswered("anything", "", str(error)) from error


@contextmanager
def _asking_ecs(operation: str, cluster: str) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise _unanswered(operation, cluster, str(error)) from error


def _unanswered(operation: str, cluster: str, detail: str) -> Problem:
    return Problem(
        "ECS does not say which tasks run",
        where={"cluster": cluster or None, "operation": operation},
        detail=detail,
        fix="see that AWS knows who and where you are (AWS_PROFILE, AWS_DEFAULT_REGION), and that "
        "you may call ecs:ListTasks and ecs:DescribeTasks on the cluster; no run was changed",
    )


# --- carry out -----------------------------------------------------------------------------------


def _carry_out(
    client: SyncPrefectClient, ecs: Any, cluster: str, step: Step, say: Callable[[str], None]
) -> None:
    from prefect.client.schemas.responses import SetStateStatus
    from prefect.exceptions import ObjectNotFound

    run = step.run
    if isinstance(step, Stop):
        say(described(step))
        with _asking_ecs("StopTask", cluster):
            ecs.stop_task(cluster=cluster, task=step.task, reason=ORPHANED)
        return
    with asking(described(step)):
        try:
            present = client.read_flow_run(UUID(run.id))
            if _changed(run, present):
                say(f"(left alone: {named(run)}, it has changed meanwhile)")
                return
            if isinstance(step, Reschedule) and not _still_so(ecs, cluster, step):
                say(f"(left alone: {named(run)}, it has an ECS task meanwhile)")
                return
            result = client.set_flow_run_state(present.id, _state(step))
        except ObjectNotFound:
            say(f"(left alone: {named(run)}, it was deleted meanwhile)")
            return
    if result.status == SetStateStatus.ACCEPT:
        say(described(step))
    else:
        reason = getattr(result.details, "reason", None) or result.status.value
        say(f"(left alone: {named(run)}, Prefect refuses: {reason})")


def _changed(run: Run, present: FlowRun) -> bool:
    state = str(present.state.id) if present.state else ""
    return (state, present.infrastructure_pid) != (run.state_id, run.pid)


def _still_so(ecs: Any, cluster: str, step: Reschedule) -> bool:
    """The same decision from a new look at ECS."""
    tasks = look(ecs, cluster, [step.run])
    return decide([step.run], tasks, datetime.now(UTC), timedelta()).steps == (step,)


def _state(step: Crash | Cancel | Reschedule) -> State[Any]:
    from prefect.states import Cancelled, Crashed, Scheduled

    match step:
        case Crash(_, why):
            return Crashed(message=str(why))
        case Cancel(_, why):
            return Cancelled(message=str(why))
        case Reschedule():
            return Scheduled(scheduled_time=datetime.now(UTC), message=NOTHING_RAN)
