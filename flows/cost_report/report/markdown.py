"""The report in a few lines, for Prefect's artifacts: spent, forecast, moved, odd.

Prefect's pages render these as Markdown, the cells of table artifacts included, and the names in
them are the bill's. So every character of theirs that Markdown or HTML would read as markup is
written as text.
"""

from __future__ import annotations

import re

from flows.cost_report.model import Anomaly, Installation, Mover, Report
from flows.cost_report.report import fmt
from flows.cost_report.report.installations import called, money_of

LISTED = 5
LONGEST = 80

# Inline markup and HTML, what bare links are made of (`://`, `www.`, `@`), what starts a block.
_MARKUP = re.compile(
    r"[\\`*_{}\[\]<>&#~|!@:]|(?<=www)\.|^[-+=]|(?<=^\d)[.)]|(?<=^\d\d)[.)]", re.IGNORECASE
)
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def markdown_summary(report: Report) -> str:
    """What was spent, the forecast, the top movers and the anomalies, per currency."""
    lines = [f"## {_text(fmt.month(report.billing_period))}", ""]
    if not report.totals:
        lines += ["This bill has no rows.", ""]
    for total in report.totals:
        money = _money(report, total.currency)
        if len(report.totals) > 1:
            lines += [f"### {_text(total.currency) or 'No currency'}", ""]
        lines += [
            "| | |",
            "|---|---:|",
            f"| Billed | {_amount(money(total.billed_cost))} |",
            f"| Effective | {_amount(money(total.effective_cost))} |",
            f"| Forecast, month end | {_forecast(report, total.currency, money)} |",
            "",
        ]
        lines += _movers([m for m in report.analysis.movers if m.currency == total.currency], money)
        lines += _anomalies(
            [a for a in report.analysis.anomalies if a.currency == total.currency], money
        )
        lines += _installations(
            [i for i in report.analysis.installations if i.currency == total.currency]
        )
    lines += [_checked(report), ""]
    return "\n".join(lines)


def top_services(report: Report, many: int = 10) -> list[dict[str, str]]:
    """The dearest services of every currency, as rows of a table artifact."""
    rows: list[dict[str, str]] = []
    for total in report.totals:
        money = _money(report, total.currency)
        services = [
            s
            for s in report.analysis.shares
            if s.currency == total.currency and s.dimension == "ServiceName"
        ]
        rows += [
            {
                "Service": _text(share.name or share.id) or "(none)",
                "Effective": _amount(money(share.effective_cost)),
                "Share": fmt.percent(share.share),
                "Billed": _amount(money(share.billed_cost)),
            }
            for share in services[:many]
        ]
    return rows


def _forecast(report: Report, currency: str, money: fmt.Money) -> str:
    for forecast in report.analysis.forecasts:
        if forecast.currency != currency or forecast.measure != "EffectiveCost":
            continue
        if forecast.month_end is None:
            return _text(fmt.sentence(forecast.why_none or "too little history"))
        interval = (
            f" (80% interval {_amount(money(forecast.low))} to {_amount(money(forecast.high))})"
            if forecast.low is not None
            and forecast.high is not None
            and forecast.low != forecast.high
            else ""
        )
        return _amount(money(forecast.month_end)) + interval
    return "—"


def _movers(movers: list[Mover], money: fmt.Money) -> list[str]:
    """Of the longer comparison there is, the services that moved most."""
    for comparison in ("month over month", "day over day"):
        listed = [m for m in movers if m.comparison == comparison and m.dimension == "ServiceName"]
        if listed:
            lines = [
                f"- {_text(m.name or m.id)}: {_amount(money(m.change, signed=True))}"
                f"{_how_much(m)}{_because(m, money)}"
                for m in listed[:LISTED]
            ]
            return [f"**What changed, {comparison}**", "", *lines, ""]
    return []


def _how_much(mover: Mover) -> str:
    if mover.kind != "changed":
        return f" ({_text(mover.kind)})"
    return "" if mover.percent is None else f" ({fmt.percent(mover.percent, signed=True)})"


def _because(mover: Mover, money: fmt.Money) -> str:
    if not mover.reasons:
        return ""
    reason = mover.reasons[0]
    named = f"{_text(fmt.dimension(reason.dimension))} {_text(reason.name) or '(none)'}"
    return f", mostly {named} {_amount(money(reason.change, signed=True))}"


def _anomalies(anomalies: list[Anomaly], money: fmt.Money) -> list[str]:
    if not anomalies:
        return []
    lines = [
        f"- {_text(a.name or a.id)}, {fmt.span(a.first_day, a.last_day)}:"
        f" {_amount(money(a.excess, signed=True))} above the expected {_amount(money(a.expected))}"
        for a in anomalies[:LISTED]
    ]
    more = len(anomalies) - LISTED
    return ["**What is odd**", "", *lines, *([f"- and {more} more"] if more > 0 else []), ""]


def _installations(installations: list[Installation]) -> list[str]:
    if not installations:
        return []
    lines = [f"- {_text(called(i))}: {', '.join(_cost_of(i))}" for i in installations[:LISTED]]
    more = len(installations) - LISTED
    return [
        "**What Nightshift costs**",
        "",
        *lines,
        *([f"- and {more} more"] if more > 0 else []),
        "",
    ]


def _cost_of(installation: Installation) -> list[str]:
    money = money_of(installation)
    said = ["no charge carries its tag"]
    if installation.tag_key:
        said = [f"{_amount(money(installation.effective_cost))} so far"]
    if installation.a_month is not None:
        said.append(f"{_amount(money(installation.a_month))} a month at this rate")
    if installation.predicted is not None:
        said.append(f"predicted {_amount(money(installation.predicted))} a month")
    return said


def _checked(report: Report) -> str:
    broken = len(report.violations)
    kept = f"{broken} broken" if broken else "all kept"
    rules = fmt.count(report.rules_checked, "rule")
    return f"{fmt.count(report.rows, 'row')}, {rules} of FOCUS checked, {kept}."


def _money(report: Report, currency: str) -> fmt.Money:
    amounts = [
        cost
        for t in report.totals
        if t.currency == currency
        for cost in (t.billed_cost, t.effective_cost, t.list_cost)
    ]
    return fmt.money_for(currency, amounts)


def _text(value: str) -> str:
    """Text of the bill as text: markup escaped with backslashes, HTML's own as entities."""
    plain = fmt.clean(fmt.short(value, LONGEST))
    return _MARKUP.sub(lambda m: _ENTITIES.get(m[0], "\\" + m[0]), plain)


def _amount(value: str) -> str:
    """A formatted amount: only its currency code can be the bill's text."""
    return _text(value) if re.search(r"[^\w\s.,$€£₹¥+−]", value) else value
