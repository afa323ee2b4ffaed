"""A command as a child of this process, watched: what a container's first process is for.

The child is to notice nothing. It gets each signal that this process gets, its output is passed on
as it comes, and its end is this process's end.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from types import FrameType

PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
NOT_EXECUTABLE, NOT_FOUND = 126, 127  # a shell's exit codes

_CHUNK = 1 << 16
_LAST = 0.5  # seconds in which nothing came: another process keeps the output open
_MOST = 30.0  # seconds for a log that is slow to take what is left


class Child:
    """Starts at once. Raises OSError where there is no such command."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []  # signals that came before it was there
        for number in PASSED_ON:
            signal.signal(number, self._pass_on)
        self._process = subprocess.Popen(  # noqa: S603 - what the work pool says
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for early in self._early:
            self._process.send_signal(early)
        assert self._process.stdout
        assert self._process.stderr
        self._outputs = [
            Output(self._process.stdout.fileno(), 1),
            Output(self._process.stderr.fileno(), 2),
        ]

    def wait(self) -> int:
        """Its exit status, as a shell has it: 128 and the signal that has killed it."""
        assert self._process
        code = self._process.wait()
        until = time.monotonic() + _MOST
        for output in self._outputs:
            while output.is_alive() and time.monotonic() < until:
                before = output.bytes
                output.join(_LAST)
                if output.bytes == before and not output.writes:
                    break
        return code if code >= 0 else 128 - code

    @property
    def bytes(self) -> int:
        """That it has written, but for the ends of lines."""
        return sum(output.bytes for output in self._outputs) - self.lines

    @property
    def lines(self) -> int:
        return sum(output.lines for output in self._outputs)

    def _pass_on(self, number: int, _: FrameType | None) -> None:
        if self._process is None:
            self._early.append(number)
        else:
            self._process.send_signal(number)  # nothing, if it has ended


class Output(threading.Thread):
    """Passes on what comes from one file descriptor to another, and counts it."""

    def __init__(self, source: int, target: int) -> None:
        super().__init__(daemon=True)
        self.bytes = self.lines = 0
        self.writes = False  # something that was read is not passed on yet
        self._source, self._target = source, target
        self.start()

    def run(self) -> None:
        while chunk := os.read(self._source, _CHUNK):
            self.writes = True
            self.bytes += len(chunk)
            self.lines += chunk.count(b"\n")
            while chunk:
                try:
                    chunk = chunk[os.write(self._target, chunk) :]
                except OSError:  # nobody reads any more: the child is to find that out as well
                    os.close(self._source)
                    self.writes = False
                    return
            self.writes = False
