"""Why an ECS task ended, from what DescribeTasks says of it. Pure.

What ECS says: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

KILLED = 137  # 128 and SIGKILL
TERMINATED = 143  # 128 and SIGTERM

_CAPACITY = (
    *("Capacity is unavailable", "RESOURCE:"),
    *("Timeout waiting for network interface", "unexpected EC2 error"),
)

# What the orchestrator tells ECS when it stops a task that nobody can hear.
ORPHANED = "Nightshift: the Prefect server that this task speaks to is gone"


@dataclass(frozen=True)
class Diagnosis:
    level: Literal["warning", "error"]  # a warning where running it again will do
    summary: str
    detail: str
    fix: str
    again: bool = False  # nothing of the run's own made it end: it may as well run again

    def __str__(self) -> str:
        why = f"\n  why:   {self.detail}" if self.detail else ""
        return f"{self.level}: {self.summary}{why}\n  fix:   {self.fix}"


_AGAIN = "run it again: a report is published whole or not at all"
_LOG = "see the run's log and the ECS task's, in the log group for jobs"

FORGOTTEN = Diagnosis(
    "error",
    "ECS does not know the task",
    "ECS forgets a task about an hour after it has stopped",
    f"{_LOG}; {_AGAIN}",
)


def stopped(task: Mapping[str, Any]) -> bool:
    """Until then its container may still run, and speak to Prefect."""
    return task.get("lastStatus") in ("STOPPED", "DELETED")


def diagnose(task: Mapping[str, Any]) -> Diagnosis:
    """Of a task that has stopped, as DescribeTasks shows it.

    What ECS did to the task comes before what its containers say: one that is killed because it
    did not end in time exits with 137 as well, and has not run out of memory.
    """
    code = task.get("stopCode") or ""
    container = _first_to_fail(task)
    exit_code = container.get("exitCode")
    said = _said(task, container)
    if ORPHANED in said:
        summary = "the orchestrator was replaced, and the ECS task could not tell it how it ends"
        return Diagnosis("warning", summary, said, _AGAIN, again=True)
    if code in _BY_STOP_CODE:
        summary, fix = _BY_STOP_CODE[code]
        return Diagnosis("warning", summary, said, fix, again=code in _TAKEN_BACK)
    for error, summary, fix in _BY_ERROR:
        if error in said:
            return Diagnosis("error", summary, said, fix)
    if code == "TaskFailedToStart" and no_capacity(said):
        return Diagnosis(
            "warning",
            "the ECS task could not be placed",
            said,
            "run it again later; without Spot (spot=false) or with a smaller size there is more "
            "room",
            again=True,
        )
    if code == "TaskFailedToStart":
        return Diagnosis("error", "the ECS task did not start", said, "see what ECS says")
    if exit_code is None:
        return Diagnosis("error", "the ECS task stopped, ECS does not say why", said, _LOG)
    return _of_exit(exit_code, said)


def no_capacity(said: str) -> bool:
    """Whether these are ECS's words for having no machine."""
    return any(sign in said for sign in _CAPACITY)


_BY_ERROR = (  # ECS's word for it, anywhere in its reasons
    (
        "CannotPullContainer",
        "the image is missing, or may not be pulled",
        "see that the work pool's image is in the registry: reconcile names the present one",
    ),
    (
        "CannotStartContainer",
        "the command is missing from the image, or cannot be started",
        "see that the image has what the ECS task is told to run; try it in the image",
    ),
    (
        "ResourceInitializationError",
        "what the ECS task needs beforehand could not be had",
        "see that the secret, the log group and a way to them are there",
    ),
    (
        "OutOfMemory",
        "out of memory",
        "give the deployment more `memory` in prefect.yaml",
    ),
)

_TAKEN_BACK = ("SpotInterruption", "TerminationNotice")

_BY_STOP_CODE = {
    "SpotInterruption": ("Spot took the machine back", _AGAIN),
    "TerminationNotice": ("AWS took the machine back for maintenance", _AGAIN),
    "UserInitiated": (
        "somebody stopped the ECS task: a person, or Prefect on a person's behalf",
        _AGAIN,
    ),
    "ServiceSchedulerInitiated": ("an ECS service stopped the ECS task", _AGAIN),
}


def _of_exit(code: int, said: str) -> Diagnosis:
    if code == 0:
        return Diagnosis(
            "error",
            "it ended without telling Prefect how",
            said,
            f"{_LOG}: it could not reach the Prefect server, or its run's state was refused",
        )
    if code == KILLED:
        return Diagnosis(
            "error",
            "it was killed, most likely out of memory",
            said,
            "give the deployment more `memory` in prefect.yaml",
        )
    if code == TERMINATED:
        return Diagnosis("warning", "it was told to end, and did", said, _AGAIN)
    return Diagnosis("error", f"it failed with exit code {code}", said, _LOG)


def _first_to_fail(task: Mapping[str, Any]) -> Mapping[str, Any]:
    """The container to blame: a reason weighs more than an exit code."""
    containers: list[Mapping[str, Any]] = list(task.get("containers") or ())
    blamed = [one for one in containers if one.get("reason")]
    failed = [one for one in containers if one.get("exitCode")]
    return next(iter([*blamed, *failed, *containers]), {})


def _said(task: Mapping[str, Any], container: Mapping[str, Any]) -> str:
    parts = [task.get("stoppedReason"), container.get("reason")]
    if task.get("stopCode"):
        parts.append(f"stop code {task['stopCode']}")
    if container.get("exitCode") is not None:
        parts.append(f"exit code {container['exitCode']}")
    if task.get("taskArn"):
        parts.append(f"ECS task {str(task['taskArn']).rpartition('/')[2]}")
    return "; ".join(dict.fromkeys(str(part) for part in parts if part))
