"""Runs that people ask for, with the commands that they have."""

from __future__ import annotations

import time
from collections.abc import Callable

from infra.local.cloud import Cloud
from tests.asleep import days
from tests.local_cloud.hold import Request, held
from tests.local_cloud.runs import until


def test_a_run_is_asked_for(asleep: Cloud) -> None:
    cloud = asleep
    before = len(cloud.lives())
    status = days.command(cloud, "status").stdout
    assert "asleep" in status
    done = days.command(cloud, "trigger", days.NAME, "--parameter", "name=asked")
    assert "Completed" in done.stdout
    assert "asked takes" in done.stdout  # the flow's own line, from its log
    assert "cost: $" in done.stdout  # and its price
    assert days.written(cloud, "patient/asked/") == ["begun.txt", "done.txt"]
    journal = days.sleeps(cloud)
    assert len(cloud.lives()) == before + 1
    (last, *_) = journal["last"]
    assert (last["deployment"], last["type"]) == (days.NAME, "COMPLETED")
    assert last["run"] in days.command(cloud, "status").stdout
    assert "asked takes" in days.command(cloud, "logs", last["run"]).stdout
    with days.history(cloud) as db:  # it was heard out before the sleep
        told = db.execute(
            "select data from artifact where key = 'run-cost' and flow_run_id = ?", (last["id"],)
        )
        assert "US dollars" in str(told.fetchone())


def test_one_that_fails_by_its_own_fault_is_not_run_again(asleep: Cloud) -> None:
    """And what cannot be is refused, with a reason."""
    cloud = asleep
    wrong = days.ask(cloud, seconds="not a number")
    fails = ("--parameter", "name=fails", "--parameter", "fails=true")
    done = days.command(cloud, "trigger", days.NAME, *fails, check=False)
    assert done.returncode == 1
    assert "a fault of its own" in done.stdout + done.stderr
    journal = days.sleeps(cloud)
    assert journal["last"][0]["type"] == "FAILED"
    found = [run for run in days.runs(cloud, days.NAME) if '"fails"' in run["parameters"]]
    assert [run["state_type"] for run in found] == ["FAILED"]
    assert "seconds" in days.answer(cloud, wrong)["refused"]


def test_a_wake_up_on_the_way_to_sleep(asleep: Cloud) -> None:
    """A run that is asked for while the history is brought home: one life, both runs."""
    cloud = asleep
    before = len(cloud.lives())
    first = days.ask(cloud, name="first")
    with held(going_to_sleep(cloud)) as hold:
        hold.wait(120)
        second = days.ask(cloud, name="second")
        hold.let_go()
        assert days.ended(cloud, second)["type"] == "COMPLETED"
    assert days.answer(cloud, first)["type"] == "COMPLETED"
    days.sleeps(cloud)
    assert len(cloud.lives()) == before + 1
    assert len(days.tasks_of(cloud, days.answer(cloud, second)["run"])) == 1


def test_a_wake_up_at_the_last_moment(asleep: Cloud) -> None:
    """It comes just before the orchestrator sets its service to 0, and would be lost."""
    cloud = asleep
    cloud.wake()
    with held(of_orchestrator(cloud, "UpdateService")) as hold:
        hold.wait(120)
        id_ = days.ask(cloud, name="last-moment")
        hold.let_go()
        assert days.ended(cloud, id_)["type"] == "COMPLETED"
    days.sleeps(cloud)


def test_two_wake_ups_at_once(asleep: Cloud, lines: days.Lines) -> None:
    cloud = asleep
    before = len(cloud.lives())
    for _ in range(2):
        cloud.wake()
    until(lambda: cloud.orchestrator, 30, lambda: "not woken")
    cloud.wake()
    time.sleep(2)
    cloud.wake()
    days.sleeps(cloud)
    assert len(cloud.lives()) == before + 1
    days.one_at_a_time(cloud, lines)


def of_orchestrator(cloud: Cloud, operation: str) -> Callable[[Request], bool]:
    """Its own requests for an operation of ECS."""
    return lambda request: is_its_own(cloud, request) and request.target.endswith(f".{operation}")


def going_to_sleep(cloud: Cloud) -> Callable[[Request], bool]:
    """What it reads from S3 while it brings the history home."""

    def matches(request: Request) -> bool:
        reads = request.service == "s3" and request.method == "GET"
        return reads and is_its_own(cloud, request) and cloud.journal()["doing"] == "going to sleep"

    return matches


def is_its_own(cloud: Cloud, request: Request) -> bool:
    task = cloud.fargate.task_of(request.access_key)
    return task is not None and task.planned.group == "service:orchestrator"
