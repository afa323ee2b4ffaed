"""What a run costs, line by line. Pure.

Fargate: by the second and at least for a minute, from the start of the image pull until the task
ends (https://aws.amazon.com/fargate/pricing/). The 20 GB of disk that each task has are free.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from deployments.meter.usage import Terms, Usage
from deployments.prices import Prices

LEAST = 60  # seconds

_HOUR = Decimal(3600)
_GB = Decimal(10**9)


@dataclass(frozen=True)
class Line:
    what: str
    quantity: str  # in words
    amount: Decimal  # US dollars, not rounded


@dataclass(frozen=True)
class Cost:
    lines: tuple[Line, ...]

    @property
    def total(self) -> Decimal:
        return sum((line.amount for line in self.lines), Decimal(0))


def cost(usage: Usage, terms: Terms, prices: Prices) -> Cost:
    """Raises Problem where a price is not known."""
    return Cost(tuple(_lines(usage, terms, prices)))


def billed(seconds: float) -> int:
    return max(LEAST, math.ceil(seconds))


def of_size(cpu: int, memory: int, seconds: float, terms: Terms, prices: Prices) -> Decimal:
    """What depends on the size and on how long it takes."""
    return sum((line.amount for line in _by_time(cpu, memory, seconds, terms, prices)), Decimal(0))


def _lines(usage: Usage, terms: Terms, prices: Prices) -> Iterator[Line]:
    yield from _by_time(usage.cpu, usage.memory, usage.seconds, terms, prices)
    seen = usage.measured
    if seen.log_bytes:
        yield Line("logs", _bytes(seen.log_bytes), seen.log_bytes / _GB * prices["logs-gb"])
    if seen.puts:
        yield Line("S3 writes and lists", str(seen.puts), seen.puts * prices["s3-put"])
    if seen.gets:
        yield Line("S3 reads", str(seen.gets), seen.gets * prices["s3-get"])


def _by_time(cpu: int, memory: int, seconds: float, terms: Terms, prices: Prices) -> Iterator[Line]:
    kind = f"fargate-{'spot-' if terms.spot else ''}{terms.architecture}"
    count = billed(seconds)
    vcpus, gb = Decimal(cpu) / 1024, Decimal(memory) / 1024
    rates = [
        ("vCPU", f"{vcpus:f} × {count} s", vcpus * prices[f"{kind}-vcpu-hour"]),
        ("memory", f"{gb:f} GB × {count} s", gb * prices[f"{kind}-gb-hour"]),
    ]
    if terms.public_ip:
        rates.append(("public IPv4 address", f"{count} s", prices["public-ipv4-hour"]))
    for what, quantity, an_hour in rates:
        yield Line(what, quantity, count * an_hour / _HOUR)


def _bytes(count: int) -> str:
    return f"{count} bytes" if count < 10_000 else f"{count / 1000:.0f} kB"
