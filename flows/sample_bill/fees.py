"""The rows that are not metered usage: purchases, unused commitments, support, tax, credits,
refunds, corrections and the marketplace. A few hundred a month, so plain dictionaries will do.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from flows.sample_bill import organisation as org
from flows.sample_bill.catalog import BY_NAME, SERVICES, Service
from flows.sample_bill.commitments import COMMITMENTS, TERM_DAYS, Commitment
from flows.sample_bill.draw import code, rng
from flows.sample_bill.money import FIRST_PLAN, Money
from flows.sample_bill.options import Period

Value = str | float | datetime | dict[str, str] | dict[str, float] | None
Row = dict[str, Value]

AWS = "Amazon Web Services, Inc."
# US sales tax falls on some accounts (by their address) and on services without commitments here,
# so that tax on EffectiveCost and on BilledCost are the same.
TAX_RATE = 0.0825
TAXED_ACCOUNTS = (0, 1, 4, 8)
# Business Support: 10 % of the first 10,000 USD of a month's usage, 7 % up to 80,000, then 5 %.
SUPPORT_TIERS = ((10_000.0, 0.10), (80_000.0, 0.07), (250_000.0, 0.05))
CREDIT_A_DAY = 35.0
CORRECTED = ("Amazon Elastic Compute Cloud", "Amazon Simple Storage Service", "AmazonCloudWatch")


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day)  # noqa: DTZ001 - AWS's times are naive UTC


def invoice(period: Period, issuer: str) -> str | None:
    """AWS numbers an invoice when it closes the month: a month still running has none."""
    if period.partial:
        return None
    digits = int.from_bytes(code(f"{period.name}/{issuer}", 6).encode(), "big") % 10**9
    return f"2{digits:09d}"


def common(period: Period, issuer: str = "aws") -> Row:
    """What every row of a period has."""
    return {
        "BillingAccountId": org.PAYER_ID,
        "BillingAccountName": org.PAYER_NAME,
        "BillingAccountType": "Billing Account",
        "BillingCurrency": "USD",
        "BillingPeriodStart": midnight(period.first),
        "BillingPeriodEnd": midnight(period.end),
        "InvoiceId": invoice(period, issuer),
        "InvoiceIssuerName": AWS,
        "PricingCurrency": "USD",
        "ProviderName": "AWS",
        "PublisherName": AWS,
        "SubAccountType": "Sub Account",
    }


def _account(index: int) -> Row:
    account = org.ACCOUNTS[index]
    return {"SubAccountId": account.id, "SubAccountName": account.name}


def _service(service: Service) -> Row:
    return {
        "ServiceName": service.name,
        "ServiceCategory": service.category,
        "ServiceSubcategory": service.subcategory,
        "x_ServiceCode": service.code,
        "PublisherName": service.publisher,
    }


def _during(first: date, end: date) -> Row:
    return {"ChargePeriodStart": midnight(first), "ChargePeriodEnd": midnight(end)}


def _costs(billed: float, effective: float | None = None, listed: float | None = None) -> Row:
    effective = billed if effective is None else effective
    listed = billed if listed is None else listed
    return {
        "BilledCost": billed,
        "EffectiveCost": effective,
        "ListCost": listed,
        "ContractedCost": billed if billed else listed,
        "PricingCurrencyEffectiveCost": effective,
    }


def _priced(price: float, quantity: float, unit: str, sku: str, text: str) -> Row:
    return {
        "ListUnitPrice": price,
        "ContractedUnitPrice": price,
        "PricingCurrencyListUnitPrice": price,
        "PricingCurrencyContractedUnitPrice": price,
        "PricingQuantity": quantity,
        "PricingUnit": unit,
        "PricingCategory": "Standard",
        "SkuId": code(sku, 16),
        "SkuPriceId": f"{code(sku, 16)}.{code(sku + '/term', 10)}.{code(sku + '/rate', 10)}",
        "SkuMeter": sku,
        "x_UsageType": sku,
        "ChargeDescription": text,
    }


def _commitment(plan: Commitment, quantity: float) -> Row:
    region = org.REGIONS[org.GLOBAL if plan.region is None else plan.region]
    return {
        **_account(len(org.ACCOUNTS) - 1),
        "ServiceName": plan.service,
        "ServiceCategory": plan.category,
        "ServiceSubcategory": plan.subcategory,
        "x_ServiceCode": plan.code,
        "CommitmentDiscountId": plan.id,
        "CommitmentDiscountName": plan.name,
        "CommitmentDiscountType": plan.type,
        "CommitmentDiscountCategory": plan.measure,
        "CommitmentDiscountQuantity": quantity,
        "CommitmentDiscountUnit": plan.unit,
        "ResourceId": plan.id,
        "RegionId": region.id,
        "RegionName": region.name,
    }


def _purchase(plan: Commitment, first: date, days: int, frequency: str) -> Row:
    """A purchase covers later charges, so its EffectiveCost is 0 (FOCUS 1.2, EffectiveCost)."""
    hours = 24 * days
    billed = float(plan.hourly * hours)
    return {
        **_commitment(plan, billed if plan.measure == "Spend" else float(hours)),
        **_during(first, first + timedelta(days=days)),
        **_costs(billed, effective=0.0),
        **_priced(
            float(plan.hourly), float(hours), "Hours", f"{plan.key}-fee",
            f"{plan.name}: ${plan.hourly} per hour for {hours} hours",
        ),
        "ChargeCategory": "Purchase",
        "ChargeFrequency": frequency,
        "x_Operation": "Purchase",
    }  # fmt: skip


def _purchases(plan: Commitment, period: Period) -> list[Row]:
    if plan.payment == "daily":
        days = [period.first + timedelta(days=n) for n in range(period.visible)]
        return [_purchase(plan, day, 1, "Recurring") for day in days]
    if plan.payment == "monthly":
        return [_purchase(plan, period.first, period.days, "Recurring")]
    if period.first_index == 0:
        return [_purchase(plan, period.first, TERM_DAYS, "One-Time")]
    return []


def _unused(plan: Commitment, index: int, money: Money, period: Period) -> list[Row]:
    rows: list[Row] = []
    for day in range(period.visible):
        hours = round(money.unused[index, period.first_index + day] / float(plan.hourly), 7)
        cost = float(plan.hourly * Decimal(str(hours)))
        first = period.first + timedelta(days=day)
        rows.append(
            {
                **_commitment(plan, round(cost, 10) if plan.measure == "Spend" else hours),
                **_during(first, first + timedelta(days=1)),
                **_costs(0.0, effective=cost, listed=cost),
                **_priced(
                    float(plan.hourly), hours, "Hours", f"{plan.key}-fee",
                    f"{plan.name}: unused part of the commitment",
                ),
                "PricingCategory": "Committed",
                "CommitmentDiscountStatus": "Unused",
                "ChargeCategory": "Usage",
                "ChargeFrequency": "Usage-Based",
                "x_Operation": "Unused",
            }
        )  # fmt: skip
    return rows


def billed_usage(money: Money, period: Period) -> NDArray[np.float64]:
    """BilledCost of metered usage, USD, shape (services, accounts): what commitments do not pay."""
    days = slice(period.first_index, period.first_index + period.visible)
    billed = np.zeros((len(SERVICES), len(org.ACCOUNTS)))
    for stream, effective in zip(money.streams, money.effective, strict=True):
        if stream.pay < FIRST_PLAN:
            billed[stream.service, stream.account] += effective[days].sum()
    return billed


def support_fee(spend: float) -> float:
    fee, below = 0.0, 0.0
    for upto, rate in SUPPORT_TIERS:
        fee += rate * max(0.0, min(spend, upto) - below)
        below = upto
    return fee


def _support(billed: NDArray[np.float64], period: Period) -> list[Row]:
    """One fee a month on day 1, allocated to the accounts as AWS allocates it: by their usage."""
    by_account = billed.sum(axis=0)
    total = support_fee(float(by_account.sum()))
    rows: list[Row] = []
    for index in np.flatnonzero(by_account):
        cost = round(total * float(by_account[index] / by_account.sum()), 2)
        rows.append(
            {
                **_account(int(index)),
                **_during(period.first, period.end),
                **_costs(cost),
                **_priced(cost, 1.0, "Months", "support-business", "AWS Support (Business)"),
                "ServiceName": "AWS Support (Business)",
                "ServiceCategory": "Management and Governance",
                "ServiceSubcategory": "Support",
                "x_ServiceCode": "AWSSupportBusiness",
                "ChargeCategory": "Purchase",
                "ChargeFrequency": "Recurring",
            }
        )
    return rows


def _taxes(billed: NDArray[np.float64], period: Period) -> list[Row]:
    """Per account and service, for the month; a running month has tax on its charges so far."""
    rows: list[Row] = []
    for index, service in enumerate(SERVICES):
        if any(sku.plans for sku in service.skus):
            continue
        for account in TAXED_ACCOUNTS:
            tax = round(TAX_RATE * float(billed[index, account]), 2)
            if tax < 0.01:
                continue
            rows.append(
                {
                    **_account(account),
                    **_service(service),
                    **_during(period.first, period.end),
                    **_costs(tax, listed=round(tax * 100 / (100 - service.discount), 10)),
                    "ChargeCategory": "Tax",
                    "ChargeFrequency": "Recurring",
                    "ChargeDescription": "Tax for product code " + service.code,
                    # AWS leaves the issuer of some charges empty (documented conformance gap).
                    "InvoiceIssuerName": None if service.code == "AWSConfig" else AWS,
                }
            )
    return rows


def _credits(period: Period) -> list[Row]:
    ec2 = SERVICES[BY_NAME["Amazon Elastic Compute Cloud"]]
    return [
        {
            **_account(4),
            **_service(ec2),
            **_during(first, first + timedelta(days=1)),
            **_costs(-CREDIT_A_DAY),
            "ChargeCategory": "Credit",
            "ChargeFrequency": "One-Time",
            "ChargeDescription": "AWS Activate research credit",
        }
        for first in (period.first + timedelta(days=day) for day in range(period.visible))
    ]


def _refund(period: Period, random: np.random.Generator) -> list[Row]:
    """Goodwill after an incident."""
    day = int(random.integers(4, 24))
    amount = -round(float(random.uniform(60, 240)), 2)
    if day >= period.visible:
        return []
    first = period.first + timedelta(days=day)
    return [
        {
            **_account(1),
            **_service(SERVICES[BY_NAME["Amazon CloudFront"]]),
            **_during(first, first + timedelta(days=1)),
            **_costs(amount),
            "ChargeCategory": "Adjustment",
            "ChargeFrequency": "One-Time",
            "ChargeDescription": "Refund: service level credit for the incident of the 2nd",
        }
    ]


def _corrections(period: Period, random: np.random.Generator) -> list[Row]:
    """Charges of the month before, corrected in this one: the charge period lies outside."""
    rows: list[Row] = []
    for name in CORRECTED:
        first = period.first - timedelta(days=int(random.integers(2, 12)))
        amount = round(float(random.uniform(-45, 12)), 2)
        rows.append(
            {
                **_account(int(random.integers(0, 4))),
                **_service(SERVICES[BY_NAME[name]]),
                **_during(first, first + timedelta(days=1)),
                **_costs(amount),
                "ChargeCategory": "Usage",
                "ChargeClass": "Correction",
                "ChargeFrequency": "Usage-Based",
                "ChargeDescription": "Correction of metered usage",
                "RegionId": org.REGIONS[0].id,
                "RegionName": org.REGIONS[0].name,
            }
        )
    return rows


def _other(period: Period) -> list[Row]:
    """A marketplace contract on day 3 and a domain on day 9."""
    rows: list[Row] = []
    vendor = SERVICES[BY_NAME["Lanternfish Observability"]]
    third, ninth = period.first + timedelta(days=2), period.first + timedelta(days=8)
    if period.visible >= 3:
        rows.append(
            {
                **common(period, "marketplace"),
                **_account(7),
                **_service(vendor),
                **_during(third, period.end),
                **_costs(1450.0),
                **_priced(
                    1450.0, 1.0, "Months", "MP:LNTRN-contract",
                    "AWS Marketplace contract: Lanternfish Observability, 50 hosts",
                ),
                "ChargeCategory": "Purchase",
                "ChargeFrequency": "Recurring",
            }
        )  # fmt: skip
    if period.visible >= 9:
        rows.append(
            {
                **_account(1),
                **_during(ninth, ninth + timedelta(days=1)),
                **_costs(14.0),
                **_priced(14.0, 1.0, "Domains", "DomainRenewal-com", "Renewal of a .com domain"),
                "ServiceName": "Amazon Registrar",
                "ServiceCategory": "Networking",
                "ServiceSubcategory": "Network Routing",
                "x_ServiceCode": "AmazonRegistrar",
                "ChargeCategory": "Purchase",
                "ChargeFrequency": "One-Time",
                "x_Operation": "RenewDomain",
            }
        )
    return rows


def of_period(seed: int, money: Money, period: Period) -> list[Row]:
    """All of them for one period; keys that a row lacks are null."""
    random = rng(seed, "fees", period.first.toordinal())
    billed = billed_usage(money, period)
    rows: list[Row] = []
    for index, plan in enumerate(COMMITMENTS):
        rows += _purchases(plan, period) + _unused(plan, index, money, period)
    rows += _support(billed, period) + _taxes(billed, period) + _credits(period)
    rows += _refund(period, random) + _other(period)
    if period.first_index:
        rows += _corrections(period, random)
    return [{**common(period), **row} for row in rows]
