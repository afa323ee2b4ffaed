"""Commitments: two Savings Plans (spend) and three kinds of Reserved Instances (usage).

Per commitment and day, EffectiveCost of what is used plus what goes unused equals the fee, so over
its term the sum equals what its purchases bill (FOCUS 1.2, EffectiveCost).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from flows.sample_bill import catalog
from flows.sample_bill.organisation import PAYER_ID

TERM_DAYS = 365


@dataclass(frozen=True)
class Commitment:
    """`hourly`: the fee in USD, amortised. `off`: percent below list that covered usage pays.

    `payment`: hourly fee billed daily (Savings Plans), monthly (No Upfront RIs) or once (All
    Upfront, bought on the bill's first day). `service`: where the fee and the unused part appear.
    """

    key: str
    id: str
    name: str
    type: Literal["Savings Plan", "Reserved Instance"]
    hourly: Decimal
    off: int
    payment: Literal["daily", "monthly", "upfront"]
    service: str
    code: str
    category: str
    subcategory: str
    region: int | None

    @property
    def daily(self) -> Decimal:
        return self.hourly * 24

    @property
    def measure(self) -> Literal["Spend", "Usage"]:
        return "Spend" if self.type == "Savings Plan" else "Usage"

    @property
    def unit(self) -> str:
        return "USD" if self.measure == "Spend" else "Hours"


def _reserved(
    key: str, kind: str, number: str, hourly: str, off: int, payment: Literal["monthly", "upfront"]
) -> Commitment:
    service = next(s for s in catalog.SERVICES if any(key in sku.plans for sku in s.skus))
    arn = f"arn:aws:{kind}:us-east-1:{PAYER_ID}:reserved-{number}"
    return Commitment(
        key, arn, f"{service.code} 1yr {payment}", "Reserved Instance", Decimal(hourly), off,
        payment, service.name, service.code, service.category, service.subcategory, 0,
    )  # fmt: skip


COMMITMENTS: tuple[Commitment, ...] = (
    Commitment(
        catalog.COMPUTE_SP,
        f"arn:aws:savingsplans::{PAYER_ID}:savingsplan/1f0c6a52-58b4-4a0e-9d3e-6b7f0c2d9a11",
        "Compute 1yr No Upfront", "Savings Plan", Decimal("10.5"), 27, "daily",
        "Savings Plans for AWS Compute usage", "ComputeSavingsPlans", "Compute",
        "Other (Compute)", None,
    ),
    Commitment(
        catalog.EC2_SP,
        f"arn:aws:savingsplans::{PAYER_ID}:savingsplan/7c2b94de-0f6a-4f6f-8a51-30b1d5e6f722",
        "EC2 Instance m5 1yr No Upfront", "Savings Plan", Decimal("4.25"), 34, "daily",
        "Savings Plans for AWS Compute usage", "ComputeSavingsPlans", "Compute",
        "Other (Compute)", None,
    ),
    _reserved(catalog.RDS_RI, "rds", "instance:ri-2026-01-07", "6.4", 33, "monthly"),
    _reserved(catalog.CACHE_RI, "elasticache", "instance:ri-2026-cache", "1.25", 36, "upfront"),
    _reserved(catalog.SEARCH_RI, "es", "instance:ri-2026-search", "0.9", 31, "monthly"),
)  # fmt: skip
