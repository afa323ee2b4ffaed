"""What Prefect says there is to do, and what of it keeps the orchestrator awake."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import State
from prefect.client.schemas.schedules import CronSchedule
from prefect.states import (
    AwaitingRetry,
    Cancelled,
    Cancelling,
    Completed,
    Crashed,
    Failed,
    Paused,
    Pending,
    Running,
    Scheduled,
    Suspended,
)

from deployments.orchestrator.look import (
    SHOWN,
    SKIPPED,
    Looked,
    Names,
    iso,
    look,
    look_at_database,
    plan_ahead,
)
from tests.conftest import SESSION

Deploy = Callable[..., UUID]
DATABASE = SESSION / "prefect-server" / "prefect.db"
SOON = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)


def run(prefect: SyncPrefectClient, deployment: UUID, name: str, *states: State[Any]) -> UUID:
    made = prefect.create_flow_run_from_deployment(deployment, name=name, state=states[0])
    for state in states[1:]:
        prefect.set_flow_run_state(made.id, state, force=True)
    return made.id


def at(when: datetime) -> State[Any]:
    return Scheduled(scheduled_time=when)


def test_nothing(prefect: SyncPrefectClient, deploy: Deploy) -> None:
    deploy()
    assert look(prefect, Names()) == Looked((), None, "", (), ())


@pytest.mark.parametrize("states", [[Pending], [Running], [Running, Cancelling], [Running, Paused]])
def test_what_is_busy(
    prefect: SyncPrefectClient, deploy: Deploy, states: list[Callable[[], State[Any]]]
) -> None:
    run(prefect, deploy(), "blue-cat", at(SOON), *(each() for each in states))
    assert look(prefect, Names()).busy == ("blue-cat of report/daily",)
    assert look_at_database(DATABASE) == (("blue-cat",), None)


def test_one_that_a_worker_takes_at_this_moment_is_busy(
    prefect: SyncPrefectClient, deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between one question and the next it stops coming, and was not busy before."""
    taken = run(prefect, deploy(), "blue-cat", at(SOON))

    def take(_: SyncPrefectClient) -> None:
        prefect.set_flow_run_state(taken, Pending(), force=True)

    monkeypatch.setattr("deployments.orchestrator.look._moving", take)
    assert look(prefect, Names()).busy == ("blue-cat of report/daily",)


def test_one_that_is_suspended_has_no_ecs_task(prefect: SyncPrefectClient, deploy: Deploy) -> None:
    run(prefect, deploy(), "blue-cat", at(SOON), Running(), Suspended(timeout_seconds=60))
    assert look(prefect, Names()).busy == ()
    assert look_at_database(DATABASE) == ((), None)


def test_one_that_waits_to_retry_waits_in_its_ecs_task(
    prefect: SyncPrefectClient, deploy: Deploy
) -> None:
    made = run(prefect, deploy(), "blue-cat", at(SOON), Running(), AwaitingRetry())
    assert look(prefect, Names()).busy == ()  # put back, without a task
    prefect.update_flow_run(made, infrastructure_pid="nightshift-prod::arn")
    assert look(prefect, Names()).busy == ("blue-cat of report/daily",)
    assert look_at_database(DATABASE)[0] == ("blue-cat",)


def test_a_queue_that_is_paused_starts_nothing(prefect: SyncPrefectClient, deploy: Deploy) -> None:
    queue = prefect.create_work_queue(name="slow", work_pool_name="fargate")
    deployment = deploy(work_queue_name="slow")
    run(prefect, deployment, "blue-cat", at(SOON))
    assert look(prefect, Names()).next == SOON
    prefect.update_work_queue(queue.id, is_paused=True)
    assert look(prefect, Names()).next is None
    assert look_at_database(DATABASE) == ((), None)


def test_the_database_says_what_the_server_said(prefect: SyncPrefectClient, deploy: Deploy) -> None:
    deployment = deploy()
    run(prefect, deployment, "later", at(SOON + timedelta(hours=1)))
    run(prefect, deployment, "soon", at(SOON))
    assert look(prefect, Names()).next == SOON
    assert look_at_database(DATABASE) == ((), SOON)
    prefect.update_work_pool("fargate", WorkPoolUpdate(is_paused=True))
    assert look(prefect, Names()).next is None
    assert look_at_database(DATABASE) == ((), None)


def test_what_nobody_waits_for(prefect: SyncPrefectClient, deploy: Deploy) -> None:
    """A subflow of a run that died, a run that somebody has on a laptop, one of another pool."""
    deploy()
    flow = prefect.create_flow_from_name("report")
    other = prefect.create_work_pool(WorkPoolCreate(name="other-than-ours", type="ecs"))
    try:
        elsewhere = prefect.create_deployment(flow, name="elsewhere", work_pool_name=other.name)
        alone = prefect.create_deployment(flow, name="alone")
        for deployment in (elsewhere, alone):
            run(prefect, deployment, "x", at(SOON), Running())
            run(prefect, deployment, "y", at(SOON))
        assert look(prefect, Names()) == Looked((), None, "", (), ())
    finally:
        prefect.delete_work_pool(other.name)


def test_what_comes(prefect: SyncPrefectClient, deploy: Deploy) -> None:
    deployment = deploy()
    for hour in range(SHOWN, -1, -1):
        run(prefect, deployment, f"cat-{hour}", at(SOON + timedelta(hours=hour)))
    found = look(prefect, Names())
    assert found.next == SOON
    assert found.next_run == "cat-0 of report/daily"
    assert [one["run"] for one in found.coming] == [f"cat-{hour}" for hour in range(SHOWN)]
    assert found.coming[0] == {"deployment": "report/daily", "run": "cat-0", "at": iso(SOON)}
    assert found.busy == ()


def test_a_paused_pool_starts_nothing(prefect: SyncPrefectClient, deploy: Deploy) -> None:
    deployment = deploy()
    run(prefect, deployment, "cat", at(SOON))
    run(prefect, deployment, "dog", at(SOON), Running())
    prefect.update_work_pool("fargate", WorkPoolUpdate(is_paused=True))
    found = look(prefect, Names())
    assert (found.next, found.next_run, found.coming) == (None, "", ())
    assert found.busy == ("dog of report/daily",)


def test_what_has_not_begun(prefect: SyncPrefectClient, deploy: Deploy) -> None:
    """What waits for a slot or to go on was attended to. One made for a time that has passed is
    expected from when it was made.
    """
    deployment = deploy()
    began = datetime.now(UTC)
    run(prefect, deployment, "later", at(SOON + timedelta(hours=1)))
    run(prefect, deployment, "soon", at(SOON))
    run(prefect, deployment, "taken", at(SOON), Pending())
    run(prefect, deployment, "late", at(SOON - timedelta(hours=3)))
    run(prefect, deployment, "runs", at(SOON), Running())
    run(prefect, deployment, "slot", at(SOON), Scheduled(name="AwaitingConcurrencySlot"))
    run(prefect, deployment, "retries", at(SOON), Running(), AwaitingRetry())
    found = {one.run: one for one in look(prefect, Names()).unbegun}
    assert all((one.due + timedelta(minutes=1)).tzinfo for one in found.values())
    assert set(found) == {"late", "soon", "taken", "later"}
    assert (found["soon"].deployment, found["soon"].due) == ("report/daily", SOON)
    assert began <= found["late"].due <= datetime.now(UTC)


def test_a_queue_that_stands_still_hides_nothing(
    prefect: SyncPrefectClient, deploy: Deploy
) -> None:
    """However many runs it has that are due before."""
    queue = prefect.create_work_queue(name="slow", work_pool_name="fargate")
    slow, daily = deploy("slow", work_queue_name="slow"), deploy()
    for number in range(2 * SHOWN):
        run(prefect, slow, f"slow-{number}", at(SOON - timedelta(minutes=number)))
    run(prefect, daily, "amber-fox", at(SOON + timedelta(hours=1)))
    prefect.update_work_queue(queue.id, is_paused=True)
    found = look(prefect, Names())
    assert found.next == SOON + timedelta(hours=1)
    assert [one.run for one in found.unbegun] == ["amber-fox"]


def test_what_has_ended(prefect: SyncPrefectClient, deploy: Deploy) -> None:
    deployment = deploy()
    ends: dict[str, State[Any]] = {
        "a": Completed(message="42 rows"),
        "b": Failed(message="x" * 1000),
        "c": Crashed(),
        "d": Cancelled(),
    }
    ids = {
        name: run(prefect, deployment, name, at(SOON), Running(), state)
        for name, state in ends.items()
    }
    for number in range(3 * SHOWN):
        run(prefect, deployment, f"s-{number}", at(SOON), Cancelled(name=SKIPPED))
    found = look(prefect, Names()).last
    assert [(one["run"], one["state"], one["type"]) for one in found] == [
        ("d", "Cancelled", "CANCELLED"),
        ("c", "Crashed", "CRASHED"),
        ("b", "Failed", "FAILED"),
        ("a", "Completed", "COMPLETED"),
    ]
    assert found[-1]["id"] == str(ids["a"])
    assert found[-1]["message"] == "42 rows"
    assert found[-1]["seconds"] == "0"
    assert found[-1]["deployment"] == "report/daily"
    assert len(found[-2]["message"]) == 500
    assert datetime.fromisoformat(found[0]["at"]) <= datetime.now(UTC)


def test_runs_of_a_deployment_that_is_gone(prefect: SyncPrefectClient, deploy: Deploy) -> None:
    names = Names()
    assert names.of(prefect, None) == "no deployment"
    deployment = deploy()
    assert names.of(prefect, deployment) == "report/daily"
    prefect.delete_deployment(deployment)
    assert names.of(prefect, deployment) == "report/daily", "it is known still"
    assert Names().of(prefect, deployment) == "a deployment that is gone"


def test_the_next_runs_are_made_at_once(prefect: SyncPrefectClient, deploy: Deploy) -> None:
    hourly = CronSchedule(cron="0 * * * *", timezone="UTC")
    deploy("daily", {"hourly": hourly})
    deploy("paused", {"hourly": hourly}, paused=True)
    assert look(prefect, Names()).next is None
    plan_ahead(prefect)
    found = look(prefect, Names())
    assert found.next is not None
    assert timedelta() < found.next - datetime.now(UTC) <= timedelta(hours=1)
    assert {one["deployment"] for one in found.coming} == {"report/daily"}
    plan_ahead(prefect)
    assert look(prefect, Names()) == found, "and not twice"


def test_times() -> None:
    assert iso(None) == ""
    assert iso(datetime(2026, 11, 26, 21, 0, 59, 999999, tzinfo=UTC)) == "2026-11-26T21:00:59Z"
