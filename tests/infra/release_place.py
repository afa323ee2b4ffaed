"""A local AWS with a release path whose buildspec is a few lines instead of the image's."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.local.aws import ACCOUNT, LocalAws, local_aws
from infra.local.release import api, events, source
from infra.local.release.builds import Builds
from infra.local.release.executions import Execution
from infra.local.release.pipelines import Pipelines
from infra.local.release.source import Repository
from infra.local.valid import Finding, validated
from tests.needs import need

NAME = "nightshift"
BUCKET = "artifacts"
PIPELINE_ARN = f"arn:aws:codepipeline:us-east-1:{ACCOUNT}:{NAME}"
PROJECT_ARN = f"arn:aws:codebuild:us-east-1:{ACCOUNT}:project/{NAME}"
CONNECTION = f"arn:aws:codeconnections:us-east-1:{ACCOUNT}:connection/0123"
STATE_CHANGES = (events.PIPELINE, events.ACTION, events.BUILD)

RIGHTS: dict[str, list[tuple[list[str], str]]] = {
    "codepipeline": [
        (
            [
                *("codecommit:GetBranch", "codecommit:GetCommit", "codecommit:UploadArchive"),
                "codecommit:GetUploadArchiveStatus",
            ],
            f"arn:aws:codecommit:us-east-1:{ACCOUNT}:{NAME}",
        ),
        (["codeconnections:UseConnection"], CONNECTION),
        (["s3:PutObject"], f"arn:aws:s3:::{BUCKET}/*"),
        (["codebuild:StartBuild", "codebuild:BatchGetBuilds"], PROJECT_ARN),
    ],
    "codebuild": [
        (["s3:GetObject"], f"arn:aws:s3:::{BUCKET}/*"),
        (
            ["logs:CreateLogStream", "logs:PutLogEvents"],
            f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/build:*",
        ),
    ],
}


def buildspec(*commands: str, phase: str = "build") -> str:
    lines = "".join(f"      - {json.dumps(command)}\n" for command in commands)
    return f"version: 0.2\nenv:\n  shell: bash\nphases:\n  {phase}:\n    commands:\n{lines}"


@dataclass
class Place:
    aws: LocalAws
    repository: Repository
    pipelines: Pipelines
    builds: Builds
    folder: Path
    events: str  # a queue's URL
    findings: list[Finding]
    said: list[str] = field(default_factory=list)

    def push(self, text: str, **files: str) -> str:
        changed: Mapping[str, str | None] = {"buildspec.yml": text, **files}
        return source.commit(self.repository, self.folder / "clone", changed, "A change")

    def start(self) -> Execution:
        id_ = self.client("codepipeline").start_pipeline_execution(name=NAME)
        found = self.pipelines.executions(NAME)
        return next(each for each in found if each.id == id_["pipelineExecutionId"])

    def run(self, *commands: str) -> Execution:
        self.push(buildspec(*commands))
        execution = self.start()
        assert execution.over.wait(60)
        return execution

    def client(self, service: str) -> Any:
        return self.aws.client(service)

    def told(self) -> list[dict[str, Any]]:
        """What was on EventBridge since the last time."""
        sqs, found = self.client("sqs"), []
        while messages := sqs.receive_message(QueueUrl=self.events, MaxNumberOfMessages=10).get(
            "Messages"
        ):
            for each in messages:
                found.append(json.loads(each["Body"]))
                sqs.delete_message(QueueUrl=self.events, ReceiptHandle=each["ReceiptHandle"])
        return found

    def log(self, execution: Execution) -> list[str]:
        (build,) = self.client("codebuild").batch_get_builds(ids=[build_of(execution)])["builds"]
        logs = build["logs"]
        found = self.client("logs").get_log_events(
            logGroupName=logs["groupName"], logStreamName=logs["streamName"], startFromHead=True
        )
        return [each["message"] for each in found["events"]]


def build_of(execution: Execution) -> str:
    return next(a.external_id for a in execution.actions if a.stage == "Build")


def until(look: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end
        time.sleep(0.05)


def prepare(aws: LocalAws, source_action: dict[str, Any]) -> None:
    iam, s3 = aws.client("iam"), aws.client("s3")
    for service, rights in RIGHTS.items():
        trust = {
            "Effect": "Allow",
            "Principal": {"Service": f"{service}.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"aws:SourceAccount": ACCOUNT}},
        }
        iam.create_role(RoleName=service, AssumeRolePolicyDocument=policy([trust]))
        statements = [
            {"Effect": "Allow", "Action": actions, "Resource": resource}
            for actions, resource in rights
        ]
        iam.put_role_policy(
            RoleName=service, PolicyName="rights", PolicyDocument=policy(statements)
        )
    s3.create_bucket(Bucket=BUCKET)
    aws.client("logs").create_log_group(logGroupName="/build")
    aws.client("codebuild").create_project(
        name=NAME,
        source={"type": "CODEPIPELINE", "location": "-", "buildspec": "buildspec.yml"},
        artifacts={"type": "CODEPIPELINE", "location": "-"},
        environment={
            "type": "ARM_CONTAINER",
            "image": "aws/codebuild/amazonlinux-aarch64-standard:3.0",
            "computeType": "BUILD_GENERAL1_SMALL",
            "environmentVariables": [{"name": "COLOUR", "value": "blue", "type": "PLAINTEXT"}],
        },
        serviceRole=f"arn:aws:iam::{ACCOUNT}:role/codebuild",
        timeoutInMinutes=5,
        logsConfig={"cloudWatchLogs": {"status": "ENABLED", "groupName": "/build"}},
    )
    build = action("Build", "CodeBuild", {"ProjectName": NAME})
    build["inputArtifacts"] = [{"name": "source"}]
    aws.client("codepipeline").create_pipeline(
        pipeline={
            "name": NAME,
            "roleArn": f"arn:aws:iam::{ACCOUNT}:role/codepipeline",
            "artifactStore": {"type": "S3", "location": BUCKET},
            "pipelineType": "V2",
            "executionMode": "SUPERSEDED",
            "stages": [
                {"name": "Source", "actions": [source_action]},
                {"name": "Build", "actions": [build]},
            ],
        }
    )


def action(category: str, provider: str, configuration: dict[str, str]) -> dict[str, Any]:
    kind = {"category": category, "owner": "AWS", "provider": provider, "version": "1"}
    return {"name": category, "actionTypeId": kind, "configuration": configuration, "runOrder": 1}


CODECOMMIT = {
    **action("Source", "CodeCommit", {"RepositoryName": NAME, "BranchName": "main"}),
    "outputArtifacts": [{"name": "source"}],
}


def policy(statements: list[Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def heard(aws: LocalAws) -> str:
    """A queue that gets what the release path puts on EventBridge."""
    url: str = aws.client("sqs").create_queue(QueueName="events")["QueueUrl"]
    rules = aws.client("events")
    pattern = {"source": ["aws.codepipeline", "aws.codebuild", "aws.codecommit"]}
    rules.put_rule(Name="all", EventPattern=json.dumps(pattern))
    arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:events"
    rules.put_targets(Rule="all", Targets=[{"Id": "queue", "Arn": arn}])
    return url


def place_of(stack: ExitStack, folder: Path, source_action: dict[str, Any], **more: Any) -> Place:
    awscli = Path(sys.prefix) / "awscli" / "bin" / "aws"
    need(awscli.is_file(), "no AWS CLI: make .venv/awscli")
    aws = stack.enter_context(local_aws())
    findings = stack.enter_context(validated(["codepipeline", "codebuild", "codecommit"], known={}))
    prepare(aws, source_action)
    project = folder / "project"
    project.mkdir()
    (project / "buildspec.yml").write_text(buildspec("true"))
    source.git(project, "init", "--quiet")
    source.git(project, "add", "--all")
    who = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.com")
    source.git(project, *who, "commit", "--quiet", "--message", "First")
    repository = source.repository(
        folder / "source.git", f"codecommit::us-east-1://{NAME}", "main", project
    )
    said: list[str] = []
    builds = Builds(aws, folder / "builds", folder / "shims", said.append, **more)
    pipelines = Pipelines(aws, repository, said.append)
    stack.enter_context(api.commits(repository, NAME))
    stack.enter_context(api.in_place(pipelines, builds))
    stack.callback(pipelines.close)
    stack.callback(builds.close)
    return Place(aws, repository, pipelines, builds, folder, heard(aws), findings, said)


def count(line: str) -> int:
    """Processes of this machine with this command line."""
    wanted = line.replace(" ", "\0").encode() + b"\0"
    found = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found += (process / "cmdline").read_bytes() == wanted
        except OSError:
            continue
    return found


class without:
    """A role that lacks one of its rights, for a while."""

    def __init__(self, aws: LocalAws, role: str, action: str) -> None:
        deny = policy([{"Effect": "Deny", "Action": action, "Resource": "*"}])
        self._iam, self._role, self._deny = aws.client("iam"), role, deny

    def __enter__(self) -> None:
        self._iam.put_role_policy(RoleName=self._role, PolicyName="less", PolicyDocument=self._deny)

    def __exit__(self, *_: object) -> None:
        self._iam.delete_role_policy(RoleName=self._role, PolicyName="less")


def nap() -> str:
    """A command that takes its time, unlike any other on this machine."""
    return f"sleep {random.randrange(10**8, 10**9)}"
