"""A user at the command line: every test here runs the whole job."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e import command
from tests.e2e.command import Command
from tests.e2e.places import Folder, Place


@pytest.fixture(autouse=True)
def _server(prefect_api: str) -> None:
    """Runs go to the session's Prefect server."""


@pytest.fixture
def run(s3_endpoint: str) -> Command:
    """The command line as a process."""
    return command.run


@pytest.fixture
def call(s3_endpoint: str) -> Command:
    """The command line in this process: a second cheaper."""
    return command.call


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Where a bill can be put."""
    return Folder(tmp_path / "bill")


@pytest.fixture
def out(tmp_path: Path) -> Folder:
    """Where reports can go."""
    return Folder(tmp_path / "reports")


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest) -> Place:
    """A folder and an S3 bucket in turn: what holds for one holds for the other."""
    if request.param == "s3":
        found: Place = request.getfixturevalue("bucket")
        return found
    return Folder(request.getfixturevalue("tmp_path") / "place")
