"""The orchestrator's Prefect server forgets what is too old as soon as it starts."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from deployments.orchestrator import environments
from infra.local.prefect import Api
from infra.local.process import port
from tests.local_cloud.runs import until
from tests.orchestrator.test_environments import WHERE

AUTH = "nightshift:prunes"


@contextmanager
def server(database: Path) -> Iterator[Api]:
    """One with the orchestrator's own settings, at an address of this machine."""
    api = Api(f"http://127.0.0.1:{port()}/api", AUTH)
    command = [sys.executable, "-m", "uvicorn", "--factory", environments.SERVER]
    command += ["--host", "127.0.0.1", "--port", api.ui.rpartition(":")[2]]
    where = replace(WHERE, history_days=30)
    environment = environments.of_server(where, database, known=False)
    process = subprocess.Popen([*command, "--log-level", "warning"], env=environment)
    try:
        until(api.answers, 120, lambda: "the server does not answer")
        yield api
    finally:
        process.terminate()
        process.wait(30)


def test_old_runs_are_pruned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", AUTH)
    database = tmp_path / "prefect.db"
    with server(database) as api:
        flow = api("/flows/", {"name": "report"})["id"]
        for name in ("old", "new"):
            state = {"type": "COMPLETED"}
            api("/flow_runs/", {"flow_id": flow, "name": name, "state": state})
        api("/flow_runs/", {"flow_id": flow, "name": "coming", "state": {"type": "SCHEDULED"}})
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "UPDATE flow_run SET end_time = datetime('now', '-40 days') WHERE name = 'old'"
        )
    with server(database) as api:

        def names() -> set[str]:
            return {run["name"] for run in api("/flow_runs/filter", {})}

        until(lambda: "old" not in names(), 60, lambda: str(names()))
        time.sleep(1)
        assert names() == {"new", "coming"}
