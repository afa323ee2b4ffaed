"""Bills of every kind, and what they add up to in plain Python: `decimal` and dictionaries only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

from hypothesis import strategies as st

from tests.unit.bills import COSTS, Row, month

PERIOD = "2026-11"
EXACT = Context(prec=100)

# Text with as many decimals as are allowed, signs, exponents, nulls in all spellings.
WRITTEN = st.one_of(
    st.integers(-(10**12), 10**12).map(lambda n: f"{Decimal(n).scaleb(-10):f}"),
    st.integers(-(10**33) + 1, 10**33 - 1).map(lambda n: f"{Decimal(n).scaleb(-18, EXACT):f}"),
    st.integers(-(10**6), 10**6).map(lambda n: f"{n}e-12"),
    st.integers(-99, 99).map(lambda n: f"{n}E+6"),
    st.sampled_from(["0", "-0", "+1.5", ".25", "7.", " 3.5 ", "1e-18", "0.000000000000000001"]),
    st.sampled_from([None, "", "NULL", "null"]),
)
# Doubles as AWS ships them: prices with many decimals, large amounts, ties, subnormals, nulls.
DOUBLES = st.one_of(
    st.integers(-(10**14), 10**14).map(lambda n: n / 10**11),
    st.floats(-1e6, 1e6),
    st.floats(-999_999_999_999_999, 999_999_999_999_999),
    st.integers(-(2**30), 2**30).map(lambda n: (2 * n + 1) / 2**11),
    st.sampled_from([0.0, -0.0, 5e-324, 1e-300, 0.1 + 0.2, 5e-11, 1.5e-10, None]),
)

NAMES = st.sampled_from(
    [None, "", "a", "A", "ü 雲", "<script>alert(1)</script>", "=1+1", 'a,"b"\nc']
)
TAG_SETS = st.none() | st.dictionaries(
    st.sampled_from(["team", "Team", "env", "ü", "<b>", "NULL", "nightshift", "user:nightshift"]),
    st.sampled_from(["", "web", "Web", "<script>", "=1+1", "雲", "NULL", "null"]),
    max_size=3,
)
PERIODS = st.sampled_from([PERIOD] * 6 + ["2026-10", "2026-07", "2026-01", "2026-12"])
DAYS = st.sampled_from(
    [
        None,
        "2026-11-01T00:00:00Z",
        "2026-11-30T23:59:59Z",
        "2026-11-15T12:00:00Z",
        "2026-12-01T00:00:00Z",
        "2026-10-31T23:00:00Z",
        "2024-02-29T00:00:00Z",
    ]
)
KEYS = ("SubAccountId", "ServiceName", "ServiceCategory", "RegionId", "InvoiceId", "ChargeClass")


@st.composite
def charges(draw: st.DrawFn, costs: st.SearchStrategy[Any]) -> Row:
    row: Row = {name: draw(costs) for name in COSTS}
    row |= month(draw(PERIODS))
    row["ChargePeriodStart"] = draw(DAYS) or row["ChargePeriodStart"]
    row["BillingCurrency"] = draw(st.sampled_from(["USD", "EUR", "VND"]))
    row["ChargeCategory"] = draw(
        st.sampled_from(["Usage", "Purchase", "Tax", "Credit", "Adjustment"])
    )
    row |= {name: draw(NAMES) for name in KEYS}
    row["CommitmentDiscountId"] = draw(st.none() | st.sampled_from(["sp-1", "ri-2"]))
    row["CommitmentDiscountStatus"] = draw(st.sampled_from([None, "Used", "Unused"]))
    row["Tags"] = draw(TAG_SETS)
    return row


def some_charges(costs: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Row]]:
    """Charges of which at least one is of PERIOD."""
    rows = st.lists(charges(costs), min_size=1, max_size=25)
    return rows.filter(lambda found: any(in_period(row) for row in found))


# --- what they add up to -------------------------------------------------------------------------


def exactly(cell: Any) -> Decimal:
    """What a cost counts: text as written, doubles rounded half-even to 10^-10, null nothing."""
    if is_null(cell):
        return Decimal(0)
    if isinstance(cell, float):
        return Decimal(cell).quantize(Decimal("1e-10"), ROUND_HALF_EVEN, context=EXACT)
    return Decimal(cell.strip())


def is_null(cell: Any) -> bool:
    return cell is None or cell in ("", "NULL", "null")


def text(row: Row, name: str) -> str | None:
    """Text columns: an empty cell is null."""
    cell: str | None = row.get(name)
    return None if is_null(cell) else cell


def in_period(row: Row, period: str = PERIOD) -> bool:
    return str(row["BillingPeriodStart"]).startswith(period)


def day(row: Row) -> str:
    return datetime.fromisoformat(row["ChargePeriodStart"]).astimezone(UTC).date().isoformat()


@dataclass
class Sum:
    rows: int
    costs: list[Decimal]


def add_up(rows: Iterable[Row], key: Callable[[Row], Any]) -> dict[Any, Sum]:
    sums: dict[Any, Sum] = defaultdict(lambda: Sum(0, [Decimal(0)] * len(COSTS)))
    for row in rows:
        found = sums[key(row)]
        found.rows += 1
        found.costs = [
            EXACT.add(a, exactly(row[name])) for a, name in zip(found.costs, COSTS, strict=True)
        ]
    return dict(sums)


def installation_lines(rows: Sequence[Row]) -> dict[Any, Sum]:
    """Per day, spelling of the tag, installation and service."""
    found: dict[Any, Sum] = {}
    for key in ("nightshift", "user:nightshift"):
        carrying = [row for row in rows if key in (row["Tags"] or {})]

        def line(row: Row, key: str = key) -> tuple[Any, ...]:
            service = text(row, "ServiceName")
            return day(row), row["BillingCurrency"], key, row["Tags"][key], service

        found |= add_up(carrying, line)
    return found


def tag_lines(rows: Sequence[Row]) -> dict[Any, Sum]:
    """Per tag key: a line per value, and one (None) for the charges that do not carry the key."""
    found: dict[Any, Sum] = {}
    for key in {key for row in rows for key in row["Tags"] or {}}:

        def line(row: Row, key: str = key) -> tuple[Any, ...]:
            value = (row["Tags"] or {}).get(key)
            return row["BillingCurrency"], row["ChargeCategory"], key, value

        found |= add_up(rows, line)
    return found
