"""When a schedule is due.

https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from infra.local.schedules import cron

_UNITS = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(hours=24),  # also where a day is shorter or longer by the clock
}


def next_time(
    expression: str,
    timezone: str,
    after: datetime,
    *,
    created: datetime,
    start: datetime | None = None,
    end: datetime | None = None,
) -> datetime | None:
    """The first time later than `after` at which the schedule fires, in UTC; None: never again.

    `rate` counts from `start`, or else from `created`, which is its own first time. `start` and
    `end` mean nothing to `at`. All times are aware. Raises ValueError naming what is wrong.

    Daylight saving time: `cron` skips a time that the clock jumps over, and of a time that it
    shows twice only the first counts. AWS does not say what `at` does with a time that is jumped
    over; here it is read with the offset from before the jump, so that it is not lost.
    """
    kind, _, rest = expression.partition("(")
    if kind not in ("at", "rate", "cron") or not rest.endswith(")"):
        raise ValueError(f"expression: {expression!r} is not at(...), rate(...) or cron(...)")
    zone, inner = _zone(timezone), rest[:-1]
    if kind == "at":
        once = _at(inner, zone)
        return once if once > after else None
    if kind == "rate":
        due = _rate(inner, start or created, after)
    else:
        found = _cron(inner, zone, after, start)
        if found is None:
            return None
        due = found
    return due if end is None or due <= end else None


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"timezone: there is no {name!r}") from error


def _at(text: str, zone: ZoneInfo) -> datetime:
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", text):
        raise ValueError(f"at: {text!r} is not yyyy-mm-ddThh:mm:ss")
    try:
        return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"at: {text!r} is no date and time") from error


def _rate(text: str, first: datetime, after: datetime) -> datetime:
    found = re.fullmatch(r"([0-9]{1,9}) (minute|hour|day)s?", text)
    if not found:
        raise ValueError(f"rate: {text!r} is not a number and minutes, hours or days")
    period = int(found[1]) * _UNITS[found[2]]
    if not period:
        raise ValueError("rate: 0 is not positive")
    first, after = first.astimezone(UTC), after.astimezone(UTC)
    return first if first > after else first + ((after - first) // period + 1) * period


def _cron(text: str, zone: ZoneInfo, after: datetime, start: datetime | None) -> datetime | None:
    since = max(after, start) if start else after
    for wall in cron.parse(text).times(since.astimezone(zone)):
        time = wall.replace(tzinfo=zone).astimezone(UTC)  # of two, the first
        skipped = time.astimezone(zone).replace(tzinfo=None) != wall
        if time > after and (start is None or time >= start) and not skipped:
            return time
    return None
