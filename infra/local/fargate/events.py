"""A task's state changes, put on EventBridge: moto's rules carry them on, to queues for example.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_task_events.html
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from moto.events.models import events_backends

from infra.local.fargate.task import Task

DETAIL_TYPE = "ECS Task State Change"
_WITHOUT_TAGS = {"tags"}  # the event has none: who wants them asks DescribeTasks


def detail(task: Task) -> dict[str, Any]:
    """The event's `detail`: what DescribeTasks says, with times as text."""
    told = {name: value for name, value in task.describe().items() if name not in _WITHOUT_TAGS}
    # An attachment's type is spelt otherwise than in the API.
    told["attachments"] = [{**attached, "type": "eni"} for attached in told["attachments"]]
    now = datetime.now(UTC)
    return {name: _text(value) for name, value in (told | {"updatedAt": now}).items()}


def put(task: Task, account: str) -> None:
    event = {
        "Source": "aws.ecs",
        "DetailType": DETAIL_TYPE,
        "Detail": json.dumps(detail(task)),
        "Resources": [task.arn],
    }
    events_backends[account][task.region].put_events([event])


def _text(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value
