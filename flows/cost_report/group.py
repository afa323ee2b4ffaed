"""Sums by key over coded columns: one batch at a time, merged in bounded memory, the same for every
order of rows.

A coded column is an array of small integers into a list of values. The codes of a row's key columns
are combined into one integer (mixed radix), so that grouping a batch costs one hash per row however
many columns the key has.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flows.cost_report import exact
from flows.cost_report.exact import LIMBS, Ints, Mask, Money, view

Codes: TypeAlias = npt.NDArray[np.int32]

_WIDEST = 2**62
_COMPACT_AT = 100_000  # partial groups held before they are merged; a merge costs about 30 ms


@dataclass(frozen=True)
class Coded:
    """A column as codes into `values`; code 0 is always null.

    A column that says the same in every row has `codes` without strides: it takes no memory, and
    grouping and rules see at once that there is nothing to tell apart.
    """

    codes: Codes
    values: list[str | None]

    @classmethod
    def constant(cls, value: str | None, rows: int) -> Coded:
        values: list[str | None] = [None] if value is None else [None, value]
        return cls(np.broadcast_to(np.int32(len(values) - 1), rows), values)

    @property
    def null(self) -> Mask:
        return self.where(np.arange(len(self.values)) == 0)

    def where(self, chosen: Mask) -> Mask:
        """A mask per value, looked up per row."""
        if chosen.all() or not chosen.any() or is_constant(self.codes):
            first = chosen[self.codes[0]] if self.codes.size else False
            return np.broadcast_to(first, self.codes.shape)
        return chosen[self.codes]

    def take(self, rows: Mask) -> Coded:
        if is_constant(self.codes):
            return Coded(self.codes[: np.count_nonzero(rows)], self.values)
        return Coded(self.codes[rows], self.values)


def is_constant(codes: npt.NDArray[Any]) -> bool:
    return codes.strides == (0,) or codes.size == 0


@dataclass(frozen=True)
class Groups:
    """Rows sorted into groups: each row's group, and each group's code in every key column."""

    of_row: npt.NDArray[np.intp]
    codes: list[npt.NDArray[np.int64]]
    count: int


def group(keys: Sequence[tuple[npt.NDArray[np.integer], int]], rows: int) -> Groups:
    """Group `rows` rows by key columns given as (codes, number of values)."""
    # Constant columns tell nothing apart; of the others, the small ones first stay in 32 bits.
    telling = [i for i, (codes, size) in enumerate(keys) if size > 1 and not is_constant(codes)]
    telling.sort(key=lambda i: keys[i][1])
    numbered = _combine([keys[i] for i in telling], rows)
    columns = [
        np.full(numbered.count, codes[0] if codes.size else 0, dtype=np.int64) for codes, _ in keys
    ]
    for i, codes in zip(telling, numbered.codes, strict=True):
        columns[i] = codes
    return Groups(numbered.of_row, columns, numbered.count)


def _combine(keys: Sequence[tuple[npt.NDArray[np.integer], int]], rows: int) -> Groups:
    if math.prod(size for _, size in keys) >= _WIDEST:
        # Number each half of the columns, and use those numbers as two columns.
        half = len(keys) // 2
        parts = [_combine(keys[:half], rows), _combine(keys[half:], rows)]
        both = _combine([(part.of_row, part.count) for part in parts], rows)
        columns = [
            codes[numbers]
            for part, numbers in zip(parts, both.codes, strict=True)
            for codes in part.codes
        ]
        return Groups(both.of_row, columns, both.count)
    combined: npt.NDArray[Any] = np.zeros(rows, dtype=np.int32)
    radix = 1
    for codes, size in keys:
        radix *= size
        if radix >= 2**31 and combined.dtype == np.int32:
            combined = combined.astype(np.int64)
        combined *= size
        combined += codes.astype(combined.dtype, copy=False)
    of_row, distinct = _number(combined, radix)
    count = len(distinct)
    columns = []
    for _, size in reversed(keys):
        distinct, digit = np.divmod(distinct, size)
        columns.append(digit)
    return Groups(of_row, columns[::-1], count)


def _number(
    keys: npt.NDArray[Any], radix: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.int64]]:
    """Number the distinct keys: each row's number, and the key of each number."""
    if radix <= 4 * len(keys):  # dense: a table beats a hash
        distinct = np.flatnonzero(np.bincount(keys, minlength=radix))
        number = np.empty(radix, dtype=np.intp)
        number[distinct] = np.arange(len(distinct))
        return number[keys], distinct
    encoded = pa.array(keys).dictionary_encode()
    distinct = view(encoded.dictionary, keys.dtype.type).astype(np.int64)
    return view(encoded.indices, np.int32).astype(np.intp), distinct


@dataclass
class Interner:
    """Gives each distinct value of a column one code for the whole bill."""

    values: list[str | None] = field(default_factory=lambda: [None])
    codes: dict[str | None, int] = field(default_factory=lambda: {None: 0})

    def code(self, value: str | None) -> int:
        code = self.codes.get(value)
        if code is None:
            code = self.codes[value] = len(self.values)
            self.values.append(value)
        return code

    def recode(self, local: npt.NDArray[np.int64], values: Sequence[str | None]) -> Codes:
        """Codes of one batch as codes of the whole bill."""
        table = np.zeros(len(values), dtype=np.int32)
        for i in np.flatnonzero(np.bincount(local, minlength=len(values))):
            table[i] = self.code(values[int(i)])
        return table[local]


@dataclass(frozen=True)
class Partial:
    """Sums of some groups: codes of the whole bill per key column, row counts, costs as limbs
    (costs, LIMBS, groups).
    """

    codes: list[Codes]
    rows: Ints
    sums: Ints


class Sums:
    """Running sums by key over all batches of a bill."""

    def __init__(self, names: Sequence[str], costs: Sequence[str]) -> None:
        self.names = list(names)
        self.costs = list(costs)
        self.interners = [Interner() for _ in names]
        self._partials: list[Partial] = []
        self._held = 0
        self._merged = 0

    def add_batch(self, keys: Sequence[Coded], costs: Sequence[Money], rows: int) -> Partial:
        """Add a batch: `keys` and `costs` in the order given to the constructor. Returns its own
        sums.
        """
        groups = group([(key.codes, len(key.values)) for key in keys], rows)
        partial = Partial(
            [
                interner.recode(codes, key.values)
                for interner, key, codes in zip(self.interners, keys, groups.codes, strict=True)
            ],
            np.bincount(groups.of_row, minlength=groups.count).astype(np.int64),
            np.stack([exact.sum_by(cost, groups.of_row, groups.count) for cost in costs]),
        )
        self.add(partial)
        return partial

    def add(self, partial: Partial) -> None:
        self._partials.append(partial)
        self._held += len(partial.rows)
        # Merging when the partials have doubled keeps the work linear and the memory within twice
        # the result.
        if self._held > max(_COMPACT_AT, 2 * self._merged):
            self.merge()

    def merge(self) -> Partial:
        """All that was added, as one partial with distinct keys."""
        if not self._partials:
            nothing = np.zeros(0, dtype=np.int64)
            empty = [nothing.astype(np.int32)] * len(self.names)
            return Partial(empty, nothing, np.zeros((len(self.costs), LIMBS, 0), dtype=np.int64))
        if len(self._partials) > 1:
            self._partials = [self._merge(self._partials)]
        self._merged = self._held = len(self._partials[0].rows)
        return self._partials[0]

    def _merge(self, partials: list[Partial]) -> Partial:
        columns = [np.concatenate([p.codes[i] for p in partials]) for i in range(len(self.names))]
        rows = np.concatenate([p.rows for p in partials])
        sums = np.concatenate([p.sums for p in partials], axis=2)
        sizes = [len(interner.values) for interner in self.interners]
        groups = group(list(zip(columns, sizes, strict=True)), len(rows))
        return Partial(
            [codes.astype(np.int32) for codes in groups.codes],
            _add_at(groups, rows),
            np.stack([_add_limbs(groups, cost) for cost in sums]),
        )

    def table(self) -> pa.Table:
        """One row per distinct key: the key columns, RowCount and the costs; sorted by key,
        nulls last.
        """
        merged = self.merge()
        data: dict[str, pa.Array] = {}
        for name, interner, codes in zip(self.names, self.interners, merged.codes, strict=True):
            data[name] = pa.array(interner.values, pa.string()).take(pa.array(codes))
        data["RowCount"] = pa.array(merged.rows)
        for name, cost in zip(self.costs, merged.sums, strict=True):
            data[name] = exact.to_arrow(cost)
        return pa.table(data).sort_by([(name, "ascending") for name in self.names])


def _add_at(groups: Groups, values: Ints) -> Ints:
    sums = np.zeros(groups.count, dtype=np.int64)
    np.add.at(sums, groups.of_row, values)
    return sums


def _add_limbs(groups: Groups, limbs: Ints) -> Ints:
    return exact.carry(np.stack([_add_at(groups, limb) for limb in limbs]))
