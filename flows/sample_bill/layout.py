"""Where AWS Data Exports puts things, and what its manifest says.

Source: AWS Data Exports user guide, "Understanding export delivery".
"""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import PurePosixPath

from flows.sample_bill import columns
from flows.sample_bill.options import Options, Period
from flows.sample_bill.organisation import PAYER_ID
from flows.sample_bill.write import SUFFIX

BUCKET = "sample-billing-bucket"
PREFIX = "exports"


@dataclass(frozen=True)
class Execution:
    """One refresh of the export for one period. `sequence` 0 is the newest."""

    period: Period
    sequence: int
    id: str
    finished: datetime


def execution(options: Options, period: Period, sequence: int = 0) -> Execution:
    """A refresh in the night after the last day it shows; its id follows from the options."""
    text = json.dumps([asdict(options), period.name, period.visible, sequence], sort_keys=True)
    when = datetime(period.first.year, period.first.month, 1, 4, 17, 35)  # noqa: DTZ001 - UTC
    when += timedelta(days=period.visible)
    return Execution(period, sequence, str(uuid.uuid5(uuid.NAMESPACE_OID, text)), when)


def partition(options: Options, period: Period) -> str:
    """Both spellings are seen in buckets, so each FOCUS version has one: readers must not care."""
    key = "billing_period" if options.focus == "1.0" else "BILLING_PERIOD"
    return f"{key}={period.name}"


def _folder(options: Options, run: Execution, kind: str) -> PurePosixPath:
    folder = PurePosixPath(options.export, kind, partition(options, run.period))
    if options.layout == "create-new":
        return folder / f"{run.finished:%Y-%m-%dT%H:%M:%S}.000Z-{run.id}"
    return folder


def data_file(options: Options, run: Execution, number: int) -> PurePosixPath:
    """The path of a data file (numbered from 1) below the output folder."""
    suffix = SUFFIX[options.format]
    if options.layout == "plain":
        more = "" if number == 1 else f"-{number:05d}"
        return PurePosixPath(f"{options.export}-{run.period.name}{more}.{suffix}")
    return _folder(options, run, "data") / f"{options.export}-{number:05d}.{suffix}"


def manifest_files(options: Options, run: Execution) -> tuple[PurePosixPath, ...]:
    """The manifest's path; in create-new mode also the one that stays beside its execution."""
    name = f"{options.export}-Manifest.json"
    newest = PurePosixPath(options.export, "metadata", partition(options, run.period), name)
    own = _folder(options, run, "metadata") / name
    return (newest,) if own == newest else (own, newest)


def manifest(options: Options, run: Execution, files: list[PurePosixPath]) -> str:
    """dataFiles are S3 URIs, whatever folder the export lies in now: map them from `data/` on."""
    arn = f"arn:aws:bcm-data-exports:us-east-1:{PAYER_ID}:export/{options.export}"
    table = "FOCUS_1_0_AWS" if options.focus == "1.0" else "FOCUS_1_2_AWS"
    settings = {} if options.focus == "1.0" else {"TIME_GRANULARITY": options.granularity.upper()}
    body = {
        "exportArn": arn,
        "exportName": options.export,
        "executionId": run.id,
        "createdAt": f"{run.finished:%Y-%m-%dT%H:%M:%S}.000Z",
        "account": PAYER_ID,
        "billingPeriod": {
            "start": f"{run.period.first:%Y-%m-%d}T00:00:00.000Z",
            "end": f"{run.period.end:%Y-%m-%d}T00:00:00.000Z",
        },
        "bucket": BUCKET,
        "prefix": PREFIX,
        "charset": "UTF-8",
        "compression": "PARQUET" if options.format == "parquet" else "GZIP",
        "contentType": "PARQUET" if options.format == "parquet" else "TEXT_OR_CSV",
        "overwrite": "OVERWRITE_REPORT" if options.layout == "overwrite" else "CREATE_NEW_REPORT",
        "tableConfigurations": {table: settings},
        "columns": [
            {"name": field.name, "type": _type(field.type)}
            for field in columns.schema(options.focus)
        ],
        "dataFiles": [f"s3://{BUCKET}/{PREFIX}/{file}" for file in files],
    }
    return json.dumps(body, indent=2) + "\n"


def _type(kind: object) -> str:
    """The data types of AWS's table dictionary."""
    text = str(kind)
    if text.startswith("timestamp"):
        return "timestamp_milliseconds"
    if text.startswith("map"):
        return "map<string,double>" if text.endswith("double>") else "map<string,string>"
    return text
