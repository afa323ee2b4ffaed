"""Finds what runs containers on this machine: a Docker engine that answers, or podman.

Podman is made to work where there is neither systemd nor cgroup v2, as in a container.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.problem import Problem


@dataclass(frozen=True)
class Engine:
    """A command that takes Docker's arguments."""

    name: str  # "podman" or "docker"
    version: str
    command: tuple[str, ...]  # what each call starts with
    environment: Mapping[str, str] = field(default_factory=dict)  # beside this process's own

    def run(
        self, *arguments: str, check: bool = True, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end, with what it prints kept; options are subprocess.run's."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
        done = subprocess.run(  # noqa: S603 - our own engine
            [*self.command, *arguments],
            env=options.pop("env", os.environ | self.environment),
            check=False,
            **options,
        )
        if check and done.returncode:
            raise Problem(
                f"{self.name} {arguments[0]} failed with {done.returncode}",
                where={"command": " ".join([*self.command, *arguments])},
                detail=(done.stderr or done.stdout or "").strip()[-2000:],
                fix=f"see what {self.name} says above",
            )
        return done


def find_engine(folder: Path) -> Engine | None:
    """What there is to run containers with; `folder` takes podman's configuration."""
    return _docker() or _podman(folder)


def needed_engine(folder: Path) -> Engine:
    """The same where there is no going on without one."""
    engine = find_engine(folder)
    if engine is None:
        raise Problem(
            "nothing on this machine runs containers",
            fix="start Docker, or install podman (Debian: apt-get install podman runc)",
        )
    return engine


def _docker() -> Engine | None:
    version = _says("docker", "info", "--format", "{{.ServerVersion}}")
    return Engine("docker", version, ("docker",)) if version else None


def _podman(folder: Path) -> Engine | None:
    if not shutil.which("podman"):
        return None
    environment = {}
    if os.geteuid() == 0:  # a user's own podman is set up by who gave it to them
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "containers.conf"
        file.write_text(_configuration())
        environment["CONTAINERS_CONF"] = str(file)
    version = _says("podman", "info", "--format", "{{.Version.Version}}", **environment)
    return Engine("podman", version, ("podman",), environment) if version else None


def _configuration() -> str:
    # Podman would give a container more than it may have itself, where that is limited: as many
    # processes as there can be on the machine.
    processes = int(Path("/proc/sys/kernel/pid_max").read_text())
    limits = [
        f'"{name}={min(hard, most)}:{min(hard, most)}"'
        for name, limit, most in (
            ("nofile", resource.RLIMIT_NOFILE, 1 << 20),
            ("nproc", resource.RLIMIT_NPROC, processes),
        )
        if (hard := resource.getrlimit(limit)[1]) != resource.RLIM_INFINITY
    ]
    lines = ["[containers]", f"default_ulimits = [{', '.join(limits)}]", "[engine]"]
    if not Path("/run/systemd/system").is_dir():
        lines += ['cgroup_manager = "cgroupfs"', 'events_logger = "file"']
    if shutil.which("runc"):  # crun refuses where cgroup v1 and v2 are both mounted
        lines += ['runtime = "runc"']
    return "\n".join([*lines, ""])


def _says(*command: str, **environment: str) -> str:
    """What a command prints, or nothing when it fails, is missing or takes too long."""
    try:
        done = subprocess.run(  # noqa: S603
            command,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
