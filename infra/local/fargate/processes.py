"""Tasks as processes of this machine, each in a PID namespace of its own, for want of an engine.

The namespace is what makes an end an end: when its first process dies, the kernel kills the rest.
A mount namespace shows the project where the image has it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from deployments.orchestrator.programs import die_with_parent
from flows.problem import Problem
from infra.local.fargate.runtime import (
    CannotStart,
    Container,
    Exit,
    Usage,
    new_folder,
    sweep_folders,
)

IN_THE_IMAGE = Path("/opt/nightshift")

# The Dockerfile's ENV.
_OF_THE_IMAGE = {
    "PYTHONUNBUFFERED": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}

# Puts the project beside what is in /opt already, for the task alone, and becomes the task.
_WITH_PROJECT = f"""
set -e
opt=$1 project=$2
shift 2
for each in /opt/*; do
  [ -d "$each" ] || continue
  mkdir "$opt/${{each##*/}}"
  mount --rbind "$each" "$opt/${{each##*/}}"
done
mkdir -p "$opt/{IN_THE_IMAGE.name}"
mount --bind "$project" "$opt/{IN_THE_IMAGE.name}"
mount --rbind "$opt" /opt
cd {IN_THE_IMAGE}
"""

_AS_FIRST = """exec "$@"
"""

# What `initProcessEnabled` puts before it: a first process that passes SIGTERM on, for the kernel
# keeps from a first process all signals that it does not handle itself.
_WITH_INIT = """set +e
"$@" &
child=$!
trap 'kill -TERM $child' TERM
while :; do
  wait $child
  status=$?
  kill -0 $child 2>/dev/null || exit $status
done
"""


class Processes:
    """Runs tasks with this project's own environment, in its own folder."""

    name = "processes"
    lacks: tuple[str, ...] = (
        "the image: tasks run the code and the packages of this folder",
        "memory and CPU limits, so that nothing runs out of memory",
        "the read-only root file system, and a user of the image's own",
        "volumes of a limited size",
    )

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._unshare = _unshare()

    def pull(self, image: str) -> str:
        return image.partition("@")[2]

    def start(self, container: Container) -> RunningProcess:
        scratch = new_folder()
        environment = {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.defpath]),
            "HOME": str(scratch),
            "LANG": "C.UTF-8",
            **_OF_THE_IMAGE,
            "PREFECT_HOME": str(scratch / "prefect"),
            **{name: _below(scratch, value) for name, value in container.environment.items()},
            "TMPDIR": str(scratch),
        }
        command = [*container.entry_point, *container.command]
        if not command or not shutil.which(command[0], path=environment["PATH"]):
            scratch.rmdir()
            name = command[0] if command else ""
            raise CannotStart(f'exec: "{name}": executable file not found in $PATH')
        opt = scratch / "opt"
        opt.mkdir()
        script = _WITH_PROJECT + (_WITH_INIT if container.init else _AS_FIRST)
        process = subprocess.Popen(  # noqa: S603 - what the task definition says
            [*self._unshare, "--", "sh", "-c", script, "sh", opt, self._folder, *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for us
            preexec_fn=die_with_parent,
        )
        return RunningProcess(process, scratch)

    def sweep(self) -> None:
        sweep_folders()  # the processes are gone: the kernel has seen to that


class RunningProcess:
    def __init__(self, process: subprocess.Popen[bytes], scratch: Path) -> None:
        self._process = process
        self._scratch = scratch
        self._killed = False

    def lines(self) -> Iterator[str]:
        for line in self._process.stdout or ():
            yield line.decode(errors="replace").rstrip("\n")

    def wait(self) -> Exit:
        code = self._process.wait()
        # Of a process that a signal has ended, a container's exit code is 128 and the signal.
        return Exit(137 if self._killed else 128 - code if code < 0 else code)

    def kill(self, signal: str) -> None:
        if self._process.poll() is not None:
            return
        if signal == "KILL":
            self._killed = True
            self._process.kill()  # and with it, by --kill-child, the namespace
            return
        for child in _children(self._process.pid):
            _signal(child)

    def usage(self) -> Usage:
        return Usage()

    def remove(self) -> None:
        self._process.kill()  # nothing, if it has ended
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        shutil.rmtree(self._scratch, ignore_errors=True)


def _below(scratch: Path, value: str) -> str:
    """What a container has in its /tmp, a process has in a folder of its own."""
    return str(scratch) + value[4:] if value == "/tmp" or value.startswith("/tmp/") else value  # noqa: S108


def _unshare() -> list[str]:
    command = ["unshare", "--fork", "--pid", "--mount", "--mount-proc", "--kill-child=KILL"]
    if os.geteuid() != 0:
        command.insert(1, "--map-root-user")
    try:
        done = subprocess.run([*command, "--", "true"], capture_output=True, text=True, check=False)  # noqa: S603
    except FileNotFoundError:
        raise Problem(
            "nothing on this machine can run a task",
            detail="there is no podman, no Docker engine that answers, and no unshare (Linux)",
            fix="install podman, or start Docker",
        ) from None
    if done.returncode:
        raise Problem(
            "nothing on this machine can run a task",
            detail="there is no podman, no Docker engine that answers, and a PID namespace is "
            f"refused: {done.stderr.strip()}",
            fix="install podman, start Docker, or run this as root",
        )
    return command


def _children(pid: int) -> list[int]:
    file = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in file.read_text().split()] if file.exists() else []


def _signal(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return
