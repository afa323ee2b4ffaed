"""Moto's CloudFormation with our types: change sets, and the template's language."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.infra.cloud import (
    ACCOUNT,
    KEPT,
    Cloud,
    allow,
    clouds,
    get,
    ref,
    resource,
    role,
    servers,
    what_there_is,
)
from tests.infra.everything import everything


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    yield from servers()


@pytest.fixture
def cloud(server: str) -> Iterator[Cloud]:
    yield from clouds(server)


LOG = resource("Logs::LogGroup", LogGroupName="log")


# --- change sets ---------------------------------------------------------------------------------


def test_change_sets_create_and_update(cloud: Cloud) -> None:
    cloud.change("CREATE", everything(), "CREATE_COMPLETE")
    cloud.change("UPDATE", everything(days=30), "UPDATE_COMPLETE")
    assert cloud("logs").describe_log_groups()["logGroups"][0]["retentionInDays"] == 30
    assert json.dumps(cloud.template()).count('"RetentionInDays": 30') == 1
    cloud.delete()
    assert what_there_is(cloud) == {}


def test_a_change_set_without_a_change_says_so(cloud: Cloud) -> None:
    cloud.change("CREATE", {"Log": LOG}, "CREATE_COMPLETE")
    names = {"StackName": "stack", "ChangeSetName": "same"}
    body = json.dumps({"Resources": {"Log": LOG}})
    aws = cloud("cloudformation")
    aws.create_change_set(**names, TemplateBody=body, ChangeSetType="UPDATE")
    answer = aws.describe_change_set(**names)
    assert answer["Status"] == "FAILED"
    assert "didn't contain changes" in answer["StatusReason"]
    with pytest.raises(ClientError, match="cannot be executed"):
        aws.execute_change_set(**names)


def test_a_second_first_change_set_is_of_the_same_stack(cloud: Cloud) -> None:
    aws, body = cloud("cloudformation"), json.dumps({"Resources": {"Log": LOG}})
    for name in ("one", "two"):
        aws.create_change_set(
            StackName="stack", ChangeSetName=name, TemplateBody=body, ChangeSetType="CREATE"
        )
    assert len(aws.describe_stacks()["Stacks"]) == 1
    aws.execute_change_set(StackName="stack", ChangeSetName="two")
    assert cloud.status() == "CREATE_COMPLETE"


IMPORTABLE = {
    "Bucket": resource("S3::Bucket", KEPT, BucketName="bucket"),
    "Log": resource("Logs::LogGroup", KEPT, LogGroupName="log", RetentionInDays=5),
}


def test_what_exists_is_taken_in_if_asked_to(cloud: Cloud) -> None:
    cloud("s3").create_bucket(Bucket="bucket")
    cloud("s3").put_object(Bucket="bucket", Key="a", Body=b"a")
    cloud("logs").create_log_group(logGroupName="log")
    cloud.change("CREATE", IMPORTABLE, "ROLLBACK_COMPLETE")
    assert "bucket already exists" in cloud.reasons()
    cloud.delete()
    cloud.change("CREATE", IMPORTABLE, "CREATE_COMPLETE", imports=True)
    assert cloud.events("Bucket") == ["IMPORT_COMPLETE"]
    assert "retentionInDays" not in cloud("logs").describe_log_groups()["logGroups"][0]
    longer = resource("Logs::LogGroup", KEPT, LogGroupName="log", RetentionInDays=7)
    cloud.change("UPDATE", IMPORTABLE | {"Log": longer}, "UPDATE_COMPLETE")
    assert cloud("logs").describe_log_groups()["logGroups"][0]["retentionInDays"] == 7
    cloud.delete()
    assert cloud("s3").get_object(Bucket="bucket", Key="a")["Body"].read() == b"a"


@pytest.mark.parametrize(
    "existing",
    [
        resource("S3::Bucket", BucketName="bucket"),  # would go with the stack
        resource("S3::Bucket", KEPT, BucketName={"Fn::Sub": "bucket"}),  # no static name
        resource("CodeCommit::Repository", KEPT, RepositoryName="source"),  # its ID is AWS's
    ],
)
def test_aws_takes_in_no_others(cloud: Cloud, existing: Any) -> None:
    cloud("s3").create_bucket(Bucket="bucket")
    cloud("codecommit").create_repository(repositoryName="source")
    cloud.change("CREATE", {"It": existing}, "ROLLBACK_COMPLETE", imports=True)
    assert "already exists" in cloud.reasons()
    assert {"buckets", "sources"} == set(what_there_is(cloud))


# --- the template's language ---------------------------------------------------------------------


def test_functions_and_pseudo_parameters(cloud: Cloud) -> None:
    europe = Cloud(cloud.url, "eu-central-1")
    values = {
        "Where": {
            "Fn::Sub": "${AWS::Partition}:${AWS::Region}:${AWS::AccountId}:${AWS::StackName}"
        },
        "Zone": {"Fn::Select": [1, {"Fn::GetAZs": {"Ref": "AWS::Region"}}]},
        "Log": {"Fn::Join": ["|", [ref("Log"), get("Log"), ref("AWS::URLSuffix")]]},
        "If": {"Fn::If": ["Never", "yes", "no"]},
    }
    log = resource(
        "Logs::LogGroup",
        LogGroupName="log",
        RetentionInDays={"Fn::If": ["Never", 5, ref("AWS::NoValue")]},
    )
    europe.create(
        {"Log": log, "Never": resource("SQS::Queue", {"Condition": "Never"})},
        Conditions={"Never": {"Fn::Equals": ["a", "b"]}},
        Outputs={name: {"Value": value} for name, value in values.items()},
    )
    arn = f"arn:aws:logs:eu-central-1:{ACCOUNT}:log-group:log:*"
    assert europe.outputs() == {
        "Where": f"aws:eu-central-1:{ACCOUNT}:stack",
        "Zone": "eu-central-1b",
        "Log": f"log|{arn}|amazonaws.com",
        "If": "no",
    }
    assert europe("logs").describe_log_groups()["logGroups"][0]["logGroupName"] == "log"
    assert what_there_is(cloud) == {}  # in the other region


def test_what_refers_to_nothing_is_refused(cloud: Cloud) -> None:
    with pytest.raises(ClientError, match=r"\[Nobody\] in the Resources block"):
        cloud.create({"Queue": resource("SQS::Queue", QueueName=ref("Nobody"))})
    with pytest.raises(ClientError, match=r"\[Nobody\] in the Outputs block"):
        cloud.create({"Log": LOG}, Outputs={"A": {"Value": get("Nobody")}})


def test_a_circle_is_refused(cloud: Cloud) -> None:
    one, two = (
        resource("SQS::Queue", QueueName=ref("B")),
        resource("SQS::Queue", QueueName=ref("A")),
    )
    with pytest.raises(ClientError, match=r"Circular dependency between resources: \[A, B\]"):
        cloud.create({"A": one, "B": two})


def test_the_stacks_own_calls_pass_when_iam_is_enforced(cloud: Cloud) -> None:
    iam = cloud("iam")
    iam.create_user(UserName="me")
    everything_of_it = json.dumps(allow("cloudformation:*"))
    iam.put_user_policy(UserName="me", PolicyName="all", PolicyDocument=everything_of_it)
    key = iam.create_access_key(UserName="me")["AccessKey"]
    aws = boto3.client(
        "cloudformation",
        endpoint_url=cloud.url,
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
    )
    cloud.post("reset-auth", b"0")
    try:
        body = json.dumps({"Resources": {"Log": LOG, "Role": role(RoleName="role")}})
        aws.create_stack(StackName="stack", TemplateBody=body)
        status = aws.describe_stacks(StackName="stack")["Stacks"][0]["StackStatus"]
        with pytest.raises(ClientError, match="security token"):
            cloud("logs").describe_log_groups()
    finally:
        cloud.post("reset-auth", b"inf")
    assert status == "CREATE_COMPLETE"


def test_a_change_sets_name_is_its_stacks_own(cloud: Cloud) -> None:
    """The CDK CLI gives all of them one name, and first deletes the last one, if there is one."""
    aws = cloud("cloudformation")
    for stack in ("one", "two"):
        log = resource("Logs::LogGroup", LogGroupName=stack)
        names = {"StackName": stack, "ChangeSetName": "deploy"}
        aws.create_change_set(
            **names, TemplateBody=json.dumps({"Resources": {"Log": log}}), ChangeSetType="CREATE"
        )
    aws.execute_change_set(StackName="one", ChangeSetName="deploy")
    groups = cloud("logs").describe_log_groups()["logGroups"]
    assert [group["logGroupName"] for group in groups] == ["one"]
    aws.delete_change_set(StackName="one", ChangeSetName="deploy")
    aws.delete_change_set(StackName="one", ChangeSetName="deploy")
    with pytest.raises(aws.exceptions.ChangeSetNotFoundException):
        aws.describe_change_set(StackName="one", ChangeSetName="deploy")
    described = aws.describe_change_set(StackName="two", ChangeSetName="deploy")
    assert described["ExecutionStatus"] == "AVAILABLE"
    aws.delete_stack(StackName="two")
    with pytest.raises(aws.exceptions.ChangeSetNotFoundException):
        aws.describe_change_set(StackName="two", ChangeSetName="deploy")
