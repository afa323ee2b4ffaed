"""What bills look like in the wild: published, with exactly the sums that plain decimals give."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.e2e import bills
from tests.e2e.bills import Row, as_csv, as_parquet, charge, costs, export, rolled_up, said, zipped
from tests.e2e.command import Command
from tests.e2e.places import Folder, Place, published, summary

ROWS = [
    charge("2026-11-01", "1.10"),
    charge("2026-11-02", "2.20", ServiceName="Amazon S3", ServiceCategory="Storage"),
    charge("2026-11-02", "0.0000000001", Tags=""),
    charge("2026-11-30", "1234567.8901234567", Tags='{"team": "data", "env": "prod"}'),
]


def naive(rows: Sequence[Row]) -> list[Row]:
    """Times as some tools write them: without a zone, or the day alone."""
    forms = (lambda t: t.rstrip("Z"), lambda t: t.replace("T", " ").rstrip("Z"), lambda t: t[:10])
    return [
        row | {name: forms[i % len(forms)](row[name]) for name in bills.TIMES}
        for i, row in enumerate(rows)
    ]


def with_nulls(rows: Sequence[Row]) -> list[Row]:
    """Empty cells written in three ways, a cost among them."""
    ways = ("NULL", "null", "")
    return [
        {name: cell or ways[i % 3] for name, cell in row.items()} | {"ListCost": ways[i % 3]}
        for i, row in enumerate(rows)
    ]


NULLS = with_nulls(ROWS)
NEGATIVE = costs("100", "-30.5", "-0.000000000000000001", "+7", "-0")
EXPONENTS = costs("1e3", "2.5E-4", "1E+2", "-3.0e-18", ".5", "7.", "00012.50")
PROVIDERS = [
    charge(cost="1", ProviderName="AWS"),
    charge(cost="2", ProviderName="Microsoft", PublisherName="Microsoft"),
    charge(cost="4", ProviderName="Google Cloud", PublisherName="Google"),
]
CURRENCIES = [
    charge(cost="1.01"),
    charge(cost="2.02", BillingCurrency="EUR"),
    charge(cost="4.04", BillingCurrency="JPY"),
    charge(cost="8.08", BillingCurrency="EUR"),
]
UNICODE = [
    charge(
        ServiceName="Größe ☁️ 計算", SubAccountName="Zoë's \u202eaccount", Tags='{"équipe": "ñ"}'
    ),
    charge(ServiceName='quoted "name", with comma', SubAccountName="two\nlines"),
]
SHUFFLED = random.Random(7).sample(list(ROWS[0]), len(ROWS[0]))
EXTRA = [row | {"x_Extra": "anything"} for row in ROWS]
LOWERED = [{name.lower(): cell for name, cell in row.items()} for row in ROWS]


@dataclass(frozen=True)
class Case:
    id: str
    content: bytes
    rows: list[Row]
    name: str = "bill.csv"
    doubles: bool = False
    period: str = "2026-11"


def parquet(id: str, rows: list[Row] = ROWS, *, doubles: bool = False, **options: Any) -> Case:
    return Case(id, as_parquet(rows, **options), rows, "bill.parquet", doubles)


CASES = (
    Case("csv", as_csv(ROWS), ROWS),
    Case("gzip", zipped(as_csv(ROWS)), ROWS, "bill.csv.gz"),
    Case(
        "gzip-of-two-members",
        zipped(as_csv(ROWS)[:900]) + zipped(as_csv(ROWS)[900:]),
        ROWS,
        "bill.csv.gz",
    ),
    Case("upper-case-suffix", as_csv(ROWS), ROWS, "BILL.CSV"),
    Case("byte-order-mark", b"\xef\xbb\xbf" + as_csv(ROWS), ROWS),
    Case("windows-line-ends", as_csv(ROWS).replace(b"\n", b"\r\n"), ROWS),
    Case("no-final-line-end", as_csv(ROWS).rstrip(b"\n"), ROWS),
    Case("nulls", as_csv(NULLS), NULLS),
    Case("naive-times", as_csv(naive(ROWS)), ROWS),
    Case("another-order-of-columns", as_csv(ROWS, SHUFFLED), ROWS),
    Case("more-columns", as_csv(EXTRA), ROWS),
    Case("columns-in-lower-case", as_csv(LOWERED), ROWS),
    Case("negative-costs", as_csv(NEGATIVE), NEGATIVE),
    Case("exponents", as_csv(EXPONENTS), EXPONENTS),
    Case("blanks-around-costs", as_csv(costs(" 1.5", "2.25 ", "\t3")), costs("1.5", "2.25", "3")),
    Case("several-currencies", as_csv(CURRENCIES), CURRENCIES),
    Case("several-providers", as_csv(PROVIDERS), PROVIDERS),
    Case("unicode", as_csv(UNICODE), UNICODE),
    parquet("parquet", doubles=True),
    parquet("parquet-of-many-groups", costs(*("0.1",) * 28), doubles=True, rows_per_group=3),
    parquet("parquet-with-json-tags", doubles=True, tags_as_map=False),
    parquet("parquet-decimals", EXPONENTS, money=pa.decimal128(38, 18)),
    parquet("parquet-text-costs", NEGATIVE, money=pa.string()),
    parquet("parquet-utc-times", doubles=True, times=pa.timestamp("us", "UTC")),
    parquet("parquet-text-times", doubles=True, times=pa.string()),
    parquet("parquet-in-another-order", doubles=True, names=SHUFFLED),
    parquet("parquet-currencies", CURRENCIES, doubles=True),
)


def report(call: Command, source: Path, out: Folder, *options: str) -> dict[str, bytes]:
    """Run, and read what was published as one who follows the address that was printed."""
    outcome = call(str(source), "--out", out.location, *options)
    shown = Path(outcome.report)
    assert shown.is_relative_to(out.path)
    return published(out, shown.parent.parent.name.removeprefix("billing_period="))


def check(files: dict[str, bytes], expected: dict[str, dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(files["summary.json"])
    assert said(found) == expected
    assert rolled_up(files["daily_costs.parquet"]) == expected
    assert found["reconciled"] is True
    assert found["rows"] == sum(total["rows"] for total in expected.values())
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_sums_are_exact(case: Case, call: Command, folder: Folder, out: Folder) -> None:
    folder.put(case.name, case.content)
    files = report(call, folder.path / case.name, out)
    check(files, bills.totals(case.rows, case.period, doubles=case.doubles))


def test_null_costs_are_counted(call: Command, folder: Folder, out: Folder) -> None:
    folder.put("bill.csv", as_csv(NULLS))
    (total,) = json.loads(report(call, folder.path, out)["summary.json"])["totals"]
    assert total["null_costs"] == {
        "BilledCost": 0,
        "EffectiveCost": 0,
        "ListCost": len(ROWS),
        "ContractedCost": 0,
    }


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_tags_add_up_per_key(suffix: str, call: Command, folder: Folder, out: Folder) -> None:
    """As JSON text and as a MAP alike."""
    content = as_csv(ROWS) if suffix == "csv" else as_parquet(ROWS)
    folder.put(f"bill.{suffix}", content)
    files = report(call, folder.path, out)
    table = pq.read_table(pa.BufferReader(files["tag_costs.parquet"])).to_pylist()
    found = {(row["TagKey"], row["TagValue"]): row["EffectiveCost"] for row in table}
    last = Decimal("1234567.8901234567")
    if suffix == "parquet":  # a double, rounded to 10^-10
        last = Decimal(float(last)).quantize(Decimal("1e-10"))
    tiny = Decimal("0.0000000001")
    assert found == {
        ("team", "web"): Decimal("3.3"),
        ("team", "data"): last,
        ("team", None): tiny,
        ("env", "prod"): last,
        ("env", None): Decimal("3.3") + tiny,
    }


OPTIONAL = {
    "services": ("ServiceName",),
    "accounts": ("SubAccountId",),
    "regions": ("RegionId",),
    "invoices": ("InvoiceId",),
    "coverage": ("PricingCategory",),
    "tags": ("Tags",),
    "commitments": ("CommitmentDiscountId", "CommitmentDiscountStatus"),
}


@pytest.mark.parametrize("analysis", OPTIONAL)
def test_an_optional_column_that_is_missing(
    analysis: str, call: Command, folder: Folder, out: Folder
) -> None:
    rows = [*ROWS, charge(CommitmentDiscountId="sp-1", CommitmentDiscountStatus="Used")]
    folder.put("bill.csv", as_csv(rows, [n for n in rows[0] if n not in OPTIONAL[analysis]]))
    found = check(report(call, folder.path, out), bills.totals(rows))
    gaps = {gap["analysis"]: gap["why"] for gap in found["unavailable"]}
    assert gaps.keys() & OPTIONAL.keys() == {analysis}
    assert gaps[analysis]


def test_only_the_columns_that_totals_need(call: Command, folder: Folder, out: Folder) -> None:
    folder.put("bill.csv", as_csv(ROWS, bills.REQUIRED))
    found = check(report(call, folder.path, out), bills.totals(ROWS))
    assert OPTIONAL.keys() <= {gap["analysis"] for gap in found["unavailable"]}
    assert "ServiceName-absent" in {violation["rule"] for violation in found["violations"]}


def test_currencies_are_never_added(call: Command, folder: Folder, out: Folder) -> None:
    folder.put("bill.csv", as_csv(CURRENCIES))
    found = check(report(call, folder.path, out), bills.totals(CURRENCIES))
    assert [total["currency"] for total in found["totals"]] == ["EUR", "JPY", "USD"]
    assert {forecast["currency"] for forecast in found["forecast"]} == {"EUR", "JPY", "USD"}
    assert "15.15" not in json.dumps(found)


def test_several_providers_are_kept_apart(call: Command, folder: Folder, out: Folder) -> None:
    folder.put("bill.csv", as_csv(PROVIDERS))
    table = pq.read_table(pa.BufferReader(report(call, folder.path, out)["daily_costs.parquet"]))
    found = {row["ProviderName"]: row["BilledCost"] for row in table.to_pylist()}
    assert found == {"AWS": 1, "Microsoft": 2, "Google Cloud": 4}


def test_rows_of_other_periods_are_counted_apart(
    call: Command, folder: Folder, out: Folder
) -> None:
    rows = [*ROWS, *costs("64", "128", period="2026-10"), charge("2026-12-01", "256")]
    folder.put("bill.csv", as_csv(rows))
    found = check(report(call, folder.path, out), bills.totals(rows, "2026-11"))
    (others,) = found["other_periods"]
    assert others["rows"] == 3
    assert Decimal(others["billed_cost"]) == 448


def test_a_charge_outside_its_period_counts_on_its_own_day(
    call: Command, folder: Folder, out: Folder
) -> None:
    rows = [*ROWS, charge("2026-10-31", "5", period="2026-11")]
    folder.put("bill.csv", as_csv(rows))
    found = check(report(call, folder.path, out), bills.totals(rows, "2026-11"))
    assert ("ChargePeriod-outside", "warning") in {
        (violation["rule"], violation["severity"]) for violation in found["violations"]
    }


@pytest.mark.parametrize("period", ["2024-02", "2028-02"])
def test_a_leap_day(period: str, call: Command, folder: Folder, out: Folder) -> None:
    rows = [charge(f"{period}-{day:02d}", f"{day}.01") for day in range(1, 30)]
    folder.put("bill.csv", as_csv(rows))
    found = check(report(call, folder.path, out), bills.totals(rows, period))
    assert found["billing_period"] == period
    assert found["last_day"] == f"{period}-29"
    assert {forecast["days_in_month"] for forecast in found["forecast"]} == {29}


def test_a_month_with_one_day(call: Command, folder: Folder, out: Folder) -> None:
    rows = [charge("2026-11-01", "3"), charge("2026-11-01", "4")]
    folder.put("bill.csv", as_csv(rows))
    found = check(report(call, folder.path, out), bills.totals(rows))
    assert found["first_day"] == found["last_day"] == "2026-11-01"
    assert "forecast" in {gap["analysis"] for gap in found["unavailable"]}


@pytest.mark.parametrize("name", ["bill.csv", "bill.csv.gz", "bill.parquet"])
@pytest.mark.parametrize("period", ["2026-11", None])
def test_a_bill_of_no_rows(
    name: str, period: str | None, call: Command, folder: Folder, out: Folder
) -> None:
    header = as_csv([], list(charge()))
    content = {"csv": header, "gz": zipped(header), "parquet": as_parquet([])}
    name = f"billing_period=2026-11/{name}"
    folder.put(name, content[name.rpartition(".")[2]])
    found = check(
        report(call, folder.path / name, out, *(["--period", period] if period else [])), {}
    )
    assert found["billing_period"] == "2026-11"
    assert found["totals"] == found["anomalies"] == []


def test_an_export_of_no_rows(call: Command, folder: Folder, out: Folder) -> None:
    export(folder, {"daily-00001.snappy.parquet": as_parquet([])})
    assert check(report(call, folder.path, out), {})["billing_period"] == "2026-11"


# --- text from the bill is somebody else's -------------------------------------------------------

EVIL = "<script>alert(1)</script>"
FORMULA = '=HYPERLINK("http://example.invalid","x")'


def test_text_that_would_be_markup_or_a_formula(call: Command, folder: Folder, out: Folder) -> None:
    rows = [
        charge(f"2026-{month}-{day:02d}", cost, ServiceName=name, SubAccountName=name, Tags=tags)
        for month, cost in (("10", "10"), ("11", "20"))
        for day in range(1, 29)
        for name, tags in (
            (EVIL, json.dumps({"team": EVIL, EVIL: "x"})),
            (FORMULA, json.dumps({"team": FORMULA})),
            ("+1-800", ""),
            ("@cmd", ""),
            ("-cmd|' /C calc'!A0", ""),
        )
    ]
    rows.append(charge("2026-11-05", "1", ChargeCategory="=cmd()", ServiceName=f"{FORMULA} x"))
    rows.append(charge("2026-11-28", "9000", ServiceName=FORMULA, SubAccountName=EVIL))
    folder.put("bill.csv", as_csv(rows))
    files = report(call, folder.path, out, "--period", "2026-11")
    check(files, bills.totals(rows))

    page = files["report.html"].decode()
    assert EVIL not in page
    assert "&lt;script&gt;alert(1)" in page
    texts = []
    for name, content in files.items():
        if name.endswith(".csv"):
            for cells in csv.reader(io.StringIO(content.decode())):
                texts += cells
                for cell in cells:
                    assert not cell.startswith(("=", "+", "@", "\t", "\r")), (name, cell)
                    if cell.startswith("-"):
                        Decimal(cell)  # a number is no formula
    assert f"'{FORMULA}" in texts  # so the movers or anomalies do name it


# --- exports, versions, layouts ------------------------------------------------------------------

FOCUS_1_0 = [name for name in ROWS[0] if name not in ("InvoiceId", "SkuMeter")]


@pytest.mark.parametrize("create_new", [False, True], ids=["overwrite", "create-new"])
@pytest.mark.parametrize("version", ["1.0", "1.2"])
def test_exports(version: str, create_new: bool, place: Place, call: Command, out: Folder) -> None:
    """Both layouts and versions, Parquet and gzip, partitions spelt either way; a stale
    execution and a chunk that a shrinking refresh left behind are not read.
    """
    names = FOCUS_1_0 if version == "1.0" else list(ROWS[0])
    partition = "billing_period" if version == "1.0" else "BILLING_PERIOD"
    first, second = ROWS[:2], ROWS[2:]
    if version == "1.0":
        chunks = {
            "daily-00001.snappy.parquet": as_parquet(first, names),
            "daily-00002.snappy.parquet": as_parquet(second, names),
        }
        stale = {name: as_parquet(costs("999"), names) for name in (*chunks, "daily-00003.parquet")}
    else:
        chunks = {
            "daily-00001.csv.gz": zipped(as_csv(first)),
            "daily-00002.csv.gz": zipped(as_csv(second)),
        }
        stale = {name: zipped(as_csv(costs("999"))) for name in (*chunks, "daily-00003.csv.gz")}
    export(place, stale, execution="e-0", create_new=create_new, partition=partition)
    export(place, chunks, execution="e-1", create_new=create_new, partition=partition)

    assert call(place.location, "--out", out.location).status == 0
    found = check(published(out, "2026-11"), bills.totals(ROWS, doubles=version == "1.0"))
    assert found["focus_version"] == version
    assert found["execution_id"] == "e-1"
    assert found["files"] == 2


@pytest.mark.parametrize("period", ["2026-09", "2026-11", None])
def test_a_folder_of_plain_files_over_several_months(
    period: str | None, place: Place, call: Command, out: Folder
) -> None:
    rows = [row for i in (9, 10, 11) for row in costs(f"{i}.5", f"{i}", period=f"2026-{i:02d}")]
    for month in ("2026-09", "2026-10", "2026-11"):
        mine = [row for row in rows if row["BillingPeriodStart"].startswith(month)]
        place.put(f"focus/{month}.csv", as_csv(mine))
    place.put("focus/notes.txt", "not a bill")
    options = ["--period", period] if period else []
    assert call(place.location, "--out", out.location, *options).status == 0
    shown = period or "2026-11"
    found = check(published(out, shown), bills.totals(rows, shown))
    assert Decimal(found["other_periods"][0]["rows"]) == 4


def test_the_sample_bill(sample_bill: Path, call: Command, out: Folder) -> None:
    """Every row of the generator's Parquet, added up one by one."""
    assert call(str(sample_bill), "--out", out.location).status == 0
    (file,) = sample_bill.glob("data/BILLING_PERIOD=2026-11/*.parquet")
    columns = ["BillingPeriodStart", "BillingCurrency", *bills.COSTS]
    rows = pq.read_table(file, columns=columns).to_pylist()
    expected = {
        key: sum((Decimal(row[name]).quantize(Decimal("1e-10")) for row in rows), start=Decimal(0))
        for name, key in bills.COSTS.items()
    }
    found = summary(out, "2026-11")
    assert said(found) == {"USD": {"rows": len(rows), **expected}}
    assert rolled_up(published(out, "2026-11")["daily_costs.parquet"]) == said(found)
    assert [month["billing_period"] for month in found["history"]] == ["2026-10"]
