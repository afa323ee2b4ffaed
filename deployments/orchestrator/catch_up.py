"""Runs that were due while everybody slept.

Prefect makes a schedule's runs beforehand, but only the next few: those of a long absence never
were. So for each schedule the missed times are what it says since a worker last asked for runs, but
for those that there is a run for. What a run is there for alone does not tell: the server makes the
coming ones as soon as it starts, and after years it has forgotten those of a yearly schedule. By
default the newest of them runs and stands for the others; `catchup: all` in prefect.yaml has each
one run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from deployments.orchestrator.look import SKIPPED, Names, runs
from deployments.server import PAGE, asking
from deployments.wanted import POOL, CatchUp

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

MOST = 1000  # missed times of one schedule that are made up for at once
_WINDOWS = (timedelta(hours=2), timedelta(days=2), timedelta(days=40), timedelta(days=400))

Between = Callable[[datetime, datetime], Sequence[datetime]]


@dataclass(frozen=True)
class Overdue:
    """A run that is due and that nothing has happened to yet."""

    id: str
    at: datetime


@dataclass(frozen=True)
class Schedule:
    """What is known of one schedule."""

    deployment: str  # its id
    name: str  # 'cost-report/daily: daily', for people
    catch_up: CatchUp
    since: datetime  # up to here nothing was missed, the runs of `overdue` aside
    overdue: tuple[Overdue, ...]
    between: Between  # its times after the first and up to the second; of many, the first ones
    made: frozenset[datetime] = frozenset()  # the times since then that there is a run for


@dataclass(frozen=True)
class Make:
    """A run for a time that has passed."""

    deployment: str
    name: str
    at: datetime


@dataclass(frozen=True)
class Skip:
    run: str  # its id
    name: str
    at: datetime
    stands: datetime  # the newer time that runs in its place


Step = Make | Skip


def decide(schedules: Iterable[Schedule], now: datetime) -> tuple[Step, ...]:
    return tuple(step for schedule in schedules for step in _of(schedule, now))


def _of(schedule: Schedule, now: datetime) -> Iterable[Step]:
    if schedule.catch_up == "all":
        for at in schedule.between(schedule.since, now)[:MOST]:
            if at not in schedule.made:
                yield Make(schedule.deployment, schedule.name, at)
        return
    missed = newest(schedule.between, schedule.since, now)
    due = max((run.at for run in schedule.overdue), default=None)
    stands = max((at for at in (missed, due) if at), default=None)
    if stands is None:
        return
    if missed == stands and missed != due and missed not in schedule.made:
        yield Make(schedule.deployment, schedule.name, missed)
    for run in schedule.overdue:
        if run.at != stands:
            yield Skip(run.id, schedule.name, run.at, stands)


def newest(between: Between, since: datetime, now: datetime) -> datetime | None:
    """The last time of a schedule in an interval, looked for from its end: a schedule of every
    minute has half a million in a year.
    """
    for window in _WINDOWS:
        start = max(since, now - window)
        if last := _last(between, start, now):
            return last
        if start == since:
            return None
    return _last(between, since, now)


def _last(between: Between, since: datetime, now: datetime) -> datetime | None:
    """Prefect gives a thousand at a time."""
    last = None
    while found := between(last or since, now):
        last = found[-1]
    return last


def described(step: Step) -> str:
    match step:
        case Make(_, name, at):
            return f"{name} missed {at:%Y-%m-%d %H:%M:%S} UTC: it runs now"
        case Skip(_, name, at, stands):
            return f"{name} skips {at:%Y-%m-%d %H:%M:%S}: {stands:%Y-%m-%d %H:%M:%S} runs for it"


# --- look ----------------------------------------------------------------------------------------


def look(
    client: SyncPrefectClient, catch_up: Mapping[str, CatchUp], now: datetime
) -> tuple[Schedule, ...]:
    """Every active schedule of our work pool. `catch_up`: by the deployments' names."""
    from prefect.client.schemas.filters import WorkPoolFilter, WorkPoolFilterName

    pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL]))
    names = Names()
    found = []
    with asking("which runs are overdue"):
        overdue = _overdue(client, now)
        for deployment in client.read_deployments(work_pool_filter=pool, limit=PAGE):
            if deployment.paused:
                continue
            name = names.of(client, deployment.id)
            for schedule in deployment.schedules:
                if not schedule.active:
                    continue
                id_ = str(schedule.id)
                changed = schedule.updated or schedule.created or now
                since = max(deployment.last_polled or changed, changed)
                found.append(
                    Schedule(
                        str(deployment.id),
                        f"{name}: {schedule.slug}" if schedule.slug else name,
                        catch_up.get(name, "newest"),
                        since,
                        tuple(overdue.get(id_, ())),
                        _between(schedule.schedule),
                        _made(client, deployment.id, id_, since),
                    )
                )
    return tuple(found)


def _overdue(client: SyncPrefectClient, now: datetime) -> dict[str, list[Overdue]]:
    """By schedule. Not what waits for a concurrency slot, or has run before: that goes on."""
    from prefect.client.schemas.filters import FlowRunFilterNextScheduledStartTime
    from prefect.client.schemas.objects import StateType
    from prefect.client.schemas.sorting import FlowRunSort

    due = FlowRunFilterNextScheduledStartTime.model_validate({"before_": now})
    found: dict[str, list[Overdue]] = {}
    offset = 0
    while page := runs(
        client,
        [StateType.SCHEDULED],
        FlowRunSort.ID_DESC,
        limit=PAGE,
        offset=offset,
        next_scheduled_start_time=due,
    ):
        offset += len(page)
        for run in page:
            waits = run.state is not None and run.state.name == "AwaitingConcurrencySlot"
            at = _scheduled_for(run)
            if at and run.created_by and not run.run_count and not waits:
                found.setdefault(str(run.created_by.id), []).append(Overdue(str(run.id), at))
    return {of: sorted(those, key=lambda one: one.at) for of, those in found.items()}


def _made(
    client: SyncPrefectClient, deployment: UUID, schedule: str, since: datetime
) -> frozenset[datetime]:
    """The times that a schedule has runs for, whatever has become of them."""
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterDeploymentId,
        FlowRunFilterExpectedStartTime,
    )
    from prefect.client.schemas.sorting import FlowRunSort

    mine = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment]),
        # One that waits is expected later than its time, and none earlier.
        expected_start_time=FlowRunFilterExpectedStartTime.model_validate({"after_": since}),
    )
    made: set[datetime] = set()
    offset = 0
    while page := client.read_flow_runs(
        flow_run_filter=mine, sort=FlowRunSort.ID_DESC, limit=PAGE, offset=offset
    ):
        offset += len(page)
        of_schedule = [run for run in page if run.created_by and str(run.created_by.id) == schedule]
        made |= {at for run in of_schedule if (at := _scheduled_for(run))}
    return frozenset(made)


def _scheduled_for(run: FlowRun) -> datetime | None:
    """The schedule's own time: the others move when a run has to wait. `scheduled ID ID TIME` is
    the key that Prefect gives (`prefect/server/models/deployments.py`).
    """
    key = (run.idempotency_key or "").split(" ", 3)
    if not run.auto_scheduled or len(key) != 4 or key[0] != "scheduled":
        return None
    try:
        at = datetime.fromisoformat(key[3])
    except ValueError:
        return run.expected_start_time
    return at.astimezone(UTC)


def _between(schedule: Any) -> Between:
    def between(after: datetime, until: datetime) -> Sequence[datetime]:
        from prefect.server.schemas import schedules  # late: it takes a while, and is seldom needed

        if after >= until:
            return ()
        kind = getattr(schedules, type(schedule).__name__)
        own = kind.model_validate(schedule.model_dump())
        times = own._get_dates_generator(start=after, end=until)
        return [at.astimezone(UTC) for at in times if after < at <= until]

    return between


# --- carry out -----------------------------------------------------------------------------------


def caught_up(
    client: SyncPrefectClient, catch_up: Mapping[str, CatchUp], say: Callable[[str], None]
) -> None:
    """Looks, decides and carries out until nothing is left to do. A run that is made for one
    schedule is made for the deployment's others too, where they have that time as well: the second
    look finds those that a newer one stands for.
    """
    for _ in range(3):
        now = datetime.now(UTC)
        if not (steps := decide(look(client, catch_up, now), now)):
            return
        carry_out(client, steps, say)


def carry_out(client: SyncPrefectClient, steps: Sequence[Step], say: Callable[[str], None]) -> None:
    from prefect.states import Cancelled

    for make in [step for step in steps if isinstance(step, Make)]:
        say(described(make))
        with asking(described(make)):
            client.request(
                "POST",
                "/deployments/{id}/schedule",
                path_params={"id": make.deployment},
                json={
                    "start_time": make.at.isoformat(),
                    "end_time": make.at.isoformat(),
                    "min_runs": 1,
                    "max_runs": 1,
                },
            )
    for skip in [step for step in steps if isinstance(step, Skip)]:
        say(described(skip))
        message = f"{skip.stands:%Y-%m-%d %H:%M:%S} UTC runs for it: both were due in the sleep"
        with asking(described(skip)):
            client.set_flow_run_state(UUID(skip.run), Cancelled(name=SKIPPED, message=message))
