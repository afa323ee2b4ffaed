"""What Prefect says there is to do in our work pool."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from deployments.orchestrator.life import Unbegun
from deployments.server import asking
from deployments.set_straight import RETRYING, busy_runs
from deployments.wanted import POOL

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

SHOWN = 5  # of the next runs, and of the last
SKIPPED = "Skipped"  # the name of the state of an overdue run that a newer one stands for
# Names of states of the type SCHEDULED in which a run is waiting for something else than a worker:
# somebody has attended to it already.
ATTENDED = ("AwaitingConcurrencySlot", "AwaitingRetry", "Resuming")
LOOKED_AT = 50  # of the runs that have not begun: more than can be overdue one day and well
LONG_AGO = timedelta(days=1)  # what was due before has been overdue for long


@dataclass(frozen=True)
class Looked:
    busy: tuple[str, ...]  # in words
    next: datetime | None
    next_run: str
    coming: tuple[dict[str, str], ...]
    last: tuple[dict[str, str], ...]
    unbegun: tuple[Unbegun, ...] = ()


@dataclass
class Names:
    """Of deployments, as people write them; asked for once."""

    _known: dict[UUID, str] = field(default_factory=dict)

    def of(self, client: SyncPrefectClient, deployment: UUID | None) -> str:
        from prefect.exceptions import ObjectNotFound

        if deployment is None:
            return "no deployment"
        if deployment not in self._known:
            try:
                found = client.read_deployment(deployment)
            except ObjectNotFound:
                return "a deployment that is gone"
            self._known[deployment] = f"{client.read_flow(found.flow_id).name}/{found.name}"
        return self._known[deployment]


def look(client: SyncPrefectClient, names: Names) -> Looked:
    """Asks for what is busy, what comes, and what has ended, of runs of our pool alone: a subflow
    of a run that died stays Running for ever, and must not keep anyone awake.
    """
    from prefect.client.schemas.objects import StateType
    from prefect.client.schemas.sorting import FlowRunSort

    with asking("what there is to do"):
        busy = busy_runs(client)
        queues = _moving(client)
        coming = runs(
            client,
            [StateType.SCHEDULED],
            FlowRunSort.NEXT_SCHEDULED_START_TIME_ASC,
            limit=SHOWN,
            queues=queues,
        )
        # Once more: a run that a worker has taken meanwhile was not busy yet, and does not come any
        # more. One that was put back has been busy before.
        known = {run.id for run in busy}
        busy += tuple(run for run in busy_runs(client) if run.id not in known)
        ended = [StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED]
        last = runs(client, ended, FlowRunSort.END_TIME_DESC, limit=SHOWN, but=[SKIPPED])
        times = [run.next_scheduled_start_time for run in coming if run.next_scheduled_start_time]
        return Looked(
            busy=tuple(f"{run.name} of {names.of(client, run.deployment_id)}" for run in busy),
            next=min(times, default=None),
            next_run=f"{coming[0].name} of {names.of(client, coming[0].deployment_id)}"
            if coming
            else "",
            coming=tuple(_coming(client, names, run) for run in coming),
            last=tuple(_ended(client, names, run) for run in last),
            unbegun=_unbegun(client, names, queues),
        )


def _unbegun(
    client: SyncPrefectClient, names: Names, queues: Sequence[UUID] | None
) -> tuple[Unbegun, ...]:
    """The next of them; of those that are due at the same time any."""
    from prefect.client.schemas.filters import FlowRunFilterExpectedStartTime
    from prefect.client.schemas.objects import StateType
    from prefect.client.schemas.sorting import FlowRunSort

    since = datetime.now(UTC) - LONG_AGO
    found = runs(
        client,
        [StateType.SCHEDULED, StateType.PENDING],
        FlowRunSort.EXPECTED_START_TIME_ASC,
        limit=LOOKED_AT,
        but=ATTENDED,
        queues=queues,
        expected_start_time=FlowRunFilterExpectedStartTime.model_validate({"after_": since}),
    )
    return tuple(
        Unbegun(
            names.of(client, run.deployment_id),
            run.name,
            _plain(max(time for time in (run.expected_start_time, run.created) if time)),
        )
        for run in found
        if run.expected_start_time
    )


def _plain(time: datetime) -> datetime:
    """Before Python 3.13 Prefect's are Pendulum's, which lose such a time zone in a sum."""
    return datetime.fromtimestamp(time.timestamp(), UTC)


def runs(
    client: SyncPrefectClient,
    types: Sequence[Any],
    sort: Any,
    *,
    limit: int,
    offset: int = 0,
    but: Sequence[str] = (),
    queues: Sequence[UUID] | None = None,
    **more: Any,
) -> list[FlowRun]:
    """Of our work pool, in states of these types but not of these names; of these queues alone."""
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateName,
        FlowRunFilterStateType,
        WorkPoolFilter,
        WorkPoolFilterName,
        WorkQueueFilter,
        WorkQueueFilterId,
    )

    if queues is not None and not queues:
        return []
    state = FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types)))
    if but:
        state.name = FlowRunFilterStateName(not_any_=list(but))
    return client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=state, **more),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL])),
        work_queue_filter=None
        if queues is None
        else WorkQueueFilter(id=WorkQueueFilterId(any_=list(queues))),
        sort=sort,
        limit=limit,
        offset=offset,
    )


def _moving(client: SyncPrefectClient) -> Sequence[UUID] | None:
    """The queues of our pool, where some stand still; None where none does. Those start nothing,
    however much is due: they are paused, or the pool is. There is nothing to stay awake for.
    """
    from prefect.exceptions import ObjectNotFound

    try:
        paused = client.read_work_pool(POOL).is_paused
        queues = client.read_work_queues(work_pool_name=POOL)
    except ObjectNotFound:
        return None
    moving = [queue.id for queue in queues if not paused and not queue.is_paused]
    return None if len(moving) == len(queues) else moving


def _coming(client: SyncPrefectClient, names: Names, run: FlowRun) -> dict[str, str]:
    return {
        "deployment": names.of(client, run.deployment_id),
        "run": run.name,
        "at": iso(run.next_scheduled_start_time),
    }


def _ended(client: SyncPrefectClient, names: Names, run: FlowRun) -> dict[str, str]:
    assert run.state is not None  # it was asked for by its state
    return {
        "deployment": names.of(client, run.deployment_id),
        "run": run.name,
        "id": str(run.id),
        "state": run.state.name or "",
        "type": run.state.type.value,
        "at": iso(run.end_time or run.state.timestamp),
        "seconds": f"{run.total_run_time.total_seconds():.0f}",  # in which it was Running
        "message": (run.state.message or "")[:500],
    }


def iso(time: datetime | None) -> str:
    """As the journal has times: UTC, to the second."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if time else ""


def plan_ahead(client: SyncPrefectClient) -> None:
    """Has the server make the next scheduled runs now: otherwise it may be a minute behind, and the
    next run is what the wake-up is set by. Those that are there already are not made twice.
    """
    from prefect.client.schemas.filters import (
        WorkPoolFilter,
        WorkPoolFilterName,
    )

    with asking("to make the next scheduled runs"):
        for deployment in client.read_deployments(
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL])), limit=200
        ):
            if not deployment.paused and any(one.active for one in deployment.schedules):
                client.request(
                    "POST",
                    "/deployments/{id}/schedule",
                    path_params={"id": deployment.id},
                    json={},
                )


def look_at_database(database: Path) -> tuple[tuple[str, ...], datetime | None]:
    """What is busy in our pool and when the next run is due, once the server has stopped."""
    of_pool = (
        "FROM flow_run r JOIN work_queue q ON q.id = r.work_queue_id "
        "JOIN work_pool p ON p.id = q.work_pool_id WHERE p.name = ? "
    )
    with closing(sqlite3.connect(database)) as connection:
        busy = connection.execute(
            f"SELECT r.name {of_pool} AND (r.state_type IN ('PENDING', 'RUNNING', 'CANCELLING') "
            "OR r.state_type = 'PAUSED' AND r.state_name != 'Suspended' "
            "OR r.state_name = ? AND r.infrastructure_pid IS NOT NULL)",
            (POOL, RETRYING),
        ).fetchall()
        (due,) = connection.execute(
            f"SELECT min(r.next_scheduled_start_time) {of_pool} "
            "AND r.state_type = 'SCHEDULED' AND NOT p.is_paused AND NOT q.is_paused",
            (POOL,),
        ).fetchone()
    time = datetime.fromisoformat(due).replace(tzinfo=UTC) if due else None
    return tuple(name for (name,) in busy), time
