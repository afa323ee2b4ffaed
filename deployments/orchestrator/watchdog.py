"""The watchdog: a schedule of EventBridge that tells people of runs which have not begun.

It stands at the time at which the next run is overdue, with the whole message in it, and is moved
on when that run begins. So it fires if nobody has come to move it: also where no orchestrator ever
starts, and nothing of ours is awake to say so. EventBridge Scheduler publishes by itself:
https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-targets-universal.html
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from deployments.orchestrator import wake_up
from deployments.orchestrator.alerts import as_subject, letter
from deployments.orchestrator.life import SetWatchdog, Unbegun

# A time that is past says nothing about whether AWS would take it: one that never comes is told by
# the state alone, and the expression is the template's own.
IDLE = "cron(0 5 * * ? *)"
# Runs that are named. EventBridge names no most for what its target is given, so that SNS's 256 KiB
# hold: https://docs.aws.amazon.com/scheduler/latest/APIReference/API_Target.html
NAMED = 10


def read(scheduler: Any, group: str, name: str) -> datetime | None:
    """When it tells, or has told; None if it is switched off."""
    found = scheduler.get_schedule(GroupName=group, Name=name)
    if found["State"] != "ENABLED":
        return None
    return wake_up.at(found["ScheduleExpression"], found.get("ScheduleExpressionTimezone") or "UTC")


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
    said = [_said(run, to.at) for run in to.runs]
    log_group = f"/{stack}/orchestrator"
    deployments = list(dict.fromkeys(run.deployment for run in to.runs[:NAMED]))
    by_hand = "\n".join(f"make trigger DEPLOYMENT={name} runs it now" for name in deployments)
    them = "it" if len(said) == 1 else "them"
    return {
        "TopicArn": topic,
        "Subject": as_subject(f"{stack}: {_which(to.runs)}"),
        "Message": letter(
            what=listed(said, "\n"),
            where=f"the orchestrator that starts {them}: make status\nits log group {log_group}, "
            f"and the events of the service in the ECS cluster {stack}",
            why="It was not woken, or could not start: an image that does not start, no capacity "
            f"at Fargate.\nOr it works and has not started {them}: a concurrency limit of the work "
            "pool or of its queue is reached, or the pool was paused after this was set.",
            next=f"make status says what it does and why; make wake wakes it\n{by_hand}",
        ),
    }


def _which(runs: Sequence[Unbegun]) -> str:
    first = runs[0].deployment
    if len(runs) == 1:
        return f"{first} was due and has not begun"
    more = "1 more run" if len(runs) == 2 else f"{len(runs) - 1} more runs"
    return f"{first} and {more} were due and have not begun"


def _said(run: Unbegun, at: datetime) -> str:
    minutes = round((at - run.due).total_seconds() / 60)
    late = "1 minute" if minutes == 1 else f"{minutes} minutes"
    due = f"was due at {run.due:%Y-%m-%d %H:%M:%S} UTC and has not begun {late} later"
    return f"{run.deployment}, run {run.run}, {due}"


def listed(names: Sequence[str], between: str = ", ") -> str:
    more = [f"and {len(names) - NAMED} more"] if len(names) > NAMED else []
    return between.join([*names[:NAMED], *more])
