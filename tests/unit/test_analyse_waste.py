"""Tags, commitments, coverage and savings."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from flows.cost_report.analyse import analyse
from flows.cost_report.tables import COSTS
from flows.cost_report.tagged import OTHER_VALUES
from tests.unit.analyse_fixture import Row, rollup, row, rows

FIRST = date(2026, 11, 1)


def tag(key: str, value: str | None, cost: object, category: str = "Usage") -> Row:
    costs = {name: Decimal(str(cost)) for name in COSTS}
    return {
        "BillingCurrency": "USD",
        "ChargeCategory": category,
        "TagKey": key,
        "TagValue": value,
        "RowCount": 1,
        **costs,
    }


def commitment(status: str | None, cost: object, category: str = "Usage", **other: object) -> Row:
    return {
        "BillingCurrency": "USD",
        "CommitmentDiscountId": "sp-1",
        "CommitmentDiscountName": "Compute",
        "CommitmentDiscountType": "Savings Plan",
        "CommitmentDiscountCategory": "Spend",
        "CommitmentDiscountStatus": status,
        "ChargeCategory": category,
        "RowCount": 1,
        **{name: Decimal(str(cost)) for name in COSTS},
        **other,
    }


def test_tag_coverage_counts_usage_and_what_is_untagged() -> None:
    found = analyse(
        rollup(
            [row(FIRST, 100), row(FIRST, 30, ChargeCategory="Tax")],
            tags=[
                tag("team", "web", 50),
                tag("team", "data", 10),
                tag("team", "", 5),
                tag("team", None, 35),
                tag("team", "web", 30, "Tax"),
                tag("env", "prod", 90),
                tag("env", None, 10),
            ],
        ),
        "2026-11",
    )
    env, team = found.tags
    assert (env.key, env.tagged, env.untagged) == ("env", Decimal(90), Decimal(10))
    assert env.coverage == 0.9
    assert (team.tagged, team.untagged) == (Decimal(65), Decimal(35))
    assert (team.coverage, team.values) == (0.65, 3)
    assert team.top == (("web", Decimal(50)), ("data", Decimal(10)), ("", Decimal(5)))
    assert not team.truncated


def test_a_key_with_too_many_values_says_so() -> None:
    found = analyse(
        rollup([row(FIRST, 100)], tags=[tag("id", OTHER_VALUES, 60), tag("id", None, 40)]),
        "2026-11",
    )
    assert found.tags[0].truncated


def test_commitments_are_used_wasted_and_bought() -> None:
    (found,) = analyse(
        rollup(
            [row(FIRST, 1)],
            commitments=[
                commitment("Used", 75),
                commitment("Unused", 25),
                commitment(
                    None, 100, "Purchase", EffectiveCost=Decimal(0), CommitmentDiscountName=None
                ),
            ],
        ),
        "2026-11",
    ).commitments
    assert (found.id, found.name, found.type, found.category) == (
        "sp-1",
        "Compute",
        "Savings Plan",
        "Spend",
    )
    assert (found.used, found.unused, found.purchased) == (Decimal(75), Decimal(25), Decimal(100))
    assert found.utilisation == 0.75


def test_a_commitment_that_is_only_bought_has_no_utilisation() -> None:
    (found,) = analyse(
        rollup([row(FIRST, 1)], commitments=[commitment(None, 100, "Purchase")]), "2026-11"
    ).commitments
    assert found.utilisation is None
    assert found.purchased == 100


def test_waste_covers_nothing() -> None:
    (found,) = analyse(
        rollup(
            [
                row(FIRST, 30, PricingCategory="Committed", CommitmentDiscountStatus="Used"),
                row(FIRST, 99, PricingCategory="Committed", CommitmentDiscountStatus="Unused"),
                row(FIRST, 60, PricingCategory="Standard"),
                row(FIRST, 10, PricingCategory="Dynamic"),
            ]
        ),
        "2026-11",
    ).coverage
    assert (found.committed, found.standard, found.dynamic) == (
        Decimal(30),
        Decimal(60),
        Decimal(10),
    )
    assert found.coverage == pytest.approx(1 / 3)


def test_savings_over_usage_rows() -> None:
    costs = {"ListCost": Decimal(100), "ContractedCost": Decimal(90), "EffectiveCost": Decimal(60)}
    (found,) = analyse(
        rollup(
            [
                row(FIRST, 0, **costs),
                row(FIRST, 500, ChargeCategory="Purchase"),
                row(FIRST, 500, ChargeClass="Correction"),
            ]
        ),
        "2026-11",
    ).savings
    assert (found.negotiated, found.committed) == (Decimal(10), Decimal(30))
    assert found.saved == 0.4
    assert found.list_cost - found.negotiated - found.committed == found.effective_cost


def test_savings_need_list_costs() -> None:
    found = analyse(rollup(rows(FIRST, [1] * 30, ListCost=None)), "2026-11")
    assert found.savings == ()
    assert "needs list costs of usage in USD" in {gap.why for gap in found.unavailable}
