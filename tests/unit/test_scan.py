"""One pass over the bill: totals, roll-ups, other periods, and the proof that they agree."""

from __future__ import annotations

import contextlib
import random
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from flows.cost_report import columns
from flows.cost_report.assemble import assemble
from flows.cost_report.locate import Bill
from flows.cost_report.model import Analysis
from flows.cost_report.scan import Scan, prove, roll_up_days, with_history
from flows.cost_report.scan import scan as scanning
from flows.cost_report.tables import COMMITMENTS, COSTS, DAILY, TAGS
from flows.problem import Problem
from tests.unit import bills
from tests.unit.bills import Row, month, row, short, write_csv, write_parquet


def money(*costs: str) -> dict[str, str]:
    """The four costs of a row; one amount stands for all."""
    return dict(zip(COSTS, costs * (4 // len(costs)), strict=True))


def daily(scan: Scan, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(line.values()) for line in scan.rollup.daily.select(names).to_pylist()]


# --- totals --------------------------------------------------------------------------------------


def test_totals_are_per_currency_with_their_nulls(tmp_path: Path) -> None:
    rows = [
        row(**money("1.000000000000000001", "2", "3", "4")),
        row(**money("0.1", "0.2", "-0.3", "0.4")) | {"ContractedCost": None},
        row(**money("100"), BillingCurrency="EUR"),
        row(**money("1e-18")) | {"BilledCost": None, "ContractedCost": None},
    ]
    scan = bills.scan(write_csv(tmp_path / "bill.csv", rows))
    prove(scan)
    eur, usd = scan.totals
    assert (eur.currency, eur.rows, eur.billed_cost) == ("EUR", 1, Decimal(100))
    assert (usd.currency, usd.rows) == ("USD", 3)
    assert usd.billed_cost == Decimal("1.100000000000000001")
    assert usd.effective_cost == Decimal("2.200000000000000001")
    assert usd.list_cost == Decimal("2.700000000000000001")
    assert usd.contracted_cost == 4
    assert list(usd.null_costs.values()) == [1, 0, 0, 2]
    assert (scan.rows, scan.files, scan.other_periods) == (4, 1, ())


def test_a_currency_may_be_of_one_period_only(tmp_path: Path) -> None:
    rows = [
        row(BillingCurrency="EUR", **money("1")),
        row(BillingCurrency="USD", **money("2"), **month("2026-10")),
    ]
    scan = bills.scan(write_csv(tmp_path / "bill.csv", rows))
    prove(scan)
    assert [(total.currency, total.rows) for total in scan.totals] == [("EUR", 1)]
    assert [(total.currency, total.rows) for total in scan.other_periods] == [("USD", 1)]


def test_a_bill_of_zero_rows_has_no_totals(tmp_path: Path) -> None:
    header = bills.csv_text([row()]).splitlines()[0]
    scan = bills.scan(bills.write(tmp_path / "bill.csv", header + "\n"))
    prove(scan)
    assert (scan.rows, scan.totals, scan.other_periods, scan.violations) == (0, (), (), ())
    tables = scan.rollup.daily, scan.rollup.tags, scan.rollup.commitments, scan.rollup.history
    assert [table.num_rows for table in tables] == [0] * 4
    assert [table.schema for table in tables] == [DAILY, TAGS, COMMITMENTS, DAILY]


@pytest.mark.parametrize("name", columns.REQUIRED)
def test_a_column_that_totals_need_must_be_in_every_file(tmp_path: Path, name: str) -> None:
    good = write_csv(tmp_path / "a.csv", [row()])
    without = row()
    del without[name]
    for bad in (
        write_csv(tmp_path / "b.csv", [without]),
        write_parquet(tmp_path / "b.parquet", [without]),
    ):
        with pytest.raises(Problem) as caught:
            bills.scan(good, bad)
        assert caught.value.where == {"file": str(bad), "column": name}


# --- the daily roll-up ---------------------------------------------------------------------------


def test_days_are_those_of_the_charge_in_utc(tmp_path: Path) -> None:
    starts = [
        "2026-11-05T00:00:00Z",
        "2026-11-05T23:59:59Z",
        "2026-11-06T00:30:00+01:00",
        "2026-11-05T20:00:00-05:00",
        "2026-11-30",
    ]
    rows = [row(ChargePeriodStart=s, ChargePeriodEnd="2026-12-01", **money("1")) for s in starts]
    scan = bills.scan(write_csv(tmp_path / "bill.csv", rows))
    assert daily(scan, "ChargeDate", "RowCount", "BilledCost") == [
        (date(2026, 11, 5), 3, 3),
        (date(2026, 11, 6), 1, 1),
        (date(2026, 11, 30), 1, 1),
    ]


def test_charges_outside_the_period_count_on_their_own_day(tmp_path: Path) -> None:
    rows = [row(ChargePeriodStart="2025-02-03"), row(ChargePeriodStart="2027-11-30")]
    scan = bills.scan(write_csv(tmp_path / "bill.csv", rows))
    prove(scan)
    assert [day for (day,) in daily(scan, "ChargeDate")] == [date(2025, 2, 3), date(2027, 11, 30)]
    assert scan.rows == 2


def test_a_leap_day_is_a_day(tmp_path: Path) -> None:
    path = write_csv(
        tmp_path / "a.csv",
        [row(**month("2024-02"), **money("1")) | {"ChargePeriodStart": "2024-02-29"}],
    )
    scan = bills.scan(path, period="2024-02")
    assert daily(scan, "ChargeDate") == [(date(2024, 2, 29),)]


def test_every_key_is_kept_apart_and_null_is_not_empty(tmp_path: Path) -> None:
    rows = [
        row(RegionId="eu", InvoiceId="1", **money("1")),
        row(RegionId="eu", InvoiceId="2", **money("2")),
        row(RegionId=None, InvoiceId="2", **money("4")),
        row(RegionId="eu", InvoiceId="1", **money("8")),
        row(RegionId="<script>", InvoiceId="=1+1", **money("16")),
    ]
    scan = bills.scan(write_csv(tmp_path / "bill.csv", rows))
    assert daily(scan, "RegionId", "InvoiceId", "RowCount", "BilledCost") == [
        ("<script>", "=1+1", 1, 16),
        ("eu", "1", 2, 9),
        ("eu", "2", 1, 2),
        (None, "2", 1, 4),
    ]


def test_columns_that_the_bill_lacks_are_null(tmp_path: Path) -> None:
    scan = bills.scan(write_csv(tmp_path / "bill.csv", [short(**money("1"))] * 2))
    assert scan.rollup.daily.schema == DAILY
    (line,) = scan.rollup.daily.to_pylist()
    assert (line["RowCount"], line["BilledCost"], line["ServiceName"]) == (2, 2, None)
    assert scan.columns == set(columns.REQUIRED)


def test_extra_columns_are_harmless(tmp_path: Path) -> None:
    rows = [short() | {"x_Mine": "1", "BilledCost ": "2", "Unheard of": "ü"}]
    assert bills.scan(write_csv(tmp_path / "bill.csv", rows)).rows == 1


# --- commitments ---------------------------------------------------------------------------------


def test_commitments_are_added_up_per_id_status_and_category(tmp_path: Path) -> None:
    used = {
        "CommitmentDiscountId": "sp-1",
        "CommitmentDiscountName": "Plan",
        "CommitmentDiscountStatus": "Used",
    }
    rows = [
        row(**used, **money("1")),
        row(**used, **money("2"), RegionId="other"),
        row(**{**used, "CommitmentDiscountStatus": "Unused"}, **money("4")),
        row(
            **{**used, "CommitmentDiscountStatus": None, "ChargeCategory": "Purchase"}, **money("8")
        ),
        row(**money("16")),
        row(**used, **money("32"), **month("2026-10")),
    ]
    scan = bills.scan(write_csv(tmp_path / "bill.csv", rows))
    assert scan.rollup.commitments.schema == COMMITMENTS
    names = ["CommitmentDiscountStatus", "ChargeCategory", "RowCount", "EffectiveCost"]
    lines = scan.rollup.commitments.select(names).to_pylist()
    assert [tuple(line.values()) for line in lines] == [
        ("Unused", "Usage", 1, 4),
        ("Used", "Usage", 2, 3),
        (None, "Purchase", 1, 8),
    ]


# --- other periods and the past ------------------------------------------------------------------


def several_months(path: Path) -> Path:
    rows = [
        row(**month(period), **money(cost))
        for period, cost in [
            ("2026-06", "1"),
            ("2026-08", "2"),
            ("2026-10", "4"),
            ("2026-11", "8"),
            ("2026-11", "16"),
            ("2026-12", "32"),
        ]
    ]
    random.Random(3).shuffle(rows)
    return write_csv(path / "bill.csv", rows)


def test_rows_of_other_periods_are_counted_apart(tmp_path: Path) -> None:
    scan = bills.scan(several_months(tmp_path))
    prove(scan)
    assert (scan.rows, bills.only(scan.totals).billed_cost) == (2, 24)
    other = bills.only(scan.other_periods)
    assert (other.currency, other.rows, other.billed_cost) == ("USD", 4, 1 + 2 + 4 + 32)


def test_history_holds_the_days_of_three_months_before(tmp_path: Path) -> None:
    scan = bills.scan(several_months(tmp_path))
    history = scan.rollup.history
    assert history.schema == DAILY
    assert history["ChargeDate"].to_pylist() == [date(2026, 8, 1), date(2026, 10, 1)]


def test_a_period_without_rows_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(Problem) as caught:
        bills.scan(several_months(tmp_path), period="2026-07")
    assert caught.value.value == "2026-07"
    assert "2026-06, 2026-08" in caught.value.detail
    assert "PERIOD=2026-12" in caught.value.fix


def test_the_days_of_an_earlier_execution_are_its_daily_roll_up(tmp_path: Path) -> None:
    path = several_months(tmp_path)
    execution = bills.execution(path, period="2026-10")
    assert roll_up_days(execution) == bills.scan(path, period="2026-10").rollup.daily
    with pytest.raises(Problem, match="lacks a column"):
        roll_up_days(bills.execution(write_csv(tmp_path / "b.csv", [{"BilledCost": "1"}])))


def test_the_past_is_put_before_what_the_files_held(tmp_path: Path) -> None:
    scan = bills.scan(several_months(tmp_path))
    earlier = [
        roll_up_days(
            bills.execution(
                write_csv(tmp_path / f"{period}.csv", [row(**month(period))]), period=period
            )
        )
        for period in ("2026-07", "2026-05")
    ]
    history = with_history(scan.rollup, earlier).history
    days = history["ChargeDate"].to_pylist()
    assert days == [date(2026, number, 1) for number in (5, 7, 8, 10)]
    assert with_history(scan.rollup, []).history == scan.rollup.history


# --- the proof -----------------------------------------------------------------------------------


@pytest.fixture
def honest(tmp_path: Path) -> Scan:
    rows = [row(**money("1.5")), row(**money("2"), RegionId="x"), row(BillingCurrency="EUR")]
    scan = bills.scan(write_csv(tmp_path / "bill.csv", rows))
    prove(scan)
    return scan


def tampered(scan: Scan, table: pa.Table) -> Scan:
    return replace(scan, rollup=replace(scan.rollup, daily=table))


@pytest.mark.parametrize("name", ["RowCount", *COSTS])
def test_a_roll_up_that_is_off_by_the_last_digit_is_refused(honest: Scan, name: str) -> None:
    table = honest.rollup.daily
    smallest = 1 if name == "RowCount" else Decimal("1e-18")
    column = [
        value + (smallest if i == 1 else 0) for i, value in enumerate(table[name].to_pylist())
    ]
    place = table.column_names.index(name)
    wrong = table.set_column(place, table.field(name), pa.array(column, table.field(name).type))
    with pytest.raises(Problem, match="does not add up") as caught:
        prove(tampered(honest, wrong))
    assert caught.value.where == {"currency": "USD"}


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_roll_up_that_lost_or_doubled_a_line_is_refused(honest: Scan, lost: int) -> None:
    table = honest.rollup.daily
    keep = pa.array([i != lost for i in range(table.num_rows)])
    for wrong in (table.filter(keep), pa.concat_tables([table, table.slice(lost, 1)])):
        with pytest.raises(Problem, match="does not add up"):
            prove(tampered(honest, wrong))


def test_a_cost_in_another_currency_is_refused(honest: Scan) -> None:
    table = honest.rollup.daily
    place = table.column_names.index("BillingCurrency")
    for currencies in (["USD"] * 3, ["EUR"] * 3, ["EUR", "USD", "GBP"]):
        wrong = table.set_column(place, table.field(place), pa.array(currencies))
        with pytest.raises(Problem, match="does not add up"):
            prove(tampered(honest, wrong))


def test_a_total_that_was_tampered_with_is_refused(honest: Scan) -> None:
    first, *rest = honest.totals
    for totals in (
        (replace(first, list_cost=first.list_cost + Decimal("1e-18")), *rest),
        (replace(first, rows=first.rows + 1), *rest),
        tuple(rest),
        (*honest.totals, replace(first, currency="GBP")),
    ):
        with pytest.raises(Problem, match="does not add up"):
            prove(replace(honest, totals=totals))


def test_what_outgrows_64_bits_is_right_or_refused(tmp_path: Path) -> None:
    """10,000 times 9.9 × 10^14 of a currency, in one group: never a wrong total."""
    rows = [short(**money("990000000000000"))] * 10_000
    for path in (write_csv(tmp_path / "a.csv", rows), write_parquet(tmp_path / "a.parquet", rows)):
        with contextlib.suppress(Problem):
            scan = bills.scan(path)
            prove(scan)
            assert bills.only(scan.totals).billed_cost == 10_000 * 990_000_000_000_000


# --- around it -----------------------------------------------------------------------------------


def test_neither_files_nor_rows_have_an_order(tmp_path: Path) -> None:
    rows: list[Row] = [
        row(
            **money(f"{n}.{n:018d}"),
            BillingCurrency="USD" if n % 3 else "EUR",
            SubAccountId=str(n % 7) if n % 5 else None,
            Tags={"team": str(n % 4)} if n % 2 else None,
            CommitmentDiscountId="sp" if n % 6 == 0 else None,
        )
        for n in range(60)
    ]
    first = bills.scan(write_csv(tmp_path / "all.csv", rows))
    random.Random(1).shuffle(rows)
    parts = [write_csv(tmp_path / f"{n}.csv", rows[n::4]) for n in range(4)]
    for paths in (parts, parts[::-1]):
        again = bills.scan(*paths)
        assert again.rollup == first.rollup
        assert again.totals == first.totals


def test_progress_grows_to_the_size_of_the_bill(tmp_path: Path) -> None:
    paths = [
        write_csv(tmp_path / "a.csv.gz", [row()] * 50),
        write_csv(tmp_path / "b.csv", [row()] * 50),
        write_parquet(tmp_path / "c.parquet", [row()] * 50, row_group_size=7),
    ]
    execution = bills.execution(*paths)
    seen: list[tuple[int, int]] = []
    scanning(execution, lambda done, of: seen.append((done, of)))
    done = [step for step, _ in seen]
    assert done == sorted(done)
    assert done[-1] == execution.bytes == sum(path.stat().st_size for path in paths)
    assert {of for _, of in seen} == {execution.bytes}
    assert len(seen) >= 10


def test_a_report_says_what_was_read(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "bill.csv", [row(), row(ChargePeriodStart="2026-11-20")])
    execution = bills.execution(path)
    earlier = replace(execution, period="2026-10", id="before")
    nothing = Analysis(*[()] * len(Analysis.__dataclass_fields__))
    report = assemble(Bill(execution, (earlier,)), bills.scan(path), nothing)
    assert (report.billing_period, report.execution_id) == ("2026-11", "execution-1")
    assert (report.first_day, report.last_day) == (date(2026, 11, 5), date(2026, 11, 20))
    assert report.history == (("2026-10", "before"),)
    assert (report.rows, report.files, report.focus_version) == (2, 1, "1.2")


def test_a_report_about_no_rows_has_no_days(tmp_path: Path) -> None:
    header = bills.csv_text([row()]).splitlines()[0]
    path = bills.write(tmp_path / "bill.csv", header + "\n")
    nothing = Analysis(*[()] * len(Analysis.__dataclass_fields__))
    report = assemble(Bill(bills.execution(path), ()), bills.scan(path), nothing)
    assert (report.first_day, report.last_day, report.rows) == (None, None, 0)


@pytest.mark.parametrize(
    ("names", "version"),
    [(set(), "1.0"), ({"ServiceSubcategory"}, "1.1"), ({"InvoiceId", "ServiceSubcategory"}, "1.2")],
)
def test_the_version_of_focus_is_told_by_its_columns(names: set[str], version: str) -> None:
    assert columns.version({*columns.REQUIRED, *names}) == version


def test_many_days_and_many_rows_are_the_sums_that_numpy_finds(tmp_path: Path) -> None:
    """A bill larger than one of our batches, against sums of whole cents."""
    rng = np.random.default_rng(5)
    count = 150_000
    cents, day = rng.integers(-5_000, 50_000, count), rng.integers(0, 30, count)
    table = bills.table([short()]).take(pa.array(np.zeros(count, dtype=np.int64)))
    starts = np.datetime64("2026-11-01", "ms") + day.astype("timedelta64[D]")
    for name, column in (
        ("BilledCost", pa.array(cents / 100)),
        ("ChargePeriodStart", pa.array(starts)),
    ):
        table = table.set_column(table.column_names.index(name), name, column)
    path = tmp_path / "bill.parquet"
    pq.write_table(table, path, row_group_size=70_000)
    scan = bills.scan(path)
    prove(scan)
    expected = np.bincount(day, weights=cents, minlength=30).astype(np.int64)
    found = [int(cost * 100) for _, cost in daily(scan, "ChargeDate", "BilledCost")]
    assert found == expected.tolist()
    assert pc.sum(scan.rollup.daily["RowCount"]).as_py() == count
