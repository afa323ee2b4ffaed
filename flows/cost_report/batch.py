"""One batch of a bill, decoded: numbers as numpy arrays, text as codes, and each value checked on
the way.

Whatever cannot be a cost or a date is refused here, with the file, row, column and value it was
found at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flows.cost_report import exact
from flows.cost_report.columns import NUMBERS, TAGS, TIMES
from flows.cost_report.exact import Floats, Ints, Mask, Money, null_mask, view
from flows.cost_report.group import Coded, Codes, Interner
from flows.cost_report.tables import COSTS
from flows.problem import Problem

NULLS = ("", "NULL", "null")

# Years beyond these are another unit taken for milliseconds, or a slip of the pen.
_FIRST, _END = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) * 1000 for year in (1980, 2200))

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
    """The tags of each row, one row after the other."""

    lengths: Ints  # how many tags each row has
    keys: Coded  # their keys and values, row by row
    values: Coded

    def take(self, rows: Mask) -> Tags:
        tags = np.repeat(rows, self.lengths)
        return Tags(self.lengths[rows], self.keys.take(tags), self.values.take(tags))


@dataclass(frozen=True)
class Batch:
    place: Place
    rows: int
    money: dict[str, Money]
    times: dict[str, Ints]  # milliseconds since 1970, UTC
    numbers: dict[str, Numbers]
    texts: dict[str, Coded]
    tags: Tags | None

    def has(self, names: Iterable[str]) -> bool:
        """Whether the file of this batch has these columns."""
        kinds = (self.money, self.times, self.numbers, self.texts)
        return all(any(name in kind for kind in kinds) for name in names)

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
            return _iso(self.times[name][row])
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
        try:
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
        except pa.ArrowException as error:
            raise Problem(
                f"{name} is of a type that cannot be read",
                where=place.where(name),
                value=array.type,
                detail=str(error).partition("\n")[0],
                fix="export as AWS does: costs double, times timestamp, tags a map, the rest text",
            ) from error
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
    array = _without_nulls(array)
    try:
        return exact.from_decimals(array.cast(exact.AS_WRITTEN))
    except pa.ArrowInvalid:
        return exact.from_decimals(_decimals_one_by_one(array, name, place))


def _without_nulls(array: pa.Array) -> pa.Array:
    """Text without blanks around it, and with what stands for null as null; else as it is."""
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    if not _is_text(array.type):
        return array
    text = pc.utf8_trim_whitespace(array)
    nulls = pc.is_in(text, value_set=pa.array(NULLS, text.type))
    return pc.if_else(nulls, pa.scalar(None, text.type), text)


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
    try:
        amount = Decimal(text) if _NUMBER.fullmatch(text) else Decimal("NaN")
    except InvalidOperation:  # an exponent beyond all measure
        amount = Decimal("NaN")
    if not amount.is_finite():
        return "it is not a plain decimal number"
    if amount.copy_abs() >= Decimal(exact.LIMIT):
        return "it is 10^15 or more: too large for the decimal type of the roll-up"
    _, digits, exponent = amount.as_tuple()
    zeros = len(digits) - len("".join(map(str, digits)).rstrip("0"))
    if amount and int(exponent) + zeros < -18:
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
        instants = view(array.cast(pa.timestamp("ms"), safe=False).cast(pa.int64()), np.int64)
        if instants.size and not (instants.min() >= _FIRST and instants.max() < _END):
            row = int(np.argmax((instants < _FIRST) | (instants >= _END)))
            raise _not_time(
                _iso(instants[row]), "it is in no year that a bill is about", name, place, row
            )
        return instants
    coded = _coded(array)
    instants = np.zeros(len(coded.values), dtype=np.int64)
    for code in np.unique(coded.codes):
        text = coded.values[code]
        instant = None if text is None else _milliseconds(text.strip())
        if instant is None:
            row = int(np.flatnonzero(coded.codes == code)[0])
            raise _not_time(text, "it is not a date in ISO 8601 of our times", name, place, row)
        instants[code] = instant
    return instants[coded.codes]


def _iso(milliseconds: np.int64) -> str:
    return f"{np.datetime64(int(milliseconds), 'ms').astype('datetime64[s]')}Z"


@lru_cache(maxsize=4096)  # a month has at most 745 hours, and every batch repeats them
def _milliseconds(text: str) -> int | None:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)  # FOCUS times are UTC
    milliseconds = int(instant.timestamp()) * 1000
    return milliseconds if _FIRST <= milliseconds < _END else None


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
    array = _without_nulls(array)
    try:
        return Numbers(*_doubles(array.cast(pa.float64(), safe=_is_text(array.type))))
    except pa.ArrowInvalid:
        for row, value in enumerate(array.to_pylist()):
            if value is not None and not _NUMBER.fullmatch(str(value)):
                raise Problem(
                    f"{name} is not a number",
                    where=place.where(name, row),
                    value=value,
                    fix="export the bill again with plain numbers, or correct this cell",
                ) from None
        raise


def _doubles(array: pa.Array) -> tuple[Floats, Mask | None]:
    null = null_mask(array)
    values = view(array.cast(pa.float64()), np.float64)
    return (values, None) if null is None else (np.where(null, 0, values), null)


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
    codes: Codes = view(array.indices.cast(pa.int32()), np.int32) + np.int32(1)
    null = null_mask(array.indices)
    if null is not None:
        codes[null] = 0
    return codes


# --- tags ----------------------------------------------------------------------------------------


def _tags(array: pa.Array, place: Place) -> Tags:
    if pa.types.is_list(array.type):  # of {key, value}: how Glue and Spark may write a map
        pairs = array.values
        array = pa.MapArray.from_arrays(array.offsets, pairs.field("key"), pairs.field("value"))
    return _tags_of_map(array) if pa.types.is_map(array.type) else _tags_of_json(array, place)


def _tags_of_map(array: pa.MapArray) -> Tags:
    offsets = view(array.offsets, np.int32)
    keys, items = (
        part if pa.types.is_dictionary(part.type) else part.dictionary_encode()
        for part in (
            side.slice(offsets[0], offsets[-1] - offsets[0]) for side in (array.keys, array.items)
        )
    )
    tags = Tags(
        np.diff(offsets).astype(np.int64),
        *(Coded(_codes(side), [None, *side.dictionary.to_pylist()]) for side in (keys, items)),
    )
    last = _last_of_each_key(tags)
    if last is None:
        return tags
    row = np.repeat(np.arange(len(array)), tags.lengths)[last]
    lengths = np.bincount(row, minlength=len(array))
    return Tags(lengths, tags.keys.take(last), tags.values.take(last))


def _last_of_each_key(tags: Tags) -> Mask | None:
    """Which tags to keep where a row names a key twice: the last, as in JSON. None: no row does."""
    keys, lengths = tags.keys.codes, tags.lengths
    if keys.size < 2:
        return None
    # Most writers give every row's keys in one order: codes that only rise within a row are proof.
    falls = keys[1:] <= keys[:-1]
    starts = (np.cumsum(lengths) - lengths)[lengths > 0]
    falls[starts[1:] - 1] = False
    if not falls.any():
        return None
    row = np.repeat(np.arange(len(lengths)), lengths)
    row_and_key = row * len(tags.keys.values) + keys
    _, first_from_behind = np.unique(row_and_key[::-1], return_index=True)
    if len(first_from_behind) == len(keys):
        return None
    kept = np.zeros(len(keys), dtype=np.bool_)
    kept[len(keys) - 1 - first_from_behind] = True
    return kept


def _tags_of_json(array: pa.Array, place: Place) -> Tags:
    coded = _coded(array)
    names, values = Interner(), Interner()
    sets: list[list[tuple[int, int]]] = []
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
        sets.append([(names.code(key), values.code(value)) for key, value in pairs])
    # Each row's tags are those of its set: spread the sets over the rows without a loop.
    sizes = np.array([len(pairs) for pairs in sets], dtype=np.int64)
    starts = np.cumsum(sizes) - sizes
    lengths = sizes[coded.codes]
    before = np.cumsum(lengths) - lengths
    at = np.arange(lengths.sum()) + np.repeat(starts[coded.codes] - before, lengths)
    flat = np.array([pair for pairs in sets for pair in pairs], dtype=np.int32).reshape(-1, 2)
    return Tags(lengths, Coded(flat[at, 0], names.values), Coded(flat[at, 1], values.values))


@lru_cache(maxsize=65536)
def _parse_tags(text: str) -> tuple[tuple[str, str], ...] | None:
    try:
        tags = json.loads(text, strict=False)
        if isinstance(tags, list):  # as Athena and Spark write maps: pairs, or {"key":, "value":}
            tags = dict((t["key"], t["value"]) if isinstance(t, dict) else t for t in tags)
        return tuple((_tag_text(key), _tag_text(value)) for key, value in tags.items())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _tag_text(value: object) -> str:
    """A tag's key or value as text; lone surrogates, which no file can hold, become `?`."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
