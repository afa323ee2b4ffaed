"""What is odd is told, once; what is ordinary is not."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from flows.cost_report.analyse import analyse
from flows.cost_report.model import Anomaly
from tests.unit.analyse_fixture import DAY, Row, rollup, row, rows, steady

SEPTEMBER, OCTOBER, NOVEMBER = date(2026, 9, 1), date(2026, 10, 1), date(2026, 11, 1)
LAST = date(2026, 11, 30)
WEB = {"SubAccountId": "1", "SubAccountName": "web"}
DATA = {"SubAccountId": "2", "SubAccountName": "data"}


def ordinary(**other: object) -> list[Row]:
    return rows(SEPTEMBER, steady(SEPTEMBER, LAST), **other)


def with_extra(found: list[Row], first: date, extra: list[float], **where: object) -> list[Row]:
    return found + [row(first + DAY * n, cost, **where) for n, cost in enumerate(extra)]


def anomalies(found: list[Row], period: str = "2026-11") -> tuple[Anomaly, ...]:
    daily = [one for one in found if str(one["ChargeDate"]).startswith(period)]
    history = [one for one in found if str(one["ChargeDate"]) < period]
    return analyse(rollup(daily, history), period).anomalies


def two_accounts() -> list[Row]:
    """Three services in two accounts, each 100 a weekday."""
    return [
        one
        for account in (WEB, DATA)
        for service in ("A", "B", "C")
        for one in ordinary(ServiceName=service, **account)
    ]


def test_an_ordinary_bill_has_none() -> None:
    assert anomalies(two_accounts()) == ()


@pytest.mark.parametrize("weekend", [0.0, 0.3, 1.6])
def test_weekends_are_no_anomaly(weekend: float) -> None:
    assert anomalies(rows(SEPTEMBER, steady(SEPTEMBER, LAST, weekend=weekend))) == ()


def test_a_spike_is_told_once_with_its_account() -> None:
    bill = with_extra(two_accounts(), date(2026, 11, 10), [300], ServiceName="A", **WEB)
    (found,) = anomalies(bill)
    assert (found.dimension, found.name) == ("ServiceName", "A")
    assert found.first_day == found.last_day == date(2026, 11, 10)
    assert found.excess == pytest.approx(Decimal(300), abs=Decimal(10))
    assert found.actual - found.expected == found.excess
    reason = found.reasons[0]
    assert (reason.dimension, reason.name) == ("SubAccountId", "web")
    assert reason.change == pytest.approx(Decimal(300), abs=Decimal(10))
    assert "A cost " in found.sentence
    assert "2026-11-10" in found.sentence


def test_an_account_that_runs_away_is_told_once() -> None:
    bill = two_accounts()
    for service in ("A", "B", "C"):
        bill = with_extra(bill, date(2026, 11, 10), [150] * 4, ServiceName=service, **DATA)
    (found,) = anomalies(bill)
    assert (found.dimension, found.name, found.id) == ("SubAccountId", "data", "2")
    assert [reason.name for reason in found.reasons[:3]] == ["A", "B", "C"]


def test_an_event_in_two_accounts_is_told_once() -> None:
    bill = two_accounts()
    for account in (WEB, DATA):
        bill = with_extra(bill, date(2026, 11, 10), [200, 200], ServiceName="B", **account)
    (found,) = anomalies(bill)
    assert (found.dimension, found.name) == ("ServiceName", "B")
    assert {reason.name for reason in found.reasons} >= {"web", "data"}


def test_an_event_in_an_account_does_not_hide_one_that_is_wider() -> None:
    # B rises in both accounts; in web nothing else does, in data A and C do, too.
    bill = with_extra(two_accounts(), date(2026, 11, 10), [300], ServiceName="B", **WEB)
    for service in ("A", "B", "C"):
        bill = with_extra(bill, date(2026, 11, 10), [200], ServiceName=service, **DATA)
    assert {(found.dimension, found.name) for found in anomalies(bill)} == {
        ("ServiceName", "B"),
        ("SubAccountId", "data"),
    }


def test_two_events_are_told_apart() -> None:
    bill = with_extra(two_accounts(), date(2026, 11, 10), [300], ServiceName="A", **WEB)
    bill = with_extra(bill, date(2026, 11, 20), [400], ServiceName="C", **DATA)
    assert [found.name for found in anomalies(bill)] == ["C", "A"]


def test_a_step_up_is_one_anomaly_until_the_months_end() -> None:
    days = (LAST - date(2026, 11, 5)).days + 1
    bill = with_extra(two_accounts(), date(2026, 11, 5), [200] * days, ServiceName="A", **WEB)
    (found,) = anomalies(bill)
    assert (found.first_day, found.last_day) == (date(2026, 11, 5), LAST)
    assert found.excess == pytest.approx(Decimal(200 * days), rel=Decimal("0.05"))


def test_what_has_gone_on_for_a_month_is_ordinary() -> None:
    days = (LAST - date(2026, 9, 25)).days + 1
    bill = with_extra(two_accounts(), date(2026, 9, 25), [200] * days, ServiceName="A", **WEB)
    assert anomalies(bill) == ()


def test_a_new_service_is_told_once() -> None:
    bill = with_extra(two_accounts(), date(2026, 11, 20), [90] * 11, ServiceName="New", **WEB)
    (found,) = anomalies(bill)
    assert (found.name, found.expected, found.percent) == ("New", Decimal(0), None)
    assert (found.first_day, found.last_day) == (date(2026, 11, 20), LAST)
    assert "nothing in the weeks before" in found.sentence


def test_small_change_is_no_anomaly_on_a_large_bill() -> None:
    bill = with_extra(two_accounts(), date(2026, 11, 20), [3], ServiceName="Tiny", **WEB)
    assert anomalies(bill) == ()


def test_on_a_small_bill_it_is() -> None:
    bill = rows(SEPTEMBER, steady(SEPTEMBER, LAST, level=4))
    (found,) = anomalies(with_extra(bill, date(2026, 11, 20), [3]))
    assert found.first_day == date(2026, 11, 20)


def test_a_weekend_does_not_end_an_anomaly() -> None:
    # Thursday and Friday, Monday and Tuesday.
    bill = with_extra(
        two_accounts(), date(2026, 11, 12), [300, 300, 0, 0, 300, 300], ServiceName="A", **WEB
    )
    (found,) = anomalies(bill)
    assert (found.first_day, found.last_day) == (date(2026, 11, 12), date(2026, 11, 17))


def test_a_monthly_lump_is_no_news() -> None:
    bill = two_accounts()
    for month in (SEPTEMBER, OCTOBER, NOVEMBER):
        bill = with_extra(bill, month + DAY, [500], ServiceName="Renewal", **WEB)
    assert anomalies(bill) == ()


def test_a_monthly_lump_that_has_doubled_is() -> None:
    bill = two_accounts()
    for month, cost in ((SEPTEMBER, 500), (OCTOBER, 500), (NOVEMBER, 1000)):
        bill = with_extra(bill, month + DAY, [cost], ServiceName="Renewal", **WEB)
    assert [found.name for found in anomalies(bill)] == ["Renewal"]


@pytest.mark.parametrize(
    "other",
    [
        {"ChargeCategory": "Tax"},
        {"ChargeCategory": "Purchase"},
        {"ChargeCategory": "Credit"},
        {"ChargeClass": "Correction"},
    ],
)
def test_only_usage_is_judged(other: dict[str, object]) -> None:
    bill = with_extra(two_accounts(), date(2026, 11, 10), [900], ServiceName="A", **WEB, **other)
    assert anomalies(bill) == ()


def test_a_day_that_is_still_filling_up_is_no_drop_but_may_be_a_spike() -> None:
    quiet = [one for one in two_accounts() if str(one["ChargeDate"]) < "2026-11-17"]
    filling = [row(date(2026, 11, 17), 10, ServiceName="A", **WEB)]
    assert anomalies(quiet + filling) == ()
    spike = [row(date(2026, 11, 17), 600, ServiceName="A", **WEB)]
    assert [found.first_day for found in anomalies(quiet + spike)] == [date(2026, 11, 17)]


def test_a_drop_is_no_anomaly() -> None:
    bill = [
        one
        for one in two_accounts()
        if not (one["ServiceName"] == "A" and str(one["ChargeDate"]) > "2026-11-10")
    ]
    assert anomalies(bill) == ()


def test_without_a_past_it_says_which_days_are_not_judged() -> None:
    found = analyse(rollup(rows(NOVEMBER, steady(NOVEMBER, LAST))), "2026-11")
    (gap,) = [gap for gap in found.unavailable if gap.analysis == "anomalies"]
    assert gap.why.startswith("the days before 2026-11-15 lack a past")


def test_a_month_that_is_missing_in_between_makes_nothing_look_new() -> None:
    bill = [one for one in two_accounts() if not str(one["ChargeDate"]).startswith("2026-10")]
    assert anomalies(bill) == ()


def test_each_currency_has_anomalies_of_its_own() -> None:
    bill = two_accounts() + ordinary(BillingCurrency="EUR", ServiceName="E")
    bill = with_extra(bill, date(2026, 11, 10), [400], BillingCurrency="EUR", ServiceName="E")
    assert [(found.currency, found.name) for found in anomalies(bill)] == [("EUR", "E")]
