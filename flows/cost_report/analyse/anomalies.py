"""Anomalies: services and accounts that cost more than their own past explains, each event told once."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

import pyarrow as pa

from flows.cost_report.analyse import baseline
from flows.cost_report.analyse.baseline import Odd, odd_runs
from flows.cost_report.analyse.days import Days, span
from flows.cost_report.analyse.movers import EXPLAINS, largest
from flows.cost_report.analyse.series import daily_matrix
from flows.cost_report.analyse.shares import names
from flows.cost_report.analyse.sums import (
    CENT,
    ZERO,
    all_null,
    between,
    estimate,
    sums_of,
    text,
    total,
    where,
)
from flows.cost_report.model import Anomaly, Reason, Unavailable

DIMENSIONS = ("ServiceName", "SubAccountId")
COMPARED_WEEKS = 4  # the same weekdays of so many weeks say what a part usually costs
MOST = Decimal(2) / 3  # of an alert's excess that another must explain to be the same event


@dataclass(frozen=True)
class Alert:
    """A run of odd days with its amounts, before events are told once."""

    dimension: str
    member: str
    first: date
    last: date
    actual: Decimal
    expected: Decimal
    score: float

    @property
    def excess(self) -> Decimal:
        return self.actual - self.expected

    def overlaps(self, other: Alert) -> bool:
        return self.first <= other.last and other.first <= self.last


def why_none(days: Days) -> Unavailable | None:
    """Why no day of the period can be judged; None if one can."""
    if baseline.judged_from(days) is not None:
        return None
    return Unavailable(
        "anomalies",
        f"needs {baseline.ENOUGH} days of bill before the day that is judged: add the bill of the month before",
    )


def anomalies(charges: pa.Table, days: Days, currency: str) -> list[Anomaly]:
    """What is odd in the period's usage, the greatest excess first. `charges`: usage of all months at hand."""
    least = baseline.least_excess(daily_matrix(charges, days, None, "EffectiveCost"))
    alerts: list[Alert] = []
    for dimension in DIMENSIONS:
        if not all_null(charges, dimension):
            matrix = daily_matrix(charges, days, dimension, "EffectiveCost")
            alerts += [_alert(charges, dimension, odd) for odd in odd_runs(matrix, days, least)]
    alerts = [alert for alert in alerts if alert.excess > 0]
    found = [_anomaly(charges, days, currency, alert) for alert in told_once(alerts, charges, days)]
    return sorted(found, key=lambda odd: (-odd.excess, odd.first_day, odd.dimension, odd.id))


def _alert(charges: pa.Table, dimension: str, odd: Odd) -> Alert:
    own = where(charges, **{dimension: odd.member or None})
    actual = total(between(own, odd.first, odd.last), "EffectiveCost")
    return Alert(
        dimension, odd.member, odd.first, odd.last, actual, estimate(odd.expected), odd.score
    )


def told_once(alerts: list[Alert], charges: pa.Table, days: Days) -> list[Alert]:
    """One alert per event: a spike of one service in one account shows in both.

    The service's alert is kept where it makes up most of the account's excess, with the account among its reasons. Where no
    service does, the event is the account's: its alert is kept, and those of services that rose because of it are not.
    """
    services = [alert for alert in alerts if alert.dimension == "ServiceName"]
    accounts = [alert for alert in alerts if alert.dimension == "SubAccountId"]
    dropped: set[Alert] = set()
    for account in sorted(accounts, key=lambda alert: (-alert.excess, alert.member, alert.first)):
        together = [service for service in services if service.overlaps(account)]
        by_service = dict(parts(charges, account, "ServiceName", days))
        shares = [by_service.get(service.member, ZERO) for service in together]
        because = [service for service in together if _is_part(charges, service, account, days)]
        if max(shares, default=ZERO) >= MOST * account.excess:
            dropped.add(account)
        elif because:
            dropped.update(because)
        elif sum(shares, ZERO) >= MOST * account.excess:
            dropped.add(account)
    return [alert for alert in alerts if alert not in dropped]


def _is_part(charges: pa.Table, service: Alert, account: Alert, days: Days) -> bool:
    """Whether a service's alert is about the account: most of its days, and most of its excess."""
    common = (min(service.last, account.last) - max(service.first, account.first)).days + 1
    if common < MOST * ((service.last - service.first).days + 1):
        return False
    by_account = dict(parts(charges, service, "SubAccountId", days))
    return by_account.get(account.member, ZERO) >= MOST * service.excess


def parts(charges: pa.Table, alert: Alert, other: str, days: Days) -> list[tuple[str, Decimal]]:
    """The members of dimension `other` within an alert, and what each cost more than it usually does on those days."""
    own = where(charges, **{alert.dimension: alert.member or None})
    reach = timedelta(weeks=COMPARED_WEEKS)
    costs = sums_of(between(own, alert.first - reach, alert.last), [other, "ChargeDate"], "EffectiveCost")
    members = sorted({text(member) for member, _ in costs})
    by_day = {(text(member), day): cost for (member, day), cost in costs.items()}
    return [
        (
            member,
            sum(
                (
                    by_day.get((member, day), ZERO) - _usual(by_day, member, day, alert.first, days)
                    for day in span(alert.first, alert.last)
                ),
                ZERO,
            ).quantize(CENT),
        )
        for member in members
    ]


def _usual(
    by_day: dict[tuple[str, object], Decimal], member: str, day: date, before: date, days: Days
) -> Decimal:
    """The median of the same weekday in the weeks before the alert."""
    past = [day - timedelta(weeks=back) for back in range(1, COMPARED_WEEKS + 1)]
    known = [other for other in past if other < before and other in days.covered]
    if not known:
        return ZERO
    return statistics.median(by_day.get((member, other), ZERO) for other in known)


def _anomaly(charges: pa.Table, days: Days, currency: str, alert: Alert) -> Anomaly:
    reasons: list[Reason] = []
    for other in EXPLAINS[alert.dimension]:
        called = names([charges], other)
        found = [(called[member], part) for member, part in parts(charges, alert, other, days) if member]
        reasons += largest(other, found, alert.excess)
    name = names([charges], alert.dimension)[alert.member]
    return Anomaly(
        currency=currency,
        dimension=alert.dimension,
        name=name,
        id=alert.member,
        first_day=alert.first,
        last_day=alert.last,
        actual=alert.actual,
        expected=alert.expected,
        excess=alert.excess,
        percent=float(alert.excess / alert.expected) if alert.expected > 0 else None,
        score=round(float(alert.score), 2),
        reasons=tuple(reasons),
        sentence=_sentence(name, currency, alert, reasons),
    )


def _sentence(name: str, currency: str, alert: Alert, reasons: list[Reason]) -> str:
    when = (
        f"on {alert.first}" if alert.first == alert.last else f"from {alert.first} to {alert.last}"
    )
    said = f"{name} cost {_amount(alert.actual)} {currency} {when}"
    if alert.expected > 0:
        said += f", {_amount(alert.excess)} more than the {_amount(alert.expected)} that its last weeks lead one to expect"
    else:
        said += " and nothing in the weeks before"
    return said + (f"; most of it in {reasons[0].name}." if reasons else ".")


def _amount(value: Decimal) -> str:
    return f"{value.quantize(CENT):,}"
