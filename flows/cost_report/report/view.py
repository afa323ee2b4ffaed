"""What the page shows: one `CurrencyView` per currency, because currencies never mix."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from flows.cost_report.model import (
    Anomaly,
    ChargeKind,
    CommitmentCoverage,
    CommitmentUse,
    Forecast,
    Invoice,
    Mover,
    Reason,
    Report,
    Savings,
    Share,
    TagCoverage,
    Total,
)
from flows.cost_report.report import fmt
from flows.cost_report.report.charts import CumulativeChart, DailyChart
from flows.cost_report.report.installations import InstallationView, installation_views
from flows.cost_report.report.series import cumulative_chart, daily_chart, series, undrawn

COMPARISONS = ("month over month", "day over day")


@dataclass(frozen=True)
class Figure:
    """One headline: a label, a value, and a line that says what it means."""

    label: str
    value: str
    note: str


@dataclass(frozen=True)
class MoverTable:
    """The movers of one comparison in one dimension; `most` is the longest bar."""

    comparison: str
    dimension: str
    movers: tuple[Mover, ...]
    most: float

    @property
    def spans(self) -> str:
        """'1–21 Nov 2026 against 1–21 Oct 2026'."""
        one = self.movers[0]
        return f"{fmt.span(*one.after_span)} against {fmt.span(*one.before_span)}"


@dataclass(frozen=True)
class ShareTable:
    """Where the money goes in one dimension."""

    dimension: str
    shares: tuple[Share, ...]


@dataclass(frozen=True)
class CurrencyView:
    """One currency's part of the page. `slug` is ours, so it can be an id; `code` is the bill's."""

    slug: str
    code: str
    money: fmt.Money
    total: Total
    figures: tuple[Figure, ...]
    lead: str
    daily: DailyChart | None
    cumulative: CumulativeChart | None
    undrawn: Decimal
    mover_tables: tuple[MoverTable, ...]
    anomalies: tuple[Anomaly, ...]
    forecasts: tuple[Forecast, ...]
    tags: tuple[TagCoverage, ...]
    commitments: tuple[CommitmentUse, ...]
    coverage: CommitmentCoverage | None
    savings: Savings | None
    kinds: tuple[ChargeKind, ...]
    invoices: tuple[Invoice, ...]
    share_tables: tuple[ShareTable, ...]
    installations: tuple[InstallationView, ...]

    @property
    def named(self) -> str:
        """The currency as headings name it."""
        return fmt.short(self.code, 12) or "no currency"

    @property
    def open_forecasts(self) -> tuple[Forecast, ...]:
        """Those that still say something: the month is not over, and there was enough history."""
        return tuple(
            f
            for f in self.forecasts
            if f.month_end is not None and f.days_observed < f.days_in_month
        )

    @property
    def wasted(self) -> Decimal:
        """What was paid for and not used, over all commitments."""
        return sum((c.unused for c in self.commitments), fmt.ZERO)


def main_reasons(reasons: tuple[Reason, ...]) -> list[Reason]:
    """The greatest reason of each dimension: a line to read, not a list to study."""
    greatest: dict[str, Reason] = {}
    for reason in reasons:
        best = greatest.get(reason.dimension)
        if best is None or abs(reason.change) > abs(best.change):
            greatest[reason.dimension] = reason
    return list(greatest.values())


def currency_views(report: Report) -> tuple[CurrencyView, ...]:
    """The report by currency, in the order of its totals."""
    return tuple(_view(report, total, f"c{n}") for n, total in enumerate(report.totals, 1))


def why_not(report: Report, *words: str) -> str:
    """Why an analysis is missing, as it said itself; the first word that names one decides."""
    for word in words:
        for missing in report.analysis.unavailable:
            if word in missing.analysis.lower():
                return fmt.sentence(missing.why)
    return ""


def _view(report: Report, total: Total, slug: str) -> CurrencyView:
    found, code = report.analysis, total.currency
    money = fmt.money_for(code, (total.billed_cost, total.effective_cost, total.list_cost))
    forecasts = tuple(f for f in found.forecasts if f.currency == code)
    forecast = next((f for f in forecasts if f.measure == "EffectiveCost"), None)
    savings = next((s for s in found.savings if s.currency == code), None)
    anomalies = tuple(a for a in found.anomalies if a.currency == code)
    drawn = series(report, code, money, forecast)
    return CurrencyView(
        slug=slug,
        code=code,
        money=money,
        total=total,
        figures=_figures(report, total, money, forecast, savings),
        lead=_lead(report, total, money, forecast),
        daily=daily_chart(drawn, anomalies),
        cumulative=cumulative_chart(drawn, total),
        undrawn=undrawn(total, drawn),
        mover_tables=_mover_tables(m for m in found.movers if m.currency == code),
        anomalies=anomalies,
        forecasts=forecasts,
        tags=tuple(t for t in found.tags if t.currency == code),
        commitments=tuple(c for c in found.commitments if c.currency == code),
        coverage=next((c for c in found.coverage if c.currency == code), None),
        savings=savings,
        kinds=tuple(k for k in found.charge_kinds if k.currency == code),
        invoices=tuple(i for i in found.invoices if i.currency == code),
        share_tables=_share_tables(s for s in found.shares if s.currency == code),
        installations=installation_views(report, code),
    )


def _figures(
    report: Report,
    total: Total,
    money: fmt.Money,
    forecast: Forecast | None,
    savings: Savings | None,
) -> tuple[Figure, ...]:
    figures = [
        Figure("Billed", money(total.billed_cost), "What the invoices add up to."),
        Figure(
            "Effective",
            money(total.effective_cost),
            "Prepaid commitments spread over the usage they cover.",
        ),
        _forecast_figure(report, money, forecast),
    ]
    if savings is None:
        why = why_not(report, "saving") or "The bill has no usage with a list price."
        figures.append(Figure("Saved against list", "—", why))
    else:
        saved = savings.list_cost - savings.effective_cost
        label = "Saved against list" if saved >= 0 else "Paid above list"
        figures.append(
            Figure(
                label,
                money(abs(saved)),
                f"{fmt.percent(abs(savings.saved) if savings.saved is not None else None)}"
                f" of the list price of usage, {money(savings.list_cost)}.",
            )
        )
    return tuple(figures)


def _forecast_figure(report: Report, money: fmt.Money, forecast: Forecast | None) -> Figure:
    label = "Forecast, month end"
    if forecast is None or forecast.month_end is None:
        why = fmt.sentence(forecast.why_none if forecast else "") or why_not(report, "forecast")
        return Figure(label, "—", why or "There is too little history.")
    if forecast.days_observed >= forecast.days_in_month:
        return Figure(label, money(forecast.month_end), "The month is complete: this is its end.")
    if forecast.low is None or forecast.high is None:
        return Figure(label, money(forecast.month_end), "Effective cost.")
    return Figure(
        label,
        money(forecast.month_end),
        f"80% interval {money(forecast.low)} to {money(forecast.high)}.",
    )


def _lead(report: Report, total: Total, money: fmt.Money, forecast: Forecast | None) -> str:
    month = fmt.month(report.billing_period)
    spent = money(total.effective_cost)
    if total.effective_cost < 0:
        return (
            f"{month} comes to {spent} in effective cost: credits and refunds outweigh the charges."
        )
    if forecast is None or forecast.month_end is None:
        return f"{month} has cost {spent} in effective cost."
    if forecast.days_observed >= forecast.days_in_month:
        return f"{month} cost {spent} in effective cost."
    left = forecast.days_in_month - forecast.days_observed
    return (
        f"{month} has cost {spent} so far, and will end near {money(forecast.month_end)}"
        f" with {fmt.count(left, 'day')} to go."
    )


def _mover_tables(movers: Iterable[Mover]) -> tuple[MoverTable, ...]:
    tables: dict[tuple[str, str], list[Mover]] = defaultdict(list)
    for mover in movers:
        tables[mover.comparison, mover.dimension].append(mover)
    order = sorted(tables, key=lambda k: COMPARISONS.index(k[0]) if k[0] in COMPARISONS else 9)
    return tuple(
        MoverTable(
            comparison,
            column,
            tuple(tables[comparison, column]),
            max(abs(float(m.change)) for m in tables[comparison, column]),
        )
        for comparison, column in order
    )


def _share_tables(shares: Iterable[Share]) -> tuple[ShareTable, ...]:
    tables: dict[str, list[Share]] = defaultdict(list)
    for share in shares:
        tables[share.dimension].append(share)
    return tuple(ShareTable(column, tuple(rows)) for column, rows in tables.items())
