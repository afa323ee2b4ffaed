"""What every test can use: a Prefect server, an S3, and a sample bill, all on this machine.

Nothing here leaves the loopback interface, reads the user's AWS configuration or touches their
Prefect home: the environment is set before anything imports Prefect or boto3.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

    from tests.e2e.places import Bucket

_SESSION = "NIGHTSHIFT_TEST_SESSION"  # a folder that all processes of one pytest session share
_IS_FIRST = _SESSION not in os.environ  # xdist's workers inherit it from the first process
if _IS_FIRST:
    # In memory where that can be had: Prefect's database waits for the disk at every step.
    _memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    os.environ[_SESSION] = tempfile.mkdtemp(prefix="nightshift-tests-", dir=_memory)
SESSION = Path(os.environ[_SESSION])

for _name in list(os.environ):
    if _name.startswith(("AWS_", "PREFECT_")) or _name.lower().endswith("_proxy"):
        del os.environ[_name]
os.environ |= {
    "PREFECT_HOME": str(SESSION / f"prefect-{os.getpid()}"),
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "NO_PROXY": "127.0.0.1,localhost",
    "AWS_ACCESS_KEY_ID": "nobody",
    "AWS_SECRET_ACCESS_KEY": "nothing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}


def pytest_unconfigure() -> None:
    """The first process ends last: it takes the server and the folder away."""
    if not _IS_FIRST:
        return
    with contextlib.suppress(FileNotFoundError):
        _stop(int((SESSION / "server.pid").read_text()))
    shutil.rmtree(SESSION, ignore_errors=True)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Each test goes to the process that is free; but CDK takes seconds to start, so that whatever
    needs it runs in one, and files in which one test goes on where another stopped stay together.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist is untyped
        def _split_scope(self, nodeid: str) -> str:
            path = Path(nodeid.partition("::")[0])
            for cloud in ("local_cloud", "asleep", "modes"):
                if cloud in path.parts:
                    return cloud  # one for all of them, and moto knows one in a process
            if "infra" not in path.parts:
                return nodeid
            alone = (
                *("test_commands", "test_local_cloudformation"),
                *("test_local_fargate", "test_local_iam"),
            )
            return str(path) if path.name.startswith(alone) else "cdk"

    config.option.loadscopereorder = False  # the order is below
    return Scheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes longest by itself begins first where several processes share the work."""
    if hasattr(config, "workerinput"):
        slow = ["image", "modes", "infra", "local_cloud", "asleep"]
        items.sort(
            key=lambda item: -max(map(slow.index, set(slow) & {*item.path.parts}), default=-1)
        )


# --- Prefect -------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def prefect_api(pytestconfig: pytest.Config) -> Iterator[str]:
    """The API of one Prefect server for the whole session: whichever process needs it first
    starts it. In this process and in those it starts, Prefect talks to it.
    """
    with _locked(SESSION / "server.lock"):
        address = SESSION / "server.url"
        if not address.exists():
            address.write_text(_start_server(_empty_database(pytestconfig)))
    url = address.read_text()

    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        temporary_settings,
    )

    # Ending the heartbeat takes up to a second, and no run here is long enough to send one.
    settings = {PREFECT_API_URL: url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    with pytest.MonkeyPatch.context() as patch, temporary_settings(settings):
        patch.setenv("PREFECT_API_URL", url)
        yield url


@pytest.fixture
def prefect(prefect_api: str) -> Iterator[SyncPrefectClient]:
    """The session's server, with neither our work pool nor any deployment. One test at a time:
    the work pool's name is the same for all.
    """
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    with _locked(SESSION / "fargate.lock"), get_client(sync_client=True) as client:
        for deployment in client.read_deployments():
            client.delete_deployment(deployment.id)
        with contextlib.suppress(ObjectNotFound):
            client.delete_work_pool("fargate")
        yield client


# What a server does for deployments, automations and its own upkeep: a sixth of its work.
_UNUSED = (
    *("CANCELLATION_CLEANUP", "EVENT_PERSISTER", "FOREMAN", "LATE_RUNS", "PAUSE_EXPIRATIONS"),
    *("REPOSSESSOR", "SCHEDULER", "TRIGGERS"),
)


def _empty_database(config: pytest.Config) -> Path | None:
    """Where pytest keeps an empty database of this Prefect: making one takes a dozen seconds."""
    cache: pytest.Cache | None = getattr(config, "cache", None)  # there may be no such plugin
    return cache and cache.mkdir(f"prefect-{metadata.version('prefect')}") / "prefect.db"


def _start_server(empty_database: Path | None) -> str:
    home = SESSION / "prefect-server"
    home.mkdir()
    if empty_database and empty_database.exists():
        shutil.copy(empty_database, home)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "PREFECT_HOME": str(home),
        # One transaction for many task runs: SQLite makes writers wait for each other.
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "100",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
        "PREFECT_SERVER_DATABASE_TIMEOUT": "60",  # machines that run tests may be busy
        "PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT": "60",
        **{f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false" for name in _UNUSED},
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1"]
    log = SESSION / "server.log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            [*command, "--port", str(port)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    (SESSION / "server.pid").write_text(str(server.pid))
    url = f"http://127.0.0.1:{port}/api"
    until = time.monotonic() + 180
    while not _answers(url):
        if time.monotonic() > until or server.poll() is not None:
            _stop(server.pid)
            raise RuntimeError(f"the Prefect server did not start:\n{log.read_text()[-2000:]}")
        time.sleep(0.1)
    server.returncode = 0  # it outlives this process: nothing here waits for it
    if empty_database and not empty_database.exists():
        part = empty_database.with_suffix(".part")
        with (
            contextlib.closing(sqlite3.connect(home / "prefect.db")) as source,
            contextlib.closing(sqlite3.connect(part)) as copy,
        ):
            source.backup(copy)
        part.replace(empty_database)
    return url


def _answers(url: str) -> bool:
    with contextlib.suppress(OSError):  # urllib's errors included
        urllib.request.urlopen(f"{url}/health", timeout=5).close()
        return True
    return False


def _stop(group: int) -> None:
    for how in (signal.SIGTERM, signal.SIGKILL):
        for _ in range(50):
            try:
                os.killpg(group, how)
                os.waitpid(group, os.WNOHANG)
            except ProcessLookupError:
                return
            except ChildProcessError:
                pass
            time.sleep(0.1)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[IO[bytes]]:
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


# --- S3 ------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """An S3 in this process that it, and those it starts, use in place of AWS's."""
    from moto.server import ThreadedMotoServer

    from flows import storage

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # otherwise a line for each request
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", url)
        storage._client.cache_clear()
        yield url
        storage._client.cache_clear()
    server.stop()


@pytest.fixture(scope="session")
def s3_client(s3_endpoint: str) -> Any:
    import boto3

    return boto3.client("s3", endpoint_url=s3_endpoint)


@pytest.fixture
def bucket(s3_client: Any) -> Bucket:
    """A new and empty bucket."""
    from tests.e2e.places import Bucket

    name = f"test-{uuid.uuid4()}"
    s3_client.create_bucket(Bucket=name)
    return Bucket(s3_client, name)


# --- a bill --------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def sample_bill() -> Path:
    """The smallest sample bill: two months as an AWS Data Export, Parquet. Leave it as it is."""
    from flows.sample_bill import Options, generate

    folder = SESSION / "sample-bill"
    with _locked(SESSION / "sample-bill.lock"):
        if not folder.exists():
            options = Options(rows=9_500, months=2, row_group_rows=4_000)
            generate(options, SESSION / "sample-bill.part")
            (SESSION / "sample-bill.part").rename(folder)
    return folder / "nightshift-sample"
