"""The image, built once for the whole session, and what runs in it."""

from __future__ import annotations

import contextlib
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.local import image as images
from infra.local.engine import Engine, find_engine
from tests.conftest import SESSION, _locked
from tests.needs import need

TAG = "localhost/nightshift:test"
REVISION = "0123456789ab"
SOURCE = "https://example.com/nightshift"

READ_ONLY = ("--read-only", "--tmpfs", "/tmp:rw,mode=1777,size=512m")  # as on Fargate

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def engine() -> Engine:
    found = find_engine(SESSION / "engine")
    need(found, "needs a Docker engine that runs, or podman as root")
    assert found is not None
    return found


@pytest.fixture(scope="session")
def image(engine: Engine) -> str:
    """Its id; the first process that needs it builds it."""
    made = SESSION / "image"
    with _locked(SESSION / "image.lock"):
        if not made.exists():
            project = Path(__file__).parents[2]
            built = images.build(engine, project, revision=REVISION, source=SOURCE, tag=TAG)
            made.write_text(built)
    return made.read_text()


@pytest.fixture
def run(engine: Engine, image: str) -> Iterator[Run]:
    """Runs a command in the image to its end; whatever is left of it then is removed."""
    name = f"nightshift-test-{uuid.uuid4().hex[:12]}"

    def running(
        *command: str, options: tuple[str, ...] = READ_ONLY, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        if engine.name == "podman":  # which would make /var/tmp and others writable besides
            options = ("--read-only-tmpfs=false", *options)
        start = ("run", "--rm", "--name", name, "--network", "host", *options, image)
        return engine.run(*start, *command, check=check, timeout=120)

    yield running
    with contextlib.suppress(subprocess.TimeoutExpired):
        engine.run("rm", "--force", "--volumes", name, check=False, timeout=30)
