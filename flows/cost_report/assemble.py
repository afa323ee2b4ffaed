"""One execution's report, put together from what was located, read and found."""

from __future__ import annotations

import pyarrow.compute as pc

from flows.cost_report import columns
from flows.cost_report.locate import Bill
from flows.cost_report.model import Analysis, Report
from flows.cost_report.scan import Scan


def assemble(bill: Bill, scan: Scan, analysis: Analysis) -> Report:
    days = pc.min_max(scan.rollup.daily["ChargeDate"]).as_py()
    return Report(
        billing_period=bill.execution.period,
        execution_id=bill.execution.id,
        source=bill.execution.source,
        focus_version=columns.version(set(scan.columns)),
        first_day=days["min"],
        last_day=days["max"],
        rows=scan.rows,
        files=scan.files,
        totals=scan.totals,
        other_periods=scan.other_periods,
        history=tuple((earlier.period, earlier.id) for earlier in bill.history),
        rules_checked=scan.rules_checked,
        rules_skipped=scan.rules_skipped,
        violations=scan.violations,
        analysis=analysis,
    )
