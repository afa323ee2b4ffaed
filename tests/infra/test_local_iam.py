"""IAM enforced on a moto server, seen by boto3: what must be allowed and what must be refused."""

from __future__ import annotations

import contextlib
import json
import logging
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from moto import settings
from moto.core.authorization import ActionAuthenticatorMixin
from moto.iam.access_control import IAMRequestBase
from moto.s3.models import FakeBucket
from moto.server import ThreadedMotoServer

from infra.local.iam import (
    Grant,
    NotTrusted,
    Record,
    administrator,
    assume,
    enforced,
    mend_bucket_policies,
)

ACCOUNT = "123456789012"
REGION = "eu-west-1"
TASKS = "ecs-tasks.amazonaws.com"
ECS = f"arn:aws:ecs:{REGION}:{ACCOUNT}"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"http://{host}:{port}"
    moto.stop()


def client(server: str, service: str, credentials: dict[str, str]) -> Any:
    config = Config(retries={"total_max_attempts": 1})
    return boto3.client(
        service, endpoint_url=server, region_name=REGION, config=config, **credentials
    )


@dataclass(frozen=True)
class Cloud:
    """An account in which IAM is enforced; names end in something of the test's own."""

    server: str
    record: Record
    suffix: str

    def admin(self, service: str) -> Any:
        return client(self.server, service, administrator())

    def role(self, name: str, *statements: dict[str, Any], trust: Any = None) -> str:
        """A new role with one inline policy; tasks may have it unless `trust` says otherwise."""
        iam = self.admin("iam")
        principal = trust or {"Effect": "Allow", "Principal": {"Service": TASKS}}
        document = {
            "Version": "2012-10-17",
            "Statement": [principal | {"Action": "sts:AssumeRole"}],
        }
        named = f"{name}-{self.suffix}"
        made = iam.create_role(RoleName=named, AssumeRolePolicyDocument=json.dumps(document))
        if statements:
            iam.put_role_policy(
                RoleName=named,
                PolicyName="own",
                PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}),
            )
        return str(made["Role"]["Arn"])

    def as_role(self, service: str, *statements: dict[str, Any]) -> Any:
        return client(self.server, service, assume(self.role("job", *statements)))

    @property
    def job(self) -> str:
        return f"job-{self.suffix}"

    @property
    def bucket(self) -> str:
        return f"data-{self.suffix}"

    def make_bucket(self, *keys: str, name: str = "") -> str:
        s3 = self.admin("s3")
        bucket = name or self.bucket
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        for key in keys:
            s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
        return bucket


@pytest.fixture
def cloud(server: str) -> Iterator[Cloud]:
    with enforced() as record:
        yield Cloud(server, record, uuid.uuid4().hex[:12])


def allow(actions: str | list[str], resources: str | list[str], **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions, "Resource": resources, **more}


def only(**keys: Any) -> dict[str, Any]:
    return {"StringLike": {name.replace("__", ":"): value for name, value in keys.items()}}


def status(call: Callable[..., Any], **params: Any) -> int:
    with pytest.raises(ClientError) as caught:
        call(**params)
    return int(caught.value.response["ResponseMetadata"]["HTTPStatusCode"])


def refused(call: Callable[..., Any], **params: Any) -> tuple[str, str]:
    """The code and message of the refusal that the call must meet."""
    with pytest.raises(ClientError) as caught:
        call(**params)
    error = caught.value.response["Error"]
    return str(error["Code"]), str(error["Message"])


def sentence(cloud: Cloud, action: str, resource: str) -> str:
    return (
        f"User: arn:aws:sts::{ACCOUNT}:assumed-role/{cloud.job}/session is not authorized to "
        f"perform: {action} on resource: {resource} "
        f"because no identity-based policy allows the {action} action"
    )


# --- S3 ------------------------------------------------------------------------------------------


def reader(bucket: str, prefix: str = "in/") -> list[dict[str, Any]]:
    arn = f"arn:aws:s3:::{bucket}"
    return [
        allow("s3:ListBucket", arn, Sid="List", Condition=only(s3__prefix=f"{prefix}*")),
        allow("s3:GetObject", f"{arn}/{prefix}*", Sid="Read"),
    ]


def test_reads_what_is_granted_and_nothing_else(cloud: Cloud) -> None:
    bucket = cloud.make_bucket("in/a b+ü=:x", "other/a")
    other = cloud.make_bucket("in/a", name=f"other-{cloud.suffix}")
    s3 = cloud.as_role("s3", *reader(bucket))

    listed = s3.list_objects_v2(Bucket=bucket, Prefix="in/", Delimiter="/")["Contents"]
    assert s3.get_object(Bucket=bucket, Key=listed[0]["Key"])["Body"].read()
    assert s3.head_object(Bucket=bucket, Key="in/a b+ü=:x")["ContentLength"] > 0
    assert cloud.record.refused(cloud.job) == []

    code, message = refused(s3.get_object, Bucket=bucket, Key="other/a")
    assert code == "AccessDenied"
    assert message == sentence(cloud, "s3:GetObject", f'"arn:aws:s3:::{bucket}/other/a"')
    for call, params in (
        (s3.get_object, {"Bucket": other, "Key": "in/a"}),
        (s3.list_objects_v2, {"Bucket": other, "Prefix": "in/"}),
        (s3.list_objects_v2, {"Bucket": bucket}),
        (s3.list_objects_v2, {"Bucket": bucket, "Prefix": ""}),
        (s3.list_objects_v2, {"Bucket": bucket, "Prefix": "other/"}),
        (s3.list_buckets, {}),
        (s3.put_object, {"Bucket": bucket, "Key": "in/a", "Body": b""}),
        (s3.delete_object, {"Bucket": bucket, "Key": "in/a"}),
        (s3.get_bucket_policy, {"Bucket": bucket}),
    ):
        assert refused(call, **params)[0] == "AccessDenied"
    assert refused(s3.head_object, Bucket=bucket, Key="other/a")[0] == "403"  # it has no body
    assert refused(s3.head_bucket, Bucket=bucket)[0] == "403"
    assert len(cloud.record.refused(cloud.job)) == 12


def test_writes_in_parts_where_it_may_write(cloud: Cloud) -> None:
    bucket = cloud.make_bucket()
    arn = f"arn:aws:s3:::{bucket}/out/*"
    s3 = cloud.as_role("s3", allow(["s3:PutObject", "s3:AbortMultipartUpload"], arn))
    s3.put_object(Bucket=bucket, Key="out/a", Body=b"x", IfNoneMatch="*")
    here = {"Bucket": bucket, "Key": "out/big"}
    upload = s3.create_multipart_upload(**here)["UploadId"]
    part = s3.upload_part(**here, UploadId=upload, PartNumber=1, Body=b"x")
    parts = {"Parts": [{"ETag": part["ETag"], "PartNumber": 1}]}
    s3.complete_multipart_upload(**here, UploadId=upload, MultipartUpload=parts)
    second = s3.create_multipart_upload(**here)["UploadId"]
    assert refused(s3.list_parts, **here, UploadId=second)[0] == "AccessDenied"
    s3.abort_multipart_upload(**here, UploadId=second)
    assert refused(s3.create_multipart_upload, Bucket=bucket, Key="x")[0] == "AccessDenied"
    assert cloud.admin("s3").get_object(**here)["Body"].read() == b"x"


def test_copies_from_where_it_may_read_only(cloud: Cloud) -> None:
    bucket = cloud.make_bucket("in/a b", "secret/a")
    out = allow("s3:PutObject", f"arn:aws:s3:::{bucket}/out/*")
    s3 = cloud.as_role("s3", *reader(bucket), out)
    here = {"Bucket": bucket, "Key": "out/a"}
    s3.copy_object(**here, CopySource={"Bucket": bucket, "Key": "in/a b"})
    forbidden = {"Bucket": bucket, "Key": "secret/a"}
    code, message = refused(s3.copy_object, **here, CopySource=forbidden)
    assert code == "AccessDenied"
    assert message == sentence(cloud, "s3:GetObject", f'"arn:aws:s3:::{bucket}/secret/a"')
    elsewhere = {"Bucket": bucket, "Key": "in/a b"}
    assert (
        refused(s3.copy_object, Bucket=bucket, Key="x", CopySource=elsewhere)[0] == "AccessDenied"
    )


@pytest.mark.parametrize("listing", ["none", "of a prefix", "of the bucket"])
def test_a_missing_key_is_404_only_for_who_may_list_the_bucket(cloud: Cloud, listing: str) -> None:
    bucket = cloud.make_bucket()
    grants = {"none": reader(bucket)[1:], "of a prefix": reader(bucket)}
    whole = [*reader(bucket)[1:], allow("s3:ListBucket", f"arn:aws:s3:::{bucket}")]
    s3 = cloud.as_role("s3", *grants.get(listing, whole))
    code, message = refused(s3.get_object, Bucket=bucket, Key="in/missing")
    head, _ = refused(s3.head_object, Bucket=bucket, Key="in/missing")
    if listing == "of the bucket":
        assert (code, head) == ("NoSuchKey", "404")
    else:
        assert (code, head) == ("AccessDenied", "403")
        assert message == sentence(cloud, "s3:ListBucket", f'"arn:aws:s3:::{bucket}"')


def test_deletes_key_by_key(cloud: Cloud) -> None:
    bucket = cloud.make_bucket("mine/a", "mine/b", "theirs/a")
    s3 = cloud.as_role("s3", allow("s3:DeleteObject", f"arn:aws:s3:::{bucket}/mine/*"))
    objects = [{"Key": key} for key in ("mine/a", "theirs/a", "mine/b")]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects})
    assert [one["Key"] for one in answer["Deleted"]] == ["mine/a", "mine/b"]
    assert [(one["Key"], one["Code"]) for one in answer["Errors"]] == [("theirs/a", "AccessDenied")]
    left = cloud.admin("s3").list_objects_v2(Bucket=bucket)["Contents"]
    assert [one["Key"] for one in left] == ["theirs/a"]
    s3.delete_object(Bucket=bucket, Key="mine/a")  # what was refused before stays with its request
    assert refused(s3.delete_object, Bucket=bucket, Key="theirs/a")[0] == "AccessDenied"


# --- bucket policies -----------------------------------------------------------------------------


def bucket_policy(bucket: str, effect: str, principal: Any, **more: Any) -> str:
    resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    statement = {"Effect": effect, "Principal": principal, "Action": "s3:*", "Resource": resources}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement | more]})


TLS_ONLY = {"Condition": {"Bool": {"aws:SecureTransport": "false"}}}


def test_a_tls_only_bucket_refuses_nothing_that_is_allowed(cloud: Cloud) -> None:
    bucket = cloud.make_bucket("in/a", "other/a")
    policy = bucket_policy(bucket, "Deny", "*", **TLS_ONLY)
    cloud.admin("s3").put_bucket_policy(Bucket=bucket, Policy=policy)
    s3 = cloud.as_role("s3", *reader(bucket))
    assert s3.get_object(Bucket=bucket, Key="in/a")["Body"].read() == b"in/a"
    assert s3.list_objects_v2(Bucket=bucket, Prefix="in/")["KeyCount"] == 1
    assert refused(s3.get_object, Bucket=bucket, Key="other/a")[0] == "AccessDenied"


def test_a_bucket_policy_denies_and_grants_by_name(cloud: Cloud) -> None:
    bucket = cloud.make_bucket("in/a")
    s3 = cloud.as_role("s3", *reader(bucket))
    put = cloud.admin("s3").put_bucket_policy
    role = {"AWS": f"arn:aws:iam::{ACCOUNT}:role/{cloud.job}"}

    put(Bucket=bucket, Policy=bucket_policy(bucket, "Deny", role))
    code, message = refused(s3.get_object, Bucket=bucket, Key="in/a")
    assert (code, message.endswith("an explicit deny in a resource-based policy")) == (
        "AccessDenied",
        True,
    )
    put(Bucket=bucket, Policy=bucket_policy(bucket, "Allow", role))
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 1
    put(Bucket=bucket, Policy=bucket_policy(bucket, "Allow", {"Service": TASKS}))
    assert refused(s3.list_objects_v2, Bucket=bucket)[0] == "AccessDenied"


def test_bucket_policies_are_mended_without_enforcement(server: str) -> None:
    someone = {"aws_access_key_id": "nobody", "aws_secret_access_key": "nothing"}
    s3 = client(server, "s3", someone)
    bucket = f"open-{uuid.uuid4()}"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    s3.put_bucket_policy(Bucket=bucket, Policy=bucket_policy(bucket, "Deny", "*", **TLS_ONLY))

    assert refused(s3.get_object, Bucket=bucket, Key="a")[0] == "403"  # moto as it comes
    with mend_bucket_policies():
        assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"x"
        s3.put_object(Bucket=bucket, Key="b", Body=b"x")
        s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "b"}]})
        s3.put_bucket_policy(Bucket=bucket, Policy=bucket_policy(bucket, "Deny", "*"))
        assert refused(s3.get_object, Bucket=bucket, Key="a")[0] == "403"
    s3.delete_bucket_policy(Bucket=bucket)


# --- ECS -----------------------------------------------------------------------------------------

CONTAINERS = [{"name": "main", "image": "x", "memory": 128}]


def starter(cloud: Cloud) -> tuple[Any, str, str]:
    """A client that may run one family in one cluster, with one role; that role; another."""
    ecs = cloud.admin("ecs")
    mine, foreign = cloud.role("mine"), cloud.role("foreign")
    for cluster in ("jobs", "others"):
        ecs.create_cluster(clusterName=f"{cluster}-{cloud.suffix}")
    for family in ("flow", "outside"):
        ecs.register_task_definition(
            family=f"{family}-{cloud.suffix}",
            containerDefinitions=CONTAINERS,
            taskRoleArn=mine if family == "flow" else foreign,
            executionRoleArn=mine,
        )
    family = f"task-definition/flow-{cloud.suffix}:*"
    in_jobs = {"ArnEquals": {"ecs:cluster": f"{ECS}:cluster/jobs-{cloud.suffix}"}}
    tag = {"StringEquals": {"ecs:CreateAction": ["RunTask", "RegisterTaskDefinition"]}}
    to_tasks = {"StringEquals": {"iam:PassedToService": TASKS}}
    role = cloud.as_role(
        "ecs",
        allow("ecs:RunTask", f"{ECS}:{family}", Condition=in_jobs),
        allow(["ecs:DescribeTasks", "ecs:StopTask"], f"{ECS}:task/*", Condition=in_jobs),
        allow("ecs:RegisterTaskDefinition", f"{ECS}:{family}"),
        allow("ecs:TagResource", [f"{ECS}:{family}", f"{ECS}:task/*"], Condition=tag),
        allow("iam:PassRole", mine, Condition=to_tasks),
    )
    return role, mine, foreign


def test_runs_its_own_tasks_and_no_others(cloud: Cloud) -> None:
    ecs, mine, foreign = starter(cloud)
    jobs, family = f"jobs-{cloud.suffix}", f"flow-{cloud.suffix}"

    subnet = cloud.admin("ec2").describe_subnets()["Subnets"][0]["SubnetId"]
    network = {"awsvpcConfiguration": {"subnets": [subnet]}}

    def run(**params: Any) -> Any:
        given = {"cluster": jobs, "taskDefinition": family, "launchType": "FARGATE", **params}
        return ecs.run_task(networkConfiguration=network, **given)["tasks"][0]

    task = run(tags=[{"key": "a", "value": "b"}], overrides={"taskRoleArn": mine})["taskArn"]
    assert ecs.describe_tasks(cluster=jobs, tasks=[task])["tasks"]
    ecs.stop_task(cluster=jobs, task=task)
    assert [(e.action, e.allowed) for e in cloud.record.entries(cloud.job)] == [
        ("ecs:RunTask", True),
        ("iam:PassRole", True),
        ("ecs:TagResource", True),
        ("ecs:DescribeTasks", True),
        ("ecs:StopTask", True),
    ]

    code, message = refused(run, overrides={"taskRoleArn": foreign})
    assert code == "AccessDeniedException"
    assert message == sentence(cloud, "iam:PassRole", foreign)
    assert refused(run, overrides={"executionRoleArn": foreign})[0] == "AccessDeniedException"
    code, message = refused(run, cluster=f"others-{cloud.suffix}")
    assert message == sentence(cloud, "ecs:RunTask", f"{ECS}:task-definition/{family}:1")
    assert refused(run, taskDefinition=f"outside-{cloud.suffix}")[0] == "AccessDeniedException"
    for cluster in (f"others-{cloud.suffix}", "default"):
        assert refused(ecs.stop_task, cluster=cluster, task=task)[0] == "AccessDeniedException"
    assert refused(ecs.list_tasks, cluster=jobs)[0] == "AccessDeniedException"


def test_registers_definitions_with_its_own_role_only(cloud: Cloud) -> None:
    ecs, mine, foreign = starter(cloud)
    given = {"family": f"flow-{cloud.suffix}", "containerDefinitions": CONTAINERS}
    ecs.register_task_definition(**given, taskRoleArn=mine, tags=[{"key": "a", "value": "b"}])
    for role in ({"taskRoleArn": foreign}, {"executionRoleArn": foreign}):
        code, message = refused(ecs.register_task_definition, **given, **role)
        assert code == "AccessDeniedException"
        assert message == sentence(cloud, "iam:PassRole", foreign)
    elsewhere = given | {"family": f"outside-{cloud.suffix}"}
    assert refused(ecs.register_task_definition, **elsewhere)[0] == "AccessDeniedException"


# --- roles ---------------------------------------------------------------------------------------


def test_a_schedule_keeps_the_role_that_may_be_passed(cloud: Cloud) -> None:
    scheduler = cloud.admin("scheduler")
    mine, foreign = cloud.role("mine"), cloud.role("foreign")
    name = f"wake-{cloud.suffix}"
    target = {"Arn": "arn:aws:scheduler:::aws-sdk:ecs:updateService", "Input": "{}"}
    given = {
        "Name": name,
        "ScheduleExpression": "rate(1 day)",
        "FlexibleTimeWindow": {"Mode": "OFF"},
    }
    scheduler.create_schedule(**given, Target=target | {"RoleArn": mine})
    arn = f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/default/{name}"
    to_scheduler = {"StringEquals": {"iam:PassedToService": "scheduler.amazonaws.com"}}
    own = cloud.as_role(
        "scheduler",
        allow(["scheduler:GetSchedule", "scheduler:UpdateSchedule"], arn),
        allow("iam:PassRole", mine, Condition=to_scheduler),
    )
    assert own.get_schedule(Name=name)["Target"]["RoleArn"] == mine
    own.update_schedule(**given, Target=target | {"RoleArn": mine})
    code, message = refused(own.update_schedule, **given, Target=target | {"RoleArn": foreign})
    assert (code, message) == (
        "AccessDeniedException",
        sentence(cloud, "iam:PassRole", foreign),
    )
    assert refused(own.get_schedule, Name="other")[0] == "AccessDeniedException"
    assert refused(own.delete_schedule, Name=name)[0] == "AccessDeniedException"


def test_an_explicit_deny_outweighs_every_grant(cloud: Cloud) -> None:
    never = {"Effect": "Deny", "Action": "iam:*", "Resource": "*", "Sid": "NeverIam"}
    iam = cloud.as_role("iam", allow("*", "*"), never)
    code, message = refused(
        iam.put_role_policy, RoleName=cloud.job, PolicyName="more", PolicyDocument="{}"
    )
    assert code == "AccessDenied"
    assert message.endswith("with an explicit deny in an identity-based policy")
    (entry,) = cloud.record.refused(cloud.job)
    assert (entry.action, entry.why) == ("iam:PutRolePolicy", "denied by NeverIam of own")


def test_takes_another_role_if_both_agree(cloud: Cloud) -> None:
    account = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}}
    willing, closed = cloud.role("willing", trust=account), cloud.role("closed")
    ungranted = cloud.role("ungranted", trust=account)
    sts = cloud.as_role("sts", allow("sts:AssumeRole", [willing, closed]))
    given = {"RoleSessionName": "second"}
    taken = sts.assume_role(RoleArn=willing, **given)["Credentials"]
    second = client(
        cloud.server,
        "sts",
        {
            "aws_access_key_id": taken["AccessKeyId"],
            "aws_secret_access_key": taken["SecretAccessKey"],
            "aws_session_token": taken["SessionToken"],
        },
    )
    # Asking who one is needs no grant.
    assert second.get_caller_identity()["Arn"].endswith(
        f"assumed-role/willing-{cloud.suffix}/second"
    )
    code, message = refused(sts.assume_role, RoleArn=closed, **given)
    assert code == "AccessDenied"
    assert message.endswith("because no role trust policy allows the sts:AssumeRole action")
    for role in (ungranted, f"arn:aws:iam::{ACCOUNT}:role/none"):
        assert refused(sts.assume_role, RoleArn=role, **given)[0] == "AccessDenied"


def test_a_role_is_handed_to_the_service_it_trusts(cloud: Cloud) -> None:
    source = {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
    arn = {"ArnLike": {"aws:SourceArn": f"{ECS}:*"}}
    trust = {"Effect": "Allow", "Principal": {"Service": TASKS}, "Condition": source | arn}
    role = cloud.role("job", trust=trust)
    context: dict[str, str | list[str]] = {
        "aws:SourceAccount": ACCOUNT,
        "aws:SourceArn": f"{ECS}:task/jobs/1",
    }
    assert assume(role, context=context)["aws_session_token"]
    assert assume(role, TASKS, context=context, session="other")["aws_access_key_id"]
    with pytest.raises(NotTrusted, match=r"does not let scheduler\.amazonaws\.com have it"):
        assume(role, "scheduler.amazonaws.com", context=context)
    with pytest.raises(NotTrusted, match="no context"):
        assume(role, TASKS)
    with pytest.raises(NotTrusted, match="aws:SourceAccount=999999999999"):
        assume(role, TASKS, context=context | {"aws:SourceAccount": "999999999999"})
    with pytest.raises(NotTrusted, match="there is no role"):
        assume(f"arn:aws:iam::{ACCOUNT}:role/none")


# --- every protocol words it its own way ---------------------------------------------------------

_RULE = {"Name": "x", "ScheduleExpression": "rate(1 day)"}
_MESSAGE = {"TopicArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:x", "Message": "m"}
PROTOCOLS: list[tuple[str, str, dict[str, Any], str]] = [
    ("budgets", "describe_budgets", {"AccountId": ACCOUNT}, "AccessDeniedException"),
    ("cloudformation", "describe_stacks", {"StackName": "x"}, "AccessDenied"),
    ("cloudformation", "describe_stacks", {}, "AccessDenied"),
    ("cloudwatch", "put_metric_data", {"Namespace": "n", "MetricData": []}, "AccessDenied"),
    ("codebuild", "start_build", {"projectName": "x"}, "AccessDeniedException"),
    ("codecommit", "get_repository", {"repositoryName": "x"}, "AccessDeniedException"),
    ("codepipeline", "start_pipeline_execution", {"name": "x"}, "AccessDeniedException"),
    ("ec2", "describe_vpcs", {}, "UnauthorizedOperation"),
    ("ecr", "get_authorization_token", {}, "AccessDeniedException"),
    ("events", "put_rule", _RULE, "AccessDeniedException"),
    ("kms", "list_keys", {}, "AccessDeniedException"),
    ("lambda", "list_functions", {}, "AccessDeniedException"),
    ("logs", "describe_log_streams", {"logGroupName": "x"}, "AccessDeniedException"),
    ("sns", "publish", _MESSAGE, "AuthorizationError"),
    ("sqs", "get_queue_url", {"QueueName": "x"}, "AccessDenied"),
    ("ssm", "get_parameter", {"Name": "/x"}, "AccessDeniedException"),
]


@pytest.mark.parametrize(("service", "method", "params", "code"), PROTOCOLS)
def test_refusals_of_each_service(
    cloud: Cloud, service: str, method: str, params: dict[str, Any], code: str
) -> None:
    # A grant of everything in the service on one resource of it covers none of these.
    scoped = allow("*", f"arn:aws:{service}:{REGION}:{ACCOUNT}:nothing/of/it")
    call = getattr(cloud.as_role(service, scoped), method)
    given, message = refused(call, **params)
    assert (given, "is not authorized to perform" in message) == (code, True)
    (entry,) = cloud.record.refused(cloud.job)
    prefix, resource = entry.action.split(":")[0], entry.resource
    assert (prefix, entry.why) == (service, "no statement allows it")
    # … and what it was checked against does.
    iam = cloud.admin("iam")
    grant = {"Version": "2012-10-17", "Statement": [allow(entry.action, resource)]}
    iam.put_role_policy(RoleName=cloud.job, PolicyName="scoped", PolicyDocument=json.dumps(grant))
    with contextlib.suppress(ClientError):  # there is no such thing: the service may say so
        call(**params)
    asked = cloud.record.entries(cloud.job)
    assert [(e.action, e.allowed) for e in asked] == [(entry.action, False), (entry.action, True)]


def test_a_refusal_has_its_protocols_status(cloud: Cloud) -> None:
    nothing = assume(cloud.role("job"))
    for service, method, params, expected in (
        ("s3", "list_objects_v2", {"Bucket": cloud.make_bucket()}, 403),
        ("iam", "list_roles", {}, 403),
        ("ec2", "describe_vpcs", {}, 403),
        ("scheduler", "list_schedules", {}, 403),
        ("ecs", "list_clusters", {}, 400),
    ):
        call = getattr(client(cloud.server, service, nothing), method)
        assert status(call, **params) == expected


def test_a_scoped_grant_does_not_cover_an_operation_that_is_not_mapped(cloud: Cloud) -> None:
    keys = cloud.admin("kms").create_key()["KeyMetadata"]
    kms = cloud.as_role("kms", allow("kms:*", keys["Arn"]))
    assert refused(kms.describe_key, KeyId=keys["KeyId"])[0] == "AccessDeniedException"
    assert cloud.record.refused(cloud.job)[0].resource == "*"


def test_a_stack_is_known_by_its_full_arn(cloud: Cloud) -> None:
    name = f"app-{cloud.suffix}"
    template = {"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}}
    cloud.admin("cloudformation").create_stack(StackName=name, TemplateBody=json.dumps(template))
    arn = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{name}/*"
    own = cloud.as_role("cloudformation", allow("cloudformation:DescribeStacks", arn))
    assert own.describe_stacks(StackName=name)["Stacks"]
    assert refused(own.describe_stacks, StackName="other")[0] == "AccessDenied"


# --- who calls -----------------------------------------------------------------------------------


def test_unknown_keys_are_refused(cloud: Cloud) -> None:
    someone = {"aws_access_key_id": "nobody", "aws_secret_access_key": "nothing"}
    for service, method, code in (
        ("s3", "list_buckets", "InvalidAccessKeyId"),
        ("ecs", "list_clusters", "UnrecognizedClientException"),
        ("iam", "list_roles", "InvalidClientTokenId"),
    ):
        assert refused(getattr(client(cloud.server, service, someone), method))[0] == code
    wrong = administrator() | {"aws_secret_access_key": "wrong"}
    assert refused(client(cloud.server, "iam", wrong).list_roles)[0] == "SignatureDoesNotMatch"


def test_unsigned_requests_are_refused(cloud: Cloud) -> None:
    bucket = cloud.make_bucket("a")
    s3 = cloud.admin("s3")
    presigned = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a"})
    for url in (f"{cloud.server}/{bucket}/a", presigned):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(url)
        with caught.value as answer:
            assert answer.code == 403


def test_policies_of_users_groups_and_attached_ones_count(cloud: Cloud) -> None:
    iam = cloud.admin("iam")
    user, group = f"ann-{cloud.suffix}", f"people-{cloud.suffix}"
    iam.create_user(UserName=user)
    iam.create_group(GroupName=group)
    iam.add_user_to_group(GroupName=group, UserName=user)

    def document(action: str) -> str:
        return json.dumps({"Version": "2012-10-17", "Statement": [allow(action, "*")]})

    own = f"arn:aws:iam::{ACCOUNT}:user/${{aws:username}}"
    himself = {"Version": "2012-10-17", "Statement": [allow("iam:GetUser", own)]}
    iam.put_user_policy(UserName=user, PolicyName="a", PolicyDocument=json.dumps(himself))
    iam.put_group_policy(GroupName=group, PolicyName="b", PolicyDocument=document("iam:ListRoles"))
    attached = iam.create_policy(PolicyName=group, PolicyDocument=document("iam:ListUsers"))
    iam.attach_user_policy(UserName=user, PolicyArn=attached["Policy"]["Arn"])
    made = iam.create_access_key(UserName=user)["AccessKey"]
    keys = {
        "aws_access_key_id": made["AccessKeyId"],
        "aws_secret_access_key": made["SecretAccessKey"],
    }
    ann = client(cloud.server, "iam", keys)
    ann.get_user(UserName=user)
    ann.list_roles()
    ann.list_users()
    code, message = refused(ann.list_groups)
    assert (code, message.split(" is not")[0]) == (
        "AccessDenied",
        f"User: arn:aws:iam::{ACCOUNT}:user/{user}",
    )


def test_a_policy_that_cannot_be_judged_refuses_and_says_so(cloud: Cloud) -> None:
    night = {"DateGreaterThan": {"aws:CurrentTime": "2030-01-01T00:00:00Z"}}
    sts = cloud.as_role("iam", allow("iam:ListRoles", "*", Condition=night))
    code, message = refused(sts.list_roles)
    assert code == "AccessDenied"
    assert "condition operator 'DateGreaterThan'" in message


# --- the record ----------------------------------------------------------------------------------


def test_the_record_names_grants_that_nothing_used(cloud: Cloud) -> None:
    bucket = cloud.make_bucket("in/a")
    arn = f"arn:aws:s3:::{bucket}"
    s3 = cloud.as_role(
        "s3",
        *reader(bucket),
        allow(["s3:Put*", "s3:DeleteObject"], f"{arn}/out/*"),
        {"Effect": "Deny", "Action": "iam:*", "Resource": "*"},
    )
    all_of_it = [
        Grant(cloud.job, "own", "List", "s3:ListBucket"),
        Grant(cloud.job, "own", "Read", "s3:GetObject"),
        Grant(cloud.job, "own", "2", "s3:Put*"),
        Grant(cloud.job, "own", "2", "s3:DeleteObject"),
    ]
    assert cloud.record.unused(cloud.job) == all_of_it
    s3.get_object(Bucket=bucket, Key="in/a")
    s3.put_object(Bucket=bucket, Key="out/a", Body=b"")
    # A request that is refused uses nothing, though half of it was granted.
    refused(s3.copy_object, Bucket=bucket, Key="out/b", CopySource=f"{bucket}/secret")
    refused(s3.list_objects_v2, Bucket=bucket)
    assert cloud.record.unused(cloud.job) == [all_of_it[0], all_of_it[3]]
    entries = cloud.record.entries(cloud.job)
    assert [(entry.action, entry.allowed) for entry in entries] == [
        ("s3:GetObject", True),
        ("s3:PutObject", True),
        ("s3:GetObject", False),
        ("s3:ListBucket", False),
    ]
    assert entries[0].why == "allowed by Read of own"


def test_everything_is_put_back() -> None:
    def internals() -> list[Any]:
        return [
            settings.INITIAL_NO_AUTH_ACTION_COUNT,
            ActionAuthenticatorMixin._authenticate_and_authorize_action,
            IAMRequestBase.check_action_permitted,
            IAMRequestBase._create_aws_request,
            FakeBucket.get_permission,
        ]

    before = internals()
    with contextlib.suppress(ZeroDivisionError), enforced():
        assert all(now != then for now, then in zip(internals(), before, strict=True))
        raise ZeroDivisionError
    assert internals() == before
