"""What changed: each service and account against an equally long span before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from flows.cost_report.analyse.charges import not_corrected, usage
from flows.cost_report.analyse.days import DAY, Days, month_before
from flows.cost_report.analyse.shares import names
from flows.cost_report.analyse.sums import CENT, ZERO, Key, all_null, between, sums_of, text
from flows.cost_report.model import Mover, Reason, Unavailable

DIMENSIONS = ("ServiceName", "SubAccountId")
EXPLAINS = {
    "ServiceName": ("SubAccountId", "RegionId"),
    "SubAccountId": ("ServiceName", "RegionId"),
}
LISTED = 50  # movers per comparison and dimension
REASONS = 3  # per mover and dimension
PART = Decimal("0.1")  # of the change that a reason must make up

Span = tuple[date, date]


@dataclass(frozen=True)
class Comparison:
    """Two spans of the same charges."""

    name: str
    before: pa.Table
    after: pa.Table
    before_span: Span
    after_span: Span


def comparisons(
    daily: pa.Table, history: pa.Table, days: Days
) -> tuple[list[Comparison], list[Unavailable]]:
    """The comparisons that the days at hand allow, and why not the others."""
    found, missing = [], []
    everything = pa.concat_tables([daily, history])
    for name, charges, spans in (
        ("month over month", _of_a_month(everything, days), _months(days)),
        ("day over day", usage(everything), _two_days(days)),
    ):
        if isinstance(spans, str):
            missing.append(Unavailable(f"movers {name}", spans))
        else:
            before, after = spans
            parts = between(charges, *before), between(charges, *after)
            found.append(Comparison(name, *parts, before, after))
    return found, missing


def _of_a_month(charges: pa.Table, days: Days) -> pa.Table:
    """What can be compared over months: all but tax and corrections.

    While the month runs, purchases dated the 1st are left out, too: a month's fee, like that of
    support, is dated the 1st and grows from day to day.
    """
    charges = not_corrected(charges)
    category = charges["ChargeCategory"]
    left_out = pc.equal(category, "Tax")
    if not days.is_whole:
        on_the_first = pc.equal(pc.day(charges["ChargeDate"]), 1)
        left_out = pc.or_(left_out, pc.and_(pc.equal(category, "Purchase"), on_the_first))
    return charges.filter(pc.invert(pc.fill_null(left_out, False)))


def _months(days: Days) -> tuple[Span, Span] | str:
    """The period's complete days and as many of the month before, from the 1st; else why not."""
    if days.complete is None:
        return "the bill has no complete day yet"
    first, last = month_before(days.first)
    length = min((days.complete - days.first).days, (last - first).days)
    before, after = (first, first + DAY * length), (days.first, days.first + DAY * length)
    if not days.covers(*before):
        return f"needs the bill of {first:%Y-%m} for {before[0]} to {before[1]}"
    return before, after


def _two_days(days: Days) -> tuple[Span, Span] | str:
    """The newest complete day and the day before it; else why not."""
    if days.complete is None:
        return "the bill has no complete day yet"
    before = days.complete - DAY
    if not days.covers(before, before):
        return f"needs a complete day before {days.complete}"
    return (before, before), (days.complete, days.complete)


def movers(comparison: Comparison, currency: str) -> list[Mover]:
    """Services, then accounts; the greatest change first."""
    found: list[Mover] = []
    for dimension in DIMENSIONS:
        if all_null(comparison.after, dimension) and all_null(comparison.before, dimension):
            continue
        found += _movers_of(comparison, currency, dimension)
    return found


def _movers_of(comparison: Comparison, currency: str, dimension: str) -> list[Mover]:
    called = names([comparison.after, comparison.before], dimension)
    before = sums_of(comparison.before, [dimension], "EffectiveCost")
    after = sums_of(comparison.after, [dimension], "EffectiveCost")
    changes = _changes(before, after)
    moved = [key for key, change in changes.items() if abs(change) >= CENT]
    moved.sort(key=lambda key: (-abs(changes[key]), called[text(key[0])], text(key[0])))
    reasons = _Reasons(comparison, dimension)
    found = []
    for key in moved[:LISTED]:
        was, now = before.get(key, ZERO), after.get(key, ZERO)
        found.append(
            Mover(
                currency=currency,
                comparison=comparison.name,
                dimension=dimension,
                name=called[text(key[0])],
                id=text(key[0]),
                before=was,
                after=now,
                change=now - was,
                percent=float((now - was) / abs(was)) if was else None,
                before_span=comparison.before_span,
                after_span=comparison.after_span,
                reasons=reasons.of(key[0], now - was),
                kind="new" if key not in before else "gone" if key not in after else "changed",
            )
        )
    return found


def _changes(before: dict[Key, Decimal], after: dict[Key, Decimal]) -> dict[Key, Decimal]:
    keys = [*after, *(key for key in before if key not in after)]
    return {key: after.get(key, ZERO) - before.get(key, ZERO) for key in keys}


class _Reasons:
    """Changes of each member's parts in the other dimensions, added up once for all movers."""

    def __init__(self, comparison: Comparison, dimension: str) -> None:
        self.parts: dict[str, dict[object, list[tuple[str, Decimal]]]] = {}
        for other in EXPLAINS[dimension]:
            called = names([comparison.after, comparison.before], other)
            keys = [dimension, other]
            changes = _changes(
                sums_of(comparison.before, keys, "EffectiveCost"),
                sums_of(comparison.after, keys, "EffectiveCost"),
            )
            parts = self.parts.setdefault(other, {})
            for (member, part), change in changes.items():
                if part is not None:
                    parts.setdefault(member, []).append((called[text(part)], change))

    def of(self, member: object, change: Decimal) -> tuple[Reason, ...]:
        return tuple(
            reason
            for other, parts in self.parts.items()
            for reason in largest(other, parts.get(member, []), change)
        )


def largest(dimension: str, parts: list[tuple[str, Decimal]], change: Decimal) -> list[Reason]:
    """The parts that moved the way the whole did, and make up enough of it; the largest first."""
    sign = 1 if change > 0 else -1
    same_way = [(name, part) for name, part in parts if part * sign >= abs(change) * PART]
    same_way.sort(key=lambda item: (-abs(item[1]), item[0]))
    return [Reason(dimension, name, part) for name, part in same_way[:REASONS]]
