"""What straightening does to a real Prefect server, with an ECS that says what a test wants."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.responses import SetStateStatus
from prefect.states import Cancelling, Completed, Pending, Running, Scheduled

from deployments import set_straight
from deployments.__main__ import main
from deployments.set_straight import busy, look, straightened
from deployments.straighten import Cancel, Crash, Plan, Reschedule, Stop
from flows.problem import Problem
from tests.deployments.stack import OUTPUTS

CLUSTER = OUTPUTS["ClusterName"]
NO_GRACE = timedelta()


class Ecs:
    """boto3's client of ECS, as far as it is asked here."""

    def __init__(self, *tasks: dict[str, Any], per_page: int = 100) -> None:
        self.tasks = list(tasks)
        self.per_page = per_page
        self.asked: list[tuple[str, int]] = []  # DescribeTasks: cluster, how many
        self.failure = "MISSING"
        self.before_listing: Callable[[], None] = lambda: None
        self.stopped: list[str] = []

    def get_paginator(self, operation: str) -> Ecs:
        assert operation == "list_tasks"
        return self

    def paginate(self, *, cluster: str, desiredStatus: str) -> Iterator[dict[str, Any]]:
        self.before_listing()
        assert cluster == CLUSTER
        arns = [
            task["taskArn"]
            for task in self.tasks
            if (task["lastStatus"] == "STOPPED") == (desiredStatus == "STOPPED")
        ]
        for first in range(0, max(1, len(arns)), self.per_page):
            yield {"taskArns": arns[first : first + self.per_page]}

    def describe_tasks(
        self, *, cluster: str, tasks: Sequence[str], include: Sequence[str]
    ) -> dict[str, Any]:
        assert 1 <= len(tasks) <= 100
        assert include == ["TAGS"]
        self.asked.append((cluster, len(tasks)))
        there = {task["taskArn"]: task for task in self.tasks}
        return {
            "tasks": [there[arn] for arn in tasks if arn in there],
            "failures": [{"arn": arn, "reason": self.failure} for arn in tasks if arn not in there],
        }

    def stop_task(self, *, cluster: str, task: str, reason: str) -> None:
        """As ECS does: it takes a while."""
        self.stopped.append(task)
        (found,) = [one for one in self.tasks if one["taskArn"] == task]
        found |= {"desiredStatus": "STOPPED", "stopCode": "UserInitiated", "stoppedReason": reason}


def task(
    name: str, status: str = "STOPPED", run: FlowRun | None = None, **more: Any
) -> dict[str, Any]:
    return {
        "taskArn": arn(name),
        "lastStatus": status,
        "createdAt": datetime.now(UTC),
        "tags": [{"key": "prefect.io/flow-run-id", "value": str(run.id)}] if run else [],
        "containers": [{"name": "prefect", "exitCode": 1}],
        **more,
    }


def arn(name: str) -> str:
    return f"arn:aws:ecs:eu-west-1:123456789012:task/{CLUSTER}/{name}"


@pytest.fixture
def deployment(prefect: SyncPrefectClient) -> UUID:
    """One that runs once at a time."""
    prefect.create_work_pool(WorkPoolCreate(name="fargate", type="ecs"))
    return prefect.create_deployment(
        flow_id=prefect.create_flow_from_name("straighten"),
        name="daily",
        work_pool_name="fargate",
        concurrency_limit=1,
    )


Make = Callable[..., FlowRun]


@pytest.fixture
def make(prefect: SyncPrefectClient, deployment: UUID) -> Make:
    def made(*states: State[Any], pid: str | None = None) -> FlowRun:
        run = prefect.create_flow_run_from_deployment(deployment)
        for state in states:
            result = prefect.set_flow_run_state(run.id, state)
            assert result.status == SetStateStatus.ACCEPT
        if pid:
            prefect.update_flow_run(run.id, infrastructure_pid=f"{CLUSTER}::{arn(pid)}")
        return prefect.read_flow_run(run.id)

    return made


def state(prefect: SyncPrefectClient, run: FlowRun) -> State[Any]:
    found = prefect.read_flow_run(run.id).state
    assert found is not None
    return found


def slots(prefect: SyncPrefectClient, deployment: UUID) -> int:
    limit = prefect.read_deployment(deployment).global_concurrency_limit
    assert limit is not None
    return limit.active_slots


def straighten(ecs: Ecs, **options: Any) -> tuple[Plan, list[str]]:
    said: list[str] = []
    plan = straightened(CLUSTER, ecs=ecs, say=said.append, **{"grace": NO_GRACE, **options})
    return plan, said


# --- the truth, and the slot ---------------------------------------------------------------------


@pytest.mark.parametrize("states", [[Pending], [Pending, Running]], ids=["pending", "running"])
@pytest.mark.parametrize("known", [True, False])
def test_a_dead_run_is_crashed_and_its_slot_is_free(
    prefect: SyncPrefectClient,
    deployment: UUID,
    make: Make,
    states: list[Callable[[], State[Any]]],
    known: bool,
) -> None:
    run = make(*(each() for each in states), pid="one")
    waits = prefect.create_flow_run_from_deployment(deployment)
    assert prefect.set_flow_run_state(waits.id, Pending()).status == SetStateStatus.REJECT
    assert slots(prefect, deployment) == 1
    plan, said = straighten(Ecs(*[task("one", run=run)] if known else []))
    assert [type(step) for step in plan.steps] == [Crash]
    assert f"CRASHED: {run.name}" in said[0]
    now = state(prefect, run)
    assert now.is_crashed()
    assert now.message is not None
    assert ("exit code 1" if known else "does not know") in now.message
    assert "fix:" in now.message
    assert slots(prefect, deployment) == 0
    assert prefect.set_flow_run_state(waits.id, Pending()).status == SetStateStatus.ACCEPT


def test_a_run_that_was_being_cancelled_is_cancelled(
    prefect: SyncPrefectClient, deployment: UUID, make: Make
) -> None:
    run = make(Pending(), Running(), Cancelling(), pid="one")
    plan, _ = straighten(Ecs(task("one", run=run, stopCode="UserInitiated")))
    assert [type(step) for step in plan.steps] == [Cancel]
    now = state(prefect, run)
    assert now.is_cancelled()
    assert "somebody stopped" in (now.message or "")
    assert slots(prefect, deployment) == 0


def test_a_run_that_never_started_is_put_back(
    prefect: SyncPrefectClient, deployment: UUID, make: Make
) -> None:
    run = make(Pending())
    assert straighten(Ecs(), grace=timedelta(minutes=1))[0].steps == ()
    assert state(prefect, run).is_pending()
    assert [type(step) for step in straighten(Ecs())[0].steps] == [Reschedule]
    found = prefect.read_flow_run(run.id)
    assert found.state is not None
    assert found.state.type.value == "SCHEDULED"
    assert found.next_scheduled_start_time is not None
    assert found.next_scheduled_start_time <= datetime.now(UTC)
    assert slots(prefect, deployment) == 0
    # A worker takes it as any other.
    (due,) = prefect.get_scheduled_flow_runs_for_deployments([deployment], datetime.now(UTC))
    assert due.id == run.id
    assert prefect.set_flow_run_state(run.id, Pending()).status == SetStateStatus.ACCEPT
    assert slots(prefect, deployment) == 1


def test_a_task_whose_pid_was_not_written_down_is_found_by_its_tag(
    prefect: SyncPrefectClient, make: Make
) -> None:
    run = make(Pending())
    others = [task(str(n), "RUNNING") for n in range(250)]
    ecs = Ecs(*others, task("one", "PROVISIONING", run), per_page=40)
    assert straighten(ecs) == (Plan(()), [])
    assert ecs.asked == [(CLUSTER, 100), (CLUSTER, 100), (CLUSTER, 51)]
    assert state(prefect, run).is_pending()


def test_the_pid_of_the_time_before(prefect: SyncPrefectClient, make: Make) -> None:
    """Interrupted, put back by itself, taken by a worker that then died."""
    run = make(Pending(), Running(), pid="one")
    first = task("one", run=run, stopCode="SpotInterruption")
    prefect.set_flow_run_state(run.id, Scheduled())
    prefect.set_flow_run_state(run.id, Pending())
    assert [type(step) for step in straighten(Ecs(first))[0].steps] == [Reschedule]


def test_what_is_true_is_left_alone(prefect: SyncPrefectClient, make: Make) -> None:
    ended = make(Pending(), Running(), Completed())
    run = make(Pending(), Running(), pid="one")
    assert straighten(Ecs(task("one", "RUNNING", run))) == (Plan(()), [])
    assert state(prefect, run).is_running()
    assert state(prefect, ended).is_completed()


def test_where_nothing_is_busy_ecs_is_not_asked(make: Make) -> None:
    make(Pending(), Running(), Completed(), pid="one")
    ecs = Ecs()
    ecs.before_listing = lambda: pytest.fail("asked")
    assert straighten(ecs) == (Plan(()), [])


def test_other_work_pools_are_left_alone(prefect: SyncPrefectClient, make: Make) -> None:
    other = prefect.create_work_pool(WorkPoolCreate(name="other-than-fargate", type="ecs"))
    try:
        there = prefect.create_deployment(
            flow_id=prefect.create_flow_from_name("straighten"),
            name="elsewhere",
            work_pool_name=other.name,
        )
        run = prefect.create_flow_run_from_deployment(there)
        prefect.set_flow_run_state(run.id, Pending())
        assert straighten(Ecs())[0].steps == ()
        assert state(prefect, run).is_pending()
    finally:
        prefect.delete_work_pool(other.name)


def test_more_runs_than_a_page_has(
    prefect: SyncPrefectClient, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(set_straight, "PAGE", 2)
    prefect.request(
        "PATCH",
        "/deployments/{id}",
        path_params={"id": make().deployment_id},
        json={"concurrency_limit": 5},
    )
    made = {str(make(Pending()).id) for _ in range(5)}
    assert {run.id for run in busy(prefect)} == made


def test_dry_run(prefect: SyncPrefectClient, make: Make) -> None:
    run = make(Pending(), Running(), pid="one")
    plan, said = straighten(Ecs(), dry_run=True)
    assert len(plan.steps) == 1
    assert said[0].startswith("would: RUNNING → CRASHED")
    assert state(prefect, run).is_running()


# --- tasks that speak to a server that is gone ---------------------------------------------------

HERE, GONE = "http://10.0.0.7:4200/api", "http://10.0.0.5:4200/api"


def orphan(run: FlowRun) -> dict[str, Any]:
    environment = [{"name": "PREFECT_API_URL", "value": GONE}]
    overrides = {"containerOverrides": [{"name": "prefect", "environment": environment}]}
    return task("one", "RUNNING", run, overrides=overrides, desiredStatus="RUNNING")


def test_an_orphan_is_stopped_and_then_crashed(
    prefect: SyncPrefectClient, deployment: UUID, make: Make
) -> None:
    run = make(Pending(), Running(), pid="one")
    ecs = Ecs(orphan(run))
    assert straighten(ecs)[0] == Plan(()), "it is one only where an address is given"
    plan, said = straighten(ecs, api=HERE)
    assert [type(step) for step in plan.steps] == [Stop]
    assert ecs.stopped == [arn("one")]
    assert said[0].startswith(f"stop ECS task one of {run.name}")
    assert state(prefect, run).is_running()
    # It ends, and is not told to twice.
    plan, said = straighten(ecs, api=HERE)
    assert plan.steps == ()
    assert plan.later == (f"{run.name} ({run.id})",)
    assert (ecs.stopped, said) == ([arn("one")], [])
    ecs.tasks[0]["lastStatus"] = "STOPPED"
    plan, _ = straighten(ecs, api=HERE)
    assert [type(step) for step in plan.steps] == [Crash]
    assert plan.later == ()
    assert state(prefect, run).is_crashed()
    assert "orchestrator was replaced" in (state(prefect, run).message or "")
    assert slots(prefect, deployment) == 0


def test_an_orphan_is_not_stopped_in_a_dry_run(prefect: SyncPrefectClient, make: Make) -> None:
    run = make(Pending(), Running(), pid="one")
    ecs = Ecs(orphan(run))
    _, said = straighten(ecs, api=HERE, dry_run=True)
    assert said[0].startswith("would: stop ECS task one")
    assert ecs.stopped == []


def test_ecs_does_not_stop_it(
    prefect: SyncPrefectClient, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make(Pending(), Running(), pid="one")
    ecs = Ecs(orphan(run))

    def deny(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "StopTask")

    monkeypatch.setattr(ecs, "stop_task", deny)
    with pytest.raises(Problem, match="StopTask"):
        straighten(ecs, api=HERE)
    assert state(prefect, run).is_running()


# --- nobody's change is written over -------------------------------------------------------------


@pytest.mark.parametrize(
    ("meanwhile", "expected"),
    [(Completed, "COMPLETED"), (Cancelling, "CANCELLING"), (Scheduled, "SCHEDULED")],
)
def test_a_change_between_look_and_act_stays(
    prefect: SyncPrefectClient,
    make: Make,
    meanwhile: Callable[[], State[Any]],
    expected: str,
) -> None:
    run = make(Pending(), Running(), pid="one")
    ecs = Ecs(task("one", run=run))

    def change() -> None:
        ecs.before_listing = lambda: None
        prefect.set_flow_run_state(run.id, meanwhile())

    ecs.before_listing = change
    _, said = straighten(ecs)
    assert state(prefect, run).type.value == expected
    assert "changed meanwhile" in said[-1]


@pytest.mark.parametrize(
    ("meanwhile", "expected"), [(Completed, "COMPLETED"), (Cancelling, "CANCELLING")]
)
def test_a_change_at_the_last_moment_stays_too(
    prefect: SyncPrefectClient,
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
    meanwhile: Callable[[], State[Any]],
    expected: str,
) -> None:
    """After the second reading: the server itself refuses."""
    run = make(Pending(), Running(), pid="one")

    def changed(run_: Any, present: FlowRun) -> bool:
        prefect.set_flow_run_state(present.id, meanwhile())
        return False

    monkeypatch.setattr(set_straight, "_changed", changed)
    _, said = straighten(Ecs(task("one", run=run)))
    assert state(prefect, run).type.value == expected
    assert "Prefect refuses" in said[-1]


def test_a_pid_that_appears_meanwhile(prefect: SyncPrefectClient, make: Make) -> None:
    run = make(Pending())
    ecs = Ecs()

    def change() -> None:
        ecs.before_listing = lambda: None
        pid = f"{CLUSTER}::{arn('late')}"
        prefect.update_flow_run(run.id, infrastructure_pid=pid)

    ecs.before_listing = change
    _, said = straighten(ecs)
    assert state(prefect, run).is_pending()
    assert "changed meanwhile" in said[-1]


def test_a_task_that_appears_meanwhile(prefect: SyncPrefectClient, make: Make) -> None:
    run = make(Pending())
    ecs = Ecs()
    looks: list[int] = []

    def appear() -> None:
        looks.append(1)
        if len(looks) == 3:  # each look lists twice, and this is the second
            ecs.tasks.append(task("late", "PROVISIONING", run))

    ecs.before_listing = appear
    _, said = straighten(ecs)
    assert state(prefect, run).is_pending()
    assert "ECS task meanwhile" in said[-1]


def test_a_run_that_is_deleted_meanwhile(prefect: SyncPrefectClient, make: Make) -> None:
    run = make(Pending(), Running(), pid="one")
    ecs = Ecs()

    def delete() -> None:
        ecs.before_listing = lambda: None
        prefect.delete_flow_run(run.id)

    ecs.before_listing = delete
    _, said = straighten(ecs)
    assert "deleted meanwhile" in said[-1]


# --- when ECS does not answer --------------------------------------------------------------------


def test_no_answer_kills_nothing(prefect: SyncPrefectClient, make: Make) -> None:
    run = make(Pending(), Running(), pid="one")
    ecs = Ecs()
    ecs.failure = "THROTTLED"
    with pytest.raises(Problem, match="does not say"):
        straighten(ecs)
    denied = {"Error": {"Code": "AccessDeniedException", "Message": "no ecs:ListTasks for you"}}

    def deny() -> None:
        raise ClientError(denied, "ListTasks")

    ecs.before_listing = deny
    with pytest.raises(Problem, match="ListTasks") as caught:
        straighten(ecs)
    assert caught.value.where == {"cluster": CLUSTER, "operation": "ListTasks"}
    assert state(prefect, run).is_running()


# --- the command ---------------------------------------------------------------------------------


@pytest.fixture
def stacks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        for name in ("nightshift-dev", "nightshift-dev-identity"):
            template = {
                "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
                "Outputs": {"ClusterName": {"Value": CLUSTER}},
            }
            boto3.client("cloudformation").create_stack(
                StackName=name, TemplateBody=json.dumps(template)
            )
        boto3.client("ecs").create_cluster(clusterName=CLUSTER)
        yield


def test_the_command(
    prefect: SyncPrefectClient,
    deployment: UUID,
    make: Make,
    stacks: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["straighten", "--stack", "nightshift-dev"]
    assert main(command) == 0
    assert capsys.readouterr().out == "all true\n"
    run = make(Pending())
    assert main(command) == 0
    assert "not for long" in capsys.readouterr().out
    assert main([*command, "--grace", "0", "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith(f"would: PENDING → SCHEDULED: {run.name}")
    assert main([*command, "--grace", "0"]) == 0
    assert capsys.readouterr().out.startswith(f"PENDING → SCHEDULED: {run.name}")
    assert main(command) == 0
    assert capsys.readouterr().out == "all true\n"
    assert main(["straighten", "--stack", "nightshift-none"]) == 1
    assert "cannot be read" in capsys.readouterr().err


# --- with tasks that run -------------------------------------------------------------------------


def test_with_tasks_that_run(prefect: SyncPrefectClient, make: Make) -> None:
    """boto3 against the local Fargate: what lives, what was killed, what was interrupted."""
    from infra.local.fargate.processes import Processes
    from tests.infra.fargate_cloud import CLUSTER as THERE
    from tests.infra.fargate_cloud import NEVER, OBEDIENT, PROJECT, cloud
    from tests.needs import need

    need(sys.platform == "linux" and os.geteuid() == 0, "tasks as processes are tested as root")
    prefect.request(
        "PATCH",
        "/deployments/{id}",
        path_params={"id": make().deployment_id},
        json={"concurrency_limit": 5},
    )
    lives, dies, spot = (make(Pending(), Running()) for _ in range(3))
    with cloud(Processes(PROJECT), "an-image") as here:
        arns = {
            run.id: here.start(
                here.define(f"echo up; {NEVER}" if run is not spot else OBEDIENT),
                tags=[{"key": "prefect.io/flow-run-id", "value": str(run.id)}],
            )
            for run in (lives, dies, spot)
        }
        here.up(*arns.values())
        prefect.update_flow_run(dies.id, infrastructure_pid=f"{THERE}::{arns[dies.id]}")
        assert straightened(THERE, ecs=here.ecs).steps == ()
        here.fargate.kill(here.fargate.task(arns[dies.id]))
        here.fargate.interrupt(here.fargate.task(arns[spot.id]))
        here.end(arns[dies.id])
        here.end(arns[spot.id])
        assert len(look(here.ecs, THERE, busy(prefect))) == 3
        straightened(THERE, ecs=here.ecs)
    assert state(prefect, lives).is_running()
    assert "it was killed" in (state(prefect, dies).message or "")
    assert "Spot" in (state(prefect, spot).message or "")
