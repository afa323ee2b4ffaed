"""Cost per tag: against a plain sum in Python, for rows with many tags, few, or none."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.cost_report import exact, tagged
from flows.cost_report.batch import Place, decode
from flows.cost_report.group import Coded
from flows.cost_report.tables import COSTS, TAGS
from flows.cost_report.tagged import OTHER_VALUES, TagSums
from tests.unit import bills

# A charge: currency, category, its tags, and a cost (of all four kinds) in cents.
Charge = tuple[str, str, dict[str, str] | None, int]
Line = tuple[str, str, str, str | None]

MAP = pa.map_(pa.string(), pa.string())

TEXTS = st.sampled_from(["", "web", "WEB", "ü", "<script>alert(1)</script>", "=1+1", "a\nb"])
CHARGES = st.lists(
    st.tuples(
        st.sampled_from(["USD", "EUR"]),
        st.sampled_from(["Usage", "Tax"]),
        st.none() | st.dictionaries(TEXTS, TEXTS, max_size=4),
        st.integers(-(10**6), 10**6),
    ),
    max_size=30,
)


def add(sums: TagSums, charges: Sequence[Charge], as_json: bool = False) -> None:
    column = [
        None if t is None else json.dumps(t) if as_json else list(t.items()) for *_, t, _ in charges
    ]
    array = pa.array(column, pa.string() if as_json else MAP)
    tags = decode({"Tags": array}, len(charges), Place("bill", 0)).tags
    cost = exact.from_doubles(np.array([cents for *_, cents in charges]) / 100)
    sums.add_batch(
        coded([charge[0] for charge in charges]),
        coded([charge[1] for charge in charges]),
        tags,
        [cost] * len(COSTS),
        len(charges),
    )


def coded(cells: list[str]) -> Coded:
    batch = decode({"ServiceName": pa.array(cells, pa.string())}, len(cells), Place("bill", 0))
    return batch.text("ServiceName")


def table(*batches: Sequence[Charge], as_json: bool = False) -> pa.Table:
    sums = TagSums()
    for charges in batches:
        add(sums, charges, as_json)
    return sums.table()


def lines(found: pa.Table) -> dict[Line, tuple[int, Decimal]]:
    assert found.schema == TAGS
    read = {}
    for row in found.to_pylist():
        *key, rows, billed, effective, listed, contracted = row.values()
        assert billed == effective == listed == contracted
        assert tuple(key) not in read, "every key and value has one line"
        read[tuple(key)] = (rows, billed)
    return read


def plainly(charges: Sequence[Charge]) -> dict[Line, tuple[int, Decimal]]:
    """Per key of the bill: each value's charges, and those that do not carry the key."""
    found: dict[Line, list[Decimal]] = defaultdict(list)
    for key in {key for *_, tags, _ in charges for key in tags or {}}:
        for currency, category, tags, cents in charges:
            value = (tags or {}).get(key)
            found[currency, category, key, value].append(Decimal(cents) / 100)
    return {line: (len(costs), sum(costs, Decimal(0))) for line, costs in found.items()}


@settings(max_examples=60)
@given(st.lists(CHARGES, max_size=4), st.booleans())
def test_lines_equal_a_plain_sum(batches: list[list[Charge]], as_json: bool) -> None:
    charges = [charge for batch in batches for charge in batch]
    assert lines(table(*batches, as_json=as_json)) == plainly(charges)


@settings(max_examples=30)
@given(CHARGES, st.randoms(use_true_random=False))
def test_neither_order_nor_batches_nor_format_matter(
    charges: list[Charge], chance: random.Random
) -> None:
    expected = table(charges)
    assert table(charges, as_json=True) == expected
    chance.shuffle(charges)
    assert table(*([charge] for charge in charges)) == expected
    half = len(charges) // 2
    assert table(charges[half:], charges[:half]) == expected


def test_every_key_adds_up_to_the_bill() -> None:
    charges: list[Charge] = [
        ("USD", "Usage", {"team": "web", "env": "prod"}, 100),
        ("USD", "Usage", {"team": ""}, 25),
        ("USD", "Usage", None, -50),
    ]
    assert lines(table(charges)) == {
        ("USD", "Usage", "env", "prod"): (1, Decimal("1.00")),
        ("USD", "Usage", "env", None): (2, Decimal("-0.25")),
        ("USD", "Usage", "team", ""): (1, Decimal("0.25")),
        ("USD", "Usage", "team", "web"): (1, Decimal("1.00")),
        ("USD", "Usage", "team", None): (1, Decimal("-0.50")),
    }


def test_a_bill_without_tags_has_no_lines() -> None:
    assert table().num_rows == 0
    assert table([]).num_rows == 0
    assert table([("USD", "Usage", None, 100), ("USD", "Usage", {}, 100)]).num_rows == 0


def test_a_key_that_every_charge_carries_has_no_untagged_line() -> None:
    charges: list[Charge] = [("USD", "Usage", {"team": str(n % 2)}, n) for n in range(10)]
    assert {line[3] for line in lines(table(charges))} == {"0", "1"}


# --- keys with very many values ------------------------------------------------------------------


@pytest.fixture
def few_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tagged, "MOST_VALUES", 3)


def many(values: int, rows: int = 20) -> list[Charge]:
    return [("USD", "Usage", {"id": str(n % values), "env": "prod"}, n) for n in range(rows)]


@pytest.mark.usefixtures("few_values")
def test_as_many_values_as_are_allowed_are_kept_apart() -> None:
    assert {line[3] for line in lines(table(many(3))) if line[2] == "id"} == {"0", "1", "2"}


@pytest.mark.usefixtures("few_values")
def test_the_values_of_a_key_with_more_are_put_together() -> None:
    charges = [*many(4), ("USD", "Usage", None, 7)]
    assert lines(table(charges)) == {
        ("USD", "Usage", "env", "prod"): (20, Decimal("1.90")),
        ("USD", "Usage", "env", None): (1, Decimal("0.07")),
        ("USD", "Usage", "id", OTHER_VALUES): (20, Decimal("1.90")),
        ("USD", "Usage", "id", None): (1, Decimal("0.07")),
    }


@pytest.mark.usefixtures("few_values")
@pytest.mark.parametrize("seed", range(10))
def test_the_order_does_not_matter_for_keys_with_many_values_either(seed: int) -> None:
    charges = many(4)
    expected = table(charges)
    random.Random(seed).shuffle(charges)
    cut = seed + 3
    assert table(charges[:cut], charges[cut:]) == expected
    assert table(*([charge] for charge in charges), as_json=True) == expected


# --- in the bill ---------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_only_charges_of_the_period_count(tmp_path: Path, suffix: str) -> None:
    rows = [
        bills.row(BilledCost="1", Tags={"team": "web"}),
        bills.row(BilledCost="2", Tags={"team": "web"}, **bills.month("2026-10")),
        bills.row(BilledCost="4", Tags=None),
        bills.row(BilledCost="8", Tags={"old": "x"}, **bills.month("2026-10")),
    ]
    write: Any = bills.write_csv if suffix == ".csv" else bills.write_parquet
    found = bills.scan(write(tmp_path / f"bill{suffix}", rows)).rollup.tags
    cells = found.select(["TagKey", "TagValue", "RowCount", "BilledCost"]).to_pylist()
    assert [tuple(row.values()) for row in cells] == [("team", "web", 1, 1), ("team", None, 1, 4)]


def test_a_bill_without_a_tags_column_has_no_lines(tmp_path: Path) -> None:
    found = bills.scan(bills.write_csv(tmp_path / "bill.csv", [bills.short()]))
    assert found.rollup.tags.num_rows == 0
    assert found.rollup.tags.schema == TAGS
