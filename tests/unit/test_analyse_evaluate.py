"""The rule that says whether an alert is right: the figures of `make evaluate` stand on it."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from flows.cost_report import model as report
from flows.cost_report.model import Reason
from flows.sample_bill import Anomaly
from flows.sample_bill.organisation import ACCOUNTS
from tests.performance.evaluate import matches

ACCOUNT, OTHER = ACCOUNTS[3], ACCOUNTS[4]


def alert(dimension: str, member: str, first: int, last: int, reason: str = "") -> report.Anomaly:
    return report.Anomaly(
        currency="USD",
        dimension=dimension,
        name=member,
        id=member,
        first_day=date(2026, 11, first),
        last_day=date(2026, 11, last),
        actual=Decimal(2),
        expected=Decimal(1),
        excess=Decimal(1),
        percent=1.0,
        score=9.0,
        reasons=(Reason("SubAccountId", reason, Decimal(1)),),
        sentence="",
    )


def injected(service: str | None) -> Anomaly:
    return Anomaly(
        kind="step",
        service=service,
        account=ACCOUNT.id,
        first_day=date(2026, 11, 10),
        last_day=date(2026, 11, 12),
        extra=(1.0, 1.0, 1.0),
        usual=1.0,
    )


@pytest.mark.parametrize(
    ("first", "last", "right"),
    [(1, 8, False), (1, 9, True), (11, 11, True), (13, 20, True), (14, 20, False)],
)
def test_a_day_more_at_either_end(first: int, last: int, right: bool) -> None:
    assert matches(alert("ServiceName", "A", first, last), injected("A")) == right


def test_the_service_or_the_account() -> None:
    assert matches(alert("SubAccountId", ACCOUNT.id, 10, 10), injected("A"))
    assert not matches(alert("SubAccountId", OTHER.id, 10, 10), injected("A"))
    assert not matches(alert("ServiceName", "B", 10, 10, ACCOUNT.name), injected("A"))


def test_an_account_that_ran_away_must_be_named() -> None:
    assert matches(alert("ServiceName", "B", 10, 10, ACCOUNT.name), injected(None))
    assert not matches(alert("ServiceName", "B", 10, 10, OTHER.name), injected(None))
