"""What Prefect's API knows of a run."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterTags,
    LogFilter,
    LogFilterFlowRunId,
)

T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    id: UUID

    @classmethod
    def tagged(cls, tag: str) -> Run:
        """The only run with this tag."""
        with get_client(sync_client=True) as client:
            tags = FlowRunFilter(tags=FlowRunFilterTags(all_=[tag]))
            (run,) = client.read_flow_runs(flow_run_filter=tags)
        return cls(run.id)

    @property
    def flow_run(self) -> Any:
        with get_client(sync_client=True) as client:
            return client.read_flow_run(self.id)

    def tasks(self, *expected: str) -> dict[str, list[Any]]:
        """The task runs by their task's name, once those expected are there (a name once for
        each run): Prefect hears of them through events, a little later.
        """

        def found() -> dict[str, list[Any]]:
            with get_client(sync_client=True) as client:
                mine = FlowRunFilter(id=FlowRunFilterId(any_=[self.id]))
                runs = client.read_task_runs(flow_run_filter=mine, limit=200)
            by_name = defaultdict(list)
            for run in sorted(runs, key=lambda run: str(run.start_time)):
                if run.state and run.state.is_final():
                    by_name[run.name.rpartition("-")[0]].append(run)
            return dict(by_name)

        def complete(tasks: dict[str, list[Any]]) -> bool:
            return all(len(tasks.get(n, ())) >= many for n, many in Counter(expected).items())

        return _once(found, complete)

    def artifacts(self) -> dict[str, Any]:
        """By their key; Prefect's own, of a result that was kept, have none."""
        with get_client(sync_client=True) as client:
            mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[self.id]))
            return {a.key: a for a in client.read_artifacts(artifact_filter=mine) if a.key}

    def logs(self, expected: str) -> str:
        """The log, once the expected text is there."""

        def found() -> str:
            with get_client(sync_client=True) as client:
                mine = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[self.id]))
                return "\n".join(log.message for log in client.read_logs(log_filter=mine))

        return _once(found, lambda text: expected in text)


def _once(read: Callable[[], T], is_it: Callable[[T], bool], seconds: float = 30) -> T:
    until = time.monotonic() + seconds
    while not is_it(found := read()) and time.monotonic() < until:
        time.sleep(0.2)
    return found
