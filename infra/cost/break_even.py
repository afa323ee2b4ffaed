"""From where on which way is the cheaper: found by trying, and narrowed down by halving."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import pairwise

from deployments.prices import Prices
from infra.cost.instead import OURS, Way, Work, nightshift
from infra.cost.lines import Bill
from infra.cost.resources import Templates

Cost = Callable[[Work], Decimal | None]  # a month; None where the work does not fit
_CLOSE = Decimal("0.005")  # of the amount: where halving ends


@dataclass(frozen=True)
class Axis:
    """What is varied, and over what."""

    name: str
    unit: str
    points: tuple[Decimal, ...]  # rising
    at: Callable[[Work, Decimal], Work]
    whole: bool = False  # only the points themselves are possible


def _decimals(*values: float) -> tuple[Decimal, ...]:
    return tuple(Decimal(str(value)) for value in values)


AXES = (
    Axis(
        "minutes a day, in one run", "min",
        _decimals(1, 2, 5, 10, 15, 16, 30, 60, 120, 240, 480, 720, 1080, 1435),
        lambda work, value: replace(work, minutes=value),
    ),
    Axis(
        "runs a day, of ten minutes", "runs",
        _decimals(1, 2, 3, 4, 6, 8, 12, 16, 24, 36, 48, 72, 96, 110),
        lambda work, value: replace(work, runs_per_day=value),
    ),
    Axis(
        "memory, ten minutes a day", "GB",
        _decimals(0.5, 1, 2, 3, 4, 6, 8, 10, 12, 16, 24, 30),
        lambda work, value: replace(work, memory=int(value * 1024)),
        whole=True,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Stretch:
    """From one point to another, who is cheaper. `ours` None: theirs does not fit there."""

    start: Decimal
    end: Decimal
    ours: bool | None


def stretches(axis: Axis, work: Work, ours: Cost, theirs: Cost) -> tuple[Stretch, ...]:
    """Who is cheaper where, over the whole axis. Equal is ours."""

    def who(value: Decimal) -> bool | None:
        at = axis.at(work, value)
        mine, other = ours(at), theirs(at)
        return None if mine is None or other is None else mine <= other

    points = axis.points
    changes = [
        (_between(low, high, who, axis.whole), who(high))
        for low, high in pairwise(points)
        if who(low) != who(high)
    ]
    starts = [(points[0], who(points[0])), *changes]
    ends = [*(place for place, _ in changes), points[-1]]
    return tuple(
        Stretch(start, end, which) for (start, which), end in zip(starts, ends, strict=True)
    )


def _between(
    low: Decimal, high: Decimal, who: Callable[[Decimal], bool | None], whole: bool
) -> Decimal:
    """Where it changes: the first place that is like `high`."""
    before = who(low)
    while not whole and high - low > high * _CLOSE:
        middle = (low + high) / 2
        low, high = (middle, high) if who(middle) == before else (low, middle)
    return high


def in_words(axis: Axis, found: Sequence[Stretch], way: str) -> str:
    """'Nightshift below 21 min, EC2 from there', for 'EC2, started and stopped'."""
    names = {True: OURS, False: way.partition(",")[0], None: "does not fit"}
    *others, last = found
    if not others:
        return names[last.ours] if last.ours is None else f"{names[last.ours]}, throughout"
    parts = [f"{names[one.ours]} below {_short(one.end)} {axis.unit}" for one in others]
    return ", ".join([*parts, f"{names[last.ours]} from there"])


def _short(value: Decimal) -> str:
    return f"{float(value):.2g}" if value < 10 else f"{value:.0f}"


def our_cost(templates: Templates, prices: Prices, of: Callable[[Bill], Decimal]) -> Cost:
    return lambda work: of(nightshift(templates, work, prices))


def their_cost(way: Way, prices: Prices, of: Callable[[Bill], Decimal]) -> Cost:
    def cost(work: Work) -> Decimal | None:
        found = way.bill(work, prices)
        return None if found is None else of(found)

    return cost
