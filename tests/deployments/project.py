"""A project in a folder: a file with flows, and a prefect.yaml to be bent."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

FLOWS = '''
from __future__ import annotations

from prefect import flow

from flows.data import Destination, Source


@flow
def copy(source: Source, destination: Destination, most: int = 1, note: str = "") -> None:
    """Copies."""


@flow
def nothing() -> None:
    """Does nothing."""


@flow
def undescribed() -> None: ...


@flow
def needs(number: int) -> None: ...
'''

ENTRY: dict[str, Any] = {
    "name": "daily",
    "entrypoint": "jobs.py:copy",
    "description": "Copies every day.",
    "tags": ["a", "b"],
    "schedules": [{"slug": "daily", "cron": "0 6 * * *", "timezone": "Europe/Berlin"}],
    "concurrency_limit": {"limit": 1, "collision_strategy": "ENQUEUE"},
    "parameters": {
        "source": "s3://{{ $NIGHTSHIFT_DATA_BUCKET }}/in/",
        "destination": "s3://out/",
        "most": 3,
    },
    "work_pool": {"name": "fargate", "job_variables": {"cpu": 512, "memory": 1024}},
}
SMALL: dict[str, Any] = {
    "name": "by-hand",
    "entrypoint": "jobs.py:nothing",
    "schedules": [],
    "work_pool": {"name": "fargate", "job_variables": {"cpu": 256, "memory": 512}},
}
VARIABLES = {"NIGHTSHIFT_DATA_BUCKET": "the-bucket"}
PULL = [{"prefect.deployments.steps.set_working_directory": {"directory": "/opt/nightshift"}}]


def entry(change: dict[str, Any] | None = None, of: dict[str, Any] = ENTRY) -> dict[str, Any]:
    """The entry with keys set by path (`work_pool.name`); those that become None are taken out."""
    made = copy.deepcopy(of)
    for path, value in (change or {}).items():
        *outer, last = path.split(".")
        at: Any = made
        for key in outer:
            at = at[int(key)] if isinstance(at, list) else at[key]
        if value is None:
            at.pop(last)
        else:
            at[last] = value
    return made


def write(folder: Path, *entries: dict[str, Any], **top: Any) -> Path:
    """The project's prefect.yaml, in its folder, with its flows."""
    (folder / "jobs.py").write_text(FLOWS)
    file = folder / "prefect.yaml"
    content = {"name": "test", "build": None, "push": None, "pull": PULL, **top}
    file.write_text(yaml.safe_dump({**content, "deployments": list(entries)}, sort_keys=False))
    return file
