"""Which files are the bill: layouts of AWS Data Exports, and plain FOCUS files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from flows.cost_report.locate import Bill, changed, locate
from flows.problem import Problem
from tests.unit import bills
from tests.unit.bills import month, row, short, write_csv, write_export, write_manifest


def names(bill: Bill, root: Path) -> list[str]:
    return [Path(file.address).relative_to(root).as_posix() for file in bill.execution.files]


def refusal(source: Path, period: str | None = None) -> Problem:
    with pytest.raises(Problem) as caught:
        locate(str(source), period)
    assert caught.value.fix
    return caught.value


# --- AWS Data Exports ----------------------------------------------------------------------------


@pytest.mark.parametrize("partition", ["BILLING_PERIOD", "billing_period", "Billing_Period"])
def test_overwrite_layout(tmp_path: Path, partition: str) -> None:
    source = write_export(
        tmp_path, "2026-11", [row()] * 3, partition=partition, names=["f-1.csv.gz", "f-2.csv"]
    )
    bill = locate(str(source), "2026-11")
    assert bill.execution.period == "2026-11"
    assert bill.execution.id == "execution-1"
    assert names(bill, source) == [f"data/{partition}=2026-11/f-{n}" for n in ("1.csv.gz", "2.csv")]
    assert bill.execution.bytes == sum(file.size for file in bill.execution.files) > 0
    assert bill.history == ()
    assert bills.scan_at(source).rows == 3


@pytest.mark.parametrize("around", ["", "exports/", "a/b/metadata-of-mine/"])
def test_the_export_may_lie_deeper_than_the_source(tmp_path: Path, around: str) -> None:
    write_export(tmp_path / around, "2026-11", [row()])
    assert len(locate(str(tmp_path), None).execution.files) == 1


@pytest.mark.parametrize("name", ["x-metadata", "data", "metadata", "my data"])
def test_an_export_may_have_a_confusing_name(tmp_path: Path, name: str) -> None:
    source = write_export(tmp_path, "2026-11", [row()], name=name)
    assert len(locate(str(tmp_path), None).execution.files) == 1
    assert len(locate(str(source), None).execution.files) == 1


def test_create_new_layout_has_a_folder_for_each_execution(tmp_path: Path) -> None:
    for number, rows in ((1, 5), (2, 3)):
        source = write_export(
            tmp_path,
            "2026-11",
            [row()] * rows,
            execution=f"execution-{number}",
            folder=f"2026-11-{number:02d}T04:17:35.000Z-execution-{number}",
        )
    bill = locate(str(source), None)
    assert bill.execution.id == "execution-2"
    assert bills.scan_at(source).rows == 3


def test_create_new_layout_without_the_newest_manifest_beside(tmp_path: Path) -> None:
    for number in (2, 10, 1):
        source = write_export(
            tmp_path,
            "2026-11",
            [row()],
            execution=f"execution-{number}",
            folder=f"2026-11-{number:02d}T04:17:35.000Z-execution-{number}",
        )
    (source / "metadata/BILLING_PERIOD=2026-11/focus-Manifest.json").unlink()
    assert locate(str(source), None).execution.id == "execution-10"


def test_files_that_no_manifest_names_are_not_read(tmp_path: Path) -> None:
    """A refresh that shrinks leaves emptied chunks behind."""
    source = write_export(tmp_path, "2026-11", [row()])
    write_csv(source / "data/BILLING_PERIOD=2026-11/focus-00002.csv", [row()] * 100)
    write_csv(tmp_path / "another.csv", [row()] * 100)
    assert bills.scan_at(source).rows == 1
    assert bills.scan_at(tmp_path).rows == 1


def test_the_newest_period_is_taken_unless_one_is_named(tmp_path: Path) -> None:
    for period in ("2026-09", "2026-11", "2026-10", "2025-12", "2026-08"):
        write_export(tmp_path, period, [row(**month(period))], execution=f"of-{period}")
    bill = locate(str(tmp_path), None)
    assert bill.execution.id == "of-2026-11"
    assert [earlier.period for earlier in bill.history] == ["2026-10", "2026-09", "2026-08"]
    bill = locate(str(tmp_path), "2026-08")
    assert bill.execution.id == "of-2026-08"
    assert [earlier.id for earlier in bill.history] == ["of-2025-12"]


def test_a_period_that_the_export_lacks_is_named_with_those_it_has(tmp_path: Path) -> None:
    for period in ("2026-10", "2026-11"):
        write_export(tmp_path, period, [row()])
    problem = refusal(tmp_path, "2026-12")
    assert problem.value == "2026-12"
    assert "2026-10, 2026-11" in problem.detail
    assert "PERIOD=2026-11" in problem.fix


@pytest.mark.parametrize(
    "period",
    ["2026-13", "2026-00", "2026-1", "2026", "11-2026", "2026-11-01", "", "november", "2026-11\n"],
)
def test_what_is_no_month_is_refused(tmp_path: Path, period: str) -> None:
    write_export(tmp_path, "2026-11", [row()])
    assert refusal(tmp_path, period).summary == "the billing period is not a month"


def test_several_exports_are_not_one_bill(tmp_path: Path) -> None:
    for name in ("hourly", "daily"):
        write_export(tmp_path, "2026-11", [row()], name=name)
    problem = refusal(tmp_path)
    assert problem.value == "daily, hourly"
    assert str(tmp_path / "daily") in problem.fix
    assert len(locate(str(tmp_path / "daily"), None).execution.files) == 1


def test_an_export_without_a_manifest_is_refused(tmp_path: Path) -> None:
    source = write_export(tmp_path, "2026-11", [row()])
    (source / "metadata/BILLING_PERIOD=2026-11/focus-Manifest.json").unlink()
    assert refusal(tmp_path).summary == "the export has no manifest"


def test_one_data_file_of_an_export_may_be_read_as_it_is(tmp_path: Path) -> None:
    source = write_export(tmp_path, "2026-11", [row()] * 2)
    file = source / "data/BILLING_PERIOD=2026-11/focus-00001.csv"
    assert bills.scan_at(file).rows == 2


# --- manifests -----------------------------------------------------------------------------------

MANIFEST = "focus/metadata/BILLING_PERIOD=2026-11/focus-Manifest.json"
DATA = "focus/data/BILLING_PERIOD=2026-11"


@pytest.mark.parametrize("keep", [0, 1, 20, 60])
def test_a_torn_manifest_is_refused(tmp_path: Path, keep: int) -> None:
    write_export(tmp_path, "2026-11", [row()])
    whole = (tmp_path / MANIFEST).read_bytes()
    (tmp_path / MANIFEST).write_bytes(whole[:keep])
    problem = refusal(tmp_path)
    assert problem.summary == "the manifest is not complete"
    assert problem.where["file"] == str(tmp_path / MANIFEST)


@pytest.mark.parametrize(
    "body",
    [
        [],
        None,
        "text",
        {},
        {"dataFiles": None},
        {"dataFiles": []},
        {"dataFiles": "s3://b/data/x.csv"},
        {"dataFiles": [7]},
        {"dataFiles": [{"other": "x"}]},
        {"dataFiles": ["s3://bucket/elsewhere/x.csv"]},
    ],
)
def test_a_manifest_that_is_something_else_is_refused(tmp_path: Path, body: object) -> None:
    write_export(tmp_path, "2026-11", [row()])
    bills.write(tmp_path / MANIFEST, json.dumps(body))
    assert refusal(tmp_path).summary == "the manifest is not complete"


def test_a_file_that_the_manifest_names_and_is_not_there(tmp_path: Path) -> None:
    write_export(tmp_path, "2026-11", [row()] * 2, names=["f-1.csv", "f-2.csv"])
    (tmp_path / DATA / "f-2.csv").unlink()
    problem = refusal(tmp_path)
    assert problem.summary == "the manifest names a file that is not there"
    assert str(problem.value).endswith("/f-2.csv")


@pytest.mark.parametrize(
    "outside",
    [
        "s3://other-bucket/data/../../secret.csv",
        "s3://other-bucket/p/focus/data/../../../secret.csv",
        "/etc/data/../passwd",
        "data/../secret.csv",
        "data/..%2Fsecret.csv",
        "data//secret.csv",
    ],
)
def test_a_manifest_cannot_lead_outside_of_the_source(tmp_path: Path, outside: str) -> None:
    write_export(tmp_path / "source", "2026-11", [row()])
    for place in (tmp_path, tmp_path / "source", tmp_path / "source/focus"):
        write_csv(place / "secret.csv", [row()])
    write_manifest(tmp_path / "source" / MANIFEST, "execution-1", [outside])
    assert refusal(tmp_path / "source").summary == "the manifest names a file that is not there"


@pytest.mark.parametrize(
    "entry",
    [
        f"s3://any-bucket/any/prefix/{DATA}/focus-00001.csv",
        f"s3://any-bucket/{DATA}/focus-00001.csv",
        f"{DATA}/focus-00001.csv",
        "data/BILLING_PERIOD=2026-11/focus-00001.csv",
        f"s3://data/data/{DATA}/focus-00001.csv",
    ],
)
def test_files_are_found_below_the_source_whatever_bucket_is_named(
    tmp_path: Path, entry: str
) -> None:
    write_export(tmp_path, "2026-11", [row()])
    write_manifest(tmp_path / MANIFEST, "execution-1", [entry])
    assert bills.scan_at(tmp_path).rows == 1


def test_a_file_that_is_named_twice_counts_once(tmp_path: Path) -> None:
    write_export(tmp_path, "2026-11", [row()])
    entry = f"s3://bucket/{DATA}/focus-00001.csv"
    write_manifest(tmp_path / MANIFEST, "execution-1", [entry, entry])
    assert bills.scan_at(tmp_path).rows == 1
    write_manifest(tmp_path / MANIFEST, "execution-1", [entry, entry.replace("bucket", "other")])
    assert bills.scan_at(tmp_path).rows == 1


@pytest.mark.parametrize(
    ("execution", "expected"),
    [
        ("b0c4f1de-7b0c", "b0c4f1de-7b0c"),
        ("../../etc/passwd", "-..-etc-passwd"),
        ("..", "unnamed"),
        ("a b/ü", "a-b--"),
    ],
)
def test_an_execution_id_is_part_of_a_path_and_nothing_else(
    tmp_path: Path, execution: str, expected: str
) -> None:
    write_export(tmp_path, "2026-11", [row()], execution=execution)
    assert locate(str(tmp_path), None).execution.id == expected


def test_a_manifest_without_an_execution_id_is_known_by_its_content(tmp_path: Path) -> None:
    write_export(tmp_path, "2026-11", [row()])
    entry = f"s3://bucket/{DATA}/focus-00001.csv"
    write_manifest(tmp_path / MANIFEST, None, [entry])
    first = locate(str(tmp_path), None).execution.id
    assert locate(str(tmp_path), None).execution.id == first
    write_manifest(tmp_path / MANIFEST, None, [entry.replace("bucket", "other")])
    assert locate(str(tmp_path), None).execution.id != first


def test_an_earlier_month_that_cannot_be_read_is_left_out_of_the_past(tmp_path: Path) -> None:
    for period in ("2026-08", "2026-09", "2026-10", "2026-11"):
        write_export(tmp_path, period, [row(**month(period))])
    bills.write(tmp_path / MANIFEST.replace("11", "10"), "{")
    (tmp_path / DATA.replace("11", "09") / "focus-00001.csv").unlink()
    bill = locate(str(tmp_path), None)
    assert bill.execution.period == "2026-11"
    assert [earlier.period for earlier in bill.history] == ["2026-08"]


# --- refreshes under our hands -------------------------------------------------------------------


def test_a_refresh_is_noticed(tmp_path: Path) -> None:
    source = write_export(tmp_path, "2026-11", [row()])
    execution = locate(str(source), None).execution
    assert not changed(execution)
    write_export(tmp_path, "2026-11", [row()] * 2, execution="execution-2")
    assert changed(execution)
    assert locate(str(source), None).execution.id == "execution-2"


@pytest.mark.parametrize("what", [MANIFEST, f"{DATA}/focus-00001.csv"])
def test_any_file_that_is_replaced_or_gone_is_noticed(tmp_path: Path, what: str) -> None:
    source = write_export(tmp_path, "2026-11", [row()])
    execution = locate(str(source), None).execution
    content = (tmp_path / what).read_bytes()
    (tmp_path / what).write_bytes(content + b"\n")
    assert changed(execution)
    execution = locate(str(source), None).execution
    (tmp_path / what).unlink()
    assert changed(execution)


# --- plain FOCUS files ---------------------------------------------------------------------------


def test_there_is_nothing_there(tmp_path: Path) -> None:
    for nothing in (tmp_path, tmp_path / "no-such-file.csv"):
        problem = refusal(nothing)
        assert problem.summary == "there is no bill at this place"
        assert problem.value == str(nothing)


def test_a_folder_or_file_that_is_no_bill(tmp_path: Path) -> None:
    bills.write(tmp_path / "notes.txt", "hello")
    for place in (tmp_path, tmp_path / "notes.txt"):
        problem = refusal(place)
        assert problem.summary == "there is no FOCUS file at this place"
        assert "notes.txt" in str(problem.value)


def test_one_file_a_folder_and_a_file_address(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", [short()])
    write_csv(tmp_path / "more/b.CSV.gz", [short()])
    bills.write_parquet(tmp_path / "more/c.parquet", [short()])
    bills.write(tmp_path / "more/readme.txt", "")
    assert names(locate(str(path), None), tmp_path) == ["a.csv"]
    assert names(locate(f"file://{path}", None), tmp_path) == ["a.csv"]
    found = names(locate(str(tmp_path), None), tmp_path)
    assert found == ["a.csv", "more/b.CSV.gz", "more/c.parquet"]


@pytest.mark.parametrize("name", ["manifest.json", "app/Manifest.json", "metadata/manifest.json"])
def test_a_manifest_of_something_else_is_not_in_the_way(tmp_path: Path, name: str) -> None:
    write_csv(tmp_path / "a.csv", [short()])
    bills.write(tmp_path / name, "{}")
    assert names(locate(str(tmp_path), None), tmp_path) == ["a.csv"]


def test_a_file_is_about_the_month_that_most_of_its_rows_name(tmp_path: Path) -> None:
    rows = [short(**month("2026-11"))] * 3 + [short(**month("2026-12"))]
    path = write_csv(tmp_path / "a.csv", rows)
    assert locate(str(path), None).execution.period == "2026-11"
    assert locate(str(path), "2026-12").execution.period == "2026-12"


def test_a_folder_is_about_the_newest_month_of_its_files(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [short(**month("2026-10"))] * 10)
    write_csv(tmp_path / "b.csv", [short(**month("2026-11"))])
    bills.write_parquet(tmp_path / "c.parquet", [short(**month("2026-09"))] * 10)
    assert locate(str(tmp_path), None).execution.period == "2026-11"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.csv", "2026-05"), ("BILLING_PERIOD=2024-02/a.csv", "2024-02")],
)
def test_a_bill_without_rows_is_about_the_month_in_its_path_or_of_its_writing(
    tmp_path: Path, name: str, expected: str
) -> None:
    path = bills.write(tmp_path / name, bills.csv_text([row()]).splitlines()[0] + "\n")
    os.utime(path, (1_779_000_000, 1_779_000_000))  # May 2026
    for source in (tmp_path, path):
        assert locate(str(source), None).execution.period == expected


def test_plain_files_are_known_by_what_they_are(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", [short()])
    first = locate(str(path), None).execution
    assert locate(str(path), None).execution == first
    assert not changed(first)
    write_csv(path, [short(), short()])
    assert changed(first)
    assert locate(str(path), None).execution.id != first.id


def test_a_file_without_a_period_column_is_left_to_the_check_of_columns(tmp_path: Path) -> None:
    rows = [{"a": "1", "b": "2"}]
    write: list[Any] = [bills.write_csv(tmp_path / "a.csv", rows)]
    write.append(bills.write_parquet(tmp_path / "b.parquet", rows))
    for path in write:
        with pytest.raises(Problem, match="lacks a column"):
            bills.scan_at(path)
