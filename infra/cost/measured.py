"""How long runs took, as an installation's journal has it: the last of each deployment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal


def minutes(last: Iterable[Mapping[str, str]]) -> dict[str, Decimal]:
    """The mean of its completed runs in the journal, by deployment. Older ones say no seconds."""
    seconds: dict[str, list[Decimal]] = {}
    for run in last:
        if run.get("type") == "COMPLETED" and run.get("seconds", "").isdigit():
            seconds.setdefault(run["deployment"], []).append(Decimal(run["seconds"]))
    return {name: sum(all_, Decimal(0)) / len(all_) / 60 for name, all_ in seconds.items()}
