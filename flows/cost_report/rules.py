"""The rules of FOCUS 1.2 that a bill is checked against, as data.

A rule is broken by the rows for which `broken` holds; all rules are counted in the same single pass
that adds the bill up. Severities: *blocking* (totals could be wrong: nothing is published), *error*
(the specification is broken: published and listed), *warning* (gaps that AWS documents in its FOCUS
conformance report, or oddities that leave totals right).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from flows.cost_report.batch import Batch
from flows.cost_report.exact import Floats, Mask

Severity: TypeAlias = Literal["blocking", "error", "warning"]

CHARGE_CATEGORIES = frozenset({"Usage", "Purchase", "Tax", "Credit", "Adjustment"})
SERVICE_CATEGORIES = frozenset(
    {
        "AI and Machine Learning",
        "Analytics",
        "Business Applications",
        "Compute",
        "Databases",
        "Developer Tools",
        "Multicloud",
        "Identity",
        "Integration",
        "Internet of Things",
        "Management and Governance",
        "Media",
        "Migration",
        "Mobile",
        "Networking",
        "Security",
        "Storage",
        "Web",
        "Other",
    }
)


@dataclass(frozen=True)
class Rule:
    """A condition that no row may meet. It is skipped where the bill lacks one of `columns`."""

    id: str
    section: str  # the heading in FOCUS 1.2 that says so
    severity: Severity
    summary: str
    columns: tuple[str, ...]
    broken: Callable[[Batch], Mask]


# --- conditions: small functions of a batch ------------------------------------------------------


def null(batch: Batch, name: str) -> Mask:
    """Rows whose `name` is null, whatever kind of column it is."""
    if name in batch.texts:
        return batch.texts[name].null
    column = batch.money.get(name) or batch.numbers[name]
    return np.broadcast_to(False, batch.rows) if column.null is None else column.null


def one_of(batch: Batch, name: str, allowed: frozenset[str]) -> Mask:
    coded = batch.texts[name]
    return coded.where(np.array([value in allowed for value in coded.values]))


def outside(name: str, allowed: frozenset[str]) -> Callable[[Batch], Mask]:
    """Neither null nor one of the allowed values."""

    def broken(batch: Batch) -> Mask:
        return ~one_of(batch, name, allowed | {None})  # type: ignore[arg-type]

    return broken


def _category(batch: Batch, *categories: str) -> Mask:
    return one_of(batch, "ChargeCategory", frozenset(categories))


def _correction(batch: Batch) -> Mask:
    return one_of(batch, "ChargeClass", frozenset({"Correction"}))


def _price_applies(batch: Batch) -> Mask:
    """Usage and purchases have a price, unless they correct an earlier period."""
    return _category(batch, "Usage", "Purchase") & ~_correction(batch)


def _unlike(left: Floats, right: Floats) -> Mask:
    """Differs by more than rounding: 10^-8 of the currency unit and 10^-6 of the amount."""
    unlike: Mask = np.abs(left - right) > 1e-8 + 1e-6 * np.maximum(np.abs(left), np.abs(right))
    return unlike


def _price_times_quantity(price: str, cost: str) -> Callable[[Batch], Mask]:
    def broken(batch: Batch) -> Mask:
        unit, quantity = batch.numbers[price], batch.numbers["PricingQuantity"]
        known = ~null(batch, price) & ~null(batch, "PricingQuantity") & ~null(batch, cost)
        known &= ~_correction(batch)
        with np.errstate(over="ignore", invalid="ignore"):
            product = unit.values * quantity.values
            unlike = _unlike(product, batch.money[cost].as_floats())
        return known & (unlike | ~np.isfinite(product))

    return broken


def _effective_of_purchase(batch: Batch) -> Mask:
    covers = _category(batch, "Purchase") & ~null(batch, "CommitmentDiscountId")
    broken: Mask = covers & (batch.money["EffectiveCost"].as_floats() != 0)
    return broken


def _differs_on(left: str, right: str, category: str) -> Callable[[Batch], Mask]:
    return lambda batch: (
        _category(batch, category)
        & _unlike(batch.money[left].as_floats(), batch.money[right].as_floats())
    )


def _set_for_tax(name: str) -> Callable[[Batch], Mask]:
    return lambda batch: _category(batch, "Tax") & ~null(batch, name)


def _null_where_priced(name: str) -> Callable[[Batch], Mask]:
    return lambda batch: null(batch, name) & _price_applies(batch)


def _not_one_month(batch: Batch) -> Mask:
    """A billing period is a calendar month for AWS: it ends when the next one starts, exclusive."""
    starts, ends = batch.times["BillingPeriodStart"], batch.times["BillingPeriodEnd"]
    if starts.size and (starts == starts[0]).all() and (ends == ends[0]).all():
        starts, ends = starts[:1], ends[:1]  # nearly always; the calendar is slow
    month = starts.astype("datetime64[ms]").astype("datetime64[M]")
    begins, next_begins = (m.astype("datetime64[ms]").astype(np.int64) for m in (month, month + 1))
    return np.broadcast_to((starts != begins) | (ends != next_begins), batch.rows)


def _outside_period(batch: Batch) -> Mask:
    start = batch.times["ChargePeriodStart"]
    first, end = batch.times["BillingPeriodStart"], batch.times["BillingPeriodEnd"]
    return (start < first) | (start >= end)


# --- the table -----------------------------------------------------------------------------------


def _not_null(name: str, section: str, severity: Severity = "error", why: str = "") -> Rule:
    return Rule(
        f"{name}-null", section, severity, f"{name} is null{why}", (name,), lambda b: null(b, name)
    )


def _allowed(name: str, section: str, values: frozenset[str]) -> Rule:
    listed = (
        ", ".join(sorted(values)) if len(values) < 8 else f"the {len(values)} that FOCUS allows"
    )
    summary = f"{name} is none of {listed}"
    return Rule(f"{name}-value", section, "error", summary, (name,), outside(name, values))


def _gap(name: str, section: str) -> Rule:
    return Rule(
        f"{name}-gap",
        section,
        "warning",
        f"{name} is null on a Usage or Purchase row (a gap that AWS documents)",
        (name, "ChargeCategory", "ChargeClass"),
        _null_where_priced(name),
    )


_PRICED = ("ChargeCategory", "ChargeClass")
_STATUS = "CommitmentDiscountStatus"
_ID = "CommitmentDiscountId"

RULES: tuple[Rule, ...] = (
    _not_null(
        "BillingCurrency", "Billing Currency", "blocking", ": the amount belongs to no total"
    ),
    _not_null("BilledCost", "Billed Cost"),
    _not_null("EffectiveCost", "Effective Cost"),
    _not_null("ListCost", "List Cost"),
    _not_null("ContractedCost", "Contracted Cost"),
    _not_null("BillingAccountId", "Billing Account ID"),
    _not_null("ChargeCategory", "Charge Category"),
    _not_null("ProviderName", "Provider"),
    _not_null("ServiceCategory", "Service Category"),
    _not_null("ServiceName", "Service Name"),
    _not_null("InvoiceIssuerName", "Invoice Issuer", "warning", " (a gap that AWS documents)"),
    _not_null("PublisherName", "Publisher", "warning", " (a gap that AWS documents)"),
    _allowed("ChargeCategory", "Charge Category", CHARGE_CATEGORIES),
    _allowed("ChargeClass", "Charge Class", frozenset({"Correction"})),
    _allowed(
        "ChargeFrequency", "Charge Frequency", frozenset({"One-Time", "Recurring", "Usage-Based"})
    ),
    _allowed("ServiceCategory", "Service Category", SERVICE_CATEGORIES),
    _allowed(
        "PricingCategory",
        "Pricing Category",
        frozenset({"Standard", "Dynamic", "Committed", "Other"}),
    ),
    _allowed(_STATUS, "Commitment Discount Status", frozenset({"Used", "Unused"})),
    _allowed(
        "CommitmentDiscountCategory", "Commitment Discount Category", frozenset({"Spend", "Usage"})
    ),
    Rule(
        "BillingPeriod-month",
        "Billing Period Start",
        "error",
        "the billing period is not a calendar month in UTC, end exclusive",
        ("BillingPeriodStart", "BillingPeriodEnd"),
        _not_one_month,
    ),
    Rule(
        "ChargePeriod-order",
        "Charge Period Start",
        "error",
        "the charge period ends before it starts",
        ("ChargePeriodStart", "ChargePeriodEnd"),
        lambda b: b.times["ChargePeriodEnd"] < b.times["ChargePeriodStart"],
    ),
    Rule(
        "ChargePeriod-outside",
        "Charge Period Start",
        "warning",
        "the charge period starts outside the billing period: the cost is counted on its own day",
        ("ChargePeriodStart", "BillingPeriodStart", "BillingPeriodEnd"),
        _outside_period,
    ),
    Rule(
        f"{_STATUS}-without-id",
        "Commitment Discount Status",
        "error",
        f"{_STATUS} is set although {_ID} is null",
        (_STATUS, _ID),
        lambda b: ~null(b, _STATUS) & null(b, _ID),
    ),
    Rule(
        f"{_STATUS}-missing",
        "Commitment Discount Status",
        "error",
        f"{_STATUS} is null on a Usage row that has a {_ID}",
        (_STATUS, _ID, "ChargeCategory"),
        lambda b: null(b, _STATUS) & ~null(b, _ID) & _category(b, "Usage"),
    ),
    Rule(
        "PricingQuantity-tax",
        "Pricing Quantity",
        "error",
        "PricingQuantity is set on a Tax row",
        ("PricingQuantity", "ChargeCategory"),
        _set_for_tax("PricingQuantity"),
    ),
    Rule(
        "SkuPriceId-tax",
        "SKU Price ID",
        "error",
        "SkuPriceId is set on a Tax row",
        ("SkuPriceId", "ChargeCategory"),
        _set_for_tax("SkuPriceId"),
    ),
    Rule(
        "PricingQuantity-null",
        "Pricing Quantity",
        "error",
        "PricingQuantity is null on a Usage or Purchase row that is no correction",
        ("PricingQuantity", *_PRICED),
        _null_where_priced("PricingQuantity"),
    ),
    _gap("SkuPriceId", "SKU Price ID"),
    _gap("SkuId", "SKU ID"),
    _gap("PricingUnit", "Pricing Unit"),
    _gap("ListUnitPrice", "List Unit Price"),
    _gap("ContractedUnitPrice", "Contracted Unit Price"),
    Rule(
        "ListCost-product",
        "List Cost",
        "error",
        "ListCost is not ListUnitPrice × PricingQuantity",
        ("ListCost", "ListUnitPrice", "PricingQuantity", "ChargeClass"),
        _price_times_quantity("ListUnitPrice", "ListCost"),
    ),
    Rule(
        "ContractedCost-product",
        "Contracted Cost",
        "error",
        "ContractedCost is not ContractedUnitPrice × PricingQuantity",
        ("ContractedCost", "ContractedUnitPrice", "PricingQuantity", "ChargeClass"),
        _price_times_quantity("ContractedUnitPrice", "ContractedCost"),
    ),
    Rule(
        "EffectiveCost-purchase",
        "Effective Cost",
        "error",
        "EffectiveCost is not 0 on the purchase of a commitment: the cost would count twice",
        ("EffectiveCost", "ChargeCategory", _ID),
        _effective_of_purchase,
    ),
    Rule(
        "EffectiveCost-credit",
        "Effective Cost",
        "error",
        "EffectiveCost differs from BilledCost on a Credit row",
        ("EffectiveCost", "BilledCost", "ChargeCategory"),
        _differs_on("EffectiveCost", "BilledCost", "Credit"),
    ),
)

# Held against the roll-up, because it takes more than one row to break it.
ONE_CATEGORY = Rule(
    "ServiceName-category",
    "Service Name",
    "error",
    "one ServiceName has more than one ServiceCategory",
    ("ServiceName", "ServiceCategory"),
    lambda _: np.zeros(0, dtype=np.bool_),
)
