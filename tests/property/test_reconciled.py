"""Any bill is reconciled to the last digit against an independent sum in plain Python, and nothing
depends on the order of its rows, files, row groups or columns.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.cost_report import read
from flows.cost_report.assemble import assemble
from flows.cost_report.locate import Bill, Execution
from flows.cost_report.model import Analysis, Total
from flows.cost_report.publish import files_of
from flows.cost_report.scan import Scan, prove, roll_up_days
from flows.cost_report.tables import COMMITMENT_KEYS, COSTS, DAILY_KEYS
from flows.sample_bill import Options, generate
from tests.property import strategies as bill
from tests.property.strategies import DOUBLES, PERIOD, WRITTEN, Sum, add_up, in_period
from tests.unit import bills
from tests.unit.bills import Row

NOTHING = Analysis(*[()] * len(Analysis.__dataclass_fields__))
Lines: TypeAlias = dict[Any, Sum]


@dataclass(frozen=True)
class Form:
    """How a bill is written, and read."""

    files: int = 1
    suffix: str = ".csv"
    row_group: int | None = None
    batch: int = read.BATCH_ROWS
    block: int = read.CSV_BLOCK
    backwards: bool = False  # the columns

    def write(self, folder: Path, rows: Sequence[Row]) -> list[Path]:
        columns = list(rows[0])[:: -1 if self.backwards else 1]
        paths = []
        for number in range(min(self.files, len(rows))):
            part = [{name: row[name] for name in columns} for row in rows[number :: self.files]]
            path = folder / f"{number:03d}{self.suffix}"
            if self.suffix == ".parquet":
                bills.write_parquet(path, part, row_group_size=self.row_group)
            else:
                bills.write_csv(path, part)
            paths.append(path)
        return paths

    def scan(self, folder: Path, rows: Sequence[Row]) -> Scan:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(read, "BATCH_ROWS", self.batch)
            patch.setattr(read, "CSV_BLOCK", self.block)
            return bills.scan(*self.write(folder, rows), period=PERIOD)


csv_forms = st.builds(
    Form,
    files=st.integers(1, 4),
    suffix=st.sampled_from([".csv", ".csv.gz"]),
    block=st.sampled_from([1_200, 4_000, 1 << 24]),
    backwards=st.booleans(),
)
parquet_forms = st.builds(
    Form,
    files=st.integers(1, 4),
    suffix=st.just(".parquet"),
    row_group=st.sampled_from([1, 3, 10, None]),
    batch=st.sampled_from([1, 4, 65_536]),
    backwards=st.booleans(),
)


def lines(table: pa.Table, keys: Sequence[str]) -> Lines:
    """A roll-up as a dictionary; every key is there once."""
    found: Lines = {}
    for row in table.to_pylist():
        key = tuple(str(row[name]) if name == "ChargeDate" else row[name] for name in keys)
        assert key not in found
        found[key] = Sum(row["RowCount"], [row[name] for name in COSTS])
    return found


def of_totals(totals: Sequence[Total]) -> Lines:
    return {
        t.currency: Sum(t.rows, [t.billed_cost, t.effective_cost, t.list_cost, t.contracted_cost])
        for t in totals
    }


def daily_key(row: Row) -> tuple[str | None, ...]:
    return (bill.day(row), *(bill.text(row, name) for name in DAILY_KEYS))


def assert_reconciled(scan: Scan, rows: Sequence[Row]) -> None:
    prove(scan)
    mine = [row for row in rows if in_period(row)]
    others = [row for row in rows if not in_period(row)]
    past = [row for row in others if "2026-08" <= row["BillingPeriodStart"][:7] < PERIOD]

    def currency(row: Row) -> str:
        return str(row["BillingCurrency"])

    assert scan.rows == len(mine)
    assert of_totals(scan.totals) == add_up(mine, currency)
    assert of_totals(scan.other_periods) == add_up(others, currency)
    for total in scan.totals:
        assert total.null_costs == {
            name: sum(bill.is_null(r[name]) for r in mine if currency(r) == total.currency)
            for name in COSTS
        }
    rollup = scan.rollup
    assert lines(rollup.daily, ["ChargeDate", *DAILY_KEYS]) == add_up(mine, daily_key)
    by_month = add_up(past, lambda row: (row["BillingPeriodStart"], daily_key(row)))
    assert sum(rollup.history["RowCount"].to_pylist()) == sum(s.rows for s in by_month.values())
    assert rollup.history.num_rows == len(by_month)
    assert lines(
        rollup.tags, ["BillingCurrency", "ChargeCategory", "TagKey", "TagValue"]
    ) == bill.tag_lines(mine)
    assert lines(
        rollup.installations,
        ["ChargeDate", "BillingCurrency", "TagKey", "TagValue", "ServiceName"],
    ) == bill.installation_lines(mine)
    committed = [row for row in mine if row["CommitmentDiscountId"]]
    assert lines(rollup.commitments, COMMITMENT_KEYS) == add_up(
        committed, lambda row: tuple(bill.text(row, name) for name in COMMITMENT_KEYS)
    )


def published(scan: Scan) -> dict[str, bytes]:
    """All files of the report, but for the violations: their samples name a file and a row."""
    execution = Execution(PERIOD, "execution-1", (), "", ())
    found = files_of(assemble(Bill(execution, ()), scan, NOTHING), scan.rollup, "")
    return {name: content for name, content in found.items() if name != "violations.csv"}


# --- to the last digit ---------------------------------------------------------------------------


@settings(max_examples=100)
@given(bill.some_charges(WRITTEN), csv_forms)
def test_a_bill_as_text_is_reconciled(rows: list[Row], form: Form) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert_reconciled(form.scan(Path(folder), rows), rows)


@settings(max_examples=100)
@given(bill.some_charges(DOUBLES), parquet_forms)
def test_a_bill_of_doubles_is_reconciled(rows: list[Row], form: Form) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert_reconciled(form.scan(Path(folder), rows), rows)


@pytest.mark.parametrize(
    "options",
    [
        Options(rows=9_500, months=1, row_group_rows=2_000, seed=1),
        Options(rows=9_500, months=1, layout="plain", format="csv.gz", focus="1.0", seed=2),
    ],
    ids=["parquet", "csv"],
)
def test_a_bill_of_the_generator_is_reconciled(tmp_path: Path, options: Options) -> None:
    paths = generate(options, tmp_path).files
    rows = [row for path in paths for row in rows_of(path)]
    assert len(rows) > 9_000
    scan = bills.scan(*paths, period=PERIOD)
    assert_reconciled(scan, rows)
    assert not [v for v in scan.violations if v.severity != "warning"]


def rows_of(path: Path) -> list[Row]:
    """A file's rows as our own rows, read with nothing of the job's."""
    import csv
    import gzip
    import json

    import pyarrow.parquet as pq

    if path.suffix == ".gz":
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return [{**row, "Tags": json.loads(row["Tags"] or "{}")} for row in rows]
    found = pq.read_table(path).to_pylist()
    return [
        {
            **row,
            "Tags": dict(row["Tags"] or ()),
            **{name: f"{row[name].isoformat()}Z" for name in bills.TIMES},
        }
        for row in found
    ]


# --- no order matters ----------------------------------------------------------------------------


@settings(max_examples=25)
@given(
    bill.some_charges(DOUBLES),
    parquet_forms,
    parquet_forms,
    st.randoms(use_true_random=False),
)
def test_the_order_of_rows_files_row_groups_and_columns_does_not_show(
    rows: list[Row], one: Form, other: Form, chance: random.Random
) -> None:
    shuffled = rows[:]
    chance.shuffle(shuffled)
    with tempfile.TemporaryDirectory() as folder:
        first = one.scan(Path(folder, "one"), rows)
        second = other.scan(Path(folder, "other"), shuffled)
    assert first.totals == second.totals
    assert first.other_periods == second.other_periods
    assert first.rollup == second.rollup
    assert [(v.rule, v.count) for v in first.violations] == [
        (v.rule, v.count) for v in second.violations
    ]
    before, after = published(first), published(second)
    for name in (n for n in before if n.endswith(".parquet")):
        assert before[name] == after[name]


@settings(max_examples=25)
@given(bill.some_charges(WRITTEN), csv_forms, st.randoms(use_true_random=False))
def test_files_in_another_order_are_the_same_bill(
    rows: list[Row], form: Form, chance: random.Random
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = form.write(Path(folder), rows)
        first = bills.scan(*paths, period=PERIOD)
        chance.shuffle(paths)
        second = bills.scan(*paths, period=PERIOD)
    assert published(first) | {"summary.json": b""} == published(second) | {"summary.json": b""}


@settings(max_examples=25)
@given(bill.some_charges(st.integers(-(10**9), 10**9).map(lambda n: f"{n / 10**4:.4f}")))
def test_text_doubles_and_decimals_are_the_same_bill(rows: list[Row]) -> None:
    """As long as no amount has more decimals than doubles keep."""
    with tempfile.TemporaryDirectory() as folder:
        text = bills.scan(bills.write_csv(Path(folder, "a.csv"), rows))
        doubles = bills.scan(bills.write_parquet(Path(folder, "b.parquet"), rows))
        kinds = dict.fromkeys(COSTS, pa.decimal128(20, 4)) | {"Tags": pa.string()}
        decimals = bills.scan(bills.write_parquet(Path(folder, "c.parquet"), rows, kinds))
    assert text.totals == doubles.totals == decimals.totals
    assert text.rollup == doubles.rollup == decimals.rollup


@settings(max_examples=15)
@given(bill.some_charges(WRITTEN))
def test_the_days_of_a_past_month_are_those_of_its_own_report(rows: list[Row]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = bills.write_csv(Path(folder, "a.csv"), rows)
        assert roll_up_days(bills.execution(path)) == bills.scan(path).rollup.daily
