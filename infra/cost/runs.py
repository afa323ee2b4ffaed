"""How often what runs: prefect.yaml's deployments, as jobs of a month."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from deployments.hardware import nearest
from deployments.wanted import Schedule, Wanted

MINUTES = Decimal(10)
DAYS = Decimal(365) / 12  # of a month
DEFAULT_CPU, DEFAULT_MEMORY = 1024, 2048

_YEAR = 2027  # any: only the number of times matters
_MANY = 28 * 24  # from here on four weeks say enough of a year


@dataclass(frozen=True)
class Job:
    """One deployment's runs. `cpu`: units, 1024 are one; `memory`: MiB; `runs`: a month."""

    name: str
    cpu: int
    memory: int
    runs: Decimal
    minutes: Decimal  # each, without its start


def jobs(
    wanted: Iterable[Wanted],
    *,
    runs_per_day: Decimal | None = None,
    minutes: Decimal = MINUTES,
    measured: Mapping[str, Decimal] | None = None,
) -> tuple[Job, ...]:
    """By prefect.yaml's schedules, unless it is said how often each runs. `measured`: minutes of a
    run by the deployment's name, where they are known.
    """
    return tuple(_job(one, runs_per_day, minutes, measured or {}) for one in wanted)


def _job(
    one: Wanted, runs_per_day: Decimal | None, minutes: Decimal, measured: Mapping[str, Decimal]
) -> Job:
    variables = one.fields.get("job_variables") or {}
    cpu, memory = nearest(
        int(variables.get("cpu") or DEFAULT_CPU), int(variables.get("memory") or DEFAULT_MEMORY)
    )
    if runs_per_day is not None:
        runs = runs_per_day * DAYS
    elif one.fields.get("paused"):
        runs = Decimal(0)
    else:
        runs = sum((a_month(schedule) for schedule in one.schedules), Decimal(0))
    return Job(one.name, cpu, memory, runs, measured.get(one.name, minutes))


def a_month(schedule: Schedule) -> Decimal:
    """How often a cron schedule comes round in a month, on average over a year."""
    # What Prefect's own schedules use; it has no types.
    from prefect._vendor.croniter import croniter  # type: ignore[attr-defined]

    counted: Any = croniter

    if schedule.fields.get("active") is False:
        return Decimal(0)
    cron = schedule.fields["schedule"]
    zone = ZoneInfo(cron.get("timezone") or "UTC")
    start = datetime(_YEAR, 1, 1, tzinfo=UTC).astimezone(zone)
    times = counted(cron["cron"], start, day_or=cron.get("day_or", True), ret_type=datetime)
    weeks, year = start + timedelta(weeks=4), start + timedelta(days=365)
    count = 0
    for time in iter(times.get_next, None):
        if time > weeks and count >= _MANY:
            return Decimal(count) / 28 * DAYS
        if time > year:
            break
        count += 1
    return Decimal(count) / 12
