"""The programs that the orchestrator runs: they end when it does, and it learns when one has."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress

_PDEATHSIG = 1  # prctl(2)
_LIBC = ctypes.CDLL(None)


def die_with_parent() -> None:
    """For Popen's preexec_fn: the kernel kills the child when the thread that made it ends."""
    _LIBC.prctl(_PDEATHSIG, signal.SIGKILL)


class Program:
    """One that is started again and again. What it writes goes where our own lines go."""

    def __init__(self, name: str, patience: float) -> None:
        self.name = name
        self._patience = patience  # seconds from SIGTERM to SIGKILL
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own programs
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # signals are for us, who stop the others in order
            preexec_fn=die_with_parent,
        )

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def ended(self) -> int | None:
        """The exit status of one that ended without being told to, once."""
        if self._process is None or (status := self._process.poll()) is None:
            return None
        self._kill_group()  # what it may have left
        self._process = None
        return status

    def stop(self) -> int:
        """SIGTERM, and SIGKILL to what is left of it; its exit status."""
        if self._process is None:
            return 0
        with suppress(ProcessLookupError):
            self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(self._patience)
        self._kill_group()
        status = self._process.wait()
        self._process = None
        return status

    def _kill_group(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
