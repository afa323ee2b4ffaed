"""An installation in moto's AWS whose orchestrator is played by the test."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import boto3

from deployments.operate import installation as aws
from deployments.operate.installation import Installation, installation
from deployments.orchestrator.journal import ANSWERS, KEY, REQUESTS, Journal
from tests.deployments.stack import OUTPUTS

DEPLOYMENT = "cost-report/daily"
WORKING = Journal(life=1, doing="working", because="somebody asks for a run")


@dataclass
class Played:
    """`requested`: what it answers to a request, one after the other."""

    at: Installation
    stack: str
    tasks: list[dict[str, Any]] = field(default_factory=list)
    requested: list[dict[str, str]] = field(default_factory=list)
    taken: list[dict[str, Any]] = field(default_factory=list)
    desired_counts: list[int] = field(default_factory=list)  # as it was woken
    deaf: int = 0  # so many wake-ups are lost
    idle: bool = False  # it finds nothing to do, and sleeps again at once

    @property
    def s3(self) -> Any:
        return self.at.client("s3")

    def put(self, key: str, content: Any) -> None:
        self.s3.put_object(Bucket=self.at.bucket, Key=key, Body=json.dumps(content).encode())

    def get(self, key: str) -> Any:
        return json.loads(self.s3.get_object(Bucket=self.at.bucket, Key=key)["Body"].read())

    def keys(self, prefix: str = "") -> list[str]:
        found = self.s3.list_objects_v2(Bucket=self.at.bucket, Prefix=prefix)
        return [each["Key"] for each in found.get("Contents", ())]

    def journal(self, journal: Journal) -> None:
        self.put(KEY, asdict(journal))

    def set(self, count: int) -> None:
        self.at.client("ecs").update_service(
            cluster=self.at.output("ClusterName"),
            service=self.at.output("ServiceName"),
            desiredCount=count,
        )

    def start_task(self) -> str:
        arn = f"arn:aws:ecs:us-east-1:123456789012:task/{self.stack}/{uuid.uuid4().hex}"
        self.tasks.append(
            {"taskArn": arn, "lastStatus": "RUNNING", "desiredStatus": "RUNNING"},
        )
        return arn

    def log(self, task: str, *lines: str) -> None:
        logs, group = self.at.client("logs"), self.at.output("JobLogGroup")
        name = f"job/prefect/{task.rpartition('/')[2]}"
        with suppress(logs.exceptions.ResourceAlreadyExistsException):
            logs.create_log_stream(logGroupName=group, logStreamName=name)
        now = int(time.time() * 1000)
        events = [{"timestamp": now, "message": line} for line in lines]
        logs.put_log_events(logGroupName=group, logStreamName=name, logEvents=events)

    @contextmanager
    def awake_when_woken(self) -> Iterator[None]:
        """Until the context ends: works as soon as the service is at 1, and answers requests."""
        over = threading.Event()
        thread = threading.Thread(target=self._live, args=[over.is_set])
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _live(self, over: Callable[[], bool]) -> None:
        while not over():
            time.sleep(0.05)
            service = aws.service(self.at)
            if not self.tasks and service.desired:
                self.desired_counts.append(service.desired)
                if self.deaf:
                    self.deaf -= 1
                    self.set(0)
                    continue
                if self.idle:
                    self.set(0)
                    self.journal(replace(WORKING, doing="asleep", because="", began=now()))
                    continue
                self.journal(replace(WORKING, holder=self.start_task()))
            if self.tasks:
                self._answer()

    def _answer(self) -> None:
        for key in self.keys(REQUESTS):
            self.taken.append(self.get(key))
            for answer in self.requested:
                self.put(f"{ANSWERS}{key.removeprefix(REQUESTS)}", answer)
                self.s3.delete_object(Bucket=self.at.bucket, Key=key)
                time.sleep(1)


def make_stack(name: str, made: dict[str, dict[str, str]]) -> None:
    resource = {"Topic": {"Type": "AWS::SNS::Topic"}}
    template = {"Resources": resource, "Outputs": made}
    boto3.client("cloudformation").create_stack(StackName=name, TemplateBody=json.dumps(template))


def install(stack: str) -> Installation:
    """In the AWS that boto3 goes to: what the commands look at, with the service at 0."""
    values = OUTPUTS | {
        "ClusterName": stack,
        "ServiceName": "orchestrator",
        "StateBucket": f"{stack}-state",
        "JobLogGroup": f"/{stack}/jobs",
        "ApiSecret": f"/{stack}/prefect-api-auth",
        "WakeUpSchedule": f"{stack}/wake-up",
    }
    make_stack(stack, {key: {"Value": value} for key, value in values.items()})
    make_stack(
        f"{stack}-identity", {"CostReportDaily": {"Value": "arn:r", "Description": DEPLOYMENT}}
    )
    boto3.client("s3").create_bucket(Bucket=values["StateBucket"])
    boto3.client("logs").create_log_group(logGroupName=values["JobLogGroup"])
    boto3.client("ssm").put_parameter(
        Name=values["ApiSecret"], Type="SecureString", Value="nightshift:secret"
    )
    scheduler = boto3.client("scheduler")
    scheduler.create_schedule_group(Name=stack)
    scheduler.create_schedule(
        GroupName=stack,
        Name="wake-up",
        ScheduleExpression="at(2126-11-27T05:57:00)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": "arn:aws:scheduler:::aws-sdk:ecs:updateService", "RoleArn": "arn:r"},
    )
    ecs = boto3.client("ecs")
    ecs.create_cluster(clusterName=stack)
    container = {"name": "orchestrator", "image": "i", "memory": 512}
    ecs.register_task_definition(family=stack, containerDefinitions=[container])
    ecs.create_service(
        cluster=stack, serviceName="orchestrator", taskDefinition=stack, desiredCount=0
    )
    return installation(stack)


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
