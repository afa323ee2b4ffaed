"""One installation as the credentials and the region at hand see it: in AWS, or on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from deployments.diagnosis import Diagnosis, diagnose
from deployments.orchestrator import wake_up
from deployments.orchestrator.journal import KEY, Journal, parsed
from deployments.outputs import Outputs, outputs
from deployments.work_pool import output
from flows.problem import Problem

CONTAINER = "orchestrator"  # as the task definition names it


@dataclass(frozen=True)
class Service:
    """The orchestrator's ECS service."""

    desired: int
    running: int
    tasks: tuple[str, ...] = ()  # ARNs of those that run, and were not told to stop
    event: str = ""  # the newest, in ECS's words
    ended: Diagnosis | None = None  # of the task that failed last
    ended_at: datetime | None = None


@dataclass(frozen=True)
class WakeUp:
    """The schedule that sets the service to 1."""

    expression: str  # 'at(2026-11-27T05:57:00)'
    at: datetime | None  # None if it is not set to one time
    enabled: bool = True


@dataclass(frozen=True)
class Installation:
    outputs: Outputs
    session: Any  # boto3's
    _clients: dict[str, Any] = field(default_factory=dict)

    @property
    def stack(self) -> str:
        return self.outputs.stack

    def output(self, key: str) -> str:
        return output(self.outputs.values, key)

    @property
    def bucket(self) -> str:
        return self.output("StateBucket")

    @property
    def log_group(self) -> str:
        """The orchestrator's own; a sibling of the jobs'."""
        return f"{self.output('JobLogGroup').rpartition('/')[0]}/{self.output('ServiceName')}"

    def client(self, service: str) -> Any:
        from botocore.config import Config

        if service not in self._clients:
            settings = Config(
                retries={"mode": "standard", "max_attempts": 5}, connect_timeout=10, read_timeout=30
            )
            self._clients[service] = self.session.client(service, config=settings)
        return self._clients[service]


def installation(stack: str) -> Installation:
    """Raises Problem if there is no such stack, or AWS does not know who asks."""
    import boto3

    with asking("describe the stack"):
        session = boto3.Session()
        found = outputs(stack, session.client("cloudformation"))
    return Installation(found, session)


# --- refusals ------------------------------------------------------------------------------------

_FIXES = {
    **dict.fromkeys(
        (
            "ExpiredToken",
            "ExpiredTokenException",
            "InvalidClientTokenId",
            "UnrecognizedClientException",
        ),
        "log in to AWS again: these credentials have expired, or are not known",
    ),
    **dict.fromkeys(
        ("AccessDenied", "AccessDeniedException", "403", "UnauthorizedOperation"),
        "ask a cloud engineer for the right to do this, or use another AWS_PROFILE",
    ),
}
_LOG_IN = (
    "see that AWS knows who and where you are (AWS_PROFILE, AWS_DEFAULT_REGION), and that it can "
    "be reached"
)


@contextmanager
def asking(what: str) -> Iterator[None]:
    """What AWS refuses, or does not answer, becomes a Problem that names it."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        raise Problem(
            f"AWS refused to {what}",
            detail=str(error),
            fix=_FIXES.get(code, "see what it says, and try again"),
        ) from error
    except BotoCoreError as error:
        raise Problem(f"cannot {what}", detail=str(error), fix=_LOG_IN) from error


def code(error: Any) -> str:
    """Of a botocore ClientError."""
    return str(error.response.get("Error", {}).get("Code", ""))


# --- the state bucket ----------------------------------------------------------------------------


def read(at: Installation, key: str) -> bytes | None:
    """An object of the state bucket; None if it is not there."""
    from botocore.exceptions import ClientError

    with asking(f"read s3://{at.bucket}/{key}"):
        try:
            content: bytes = at.client("s3").get_object(Bucket=at.bucket, Key=key)["Body"].read()
        except ClientError as error:
            if code(error) in ("NoSuchKey", "404"):
                return None
            raise
        return content


def read_mapping(at: Installation, key: str) -> dict[str, Any] | None:
    """A JSON object; None if it is not there."""
    body = read(at, key)
    if body is None:
        return None
    try:
        content = json.loads(body)
    except ValueError as error:
        raise Problem(
            "an object of the state bucket is not JSON",
            where={"object": f"s3://{at.bucket}/{key}"},
            detail=str(error),
            fix="delete it: what is needed of it is made anew",
        ) from error
    return content if isinstance(content, dict) else None


def write(at: Installation, key: str, content: Mapping[str, Any]) -> None:
    with asking(f"write s3://{at.bucket}/{key}"):
        at.client("s3").put_object(
            Bucket=at.bucket,
            Key=key,
            Body=json.dumps(content).encode(),
            ContentType="application/json",
        )


def listed(at: Installation, prefix: str) -> list[tuple[str, datetime]]:
    """Keys and when they were written, the oldest first."""
    with asking(f"list s3://{at.bucket}/{prefix}"):
        pages = at.client("s3").get_paginator("list_objects_v2")
        found = [
            (each["Key"], each["LastModified"])
            for page in pages.paginate(Bucket=at.bucket, Prefix=prefix)
            for each in page.get("Contents", ())
        ]
    return sorted(found, key=lambda each: each[1])


def journal(at: Installation) -> Journal | None:
    """None if no orchestrator was ever awake."""
    body = read(at, KEY)
    return None if body is None else parsed(body, f"s3://{at.bucket}/{KEY}")


# --- the service ---------------------------------------------------------------------------------


def service(at: Installation) -> Service:
    cluster, name = at.output("ClusterName"), at.output("ServiceName")
    with asking("describe the orchestrator's service"):
        ecs = at.client("ecs")
        found = ecs.describe_services(cluster=cluster, services=[name])["services"]
        if not found or found[0].get("status") == "INACTIVE":
            raise Problem(
                "the orchestrator's service is not there",
                where={"cluster": cluster, "service": name},
                fix="a cloud engineer deploys the stack of this version: make deploy",
            )
        tasks = [
            task
            for desired in ("RUNNING", "STOPPED")
            for task in _tasks(ecs, cluster, name, desired)
        ]
    running = tuple(
        str(task["taskArn"])
        for task in tasks
        if task["lastStatus"] == "RUNNING" and task["desiredStatus"] == "RUNNING"
    )
    stopped = [task for task in tasks if task.get("lastStatus") == "STOPPED" and not _well(task)]
    last = max(stopped, key=_stopped_at, default=None)
    events = found[0].get("events") or [{}]
    return Service(
        desired=int(found[0]["desiredCount"]),
        running=int(found[0]["runningCount"]),
        tasks=running,
        event=str(events[0].get("message", "")),
        ended=diagnose(last) if last else None,
        ended_at=_stopped_at(last) if last else None,
    )


def _tasks(ecs: Any, cluster: str, name: str, desired: str) -> list[Any]:
    arns = ecs.list_tasks(cluster=cluster, serviceName=name, desiredStatus=desired)["taskArns"]
    if not arns:
        return []
    return list(ecs.describe_tasks(cluster=cluster, tasks=arns[:100])["tasks"])


def _well(task: Mapping[str, Any]) -> bool:
    """Whether it ended as it should: by itself, or because the service was set to 0."""
    if task.get("stopCode") == "ServiceSchedulerInitiated":
        return True
    # There may be another's container beside it, which is ended with it.
    own = [one for one in task.get("containers") or () if one.get("name") == CONTAINER]
    return bool(own) and own[0].get("exitCode") == 0


def _stopped_at(task: Mapping[str, Any]) -> datetime:
    at = task.get("stoppedAt")
    return at if isinstance(at, datetime) else datetime.min.replace(tzinfo=UTC)


def set_to_one(at: Installation) -> None:
    """The same, however often, and by however many."""
    with asking("set the orchestrator's service to 1"):
        at.client("ecs").update_service(
            cluster=at.output("ClusterName"), service=at.output("ServiceName"), desiredCount=1
        )


def task(at: Installation, arn: str) -> Any:
    """An ECS task as DescribeTasks shows it; None if ECS has forgotten it."""
    with asking("describe an ECS task"):
        found = at.client("ecs").describe_tasks(cluster=at.output("ClusterName"), tasks=[arn])
    return next(iter(found["tasks"]), None)


def mode(at: Installation) -> str:
    """'asleep', 'always' or 'external', as the service's task definition says."""
    with asking("describe the orchestrator's task definition"):
        ecs = at.client("ecs")
        (found,) = ecs.describe_services(
            cluster=at.output("ClusterName"), services=[at.output("ServiceName")]
        )["services"]
        definition = ecs.describe_task_definition(taskDefinition=found["taskDefinition"])
    variables = definition["taskDefinition"]["containerDefinitions"][0].get("environment") or ()
    named = {each["name"]: each["value"] for each in variables}
    return named.get("NIGHTSHIFT_ORCHESTRATOR") or "asleep"


def wakes(at: Installation) -> WakeUp | None:
    """The schedule as it is; None if it is not there."""
    from botocore.exceptions import ClientError

    group, _, name = at.output("WakeUpSchedule").partition("/")
    with asking("read the wake-up"):
        try:
            found = at.client("scheduler").get_schedule(GroupName=group, Name=name)
        except ClientError as error:
            if code(error) == "ResourceNotFoundException":
                return None
            raise
    expression = str(found["ScheduleExpression"])
    zone = found.get("ScheduleExpressionTimezone") or "UTC"
    return WakeUp(expression, wake_up.at(expression, zone), found.get("State") != "DISABLED")
