"""What a service's scheduler decides, and that its decisions come to what is desired."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.local.fargate.fargate import pause_after
from infra.local.fargate.request import planned
from infra.local.fargate.services import Decision, ServiceTask, decide
from infra.local.fargate.task import Task
from tests.infra.test_local_fargate_request import DEFINITION, REQUEST

STATUSES = ("PROVISIONING", "PENDING", "ACTIVATING", "RUNNING", "DEACTIVATING", "STOPPED")


def running(arn: str, deployment: str = "new") -> ServiceTask:
    return ServiceTask(arn, deployment, "RUNNING", stopping=False)


def pending(arn: str, deployment: str = "new") -> ServiceTask:
    return ServiceTask(arn, deployment, "PENDING", stopping=False)


@pytest.mark.parametrize(
    ("desired", "tasks", "percentages", "expected"),
    [
        (0, [], (100, 200), Decision()),
        (1, [], (100, 200), Decision(start=1)),
        (1, [running("a")], (100, 200), Decision()),
        (0, [running("a")], (0, 100), Decision(stop=("a",))),
        # one at a time: the old one goes first
        (1, [running("a", "old")], (0, 100), Decision(stop=("a",))),
        # or the new one comes first, and the old one stays until it runs
        (1, [running("a", "old")], (100, 200), Decision(start=1)),
        (1, [running("a", "old"), pending("b")], (100, 200), Decision()),
        (1, [running("a", "old"), running("b")], (100, 200), Decision(stop=("a",))),
        # of what is too much, that which serves nobody yet
        (1, [pending("a"), running("b")], (100, 200), Decision(stop=("a",))),
        # what waits for its machine is replaced at once
        (1, [pending("a", "old")], (100, 100), Decision(stop=("a",))),
        # one that has been told to stop is not in the way
        (1, [replace(running("a"), stopping=True)], (0, 100), Decision(start=1)),
    ],
)
def test_decisions(
    desired: int,
    tasks: list[ServiceTask],
    percentages: tuple[int, int],
    expected: Decision,
) -> None:
    least, most = percentages
    found = decide(desired, "new", tasks, minimum_percent=least, maximum_percent=most)
    assert found == expected


TASKS = st.lists(
    st.builds(
        ServiceTask,
        arn=st.just(""),
        deployment=st.sampled_from(["new", "old", "older"]),
        last_status=st.sampled_from(STATUSES),
        stopping=st.booleans(),
    ),
    max_size=12,
).map(lambda tasks: [replace(task, arn=str(number)) for number, task in enumerate(tasks)])
DESIRED = st.integers(0, 6)
MINIMUM, MAXIMUM = st.integers(0, 100), st.integers(100, 200)


@given(DESIRED, TASKS, MINIMUM, MAXIMUM)
def test_a_decision_keeps_to_both_percentages(
    desired: int, tasks: list[ServiceTask], minimum: int, maximum: int
) -> None:
    decision = decide(desired, "new", tasks, minimum_percent=minimum, maximum_percent=maximum)
    live = {task.arn for task in tasks if task.live}
    runs = {task.arn for task in tasks if task.runs}
    assert set(decision.stop) <= live
    assert len(decision.stop) == len(set(decision.stop))
    most = math.floor(desired * maximum / 100)
    if decision.start:
        assert len(live) + decision.start <= most  # even if what is to stop takes its time
    least = math.ceil(desired * minimum / 100)
    assert len(runs - set(decision.stop)) >= min(least, len(runs))


@settings(max_examples=50, deadline=None)
@given(DESIRED, TASKS, MINIMUM, MAXIMUM, st.randoms(use_true_random=False))
def test_decisions_come_to_what_is_desired(
    desired: int, tasks: list[ServiceTask], minimum: int, maximum: int, chance: object
) -> None:
    """Unless the percentages leave room neither to stop nor to start, as those of ECS may."""
    pick = getattr(chance, "random")  # noqa: B009 - hypothesis's, which is untyped
    least, most = math.ceil(desired * minimum / 100), math.floor(desired * maximum / 100)
    made = 0
    for _ in range(60):
        decision = decide(desired, "new", tasks, minimum_percent=minimum, maximum_percent=maximum)
        tasks = [replace(t, stopping=True) if t.arn in decision.stop else t for t in tasks]
        started = [pending(f"made-{made + number}") for number in range(decision.start)]
        made += decision.start
        tasks = [_later(task, pick() < 0.5) for task in [*tasks, *started]]
    new = [task for task in tasks if task.live and task.deployment == "new"]
    old = [task for task in tasks if task.live and task.deployment != "new"]
    if least < most or desired == 0:
        assert [len(new), len(old)] == [desired, 0]
    else:
        assert len(new) + len(old) == desired


def _later(task: ServiceTask, moves: bool) -> ServiceTask:
    """A task goes on, or takes its time."""
    if not moves:
        return task
    if task.stopping:
        return replace(task, last_status="STOPPED")
    return replace(task, last_status="RUNNING") if task.live else task


# --- pauses --------------------------------------------------------------------------------------

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def ended(code: str, minutes: int = 0, *, ran: bool = False) -> Task:
    task = Task(planned(REQUEST, DEFINITION), "us-east-1", "123456789012")
    task.stop(code, "a reason")
    times = {"stoppedAt": NOW + timedelta(minutes=minutes)}
    task.times |= {"startedAt": NOW, **times} if ran else times
    return task


def test_pauses_grow_with_each_failure_to_start() -> None:
    tasks = [ended("TaskFailedToStart", number) for number in range(8)]
    pauses = [pause_after(tasks[:count])[1].total_seconds() for count in range(9)]
    assert pauses == [0, 2, 4, 8, 16, 32, 60, 60, 60]
    assert pause_after(tasks)[0] == NOW + timedelta(minutes=7)


def test_one_that_is_about_to_end_has_failed_already() -> None:
    task = ended("TaskFailedToStart")
    del task.times["stoppedAt"]
    last, pause = pause_after([task])
    assert (last is not None, pause) == (True, timedelta(seconds=2))


def test_what_ran_and_crashed_is_started_again_at_once() -> None:
    crashed = ended("EssentialContainerExited", ran=True)
    assert pause_after([ended("TaskFailedToStart"), crashed]) == (None, timedelta())


def test_what_was_told_to_stop_before_it_ran_has_not_failed() -> None:
    assert pause_after([ended("ServiceSchedulerInitiated")]) == (None, timedelta())
