"""Programs that the local cloud starts, and that never outlive it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from deployments.orchestrator.programs import die_with_parent
from flows.problem import Problem

_PATIENCE = 20  # seconds from SIGTERM to SIGKILL


@dataclass(frozen=True)
class Program:
    """One that runs, with what it writes in a file."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """Raises Problem if it has ended, with the last it said."""
        if (status := self.process.poll()) is not None:
            raise Problem(
                f"the {self.name} has ended",
                where={"log": self.log},
                detail=f"exit status {status}: {self.log.read_text()[-1500:].strip()}",
                fix="see its log",
            )

    def kill(self) -> None:
        """SIGKILL, to all of it."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL to what is left of it."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_PATIENCE)
        self.kill()


def start(
    name: str, command: Sequence[str], environment: Mapping[str, str], log: Path, cwd: Path
) -> Program:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        process = subprocess.Popen(  # noqa: S603 - our own programs
            command,
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,  # Ctrl-C is for us, who end the others in order
            preexec_fn=die_with_parent,
        )
    return Program(name, process, log)


@contextmanager
def running(
    name: str, command: Sequence[str], environment: Mapping[str, str], log: Path, cwd: Path
) -> Iterator[Program]:
    program = start(name, command, environment, log, cwd)
    try:
        yield program
    finally:
        program.stop()


def port(wanted: int = 0) -> int:
    """This port of the loopback interface if it is free, else another that is."""
    for each in (wanted, 0):
        with socket.socket() as free, suppress(OSError):
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            free.bind(("127.0.0.1", each))
            return int(free.getsockname()[1])
    raise Problem("there is no free port", fix="end a program that listens")


OWNER = "nightshift.local"  # a label of containers: the process that answers for it


def owner() -> str:
    """This process, unlike any other until the machine starts again."""
    return f"{os.getpid()}.{_started(os.getpid())}"


def gone(owner: str) -> bool:
    """Whether this was a process, and is no more."""
    pid, _, started = owner.partition(".")
    return pid.isdigit() and _started(int(pid)) != started


def _started(pid: int) -> str:
    """When it was, in the kernel's ticks; '' if it is not there. See proc(5)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        # Only Linux has /proc: elsewhere no process is ever thought gone.
        return "" if Path("/proc/self").exists() else "0"
