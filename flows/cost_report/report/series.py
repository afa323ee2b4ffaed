"""From the report's daily costs to what the charts draw."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal, localcontext

from flows.cost_report.model import Anomaly, DailyCost, Forecast, Report, Total
from flows.cost_report.report import fmt
from flows.cost_report.report.charts import CumulativeChart, DailyChart, Mark, Outlook, Stack

STACKS = 8  # as many as there are colours that can be told apart
OTHER = "Other"
MARKS = 6  # anomalies drawn over the chart: as many as are shown unfolded


@dataclass(frozen=True)
class Series:
    """One currency's days: the costs that fall into the month, and the forecast of the rest."""

    month: str
    days: tuple[date, ...]
    costs: tuple[DailyCost, ...]
    money: fmt.Money
    outlook: Outlook | None

    @property
    def per_day(self) -> dict[date, Decimal]:
        """Every day that has a cost, in order."""
        sums: dict[date, Decimal] = defaultdict(Decimal)
        for cost in self.costs:
            sums[cost.day] += cost.effective_cost
        return dict(sorted(sums.items()))


def series(report: Report, currency: str, money: fmt.Money, forecast: Forecast | None) -> Series:
    """What the charts of one currency are drawn from."""
    days = chart_days(report)
    within = frozenset(days)
    costs = (d for d in report.analysis.daily if d.currency == currency and d.day in within)
    return Series(fmt.month(report.billing_period), days, tuple(costs), money, _outlook(forecast))


def chart_days(report: Report) -> tuple[date, ...]:
    """The days of the billing period; the days seen where the period is not a month."""
    days = fmt.month_days(report.billing_period)
    seen = {d.day for d in report.analysis.daily}
    if days or not seen:
        return days
    length = min((max(seen) - min(seen)).days + 1, 31)
    return tuple(max(seen) - timedelta(n) for n in reversed(range(length)))


def undrawn(total: Total, drawn: Series) -> Decimal:
    """What the bill charges on days outside the month; exact, so that nothing appears as dust."""
    with localcontext(prec=60):
        return total.effective_cost - sum((d.effective_cost for d in drawn.costs), fmt.ZERO)


def daily_chart(drawn: Series, anomalies: tuple[Anomaly, ...]) -> DailyChart | None:
    """Cost per day by group; None without any."""
    if not drawn.costs:
        return None
    stacks = _stacks(drawn)
    return DailyChart(
        days=drawn.days,
        stacks=stacks,
        money=drawn.money,
        title=f"Effective cost per day, {drawn.month}",
        description=_describe(drawn, stacks),
        outlook=drawn.outlook,
        marks=tuple(
            Mark(number, a.first_day, a.last_day, _odd(a, drawn.money))
            for number, a in enumerate(anomalies[:MARKS], 1)
        ),
    )


def cumulative_chart(drawn: Series, total: Total) -> CumulativeChart | None:
    """The month added up; None with less than two days, which make no line."""
    per_day, outlook = drawn.per_day, drawn.outlook
    if len(per_day) < 2:
        return None
    first, last = min(per_day), outlook.as_of if outlook else max(per_day)
    line = tuple((d, per_day.get(d, fmt.ZERO)) for d in drawn.days if first <= d <= last)
    spent = outlook.observed if outlook else total.effective_cost
    text = f"The month adds up to {drawn.money(spent)} by {fmt.day(last)}."
    if outlook:
        text += (
            f" It is forecast to end at {drawn.money(outlook.month_end)}, in four of five cases"
            f" between {drawn.money(outlook.low)} and {drawn.money(outlook.high)}."
        )
    return CumulativeChart(
        days=drawn.days,
        daily=line,
        money=drawn.money,
        title=f"Effective cost added up over {drawn.month}",
        description=text,
        outlook=outlook,
        start=spent - sum((amount for _, amount in line), fmt.ZERO),
    )


def _outlook(forecast: Forecast | None) -> Outlook | None:
    if forecast is None or not forecast.daily:
        return None
    if forecast.month_end is None or forecast.low is None or forecast.high is None:
        return None
    return Outlook(
        as_of=forecast.as_of,
        daily=forecast.daily,
        observed=forecast.observed,
        month_end=forecast.month_end,
        low=forecast.low,
        high=forecast.high,
    )


def _stacks(drawn: Series) -> tuple[Stack, ...]:
    """The dearest groups, each with a colour of its own, and the rest as one."""
    groups: dict[str, dict[date, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for cost in drawn.costs:
        groups[cost.group][cost.day] += cost.effective_cost
    weight = {name: sum(map(abs, days.values()), fmt.ZERO) for name, days in groups.items()}
    ranked = sorted((name for name in groups if name != OTHER), key=lambda n: (-weight[n], n))
    own, rest = ranked[: STACKS - 1], ranked[STACKS - 1 :] + [n for n in groups if n == OTHER]

    def values(*names: str) -> tuple[Decimal, ...]:
        return tuple(
            sum((groups[name].get(day, fmt.ZERO) for name in names), fmt.ZERO) for day in drawn.days
        )

    stacks = [Stack(name, values(name), tone) for tone, name in enumerate(own, 1)]
    return (*stacks, Stack(OTHER, values(*rest), STACKS)) if rest else tuple(stacks)


def _describe(drawn: Series, stacks: tuple[Stack, ...]) -> str:
    """The chart in words, for those who do not see it."""
    per_day = drawn.per_day
    dearest = max(per_day, key=lambda day: per_day[day])
    largest = fmt.short(", ".join(stack.name for stack in stacks[:3]))
    text = (
        f"Bars stacked by service category, {fmt.count(len(per_day), 'day')}. The dearest day is"
        f" {fmt.day(dearest)} with {drawn.money(per_day[dearest])}. Largest: {largest}."
    )
    if drawn.outlook:
        end = drawn.money(drawn.outlook.month_end)
        text += f" The remaining days are forecast; the month ends near {end}."
    return text


def _odd(anomaly: Anomaly, money: fmt.Money) -> str:
    name = fmt.short(fmt.clean(anomaly.name or anomaly.id), 60)
    return f"{name}: {money(anomaly.excess, signed=True)}"
