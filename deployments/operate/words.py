"""Times, images and messages as people read them. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR


def time_of(text: str | None) -> datetime | None:
    """Of ISO 8601, in UTC; None if there is none, or it is something else."""
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def iso(time: datetime) -> str:
    """As the journal has times: UTC, to the second."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def span(length: timedelta) -> str:
    """The two largest units: '12 s', '5 min', '3 h 5 min', '2 d 3 h'."""
    seconds = int(abs(length.total_seconds()))
    if seconds < _MINUTE:
        return f"{seconds} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE} min"
    large, small, of, rest = (
        (seconds // _HOUR, seconds % _HOUR // _MINUTE, "h", "min")
        if seconds < _DAY
        else (seconds // _DAY, seconds % _DAY // _HOUR, "d", "h")
    )
    return f"{large} {of} {small} {rest}" if small else f"{large} {of}"


def distance(time: datetime, now: datetime) -> str:
    """'in 3 h 5 min', '5 min ago'."""
    if abs(time - now) < timedelta(seconds=1):
        return "now"
    return f"in {span(time - now)}" if time > now else f"{span(now - time)} ago"


def moment(time: datetime | None, now: datetime) -> str:
    """'2026-11-26 21:00 UTC (in 3 h 5 min)'."""
    if time is None:
        return "at a time that is not known"
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC ({distance(time, now)})"


def first_line(text: str, most: int = 100) -> str:
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= most else f"{line[: most - 1]}…"


def short_digest(image: str) -> str:
    """'sha256:0123456789ab' of 'REPOSITORY@sha256:…'."""
    kind, colon, digits = image.rpartition("@")[2].partition(":")
    return f"{kind}:{digits[:12]}" if colon else kind
