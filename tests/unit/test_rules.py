"""Every rule that is checked: a row that breaks it, rows that do not, and how they count."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from flows.cost_report import columns, read
from flows.cost_report.model import Violation
from flows.cost_report.rules import ONE_CATEGORY, RULES, SERVICE_CATEGORIES
from tests.unit import bills
from tests.unit.bills import row, short

TAX: dict[str, Any] = {
    "ChargeCategory": "Tax",
    "PricingQuantity": None,
    "PricingUnit": None,
    "SkuId": None,
    "SkuPriceId": None,
    "ListUnitPrice": None,
    "ContractedUnitPrice": None,
}
CORRECTION = {"ChargeClass": "Correction"}
USED = {
    "CommitmentDiscountId": "sp-1",
    "CommitmentDiscountStatus": "Used",
    "CommitmentDiscountCategory": "Spend",
}
PURCHASE = {
    "ChargeCategory": "Purchase",
    "CommitmentDiscountId": "sp-1",
    "CommitmentDiscountCategory": "Spend",
    "EffectiveCost": "0",
}


@dataclass(frozen=True)
class Case:
    severity: str
    breaks: tuple[dict[str, Any], ...]  # changes to a good row, each of which breaks the rule
    keeps: tuple[dict[str, Any], ...] = field(default=())


def null(name: str, severity: str = "error") -> Case:
    return Case(severity, ({name: None}, {name: "NULL"}))


def value(name: str, *good: str | None, **more: Any) -> Case:
    bad = ("wrong", str(good[0]).upper(), f" {good[0]}")
    return Case(
        "error",
        tuple({**more, name: text} for text in bad),
        tuple({**more, name: text} for text in good),
    )


def gap(name: str) -> Case:
    """Null where a price applies: on usage and purchases that correct nothing."""
    return Case(
        "warning", ({name: None}, {**PURCHASE, name: None}), (TAX, {name: None, **CORRECTION})
    )


CASES: dict[str, Case] = {
    "BillingCurrency-null": null("BillingCurrency", "blocking"),
    "BilledCost-null": null("BilledCost"),
    "EffectiveCost-null": null("EffectiveCost"),
    "ListCost-null": null("ListCost"),
    "ContractedCost-null": null("ContractedCost"),
    "BillingAccountId-null": null("BillingAccountId"),
    "ChargeCategory-null": null("ChargeCategory"),
    "ProviderName-null": null("ProviderName"),
    "ServiceCategory-null": null("ServiceCategory"),
    "ServiceName-null": null("ServiceName"),
    "InvoiceIssuerName-null": null("InvoiceIssuerName", "warning"),
    "PublisherName-null": null("PublisherName", "warning"),
    "ChargeCategory-value": value(
        "ChargeCategory", "Usage", "Purchase", "Tax", "Credit", "Adjustment", None
    ),
    "ChargeClass-value": value("ChargeClass", "Correction", None),
    "ChargeFrequency-value": value("ChargeFrequency", "One-Time", "Recurring", "Usage-Based", None),
    "ServiceCategory-value": value("ServiceCategory", *sorted(SERVICE_CATEGORIES), None),
    "PricingCategory-value": value(
        "PricingCategory", "Standard", "Dynamic", "Committed", "Other", None
    ),
    "CommitmentDiscountStatus-value": value(
        "CommitmentDiscountStatus", "Used", "Unused", None, CommitmentDiscountId="sp-1"
    ),
    "CommitmentDiscountCategory-value": value(
        "CommitmentDiscountCategory", "Spend", "Usage", None, CommitmentDiscountId="sp-1"
    ),
    "BillingPeriod-month": Case(
        "error",
        (
            {"BillingPeriodEnd": "2026-11-30T00:00:00Z"},
            {"BillingPeriodEnd": "2027-01-01T00:00:00Z"},
            {"BillingPeriodStart": "2026-11-01T01:00:00Z"},
            {"BillingPeriodEnd": "2026-12-01T00:00:00-08:00"},
        ),
        (
            {"BillingPeriodEnd": "2026-12-01T01:00:00+01:00"},
            {"BillingPeriodStart": "2026-11-01", "BillingPeriodEnd": "2026-12-01"},
        ),
    ),
    "ChargePeriod-order": Case(
        "error",
        ({"ChargePeriodEnd": "2026-11-04T23:59:59Z"},),
        ({"ChargePeriodEnd": "2026-11-05T00:00:00Z"}, {"ChargePeriodEnd": "2027-11-05T00:00:00Z"}),
    ),
    "ChargePeriod-outside": Case(
        "warning",
        (
            {"ChargePeriodStart": "2026-10-31T23:59:59Z"},
            {"ChargePeriodStart": "2026-12-01T00:00:00Z", "ChargePeriodEnd": "2026-12-02"},
        ),
        (
            {"ChargePeriodStart": "2026-11-01T00:00:00Z"},
            {"ChargePeriodStart": "2026-11-30T23:59:59Z", "ChargePeriodEnd": "2026-12-02"},
        ),
    ),
    "CommitmentDiscountStatus-without-id": Case(
        "error", ({"CommitmentDiscountStatus": "Used"},), (USED,)
    ),
    "CommitmentDiscountStatus-missing": Case(
        "error", ({"CommitmentDiscountId": "sp-1"},), (USED, PURCHASE)
    ),
    "PricingQuantity-tax": Case("error", ({**TAX, "PricingQuantity": "0"},), (TAX,)),
    "SkuPriceId-tax": Case("error", ({**TAX, "SkuPriceId": "x"},), (TAX,)),
    "PricingQuantity-null": Case(
        "error",
        ({"PricingQuantity": None}, {**PURCHASE, "PricingQuantity": None}),
        (TAX, {"PricingQuantity": None, **CORRECTION}),
    ),
    "SkuPriceId-gap": gap("SkuPriceId"),
    "SkuId-gap": gap("SkuId"),
    "PricingUnit-gap": gap("PricingUnit"),
    "ListUnitPrice-gap": gap("ListUnitPrice"),
    "ContractedUnitPrice-gap": gap("ContractedUnitPrice"),
    "ListCost-product": Case(
        "error",
        ({"ListCost": "4.0001"}, {"ListCost": "-4"}, {"PricingQuantity": "0"}),
        (
            {"ListCost": "4.000000001"},  # rounding
            {"ListCost": "9", **CORRECTION},
            {"ListCost": "9", "PricingQuantity": None},
            {"ListCost": "9", "ListUnitPrice": None},
            {"ListCost": None},
        ),
    ),
    "ContractedCost-product": Case(
        "error",
        ({"ContractedCost": "3.0001"}, {"PricingQuantity": "1e308", "ContractedUnitPrice": "1e9"}),
        (
            {"ContractedCost": "2.999999999"},
            {"ContractedCost": "9", **CORRECTION},
            {"ContractedCost": "9", "ContractedUnitPrice": None},
            {"ContractedCost": None},
        ),
    ),
    "EffectiveCost-purchase": Case(
        "error",
        ({**PURCHASE, "EffectiveCost": "3"}, {**PURCHASE, "EffectiveCost": "-0.01"}),
        (
            PURCHASE,
            {**PURCHASE, "EffectiveCost": None},
            {**USED, "EffectiveCost": "3"},
            {"ChargeCategory": "Purchase", "EffectiveCost": "3"},  # of no commitment
        ),
    ),
    "EffectiveCost-credit": Case(
        "error",
        (
            {"ChargeCategory": "Credit", "BilledCost": "-3", "EffectiveCost": "-2.99"},
            {"ChargeCategory": "Credit", "BilledCost": "-3", "EffectiveCost": "0"},
        ),
        (
            {"ChargeCategory": "Credit", "BilledCost": "-3", "EffectiveCost": "-3.0000000001"},
            {"BilledCost": "-3", "EffectiveCost": "0"},
        ),
    ),
}


def violations(*paths: Path) -> dict[str, Violation]:
    return {violation.rule: violation for violation in bills.scan(*paths).violations}


def found(path: Path, *rows: bills.Row) -> dict[str, Violation]:
    return violations(bills.write_csv(path / "bill.csv", rows))


# --- each rule -----------------------------------------------------------------------------------


def test_the_table_has_every_rule_and_no_other() -> None:
    assert list(CASES) == [rule.id for rule in RULES]
    assert {rule.id: rule.severity for rule in RULES} == {
        rule: case.severity for rule, case in CASES.items()
    }


def test_rules_are_data_that_a_person_can_follow() -> None:
    for rule in (*RULES, ONE_CATEGORY):
        assert rule.section[0].isupper()
        assert rule.summary
        assert rule.columns
        assert set(rule.columns) <= columns.WANTED, "or the rule would never see its column"


def test_a_good_row_breaks_no_rule(tmp_path: Path) -> None:
    assert found(tmp_path, row(), row(**TAX), row(**USED), row(**PURCHASE), row(**CORRECTION)) == {}


@pytest.mark.parametrize("rule", CASES)
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_rule_counts_the_rows_that_break_it(tmp_path: Path, rule: str, suffix: str) -> None:
    case = CASES[rule]
    rows = [row(), *(row(**changes) for changes in (*case.keeps, *case.breaks))]
    if suffix == ".parquet":
        rows = [one for one in rows if "NULL" not in one.values()]  # doubles have no word for it
        path = bills.write_parquet(tmp_path / "bill.parquet", rows)
    else:
        path = bills.write_csv(tmp_path / "bill.csv", rows)
    broken = len(rows) - 1 - len(case.keeps)
    violation = violations(path)[rule]
    assert violation.count == broken
    assert violation.severity == case.severity
    assert violation.sample_row == 2 + len(case.keeps)
    assert violation.sample_file == str(path)
    assert list(violation.sample) == list(next(r for r in RULES if r.id == rule).columns)


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_finds_nothing_in_rows_that_keep_it(tmp_path: Path, rule: str) -> None:
    assert rule not in found(tmp_path, row(), *(row(**changes) for changes in CASES[rule].keeps))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rule_is_skipped_where_a_column_is_absent(tmp_path: Path, rule: Any) -> None:
    for name in set(rule.columns) - set(columns.REQUIRED):
        rows = [row(**changes) for changes in CASES[rule.id].breaks]
        for one in rows:
            del one[name]
        scan = bills.scan(bills.write_csv(tmp_path / "bill.csv", rows))
        assert rule.id in scan.rules_skipped
        assert rule.id not in {violation.rule for violation in scan.violations}
        assert scan.rules_checked + len(scan.rules_skipped) == len(RULES) + 1


def test_all_rules_are_checked_where_all_columns_are_there(tmp_path: Path) -> None:
    scan = bills.scan(bills.write_csv(tmp_path / "bill.csv", [row()]))
    assert (scan.rules_checked, scan.rules_skipped) == (len(RULES) + 1, ())


# --- counting ------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_rows", [1, 3, 100])
def test_counts_and_the_first_row_are_right_across_batches_and_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_rows: int
) -> None:
    monkeypatch.setattr(read, "BATCH_ROWS", batch_rows)
    good, bad = row(), row(ServiceName=None, ProviderName="=cmd()")
    first = bills.write_parquet(tmp_path / "a.parquet", [good] * 5, row_group_size=2)
    second = bills.write_parquet(
        tmp_path / "b.parquet", [*[good] * 5, bad, good, bad], row_group_size=4
    )
    third = bills.write_parquet(tmp_path / "c.parquet", [bad] * 3)
    violation = violations(first, second, third)["ServiceName-null"]
    assert violation.count == 5
    assert (violation.sample_file, violation.sample_row) == (str(second), 6)
    assert violation.sample == {"ServiceName": ""}


def test_rows_of_other_periods_are_not_held_against_the_bill(tmp_path: Path) -> None:
    other = row(ServiceName=None, **bills.month("2026-10"))
    assert found(tmp_path, row(), other) == {}
    violation = found(tmp_path, other, row(), row(ServiceName=None))["ServiceName-null"]
    assert (violation.count, violation.sample_row) == (1, 3)


def test_the_sample_shows_the_cells_that_the_rule_looks_at(tmp_path: Path) -> None:
    violation = found(tmp_path, row(ListCost="9.5", ListUnitPrice="2.25"))["ListCost-product"]
    assert violation.sample == {
        "ListCost": "9.5",
        "ListUnitPrice": "2.25",
        "PricingQuantity": "2.0",
        "ChargeClass": "",
    }
    violation = found(tmp_path, row(ChargePeriodEnd="2026-11-01"))["ChargePeriod-order"]
    assert violation.sample == {
        "ChargePeriodStart": "2026-11-05T00:00:00Z",
        "ChargePeriodEnd": "2026-11-01T00:00:00Z",
    }


def test_the_gravest_come_first_then_the_most_frequent(tmp_path: Path) -> None:
    rows = [
        row(PublisherName=None, ServiceName=None, ServiceCategory=None),
        row(PublisherName=None, ServiceName=None),
        row(PublisherName=None, BillingCurrency=None),
        row(PublisherName=None),
    ]
    assert list(found(tmp_path, *rows)) == [
        "BillingCurrency-null",
        "ServiceName-null",
        "ServiceCategory-null",
        "PublisherName-null",
    ]


def test_files_may_have_different_columns(tmp_path: Path) -> None:
    first = bills.write_csv(tmp_path / "a.csv", [short()] * 3)
    second = bills.write_csv(tmp_path / "b.csv", [row(ServiceName=None), row(PricingQuantity=None)])
    third = bills.write_parquet(tmp_path / "c.parquet", [short(ProviderName=None)])
    scan = bills.scan(first, second, third)
    assert scan.rows == 6
    assert {v.rule: v.count for v in scan.violations} == {
        "PricingQuantity-null": 1,
        "ProviderName-null": 1,
        "ServiceName-null": 1,
    }


# --- what takes more than one row ----------------------------------------------------------------


def service(name: str | None, category: str | None) -> bills.Row:
    return row(ServiceName=name, ServiceCategory=category)


def test_a_service_has_one_category(tmp_path: Path) -> None:
    rows = [service("A", "Compute"), service("A", "Compute"), service("B", "Storage")]
    assert found(tmp_path, *rows) == {}
    rows += [service("A", "Storage"), service("A", "Analytics"), service("C", "Web")]
    violation = found(tmp_path, *rows)[ONE_CATEGORY.id]
    assert violation.count == 4
    assert violation.severity == "error"
    assert violation.sample == {
        "ServiceName": "A",
        "ServiceCategory": "Analytics, Compute, Storage",
    }


def test_no_category_is_not_another_category(tmp_path: Path) -> None:
    rows = [service("A", "Compute"), service("A", None)]
    assert ONE_CATEGORY.id not in found(tmp_path, *rows)
    violation = found(tmp_path, *rows, service("A", "Storage"))[ONE_CATEGORY.id]
    assert violation.sample["ServiceCategory"] == "Compute, Storage"


def test_rows_without_a_service_are_no_service(tmp_path: Path) -> None:
    assert ONE_CATEGORY.id not in found(tmp_path, service(None, "Compute"), service(None, "Web"))


def test_the_category_of_another_period_does_not_count(tmp_path: Path) -> None:
    other = {**service("A", "Web"), **bills.month("2026-10")}
    assert found(tmp_path, service("A", "Compute"), other) == {}


# --- columns that are absent ---------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(columns.MANDATORY) - set(columns.REQUIRED)))
def test_an_absent_column_that_focus_always_has_is_an_error(tmp_path: Path, name: str) -> None:
    rows = [row()]
    del rows[0][name]
    violation = found(tmp_path, *rows)[f"{name}-absent"]
    assert (violation.severity, violation.count, violation.sample) == ("error", 1, {})


def test_an_optional_column_may_be_absent(tmp_path: Path) -> None:
    optional = {name: cell for name, cell in row().items() if name in columns.MANDATORY}
    scan = bills.scan(bills.write_csv(tmp_path / "bill.csv", [optional]))
    assert scan.violations == ()
    assert ONE_CATEGORY.id not in scan.rules_skipped
    assert "SkuId-gap" in scan.rules_skipped
