"""What a bill's roll-ups say: shares, changes, oddities, the month's end, waste and savings.

`analyse` is a pure function: the same roll-ups give the same findings, whatever the order of their
rows.
"""

from __future__ import annotations

import pyarrow as pa

from flows.cost_report.analyse.anomalies import anomalies, not_judged
from flows.cost_report.analyse.charges import charge_kinds, usage
from flows.cost_report.analyse.commitments import commitment_coverage, commitment_use, savings
from flows.cost_report.analyse.days import Days, days_of, with_history
from flows.cost_report.analyse.forecast import forecasts
from flows.cost_report.analyse.installations import installations
from flows.cost_report.analyse.movers import comparisons, movers
from flows.cost_report.analyse.shares import currencies, daily_costs, invoices, shares
from flows.cost_report.analyse.sums import all_null, exactly, text, where
from flows.cost_report.analyse.tags import tag_coverage
from flows.cost_report.model import Analysis, Unavailable
from flows.cost_report.predicted import Prediction
from flows.cost_report.tables import RollUp

__all__ = ["analyse"]

# Columns that an analysis cannot do without: (analysis, column, what it takes).
NEEDS = (
    ("services", "ServiceName", "needs ServiceName"),
    ("accounts", "SubAccountId", "needs SubAccountId"),
    ("regions", "RegionId", "needs RegionId"),
    (
        "invoices",
        "InvoiceId",
        "needs InvoiceId, which comes with FOCUS 1.2 and once a month is invoiced",
    ),
    ("coverage", "PricingCategory", "needs PricingCategory"),
)


def analyse(
    rollup: RollUp, period: str, prediction: Prediction | Unavailable | None = None
) -> Analysis:
    """Everything that can be found in the roll-ups of one billing period ('2026-11').

    `prediction`: what an installation should cost, or why that is not known.
    """
    known = prediction if isinstance(prediction, Prediction) else None
    with exactly():
        days = days_of(rollup.daily, period)
        parts = [_of_currency(rollup, days, name, known) for name in currencies(rollup.daily)]
        missing = [*_missing(rollup), *(gap for part in parts for gap in part.unavailable)]
        if not parts:
            missing.append(Unavailable("forecast", "the bill has no rows"))
        if isinstance(prediction, Unavailable):
            missing.append(prediction)
    return Analysis(
        charge_kinds=tuple(found for part in parts for found in part.charge_kinds),
        invoices=tuple(found for part in parts for found in part.invoices),
        daily=tuple(found for part in parts for found in part.daily),
        shares=tuple(found for part in parts for found in part.shares),
        movers=tuple(found for part in parts for found in part.movers),
        anomalies=tuple(found for part in parts for found in part.anomalies),
        forecasts=tuple(found for part in parts for found in part.forecasts),
        tags=tuple(found for part in parts for found in part.tags),
        commitments=tuple(found for part in parts for found in part.commitments),
        coverage=tuple(found for part in parts for found in part.coverage),
        savings=tuple(found for part in parts for found in part.savings),
        unavailable=tuple(dict.fromkeys(missing)),
        installations=tuple(found for part in parts for found in part.installations),
    )


def _of_currency(
    rollup: RollUp, days: Days, name: str | None, prediction: Prediction | None
) -> Analysis:
    """The same, of one currency: currencies are never added."""
    currency = text(name)
    daily, history = (
        where(table, BillingCurrency=name) for table in (rollup.daily, rollup.history)
    )
    days = with_history(days, history)
    missing: list[Unavailable] = []
    compared, gaps = comparisons(daily, history, days)
    missing += gaps
    unjudged = not_judged(days)
    if unjudged:
        missing.append(unjudged)
    ends = forecasts(daily, history, days, currency)
    missing += [Unavailable("forecast", end.why_none) for end in ends if end.why_none]
    saved = savings(daily, currency)
    if saved is None:
        missing.append(Unavailable("savings", f"needs list costs of usage in {currency}"))
    covered = commitment_coverage(daily, currency)
    used = usage(pa.concat_tables([daily, history]))
    return Analysis(
        charge_kinds=tuple(charge_kinds(daily, currency)),
        invoices=tuple(invoices(daily, currency)),
        daily=tuple(daily_costs(daily, days, currency)),
        shares=tuple(shares(daily, days, currency)),
        movers=tuple(mover for spans in compared for mover in movers(spans, currency)),
        anomalies=tuple(anomalies(used, days, currency)),
        forecasts=tuple(ends),
        tags=tuple(tag_coverage(where(rollup.tags, BillingCurrency=name), daily, currency)),
        commitments=tuple(
            commitment_use(where(rollup.commitments, BillingCurrency=name), currency)
        ),
        coverage=(covered,) if covered else (),
        savings=(saved,) if saved else (),
        unavailable=tuple(missing),
        installations=tuple(
            installations(
                where(rollup.installations, BillingCurrency=name), days, currency, prediction
            )
        ),
    )


def _missing(rollup: RollUp) -> list[Unavailable]:
    """Analyses that the bill's columns do not allow, whatever the currency."""
    found = [
        Unavailable(analysis, why)
        for analysis, column, why in NEEDS
        if all_null(rollup.daily, column)
    ]
    if len(rollup.tags) == 0 or all_null(rollup.tags, "TagKey"):
        found.append(Unavailable("tags", "the bill has no tags: activate cost allocation tags"))
    if len(rollup.commitments) == 0:
        found.append(Unavailable("commitments", "no charge of the bill names a commitment"))
    return found
