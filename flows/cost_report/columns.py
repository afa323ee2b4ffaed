"""The columns of a bill that the job looks at, by what kind of value they hold (FOCUS 1.2, section
3.1).

The four costs, the charge category, the currency and the four periods must be there: without one of
them no total can be trusted. Every other column may be missing; the analyses and rules that need it
are then named as unavailable.
"""

from __future__ import annotations

from flows.cost_report.tables import COMMITMENT_KEYS, COSTS, DAILY_KEYS

TIMES = ("BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd")
REQUIRED = (*COSTS, *TIMES, "BillingCurrency", "ChargeCategory")

TAGS = "Tags"
NUMBERS = ("PricingQuantity", "ListUnitPrice", "ContractedUnitPrice")
KEY_TEXTS = tuple(dict.fromkeys((*DAILY_KEYS, *COMMITMENT_KEYS)))
RULE_TEXTS = (
    "InvoiceIssuerName",
    "PublisherName",
    "PricingUnit",
    "SkuId",
    "SkuPriceId",
    "ChargeFrequency",
)

# FOCUS 1.2: columns that a bill always has. One that is absent, and not REQUIRED above, is an error
# that is listed.
MANDATORY = (
    *COSTS,
    *TIMES,
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "InvoiceIssuerName",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ServiceCategory",
    "ServiceName",
)

# Columns that tell which version of FOCUS a bill follows: the newest of them that it has.
INTRODUCED = (
    ("1.2", ("InvoiceId", "SkuMeter", "SkuPriceDetails", "BillingAccountType", "PricingCurrency")),
    ("1.1", ("ServiceSubcategory", "CommitmentDiscountQuantity", "CapacityReservationId")),
)


def version(names: set[str]) -> str:
    """The FOCUS version that a set of column names looks like."""
    return next((v for v, marks in INTRODUCED if names.intersection(marks)), "1.0")


ADDED_UP = frozenset({*COSTS, "BillingPeriodStart", "ChargePeriodStart", *KEY_TEXTS, TAGS})
WANTED = frozenset({*ADDED_UP, *TIMES, *RULE_TEXTS, *NUMBERS})
