"""Where this process is: its ECS task, its address, its image, and what the stacks say."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from deployments.orchestrator.life import Mode
from deployments.outputs import Outputs, outputs
from deployments.work_pool import output
from flows.problem import Problem

PORT = 4200


@dataclass(frozen=True)
class Surroundings:
    mode: Mode
    lead: timedelta
    overdue: timedelta  # after which people are told that a run has not begun; 0: never
    history_days: int
    task: str  # its ARN
    cluster: str
    service: str
    image: str  # REPOSITORY@sha256:…
    repository: str  # 123456789012.dkr.ecr.REGION.amazonaws.com/NAME
    region: str
    address: str  # this task's own
    api: str  # http://10.0.0.7:4200/api, or the external one
    bucket: str  # of the state
    wake_up: tuple[str, str]  # the schedule's group and name; ('', '') if there is none
    watchdog: tuple[str, str]  # the same of the watchdog: a stack may be older than this image
    topic: str  # the ARN of the one for alerts; ''
    queue: str  # of the ECS tasks' events
    outputs: Outputs

    @property
    def digest(self) -> str:
        return self.image.partition("@")[2]


def surroundings(environment: Mapping[str, str] = os.environ) -> Surroundings:
    """Asks ECS's metadata endpoint and CloudFormation. Raises a Problem if this is not Fargate."""
    task = _metadata(environment)
    found = outputs(_required(environment, "NIGHTSHIFT_STACK"))
    values = found.values
    mode = environment.get("NIGHTSHIFT_ORCHESTRATOR") or "asleep"
    if mode not in ("asleep", "always", "external"):
        raise Problem(
            "there is no such kind of orchestrator",
            where={"variable": "NIGHTSHIFT_ORCHESTRATOR"},
            value=mode,
            fix='one of "asleep", "always", "external"',
        )
    repository = output(values, "ImageRepository")
    arn, digest, address = _own(task, repository)
    own = f"http://{address}:{PORT}/api"
    return Surroundings(
        mode=mode,  # type: ignore[arg-type]  # it is one of them
        lead=timedelta(seconds=_number(environment, "NIGHTSHIFT_WAKE_LEAD", 120)),
        overdue=timedelta(minutes=_number(environment, "NIGHTSHIFT_OVERDUE_MINUTES", 30)),
        history_days=int(_number(environment, "NIGHTSHIFT_HISTORY_DAYS", 60)),
        task=arn,
        cluster=output(values, "ClusterName"),
        service=output(values, "ServiceName"),
        image=f"{repository}@{digest}",
        repository=repository,
        region=_required(environment, "AWS_DEFAULT_REGION"),
        address=address,
        api=_required(environment, "PREFECT_API_URL") if mode == "external" else own,
        bucket=output(values, "StateBucket"),
        wake_up=_schedule(values, "WakeUpSchedule"),
        watchdog=_schedule(values, "WatchdogSchedule"),
        topic=values.get("AlertTopic", ""),
        queue=output(values, "TaskQueueName"),
        outputs=found,
    )


def _schedule(values: Mapping[str, str], name: str) -> tuple[str, str]:
    group, _, schedule = values.get(name, "").partition("/")
    return group, schedule


def _metadata(environment: Mapping[str, str]) -> Any:
    """https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4-fargate.html"""
    address = f"{_required(environment, 'ECS_CONTAINER_METADATA_URI_V4')}/task"
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:  # noqa: S310 - ECS's own
            return json.load(answer)
    except (OSError, ValueError) as error:
        raise _unsaid(str(error), address=address) from error


def _own(task: Any, repository: str) -> tuple[str, str, str]:
    """The task's ARN, our image's digest, and our address. GuardDuty puts a container of its own
    beside ours: https://docs.aws.amazon.com/guardduty/latest/ug/how-runtime-monitoring-works-ecs-fargate.html
    """
    try:
        containers = task["Containers"]
        ours = [one for one in containers if str(one.get("Image")).startswith(repository)]
        container = [*ours, *containers][0]
        return (
            str(task["TaskARN"]),
            str(container["ImageID"]),
            str(container["Networks"][0]["IPv4Addresses"][0]),
        )
    except (LookupError, TypeError, AttributeError) as error:
        raise _unsaid(f"{type(error).__name__}: {error}") from error


def _unsaid(detail: str, **where: object) -> Problem:
    return Problem(
        "ECS does not say which task this is",
        where=where or None,
        detail=detail,
        fix="it runs as an ECS task on Fargate: make wake, or make local on this machine",
    )


def _required(environment: Mapping[str, str], name: str) -> str:
    if not environment.get(name):
        raise Problem(
            "a variable that the orchestrator needs is not set",
            where={"variable": name},
            fix="it runs as an ECS task on Fargate: make wake, or make local on this machine",
        )
    return environment[name]


def _number(environment: Mapping[str, str], name: str, default: int) -> float:
    value = environment.get(name) or str(default)
    try:
        return float(value)
    except ValueError:
        raise Problem(
            "a variable is not a number", where={"variable": name}, value=value, fix="mend it"
        ) from None
