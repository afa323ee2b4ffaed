"""How long it takes from a wake-up to a running flow, and what that costs; in real containers.

    python -m tests.performance.bench_wake [--cpus 0.5 1] [--wakes 3] [--out wake.json]

A local cloud with a history, whose orchestrator is woken for a run that is asked for, `--wakes`
times with each share of a CPU; the job itself has a whole one. Medians. Times are from the start of
the orchestrator's container: what ECS takes to find a machine and to pull the image comes before.
`restore_seconds` … `worker_seconds` are steps; `first_run_running_seconds` is until the flow runs,
`awake_seconds` what the orchestrator was awake beyond the run itself, `peak_mb` what its container
used at the most.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.local.cloud import Cloud, local_cloud
from infra.local.engine import needed_engine
from infra.local.fargate.runtime import Container
from infra.local.fargate.task import Task
from tests.asleep import days
from tests.local_cloud import project as projects

# What the orchestrator says when a step begins, and when it is over.
STEPS = {
    "restore_seconds": ("restore the history", "start Litestream"),
    "server_seconds": ("start the Prefect server", "the Prefect server answers"),
    "reconcile_seconds": ("reconcile with prefect.yaml", "start the worker"),
    "worker_seconds": ("start the worker", "Worker 'nightshift' started"),
}


def main() -> None:
    options = _options()
    folder = Path(tempfile.mkdtemp(prefix="bench-wake-"))
    try:
        found = measure(folder, options.cpus, options.wakes)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    options.out.write_text(json.dumps(found, indent=2) + "\n")
    for cpus, figures in found.items():
        print(cpus)
        for name, value in figures.items():
            print(f"  {name:28} {value}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.performance.bench_wake",
        description="From a wake-up to a running flow, step by step.",
    )
    parser.add_argument("--cpus", type=float, nargs="+", default=[0.5, 1.0], metavar="N")
    parser.add_argument("--wakes", type=int, default=3, help="with each (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("wake.json"))
    return parser.parse_args()


def measure(folder: Path, cpus: list[float], wakes: int) -> dict[str, dict[str, float]]:
    """The figures by 'N CPU'."""
    project = projects.copied(folder / "project")
    (project / "flows" / "patient.py").write_text(days.PATIENT)
    projects.declare(project, days.BY_HAND)
    lines: days.Lines = []
    found = {}
    with local_cloud(
        project,
        folder / "cloud",
        engine=needed_engine(folder / "engine"),
        tag="localhost/nightshift:bench",
        orchestrator=True,
        say=_say,
        said=lambda task, line: lines.append((task.id, datetime.now(UTC), line)),
    ) as cloud:
        days.sleeps(cloud)
        for share in cpus:
            with_cpu(cloud, share)
            rounds = [wake(cloud, lines) for _ in range(wakes)]
            found[f"{share:g} CPU"] = {
                name: round(statistics.median(one[name] for one in rounds), 1) for name in rounds[0]
            }
    return found


def with_cpu(cloud: Cloud, share: float) -> None:
    """The orchestrator's container with another share than the template's."""
    runtime: Any = cloud.fargate.runtime
    start = type(runtime).start

    def started(container: Container) -> Any:
        of_orchestrator = "deployments.orchestrator" in container.command
        cpu = int(share * 1024) if of_orchestrator else container.cpu
        return start(runtime, replace(container, cpu=cpu))

    runtime.start = started


def wake(cloud: Cloud, lines: days.Lines) -> dict[str, float]:
    """One wake-up, one run, and asleep again."""
    id_ = days.ask(cloud, seconds=10)
    answer = days.begun(cloud, id_)
    life = cloud.orchestrator
    assert life is not None
    peak = 0
    while cloud.orchestrator is life:
        if life.running is not None:
            peak = max(peak, life.running.usage().memory_peak)
        life.ended.wait(0.5)
    days.sleeps(cloud)
    began = life.times["startedAt"]
    (run,) = [r for r in days.times(cloud) if days.same(r["id"], answer["run"])]
    start, end = (days.moment(run[name]) for name in ("start_time", "end_time"))
    figures = {name: _between(lines, life, *step) for name, step in STEPS.items()}
    whole = (life.times["executionStoppedAt"] - began).total_seconds()
    return {
        **figures,
        "first_run_running_seconds": (start - began).total_seconds(),
        "awake_seconds": whole - (end - start).total_seconds(),
        "peak_mb": peak / 1e6,
    }


def _between(lines: days.Lines, life: Task, first: str, last: str) -> float:
    def when(what: str) -> datetime:
        mine = (at for id_, at, line in lines if id_ == life.id and re.search(what, line))
        return next(mine)

    return (when(last) - when(first)).total_seconds()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
