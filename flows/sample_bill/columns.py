"""The columns of FOCUS 1.2 and 1.0 as AWS Data Exports delivers them.

Source: AWS Data Exports table dictionary, "FOCUS 1.2 with AWS columns" (60) and "FOCUS 1.0 with
AWS columns" (48): alphabetical, AWS's own x_ columns last.
"""

from __future__ import annotations

import pyarrow as pa

from flows.sample_bill.options import Focus

TEXTS = pa.map_(pa.string(), pa.string())
NUMBERS = pa.map_(pa.string(), pa.float64())
MILLISECONDS = pa.timestamp("ms")

FOCUS_1_0 = (
    "AvailabilityZone", "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency",
    "BillingPeriodEnd", "BillingPeriodStart", "ChargeCategory", "ChargeClass",
    "ChargeDescription", "ChargeFrequency", "ChargePeriodEnd", "ChargePeriodStart",
    "CommitmentDiscountCategory", "CommitmentDiscountId", "CommitmentDiscountName",
    "CommitmentDiscountStatus", "CommitmentDiscountType", "ConsumedQuantity", "ConsumedUnit",
    "ContractedCost", "ContractedUnitPrice", "EffectiveCost", "InvoiceIssuerName", "ListCost",
    "ListUnitPrice", "PricingCategory", "PricingQuantity", "PricingUnit", "ProviderName",
    "PublisherName", "RegionId", "RegionName", "ResourceId", "ResourceName", "ResourceType",
    "ServiceCategory", "ServiceName", "SkuId", "SkuPriceId", "SubAccountId", "SubAccountName",
    "Tags",
)  # fmt: skip
# New in 1.1 and 1.2.
SINCE_1_0 = (
    "BillingAccountType", "CapacityReservationId", "CapacityReservationStatus",
    "CommitmentDiscountQuantity", "CommitmentDiscountUnit", "InvoiceId", "PricingCurrency",
    "PricingCurrencyContractedUnitPrice", "PricingCurrencyEffectiveCost",
    "PricingCurrencyListUnitPrice", "ServiceSubcategory", "SkuMeter", "SkuPriceDetails",
    "SubAccountType",
)  # fmt: skip
AWS_1_0 = ("x_CostCategories", "x_Discounts", "x_Operation", "x_ServiceCode", "x_UsageType")
AWS_1_2 = ("x_Discounts", "x_Operation", "x_ServiceCode")

_TYPES: dict[str, pa.DataType] = {
    **dict.fromkeys(
        ("BillingPeriodEnd", "BillingPeriodStart", "ChargePeriodEnd", "ChargePeriodStart"),
        MILLISECONDS,
    ),
    **dict.fromkeys(
        (
            "BilledCost", "CommitmentDiscountQuantity", "ConsumedQuantity", "ContractedCost",
            "ContractedUnitPrice", "EffectiveCost", "ListCost", "ListUnitPrice",
            "PricingCurrencyContractedUnitPrice", "PricingCurrencyEffectiveCost",
            "PricingCurrencyListUnitPrice", "PricingQuantity",
        ),
        pa.float64(),
    ),
    "Tags": TEXTS,
    "SkuPriceDetails": TEXTS,
    "x_CostCategories": TEXTS,
    "x_Discounts": NUMBERS,
}  # fmt: skip


def names(focus: Focus) -> tuple[str, ...]:
    """Column names in delivery order."""
    if focus == "1.0":
        return FOCUS_1_0 + AWS_1_0
    return (*sorted(FOCUS_1_0 + SINCE_1_0), *AWS_1_2)


def schema(focus: Focus) -> pa.Schema:
    """What a reader of the Parquet files sees."""
    return pa.schema([(name, _TYPES.get(name, pa.string())) for name in names(focus)])


_DICTIONARY = pa.dictionary(pa.int32(), pa.string())
_IN_MEMORY = {
    pa.string(): _DICTIONARY,
    TEXTS: pa.map_(_DICTIONARY, _DICTIONARY),
    NUMBERS: pa.map_(_DICTIONARY, pa.float64()),
}


def in_memory(focus: Focus) -> pa.Schema:
    """The same columns while they are made: texts as dictionaries, but for the many ids."""
    return pa.schema(
        [
            (f.name, f.type if f.name == "ResourceId" else _IN_MEMORY.get(f.type, f.type))
            for f in schema(focus)
        ]
    )
