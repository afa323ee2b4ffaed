"""A local AWS with one cluster whose tasks run, for the tests of the local Fargate."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from infra.local.aws import ACCOUNT, LocalAws, local_aws
from infra.local.engine import Engine, find_engine
from infra.local.fargate import Fargate, local_fargate
from infra.local.fargate.containers import Containers
from infra.local.fargate.processes import Processes
from infra.local.fargate.runtime import Runtime
from infra.local.valid import Finding

PROJECT = Path(__file__).parents[2]
CLUSTER = "cluster"
NEVER = "sleep 100000"
STUBBORN = f"trap '' TERM; echo up; while :; do {NEVER}; done"
OBEDIENT = "trap 'exit 7' TERM; echo up; while :; do sleep 0.1; done"

_IMAGES = ("public.ecr.aws/docker/library/python:3.13-slim-trixie", "localhost/nightshift:dev")
_TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "ecs-tasks.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}
RIGHTS = {
    "execution": [
        ("logs:CreateLogStream", f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/tasks:*"),
        ("logs:PutLogEvents", f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/tasks:*"),
        ("ssm:GetParameters", f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/fine*"),
        ("ecr:*", "*"),
    ],
    "job": [("s3:PutObject", "arn:aws:s3:::bucket/job/*")],
    "other": [("s3:PutObject", "arn:aws:s3:::bucket/other/*")],
}


def role(name: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


def find_image(engine: Engine) -> str:
    """One that this machine has, or ''."""
    for image in _IMAGES:
        if engine.run("image", "inspect", image, check=False).returncode == 0:
            return image
    return ""


def find_podman(folder: Path) -> Engine | None:
    engine = find_engine(folder)
    return engine if engine is not None and engine.name == "podman" else None


def until(true: Callable[[], object], what: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.05)


@dataclass
class Cloud:
    aws: LocalAws
    runtime: Runtime
    image: str
    lines: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # by ARN
    events: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    findings: list[Finding] = field(default_factory=list)
    families: int = 0

    fargate: Fargate = field(init=False)
    network: dict[str, Any] = field(init=False)
    queue: str = field(init=False)

    @cached_property
    def ecs(self) -> Any:
        return self.aws.client("ecs")

    def prepare(self) -> None:
        ec2, iam = self.aws.client("ec2"), self.aws.client("iam")
        self.network = {
            "awsvpcConfiguration": {
                "subnets": [ec2.describe_subnets()["Subnets"][0]["SubnetId"]],
                "securityGroups": [ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]],
            }
        }
        self.ecs.create_cluster(clusterName=CLUSTER, capacityProviders=["FARGATE", "FARGATE_SPOT"])
        self.aws.client("logs").create_log_group(logGroupName="/tasks")
        self.aws.client("s3").create_bucket(Bucket="bucket")
        self.aws.client("ecr").create_repository(repositoryName="repository")
        ssm = self.aws.client("ssm")
        for name in ("/fine/secret", "fine", "/private/secret"):
            ssm.put_parameter(Name=name, Value=f"the value of {name}", Type="SecureString")
        for name, rights in RIGHTS.items():
            iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(_TRUST))
            statements = [
                {"Effect": "Allow", "Action": action, "Resource": resource}
                for action, resource in rights
            ]
            document = {"Version": "2012-10-17", "Statement": statements}
            iam.put_role_policy(
                RoleName=name, PolicyName="rights", PolicyDocument=json.dumps(document)
            )
        sqs, events = self.aws.client("sqs"), self.aws.client("events")
        self.queue = sqs.create_queue(QueueName="events")["QueueUrl"]
        pattern = {"source": ["aws.ecs"], "detail-type": ["ECS Task State Change"]}
        events.put_rule(Name="tasks", EventPattern=json.dumps(pattern))
        arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:events"
        events.put_targets(Rule="tasks", Targets=[{"Id": "queue", "Arn": arn}])

    def define(self, shell: str = "", **changed: Any) -> str:
        """A task definition's family; `changed` is of its container."""
        self.families += 1
        family = f"family-{self.families}"
        container = {
            "name": "main",
            "image": self.image,
            "command": ["/bin/sh", "-c", shell],
            "stopTimeout": 100,
            "logConfiguration": {
                "logDriver": "awslogs",
                "options": {
                    "awslogs-group": "/tasks",
                    "awslogs-region": "us-east-1",
                    "awslogs-stream-prefix": "prefix",
                },
            },
        }
        self.ecs.register_task_definition(
            family=family,
            cpu="256",
            memory="512",
            networkMode="awsvpc",
            requiresCompatibilities=["FARGATE"],
            executionRoleArn=role("execution"),
            taskRoleArn=role("job"),
            volumes=[{"name": m["sourceVolume"]} for m in changed.get("mountPoints", [])],
            containerDefinitions=[container | changed],
        )
        return family

    def request(self, family: str, **changed: Any) -> dict[str, Any]:
        strategy = "capacityProviderStrategy" in changed
        return {
            "cluster": CLUSTER,
            "taskDefinition": family,
            "networkConfiguration": self.network,
            **({} if strategy else {"launchType": "FARGATE"}),
            **changed,
        }

    def start(self, family: str, **changed: Any) -> str:
        """A task's ARN."""
        answer = self.ecs.run_task(**self.request(family, **changed))
        assert not answer["failures"]
        return str(answer["tasks"][0]["taskArn"])

    def up(self, *arns: str) -> None:
        """Waits until they have said something."""
        for arn in arns:
            until(lambda arn=arn: self.lines[arn], "a first line")  # type: ignore[misc]

    def end(self, arn: str) -> dict[str, Any]:
        """The task as it is described when it has ended."""
        assert self.fargate.task(arn).ended.wait(60)
        return self.describe(arn)

    def run(self, shell: str, **changed: Any) -> tuple[dict[str, Any], list[str]]:
        """One from start to end, and what it wrote."""
        arn = self.start(self.define(shell, **changed))
        return self.end(arn), self.lines[arn]

    def describe(self, arn: str) -> dict[str, Any]:
        found = self.ecs.describe_tasks(cluster=CLUSTER, tasks=[arn])["tasks"]
        return dict(found[0])

    def stop(self, arn: str, **changed: Any) -> None:
        self.ecs.stop_task(cluster=CLUSTER, task=arn, **changed)

    def events_of(self, arn: str) -> list[dict[str, Any]]:
        """The details of all that came to the queue."""
        sqs = self.aws.client("sqs")
        while got := sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get(
            "Messages"
        ):
            for message in got:
                detail = json.loads(message["Body"])["detail"]
                self.events[detail["taskArn"]].append(detail)
                sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
        return sorted(self.events[arn], key=lambda detail: int(detail["version"]))

    def logged(self, arn: str) -> list[str]:
        """What CloudWatch has of it."""
        pages = self.aws.client("logs").get_paginator("filter_log_events")
        stream = f"prefix/main/{arn.split('/')[-1]}"
        found = pages.paginate(logGroupName="/tasks", logStreamNames=[stream])
        return [event["message"] for page in found for event in page["events"]]

    def serve(self, name: str, family: str, count: int = 1, **changed: Any) -> None:
        self.ecs.create_service(
            **self.request(family, serviceName=name, desiredCount=count, **changed)
        )

    def serving(self, name: str) -> list[str]:
        """ARNs of a service's tasks that are to run."""
        found = self.ecs.list_tasks(cluster=CLUSTER, serviceName=name)["taskArns"]
        return [str(arn) for arn in found]


@contextmanager
def cloud(runtime: Runtime, image: str) -> Iterator[Cloud]:
    with local_aws() as aws:
        made = Cloud(aws, runtime, image)
        made.prepare()
        with local_fargate(
            aws, runtime, said=lambda task, line: made.lines[task.arn].append(line)
        ) as made.fargate:
            yield made


# --- one that is to end in the middle of things --------------------------------------------------

_IN_BETWEEN = 0.2  # seconds


def busy(kind: str, image: str, folder: str, mark: str) -> None:
    """A whole cloud with tasks in every stage of their lives, until a line comes in."""
    runtime: Runtime = Processes(PROJECT)
    if kind == "podman":
        engine = find_podman(Path(folder))
        assert engine is not None
        runtime = Containers(engine, {})
    with cloud(runtime, image) as made:
        volume = [{"sourceVolume": "data", "containerPath": "/data"}]
        family = made.define(f"echo up; {NEVER} {mark}", mountPoints=volume)
        stubborn = made.define(f"trap '' TERM; echo up; while :; do {NEVER} {mark}; done")
        arns = [made.start(each) for each in (family, stubborn)]
        made.serve("service", family)
        made.up(*arns)
        made.stop(arns[1])
        for _ in range(2):
            made.start(family)
            time.sleep(_IN_BETWEEN)
        made.start(family)
        print("ready", flush=True)
        sys.stdin.readline()


@contextmanager
def busy_process(kind: str, image: str, folder: Path, mark: str) -> Iterator[subprocess.Popen[str]]:
    """It, in a process of its own, when it is ready."""
    code = f"from tests.infra.fargate_cloud import busy; busy{(kind, image, str(folder), mark)}"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        env={**os.environ, "TMPDIR": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def processes_with(mark: str) -> list[int]:
    """Of the whole machine, by their command lines."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if mark in file.read_text(errors="replace") and b"busy(" not in file.read_bytes():
                found.append(int(file.parent.name))
    return found
