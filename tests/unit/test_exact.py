"""Money is exact: against Python's `decimal` and its unbounded integers."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flows.cost_report import exact
from flows.cost_report.exact import Money

UNIT = Decimal("1e-10")
BELOW_LIMIT = float(np.nextafter(exact.LIMIT, 0))

any_double = st.floats(-BELOW_LIMIT, BELOW_LIMIT)
# k + ½ units of 10^-10, and the doubles next to it: where rounding goes wrong first.
near_tie = st.builds(
    lambda units, step: float(np.nextafter((units + 0.5) * 1e-10, step)),
    st.integers(-(10**14), 10**14),
    st.sampled_from([-np.inf, 0.0, np.inf]),
)
exact_tie = st.builds(  # odd multiples of 2^-11 end in …5 at the eleventh decimal: true ties
    lambda whole, odd: whole + (2 * odd + 1) / 2**11, st.integers(-1000, 1000), st.integers(0, 1023)
)
price = st.builds(lambda units: float(Decimal(units).scaleb(-11)), st.integers(-(10**16), 10**16))
doubles = any_double | near_tie | exact_tie | price

amounts = st.decimals(
    Decimal("-999999999999999.999999999999999999"),
    Decimal("999999999999999.999999999999999999"),
    places=18,
) | st.decimals(-1000, 1000, places=18)


def rounded(value: float) -> Decimal:
    with localcontext(prec=60):
        return Decimal(value).quantize(UNIT, ROUND_HALF_EVEN)


def units(amount: Decimal) -> int:
    """In units of 10^-18."""
    with localcontext(prec=60):
        return int(amount.scaleb(18))


def decimals(*cells: str | Decimal | None) -> Money:
    values = [None if cell is None else Decimal(cell) for cell in cells]
    return exact.from_decimals(pa.array(values, exact.AS_WRITTEN))


def floats(*values: float) -> Money:
    return exact.from_doubles(np.array(values, dtype=np.float64))


def each(money: Money) -> list[int]:
    """Every row by itself, in units of 10^-18."""
    return [exact.total(money.take(slice(i, i + 1))) for i in range(len(money.units))]


def by_group(money: Money, groups: list[int], count: int) -> list[int]:
    sums = exact.sum_by(money, np.array(groups, dtype=np.intp), count)
    return [units(amount) for amount in exact.to_arrow(sums).to_pylist()]


# --- doubles -------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(st.lists(doubles, min_size=1, max_size=30))
@example([5e-324, -5e-324, 2.2250738585072014e-308, 0.0, -0.0])
@example([BELOW_LIMIT, -BELOW_LIMIT, 0.1 + 0.2, 1e14 + 1 / 64])
@example([5e-11, -5e-11, 1.5e-10, -1.5e-10, 2.5e-10, 0.00048828125])
def test_doubles_are_rounded_half_even_to_ten_decimals(values: list[float]) -> None:
    assert each(floats(*values)) == [units(rounded(value)) for value in values]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.00048828125, "0.0004882812"),  # 2^-11, a tie: the even neighbour
        (3 / 2**11, "0.0014648438"),
        (-0.00048828125, "-0.0004882812"),
        (1e-11, "0"),
        (-1e-11, "0"),
        (0.1, "0.1"),
        (4.00000000005, "4.0000000001"),  # its binary value lies above the tie
        (8.00000000005, "8"),  # its binary value lies below the tie
        (123456789.12345678912, "123456789.123456791"),
    ],
)
def test_examples_of_rounding(value: float, expected: str) -> None:
    assert exact.amount(exact.total(floats(value))) == Decimal(expected) == rounded(value)


@settings(max_examples=200)
@given(st.lists(doubles, max_size=50), st.lists(st.booleans(), min_size=50, max_size=50))
def test_null_doubles_count_nothing(values: list[float], nulls: list[bool]) -> None:
    mask = np.array(nulls[: len(values)], dtype=np.bool_)
    array = np.where(mask, 0, np.array(values, dtype=np.float64))
    money = exact.from_doubles(array, mask)
    kept = [units(rounded(v)) for v, null in zip(values, nulls, strict=False) if not null]
    assert exact.total(money) == sum(kept)


def test_many_small_doubles_add_up_although_floats_would_not() -> None:
    money = exact.from_doubles(np.full(1_000_000, 0.1))
    assert exact.total(money) == 100_000 * 10**18
    assert float(np.cumsum(np.full(1_000_000, 0.1))[-1]) != 100_000


# --- text and decimals ---------------------------------------------------------------------------


@settings(max_examples=300)
@given(st.lists(amounts | st.none(), max_size=30))
def test_decimals_are_taken_as_written(values: list[Decimal | None]) -> None:
    money = decimals(*values)
    assert each(money) == [units(value or Decimal(0)) for value in values]
    nulls = [value is None for value in values]
    assert (money.null is None and not any(nulls)) or (
        money.null is not None and money.null.tolist() == nulls
    )


def test_a_slice_of_an_array_is_read_where_it_starts() -> None:
    array = pa.array([Decimal(n) for n in (1, 2, 3, 4)], exact.AS_WRITTEN)
    assert each(exact.from_decimals(array.slice(1, 2))) == [2 * 10**18, 3 * 10**18]


# --- sums ----------------------------------------------------------------------------------------


@settings(max_examples=200)
@given(
    st.lists(st.tuples(doubles, st.integers(0, 4)), max_size=40),
    st.lists(st.tuples(amounts, st.integers(0, 4)), max_size=40),
)
def test_totals_and_sums_by_group_equal_plain_integers(
    of_doubles: list[tuple[float, int]], of_decimals: list[tuple[Decimal, int]]
) -> None:
    cases: list[tuple[Money, list[int], list[int]]] = [
        (
            floats(*(value for value, _ in of_doubles)),
            [units(rounded(value)) for value, _ in of_doubles],
            [group for _, group in of_doubles],
        ),
        (
            decimals(*(value for value, _ in of_decimals)),
            [units(value) for value, _ in of_decimals],
            [group for _, group in of_decimals],
        ),
    ]
    for money, plain, groups in cases:
        assert exact.total(money) == sum(plain)
        sums = [sum(v for v, g in zip(plain, groups, strict=True) if g == n) for n in range(5)]
        assert by_group(money, groups, 5) == sums


@pytest.mark.parametrize("value", [899_999.9999999999, 900_000.0, 900_720.0, 1e12 + 1 / 3, 9.9e14])
@pytest.mark.parametrize("rows", [1, 2, 1_000, 9_000])
def test_sums_are_exact_on_both_sides_of_the_fast_path(value: float, rows: int) -> None:
    values = np.tile([value, -value, value], rows)
    money = exact.from_doubles(values)
    one = units(rounded(value))
    assert exact.total(money) == rows * one
    groups = np.tile([0, 1, 0], rows)
    if 2 * rows * value < 9e18:
        assert by_group(money, groups.tolist(), 2) == [2 * rows * one, -rows * one]


def test_totals_are_right_beyond_what_64_bits_hold() -> None:
    money = exact.from_doubles(np.full(10_000, 9.9e14))
    assert exact.total(money) == 10_000 * 990_000_000_000_000 * 10**18


def test_many_rows_with_all_decimals_are_exact() -> None:
    amount = Decimal("0.999999999999999999")
    money = exact.from_decimals(pa.array([amount] * 200_000, exact.AS_WRITTEN))
    assert exact.total(money) == 200_000 * (10**18 - 1)
    assert by_group(money, [0, 1] * 100_000, 2) == [100_000 * (10**18 - 1)] * 2


def test_large_and_tiny_amounts_in_one_batch_do_not_disturb_each_other() -> None:
    values = [9e14, 1e-10, -9e14, 1e-10]
    assert exact.amount(exact.total(floats(*values))) == Decimal("2e-10")
    assert by_group(floats(*values), [0, 1, 0, 1], 2) == [0, 2 * 10**8]


def test_groups_without_rows_are_zero() -> None:
    assert by_group(floats(1.5), [2], 4) == [0, 0, 15 * 10**17, 0]
    assert by_group(floats(), [], 2) == [0, 0]


def test_carry_keeps_the_amount_and_empties_the_units() -> None:
    sums = np.array([[1, 0, -1], [25 * 10**9, -1, 10**10], [7, -3, 0]], dtype=np.int64)
    before = exact.to_arrow(sums).to_pylist()
    carried = exact.carry(sums.copy())
    assert exact.to_arrow(carried).to_pylist() == before
    assert np.all((carried[1] >= 0) & (carried[1] < 10**10))


def test_carried_sums_go_on_for_ever() -> None:
    """Adding batch after batch: 10^6 times the most that a batch's units can hold."""
    running = np.zeros((exact.LIMBS, 1), dtype=np.int64)
    for _ in range(1_000):
        running += np.array([[0], [2**53], [2**50]], dtype=np.int64)
        running = exact.carry(running)
    (found,) = exact.to_arrow(running).to_pylist()
    assert units(found) == 1_000 * (2**53 * 10**8 + 2**50)


# --- out again -----------------------------------------------------------------------------------

limb = st.integers(-(10**17), 10**17)


@given(st.lists(st.tuples(limb, limb, st.integers(-(10**17), 10**17)), max_size=10))
def test_arrow_says_what_the_limbs_say(rows: list[tuple[int, int, int]]) -> None:
    sums = np.array(rows, dtype=np.int64).reshape(-1, 3).T.copy()
    array = exact.to_arrow(sums)
    assert array.type == pa.decimal128(38, 18)
    plain = [whole * 10**18 + unit * 10**8 + rest for whole, unit, rest in rows]
    assert [units(amount) for amount in array.to_pylist()] == plain


@given(st.integers(-(10**40), 10**40))
def test_amounts_are_written_without_needless_zeros(value: int) -> None:
    amount = exact.amount(value)
    assert units_of_any_size(amount) == value
    text = str(amount)
    assert "E" not in text or amount == 0 or abs(amount) < Decimal("1e-6")
    assert not ("." in text and "E" not in text and text.endswith("0"))


def units_of_any_size(amount: Decimal) -> int:
    with localcontext(prec=80):
        return int(amount.scaleb(18))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (10**18, "1"), (-15 * 10**17, "-1.5"), (10**19, "10"), (3 * 10**16, "0.03")],
)
def test_examples_of_amounts(value: int, text: str) -> None:
    assert str(exact.amount(value)) == text


def test_taking_rows_keeps_amounts_and_nulls() -> None:
    money = decimals("1.5", None, "-2.25")
    taken = money.take(np.array([False, True, True]))
    assert each(taken) == [0, units(Decimal("-2.25"))]
    assert taken.null is not None
    assert taken.null.tolist() == [True, False]


@settings(max_examples=100)
@given(st.lists(amounts, min_size=1, max_size=20))
def test_floats_for_comparisons_are_near(values: list[Decimal]) -> None:
    found: Any = decimals(*values).as_floats()
    assert found == pytest.approx([float(value) for value in values], rel=1e-12, abs=2e-10)


# --- Arrow arrays as numpy's ---------------------------------------------------------------------


def test_views_start_at_the_offset_and_masks_tell_the_nulls() -> None:
    array = pa.array([1, None, 3, None], pa.int64())
    assert exact.view(array.slice(2), np.int64)[0] == 3
    assert exact.view(pa.array([], pa.int64()), np.int64).size == 0
    mask = exact.null_mask(array.slice(1))
    assert mask is not None
    assert mask.tolist() == [True, False, True]
    assert exact.null_mask(pa.array([1.0])) is None
    assert exact.null_mask(pa.array(["a", None]).dictionary_encode()) is not None
