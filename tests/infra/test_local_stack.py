"""The templates as they are, in the local AWS: made, changed, and used by every role."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError

from flows import storage as flows_storage
from flows.problem import Problem
from flows.storage import storage
from infra.extra import Extra
from infra.local.aws import ACCOUNT, LocalAws, local_aws
from infra.names import Names
from tests.infra.conftest import Synthesise, Templates, deployment, reads, writes

STACKS = ("nightshift-prod-identity", "nightshift-prod")
NAMES = Names("nightshift-prod", "us-east-1", ACCOUNT)
DATA = NAMES.bucket("data")
STATE = NAMES.bucket("state")
JOB = deployment("a/b", reads("in/"), writes("out/"))
OTHER = deployment("c/d", reads("other/"), reads("one.csv", bucket="elsewhere"))


def put(aws: LocalAws, made: Templates, verb: str = "create") -> None:
    """As CloudFormation is asked to by whoever deploys; fails when a stack does not get there."""
    cloudformation = aws.client("cloudformation")
    for stack in STACKS:
        try:
            getattr(cloudformation, f"{verb}_stack")(
                StackName=stack,
                TemplateBody=json.dumps(made[stack]),
                Capabilities=["CAPABILITY_NAMED_IAM"],
                Tags=[{"Key": "nightshift", "Value": "nightshift-prod"}],
            )
        except ClientError as error:
            if "No updates are to be performed" not in str(error):
                raise
        status = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]
        events = cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
        why = [event.get("ResourceStatusReason") for event in events]
        assert status in ("CREATE_COMPLETE", "UPDATE_COMPLETE"), (stack, status, why)


def outputs(aws: LocalAws) -> dict[str, str]:
    stack = aws.client("cloudformation").describe_stacks(StackName=STACKS[1])["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def desired(aws: LocalAws) -> int:
    ecs = aws.client("ecs")
    (service,) = ecs.describe_services(cluster="nightshift-prod", services=["orchestrator"])[
        "services"
    ]
    return int(service["desiredCount"])


def ids(aws: LocalAws) -> dict[str, str]:
    """Every resource of the two stacks: its logical id, and what it is really."""
    pages = aws.client("cloudformation").get_paginator("list_stack_resources")
    return {
        resource["LogicalResourceId"]: resource["PhysicalResourceId"]
        for stack in STACKS
        for page in pages.paginate(StackName=stack)
        for resource in page["StackResourceSummaries"]
    }


# --- made, changed, gone -------------------------------------------------------------------------


def test_it_stands_up_and_starts_nothing(aws: LocalAws, synthesise: Synthesise) -> None:
    put(aws, synthesise({"first": "true"}))
    assert desired(aws) == 0
    made = outputs(aws)
    assert made["ClusterName"] == "nightshift-prod"
    assert made["DataBucket"] == DATA
    assert len(made["SubnetIds"].split(",")) == 2
    tasks = aws.client("sqs").get_queue_url(QueueName=made["TaskQueueName"])["QueueUrl"]
    assert tasks.endswith("nightshift-prod-tasks")
    pipeline = aws.client("codepipeline").get_pipeline(name="nightshift-prod")["pipeline"]
    assert [stage["name"] for stage in pipeline["stages"]] == ["Source", "Build"]


@pytest.mark.parametrize("count", [0, 1])
def test_an_update_neither_wakes_nor_kills_the_orchestrator(
    aws: LocalAws, synthesise: Synthesise, count: int
) -> None:
    put(aws, synthesise({"first": "true"}, [JOB]))
    ecs, scheduler = aws.client("ecs"), aws.client("scheduler")
    ecs.update_service(cluster="nightshift-prod", service="orchestrator", desiredCount=count)
    moved = scheduler.get_schedule(GroupName="nightshift-prod", Name="wake-up")
    moved["ScheduleExpression"] = "at(2026-12-01T05:50:00)"
    keys = ("GroupName", "Name", "ScheduleExpression", "FlexibleTimeWindow", "Target")
    scheduler.update_schedule(**{key: moved[key] for key in keys})
    before = ids(aws)

    changes = {"log_retention_days": 7, "alert_email": "ops@example.com", "spot": "false"}
    put(aws, synthesise(changes, [JOB, OTHER]), "update")

    assert desired(aws) == count
    schedule = scheduler.get_schedule(GroupName="nightshift-prod", Name="wake-up")
    assert schedule["ScheduleExpression"] == "at(2026-12-01T05:50:00)"
    after = ids(aws)
    assert {name: after.get(name) for name in before} == before  # nothing was replaced
    assert set(after) - set(before) == {"JobCDRole", "AlertsByMail"}
    (group,) = aws.client("logs").describe_log_groups(logGroupNamePrefix="/nightshift-prod/jobs")[
        "logGroups"
    ]
    assert group["retentionInDays"] == 7
    assert outputs(aws)["CapacityProvider"] == "FARGATE"


def test_an_update_to_everything_else_and_back(aws: LocalAws, synthesise: Synthesise) -> None:
    """Every structural setting on the way; buckets and what is in them stay."""
    put(aws, synthesise({"first": "true"}))
    before = ids(aws)
    aws.client("s3").put_object(Bucket=DATA, Key="bills/x", Body=b"1")
    external = {"orchestrator": "external", "prefect_api_url": "https://p.example.com/api"}
    connection = {
        "source": "connection",
        "connection_arn": f"arn:aws:codeconnections:us-east-1:{ACCOUNT}:connection/0a1b",
        "repository": "us/jobs",
    }
    for context in (
        {"network": "private"},
        {"orchestrator": "always"},
        external,
        {"monthly_budget_usd": "0", "awake_hours_alarm": 0, "bill_export": "false"},
        connection,
    ):
        put(aws, synthesise(context), "update")
        assert desired(aws) == 0
    there = aws.client("codecommit").get_repository(repositoryName="nightshift-prod")
    assert there["repositoryMetadata"]["repositoryName"] == "nightshift-prod"  # retained
    put(aws, synthesise({"existing_repository": "true"}), "update")
    after = ids(aws)
    buckets = [name for name in before if name.startswith(("Data", "State", "Artifacts"))]
    assert len(buckets) == 6
    assert {name: after[name] for name in buckets} == {name: before[name] for name in buckets}
    assert aws.client("s3").get_object(Bucket=DATA, Key="bills/x")["Body"].read() == b"1"


# --- every role ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Played:
    """The installation, and clients of its roles."""

    aws: LocalAws

    def __call__(self, role: str, service: str) -> Any:
        return self.aws.client(service, self.credentials(role))

    def credentials(self, role: str) -> dict[str, str]:
        principal, source = SERVICES.get(role, ("ecs-tasks.amazonaws.com", NAMES.arn("ecs", "x")))
        return self.aws.role(NAMES.role(role), principal, source)


SERVICES = {
    "build": ("codebuild.amazonaws.com", NAMES.project_arn),
    "pipeline": ("codepipeline.amazonaws.com", NAMES.pipeline_arn),
    "scheduler": (
        "scheduler.amazonaws.com",
        NAMES.arn("scheduler", "schedule-group/nightshift-prod"),
    ),
    "source-event": ("events.amazonaws.com", NAMES.arn("events", "rule/nightshift-prod-push")),
}
KEY = Extra(
    "a/b",
    ("ssm:GetParameter",),
    (f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/prices",),
    "Reads the key of the price list.",
)


@pytest.fixture(scope="module")
def stood_up(synthesise: Synthesise) -> Iterator[Played]:
    """An installation with two deployments, and things beside it that are none of its business."""
    with local_aws() as aws:
        put(aws, synthesise({"first": "true"}, [JOB, OTHER], [KEY]))
        s3, ssm, ecs = aws.client("s3"), aws.client("ssm"), aws.client("ecs")
        s3.create_bucket(Bucket="elsewhere")
        for key in ("in/x", "in-other/x", "out/x", "other/x", "x"):
            s3.put_object(Bucket=DATA, Key=key, Body=b"1")
        for key in ("one.csv", "one.csv.old", "two.csv"):
            s3.put_object(Bucket="elsewhere", Key=key, Body=b"1")
        s3.put_object(Bucket=STATE, Key="prefect/prefect.db", Body=b"1")
        s3.put_object(Bucket=NAMES.bucket("artifacts"), Key="source/1", Body=b"1")
        for name in ("/nightshift-prod/prefect-api-auth", "/someone/else", "prices", "wages"):
            ssm.put_parameter(Name=name, Value="v", Type="SecureString")
        ecs.create_cluster(clusterName="theirs")
        for family in ("nightshift-prod-job", "theirs"):
            register(ecs, family)
        aws.client("iam").create_role(
            RoleName="administrator", AssumeRolePolicyDocument=json.dumps(ANYONE)
        )
        aws.client("logs").create_log_group(logGroupName="/someone/else")
        for group in ("/nightshift-prod/jobs", "/someone/else"):
            aws.client("logs").create_log_stream(logGroupName=group, logStreamName="s")
        aws.client("sqs").create_queue(QueueName="theirs")
        aws.client("ecr").create_repository(repositoryName="theirs")
        aws.client("codecommit").create_repository(repositoryName="theirs")
        yield Played(aws)


ANYONE = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "ecs-tasks.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}


def register(ecs: Any, family: str, role: str = "") -> Any:
    roles = {"taskRoleArn": f"arn:aws:iam::{ACCOUNT}:role/{role}"} if role else {}
    return ecs.register_task_definition(
        family=family,
        requiresCompatibilities=["FARGATE"],
        networkMode="awsvpc",
        cpu="256",
        memory="512",
        containerDefinitions=[{"name": "prefect", "image": "x", "memory": 512}],
        **roles,
    )


def run_task(ecs: Any, family: str, cluster: str, role: str) -> Any:
    subnet = "subnet-1"
    return ecs.run_task(
        cluster=cluster,
        taskDefinition=family,
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": {"subnets": [subnet]}},
        overrides={"taskRoleArn": f"arn:aws:iam::{ACCOUNT}:role/{role}"},
        tags=[{"key": "prefect.io/flow-run-name", "value": "x"}],
    )


def schedule(scheduler: Any, role: str, name: str = "wake-up") -> Any:
    return scheduler.update_schedule(
        GroupName="nightshift-prod",
        Name=name,
        ScheduleExpression="at(2026-12-01T05:50:00)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={
            "Arn": "arn:aws:scheduler:::aws-sdk:ecs:updateService",
            "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/{role}",
            "Input": "{}",
        },
    )


def queue(name: str) -> str:
    return f"https://sqs.us-east-1.amazonaws.com/{ACCOUNT}/{name}"


Act = Callable[[Any], Any]
Table = list[tuple[str, str, str, Act]]  # role, what, service, the call

ALLOWED: Table = [
    ("job-a-b", "list its source", "s3", lambda s3: s3.list_objects_v2(Bucket=DATA, Prefix="in/")),
    ("job-a-b", "read its source", "s3", lambda s3: s3.get_object(Bucket=DATA, Key="in/x")),
    (
        "job-a-b",
        "list what it writes",
        "s3",
        lambda s3: s3.list_objects_v2(Bucket=DATA, Prefix="out/y"),
    ),
    ("job-a-b", "write", "s3", lambda s3: s3.put_object(Bucket=DATA, Key="out/y", Body=b"")),
    ("job-a-b", "replace", "s3", lambda s3: s3.put_object(Bucket=DATA, Key="out/x", Body=b"")),
    ("job-a-b", "its extra", "ssm", lambda ssm: ssm.get_parameter(Name="prices")),
    (
        "job-c-d",
        "read one object",
        "s3",
        lambda s3: s3.get_object(Bucket="elsewhere", Key="one.csv"),
    ),
    ("execution", "log in to ECR", "ecr", lambda ecr: ecr.get_authorization_token()),
    (
        "execution",
        "pull",
        "ecr",
        lambda ecr: ecr.batch_get_image(
            repositoryName="nightshift-prod", imageIds=[{"imageTag": "live"}]
        ),
    ),
    (
        "execution",
        "open a log",
        "logs",
        lambda logs: logs.create_log_stream(
            logGroupName="/nightshift-prod/jobs", logStreamName="prefect/1"
        ),
    ),
    (
        "execution",
        "read the API's credentials",
        "ssm",
        lambda ssm: ssm.get_parameters(
            Names=["/nightshift-prod/prefect-api-auth"], WithDecryption=True
        ),
    ),
    (
        "orchestrator",
        "run a job with its role",
        "ecs",
        lambda ecs: run_task(
            ecs, "nightshift-prod-job", "nightshift-prod", "nightshift-prod-job-a-b"
        ),
    ),
    (
        "orchestrator",
        "define a job's task",
        "ecs",
        lambda ecs: register(ecs, "nightshift-prod-job", "nightshift-prod-job-c-d"),
    ),
    (
        "orchestrator",
        "go to sleep",
        "ecs",
        lambda ecs: ecs.update_service(
            cluster="nightshift-prod", service="orchestrator", desiredCount=0
        ),
    ),
    (
        "orchestrator",
        "set its wake-up",
        "scheduler",
        lambda s: schedule(s, "nightshift-prod-scheduler"),
    ),
    (
        "orchestrator",
        "set its watchdog",
        "scheduler",
        lambda s: schedule(s, "nightshift-prod-scheduler", "watchdog"),
    ),
    (
        "orchestrator",
        "tell people",
        "sns",
        lambda sns: sns.publish(TopicArn=NAMES.topic_arn, Message="x"),
    ),
    (
        "orchestrator",
        "hear of tasks",
        "sqs",
        lambda sqs: sqs.receive_message(QueueUrl=queue("nightshift-prod-tasks")),
    ),
    (
        "orchestrator",
        "read a job's log",
        "logs",
        lambda logs: logs.get_log_events(logGroupName="/nightshift-prod/jobs", logStreamName="s"),
    ),
    (
        "orchestrator",
        "read the outputs",
        "cloudformation",
        lambda c: c.describe_stacks(StackName="nightshift-prod"),
    ),
    (
        "orchestrator",
        "read which role is whose",
        "cloudformation",
        lambda c: c.describe_stacks(StackName="nightshift-prod-identity"),
    ),
    (
        "orchestrator",
        "list its tasks",
        "ecs",
        lambda ecs: ecs.list_tasks(cluster="nightshift-prod"),
    ),
    (
        "orchestrator",
        "list its history",
        "s3",
        lambda s3: s3.list_objects_v2(Bucket=STATE, Prefix="prefect/"),
    ),
    (
        "orchestrator",
        "read its history",
        "s3",
        lambda s3: s3.get_object(Bucket=STATE, Key="prefect/prefect.db"),
    ),
    (
        "orchestrator",
        "write its history",
        "s3",
        lambda s3: s3.put_object(Bucket=STATE, Key="prefect/1", Body=b""),
    ),
    (
        "orchestrator",
        "prune its history",
        "s3",
        lambda s3: s3.delete_object(Bucket=STATE, Key="prefect/1"),
    ),
    (
        "build",
        "fetch the source",
        "s3",
        lambda s3: s3.get_object(Bucket=NAMES.bucket("artifacts"), Key="source/1"),
    ),
    (
        "build",
        "begin a push",
        "ecr",
        lambda ecr: ecr.batch_get_image(
            repositoryName="nightshift-prod", imageIds=[{"imageTag": "live"}]
        ),
    ),
    (
        "build",
        "wake the orchestrator",
        "ecs",
        lambda ecs: ecs.update_service(
            cluster="nightshift-prod", service="orchestrator", desiredCount=1
        ),
    ),
    (
        "build",
        "open its log",
        "logs",
        lambda logs: logs.create_log_stream(
            logGroupName="/nightshift-prod/build", logStreamName="1"
        ),
    ),
    (
        "pipeline",
        "start a build",
        "codebuild",
        lambda cb: cb.start_build(projectName="nightshift-prod"),
    ),
    (
        "pipeline",
        "keep an artifact",
        "s3",
        lambda s3: s3.put_object(Bucket=NAMES.bucket("artifacts"), Key="source/2", Body=b""),
    ),
    (
        "scheduler",
        "wake the orchestrator",
        "ecs",
        lambda ecs: ecs.update_service(
            cluster="nightshift-prod", service="orchestrator", desiredCount=1
        ),
    ),
    (
        "scheduler",
        "tell people",
        "sns",
        lambda sns: sns.publish(TopicArn=NAMES.topic_arn, Message="x"),
    ),
    (
        "scheduler",
        "keep a wake-up that failed",
        "sqs",
        lambda sqs: sqs.send_message(
            QueueUrl=queue("nightshift-prod-wake-up-failed"), MessageBody="x"
        ),
    ),
]

REFUSED: Table = [
    ("job-a-b", "list everything", "s3", lambda s3: s3.list_objects_v2(Bucket=DATA)),
    ("job-a-b", "list a neighbour", "s3", lambda s3: s3.list_objects_v2(Bucket=DATA, Prefix="in")),
    (
        "job-a-b",
        "list another prefix",
        "s3",
        lambda s3: s3.list_objects_v2(Bucket=DATA, Prefix="other/"),
    ),
    ("job-a-b", "read another prefix", "s3", lambda s3: s3.get_object(Bucket=DATA, Key="other/x")),
    ("job-a-b", "read a neighbour", "s3", lambda s3: s3.get_object(Bucket=DATA, Key="in-other/x")),
    (
        "job-a-b",
        "write to its source",
        "s3",
        lambda s3: s3.put_object(Bucket=DATA, Key="in/y", Body=b""),
    ),
    (
        "job-a-b",
        "delete what it wrote",
        "s3",
        lambda s3: s3.delete_object(Bucket=DATA, Key="out/x"),
    ),
    (
        "job-a-b",
        "copy from elsewhere",
        "s3",
        lambda s3: s3.copy_object(
            Bucket=DATA, Key="out/z", CopySource={"Bucket": DATA, "Key": "other/x"}
        ),
    ),
    (
        "job-a-b",
        "read another bucket",
        "s3",
        lambda s3: s3.get_object(Bucket="elsewhere", Key="one.csv"),
    ),
    (
        "job-a-b",
        "read the history",
        "s3",
        lambda s3: s3.get_object(Bucket=STATE, Key="prefect/prefect.db"),
    ),
    ("job-a-b", "read the bucket's policy", "s3", lambda s3: s3.get_bucket_policy(Bucket=DATA)),
    ("job-a-b", "another secret", "ssm", lambda ssm: ssm.get_parameter(Name="wages")),
    (
        "job-a-b",
        "the API's credentials",
        "ssm",
        lambda ssm: ssm.get_parameter(Name="/nightshift-prod/prefect-api-auth"),
    ),
    (
        "job-a-b",
        "start a task",
        "ecs",
        lambda ecs: run_task(
            ecs, "nightshift-prod-job", "nightshift-prod", "nightshift-prod-job-a-b"
        ),
    ),
    (
        "job-a-b",
        "become another role",
        "sts",
        lambda sts: sts.assume_role(
            RoleArn=f"arn:aws:iam::{ACCOUNT}:role/nightshift-prod-orchestrator",
            RoleSessionName="session",
        ),
    ),
    ("job-a-b", "make a user", "iam", lambda iam: iam.create_user(UserName="x")),
    (
        "job-a-b",
        "widen its role",
        "iam",
        lambda iam: iam.attach_role_policy(
            RoleName="nightshift-prod-job-a-b",
            PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess",
        ),
    ),
    ("job-c-d", "another's source", "s3", lambda s3: s3.get_object(Bucket=DATA, Key="in/x")),
    ("job-c-d", "another's extra", "ssm", lambda ssm: ssm.get_parameter(Name="prices")),
    (
        "job-c-d",
        "what starts alike",
        "s3",
        lambda s3: s3.get_object(Bucket="elsewhere", Key="one.csv.old"),
    ),
    (
        "job-c-d",
        "list what starts alike",
        "s3",
        lambda s3: s3.list_objects_v2(Bucket="elsewhere", Prefix="one.csv"),
    ),
    ("job-c-d", "write", "s3", lambda s3: s3.put_object(Bucket=DATA, Key="other/y", Body=b"")),
    ("execution", "another secret", "ssm", lambda ssm: ssm.get_parameters(Names=["/someone/else"])),
    ("execution", "data", "s3", lambda s3: s3.get_object(Bucket=DATA, Key="in/x")),
    (
        "execution",
        "another's image",
        "ecr",
        lambda ecr: ecr.batch_get_image(repositoryName="theirs", imageIds=[{"imageTag": "x"}]),
    ),
    (
        "execution",
        "another's log",
        "logs",
        lambda logs: logs.create_log_stream(logGroupName="/someone/else", logStreamName="y"),
    ),
    (
        "orchestrator",
        "run a job with a role that is not ours",
        "ecs",
        lambda ecs: run_task(ecs, "nightshift-prod-job", "nightshift-prod", "administrator"),
    ),
    (
        "orchestrator",
        "run a job as itself",
        "ecs",
        lambda ecs: run_task(
            ecs, "nightshift-prod-job", "nightshift-prod", "nightshift-prod-orchestrator"
        ),
    ),
    (
        "orchestrator",
        "define a task with a role that is not ours",
        "ecs",
        lambda ecs: register(ecs, "nightshift-prod-job", "administrator"),
    ),
    ("orchestrator", "look at the network", "ec2", lambda ec2: ec2.describe_subnets()),
    ("orchestrator", "list another cluster", "ecs", lambda ecs: ecs.list_tasks(cluster="other")),
    (
        "orchestrator",
        "run in another cluster",
        "ecs",
        lambda ecs: run_task(ecs, "nightshift-prod-job", "theirs", "nightshift-prod-job-a-b"),
    ),
    (
        "orchestrator",
        "run another family",
        "ecs",
        lambda ecs: run_task(ecs, "theirs", "nightshift-prod", "nightshift-prod-job-a-b"),
    ),
    (
        "orchestrator",
        "stop another's task",
        "ecs",
        lambda ecs: ecs.stop_task(cluster="theirs", task="0" * 32),
    ),
    (
        "orchestrator",
        "set its wake-up with another role",
        "scheduler",
        lambda s: schedule(s, "administrator"),
    ),
    (
        "orchestrator",
        "another schedule",
        "scheduler",
        lambda s: schedule(s, "nightshift-prod-scheduler", "another"),
    ),
    (
        "orchestrator",
        "another queue",
        "sqs",
        lambda sqs: sqs.receive_message(QueueUrl=queue("theirs")),
    ),
    (
        "orchestrator",
        "another's log",
        "logs",
        lambda logs: logs.get_log_events(logGroupName="/someone/else", logStreamName="s"),
    ),
    ("orchestrator", "data", "s3", lambda s3: s3.get_object(Bucket=DATA, Key="in/x")),
    (
        "orchestrator",
        "beside its history",
        "s3",
        lambda s3: s3.put_object(Bucket=STATE, Key="x", Body=b""),
    ),
    (
        "orchestrator",
        "make a role",
        "iam",
        lambda iam: iam.create_role(RoleName="x", AssumeRolePolicyDocument=json.dumps(ANYONE)),
    ),
    (
        "orchestrator",
        "the secret",
        "ssm",
        lambda ssm: ssm.get_parameters(Names=["/nightshift-prod/prefect-api-auth"]),
    ),
    ("build", "data", "s3", lambda s3: s3.get_object(Bucket=DATA, Key="in/x")),
    (
        "build",
        "replace the source",
        "s3",
        lambda s3: s3.put_object(Bucket=NAMES.bucket("artifacts"), Key="source/1", Body=b""),
    ),
    ("build", "another's images", "ecr", lambda ecr: ecr.describe_images(repositoryName="theirs")),
    (
        "build",
        "run a task",
        "ecs",
        lambda ecs: run_task(
            ecs, "nightshift-prod-job", "nightshift-prod", "nightshift-prod-job-a-b"
        ),
    ),
    (
        "build",
        "delete images",
        "ecr",
        lambda ecr: ecr.batch_delete_image(
            repositoryName="nightshift-prod", imageIds=[{"imageTag": "x"}]
        ),
    ),
    ("pipeline", "data", "s3", lambda s3: s3.get_object(Bucket=DATA, Key="in/x")),
    (
        "pipeline",
        "another's source",
        "codecommit",
        lambda cc: cc.get_branch(repositoryName="theirs", branchName="main"),
    ),
    ("pipeline", "another build", "codebuild", lambda cb: cb.start_build(projectName="theirs")),
    (
        "scheduler",
        "another cluster's service",
        "ecs",
        lambda ecs: ecs.update_service(cluster="theirs", service="orchestrator", desiredCount=1),
    ),
    (
        "scheduler",
        "another topic",
        "sns",
        lambda sns: sns.publish(TopicArn=NAMES.arn("sns", "theirs"), Message="x"),
    ),
    (
        "orchestrator",
        "another topic",
        "sns",
        lambda sns: sns.publish(TopicArn=NAMES.arn("sns", "theirs"), Message="x"),
    ),
    (
        "scheduler",
        "another queue",
        "sqs",
        lambda sqs: sqs.send_message(QueueUrl=queue("theirs"), MessageBody="x"),
    ),
    (
        "source-event",
        "another pipeline",
        "codepipeline",
        lambda cp: cp.start_pipeline_execution(name="theirs"),
    ),
    (
        "source-event",
        "a build",
        "codebuild",
        lambda cb: cb.start_build(projectName="nightshift-prod"),
    ),
]


def named(table: Table) -> list[Any]:
    return [pytest.param(*row, id=f"{row[0]}: {row[1]}") for row in table]


def is_refusal(error: ClientError) -> bool:
    codes = ("AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation")
    return error.response["Error"]["Code"] in (*codes, "403")


@pytest.mark.parametrize(("role", "what", "service", "act"), named(ALLOWED))
def test_what_a_role_must_do(
    stood_up: Played, role: str, what: str, service: str, act: Act
) -> None:
    refused = []
    try:
        act(stood_up(role, service))
    except ClientError as error:  # whatever else the emulator says: IAM let it pass
        refused = [str(error)] if is_refusal(error) else []
    assert refused == []


@pytest.mark.parametrize(("role", "what", "service", "act"), named(REFUSED))
def test_what_a_role_must_not_do(
    stood_up: Played, role: str, what: str, service: str, act: Act
) -> None:
    with pytest.raises(ClientError) as caught:
        act(stood_up(role, service))
    assert is_refusal(caught.value), caught.value


def test_every_role_is_in_both_tables(templates: Templates) -> None:
    own = {
        role["Properties"]["RoleName"].removeprefix("nightshift-prod-")
        for role in templates["nightshift-prod-identity"]["Resources"].values()
    } - {"job-cost-report-daily"}
    assert {role for role, *_ in REFUSED} >= own
    assert {role for role, *_ in ALLOWED} >= own - {"source-event"}  # below: the real rule does it


def test_the_push_event_may_start_the_pipeline_and_the_pipeline_may_read_the_source(
    stood_up: Played,
) -> None:
    """Moto runs no pipeline: what IAM says of these calls is asked by itself."""
    from infra.local.iam import policy

    for role, action, resource in (
        ("source-event", "codepipeline:StartPipelineExecution", NAMES.pipeline_arn),
        ("pipeline", "codecommit:UploadArchive", NAMES.arn("codecommit", "nightshift-prod")),
        ("pipeline", "codecommit:GetBranch", NAMES.arn("codecommit", "nightshift-prod")),
        ("pipeline", "codebuild:BatchGetBuilds", NAMES.project_arn),
        ("build", "ecr:PutImage", NAMES.repository_arn),
    ):
        iam = stood_up.aws.client("iam")
        document = iam.get_role_policy(RoleName=NAMES.role(role), PolicyName="access")
        statements = policy.statements(document["PolicyDocument"], "access")
        assert policy.evaluate(statements, policy.Call(action, resource, {})).allowed


@pytest.mark.parametrize(
    ("role", "principal"),
    [
        ("job-a-b", "lambda.amazonaws.com"),
        ("orchestrator", "ec2.amazonaws.com"),
        ("build", "ecs-tasks.amazonaws.com"),
        ("scheduler", "events.amazonaws.com"),
    ],
)
def test_no_other_service_gets_a_role(stood_up: Played, role: str, principal: str) -> None:
    from infra.local.iam import NotTrusted

    with pytest.raises(NotTrusted):
        stood_up.aws.role(NAMES.role(role), principal, NAMES.arn("ecs", "x"))


def test_no_other_account_gets_a_role(stood_up: Played) -> None:
    from infra.local.iam import NotTrusted, assume

    for context in (
        {
            "aws:SourceAccount": "999999999999",
            "aws:SourceArn": "arn:aws:ecs:us-east-1:999999999999:x",
        },
        {"aws:SourceAccount": ACCOUNT, "aws:SourceArn": "arn:aws:ecs:us-east-1:999999999999:x"},
        {},
    ):
        with pytest.raises(NotTrusted):
            assume(NAMES.role_arn("job-a-b"), "ecs-tasks.amazonaws.com", context=context)


# --- the flows' own storage, as a job ------------------------------------------------------------


@pytest.fixture
def as_job(stood_up: Played, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Let `flows.storage` act with a job's role."""

    def become(role: str) -> None:
        client = stood_up(role, "s3")
        monkeypatch.setattr(flows_storage, "_client", lambda: client)

    yield become
    flows_storage._client.cache_clear() if hasattr(flows_storage._client, "cache_clear") else None


def test_a_flow_reads_and_publishes_with_its_role(as_job: Callable[[str], None]) -> None:
    as_job("job-a-b")
    source, destination = storage(f"s3://{DATA}/in/"), storage(f"s3://{DATA}/out/")
    assert [file.name for file in source.files()] == ["x"]
    assert source.read("x") == b"1"
    with source.copy("x") as copy:
        assert copy.read_bytes() == b"1"
    assert destination.read("latest.json") is None  # S3 says 403 to that, not 404
    destination.write("latest.json", b"{}")
    assert destination.read("latest.json") == b"{}"


def test_a_flow_finds_nothing_where_nothing_is(as_job: Callable[[str], None]) -> None:
    as_job("job-a-b")
    assert storage(f"s3://{DATA}/in/2026/").files() == []
    with pytest.raises(Problem, match="cannot read") as caught:
        storage(f"s3://{DATA}/in/").open("missing")
    assert caught.value.fix.startswith("check the path")


def test_a_flow_reads_the_one_object_that_it_names(as_job: Callable[[str], None]) -> None:
    as_job("job-c-d")
    (file,) = storage("s3://elsewhere/one.csv").files()
    assert (file.name, file.size) == ("", 1)
    assert storage("s3://elsewhere/one.csv").read("") == b"1"


def test_a_refusal_says_which_line_to_ask_for(as_job: Callable[[str], None]) -> None:
    as_job("job-a-b")
    other = storage(f"s3://{DATA}/other/")
    for act, action, resource in (
        (lambda: other.read("x"), "s3:GetObject", f"arn:aws:s3:::{DATA}/other/x"),
        (lambda: other.write("x", b""), "s3:PutObject", f"arn:aws:s3:::{DATA}/other/x"),
        (other.files, "s3:ListBucket", f"arn:aws:s3:::{DATA}"),
    ):
        with pytest.raises(Problem) as caught:
            act()
        assert f'actions = ["{action}"], resources = ["{resource}"]' in caught.value.fix
        assert "infra/access.toml" in caught.value.fix


def test_a_job_uses_every_grant_that_it_has(
    as_job: Callable[[str], None], stood_up: Played
) -> None:
    as_job("job-a-b")
    source, destination = storage(f"s3://{DATA}/in/"), storage(f"s3://{DATA}/out/")
    source.files()
    source.read("x")
    destination.write("y", b"")
    stood_up("job-a-b", "ssm").get_parameter(Name="prices")
    record = stood_up.aws.record
    assert record is not None
    unused = record.unused(NAMES.role("job-a-b"))
    assert [grant.action for grant in unused] == []
