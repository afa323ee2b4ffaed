"""What a container is started from, and what is known of one that runs or has ended."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from infra.local.process import gone, owner


@dataclass(frozen=True)
class Container:
    """One container to start."""

    name: str  # of the task, unlike any other on this machine
    image: str  # as the local engine can pull it; '' without an engine
    command: tuple[str, ...]  # () is the image's own
    entry_point: tuple[str, ...]  # () is the image's own
    environment: Mapping[str, str] = field(repr=False)  # with secrets
    cpu: int  # units: 1024 are a core
    memory: int  # MiB
    read_only: bool  # its root file system
    volumes: tuple[str, ...]  # paths where an empty volume is mounted
    init: bool  # a process 1 that reaps children and passes signals on
    scratch_mb: int | None = None  # MiB that fit into a volume that the image declares


@dataclass(frozen=True)
class Exit:
    """How it ended."""

    code: int
    out_of_memory: bool = False


@dataclass(frozen=True)
class Usage:
    """What it has used so far; zeros where nobody counts."""

    cpu_nanoseconds: int = 0
    memory: int = 0  # bytes, now
    memory_peak: int = 0
    inactive_file: int = 0  # of the memory: files that were read, and can be dropped


class NotPulled(Exception):
    """The image cannot be had; the engine's own words."""


class CannotStart(Exception):
    """The container cannot be started; the engine's own words. Nothing is left of it."""


class Running(Protocol):
    """A container that has been started."""

    def lines(self) -> Iterator[str]:
        """What it writes, line by line, until it ends."""

    def wait(self) -> Exit: ...

    def kill(self, signal: str) -> None:
        """'TERM' or 'KILL'; nothing if it has ended."""

    def usage(self) -> Usage: ...

    def remove(self) -> None:
        """All that is left of it: no process, no mount, no volume."""


class Runtime(Protocol):
    """How this machine runs containers."""

    name: str
    lacks: tuple[str, ...]  # what is not as on Fargate, beyond the package's own list

    def pull(self, image: str) -> str:
        """Fetches it; its digest, '' if there is none. Raises NotPulled."""

    def start(self, container: Container) -> Running:
        """Comes back once it runs, or has run. Raises CannotStart."""

    def sweep(self) -> None:
        """Removes what a local cloud has left that was itself killed."""


_FOLDER = "nightshift-task-"


def new_folder() -> Path:
    """One for a task, that `sweep_folders` knows."""
    return Path(tempfile.mkdtemp(prefix=f"{_FOLDER}{owner()}-"))


def sweep_folders() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*"):
        if gone(folder.name.removeprefix(_FOLDER).rpartition("-")[0]):
            shutil.rmtree(folder, ignore_errors=True)


def usage_of(pid: int) -> Usage:
    """What the control group of a process has used (cgroup v1 or v2)."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return Usage()
    paths = {}
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            paths[controller] = path.lstrip("/")
    root = Path("/sys/fs/cgroup")
    if "memory" in paths:
        memory = root / "memory" / paths["memory"]
        return Usage(
            _number(root / "cpuacct" / paths.get("cpuacct", "") / "cpuacct.usage"),
            _number(memory / "memory.usage_in_bytes"),
            _number(memory / "memory.max_usage_in_bytes"),
            _number(memory / "memory.stat", "total_inactive_file"),
        )
    group = root / paths.get("", "")
    return Usage(
        _number(group / "cpu.stat", "usage_usec") * 1000,
        _number(group / "memory.current"),
        _number(group / "memory.peak"),
        _number(group / "memory.stat", "inactive_file"),
    )


def _number(file: Path, key: str = "") -> int:
    try:
        words = file.read_text().split()
    except OSError:
        return 0
    if key:
        words = words[words.index(key) + 1 :] if key in words else ["0"]
    return int(words[0]) if words and words[0].isdigit() else 0
