"""What is published, and how: complete or not at all, and the same bytes for the same execution.

    <destination>/billing_period=2026-11/execution=<id>/…     the report's files
    <destination>/billing_period=2026-11/latest.json          the pointer, written last, atomically

A reader who follows the pointer sees a whole report. Decide first, act later: `files_of` makes
every byte, `publish` writes them. Nothing in the files depends on the clock or on the run.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, is_dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from flows.cost_report.locate import Execution
from flows.cost_report.model import Report
from flows.cost_report.tables import DAILY, RollUp
from flows.storage import Storage, storage


@dataclass(frozen=True)
class Published:
    """A report that is there to be read."""

    billing_period: str
    execution_id: str
    report: str  # address of report.html
    pointer: str  # address of latest.json


def find_published(destination: str, execution: Execution) -> Published | None:
    """The report that the pointer of this period shows, if it is about this very execution."""
    store = storage(destination)
    try:
        pointer = json.loads(store.read(_pointer(execution.period)) or b"{}")
    except ValueError:
        return None  # not ours, or cut off by hand: publishing writes it anew
    if not isinstance(pointer, dict) or pointer.get("execution_id") != execution.id:
        return None
    return _published(store, execution.period, execution.id)


def published_days(destination: str, execution: Execution) -> pa.Table | None:
    """The daily roll-up that was published about an earlier period, if it is of this very
    execution.
    """
    if find_published(destination, execution) is None:
        return None
    name = _folder(execution.period, execution.id) + "daily_costs.parquet"
    content = storage(destination).read(name)
    try:
        return None if content is None else pq.read_table(pa.BufferReader(content)).cast(DAILY)
    except (pa.ArrowException, ValueError, KeyError):
        return None  # damaged, or of an older version: the export has it still


def publish(destination: str, period: str, execution_id: str, files: dict[str, bytes]) -> Published:
    """Write a report's files, then the pointer."""
    store = storage(destination)
    folder = _folder(period, execution_id)
    for name, content in files.items():
        store.write(folder + name, content)
    pointer = {
        "billing_period": period,
        "execution_id": execution_id,
        "report": f"execution={execution_id}/report.html",
        "files": {
            f"execution={execution_id}/{name}": {
                "bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
            for name, content in sorted(files.items())
        },
    }
    store.write(_pointer(period), _json(pointer))
    return _published(store, period, execution_id)


def files_of(report: Report, rollup: RollUp, html: str) -> dict[str, bytes]:
    """Every file of a report, by name."""
    analysis = report.analysis
    return {
        "daily_costs.parquet": _parquet(rollup.daily),
        "tag_costs.parquet": _parquet(rollup.tags),
        "commitments.parquet": _parquet(rollup.commitments),
        "movers.csv": _csv(_MOVERS, analysis.movers),
        "anomalies.csv": _csv(_ANOMALIES, analysis.anomalies),
        "violations.csv": _csv(_VIOLATIONS, report.violations),
        "summary.json": _json(summary(report)),
        "report.html": html.encode(),
    }


def summary(report: Report) -> dict[str, Any]:
    """The report as data: amounts are decimal strings, days ISO 8601."""
    analysis = report.analysis
    return {
        "billing_period": report.billing_period,
        "execution_id": report.execution_id,
        "focus_version": report.focus_version,
        "rows": report.rows,
        "files": report.files,
        "first_day": report.first_day,
        "last_day": report.last_day,
        "reconciled": True,  # scan.prove() raises otherwise, and nothing is published
        "totals": report.totals,
        "other_periods": report.other_periods,
        "history": [{"billing_period": p, "execution_id": e} for p, e in report.history],
        "charge_kinds": analysis.charge_kinds,
        "invoices": analysis.invoices,
        "forecast": analysis.forecasts,
        "anomalies": analysis.anomalies,
        "movers": analysis.movers,
        "tags": analysis.tags,
        "commitments": analysis.commitments,
        "commitment_coverage": analysis.coverage,
        "savings": analysis.savings,
        "installations": analysis.installations,
        "rules_checked": report.rules_checked,
        "rules_skipped": report.rules_skipped,
        "violations": [
            {"rule": v.rule, "severity": v.severity, "count": v.count, "summary": v.summary}
            for v in report.violations
        ],
        "unavailable": analysis.unavailable,
    }


# --- formats -------------------------------------------------------------------------------------

_MOVERS = [
    "comparison",
    "currency",
    "dimension",
    "id",
    "name",
    "kind",
    "before",
    "after",
    "change",
    "percent",
    "before_span",
    "after_span",
    "reasons",
]
_ANOMALIES = [
    "currency",
    "dimension",
    "id",
    "name",
    "first_day",
    "last_day",
    "actual",
    "expected",
    "excess",
    "percent",
    "score",
    "sentence",
]
_VIOLATIONS = [
    "rule",
    "severity",
    "section",
    "count",
    "summary",
    "sample_file",
    "sample_row",
    "sample",
]


def _parquet(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    return out.getvalue()


def _json(content: object) -> bytes:
    text = json.dumps(content, default=_plain, ensure_ascii=False, indent=2, allow_nan=False)
    return text.encode() + b"\n"


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, date):
        return value.isoformat()
    if is_dataclass(value) and not isinstance(value, type):
        return {name: getattr(value, name) for name in value.__dataclass_fields__}
    raise TypeError(type(value))


def _csv(names: Sequence[str], rows: Iterable[object]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out)  # RFC 4180's line ends: with others a lone CR would go unquoted
    writer.writerow(names)
    for row in rows:
        writer.writerow([_cell(getattr(row, name)) for name in names])
    return out.getvalue().encode()


def _cell(value: object) -> str:
    """A cell that no spreadsheet takes for a formula: text from the bill is somebody else's text.

    https://owasp.org/www-community/attacks/CSV_Injection: `= + - @`, tab and carriage return start
    one.
    """
    if value is None:
        return ""
    if isinstance(value, Decimal | date):
        return str(_plain(value))
    if isinstance(value, int | float):
        return repr(value)
    text = (
        value if isinstance(value, str) else json.dumps(value, default=_plain, ensure_ascii=False)
    )
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _folder(period: str, execution_id: str) -> str:
    return f"billing_period={period}/execution={execution_id}/"


def _pointer(period: str) -> str:
    return f"billing_period={period}/latest.json"


def _published(store: Storage, period: str, execution_id: str) -> Published:
    report = store.address(_folder(period, execution_id) + "report.html")
    return Published(period, execution_id, report, store.address(_pointer(period)))
