"""The bill report as a command line.

Exit status: 0 when a report was published or there was nothing new; 1 when the bill or a place
could not be used, with one message that says what, where and what to do; 2 for a wrong command
line.
"""

from __future__ import annotations

import argparse
import atexit
import logging
import sys
from typing import Any, TextIO

from flows.quiet import quiet

DESCRIPTION = """\
Reads a bill in the FOCUS format and publishes a report of where the money goes.

The bill is an AWS Data Export of FOCUS 1.0 to 1.2 (its own folder or s3:// prefix, with data/ and
metadata/ in it), or plain FOCUS files: one .parquet, .csv or .csv.gz, or a folder of them.
"""

EPILOG = """\
examples:
  python -m flows.cost_report bill.csv
  python -m flows.cost_report s3://my-bills/focus/daily --period 2026-11 --out s3://my-reports/costs

It runs as a Prefect flow. Without a PREFECT_API_URL a temporary Prefect API is started for it;
`make ui` then shows the run. AWS credentials, region and endpoint are found as by
every AWS tool.
"""


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)

    quiet()
    last_words: list[tuple[str, TextIO]] = []  # after Prefect's own
    atexit.register(lambda: [print(words, file=stream) for words, stream in last_words])

    from flows.cost_report.flow import cost_report
    from flows.cost_report.publish import Published
    from flows.problem import Problem

    without_traceback = _WithoutTraceback()
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(without_traceback)

    state = cost_report(options.bill, options.out, options.period, return_state=True)
    result: Any = state.result(raise_on_failure=False)
    if isinstance(result, Published):
        what = "nothing new" if state.name == "Unchanged" else "report"
        last_words.append((f"{what}: {result.report}", sys.stdout))
        return 0
    if not isinstance(result, Problem):
        result = f"the run ended {state.name}: {state.message}"
    last_words.append((f"error: {result}", sys.stderr))
    return 1


class _WithoutTraceback(logging.Filter):
    """Leaves the traceback out of the log where the failure says itself what to do."""

    def filter(self, record: logging.LogRecord) -> bool:
        from flows.problem import Problem

        if record.exc_info and isinstance(record.exc_info[1], Problem):
            record.exc_info = None
            record.exc_text = None
        return True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m flows.cost_report",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bill", metavar="BILL", help="where the bill is: a path or s3:// address")
    parser.add_argument(
        "--period", metavar="YYYY-MM", help="the billing period (default: the newest)"
    )
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        default="reports",
        help="where reports go: a folder or s3:// prefix (default: reports)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
