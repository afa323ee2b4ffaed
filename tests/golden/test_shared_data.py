"""Real bills: the FinOps Foundation's sample, and the examples of the FOCUS 1.2 specification.

They are not part of this repository. They are looked for in the folder that NIGHTSHIFT_SHARED
names, else in shared/data beside the repository. Expected figures were found by adding up the text
of the files with Python's `decimal`.
"""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from flows.cost_report.locate import locate
from flows.cost_report.model import Total
from flows.cost_report.scan import Scan, prove, scan
from flows.cost_report.tables import COSTS
from flows.problem import Problem

SHARED = Path(
    os.environ.get("NIGHTSHIFT_SHARED") or Path(__file__).parents[3] / "shared" / "data"
).resolve()
SAMPLE = SHARED / "focus" / "focus_1_0_sample.csv"
EXAMPLES = SHARED / "focus" / "spec_1_2_examples"

pytestmark = pytest.mark.skipif(  # where the folder is named, its absence is a failure
    "NIGHTSHIFT_SHARED" not in os.environ and not SAMPLE.exists(),
    reason="the shared data is not beside this repository, and NIGHTSHIFT_SHARED names no folder",
)


def read(path: Path, period: str | None = None) -> Scan:
    found = scan(locate(str(path), period).execution)
    prove(found)
    return found


def costs(total: Total) -> tuple[Decimal, ...]:
    return total.billed_cost, total.effective_cost, total.list_cost, total.contracted_cost


def in_all(*totals: Total) -> tuple[Decimal, ...]:
    return tuple(sum(each, Decimal(0)) for each in zip(*map(costs, totals), strict=True))


def counts(table: pa.Table, name: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for row in table.select([name, "RowCount"]).to_pylist():
        found[row[name]] += row["RowCount"]
    return found


# --- the sample of 1,000 rows --------------------------------------------------------------------


@pytest.fixture(scope="module")
def september() -> Scan:
    return read(SAMPLE)


@pytest.fixture(scope="module")
def october() -> Scan:
    return read(SAMPLE, "2024-10")


def test_the_sample_is_about_september_and_one_row_of_october() -> None:
    assert locate(str(SAMPLE), None).execution.period == "2024-09"


def test_its_totals_are_exact(september: Scan) -> None:
    (mine,), (other,) = september.totals, september.other_periods
    assert (mine.currency, mine.rows, other.currency, other.rows) == ("USD", 999, "USD", 1)
    assert costs(mine) == tuple(
        map(Decimal, ["20.28022672899", "14.97651418586", "20.15090575119", "14.97626039326"])
    )
    assert in_all(mine, other) == tuple(
        map(Decimal, ["20.52022672899", "14.97651418586", "20.39090575119", "14.97626039326"])
    )
    assert mine.null_costs == {**dict.fromkeys(COSTS, 0), "ContractedCost": 6}
    assert mine.null_costs["ContractedCost"] + other.null_costs["ContractedCost"] == 7


def test_its_totals_are_those_of_its_text(september: Scan) -> None:
    with SAMPLE.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 1_000
    assert in_all(*september.totals, *september.other_periods) == tuple(
        sum((Decimal(row[name]) for row in rows if row[name] != "NULL"), Decimal(0))
        for name in COSTS
    )


def test_its_charges_by_category_and_provider(september: Scan, october: Scan) -> None:
    both = pa.concat_tables([september.rollup.daily, october.rollup.daily])
    assert october.rows == 1
    assert counts(both, "ChargeCategory") == {"Usage": 997, "Adjustment": 2, "Credit": 1}
    assert counts(both, "ProviderName") == {"AWS": 942, "Microsoft": 51, "Oracle": 7}


def test_october_has_september_as_its_past(september: Scan, october: Scan) -> None:
    assert october.rollup.history == september.rollup.daily
    assert september.rollup.history.num_rows == 0


def test_its_oddities_are_found(september: Scan) -> None:
    """It was anonymised, which left costs that do not relate to each other."""
    assert {v.rule: v.count for v in september.violations} == {
        "ServiceName-category": 554,
        "ListCost-product": 31,
        "ContractedCost-product": 18,
        "ContractedCost-null": 6,
        "ChargeFrequency-value": 6,
        "EffectiveCost-credit": 1,
        "ContractedUnitPrice-gap": 4,
        "SkuPriceId-gap": 4,
    }
    frequency = next(v for v in september.violations if v.rule == "ChargeFrequency-value")
    assert frequency.sample == {"ChargeFrequency": "Usage-based"}


def test_its_tags_are_read(september: Scan) -> None:
    tags = september.rollup.tags
    with SAMPLE.open(encoding="utf-8-sig", newline="") as file:
        sets = [
            json.loads(row["Tags"])
            for row in csv.DictReader(file)
            if row["Tags"] not in ("NULL", "null", "")
            and row["BillingPeriodStart"].startswith("2024-09")
        ]
    expected = Counter((key, value) for tag_set in sets for key, value in tag_set.items())
    found: Counter[tuple[str, str]] = Counter()
    for row in tags.select(["TagKey", "TagValue", "RowCount"]).to_pylist():
        if row["TagValue"] is not None:
            found[row["TagKey"], row["TagValue"]] += row["RowCount"]
    assert found == expected
    assert len(sets) > 0


# --- the examples of the specification -----------------------------------------------------------


@dataclass(frozen=True)
class Refused:
    """Why an example is no bill: what is wrong, and where."""

    summary: str
    column: str
    row: int | None = None
    value: str | None = None


LACKS = "the bill lacks a column that totals need"
DATE = "BillingPeriodStart is not a date"

REFUSED = {
    "commitment_discount_purchase_scenario_1": Refused(
        LACKS, "ListCost, ContractedCost, BillingCurrency"
    ),
    "commitment_discount_purchase_scenario_2": Refused(
        LACKS, "ListCost, ContractedCost, BillingCurrency"
    ),
    "commitment_discount_usage_scenario_1": Refused(
        LACKS, "ListCost, ContractedCost, BillingCurrency"
    ),
    "commitment_discount_usage_scenario_2": Refused(
        LACKS, "ListCost, ContractedCost, BillingCurrency"
    ),
    "one_hundred_percent_utilization_without_commitment_discount_flexibility": Refused(
        LACKS, "ContractedCost, BillingCurrency"
    ),
    "zero_percent_utilization_without_commitment_discount_flexibility": Refused(
        LACKS, "ContractedCost, BillingCurrency"
    ),
    "saas_spend_agreements_a1": Refused(DATE, "BillingPeriodStart", 1, "4/1/25"),
    "simple_saas_agreements_a1": Refused(DATE, "BillingPeriodStart", 1, "4/1/25"),
    "virtual_currency_pricing_model_a1": Refused(DATE, "BillingPeriodStart", 1, "4/1/25"),
}


def test_every_example_is_in_the_table() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.csv")} == set(REFUSED)


@pytest.mark.parametrize("name", REFUSED)
def test_an_example_that_is_no_bill_is_refused_where_it_is_not(name: str) -> None:
    expected = REFUSED[name]
    path = EXAMPLES / f"{name}.csv"
    with pytest.raises(Problem) as caught:
        read(path)
    problem = caught.value
    assert problem.summary == expected.summary
    assert problem.where["file"] == str(path)
    assert problem.where["column"] == expected.column
    assert problem.where.get("row") == expected.row
    assert problem.value == expected.value
    assert problem.fix


@pytest.mark.parametrize("name", [name for name, why in REFUSED.items() if why.summary == DATE])
def test_naming_the_period_does_not_make_it_a_bill(name: str) -> None:
    """Its dates, or its amounts such as `$10,000.00 `, are refused still."""
    with pytest.raises(Problem, match=r"is not a date|is not an amount"):
        read(EXAMPLES / f"{name}.csv", "2025-04")


MENDED = {
    "saas_spend_agreements_a1": ["48", "48", "60", "48"],
    "simple_saas_agreements_a1": ["10000", "10000", "10000", "10000"],
    "virtual_currency_pricing_model_a1": ["200000", "0", "200000", "200000"],
}


@pytest.mark.parametrize("name", MENDED)
def test_an_example_whose_cells_are_mended_is_a_bill(tmp_path: Path, name: str) -> None:
    """With its dates in ISO 8601 and its amounts as plain numbers, as the refusals ask for."""
    with (EXAMPLES / f"{name}.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = [{key: mended(cell) for key, cell in row.items()} for row in csv.DictReader(file)]
    path = tmp_path / "bill.csv"
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    found = read(path, "2025-04")
    assert (found.rows, costs(found.totals[0])) == (1, tuple(map(Decimal, MENDED[name])))
    assert found.totals[0].currency == "USD"


def mended(cell: str) -> str:
    parts = cell.split("/")
    if len(parts) == 3 and all(part.isdigit() for part in parts):
        month, day, year = map(int, parts)
        return f"20{year:02d}-{month:02d}-{day:02d}"
    return cell.strip().lstrip("$").replace(",", "") if cell.startswith("$") else cell
