"""Bill files, well written and badly: batches, row groups, dictionaries, quotes, damage."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.cost_report import columns, read
from flows.cost_report.batch import Batch
from flows.cost_report.scan import Scan
from flows.problem import Problem
from tests.unit import bills
from tests.unit.bills import Row


def batches(path: Path, wanted: Sequence[str] = tuple(columns.WANTED)) -> list[Batch]:
    return list(read.batches(bills.file(path), wanted))


def cells(path: Path, *names: str) -> list[tuple[str, ...]]:
    """Each row's cells as text, over all batches."""
    return [
        tuple(batch.cell(name, row) for name in names)
        for batch in batches(path)
        for row in range(batch.rows)
    ]


def tables(scan: Scan) -> tuple[pa.Table, ...]:
    return scan.rollup.daily, scan.rollup.tags, scan.rollup.commitments


def varied(rows: int) -> list[Row]:
    """Rows with many distinct values, so that dictionaries differ between batches."""
    return [
        bills.row(
            BilledCost=f"{n}.{n:03d}",
            SubAccountId=f"account {n % 17}",
            ServiceName=f"service {n // 10}",
            ChargePeriodStart=f"2026-11-{n % 30 + 1:02d}T00:00:00Z",
            Tags={"team": f"team {n % 5}", "id": f"i-{n}"} if n % 3 else None,
        )
        for n in range(rows)
    ]


def everything(path: Path) -> None:
    read.column_names(bills.file(path))
    batches(path)


def damaged(path: Path) -> Problem:
    with pytest.raises(Problem) as caught:
        everything(path)
    assert path.name in str(caught.value.where["file"])
    return caught.value


# --- batches -------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_rows", [1, 7, 64, 1_000])
@pytest.mark.parametrize("row_group_size", [5, 50, None])
def test_parquet_is_the_same_whatever_its_row_groups_and_our_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_rows: int, row_group_size: int | None
) -> None:
    rows = varied(70)
    expected = bills.scan(bills.write_parquet(tmp_path / "one.parquet", rows))
    monkeypatch.setattr(read, "BATCH_ROWS", batch_rows)
    path = bills.write_parquet(tmp_path / "bill.parquet", rows, row_group_size=row_group_size)
    assert max(batch.rows for batch in batches(path)) <= batch_rows
    assert tables(bills.scan(path)) == tables(expected)


@pytest.mark.parametrize("block", [700, 2_000, 10_000])
@pytest.mark.parametrize("name", ["bill.csv", "bill.csv.gz"])
def test_csv_is_the_same_whatever_our_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, name: str
) -> None:
    rows = varied(120)
    expected = bills.scan(bills.write_parquet(tmp_path / "one.parquet", rows))
    path = bills.write_csv(tmp_path / name, rows)
    monkeypatch.setattr(read, "CSV_BLOCK", block)
    assert len(batches(path)) > 3
    assert tables(bills.scan(path)) == tables(expected)


def test_rows_are_counted_over_batches_and_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "BATCH_ROWS", 4)
    path = bills.write_parquet(tmp_path / "bill.parquet", varied(15), row_group_size=10)
    places = [batch.place for batch in batches(path)]
    assert [(place.row_group, place.first_row) for place in places] == [
        (0, 0),
        (0, 4),
        (0, 8),
        (1, 10),
        (1, 14),
    ]
    assert [place.part for place in places] == sorted(place.part for place in places)
    assert places[-1].part == 1


@pytest.mark.parametrize("batch_rows", [3, 1_000])
def test_a_bad_cell_is_found_in_its_row_group_and_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_rows: int
) -> None:
    monkeypatch.setattr(read, "BATCH_ROWS", batch_rows)
    rows = [*varied(13), bills.row(BilledCost="nan"), *varied(3)]
    path = bills.write_parquet(tmp_path / "bill.parquet", rows, row_group_size=5)
    problem = damaged(path)
    assert problem.where["row group"] == 2
    assert problem.where["row"] == 14


def test_a_bad_cell_of_csv_is_found_in_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "CSV_BLOCK", 1_000)
    rows = [*varied(13), bills.row(ListCost="$5"), *varied(3)]
    problem = damaged(bills.write_csv(tmp_path / "bill.csv", rows))
    assert (problem.where["row"], problem.where["column"], problem.value) == (14, "ListCost", "$5")


# --- Parquet dictionaries ------------------------------------------------------------------------


@pytest.mark.parametrize("batch_rows", [300, 65_536])
@pytest.mark.parametrize("column", ["Tags", "ServiceName", "SkuPriceId"])
def test_a_dictionary_that_overflows_half_way_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_rows: int, column: str
) -> None:
    """Parquet writers give up on a dictionary that grows too large and go on without one."""

    def value(n: int) -> Any:
        text = f"value {n:06d} " + "x" * 50
        return {"id": text, "team": f"{n % 3}"} if column == "Tags" else text

    rows = [bills.short(BilledCost=f"{n}.01", **{column: value(n)}) for n in range(4_000)]
    plain = bills.write_parquet(tmp_path / "plain.parquet", rows, use_dictionary=False)
    expected = bills.scan(plain)
    path = bills.write_parquet(
        tmp_path / "bill.parquet", rows, dictionary_pagesize_limit=20_000, data_page_size=5_000
    )
    encodings = {
        encoding
        for chunk in range(pq.read_metadata(path).num_columns)
        for encoding in pq.read_metadata(path).row_group(0).column(chunk).encodings
    }
    assert {"PLAIN", "RLE_DICTIONARY"} <= encodings
    monkeypatch.setattr(read, "BATCH_ROWS", batch_rows)
    found = bills.scan(path)
    assert tables(found) == tables(expected)
    assert found.violations == bills.scan(plain).violations or column == "SkuPriceId"
    assert cells(path, "BilledCost") == cells(plain, "BilledCost")


def test_rows_are_counted_on_where_a_dictionary_overflowed(tmp_path: Path) -> None:
    rows = [
        bills.short(Tags={"id": f"{n:06d}" + "x" * 50}, BilledCost="nan" if n == 3_500 else "1")
        for n in range(4_000)
    ]
    path = bills.write_parquet(
        tmp_path / "bill.parquet", rows, dictionary_pagesize_limit=20_000, data_page_size=5_000
    )
    assert damaged(path).where["row"] == 3_501


ENCODINGS = {
    "DELTA_BYTE_ARRAY": ["ServiceName", "BillingCurrency", "Tags.key_value.value"],
    "DELTA_LENGTH_BYTE_ARRAY": ["SubAccountId", "Tags.key_value.key"],
    "PLAIN": ["ServiceName", "Tags.key_value.key", "Tags.key_value.value"],
    "BYTE_STREAM_SPLIT": list(bills.COSTS),
    "DELTA_BINARY_PACKED": list(bills.TIMES),
}


@pytest.mark.parametrize(
    ("encoding", "column"),
    [(e, column) for e, columns_ in ENCODINGS.items() for column in columns_],
)
@pytest.mark.parametrize("batch_rows", [7, 65_536])
def test_every_encoding_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, column: str, batch_rows: int
) -> None:
    """Writers of Parquet version 2 turn to the DELTA encodings where a dictionary overflows."""
    expected = bills.scan(bills.write_csv(tmp_path / "bill.csv", varied(50)))
    path = bills.write_parquet(
        tmp_path / "bill.parquet",
        varied(50),
        row_group_size=20,
        use_dictionary=False,
        column_encoding={column: encoding},
    )
    monkeypatch.setattr(read, "BATCH_ROWS", batch_rows)
    assert tables(bills.scan(path)) == tables(expected)
    assert [batch.place.first_row for batch in batches(path)][-1] == (47 if batch_rows == 7 else 40)


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd", "lz4", "brotli"])
def test_every_usual_compression_is_read(tmp_path: Path, compression: str) -> None:
    path = bills.write_parquet(tmp_path / "bill.parquet", varied(20), compression=compression)
    assert bills.scan(path).rows == 20


@pytest.mark.parametrize(
    "options",
    [
        {"use_deprecated_int96_timestamps": True},
        {"store_schema": False},
        {"write_statistics": False},
    ],
    ids=["int96", "no schema of Arrow", "no statistics"],
)
def test_what_other_writers_do_is_read(tmp_path: Path, options: dict[str, Any]) -> None:
    path = bills.write_parquet(tmp_path / "bill.parquet", varied(20), **options)
    expected = bills.scan(bills.write_csv(tmp_path / "bill.csv", varied(20)))
    assert tables(bills.scan(path)) == tables(expected)


@pytest.mark.parametrize("version", ["1.0", "2.6"])
@pytest.mark.parametrize("page", ["1.0", "2.0"])
def test_every_version_of_parquet_is_read(tmp_path: Path, version: str, page: str) -> None:
    path = bills.write_parquet(
        tmp_path / "bill.parquet", varied(20), version=version, data_page_version=page
    )
    expected = bills.scan(bills.write_csv(tmp_path / "bill.csv", varied(20)))
    assert tables(bills.scan(path)) == tables(expected)


@pytest.mark.parametrize(
    "types",
    [
        dict.fromkeys(bills.COSTS, pa.string()),
        dict.fromkeys(bills.COSTS, pa.decimal128(20, 6)),
        dict.fromkeys(bills.TIMES, pa.string()),
        dict.fromkeys(bills.TIMES, pa.timestamp("us", "UTC")),
        dict.fromkeys(bills.NUMBERS, pa.decimal128(20, 6)),
        {"Tags": pa.string()},
        {"Tags": pa.large_string()},
        {"ServiceName": pa.large_string(), "SubAccountId": pa.dictionary(pa.int32(), pa.string())},
    ],
)
def test_parquet_of_other_types_is_the_same_bill(
    tmp_path: Path, types: dict[str, pa.DataType]
) -> None:
    expected = bills.scan(bills.write_csv(tmp_path / "bill.csv", varied(50)))
    path = bills.write_parquet(tmp_path / "bill.parquet", varied(50), types)
    assert tables(bills.scan(path)) == tables(expected)


def test_tags_as_lists_of_keys_and_values_are_tags(tmp_path: Path) -> None:
    """As Glue and Athena write a map that they do not take for one."""
    pair = pa.struct([("key", pa.string()), ("value", pa.string())])
    cells = [[{"key": "a", "value": "1"}, {"key": "b", "value": ""}], None, []]
    table = bills.table([bills.short()] * 3)
    table = table.append_column("Tags", pa.array(cells, pa.list_(pair)))
    pq.write_table(table, tmp_path / "bill.parquet")
    tags = bills.scan(tmp_path / "bill.parquet").rollup.tags
    found = tags.select(["TagKey", "TagValue", "RowCount"]).to_pylist()
    assert [tuple(row.values()) for row in found] == [
        ("a", "1", 1),
        ("a", None, 2),
        ("b", "", 1),
        ("b", None, 2),
    ]


# --- CSV -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [600, 1 << 24])
def test_quoted_cells_hold_commas_quotes_and_line_breaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    names = ["a,b", 'say "hi"', "two\nlines", "two\r\nlines", "=1+1", "雲 ☁️"]
    path = bills.write_csv(tmp_path / "bill.csv", [bills.short(ServiceName=n) for n in names])
    monkeypatch.setattr(read, "CSV_BLOCK", block)
    assert [name for (name,) in cells(path, "ServiceName")] == names


@pytest.mark.parametrize("name", ["bill.csv", "bill.csv.gz", "BILL.CSV"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_byte_order_marks_compression_and_line_ends(
    tmp_path: Path, name: str, mark: str, end: str
) -> None:
    text = bills.csv_text([bills.short(BilledCost="1.25"), bills.short(BilledCost="-0.25")])
    path = bills.write(tmp_path / name, mark + text.replace("\n", end))
    assert "BilledCost" in read.column_names(bills.file(path))
    assert cells(path, "BilledCost", "ChargeCategory") == [("1.25", "Usage"), ("-0.25", "Usage")]


def test_gzip_of_several_parts_is_read_to_its_end(tmp_path: Path) -> None:
    first, second = bills.csv_text([bills.short()]), bills.csv_text([bills.short()] * 2)
    parts = [first, second.partition("\n")[2]]
    path = tmp_path / "bill.csv.gz"
    path.write_bytes(b"".join(gzip.compress(part.encode()) for part in parts))
    assert sum(batch.rows for batch in batches(path)) == 3


@pytest.mark.parametrize("name", ["bill.csv", "bill.csv.gz"])
@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n", "\n\n\n"])
def test_a_header_alone_is_a_bill_without_rows(tmp_path: Path, name: str, end: str) -> None:
    header = bills.csv_text([bills.row()]).splitlines()[0]
    path = bills.write(tmp_path / name, header + end)
    assert sum(batch.rows for batch in batches(path)) == 0
    scan = bills.scan(path)
    assert (scan.rows, scan.totals, scan.violations) == (0, (), ())
    assert scan.rollup.daily.num_rows == 0


@pytest.mark.parametrize("first", [True, False])
def test_a_cell_may_be_very_long(tmp_path: Path, first: bool) -> None:
    rows = [bills.short(ServiceName="x" * 200_000 if long else "y") for long in (first, not first)]
    assert bills.scan(bills.write_csv(tmp_path / "bill.csv", rows)).rows == 2


def test_a_last_row_without_a_line_end_counts(tmp_path: Path) -> None:
    path = bills.write(tmp_path / "bill.csv", bills.csv_text([bills.short()] * 2).rstrip("\n"))
    assert sum(batch.rows for batch in batches(path)) == 2


def test_blank_lines_between_rows_are_no_rows(tmp_path: Path) -> None:
    """As in the examples of the specification."""
    text = bills.csv_text([bills.short()] * 2).replace("\n", "\n\n")
    assert sum(batch.rows for batch in batches(bills.write(tmp_path / "bill.csv", text))) == 2


def test_null_in_all_its_spellings(tmp_path: Path) -> None:
    rows = [bills.short(ServiceName=name) for name in ("NULL", "null", "", None, "Null")]
    path = bills.write_csv(tmp_path / "bill.csv", rows)
    assert [name for (name,) in cells(path, "ServiceName")] == ["", "", "", "", "Null"]
    quoted = bills.csv_text(rows).replace("NULL", '"NULL"')
    assert cells(bills.write(path, quoted), "ServiceName")[0] == ("",)


@pytest.mark.parametrize("block", [600, 1 << 24])
@pytest.mark.parametrize("cut", [1, 3])
def test_a_row_with_too_few_or_too_many_cells_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, cut: int
) -> None:
    monkeypatch.setattr(read, "CSV_BLOCK", block)
    rows = bills.csv_text([bills.short()] * 20).splitlines()
    rows[15] = ",".join(rows[15].split(",")[:-cut]) if cut == 1 else rows[15] + ",x" * cut
    problem = damaged(bills.write(tmp_path / "bill.csv", "\n".join(rows)))
    assert problem.summary == "a row does not have as many cells as the header"
    assert problem.where["row"] == 15
    assert "the header has 10" in problem.detail
    assert "\n" not in problem.detail


@pytest.mark.parametrize("names", [["BilledCost"], ["billedcost"], ["Tags", "Tags"]])
@pytest.mark.parametrize("format_", ["csv", "parquet"])
def test_a_column_that_is_there_twice_is_refused(
    tmp_path: Path, names: list[str], format_: str
) -> None:
    row = bills.short()
    columns_ = [*row, *names]
    if format_ == "csv":
        path = bills.write_csv(tmp_path / "bill.csv", [row], columns_)
    else:
        table = pa.table([bills.table([row])[0]] * len(columns_), names=columns_)
        path = tmp_path / "bill.parquet"
        pq.write_table(table, path)
    assert "twice" in damaged(path).summary


def test_columns_that_nobody_looks_at_may_be_there_twice(tmp_path: Path) -> None:
    path = bills.write_csv(tmp_path / "bill.csv", [bills.short()], [*bills.short(), "x", "x"])
    assert len(cells(path, "BilledCost")) == 1


# --- both ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("format_", ["csv", "parquet"])
def test_columns_are_found_whatever_their_case_and_order(tmp_path: Path, format_: str) -> None:
    rows = varied(10)
    other = [{name.lower(): cell for name, cell in reversed(row.items())} for row in rows]
    if format_ == "csv":
        expected = bills.write_csv(tmp_path / "a.csv", rows)
        path = bills.write_csv(tmp_path / "b.csv", other)
    else:
        expected = bills.write_parquet(tmp_path / "a.parquet", rows)
        table = bills.table(rows)
        path = tmp_path / "b.parquet"
        order = list(reversed(table.column_names))
        pq.write_table(table.select(order).rename_columns([n.lower() for n in order]), path)
    assert tables(bills.scan(path)) == tables(bills.scan(expected))


def test_only_wanted_columns_are_decoded(tmp_path: Path) -> None:
    """Whatever else a bill says does no harm, not even in a column we know."""
    rows = [bills.row(ListCost="oops", Tags="oops", x_Mine="oops")]
    path = bills.write_csv(tmp_path / "bill.csv", rows)
    (batch,) = batches(path, ["BilledCost", "ServiceName", "NotThere"])
    assert set(batch.money) == {"BilledCost"}
    assert set(batch.texts) == {"ServiceName"}
    assert (batch.times, batch.numbers, batch.tags) == ({}, {}, None)
    assert batches(path, ["NotThere"]) == []


# --- damage --------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [0.0, 0.05, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("name", ["bill.parquet", "bill.csv.gz"])
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, name: str, part: float) -> None:
    write: Any = bills.write_parquet if name.endswith("parquet") else bills.write_csv
    path = write(tmp_path / name, varied(500))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    problem = damaged(path)
    assert "fix" in str(problem)
    assert ("damaged or cut off" in problem.summary) or (part == 0 and "empty" in problem.summary)


@pytest.mark.parametrize("at", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_compressed_file_with_wrong_bytes_is_refused(tmp_path: Path, at: float) -> None:
    path = bills.write_csv(tmp_path / "bill.csv.gz", varied(500))
    content = bytearray(path.read_bytes())
    content[int(len(content) * at)] ^= 0x55
    path.write_bytes(content)
    damaged(path)


def test_parquet_with_wrong_bytes_names_the_row_group(tmp_path: Path) -> None:
    path = bills.write_parquet(
        tmp_path / "bill.parquet", varied(2_000), row_group_size=1_000, compression="zstd"
    )
    start = pq.read_metadata(path).row_group(1).column(0).data_page_offset
    content = bytearray(path.read_bytes())
    content[start : start + 200] = b"\xff" * 200
    path.write_bytes(content)
    problem = damaged(path)
    assert problem.where["row group"] == 1
    assert "damaged" in problem.summary


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"\xff\xfeB\x00i\x00l\x00l\x00",  # UTF-16
        b"PK\x03\x04" + bytes(range(256)),  # an Excel sheet by the wrong name
        bytes(range(128, 256)) * 10,
    ],
)
@pytest.mark.parametrize("name", ["bill.csv", "bill.csv.gz", "bill.parquet"])
def test_a_file_that_is_something_else_is_refused(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Problem) as caught:
        bills.scan(tmp_path / name)
    assert name in str(caught.value.where["file"])


def test_text_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    text = bills.csv_text([bills.short(ServiceName="caf\u00e9")] * 3)
    path = tmp_path / "bill.csv"
    path.write_bytes(text.encode("latin-1"))
    assert "utf" in damaged(path).detail.lower()


def test_an_empty_row_group_and_an_empty_file_of_parquet(tmp_path: Path) -> None:
    path = tmp_path / "bill.parquet"
    table = bills.table([bills.row()])
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.write_table(table.slice(0, 0))
        writer.write_table(table)
        writer.write_table(table.slice(0, 0))
    assert bills.scan(path).rows == 1
    pq.write_table(table.slice(0, 0), path)
    assert bills.scan(path).rows == 0


def test_a_page_that_still_decodes_is_refused_by_its_checksum(tmp_path: Path) -> None:
    path = tmp_path / "bill.parquet"
    pq.write_table(bills.table(varied(100)), path, compression="none", write_page_checksum=True)
    assert len(cells(path, "BilledCost")) == 100
    group = pq.read_metadata(path).row_group(0)
    columns_ = [group.column(i) for i in range(group.num_columns)]
    cost = next(column for column in columns_ if column.path_in_schema == "BilledCost")
    content = bytearray(path.read_bytes())
    content[cost.dictionary_page_offset + 400] ^= 0x10  # one bit of one amount
    path.write_bytes(content)
    assert "integrity" in damaged(path).detail
