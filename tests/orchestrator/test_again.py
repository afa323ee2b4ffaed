"""Runs that the infrastructure ended are run again, and their own faults are not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Completed, Crashed, Failed, Pending, Running, Scheduled

from deployments.diagnosis import FORGOTTEN, ORPHANED, diagnose
from deployments.orchestrator import again
from deployments.orchestrator.again import (
    ON_DEMAND,
    SINCE,
    TIMES,
    Again,
    crashed,
    decide,
    newest_of,
    run_again,
    seen,
)
from tests.orchestrator.prefect_runs import all_runs

CLUSTER = "nightshift-prod"
ARN = f"arn:aws:ecs:eu-west-1:123456789012:task/{CLUSTER}/"
NOW = datetime(2026, 11, 26, 21, tzinfo=UTC)


def run(id: str = "run-1", name: str = "blue-cat", **more: Any) -> again.Crashed:
    given = {"message": "", "pid": f"{CLUSTER}::{ARN}one", "key": ""}
    return again.Crashed(id, name, **{**given, **more})


def task(name: str = "one", of: str = "run-1", status: str = "STOPPED", **more: Any) -> Any:
    return {
        "taskArn": ARN + name,
        "lastStatus": status,
        "createdAt": NOW,
        "tags": [{"key": "prefect.io/flow-run-id", "value": of}] if of else [],
        "containers": [{"name": "prefect", "exitCode": 137}],
        **more,
    }


SPOT = {"stopCode": "SpotInterruption", "stoppedReason": "Your Spot Task was interrupted."}
NO_ROOM = "Capacity is unavailable at this time. Please try again later"
ORPHAN = {"stopCode": "UserInitiated", "stoppedReason": ORPHANED}


def failed(reason: str) -> dict[str, Any]:
    return {"stopCode": "TaskFailedToStart", "stoppedReason": reason, "containers": []}


def exited(code: int | None, reason: str = "") -> dict[str, Any]:
    container = {"name": "prefect", "exitCode": code, "reason": reason}
    return {"stopCode": "EssentialContainerExited", "containers": [container]}


# --- whose fault it was --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of", "why"),
    [
        (SPOT, "Spot took the machine back"),
        ({"stopCode": "TerminationNotice"}, "AWS took the machine back for maintenance"),
        (failed(NO_ROOM), "the ECS task could not be placed"),
        (failed("RESOURCE:FARGATE"), "the ECS task could not be placed"),
        (ORPHAN, "the orchestrator was replaced"),
    ],
    ids=["spot", "maintenance", "capacity", "resource", "orphan"],
)
def test_what_is_run_again(of: dict[str, Any], why: str) -> None:
    assert diagnose(task(**of)).again
    (one,) = decide([run()], [task(**of)]).again
    assert why in one.why
    assert one.number == 1
    assert one.root == "run-1"


@pytest.mark.parametrize(
    "of",
    [
        *(exited(0), exited(1), exited(127), exited(137), exited(143), exited(None)),
        exited(137, "OutOfMemoryError: container killed"),
        failed("CannotPullContainerError: not found"),
        failed("ResourceInitializationError: unable to pull secrets"),
        failed("CannotStartContainerError: no such file"),
        failed("something new"),
        {"stopCode": "UserInitiated", "stoppedReason": "Task stopped by user"},
        {"stopCode": "ServiceSchedulerInitiated"},
        {"containers": []},
    ],
)
def test_what_is_not(of: dict[str, Any]) -> None:
    assert not diagnose(task(**of)).again
    assert decide([run()], [task(**of)]) == again.Decided((), ())


def test_a_task_that_ecs_has_forgotten_may_have_failed_by_itself() -> None:
    assert not FORGOTTEN.again
    assert decide([run(message=str(FORGOTTEN))], []) == again.Decided((), ())
    assert decide([run(message=str(FORGOTTEN), pid=None)], [task(of="run-2")]).again == ()


@pytest.mark.parametrize("pid", [None, f"{CLUSTER}::{ARN}one"])
def test_where_ecs_has_started_nothing_the_worker_knows_why(pid: str | None) -> None:
    said = f"Flow run could not be submitted to infrastructure: RunTask: {NO_ROOM}"
    (one,) = decide([run(message=said, pid=pid)], []).again
    assert one.why == "the ECS task could not be placed"
    assert decide([run(message="RunTask: AccessDenied", pid=pid)], []).again == ()


def test_what_its_message_says_is_nothing_where_there_is_a_task() -> None:
    """A flow may log whatever it likes."""
    assert decide([run(message=NO_ROOM)], [task(**exited(1))]).again == ()


@pytest.mark.parametrize("status", ["RUNNING", "STOPPING", "DEPROVISIONING", "DEACTIVATING"])
@pytest.mark.parametrize(("pid", "of"), [(None, "run-1"), (f"{CLUSTER}::{ARN}one", "")])
def test_not_before_its_task_has_stopped(status: str, pid: str | None, of: str) -> None:
    """Otherwise two of them would run at once."""
    one = run(pid=pid)
    assert decide([one], [task(status=status, of=of, **SPOT)]) == again.Decided((), ("blue-cat",))
    assert len(decide([one], [task(of=of, **SPOT)]).again) == 1


def test_the_newest_of_its_tasks_says_why() -> None:
    """Interrupted first, put back by itself, then failed; and the other way round."""
    later: dict[str, Any] = {"createdAt": NOW + timedelta(minutes=5)}
    assert decide([run()], [task("two", **later, **exited(1)), task(**SPOT)]).again == ()
    assert len(decide([run()], [task("two", **later, **SPOT), task(**exited(1))]).again) == 1
    alive = task("two", status="RUNNING", **later)
    assert decide([run()], [task(**SPOT), alive]).unsettled == ("blue-cat",)


def test_each_by_itself() -> None:
    runs = [run(f"run-{n}", f"cat-{n}", pid=f"{CLUSTER}::{ARN}{n}") for n in range(3)]
    tasks = [
        task("0", "run-0", **SPOT),
        task("1", "run-1", **exited(1)),
        task("2", "run-2", "STOPPING", **SPOT),
    ]
    decided = decide(runs, tasks)
    assert [one.run.id for one in decided.again] == ["run-0"]
    assert decided.unsettled == ("cat-2",)


# --- how often -----------------------------------------------------------------------------------


def test_so_many_times_and_the_last_on_demand() -> None:
    one, names, times = run(), [], []
    for number in range(1, TIMES + 1):
        (next_,) = decide([one], [task(**SPOT)]).again
        assert next_.number == number
        assert next_.root == "run-1", "the first's, whichever died last"
        names.append(next_.name)
        times.append(next_.on_demand)
        one = run(f"run-{number + 1}", next_.name, key=next_.key)
    assert names == ["blue-cat-again", "blue-cat-again-2"]
    assert times == [False, True]
    assert decide([one], [task(of=one.id, **SPOT)]) == again.Decided((), ())


def test_another_key_is_a_first_run() -> None:
    for key in ("scheduled a b 2026-11-26T06:00:00+00:00", "request 0123", "nightshift again x"):
        (next_,) = decide([run(key=key)], [task(**SPOT)]).again
        assert (next_.root, next_.number) == ("run-1", 1)


def test_which_run_stands_for_which() -> None:
    ids = {"a": "b", "b": "c", "x": "y"}
    assert [newest_of(ids, run) for run in "abcxyz"] == ["c", "c", "c", "y", "y", "z"]


# --- with a server -------------------------------------------------------------------------------

Make = Callable[..., FlowRun]


@pytest.fixture
def make(prefect: SyncPrefectClient, deploy: Callable[..., UUID]) -> Make:
    deployment = deploy(parameters={"most": 1, "note": "as declared"}, tags=["nightly"])

    def made(*states: State[Any], **more: Any) -> FlowRun:
        one = prefect.create_flow_run_from_deployment(deployment, **more)
        for state in states:
            prefect.set_flow_run_state(one.id, state, force=True)
        prefect.update_flow_run(one.id, infrastructure_pid=f"{CLUSTER}::{ARN}{one.id}")
        return prefect.read_flow_run(one.id)

    return made


def died() -> tuple[State[Any], ...]:
    return Pending(), Running(), Crashed(message="it is gone")


def next_of(former: FlowRun) -> Again:
    (one,) = decide([seen(former)], [task(str(former.id), str(former.id), **SPOT)]).again
    return one


def test_it_is_the_same_run_but_for_its_name(prefect: SyncPrefectClient, make: Make) -> None:
    due = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    former = make(
        *died(),
        parameters={"most": 7},
        tags=["mine"],
        state=Scheduled(scheduled_time=due),
        job_variables={"memory": 2048},
    )
    one = next_of(former)
    made = prefect.read_flow_run(run_again(prefect, one, former).id)
    assert made.name == f"{former.name}-again"
    assert made.deployment_id == former.deployment_id
    assert made.parameters == former.parameters == {"most": 7, "note": "as declared"}
    assert sorted(made.tags) == sorted(former.tags)
    assert "mine" in made.tags
    assert made.expected_start_time == made.next_scheduled_start_time == due
    assert made.job_variables == {"memory": 2048}
    assert made.infrastructure_pid is None
    assert made.state is not None
    assert made.state.is_scheduled()
    assert former.name in (made.state.message or "")
    assert "Spot took the machine back" in (made.state.message or "")
    # What died stays so, and a worker takes the new one.
    then = prefect.read_flow_run(former.id).state
    assert then is not None
    assert then.is_crashed()
    taken = prefect.get_scheduled_flow_runs_for_work_pool(
        "fargate", scheduled_before=datetime.now(UTC)
    )
    assert [response.flow_run.id for response in taken] == [made.id]


def test_asked_twice_it_is_one(prefect: SyncPrefectClient, make: Make) -> None:
    """As by an orchestrator that was killed in between, whose successor looks for itself."""
    former = make(*died())
    first = run_again(prefect, next_of(former), former).id
    looked = crashed(prefect, datetime.now(UTC))
    assert [one.id for one in looked] == [former.id]
    assert run_again(prefect, next_of(looked[0]), looked[0]).id == first
    assert len(all_runs(prefect)) == 2
    prefect.set_flow_run_state(first, Running(), force=True)
    prefect.set_flow_run_state(first, Completed(), force=True)
    assert run_again(prefect, next_of(looked[0]), looked[0]).id == first
    found = prefect.read_flow_run(first)
    assert found.state is not None
    assert found.state.is_completed()


def test_interrupted_twice_it_ends_on_demand(prefect: SyncPrefectClient, make: Make) -> None:
    former = make(*died(), job_variables={"env": {"A": "1"}})
    for number in (1, 2):
        one = next_of(former)
        made = run_again(prefect, one, former).id
        for state in died():
            prefect.set_flow_run_state(made, state, force=True)
        former = prefect.read_flow_run(made)
        strategy = (former.job_variables or {}).get("capacity_provider_strategy")
        assert strategy == (ON_DEMAND if number == 2 else None)
        assert (former.job_variables or {})["env"] == {"A": "1"}
    assert former.name.endswith("-again-2")
    assert decide([seen(former)], [task(str(former.id), str(former.id), **SPOT)]).again == ()
    # All three are looked at, and the first two are not run a second time.
    for each in crashed(prefect, datetime.now(UTC)):
        for one in decide([seen(each)], [task(str(each.id), str(each.id), **SPOT)]).again:
            run_again(prefect, one, each)
    assert len(all_runs(prefect)) == 3


def test_which_have_crashed_lately(prefect: SyncPrefectClient, make: Make) -> None:
    lately = make(*died())
    make(Pending(), Running(), Failed())
    make(Pending(), Running(), Completed())
    make(Pending(), Running())
    now = datetime.now(UTC)
    assert [one.id for one in crashed(prefect, now)] == [lately.id]
    assert crashed(prefect, now + SINCE + timedelta(minutes=1)) == []
    found = seen(prefect.read_flow_run(lately.id))
    assert found.pid == f"{CLUSTER}::{ARN}{lately.id}"
    assert found.message == "it is gone"
