"""Flow runs of the local cloud, over Prefect's API; and what is left of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from infra.local.cloud import Cloud
from infra.local.fargate.task import Task

T = TypeVar("T")

FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


def until(look: Callable[[], T], seconds: float, what: Callable[[], str]) -> T:
    """What `look` gives, once it gives something."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, what()
        time.sleep(0.2)
    return found


@dataclass(frozen=True)
class Run:
    """One flow run."""

    cloud: Cloud
    id: str

    @property
    def now(self) -> dict[str, Any]:
        found: dict[str, Any] = self.cloud.api(f"/flow_runs/{self.id}")
        return found

    @property
    def state(self) -> str:
        return str(self.now["state"]["type"])

    @property
    def message(self) -> str:
        return str(self.now["state"]["message"] or "")

    def wait(self, *types: str, seconds: float = 120) -> str:
        """Until its state is of one of these types, by default of a final one; which."""
        wanted = types or FINAL

        def look() -> str:
            state = self.state
            assert state in wanted or state not in FINAL, f"{state}: {self.message}\n{self.log()}"
            return state if state in wanted else ""

        return until(look, seconds, lambda: f"{self.now['state']}\n{self.log()}")

    @property
    def tasks(self) -> list[Task]:
        """Its ECS tasks, the first first."""
        return [
            task
            for task in self.cloud.fargate.tasks()
            if dict(task.planned.tags).get("prefect.io/flow-run-id") == self.id
        ]

    def task(self, number: int = 0, seconds: float = 60) -> Task:
        """Its ECS task, once there is one."""

        def look() -> list[Task]:
            return self.tasks[number : number + 1]

        (found,) = until(look, seconds, lambda: f"no ECS task: {self.now['state']}")
        return found

    def running(self, number: int = 0) -> Task:
        """Its ECS task, once its container runs."""
        task = self.task(number)
        until(lambda: task.running or task.ended.is_set(), 60, lambda: task.last_status)
        return task

    def states(self) -> list[str]:
        """The names of all states it has had."""
        history = self.cloud.api(f"/flow_run_states/?flow_run_id={self.id}")
        return [state["name"] for state in sorted(history, key=lambda state: state["timestamp"])]

    def log(self) -> str:
        """What Prefect has of its log."""
        mine = {"logs": {"flow_run_id": {"any_": [self.id]}}, "sort": "TIMESTAMP_ASC"}
        return "\n".join(entry["message"] for entry in self.cloud.api("/logs/filter", mine))

    def artifacts(self) -> dict[str, dict[str, Any]]:
        mine = {"artifacts": {"flow_run_id": {"any_": [self.id]}}}
        return {a["key"]: a for a in self.cloud.api("/artifacts/filter", mine) if a["key"]}


def deployment(cloud: Cloud, name: str) -> dict[str, Any]:
    flow, _, own = name.partition("/")
    found: dict[str, Any] = cloud.api(f"/deployments/name/{flow}/{own}")
    return found


def start(
    cloud: Cloud,
    name: str,
    parameters: Mapping[str, Any] | None = None,
    **job_variables: Any,
) -> Run:
    """As `prefect deployment run` does."""
    known = deployment(cloud, name)
    made = cloud.api(
        f"/deployments/{known['id']}/create_flow_run",
        {
            "parameters": {**known["parameters"], **(parameters or {})},
            "job_variables": job_variables,
            "state": {"type": "SCHEDULED", "name": "Scheduled"},
        },
    )
    return Run(cloud, made["id"])


# --- the three ways to look at an end: its state (`Run.wait`), and these --------------------------


def survivors(task: Task) -> list[int]:
    """Processes of this machine that carry the task's own metadata address."""
    mark = f"/v4/{task.id}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found


def objects(cloud: Cloud, prefix: str) -> dict[str, tuple[str, bytes]]:
    """What is below a prefix of the data bucket: name: (when it was written, content)."""
    s3 = cloud.aws.client("s3")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=cloud.bucket, Prefix=prefix)
    return {
        each["Key"].removeprefix(prefix): (
            each["LastModified"].isoformat(),
            s3.get_object(Bucket=cloud.bucket, Key=each["Key"])["Body"].read(),
        )
        for page in pages
        for each in page.get("Contents", [])
    }


def contents(cloud: Cloud, prefix: str) -> dict[str, bytes]:
    return {name: content for name, (_, content) in objects(cloud, prefix).items()}


def late_writes(cloud: Cloud, prefix: str, seconds: float = 2) -> set[str]:
    """Names of what is written below a prefix from now on, for as long as it is looked at."""
    before = objects(cloud, prefix)
    time.sleep(seconds)
    after = objects(cloud, prefix)
    return {name for name in after if after[name] != before.get(name)}
