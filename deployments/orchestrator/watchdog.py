"""The watchdog: a schedule of EventBridge that tells people of a run which has not begun.

It stands at the time at which the next run is overdue, with the whole message in it, and is moved
on when that run begins. So it fires if nobody has come to move it: also where no orchestrator ever
starts, and nothing of ours is awake to say so. EventBridge Scheduler publishes by itself:
https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-targets-universal.html
"""

from __future__ import annotations

import json
from typing import Any

from deployments.orchestrator import wake_up
from deployments.orchestrator.alerts import as_subject, letter
from deployments.orchestrator.life import SetWatchdog

# A time that is past says nothing about whether AWS would take it: one that never comes is told by
# the state alone, and the expression is the template's own.
IDLE = "cron(0 5 * * ? *)"


def move(
    scheduler: Any, schedule: tuple[str, str], to: SetWatchdog, *, topic: str, stack: str
) -> None:
    """`schedule`: its group and name. Switches it off if it is set to no time."""
    group, name = schedule
    if to.at is None:
        wake_up.change(scheduler, group, name, IDLE, enabled=False)
        return
    said = json.dumps(message(to, topic=topic, stack=stack))
    wake_up.change(scheduler, group, name, wake_up.expression(to.at), said=said)


def message(to: SetWatchdog, *, topic: str, stack: str) -> dict[str, str]:
    """What sns:Publish is asked for."""
    assert to.at is not None
    assert to.due is not None
    minutes = round((to.at - to.due).total_seconds() / 60)
    late = "1 minute" if minutes == 1 else f"{minutes} minutes"
    what = f"{to.deployment}, run {to.run}, was due at {to.due:%Y-%m-%d %H:%M:%S} UTC"
    log_group = f"/{stack}/orchestrator"
    return {
        "TopicArn": topic,
        "Subject": as_subject(f"{stack}: {to.deployment} was due and has not begun"),
        "Message": letter(
            what=f"{what} and has not begun {late} later",
            where=f"the orchestrator that starts it: make status\nits log group {log_group}, and "
            f"the events of the service in the ECS cluster {stack}",
            why="It was not woken, or could not start: an image that does not start, no capacity "
            "at Fargate.\nOr it works and has not started the run: a concurrency limit of the work "
            "pool or of its queue is reached, or the pool was paused after this was set.",
            next="make status says what it does and why; make wake wakes it\n"
            f"make trigger DEPLOYMENT={to.deployment} runs it now",
        ),
    }
