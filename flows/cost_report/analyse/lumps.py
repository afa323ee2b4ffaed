"""Charges without a daily rhythm: monthly purchases, support, tax, credits, refunds, corrections.

What was charged is known; what is still to come is taken from earlier months, and only where every
one of them had it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import cast

import pyarrow as pa
import pyarrow.compute as pc

from flows.cost_report.analyse.days import DAY, Days, month_before
from flows.cost_report.analyse.series import WEEK
from flows.cost_report.analyse.sums import Key, between, key_rows, sums_of, text

RECURRING = ("Purchase", "Tax", "Credit")  # refunds, adjustments and corrections are never foreseen
MONTHS = 3  # earlier months that are looked at
RHYTHM = 4 * WEEK  # days that tell whether a charge comes day by day
KEYS = ["ChargeCategory", "ServiceName"]


@dataclass(frozen=True)
class Lump:
    """What one kind of monthly charge is expected to add to what is known."""

    amount: Decimal
    day: date | None  # when; None: little by little (tax and support are dated the 1st, and grow)


def split(charges: pa.Table, days: Days) -> tuple[pa.Table, pa.Table]:
    """Charges with a daily rhythm, and the others.

    The rhythm is that of usage, and of what was charged on at least half of the last four weeks'
    days: a savings plan's fee, a credit. Corrections never have one: they are about a month that is
    over.
    """
    assert days.complete is not None
    first = days.complete - DAY * (RHYTHM - 1)
    known = sum(1 for n in range(RHYTHM) if first + DAY * n in days.covered)
    recent = between(charges, first, days.complete)
    charged = Counter(
        key[:2]
        for key in sums_of(recent, [*KEYS, "ChargeClass", "ChargeDate"], "BilledCost")
        if key[2] is None
    )
    rhythmic = {key for key, count in charged.items() if 2 * count >= known}
    mask = pa.array(
        [
            kind is None and (category == "Usage" or (category, service) in rhythmic)
            for category, service, kind in key_rows(charges, [*KEYS, "ChargeClass"])
        ],
        pa.bool_(),
    )
    return charges.filter(mask), charges.filter(pc.invert(mask))


def to_come(lumps: pa.Table, days: Days, cost: str, growth: Decimal) -> list[Lump]:
    """Per category and service: last month's amount less what this month has so far.

    `growth`: this month's daily charges over last month's, as tax follows them.
    """
    months = _earlier_months(days)
    if not months:
        return []
    newest, _ = months[0]
    per_month: dict[date, dict[Key, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    last_day: dict[Key, date] = {}
    by_day = sums_of(between(lumps, months[-1][0], days.last), [*KEYS, "ChargeDate"], cost)
    for (category, service, charged), amount in by_day.items():
        day = cast(date, charged)
        per_month[day.replace(day=1)][category, service] += amount
        if day.replace(day=1) == newest:
            last_day[category, service] = max(last_day.get((category, service), day), day)

    found = []
    for key in sorted(last_day, key=lambda key: (text(key[0]), text(key[1]))):
        amounts = [per_month[first][key] for first, _ in months]
        so_far = per_month[days.first][key]
        # One earlier month cannot tell a monthly charge from one that came once, unless it has come
        # again.
        confirmed = len(months) > 1 or so_far != 0 or key[0] == "Tax"
        if key[0] in RECURRING and confirmed and all(amounts):
            expected = amounts[0] * growth if key[0] == "Tax" else amounts[0]
            left = expected - so_far
            if left * expected > 0:
                found.append(Lump(left, _same_day(last_day[key], days)))
    return found


def _earlier_months(days: Days) -> list[tuple[date, date]]:
    """The months before that are covered in full, the newest first, without a gap."""
    months: list[tuple[date, date]] = []
    month = month_before(days.first)
    while len(months) < MONTHS and days.covers(*month):
        months.append(month)
        month = month_before(month[0])
    return months


def _same_day(before: date, days: Days) -> date | None:
    """The day of this month that matches last month's charge, if it is still to come."""
    day = days.first + DAY * (min(before.day, days.in_month) - 1)
    return day if days.complete is not None and day > days.complete else None
