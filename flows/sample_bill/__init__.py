"""A sample AWS bill: FOCUS files as AWS Data Exports writes them, with known anomalies.

    python -m flows.sample_bill --help

`generate(Options(), Path("out"))` writes files; `bill(Options())` yields Arrow tables instead.
"""

from flows.sample_bill.anomalies import Anomaly
from flows.sample_bill.generate import Result, Written, generate
from flows.sample_bill.options import BadOptions, Options, Period, periods
from flows.sample_bill.tables import bill

__all__ = [
    "Anomaly",
    "BadOptions",
    "Options",
    "Period",
    "Result",
    "Written",
    "bill",
    "generate",
    "periods",
]
