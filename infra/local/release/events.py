"""What the release path puts on EventBridge, in AWS's shape.

https://docs.aws.amazon.com/codecommit/latest/userguide/monitoring-events.html
https://docs.aws.amazon.com/codepipeline/latest/userguide/detect-state-changes-cloudwatch-events.html
https://docs.aws.amazon.com/codebuild/latest/userguide/sample-build-notifications-ref.html
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from moto.events.models import events_backends

from infra.local.aws import ACCOUNT

REPOSITORY = "CodeCommit Repository State Change"
PIPELINE = "CodePipeline Pipeline Execution State Change"
STAGE = "CodePipeline Stage Execution State Change"
ACTION = "CodePipeline Action Execution State Change"
BUILD = "CodeBuild Build State Change"


def put(region: str, detail_type: str, resource: str, detail: dict[str, Any]) -> None:
    """`resource`: its ARN, whose service is the event's source."""
    event = {
        "Source": f"aws.{resource.split(':')[2]}",
        "DetailType": detail_type,
        "Detail": json.dumps(detail),
        "Resources": [resource],
    }
    events_backends[ACCOUNT][region].put_events([event])


def iso(time: datetime) -> str:
    """As CodePipeline writes it: 2023-10-26T13:49:39.208Z."""
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def american(time: datetime) -> str:
    """As CodeBuild writes it: Sep 1, 2017 4:12:29 PM."""
    hour = time.hour % 12 or 12
    return f"{time:%b} {time.day}, {time.year} {hour}:{time:%M:%S %p}"
