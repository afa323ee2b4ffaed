"""Small bills to test with: rows as dictionaries, written as AWS or anybody else would write them.

A row holds text as CSV does, None for null, and `Tags` as a dictionary. `row()` breaks no rule of
FOCUS; a test names only what it is about: `row(ChargeCategory="Tax", BilledCost="-0.10")`.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from flows.cost_report import scan as scanning
from flows.cost_report.locate import Execution, locate
from flows.cost_report.read import BillFile
from flows.cost_report.scan import Scan
from flows.storage import Local

Row: TypeAlias = dict[str, Any]

COSTS = ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost")
TIMES = ("BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd")
NUMBERS = ("PricingQuantity", "ListUnitPrice", "ContractedUnitPrice")
REQUIRED = (*COSTS, *TIMES, "BillingCurrency", "ChargeCategory")

TAGS = pa.map_(pa.string(), pa.string())


def row(**changes: Any) -> Row:
    """A charge that breaks no rule, with some cells changed; all columns that the job looks at."""
    return {
        "BilledCost": "3.00",
        "EffectiveCost": "3.00",
        "ListCost": "4.00",
        "ContractedCost": "3.00",
        "BillingPeriodStart": "2026-11-01T00:00:00Z",
        "BillingPeriodEnd": "2026-12-01T00:00:00Z",
        "ChargePeriodStart": "2026-11-05T00:00:00Z",
        "ChargePeriodEnd": "2026-11-06T00:00:00Z",
        "BillingCurrency": "USD",
        "ProviderName": "AWS",
        "PublisherName": "AWS",
        "InvoiceIssuerName": "Amazon Web Services, Inc.",
        "InvoiceId": None,
        "BillingAccountId": "100000000001",
        "BillingAccountName": "Payer",
        "SubAccountId": "200000000002",
        "SubAccountName": "Web shop",
        "ServiceCategory": "Compute",
        "ServiceName": "Amazon Elastic Compute Cloud",
        "RegionId": "eu-central-1",
        "ChargeCategory": "Usage",
        "ChargeClass": None,
        "ChargeDescription": "An hour of a machine",
        "ChargeFrequency": "Usage-Based",
        "PricingCategory": "Standard",
        "PricingQuantity": "2",
        "PricingUnit": "Hours",
        "ListUnitPrice": "2",
        "ContractedUnitPrice": "1.5",
        "SkuId": "SKU1",
        "SkuPriceId": "SKU1.PRICE1",
        "CommitmentDiscountId": None,
        "CommitmentDiscountName": None,
        "CommitmentDiscountType": None,
        "CommitmentDiscountCategory": None,
        "CommitmentDiscountStatus": None,
        "Tags": None,
        **changes,
    }


def short(**changes: Any) -> Row:
    """A charge with the columns that must be there, and those named."""
    return {name: cell for name, cell in row(**changes).items() if name in (*REQUIRED, *changes)}


def month(period: str) -> Row:
    """The four times of a charge on the first day of a billing period ('2026-11')."""
    year, number = int(period[:4]), int(period[5:])
    end = f"{year + number // 12:04d}-{number % 12 + 1:02d}"
    return {
        "BillingPeriodStart": f"{period}-01T00:00:00Z",
        "BillingPeriodEnd": f"{end}-01T00:00:00Z",
        "ChargePeriodStart": f"{period}-01T00:00:00Z",
        "ChargePeriodEnd": f"{period}-02T00:00:00Z",
    }


# --- files ---------------------------------------------------------------------------------------


def csv_text(rows: Sequence[Row], columns: Sequence[str] | None = None) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    columns = list(rows[0]) if columns is None else columns
    writer.writerow(columns)
    for one in rows:
        cells = [one.get(name) for name in columns]
        writer.writerow([json.dumps(cell) if isinstance(cell, dict) else cell for cell in cells])
    return out.getvalue()


def write_csv(path: Path, rows: Sequence[Row], columns: Sequence[str] | None = None) -> Path:
    """Write rows as CSV; compressed when the name ends in .gz."""
    return write(path, csv_text(rows, columns).encode())


def write(path: Path, content: bytes | str) -> Path:
    content = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path


def table(rows: Sequence[Row], types: dict[str, pa.DataType] | None = None) -> pa.Table:
    """Rows as AWS types them: doubles, timestamps in milliseconds, tags as a map; or as told."""
    names = list(rows[0])
    kinds = types or {}
    arrays = [_array([one.get(name) for one in rows], name, kinds.get(name)) for name in names]
    return pa.table(arrays, names=names)


def write_parquet(
    path: Path,
    rows: Sequence[Row],
    types: dict[str, pa.DataType] | None = None,
    row_group_size: int | None = None,
    **options: Any,
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table(rows, types), path, row_group_size=row_group_size, **options)
    return path


def _array(cells: list[Any], name: str, kind: pa.DataType | None) -> pa.Array:
    if kind is None:
        kind = _kind(name)
    if pa.types.is_map(kind):
        return pa.array([None if c is None else _pairs(c) for c in cells], kind)
    if name == "Tags":
        return pa.array([json.dumps(c) if isinstance(c, dict) else c for c in cells], kind)
    if pa.types.is_floating(kind):
        return pa.array([None if c is None else float(c) for c in cells], kind)
    if pa.types.is_decimal(kind):
        return pa.array([None if c is None else Decimal(c) for c in cells], kind)
    if pa.types.is_temporal(kind):
        return pa.array([None if c is None else _instant(c) for c in cells]).cast(kind)
    return pa.array(cells, pa.string()).cast(kind)


def _kind(name: str) -> pa.DataType:
    if name in (*COSTS, *NUMBERS):
        return pa.float64()
    if name in TIMES:
        return pa.timestamp("ms")
    return TAGS if name == "Tags" else pa.string()


def _pairs(tags: dict[str, str | None] | list[tuple[str, str | None]]) -> list[tuple[str, Any]]:
    return list(tags.items()) if isinstance(tags, dict) else tags


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)


# --- exports as AWS lays them out ----------------------------------------------------------------


def write_export(
    root: Path,
    period: str,
    rows: Sequence[Row],
    *,
    execution: str = "execution-1",
    partition: str = "BILLING_PERIOD",
    folder: str = "",
    name: str = "focus",
    names: Sequence[str] = ("focus-00001.csv",),
) -> Path:
    """One refresh: rows spread over data files, then the manifest. `folder`: create-new mode."""
    below = f"{partition}={period}/" + (f"{folder}/" if folder else "")
    for number, file in enumerate(names):
        write_csv(root / name / "data" / below / file, rows[number :: len(names)], list(rows[0]))
    files = [f"s3://their-bucket/their/prefix/{name}/data/{below}{file}" for file in names]
    manifests = [f"metadata/{below}{name}-Manifest.json"]
    if folder:  # AWS also keeps the newest one beside the executions
        manifests.append(f"metadata/{partition}={period}/{name}-Manifest.json")
    for manifest in manifests:
        write_manifest(root / name / manifest, execution, files)
    return root / name


def write_manifest(path: Path, execution: str | None, files: Iterable[object]) -> Path:
    body = {"executionId": execution, "dataFiles": list(files)}
    return write(path, json.dumps({k: v for k, v in body.items() if v is not None}))


# --- reading them --------------------------------------------------------------------------------


def file(path: Path) -> BillFile:
    return BillFile(Local(str(path.parent)), path.name, path.stat().st_size)


def execution(*paths: Path, period: str = "2026-11") -> Execution:
    """These very files, in this order, as one execution."""
    return Execution(period, "execution-1", tuple(map(file, paths)), str(paths[0].parent), ())


def scan(*paths: Path, period: str = "2026-11") -> Scan:
    return scanning.scan(execution(*paths, period=period))


def scan_at(source: Path, period: str | None = None) -> Scan:
    """Locate the bill and scan it, as the job does."""
    return scanning.scan(locate(str(source), period).execution)


def only(cells: Iterable[Any]) -> Any:
    """The one thing that is there."""
    (one,) = cells
    return one
