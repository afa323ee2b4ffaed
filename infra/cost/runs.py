"""How often what runs: prefect.yaml's deployments, as jobs of a month."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from deployments.hardware import nearest
from deployments.meter.often import runs_a_year
from deployments.wanted import Wanted

MINUTES = Decimal(10)
DAYS = Decimal(365) / 12  # of a month
DEFAULT_CPU, DEFAULT_MEMORY = 1024, 2048


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
        runs = Decimal(runs_a_year(one.schedules)) / 12
    return Job(one.name, cpu, memory, runs, measured.get(one.name, minutes))
