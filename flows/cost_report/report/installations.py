"""What Nightshift itself costs, as the page and Prefect's summary say it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from flows.cost_report.model import Installation, InstallationService, Report
from flows.cost_report.report import fmt

# A month that is reckoned from a few days is not known better than this.
CLOSE = Decimal("0.05")


@dataclass(frozen=True)
class InstallationView:
    """One installation's part of the page. It costs cents: amounts have decimals of their own."""

    name: str
    money: fmt.Money
    lead: str
    note: str
    services: tuple[InstallationService, ...]
    total: Installation
    charged: bool
    compared: bool


def installation_views(report: Report, currency: str) -> tuple[InstallationView, ...]:
    """Those of one currency, in their order."""
    return tuple(
        _view(report, one) for one in report.analysis.installations if one.currency == currency
    )


def money_of(installation: Installation) -> fmt.Money:
    return fmt.money_for(
        installation.currency,
        _known(installation.effective_cost, installation.a_month, installation.predicted),
    )


def called(installation: Installation) -> str:
    return installation.name or "(no name)"


def _view(report: Report, one: Installation) -> InstallationView:
    money = money_of(one)
    charged = bool(one.tag_key)
    return InstallationView(
        name=called(one),
        money=money,
        lead=_lead(report, one, money) if charged else _uncharged(one, money),
        note=_note(report, one),
        services=one.services,
        total=one,
        charged=charged,
        compared=one.predicted is not None,
    )


def _lead(report: Report, one: Installation, money: fmt.Money) -> str:
    name, spent = fmt.short(called(one), 80), money(one.effective_cost)
    if one.a_month is None:
        return f"{name} has cost {spent} so far: its first day is not complete yet."
    whole = _is_whole(report, one)
    said = f"{name} cost {spent}" if whole else f"{name} has cost {spent} so far"
    if not whole:
        said += f"; at this rate a month costs {money(one.a_month)}"
    if one.predicted is None or one.difference is None:
        return f"{said}."
    return f"{said}, {_against(one, money)}.{_standing_out(one, money)}"


def _against(one: Installation, money: fmt.Money) -> str:
    assert one.predicted is not None
    assert one.difference is not None
    if abs(one.difference) <= CLOSE * one.predicted:
        return f"about the {money(one.predicted)} that was predicted"
    share = f" ({fmt.percent(float(abs(one.difference) / one.predicted))})" if one.predicted else ""
    more = "more" if one.difference > 0 else "less"
    return f"{money(abs(one.difference))}{share} {more} than the {money(one.predicted)} predicted"


def _standing_out(one: Installation, money: fmt.Money) -> str:
    """The service that differs most, in a sentence; '' where none does."""
    differing = [s for s in one.services if s.difference]
    if not differing:
        return ""
    most = max(differing, key=lambda s: abs(s.difference or fmt.ZERO))
    assert most.difference is not None
    name = fmt.short(most.name, 80) or "Charges without a service"
    return f" The largest difference: {name}, {_how_much(most.difference, money)}."


def _how_much(difference: Decimal, money: fmt.Money) -> str:
    return f"{money(abs(difference))} {'more' if difference > 0 else 'less'}"


def _uncharged(one: Installation, money: fmt.Money) -> str:
    predicted = one.predicted or fmt.ZERO
    return (
        f"{fmt.short(called(one), 80)} was predicted to cost {money(predicted)} a month, and no "
        "charge of this bill carries its tag."
    )


def _note(report: Report, one: Installation) -> str:
    """How the figures came about."""
    said: list[str] = []
    if one.tag_key:
        said.append(
            f"Effective cost of the charges tagged {fmt.short(one.tag_key, 40)}; what AWS bills "
            "without tags is not in it."
        )
    days = len(fmt.month_days(report.billing_period))
    if one.first_day and one.a_month is not None and not _is_whole(report, one):
        said.append(
            f"A month is {days} times the mean of the {fmt.count(one.days, 'complete day')} since "
            f"{fmt.day(one.first_day)}."
        )
    if one.predicted is not None:
        as_of = f", at the prices of {_day(one.prices_as_of)}" if one.prices_as_of else ""
        said.append(f"Predicted for a month{as_of}.")
    return " ".join(said)


def _day(text: str) -> str:
    """A day as the page writes days; other text as it is."""
    try:
        return fmt.day(date.fromisoformat(text))
    except ValueError:
        return fmt.short(text, 20)


def _is_whole(report: Report, one: Installation) -> bool:
    """Whether the month is over and the installation was there from its first day on."""
    return one.days == len(fmt.month_days(report.billing_period))


def _known(*amounts: Decimal | None) -> Iterable[Decimal]:
    return (amount for amount in amounts if amount is not None)
