"""What runs for the times that were slept through."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import AwaitingRetry, Completed, Pending, Running, Scheduled

from deployments.orchestrator.catch_up import (
    MOST,
    Between,
    Make,
    Overdue,
    Schedule,
    Skip,
    _between,
    caught_up,
    decide,
    described,
    look,
    newest,
)

BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


NOW = at("2026-11-26T21:00:30")


def cron(text: str, timezone: str = "UTC") -> Between:
    return _between(CronSchedule(cron=text, timezone=timezone))


def schedule(
    between: Between,
    since: datetime,
    *overdue: datetime,
    made: Sequence[datetime] = (),
    all: bool = False,
) -> Schedule:
    return Schedule(
        "the-id",
        "report/daily: daily",
        "all" if all else "newest",
        since,
        tuple(Overdue(f"run-{number}", time) for number, time in enumerate(overdue)),
        between,
        frozenset([*overdue, *made]),
    )


def left(of: Schedule, now: datetime = NOW) -> list[datetime]:
    """The times that are left to run after the steps, in order."""
    steps = decide([of], now)
    skipped = {step.run for step in steps if isinstance(step, Skip)}
    made = [step.at for step in steps if isinstance(step, Make)]
    return sorted([*made, *(run.at for run in of.overdue if run.id not in skipped)])


# --- the newest, or all --------------------------------------------------------------------------

DAILY = cron("0 6 * * *")


@pytest.mark.parametrize("away", [5 * MINUTE, 3 * DAY, 60 * DAY], ids=["5 min", "3 d", "60 d"])
@pytest.mark.parametrize("beforehand", [0, 1, 3])
def test_the_newest_stands_for_the_others(away: timedelta, beforehand: int) -> None:
    """`beforehand`: how many runs the server had made when it went to sleep."""
    last = at("2026-11-26T06:00:00")
    since, now = last - away, last + 5 * MINUTE
    coming = [time for time in DAILY(since, since + (beforehand + 1) * DAY) if time <= now][
        :beforehand
    ]
    found = schedule(DAILY, since, *coming)
    assert left(found, now) == [last]
    steps = decide([found], now)
    assert [step.at for step in steps if isinstance(step, Make)] == [last] * (last not in coming)
    assert all(step.stands == last for step in steps if isinstance(step, Skip))


@pytest.mark.parametrize("days", [1, 3, 60])
@pytest.mark.parametrize("beforehand", [0, 1, 3])
def test_all_of_them(days: int, beforehand: int) -> None:
    since = NOW - days * DAY
    expected = list(DAILY(since, NOW))
    assert len(expected) == days
    assert left(schedule(DAILY, since, *expected[:beforehand], all=True)) == expected


def test_nothing_was_missed() -> None:
    for all in (False, True):
        assert decide([schedule(DAILY, at("2026-11-26T06:00:00"), all=all)], NOW) == ()
        assert decide([schedule(DAILY, NOW + HOUR, all=all)], NOW) == ()


def test_what_has_run_already_is_not_made_again() -> None:
    since = at("2026-11-25T05:00:00")
    ran = [at("2026-11-25T06:00:00"), at("2026-11-26T06:00:00")]
    assert decide([schedule(DAILY, since, made=ran)], NOW) == ()
    assert decide([schedule(DAILY, since, made=ran, all=True)], NOW) == ()
    assert left(schedule(DAILY, since, made=ran[1:], all=True)) == ran[:1]


def test_an_older_one_is_skipped_where_a_newer_one_has_run() -> None:
    first, second = at("2026-11-25T06:00:00"), at("2026-11-26T06:00:00")
    (step,) = decide([schedule(DAILY, first - HOUR, first, made=[second])], NOW)
    assert step == Skip("run-0", "report/daily: daily", first, second)


def test_runs_that_the_server_makes_as_it_starts_hide_nothing() -> None:
    """Its scheduler makes the coming ones before anybody can look."""
    since = NOW - 60 * DAY
    three = list(DAILY(since, since + 3 * DAY))
    coming = [NOW + n * DAY for n in range(3)]
    found = schedule(DAILY, since, *three, made=coming)
    assert left(found) == [at("2026-11-26T06:00:00")]


def test_all_of_many_are_so_many_at_once() -> None:
    steps = decide([schedule(cron("* * * * *"), NOW - 60 * DAY, all=True)], NOW)
    assert len(steps) == MOST
    assert steps[0].at == NOW.replace(second=0) + MINUTE - 60 * DAY


def test_each_schedule_by_itself() -> None:
    hourly = cron("0 * * * *")
    steps = decide([schedule(DAILY, NOW - DAY), schedule(hourly, NOW - DAY)], NOW)
    assert [step.at for step in steps] == [at("2026-11-26T06:00:00"), at("2026-11-26T21:00:00")]


def test_in_words() -> None:
    first, second = at("2026-11-25T06:00:00"), at("2026-11-26T06:00:00")
    steps = decide([schedule(DAILY, first - HOUR, first)], NOW)
    assert [described(step) for step in steps] == [
        "report/daily: daily missed 2026-11-26 06:00:00 UTC: it runs now",
        "report/daily: daily skips 2026-11-25 06:00:00: 2026-11-26 06:00:00 runs for it",
    ]
    assert steps[1] == Skip("run-0", "report/daily: daily", first, second)


# --- clocks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "timezone", "since", "until", "expected"),
    [
        # Forward: there is no half past two in Berlin on the 29th; it runs an hour later.
        (
            *("30 2 * * *", BERLIN, "2026-03-28T00:00:00", "2026-03-30T12:00:00"),
            ["2026-03-28T01:30:00", "2026-03-29T01:30:00", "2026-03-30T00:30:00"],
        ),
        # Back: it is half past two twice, and runs once.
        (
            *("30 2 * * *", BERLIN, "2026-10-24T00:00:00", "2026-10-26T12:00:00"),
            ["2026-10-24T00:30:00", "2026-10-25T00:30:00", "2026-10-26T01:30:00"],
        ),
        (
            *("30 2 * * *", NEW_YORK, "2026-03-07T00:00:00", "2026-03-09T12:00:00"),
            ["2026-03-07T07:30:00", "2026-03-08T07:30:00", "2026-03-09T06:30:00"],
        ),
        (
            *("30 1 * * *", NEW_YORK, "2026-10-31T00:00:00", "2026-11-02T12:00:00"),
            ["2026-10-31T05:30:00", "2026-11-01T05:30:00", "2026-11-02T06:30:00"],
        ),
        (
            *("0 6 * * *", BERLIN, "2026-03-28T00:00:00", "2026-03-30T12:00:00"),
            ["2026-03-28T05:00:00", "2026-03-29T04:00:00", "2026-03-30T04:00:00"],
        ),
        (
            *("0 0 29 2 *", "UTC", "2027-01-01T00:00:00", "2028-12-31T00:00:00"),
            ["2028-02-29T00:00:00"],
        ),
        ("0 0 29 2 *", "UTC", "2027-01-01T00:00:00", "2028-02-28T23:59:59", []),
    ],
)
def test_the_schedules_own_clock(
    text: str, timezone: str, since: str, until: str, expected: list[str]
) -> None:
    between = cron(text, timezone)
    times = [at(time) for time in expected]
    assert left(schedule(between, at(since), all=True), at(until)) == times
    assert left(schedule(between, at(since)), at(until)) == times[-1:]
    # Looked at after each: no time is missed and none comes twice.
    assert [newest(between, time - MINUTE, time) for time in times] == times
    assert [newest(between, time, time + MINUTE) for time in times] == [None] * len(times)


@pytest.mark.parametrize(
    "text", ["*/30 * * * *", "15 * * * *", "30 2 * * *", "0 0 * * 0", "0 12 1 * *"]
)
@pytest.mark.parametrize("timezone", ["UTC", BERLIN, NEW_YORK, "Australia/Lord_Howe"])
@pytest.mark.parametrize("turn", ["2026-03-29", "2026-10-25", "2026-03-08", "2026-11-01"])
def test_in_two_halves_as_in_one(text: str, timezone: str, turn: str) -> None:
    """Where a sleep ends must not matter."""
    between = cron(text, timezone)
    first = at(f"{turn}T00:00:00") - 12 * HOUR
    whole = list(between(first, first + 48 * HOUR))
    assert whole == sorted(set(whole))
    halves: list[datetime] = []
    for hour in range(48):
        halves += between(first + hour * HOUR, first + (hour + 1) * HOUR)
    assert halves == whole


def test_intervals_and_rules() -> None:
    anchor = at("2026-01-01T00:10:00")
    every = _between(IntervalSchedule(interval=8 * HOUR, anchor_date=anchor, timezone="UTC"))
    assert left(schedule(every, NOW - 3 * DAY)) == [at("2026-11-26T16:10:00")]
    daily = _between(IntervalSchedule(interval=DAY, anchor_date=anchor, timezone=BERLIN))
    assert left(
        schedule(daily, at("2026-03-28T12:00:00"), all=True), at("2026-03-31T12:00:00")
    ) == [
        at("2026-03-29T00:10:00"),
        at("2026-03-29T23:10:00"),  # an hour less by the clock of UTC
        at("2026-03-30T23:10:00"),
    ]
    rule = _between(
        RRuleSchedule(rrule="DTSTART:20260101T060000\nFREQ=WEEKLY;BYDAY=MO,TH", timezone=BERLIN)
    )
    assert left(schedule(rule, NOW - 14 * DAY, all=True)) == [
        at(f"2026-11-{day}T05:00:00") for day in (16, 19, 23, 26)
    ]
    assert left(schedule(rule, NOW - 14 * DAY)) == [at("2026-11-26T05:00:00")]


# --- it does not take long -----------------------------------------------------------------------


def counted(between: Between, calls: list[int]) -> Between:
    def counting(after: datetime, until: datetime) -> Sequence[datetime]:
        found = between(after, until)
        calls.append(len(found))
        return found

    return counting


@pytest.mark.parametrize("seconds", [60, 10])
def test_a_busy_schedule_after_a_long_sleep(seconds: int) -> None:
    between = _between(
        IntervalSchedule(interval=timedelta(seconds=seconds), anchor_date=at("2026-01-01T00:00:00"))
    )
    calls: list[int] = []
    assert left(schedule(counted(between, calls), NOW - 60 * DAY)) == [
        NOW if seconds == 10 else NOW.replace(second=0)
    ]
    assert len(calls) <= 2
    assert sum(calls) <= 1000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("* 0-17 * * *", "2026-11-26T17:59:00"),  # 2160 in the two days that are looked at
        ("*/5 * * * 0", "2026-11-22T23:55:00"),  # 1728 in the forty
        ("0 0 1 1 *", "2026-01-01T00:00:00"),
    ],
)
def test_the_newest_of_more_than_prefect_gives_at_once(text: str, expected: str) -> None:
    calls: list[int] = []
    found = newest(counted(cron(text), calls), NOW - 800 * DAY, NOW)
    assert found == at(expected)
    assert len(calls) <= 8


# --- with a server -------------------------------------------------------------------------------

Deploy = Callable[..., UUID]
Edit = Callable[..., None]

REAL = datetime.now(UTC)
BEFORE = REAL - 10 * DAY  # when the deployments here were made
EVERY_6_HOURS = CronSchedule(cron="0 */6 * * *", timezone="UTC")


@pytest.fixture
def old(deploy: Deploy, edit: Edit) -> Deploy:
    """A deployment of ten days ago, for which a worker has asked last three days ago, or when
    `polled` says.
    """

    def made(*arguments: Any, polled: datetime | None = REAL - 3 * DAY, **more: Any) -> UUID:
        deployment = deploy(*arguments, **more)
        edit("deployment_schedule", deployment, created=BEFORE, updated=BEFORE)
        if polled:
            edit("deployment", deployment, last_polled=polled)
        return deployment

    return made


def make_runs(prefect: SyncPrefectClient, deployment: UUID, first: datetime, runs: int = 3) -> None:
    """As the server's scheduler does."""
    prefect.request(
        "POST",
        "/deployments/{id}/schedule",
        path_params={"id": deployment},
        json={"start_time": first.isoformat(), "min_runs": runs, "max_runs": runs},
    )


def runs_of(prefect: SyncPrefectClient, deployment: UUID) -> list[FlowRun]:
    found = prefect.read_flow_runs(sort=FlowRunSort.EXPECTED_START_TIME_ASC)
    return [run for run in found if run.deployment_id == deployment]


def waiting(prefect: SyncPrefectClient, deployment: UUID) -> list[datetime]:
    return [
        run.expected_start_time
        for run in runs_of(prefect, deployment)
        if run.expected_start_time
        and run.state
        and run.state.is_scheduled()
        and run.expected_start_time <= datetime.now(UTC)
    ]


def skipped(prefect: SyncPrefectClient, deployment: UUID) -> list[FlowRun]:
    return [
        run
        for run in runs_of(prefect, deployment)
        if run.state and run.state.is_cancelled() and run.state.name == "Skipped"
    ]


def catch_up(prefect: SyncPrefectClient, **catch_up: Any) -> list[str]:
    said: list[str] = []
    caught_up(prefect, {f"report/{name}": what for name, what in catch_up.items()}, said.append)
    return said


def states(prefect: SyncPrefectClient, deployment: UUID) -> list[tuple[UUID, UUID]]:
    return [(run.id, run.state.id) for run in runs_of(prefect, deployment) if run.state]


def due(since: datetime = REAL - 3 * DAY, schedule: Any = EVERY_6_HOURS) -> list[datetime]:
    return list(_between(schedule)(since, datetime.now(UTC)))


def test_one_is_left_to_run(prefect: SyncPrefectClient, old: Deploy) -> None:
    deployment = old(schedules={"often": EVERY_6_HOURS}, parameters={"a": 1})
    make_runs(prefect, deployment, REAL - 3 * DAY)
    assert waiting(prefect, deployment) == due()[:3]
    make_runs(prefect, deployment, REAL)  # its scheduler, as it starts
    said = catch_up(prefect)
    assert len(said) == 4
    assert waiting(prefect, deployment) == due()[-1:]
    passed = skipped(prefect, deployment)
    assert [run.expected_start_time for run in passed] == due()[:3]
    for run in passed:
        assert run.state is not None
        assert f"{due()[-1]:%Y-%m-%d %H:%M:%S} UTC runs for it" in (run.state.message or "")
    newest_run = next(
        run for run in runs_of(prefect, deployment) if run.expected_start_time == due()[-1]
    )
    assert newest_run.parameters == {"a": 1}
    assert newest_run.auto_scheduled
    assert newest_run.created_by is not None
    # Once more, and after the worker has asked: nothing.
    before = states(prefect, deployment)
    assert catch_up(prefect) == []
    assert states(prefect, deployment) == before
    prefect.get_scheduled_flow_runs_for_work_pool("fargate", scheduled_before=datetime.now(UTC))
    assert catch_up(prefect) == []


def test_where_none_was_made_beforehand(prefect: SyncPrefectClient, old: Deploy) -> None:
    deployment = old(schedules={"often": EVERY_6_HOURS})
    assert len(catch_up(prefect)) == 1
    assert waiting(prefect, deployment) == due()[-1:]
    assert catch_up(prefect) == []


def test_all_are_left_to_run(prefect: SyncPrefectClient, old: Deploy) -> None:
    deployment = old(schedules={"often": EVERY_6_HOURS})
    make_runs(prefect, deployment, REAL - 3 * DAY)
    make_runs(prefect, deployment, REAL)
    catch_up(prefect, daily="all")
    assert waiting(prefect, deployment) == due()
    assert skipped(prefect, deployment) == []
    assert catch_up(prefect, daily="all") == []
    assert waiting(prefect, deployment) == due()


def test_killed_on_the_way(prefect: SyncPrefectClient, old: Deploy) -> None:
    """Whatever step was the last: the next life arrives at the same."""
    for wish in ("newest", "all"):
        deployment = old(wish, schedules={"often": EVERY_6_HOURS})
        make_runs(prefect, deployment, REAL - 3 * DAY)

        class KilledError(Exception):
            pass

        for last in range(1, 5):
            said: list[str] = []

            def say(text: str, said: list[str] = said, last: int = last) -> None:
                said.append(text)
                if len(said) == last:
                    raise KilledError

            try:
                caught_up(prefect, {f"report/{wish}": wish}, say)
            except KilledError:
                make_runs(prefect, deployment, datetime.now(UTC))
        catch_up(prefect, **{wish: wish})
        assert waiting(prefect, deployment) == (due() if wish == "all" else due()[-1:])


def test_two_schedules_with_a_time_in_common(prefect: SyncPrefectClient, old: Deploy) -> None:
    """To make the one's run is to make the other's, which is not its newest."""
    seldom = CronSchedule(cron="0 */12 * * *", timezone="UTC")
    deployment = old(schedules={"often": EVERY_6_HOURS, "seldom": seldom})
    catch_up(prefect)
    assert waiting(prefect, deployment) == sorted([due()[-1], due(schedule=seldom)[-1]])
    assert catch_up(prefect) == []


@pytest.mark.parametrize("wish", ["newest", "all"])
def test_nothing_from_before_the_schedule_was(
    prefect: SyncPrefectClient, old: Deploy, edit: Edit, wish: str
) -> None:
    deployment = old(schedules={"often": EVERY_6_HOURS})
    changed = due()[-2] + MINUTE
    edit("deployment_schedule", deployment, updated=changed)
    catch_up(prefect, daily=wish)
    assert waiting(prefect, deployment) == due()[-1:]
    edit("deployment_schedule", deployment, updated=REAL)
    assert catch_up(prefect, daily=wish) == []


@pytest.mark.parametrize("wish", ["newest", "all"])
def test_a_run_that_prefect_has_forgotten_does_not_run_again(
    prefect: SyncPrefectClient, old: Deploy, wish: str
) -> None:
    """A yearly schedule's last run is older than the history: of that it has run, only the worker's
    having asked since tells.
    """
    deployment = old(schedules={"often": EVERY_6_HOURS}, polled=REAL)
    assert catch_up(prefect, daily=wish) == []
    assert runs_of(prefect, deployment) == []


def test_prefect_notes_when_a_worker_asks(prefect: SyncPrefectClient, old: Deploy) -> None:
    """For every deployment, whether there is anything for it or not. All of this rests on it."""
    ids = [old(name, schedules={"often": EVERY_6_HOURS}) for name in ("one", "two")]
    ids.append(old("paused", schedules={"often": EVERY_6_HOURS}, paused=True))
    began = datetime.now(UTC)
    prefect.get_scheduled_flow_runs_for_work_pool("fargate", scheduled_before=began)
    until = time.monotonic() + 30
    while not all((prefect.read_deployment(id).last_polled or BEFORE) >= began for id in ids):
        assert time.monotonic() < until
        time.sleep(0.1)
    assert [each.since >= began for each in look(prefect, {}, datetime.now(UTC))] == [True, True]
    # The schedules have not changed by that.
    for id in ids:
        (schedule,) = prefect.read_deployment(id).schedules
        assert schedule.updated is not None
        assert schedule.updated < REAL - DAY


def test_before_any_worker(prefect: SyncPrefectClient, old: Deploy) -> None:
    deployment = old(schedules={"often": EVERY_6_HOURS}, polled=None)
    catch_up(prefect, daily="all")
    assert waiting(prefect, deployment) == due(BEFORE)


def test_what_is_paused_or_inactive_is_left_alone(
    prefect: SyncPrefectClient, old: Deploy, edit: Edit
) -> None:
    paused = old("paused", schedules={"often": EVERY_6_HOURS})
    inactive = old("inactive", schedules={"often": EVERY_6_HOURS})
    for deployment in (paused, inactive):
        make_runs(prefect, deployment, REAL - 3 * DAY)
    edit("deployment", paused, paused=1)
    edit("deployment_schedule", inactive, active=0)
    before = states(prefect, paused) + states(prefect, inactive)
    assert len(before) == 6
    assert catch_up(prefect, paused="all") == []
    assert states(prefect, paused) + states(prefect, inactive) == before


def test_what_has_begun_or_waits_is_left_alone(prefect: SyncPrefectClient, old: Deploy) -> None:
    deployment = old(schedules={"often": EVERY_6_HOURS})
    make_runs(prefect, deployment, REAL - 3 * DAY, 5)
    by_hand = prefect.create_flow_run_from_deployment(
        deployment, state=Scheduled(scheduled_time=REAL - DAY)
    )
    retries, waits, ends, *others = (
        runs_of(prefect, deployment)[:3] + runs_of(prefect, deployment)[3:]
    )
    state: State[Any]
    for state in (Pending(), Running(), AwaitingRetry(scheduled_time=REAL - HOUR)):
        prefect.set_flow_run_state(retries.id, state, force=True)
    prefect.set_flow_run_state(
        waits.id,
        Scheduled(name="AwaitingConcurrencySlot", scheduled_time=REAL - HOUR),
        force=True,
    )
    for state in (Pending(), Running(), Completed()):
        prefect.set_flow_run_state(ends.id, state, force=True)
    alone = {run.id: run.state.id for run in runs_of(prefect, deployment) if run.state}
    for other in others:
        if other.id != by_hand.id:
            del alone[other.id]
    assert len(alone) == 4
    catch_up(prefect)
    now = {run.id: run.state.id for run in runs_of(prefect, deployment) if run.state}
    assert {id: now[id] for id in alone} == alone
    assert {run.id for run in skipped(prefect, deployment)} == {
        run.id for run in others if run.id != by_hand.id
    }


def test_one_that_was_put_back_counts_by_its_own_time(
    prefect: SyncPrefectClient, old: Deploy
) -> None:
    """A worker took it and died: it is due now, but was made for then."""
    deployment = old(schedules={"often": EVERY_6_HOURS})
    make_runs(prefect, deployment, REAL - 3 * DAY, 1)
    (run,) = runs_of(prefect, deployment)
    prefect.set_flow_run_state(run.id, Pending())
    prefect.set_flow_run_state(run.id, Scheduled(scheduled_time=datetime.now(UTC)))
    catch_up(prefect)
    assert waiting(prefect, deployment) == due()[-1:]
    assert [one.id for one in skipped(prefect, deployment)] == [run.id]


def test_more_than_a_page(
    prefect: SyncPrefectClient, old: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deployments.orchestrator import catch_up as module

    monkeypatch.setattr(module, "PAGE", 2)
    deployment = old(schedules={"often": EVERY_6_HOURS})
    make_runs(prefect, deployment, REAL - 3 * DAY, 5)
    catch_up(prefect)
    assert waiting(prefect, deployment) == due()[-1:]
    assert len(skipped(prefect, deployment)) == 5


def test_other_work_pools_are_not_ours(prefect: SyncPrefectClient, old: Deploy) -> None:
    from prefect.client.schemas.actions import WorkPoolCreate

    old(schedules={"often": EVERY_6_HOURS})
    found = look(prefect, {}, datetime.now(UTC))
    assert [each.name for each in found] == ["report/daily: often"]
    assert found[0].catch_up == "newest"
    prefect.delete_work_pool("fargate")
    prefect.create_work_pool(WorkPoolCreate(name="fargate", type="ecs"))
    assert look(prefect, {}, datetime.now(UTC)) == ()
