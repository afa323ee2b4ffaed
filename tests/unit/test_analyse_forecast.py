"""The month's end: exact where it is known, close where it is not, and honest about which."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.cost_report.analyse import analyse
from flows.cost_report.analyse.projection import Projector, t90, trend
from flows.cost_report.model import Forecast
from tests.unit.analyse_fixture import DAY, Row, rollup, row, rows, steady

AUGUST, NOVEMBER, LAST = date(2026, 8, 1), date(2026, 11, 1), date(2026, 11, 30)


def forecast(
    found: list[Row], seen: date, measure: str = "EffectiveCost", since: date = AUGUST
) -> Forecast:
    """Of November as a bill shows it on `seen`, with the months before as its history."""
    shown = [one for one in found if str(since) <= str(one["ChargeDate"]) <= str(seen)]
    daily = [one for one in shown if str(one["ChargeDate"]) >= "2026-11"]
    history = [one for one in shown if str(one["ChargeDate"]) < "2026-11"]
    (made,) = [
        one
        for one in analyse(rollup(daily, history), "2026-11").forecasts
        if one.measure == measure
    ]
    return made


def truth(found: list[Row], measure: str = "EffectiveCost") -> Decimal:
    return sum(
        (Decimal(str(one[measure])) for one in found if str(one["ChargeDate"]) >= "2026-11"),
        Decimal(0),
    )


def bill() -> list[Row]:
    return rows(AUGUST, steady(AUGUST, LAST))


@pytest.mark.parametrize("day", [3, 10, 20, 29])
def test_a_steady_bill_is_forecast_closely(day: int) -> None:
    made = forecast(bill(), date(2026, 11, day))
    assert made.as_of == date(2026, 11, day - 1)
    assert (made.days_observed, made.days_in_month) == (day - 1, 30)
    assert made.month_end is not None
    assert made.low is not None
    assert made.high is not None
    assert float(made.month_end) == pytest.approx(float(truth(bill())), rel=0.01)
    assert made.low <= truth(bill()) <= made.high
    assert made.back_test_mape is not None
    assert made.back_test_mape < 0.01


def test_what_is_shown_adds_up() -> None:
    made = forecast(bill(), date(2026, 11, 12))
    assert made.observed == truth([one for one in bill() if str(one["ChargeDate"]) <= "2026-11-11"])
    assert [day for day, _ in made.daily] == [date(2026, 11, 12) + DAY * n for n in range(19)]
    assert made.month_end == made.observed + sum(cost for _, cost in made.daily)


def test_a_complete_month_is_known() -> None:
    made = forecast(bill(), LAST)
    assert made.month_end == made.low == made.high == made.observed == truth(bill())
    assert made.daily == ()
    assert made.why_none == ""


def test_too_little_history_makes_no_forecast() -> None:
    enough = forecast(bill(), date(2026, 11, 12), since=date(2026, 9, 17))
    assert enough.month_end is not None
    made = forecast(bill(), date(2026, 11, 12), since=date(2026, 9, 18))
    assert (made.month_end, made.low, made.high) == (None, None, None)
    assert made.why_none == "needs 56 complete days in a row, history included; there are 55"


def test_growth_is_followed_in_part() -> None:
    growing = rows(AUGUST, [100 + n * 0.5 for n in range(122)])
    made = forecast(growing, date(2026, 11, 10))
    flat = forecast(rows(AUGUST, [100 + 101 * 0.5] * 122), date(2026, 11, 10))
    assert made.month_end is not None
    assert flat.month_end is not None
    assert float(made.month_end) == pytest.approx(float(truth(growing)), rel=0.05)
    assert "trend" in made.method
    assert "trend" not in flat.method


def monthly(day: int, cost: object, **other: object) -> list[Row]:
    return [row(date(2026, month, day), cost, **other) for month in (8, 9, 10, 11)]


def test_a_monthly_purchase_is_expected_on_its_day() -> None:
    found = bill() + monthly(20, 1000, ChargeCategory="Purchase", ServiceName="Licence")
    made = forecast(found, date(2026, 11, 10))
    assert dict(made.daily)[date(2026, 11, 20)] > 1000
    assert float(made.month_end or 0) == pytest.approx(float(truth(found)), rel=0.01)


def test_a_monthly_purchase_that_has_come_is_not_expected_again() -> None:
    found = bill() + monthly(3, 1000, ChargeCategory="Purchase", ServiceName="Licence")
    made = forecast(found, date(2026, 11, 10))
    assert float(made.month_end or 0) == pytest.approx(float(truth(found)), rel=0.01)


def test_what_came_once_is_not_expected_again() -> None:
    once = row(date(2026, 10, 20), 9000, ChargeCategory="Purchase", ServiceName="All upfront")
    made = forecast([*bill(), once], date(2026, 11, 10))
    assert float(made.month_end or 0) == pytest.approx(float(truth(bill())), rel=0.01)


def test_tax_that_grows_with_the_month_is_completed() -> None:
    tax = monthly(1, 500, ChargeCategory="Tax", ServiceName="Tax")[:-1]
    so_far = row(NOVEMBER, 150, ChargeCategory="Tax", ServiceName="Tax")
    made = forecast([*bill(), *tax, so_far], date(2026, 11, 10))
    whole = truth(bill()) + 500
    assert float(made.month_end or 0) == pytest.approx(float(whole), rel=0.02)


def test_fees_billed_day_by_day_go_on() -> None:
    fees = rows(
        AUGUST, [40] * 122, ChargeCategory="Purchase", ServiceName="Savings Plan", EffectiveCost=0
    )
    made = forecast(bill() + fees, date(2026, 11, 10), "BilledCost")
    assert float(made.month_end or 0) == pytest.approx(
        float(truth(bill() + fees, "BilledCost")), rel=0.01
    )


@pytest.mark.parametrize("category", ["Adjustment", "Credit", "Usage"])
def test_refunds_and_corrections_count_where_they_came(category: str) -> None:
    kind = "Correction" if category == "Usage" else None
    refund = row(date(2026, 11, 5), -70, ChargeCategory=category, ChargeClass=kind, ServiceName="R")
    made = forecast([*bill(), refund], date(2026, 11, 10))
    assert float(made.month_end or 0) == pytest.approx(float(truth(bill())) - 70, rel=0.01)


def test_a_late_correction_dated_before_the_month_counts() -> None:
    late = row(date(2026, 10, 20), -70, ChargeClass="Correction")
    daily = [one for one in bill() if "2026-11-01" <= str(one["ChargeDate"]) <= "2026-11-10"]
    history = [one for one in bill() if str(one["ChargeDate"]) < "2026-11"]
    without, with_late = (
        analyse(rollup(charges, history), "2026-11").forecasts[0]
        for charges in (daily, [*daily, late])
    )
    assert without.month_end is not None
    assert with_late.month_end == without.month_end - 70


def test_a_purchase_dated_ahead_is_known() -> None:
    ahead = row(date(2026, 11, 25), 300, ChargeCategory="Purchase", ServiceName="Ahead")
    shown = [one for one in bill() if "2026-11-01" <= str(one["ChargeDate"]) <= "2026-11-10"]
    history = [one for one in bill() if str(one["ChargeDate"]) < "2026-11"]
    without, with_it = (
        analyse(rollup(charges, history), "2026-11").forecasts[0]
        for charges in (shown, [*shown, ahead])
    )
    assert without.month_end is not None
    assert with_it.month_end == without.month_end + 300


def test_a_day_that_is_still_filling_up_costs_at_least_what_it_has_cost() -> None:
    found = [*bill(), row(date(2026, 11, 10), 900)]
    made = forecast(found, date(2026, 11, 10))
    assert made.daily[0][1] > 900


def test_a_bill_of_credits_only_can_be_forecast() -> None:
    made = forecast(rows(AUGUST, [-5] * 122), date(2026, 11, 10))
    assert made.month_end == -150


@settings(max_examples=40, deadline=None)
@given(
    level=st.floats(1, 1e6),
    noise=st.floats(0.001, 0.2),
    seed=st.integers(0, 10_000),
    ahead=st.integers(1, 28),
)
def test_an_interval_is_as_wide_as_the_noise(
    level: float, noise: float, seed: int, ahead: int
) -> None:
    random = np.random.default_rng(seed)
    values = level * (1 + noise * random.standard_normal(100))
    projector = Projector(values, np.arange(100) % 7)
    scaled = Projector(values * 1024, np.arange(100) % 7)
    width = projector.half_width(100, ahead)
    assert 0 < width < level * noise * ahead * 5
    assert scaled.half_width(100, ahead) == pytest.approx(width * 1024)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    random = np.random.default_rng(1)
    inside = []
    for _ in range(200):
        values = 100 + 5 * random.standard_normal(120)
        projector = Projector(values[:100], np.arange(100) % 7)
        error = projector.ahead(100, np.arange(100, 120) % 7).sum() - values[100:].sum()
        inside.append(abs(error) <= projector.half_width(100, 20))
    assert 0.7 < np.mean(inside) < 0.95


def test_noise_has_no_trend_and_a_slope_does() -> None:
    random = np.random.default_rng(2)
    slope = trend(100 + 0.3 * np.arange(84) + random.standard_normal(84))
    assert slope == pytest.approx(0.3, rel=0.1)
    assert trend(np.full(84, 7.0)) == 0
    assert trend(np.arange(20.0)) == 0  # too few days to tell


def test_students_t() -> None:
    assert t90(1) == pytest.approx(3.0777)
    assert t90(0.3) == t90(1)
    assert t90(7) == pytest.approx(1.415, abs=0.005)
    assert t90(1e9) == pytest.approx(1.2816, abs=0.001)
