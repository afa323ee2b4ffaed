"""Small bills by hand: rows as plain dictionaries of text, and what they add up to.

Sums are made here with `decimal`, row by row, and share nothing with the code under test.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.e2e.places import Place

COSTS = {
    "BilledCost": "billed_cost",
    "EffectiveCost": "effective_cost",
    "ListCost": "list_cost",
    "ContractedCost": "contracted_cost",
}
TIMES = ("BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd")
REQUIRED = (*COSTS, *TIMES, "BillingCurrency", "ChargeCategory")
NUMBERS = ("PricingQuantity", "ListUnitPrice", "ContractedUnitPrice")

Row = dict[str, str]


def month(period: str) -> tuple[datetime, datetime]:
    start = datetime.strptime(period, "%Y-%m").replace(tzinfo=UTC)
    return start, (start + timedelta(days=32)).replace(day=1)


def charge(day: str = "2026-11-03", cost: str = "10.25", **cells: str) -> Row:
    """A row that breaks no rule of FOCUS 1.2; its billing period is the month of its day."""
    start, end = month(cells.pop("period", day[:7]))
    first = datetime.fromisoformat(day).replace(tzinfo=UTC)
    row = {
        "BilledCost": cost,
        "BillingAccountId": "111111111111",
        "BillingAccountName": "Payer",
        "BillingCurrency": "USD",
        "BillingPeriodEnd": _instant(end),
        "BillingPeriodStart": _instant(start),
        "ChargeCategory": "Usage",
        "ChargeClass": "",
        "ChargeDescription": "$0.05 per hour",
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodEnd": _instant(first + timedelta(days=1)),
        "ChargePeriodStart": _instant(first),
        "CommitmentDiscountCategory": "",
        "CommitmentDiscountId": "",
        "CommitmentDiscountName": "",
        "CommitmentDiscountStatus": "",
        "CommitmentDiscountType": "",
        "ContractedCost": cost,
        "ContractedUnitPrice": cost,
        "EffectiveCost": cost,
        "InvoiceId": "EUINV26-1",
        "InvoiceIssuerName": "AWS",
        "ListCost": cost,
        "ListUnitPrice": cost,
        "PricingCategory": "Standard",
        "PricingQuantity": "1",
        "PricingUnit": "Hours",
        "ProviderName": "AWS",
        "PublisherName": "AWS",
        "RegionId": "eu-central-1",
        "RegionName": "EU (Frankfurt)",
        "ResourceId": "i-0123",
        "ServiceCategory": "Compute",
        "ServiceName": "Amazon EC2",
        "SkuId": "SKU",
        "SkuMeter": "hours",
        "SkuPriceId": "SKU.PRICE",
        "SubAccountId": "222222222222",
        "SubAccountName": "shop",
        "Tags": '{"team": "web"}',
    }
    unknown = cells.keys() - row.keys()
    assert not unknown or unknown <= {"x_Extra"}, unknown
    return row | cells


def costs(*amounts: str, period: str = "2026-11") -> list[Row]:
    """One row for each amount, on the days of a month, one after the other."""
    return [charge(f"{period}-{i % 28 + 1:02d}", amount) for i, amount in enumerate(amounts)]


def _instant(when: datetime) -> str:
    return f"{when:%Y-%m-%dT%H:%M:%SZ}"


# --- files ---------------------------------------------------------------------------------------


def as_csv(rows: Sequence[Row], names: Iterable[str] | None = None) -> bytes:
    """CSV with a header; `names` chooses and orders the columns."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(names or rows[0]), extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def zipped(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def as_parquet(
    rows: Sequence[Row],
    names: Iterable[str] | None = None,
    *,
    money: pa.DataType | None = None,
    times: pa.DataType | None = None,
    tags_as_map: bool = True,
    rows_per_group: int = 1 << 20,
) -> bytes:
    """Parquet with AWS's types: double costs, timestamps in ms, Tags as a MAP."""
    money, times = money or pa.float64(), times or pa.timestamp("ms")
    columns = {}
    for name in names or (rows[0] if rows else charge()):
        cells = [row[name] or None for row in rows]
        if name in COSTS:
            columns[name] = pa.array([cell and _money(cell, money) for cell in cells], money)
        elif name in NUMBERS:
            columns[name] = pa.array([cell and float(cell) for cell in cells], pa.float64())
        elif name in TIMES:
            columns[name] = pa.array([cell and _time(cell, times) for cell in cells], times)
        elif name == "Tags" and tags_as_map:
            pairs = [cell and list(json.loads(cell).items()) for cell in cells]
            columns[name] = pa.array(pairs, pa.map_(pa.string(), pa.string()))
        else:
            columns[name] = pa.array(cells, pa.string())
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, row_group_size=rows_per_group, compression="snappy")
    return out.getvalue()


def _money(cell: str, kind: pa.DataType) -> Any:
    if pa.types.is_floating(kind):
        return float(cell)
    return Decimal(cell) if pa.types.is_decimal(kind) else cell


def _time(cell: str, kind: pa.DataType) -> Any:
    if not pa.types.is_timestamp(kind):
        return cell
    instant = datetime.fromisoformat(cell)
    return instant if kind.tz else instant.replace(tzinfo=None)


def truncated(content: bytes, part: float = 0.6) -> bytes:
    return content[: int(len(content) * part)]


def corrupted(content: bytes, at: float = 0.5, size: int = 60) -> bytes:
    """The same length with some bytes in the middle turned over."""
    start = int(len(content) * at)
    return (
        content[:start]
        + bytes(byte ^ 0xFF for byte in content[start : start + size])
        + content[start + size :]
    )


# --- exports -------------------------------------------------------------------------------------


def export(
    place: Place,
    files: dict[str, bytes],
    *,
    period: str = "2026-11",
    execution: str = "e-1",
    create_new: bool = False,
    partition: str = "BILLING_PERIOD",
    name: str = "daily",
) -> str:
    """Write an AWS Data Export's delivery of some data files; returns the manifest's name."""
    folder = f"{partition}={period}"
    own = f"{folder}/2026-11-20T04:17:35.000Z-{execution}" if create_new else folder
    for file, content in files.items():
        place.put(f"data/{own}/{file}", content)
    body = manifest([f"s3://bills/exports/{name}/data/{own}/{file}" for file in files], execution)
    if create_new:
        place.put(f"metadata/{own}/{name}-Manifest.json", body)
    newest = f"metadata/{folder}/{name}-Manifest.json"
    place.put(newest, body)
    return newest


def manifest(files: Sequence[str], execution: str = "e-1") -> str:
    return json.dumps({"executionId": execution, "dataFiles": list(files)}, indent=2)


# --- sums ----------------------------------------------------------------------------------------


def totals(
    rows: Iterable[Row], period: str = "2026-11", *, doubles: bool = False
) -> dict[str, dict[str, Any]]:
    """What summary.json should say per currency, added up here one row at a time."""
    found: dict[str, dict[str, Any]] = {}
    with localcontext() as context:
        context.prec = 60
        for row in rows:
            if not row["BillingPeriodStart"].startswith(period):
                continue
            total = found.setdefault(row["BillingCurrency"], defaultdict(Decimal))
            total["rows"] += 1
            for name, key in COSTS.items():
                text = row[name].strip()
                amount = Decimal(0) if text in ("", "NULL", "null") else Decimal(text)
                if doubles:
                    amount = Decimal(float(text or 0)).quantize(Decimal("1e-10"), ROUND_HALF_EVEN)
                total[key] += amount
    return {currency: dict(total) for currency, total in sorted(found.items())}


def said(summary: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What summary.json says, in the form of `totals`."""
    keys = ("rows", *COSTS.values())
    return {
        total["currency"]: {key: Decimal(total[key]) for key in keys} for total in summary["totals"]
    }


def rolled_up(parquet: bytes) -> dict[str, dict[str, Any]]:
    """What daily_costs.parquet adds up to, in the form of `totals`."""
    found: dict[str, dict[str, Any]] = {}
    with localcontext() as context:
        context.prec = 60
        for row in pq.read_table(pa.BufferReader(parquet)).to_pylist():
            total = found.setdefault(row["BillingCurrency"], defaultdict(Decimal))
            total["rows"] += row["RowCount"]
            for name, key in COSTS.items():
                total[key] += row[name]
    return {currency: dict(total) for currency, total in sorted(found.items())}
