"""Write a bill to disk: data first, then the manifest, then the ground truth."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from flows.sample_bill import layout, tables, write
from flows.sample_bill.anomalies import Anomaly
from flows.sample_bill.options import Options, Period, periods

GROUND_TRUTH = "ground_truth.json"
# How far behind the older of two executions is (create-new layout).
DAYS_BEHIND = 3

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Written:
    """One refresh: its data files, below the output folder, and how many rows they hold."""

    period: str
    execution_id: str
    files: tuple[PurePosixPath, ...]
    rows: int


@dataclass(frozen=True)
class Result:
    """`written`: the newest refresh of every period, oldest period first."""

    out: Path
    written: tuple[Written, ...]
    anomalies: tuple[Anomaly, ...]

    @property
    def rows(self) -> int:
        return sum(one.rows for one in self.written)

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(self.out / file for one in self.written for file in one.files)


def _files(
    world: tables.World, run: layout.Execution, out: Path, progress: Progress
) -> Iterator[tuple[PurePosixPath, int]]:
    """Writes the data files of one refresh; yields each with its rows when it is closed."""
    options = world.options
    total = options.rows * run.period.visible // run.period.days
    done, number, room = 0, 0, 0
    sink: write.Sink | None = None
    for table in tables.month(world, run.period):
        while len(table):
            if sink is None:
                number, room = number + 1, options.rows_per_file
                path = layout.data_file(options, run, number)
                sink = write.Sink(out / path, options, table.schema)
            part = table.slice(0, room)
            sink.write(part)
            table, room = table.slice(len(part)), room - len(part)
            done += len(part)
            progress(run.period.name, done, max(total, done))
            if room == 0:
                sink.close()
                sink = None
                yield path, options.rows_per_file
    if sink is not None:
        sink.close()
        yield path, options.rows_per_file - room


def _refresh(world: tables.World, run: layout.Execution, out: Path, progress: Progress) -> Written:
    options = world.options
    made = list(_files(world, run, out, progress))
    files = [file for file, _ in made]
    if options.layout != "plain":
        text = layout.manifest(options, run, files)
        for path in layout.manifest_files(options, run):
            write.atomically(out / path, text)
    return Written(run.period.name, run.id, tuple(files), sum(rows for _, rows in made))


def _refreshes(options: Options, period: Period, newest: bool) -> Iterator[layout.Execution]:
    """The refreshes of a period, the newest last; an older one only of the last month."""
    older = max(1, period.visible - DAYS_BEHIND)
    if options.layout == "create-new" and newest and older < period.visible:
        yield layout.execution(options, replace(period, visible=older), 1)
    yield layout.execution(options, period)


def ground_truth(options: Options, anomalies: tuple[Anomaly, ...]) -> str:
    """JSON; amounts are texts with cents. `service` null means all services of the account."""
    body = {
        "seed": options.seed,
        "first_day": periods(options)[0].first.isoformat(),
        "anomalies": [
            {
                "kind": one.kind,
                "service": one.service,
                "account": one.account,
                "first_day": one.first_day.isoformat(),
                "last_day": one.last_day.isoformat(),
                "extra_effective_cost": f"{one.extra_effective_cost:.2f}",
                "largest_extra_a_day": f"{max(one.extra):.2f}",
                "extra_by_day": [f"{value:.2f}" for value in one.extra],
                "usual_a_day": f"{one.usual:.2f}",
            }
            for one in anomalies
        ],
    }
    return json.dumps(body, indent=2) + "\n"


def _silent(period: str, done: int, total: int) -> None:
    """No progress."""


def generate(options: Options, out: Path, progress: Progress = _silent) -> Result:
    """Writes the bill below `out` in bounded memory; equal options write equal bytes.

    `progress` is called with (period, rows so far, rows in all). Raises BadOptions when `rows`
    is too small for the company's usage.
    """
    world = tables.build(options)
    every = periods(options)
    written: list[Written] = []
    for period in every:
        for run in _refreshes(options, period, period is every[-1]):
            last = _refresh(world, run, out, progress)
        written.append(last)
    write.atomically(out / GROUND_TRUTH, ground_truth(options, world.anomalies))
    return Result(out, tuple(written), world.anomalies)
