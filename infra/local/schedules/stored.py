"""moto's schedules, and when each is due."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from moto.scheduler.models import scheduler_backends

from infra.local.schedules.expressions import next_time

_JUST_BEFORE = timedelta(microseconds=1)


@dataclass(frozen=True)
class Watched:
    """A schedule whose next time is looked for."""

    timing: tuple[object, ...]  # what starts it anew when it changes
    since: datetime  # when it was set
    done_to: datetime  # everything up to here has been fired, or was not to be


def schedules() -> list[Any]:
    """Of every account and region. Copied: the server's threads change them."""
    return list(_each())


def _each() -> Iterator[Any]:
    for regions in list(scheduler_backends.values()):
        for backend in list(regions.values()):
            for group in list(backend.schedule_groups.values()):
                yield from list(group.schedules.values())


def group_arn(schedule: Any) -> str:
    return f"{schedule.arn.split(':schedule/')[0]}:schedule-group/{schedule.group_name}"


def delete(schedule: Any) -> None:
    _, _, _, region, account, _ = schedule.arn.split(":", 5)
    backend = scheduler_backends[account][region]
    backend.delete_schedule(schedule.group_name, schedule.name)


def timing(schedule: Any) -> tuple[object, ...]:
    return (
        schedule.creation_date,
        schedule.schedule_expression,
        schedule.schedule_expression_timezone,
        schedule.start_date,
        schedule.end_date,
        schedule.state or "ENABLED",
    )


def watched(schedule: Any, since: datetime | None = None) -> Watched:
    """A schedule as it has just been set, by its own date or at `since`."""
    since = since or _time(schedule.last_modified_date)
    return Watched(timing(schedule), since, since - _JUST_BEFORE)


def next_due(schedule: Any, known: Watched) -> datetime | None:
    """None: never again. Raises ValueError for an expression that AWS would not have stored."""
    due = next_time(
        schedule.schedule_expression,
        schedule.schedule_expression_timezone or "UTC",
        known.done_to,
        created=known.since,
        start=_time(schedule.start_date) if schedule.start_date else None,
        end=_time(schedule.end_date) if schedule.end_date else None,
    )
    return None if schedule.state == "DISABLED" else due


def is_last(schedule: Any, known: Watched) -> bool:
    """Whether there is nothing left to do: a recurring schedule ends only if it has an end.

    https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-delete.html
    """
    ends = schedule.end_date or schedule.schedule_expression.startswith("at(")
    enabled = schedule.state != "DISABLED"
    return bool(ends and enabled) and next_due(schedule, known) is None


def _time(stamp: float) -> datetime:
    return datetime.fromtimestamp(float(stamp), UTC)
