"""What dies, dies: at each moment that something is killed, the run's state is true, no process of
it survives, nothing is written afterwards, and a rerun publishes what an undisturbed run does.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from infra.local.cloud import Cloud
from infra.local.fargate import events
from infra.local.fargate.task import Task
from infra.local.iam.buckets import replaced
from tests.local_cloud.hold import Request, held
from tests.local_cloud.runs import Run, contents, late_writes, start, survivors, until

JOB = "cost-report/by-hand"
Lines = list[tuple[str, str]]
Reruns = dict[str, Run]  # by prefix


def job(cloud: Cloud, prefix: str, **job_variables: object) -> Run:
    where = {"destination": f"s3://{cloud.bucket}/by-hand/{prefix}/"}
    return start(cloud, JOB, where, **job_variables)


def ended(cloud: Cloud, run: Run, prefix: str, *states: str) -> None:
    """The three ways to look at an end."""
    assert run.wait() in states, f"{run.state}: {run.message}"
    for task in run.tasks:
        assert task.ended.wait(30)
        assert survivors(task) == []
    assert late_writes(cloud, f"by-hand/{prefix}/") == set()
    assert run.state in states  # still


def again(cloud: Cloud, prefix: str, reruns: Reruns) -> None:
    """Starts a rerun; what it publishes is looked at when all of them have ended."""
    reruns[prefix] = job(cloud, prefix)


def is_of(run: Run, request: Request) -> bool:
    task = run.cloud.fargate.task_of(request.access_key)
    return task is not None and task in run.tasks


def reading(run: Run) -> Callable[[Request], bool]:
    return lambda request: (
        request.method == "GET" and "/bills/data/" in request.path and is_of(run, request)
    )


def publishing(run: Run) -> Callable[[Request], bool]:
    """The pointer is being written: every other file is there."""
    return lambda request: (
        request.method == "PUT" and request.path.endswith("/latest.json") and is_of(run, request)
    )


@pytest.fixture(scope="module")
def reruns() -> Reruns:
    return {}


# --- the container is killed ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prefix", "moment"), [("read", reading), ("publish", publishing)], ids=["read", "publish"]
)
def test_killed_at_a_moment(
    cloud: Cloud, reruns: Reruns, prefix: str, moment: Callable[[Run], Callable[[Request], bool]]
) -> None:
    run = job(cloud, prefix)
    with held(moment(run)) as hold:
        hold.wait()
        cloud.fargate.kill(run.running())
        assert run.wait() == "CRASHED"
    assert "exit code" in run.message
    ended(cloud, run, prefix, "CRASHED")
    published = contents(cloud, f"by-hand/{prefix}/")
    assert not any(name.endswith("latest.json") for name in published)
    again(cloud, prefix, reruns)


def test_killed_at_the_roll_up(cloud: Cloud, reruns: Reruns, lines: Lines) -> None:
    run = job(cloud, "roll-up")
    task = run.running()
    until(
        lambda: any(of == task.id and "roll_up" in line for of, line in lines),
        60,
        lambda: "it rolled nothing up",
    )
    cloud.fargate.kill(task)
    ended(cloud, run, "roll-up", "CRASHED")
    again(cloud, "roll-up", reruns)


def test_out_of_memory(cloud: Cloud, reruns: Reruns) -> None:
    """The smallest task there is cannot even start Prefect and read a bill in what is left of it:
    something else in the task takes most of its memory. The meter is around it, as around all.
    """
    command = (
        "python -m deployments.meter "
        "python -c \"import subprocess; b = bytearray(440_000_000); b[::4096] = b'x' * "
        "len(b[::4096]); raise SystemExit(subprocess.call(['prefect', 'flow-run', 'execute']))\""
    )
    run = job(cloud, "memory", cpu=256, memory=512, command=command)
    ended(cloud, run, "memory", "CRASHED")
    (task,) = run.tasks
    assert task.reason.startswith("OutOfMemoryError"), task.reason
    again(cloud, "memory", reruns)


def test_spot_takes_the_machine_back(cloud: Cloud, reruns: Reruns) -> None:
    run = job(cloud, "spot")
    with held(reading(run)) as hold:
        hold.wait()
        task = run.running()
        cloud.fargate.interrupt(task)
        hold.let_go()
        ended(cloud, run, "spot", "CRASHED")
    assert task.stop_code == "SpotInterruption"
    again(cloud, "spot", reruns)


# --- the container never runs ---------------------------------------------------------------------


def test_an_image_that_does_not_exist(cloud: Cloud) -> None:
    missing = cloud.image.partition("@")[0] + "@sha256:" + "0" * 64
    run = job(cloud, "image", image=missing)
    ended(cloud, run, "image", "CRASHED")
    (task,) = run.tasks
    assert task.stop_code == "TaskFailedToStart"
    until(lambda: "CannotPullContainerError" in run.log(), 20, run.log)


def test_a_command_that_does_not_exist(cloud: Cloud) -> None:
    run = job(cloud, "command", command="no-such-command")
    ended(cloud, run, "command", "CRASHED")


def test_a_task_that_is_never_placed(cloud: Cloud, reruns: Reruns) -> None:
    run = job(cloud, "place")
    cloud.fargate.no_machine = lambda wanted: run.id in dict(wanted.tags).values()
    ended(cloud, run, "place", "CRASHED")
    until(lambda: "Capacity is unavailable" in run.log(), 20, run.log)
    again(cloud, "place", reruns)


def test_no_capacity(cloud: Cloud, reruns: Reruns) -> None:
    run = job(cloud, "capacity")
    cloud.fargate.refuse_capacity = lambda wanted: run.id in dict(wanted.tags).values()
    ended(cloud, run, "capacity", "CRASHED")
    assert run.tasks == []
    until(lambda: "Capacity is unavailable" in run.message + run.log(), 20, run.log)
    again(cloud, "capacity", reruns)


# --- cancelled ------------------------------------------------------------------------------------


def test_cancelling_stops_the_container(cloud: Cloud, reruns: Reruns) -> None:
    run = job(cloud, "cancel")
    with held(reading(run)) as hold:
        hold.wait()
        task = run.running()
        cloud.api(
            f"/flow_runs/{run.id}/set_state",
            {"state": {"type": "CANCELLING", "name": "Cancelling"}},
        )
        assert task.ended.wait(task.planned.stop_timeout)
    ended(cloud, run, "cancel", "CANCELLED")
    again(cloud, "cancel", reruns)


# --- the others are killed ------------------------------------------------------------------------


def test_the_worker_is_killed_during_a_run(cloud: Cloud, undisturbed: dict[str, bytes]) -> None:
    run = job(cloud, "worker")
    with held(reading(run)) as hold:
        hold.wait()
        cloud.worker.program.kill()
        hold.let_go()
        assert run.wait() == "COMPLETED"
    cloud.worker.again()
    ended(cloud, run, "worker", "COMPLETED")
    assert contents(cloud, "by-hand/worker/") == undisturbed


def test_an_untrue_state_would_be_seen(cloud: Cloud, reruns: Reruns) -> None:
    """Without ECS's events a killed run is Running for ever (prefect#16939); `straighten` asks."""
    run = job(cloud, "unheard")
    with held(reading(run)) as hold, replaced(events, "put", lambda *_: None):
        hold.wait()
        cloud.fargate.kill(run.running())
        assert run.task().ended.wait(30)
        time.sleep(5)
        assert run.state == "RUNNING"
    assert run.now["name"] in cloud.deployments("straighten")
    ended(cloud, run, "unheard", "CRASHED")
    assert "137" in run.message
    again(cloud, "unheard", reruns)


def test_reruns_publish_what_an_undisturbed_run_does(
    cloud: Cloud, undisturbed: dict[str, bytes], reruns: Reruns
) -> None:
    assert reruns
    for prefix, run in reruns.items():
        assert run.wait() == "COMPLETED", f"{prefix}: {run.message}"
        assert contents(cloud, f"by-hand/{prefix}/") == undisturbed, prefix


def test_the_worker_is_killed_before_it_asks_for_a_task(
    cloud: Cloud, undisturbed: dict[str, bytes]
) -> None:
    """Prefect leaves such a run Pending for ever (prefect#20485); `straighten` does not."""
    with held(lambda request: request.target.endswith(".RunTask")) as hold:
        run = job(cloud, "pending")
        hold.wait()
        cloud.worker.program.kill()
        hold.drop()
    assert run.state == "PENDING"
    cloud.worker.again()
    time.sleep(5)
    assert run.state == "PENDING"
    assert run.now["name"] in cloud.deployments("straighten", "--grace", "0")
    assert run.wait() == "COMPLETED"
    assert len(run.tasks) == 1
    ended(cloud, run, "pending", "COMPLETED")
    assert contents(cloud, "by-hand/pending/") == undisturbed


def test_the_server_is_away_for_a_minute(cloud: Cloud, undisturbed: dict[str, bytes]) -> None:
    run = job(cloud, "server")
    with held(reading(run)) as hold:
        hold.wait()
        cloud.server.program.kill()
        hold.let_go()
        time.sleep(60)
        cloud.server.again()
    assert run.wait(seconds=180) == "COMPLETED"
    ended(cloud, run, "server", "COMPLETED")
    assert contents(cloud, "by-hand/server/") == undisturbed


# --- can these checks fail? -----------------------------------------------------------------------


def test_a_survivor_and_its_late_write_would_be_seen(
    cloud: Cloud, undisturbed: dict[str, bytes]
) -> None:
    task = cloud.fargate.tasks()[0]
    assert survivors(task) == []
    with orphan(cloud, task):
        assert survivors(task)
        assert late_writes(cloud, "by-hand/orphan/", 5) == {"late"}
    assert survivors(task) == []


@contextmanager
def orphan(cloud: Cloud, task: Task) -> Iterator[None]:
    """A process with a task's environment, which outlives it and writes."""
    program = (
        "import boto3, os, time; time.sleep(1.5); boto3.client('s3').put_object("
        f"Bucket='{cloud.bucket}', Key='by-hand/orphan/late', Body=b''); time.sleep(60)"
    )
    environment = {
        **os.environ,
        **cloud.aws.environment(),
        "ECS_CONTAINER_METADATA_URI_V4": f"http://127.0.0.1/v4/{task.id}",
    }
    process = subprocess.Popen([sys.executable, "-c", program], env=environment)
    try:
        yield
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
