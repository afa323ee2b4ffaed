"""What the page shows, worked out from the report: one `CurrencyView` per currency, because currencies never mix."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from flows.cost_report.model import (
    Anomaly,
    ChargeKind,
    CommitmentCoverage,
    CommitmentUse,
    DailyCost,
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
from flows.cost_report.report.charts import CumulativeChart, DailyChart, Mark, Outlook, Stack

STACKS = 8  # as many as there are colours that can be told apart
OTHER = "Other"
MARKS = 6  # anomalies drawn over the chart: as many as are shown unfolded
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

    @property
    def open_forecasts(self) -> tuple[Forecast, ...]:
        """Those that still say something: the month is not over, and there was enough history."""
        return tuple(
            f for f in self.forecasts if f.month_end is not None and f.days_observed < f.days_in_month
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
    """Why an analysis is missing, as the analysis itself said; the first word that names one decides."""
    for word in words:
        for missing in report.analysis.unavailable:
            if word in missing.analysis.lower():
                return fmt.sentence(missing.why)
    return ""


def _view(report: Report, total: Total, slug: str) -> CurrencyView:
    found, code = report.analysis, total.currency

    money = fmt.money_for(code, (total.billed_cost, total.effective_cost, total.list_cost))
    days = chart_days(report)
    forecasts = tuple(f for f in found.forecasts if f.currency == code)
    forecast = next((f for f in forecasts if f.measure == "EffectiveCost"), None)
    savings = next((s for s in found.savings if s.currency == code), None)
    anomalies = tuple(a for a in found.anomalies if a.currency == code)
    drawn = tuple(d for d in found.daily if d.currency == code and d.day in days)
    outlook = _outlook(forecast)
    return CurrencyView(
        slug=slug,
        code=code,
        money=money,
        total=total,
        figures=_figures(report, total, money, forecast, savings),
        lead=_lead(report, total, money, forecast),
        daily=_daily_chart(drawn, days, money, outlook, anomalies, report.billing_period),
        cumulative=_cumulative_chart(drawn, days, money, outlook, total, report.billing_period),
        undrawn=total.effective_cost - sum((d.effective_cost for d in drawn), fmt.ZERO),
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
    )


def chart_days(report: Report) -> tuple[date, ...]:
    """The days of the billing period; the days seen where the period is not a month."""
    days = fmt.month_days(report.billing_period)
    seen = {d.day for d in report.analysis.daily}
    if days or not seen:
        return days
    return tuple(max(seen) - timedelta(n) for n in reversed(range(min((max(seen) - min(seen)).days + 1, 31))))


def _figures(
    report: Report, total: Total, money: fmt.Money, forecast: Forecast | None, savings: Savings | None
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
        return f"{month} comes to {spent} in effective cost: credits and refunds outweigh the charges."
    if forecast is None or forecast.month_end is None:
        return f"{month} has cost {spent} in effective cost."
    if forecast.days_observed >= forecast.days_in_month:
        return f"{month} cost {spent} in effective cost."
    left = forecast.days_in_month - forecast.days_observed
    return (
        f"{month} has cost {spent} so far, and will end near {money(forecast.month_end)}"
        f" with {fmt.count(left, 'day')} to go."
    )


def _outlook(forecast: Forecast | None) -> Outlook | None:
    if forecast is None or not forecast.daily:
        return None
    if forecast.month_end is None or forecast.low is None or forecast.high is None:
        return None
    return Outlook(
        forecast.as_of,
        forecast.daily,
        forecast.observed,
        forecast.month_end,
        forecast.low,
        forecast.high,
    )


def _daily_chart(
    drawn: tuple[DailyCost, ...],
    days: tuple[date, ...],
    money: fmt.Money,
    outlook: Outlook | None,
    anomalies: tuple[Anomaly, ...],
    period: str,
) -> DailyChart | None:
    if not drawn:
        return None
    by_group: dict[str, dict[date, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for row in drawn:
        by_group[row.group][row.day] += row.effective_cost
    weight = {group: sum(map(abs, costs.values()), fmt.ZERO) for group, costs in by_group.items()}
    ranked = sorted((g for g in by_group if g != OTHER), key=lambda g: (-weight[g], g))
    kept = ranked[: STACKS - 1]
    rest = [*ranked[STACKS - 1 :], *([OTHER] if OTHER in by_group else [])]
    stacks = [
        Stack(g, tuple(by_group[g].get(d, fmt.ZERO) for d in days), tone) for tone, g in enumerate(kept, 1)
    ]
    if rest:
        left = tuple(sum((by_group[g].get(d, fmt.ZERO) for g in rest), fmt.ZERO) for d in days)
        stacks.append(Stack(OTHER, left, STACKS))
    marks = tuple(
        Mark(
            number,
            odd.first_day,
            odd.last_day,
            f"{fmt.short(fmt.clean(odd.name or odd.id), 60)}: {money(odd.excess, signed=True)}",
        )
        for number, odd in enumerate(anomalies[:MARKS], 1)
    )
    return DailyChart(
        days=days,
        stacks=tuple(stacks),
        money=money,
        title=f"Effective cost per day, {fmt.month(period)}",
        description=_describe(drawn, kept, money, outlook),
        outlook=outlook,
        marks=marks,
    )


def _describe(
    drawn: tuple[DailyCost, ...], groups: list[str], money: fmt.Money, outlook: Outlook | None
) -> str:
    per_day: dict[date, Decimal] = defaultdict(Decimal)
    for row in drawn:
        per_day[row.day] += row.effective_cost
    dearest = max(sorted(per_day), key=lambda d: per_day[d])
    text = (
        f"Bars stacked by service category, {fmt.count(len(per_day), 'day')}. The dearest day is"
        f" {fmt.day(dearest)} with {money(per_day[dearest])}. Largest: {fmt.short(', '.join(groups[:3]))}."
    )
    if outlook:
        text += f" The remaining days are forecast; the month ends near {money(outlook.month_end)}."
    return text


def _cumulative_chart(
    drawn: tuple[DailyCost, ...],
    days: tuple[date, ...],
    money: fmt.Money,
    outlook: Outlook | None,
    total: Total,
    period: str,
) -> CumulativeChart | None:
    per_day: dict[date, Decimal] = defaultdict(Decimal)
    for row in drawn:
        per_day[row.day] += row.effective_cost
    if len(per_day) < 2:
        return None  # a line needs two days
    last = outlook.as_of if outlook else max(per_day)
    line = tuple((d, per_day.get(d, fmt.ZERO)) for d in days if min(per_day) <= d <= last)
    dated = sum((amount for _, amount in line), fmt.ZERO)
    spent = outlook.observed if outlook else total.effective_cost
    text = f"The month adds up to {money(spent)} by {fmt.day(last)}."
    if outlook:
        text += (
            f" It is forecast to end at {money(outlook.month_end)},"
            f" between {money(outlook.low)} and {money(outlook.high)} in four of five cases."
        )
    return CumulativeChart(
        days=days,
        daily=line,
        money=money,
        title=f"Effective cost added up over {fmt.month(period)}",
        description=text,
        outlook=outlook,
        start=spent - dated,
    )


def _mover_tables(movers: Iterable[Mover]) -> tuple[MoverTable, ...]:
    tables: dict[tuple[str, str], list[Mover]] = defaultdict(list)
    for mover in movers:
        tables[mover.comparison, mover.dimension].append(mover)
    order = sorted(tables, key=lambda k: (COMPARISONS.index(k[0]) if k[0] in COMPARISONS else 9))
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
