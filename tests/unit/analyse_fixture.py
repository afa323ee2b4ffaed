"""Small roll-ups for the tests of the analyses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from decimal import Decimal

import pyarrow as pa

from flows.cost_report.tables import COMMITMENTS, COSTS, DAILY, TAGS, RollUp

Row = Mapping[str, object]
DAY = timedelta(days=1)

ORDINARY: dict[str, object] = {
    "BillingCurrency": "USD",
    "ProviderName": "AWS",
    "BillingAccountId": "999",
    "SubAccountId": "111",
    "SubAccountName": "prod",
    "ServiceCategory": "Compute",
    "ServiceName": "Compute Cloud",
    "RegionId": "eu-central-1",
    "ChargeCategory": "Usage",
    "PricingCategory": "Standard",
    "InvoiceId": "INV-1",
    "RowCount": 1,
}


def row(day: date, cost: object, **other: object) -> Row:
    """A row of DAILY whose four costs are `cost`, unless said otherwise."""
    costs = {name: Decimal(str(cost)) for name in COSTS}
    return {**ORDINARY, "ChargeDate": day, **costs, **other}


def rows(first: date, costs: Iterable[object], **other: object) -> list[Row]:
    """A row per day from `first` on."""
    return [row(first + DAY * n, cost, **other) for n, cost in enumerate(costs)]


def table(found: Iterable[Row], schema: pa.Schema = DAILY) -> pa.Table:
    return pa.Table.from_pylist([dict(one) for one in found], schema=schema)


def rollup(
    daily: Iterable[Row],
    history: Iterable[Row] = (),
    tags: Iterable[Row] = (),
    commitments: Iterable[Row] = (),
) -> RollUp:
    return RollUp(table(daily), table(tags, TAGS), table(commitments, COMMITMENTS), table(history))


def week(level: float, weekend: float = 1.0) -> list[float]:
    """Costs of Monday … Sunday."""
    return [level] * 5 + [level * weekend] * 2


def steady(first: date, last: date, level: float = 100.0, weekend: float = 0.6) -> list[float]:
    """A cost per day, quieter at weekends, with a small wobble that is the same every time."""
    days = (last - first).days + 1
    return [
        week(level, weekend)[(first + DAY * n).weekday()] * (1 + 0.02 * ((n * 7) % 5 - 2))
        for n in range(days)
    ]
