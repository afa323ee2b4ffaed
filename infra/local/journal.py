"""What the orchestrator says about itself in the state bucket, told as it changes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

Journal = Mapping[str, Any]  # prefect/orchestrator.json; {} before there is one


def changes(before: Journal, now: Journal) -> list[str]:
    """Lines for people, of what is new in a journal since it was looked at last."""
    told = []
    doing, because = str(now.get("doing") or ""), str(now.get("because") or "")
    begun = (now.get("life"), doing) != (before.get("life"), before.get("doing"))
    if doing == "asleep":
        if begun:
            told.append(asleep(now))
    elif doing and (begun or because != before.get("because")):
        told.append(f"the orchestrator is {doing}" + (f": {because}" if because else ""))
    if (trouble := str(now.get("trouble") or "")) and trouble != before.get("trouble"):
        told.append(f"the orchestrator has trouble: {trouble}")
    bad = [life for life in now.get("bad") or () if life not in (before.get("bad") or ())]
    return told + [f"the history of life {life} is damaged; an older one is used" for life in bad]


def asleep(now: Journal, today: datetime | None = None) -> str:
    """Since when, and until when."""
    since = f" since {moment(now['since'], today)}" if now.get("since") else ""
    if not now.get("wake_up"):
        return f"the orchestrator is asleep{since}; no wake-up is set"
    text = f"the orchestrator is asleep{since}; next wake-up {moment(now['wake_up'], today)}"
    for first in (now.get("next") or ())[:1]:
        text += f", for {first['deployment']} at {moment(first['at'], today)}"
    return text


def moment(text: str, today: datetime | None = None) -> str:
    """A time of the journal's for people; the date only if it is another than today's."""
    at = datetime.fromisoformat(text).astimezone(UTC)
    day = "" if at.date() == (today or datetime.now(UTC)).date() else f"{at:%Y-%m-%d} "
    return f"{day}{at:%H:%M:%S} UTC"
