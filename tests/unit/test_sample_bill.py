"""The sample bill: the same bytes every time, laid out as AWS does, and true to FOCUS's rules.

The rules are checked row by row in plain Python, so that a mistake in the generator's arithmetic
is not repeated here.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flows.sample_bill import BadOptions, Options, Result, bill, generate, periods
from flows.sample_bill.__main__ import main
from flows.sample_bill.anomalies import KINDS, LENGTHS, SIZES, inject
from flows.sample_bill.catalog import SERVICES
from flows.sample_bill.money import baseline

ROWS = 12_000
OPTIONS = Options(rows=ROWS, months=2)
Row = dict[str, Any]

CATEGORIES = {
    "AI and Machine Learning", "Analytics", "Business Applications", "Compute", "Databases",
    "Developer Tools", "Identity", "Integration", "Internet of Things",
    "Management and Governance", "Media", "Migration", "Mobile", "Multicloud", "Networking",
    "Other", "Security", "Storage", "Web",
}  # fmt: skip
PRICED = (("ListUnitPrice", "ListCost"), ("ContractedUnitPrice", "ContractedCost"))
COSTS = ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost")


def read(files: tuple[Path, ...]) -> list[Row]:
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def digest(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return generate(OPTIONS, tmp_path_factory.mktemp("bill"))


@pytest.fixture(scope="module")
def rows(result: Result) -> list[Row]:
    return read(result.files)


def daily_cost(options: Options) -> dict[tuple[date, str, str], float]:
    """EffectiveCost of usage by (day, service, account), from the tables without files."""
    cost: dict[tuple[date, str, str], float] = defaultdict(float)
    for _, tables in bill(options):
        for table in tables:
            wanted = table.select(
                ["ChargeCategory", "ChargePeriodStart", "ServiceName", "SubAccountId",
                 "EffectiveCost", "ChargeClass"]
            )  # fmt: skip
            for category, start, service, account, effective, kind in zip(
                *(column.to_pylist() for column in wanted.columns), strict=True
            ):
                if category == "Usage" and kind is None:
                    cost[start.date(), service, account] += effective
    return cost


# What is written


def test_equal_options_write_equal_bytes(result: Result, tmp_path: Path) -> None:
    generate(OPTIONS, tmp_path)
    assert digest(tmp_path) == digest(result.out)


def test_csv_gz_is_deterministic_too(tmp_path: Path) -> None:
    options = Options(rows=ROWS, months=1, last_day=5, format="csv.gz")
    generate(options, tmp_path / "a")
    generate(options, tmp_path / "b")
    assert digest(tmp_path / "a") == digest(tmp_path / "b")


def test_another_seed_is_another_bill() -> None:
    one, two = (daily_cost(Options(rows=ROWS, months=1, seed=seed)) for seed in (1, 2))
    assert sum(one.values()) != pytest.approx(sum(two.values()), abs=1.0)


def test_a_month_has_the_rows_asked_for(result: Result) -> None:
    assert [one.rows for one in result.written] == [ROWS] * 2


def test_overwrite_layout(result: Result) -> None:
    folder = "nightshift-sample/data/BILLING_PERIOD=2026-11"
    assert str(result.written[-1].files[0]) == (f"{folder}/nightshift-sample-00001.snappy.parquet")
    manifest = "nightshift-sample/metadata/BILLING_PERIOD=2026-11/nightshift-sample-Manifest.json"
    assert (result.out / manifest).is_file()


def below_data(uri: str) -> str:
    return uri[uri.index("/data/") :]


@pytest.mark.parametrize("layout", ["overwrite", "create-new"])
@pytest.mark.parametrize("focus", ["1.2", "1.0"])
def test_manifests_name_exactly_the_files(focus: Any, layout: Any, tmp_path: Path) -> None:
    options = Options(
        rows=ROWS, months=2, focus=focus, layout=layout, rows_per_file=5_000, last_day=9
    )
    made = generate(options, tmp_path)
    key = "billing_period" if focus == "1.0" else "BILLING_PERIOD"
    metadata = tmp_path / "nightshift-sample" / "metadata"
    named: set[str] = set()
    for manifest in metadata.rglob("*-Manifest.json"):
        body = json.loads(manifest.read_text())
        assert all(uri.startswith("s3://") for uri in body["dataFiles"])
        named |= {below_data(uri) for uri in body["dataFiles"]}
    on_disk = {
        below_data(f"/{file.relative_to(tmp_path)}")
        for file in (tmp_path / "nightshift-sample" / "data").rglob("*.parquet")
    }
    assert named == on_disk
    newest = json.loads(
        (metadata / f"{key}=2026-11" / "nightshift-sample-Manifest.json").read_text()
    )
    assert newest["executionId"] == made.written[-1].execution_id
    assert [below_data(uri) for uri in newest["dataFiles"]] == [
        below_data(f"/{file}") for file in made.written[-1].files
    ]
    schema = pq.read_schema(made.files[0])
    assert [column["name"] for column in newest["columns"]] == schema.names


def test_create_new_keeps_an_older_smaller_execution(tmp_path: Path) -> None:
    generate(Options(rows=ROWS, months=2, layout="create-new"), tmp_path)
    folder = tmp_path / "nightshift-sample" / "data" / "BILLING_PERIOD=2026-11"
    older, newest = sorted(folder.iterdir())
    count = [sum(pq.read_metadata(f).num_rows for f in one.iterdir()) for one in (older, newest)]
    assert count[0] < count[1] == ROWS


def test_plain_layout_has_one_file_a_month_and_no_manifest(tmp_path: Path) -> None:
    made = generate(Options(rows=ROWS, months=2, layout="plain"), tmp_path)
    assert [file.name for file in made.files] == [
        "nightshift-sample-2026-10.snappy.parquet",
        "nightshift-sample-2026-11.snappy.parquet",
    ]
    assert not list(tmp_path.rglob("*Manifest*"))


def test_files_end_at_rows_per_file(tmp_path: Path) -> None:
    made = generate(Options(rows=ROWS, months=1, rows_per_file=5_000), tmp_path)
    assert [pq.read_metadata(file).num_rows for file in made.files] == [5_000, 5_000, 2_000]


def test_columns_of_both_versions(result: Result, tmp_path: Path) -> None:
    new = pq.read_schema(result.files[0])
    old = pq.read_schema(generate(Options(rows=ROWS, months=1, focus="1.0"), tmp_path).files[0])
    assert (len(new), len(old)) == (60, 48)
    assert new.names[-3:] == ["x_Discounts", "x_Operation", "x_ServiceCode"]
    assert set(old.names) - set(new.names) == {"x_UsageType", "x_CostCategories"}
    assert new.names[:-3] == sorted(new.names[:-3])
    for schema in (new, old):
        assert {str(schema.field(name).type) for name in COSTS} == {"double"}
        assert str(schema.field("ChargePeriodStart").type) == "timestamp[ms]"
        assert str(schema.field("Tags").type).startswith("map<string, string")
        assert str(schema.field("ServiceName").type) == "string"


def as_csv(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.10f}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%SZ}"
    if isinstance(value, list):
        return json.dumps(dict(value), ensure_ascii=False)
    return str(value)


@pytest.mark.parametrize("kind", ["csv", "csv.gz"])
def test_csv_says_what_parquet_says(kind: Any, tmp_path: Path) -> None:
    options = {"rows": ROWS, "months": 1, "last_day": 6}
    parquet = read(generate(Options(**options), tmp_path / "parquet").files)  # type: ignore[arg-type]
    file = generate(Options(format=kind, **options), tmp_path / kind).files[0]  # type: ignore[arg-type]
    raw = file.read_bytes()
    lines = (gzip.decompress(raw) if kind == "csv.gz" else raw).decode().splitlines()
    text = list(csv.DictReader(lines))
    assert len(text) == len(parquet)
    for said, meant in zip(text, parquet, strict=True):
        assert said == {name: as_csv(value) for name, value in meant.items()}


# What it says


def test_columns_that_are_never_null(rows: list[Row]) -> None:
    never = (
        *COSTS, "BillingAccountId", "BillingAccountName", "BillingCurrency", "ChargeCategory",
        "BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd",
        "ChargeDescription", "ProviderName", "ServiceCategory", "ServiceName", "InvoiceId",
        "ServiceSubcategory", "SubAccountId",
    )  # fmt: skip
    for name in never:
        assert all(row[name] is not None for row in rows), name


def test_periods_are_utc_days_within_the_billing_period(rows: list[Row]) -> None:
    for row in rows:
        assert row["ChargePeriodStart"] < row["ChargePeriodEnd"]
        assert row["BillingPeriodStart"].day == row["BillingPeriodEnd"].day == 1
        if row["ChargeClass"] is None:
            assert row["BillingPeriodStart"] <= row["ChargePeriodStart"] < row["BillingPeriodEnd"]


def test_every_service_has_one_category_of_the_spec(rows: list[Row]) -> None:
    seen = {(row["ServiceName"], row["ServiceCategory"], row["ServiceSubcategory"]) for row in rows}
    assert len(seen) == len({name for name, _, _ in seen})
    assert {category for _, category, _ in seen} <= CATEGORIES
    assert 25 <= len(seen) <= 45


def test_all_kinds_of_charges_are_there(rows: list[Row]) -> None:
    assert {row["ChargeCategory"] for row in rows} == {
        "Usage", "Purchase", "Tax", "Credit", "Adjustment",
    }  # fmt: skip
    assert {row["ChargeClass"] for row in rows} == {None, "Correction"}
    assert {row["PricingCategory"] for row in rows} == {None, "Standard", "Committed", "Dynamic"}
    assert {row["ChargeFrequency"] for row in rows} == {"Usage-Based", "Recurring", "One-Time"}
    assert {row["CommitmentDiscountCategory"] for row in rows} == {None, "Spend", "Usage"}
    assert len({row["SubAccountId"] for row in rows}) == 12
    assert len({row["PublisherName"] for row in rows}) == 2


def test_commitment_columns_agree(rows: list[Row]) -> None:
    for row in rows:
        covered = row["CommitmentDiscountId"] is not None
        usage = row["ChargeCategory"] == "Usage"
        assert (row["CommitmentDiscountStatus"] in ("Used", "Unused")) == (covered and usage)
        assert (row["CommitmentDiscountQuantity"] is None) == (not covered)
        assert (row["CommitmentDiscountUnit"] is None) == (not covered)
        assert (row["PricingCategory"] == "Committed") == (covered and usage)
        if covered:
            assert row["BilledCost" if usage else "EffectiveCost"] == 0.0


def test_quantities_are_null_where_the_spec_says(rows: list[Row]) -> None:
    gaps = 0
    for row in rows:
        if row["ChargeCategory"] == "Tax":
            assert row["PricingQuantity"] is row["SkuPriceId"] is row["ListUnitPrice"] is None
            assert row["PricingCategory"] is None
        elif row["ChargeCategory"] in ("Usage", "Purchase") and row["ChargeClass"] is None:
            assert row["PricingQuantity"] is not None
            gaps += row["SkuPriceId"] is None
        metered = (
            row["ChargeCategory"] == "Usage"
            and row["CommitmentDiscountStatus"] != "Unused"
            and row["ChargeClass"] is None
        )
        assert (row["ConsumedQuantity"] is not None) == metered
        assert (row["SkuId"] is None) == (row["SkuMeter"] is None)
    # AWS's documented gaps exist and are rare.
    assert 0 < gaps < 0.02 * len(rows)


def test_price_times_quantity_is_the_cost(rows: list[Row]) -> None:
    for row in rows:
        for price, cost in PRICED:
            if row[price] is not None and row["PricingQuantity"] is not None:
                product = row[price] * row["PricingQuantity"]
                assert math.isclose(product, row[cost], rel_tol=1e-13, abs_tol=1e-14)


def test_costs_have_ten_decimals(rows: list[Row]) -> None:
    for row in rows[:4_000]:
        for name in COSTS:
            assert float(f"{row[name]:.10f}") == row[name]


def test_costs_follow_the_way_to_pay(rows: list[Row]) -> None:
    for row in rows:
        if row["ChargeCategory"] == "Usage" and row["CommitmentDiscountId"] is None:
            assert row["BilledCost"] == row["EffectiveCost"] == row["ContractedCost"]
            assert row["ChargeClass"] or 0 < row["ContractedCost"] <= row["ListCost"]
        if row["ChargeCategory"] in ("Credit", "Adjustment"):
            assert row["BilledCost"] == row["EffectiveCost"] < 0


def test_a_commitment_costs_what_its_purchases_bill(rows: list[Row]) -> None:
    bought: dict[str, float] = defaultdict(float)
    used: dict[str, float] = defaultdict(float)
    for row in rows:
        if row["CommitmentDiscountId"] is not None:
            days = (row["ChargePeriodEnd"] - row["ChargePeriodStart"]).days
            # A year paid at once: the part that falls into the two months of the bill.
            part = 61 / days if days > 31 else 1.0
            bought[row["CommitmentDiscountId"]] += row["BilledCost"] * part
            used[row["CommitmentDiscountId"]] += row["EffectiveCost"]
    assert len(bought) == 5
    for name, cost in bought.items():
        assert used[name] == pytest.approx(cost, abs=0.05)


def test_one_parent_for_each_identifier(rows: list[Row]) -> None:
    for child, parent in (
        ("SkuPriceId", "SkuId"), ("SkuId", "SkuMeter"), ("SubAccountId", "SubAccountName"),
        ("SkuPriceId", "ListUnitPrice"), ("ServiceName", "x_ServiceCode"),
    ):  # fmt: skip
        parents: dict[str, set[Any]] = defaultdict(set)
        for row in rows:
            # Support is priced by the month's usage: its price is not a fixed one.
            if row[child] is not None and row["x_ServiceCode"] != "AWSSupportBusiness":
                parents[row[child]].add(row[parent])
        assert all(len(values) == 1 for values in parents.values()), (child, parent)


def test_tags_are_what_people_make_of_them(rows: list[Row]) -> None:
    tags = [dict(row["Tags"] or []) for row in rows if row["ChargeCategory"] == "Usage"]
    teams = {tag["user:team"] for tag in tags if "user:team" in tag}
    assert {"<script>alert(1)</script>", '=HYPERLINK("x")', "équipe-données ☃"} <= teams
    assert 0.05 < sum("user:team" not in tag for tag in tags) / len(tags) < 0.6
    assert len({tag.get("user:app") for tag in tags}) > 60
    assert any(row["Tags"] is None for row in rows if row["ResourceId"] is None)


def test_an_installation_costs_cents(rows: list[Row]) -> None:
    """Each of its days, within what README.md says of such an installation."""
    ours = [row for row in rows if dict(row["Tags"] or []).get("user:nightshift")]
    assert {dict(row["Tags"])["user:nightshift"] for row in ours} == {"nightshift-prod"}
    for period in periods(OPTIONS):
        first = datetime(period.first.year, period.first.month, 1)
        mine = [row for row in ours if row["BillingPeriodStart"] == first]
        assert len({row["ChargePeriodStart"] for row in mine}) == period.days
        assert 0.3 < sum(row["EffectiveCost"] for row in mine) < 0.8
    assert {row["ServiceName"] for row in ours} == {
        "Amazon Elastic Container Service", "Amazon Virtual Private Cloud", "AmazonCloudWatch",
        "Amazon EC2 Container Registry (ECR)", "Amazon Simple Storage Service",
    }  # fmt: skip


def test_a_closed_month_is_worth_about_a_hundred_thousand(rows: list[Row]) -> None:
    for period in periods(OPTIONS):
        first = datetime(period.first.year, period.first.month, 1)
        effective = sum(r["EffectiveCost"] for r in rows if r["BillingPeriodStart"] == first)
        assert 40_000 < effective < 150_000


def test_invoices_exist_once_the_month_is_closed() -> None:
    for period, tables in bill(Options(rows=ROWS, months=2, last_day=5)):
        invoices = {i for table in tables for i in table["InvoiceId"].to_pylist()}
        assert (invoices == {None}) == (period.name == "2026-11")


# Money


def test_more_rows_split_the_same_money() -> None:
    few = daily_cost(Options(rows=ROWS, months=1))
    many = daily_cost(Options(rows=3 * ROWS, months=1))
    assert few.keys() == many.keys()
    for key, cost in few.items():
        assert many[key] == pytest.approx(cost, abs=0.005)


def test_hours_and_days_cost_the_same() -> None:
    daily = daily_cost(Options(rows=ROWS, months=1))
    hourly = daily_cost(Options(rows=ROWS, months=1, granularity="hourly"))
    assert hourly == pytest.approx(daily, abs=0.005)


def test_a_month_cut_short_is_the_beginning_of_the_whole() -> None:
    whole = daily_cost(Options(rows=ROWS, months=2))
    cut = daily_cost(Options(rows=ROWS, months=2, last_day=10))
    assert max(day for day, _, _ in cut) == date(2026, 11, 10)
    assert cut == pytest.approx({k: v for k, v in whole.items() if k[0] <= date(2026, 11, 10)})


def test_hourly_periods_are_hours(tmp_path: Path) -> None:
    made = generate(Options(rows=ROWS, months=1, last_day=2, granularity="hourly"), tmp_path)
    spans = {
        row["ChargePeriodEnd"] - row["ChargePeriodStart"]
        for row in read(made.files)
        if row["ConsumedQuantity"] is not None
    }
    assert spans == {timedelta(hours=1)}


# Anomalies


def named(cost: dict[tuple[date, str, str], float], truth: Row) -> Iterator[tuple[date, float]]:
    """Cost of what the truth names (a service in an account, or an account), by day."""
    plans = {"Savings Plans for AWS Compute usage"}
    by_day: dict[date, float] = defaultdict(float)
    for (day, service, account), value in cost.items():
        if account == truth["account"] and truth["service"] in (None, service):
            by_day[day] += 0.0 if service in plans else value
    first = date.fromisoformat(truth["first_day"])
    for number in range(len(truth["extra_by_day"])):
        day = first + timedelta(days=number)
        yield day, by_day[day]


@pytest.mark.parametrize("seed", [3, 8])
def test_ground_truth_is_the_difference_to_a_bill_without_anomalies(
    seed: int, tmp_path: Path
) -> None:
    calm = Options(rows=ROWS, seed=seed, anomalies=0)
    stormy = Options(rows=ROWS, seed=seed, anomalies=3)
    made = generate(stormy, tmp_path)
    truth = json.loads((tmp_path / "ground_truth.json").read_text())["anomalies"]
    assert len(truth) == len(made.anomalies) == 6
    without, with_ = daily_cost(calm), daily_cost(stormy)
    explained = 0.0
    for one in truth:
        for (_, before), (_, after), extra in zip(
            named(without, one), named(with_, one), one["extra_by_day"], strict=True
        ):
            # A change of what commitments cover may move some dollars of unused Reserved
            # Instances, which lie in the payer's account.
            assert after - before == pytest.approx(float(extra), abs=6.0)
        total = sum(Decimal(text) for text in one["extra_by_day"])
        assert total == Decimal(one["extra_effective_cost"])
        explained += float(total)
    assert sum(with_.values()) - sum(without.values()) == pytest.approx(explained, abs=150.0)


@pytest.mark.parametrize("seed", range(6))
def test_anomalies_are_worth_a_message(seed: int) -> None:
    options = Options(rows=ROWS, months=5, seed=seed, anomalies=5, last_day=3)
    _, found = inject(options, baseline(options))
    names = {service.name for service in SERVICES}
    first_bill_day = periods(options)[0].first
    assert {one.kind for one in found} == set(KINDS)
    for one in found:
        assert one.service is None or one.service in names
        assert one.first_day >= first_bill_day + timedelta(days=28)
        days = (one.last_day - one.first_day).days + 1
        assert days == len(one.extra) <= LENGTHS[one.kind][1]
        # Cut short at the end of the data, a leak has not reached its size.
        if days >= LENGTHS[one.kind][0]:
            assert max(one.extra) >= SIZES[one.kind][0] * 0.9 * days / LENGTHS[one.kind][1]
            assert one.usual == 0 or max(one.extra) > 0.2 * one.usual


def test_no_anomalies_in_the_first_month(tmp_path: Path) -> None:
    made = generate(Options(rows=ROWS, months=1, anomalies=5), tmp_path)
    assert made.anomalies == ()


# The command line


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(
        [str(tmp_path), "--rows", str(ROWS), "--months", "1", "--last-day", "4",
         "--focus", "1.0", "--layout", "plain", "--format", "csv"]
    )  # fmt: skip
    assert status == 0
    assert "1 files" in capsys.readouterr().out
    assert (tmp_path / "nightshift-sample-2026-11.csv").is_file()


@pytest.mark.parametrize(
    "options",
    [
        {"last_day": 31},
        {"last_day": 0},
        {"last_period": "november"},
        {"rows": 0},
        {"focus": "1.1"},
        {"seed": -1},
    ],
)
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(BadOptions):
        Options(**options)


def test_too_few_rows_are_refused_with_a_number_that_works(tmp_path: Path) -> None:
    with pytest.raises(BadOptions, match="too few; use") as refused:
        generate(Options(rows=1_000, months=1), tmp_path)
    enough = int(str(refused.value).split("use ")[1].split()[0])
    assert generate(Options(rows=enough, months=1, last_day=1), tmp_path).rows > 0
