"""What is published: complete, the same bytes each time, and harmless to whoever opens it."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows import storage as storing
from flows.cost_report import publish
from flows.cost_report.assemble import assemble
from flows.cost_report.locate import Bill
from flows.cost_report.model import (
    Analysis,
    Anomaly,
    ChargeKind,
    Forecast,
    Invoice,
    Mover,
    Reason,
    Report,
    Violation,
)
from flows.cost_report.scan import Scan
from flows.cost_report.tables import RollUp
from flows.problem import Problem
from tests.unit import bills
from tests.unit.bills import row

NAMES = [
    "daily_costs.parquet",
    "tag_costs.parquet",
    "commitments.parquet",
    "movers.csv",
    "anomalies.csv",
    "violations.csv",
    "summary.json",
    "report.html",
]
NOTHING = Analysis(*[()] * len(Analysis.__dataclass_fields__))
DAY = date(2026, 11, 5)
FORMULAS = ["=1+1", "+1", "-1+2", "@SUM(A1)", "\t=1", "\r=1", "=cmd|' /C calc'!A0"]


def mover(name: str = "EC2", **changes: Any) -> Mover:
    plain = Mover(
        currency="USD",
        comparison="day over day",
        dimension="ServiceName",
        name=name,
        id=name,
        before=Decimal("1E+2"),
        after=Decimal("0.000000000000000001"),
        change=Decimal("-99.999999999999999999"),
        percent=-1.0,
        before_span=(DAY, DAY),
        after_span=(DAY, DAY),
        reasons=(Reason("RegionId", name, Decimal("-1.50")),),
        kind="changed",
    )
    return replace(plain, **changes)


def anomaly(sentence: str) -> Anomaly:
    return Anomaly(
        "USD", "ServiceName", "EC2", "EC2", DAY, DAY, Decimal(2), Decimal(1), Decimal(1), 1.0, 9.5,
        (), sentence,
    )  # fmt: skip


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    rows = [
        row(BilledCost="0.1", Tags={"team": "=cmd()"}),
        row(BilledCost="-1e-18", BillingCurrency="EUR"),
        row(CommitmentDiscountId="sp-1", CommitmentDiscountStatus="Used", ServiceName="=1+1"),
    ]
    return bills.scan(bills.write_csv(tmp_path / "bill.csv", rows))


@pytest.fixture
def report(tmp_path: Path, scan: Scan) -> Report:
    bill = Bill(bills.execution(tmp_path / "bill.csv"), ())
    return assemble(bill, scan, NOTHING)


def files(report: Report, scan: Scan) -> dict[str, bytes]:
    return publish.files_of(report, scan.rollup, "<!doctype html>ü")


def csv_rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def with_analysis(report: Report, **found: Any) -> Report:
    return replace(report, analysis=replace(NOTHING, **found))


# --- the files -----------------------------------------------------------------------------------


def test_a_report_has_these_files(report: Report, scan: Scan) -> None:
    assert list(files(report, scan)) == NAMES


def test_the_same_report_has_the_same_bytes(report: Report, scan: Scan) -> None:
    assert files(report, scan) == files(report, scan)


def test_how_a_table_lies_in_memory_does_not_show(report: Report, scan: Scan) -> None:
    def in_pieces(table: pa.Table) -> pa.Table:
        return pa.concat_tables([table.slice(i, 1) for i in range(table.num_rows)] or [table])

    rollup = scan.rollup
    pieces = RollUp(
        in_pieces(rollup.daily),
        in_pieces(rollup.tags),
        in_pieces(rollup.commitments),
        rollup.history,
    )
    assert publish.files_of(report, pieces, "") == publish.files_of(report, rollup, "")


def test_parquet_holds_the_roll_ups_to_the_last_digit(report: Report, scan: Scan) -> None:
    content = files(report, scan)
    for name, table in (
        ("daily_costs", scan.rollup.daily),
        ("tag_costs", scan.rollup.tags),
        ("commitments", scan.rollup.commitments),
    ):
        assert pq.read_table(io.BytesIO(content[f"{name}.parquet"])) == table
        assert table.num_rows > 0


def test_the_page_is_utf_8(report: Report, scan: Scan) -> None:
    assert files(report, scan)["report.html"] == "<!doctype html>ü".encode()


# --- summary.json --------------------------------------------------------------------------------


def test_the_summary_has_what_other_programs_rely_on(report: Report, scan: Scan) -> None:
    summary = json.loads(files(report, scan)["summary.json"])
    assert summary["execution_id"] == "execution-1"
    assert summary["billing_period"] == "2026-11"
    assert summary["rows"] == 3
    assert summary["reconciled"] is True
    for name in ("forecast", "anomalies", "violations", "unavailable"):
        assert name in summary
    euro, dollar = summary["totals"]
    assert euro == {
        "currency": "EUR",
        "rows": 1,
        "billed_cost": "-0.000000000000000001",
        "effective_cost": "3",
        "list_cost": "4",
        "contracted_cost": "3",
        "null_costs": dict.fromkeys(bills.COSTS, 0),
    }
    assert (dollar["rows"], dollar["billed_cost"]) == (2, "3.1")


def test_amounts_are_decimal_strings_never_exponents(report: Report, scan: Scan) -> None:
    forecast = Forecast(
        "USD", "EffectiveCost", DAY, Decimal("1E+3"), Decimal("1e-12"), None, None, 5, 30, "m", 0,
        None, None, ((DAY, Decimal("0.10")),),
    )  # fmt: skip
    found = with_analysis(
        report,
        movers=(mover(),),
        forecasts=(forecast,),
        charge_kinds=(ChargeKind("USD", "Tax", 1, Decimal("-0.5"), Decimal(0)),),
        invoices=(Invoice("USD", "", Decimal("12345678901234567890.123456789012345678")),),
    )
    summary = json.loads(files(found, scan)["summary.json"])
    assert summary["movers"][0]["before"] == "100"
    assert summary["movers"][0]["after"] == "0.000000000000000001"
    assert summary["movers"][0]["before_span"] == ["2026-11-05", "2026-11-05"]
    assert summary["forecast"][0]["observed"] == "1000"
    assert summary["forecast"][0]["month_end"] == "0.000000000001"
    assert summary["forecast"][0]["low"] is None
    assert summary["forecast"][0]["daily"] == [["2026-11-05", "0.10"]]
    assert summary["charge_kinds"][0]["billed_cost"] == "-0.5"
    assert summary["invoices"][0]["billed_cost"] == "12345678901234567890.123456789012345678"


def test_a_number_that_json_cannot_say_is_an_error(report: Report, scan: Scan) -> None:
    with pytest.raises(ValueError, match="JSON"):
        files(with_analysis(report, movers=(mover(percent=float("nan")),)), scan)


def test_violations_are_counted_per_rule(report: Report) -> None:
    violation = Violation("rule-1", "Section", "error", "what", 7, "file.csv", 3, {"a": "=1+1"})
    summary = publish.summary(replace(report, violations=(violation,)))
    assert summary["violations"] == [
        {"rule": "rule-1", "severity": "error", "count": 7, "summary": "what"}
    ]


# --- CSV -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_is_a_formula(report: Report, scan: Scan, text: str) -> None:
    violation = Violation("r", text, "error", text, 1, text, 1, {text: text})
    found = replace(
        with_analysis(report, movers=(mover(text),), anomalies=(anomaly(text),)),
        violations=(violation,),
    )
    content = files(found, scan)
    cells = [
        cell
        for name in ("movers.csv", "anomalies.csv", "violations.csv")
        for line in csv.reader(io.StringIO(content[name].decode(), newline=""))
        for cell in line
    ]
    assert f"'{text}" in cells
    assert text not in cells
    numbers = [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert all(Decimal(number) < 0 for number in numbers), "a minus sign only in numbers"


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "",
        "a=b",
        "1-2",
        "'x",
        "<script>",
        'ü, "quoted"\nlines',
        "x\r=1+1",  # unquoted, it would start a row with a formula
        "x\n=1+1",
        "x\r\n=1+1",
    ],
)
def test_other_cells_stay_as_they_are(report: Report, scan: Scan, text: str) -> None:
    content = files(with_analysis(report, anomalies=(anomaly(text),)), scan)
    (line,) = csv_rows(content["anomalies.csv"])
    assert line["sentence"] == text


def test_numbers_days_and_nulls_in_csv(report: Report, scan: Scan) -> None:
    found = with_analysis(report, movers=(mover(percent=None), mover(percent=0.1)))
    first, second = csv_rows(files(found, scan)["movers.csv"])
    assert (first["before"], first["after"]) == ("100", "0.000000000000000001")
    assert (first["change"], first["percent"]) == ("-99.999999999999999999", "")
    assert second["percent"] == "0.1"
    assert json.loads(first["before_span"]) == ["2026-11-05", "2026-11-05"]
    assert json.loads(first["reasons"]) == [
        {"dimension": "RegionId", "name": "EC2", "change": "-1.50"}
    ]


def test_csv_without_rows_has_its_header(report: Report, scan: Scan) -> None:
    content = files(replace(report, violations=()), scan)
    for name, column in (("movers", "change"), ("anomalies", "score"), ("violations", "rule")):
        (header,) = csv.reader(io.StringIO(content[f"{name}.csv"].decode(), newline=""))
        assert column in header


# --- publishing ----------------------------------------------------------------------------------


def test_the_pointer_names_every_file_with_its_size_and_hash(tmp_path: Path) -> None:
    content = {"report.html": b"<html>", "summary.json": b"{}\n"}
    published = publish.publish(str(tmp_path / "out"), "2026-11", "abc", content)
    folder = tmp_path / "out/billing_period=2026-11"
    assert published.report == str(folder / "execution=abc/report.html")
    assert published.pointer == str(folder / "latest.json")
    pointer = json.loads((folder / "latest.json").read_text())
    assert pointer["billing_period"] == "2026-11"
    assert pointer["execution_id"] == "abc"
    assert (folder / pointer["report"]).read_bytes() == b"<html>"
    assert len(pointer["files"]) == 2
    for name, facts in pointer["files"].items():
        found = (folder / name).read_bytes()
        assert facts == {"bytes": len(found), "sha256": hashlib.sha256(found).hexdigest()}


def test_publishing_again_writes_the_same_pointer(tmp_path: Path) -> None:
    for _ in range(2):
        publish.publish(str(tmp_path), "2026-11", "abc", {"b": b"1", "a": b"2"})
        first = (tmp_path / "billing_period=2026-11/latest.json").read_bytes()
    publish.publish(str(tmp_path), "2026-11", "abc", {"a": b"2", "b": b"1"})
    assert (tmp_path / "billing_period=2026-11/latest.json").read_bytes() == first


@pytest.mark.parametrize("fails_at", range(4))
def test_the_pointer_is_written_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    """Wherever writing ends, a reader of the pointer sees the old report, whole."""
    new = {"report.html": b"new", "summary.json": b"{}", "x.csv": b"x"}
    publish.publish(str(tmp_path), "2026-11", "old", {"report.html": b"old"})
    writes = 0
    write = storing.Local.write

    def failing(self: storing.Local, name: str, content: bytes) -> None:
        nonlocal writes
        if writes == fails_at:
            raise ConnectionError
        writes += 1
        write(self, name, content)

    monkeypatch.setattr(storing.Local, "write", failing)
    with pytest.raises(ConnectionError):
        publish.publish(str(tmp_path), "2026-11", "new", new)
    folder = tmp_path / "billing_period=2026-11"
    pointer = json.loads((folder / "latest.json").read_text())
    assert pointer["execution_id"] == "old"
    assert (folder / pointer["report"]).read_bytes() == b"old"


def test_a_destination_that_cannot_be_written_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(Problem, match="cannot write"):
        publish.publish(str(tmp_path / "file"), "2026-11", "x", {"report.html": b""})
    assert (tmp_path / "file").read_bytes() == b"mine"


# --- what is already there -----------------------------------------------------------------------


def test_a_published_execution_is_found_and_no_other(tmp_path: Path, scan: Scan) -> None:
    execution = bills.execution(tmp_path / "bill.csv")
    out = str(tmp_path / "out")
    assert publish.find_published(out, execution) is None
    published = publish.publish(out, "2026-11", "execution-1", {"report.html": b""})
    assert publish.find_published(out, execution) == published
    assert publish.find_published(out, replace(execution, id="another")) is None
    assert publish.find_published(out, replace(execution, period="2026-10")) is None


@pytest.mark.parametrize("pointer", [b"", b"{", b"null", b"[]", b"5", b'"x"', b"{}", b"\xff"])
def test_a_pointer_that_is_not_ours_is_as_good_as_none(
    tmp_path: Path, scan: Scan, pointer: bytes
) -> None:
    bills.write(tmp_path / "out/billing_period=2026-11/latest.json", pointer)
    execution = bills.execution(tmp_path / "bill.csv")
    assert publish.find_published(str(tmp_path / "out"), execution) is None
    assert publish.published_days(str(tmp_path / "out"), execution) is None


def test_the_days_of_an_earlier_report_come_back(
    tmp_path: Path, report: Report, scan: Scan
) -> None:
    out = str(tmp_path / "out")
    execution = bills.execution(tmp_path / "bill.csv")
    assert publish.published_days(out, execution) is None
    publish.publish(out, "2026-11", "execution-1", files(report, scan))
    assert publish.published_days(out, execution) == scan.rollup.daily
    assert publish.published_days(out, replace(execution, id="another")) is None
    days = tmp_path / "out/billing_period=2026-11/execution=execution-1/daily_costs.parquet"
    days.unlink()
    assert publish.published_days(out, execution) is None


@pytest.mark.parametrize("content", [b"", b"damaged", b"PAR1"])
def test_days_that_are_damaged_are_read_from_the_bill_again(
    tmp_path: Path, scan: Scan, content: bytes
) -> None:
    out = str(tmp_path / "out")
    publish.publish(out, "2026-11", "execution-1", {"daily_costs.parquet": content})
    assert publish.published_days(out, bills.execution(tmp_path / "bill.csv")) is None
