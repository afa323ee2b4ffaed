"""The schedule that tells of a run which has not begun: set, moved, switched off; and fired."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from deployments.orchestrator import watchdog
from deployments.orchestrator.executor import Executor
from deployments.orchestrator.life import LEFT, Do, SetWatchdog, Unbegun, Work
from tests.orchestrator.test_executor import ecr, make, said  # noqa: F401
from tests.orchestrator.test_wake_up import GROUP, ROLE, scheduler  # noqa: F401

NAME = "watchdog"
TOPIC = "arn:aws:sns:us-east-1:123456789012:nightshift-test-alerts"
TARGET = {
    "Arn": "arn:aws:scheduler:::aws-sdk:sns:publish",
    "RoleArn": ROLE,
    "Input": "{}",
    "RetryPolicy": {"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 185},
}
DUE = datetime(2026, 11, 27, 6, tzinfo=UTC)
DAILY = Unbegun("cost-report/daily", "amber-fox", DUE)
SET = SetWatchdog(DUE + timedelta(minutes=30), (DAILY,))


@pytest.fixture
def there(scheduler: Any) -> Any:  # noqa: F811
    scheduler.create_schedule(
        GroupName=GROUP,
        Name=NAME,
        ScheduleExpression=watchdog.IDLE,
        State="DISABLED",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target=TARGET,
    )
    return scheduler


def move(scheduler: Any, to: SetWatchdog) -> Any:  # noqa: F811
    watchdog.move(scheduler, (GROUP, NAME), to, topic=TOPIC, stack="nightshift-test")
    return scheduler.get_schedule(GroupName=GROUP, Name=NAME)


def test_it_is_set_and_says_what_is_overdue(there: Any) -> None:
    found = move(there, SET)
    assert found["ScheduleExpression"] == "at(2026-11-27T06:30:00)"
    assert found["State"] == "ENABLED"
    assert {**found["Target"], "Input": "{}"} == TARGET
    said_ = json.loads(found["Target"]["Input"])
    assert said_["TopicArn"] == TOPIC
    assert said_["Subject"] == "nightshift-test: cost-report/daily was due and has not begun"


def test_it_says_what_where_why_and_what_next() -> None:
    assert SET.at is not None
    said_ = watchdog.message(SET, topic=TOPIC, stack="n")["Message"]
    for part in (
        "cost-report/daily, run amber-fox, was due at 2026-11-27 06:00:00 UTC",
        "has not begun 30 minutes later",
        "log group /n/orchestrator",
        "no capacity",
        "concurrency limit",
        "make wake",
        "make trigger DEPLOYMENT=cost-report/daily",
    ):
        assert part in said_
    assert [line for line in said_.splitlines() if line.endswith(":") and line[0] != " "] == [
        *("what:", "where:", "why:", "next:")
    ]


def test_one_letter_says_of_several() -> None:
    also = Unbegun("report/weekly", "blue-cat", DUE + timedelta(minutes=1))
    two = SetWatchdog(DUE + timedelta(minutes=31), (DAILY, also))
    said_ = watchdog.message(two, topic=TOPIC, stack="n")
    what = "n: cost-report/daily and 1 more run were due and have not begun"
    assert said_["Subject"] == what
    for part in (
        "amber-fox, was due at 2026-11-27 06:00:00 UTC and has not begun 31 minutes later\n",
        "blue-cat, was due at 2026-11-27 06:01:00 UTC and has not begun 30 minutes later\n",
        "make trigger DEPLOYMENT=cost-report/daily runs it now\n",
        "make trigger DEPLOYMENT=report/weekly runs it now\n",
        "has not started them",
    ):
        assert part in said_["Message"]


def test_of_many_some_are_named(there: Any) -> None:
    """And EventBridge takes them, whatever they are called."""
    many = tuple(
        Unbegun(f"{'é' * 100}/daily", f"{n}-\ud800\x1b{'x' * 100}", DUE) for n in range(50)
    )
    found = move(there, replace(SET, runs=many))
    said_ = json.loads(found["Target"]["Input"])
    assert said_["Message"].count("was due at") == watchdog.NAMED
    assert f"\n  and {50 - watchdog.NAMED} more\n" in said_["Message"]
    assert len(said_["Subject"]) < 100
    assert len(found["Target"]["Input"].encode()) < 2**18
    assert said_["Message"].replace("\n", "").isprintable()


def test_where_it_stands(there: Any) -> None:
    place = (GROUP, NAME)
    assert watchdog.read(there, *place) is None
    move(there, SET)
    assert watchdog.read(there, *place) == SET.at
    move(there, SetWatchdog())
    assert watchdog.read(there, *place) is None


def test_it_is_switched_off_and_on_again(there: Any) -> None:
    move(there, SET)
    assert move(there, SetWatchdog())["State"] == "DISABLED"
    found = move(there, replace(SET, at=SET.at and SET.at + timedelta(days=1)))
    assert (found["State"], found["ScheduleExpression"]) == ("ENABLED", "at(2026-11-28T06:30:00)")


# --- and where it cannot be set ------------------------------------------------------------------

DENIED = ClientError({"Error": {"Code": "AccessDeniedException"}}, "UpdateSchedule")


class Denied:
    """A role that is older than the image."""

    tries = 0

    def get_schedule(self, **_: Any) -> Any:
        self.tries += 1
        raise DENIED


def test_nobody_stays_awake_because_it_cannot_be_set(
    make: Callable[..., Executor],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is tried a few times, and said; then it counts as set, and is tried again later."""
    one = make()
    one._scheduler = denied = Denied()
    monkeypatch.setattr(one._told, "wait", lambda _: None)
    assert one._seen.grace == timedelta(minutes=30)
    for _ in range(2):
        one._carry_out(SET)
        assert one._seen.watchdog is None
    one._carry_out(SET)
    assert denied.tries == 3
    assert one._seen.watchdog == SET
    assert "not told of runs that do not begin" in one._journal.now.trouble


def test_a_life_sees_what_the_last_has_left(
    make: Callable[..., Executor],  # noqa: F811
    there: Any,
) -> None:
    """For as long as it may have something to tell of; and one that may not look goes on."""
    move(there, SET)
    assert SET.at
    for now, seen in (
        (DUE, SetWatchdog(SET.at)),
        (SET.at + LEFT - timedelta(seconds=1), SetWatchdog(SET.at)),
        (SET.at + LEFT, None),
    ):
        one = make(watchdog=(GROUP, NAME))
        one._scheduler, one._seen = there, replace(one._seen, now=now, work=Work())
        one._look_at_watchdog()
        assert one._seen.watchdog == seen
        one._seen, one._scheduler = replace(one._seen, watchdog=None), Denied()
        one._look_at_watchdog()
        assert one._seen.watchdog is None


def test_a_stack_that_has_none(make: Callable[..., Executor]) -> None:  # noqa: F811
    assert make(watchdog=("", ""))._seen.grace is None
    assert make(topic="")._seen.grace is None


def test_it_attends_anew_after_the_worker(make: Callable[..., Executor]) -> None:  # noqa: F811
    """Which may have ended a run after the last look."""
    one = make()
    one._seen = replace(one._seen, attended=True)
    one._do(Do.STOP_WORKER)
    assert not one._seen.attended
