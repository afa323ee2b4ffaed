"""The tables of docs/cost.md and of README.md, between their markers, and docs/cost.svg."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path

from deployments.prices import Prices, read
from flows.problem import Problem
from infra.cost.assumptions import Assumptions
from infra.cost.break_even import AXES, in_words, our_cost, stretches, their_cost
from infra.cost.chart import chart
from infra.cost.instead import OURS, Way, Work, nightshift, ways
from infra.cost.lines import Bill
from infra.cost.resources import Templates, bill
from infra.cost.runs import DAYS, Job
from infra.cost.words import KINDS, dollars, name, number, unit

README = Path(__file__).parents[2] / "README.md"
DOCS = README.parent / "docs"
PAGE, CHART = DOCS / "cost.md", DOCS / "cost.svg"
DAILY = (Job("cost-report/daily", 1024, 2048, DAYS, Decimal(10)),)

_MINUTES = tuple(
    Decimal(n)
    for n in (1, 2, 3, 4, 5, 7, 10, 12, 15, 20, 30, 45, 60, 90, 120, 180, 240, 360, 480, 720, 1440)
)


def _list_price(bill: Bill) -> Decimal:
    return bill.total


def page(text: str, templates: Templates, prices: Prices) -> str:
    """docs/cost.md with its tables made anew; what is written by hand stays."""
    return _filled(text, PAGE, _tables(templates, prices))


def readme(text: str, templates: Templates, prices: Prices) -> str:
    """README.md with its table made anew."""
    return _filled(text, README, {"a-day": _a_day(templates, prices)})


def _filled(text: str, file: Path, tables: Mapping[str, Iterable[str]]) -> str:
    for part, rows in tables.items():
        begin, end = f"<!-- {part}: make cost-page -->\n", f"<!-- /{part} -->"
        pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
        if not pattern.search(text):
            raise Problem(
                "the page has no place for a table",
                where={"file": file.name},
                value=part,
                fix=f"write {begin.strip()} and {end} where it belongs",
            )
        made = "\n".join(rows)
        text = pattern.sub(f"{begin}\n{made}\n\n{end}".replace("\\", r"\\"), text)
    return text


def picture(templates: Templates, prices: Prices) -> str:
    curves = {OURS: _curve(lambda work: nightshift(templates, work, prices))}
    curves |= {way.name: _curve(partial(_bill_of, way, prices)) for way in ways()}
    return chart(
        curves,
        f"Dollars a month, {prices.region}, list prices without free tiers: 1 vCPU, 2 GB",
    )


def _bill_of(way: Way, prices: Prices, work: Work) -> Bill | None:
    return way.bill(work, prices)


def _curve(cost: Callable[[Work], Bill | None]) -> list[tuple[Decimal, Decimal]]:
    found = []
    for minutes in _MINUTES:
        at = cost(Work(minutes=minutes))
        if at is not None:
            found.append((minutes, at.total))
    return found


def _tables(templates: Templates, prices: Prices) -> dict[str, Iterable[str]]:
    whole = bill(templates, DAILY, prices, Assumptions())
    return {
        "bill": _bill(whole),
        "sums": _sums(whole),
        "assumptions": [f"- {sentence}" for sentence in whole.assumptions],
        "instead": _instead(templates, prices),
        "break-even": _break_even(templates, prices),
        "prices": _prices(whole, prices),
    }


def _bill(whole: Bill) -> Iterator[str]:
    yield "| | what | how much | a month | with free tier |"
    yield "|---|---|---|---|---|"
    for kind, title in KINDS:
        part = whole.of(kind)
        yield f"| **{title}** | | | **{dollars(part.total)}** | **{_free(part)}** |"
        for line in part.lines:
            use = line.use
            yield (
                f"| {name(use)} | {use.what} | {number(use.quantity)} {unit(use)} | "
                f"{dollars(line.monthly)} | {dollars(line.monthly_with_free_tier)} |"
            )
    yield f"| **All of it** | | | **{dollars(whole.total)}** | **{_free(whole)}** |"


def _free(part: Bill) -> str:
    return dollars(part.total_with_free_tier)


def _sums(whole: Bill) -> Iterator[str]:
    running = whole.of("fixed", "per run")
    yield "| | list price | with free tier |"
    yield "|---|---|---|"
    yield f"| running, once a day | {dollars(running.total)} | {_free(running)} |"
    releases = whole.of("per push")
    pushes = f"{Assumptions().pushes:f}"
    yield f"| {pushes} releases | {dollars(releases.total)} | {_free(releases)} |"
    yield f"| **all of it** | **{dollars(whole.total)}** | **{_free(whole)}** |"


def _instead(templates: Templates, prices: Prices) -> Iterator[str]:
    daily, hourly = Work(), Work(runs_per_day=Decimal(24))
    yield "| | once a day | with free tier | every hour | what is priced | what one gives up |"
    yield "|---|---|---|---|---|---|"
    ours = (nightshift(templates, daily, prices), nightshift(templates, hourly, prices))
    yield _row(OURS, ours, "its orchestrator, alarms and images; the table above has it all", "")
    for way in ways():
        yield _row(
            way.name, (way.bill(daily, prices), way.bill(hourly, prices)), way.how, way.gives_up
        )


# What README.md says of each in a line, which has room for no more.
_IN_SHORT = {
    OURS: "asleep, but for the run",
    "Prefect that never sleeps": "the same Prefect, always on, with a database and a load balancer",
    "Prefect Cloud": "Starter, the first plan that can start tasks in your account",
    "AWS Batch": "no Prefect: the task and its schedule alone",
}


def _a_day(templates: Templates, prices: Prices) -> Iterator[str]:
    yield "| | a month | |"
    yield "|---|---|---|"
    bills = {way.name: way.bill(Work(), prices) for way in ways()}
    bills[OURS] = nightshift(templates, Work(), prices)
    for which, what in _IN_SHORT.items():
        found = bills[which]
        yield f"| {which} | {dollars(found.total) if found else 'does not fit'} | {what} |"


def _row(name: str, bills: Sequence[Bill | None], how: str, gives_up: str) -> str:
    daily, hourly = bills
    cells = [
        dollars(daily.total) if daily else "does not fit",
        _free(daily) if daily else "",
        dollars(hourly.total) if hourly else "does not fit",
    ]
    return f"| {name} | {' | '.join(cells)} | {how} | {gives_up} |"


def _break_even(templates: Templates, prices: Prices) -> Iterator[str]:
    yield "| cheaper, of Nightshift and | " + " | ".join(axis.name for axis in AXES) + " |"
    yield "|---" * (len(AXES) + 1) + "|"
    for way in ways():
        yield f"| {way.name} | " + " | ".join(_words(way, templates, prices)) + " |"


def _words(way: Way, templates: Templates, prices: Prices) -> Iterator[str]:
    ours, theirs = our_cost(templates, prices, _list_price), their_cost(way, prices, _list_price)
    for axis in AXES:
        yield in_words(axis, stretches(axis, Work(), ours, theirs), way.name)


def _prices(whole: Bill, prices: Prices) -> Iterator[str]:
    yield "| price | USD | always free a month | as of |"
    yield "|---|---|---|---|"
    content = read()
    known = {**content["everywhere"], **content["regions"][prices.region]}
    for price in sorted({line.use.price for line in whole.lines if line.use.price}):
        free = prices.free.get(price)
        always = f"{free.amount:,f}" if free and free.kind == "always" else ""
        as_of = content["sources"][known[price]["source"]]["as_of"]
        yield f"| `{price}` | {prices[price]:f} | {always} | {as_of} |"
