"""Runs that the infrastructure ended are run again: Spot with fallback. Their own faults are not.

Each time is a flow run of its own, so that the one that died stays Crashed, which is true. Its
idempotency key names the run and the number: asked for twice, it is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from deployments.diagnosis import Diagnosis, diagnose, no_capacity, stopped
from deployments.orchestrator.look import runs
from deployments.server import PAGE, asking
from deployments.straighten import Task, own_tasks

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

TIMES = 2  # after the first; the last of them on demand
SINCE = timedelta(minutes=50)  # ECS tells of a task for an hour after it has stopped
ON_DEMAND = [{"capacityProvider": "FARGATE", "weight": 1, "base": 0}]

_KEY = "nightshift again {root} {number}"


@dataclass(frozen=True)
class Crashed:
    """A flow run that ended as Crashed a short while ago."""

    id: str
    name: str
    message: str
    pid: str | None
    key: str  # its idempotency key


@dataclass(frozen=True)
class Again:
    run: Crashed
    root: str  # the id of the run that was the first of them
    number: int  # 1 is the first time again
    why: str

    @property
    def key(self) -> str:
        return _KEY.format(root=self.root, number=self.number)

    @property
    def name(self) -> str:
        first = re.sub(r"-again(-\d+)?$", "", self.run.name)
        return f"{first}-again" if self.number == 1 else f"{first}-again-{self.number}"

    @property
    def on_demand(self) -> bool:
        return self.number >= TIMES


@dataclass(frozen=True)
class Decided:
    again: tuple[Again, ...]
    unsettled: tuple[str, ...]  # runs whose ECS tasks have not stopped: it is not known yet why


def decide(crashed: Sequence[Crashed], tasks: Iterable[Task]) -> Decided:
    """`tasks`: all that ECS knows of."""
    tasks = tuple(tasks)
    again, unsettled = [], []
    for run in crashed:
        own = own_tasks(tasks, run.id, run.pid)
        if any(not stopped(task) for task in own):
            unsettled.append(run.name)
            continue
        why = _infrastructure(run, own)
        root, number = _number(run)
        if why and number <= TIMES:
            again.append(Again(run, root, number, why))
    return Decided(tuple(again), tuple(unsettled))


def _infrastructure(run: Crashed, own: Sequence[Task]) -> str:
    """Why it was not the run's own fault; '' if it was, or may have been."""
    if own:
        found = diagnose(own[-1])
        return found.summary if found.again else ""
    # ECS has refused to start a task, and the worker was told why.
    return "the ECS task could not be placed" if no_capacity(run.message) else ""


def _number(run: Crashed) -> tuple[str, int]:
    """The first of the runs, and which time again the next is."""
    match = re.fullmatch(_KEY.format(root="(.+)", number=r"(\d+)"), run.key)
    return (match[1], int(match[2]) + 1) if match else (run.id, 1)


# --- look, and carry out -------------------------------------------------------------------------


def crashed(client: SyncPrefectClient, now: datetime) -> list[FlowRun]:
    """Of a deployment, and lately."""
    from prefect.client.schemas.filters import FlowRunFilterEndTime
    from prefect.client.schemas.objects import StateType
    from prefect.client.schemas.sorting import FlowRunSort

    since = FlowRunFilterEndTime.model_validate({"after_": now - SINCE})
    with asking("which runs have crashed"):
        found = runs(
            client, [StateType.CRASHED], FlowRunSort.END_TIME_DESC, limit=50, end_time=since
        )
    return [run for run in found if run.deployment_id]


def seen(run: FlowRun) -> Crashed:
    message = (run.state.message if run.state else "") or ""
    return Crashed(
        str(run.id), run.name, message, run.infrastructure_pid, run.idempotency_key or ""
    )


def run_again(client: SyncPrefectClient, again: Again, former: FlowRun) -> FlowRun:
    """The same parameters, for the same time; the new run, or the one that was made before."""
    from prefect.states import Scheduled

    assert former.deployment_id is not None
    variables: dict[str, Any] = dict(former.job_variables or {})
    if again.on_demand:
        variables["capacity_provider_strategy"] = ON_DEMAND
    return client.create_flow_run_from_deployment(
        former.deployment_id,
        name=again.name,
        parameters=former.parameters,
        tags=former.tags,
        idempotency_key=again.key,
        job_variables=variables,
        state=Scheduled(
            scheduled_time=former.expected_start_time or datetime.now(UTC),
            message=f"Run again after {again.run.name}: {again.why}",
        ),
    )


def followed(client: SyncPrefectClient, crashed: Sequence[Crashed]) -> set[str]:
    """The ids of those that were run again, by this orchestrator or by one before it."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterIdempotencyKey

    keys = {}
    for run in crashed:
        root, number = _number(run)
        keys[_KEY.format(root=root, number=number)] = run.id
    if not keys:
        return set()
    with asking("which runs were run again"):
        found = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                idempotency_key=FlowRunFilterIdempotencyKey(any_=list(keys))
            ),
            limit=PAGE,
        )
    return {keys[run.idempotency_key] for run in found if run.idempotency_key in keys}


def diagnosed(crashed: Sequence[Crashed], tasks: Iterable[Task]) -> dict[str, Diagnosis]:
    """By the runs' ids, what ECS says of those whose tasks it still knows and that have stopped."""
    tasks = tuple(tasks)
    own = {run.id: own_tasks(tasks, run.id, run.pid) for run in crashed}
    return {id_: diagnose(its[-1]) for id_, its in own.items() if its and stopped(its[-1])}


def newest_of(ids: Mapping[str, str], run: str) -> str:
    """The run that stands for this one by now. `ids`: of each that was run again, the newer."""
    while run in ids:
        run = ids[run]
    return run
