"""The commands against an AWS, with the orchestrator played."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from deployments.operate import installation as aws
from deployments.operate import trigger as triggering
from deployments.operate.__main__ import main
from deployments.operate.trigger import trigger
from deployments.operate.wake import wake
from deployments.orchestrator.journal import ANSWERS, FIRST_START, KEY, REQUESTS, Journal
from flows.problem import Problem
from tests.deployments.played import DEPLOYMENT, WORKING, Played, install, now

REPOSITORY = Path(__file__).parents[2]
JOB = "arn:aws:ecs:us-east-1:123456789012:task/x/4567"
RUNNING = {
    "run": "f00d0000-0000-4000-8000-000000000000",
    "name": "amber-fox",
    "state": "Running",
    "type": "RUNNING",
    "task": JOB,
    "message": "",
}


@pytest.fixture
def played(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Played:
    stack = f"nightshift-{uuid.uuid4().hex[:8]}"
    monkeypatch.setenv("NIGHTSHIFT_STACK", stack)
    made = Played(install(stack), stack)
    monkeypatch.setattr(
        aws,
        "_tasks",
        lambda _ecs, _cluster, _name, desired: [
            task for task in made.tasks if task["desiredStatus"] == desired
        ],
    )
    monkeypatch.setattr(triggering, "_SETTLE", 2.0)
    monkeypatch.setattr(triggering, "_DRAIN", 2.0)
    monkeypatch.setattr(triggering, "LOOK", 0.2)
    return made


# --- status --------------------------------------------------------------------------------------


def test_status_asleep(played: Played, capsys: pytest.CaptureFixture[str]) -> None:
    at = "2126-11-27T05:57:00Z"
    played.journal(Journal(life=2, doing="asleep", since=now(), wake_up=at))
    played.put(f"{REQUESTS}1.json", {})
    assert main(["status"]) == 0
    said = capsys.readouterr().out
    assert f"{played.stack} is asleep since" in said
    assert "wake-up   2126-11-27 05:57 UTC (in " in said
    assert "requests  1 waits" in said
    assert "!" not in said


def test_status_without_the_wake_up(played: Played, capsys: pytest.CaptureFixture[str]) -> None:
    played.journal(Journal(life=2, doing="asleep", since=now()))
    played.at.client("scheduler").delete_schedule(GroupName=played.stack, Name="wake-up")
    assert main(["status"]) == 0
    assert "! there is no wake-up" in capsys.readouterr().out


def test_status_of_what_was_never_started(
    played: Played, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "never started" in said.err
    assert "make wake NEW=1" in said.err
    played.put(FIRST_START, {})
    assert main(["status"]) == 1
    assert "NEW=1" not in capsys.readouterr().err


def test_no_such_stack(s3_endpoint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--stack", "nobody"]) == 1
    assert "the stack's outputs cannot be read" in capsys.readouterr().err


def test_what_aws_refuses_is_a_problem(played: Played, capsys: pytest.CaptureFixture[str]) -> None:
    played.journal(Journal(life=2))
    played.at.client("ecs").delete_service(cluster=played.stack, service="orchestrator", force=True)
    played.at.client("ecs").delete_cluster(cluster=played.stack)
    assert main(["wake"]) == 1
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert "fix:" in said


# --- wake ----------------------------------------------------------------------------------------


def test_wake_waits_until_it_works(played: Played) -> None:
    said: list[str] = []
    with played.awake_when_woken():
        wake(played.at, said.append, again=0.5)
    assert said[0] == "waking: ECS starts its task"
    assert said[-1] == "awake: somebody asks for a run"
    assert played.desired_counts == [1]


def test_a_wake_up_that_is_lost_is_given_again(played: Played) -> None:
    played.deaf = 2
    with played.awake_when_woken():
        wake(played.at, lambda _: None, again=0.3)
    assert played.desired_counts == [1, 1, 1]


def test_one_that_has_nothing_to_do_may_sleep_again(played: Played) -> None:
    played.journal(Journal(life=1, doing="asleep", began="2026-01-01T00:00:00Z"))
    played.idle = True
    said: list[str] = []
    with played.awake_when_woken():
        wake(played.at, said.append, seconds=20, again=0.5)
    assert said[-1] == "it was awake, has nothing to do, and goes to sleep again"
    assert played.desired_counts == [1]


def test_one_that_is_awake_is_left_alone(played: Played) -> None:
    played.journal(replace(WORKING, holder=played.start_task()))
    wake(played.at, lambda _: None)
    assert aws.service(played.at).desired == 0  # nothing was set


def test_one_that_does_not_wake(played: Played) -> None:
    with pytest.raises(Problem) as raised:
        wake(played.at, lambda _: None, seconds=0.5, again=0.1)
    assert f"/{played.stack}/orchestrator" in str(raised.value)


def test_a_first_start_is_announced_once_and_never_over_a_history(played: Played) -> None:
    with played.awake_when_woken():
        assert main(["wake", "--new"]) == 0
    assert played.keys("prefect/first") == [FIRST_START]
    assert main(["wake", "--new"]) == 0  # it has not begun yet
    played.s3.delete_object(Bucket=played.at.bucket, Key=FIRST_START)
    assert main(["wake", "--new"]) == 1  # the journal has a life
    assert played.keys("prefect/first") == []


def test_a_first_start_is_refused_where_a_journal_is_lost(played: Played) -> None:
    played.put("prefect/lives/3/ltx", 1)
    with pytest.raises(Problem, match="there is a history already"):
        wake(played.at, lambda _: None, new=True)


# --- trigger -------------------------------------------------------------------------------------


def test_trigger_follows_to_the_end(played: Played) -> None:
    played.requested = [
        {**RUNNING, "state": "Pending", "type": "PENDING", "task": ""},
        RUNNING,
        {**RUNNING, "state": "Completed", "type": "COMPLETED", "message": "All is well."},
    ]
    played.log(JOB, "one", "two")
    said: list[str] = []
    with played.awake_when_woken():
        status = trigger(played.at, DEPLOYMENT, {"top": 5}, said.append, again=0.5)
    assert status == 0
    assert said == [
        f"asked for {DEPLOYMENT}",
        "waking: ECS starts its task",
        *(["the orchestrator is awake"] if "the orchestrator is awake" in said else []),
        f"taken: run amber-fox ({RUNNING['run']})",
        "amber-fox: Pending",
        "| one",
        "| two",
        "amber-fox: Running",
        "amber-fox: Completed (All is well.)",
    ]
    (asked,) = played.taken
    assert asked["deployment"] == DEPLOYMENT
    assert asked["parameters"] == {"top": 5}
    assert asked["at"].endswith("Z")
    assert asked["by"].startswith("arn:aws:")


@pytest.mark.parametrize("kind", ["FAILED", "CANCELLED", "CRASHED"])
def test_the_exit_status_is_the_runs(played: Played, kind: str) -> None:
    played.requested = [{**RUNNING, "state": kind.title(), "type": kind, "task": ""}]
    with played.awake_when_woken():
        assert trigger(played.at, DEPLOYMENT, {}, lambda _: None, again=0.5) == 1


def test_a_crashed_run_that_is_run_again_is_followed(played: Played) -> None:
    other = {**RUNNING, "run": "beef", "name": "blue-owl", "task": ""}
    played.requested = [
        {**RUNNING, "state": "Crashed", "type": "CRASHED", "message": "Spot"},
        other,
        {**other, "state": "Completed", "type": "COMPLETED"},
    ]
    said: list[str] = []
    with played.awake_when_woken():
        assert trigger(played.at, DEPLOYMENT, {}, said.append, again=0.5) == 0
    assert "run again, as blue-owl (beef)" in said


def test_what_the_orchestrator_refuses_is_said_in_its_words(
    played: Played, capsys: pytest.CaptureFixture[str]
) -> None:
    played.requested = [{"refused": "Prefect refuses the run\n  fix:   mend it"}]
    with played.awake_when_woken():
        assert main(["trigger", DEPLOYMENT, "--parameter", "a=1"]) == 1
    assert capsys.readouterr().err == "Prefect refuses the run\n  fix:   mend it\n"


def test_an_unknown_deployment_asks_for_nothing(
    played: Played, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trigger", "cost-report/dayly"]) == 1
    assert f"there is {DEPLOYMENT}" in capsys.readouterr().err
    assert played.keys(REQUESTS) == []
    assert aws.service(played.at).desired == 0


def test_no_follow_ends_when_it_is_taken(played: Played) -> None:
    played.requested = [RUNNING]
    said: list[str] = []
    with played.awake_when_woken():
        assert trigger(played.at, DEPLOYMENT, {}, said.append, follow=False) == 0
    assert said[-1] == "follow it: make logs RUN=amber-fox"


def test_nobody_answers(played: Played) -> None:
    with pytest.raises(Problem, match="does not take the request"):
        trigger(played.at, DEPLOYMENT, {}, lambda _: None, seconds=0.5, again=0.1)
    assert len(played.keys(REQUESTS)) == 1  # it stays


def test_an_orchestrator_that_sleeps_over_a_run_is_found_out(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triggering, "_LOST", 0.5)

    def say(text: str) -> None:
        if text.startswith("taken"):
            played.tasks.clear()
            played.set(0)
            played.journal(Journal(life=1, doing="asleep"))

    played.requested = [RUNNING]
    with played.awake_when_woken(), pytest.raises(Problem, match="has not said how the run ended"):
        trigger(played.at, DEPLOYMENT, {}, say, again=60)


def _follow(played: Played) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "deployments.operate", "trigger", DEPLOYMENT],
        cwd=REPOSITORY,
        env=os.environ | {"NIGHTSHIFT_STACK": played.stack},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _read_until(program: subprocess.Popen[str], text: str) -> None:
    assert program.stdout
    for line in program.stdout:
        if text in line:
            return
    raise AssertionError(f"it never said {text!r}")


def test_ctrl_c_ends_the_following_alone(played: Played) -> None:
    with _follow(played) as program:
        _read_until(program, "asked for")
        while not (keys := played.keys(REQUESTS)):
            time.sleep(0.1)
        played.put(f"{ANSWERS}{keys[0].removeprefix(REQUESTS)}", RUNNING)
        _read_until(program, "amber-fox: Running")
        program.send_signal(signal.SIGINT)
        said, _ = program.communicate(timeout=30)
    assert said == "the run goes on; follow it: make logs RUN=amber-fox\n"
    assert program.returncode == 130


def test_ctrl_c_before_it_is_taken_leaves_the_request(played: Played) -> None:
    with _follow(played) as program:
        _read_until(program, "waking")
        program.send_signal(signal.SIGINT)
        said, _ = program.communicate(timeout=30)
    assert said.startswith("the request stays")
    assert program.returncode == 130
    assert len(played.keys(REQUESTS)) == 1


# --- logs, of runs that were asked for; of others in test_operate_history ------------------------


def test_logs_of_a_run_that_was_asked_for(
    played: Played, capsys: pytest.CaptureFixture[str]
) -> None:
    played.put(f"{ANSWERS}1.json", {**RUNNING, "state": "Completed", "type": "COMPLETED"})
    played.log(JOB, "one", "two")
    for wanted in ("amber-fox", RUNNING["run"], "f00d"):
        assert main(["logs", wanted, "--follow"]) == 0
        assert capsys.readouterr().out.splitlines() == [
            f"--- amber-fox ({RUNNING['run']}), Completed",
            "one",
            "two",
        ]


def test_logs_without_any_history(played: Played, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs"]) == 1
    assert "there is no history yet" in capsys.readouterr().err


def test_a_long_log_comes_whole(played: Played) -> None:
    from deployments.operate.cloudwatch import Stream

    stream = Stream(played.at, f"job/prefect/{JOB.rpartition('/')[2]}")
    assert stream.new() == []  # not there yet
    lines = [f"line {number}" for number in range(12_000)]
    played.log(JOB, *lines[:9_000])
    assert stream.new() == lines[:9_000]
    assert stream.new() == []
    played.log(JOB, *lines[9_000:])
    assert stream.new() == lines[9_000:]


# --- the live UI ---------------------------------------------------------------------------------


def test_the_live_ui_of_one_that_sleeps(played: Played, capsys: pytest.CaptureFixture[str]) -> None:
    played.journal(Journal(life=1, doing="asleep"))
    assert main(["ui", "--live"]) == 1
    said = capsys.readouterr()
    assert "the orchestrator is not awake" in said.err
    assert "secret" not in said.out + said.err


def test_the_live_ui_of_the_local_cloud_is_an_address(
    played: Played, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arn = played.start_task()
    played.journal(replace(WORKING, holder=arn))
    details = [{"name": "privateIPv4Address", "value": "127.0.3.7"}]
    shown: dict[str, Any] = {"taskArn": arn, "attachments": [{"details": details}]}
    monkeypatch.setattr(aws, "task", lambda _at, _arn: shown)
    assert main(["ui", "--live"]) == 0
    assert capsys.readouterr().out == "  http://127.0.3.7:4200\npassword: nightshift:secret\n"


def test_the_journal_key_is_what_was_played(played: Played) -> None:
    played.journal(WORKING)
    assert aws.journal(played.at) == Journal(**asdict(WORKING))
    assert played.keys() == [KEY]
