"""The command line: python -m flows.sample_bill OUT."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from flows.sample_bill.generate import Progress, generate
from flows.sample_bill.options import BadOptions, Focus, Format, Granularity, Layout, Options

EPILOG = """\
layouts:
  overwrite   OUT/<export>/data/BILLING_PERIOD=2026-11/<export>-00001.snappy.parquet and
              OUT/<export>/metadata/BILLING_PERIOD=2026-11/<export>-Manifest.json
  create-new  the same with <timestamp>-<execution-id>/ below the partition; the last month has
              two executions, an older one three days behind and the newest
  plain       OUT/<export>-2026-11.snappy.parquet, no manifest

FOCUS 1.0 spells the partition billing_period=: readers must not care.
OUT/ground_truth.json says which anomalies are in the bill, where, and what they cost.
Equal options write equal bytes. More rows split the same money finer.
"""


def parser() -> argparse.ArgumentParser:
    default = Options()
    made = argparse.ArgumentParser(
        prog="python -m flows.sample_bill",
        description="Write a sample AWS bill: FOCUS files as AWS Data Exports delivers them.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )

    def option(name: str, kind: type, value: object, text: str) -> None:
        shown = "all of it" if value is None else value
        made.add_argument(name, type=kind, default=value, help=f"{text} (default {shown})")

    def choice(name: str, values: object, value: str, text: str) -> None:
        made.add_argument(
            name, choices=get_args(values), default=value, help=f"{text} (default {value})"
        )

    made.add_argument("out", type=Path, metavar="OUT", help="folder to write below")
    option("--rows", int, default.rows, "rows per month, fees and taxes included")
    option("--months", int, default.months, "number of billing periods")
    option("--last-period", str, default.last_period, "the newest billing period")
    option("--last-day", int, None, "end the newest period after this day, as in mid-month")
    option("--seed", int, default.seed, "another seed is another company's bill")
    choice("--focus", Focus, default.focus, "FOCUS version")
    choice("--format", Format, default.format, "file format")
    choice("--layout", Layout, default.layout, "how files are laid out, see below")
    choice("--granularity", Granularity, default.granularity, "charge periods of usage")
    option("--rows-per-file", int, default.rows_per_file, "rows after which a new file begins")
    option("--row-group-rows", int, default.row_group_rows, "rows per Parquet row group, at most")
    option("--anomalies", int, default.anomalies, "per month, none in the first")
    option("--export", str, default.export, "the export's name")
    made.add_argument("--quiet", action="store_true", help="print nothing")
    return made


def meter() -> Progress:
    """Progress on stderr, at most twice a second and only when it takes long enough to matter."""
    began = said = time.monotonic()

    def show(period: str, done: int, total: int) -> None:
        nonlocal said
        now = time.monotonic()
        if now - said > 0.5:
            said = now
            print(
                f"{period}  {done:>11,} of {total:,} rows  {now - began:,.0f} s",
                file=sys.stderr,
                flush=True,
            )

    return show


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0, or 2 for options that make no bill."""
    cli = parser()
    given = vars(cli.parse_args(arguments))
    out: Path = given.pop("out")
    quiet: bool = given.pop("quiet")
    try:
        options = Options(**given)
        result = generate(options, out) if quiet else generate(options, out, meter())
    except BadOptions as problem:
        cli.error(str(problem))
    if not quiet:
        size = sum(file.stat().st_size for file in result.files) / 1e6
        print(
            f"{result.rows:,} rows in {len(result.files)} files ({size:,.1f} MB) below {out}; "
            f"{len(result.anomalies)} anomalies in ground_truth.json"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
