"""The programs inside an ECS task, seen and killed from outside it: for tests of what then happens.

Linux only, and as root where tasks are containers: theirs are processes of this machine too.
"""

from __future__ import annotations

import os
import re
import signal as signals
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flows.problem import Problem
from infra.local.fargate.task import Task

Name = Literal["litestream", "server", "worker", "flow"]

# What their command lines have in common, however they are started.
_LINES: dict[Name, str] = {
    "litestream": r"^\S*litestream\s",
    "server": r"prefect\.server\.api|prefect server start|prefect/cli\S* server start",
    "worker": r"worker start|orchestrator\.worker",
    "flow": r"prefect\.engine|flow-run execute|prefect\.flow_engine",
}


@dataclass(frozen=True)
class Process:
    """One of this machine's."""

    pid: int
    line: str  # its command line, words parted by spaces


def inside(task: Task) -> list[Process]:
    """Those of a task that runs: what carries its metadata address in its environment, and what
    came of it.
    """
    mark = f"/v4/{task.id}".encode()
    lines: dict[int, str] = {}
    children: dict[int, list[int]] = defaultdict(list)
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            pid = int(folder.name)
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            children[parent].append(pid)
            lines[pid] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
            if mark in (folder / "environ").read_bytes():
                found.append(pid)
    known: dict[int, Process] = {}
    while found:
        pid = found.pop()
        if pid not in known and lines.get(pid):  # a zombie has no command line
            known[pid] = Process(pid, lines[pid])
        found += [child for child in children[pid] if child not in known]
    return list(known.values())


def program(task: Task, name: Name) -> list[Process]:
    """The processes of one program of a task."""
    return [each for each in inside(task) if re.search(_LINES[name], each.line)]


def kill_program(task: Task, name: Name, signal: signals.Signals = signals.SIGKILL) -> list[int]:
    """Sends it the signal, all of its processes at once; their ids. Raises Problem if the task has
    no such program.
    """
    found = program(task, name)
    if not found:
        raise Problem(
            f"the task has no {name}",
            where={"task": task.id, "status": task.last_status},
            detail="it has: " + ("; ".join(each.line[:80] for each in inside(task)) or "nothing"),
            fix="wait until it runs",
        )
    for each in found:
        with suppress(ProcessLookupError):
            os.kill(each.pid, signal)
    return [each.pid for each in found]
