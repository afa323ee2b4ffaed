"""The command line, run as a user runs it (a process) or in this process, which is faster."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Outcome:
    status: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one final error: nothing but it stands at the end of stderr, and it stands there
        once.
        """
        assert self.status == 1, self
        assert "Traceback" not in self.err, self.err
        assert len(re.findall(r"^error: ", self.err, re.MULTILINE)) == 1, self.err
        message = self.err[re.search(r"^error: ", self.err, re.MULTILINE).start() :]  # type: ignore[union-attr]
        first, *rest = message.rstrip("\n").split("\n")
        assert first.removeprefix("error: ").strip(), message
        assert all(line.startswith("  ") for line in rest), message
        assert any(line.startswith("  fix:   ") for line in rest), message
        assert self.out == "", self.out
        return message

    @property
    def report(self) -> str:
        """The address that the last line names."""
        assert self.status == 0, self.err
        return self.out.strip().rpartition("\n")[2].partition(": ")[2]

    @property
    def flow_run_id(self) -> str:
        """Of a process: its log says where to view the run."""
        found = re.search(r"/runs/flow-run/([0-9a-f-]{36})", self.err)
        assert found, self.err
        return found[1]


Command = Callable[..., Outcome]


def run(
    *arguments: str, module: str = "flows.cost_report", before: Any = None, **environment: str
) -> Outcome:
    """As a process of its own, in the repository; returns when it has ended."""
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-m", module, *arguments],
        cwd=REPOSITORY,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=before,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def call(*arguments: str) -> Outcome:
    """The same `main`, in this process; what it leaves for the interpreter's exit runs at once.

    Prefect's log goes elsewhere: `err` is what `main` itself says.
    """
    from flows.cost_report.__main__ import main

    out, err = io.StringIO(), io.StringIO()
    at_exit: list[Callable[[], object]] = []
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        with mock.patch(
            "flows.cost_report.__main__.atexit", SimpleNamespace(register=at_exit.append)
        ):
            status = main(list(arguments))
        for last in reversed(at_exit):
            last()
    return Outcome(status, out.getvalue(), err.getvalue())
