"""A run has ended in Prefect's eyes, and its ECS task has not: what it still says is heard out.

That is the end of its log, and what it has cost (deployments/meter). Both come in the seconds after
its last state, and the server would be gone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from deployments.straighten import RUN_TAG
from flows.problem import Problem

SECONDS = 20  # at most


def hear_out(ecs: Any, cluster: str, wait: Callable[[float], bool]) -> None:
    """Comes back once no ECS task of a run is to go on, or nobody knows. `wait`: some seconds, or
    until it is true that there is no time.
    """
    from deployments.set_straight import look

    for _ in range(SECONDS):
        try:
            tasks = look(ecs, cluster, ())
        except Problem:
            return
        # ECS wants it stopped as soon as its container has ended, and takes a while to see to it.
        if not any(task.get("desiredStatus") == "RUNNING" and _of_a_run(task) for task in tasks):
            return
        if wait(1):
            return


def _of_a_run(task: Any) -> bool:
    return any(tag.get("key") == RUN_TAG for tag in task.get("tags") or ())
