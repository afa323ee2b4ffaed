"""Which days may be compared: those of the period, the complete ones, and those a bill covers."""

from __future__ import annotations

import calendar
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import date, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from flows.cost_report.analyse.charges import usage

DAY = timedelta(days=1)
BILLED_MONTH = 7  # days with usage that make a month of history a bill, and not a few late charges


@dataclass(frozen=True)
class Days:
    """The days of one bill. All spans are inclusive, UTC."""

    first: date  # of the billing period
    last: date
    seen: date | None  # newest day with usage in the period, or with any charge if none has usage
    complete: date | None  # newest day whose cost is complete
    covered: frozenset[date]  # complete days of some bill: one without a row cost nothing

    @property
    def in_month(self) -> int:
        return (self.last - self.first).days + 1

    @property
    def shown(self) -> list[date]:
        """The period's days up to the newest one seen."""
        return span(self.first, self.seen) if self.seen else []

    @property
    def remaining(self) -> list[date]:
        """The period's days whose cost is still to come, in whole or in part."""
        return span(self.complete + DAY if self.complete else self.first, self.last)

    @property
    def is_whole(self) -> bool:
        return self.complete == self.last

    def covers(self, first: date, last: date) -> bool:
        return all(day in self.covered for day in span(first, last))


def span(first: date, last: date) -> list[date]:
    """The days from `first` to `last`, both included."""
    return [first + DAY * n for n in range((last - first).days + 1)]


def month(period: str) -> tuple[date, date]:
    """First and last day of a billing period, '2026-11'."""
    year, number = (int(part) for part in period.split("-"))
    return date(year, number, 1), date(year, number, calendar.monthrange(year, number)[1])


def month_before(day: date) -> tuple[date, date]:
    """First and last day of the month before that of `day`."""
    last = day.replace(day=1) - DAY
    return last.replace(day=1), last


def days_of(daily: pa.Table, period: str) -> Days:
    """Read a period's days off its roll-up.

    A bill that has not reached the month's end is still filling up: AWS adds a day's charges for
    up to 48 hours, so its newest day is never taken as complete.
    """
    first, last = month(period)
    used = [day for day in _days(usage(daily)) if first <= day <= last]
    seen = max(used or [day for day in _days(daily) if first <= day <= last], default=None)
    complete = seen if seen is None or seen == last else seen - DAY
    if complete is not None and complete < first:
        complete = None
    return Days(first, last, seen, complete, frozenset(span(first, complete) if complete else ()))


def with_history(days: Days, history: pa.Table) -> Days:
    """The same days, and those that the earlier months of one currency cover."""
    return replace(days, covered=days.covered | _covered(_days(usage(history)), days.first))


def _covered(used: list[date], before: date) -> set[date]:
    """Per earlier month, its first to its last day with usage.

    The oldest bill may start in mid-month, and any may end there.
    """
    by_month: dict[date, list[date]] = defaultdict(list)
    for day in used:
        if day < before:
            by_month[day.replace(day=1)].append(day)
    covered: set[date] = set()
    for number, start in enumerate(sorted(by_month)):
        days = by_month[start]
        if len(days) >= BILLED_MONTH:
            covered |= set(span(start if number else min(days), max(days)))
    return covered


def _days(table: pa.Table) -> list[date]:
    return [day for day in pc.unique(table["ChargeDate"]).to_pylist() if day is not None]
