"""Which calls AWS checks for which request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from infra.local.iam.calls import calls
from infra.local.iam.request import Request, TaskDefinition

A = "eu-west-1:123456789012"
ECS = f"arn:aws:ecs:{A}"
CLUSTER = f"{ECS}:cluster/jobs"
IAM = "arn:aws:iam::123456789012"
STACK = f"arn:aws:cloudformation:{A}:stack/app/1-2-3"


@dataclass(frozen=True)
class Account:
    """What `request.Known` asks, answered from what is written here."""

    def role_arn(self, name: str) -> str | None:
        return {"job": f"{IAM}:role/jobs/job"}.get(name)

    def user_arn(self, name: str) -> str | None:
        return {"ann": f"{IAM}:user/people/ann"}.get(name)

    def stack_arn(self, name: str) -> str | None:
        return {"app": STACK}.get(name)

    def task_definition(self, name: str) -> TaskDefinition | None:
        if name.split("/")[-1] in ("flow", "flow:7"):
            roles = (f"{IAM}:role/task", f"{IAM}:role/execution")
            return TaskDefinition(f"{ECS}:task-definition/flow:7", roles)
        return None

    def has_object(self, bucket: str, key: str) -> bool | None:
        return None if bucket == "gone" else key != "missing"


def asked(name: str, /, **params: Any) -> list[tuple[str, str, dict[str, Any]]]:
    service, operation = name.split(":")
    request = Request(service, operation, "123456789012", "eu-west-1", Account(), params)
    return [(c.action, c.resource, dict(c.context)) for c in calls(request)]


def pairs(name: str, /, **params: Any) -> list[tuple[str, str]]:
    return [(action, resource) for action, resource, _ in asked(name, **params)]


def passed(role: str, service: str) -> tuple[str, str, dict[str, Any]]:
    return ("iam:PassRole", role, {"iam:PassedToService": service})


# --- S3 ------------------------------------------------------------------------------------------

BK: dict[str, Any] = {"Bucket": "b", "Key": "k"}
ON_KEY = "arn:aws:s3:::b/k"
ON_BUCKET = "arn:aws:s3:::b"

S3: list[tuple[str, dict[str, Any], list[tuple[str, str]]]] = [
    ("s3:ListBuckets", {}, [("s3:ListAllMyBuckets", "*")]),
    ("s3:HeadBucket", {"Bucket": "b"}, [("s3:ListBucket", ON_BUCKET)]),
    ("s3:GetBucketLocation", {"Bucket": "b"}, [("s3:GetBucketLocation", ON_BUCKET)]),
    ("s3:GetBucketVersioning", {"Bucket": "b"}, [("s3:GetBucketVersioning", ON_BUCKET)]),
    ("s3:ListObjectVersions", {"Bucket": "b"}, [("s3:ListBucketVersions", ON_BUCKET)]),
    ("s3:PutBucketEncryption", {"Bucket": "b"}, [("s3:PutEncryptionConfiguration", ON_BUCKET)]),
    ("s3:GetObject", BK, [("s3:GetObject", ON_KEY)]),
    ("s3:HeadObject", BK, [("s3:GetObject", ON_KEY)]),
    ("s3:GetObject", {**BK, "VersionId": "v"}, [("s3:GetObjectVersion", ON_KEY)]),
    ("s3:PutObject", BK, [("s3:PutObject", ON_KEY)]),
    ("s3:PutObject", {**BK, "IfNoneMatch": "*"}, [("s3:PutObject", ON_KEY)]),
    (
        "s3:PutObject",
        {**BK, "IfMatch": "etag"},
        [("s3:PutObject", ON_KEY), ("s3:GetObject", ON_KEY)],
    ),
    (
        "s3:PutObject",
        {**BK, "Tagging": "a=b"},
        [("s3:PutObject", ON_KEY), ("s3:PutObjectTagging", ON_KEY)],
    ),
    ("s3:CreateMultipartUpload", BK, [("s3:PutObject", ON_KEY)]),
    ("s3:UploadPart", BK, [("s3:PutObject", ON_KEY)]),
    ("s3:CompleteMultipartUpload", BK, [("s3:PutObject", ON_KEY)]),
    ("s3:AbortMultipartUpload", BK, [("s3:AbortMultipartUpload", ON_KEY)]),
    ("s3:ListParts", BK, [("s3:ListMultipartUploadParts", ON_KEY)]),
    ("s3:DeleteObject", BK, [("s3:DeleteObject", ON_KEY)]),
    ("s3:DeleteObject", {**BK, "VersionId": "v"}, [("s3:DeleteObjectVersion", ON_KEY)]),
    (
        "s3:DeleteObjects",
        {"Bucket": "b", "Delete": {"Objects": [{"Key": "k"}, {"Key": "x", "VersionId": "v"}]}},
        [("s3:DeleteObject", ON_KEY), ("s3:DeleteObjectVersion", "arn:aws:s3:::b/x")],
    ),
    (
        "s3:CopyObject",
        {**BK, "CopySource": "from/a%20b"},
        [("s3:GetObject", "arn:aws:s3:::from/a b"), ("s3:PutObject", ON_KEY)],
    ),
    (
        "s3:CopyObject",
        {**BK, "CopySource": "/from/a?versionId=v"},
        [("s3:GetObjectVersion", "arn:aws:s3:::from/a"), ("s3:PutObject", ON_KEY)],
    ),
    (
        "s3:UploadPartCopy",
        {**BK, "CopySource": "from/a"},
        [("s3:GetObject", "arn:aws:s3:::from/a"), ("s3:PutObject", ON_KEY)],
    ),
    # A missing key is told only to who may list; a missing bucket to everybody.
    (
        "s3:HeadObject",
        {"Bucket": "b", "Key": "missing"},
        [("s3:GetObject", "arn:aws:s3:::b/missing"), ("s3:ListBucket", ON_BUCKET)],
    ),
    (
        "s3:GetObject",
        {"Bucket": "gone", "Key": "missing"},
        [("s3:GetObject", "arn:aws:s3:::gone/missing")],
    ),
    ("s3:SelectObjectContent", BK, [("s3:SelectObjectContent", "*")]),
]


@pytest.mark.parametrize(("name", "params", "expected"), S3)
def test_s3(name: str, params: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert pairs(name, **params) == expected


def test_a_listing_brings_its_own_prefix() -> None:
    given = asked("s3:ListObjectsV2", Bucket="b", Prefix="in/", Delimiter="/", MaxKeys=5)
    context = {"s3:prefix": "in/", "s3:delimiter": "/", "s3:max-keys": "5"}
    assert given == [("s3:ListBucket", ON_BUCKET, context)]
    assert asked("s3:ListObjectsV2", Bucket="b") == [("s3:ListBucket", ON_BUCKET, {})]


# --- ECS -----------------------------------------------------------------------------------------

IN_JOBS = {"ecs:cluster": CLUSTER}
TASKS = "ecs-tasks.amazonaws.com"
OWN = [passed(f"{IAM}:role/task", TASKS), passed(f"{IAM}:role/execution", TASKS)]


@pytest.mark.parametrize("cluster", ["jobs", CLUSTER])
@pytest.mark.parametrize("name", ["flow", "flow:7", f"{ECS}:task-definition/flow:7"])
def test_run_task_finds_the_revision_and_passes_its_roles(name: str, cluster: str) -> None:
    given = asked("ecs:RunTask", taskDefinition=name, cluster=cluster)
    assert given == [("ecs:RunTask", f"{ECS}:task-definition/flow:7", IN_JOBS), *OWN]


def test_run_task_passes_the_roles_of_its_overrides() -> None:
    overrides = {"taskRoleArn": "job", "executionRoleArn": f"{IAM}:role/other"}
    given = asked("ecs:RunTask", taskDefinition="flow", overrides=overrides)
    assert given[0][2] == {"ecs:cluster": f"{ECS}:cluster/default"}
    others = [passed(f"{IAM}:role/jobs/job", TASKS), passed(f"{IAM}:role/other", TASKS)]
    assert given[1:] == others + OWN


def test_run_task_with_tags_tags() -> None:
    tags = [{"key": "team", "value": "data"}]
    given = asked("ecs:RunTask", taskDefinition="x", cluster="jobs", tags=tags)
    context = {
        "ecs:CreateAction": "RunTask",
        "aws:RequestTag/team": "data",
        "aws:TagKeys": ["team"],
    }
    assert given == [
        ("ecs:RunTask", f"{ECS}:task-definition/x", IN_JOBS),
        ("ecs:TagResource", f"{ECS}:task/jobs/*", context),
    ]


def test_register_passes_roles_and_tags() -> None:
    tags = [{"key": "a", "value": "b"}]
    given = asked("ecs:RegisterTaskDefinition", family="f", taskRoleArn="job", tags=tags)
    assert [(action, resource) for action, resource, _ in given] == [
        ("ecs:RegisterTaskDefinition", f"{ECS}:task-definition/f:*"),
        ("iam:PassRole", f"{IAM}:role/jobs/job"),
        ("ecs:TagResource", f"{ECS}:task-definition/f:*"),
    ]
    assert given[2][2]["ecs:CreateAction"] == "RegisterTaskDefinition"


SERVICE = f"{ECS}:service/jobs/web"
ON_ECS: list[tuple[str, dict[str, Any], list[tuple[str, str, dict[str, Any]]]]] = [
    ("StopTask", {"task": "1"}, [("StopTask", f"{ECS}:task/jobs/1", IN_JOBS)]),
    (
        "DescribeTasks",
        {"tasks": ["1", f"{ECS}:task/jobs/2"]},
        [
            ("DescribeTasks", f"{ECS}:task/jobs/1", IN_JOBS),
            ("DescribeTasks", f"{ECS}:task/jobs/2", IN_JOBS),
        ],
    ),
    ("UpdateService", {"service": "web"}, [("UpdateService", SERVICE, IN_JOBS)]),
    ("DescribeServices", {"services": [SERVICE]}, [("DescribeServices", SERVICE, IN_JOBS)]),
    ("ListTasks", {}, [("ListTasks", "*", IN_JOBS)]),
    (
        "DescribeTaskDefinition",
        {"taskDefinition": "flow"},
        [("DescribeTaskDefinition", "*", IN_JOBS)],
    ),
    ("DescribeClusters", {"clusters": ["jobs"]}, [("DescribeClusters", CLUSTER, {})]),
    ("TagResource", {"resourceArn": SERVICE}, [("TagResource", SERVICE, {})]),
    ("UpdateTaskProtection", {"tasks": ["1"]}, [("UpdateTaskProtection", "*", {})]),
]


@pytest.mark.parametrize(("operation", "params", "expected"), ON_ECS)
def test_ecs(operation: str, params: dict[str, Any], expected: Any) -> None:
    given = asked(f"ecs:{operation}", **({"cluster": "jobs"} | params))
    if operation == "DescribeClusters":
        given = asked(f"ecs:{operation}", **params)
    assert given == [(f"ecs:{action}", resource, context) for action, resource, context in expected]


def test_a_service_with_a_new_task_definition_passes_its_roles() -> None:
    given = asked("ecs:UpdateService", cluster="jobs", service="web", taskDefinition="flow")
    assert given == [("ecs:UpdateService", SERVICE, IN_JOBS), *OWN]


# --- the others ----------------------------------------------------------------------------------

OTHERS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("iam:PutRolePolicy", {"RoleName": "job", "PolicyName": "p"}, [f"{IAM}:role/jobs/job"]),
    ("iam:CreateRole", {"RoleName": "new", "Path": "/x/"}, [f"{IAM}:role/x/new"]),
    ("iam:GetUser", {"UserName": "ann"}, [f"{IAM}:user/people/ann"]),
    ("iam:CreatePolicy", {"PolicyName": "p"}, [f"{IAM}:policy/p"]),
    ("iam:GetPolicy", {"PolicyArn": f"{IAM}:policy/p"}, [f"{IAM}:policy/p"]),
    ("iam:ListRoles", {}, ["*"]),
    ("sts:AssumeRole", {"RoleArn": f"{IAM}:role/r"}, [f"{IAM}:role/r"]),
    ("sqs:GetQueueUrl", {"QueueName": "q"}, [f"arn:aws:sqs:{A}:q"]),
    ("sqs:SendMessage", {"QueueUrl": "http://x/123456789012/q"}, [f"arn:aws:sqs:{A}:q"]),
    ("sqs:ListQueues", {}, ["*"]),
    ("sns:Publish", {"TopicArn": f"arn:aws:sns:{A}:t"}, [f"arn:aws:sns:{A}:t"]),
    ("sns:CreateTopic", {"Name": "t"}, [f"arn:aws:sns:{A}:t"]),
    ("scheduler:GetSchedule", {"Name": "n"}, [f"arn:aws:scheduler:{A}:schedule/default/n"]),
    (
        "scheduler:DeleteSchedule",
        {"Name": "n", "GroupName": "g"},
        [f"arn:aws:scheduler:{A}:schedule/g/n"],
    ),
    ("scheduler:ListSchedules", {}, ["*"]),
    (
        "logs:PutLogEvents",
        {"logGroupName": "/g", "logStreamName": "s/1"},
        [f"arn:aws:logs:{A}:log-group:/g:log-stream:s/1"],
    ),
    ("logs:CreateLogGroup", {"logGroupName": "/g"}, [f"arn:aws:logs:{A}:log-group:/g:log-stream:"]),
    (
        "logs:FilterLogEvents",
        {"logGroupIdentifier": f"arn:aws:logs:{A}:log-group:/g:*"},
        [f"arn:aws:logs:{A}:log-group:/g:log-stream:"],
    ),
    ("logs:DescribeLogGroups", {}, [f"arn:aws:logs:{A}:log-group::log-stream:"]),
    ("logs:StartQuery", {}, ["*"]),
    ("ssm:GetParameter", {"Name": "/a/b"}, [f"arn:aws:ssm:{A}:parameter/a/b"]),
    (
        "ssm:GetParameters",
        {"Names": ["x", "/y"]},
        [f"arn:aws:ssm:{A}:parameter/x", f"arn:aws:ssm:{A}:parameter/y"],
    ),
    ("ssm:GetDocument", {"Name": "d"}, ["*"]),
    ("ecr:GetAuthorizationToken", {}, ["*"]),
    ("ecr:PutImage", {"repositoryName": "r/x"}, [f"arn:aws:ecr:{A}:repository/r/x"]),
    ("cloudformation:DescribeStacks", {"StackName": "app"}, [STACK]),
    ("cloudformation:DescribeStacks", {"StackName": STACK}, [STACK]),
    (
        "cloudformation:CreateStack",
        {"StackName": "new"},
        [f"arn:aws:cloudformation:{A}:stack/new/*"],
    ),
    ("cloudformation:ListStacks", {}, ["*"]),
    ("codepipeline:StartPipelineExecution", {"name": "p"}, [f"arn:aws:codepipeline:{A}:p"]),
    ("codebuild:StartBuild", {"projectName": "p"}, [f"arn:aws:codebuild:{A}:project/p"]),
    ("codebuild:BatchGetBuilds", {"ids": ["p:1", "p:2"]}, [f"arn:aws:codebuild:{A}:project/p"]),
    ("codecommit:GetBranch", {"repositoryName": "r"}, [f"arn:aws:codecommit:{A}:r"]),
    ("events:PutEvents", {"Entries": [{}, {}]}, [f"arn:aws:events:{A}:event-bus/default"]),
    ("events:PutRule", {"Name": "r"}, [f"arn:aws:events:{A}:rule/r"]),
    ("events:PutRule", {"Name": "r", "EventBusName": "b"}, [f"arn:aws:events:{A}:rule/b/r"]),
    ("cloudwatch:PutMetricData", {"Namespace": "n"}, ["*"]),
    ("cloudwatch:DescribeAlarms", {"AlarmNames": ["a"]}, [f"arn:aws:cloudwatch:{A}:alarm:a"]),
    ("ec2:DescribeVpcs", {"VpcIds": ["vpc-1"]}, ["*"]),
    ("dynamodb:GetItem", {"TableName": "t"}, ["*"]),
]


@pytest.mark.parametrize(("name", "params", "resources"), OTHERS)
def test_resources(name: str, params: dict[str, Any], resources: list[str]) -> None:
    assert pairs(name, **params) == [(name, resource) for resource in resources]


@pytest.mark.parametrize(
    ("name", "action"),
    [
        ("sqs:SendMessageBatch", "sqs:SendMessage"),
        ("sns:PublishBatch", "sns:Publish"),
        ("budgets:DescribeBudgets", "budgets:ViewBudget"),
        ("budgets:CreateBudget", "budgets:ModifyBudget"),
    ],
)
def test_actions_that_are_not_named_like_their_operation(name: str, action: str) -> None:
    params = {"QueueUrl": "http://x/1/q", "TopicArn": "t", "Budget": {"BudgetName": "b"}}
    assert pairs(name, **params)[0][0] == action


def test_a_budget_has_an_arn() -> None:
    given = pairs("budgets:CreateBudget", Budget={"BudgetName": "b"})
    assert given == [("budgets:ModifyBudget", "arn:aws:budgets::123456789012:budget/b")]


PASSES: list[tuple[str, dict[str, Any], str]] = [
    ("scheduler:UpdateSchedule", {"Name": "n", "Target": {"RoleArn": "job"}}, "scheduler"),
    ("cloudformation:CreateStack", {"StackName": "s", "RoleARN": "job"}, "cloudformation"),
    ("codepipeline:UpdatePipeline", {"pipeline": {"name": "p", "roleArn": "job"}}, "codepipeline"),
    ("codebuild:CreateProject", {"name": "p", "serviceRole": "job"}, "codebuild"),
    ("events:PutTargets", {"Rule": "r", "Targets": [{"RoleArn": "job"}]}, "events"),
]


@pytest.mark.parametrize(("name", "params", "service"), PASSES)
def test_who_hands_over_a_role_passes_it(name: str, params: dict[str, Any], service: str) -> None:
    assert passed(f"{IAM}:role/jobs/job", f"{service}.amazonaws.com") in asked(name, **params)


def test_attaching_a_policy_says_which() -> None:
    arn = f"{IAM}:policy/p"
    given = asked("iam:AttachRolePolicy", RoleName="job", PolicyArn=arn)
    assert given == [("iam:AttachRolePolicy", f"{IAM}:role/jobs/job", {"iam:PolicyARN": arn})]
