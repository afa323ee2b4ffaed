"""Where the money went: per day, per service, account and region, per invoice."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from flows.cost_report.analyse.days import Days
from flows.cost_report.analyse.sums import (
    ZERO,
    all_null,
    between,
    key_rows,
    money_sums,
    sums_of,
    text,
    total,
)
from flows.cost_report.model import DailyCost, Invoice, Share

DIMENSIONS = ("ServiceName", "SubAccountId", "RegionId")
NOBODY = {
    "ServiceName": "(no service)",
    "SubAccountId": "(no account)",
    "RegionId": "(no region)",
    "ServiceCategory": "(no category)",
}
STACKED = 7  # service categories with a colour of their own in the chart
OTHER = "Other"  # FOCUS's own category for what fits no other; the rest of the chart joins it


def names(tables: Iterable[pa.Table], dimension: str) -> dict[str, str]:
    """What people call each member: a sub account by its newest name, anything else by its id."""
    newest: dict[str, tuple[bool, date, str]] = {}
    for table in tables:
        keys = [dimension, "SubAccountName"] if dimension == "SubAccountId" else [dimension]
        last = table.group_by(keys, use_threads=False).aggregate([("ChargeDate", "max")])
        for row, day in zip(key_rows(last, keys), last["ChargeDate_max"].to_pylist(), strict=True):
            member, name = text(row[0]), text(row[-1])
            seen = (name != "", day or date.min, name)  # any name beats none
            newest[member] = max(newest.get(member, seen), seen)
    return {member: name or member or NOBODY[dimension] for member, (_, _, name) in newest.items()}


def shares(daily: pa.Table, days: Days, currency: str) -> list[Share]:
    """Each member of each dimension that the bill has, dearest first. They add up to the bill, to
    the last digit.
    """
    found: list[Share] = []
    everything = total(daily, "EffectiveCost")
    for dimension in DIMENSIONS:
        if not all_null(daily, dimension):
            found += _members(daily, days, currency, dimension, everything)
    return found


def _members(
    daily: pa.Table, days: Days, currency: str, dimension: str, everything: Decimal
) -> list[Share]:
    called = names([daily], dimension)
    effective = sums_of(daily, [dimension], "EffectiveCost")
    billed = sums_of(daily, [dimension], "BilledCost")
    by_day = sums_of(
        between(daily, days.first, days.last), [dimension, "ChargeDate"], "EffectiveCost"
    )
    members = [
        Share(
            currency=currency,
            dimension=dimension,
            name=called[text(member)],
            id=text(member),
            effective_cost=cost,
            billed_cost=billed[(member,)],
            share=float(cost / everything) if everything else 0.0,
            daily=tuple(by_day.get((member, day), ZERO) for day in days.shown),
        )
        for (member,), cost in effective.items()
    ]
    return sorted(members, key=lambda share: (-share.effective_cost, share.name, share.id))


def daily_costs(daily: pa.Table, days: Days, currency: str) -> list[DailyCost]:
    """Every day of the period up to the newest one seen × the dearest service categories and the
    rest.

    Charges dated outside the billing period (late charges, corrections) are in the totals and on no
    day.
    """
    inside = between(daily, days.first, days.last)
    by_category = sums_of(inside, ["ServiceCategory"], "EffectiveCost")
    ranked = sorted(by_category, key=lambda key: (-by_category[key], text(key[0])))
    own = [text(key[0]) for key in ranked if key[0] != OTHER][:STACKED]
    costs: dict[tuple[date, str], tuple[Decimal, Decimal]] = {}
    keys = ["ChargeDate", "ServiceCategory"]
    grouped = money_sums(inside, keys, ["EffectiveCost", "BilledCost"])
    for row in grouped.to_pylist():
        category = text(row["ServiceCategory"])
        group = category if category in own else OTHER
        effective, billed = costs.get((row["ChargeDate"], group), (ZERO, ZERO))
        costs[row["ChargeDate"], group] = (
            effective + row["EffectiveCost"],
            billed + row["BilledCost"],
        )
    groups = own + ([OTHER] if len(by_category) > len(own) else [])
    ahead = {day for day, _ in costs} - set(days.shown)  # a purchase may be dated ahead
    shown = days.shown + sorted(ahead)
    return [
        DailyCost(
            currency,
            day,
            group or NOBODY["ServiceCategory"],
            *costs.get((day, group), (ZERO, ZERO)),
        )
        for day in shown
        for group in groups
    ]


def invoices(daily: pa.Table, currency: str) -> list[Invoice]:
    """Σ BilledCost per InvoiceId, dearest first; '' where the bill names none."""
    sums = sums_of(daily, ["InvoiceId"], "BilledCost")
    found = [Invoice(currency, text(invoice), cost) for (invoice,), cost in sums.items()]
    return sorted(found, key=lambda invoice: (-invoice.billed_cost, invoice.id))


def currencies(daily: pa.Table) -> list[str | None]:
    """The bill's currencies, that of the most charges first."""
    rows = daily.group_by("BillingCurrency", use_threads=False).aggregate([("RowCount", "sum")])
    counted = dict(
        zip(rows["BillingCurrency"].to_pylist(), rows["RowCount_sum"].to_pylist(), strict=True)
    )
    return sorted(counted, key=lambda currency: (-(counted[currency] or 0), text(currency)))


def has_invoices(daily: pa.Table) -> bool:
    return bool(pc.any(pc.is_valid(daily["InvoiceId"])).as_py())
