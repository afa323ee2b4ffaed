"""The wake-up: the schedule of EventBridge that the orchestrator moves before it sleeps; and how a
schedule is changed at all.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

# What UpdateSchedule takes of what GetSchedule gives: what is left out would be reset.
_KEPT = ("Name", "GroupName", "Description", "FlexibleTimeWindow", "Target", "KmsKeyArn", "State")


def read(scheduler: Any, group: str, name: str) -> datetime | None:
    """When it wakes, if it is set to one time; None if it is something else."""
    found = scheduler.get_schedule(GroupName=group, Name=name)
    return at(found["ScheduleExpression"], found.get("ScheduleExpressionTimezone") or "UTC")


def at(expression: str, timezone: str = "UTC") -> datetime | None:
    match = re.fullmatch(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)", expression)
    if not match or timezone != "UTC":
        return None
    return datetime.fromisoformat(match[1]).replace(tzinfo=UTC)


def expression(time: datetime) -> str:
    return f"at({time.astimezone(UTC):%Y-%m-%dT%H:%M:%S})"


def move(scheduler: Any, group: str, name: str, to: datetime) -> None:
    change(scheduler, group, name, expression(to))


def change(
    scheduler: Any,
    group: str,
    name: str,
    to: str,
    *,
    enabled: bool = True,
    said: str | None = None,
) -> None:
    """`to`: an expression, in UTC. `said`: what its target is given; None leaves that as it is."""
    found = scheduler.get_schedule(GroupName=group, Name=name)
    kept = {key: found[key] for key in _KEPT if found.get(key) is not None}
    kept["State"] = "ENABLED" if enabled else "DISABLED"
    if said is not None:
        kept["Target"] = {**found["Target"], "Input": said}
    scheduler.update_schedule(
        **kept,
        ScheduleExpression=to,
        ScheduleExpressionTimezone="UTC",
        ActionAfterCompletion="NONE",
    )
