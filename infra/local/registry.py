"""An image registry on this machine, in place of ECR's."""

from __future__ import annotations

import os
import shutil
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flows.problem import Problem
from infra.local import process
from infra.local.engine import Engine

IMAGE = "docker.io/library/registry:2"
_PATIENCE = 60  # seconds

_CONFIGURATION = """\
version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: "{folder}"}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


@dataclass(frozen=True)
class Registry:
    """A running one. What was pushed is there again when it is started on the same folder."""

    host_port: str


@contextmanager
def registry(folder: Path, port: int = 0, *, engine: Engine | None = None) -> Iterator[Registry]:
    """A registry on the loopback interface until the context ends: the program of Debian's package
    docker-registry where it is installed, else a container of Docker's engine.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = process.port(port)
    program = shutil.which("docker-registry") or shutil.which("registry")
    if program:
        with _program(program, folder.resolve(), port):
            yield Registry(f"127.0.0.1:{port}")
    elif engine and engine.name == "docker":
        with _container(engine, folder.resolve(), port):
            yield Registry(f"127.0.0.1:{port}")
    else:
        raise Problem(
            "no image registry can be started on this machine",
            fix="install the package docker-registry (Debian, Ubuntu)",
        )


@contextmanager
def _program(program: str, folder: Path, port: int) -> Iterator[None]:
    settings = folder / "registry.yml"
    settings.write_text(_CONFIGURATION.format(folder=folder, port=port))
    # REGISTRY_… in the environment would overrule the file.
    own = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
    command = [program, "serve", str(settings)]
    with process.running("registry", command, own, folder / "registry.log", folder) as started:
        _wait(port, started.check)
        yield


@contextmanager
def _container(engine: Engine, folder: Path, port: int) -> Iterator[None]:
    name = f"nightshift-registry-{uuid.uuid4().hex[:8]}"
    options = ["--label", f"{process.OWNER}={process.owner()}"]  # `Containers.sweep` knows it by
    options += ["--publish", f"127.0.0.1:{port}:5000", "--volume", f"{folder}:/var/lib/registry"]
    engine.run("run", "--detach", "--rm", "--name", name, *options, IMAGE)
    try:
        _wait(port, lambda: None)
        yield
    finally:
        engine.run("rm", "--force", "--volumes", name, check=False)


def _wait(port: int, check: Callable[[], None]) -> None:
    until = time.monotonic() + _PATIENCE
    while True:
        check()
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > until:
                raise Problem(
                    "the image registry does not answer", detail=str(error), fix="start it again"
                ) from error
            time.sleep(0.05)
