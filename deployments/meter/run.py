"""A flow run on Fargate: the command that executes it, and a word on what it has cost.

Whatever goes wrong with the word is one line on stderr: the run ends as it has ended.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from deployments.meter.process import NOT_EXECUTABLE, NOT_FOUND, Child
from deployments.meter.requests import REQUESTS


def run(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Runs a command to its end, and tells Prefect what its flow run has cost; its exit status.

    `environment`: the ECS task's own.
    """
    began = datetime.now(UTC)
    counts = _folder()
    try:
        child = Child(command, {**environment, **({REQUESTS: counts} if counts else {})})
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
    report = None
    try:
        from deployments.meter.report import Report  # once the child is on its way

        report = Report(environment, began, counts)
    except Exception as error:
        _excuse(error)
    status = child.wait()
    try:
        if report:
            report.tell(child.bytes, child.lines)
    except Exception as error:
        _excuse(error)
    shutil.rmtree(counts, ignore_errors=True)
    return status


def _folder() -> str:
    try:
        return tempfile.mkdtemp(prefix="nightshift-requests-")
    except OSError:
        return ""  # there is nowhere to write: requests are not counted


def _excuse(error: Exception) -> None:
    said = " ".join(f"{type(error).__name__}: {error}".split())
    print(f"warning: what this run has cost could not be told: {said}", file=sys.stderr)
