"""Which files are the bill: the newest execution of an export for a billing period, or plain FOCUS
files.

AWS Data Exports writes `<export>/data/<partition>/…` and, when every data file is there, the
manifest `<export>/metadata/<partition>/<export>-Manifest.json` (create-new mode puts a folder per
execution below the partition). Only files that a manifest names are read: a refresh that shrinks
leaves emptied chunks of the one before behind.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from flows.cost_report import read
from flows.cost_report.read import BillFile
from flows.problem import Problem
from flows.storage import Storage, Stored, storage

HISTORY_PERIODS = 3  # earlier months that baselines are made from

_PARTITION = re.compile(r"(?:^|/)billing_period=(\d{4}-\d{2})(?:-\d{2})?(?:/|$)", re.IGNORECASE)
_MANIFEST = re.compile(
    r"^(.*/)?metadata/billing_period=(\d{4}-\d{2})(?:-\d{2})?/.*manifest\.json$", re.IGNORECASE
)
_REPORT = re.compile(r"(?:^|/)billing_period=\d{4}-\d{2}/execution=[^/]+/")  # our own, see publish
_PERIOD = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


@dataclass(frozen=True)
class Execution:
    """One refresh of a bill: the files that are its newest state."""

    period: str  # '2026-11'
    id: str
    files: tuple[BillFile, ...]
    source: str  # the location it was found at
    marks: tuple[tuple[str, str], ...]  # (file, version) that change when a refresh replaces it

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self.files)


@dataclass(frozen=True)
class Bill:
    """The execution to report on, and the earlier ones that give it a past, newest first."""

    execution: Execution
    history: tuple[Execution, ...]


def locate(source: str, period: str | None) -> Bill:
    """Find the bill of `period` (the newest when None) at `source`."""
    if period is not None and not _PERIOD.fullmatch(period):
        raise Problem(
            "the billing period is not a month",
            value=period,
            fix="write it as YYYY-MM, for example 2026-11",
        )
    store = storage(source)
    stored = store.files()
    if not stored:
        raise Problem(
            "there is no bill at this place",
            value=store.address(),
            detail="no such file, or a folder or prefix without files",
            fix="name a FOCUS file, a folder of them, or the s3:// prefix of a Data Export",
        )
    exported = [f for f in stored if _PARTITION.search(f.name) and _in_folder(f.name, "data")]
    manifests = [f for f in stored if _MANIFEST.search(f.name)]
    if manifests:
        return _exported(store, stored, manifests, period)
    if exported:
        raise Problem(
            "the export has no manifest",
            where={"folder": store.address()},
            value=exported[0].name,
            detail="data files are there, but no …-Manifest.json below metadata/, written last",
            fix="wait until the first delivery is complete, name the export's own folder (with "
            "data/ and metadata/ in it), or name one data file to read it as it is",
        )
    return _plain(store, stored, period)


def changed(execution: Execution) -> bool:
    """Whether a refresh has replaced the files since they were located."""
    store = storage(execution.source)
    now = {f.name: f.version for f in store.files()}
    return any(now.get(name) != version for name, version in execution.marks)


# --- AWS Data Exports ----------------------------------------------------------------------------


def _exported(
    store: Storage, stored: list[Stored], manifests: list[Stored], period: str | None
) -> Bill:
    by_period: dict[str, list[Stored]] = {}
    exports = set()
    for manifest in manifests:
        export, month = _MANIFEST.findall(manifest.name)[0]
        exports.add(export)
        by_period.setdefault(month, []).append(manifest)
    if len(exports) > 1:
        raise Problem(
            "there is more than one export at this place",
            value=", ".join(sorted(name.rstrip("/") or "." for name in exports)),
            fix=f"name one of them, for example {store.address(min(exports).rstrip('/'))}",
        )
    if period is None:
        period = max(by_period, default=None)
    if period is None or period not in by_period:
        raise _no_data(period, sorted(by_period), store)
    earlier = sorted((p for p in by_period if p < period), reverse=True)[:HISTORY_PERIODS]
    newest = {p: _newest(by_period[p]) for p in (period, *earlier)}
    names = {f.name: f for f in stored}
    execution = _read_manifest(store, names, newest[period], period)
    history = []
    for month in earlier:
        # A past that cannot be read makes baselines shorter; it is no reason to report nothing.
        with contextlib.suppress(Problem):
            history.append(_read_manifest(store, names, newest[month], month))
    return Bill(execution, tuple(history))


def _newest(manifests: list[Stored]) -> Stored:
    """The manifest that describes the newest refresh.

    AWS keeps one directly below the partition that always does; where only those of the executions
    are there, their folders begin with the time of the execution.
    """
    shallowest = min(m.name.count("/") for m in manifests)
    return max((m for m in manifests if m.name.count("/") == shallowest), key=lambda m: m.name)


def _read_manifest(
    store: Storage, names: dict[str, Stored], manifest: Stored, period: str
) -> Execution:
    address = store.address(manifest.name)
    content = store.read(manifest.name) or b""
    try:
        body = json.loads(content)
        data_files = _data_files(body["dataFiles"])
    except (ValueError, TypeError, KeyError) as error:
        raise Problem(
            "the manifest is not complete",
            where={"file": address},
            value=content[-80:].decode("utf-8", "replace"),
            detail=f"{type(error).__name__}: {error}",
            fix="run again in a few minutes: AWS may be writing it; otherwise refresh the export",
        ) from error
    root = _MANIFEST.findall(manifest.name)[0][0]
    files: dict[str, Stored] = {}  # each once, however often the manifest names it
    for data_file in data_files:
        # The manifest gives s3:// addresses. Whatever bucket a copy lies in, the part from data/ on
        # is the same, and reading that part below the source keeps the job inside what its role may
        # read.
        inside = "data/" + f"/{data_file}".rpartition("/data/")[2]
        stored = names.get(root + inside)
        if stored is None:
            raise Problem(
                "the manifest names a file that is not there",
                where={"file": address},
                value=data_file,
                detail=f"looked for {store.address(root + inside)}",
                fix="run again in a few minutes: a refresh may be under way; if this is a copy, "
                "copy every file",
            )
        files[stored.name] = stored
    execution = body.get("executionId") or hashlib.sha256(content).hexdigest()[:32]
    return Execution(
        period,
        _safe(str(execution)),
        tuple(BillFile(store, f.name, f.size) for f in files.values()),
        store.location,
        ((manifest.name, manifest.version), *((f.name, f.version) for f in files.values())),
    )


def _data_files(entries: list[object]) -> list[str]:
    """The files that a manifest names."""
    files = []
    for entry in entries:
        if not isinstance(entry, str) or "/data/" not in f"/{entry}":
            raise ValueError(f"{entry!r} is not a data file of an export")
        files.append(entry)
    if not files:
        raise ValueError("it names no file")
    return files


# --- plain FOCUS files ---------------------------------------------------------------------------


def _plain(store: Storage, stored: list[Stored], period: str | None) -> Bill:
    bills = [
        f
        for f in stored
        if store.address(f.name).lower().endswith(read.SUFFIXES) and not _REPORT.search(f.name)
    ]
    if not bills:
        raise Problem(
            "there is no FOCUS file at this place",
            where={"folder": store.address()},
            value=", ".join(store.address(f.name) for f in stored[:3]),
            fix="name a file or folder that holds .parquet, .csv or .csv.gz",
        )
    files = tuple(BillFile(store, f.name, f.size) for f in bills)
    marks = tuple((f.name, f.version) for f in bills)
    digest = hashlib.sha256(json.dumps(marks).encode()).hexdigest()[:32]
    if period is None:
        newest = max(bills, key=lambda f: f.modified)
        period = _main_period(files) or _month_of(store.address(newest.name), newest.modified)
    # Earlier months need no execution of their own: they are in the same files.
    return Bill(Execution(period, digest, files, store.location, marks), ())


def _main_period(files: tuple[BillFile, ...]) -> str | None:
    """The newest of the files' months; a file's month is the one that most of its rows name."""
    months = []
    for file in files:
        rows: Counter[str] = Counter()
        for batch in read.batches(file, {"BillingPeriodStart"}):
            starts = batch.times.get("BillingPeriodStart")
            if starts is not None:
                months_of_rows = starts.astype("datetime64[ms]").astype("datetime64[M]")
                for month, count in zip(
                    *np.unique(months_of_rows, return_counts=True), strict=True
                ):
                    rows[str(month)] += int(count)
        if rows:
            months.append(max(rows, key=lambda month: (rows[month], month)))
    return max(months, default=None)


def _month_of(address: str, modified: float) -> str:
    """For a bill without rows: the month in its path, else the month it was written in."""
    named = _PARTITION.search(address)
    return named[1] if named else f"{datetime.fromtimestamp(modified, UTC):%Y-%m}"


# --- both ----------------------------------------------------------------------------------------


def _no_data(period: str | None, periods: list[str], store: Storage) -> Problem:
    return Problem(
        "the bill has no data for this billing period",
        where={"folder": store.address()},
        value=period,
        detail=f"it has {', '.join(periods) or 'no billing period'}",
        fix=f"name one of them: PERIOD={periods[-1]}"
        if periods
        else "name the export's own folder",
    )


def _in_folder(name: str, folder: str) -> bool:
    return f"/{folder}/" in f"/{name.lower()}"


def _safe(execution: str) -> str:
    """An execution id as part of a path, whatever a manifest says."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", execution).strip(".") or "unnamed"
