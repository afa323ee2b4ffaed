"""One local cloud for all of this folder, whose orchestrator is the template's own ECS service: in
real containers it sleeps, wakes, and is killed. A process runs these tests alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from infra.local.cloud import Cloud, local_cloud
from infra.local.engine import find_engine
from infra.local.fargate.task import Task
from tests.asleep import days
from tests.local_cloud import project as projects
from tests.local_cloud.telling import teller
from tests.needs import need

TAG = "localhost/nightshift:asleep"
LEAD = 15  # seconds


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("asleep")


@pytest.fixture(scope="package")
def project(folder: Path) -> Path:
    made = projects.copied(folder / "project")
    (made / "flows" / "patient.py").write_text(days.PATIENT)
    projects.declare(made, days.BY_HAND)
    projects.declare(made, days.PULSE)
    projects.commit(made)  # what the source repository begins with
    return made


@pytest.fixture(scope="package")
def lines() -> days.Lines:
    """What containers have written: (task id, when, line)."""
    return []


@pytest.fixture(scope="package")
def cloud(project: Path, folder: Path, lines: days.Lines) -> Iterator[Cloud]:
    engine = find_engine(folder / "engine")
    need(engine, "no container engine: neither Docker's answers, nor is there podman")
    say = teller()

    def said(task: Task, line: str) -> None:
        lines.append((task.id, datetime.now(UTC), line))
        say(f"{task.id[:8]} | {line}")

    context = {"wake_lead_seconds": str(LEAD)}
    with local_cloud(
        project,
        folder / "cloud",
        engine=engine,
        context=context,
        tag=TAG,
        orchestrator=True,
        say=say,
        said=said,
    ) as running:
        yield running


@pytest.fixture
def asleep(cloud: Cloud) -> Cloud:
    """Once it sleeps."""
    days.sleeps(cloud)
    return cloud
