"""The roll-ups: tables that every later step works on. Three are published as they are.

Columns carry FOCUS's own names (FOCUS 1.2, section 3.1); the few that FOCUS does not have
(`ChargeDate`, `RowCount`, `TagKey`, `TagValue`) follow its style. A column that the bill lacks is
all null. Money is `decimal128(38, 18)`: exact sums of what the bill says, in units of
`BillingCurrency`, which is part of every key because currencies are never added.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa

MONEY = pa.decimal128(38, 18)

COSTS = ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost")

DAILY_KEYS = (
    "BillingCurrency",
    "ProviderName",
    "BillingAccountId",
    "BillingAccountName",
    "SubAccountId",
    "SubAccountName",
    "ServiceCategory",
    "ServiceName",
    "RegionId",
    "ChargeCategory",
    "ChargeClass",
    "PricingCategory",
    "CommitmentDiscountStatus",
    "InvoiceId",
)

COMMITMENT_KEYS = (
    "BillingCurrency",
    "CommitmentDiscountId",
    "CommitmentDiscountName",
    "CommitmentDiscountType",
    "CommitmentDiscountCategory",
    "CommitmentDiscountStatus",
    "ChargeCategory",
)


def _schema(*keys: pa.Field) -> pa.Schema:
    return pa.schema(
        [*keys, pa.field("RowCount", pa.int64()), *(pa.field(cost, MONEY) for cost in COSTS)]
    )


def _text(*names: str) -> list[pa.Field]:
    return [pa.field(name, pa.string()) for name in names]


# One row per day and combination of DAILY_KEYS; the day is that of ChargePeriodStart, UTC.
DAILY = _schema(pa.field("ChargeDate", pa.date32()), *_text(*DAILY_KEYS))

# One row per tag key and value; TagValue null: the charges that do not carry the key.
TAGS = _schema(*_text("BillingCurrency", "ChargeCategory", "TagKey", "TagValue"))

# One row per commitment, status and category, of the rows that name a CommitmentDiscountId.
COMMITMENTS = _schema(*_text(*COMMITMENT_KEYS))

# One row per day, installation of Nightshift (the value of its tag) and service.
INSTALLATIONS = _schema(
    pa.field("ChargeDate", pa.date32()),
    *_text("BillingCurrency", "TagKey", "TagValue", "ServiceName"),
)


@dataclass(frozen=True)
class RollUp:
    """What one reading of a bill leaves: the roll-ups of its period and the days before it."""

    daily: pa.Table  # DAILY, the billing period's rows
    tags: pa.Table  # TAGS
    commitments: pa.Table  # COMMITMENTS
    history: pa.Table  # DAILY, of earlier billing periods; may be empty
    installations: pa.Table = field(default_factory=INSTALLATIONS.empty_table)
