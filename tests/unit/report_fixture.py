"""Reports of several shapes, made by hand: a good month, and what the page has to survive."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date
from decimal import Decimal

from flows.cost_report.model import (
    Analysis,
    Anomaly,
    ChargeKind,
    CommitmentCoverage,
    CommitmentUse,
    DailyCost,
    Forecast,
    Installation,
    InstallationService,
    Invoice,
    Mover,
    Reason,
    Report,
    Savings,
    Share,
    TagCoverage,
    Total,
    Unavailable,
    Violation,
)

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
FORMULA = '=HYPERLINK("http://example.invalid","x")'
GROUPS = {
    "Compute": 410,
    "Databases": 236,
    "Storage": 121,
    "Networking": 88,
    "AI and Machine Learning": 61,
    "Analytics": 44,
    "Other": 37,
}
SERVICES = {
    "Amazon Elastic Compute Cloud": 0.31,
    "Amazon Relational Database Service": 0.17,
    "Amazon Simple Storage Service": 0.11,
    "AWS Lambda": 0.08,
    "Amazon CloudFront": 0.065,
    "Amazon DynamoDB": 0.055,
    "Amazon Bedrock": 0.05,
    "AWS Data Transfer": 0.04,
    "Amazon Athena": 0.03,
    "AmazonCloudWatch": 0.025,
    "Elastic Load Balancing": 0.02,
    "AWS Key Management Service": 0.012,
    "Amazon Route 53": 0.008,
    "Amazon Simple Queue Service": 0.003,
    "AWS Secrets Manager": 0.0009,
    "Amazon Simple Notification Service": 0.00000004,
}
EMPTY = Analysis((), (), (), (), (), (), (), (), (), (), (), ())


def money(value: float, digits: int = 10) -> Decimal:
    """A cost as the bill has it: many decimals."""
    return Decimal(f"{value:.{digits}f}")


def typical(currency: str = "USD", scale: float = 1.0, last: int = 21, seed: int = 7) -> Report:
    """A good month of a mid-sized company: everything available, a few findings."""
    rng = random.Random(seed)
    days = [date(2026, 11, n) for n in range(1, last + 1)]
    daily = tuple(
        DailyCost(currency, on, group, cost, cost * Decimal("1.04"))
        for on in days
        for group, base in GROUPS.items()
        for cost in [
            money(
                base
                * scale
                * (0.72 if on.weekday() >= 5 else 1)
                * rng.uniform(0.94, 1.06)
                * (1.9 if group == "Compute" and on.day in (11, 12) else 1)
            )
        ]
    )
    effective = sum((d.effective_cost for d in daily), Decimal(0))
    billed = sum((d.billed_cost for d in daily), Decimal(0))
    return Report(
        billing_period="2026-11",
        execution_id="2f6c1b0e-8a54-4f0b-9d8e-3f1f7f0c5a10",
        source="s3://acme-billing/exports/focus/",
        focus_version="1.2",
        first_day=days[0],
        last_day=days[-1],
        rows=1_284_377,
        files=4,
        totals=(total(currency, effective, billed),),
        other_periods=(),
        history=(("2026-10", "9c1d"), ("2026-09", "77ab"), ("2026-08", "0b2c")),
        rules_checked=38,
        rules_skipped=("sku-meter-needs-sku", "capacity-reservation-status"),
        violations=VIOLATIONS,
        analysis=Analysis(
            charge_kinds=kinds(currency, effective, billed),
            invoices=(
                Invoice(currency, "1849937551", billed * Decimal("0.86")),
                Invoice(currency, "", billed * Decimal("0.14")),
            ),
            daily=daily,
            shares=shares(currency, effective, days, rng),
            movers=movers(currency, scale),
            anomalies=anomalies(currency, scale),
            forecasts=forecasts(currency, daily, days),
            tags=tags(currency, effective),
            commitments=commitments(currency, scale),
            coverage=(
                CommitmentCoverage(
                    currency,
                    money(5104.2 * scale),
                    money(2890.7 * scale),
                    money(611 * scale),
                    0.6384,
                ),
            ),
            savings=(
                Savings(
                    currency,
                    effective * Decimal("1.31"),
                    effective * Decimal("1.19"),
                    effective,
                    effective * Decimal("0.12"),
                    effective * Decimal("0.19"),
                    0.2366,
                ),
            ),
            unavailable=(),
            installations=installations(currency),
        ),
    )


def total(currency: str, effective: Decimal, billed: Decimal, rows: int = 1_284_377) -> Total:
    """The reconciled totals."""
    return Total(currency, rows, billed, effective, effective * 2, effective * Decimal("1.8"), {})


def kinds(currency: str, effective: Decimal, billed: Decimal) -> tuple[ChargeKind, ...]:
    """The bill by kind of charge."""
    parts = {
        "Usage": 0.93,
        "Purchase": 0.08,
        "Tax": 0.07,
        "Credit": -0.05,
        "Refund": -0.02,
        "Correction": -0.01,
    }
    return tuple(
        ChargeKind(
            currency, k, round(900_000 * abs(p)), billed * money(p, 3), effective * money(p, 3)
        )
        for k, p in parts.items()
    )


def shares(
    currency: str, effective: Decimal, days: list[date], rng: random.Random
) -> tuple[Share, ...]:
    """Services, accounts and regions."""

    def one(column: str, name: str, ident: str, part: float) -> Share:
        cost = effective * money(part, 12)
        each = float(cost) / max(len(days), 1)
        line = tuple(
            money(each * rng.uniform(0.8, 1.2) * (0.7 if d.weekday() >= 5 else 1)) for d in days
        )
        return Share(currency, column, name, ident, cost, cost * Decimal("1.04"), part, line)

    accounts = {
        "prod-eu": ("210987654321", 0.55),
        "data-platform": ("123456789012", 0.3),
        "dev": ("345678901234", 0.15),
    }
    regions = {"eu-central-1": 0.6, "us-east-1": 0.27, "eu-west-1": 0.1, "": 0.03}
    return (
        *(one("ServiceName", n, n, p) for n, p in SERVICES.items()),
        *(one("SubAccountId", n, i, p) for n, (i, p) in accounts.items()),
        *(one("RegionId", n, n, p) for n, p in regions.items()),
    )


def movers(currency: str, scale: float) -> tuple[Mover, ...]:
    """Both comparisons, both dimensions, new and gone among them."""
    month = ((date(2026, 10, 1), date(2026, 10, 21)), (date(2026, 11, 1), date(2026, 11, 21)))
    yesterday = ((date(2026, 11, 20),) * 2, (date(2026, 11, 21),) * 2)

    def one(how: str, column: str, name: str, before: float, after: float, *why: Reason) -> Mover:
        spans = month if how == "month over month" else yesterday
        kind = "new" if not before else "gone" if not after else "changed"
        return Mover(
            currency,
            how,
            column,
            name,
            "210987654321" if column == "SubAccountId" else name,
            money(before * scale),
            money(after * scale),
            money((after - before) * scale),
            (after - before) / before if before else None,
            spans[0],
            spans[1],
            why,
            kind,
        )

    def because(column: str, name: str, change: float) -> Reason:
        return Reason(column, name, money(change * scale))

    mom, dod = "month over month", "day over day"
    return (
        one(
            mom,
            "ServiceName",
            "Amazon Elastic Compute Cloud",
            6120.5,
            8240.75,
            because("SubAccountId", "prod-eu", 1904.1),
            because("RegionId", "eu-central-1", 212.9),
        ),
        one(
            mom,
            "ServiceName",
            "Amazon Bedrock",
            0,
            1210.4,
            because("SubAccountId", "data-platform", 1210.4),
        ),
        one(
            mom,
            "ServiceName",
            "Amazon Redshift",
            804.25,
            0,
            because("SubAccountId", "data-platform", -804.25),
        ),
        one(
            mom,
            "ServiceName",
            "Amazon Relational Database Service",
            4210.1,
            3980.6,
            because("RegionId", "us-east-1", -201.4),
        ),
        one(
            mom,
            "SubAccountId",
            "prod-eu",
            9804.2,
            11720.9,
            because("ServiceName", "Amazon Elastic Compute Cloud", 1904.1),
        ),
        one(
            mom, "SubAccountId", "dev", 2402.7, 2100.3, because("ServiceName", "AWS Lambda", -280.8)
        ),
        one(
            dod,
            "ServiceName",
            "Amazon CloudFront",
            51.2,
            96.75,
            because("RegionId", "us-east-1", 40.1),
        ),
        one(dod, "ServiceName", "AWS Lambda", 71.4, 48.6, because("SubAccountId", "dev", -22.8)),
    )


def anomalies(currency: str, scale: float) -> tuple[Anomaly, ...]:
    """Two odd stretches."""
    return (
        Anomaly(
            currency,
            "ServiceName",
            "Amazon Elastic Compute Cloud",
            "Amazon Elastic Compute Cloud",
            date(2026, 11, 11),
            date(2026, 11, 12),
            money(1558.2 * scale),
            money(820 * scale),
            money(738.2 * scale),
            0.9,
            14.2,
            (Reason("SubAccountId", "prod-eu", money(702.4 * scale)),),
            "Amazon Elastic Compute Cloud cost nearly twice what its Wednesdays usually do.",
        ),
        Anomaly(
            currency,
            "SubAccountId",
            "data-platform",
            "123456789012",
            date(2026, 11, 17),
            date(2026, 11, 17),
            money(310.9 * scale),
            money(201.3 * scale),
            money(109.6 * scale),
            0.544,
            6.1,
            (Reason("ServiceName", "Amazon Athena", money(98.1 * scale)),),
            "The account data-platform cost 54% more than its Tuesdays usually do.",
        ),
    )


def forecasts(
    currency: str, daily: tuple[DailyCost, ...], days: list[date]
) -> tuple[Forecast, ...]:
    """Effective and billed, with the rest of November."""

    def one(measure: str, spent: Decimal) -> Forecast:
        rest = [date(2026, 11, n) for n in range(days[-1].day + 1, 31)]
        each = spent / len(days)
        line = tuple(
            (d, (each * Decimal("0.78" if d.weekday() >= 5 else "1.09")).quantize(Decimal("0.01")))
            for d in rest
        )
        end = spent + sum((v for _, v in line), Decimal(0))
        return Forecast(
            currency,
            measure,
            days[-1],
            spent,
            end,
            end * Decimal("0.974"),
            end * Decimal("1.029"),
            len(days),
            30,
            "Each remaining day is expected to cost what its weekday cost in the last four weeks, "
            "scaled to the level of the last seven days.",
            54,
            0.021,
            0.796,
            line,
        )

    return (
        one("EffectiveCost", sum((d.effective_cost for d in daily), Decimal(0))),
        one("BilledCost", sum((d.billed_cost for d in daily), Decimal(0))),
    )


def tags(currency: str, effective: Decimal) -> tuple[TagCoverage, ...]:
    """Three keys, the last with more values than are kept."""

    def one(
        key: str, share: str, values: int, top: tuple[tuple[str, str], ...], more: bool = False
    ) -> TagCoverage:
        tagged = effective * Decimal(share)
        return TagCoverage(
            currency,
            key,
            tagged,
            effective - tagged,
            float(share),
            values,
            tuple((v, effective * Decimal(p)) for v, p in top),
            more,
        )

    return (
        one(
            "cost-center",
            "0.914",
            14,
            (("platform", "0.31"), ("payments", "0.22"), ("search", "0.13")),
        ),
        one("team", "0.762", 31, (("core-infra", "0.29"), ("växel ☎ support", "0.11"))),
        one("k8s-pod", "0.338", 4096, (("ingress-nginx-7d9c", "0.02"),), True),
    )


def installations(currency: str) -> tuple[Installation, ...]:
    """One that costs more than predicted, and in USD one that is predicted and not in the bill."""

    def service(name: str, cost: str, a_month: str, predicted: str | None) -> InstallationService:
        due = Decimal(predicted) if predicted and currency == "USD" else None
        less = None if due is None else Decimal(a_month) - due
        return InstallationService(name, Decimal(cost), Decimal(a_month), due, less)

    in_usd = currency == "USD"
    charged = Installation(
        currency=currency,
        name="nightshift-prod",
        tag_key="user:nightshift",
        effective_cost=Decimal("0.2920000001"),
        first_day=date(2026, 11, 1),
        days=20,
        a_month=Decimal("0.42"),
        predicted=Decimal("0.37") if in_usd else None,
        difference=Decimal("0.05") if in_usd else None,
        prices_as_of="2026-11-27" if in_usd else "",
        services=(
            service("Amazon Elastic Container Service", "0.1400000001", "0.20", "0.21"),
            service("Amazon EC2 Container Registry (ECR)", "0.0840", "0.12", "0.06"),
            service("Amazon Virtual Private Cloud", "0.0680", "0.10", None),
            service("AWS CodePipeline", "0", "0", "0.10"),
        ),
    )
    missing = replace(
        charged,
        name="nightshift-dev",
        tag_key="",
        effective_cost=Decimal(0),
        first_day=None,
        days=0,
        a_month=None,
        difference=None,
        services=(InstallationService("AWS Fargate", Decimal(0), None, Decimal("0.37"), None),),
    )
    return (charged, missing) if in_usd else (charged,)


def commitments(currency: str, scale: float) -> tuple[CommitmentUse, ...]:
    """A savings plan and a reservation, one half idle."""
    return (
        CommitmentUse(
            currency,
            "arn:aws:savingsplans::123456789012:savingsplan/3d1a5b9e-7a0c-4f54-9f0d-1c2b3a495867",
            "Compute Savings Plan",
            "Savings Plan",
            "Spend",
            money(4220.1 * scale),
            money(101.4 * scale),
            money(4321.5 * scale),
            0.9765,
        ),
        CommitmentUse(
            currency,
            "arn:aws:rds:eu-central-1:123456789012:ri:orders-db",
            "",
            "Reserved Instance",
            "Usage",
            money(884.1 * scale),
            money(421.3 * scale),
            money(0),
            0.6772,
        ),
    )


VIOLATIONS = (
    Violation(
        "commitment-status-needs-id",
        "3.1.12",
        "error",
        "CommitmentDiscountStatus is set although CommitmentDiscountId is null",
        14,
        "focus-00002.snappy.parquet",
        81_204,
        {"CommitmentDiscountId": "", "CommitmentDiscountStatus": "Used", "ChargeCategory": "Usage"},
    ),
    Violation(
        "sku-price-id-set",
        "3.1.44",
        "warning",
        "SkuPriceId is null although the charge is usage (a gap that AWS documents)",
        20_417,
        "focus-00001.snappy.parquet",
        12,
        {
            "SkuPriceId": "",
            "ChargeCategory": "Usage",
            "ServiceName": "Amazon Simple Storage Service",
        },
    ),
)


def merged(*reports: Report) -> Report:
    """One bill in several currencies."""
    first = reports[0]
    parts = [r.analysis for r in reports]
    names = Analysis.__dataclass_fields__
    return replace(
        first,
        totals=tuple(t for r in reports for t in r.totals),
        analysis=Analysis(**{n: tuple(x for a in parts for x in getattr(a, n)) for n in names}),
    )


def several_currencies() -> Report:
    """Dollars, yen (no minor unit) and a currency nobody knows."""
    return merged(typical(), typical("JPY", 150, seed=8), typical("XTS", 0.02, seed=9))


def zero_rows() -> Report:
    """A header and nothing else."""
    return replace(
        typical(),
        rows=0,
        files=1,
        first_day=None,
        last_day=None,
        totals=(),
        history=(),
        violations=(),
        analysis=EMPTY,
    )


def one_day() -> Report:
    """The first day of the first month: no history, forecast, movers, tags or commitments."""
    report = typical(last=1)
    return replace(
        report,
        history=(),
        analysis=replace(
            report.analysis,
            movers=(),
            anomalies=(),
            tags=(),
            commitments=(),
            coverage=(),
            savings=(),
            forecasts=tuple(
                replace(
                    f,
                    month_end=None,
                    low=None,
                    high=None,
                    daily=(),
                    back_test_mape=None,
                    back_test_coverage=None,
                    why_none="A forecast needs at least 14 days; this bill has 1.",
                )
                for f in report.analysis.forecasts
            ),
            unavailable=(
                Unavailable("movers", "There is no earlier day to compare with."),
                Unavailable(
                    "anomalies", "A baseline needs at least 28 days of history; there is 1 day."
                ),
                Unavailable("tags", "The bill has no Tags column."),
                Unavailable("commitments", "The bill has no CommitmentDiscountId column."),
                Unavailable("savings", "The bill has no ListCost column with values."),
            ),
        ),
    )


def negative() -> Report:
    """Credits outweigh everything: every total is below zero."""
    report = typical()
    found = report.analysis
    return replace(
        report,
        totals=(total("USD", Decimal("-1234567.8900001"), Decimal("-1234567.89")),),
        analysis=replace(
            found,
            daily=tuple(
                replace(
                    d,
                    effective_cost=-d.effective_cost if d.group != "Storage" else d.effective_cost,
                )
                for d in found.daily
            ),
            forecasts=(),
            savings=(
                replace(
                    found.savings[0], effective_cost=found.savings[0].list_cost * 2, saved=-1.0
                ),
            ),
        ),
    )


def tiny() -> Report:
    """A free-tier account."""
    report = typical(scale=0.0000000004)
    return replace(report, totals=(total("USD", Decimal("0.0000008"), Decimal("0.0000008"), 3),))


def crowded() -> Report:
    """300 services, hundreds of broken rules, many anomalies, long and foreign names."""
    report = typical()
    found = report.analysis
    services = tuple(
        replace(
            found.shares[n % 16],
            name=f"Service {n:03d} " + ("かんじ中文עברית " * (n % 9)),
            id=f"service-{n}" + "x" * (n % 80),
            share=0.2 / (n + 1),
        )
        for n in range(300)
    )
    return replace(
        report,
        rules_checked=300,
        violations=tuple(replace(VIOLATIONS[n % 2], rule=f"rule-{n}") for n in range(240)),
        other_periods=(total("USD", Decimal("12.5"), Decimal("13"), 44),),
        analysis=replace(
            found,
            shares=services + tuple(s for s in found.shares if s.dimension != "ServiceName"),
            anomalies=found.anomalies * 9,
            movers=tuple(replace(m, name=m.name + " " + "long name " * 12) for m in found.movers)
            * 5,
        ),
    )


def hostile() -> Report:
    """Markup, formulas and control characters wherever the bill's text goes."""
    report = several_currencies()
    found = report.analysis
    bad = HOSTILE
    reason = (Reason("ServiceName", bad, Decimal(1)), Reason(bad, FORMULA, Decimal(-1)))
    usd = found.shares[0]
    return replace(
        report,
        source=bad,
        execution_id=bad,
        focus_version=bad,
        rules_skipped=(bad,),
        history=((bad, bad),),
        totals=(*report.totals, replace(report.totals[0], currency=bad, null_costs={bad: 3})),
        other_periods=(replace(report.totals[0], currency=bad),),
        violations=tuple(
            replace(
                v,
                rule=bad,
                section=bad,
                severity=bad,
                summary=bad,
                sample_file=bad,
                sample={bad: bad},
            )
            for v in report.violations
        ),
        analysis=replace(
            found,
            charge_kinds=tuple(replace(k, kind=bad) for k in found.charge_kinds),
            invoices=tuple(replace(i, id=bad) for i in found.invoices),
            daily=(
                *(replace(d, group=bad if d.group == "Compute" else d.group) for d in found.daily),
                replace(found.daily[0], currency=bad, group=bad),
            ),
            shares=(
                replace(usd, name=bad, id=bad + "-id"),
                replace(usd, name=FORMULA, id="@SUM(A1)"),
                replace(usd, name="-2+3", id="+cmd|' /C calc'!A0"),
                replace(usd, name="\ud800nul\x00\u202eltr", id="\t=1"),
                *(replace(s, name=s.name + bad) for s in found.shares),
                replace(usd, dimension=bad),
            ),
            movers=tuple(
                replace(m, name=bad, id=bad + "-id", reasons=reason, kind="changed")
                for m in found.movers
            ),
            anomalies=tuple(
                replace(a, name=bad, id=FORMULA, sentence=bad, reasons=reason)
                for a in found.anomalies
            ),
            forecasts=tuple(replace(f, method=bad) for f in found.forecasts),
            tags=tuple(replace(t, key=bad, top=((bad, Decimal(1)),)) for t in found.tags),
            commitments=tuple(replace(c, name=bad, id=bad, type=bad) for c in found.commitments),
            unavailable=(Unavailable(bad, bad),),
            installations=tuple(
                replace(
                    i,
                    name=bad,
                    tag_key=i.tag_key and bad,
                    prices_as_of=bad,
                    services=tuple(replace(s, name=bad) for s in i.services),
                )
                for i in found.installations
            ),
        ),
    )


SHAPES = {
    "typical": typical,
    "several_currencies": several_currencies,
    "zero_rows": zero_rows,
    "one_day": one_day,
    "negative": negative,
    "tiny": tiny,
    "crowded": crowded,
    "hostile": hostile,
}
