"""Where the month will end: what is known, what days will add, and monthly charges to come."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flows.cost_report.analyse.days import DAY, Days, month_before, span
from flows.cost_report.analyse.lumps import KEYS, Lump, split, to_come
from flows.cost_report.analyse.projection import ENOUGH, TESTABLE, Projector
from flows.cost_report.analyse.series import WEEK, daily_matrix, weekdays
from flows.cost_report.analyse.sums import (
    CENT,
    ZERO,
    between,
    estimate,
    money_sums,
    sums_of,
    total,
)
from flows.cost_report.model import Forecast

MEASURES = ("EffectiveCost", "BilledCost")
BACK_TEST_AT = (5, 10, 15, 20, 25)  # last complete day of a past month that is forecast again


@dataclass(frozen=True)
class BackTest:
    """The method applied again to past months' daily charges."""

    count: int
    mape: float | None
    coverage: float | None


def why_none(days: Days) -> str:
    """Why there is no forecast; '' if there can be one."""
    if days.seen is None:
        return "the bill has no charge in its period"
    if days.complete is None:
        return "the bill has no complete day yet"
    known = len(_tail(days))
    if not days.is_whole and known < ENOUGH:
        return f"needs {ENOUGH} complete days in a row, history included; there are {known}"
    return ""


def forecasts(daily: pa.Table, history: pa.Table, days: Days, currency: str) -> list[Forecast]:
    """One per measure, in one currency; with the reason where there can be none."""
    missing = why_none(days)
    if missing or days.is_whole:
        return [_known(daily, days, currency, measure, missing) for measure in MEASURES]
    keys = ["ChargeDate", *KEYS, "ChargeClass"]
    daily, history = (money_sums(table, keys, MEASURES) for table in (daily, history))
    rhythmic, lumps = split(pa.concat_tables([daily, history]), days)
    return [_forecast(daily, rhythmic, lumps, days, currency, measure) for measure in MEASURES]


def _known(daily: pa.Table, days: Days, currency: str, measure: str, missing: str) -> Forecast:
    """Of a month that is complete, or of one that cannot be forecast."""
    end = None if missing else total(daily, measure)
    so_far = total(_up_to(daily, days.complete), measure) if days.complete else ZERO
    return Forecast(
        currency=currency,
        measure=measure,
        as_of=days.complete or days.first,
        observed=so_far if end is None else end,
        month_end=end,
        low=end,
        high=end,
        days_observed=days.in_month - len(days.remaining),
        days_in_month=days.in_month,
        method="" if missing else "The month is complete: this is what it cost.",
        back_test_days=0,
        back_test_mape=None,
        back_test_coverage=None,
        daily=(),
        why_none=missing,
    )


def _forecast(
    daily: pa.Table, rhythmic: pa.Table, lumps: pa.Table, days: Days, currency: str, measure: str
) -> Forecast:
    assert days.complete is not None
    tail = _tail(days)
    matrix = daily_matrix(rhythmic, days, None, measure).loc[tail]
    values = matrix.to_numpy(dtype=np.float64).sum(axis=1)  # its one column, or none
    projector = Projector(values, weekdays(tail))
    ahead = projector.ahead(len(tail), weekdays(days.remaining))
    so_far = sums_of(between(rhythmic, days.remaining[0], days.last), ["ChargeDate"], measure)
    expected = {
        day: _at_least(estimate(cost), so_far.get((day,), ZERO))
        for day, cost in zip(days.remaining, ahead, strict=True)
    }
    coming = to_come(lumps, days, measure, _growth(rhythmic, days, measure, expected))
    expected = _with_lumps(expected, _known_ahead(daily, rhythmic, days, measure), coming)
    observed = total(_up_to(daily, days.complete), measure)
    month_end = observed + sum(expected.values(), ZERO)
    width = estimate(projector.half_width(len(tail), len(days.remaining)))
    back = back_test(projector, tail, days)
    return Forecast(
        currency=currency,
        measure=measure,
        as_of=days.complete,
        observed=observed,
        month_end=month_end,
        low=month_end - width if month_end < observed else max(month_end - width, observed),
        high=month_end + width,
        days_observed=days.in_month - len(days.remaining),
        days_in_month=days.in_month,
        method=_method(projector, coming),
        back_test_days=back.count,
        back_test_mape=back.mape,
        back_test_coverage=back.coverage,
        daily=tuple(expected.items()),
    )


def _at_least(expected: Decimal, so_far: Decimal) -> Decimal:
    """What a day will cost that is still filling up: no less than it has cost so far."""
    return max(expected, so_far) if expected >= 0 else min(expected, so_far)


def _tail(days: Days) -> list[date]:
    """The covered days that lead without a gap to the newest complete one."""
    tail: list[date] = []
    day = days.complete
    while day is not None and day in days.covered:
        tail.append(day)
        day -= DAY
    return tail[::-1]


def _up_to(daily: pa.Table, as_of: date) -> pa.Table:
    return daily.filter(pc.less_equal(daily["ChargeDate"], pa.scalar(as_of, pa.date32())))


def _known_ahead(
    daily: pa.Table, rhythmic: pa.Table, days: Days, measure: str
) -> dict[date, Decimal]:
    """Charges without a daily rhythm, dated after the newest complete day: they are known."""
    first = days.remaining[0]
    ahead = sums_of(between(daily, first, date.max), ["ChargeDate"], measure)
    rhythm = sums_of(between(rhythmic, first, days.last), ["ChargeDate"], measure)
    known: dict[date, Decimal] = {}
    for (charged,), cost in ahead.items():
        day = min(cast(date, charged), days.last)  # dated after the month, and still of its bill
        known[day] = known.get(day, ZERO) + cost - rhythm.get((charged,), ZERO)
    return known


def _growth(rhythmic: pa.Table, days: Days, measure: str, expected: dict[date, Decimal]) -> Decimal:
    """This month's daily charges, expected ones included, over last month's."""
    assert days.complete is not None
    before = total(between(rhythmic, *month_before(days.first)), measure)
    now = total(between(rhythmic, days.first, days.complete), measure)
    now += sum(expected.values(), ZERO)
    return now / before if before > 0 and now > 0 else Decimal(1)


def _with_lumps(
    expected: dict[date, Decimal], known: dict[date, Decimal], coming: list[Lump]
) -> dict[date, Decimal]:
    """Lumps on their day; those that come little by little in equal parts, to the cent."""
    days = dict(expected)
    for day, cost in known.items():
        days[day] += cost
    slow = sum((lump.amount for lump in coming if lump.day is None), ZERO).quantize(CENT)
    for lump in coming:
        if lump.day is not None:
            days[lump.day] += lump.amount.quantize(CENT)
    part = (slow / len(days)).quantize(CENT)
    for number, day in enumerate(days):
        days[day] += part if number else slow - part * (len(days) - 1)
    return days


def back_test(projector: Projector, tail: list[date], days: Days) -> BackTest:
    """Forecast the past months that the series holds in full, from the days known then."""
    errors: list[float] = []
    inside: list[bool] = []
    place = {day: at for at, day in enumerate(tail)}
    first, last = month_before(days.first)
    while first in place:
        whole = float(projector.values[place[first] : place[last] + 1].sum())
        for day in BACK_TEST_AT:
            origin = place[first] + day
            if origin < TESTABLE or whole <= 0:
                continue
            rest = span(tail[origin], last)
            known = float(projector.values[place[first] : origin].sum())
            end = known + float(projector.ahead(origin, weekdays(rest)).sum())
            errors.append(abs(end - whole) / whole)
            inside.append(abs(end - whole) <= projector.half_width(origin, len(rest)))
        first, last = month_before(first)
    if not errors:
        return BackTest(0, None, None)
    return BackTest(len(errors), float(np.mean(errors)), float(np.mean(inside)))


def _method(projector: Projector, coming: list[Lump]) -> str:
    used = projector.fits[-1]
    trend = ""
    if used.slope and used.level:
        a_week = used.slope * WEEK / abs(used.level)
        trend = f", with half the trend of the last twelve weeks ({a_week:+.1%} a week)"
    lumps = ", plus the monthly charges of earlier months that have not come yet" if coming else ""
    return (
        f"The mean of the last four weeks by weekday{trend}{lumps}; the 80 % interval comes from "
        "how far off the same method was two weeks ahead of every past day."
    )
