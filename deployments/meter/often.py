"""How often a deployment's schedules start it in a year."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deployments.wanted import Schedule

VARIABLE = "NIGHTSHIFT_RUNS_A_YEAR"  # each run is told by it

# Always the same year: a deployment changes when its schedules do, and not by the day.
_FIRST, _END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)


def runs_a_year(schedules: Sequence[Schedule]) -> int | None:
    """Of those that prefect.yaml does not switch off. None without any, or where one of them is
    not five plain fields (`@daily`). Hours that clocks skip or repeat are not looked at.
    """
    active = [one for one in schedules if one.fields.get("active") is not False]
    times = [_times(one.fields["schedule"]) for one in active]
    return None if None in times else sum(count or 0 for count in times) or None


def _times(said: Mapping[str, Any]) -> int | None:
    """Minutes times hours times days: one by one, a year of minutes would take a minute."""
    croniter: Any = import_module("prefect._vendor.croniter").croniter  # Prefect's schedules'

    fields = str(said["cron"]).split()
    if len(fields) != 5:
        return None
    try:
        (minutes, hours, *_), _nth = croniter.expand(said["cron"])
    except ValueError:  # H and R, for which it wants more
        return None
    day = croniter(
        f"0 0 {' '.join(fields[2:])}",
        _FIRST.timestamp() - 1,
        day_or=said.get("day_or", True),
        max_years_between_matches=1,
    )
    count = 0
    with suppress(ValueError):  # there is none, as on 31 February
        while day.get_next(float) < _END.timestamp():
            count += 1
    return count * _many(minutes, 60) * _many(hours, 24)


def _many(values: Sequence[int | str], all_of_them: int) -> int:
    return all_of_them if "*" in values else len(values)
