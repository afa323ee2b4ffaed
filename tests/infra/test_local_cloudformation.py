"""Moto's CloudFormation with our types: stacks are made, changed, undone and deleted as in AWS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.infra.cloud import (
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


def test_a_whole_stack_comes_changes_and_goes(cloud: Cloud) -> None:
    assert what_there_is(cloud) == {}
    cloud.create(everything())
    made = what_there_is(cloud)
    assert len(made) == 28
    ids = {key: cloud.id(key) for key in everything()}
    cloud.update(
        everything(
            days=14,
            rate="rate(2 days)",
            threshold=2,
            compute="BUILD_GENERAL1_MEDIUM",
            branch="next",
            amount=20,
            action="s3:PutObject",
            image="img:2",
            port=8443,
        )
    )
    now = {key: cloud.id(key) for key in everything()}
    assert {key for key in ids if ids[key] != now[key]} == {"Task", "Out"}  # by design of AWS
    assert {name: len(items) for name, items in what_there_is(cloud).items()} == {
        name: len(items) for name, items in made.items()
    }
    cloud.delete()
    assert what_there_is(cloud) == {}


# --- updates -------------------------------------------------------------------------------------

LOG = resource("Logs::LogGroup", LogGroupName="log")
QUEUE = resource("SQS::Queue", QueueName="queue")


def test_what_does_not_change_is_not_touched(cloud: Cloud) -> None:
    cloud.create({"Log": LOG, "Queue": QUEUE, "Role": role(RoleName="role")})
    cloud("sqs").set_queue_attributes(
        QueueUrl=cloud.id("Queue"), Attributes={"VisibilityTimeout": "77"}
    )
    retention = resource("Logs::LogGroup", LogGroupName="log", RetentionInDays=5)
    cloud.update({"Log": retention, "Queue": QUEUE, "Role": role(RoleName="role")})
    assert cloud.events("Queue") == ["CREATE_IN_PROGRESS", "CREATE_COMPLETE"]
    assert cloud.events("Log")[2:] == ["UPDATE_IN_PROGRESS", "UPDATE_COMPLETE"]
    url = cloud.id("Queue")
    answer = cloud("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])
    assert answer["Attributes"] == {"VisibilityTimeout": "77"}


def test_an_update_without_a_difference_is_refused(cloud: Cloud) -> None:
    cloud.create({"Log": LOG})
    with pytest.raises(ClientError, match="No updates are to be performed"):
        cloud.update({"Log": LOG})


def test_another_name_is_another_resource_and_who_refers_to_it_follows(cloud: Cloud) -> None:
    def stack(name: str) -> Any:
        arn = {"deadLetterTargetArn": get("Dead"), "maxReceiveCount": 3}
        dead = resource("SQS::Queue", QueueName=name)
        return {"Dead": dead, "Queue": resource("SQS::Queue", RedrivePolicy=arn)}

    cloud.create(stack("one"))
    queue = cloud.id("Queue")
    cloud.update(stack("two"))
    assert cloud.id("Queue") == queue  # a made-up name stays
    names = sorted(url.split("/")[-1] for url in cloud("sqs").list_queues()["QueueUrls"])
    assert names == sorted([queue.split("/")[-1], "two"])
    answer = cloud("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["RedrivePolicy"])
    assert answer["Attributes"]["RedrivePolicy"].count(":two") == 1


def test_what_the_template_no_longer_has_is_deleted_unless_it_is_to_be_kept(cloud: Cloud) -> None:
    kept = resource("Logs::LogGroup", KEPT, LogGroupName="kept")
    gone = resource("Logs::LogGroup", LogGroupName="gone")
    cloud.create({"Log": LOG, "Kept": kept, "Gone": gone})
    cloud.update({"Log": LOG})
    groups = cloud("logs").describe_log_groups()["logGroups"]
    assert sorted(group["logGroupName"] for group in groups) == ["kept", "log"]


# --- failures ------------------------------------------------------------------------------------


def test_a_type_that_nobody_plays_is_named(cloud: Cloud) -> None:
    with pytest.raises(ClientError, match=r"Unrecognized resource types: \[AWS::Bread::Loaf\]"):
        cloud.create({"Log": LOG, "Loaf": resource("Bread::Loaf")})
    with pytest.raises(ClientError, match="Bread"):
        cloud.change("CREATE", {"Loaf": resource("Bread::Loaf")}, "")
    assert what_there_is(cloud) == {}


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (resource("SQS::Queue", Colour="red"), "unsupported property Colour"),
        (resource("SQS::Queue", QueueName={"Fn::GetAtt": ["Log", "Colour"]}), "Colour"),
        (resource("Events::Rule", Name="rule"), "EventPattern or ScheduleExpression"),
        (resource("Logs::LogGroup", LogGroupName="log"), "log already exists"),
    ],
)
def test_a_create_that_fails_is_undone(cloud: Cloud, broken: Any, why: str) -> None:
    cloud.create({"Log": LOG, "Broken": broken | {"DependsOn": "Log"}}, "ROLLBACK_COMPLETE")
    assert cloud.events("Broken")[-1] == "CREATE_FAILED"
    assert why in cloud.reasons()
    assert what_there_is(cloud) == {}
    with pytest.raises(ClientError, match="ROLLBACK_COMPLETE state"):
        cloud.update({"Log": LOG})
    cloud.delete()


def test_a_bucket_that_cannot_be_set_up_does_not_stay(cloud: Cloud) -> None:
    rule = {"Status": "Enabled", "ExpirationInDays": 1, "ExpiredObjectDeleteMarker": True}
    bucket = resource("S3::Bucket", BucketName="b", LifecycleConfiguration={"Rules": [rule]})
    cloud.create({"Bucket": bucket}, "ROLLBACK_COMPLETE")
    assert what_there_is(cloud) == {}


def test_an_update_that_fails_leaves_things_as_they_were(cloud: Cloud) -> None:
    cloud.create({"Log": LOG, "Queue": QUEUE})
    changed = resource("Logs::LogGroup", LogGroupName="log", RetentionInDays=5)
    new = resource("SQS::Queue", QueueName="new")
    broken = resource("SQS::Queue", {"DependsOn": ["Log", "New"]}, QueueName="queue", Colour="red")
    cloud.update({"Log": changed, "New": new, "Queue": broken}, "UPDATE_ROLLBACK_COMPLETE")
    assert [url.split("/")[-1] for url in cloud("sqs").list_queues()["QueueUrls"]] == ["queue"]
    assert "retentionInDays" not in cloud("logs").describe_log_groups()["logGroups"][0]
    assert cloud.template()["Resources"].keys() == {"Log", "Queue"}
    cloud.update({"Log": changed, "Queue": QUEUE})
    assert cloud("logs").describe_log_groups()["logGroups"][0]["retentionInDays"] == 5


def test_a_bucket_with_something_in_it_is_not_deleted(cloud: Cloud) -> None:
    policy = resource(
        "S3::BucketPolicy",
        Bucket=ref("Bucket"),
        PolicyDocument=allow("s3:*", get("Bucket"), Principal="*"),
    )
    bucket = resource("S3::Bucket", BucketName="bucket")
    cloud.create({"Bucket": bucket, "Policy": policy, "Log": LOG})
    cloud("s3").put_object(Bucket="bucket", Key="a", Body=b"a")
    cloud.delete("DELETE_FAILED")
    assert cloud.events("Bucket")[-1] == "DELETE_FAILED"
    assert list(what_there_is(cloud)) == ["buckets"]
    cloud("s3").delete_object(Bucket="bucket", Key="a")
    cloud.delete()
    assert what_there_is(cloud) == {}


def test_what_is_to_be_kept_stays_and_what_is_gone_already_is_no_failure(cloud: Cloud) -> None:
    cloud.create({"Bucket": resource("S3::Bucket", KEPT, BucketName="kept"), "Log": LOG})
    cloud("logs").delete_log_group(logGroupName="log")
    cloud.delete()
    assert list(what_there_is(cloud)) == ["buckets"]
