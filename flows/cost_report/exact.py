"""Exact money at the speed of floats.

Amounts are held as up to three `float64` arrays of whole numbers ("limbs"):

    amount = units / 10^10 + whole + rest / 10^18

A float64 adds whole numbers exactly as long as every partial sum stays below 2^53, so a batch is
summed with numpy's float kernels and carried on as int64. A batch that is worth less than 900,000
in all needs `units` alone. Doubles (AWS's Parquet) are rounded half-even to 10^-10 of their exact
binary value; text and decimals are taken as written. Limbs and not a decimal type, because
`numpy.bincount` sums them by group at two nanoseconds a row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Floats: TypeAlias = npt.NDArray[np.float64]
Mask: TypeAlias = npt.NDArray[np.bool_]
Ints: TypeAlias = npt.NDArray[np.int64]

LIMBS = 3  # of a sum, in this order: whole, units, rest
LIMIT = (
    1e15  # an amount at or above it is refused: a double no longer holds a tenth of a cent there
)
AS_WRITTEN = pa.decimal128(33, 18)  # 15 whole digits, 18 decimals: the most that text may hold

_UNIT = 10**10
_NEAR_A_TIE = 0.5 - 1e-5
_EXACT = float(2**53)
_SAFE = _EXACT * 0.99  # bounds are float sums themselves


@dataclass(frozen=True)
class Money:
    """One cost column of one batch: limbs of equal length, null as zero, and where it was null.

    Without `whole`, `units` holds the entire amount to 10^-10. `bound` is no less than what the
    magnitudes of any of the limbs add up to: below 2^53 they can be added as they are.
    """

    units: Floats
    bound: float
    whole: Floats | None = None
    rest: Floats | None = None
    null: Mask | None = None

    def take(self, rows: Mask | slice) -> Money:
        """Some of the rows."""
        return self._each(lambda limb: limb[rows], 1)

    def repeat(self, rows: npt.NDArray[np.intp], most: int) -> Money:
        """Rows by number, each at most `most` times."""
        return self._each(lambda limb: limb.take(rows), most)

    def _each(self, pick: Callable[[Any], Any], most: int) -> Money:
        limbs = (self.whole, self.rest, self.null)
        whole, rest, null = (None if limb is None else pick(limb) for limb in limbs)
        return Money(pick(self.units), self.bound * most, whole, rest, null)

    def as_floats(self) -> Floats:
        """The amounts to double precision, for comparisons with a tolerance; never for totals."""
        value = self.units * 1e-10
        return value if self.whole is None else value + self.whole


def from_doubles(values: Floats, null: Mask | None = None) -> Money:
    """Round finite doubles below LIMIT to 10^-10, half to even, exactly."""
    whole = np.trunc(values)
    fraction = values - whole  # exact: both are multiples of the value's last bit
    scaled = fraction * 1e10
    units = np.rint(scaled)
    # The product is off by at most 2^-20, so rint can be wrong only next to a tie.
    scaled -= units
    np.abs(scaled, out=scaled)
    if scaled.max(initial=0) > _NEAR_A_TIE:
        near = np.flatnonzero(scaled > _NEAR_A_TIE)
        units[near] = _round_exactly(fraction[near])
    magnitude = float(np.abs(values).sum()) + 1
    if magnitude * _UNIT < _SAFE:
        whole *= 1e10
        units += whole
        return Money(units, magnitude * _UNIT, null=null)
    return Money(units, max(magnitude, values.size * float(_UNIT)), whole, null=null)


def _round_exactly(fraction: Floats) -> Floats:
    """rint(fraction * 10^10) near a tie, by the sign of the exact distance to it."""
    split = fraction * float(
        2**27 + 1
    )  # Veltkamp: two halves of 26 bits; 10^10 = 5^10 * 2^10 has 24
    high = split - (split - fraction)
    low = fraction - high
    tie = np.floor(fraction * 1e10) + 0.5
    beyond = (high * 1e10 - tie) + low * 1e10  # both products and the difference are exact
    return np.where(beyond < 0, tie - 0.5, np.where(beyond > 0, tie + 0.5, np.rint(tie)))


def from_decimals(values: pa.Array) -> Money:
    """Take an Arrow array of type AS_WRITTEN as it is."""
    null = null_mask(values)
    filled = values if null is None else pc.fill_null(values, pa.scalar(0, AS_WRITTEN))
    whole = pc.trunc(filled)
    fraction = pc.subtract(filled, whole).cast(AS_WRITTEN)
    words = np.frombuffer(fraction.buffers()[1], dtype=np.int64)[::2]  # |fraction| < 10^18 < 2^63
    below = words[fraction.offset : fraction.offset + len(fraction)]
    units = (np.abs(below) // 10**8) * np.sign(below)
    wholes = view(whole.cast(pa.int64()), np.int64).astype(np.float64)
    return Money(
        units.astype(np.float64),
        max(float(np.abs(wholes).sum()), len(values) * float(_UNIT)),
        wholes,
        (below - units * 10**8).astype(np.float64),
        null,
    )


def total(money: Money) -> int:
    """The sum in units of 10^-18."""
    add = _sum if money.bound < _SAFE else _sum_in_halves
    return sum(
        add(limb) * scale
        for limb, scale in ((money.whole, 10**18), (money.units, 10**8), (money.rest, 1))
        if limb is not None
    )


def amount(units: int) -> Decimal:
    """Units of 10^-18 as a decimal without needless zeros."""
    text = f"{abs(units):019d}"
    fraction = text[-18:].rstrip("0")
    sign = "-" if units < 0 else ""
    return Decimal(f"{sign}{text[:-18]}.{fraction}" if fraction else f"{sign}{text[:-18]}")


def sum_by(money: Money, groups: npt.NDArray[np.intp], count: int) -> Ints:
    """Sums per group: shape (LIMBS, count). `groups` gives each row's group, 0 … count - 1."""
    sums = np.zeros((LIMBS, count), dtype=np.int64)
    for sum_, limb in zip(sums, (money.whole, money.units, money.rest), strict=True):
        if limb is None:
            continue
        if money.bound < _SAFE:
            sum_[:] = np.bincount(groups, weights=limb, minlength=count)
        else:
            np.add.at(sum_, groups, limb.astype(np.int64))
    return carry(sums)


def carry(sums: Ints) -> Ints:
    """Move what is a whole out of the units, so that they never outgrow an int64."""
    whole = sums[1] // _UNIT
    sums[0] += whole
    sums[1] -= whole * _UNIT
    return sums


def to_arrow(sums: Ints) -> pa.Array:
    """Sums of shape (LIMBS, n) as an Arrow array of decimal128(38, 18)."""
    whole, units, rest = (
        _as_decimal(limb, scale) for limb, scale in zip(sums, (0, 10, 18), strict=True)
    )
    small = pc.add(units.cast(pa.decimal128(27, 18)), rest)
    return pc.add(whole.cast(pa.decimal128(37, 18)), small)


def _as_decimal(values: Ints, scale: int) -> pa.Array:
    words = np.empty((len(values), 2), dtype=np.int64)  # little-endian 128-bit two's complement
    words[:, 0] = values
    words[:, 1] = values >> 63
    buffers = [None, pa.py_buffer(words)]
    return pa.Array.from_buffers(pa.decimal128(19, scale), len(values), buffers)


def _sum(limb: Floats) -> int:
    return int(limb.sum())


def _sum_in_halves(limb: Floats) -> int:
    """Each half of a limb's bits adds up exactly; the sum may outgrow an int64."""
    high = np.trunc(limb / 2**26)
    low = limb - high * 2**26
    return int(high.astype(np.int64).sum()) * 2**26 + int(low.astype(np.int64).sum())


# --- Arrow arrays as numpy's, without a copy -----------------------------------------------------
# pyarrow's own conversion goes through its pandas bridge, which copies.


def view(array: pa.Array, kind: type[np.generic]) -> npt.NDArray[Any]:
    """The values of a fixed-width array, whatever its nulls hide."""
    values = np.frombuffer(array.buffers()[1] or b"", dtype=kind)
    return values[array.offset : array.offset + len(array)]


def null_mask(array: pa.Array) -> Mask | None:
    """Where the array is null; None where it never is."""
    if not array.null_count:
        return None
    return view(pc.is_null(array).cast(pa.uint8()), np.bool_)
