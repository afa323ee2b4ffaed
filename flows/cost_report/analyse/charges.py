"""Kinds of charge, after FOCUS 1.2 ChargeCategory and ChargeClass.

FOCUS has no category for refunds: its definitions of Usage, Purchase and Tax say "including
refunds", so a refund is a negative charge. In a roll-up a refund of usage is netted with that day's
usage; what can be told apart, and is called Refund here, is a negative Purchase or a negative
Adjustment.
"""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from flows.cost_report.analyse.sums import ZERO, money_sums, text
from flows.cost_report.model import ChargeKind

REFUNDABLE = ("Purchase", "Adjustment")

KEYS = ["BillingCurrency", "ChargeCategory", "ChargeClass"]


def usage(table: pa.Table) -> pa.Table:
    """What was consumed: Usage that is no correction of an earlier month. The only charges with a
    daily rhythm.
    """
    return not_corrected(table.filter(pc.equal(table["ChargeCategory"], "Usage")))


def not_corrected(table: pa.Table) -> pa.Table:
    """Without corrections: they belong to a month that is already invoiced, whatever their date."""
    return table.filter(pc.invert(is_correction(table)))


def is_correction(table: pa.Table) -> pa.ChunkedArray:
    """A mask: ChargeClass is Correction."""
    return pc.fill_null(pc.equal(table["ChargeClass"], "Correction"), False)


def charge_kinds(daily: pa.Table, currency: str) -> list[ChargeKind]:
    """The bill by kind, dearest first; every row is in exactly one kind."""
    found: dict[str, list[Decimal | int]] = {}
    for kind, part in _by_kind(daily):
        if len(part) == 0:
            continue
        rows, billed, effective = found.get(kind, [0, ZERO, ZERO])
        sums = money_sums(part, ["BillingCurrency"], ["BilledCost", "EffectiveCost"]).to_pylist()[0]
        found[kind] = [
            rows + sums["RowCount"],
            billed + sums["BilledCost"],
            effective + sums["EffectiveCost"],
        ]
    kinds = [
        ChargeKind(currency, kind, int(rows), Decimal(billed), Decimal(effective))
        for kind, (rows, billed, effective) in found.items()
    ]
    return sorted(kinds, key=lambda kind: (-kind.billed_cost, kind.kind))


def _by_kind(daily: pa.Table) -> list[tuple[str, pa.Table]]:
    correction = is_correction(daily)
    others = daily.filter(pc.invert(correction))
    negative = pc.less(others["BilledCost"], 0)
    refundable = pc.is_in(others["ChargeCategory"], pa.array(REFUNDABLE))
    refund = pc.fill_null(pc.and_(negative, refundable), False)
    rest = others.filter(pc.invert(refund))
    parts = [("Correction", daily.filter(correction)), ("Refund", others.filter(refund))]
    for category in sorted(map(text, pc.unique(rest["ChargeCategory"]).to_pylist())):
        equal = pc.equal(pc.fill_null(rest["ChargeCategory"], ""), category)
        parts.append((category or "Unknown", rest.filter(equal)))
    return parts
