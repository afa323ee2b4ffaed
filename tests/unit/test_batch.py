"""Every kind of value a column can hold; how a bad one is refused: row, column, value, why."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from flows.cost_report import exact
from flows.cost_report.batch import Batch, Place, Tags, decode
from flows.problem import Problem

PLACE = Place("bill.csv", first_row=100)
MAP = pa.map_(pa.string(), pa.string())
NOVEMBER_5 = int(datetime(2026, 11, 5, tzinfo=UTC).timestamp()) * 1000


def of(name: str, cells: Any, kind: pa.DataType | None = None) -> Batch:
    array = cells if isinstance(cells, pa.Array) else pa.array(cells, kind)
    return decode({name: array}, len(array), PLACE)


def amounts(cells: Any, kind: pa.DataType | None = None) -> list[Decimal | None]:
    batch = of("BilledCost", cells, kind)
    money = batch.money["BilledCost"]
    return [
        None
        if money.null is not None and money.null[row]
        else exact.amount(exact.total(money.take(slice(row, row + 1))))
        for row in range(batch.rows)
    ]


def days(cells: Any, kind: pa.DataType | None = None) -> list[str]:
    found = of("ChargePeriodStart", cells, kind).times["ChargePeriodStart"]
    return [str(np.datetime64(int(instant), "ms")) for instant in found]


def numbers(cells: Any, kind: pa.DataType | None = None) -> list[float | None]:
    found = of("PricingQuantity", cells, kind).numbers["PricingQuantity"]
    nulls = [False] * len(found.values) if found.null is None else found.null.tolist()
    return [
        None if null else value for value, null in zip(found.values.tolist(), nulls, strict=True)
    ]


def texts(cells: Any, kind: pa.DataType | None = None) -> list[str | None]:
    coded = of("ServiceName", cells, kind).texts["ServiceName"]
    return [coded.values[code] for code in coded.codes]


def tags(cells: Any, kind: pa.DataType | None = None) -> list[list[tuple[str, str]]]:
    found = of("Tags", cells, kind).tags
    assert found is not None
    return tags_by_row(found)


def tags_by_row(found: Tags) -> list[list[tuple[str, str]]]:
    keys, values = (
        [coded.values[code] or "" for code in coded.codes] for coded in (found.keys, found.values)
    )
    pairs = iter(zip(keys, values, strict=True))
    return [[next(pairs) for _ in range(length)] for length in found.lengths]


def refusal(name: str, cells: Any, kind: pa.DataType | None = None) -> Problem:
    with pytest.raises(Problem) as caught:
        of(name, cells, kind)
    assert caught.value.where["file"] == "bill.csv"
    assert caught.value.where["column"] == name
    assert caught.value.fix
    return caught.value


# --- money ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1234.56", "1234.56"),
        ("-0.000000000000000001", "-1e-18"),
        ("999999999999999.999999999999999999", "999999999999999.999999999999999999"),
        ("1.50000000000000000000000", "1.5"),  # more zeros are no more decimals
        ("1e5", "100000"),
        ("4E-7", "0.0000004"),
        ("0e-30", "0"),
        ("+5", "5"),
        (".5", "0.5"),
        ("5.", "5"),
        ("-.5", "-0.5"),
        ("-0", "0"),
        ("  1.5\t", "1.5"),
    ],
)
def test_text_is_an_amount_exactly_as_written(text: str, amount: str) -> None:
    assert amounts([text]) == [Decimal(amount)]


@pytest.mark.parametrize("null", ["", "NULL", "null", "  ", None])
def test_what_stands_for_null_is_null_in_every_kind_of_column(null: str | None) -> None:
    assert amounts([null, "1"]) == [None, 1]
    assert numbers([null, "1"]) == [None, 1.0]
    assert amounts(pa.array([null, "1"]).dictionary_encode()) == [None, 1]
    assert numbers(pa.array([null, "1"]).dictionary_encode()) == [None, 1.0]
    if null != "  ":  # a blank name is a name
        assert texts([null, "a"]) == [None, "a"]
        assert tags([null, '{"a": "b"}']) == [[], [("a", "b")]]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("$10,000.00 ", "not a plain decimal number"),
        ("1,5", "not a plain decimal number"),
        ("1_000", "not a plain decimal number"),
        ("abc", "not a plain decimal number"),
        ("NaN", "not a plain decimal number"),
        ("inf", "not a plain decimal number"),
        ("0x10", "not a plain decimal number"),
        ("--1", "not a plain decimal number"),
        ("1 2", "not a plain decimal number"),
        ("1e", "not a plain decimal number"),
        ("1e99999999999999999999", ""),
        ("1e-99999999999999999999", ""),
        ("1e400", "too large"),
        ("-1e15", "too large"),
        ("1000000000000000", "too large"),
        ("0.0000000000000000001", "more than 18 decimals"),
        ("1e-19", "more than 18 decimals"),
        ("12345678901.1234567890123456789", "more than 18 decimals"),
        ("999999999999999.9999999999999999999", "more than 18 decimals"),
    ],
)
def test_text_that_is_no_amount_is_refused_with_row_and_value(text: str, why: str) -> None:
    problem = refusal("EffectiveCost", ["1", None, text, "nonsense too"])
    assert problem.where["row"] == 103  # 100 rows before the batch, then the third
    assert problem.value == text.strip()
    assert why in problem.detail


def test_the_first_bad_cell_is_blamed_and_no_good_one() -> None:
    problem = refusal("ListCost", ["999999999999999.999999999999999999", "1e-18", "oops"])
    assert (problem.where["row"], problem.value) == (103, "oops")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e15, -1e300])
def test_doubles_that_are_no_amount_are_refused(value: float) -> None:
    problem = refusal("BilledCost", [0.5, value])
    assert problem.where["row"] == 102
    assert problem.value == str(value)


@pytest.mark.parametrize(
    ("kind", "cells", "expected"),
    [
        (pa.float64(), [0.1, None, -2.5], ["0.1", None, "-2.5"]),
        (pa.float32(), [0.5, None], ["0.5", None]),
        (pa.float32(), [0.1], ["0.1000000015"]),  # the double that the float32 is
        (pa.int64(), [7, None, -3], ["7", None, "-3"]),
        (pa.int8(), [7], ["7"]),
        (pa.decimal128(10, 2), [Decimal("1.25"), None], ["1.25", None]),
        (pa.decimal128(38, 18), [Decimal("1e-18")], ["1e-18"]),
        (pa.decimal128(38, 20), [Decimal("1.5")], ["1.5"]),
        (pa.decimal256(60, 30), [Decimal("1.5")], ["1.5"]),
        (pa.string(), ["1.5", None], ["1.5", None]),
        (pa.large_string(), [" 1.5", "NULL"], ["1.5", None]),
        (pa.string_view(), ["1.5"], ["1.5"]),
        (pa.dictionary(pa.int32(), pa.string()), ["1.5", None, "NULL"], ["1.5", None, None]),
        (pa.null(), [None, None], [None, None]),
    ],
)
def test_costs_of_every_type_that_holds_numbers(
    kind: pa.DataType, cells: list[Any], expected: list[str | None]
) -> None:
    assert amounts(cells, kind) == [None if e is None else Decimal(e) for e in expected]
    assert amounts([], kind) == []


def test_decimals_with_more_places_than_are_kept_are_refused() -> None:
    problem = refusal("BilledCost", [Decimal("1.5e-25")], pa.decimal256(60, 30))
    assert "more than 18 decimals" in problem.detail
    assert problem.where["row"] == 101


@pytest.mark.parametrize(
    ("name", "cells", "kind"),
    [
        ("BilledCost", [True], pa.bool_()),
        ("BilledCost", [datetime(2026, 1, 1)], pa.timestamp("ms")),
        ("BilledCost", [[1.0]], pa.list_(pa.float64())),
        ("ChargePeriodStart", [1], pa.duration("s")),
        ("ChargePeriodStart", [1], pa.time32("s")),
        ("ChargePeriodStart", [[1]], pa.list_(pa.int8())),
        ("PricingQuantity", [datetime(2026, 1, 1)], pa.timestamp("ms")),
        ("ServiceName", [["a"]], pa.list_(pa.string())),
        ("Tags", [{"a": "b"}], pa.struct([("a", pa.string())])),
    ],
)
def test_a_column_of_a_type_that_makes_no_sense_is_refused(
    name: str, cells: list[Any], kind: pa.DataType
) -> None:
    assert str(kind) in str(refusal(name, cells, kind))


# --- times ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-05T00:00:00Z", "2026-11-05T00:00:00.000"),
        ("2026-11-05 00:00:00", "2026-11-05T00:00:00.000"),  # naive: UTC
        ("2026-11-05T01:30:00+01:30", "2026-11-05T00:00:00.000"),
        ("2026-11-05", "2026-11-05T00:00:00.000"),
        ("20261105", "2026-11-05T00:00:00.000"),
        (" 2026-11-05T10:00Z ", "2026-11-05T10:00:00.000"),
        ("2024-02-29T23:59:59Z", "2024-02-29T23:59:59.000"),
    ],
)
def test_dates_in_iso_8601_are_instants_in_utc(text: str, expected: str) -> None:
    assert days([text]) == [expected]


@pytest.mark.parametrize(
    "text",
    ["5/1/25", "2026-13-01", "2025-02-29", "tomorrow", "2026-11-05T25:00:00Z", "1", "NULL", ""],
)
def test_other_dates_are_refused(text: str) -> None:
    problem = refusal("BillingPeriodEnd", ["2026-11-05", text])
    assert problem.where["row"] == 102
    assert problem.value == ("" if text == "NULL" else text)


@pytest.mark.parametrize(
    "kind",
    [
        pa.timestamp("s"),
        pa.timestamp("ms"),
        pa.timestamp("us", "UTC"),
        pa.timestamp("ns", "America/New_York"),
        pa.date32(),
        pa.date64(),
    ],
)
def test_dates_of_every_type_that_holds_dates(kind: pa.DataType) -> None:
    array = pa.array([NOVEMBER_5], pa.timestamp("ms")).cast(kind)
    found = of("ChargePeriodStart", array).times["ChargePeriodStart"]
    assert found.tolist() == [NOVEMBER_5]
    problem = refusal("ChargePeriodStart", pa.concat_arrays([array, pa.nulls(1, kind)]))
    assert (problem.where["row"], problem.value) == (102, "")


def test_dates_as_dictionaries_and_large_text() -> None:
    text = pa.array(["2026-11-05", "2026-11-06", "2026-11-05"])
    expected = ["2026-11-05T00:00:00.000", "2026-11-06T00:00:00.000", "2026-11-05T00:00:00.000"]
    assert days(text.dictionary_encode()) == expected
    assert days(text.cast(pa.large_string())) == expected
    assert days([date(2026, 11, 5)]) == expected[:1]


@pytest.mark.parametrize("year", [1, 1000, 2999, 9999])
def test_dates_of_no_year_that_a_bill_is_about_are_refused(year: int) -> None:
    """Another unit taken for milliseconds would otherwise ask for a million days of memory."""
    problem = refusal("ChargePeriodStart", ["2026-11-05", f"{year:04d}-01-01"])
    assert problem.where["row"] == 102
    instants = pa.array([NOVEMBER_5, NOVEMBER_5 * 1000], pa.timestamp("ms"))
    assert refusal("ChargePeriodStart", instants).where["row"] == 102


# --- numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "cells", "expected"),
    [
        (pa.float64(), [0.5, None], [0.5, None]),
        (pa.float32(), [0.5, None], [0.5, None]),
        (pa.int64(), [7, 2**53 + 1], [7.0, float(2**53)]),
        (pa.decimal128(38, 18), [Decimal("1.5"), None], [1.5, None]),
        (pa.string(), [" 1.5", "1e3", "NULL", ""], [1.5, 1000.0, None, None]),
        (pa.large_string(), ["1.5"], [1.5]),
        (pa.dictionary(pa.int32(), pa.string()), ["1.5", "null"], [1.5, None]),
        (pa.null(), [None], [None]),
    ],
)
def test_numbers_of_every_type(
    kind: pa.DataType, cells: list[Any], expected: list[float | None]
) -> None:
    assert numbers(cells, kind) == expected
    assert numbers([], kind) == []


def test_text_that_is_no_number_is_refused() -> None:
    problem = refusal("ListUnitPrice", ["1", "$2"])
    assert (problem.where["row"], problem.value) == (102, "$2")


# --- text ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.dictionary(pa.int8(), pa.string()),
        pa.dictionary(pa.int64(), pa.large_string()),
    ],
)
def test_text_of_every_type(kind: pa.DataType) -> None:
    cells = ["a", None, "Ünïcödé 雲", "a", "NULL", "<script>"]
    assert texts(cells, kind) == ["a", None, "Ünïcödé 雲", "a", None, "<script>"]
    assert texts(cells[:1] * 3, kind) == ["a"] * 3
    assert texts([None, None], kind) == [None, None]
    assert texts(["null"], kind) == [None]
    assert texts([], kind) == []


def test_ids_that_are_numbers_become_text() -> None:
    assert texts([123456789012, None], pa.int64()) == ["123456789012", None]


def test_a_slice_of_a_dictionary_is_read_where_it_starts() -> None:
    array = pa.array(["a", "b", None, "c"]).dictionary_encode()
    assert texts(array.slice(1, 2)) == ["b", None]


def test_a_column_that_says_the_same_in_every_row_takes_no_memory() -> None:
    coded = of("BillingCurrency", ["USD"] * 5).texts["BillingCurrency"]
    assert coded.codes.strides == (0,)


# --- tags ----------------------------------------------------------------------------------------

TAG_SETS: list[Any] = [
    {"team": "web", "env": "prod"},
    {},
    None,
    {"team": ""},
    {"team": "<script>alert(1)</script>", "Größe": "☁️", "quote": 'a"b\\c', "": "no key"},
    {"team": "web", "env": "prod"},
    {"lines": "one\ntwo"},
    {"null": "NULL", "NULL": "null"},  # text like any other, in here
]
PLAIN = [list((tag_set or {}).items()) for tag_set in TAG_SETS]


def as_map(kind: pa.DataType = MAP) -> pa.Array:
    return pa.array([None if t is None else list(t.items()) for t in TAG_SETS], MAP).cast(kind)


def as_json() -> list[str | None]:
    import json

    return [
        None if t is None else json.dumps(t, ensure_ascii=i % 2 == 0)
        for i, t in enumerate(TAG_SETS)
    ]


def test_tags_as_a_map_and_as_json_are_alike() -> None:
    assert tags(as_map()) == PLAIN
    assert tags(as_json()) == PLAIN
    assert tags(pa.array(as_json()).dictionary_encode()) == PLAIN
    assert tags(pa.array(as_json(), pa.large_string())) == PLAIN


@pytest.mark.parametrize("start", range(len(TAG_SETS)))
def test_a_slice_of_tags_is_read_where_it_starts(start: int) -> None:
    assert tags(as_map().slice(start, 2)) == PLAIN[start : start + 2]
    assert tags(pa.array(as_json()).slice(start, 2)) == PLAIN[start : start + 2]


def test_tags_as_lists_of_pairs_as_athena_and_spark_write_them() -> None:
    assert tags(['[["a", "1"], ["b", "2"]]', '[{"key": "a", "value": "1"}]', "[]"]) == [
        [("a", "1"), ("b", "2")],
        [("a", "1")],
        [],
    ]


def test_a_key_named_twice_counts_once_with_its_last_value() -> None:
    assert tags(['{"a": "1", "b": "x", "a": "2"}']) == [[("a", "2"), ("b", "x")]]
    twice = [[("b", "x"), ("a", "1"), ("a", "2")], [("a", "3")], [("c", "1"), ("c", "1")], []]
    assert tags(twice, MAP) == [[("b", "x"), ("a", "2")], [("a", "3")], [("c", "1")], []]


@pytest.mark.parametrize("keys", [1, 40, 61, 62, 100])
@pytest.mark.parametrize("times", [2, 9, 17])
def test_the_last_key_of_many_may_be_named_often(keys: int, times: int) -> None:
    row = [(f"k{i}", "v") for i in range(keys)]
    assert tags([row, row[-1:] * times], MAP) == [row, row[-1:]]


def test_null_values_of_tags_are_empty() -> None:
    assert tags([[("a", None)]], MAP) == [[("a", "")]]
    assert tags(['{"a": null}']) == [[("a", "")]]


def test_json_values_that_are_no_text_are_spelled_as_json_does() -> None:
    """FOCUS: a tag that has no value is `true`."""
    assert tags(['{"a": true, "b": 1, "c": {"x": ["y"]}}']) == [
        [("a", "true"), ("b", "1"), ("c", '{"x": ["y"]}')]
    ]


def test_a_lone_surrogate_becomes_text_that_a_file_can_hold() -> None:
    ((tag,),) = tags(['{"a": "x\\ud800y"}'])
    assert tag[1].encode()


@pytest.mark.parametrize(
    "text",
    ["5", "[5]", "{", "team=web", '"web"', '[["a", "b"], ["c"]]', '[{"key": "a"}]', "[" * 100_000],
)
def test_tags_that_are_no_object_are_refused(text: str) -> None:
    problem = refusal("Tags", ['{"a": "b"}', None, text])
    assert problem.where["row"] == 103
    assert str(problem.value).startswith(text[:150])


def test_tags_of_chosen_rows() -> None:
    found = of("Tags", as_map()).tags
    assert found is not None
    chosen = np.arange(len(PLAIN)) % 2 == 0
    assert tags_by_row(found.take(chosen)) == PLAIN[::2]
    assert tags_by_row(found.take(~chosen)) == PLAIN[1::2]
    assert tags_by_row(found.take(np.zeros(len(PLAIN), dtype=np.bool_))) == []


# --- cells, for people ---------------------------------------------------------------------------


def test_cells_are_shown_as_text() -> None:
    batch = decode(
        {
            "BilledCost": pa.array(["1.50", None, "-1e-18"]),
            "ListCost": pa.array([0.1, 2e14, None]),
            "ChargePeriodStart": pa.array(["2026-11-05"] * 3),
            "PricingQuantity": pa.array([0.5, None, 3.0]),
            "ServiceName": pa.array(["EC2", None, "=1+1"]),
        },
        3,
        PLACE,
    )
    assert [batch.cell("BilledCost", row) for row in range(3)] == ["1.5", "", "-1E-18"]
    assert [batch.cell("ListCost", row) for row in range(3)] == ["0.1", "200000000000000", ""]
    assert batch.cell("ChargePeriodStart", 0) == "2026-11-05T00:00:00Z"
    assert [batch.cell("PricingQuantity", row) for row in range(3)] == ["0.5", "", "3.0"]
    assert [batch.cell("ServiceName", row) for row in range(3)] == ["EC2", "", "=1+1"]
    assert batch.cell("RegionId", 0) == ""  # a column the bill does not have


def test_a_place_names_rows_from_one() -> None:
    place = Place("a.parquet", first_row=10, row_group=2)
    assert place.where("BilledCost", 4) == {
        "file": "a.parquet",
        "row group": 2,
        "row": 15,
        "column": "BilledCost",
    }
