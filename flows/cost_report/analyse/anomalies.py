"""Anomalies: services and accounts that cost more than their past explains, each told once."""

from __future__ import annotations

import statistics
from collections import defaultdict
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
NAMED = (*DIMENSIONS, "RegionId")
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


def not_judged(days: Days) -> Unavailable | None:
    """Which days of the period have too little past to be judged; None if all can be."""
    start = baseline.judged_from(days)
    if start == days.first:
        return None
    which = f"the days before {start}" if start else "every day of this bill"
    return Unavailable(
        "anomalies",
        f"{which} lack a past: a day needs {baseline.ENOUGH} complete days within the "
        f"{baseline.LEVEL} before it, so add the bill of the month before",
    )


def anomalies(charges: pa.Table, days: Days, currency: str) -> list[Anomaly]:
    """What is odd in the period's usage, the greatest excess first.

    `charges`: one currency's usage, of all months at hand.
    """
    least = baseline.least_excess(daily_matrix(charges, days, None, "EffectiveCost"))
    alerts: list[Alert] = []
    for dimension in DIMENSIONS:
        if not all_null(charges, dimension):
            matrix = daily_matrix(charges, days, dimension, "EffectiveCost")
            alerts += [_alert(charges, dimension, odd) for odd in odd_runs(matrix, days, least)]
    parts = Parts(charges, days)
    kept = told_once([alert for alert in alerts if alert.excess > 0], parts)
    called = {dimension: names([charges], dimension) for dimension in NAMED}
    found = [_anomaly(alert, parts, called, currency) for alert in kept]
    return sorted(found, key=lambda odd: (-odd.excess, odd.first_day, odd.dimension, odd.id))


def _alert(charges: pa.Table, dimension: str, odd: Odd) -> Alert:
    own = where(charges, **{dimension: odd.member or None})
    actual = total(between(own, odd.first, odd.last), "EffectiveCost")
    expected = estimate(odd.expected)
    return Alert(dimension, odd.member, odd.first, odd.last, actual, expected, odd.score)


class Parts:
    """Who within an alert cost more than usual: its members of another dimension."""

    def __init__(self, charges: pa.Table, days: Days) -> None:
        self._charges = charges
        self._days = days
        self._known: dict[tuple[Alert, str], dict[str, Decimal]] = {}

    def of(self, alert: Alert, other: str) -> dict[str, Decimal]:
        """{member of `other`: cost on the alert's days beyond what those weekdays usually cost}."""
        key = (alert, other)
        if key not in self._known:
            self._known[key] = self._added_up(alert, other)
        return self._known[key]

    def _added_up(self, alert: Alert, other: str) -> dict[str, Decimal]:
        own = where(self._charges, **{alert.dimension: alert.member or None})
        past = between(own, alert.first - timedelta(weeks=COMPARED_WEEKS), alert.last)
        by_member: dict[str, dict[object, Decimal]] = defaultdict(dict)
        for (member, day), cost in sums_of(past, [other, "ChargeDate"], "EffectiveCost").items():
            by_member[text(member)][day] = cost
        run = span(alert.first, alert.last)
        return {
            member: sum(
                (cost.get(day, ZERO) - _usual(cost, day, alert.first, self._days) for day in run),
                ZERO,
            ).quantize(CENT)
            for member, cost in sorted(by_member.items())
        }


def _usual(cost: dict[object, Decimal], day: date, before: date, days: Days) -> Decimal:
    """The median of the same weekday in the weeks before the alert."""
    past = [day - timedelta(weeks=back) for back in range(1, COMPARED_WEEKS + 1)]
    known = [other for other in past if other < before and other in days.covered]
    if not known:
        return ZERO
    return statistics.median(cost.get(other, ZERO) for other in known)


def told_once(alerts: list[Alert], parts: Parts) -> list[Alert]:
    """One alert per event: a spike of one service in one account shows in both.

    The service's alert is kept where it makes up most of the account's excess, with the account
    among its reasons. Where no service does, the event is the account's: its alert is kept, and
    those of services that rose because of it are not.
    """
    services = [alert for alert in alerts if alert.dimension == "ServiceName"]
    accounts = [alert for alert in alerts if alert.dimension == "SubAccountId"]
    dropped: set[Alert] = set()
    causes: set[Alert] = set()  # services that make up most of an account's excess
    wider: list[tuple[Alert, dict[Alert, Decimal]]] = []  # accounts of which none does
    for account in accounts:
        together = [service for service in services if service.overlaps(account)]
        by_service = parts.of(account, "ServiceName") if together else {}
        shares = {service: by_service.get(service.member, ZERO) for service in together}
        cause = max(shares, key=lambda service: shares[service], default=None)
        if cause and shares[cause] >= MOST * account.excess:
            dropped.add(account)
            causes.add(cause)
        else:
            wider.append((account, shares))
    for account, shares in wider:
        left = {service: part for service, part in shares.items() if service not in dropped}
        because = [s for s in left if s not in causes and _is_part(s, account, parts)]
        if because:
            dropped.update(because)
        elif sum(left.values(), ZERO) >= MOST * account.excess:
            dropped.add(account)
    return [alert for alert in alerts if alert not in dropped]


def _is_part(service: Alert, account: Alert, parts: Parts) -> bool:
    """Whether a service's alert is about the account: most of its days, and of its excess."""
    common = (min(service.last, account.last) - max(service.first, account.first)).days + 1
    if common < MOST * ((service.last - service.first).days + 1):
        return False
    by_account = parts.of(service, "SubAccountId")
    return by_account.get(account.member, ZERO) >= MOST * service.excess


def _anomaly(
    alert: Alert, parts: Parts, called: dict[str, dict[str, str]], currency: str
) -> Anomaly:
    reasons: list[Reason] = []
    for other in EXPLAINS[alert.dimension]:
        found = [
            (called[other][member], part)
            for member, part in parts.of(alert, other).items()
            if member
        ]
        reasons += largest(other, found, alert.excess)
    name = called[alert.dimension][alert.member]
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
        said += f", {_amount(alert.excess)} more than the {_amount(alert.expected)} expected"
    else:
        said += " and nothing in the weeks before"
    return said + (f"; most of it in {reasons[0].name}." if reasons else ".")


def _amount(value: Decimal) -> str:
    return f"{value.quantize(CENT):,}"
