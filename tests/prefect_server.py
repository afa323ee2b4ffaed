"""A Prefect server of one's own, on a free port of the loopback interface."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

PATIENCE = 120  # seconds: a fresh database takes twenty on a busy machine


def start(home: Path) -> tuple[str, subprocess.Popen[bytes]]:
    """Start a server with its database below `home`; its API's address, once it answers."""
    home.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    command = ["-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    log = home / "server.log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            [sys.executable, *command],
            env=os.environ | settings,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    api = f"http://127.0.0.1:{port}/api"
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError, urllib.error.URLError):
            urllib.request.urlopen(f"{api}/health", timeout=5).close()
            return api, server
        time.sleep(0.2)
    stop(server.pid)
    raise RuntimeError(f"the Prefect server did not start:\n{log.read_text()[-2000:]}")


def stop(pid: int) -> None:
    """End the server and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


@contextlib.contextmanager
def prefect_server(home: Path) -> Iterator[str]:
    """A server for as long as the context lasts; gives the address of its API."""
    api, server = start(home)
    try:
        yield api
    finally:
        stop(server.pid)
        server.wait()
