"""What an image must be able to do before it goes live: `python -m flows.smoke`, run in the image
just built, with no network, no AWS and nothing to write to but /tmp.

For a flow of your own add a function to CHECKS. What it raises stops the release.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

PERIOD = "2026-11"


def bill_report(folder: Path) -> None:
    """The bill report of a small bill, as AWS delivers one: published whole, and right."""
    from flows.cost_report.__main__ import main as cost_report
    from flows.sample_bill.generate import generate
    from flows.sample_bill.options import Options

    bill, out = folder / "bill", folder / "reports"
    generate(Options(rows=10_000, months=2, last_period=PERIOD), bill)
    status = cost_report([str(bill / "nightshift-sample"), "--out", str(out)])
    _expect(status, 0, "the exit status")
    files = published(out / f"billing_period={PERIOD}")
    if b"<html" not in files["report.html"]:
        raise AssertionError("report.html is not a page")
    (total,) = json.loads(files["summary.json"])["totals"]
    _expect(Decimal(total["billed_cost"]), billed(bill), "the total")


def published(folder: Path) -> dict[str, bytes]:
    """The report's files, as whoever follows the pointer finds them."""
    pointer = json.loads((folder / "latest.json").read_text())
    files: dict[str, bytes] = {}
    for name, is_ in pointer["files"].items():
        content = (folder / name).read_bytes()
        _expect(hashlib.sha256(content).hexdigest(), is_["sha256"], name)
        files[name.rpartition("/")[2]] = content
    return files


def billed(bill: Path) -> Decimal:
    """What the bill says, added up here one row at a time."""
    import pyarrow.parquet as pq

    exact = Decimal(1).scaleb(-10)  # as the report takes a double
    return sum(
        (
            Decimal(cost).quantize(exact)
            for file in sorted(bill.rglob(f"BILLING_PERIOD={PERIOD}/*.parquet"))
            for cost in pq.read_table(file, columns=["BilledCost"])["BilledCost"].to_pylist()
        ),
        Decimal(0),
    )


def _expect(found: Any, wanted: Any, what: str) -> None:
    if found != wanted:
        raise AssertionError(f"{what}: found {found}, expected {wanted}")


CHECKS: Sequence[Callable[[Path], None]] = (bill_report,)


def main() -> int:
    """The exit status: 0 if all are well; an exception ends it with 1, and names what is wrong."""
    for check in CHECKS:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="smoke-") as folder:
            check(Path(folder))
        print(f"{check.__name__}: fine, {time.monotonic() - began:.1f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
