"""A project of one's own, and a Prefect server on which nobody else has the work pool."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


@pytest.fixture
def prefect(prefect_api: str) -> Iterator[SyncPrefectClient]:
    """The session's server, with neither our work pool nor any deployment. One test at a time:
    the work pool's name is the same for all.
    """
    from prefect.exceptions import ObjectNotFound

    with (Path(os.environ["NIGHTSHIFT_TEST_SESSION"]) / "fargate.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with get_client(sync_client=True) as client:
            for deployment in client.read_deployments():
                client.delete_deployment(deployment.id)
            with contextlib.suppress(ObjectNotFound):
                client.delete_work_pool("fargate")
            yield client
