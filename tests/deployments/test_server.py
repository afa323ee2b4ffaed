"""What reconciling does to a real Prefect server."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun

from deployments.check import checked
from deployments.plan import (
    CreateDeployment,
    CreatePool,
    DeleteDeployment,
    DeleteSchedule,
    MakeRuns,
    Plan,
    UpdateDeployment,
    UpdatePool,
    UpdateSchedule,
)
from deployments.reconcile import look, reconciled
from deployments.wanted import with_roles
from deployments.work_pool import base_job_template
from flows.problem import Problem
from tests.deployments.project import ENTRY, SMALL, VARIABLES, entry, write
from tests.deployments.stack import IMAGE, NEXT_IMAGE, OUTPUTS, Roles

REPOSITORY = Path(__file__).parents[2]


def reconcile(file: Path, image: str = IMAGE, *, dry_run: bool = False) -> Plan:
    wanted = with_roles(checked(file, VARIABLES), Roles(), "nightshift-prod")
    return reconciled(wanted, base_job_template(OUTPUTS, image), dry_run=dry_run)


def kinds(plan: Plan) -> list[type]:
    return [type(step) for step in plan.steps]


def stock(file: Path, arguments: tuple[str, ...] = ("--all",)) -> str:
    """`prefect deploy`, as a developer runs it, with nobody to answer a question."""
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "deploy", *arguments],
        cwd=file.parent,
        env={**os.environ, **VARIABLES, "PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def runs(prefect: SyncPrefectClient) -> dict[UUID, FlowRun]:
    ids = [deployment.id for deployment in prefect.read_deployments()]
    return {run.id: run for run in prefect.read_flow_runs() if run.deployment_id in ids}


def everything(prefect: SyncPrefectClient) -> Any:
    """What the server has of deployments, schedules and runs, with ids and times of change."""
    return (
        sorted((d.id, d.updated, str(d.schedules)) for d in prefect.read_deployments()),
        sorted(runs(prefect)),
        prefect.read_work_pool("fargate").updated,
    )


def make_overdue(prefect: SyncPrefectClient, deployment: UUID) -> set[UUID]:
    """Runs of the past days, as if the server had slept."""
    before = set(runs(prefect))
    start = datetime.now(UTC) - timedelta(days=3)
    prefect.request(
        "POST",
        "/deployments/{id}/schedule",
        path_params={"id": deployment},
        json={
            "start_time": start.isoformat(),
            "end_time": datetime.now(UTC).isoformat(),
            "min_runs": 50,
        },
    )
    return set(runs(prefect)) - before


# --- the same as prefect deploy ------------------------------------------------------------------


@pytest.mark.parametrize("project", ["ours", "bent"])
def test_it_is_prefect_deploy_and_a_role(
    prefect: SyncPrefectClient, folder: Path, project: str
) -> None:
    """After `prefect deploy` only the roles are missing, and how often it runs; it takes nothing
    else away again.
    """
    file = REPOSITORY / "prefect.yaml" if project == "ours" else write(folder, ENTRY, SMALL)
    template = base_job_template(OUTPUTS, IMAGE)
    prefect.create_work_pool(WorkPoolCreate(name="fargate", type="ecs", base_job_template=template))
    stock(file)
    plan = reconcile(file)
    updates = [step for step in plan.steps if isinstance(step, UpdateDeployment)]
    changes = [change for step in updates for change in step.changes]
    assert [change for change in changes if change.key != "job_variables"] == []
    assert set(kinds(plan)) == {UpdateDeployment, MakeRuns}
    for step in updates:
        (change,) = step.changes
        becomes = {**change.becomes}
        assert becomes.pop("env", {}).keys() <= {"NIGHTSHIFT_RUNS_A_YEAR"}
        assert becomes == {**change.was, "task_role_arn": Roles()[step.name]}
    assert reconcile(file).steps == ()

    for deployment in prefect.read_deployments():
        prefect.delete_deployment(deployment.id)
    reconcile(file)
    before, pool = look(prefect)
    stock(file)
    after, pool_after = look(prefect)
    assert pool_after == pool, "the image stays pinned"
    for was, now in zip(before, after, strict=True):
        assert now.schedules == was.schedules
        # It counts versions, and says when; reconciling leaves that alone.
        own = {"updated", "version", "version_id", "version_info", "job_variables", "labels"}
        own |= {"last_polled", "status", "updated_by", "global_concurrency_limit", "schedules"}
        assert {k: v for k, v in now.fields.items() if k not in own} == {
            k: v for k, v in was.fields.items() if k not in own
        }
        # What `with_roles` puts in, stock deploying takes away.
        added = {"task_role_arn", "env"}
        mine, stocks = was.fields["job_variables"], now.fields["job_variables"]
        assert stocks == {key: value for key, value in mine.items() if key not in added}


def test_no_description_is_none(prefect: SyncPrefectClient, folder: Path) -> None:
    """Prefect's client writes the word None where it creates a deployment without one."""
    without = entry({"entrypoint": "jobs.py:undescribed"}, SMALL)
    file = write(folder, without)
    reconcile(file)
    (deployment,) = prefect.read_deployments()
    assert deployment.description == ""
    for theirs in ("None", None):  # by `prefect deploy` the first time, and from then on
        prefect.request(
            "PATCH",
            "/deployments/{id}",
            path_params={"id": deployment.id},
            json={"description": theirs},
        )
        assert kinds(reconcile(file)) == ([UpdateDeployment] if theirs else [])


def test_prefect_deploy_asks_nothing_in_a_terminal(prefect: SyncPrefectClient) -> None:
    file = REPOSITORY / "prefect.yaml"
    reconcile(file)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "prefect", "deploy", "--all"],
        cwd=file.parent,
        env={**os.environ, **VARIABLES, "TERM": "xterm"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    said = b""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if select.select([ours], [], [], 1)[0]:
            try:
                said += os.read(ours, 65536)
            except OSError:  # it closed the terminal
                break
    process.kill() if process.poll() is None and time.monotonic() >= until else None
    assert process.wait(10) == 0, said.decode()
    assert b"successfully created" in said
    assert b"?" not in said.replace(b"?25", b""), said.decode()
    os.close(ours)


# --- again and again -----------------------------------------------------------------------------


def test_from_nothing_and_again(prefect: SyncPrefectClient, folder: Path) -> None:
    file = write(folder, ENTRY, SMALL)
    dry = reconcile(file, dry_run=True)
    assert prefect.read_deployments() == []
    plan = reconcile(file)
    assert plan == dry
    assert kinds(plan) == [CreatePool, CreateDeployment, MakeRuns, CreateDeployment]
    before = everything(prefect)
    assert len(before[1]) == 3, "the next three days"
    assert reconcile(file) == Plan(())
    assert everything(prefect) == before


def test_a_release_changes_the_pool_alone(prefect: SyncPrefectClient, folder: Path) -> None:
    file = write(folder, ENTRY)
    reconcile(file)
    deployments, scheduled, _ = everything(prefect)
    (step,) = reconcile(file, NEXT_IMAGE).steps
    assert isinstance(step, UpdatePool)
    (change,) = step.changes
    assert (change.key, change.becomes) == ("variables.properties.image.default", NEXT_IMAGE)
    assert everything(prefect)[:2] == (deployments, scheduled)
    assert reconcile(file, NEXT_IMAGE).steps == ()


SCHEDULE = ENTRY["schedules"][0]
NOON = {"slug": "noon", "cron": "0 12 * * *"}


@pytest.mark.parametrize(
    "change",
    [
        {
            "description": "Other.",
            "tags": [],
            "parameters.most": 4,
            "parameters.note": "x",
            "concurrency_limit": None,
            "enforce_parameter_schema": False,
            "pull": [],
            "work_pool.work_queue_name": "other",
            "work_pool.job_variables.memory": 2048,
            "work_pool.job_variables.env": {"A": "b"},
        },
        {
            "concurrency_limit": {
                "limit": 2,
                "collision_strategy": "CANCEL_NEW",
                "grace_period_seconds": 600,
            }
        },
        {"concurrency_limit": 3},
        {"schedules": [{**SCHEDULE, "cron": "0 7 1 * 1", "timezone": "UTC", "day_or": False}]},
        {"schedules": [{**SCHEDULE, "parameters": {"most": 9}}]},
        {"schedules": [SCHEDULE, NOON]},
        {"schedules": [NOON]},
        {"schedules": []},
    ],
)
def test_there_and_back(prefect: SyncPrefectClient, folder: Path, change: dict[str, Any]) -> None:
    """Whatever is changed in prefect.yaml arrives, and is as it was when it is changed back."""
    reconcile(write(folder, ENTRY))
    for file in (entry(change), ENTRY):
        assert reconcile(write(folder, file)).steps
        assert reconcile(write(folder, file)).steps == ()
    (deployment,) = prefect.read_deployments()
    assert [schedule.slug for schedule in deployment.schedules] == ["daily"]
    times = {run.next_scheduled_start_time for run in runs(prefect).values()}
    assert len(times) == len(runs(prefect)) == 3


# --- what is no longer declared ------------------------------------------------------------------


def test_what_is_no_longer_declared_goes(prefect: SyncPrefectClient, folder: Path) -> None:
    reconcile(write(folder, ENTRY, SMALL))
    prefect.create_work_pool(WorkPoolCreate(name="theirs", type="process"))
    try:
        for deployment in prefect.read_deployments():
            prefect.create_deployment(deployment.flow_id, "theirs", work_pool_name="theirs")
            prefect.create_deployment(deployment.flow_id, "served")
        plan = reconcile(write(folder, SMALL))
        assert [step.name for step in plan.steps if isinstance(step, DeleteDeployment)] == [
            "copy/daily"
        ]
        assert len(plan.steps) == 1
        assert set(plan.notes) == {
            "left alone: copy/theirs (work pool theirs)",
            "left alone: nothing/theirs (work pool theirs)",
            "left alone: copy/served (no work pool)",
            "left alone: nothing/served (no work pool)",
        }
        assert len(prefect.read_deployments()) == 5
    finally:
        prefect.delete_work_pool("theirs")


def test_a_declared_deployment_of_another_pool_becomes_ours(
    prefect: SyncPrefectClient, folder: Path
) -> None:
    file = write(folder, SMALL)
    prefect.create_work_pool(WorkPoolCreate(name="theirs", type="process"))
    try:
        flow = prefect.create_flow_from_name("nothing")
        prefect.create_deployment(flow, "by-hand", work_pool_name="theirs")
        reconcile(file)
        (deployment,) = prefect.read_deployments()
        assert deployment.work_pool_name == "fargate"
        assert reconcile(file).steps == ()
    finally:
        prefect.delete_work_pool("theirs")


def test_schedules_that_people_made_go(prefect: SyncPrefectClient, folder: Path) -> None:
    file = write(folder, ENTRY)
    reconcile(file)
    (deployment,) = prefect.read_deployments()
    prefect.request(
        "POST",
        "/deployments/{id}/schedules",
        path_params={"id": deployment.id},
        json=[{"schedule": {"cron": "5 5 * * *"}}],
    )
    assert kinds(reconcile(file)) == [DeleteSchedule, MakeRuns]
    assert reconcile(file).steps == ()


def test_what_people_paused_stays_paused_and_is_said(
    prefect: SyncPrefectClient, folder: Path
) -> None:
    file = write(folder, ENTRY)
    reconcile(file)
    (deployment,) = prefect.read_deployments()
    prefect.pause_deployment(deployment.id)
    (schedule,) = deployment.schedules
    prefect.update_deployment_schedule(deployment.id, schedule.id, active=False)
    plan = reconcile(file)
    assert plan.steps == ()
    assert [note.partition(",")[0] for note in plan.notes] == [
        "copy/daily is paused",
        "copy/daily: schedule daily is off",
    ]
    on = write(folder, entry({"paused": False, "schedules.0.active": True}))
    assert kinds(reconcile(on)) == [UpdateDeployment, UpdateSchedule, MakeRuns]
    (deployment,) = prefect.read_deployments()
    assert not deployment.paused
    assert deployment.schedules[0].active


# --- runs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"description": "Other."},
        {"schedules.0.cron": "0 7 * * *"},
        {"schedules": [{"slug": "noon", "cron": "0 12 * * *"}]},
        {"schedules": [*ENTRY["schedules"], {"slug": "noon", "cron": "0 12 * * *"}]},
        {"schedules": []},
    ],
)
def test_no_run_that_is_due_or_asked_for_is_lost(
    prefect: SyncPrefectClient, folder: Path, change: dict[str, Any]
) -> None:
    reconcile(write(folder, ENTRY))
    (deployment,) = prefect.read_deployments()
    due = make_overdue(prefect, deployment.id)
    assert len(due) == 3
    by_hand = prefect.create_flow_run_from_deployment(deployment.id)
    before = runs(prefect)
    reconcile(write(folder, entry(change)))
    after = runs(prefect)
    assert due | {by_hand.id} <= after.keys()
    for run in due:
        was, now = before[run], after[run]
        assert now.next_scheduled_start_time == was.next_scheduled_start_time
        assert now.state
        assert now.state.name == "Scheduled"
    asked = [run for run in after.values() if not run.auto_scheduled]
    assert [run.id for run in asked] == [by_hand.id]
    keys = [(run.next_scheduled_start_time, str(run.created_by)) for run in after.values()]
    assert len(set(keys)) == len(keys), "none twice"


def test_the_minute_that_a_deploy_spans(
    prefect: SyncPrefectClient, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Begun before six, ended after: the run of six o'clock is there once."""
    hour = "0 * * * *"
    reconcile(write(folder, entry({"schedules.0.cron": hour})))
    first: datetime = min(
        at for run in runs(prefect).values() if (at := run.next_scheduled_start_time)
    )

    from deployments import reconcile as module

    class Clock:
        @staticmethod
        def now(_: object) -> datetime:
            return first - timedelta(hours=1, seconds=1)  # just before the hour began

    monkeypatch.setattr(module, "datetime", Clock)
    reconcile(write(folder, entry({"schedules.0.cron": hour, "description": "Other."})))
    times = [run.next_scheduled_start_time for run in runs(prefect).values()]
    assert first - timedelta(hours=1) in times
    assert len(times) == len(set(times))


# --- refusals ------------------------------------------------------------------------------------


def test_a_pool_of_another_type(prefect: SyncPrefectClient, folder: Path) -> None:
    prefect.create_work_pool(WorkPoolCreate(name="fargate", type="process"))
    with pytest.raises(Problem, match="of another type") as caught:
        reconcile(write(folder, SMALL))
    assert "'process'" in str(caught.value)
    assert "prefect work-pool delete fargate" in caught.value.fix


def test_a_step_that_is_refused_is_named(prefect: SyncPrefectClient, folder: Path) -> None:
    template = base_job_template(OUTPUTS, IMAGE)
    template["variables"]["properties"]["cpu"]["maximum"] = 1
    template["variables"]["properties"]["cpu"].pop("anyOf")
    wanted = with_roles(checked(write(folder, SMALL), VARIABLES), Roles(), "nightshift-prod")
    with pytest.raises(Problem, match="refused a step") as caught:
        reconciled(wanted, template)
    assert "step create nothing/by-hand" in str(caught.value)
    assert "maximum" in caught.value.detail
