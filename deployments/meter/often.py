"""How often a deployment's schedules start it in a year."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib import import_module
from math import prod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deployments.wanted import Schedule

VARIABLE = "NIGHTSHIFT_RUNS_A_YEAR"  # each run is told by it

# Always the same year: a deployment changes when its schedules do, and not by the day.
_FIRST, _END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)


def runs_a_year(schedules: Iterable[Schedule]) -> int:
    """Of those that prefect.yaml does not switch off. Hours that clocks skip or repeat are not
    looked at.
    """
    active = [one for one in schedules if one.fields.get("active") is not False]
    return sum(_times(one.fields["schedule"]) for one in active)


def _times(said: Mapping[str, Any]) -> int:
    """Days times hours times minutes: one by one, a year of minutes would take a minute."""
    croniter: Any = import_module("prefect._vendor.croniter").croniter  # Prefect's schedules'

    (minutes, hours, *days), _nth = croniter.expand(said["cron"])
    seconds = days[3] if len(days) > 3 else [0]  # as croniter has it, behind the weekday
    fields = said["cron"].split()[2:]
    if said["cron"].startswith("@"):  # @daily: there are no fields to copy
        fields = [",".join(map(str, values)) for values in days]
    if len(fields) > 3:
        fields[3] = "0"
    day = croniter(
        f"0 0 {' '.join(fields)}",
        _FIRST.timestamp() - 1,
        day_or=said.get("day_or", True),
        max_years_between_matches=1,
    )
    count = 0
    with suppress(ValueError):  # there is none, as on 31 February
        while day.get_next(float) < _END.timestamp():
            count += 1
    return count * prod(
        _many(values, most) for values, most in ((hours, 24), (minutes, 60), (seconds, 60))
    )


def _many(values: list[int | str], all_of_them: int) -> int:
    return all_of_them if "*" in values else len(values)
