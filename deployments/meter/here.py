"""A module on a developer's machine, and what its flow run would have cost on Fargate.

In this process, as `cProfile -m` does it: what the module prints, asks and exits with is its own.
"""

from __future__ import annotations

import logging
import math
import os
import platform
import resource
import runpy
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from deployments.meter.requests import REQUESTS, counted
from deployments.meter.usage import Load, Measured, Terms, Usage
from flows.quiet import quiet

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

    from deployments.meter.words import Metered

LOGGER = "prefect.flow_runs"
EVERY = 1.0  # seconds

# As an installation is set up unless someone decides otherwise (infra/settings.toml).
TERMS = Terms("arm64", spot=True, public_ip=True)


def run_module(module: str, arguments: list[str]) -> None:
    """As `python -m MODULE ARGUMENTS`; what it raises, SystemExit too, goes on from here."""
    quiet()
    counts = tempfile.mkdtemp(prefix="nightshift-requests-")
    os.environ[REQUESTS] = counts
    watch = Watch(module, counts)
    logging.getLogger(LOGGER).addFilter(watch)
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except KeyboardInterrupt:
        raise  # who stops it does not want to wait
    except BaseException:
        watch.tell()
        raise
    else:
        watch.tell()
    finally:
        shutil.rmtree(counts, ignore_errors=True)


class Watch(logging.Filter):
    """Hears of a flow run by what it writes: a filter is left alone where Prefect sets logging up.

    Of one run, the first: others in its process are its subflows as a rule.
    """

    def __init__(self, module: str, counts: str) -> None:
        super().__init__()
        self._module = module
        self._counts = counts
        self._run: dict[str, str] = {}
        self._load = Load()
        self._over = threading.Event()
        self._cpu = self._time = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        if not self._run and (id_ := getattr(record, "flow_run_id", None)):
            names = ("flow_run_name", "flow_name")
            self._run = {name: str(getattr(record, name, "")) for name in names}
            self._run["flow_run_id"] = str(id_)
            self._cpu, self._time = time.process_time(), time.monotonic()
            threading.Thread(target=self._look_on, daemon=True).start()
        return True

    def _look_on(self) -> None:
        while not self._over.wait(EVERY):
            self._look()

    def _look(self) -> None:
        cpu, now = time.process_time(), time.monotonic()
        self._load.add(cpu - self._cpu, now - self._time)
        self._cpu, self._time = cpu, now

    def tell(self) -> None:
        """Nothing where no flow ran. Never raises."""
        if not self._run:
            return
        self._over.set()
        self._look()
        puts, gets = counted(self._counts)
        try:
            _tell(self._module, self._run, Measured(_peak(), self._load(), puts=puts, gets=gets))
        except Exception as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())
            print(f"warning: what this would cost could not be told: {said}", file=sys.stderr)


def _peak() -> float:
    """MiB of this process. Linux's getrusage has the peak of who started it in it, too: the kernel
    keeps that through exec, but not the status file's. macOS counts bytes, Linux kilobytes.
    """
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


def _tell(module: str, run: Mapping[str, str], measured: Measured) -> None:
    """By Prefect's own means: the same server, and a line that looks like the run's others."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import ArtifactCreate

    from deployments.meter import words

    id_ = UUID(run["flow_run_id"])
    with get_client(sync_client=True) as client:
        flow_run = client.read_flow_run(id_)
        of = metered(flow_run, measured, _entry(module, run["flow_name"]))
        logging.getLogger(LOGGER).info(words.line(of), extra=dict(run))
        client.create_artifact(
            ArtifactCreate(key=words.KEY, type="markdown", data=words.markdown(of), flow_run_id=id_)
        )


def metered(flow_run: FlowRun, measured: Measured, entry: Mapping[str, Any] | None) -> Metered:
    """`entry`: of prefect.yaml, if the flow has one."""
    from deployments.hardware import nearest
    from deployments.meter.cost import cost
    from deployments.meter.rates import OTHERWISE, rates
    from deployments.meter.sizes import HEADROOM, smaller
    from deployments.meter.words import Metered

    variables = ((entry or {}).get("work_pool") or {}).get("job_variables") or {}
    declared = {"cpu", "memory"} <= variables.keys()
    cpu, memory = (
        (int(variables["cpu"]), int(variables["memory"]))
        if declared
        else nearest(0, math.ceil(measured.peak * HEADROOM))
    )
    took = (flow_run.total_run_time or flow_run.estimated_run_time).total_seconds()
    usage = Usage(cpu, memory, took, None, measured)
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or OTHERWISE
    prices, whose = rates(region)
    return Metered(
        usage,
        TERMS,
        cost(usage, TERMS, prices),
        smaller(usage, TERMS, prices),
        whose,
        runs=_runs_a_year(entry) or None,
        state=flow_run.state.name if flow_run.state and flow_run.state.name else "unknown",
        here=platform.node() or "this machine",
        declared=declared,
    )


def _runs_a_year(entry: Mapping[str, Any] | None) -> int:
    from deployments.check_schedules import schedules
    from deployments.meter.often import runs_a_year

    return runs_a_year(schedules({}, entry)[0]) if entry else 0


def _entry(module: str, flow: str) -> Mapping[str, Any] | None:
    """The first deployment of prefect.yaml whose flow is of this module and is called so."""
    from deployments.prefect_yaml import PREFECT_YAML, read

    if not PREFECT_YAML.exists():
        return None
    for entry in read()["deployments"]:
        path, _, function = str(entry.get("entrypoint", "")).rpartition(":")
        of = ".".join(Path(path).with_suffix("").parts)
        if f"{of}.".startswith(f"{module}.") and function.replace("_", "-") == flow:
            return dict(entry)
    return None
