"""Makes a Prefect server have what prefect.yaml declares: looks, plans, carries out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from deployments.plan import (
    Change,
    CreateDeployment,
    CreatePool,
    CreateSchedule,
    DeleteDeployment,
    DeleteSchedule,
    Existing,
    ExistingSchedule,
    MakeRuns,
    Plan,
    Pool,
    Step,
    UpdateDeployment,
    UpdatePool,
    UpdateSchedule,
    described,
    plan,
)
from deployments.server import PAGE, asking, connected
from deployments.wanted import POOL, Schedule, Wanted
from deployments.work_pool import TYPE

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun, State
    from prefect.client.schemas.responses import DeploymentResponse


def reconciled(
    wanted: Sequence[Wanted],
    template: dict[str, Any],
    *,
    dry_run: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Plan:
    """Bring the server that PREFECT_API_URL names to where it should be.

    `wanted`: with their roles. Returns what was done, or would be done. Raises a Problem where
    there is no server, or where it refuses a step; what was done until then stays, and the next
    time goes on from there. `say` is told of each step before it is carried out.
    """
    with connected() as client:
        began = datetime.now(UTC)
        existing, pool = look(client)
        decided = plan(wanted, existing, pool, template)
        for note in decided.notes:
            say(f"({note})")
        if dry_run:
            for step in decided.steps:
                say(f"would {described(step)}")
        else:
            execute(client, decided, began, say)
    return decided


# --- look ----------------------------------------------------------------------------------------


def look(client: SyncPrefectClient) -> tuple[tuple[Existing, ...], Pool | None]:
    """Every deployment of the server, whichever its pool, and our pool if there is one."""
    from prefect.exceptions import ObjectNotFound

    with asking("what it has"):
        try:
            found = client.read_work_pool(POOL)
            pool = Pool(found.type, found.base_job_template, found.is_paused)
        except ObjectNotFound:
            pool = None
        flows: dict[UUID, str] = {}
        existing = []
        for deployment in _deployments(client):
            if deployment.flow_id not in flows:
                flows[deployment.flow_id] = client.read_flow(deployment.flow_id).name
            existing.append(_existing(flows[deployment.flow_id], deployment))
    return tuple(existing), pool


def _deployments(client: SyncPrefectClient) -> Iterator[DeploymentResponse]:
    offset = 0
    while page := client.read_deployments(limit=PAGE, offset=offset):
        yield from page
        offset += len(page)


def _existing(flow: str, deployment: DeploymentResponse) -> Existing:
    data = deployment.model_dump(mode="json")
    limit = deployment.global_concurrency_limit
    options = deployment.concurrency_options
    fields = {
        **data,
        "description": data["description"] or "",
        "concurrency_limit": limit.limit if limit else None,
        "concurrency_options": options.model_dump(mode="json", exclude_none=True)
        if options
        else None,
        "pull_steps": data["pull_steps"] or [],
    }
    schedules = tuple(
        ExistingSchedule(
            str(schedule.id),
            schedule.slug,
            schedule.model_dump(mode="json", include={"schedule", "parameters", "active"}),
        )
        for schedule in deployment.schedules
    )
    return Existing(str(deployment.id), f"{flow}/{deployment.name}", fields, schedules)


# --- carry out -----------------------------------------------------------------------------------


def execute(
    client: SyncPrefectClient,
    decided: Plan,
    began: datetime,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """`began`: when the server was looked at; runs due since then are made again if need be."""
    ids: dict[str, UUID] = {}  # of the deployments that are touched, by name
    for step in decided.steps:
        say(described(step))
        with asking(described(step)):
            _carry_out(client, step, began, ids)


def _carry_out(
    client: SyncPrefectClient, step: Step, began: datetime, ids: dict[str, UUID]
) -> None:
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate

    match step:
        case CreatePool(template):
            client.create_work_pool(
                WorkPoolCreate(name=POOL, type=TYPE, base_job_template=dict(template))
            )
        case UpdatePool(template):
            client.update_work_pool(POOL, WorkPoolUpdate(base_job_template=dict(template)))
        case CreateDeployment(wanted):
            ids[wanted.name] = _create(client, wanted)
        case UpdateDeployment(name, id_, changes):
            ids[name] = UUID(id_)
            _update(client, ids[name], changes)
        case CreateSchedule(name, id_, schedule):
            ids[name] = UUID(id_)
            client.request(
                "POST",
                "/deployments/{id}/schedules",
                path_params={"id": id_},
                json=[_schedule(schedule)],
            )
        case UpdateSchedule(name, id_, schedule_id, _, changes):
            ids[name] = UUID(id_)
            client.request(
                "PATCH",
                "/deployments/{id}/schedules/{schedule_id}",
                path_params={"id": id_, "schedule_id": schedule_id},
                json={change.key: change.becomes for change in changes},
            )
        case DeleteSchedule(name, id_, schedule_id):
            ids[name] = UUID(id_)
            with _overdue_kept(client, ids[name]):
                client.delete_deployment_schedule(ids[name], UUID(schedule_id))
        case DeleteDeployment(_, id_):
            client.delete_deployment(UUID(id_))
        case MakeRuns(name):
            # From `began` on: a change that spans six o'clock deletes the run of six o'clock. One
            # that is there already is not made twice: its key names schedule and time.
            client.request(
                "POST",
                "/deployments/{id}/schedule",
                path_params={"id": ids[name]},
                json={"start_time": began.isoformat()},
            )


def _create(client: SyncPrefectClient, wanted: Wanted) -> UUID:
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.objects import ConcurrencyOptions

    flow, _, name = wanted.name.rpartition("/")
    fields = dict(wanted.fields)
    if fields["work_queue_name"] == "default":
        del fields["work_queue_name"]  # the server knows; named, it would look for one to make
    if options := fields.pop("concurrency_options"):
        fields["concurrency_options"] = ConcurrencyOptions(**options)
    return client.create_deployment(
        flow_id=client.create_flow_from_name(flow),
        name=name,
        schedules=[
            DeploymentScheduleCreate.model_validate(_schedule(schedule))
            for schedule in wanted.schedules
        ],
        **fields,
    )


def _update(client: SyncPrefectClient, id_: UUID, changes: Sequence[Change]) -> None:
    fields = {change.key: change.becomes for change in changes}
    if fields.keys() & {"work_pool_name", "work_queue_name"}:
        fields["work_pool_name"] = POOL  # the server wants both to find the queue
        fields.setdefault("work_queue_name", "default")
    client.request("PATCH", "/deployments/{id}", path_params={"id": id_}, json=fields)


def _schedule(schedule: Schedule) -> dict[str, Any]:
    return {"slug": schedule.slug, **schedule.fields}


@contextmanager
def _overdue_kept(client: SyncPrefectClient, deployment: UUID) -> Iterator[None]:
    """Deleting one schedule makes Prefect delete every run that any of the deployment's schedules
    made, those too that are due and have not started. It spares what waits for a concurrency slot
    (`prefect/server/models/deployments.py`, `_delete_scheduled_runs`): let them seem to, meanwhile.
    Should this end in between, they run all the same.
    """
    from prefect.states import AwaitingConcurrencySlot, Scheduled

    overdue = _overdue(client, deployment)
    for run in overdue:
        waiting: State[Any] = AwaitingConcurrencySlot(scheduled_time=run.next_scheduled_start_time)
        client.set_flow_run_state(run.id, waiting, force=True)
    try:
        yield
    finally:
        for run in overdue:
            due: State[Any] = Scheduled(scheduled_time=run.next_scheduled_start_time)
            client.set_flow_run_state(run.id, due, force=True)


def _overdue(client: SyncPrefectClient, deployment: UUID) -> list[FlowRun]:
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterDeploymentId,
        FlowRunFilterNextScheduledStartTime,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType

    due = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        next_scheduled_start_time=FlowRunFilterNextScheduledStartTime.model_validate(
            {"before_": datetime.now(UTC)}
        ),
    )
    runs: list[FlowRun] = []
    while page := client.read_flow_runs(flow_run_filter=due, limit=PAGE, offset=len(runs)):
        runs += page
    return [
        run
        for run in runs
        if run.auto_scheduled
        and not run.run_count
        and run.state
        and run.state.name != "AwaitingConcurrencySlot"
    ]
