"""Tasks as containers of podman or of a Docker engine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from infra.local.engine import Engine
from infra.local.fargate.runtime import (
    CannotStart,
    Container,
    Exit,
    NotPulled,
    Usage,
    new_folder,
    sweep_folders,
    usage_of,
)
from infra.local.process import OWNER, gone, owner

# The engine's own command reads these; the container's values of them must not reach it.
_OF_THE_ENGINE = ("PATH", "HOME", "TMPDIR", "CONTAINERS_CONF", "XDG_RUNTIME_DIR", "DOCKER_HOST")


class Containers:
    """Runs tasks with an engine. `registries` says where an image's registry is on this machine:
    `{'123456789012.dkr.ecr.us-east-1.amazonaws.com': '127.0.0.1:5000'}`.
    """

    lacks: tuple[str, ...] = ()

    def __init__(self, engine: Engine, registries: Mapping[str, str]) -> None:
        self.name = f"{engine.name} {engine.version}"
        self._engine = engine
        self._registries = registries
        self._plain = ["--tls-verify=false"] if engine.name == "podman" else []
        self._no_proxy = ["--http-proxy=false"] if engine.name == "podman" else []

    def _local(self, image: str) -> str:
        host, _, path = image.partition("/")
        return f"{self._registries[host]}/{path}" if host in self._registries else image

    def pull(self, image: str) -> str:
        local = self._local(image)
        # An image of another registry that is here already need not be had from there.
        if local != image or not self._inspect("image", local, "{{.Id}}"):
            done = self._engine.run("pull", "--quiet", *self._plain, local, check=False)
            if done.returncode:
                said = (done.stderr or done.stdout).strip().splitlines()
                raise NotPulled(said[-1] if said else f"{self._engine.name} does not say why")
        digests = json.loads(self._inspect("image", local, "{{json .RepoDigests}}") or "[]")
        wanted = local.partition("@")[2]
        found = [digest.partition("@")[2] for digest in digests or []]
        return wanted or (found[0] if found else "")

    def start(self, container: Container) -> RunningContainer:
        local = self._local(container.image)
        folder = new_folder()
        kept = {
            name: value
            for name, value in container.environment.items()
            if name not in _OF_THE_ENGINE
        }
        shown = {n: v for n, v in container.environment.items() if n in _OF_THE_ENGINE}
        created = self._engine.run(
            "create",
            *("--name", container.name),
            *("--label", f"{OWNER}={owner()}"),
            *("--network", "host"),
            *("--cpus", str(container.cpu / 1024)),
            *("--memory", f"{container.memory}m", "--memory-swap", f"{container.memory}m"),
            *(["--read-only"] if container.read_only else []),
            # Podman makes /tmp and others writable besides, which Fargate does not.
            *(["--read-only-tmpfs=false"] if self._engine.name == "podman" else []),
            *(["--init"] if container.init else []),
            *self._no_proxy,
            *self._volumes(container, local, folder),
            # By name: a value on the command line is there for everyone to see.
            *(part for name in kept for part in ("--env", name)),
            *(part for name, value in shown.items() for part in ("--env", f"{name}={value}")),
            *(("--entrypoint", container.entry_point[0]) if container.entry_point else ()),
            local,
            *container.entry_point[1:],
            *container.command,
            check=False,
            env=os.environ | self._engine.environment | kept,
        )
        running = RunningContainer(self._engine, container.name, folder)
        if created.returncode:
            running.remove()
            raise CannotStart(created.stderr.strip())
        running.begin()
        return running

    def _volumes(self, container: Container, image: str, folder: Path) -> Iterator[str]:
        """An empty volume belongs to root, unless the image declares it: then it is as there.

        https://docs.aws.amazon.com/AmazonECS/latest/developerguide/bind-mounts.html
        """
        declared = json.loads(self._inspect("image", image, "{{json .Config.Volumes}}") or "null")
        for number, path in enumerate(container.volumes):
            if path not in (declared or {}):
                made = folder / str(number)
                made.mkdir(mode=0o755)
                yield from ("--volume", f"{made}:{path}")
            elif container.scratch_mb:
                options = f"rw,exec,mode=1777,size={container.scratch_mb}m"
                yield from ("--tmpfs", f"{path}:{options}")
            else:  # the engine copies what the image has there, and its mode
                yield from ("--volume", f"{container.name}-{number}:{path}")

    def _inspect(self, kind: str, name: str, what: str) -> str:
        return self._engine.run(kind, "inspect", "--format", what, name, check=False).stdout.strip()

    def owners(self) -> dict[str, str]:
        """Who answers for each of the containers on this machine that are a local cloud's."""
        listed = self._engine.run(
            "ps", "--all", "--filter", f"label={OWNER}", "--format", "{{.Names}}"
        )
        label = "{{index .Config.Labels " + json.dumps(OWNER) + "}}"
        return {
            name: self._inspect("container", name, label) for name in listed.stdout.splitlines()
        }

    def sweep(self) -> None:
        for name, its_owner in self.owners().items():
            if gone(its_owner):
                RunningContainer(self._engine, name, new_folder()).remove()
        sweep_folders()


class RunningContainer:
    """One that was started, or could not be."""

    def __init__(self, engine: Engine, name: str, folder: Path) -> None:
        self._engine = engine
        self._name = name
        self._folder = folder
        self._attached: subprocess.Popen[bytes] | None = None
        self._pid = 0
        self._removed = threading.Lock()

    def begin(self) -> None:
        """Starts it; comes back once it runs or has ended. Raises CannotStart."""
        self._attached = subprocess.Popen(  # noqa: S603 - our own engine
            [*self._engine.command, "start", "--attach", "--sig-proxy=false", self._name],
            cwd=self._folder,  # podman's monitor leaves a file `oom` there, and podman misses it
            env=os.environ | self._engine.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for us
        )
        while True:
            over = self._attached.poll() is not None  # asked first: what is read then is final
            pid, _, started = self._state("{{.State.Pid}} {{.State.StartedAt}}").partition(" ")
            if started and not started.startswith("0001"):
                self._pid = int(pid)
                return
            if over:
                said = [*self.lines()]
                self.remove()
                raise CannotStart(said[-1] if said else "the engine does not say why")
            time.sleep(0.05)

    def lines(self) -> Iterator[str]:
        if self._attached is None or self._attached.stdout is None:
            return
        for line in self._attached.stdout:
            yield line.decode(errors="replace").rstrip("\n")

    def wait(self) -> Exit:
        code = self._attached.wait() if self._attached else 0
        state = self._state("{{.State.ExitCode}} {{.State.OOMKilled}}")
        if not state:  # it was removed, so that only the attached command can tell
            return Exit(code)
        exit_code, oom = state.split()
        return Exit(int(exit_code), oom == "true" or (self._folder / "oom").exists())

    def kill(self, signal: str) -> None:
        if self._name:
            self._engine.run("kill", "--signal", signal, self._name, check=False)

    def usage(self) -> Usage:
        return usage_of(self._pid) if self._pid else Usage()

    def remove(self) -> None:
        with self._removed:
            if not self._name:
                return
            if self._attached is None or self._attached.poll() is None:
                self._engine.run("kill", self._name, check=False)  # podman's rm would be patient
            self._engine.run("rm", "--force", "--volumes", self._name, check=False)
            named = self._engine.run(
                *("volume", "ls", "--quiet", "--filter", f"name={self._name}-"), check=False
            )
            for volume in named.stdout.split():
                self._engine.run("volume", "rm", "--force", volume, check=False)
            if self._attached is not None:
                self._attached.wait()
                if self._attached.stdout is not None:
                    self._attached.stdout.close()
            shutil.rmtree(self._folder, ignore_errors=True)
            self._name = ""

    def _state(self, what: str) -> str:
        return self._engine.run(
            "container", "inspect", "--format", what, self._name, check=False
        ).stdout.strip()
