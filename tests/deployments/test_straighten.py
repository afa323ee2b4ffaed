"""What is decided about runs whose ECS tasks are gone, and why each task ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deployments.diagnosis import FORGOTTEN, ORPHANED, Diagnosis, diagnose
from deployments.straighten import (
    Cancel,
    Crash,
    Plan,
    Reschedule,
    Run,
    Stop,
    decide,
    described,
    own_tasks,
)

NOW = datetime(2026, 11, 24, 6, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ARN = "arn:aws:ecs:eu-west-1:123456789012:task/nightshift-prod/"


def run(state: str = "RUNNING", pid: str | None = "one", **changed: Any) -> Run:
    given = {
        "id": "run-1",
        "name": "blue-cat",
        "state_id": "state-1",
        "since": NOW - 2 * MINUTE,
        "scheduled": NOW - 10 * MINUTE,
        "pid": f"nightshift-prod::{ARN}{pid}" if pid else None,
    }
    return Run(state=state, **{**given, **changed})


def task(name: str = "one", status: str = "STOPPED", of: str = "run-1", **changed: Any) -> Any:
    return {
        "taskArn": ARN + name,
        "lastStatus": status,
        "createdAt": NOW - 5 * MINUTE,
        "tags": [{"key": "prefect.io/flow-run-id", "value": of}] if of else [],
        "containers": [{"name": "prefect", "exitCode": 1}],
        **changed,
    }


def kinds(plan: Plan) -> list[type]:
    return [type(step) for step in plan.steps]


# --- decide --------------------------------------------------------------------------------------

OLD: dict[str, Any] = {
    "createdAt": NOW - 20 * MINUTE
}  # from before it was last put on the schedule


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "CANCELLING"])
@pytest.mark.parametrize(
    "status",
    [
        *("PROVISIONING", "PENDING", "ACTIVATING", "RUNNING", "DEACTIVATING", "STOPPING"),
        *("DEPROVISIONING", "a new one"),
    ],
)
@pytest.mark.parametrize(
    ("pid", "of"), [("one", "run-1"), ("one", ""), (None, "run-1")], ids=["both", "pid", "tag"]
)
def test_what_lives_is_left_alone(state: str, status: str, pid: str | None, of: str) -> None:
    assert decide([run(state, pid)], [task(status=status, of=of)], NOW) == Plan(())


@pytest.mark.parametrize(
    ("state", "kind"), [("PENDING", Crash), ("RUNNING", Crash), ("CANCELLING", Cancel)]
)
@pytest.mark.parametrize("pid", ["one", None])
def test_what_stopped_has_died(state: str, kind: type, pid: str | None) -> None:
    one = run(state, pid)
    assert decide([one], [task()], NOW) == Plan((kind(one, diagnose(task())),))


@pytest.mark.parametrize(
    ("state", "pid", "kind"),
    [
        ("PENDING", "one", Crash),  # it may have run: it is not started a second time
        ("RUNNING", "one", Crash),
        ("RUNNING", None, Crash),
        ("CANCELLING", "one", Cancel),
        ("CANCELLING", None, Cancel),
    ],
)
def test_what_ecs_does_not_know_has_died(state: str, pid: str | None, kind: type) -> None:
    one = run(state, pid)
    assert decide([one], [task("other", of="run-2")], NOW) == Plan((kind(one, FORGOTTEN),))


def test_what_never_started_is_put_back() -> None:
    one = run("PENDING", None)
    assert decide([one], [task("other", of="run-2")], NOW).steps == (Reschedule(one),)


@pytest.mark.parametrize(("seconds", "expected"), [(29, []), (30, []), (31, [Reschedule])])
def test_not_before_the_grace_is_over(seconds: int, expected: list[type]) -> None:
    plan = decide([run("PENDING", None, since=NOW - timedelta(seconds=seconds))], [], NOW)
    assert kinds(plan) == expected
    assert len(plan.notes) == (not expected)


def test_the_grace_is_an_option() -> None:
    assert kinds(decide([run("PENDING", None)], [], NOW, 3 * MINUTE)) == []
    assert kinds(decide([run("PENDING", None)], [], NOW, MINUTE)) == [Reschedule]


@pytest.mark.parametrize("pid", ["one", None])
def test_the_task_of_the_time_before_is_not_this_ones(pid: str | None) -> None:
    """Spot took the first; Prefect keeps its pid until the worker has written the second down."""
    again = run("PENDING", pid)
    assert kinds(decide([again], [task(**OLD)], NOW)) == [Reschedule]
    second = task("two", "PROVISIONING")
    assert decide([again], [task(**OLD), second], NOW) == Plan(())
    died = task("two", stopCode="SpotInterruption")
    assert decide([again], [task(**OLD), died], NOW).steps == (Crash(again, diagnose(died)),)


def test_of_several_tasks_the_newest_says_why() -> None:
    newest = task("two", createdAt=NOW - MINUTE, stopCode="SpotInterruption")
    for tasks in ([task(), newest], [newest, task()]):
        assert decide([run()], tasks, NOW).steps == (Crash(run(), diagnose(newest)),)


def test_what_was_not_started_on_ecs_is_left_alone() -> None:
    plan = decide([run(pid=None), run(pid="x", id="run-2")], [], NOW)
    assert kinds(plan) == [Crash, Crash]
    plan = decide([Run("a", "cat", "RUNNING", "b", NOW, pid="laptop:1234")], [], NOW)
    assert plan.steps == ()
    assert "laptop:1234" in plan.notes[0]


# --- tasks that speak to a server that is gone ---------------------------------------------------

HERE, GONE = "http://10.0.0.7:4200/api", "http://10.0.0.5:4200/api"


def speaks(to: str | None, **changed: Any) -> Any:
    """A task that lives, and was given this address."""
    environment = [{"name": "OTHER", "value": GONE}]
    if to is not None:
        environment.append({"name": "PREFECT_API_URL", "value": to})
    sidecar: dict[str, Any] = {"name": "sidecar"}
    override = {"name": "prefect", "environment": environment}
    overrides = {"containerOverrides": [sidecar, override]}
    return task(**{"status": "RUNNING", "overrides": overrides, **changed})


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "CANCELLING"])
@pytest.mark.parametrize("status", ["PROVISIONING", "PENDING", "RUNNING"])
def test_an_orphan_is_stopped_and_its_run_left_until_it_has(state: str, status: str) -> None:
    one = run(state)
    found = speaks(GONE, status=status, desiredStatus="RUNNING")
    assert decide([one], [found], NOW, api=HERE) == Plan(
        (Stop(one, ARN + "one"),), (), ("blue-cat (run-1)",)
    )
    ending = speaks(GONE, status="STOPPING", desiredStatus="STOPPED")
    assert decide([one], [ending], NOW, api=HERE) == Plan((), (), ("blue-cat (run-1)",))
    ended_ = speaks(GONE, status="STOPPED", stopCode="UserInitiated", stoppedReason=ORPHANED)
    after = decide([one], [ended_], NOW, api=HERE)
    assert kinds(after) == [Cancel if state == "CANCELLING" else Crash]
    assert after.later == ()


@pytest.mark.parametrize("to", [HERE, "", None])
def test_who_speaks_to_us_is_no_orphan(to: str | None) -> None:
    """Nor is one of which it cannot be seen."""
    assert decide([run()], [speaks(to)], NOW, api=HERE) == Plan(())
    assert decide([run()], [task(status="RUNNING", overrides={})], NOW, api=HERE) == Plan(())
    assert decide([run()], [task(status="RUNNING")], NOW, api=HERE) == Plan(())


def test_without_an_address_nobody_is_an_orphan() -> None:
    """An external server keeps its own."""
    assert decide([run()], [speaks(GONE)], NOW) == Plan(())


def test_of_two_tasks_of_a_run_the_orphan_is_stopped() -> None:
    both = [speaks(GONE), speaks(HERE, name="two")]
    assert decide([run()], both, NOW, api=HERE) == Plan(
        (Stop(run(), ARN + "one"),), (), ("blue-cat (run-1)",)
    )
    dead = task("two", **EXITED)
    assert kinds(decide([run()], [speaks(GONE), dead], NOW, api=HERE)) == [Stop]


def test_orphans_among_others() -> None:
    runs = [run(id="ours", pid="1"), run(id="orphan", pid="2"), run(id="dead", pid="3")]
    tasks = [speaks(HERE, name="1", of="ours"), speaks(GONE, name="2", of="orphan")]
    plan = decide(runs, [*tasks, task("3", of="dead")], NOW, api=HERE)
    assert [(type(step), step.run.id) for step in plan.steps] == [(Stop, "orphan"), (Crash, "dead")]
    assert plan.later == ("blue-cat (orphan)",)


def test_what_an_orphan_ended_by_is_no_fault_of_its_own() -> None:
    found = diagnose(ended(137, stopCode="UserInitiated", stoppedReason=ORPHANED))
    assert (found.level, found.again) == ("warning", True)
    assert "orchestrator was replaced" in found.summary
    assert ORPHANED in found.detail
    by_hand = diagnose(ended(137, **STOP))
    assert not by_hand.again


def test_a_runs_own_tasks() -> None:
    old = task("old", createdAt=NOW - 20 * MINUTE)
    untagged = task("one", of="")
    others = task("two", of="run-2")
    bare = {"taskArn": ARN + "bare", "lastStatus": "RUNNING"}
    tasks = [untagged, others, bare, old]
    assert own_tasks(tasks, "run-1", f"nightshift-prod::{ARN}one") == [old, untagged]
    assert own_tasks(tasks, "run-1", None) == [old]
    assert own_tasks(tasks, "run-3", "laptop:1234") == []


def test_each_run_by_itself() -> None:
    runs = [
        run(id="alive", pid="1"),
        run(id="dead", pid="2"),
        run("PENDING", None, id="never"),
        run("CANCELLING", "4", id="cancelled"),
    ]
    tasks = [task("1", "RUNNING", "alive"), task("2", of="dead"), task("4", of="cancelled")]
    plan = decide(runs, tasks, NOW)
    assert [step.run.id for step in plan.steps] == ["dead", "never", "cancelled"]
    assert kinds(plan) == [Crash, Reschedule, Cancel]


def test_in_words() -> None:
    plan = decide([run(), run("CANCELLING"), run("PENDING", None, id="run-2")], [task()], NOW)
    said = [described(step).splitlines()[0] for step in plan.steps]
    assert said == [
        "RUNNING → CRASHED: blue-cat (run-1)",
        "CANCELLING → CANCELLED: blue-cat (run-1)",
        "PENDING → SCHEDULED: blue-cat (run-2)",
    ]
    assert "nothing has run" in described(plan.steps[2])
    orphan = described(Stop(run(), ARN + "one"))
    assert orphan == f"stop ECS task one of blue-cat (run-1)\n  {ORPHANED}"


# --- diagnose ------------------------------------------------------------------------------------

EXITED = {"stopCode": "EssentialContainerExited", "stoppedReason": "Essential container in task…"}


def ended(code: int | None = None, reason: str = "", **changed: Any) -> dict[str, Any]:
    container: dict[str, Any] = {"name": "prefect"}
    if code is not None:
        container["exitCode"] = code
    if reason:
        container["reason"] = reason
    return {**task(), **EXITED, "containers": [container], **changed}


def failed(reason: str) -> dict[str, Any]:
    return ended(stopCode="TaskFailedToStart", stoppedReason=reason)


PULL = (
    "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve "
    "ref …@sha256:0: not found"
)
START = (
    'CannotStartContainerError: failed to create task: exec: "prefect": executable file not found '
    "in $PATH"
)
SPOT: dict[str, Any] = {
    "stopCode": "SpotInterruption",
    "stoppedReason": "Your Spot Task was interrupted.",
}
STOP: dict[str, Any] = {"stopCode": "UserInitiated", "stoppedReason": "Task stopped by user"}


@pytest.mark.parametrize(
    ("of", "level", "says", "fix"),
    [
        (ended(137, "OutOfMemoryError: Container killed"), "error", "out of memory", "`memory`"),
        (ended(137), "error", "most likely out of memory", "`memory`"),
        (ended(1), "error", "exit code 1", "log"),
        (ended(127), "error", "exit code 127", "log"),
        (ended(143), "warning", "told to end", "again"),
        (ended(0), "error", "without telling Prefect", "log"),
        (ended(137, **SPOT), "warning", "Spot", "again"),
        (ended(**SPOT), "warning", "Spot", "again"),
        (ended(stopCode="TerminationNotice"), "warning", "maintenance", "again"),
        (ended(137, **STOP), "warning", "somebody stopped", "again"),
        (ended(stopCode="ServiceSchedulerInitiated"), "warning", "service", "again"),
        (
            failed("Capacity is unavailable at this time. Please try again later"),
            "warning",
            "could not be placed",
            "Spot",
        ),
        (failed("RESOURCE:FARGATE"), "warning", "could not be placed", "Spot"),
        (failed(PULL), "error", "image is missing", "reconcile"),
        (ended(reason=PULL, stopCode="TaskFailedToStart"), "error", "image is missing", "registry"),
        (ended(reason=START, stopCode="TaskFailedToStart"), "error", "command is missing", "image"),
        (
            failed("ResourceInitializationError: unable to pull secrets"),
            "error",
            "beforehand",
            "secret",
        ),
        (failed("something new"), "error", "did not start", "ECS"),
        (ended(), "error", "does not say why", "log"),
        ({}, "error", "does not say why", "log"),
    ],
)
def test_why_it_ended(of: dict[str, Any], level: str, says: str, fix: str) -> None:
    found = diagnose(of)
    assert found.level == level
    assert says in found.summary
    assert fix in found.fix
    assert of.get("stoppedReason", "") in found.detail


def test_the_detail_has_all_that_ecs_says() -> None:
    found = diagnose(ended(137, "OutOfMemoryError: Container killed due to memory usage"))
    assert found.detail == (
        "Essential container in task…; OutOfMemoryError: Container killed due to memory usage; "
        "stop code EssentialContainerExited; exit code 137; ECS task one"
    )


def test_the_container_to_blame() -> None:
    fine = {"name": "sidecar", "exitCode": 0}
    found = diagnose(ended(containers=[fine, {"name": "prefect", "exitCode": 2}]))
    assert found.summary == "it failed with exit code 2"
    why = {"name": "prefect", "exitCode": 137, "reason": "OutOfMemoryError: killed"}
    assert diagnose(ended(containers=[{"name": "x", "exitCode": 1}, why])).summary == (
        "out of memory"
    )


def test_a_diagnosis_reads_as_a_message() -> None:
    assert str(Diagnosis("error", "it is so", "for a reason", "do this")) == (
        "error: it is so\n  why:   for a reason\n  fix:   do this"
    )
    assert str(Diagnosis("warning", "it is so", "", "do this")) == (
        "warning: it is so\n  fix:   do this"
    )


@pytest.mark.parametrize(
    ("status", "api", "steps"),
    [
        ("RUNNING", "http://10.0.0.7:4200/api", []),  # it waits, and will go on
        ("RUNNING", "http://10.0.0.9:4200/api", [Stop]),  # it would find nobody
        ("STOPPED", "http://10.0.0.9:4200/api", []),  # another task comes when it is due
    ],
)
def test_one_that_waits_to_retry(status: str, api: str, steps: list[type]) -> None:
    speaks = [{"environment": [{"name": "PREFECT_API_URL", "value": "http://10.0.0.7:4200/api"}]}]
    own = task(status=status, overrides={"containerOverrides": speaks})
    plan = decide([run("SCHEDULED")], [own], NOW, api=api)
    assert kinds(plan) == steps
