"""Grouping and sums by key: against dictionaries, whatever the batches and their order."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.cost_report import exact, group
from flows.cost_report.group import Coded, Interner, Partial, Sums

Key = tuple[str | None, ...]
Charge = tuple[Key, int]  # a key, and a cost in whole units

VALUES = st.sampled_from([None, "", "a", "b", "ü", "<script>", "a" * 50])
CHARGES = st.lists(st.tuples(st.tuples(VALUES, VALUES, VALUES), st.integers(-(10**6), 10**6)))


def codes(*values: int) -> np.ndarray[Any, np.dtype[np.int32]]:
    return np.array(values, dtype=np.int32)


def coded(values: Sequence[str | None]) -> Coded:
    """A column as a file's dictionary codes it: in the order of first appearance."""
    distinct: list[str | None] = [None, *dict.fromkeys(v for v in values if v is not None)]
    if len(set(values)) == 1:
        return Coded.constant(values[0], len(values))
    return Coded(codes(*(distinct.index(value) for value in values)), distinct)


def add(sums: Sums, charges: Sequence[Charge]) -> Partial:
    keys = [coded([key[i] for key, _ in charges]) for i in range(len(sums.names))]
    cost = exact.from_doubles(np.array([cost for _, cost in charges], dtype=np.float64))
    return sums.add_batch(keys, [cost], len(charges))


def by_dictionary(charges: Sequence[Charge]) -> dict[Key, tuple[int, Decimal]]:
    rows: dict[Key, int] = defaultdict(int)
    costs: dict[Key, Decimal] = defaultdict(Decimal)
    for key, cost in charges:
        rows[key] += 1
        costs[key] += cost
    return {key: (rows[key], costs[key]) for key in rows}


def by_table(sums: Sums) -> dict[Key, tuple[int, Decimal]]:
    found = [tuple(row.values()) for row in sums.table().to_pylist()]
    assert len({row[:-2] for row in found}) == len(found), "every key has one line"
    return {row[:-2]: (row[-2], row[-1]) for row in found}


# --- grouping a batch ----------------------------------------------------------------------------


@st.composite
def key_columns(draw: st.DrawFn) -> tuple[list[tuple[Any, int]], int]:
    """Code columns as (codes, number of values): some constant, some with very many values."""
    rows = draw(st.integers(0, 40))
    columns = []
    for _ in range(draw(st.integers(0, 8))):
        size = draw(st.sampled_from([1, 2, 3, 7, 1000, 2**20, 2**31 - 1]))
        code = st.integers(0, size - 1) | st.integers(0, min(size, 3) - 1)
        if draw(st.booleans()):
            columns.append((np.broadcast_to(np.int32(draw(code)), rows), size))
        else:
            columns.append((codes(*draw(st.lists(code, min_size=rows, max_size=rows))), size))
    return columns, rows


@settings(max_examples=150)
@given(key_columns())
def test_rows_of_a_group_are_those_with_equal_codes(
    case: tuple[list[tuple[Any, int]], int],
) -> None:
    columns, rows = case
    groups = group.group(columns, rows)
    keys = [tuple(int(column[row]) for column, _ in columns) for row in range(rows)]
    assert len(groups.of_row) == rows
    assert groups.count == len(set(keys))
    assert all(len(column) == groups.count for column in groups.codes)
    named = list(zip(*groups.codes, strict=True)) if columns else [()] * groups.count
    assert [tuple(map(int, named[number])) for number in groups.of_row] == keys


def test_keys_whose_radix_needs_more_than_62_bits_are_grouped() -> None:
    size = 2**31 - 1
    columns = [(codes(0, size - 1, 0, size - 1, 5), size) for _ in range(6)]
    groups = group.group(columns, 5)
    assert groups.count == 3
    assert groups.of_row[0] == groups.of_row[2] != groups.of_row[1] == groups.of_row[3]
    assert [sorted(map(int, column)) for column in groups.codes] == [[0, 5, size - 1]] * 6


def test_wide_keys_differ_only_where_their_codes_do() -> None:
    size = 2**31 - 1
    one, other = [7] * 9, [7] * 8 + [8]
    columns = [(codes(*pair), size) for pair in zip(one, other, strict=True)]
    assert group.group(columns, 2).count == 2


def test_constant_columns_and_no_columns_make_one_group() -> None:
    constant = np.broadcast_to(np.int32(3), 4)
    groups = group.group([(constant, 5)], 4)
    assert (groups.count, groups.of_row.tolist()) == (1, [0] * 4)
    assert groups.codes[0].tolist() == [3]
    assert group.group([], 4).count == 1


def test_a_batch_without_rows_has_no_groups() -> None:
    for columns in ([], [(codes(), 1)], [(codes(), 5), (np.broadcast_to(np.int32(0), 0), 2)]):
        groups = group.group(columns, 0)
        assert (groups.count, len(groups.of_row)) == (0, 0)


# --- coded columns -------------------------------------------------------------------------------


def test_a_constant_column_takes_no_memory_and_says_the_same_in_every_row() -> None:
    column = Coded.constant("USD", 1_000_000)
    assert column.codes.strides == (0,)
    assert not column.null.any()
    assert column.where(np.array([False, True])).all()
    assert len(column.take(np.arange(1_000_000) < 3).codes) == 3
    nothing = Coded.constant(None, 3)
    assert nothing.null.all()
    assert not nothing.where(np.array([False])).any()


def test_a_mask_per_value_is_looked_up_per_row() -> None:
    column = Coded(codes(0, 1, 2, 1), [None, "a", "b"])
    assert column.null.tolist() == [True, False, False, False]
    assert column.where(np.array([False, True, False])).tolist() == [False, True, False, True]
    assert column.where(np.array([True, True, True])).tolist() == [True] * 4
    assert column.take(np.array([True, False, True, False])).codes.tolist() == [0, 2]
    assert Coded(codes(), [None, "a"]).where(np.array([True, True])).tolist() == []


# --- interning -----------------------------------------------------------------------------------


def test_each_value_has_one_code_for_the_whole_bill() -> None:
    interner = Interner()
    first = interner.recode(np.array([1, 2, 0, 1]), [None, "a", "b"])
    second = interner.recode(np.array([2, 1, 3]), [None, "b", "c", "a"])
    assert [interner.values[code] for code in first] == ["a", "b", None, "a"]
    assert [interner.values[code] for code in second] == ["c", "b", "a"]
    assert interner.values == [None, "a", "b", "c"]
    assert first[0] == second[2]


def test_null_and_empty_are_two_values() -> None:
    interner = Interner()
    assert interner.code(None) == 0
    assert interner.code("") != 0


def test_values_that_a_batch_does_not_use_are_not_remembered() -> None:
    """A row group's dictionary holds the values of other batches, and of no row at all."""
    interner = Interner()
    interner.recode(np.array([2]), [None, "not here", "here"])
    assert interner.values == [None, "here"]


# --- sums over batches ---------------------------------------------------------------------------


def sums_of(batches: Sequence[Sequence[Charge]]) -> Sums:
    sums = Sums(["One", "Two", "Three"], ["Cost"])
    for charges in batches:
        add(sums, charges)
    return sums


@settings(max_examples=100)
@given(st.lists(CHARGES, max_size=6), st.randoms(use_true_random=False), st.sampled_from([0, 3]))
def test_sums_equal_a_dictionary_whatever_the_batches(
    batches: list[list[Charge]], chance: random.Random, compact_at: int
) -> None:
    charges = list(itertools.chain(*batches))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(group, "_COMPACT_AT", compact_at)  # merge after every batch, or nearly
        apart = sums_of(batches)
        at_once = sums_of([charges])
        chance.shuffle(charges)
        one_by_one = sums_of([[charge] for charge in charges])
    never_merged = sums_of(batches)
    assert by_table(apart) == by_dictionary(charges)
    assert apart.table() == at_once.table() == one_by_one.table() == never_merged.table()


def test_a_table_is_sorted_by_key_and_nulls_come_last() -> None:
    sums = sums_of([[(("b", None, None), 1), ((None, "x", None), 2)], [(("a", "x", ""), 3)]])
    assert sums.table().column("One").to_pylist() == ["a", "b", None]
    assert sums.table().column("RowCount").to_pylist() == [1, 1, 1]


def test_a_batch_gives_back_its_own_sums() -> None:
    sums = sums_of([[(("a", "b", "c"), 5)]])
    partial = add(sums, [(("a", "b", "c"), 1), (("a", "b", "c"), 2), (("z", "b", "c"), 4)])
    found = zip(partial.rows, exact.to_arrow(partial.sums[0]).to_pylist(), strict=True)
    assert sorted(found) == [(1, 4), (2, 3)]
    assert by_table(sums)["a", "b", "c"] == (3, Decimal(8))


def test_nothing_added_is_an_empty_table() -> None:
    table = Sums(["One"], ["Cost"]).table()
    assert table.column_names == ["One", "RowCount", "Cost"]
    assert table.num_rows == 0
    sums = sums_of([[]])
    assert sums.table().num_rows == 0


def test_merging_bounds_what_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group, "_COMPACT_AT", 10)
    sums = Sums(["One"], ["Cost"])
    for _ in range(200):
        add(sums, [((name,), 1) for name in "abcde"])
        assert sum(len(partial.rows) for partial in sums._partials) <= 20
    assert by_table(sums) == {(name,): (200, Decimal(200)) for name in "abcde"}


def test_a_cost_for_each_name_is_added_up_by_itself() -> None:
    sums = Sums(["One"], ["Billed", "Listed"])
    key = coded(["a", "b", "a"])
    costs = [exact.from_doubles(np.array(values)) for values in ([1.0, 2.0, 3.0], [0.1, 0.2, 0.3])]
    sums.add_batch([key], costs, 3)
    assert sums.table().to_pylist() == [
        {"One": "a", "RowCount": 2, "Billed": Decimal(4), "Listed": Decimal("0.4")},
        {"One": "b", "RowCount": 1, "Billed": Decimal(2), "Listed": Decimal("0.2")},
    ]
