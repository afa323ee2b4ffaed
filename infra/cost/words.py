"""A bill as a table on the terminal, and as data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

from deployments.prices import Prices
from infra.cost.instead import Instead
from infra.cost.lines import Bill, Kind, Line, Use
from infra.cost.runs import Job

KINDS: tuple[tuple[Kind, str], ...] = (
    ("fixed", "Whether anything runs or not"),
    ("per run", "For the runs"),
    ("per push", "For the releases"),
)


def dollars(amount: Decimal) -> str:
    """Two digits after the point; more where those would be nothing."""
    if amount and abs(amount) < Decimal("0.005"):
        return f"${amount:.4f}" if amount >= Decimal("0.00005") else "<$0.0001"
    return f"${amount:,.2f}"


def number(amount: Decimal) -> str:
    if amount >= 10:
        return f"{amount:,.0f}" if amount >= 1000 else f"{amount:.1f}".removesuffix(".0")
    text = f"{amount:.3g}"
    return text if "e" not in text else f"{amount:.4f}"


def unit(use: Use) -> str:
    """As it is said after the number: 1 alarm, 1,521 requests, 2 GB."""
    return use.unit if use.unit == "GB" or number(use.quantity) == "1" else f"{use.unit}s"


def table(bill: Bill) -> str:
    rows: list[Sequence[str]] = [("", "what", "how much", "", "a month", "with free tier")]
    for kind, title in KINDS:
        part = bill.of(kind)
        if part.lines:
            rows += [(title,), *map(_row, part.lines), _sum("", part)]
    rows += [("",) * 6, _sum("All of it", bill)]
    return "\n".join(_aligned(rows))


def name(use: Use) -> str:
    """The resource's, without what CDK adds to its ids."""
    return re.sub(r"[0-9A-F]{8}$", "", use.resource)


def _row(line: Line) -> Sequence[str]:
    use = line.use
    return (
        f"  {name(use)}", use.what, number(use.quantity), unit(use),
        dollars(line.monthly), dollars(line.monthly_with_free_tier),
    )  # fmt: skip


def _sum(name: str, bill: Bill) -> Sequence[str]:
    return (name, "", "", "", dollars(bill.total), dollars(bill.total_with_free_tier))


def _aligned(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    rows = list(rows)
    full = [row for row in rows if len(row) > 1]
    widths = [max(len(row[n]) for row in full) for n in range(6)]
    for row in rows:
        if len(row) == 1:
            yield f"\n{row[0]}"
            continue
        cells = [
            cell.rjust(width) if n in (2, 4, 5) else cell.ljust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def table_beside(found: Sequence[Instead]) -> str:
    head = ("", "a month", "with free tier", "one gives up")
    rows = [head, *(_beside(one) for one in found)]
    widths = [max(len(row[n]) for row in rows) for n in range(3)]
    lines = [
        (name.ljust(widths[0]), price.rjust(widths[1]), free.rjust(widths[2]), lost)
        for name, price, free, lost in rows
    ]
    return "\n".join("  ".join(line).rstrip() for line in lines)


def _beside(one: Instead) -> tuple[str, str, str, str]:
    if one.bill is None:
        return (f"  {one.name}", "–", "", one.why_not)
    bill = one.bill
    return (
        f"  {one.name}", dollars(bill.total), dollars(bill.total_with_free_tier), one.gives_up
    )  # fmt: skip


def beside_as_data(job: Job, found: Sequence[Instead]) -> dict[str, Any]:
    return {
        "deployment": job.name,
        "ways": [
            {
                "name": one.name,
                "monthly_total_usd": f"{one.bill.total:f}" if one.bill else None,
                "what_is_priced": one.how,
                "one_gives_up": one.gives_up,
                **({} if one.bill else {"why_not": one.why_not}),
            }
            for one in found
        ],
    }


def as_data(bill: Bill, installation: str, prices: Prices) -> dict[str, Any]:
    """cost.json and predicted.json: amounts are decimal strings, in US dollars a month."""
    return {
        "installation": installation,
        "region": prices.region,
        "prices_as_of": prices.as_of,
        "prices": prices.source,
        "monthly_total_usd": f"{bill.total:f}",
        "monthly_total_usd_with_free_tier": f"{bill.total_with_free_tier:f}",
        "lines": [
            {
                "resource": line.use.resource,
                "service": line.use.service,
                "what": line.use.what,
                "kind": line.use.kind,
                "unit": line.use.unit,
                "quantity": f"{line.use.quantity:.6f}",
                "price": line.use.price,
                "unit_price_usd": f"{line.unit_price:f}",
                "monthly_usd": f"{line.monthly:f}",
                "monthly_usd_with_free_tier": f"{line.monthly_with_free_tier:f}",
            }
            for line in bill.lines
        ],
        "free_of_charge": dict(bill.free_of_charge),
        "assumptions": list(bill.assumptions),
    }
