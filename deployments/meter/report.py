"""Looks at what the run uses while it runs, and tells Prefect of it at its end."""

from __future__ import annotations

import resource
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from deployments.meter import words
from deployments.meter.ask import Asking, of_prefect
from deployments.meter.requests import counted
from deployments.meter.task import metered
from deployments.meter.usage import EVENT, Measured
from deployments.meter.watch import Watch

METADATA = "ECS_CONTAINER_METADATA_URI_V4"
LOGGER = "prefect.flow_runs"  # by which Prefect keeps what a run says itself


class Report:
    """`counts`: the folder where requests to S3 are counted, or ''."""

    def __init__(self, environment: Mapping[str, str], began: datetime, counts: str) -> None:
        self._environment = environment
        self._counts = counts
        self._address = environment.get(METADATA, "")
        if not self._address:
            raise ValueError(f"{METADATA} is not set: this is not an ECS task")
        self._watch = Watch(f"{self._address}/task/stats", began)

    def tell(self, written: int, lines: int) -> None:
        """Once the run has ended. `written`: bytes of so many lines. Raises OSError, ValueError,
        KeyError or Problem.
        """
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        now = datetime.now(UTC)
        self._watch.end(used.ru_utime + used.ru_stime, now)
        puts, gets = counted(self._counts)
        measured = Measured(
            # The largest process was so large, even if it was for less than a second.
            peak=max(self._watch.peak, used.ru_maxrss * 1024) / 2**20,
            load=self._watch.load(),
            log_bytes=written + EVENT * lines,
            puts=puts,
            gets=gets,
        )
        asking = Asking()
        task = asking("GET", f"{self._address}/task")
        api = self._environment.get("PREFECT_API_URL", "")
        id_ = self._environment.get("PREFECT__FLOW_RUN_ID", "")
        headers = of_prefect(self._environment)
        silent: Exception | None = None
        flow_run: Mapping[str, Any] = {}
        try:
            flow_run = asking("GET", f"{api}/flow_runs/{id_}", headers=headers)
        except (OSError, ValueError) as error:
            silent = error
        of = metered(self._environment, task, flow_run, measured, now)
        said = words.line(of)
        print(said, flush=True)  # the ECS task's own log has it, whatever becomes of Prefect's
        if silent:
            raise silent
        log = {"name": LOGGER, "level": 20, "message": said, "timestamp": now.isoformat()}
        asking("POST", f"{api}/logs/", [{**log, "flow_run_id": id_}], headers)
        asking("POST", f"{api}/artifacts/", artifact(of, id_), headers)


def artifact(of: words.Metered, flow_run: str) -> dict[str, str]:
    return {
        "key": words.KEY,
        "type": "markdown",
        "data": words.markdown(of),
        "flow_run_id": flow_run,
    }
