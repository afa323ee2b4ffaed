"""Shares, charge kinds, invoices and days add up to the bill, to the last digit."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal, localcontext

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.cost_report.analyse import analyse
from flows.cost_report.tables import COMMITMENTS, COSTS, DAILY, TAGS, RollUp
from tests.unit.analyse_fixture import DAY, Row, rollup, row, rows, table

FIRST = date(2026, 11, 1)
PERIOD = "2026-11"

names = st.one_of(st.none(), st.sampled_from(["a", "b", "c", "é☃", "<script>", "=1+1"]))
amounts = st.decimals(min_value=-(10**14), max_value=10**14, places=18, allow_nan=False)
bills = st.lists(
    st.fixed_dictionaries(
        {
            "ChargeDate": st.dates(date(2026, 9, 25), date(2026, 12, 5)),
            "BillingCurrency": st.sampled_from(["USD", "EUR", "JPY"]),
            "SubAccountId": names,
            "SubAccountName": names,
            "ServiceName": names,
            "ServiceCategory": st.sampled_from([None, "Other", *map(str, range(12))]),
            "RegionId": names,
            "ChargeCategory": st.sampled_from(["Usage", "Purchase", "Tax", "Credit", "Adjustment"]),
            "ChargeClass": st.sampled_from([None, None, None, "Correction"]),
            "PricingCategory": st.sampled_from([None, "Standard", "Committed", "Dynamic"]),
            "CommitmentDiscountStatus": st.sampled_from([None, "Used", "Unused"]),
            "InvoiceId": names,
            "RowCount": st.integers(1, 1000),
            **dict.fromkeys(COSTS, amounts),
        }
    ),
    max_size=25,
)


def exact_sum(values: list[Decimal]) -> Decimal:
    with localcontext() as context:
        context.prec = 76
        return sum(values, Decimal(0))


@settings(max_examples=60, deadline=None)
@given(daily=bills, history=bills)
def test_everything_adds_up_to_the_bill(daily: list[Row], history: list[Row]) -> None:
    found = analyse(rollup(daily, history), PERIOD)
    for currency in {str(one["BillingCurrency"]) for one in daily}:
        own = [one for one in daily if one["BillingCurrency"] == currency]
        billed = exact_sum([Decimal(str(one["BilledCost"])) for one in own])
        effective = exact_sum([Decimal(str(one["EffectiveCost"])) for one in own])
        kinds = [kind for kind in found.charge_kinds if kind.currency == currency]
        assert exact_sum([kind.billed_cost for kind in kinds]) == billed
        assert exact_sum([kind.effective_cost for kind in kinds]) == effective
        assert sum(kind.rows for kind in kinds) == sum(int(str(one["RowCount"])) for one in own)
        invoices = [one for one in found.invoices if one.currency == currency]
        assert exact_sum([one.billed_cost for one in invoices]) == billed
        for dimension in ("ServiceName", "SubAccountId", "RegionId"):
            shares = [
                share
                for share in found.shares
                if (share.currency, share.dimension) == (currency, dimension)
            ]
            if shares:  # a column that is all null has none
                assert exact_sum([share.effective_cost for share in shares]) == effective
                assert exact_sum([share.billed_cost for share in shares]) == billed
            assert len({share.id for share in shares}) == len(shares)
        inside = [
            one
            for one in own
            if FIRST <= date.fromisoformat(str(one["ChargeDate"])) <= date(2026, 11, 30)
        ]
        on_days = [day for day in found.daily if day.currency == currency]
        assert exact_sum([day.effective_cost for day in on_days]) == exact_sum(
            [Decimal(str(one["EffectiveCost"])) for one in inside]
        )


@settings(max_examples=25, deadline=None)
@given(daily=bills, history=bills, seed=st.integers(0, 99))
def test_the_order_of_rows_does_not_matter(daily: list[Row], history: list[Row], seed: int) -> None:
    shuffled = random.Random(seed)
    once = analyse(rollup(daily, history), PERIOD)
    again = analyse(
        rollup(shuffled.sample(daily, len(daily)), shuffled.sample(history, len(history))), PERIOD
    )
    assert once == again


def test_a_bill_of_zero_rows_says_what_is_missing() -> None:
    found = analyse(
        RollUp(
            DAILY.empty_table(), TAGS.empty_table(), COMMITMENTS.empty_table(), DAILY.empty_table()
        ),
        PERIOD,
    )
    assert found == replace(
        found, charge_kinds=(), invoices=(), daily=(), shares=(), movers=(), anomalies=(),
        forecasts=(), tags=(), commitments=(), coverage=(), savings=(),
    )  # fmt: skip
    assert {"forecast", "tags", "commitments", "regions"} <= {
        gap.analysis for gap in found.unavailable
    }


def test_columns_that_the_bill_lacks_make_their_analyses_unavailable() -> None:
    optional = [
        name
        for name in DAILY.names
        if name not in {"ChargeDate", "BillingCurrency", "ChargeCategory", "RowCount", *COSTS}
    ]
    bare = table(rows(FIRST, [1] * 30))
    for name in optional:
        place = bare.schema.get_field_index(name)
        bare = bare.set_column(place, name, pa.nulls(len(bare), pa.string()))
    found = analyse(replace(rollup([]), daily=bare), PERIOD)
    assert found.shares == ()
    assert {"services", "accounts", "regions", "invoices", "coverage"} <= {
        gap.analysis for gap in found.unavailable
    }
    assert found.forecasts[0].month_end == 30


def test_a_single_day_is_not_taken_as_complete() -> None:
    found = analyse(rollup([row(FIRST, 5)]), PERIOD)
    assert found.shares[0].daily == (Decimal(5),)
    assert found.movers == ()
    assert [end.why_none for end in found.forecasts] == ["the bill has no complete day yet"] * 2


def test_shares_are_sorted_and_an_account_goes_by_its_newest_name() -> None:
    found = analyse(
        rollup(
            [
                row(FIRST, 1, SubAccountId="1", SubAccountName="old name"),
                row(FIRST + DAY, 1, SubAccountId="1", SubAccountName="new name"),
                row(FIRST + 2 * DAY, 1, SubAccountId="1", SubAccountName=None),
                row(FIRST, 4, SubAccountId="2", SubAccountName=None),
                row(FIRST, 1, SubAccountId=None, SubAccountName=None),
            ]
        ),
        PERIOD,
    )
    accounts = [share for share in found.shares if share.dimension == "SubAccountId"]
    assert [(share.name, share.share) for share in accounts] == [
        ("2", 0.5),
        ("new name", 0.375),
        ("(no account)", 0.125),
    ]
    assert accounts[1].daily == (Decimal(1),) * 3


def test_small_categories_join_other_in_the_chart() -> None:
    found = analyse(
        rollup([row(FIRST, 20 - n, ServiceCategory=f"C{n:02}") for n in range(12)]), PERIOD
    )
    groups = {day.group: day.effective_cost for day in found.daily}
    assert list(groups) == [f"C{n:02}" for n in range(7)] + ["Other"]
    assert groups["Other"] == 13 + 12 + 11 + 10 + 9


@pytest.mark.parametrize(
    ("category", "kind_of_class", "cost", "expected"),
    [
        ("Usage", None, -1, "Usage"),
        ("Purchase", None, 1, "Purchase"),
        ("Purchase", None, -1, "Refund"),
        ("Adjustment", None, 1, "Adjustment"),
        ("Adjustment", None, -1, "Refund"),
        ("Tax", None, -1, "Tax"),
        ("Credit", None, -1, "Credit"),
        ("Usage", "Correction", -1, "Correction"),
        ("Purchase", "Correction", -1, "Correction"),
    ],
)
def test_kinds_of_charge(
    category: str, kind_of_class: str | None, cost: int, expected: str
) -> None:
    found = analyse(
        rollup([row(FIRST, cost, ChargeCategory=category, ChargeClass=kind_of_class)]), PERIOD
    )
    assert [kind.kind for kind in found.charge_kinds] == [expected]


def test_late_charges_are_in_the_totals_and_on_no_day() -> None:
    found = analyse(
        rollup([row(FIRST, 1), row(FIRST - timedelta(days=9), 2, ChargeClass="Correction")]), PERIOD
    )
    assert [share.effective_cost for share in found.shares if share.dimension == "ServiceName"] == [
        3
    ]
    assert [(day.day, day.effective_cost) for day in found.daily] == [(FIRST, Decimal(1))]
