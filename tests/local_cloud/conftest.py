"""One local cloud for all of this folder, in real containers; a process runs these tests alone.

The path comes first: what is fired and withdrawn there would run every minute beside the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.cloud import Cloud, local_cloud
from infra.local.engine import find_engine
from infra.local.fargate.task import Task
from infra.local.iam import Record
from tests.local_cloud import project as projects
from tests.local_cloud.runs import contents, start
from tests.local_cloud.telling import teller
from tests.needs import need

TAG = "localhost/nightshift:e2e"


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("local-cloud")


@pytest.fixture(scope="package")
def project(folder: Path) -> Path:
    """This project, with a flow that a stranger has added by the README."""
    made = projects.copied(folder / "project")
    projects.follow_the_readme(made)
    projects.declare(made, projects.BY_HAND)
    projects.declare(made, projects.EVERY_MINUTE)
    return made


@pytest.fixture(scope="package")
def lines() -> list[tuple[str, str]]:
    """What containers have written: (task id, line)."""
    return []


@pytest.fixture(scope="package")
def cloud(
    project: Path, folder: Path, sample_bill: Path, lines: list[tuple[str, str]]
) -> Iterator[Cloud]:
    engine = find_engine(folder / "engine")
    need(engine, "no container engine: neither Docker's answers, nor is there podman")
    say = teller()

    def said(task: Task, line: str) -> None:
        lines.append((task.id, line))
        say(f"{task.id[:8]} | {line}")

    with local_cloud(
        project, folder / "cloud", engine=engine, bill=sample_bill, tag=TAG, say=say, said=said
    ) as running:
        yield running


@pytest.fixture(scope="package")
def undisturbed(cloud: Cloud) -> dict[str, bytes]:
    """What a run publishes that nothing has happened to."""
    prefix = "by-hand/undisturbed/"
    run = start(cloud, "cost-report/by-hand", {"destination": f"s3://{cloud.bucket}/{prefix}"})
    assert run.wait() == "COMPLETED"
    published = contents(cloud, prefix)
    assert any(name.endswith("report.html") for name in published)
    return published


@pytest.fixture
def record(cloud: Cloud) -> Record:
    """Every call to AWS, and what became of it."""
    assert cloud.aws.record
    return cloud.aws.record
