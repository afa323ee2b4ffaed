"""Prefect as the orchestrator runs it, here as programs of this machine: server and worker."""

from __future__ import annotations

import base64
import json
import os
import shutil
import sqlite3
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from flows.problem import Problem
from infra.local.process import Program, port, start

_PATIENCE = 180  # seconds: a fresh database takes twenty on a busy machine
# A task's own address is nothing that a proxy could reach, nor that people except from theirs.
_DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_QUIET = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}


@dataclass(frozen=True)
class Api:
    """The API of a Prefect server, and who may use it ('name:password')."""

    url: str  # 'http://127.0.0.1:4200/api'
    auth: str

    @property
    def ui(self) -> str:
        return self.url.removesuffix("/api")

    def environment(self) -> dict[str, str]:
        """What makes Prefect's own programs come here."""
        auth = {"PREFECT_API_AUTH_STRING": self.auth} if self.auth else {}
        return {"PREFECT_API_URL": self.url, **auth, **_QUIET}

    def __call__(self, path: str, body: Any = None) -> Any:
        """`POST`s a body as JSON, or gets; the answer."""
        token = base64.b64encode(self.auth.encode()).decode()
        request = urllib.request.Request(  # noqa: S310 - our own server
            self.url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Basic {token}"},
        )
        for pause in (0.5, 1, 2, 4, 8, 0):
            try:
                with _DIRECTLY.open(request, timeout=30) as answer:
                    content = answer.read()
                return json.loads(content) if content else None
            except urllib.error.HTTPError as error:
                if error.code != 503 or not pause:  # its database is busy, and has done nothing
                    raise
            time.sleep(pause)
        return None

    def answers(self) -> bool:
        with suppress(OSError):  # urllib's errors included
            _DIRECTLY.open(f"{self.url}/health", timeout=5).close()
            return True
        return False


class Server:
    """A Prefect server that can be killed and started again, at the same address."""

    def __init__(self, folder: Path, auth: str, wanted_port: int) -> None:
        bound = port(wanted_port)
        self.api = Api(f"http://127.0.0.1:{bound}/api", auth)
        self._folder = folder
        self._database = folder / "prefect" / "prefect.db"
        # Making a database takes a dozen seconds, copying one does not.
        self._empty = folder.parent / f"prefect-{metadata.version('prefect')}.db"
        self._database.parent.mkdir(parents=True, exist_ok=True)
        if self._empty.exists() and not self._database.exists():
            shutil.copy(self._empty, self._database)
        self.program = self._start()

    def _start(self) -> Program:
        environment = {
            **base_environment(),
            **self.api.environment(),
            "PREFECT_HOME": str(self._database.parent),
            **({"PREFECT_SERVER_API_AUTH_STRING": self.api.auth} if self.api.auth else {}),
            "PREFECT_SERVER_UI_API_URL": self.api.url,
            # A machine that does all this at once is busy.
            "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
            "PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT": "60",
        }
        where = ["--host", "127.0.0.1", "--port", self.api.ui.rpartition(":")[2]]
        command = [sys.executable, "-m", "prefect", "server", "start", *where]
        log = self._folder / "logs" / "prefect-server.log"
        return start("Prefect server", command, environment, log, self._folder)

    def again(self) -> None:
        """After its program was killed."""
        self.program = self._start()
        self.wait()

    def wait(self) -> None:
        """Until it answers. Raises Problem if it ends instead."""
        until = time.monotonic() + _PATIENCE
        while not self.api.answers():
            self.program.check()
            if time.monotonic() > until:
                raise Problem(
                    "the Prefect server does not answer",
                    where={"log": self.program.log, "seconds": _PATIENCE},
                    fix="see its log",
                )
            time.sleep(0.2)
        if not self._empty.exists():
            part = self._empty.with_suffix(f".{os.getpid()}")
            with (
                closing(sqlite3.connect(self._database)) as source,
                closing(sqlite3.connect(part)) as copy,
            ):
                source.backup(copy)
            part.replace(self._empty)


@contextmanager
def server(folder: Path, auth: str, wanted_port: int = 0) -> Iterator[Server]:
    """A server with a database below the folder, until the context ends. It may not answer yet.

    `auth`: '' lets in everybody, as a server that somebody else keeps may.
    """
    made = Server(folder, auth, wanted_port)
    try:
        yield made
    finally:
        made.program.stop()


def base_environment() -> dict[str, str]:
    """This process's own, without what would lead Prefect or AWS elsewhere."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "PREFECT_")) and not name.lower().endswith("_proxy")
    }
    return kept | {"NO_PROXY": "127.0.0.1,localhost", "PYTHONUNBUFFERED": "1"}


class Worker:
    """An ECS worker of a pool, which can be killed and followed by another."""

    def __init__(
        self, folder: Path, api: Api, aws: Mapping[str, str], queue: str, pool: str
    ) -> None:
        self._folder = folder
        self._environment = {
            **base_environment(),
            **api.environment(),
            **aws,
            "PREFECT_HOME": str(folder / "worker"),
            "PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_SQS_QUEUE_NAME": queue,
            "PREFECT_WORKER_QUERY_SECONDS": "2",  # what is on the way should not take long here
            "PREFECT_LOGGING_COLORS": "false",
        }
        self._pool = pool
        self.again()

    def again(self) -> None:
        command = [sys.executable, "-m", "prefect", "worker", "start", "--type", "ecs"]
        command += ["--pool", self._pool, "--name", "local", "--install-policy", "never"]
        command += ["--no-create-pool-if-not-found"]
        log = self._folder / "logs" / "prefect-worker.log"
        self.program = start("Prefect worker", command, self._environment, log, self._folder)


@contextmanager
def worker(
    folder: Path, api: Api, aws: Mapping[str, str], queue: str, pool: str = "fargate"
) -> Iterator[Worker]:
    """A worker until the context ends; `aws`: what makes it the orchestrator's role in AWS."""
    made = Worker(folder, api, aws, queue, pool)
    try:
        yield made
    finally:
        made.program.stop()
