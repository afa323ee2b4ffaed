"""Exact sums of the roll-ups, made by pyarrow: no amount becomes a float on its way to a total.

Amounts stay `decimal128(38, 18)` in Arrow and `Decimal` in Python. Python's default context keeps
28 digits, which 18 decimals leave too few of, so `analyse()` works inside `exactly()`.
"""

from __future__ import annotations

import decimal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

ZERO = Decimal(0)
CENT = Decimal("0.01")

Key = tuple[object, ...]


@contextmanager
def exactly() -> Iterator[None]:
    """Decimal arithmetic wide enough for every sum of decimal128(38, 18)."""
    with decimal.localcontext() as context:
        context.prec = 76
        yield


def estimate(value: float) -> Decimal:
    """A statistic as an amount, to the cent: no more digits than an estimate has."""
    return Decimal(repr(float(value))).quantize(CENT)


def money_sums(table: pa.Table, keys: list[str], costs: Iterable[str]) -> pa.Table:
    """Rows of `keys` with the sum of each cost (null as zero) and of RowCount."""
    wanted = [*costs, "RowCount"]
    grouped = table.group_by(keys, use_threads=False).aggregate([(cost, "sum") for cost in wanted])
    columns = [grouped[key] for key in keys]
    columns += [pc.fill_null(grouped[f"{cost}_sum"], 0) for cost in wanted]
    return pa.table(columns, names=[*keys, *wanted])


def sums_of(table: pa.Table, keys: list[str], cost: str) -> dict[Key, Decimal]:
    """{(key, …): sum of `cost`}."""
    grouped = money_sums(table, keys, [cost])
    return dict(zip(key_rows(grouped, keys), grouped[cost].to_pylist(), strict=True))


def key_rows(table: pa.Table, keys: list[str]) -> list[Key]:
    """The key columns as tuples, row by row."""
    return list(zip(*(table[key].to_pylist() for key in keys), strict=True))


def total(table: pa.Table, cost: str) -> Decimal:
    """Σ `cost`; zero for no rows."""
    value = pc.sum(table[cost]).as_py()
    return ZERO if value is None else value


def where(table: pa.Table, **equal: str | None) -> pa.Table:
    """The rows whose columns equal the values given; None asks for null."""
    mask: pa.Array | None = None
    for column, value in equal.items():
        one = pc.is_null(table[column]) if value is None else pc.equal(table[column], value)
        one = pc.fill_null(one, False)
        mask = one if mask is None else pc.and_(mask, one)
    return table if mask is None else table.filter(mask)


def between(table: pa.Table, first: object, last: object) -> pa.Table:
    """The rows of the days `first` to `last`, both included."""
    day = table["ChargeDate"]
    mask = pc.and_(
        pc.greater_equal(day, pa.scalar(first, pa.date32())),
        pc.less_equal(day, pa.scalar(last, pa.date32())),
    )
    return table.filter(mask)


def all_null(table: pa.Table, column: str) -> bool:
    """Whether the bill lacks `column`, which the roll-up says with nulls."""
    return bool(table[column].null_count == len(table))


def text(value: object) -> str:
    """A key as text: null is the empty string."""
    return "" if value is None else str(value)
