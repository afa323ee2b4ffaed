"""Time and memory of the roll-up against its peers: whole processes, one thread, the same files.

    python -m tests.performance.bench [--rows 1000000 10000000] [--runs 3] [--out bench.json]

Each program runs once to warm the cache and then `--runs` times, in turn with the others, so that a
machine whose speed drifts does the same to all. Figures are the operating system's own accounting
of the finished process (CPU is user and system time, imports included), medians of the runs; ratios
are medians of the ratios within a round. `nightshift` reads, checks and rolls up; `nightshift-
unchecked` only rolls up, which is what the peers do (and its commitments, which they do not). The
job as a whole, Prefect included, is `flow-run`; `flow-run-unchanged` is what a run costs besides
processing. Both talk to a Prefect server of their own, which is not counted: on AWS it runs apart.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.prefect_server import prefect_server

PEERS = "tests.performance.peers"
REFERENCE = "duckdb-two-scans"
ONCE = "pandas-needed-columns"  # of large bills: a round of it takes longer than all the others
LARGE = 2_000_000  # rows

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "ARROW_NUM_THREADS": "1",
    "POLARS_MAX_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "",
}


@dataclass(frozen=True)
class Usage:
    cpu: float  # seconds
    wall: float
    peak: float  # MB


def programs(bill: Path, reports: Path) -> dict[str, list[str]]:
    """What is run, by name."""
    flow = ["-m", "flows.cost_report", str(bill), "--out"]
    peers = {
        "floor": [f"{PEERS}.floor"],
        "nightshift": [f"{PEERS}.nightshift"],
        "nightshift-unchecked": [f"{PEERS}.nightshift", "--unchecked"],
        REFERENCE: [f"{PEERS}.duckdb_two_scans"],
        "duckdb-one-tag-key": [f"{PEERS}.duckdb_one_key"],
        "polars-streaming": [f"{PEERS}.polars_streaming"],
        ONCE: [f"{PEERS}.pandas_needed_columns"],
    }
    commands = {name: ["-m", module, str(bill), *flags] for name, (module, *flags) in peers.items()}
    commands["flow-run"] = [*flow, str(reports / "fresh")]
    commands["flow-run-unchanged"] = [*flow, str(reports / "kept")]
    return commands


def measure(command: list[str]) -> Usage:
    """Run one Python process and read what the operating system says it used."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, **ONE_THREAD},
    )
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{said.decode()}")
    return Usage(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024)


def bench(rows: int, runs: int, folder: Path) -> list[dict[str, object]]:
    bill = folder / f"bill-{rows}"
    if not bill.exists():
        print(f"making a bill of {rows:,} rows …", file=sys.stderr)
        make = ["-m", "flows.sample_bill", str(bill), "--rows", str(rows), "--months", "1"]
        subprocess.run([sys.executable, *make, "--quiet"], check=True)
    reports = folder / "reports"
    commands = programs(bill, reports)
    rounds: list[dict[str, Usage]] = []
    for number in range(runs + 1):
        taken: dict[str, Usage] = {}
        for name, command in commands.items():
            if name == ONCE and rows > LARGE and number != 1:
                continue
            print(f"{rows:,} rows, round {number} of {runs}: {name}", file=sys.stderr)
            if name == "flow-run":
                shutil.rmtree(reports / "fresh", ignore_errors=True)
            taken[name] = measure(command)
        rounds.append(taken)
    shutil.rmtree(reports)
    # The first round warms caches, and publishes the report that the unchanged run finds.
    return [result(name, rows, rounds[1:]) for name in commands]


def result(name: str, rows: int, rounds: list[dict[str, Usage]]) -> dict[str, object]:
    """One line of bench.json: medians over the rounds that the program ran in."""
    rounds = [taken for taken in rounds if name in taken]

    def median(figure: Callable[[dict[str, Usage]], float], digits: int) -> float:
        return round(statistics.median(map(figure, rounds)), digits)

    return {
        "name": name,
        "rows": rows,
        "cpu_seconds": median(lambda taken: taken[name].cpu, 2),
        "wall_seconds": median(lambda taken: taken[name].wall, 2),
        "peak_mb": median(lambda taken: taken[name].peak, 0),
        "ratio_to_duckdb": median(lambda taken: taken[name].cpu / taken[REFERENCE].cpu, 2),
    }


def table(results: list[dict[str, object]]) -> Iterator[str]:
    yield f"{'':24}{'rows':>12}{'CPU s':>9}{'wall s':>9}{'peak MB':>9}{'CPU / DuckDB':>14}"
    for r in results:
        yield (
            f"{r['name']:24}{r['rows']:>12,}{r['cpu_seconds']:>9.2f}{r['wall_seconds']:>9.2f}"
            f"{r['peak_mb']:>9.0f}{r['ratio_to_duckdb']:>14.2f}"
        )


@contextmanager
def work_folder(given: Path | None) -> Iterator[Path]:
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--runs", type=int, default=3, help="counted runs of each (default 3)")
    parser.add_argument("--out", type=Path, default=Path("bench.json"))
    parser.add_argument("--keep", type=Path, help="folder to make the bills in, and to leave them")
    options = parser.parse_args()
    with work_folder(options.keep) as folder, prefect_server(folder / "prefect") as api:
        os.environ["PREFECT_API_URL"] = api
        results = [r for rows in options.rows for r in bench(rows, options.runs, folder)]
    print("\n".join(table(results)))
    options.out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
