"""Attempts to call a target: what is tried again, what is given up, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from botocore.exceptions import ClientError, ParamValidationError

from infra.local.iam import NotTrusted
from infra.local.schedules.targets import Request, queue_url

Outcome = Literal["delivered", "failed", "dead-lettered", "dropped", "deleted", "invalid"]


@dataclass(frozen=True)
class Event:
    """What became of one attempt, or of a schedule."""

    when: datetime
    schedule: str  # its ARN
    outcome: Outcome
    due: datetime | None = None
    action: str = ""  # 'ecs:UpdateService', where one could be made out
    attempt: int = 0  # from 1
    detail: str = ""  # the error, or where the event went

    def __str__(self) -> str:
        name = self.schedule.split(":schedule/")[-1]
        due = f", due {text(self.due)}" if self.due else ""
        attempt = f", attempt {self.attempt}" if self.attempt > 1 else ""
        detail = f": {self.detail}" if self.detail else ""
        what = self.action or "schedule"
        return f"{text(self.when)} {name}{due}: {what} {self.outcome}{attempt}{detail}"


@dataclass(frozen=True)
class Attempt:
    """The next call of a target, with the schedule as it was when it was due."""

    schedule: str  # its ARN
    group: str  # its group's
    target: Mapping[str, Any]
    due: datetime
    at: datetime
    number: int = 1

    @property
    def region(self) -> str:
        return self.schedule.split(":")[3]

    @property
    def account(self) -> str:
        return self.schedule.split(":")[4]


@dataclass(frozen=True)
class Failure:
    code: str
    message: str
    permanent: bool = False  # another attempt would fail as well

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


def failure(error: Exception) -> Failure:
    """What the dead-letter queue is told of an error."""
    if isinstance(error, ClientError):
        answer = error.response["Error"]
        return Failure(answer["Code"], answer.get("Message") or answer["Code"])
    if isinstance(error, NotTrusted):
        return Failure("AccessDenied", str(error))
    if isinstance(error, ValueError | ParamValidationError):
        return Failure("ValidationException", str(error), permanent=True)
    # What AWS says when the fault is its own.
    message = "Unexpected error occurred while processing the request"
    return Failure("AWS.Scheduler.InternalServerError", message)


def given_up(attempts: int, age: timedelta, policy: Mapping[str, Any]) -> str:
    """Why no further attempt is made, as the dead-letter queue is told; '' to try again.

    `attempts` were made; `age` would be the event's at the next one.
    https://docs.aws.amazon.com/scheduler/latest/APIReference/API_RetryPolicy.html; the defaults
    are in https://aws.amazon.com/blogs/compute/introducing-amazon-eventbridge-scheduler/
    """
    if attempts > int(policy.get("MaximumRetryAttempts", 185)):
        return "MaximumRetryAttempts"
    if age > timedelta(seconds=int(policy.get("MaximumEventAgeInSeconds", 86400))):
        return "MaximumEventAgeInSeconds"
    return ""


def shortened(attempts: int) -> timedelta:
    """The pause after so many attempts: exponential as on AWS, but a second at most."""
    return min(timedelta(seconds=0.05 * 2 ** min(attempts, 10)), timedelta(seconds=1))


def context(attempt: Attempt, execution: str) -> dict[str, str]:
    """What Input may name: see `targets.filled`."""
    return {
        "schedule-arn": attempt.schedule,
        "scheduled-time": text(attempt.due),
        "execution-id": execution,
        "attempt-number": str(attempt.number),
    }


def dead_letter(
    queue: str, attempt: Attempt, failed: Failure, why: str, body: str, execution: str
) -> Request:
    """https://docs.aws.amazon.com/scheduler/latest/UserGuide/configuring-schedule-dlq.html"""
    attributes = {
        "ERROR_CODE": failed.code,
        "ERROR_MESSAGE": failed.message,
        "EXECUTION_ID": execution,
        **({"EXHAUSTED_RETRY_CONDITION": why} if why else {}),  # absent from a permanent error
        "IS_PAYLOAD_TRUNCATED": "false",
        "RETRY_ATTEMPTS": str(attempt.number - 1),
        "SCHEDULED_TIME": text(attempt.due),
        "SCHEDULE_ARN": attempt.schedule,
        "TARGET_ARN": str(attempt.target["Arn"]),
    }
    message = {
        "QueueUrl": queue_url(queue),
        "MessageBody": body or "{}",
        "MessageAttributes": {
            name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
        },
    }
    return Request("sqs", "SendMessage", message)


def text(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
