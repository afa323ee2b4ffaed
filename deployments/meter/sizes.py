"""The size that would have done, as far as one run can tell. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from deployments.hardware import SIZES, nearest
from deployments.meter.cost import of_size
from deployments.meter.usage import Terms, Usage
from deployments.prices import Prices

TIGHT = 0.95  # of the memory that it had
HEADROOM = 1.2  # times the peak: tomorrow's data are more, and a second is too long to see all
SLOWER = 1.5  # times as long at most


@dataclass(frozen=True)
class Smaller:
    """A size of Fargate's that is cheaper for the same run."""

    cpu: int
    memory: int
    seconds: float  # that it would have taken, about
    saving: Decimal  # US dollars, for this run


def smaller(usage: Usage, terms: Terms, prices: Prices) -> Smaller | None:
    """The cheapest that would have done; None where nothing cheaper would have."""
    if not usage.measured.peak:
        return None
    paid = of_size(usage.cpu, usage.memory, usage.seconds, terms, prices)
    best: Smaller | None = None
    for cpu, memory in _that_would_do(usage):
        seconds = seconds_at(usage, cpu)
        saving = paid - of_size(cpu, memory, seconds, terms, prices)
        if saving > (best.saving if best else 0):
            best = Smaller(cpu, memory, seconds, saving)
    return best


def larger(usage: Usage) -> tuple[int, int] | None:
    """The CPU units and MiB to give it, where there was hardly memory enough."""
    if usage.measured.peak <= usage.memory * TIGHT:
        return None
    return nearest(usage.cpu, math.ceil(usage.measured.peak * HEADROOM))


def _that_would_do(usage: Usage) -> Iterator[tuple[int, int]]:
    """The smallest first."""
    for cpu, memories in SIZES.items():
        if seconds_at(usage, cpu) <= usage.seconds * SLOWER:
            yield from (
                (cpu, memory) for memory in memories if memory >= usage.measured.peak * HEADROOM
            )


def seconds_at(usage: Usage, cpu: int) -> float:
    """How long it would have taken with so many CPU units: what used more of them takes longer by
    as much, what used less as long as before. With more, it may have been quicker: not looked at.
    """
    vcpus = cpu / 1024
    longer = sum(seconds * max(0.0, used / vcpus - 1) for used, seconds in usage.measured.load)
    return usage.seconds + (longer if cpu < usage.cpu else 0.0)
