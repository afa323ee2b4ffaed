"""One batch of a bill, decoded: numbers as numpy arrays, text as codes, and each value checked on
the way.

Whatever cannot be a cost or a date is refused here, with the file, row, column and value it was
found at.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flows.cost_report import exact
from flows.cost_report.columns import NUMBERS, TAGS, TIMES
from flows.cost_report.exact import Floats, Ints, Mask, Money, null_mask, view
from flows.cost_report.group import Coded, Codes, group
from flows.cost_report.tables import COSTS
from flows.problem import Problem

NULLS = ("", "NULL", "null")

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Place:
    """Where a batch stands: its file, and the rows of the file before it."""

    file: str
    first_row: int
    row_group: int | None = None
    part: float = 0.0  # of the file, read so far: 0 … 1

    def where(self, column: str, row: int | None = None) -> dict[str, object]:
        return {
            "file": self.file,
            "row group": self.row_group,
            "row": None if row is None else self.first_row + int(row) + 1,
            "column": column,
        }


@dataclass(frozen=True)
class Numbers:
    """Doubles, null as zero."""

    values: Floats
    null: Mask | None


@dataclass(frozen=True)
class Tags:
    """The tags of each row, one row after the other, as numbers into `keys` and `values`."""

    lengths: Ints  # how many tags each row has
    pairs: Codes  # their pair numbers, row by row
    keys: list[str]  # by pair number
    values: list[str]

    def take(self, rows: Mask) -> Tags:
        return replace(self, lengths=self.lengths[rows], pairs=self.pairs[self.per_tag(rows)])

    def per_tag(self, of_row: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Something each row has, for each of its tags."""
        return np.repeat(of_row, self.lengths)


@dataclass(frozen=True)
class Batch:
    place: Place
    rows: int
    money: dict[str, Money]
    times: dict[str, Ints]  # milliseconds since 1970, UTC
    numbers: dict[str, Numbers]
    texts: dict[str, Coded]
    tags: Tags | None

    def text(self, name: str) -> Coded:
        """A text column; one that the bill does not have is null throughout."""
        return self.texts.get(name) or Coded.constant(None, self.rows)

    def cell(self, name: str, row: int) -> str:
        """One cell as text, for people; empty for null."""
        if name in self.money:
            money = self.money[name]
            is_null = money.null is not None and money.null[row]
            return (
                "" if is_null else str(exact.amount(exact.total(money.take(slice(row, row + 1)))))
            )
        if name in self.times:
            return f"{np.datetime64(int(self.times[name][row]), 'ms').astype('datetime64[s]')}Z"
        if name in self.numbers:
            numbers = self.numbers[name]
            is_null = numbers.null is not None and numbers.null[row]
            return "" if is_null else repr(float(numbers.values[row]))
        coded = self.text(name)
        return coded.values[coded.codes[row]] or ""


def decode(columns: dict[str, pa.Array], rows: int, place: Place) -> Batch:
    """Decode the columns of one batch, given by their FOCUS names."""
    money: dict[str, Money] = {}
    times: dict[str, Ints] = {}
    numbers: dict[str, Numbers] = {}
    texts: dict[str, Coded] = {}
    tags = None
    for name, array in columns.items():
        if name in COSTS:
            money[name] = _money(array, name, place)
        elif name in TIMES:
            times[name] = _times(array, name, place)
        elif name in NUMBERS:
            numbers[name] = _numbers(array, name, place)
        elif name == TAGS:
            tags = _tags(array, place)
        else:
            texts[name] = _coded(array)
    return Batch(place, rows, money, times, numbers, texts, tags)


# --- money ---------------------------------------------------------------------------------------


def _money(array: pa.Array, name: str, place: Place) -> Money:
    if pa.types.is_floating(array.type):
        values, null = _doubles(array)
        odd = ~(np.abs(values) < exact.LIMIT)  # NaN and the infinities included
        if odd.any():
            row = int(np.flatnonzero(odd)[0])
            raise _not_money(values[row], _why_not(str(values[row])), name, place, row)
        return exact.from_doubles(values, null)
    if pa.types.is_null(array.type):
        array = array.cast(exact.AS_WRITTEN)
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    text = array
    if _is_text(array.type):
        text = pc.utf8_trim_whitespace(array)
        nulls = pc.is_in(text, value_set=pa.array(NULLS, text.type))
        text = pc.if_else(nulls, pa.scalar(None, text.type), text)
    try:
        return exact.from_decimals(text.cast(exact.AS_WRITTEN))
    except pa.ArrowInvalid:
        return exact.from_decimals(_decimals_one_by_one(text, name, place))


def _decimals_one_by_one(array: pa.Array, name: str, place: Place) -> pa.Array:
    """The slow way, taken when a batch holds a value that Arrow does not take: finds the first
    bad one.
    """
    amounts: list[Decimal | None] = []
    for row, value in enumerate(array.to_pylist()):
        why = None if value is None else _why_not(str(value))
        if why:
            raise _not_money(value, why, name, place, row)
        amounts.append(None if value is None else Decimal(str(value)))
    return pa.array(amounts, exact.AS_WRITTEN)


def _why_not(text: str) -> str:
    """Why a text is not an amount; empty if it is one."""
    if not _NUMBER.fullmatch(text):
        return "it is not a plain decimal number"
    amount = Decimal(text)
    if abs(amount) >= Decimal(exact.LIMIT):
        return "it is 10^15 or more: too large for the decimal type of the roll-up"
    exponent = amount.normalize().as_tuple().exponent
    if isinstance(exponent, int) and exponent < -18:
        return "it has more than 18 decimals"
    return ""


def _not_money(value: object, why: str, name: str, place: Place, row: int) -> Problem:
    return Problem(
        f"{name} is not an amount that can be added up exactly",
        where=place.where(name, row),
        value=value,
        detail=why,
        fix="export the bill again with costs as plain numbers (1234.56), or correct this cell",
    )


# --- times ---------------------------------------------------------------------------------------


def _times(array: pa.Array, name: str, place: Place) -> Ints:
    if array.null_count:
        row = int(np.argmax(pc.is_null(array)))
        raise _not_time(None, "it is empty", name, place, row)
    if pa.types.is_temporal(array.type):
        return view(array.cast(pa.timestamp("ms"), safe=False).cast(pa.int64()), np.int64)
    coded = _coded(array)
    instants = np.zeros(len(coded.values), dtype=np.int64)
    for code in np.unique(coded.codes):
        text = coded.values[code]
        instant = None if text is None else _milliseconds(text.strip())
        if instant is None:
            row = int(np.flatnonzero(coded.codes == code)[0])
            raise _not_time(text, "it is not a date in ISO 8601", name, place, row)
        instants[code] = instant
    return instants[coded.codes]


@lru_cache(maxsize=4096)  # a month has at most 745 hours, and every batch repeats them
def _milliseconds(text: str) -> int | None:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)  # FOCUS times are UTC
    return int(instant.timestamp()) * 1000


def _not_time(value: object, why: str, name: str, place: Place, row: int) -> Problem:
    return Problem(
        f"{name} is not a date",
        where=place.where(name, row),
        value="" if value is None else value,
        detail=why,
        fix="write dates as FOCUS does, in UTC: 2026-11-01T00:00:00Z",
    )


# --- numbers and text ----------------------------------------------------------------------------


def _numbers(array: pa.Array, name: str, place: Place) -> Numbers:
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    if not pa.types.is_floating(array.type):
        trimmed = pc.utf8_trim_whitespace(array) if _is_text(array.type) else array
        try:
            array = trimmed.cast(pa.float64())
        except pa.ArrowInvalid:
            for row, value in enumerate(trimmed.to_pylist()):
                if value is not None and not _NUMBER.fullmatch(str(value)):
                    raise Problem(
                        f"{name} is not a number",
                        where=place.where(name, row),
                        value=value,
                        fix="export the bill again with plain numbers, or correct this cell",
                    ) from None
            raise
    return Numbers(*_doubles(array))


def _doubles(array: pa.Array) -> tuple[Floats, Mask | None]:
    null = null_mask(array)
    if null is not None:
        array = pc.fill_null(array, pa.scalar(0, array.type))
    return view(array.cast(pa.float64()), np.float64), null


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _coded(array: pa.Array) -> Coded:
    if not pa.types.is_dictionary(array.type):
        if not _is_text(array.type):
            array = array.cast(pa.string())
        array = array.dictionary_encode()
    values: list[str | None] = [None, *array.dictionary.to_pylist()]
    if len(values) == 2 and not array.null_count and values[1] not in NULLS:
        return Coded.constant(values[1], len(array))
    codes = _codes(array)
    nulls = [code for code, value in enumerate(values) if value in NULLS]
    if nulls:
        recode = np.arange(len(values), dtype=np.int32)
        recode[nulls] = 0
        codes = recode[codes]
    return Coded(codes, values)


def _codes(array: pa.DictionaryArray) -> Codes:
    """The codes of a dictionary array, from 1; null is 0."""
    indices = array.indices.cast(pa.int32())
    if indices.null_count:
        indices = pc.fill_null(indices, pa.scalar(-1, pa.int32()))
    codes: Codes = view(indices, np.int32) + np.int32(1)
    return codes


# --- tags ----------------------------------------------------------------------------------------


def _tags(array: pa.Array, place: Place) -> Tags:
    return _tags_of_map(array) if pa.types.is_map(array.type) else _tags_of_json(array, place)


def _tags_of_map(array: pa.MapArray) -> Tags:
    offsets = view(array.offsets, np.int32)
    keys, items = (
        part if pa.types.is_dictionary(part.type) else part.dictionary_encode()
        for part in (
            side.slice(offsets[0], offsets[-1] - offsets[0]) for side in (array.keys, array.items)
        )
    )
    size = len(items.dictionary) + 1
    groups = group([(_codes(keys), len(keys.dictionary) + 1), (_codes(items), size)], len(keys))
    names, values = ([None, *side.dictionary.to_pylist()] for side in (keys, items))
    return Tags(
        np.diff(offsets).astype(np.int64),
        groups.of_row.astype(np.int32),
        [names[code] or "" for code in groups.codes[0]],
        [values[code] or "" for code in groups.codes[1]],
    )


def _tags_of_json(array: pa.Array, place: Place) -> Tags:
    coded = _coded(array)
    numbers: dict[tuple[str, str], int] = {}
    sets: list[list[int]] = []
    used = np.bincount(coded.codes, minlength=len(coded.values)) > 0
    for code, text in enumerate(coded.values):
        pairs = _parse_tags(text) if used[code] and text is not None else ()
        if pairs is None:
            row = int(np.flatnonzero(coded.codes == code)[0])
            raise Problem(
                "Tags is not a JSON object",
                where=place.where(TAGS, row),
                value=text,
                fix='write tags as FOCUS does: {"key": "value", …}, or leave the cell empty',
            )
        sets.append([numbers.setdefault(pair, len(numbers)) for pair in pairs])
    lengths = np.array([len(numbers_) for numbers_ in sets], dtype=np.int64)[coded.codes]
    flat = [number for code in coded.codes for number in sets[code]]
    return Tags(
        lengths,
        np.array(flat, dtype=np.int32),
        [key for key, _ in numbers],
        [value for _, value in numbers],
    )


@lru_cache(maxsize=65536)
def _parse_tags(text: str) -> tuple[tuple[str, str], ...] | None:
    try:
        tags = json.loads(text)
    except ValueError:
        return None
    if isinstance(
        tags, list
    ):  # Athena and Spark write maps as [["key", "value"], …] or [{"key": …, "value": …}]
        try:
            tags = dict((t["key"], t["value"]) if isinstance(t, dict) else t for t in tags)
        except (KeyError, TypeError, ValueError):
            return None
    if not isinstance(tags, dict):
        return None
    return tuple((str(k), "" if v is None else str(v)) for k, v in tags.items())
