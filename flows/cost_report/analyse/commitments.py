"""Commitments used, wasted and bought; how much usage they covered; what all discounts saved."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal

import pyarrow as pa

from flows.cost_report.analyse.charges import usage
from flows.cost_report.analyse.sums import ZERO, money_sums, sums_of, text, total
from flows.cost_report.model import CommitmentCoverage, CommitmentUse, Savings

KINDS = ("CommitmentDiscountName", "CommitmentDiscountType", "CommitmentDiscountCategory")


def commitment_use(commitments: pa.Table, currency: str) -> list[CommitmentUse]:
    """Each commitment, the greatest waste first.

    FOCUS 1.2: the effective cost of a commitment's Usage rows, Used and Unused, amortises its
    purchases.
    """
    keys = ["CommitmentDiscountId", *KINDS, "CommitmentDiscountStatus", "ChargeCategory"]
    sums: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    kinds: dict[str, dict[str, str]] = defaultdict(dict)
    for row in money_sums(commitments, keys, ["EffectiveCost", "BilledCost"]).to_pylist():
        commitment = text(row["CommitmentDiscountId"])
        for kind in KINDS:  # usage may name what a purchase leaves out
            kinds[commitment][kind] = max(kinds[commitment].get(kind, ""), text(row[kind]))
        if row["ChargeCategory"] == "Usage":
            sums[commitment][text(row["CommitmentDiscountStatus"])] += row["EffectiveCost"]
        elif row["ChargeCategory"] == "Purchase":
            sums[commitment]["Purchase"] += row["BilledCost"]
    found = [_use(currency, name, sums[name], kinds[name]) for name in sorted(kinds)]
    return sorted(found, key=lambda use: (-use.unused, -use.used, use.id))


def _use(
    currency: str, commitment: str, sums: dict[str, Decimal], kinds: dict[str, str]
) -> CommitmentUse:
    used, unused = sums["Used"], sums["Unused"]
    name, type_, category = (kinds[kind] for kind in KINDS)
    return CommitmentUse(
        currency=currency,
        id=commitment,
        name=name or commitment,
        type=type_,
        category=category,
        used=used,
        unused=unused,
        purchased=sums["Purchase"],
        utilisation=float(used / (used + unused)) if used + unused > 0 else None,
    )


def commitment_coverage(daily: pa.Table, currency: str) -> CommitmentCoverage | None:
    """Which part of the usage ran on commitments; None where the bill says no price category."""
    keys = ["PricingCategory", "CommitmentDiscountStatus"]
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for (category, status), cost in sums_of(usage(daily), keys, "EffectiveCost").items():
        if category is not None and status != "Unused":  # waste covers nothing
            sums[text(category)] += cost
    if not sums:
        return None
    committed, standard = sums["Committed"], sums["Standard"]
    coverable = committed + standard
    return CommitmentCoverage(
        currency=currency,
        committed=committed,
        standard=standard,
        dynamic=sums["Dynamic"],
        coverage=float(committed / coverable) if coverable > 0 else None,
    )


def savings(daily: pa.Table, currency: str) -> Savings | None:
    """From list price to effective cost, over Usage rows; None where the bill has no list prices.

    Corrections are left out: FOCUS lets their list cost be anything. Unused commitments have an
    effective cost and no list cost, so waste lowers the savings, as it should.
    """
    used = usage(daily)
    listed, contracted = total(used, "ListCost"), total(used, "ContractedCost")
    effective = total(used, "EffectiveCost")
    if listed == ZERO:
        return None
    return Savings(
        currency=currency,
        list_cost=listed,
        contracted_cost=contracted,
        effective_cost=effective,
        negotiated=listed - contracted,
        committed=contracted - effective,
        saved=float((listed - effective) / listed) if listed > 0 else None,
    )
