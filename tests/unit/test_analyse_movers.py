"""Movers compare spans of equal length, of complete days, and say why."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from flows.cost_report.analyse import analyse
from flows.cost_report.model import Mover, Reason
from tests.unit.analyse_fixture import Row, rollup, row, rows

OCTOBER, NOVEMBER = date(2026, 10, 1), date(2026, 11, 1)


def movers(
    daily: list[Row], history: list[Row], comparison: str, period: str = "2026-11"
) -> list[Mover]:
    found = analyse(rollup(daily, history), period).movers
    return [one for one in found if one.comparison == comparison]


def test_months_are_compared_over_as_many_complete_days() -> None:
    # Ten days of November, the tenth still filling up; all of October.
    service, account = movers(
        rows(NOVEMBER, [3] * 9 + [1]), rows(OCTOBER, [2] * 31), "month over month"
    )
    assert (service.before_span, service.after_span) == (
        (OCTOBER, date(2026, 10, 9)),
        (NOVEMBER, date(2026, 11, 9)),
    )
    assert (service.before, service.after, service.change) == (Decimal(18), Decimal(27), Decimal(9))
    assert service.percent == 0.5
    assert account.dimension == "SubAccountId"
    assert account.name == "prod"


def test_a_long_month_is_compared_over_the_days_of_the_short_one() -> None:
    (mover, _) = movers(
        rows(date(2026, 3, 1), [2] * 31),
        rows(date(2026, 2, 1), [1] * 28),
        "month over month",
        "2026-03",
    )
    assert mover.after_span == (date(2026, 3, 1), date(2026, 3, 28))
    assert (mover.before, mover.after) == (Decimal(28), Decimal(56))


def test_leap_days_count() -> None:
    (mover, _) = movers(
        rows(date(2028, 2, 1), [2] * 29),
        rows(date(2028, 1, 1), [1] * 31),
        "month over month",
        "2028-02",
    )
    assert mover.after_span == (date(2028, 2, 1), date(2028, 2, 29))
    assert mover.after == 58


def test_the_newest_day_of_a_running_month_is_no_drop() -> None:
    (mover, _) = movers(rows(NOVEMBER, [10, 10, 12, 1]), [], "day over day")
    assert (mover.before_span, mover.after_span) == (
        (date(2026, 11, 2),) * 2,
        (date(2026, 11, 3),) * 2,
    )
    assert mover.change == 2


def test_the_first_of_the_month_is_compared_with_the_last_of_the_month_before() -> None:
    (mover, _) = movers(rows(NOVEMBER, [10, 3]), rows(OCTOBER, [7] * 31), "day over day")
    assert mover.before_span == (date(2026, 10, 31),) * 2


def test_new_and_gone_and_reasons() -> None:
    daily = rows(NOVEMBER, [5] * 30, ServiceName="new one", SubAccountId="1", SubAccountName="web")
    daily += rows(NOVEMBER, [1] * 30, ServiceName="new one", SubAccountId="2", SubAccountName="db")
    history = rows(OCTOBER, [4] * 31, ServiceName="old one", SubAccountId="2", SubAccountName="db")
    found = movers(daily, history, "month over month")
    assert [(one.name, one.kind, one.percent) for one in found] == [
        ("new one", "new", None),
        ("old one", "gone", -1.0),
        ("web", "new", None),
        ("db", "changed", -0.75),
    ]
    assert found[0].reasons[:2] == (
        Reason("SubAccountId", "web", Decimal(150)),
        Reason("SubAccountId", "db", Decimal(30)),
    )


def test_tax_corrections_and_fees_dated_the_first_are_left_out_while_the_month_runs() -> None:
    daily = rows(NOVEMBER, [3] * 10)
    daily += [
        row(NOVEMBER, 50, ChargeCategory="Tax", ServiceName="tax"),
        row(NOVEMBER, 60, ChargeCategory="Purchase", ServiceName="support"),
        row(NOVEMBER, 70, ChargeClass="Correction", ServiceName="correction"),
        row(date(2026, 11, 3), 80, ChargeCategory="Purchase", ServiceName="licence"),
    ]
    found = movers(daily, rows(OCTOBER, [2] * 31), "month over month")
    services = [one.name for one in found if one.dimension == "ServiceName"]
    assert services == ["licence", "Compute Cloud"]


def test_without_the_month_before_it_says_what_it_takes() -> None:
    found = analyse(rollup(rows(NOVEMBER, [3] * 10), rows(date(2026, 10, 9), [2] * 23)), "2026-11")
    why = {gap.analysis: gap.why for gap in found.unavailable}
    assert why["movers month over month"] == (
        "needs the bill of 2026-10 for 2026-10-01 to 2026-10-09"
    )
