"""What a service's scheduler does next. Decides, and does nothing.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-ecs.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# A task that has been told to stop counts neither as running nor as pending, so that its successor
# may start while it still has its stopTimeout: ECS promises no more.
_LIVE = ("PROVISIONING", "PENDING", "ACTIVATING", "RUNNING")


@dataclass(frozen=True)
class ServiceTask:
    arn: str
    deployment: str
    last_status: str
    stopping: bool  # its desired status is STOPPED

    @property
    def live(self) -> bool:
        return self.last_status in _LIVE and not self.stopping

    @property
    def runs(self) -> bool:
        return self.last_status == "RUNNING" and not self.stopping


@dataclass(frozen=True)
class Decision:
    stop: tuple[str, ...] = ()  # ARNs
    start: int = 0


def decide(
    desired: int,
    deployment: str,
    tasks: Sequence[ServiceTask],
    *,
    minimum_percent: int = 100,
    maximum_percent: int = 200,
) -> Decision:
    """Tasks of another deployment than the present one are replaced, within the percentages."""
    least = -(-desired * minimum_percent // 100)
    most = desired * maximum_percent // 100
    live = [task for task in tasks if task.live]
    # Those that run first: what is too much is taken from the end.
    current = sorted((t for t in live if t.deployment == deployment), key=lambda t: not t.runs)
    kept, surplus = current[:desired], current[desired:]
    old = [task for task in live if task.deployment != deployment]
    running = [task for task in old if task.runs]
    spare = max(0, sum(task.runs for task in kept) + len(running) - least)
    # One that waits for its machine is stopped whatever the minimum: it serves nobody yet.
    waiting = [task for task in old if not task.runs]
    stop = tuple(task.arn for task in (*surplus, *waiting, *running[:spare]))
    return Decision(stop, max(0, min(desired - len(kept), most - len(live))))
