"""The schedule that wakes the orchestrator, moved and otherwise left as it is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import boto3
import pytest

from deployments.orchestrator import wake_up

GROUP, NAME = "nightshift-test", "wake-up"
ROLE = "arn:aws:iam::123456789012:role/wake"
TARGET = {
    "Arn": "arn:aws:scheduler:::aws-sdk:ecs:updateService",
    "RoleArn": ROLE,
    "Input": '{"Cluster": "c", "Service": "s", "DesiredCount": 1}',
    "RetryPolicy": {"MaximumEventAgeInSeconds": 3600, "MaximumRetryAttempts": 10},
    "DeadLetterConfig": {"Arn": "arn:aws:sqs:us-east-1:123456789012:lost"},
}
TO = datetime(2026, 11, 27, 5, 57, tzinfo=UTC)


@pytest.fixture
def scheduler(s3_endpoint: str) -> Iterator[Any]:
    """moto has all of AWS at one address."""
    client = boto3.client("scheduler", endpoint_url=s3_endpoint)
    client.create_schedule_group(Name=GROUP)
    yield client
    for schedule in client.list_schedules(GroupName=GROUP)["Schedules"]:
        client.delete_schedule(GroupName=GROUP, Name=schedule["Name"])
    client.delete_schedule_group(Name=GROUP)


def create(scheduler: Any, expression: str = "rate(1 day)", **more: Any) -> None:
    scheduler.create_schedule(
        GroupName=GROUP,
        Name=NAME,
        ScheduleExpression=expression,
        **{
            "Description": "wakes the orchestrator",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": TARGET,
            **more,
        },
    )


@pytest.mark.parametrize(
    "expression", ["rate(1 day)", "at(2020-01-01T00:00:00)", "cron(0 6 * * ? *)"]
)
def test_it_is_moved_and_keeps_the_rest(scheduler: Any, expression: str) -> None:
    create(scheduler, expression, ScheduleExpressionTimezone="Europe/Berlin")
    wake_up.move(scheduler, GROUP, NAME, TO)
    found = scheduler.get_schedule(GroupName=GROUP, Name=NAME)
    assert found["ScheduleExpression"] == "at(2026-11-27T05:57:00)"
    assert found["ScheduleExpressionTimezone"] == "UTC"
    assert found["Target"] == TARGET
    assert found["FlexibleTimeWindow"] == {"Mode": "OFF"}
    assert found["Description"] == "wakes the orchestrator"
    assert found["State"] == "ENABLED"
    assert wake_up.read(scheduler, GROUP, NAME) == TO


def test_again_and_again(scheduler: Any) -> None:
    create(scheduler)
    for days in range(3):
        wake_up.move(scheduler, GROUP, NAME, TO + timedelta(days=days))
        assert wake_up.read(scheduler, GROUP, NAME) == TO + timedelta(days=days)
    assert scheduler.get_schedule(GroupName=GROUP, Name=NAME)["Target"] == TARGET


def test_one_that_was_switched_off_wakes_again(scheduler: Any) -> None:
    """Asleep with no wake-up would be for ever."""
    create(scheduler, State="DISABLED")
    wake_up.move(scheduler, GROUP, NAME, TO)
    assert scheduler.get_schedule(GroupName=GROUP, Name=NAME)["State"] == "ENABLED"


def test_what_update_schedule_resets_is_all_handed_over() -> None:
    """AWS's word, not moto's: each of its members is either kept or set."""
    api = boto3.client("scheduler", "us-east-1").meta.service_model
    takes = set(api.operation_model("UpdateSchedule").input_shape.members)
    gives = set(api.operation_model("GetSchedule").output_shape.members)
    asked: list[dict[str, Any]] = []

    class Scheduler:
        def get_schedule(self, **_: Any) -> dict[str, Any]:
            return {name: f"the {name}" for name in gives}

        def update_schedule(self, **given: Any) -> None:
            asked.append(given)

    wake_up.move(Scheduler(), GROUP, NAME, TO)
    (given,) = asked
    assert set(given) <= takes
    # ClientToken is botocore's; a window's start and end are not for a single time.
    assert takes - set(given) == {"ClientToken", "StartDate", "EndDate"}
    assert given["Target"] == "the Target"
    assert given["ActionAfterCompletion"] == "NONE", "it would be gone after it has woken once"


@pytest.mark.parametrize(
    ("expression", "timezone", "expected"),
    [
        ("at(2026-11-27T05:57:00)", "UTC", TO),
        ("at(2026-11-27T05:57:00)", "Europe/Berlin", None),
        ("rate(1 day)", "UTC", None),
        ("cron(0 6 * * ? *)", "UTC", None),
        ("at(2026-11-27)", "UTC", None),
        ("", "UTC", None),
    ],
)
def test_when_it_wakes(expression: str, timezone: str, expected: datetime | None) -> None:
    assert wake_up.at(expression, timezone) == expected


def test_times_are_told_in_utc() -> None:
    summer = datetime(2026, 7, 1, 8, 0, 59, 999999, tzinfo=timezone(timedelta(hours=2)))
    assert wake_up.expression(summer) == "at(2026-07-01T06:00:59)"
    assert wake_up.at(wake_up.expression(TO)) == TO
