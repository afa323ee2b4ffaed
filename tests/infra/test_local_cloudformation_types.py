"""Each type, as its own service says it: made as the template says, then changed in place."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from infra.local.cloudformation.watch import data_exports
from tests.infra.cloud import ACCOUNT, Cloud, allow, clouds, ref, servers, trust
from tests.infra.everything import everything


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    yield from servers()


@pytest.fixture
def cloud(server: str) -> Iterator[Cloud]:
    yield from clouds(server)


@dataclass(frozen=True)
class Change:
    """Properties of one resource of the whole stack, before and after, and what is seen of it."""

    key: str
    before: dict[str, Any]
    after: dict[str, Any]
    look: Callable[[Cloud], Any]
    seen: tuple[Any, Any]


def bucket(setting: str, *path: str) -> Callable[[Cloud], Any]:
    def look(cloud: Cloud) -> Any:
        answer = getattr(cloud("s3"), f"get_{setting}")(Bucket="bucket")
        for step in path:
            answer = answer.get(step)
        return answer

    return look


def queue(name: str) -> Callable[[Cloud], Any]:
    def look(cloud: Cloud) -> Any:
        url = cloud.id("Queue")
        answer = cloud("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        return answer["Attributes"].get(name)

    return look


def images(cloud: Cloud) -> Any:
    found = cloud("ecr").describe_repositories()["repositories"][0]
    filters = found.get("imageTagMutabilityExclusionFilters", [])
    return found["imageTagMutability"], filters, found["imageScanningConfiguration"]


def lifecycle(cloud: Cloud) -> Any:
    text = cloud("ecr").get_lifecycle_policy(repositoryName="images")["lifecyclePolicyText"]
    return json.loads(text)["rules"]


def role_policies(cloud: Cloud) -> Any:
    iam = cloud("iam")
    names = iam.list_role_policies(RoleName="role")["PolicyNames"]
    documents = {
        name: iam.get_role_policy(RoleName="role", PolicyName=name)["PolicyDocument"]["Statement"]
        for name in names
    }
    return {name: statement[0]["Action"] for name, statement in documents.items()}


def managed(cloud: Cloud) -> Any:
    iam, arn = cloud("iam"), cloud.id("Managed")
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    document = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
    roles = iam.list_entities_for_policy(PolicyArn=arn)["PolicyRoles"]
    return document["Statement"][0]["Action"], len(roles)


def cluster(cloud: Cloud) -> Any:
    found = cloud("ecs").describe_clusters(clusters=["cluster"], include=["SETTINGS"])
    return found["clusters"][0]["settings"][0]["value"], found["clusters"][0]["capacityProviders"]


def rule(cloud: Cloud) -> Any:
    events = cloud("events")
    targets = events.list_targets_by_rule(Rule="rule")["Targets"]
    found = events.describe_rule(Name="rule")
    return json.loads(found["EventPattern"])["source"], sorted(t["Id"] for t in targets)


def schedule(cloud: Cloud) -> Any:
    found = cloud("scheduler").get_schedule(Name="schedule", GroupName="group")
    return found["ScheduleExpression"], found["State"], found["Target"]["Input"]


def alarm(cloud: Cloud) -> Any:
    found = cloud("cloudwatch").describe_alarms()["MetricAlarms"][0]
    return found["Threshold"], found.get("TreatMissingData")


def project(cloud: Cloud) -> Any:
    found = cloud("codebuild").batch_get_projects(names=["build"])["projects"][0]
    return found["environment"]["computeType"], found["source"], found.get("description")


def pipeline(cloud: Cloud) -> Any:
    found = cloud("codepipeline").get_pipeline(name="pipeline")["pipeline"]
    return found["version"], found["stages"][0]["actions"][0]["configuration"]["BranchName"]


def source(cloud: Cloud) -> Any:
    backend = cloud("codecommit")
    name = cloud("codepipeline").get_pipeline(name="pipeline")["pipeline"]["stages"][0]["actions"]
    found = backend.get_repository(repositoryName=name[0]["configuration"]["RepositoryName"])
    metadata = found["repositoryMetadata"]
    return metadata["cloneUrlHttp"].split("/")[-1], metadata.get("repositoryDescription")


def budget(cloud: Cloud) -> Any:
    found = cloud("budgets").describe_budget(AccountId=ACCOUNT, BudgetName="budget")["Budget"]
    return found["BudgetLimit"]["Amount"], found["CostFilters"]["TagKeyValue"]


def topic_policy(cloud: Cloud) -> Any:
    attributes = cloud("sns").get_topic_attributes(TopicArn=cloud.id("Topic"))["Attributes"]
    return json.loads(attributes["Policy"])["Statement"][0]["Action"]


def subscription(cloud: Cloud) -> Any:
    answer = cloud("sns").get_subscription_attributes(SubscriptionArn=cloud.id("Mail"))
    return answer["Attributes"].get("FilterPolicy")


def group_rules(cloud: Cloud) -> Any:
    group = cloud("ec2").describe_security_groups(GroupIds=[cloud.id("Group")])
    return sorted(p["FromPort"] for p in group["SecurityGroups"][0]["IpPermissionsEgress"])


def vpc(cloud: Cloud) -> Any:
    ask = {"VpcId": cloud.id("Vpc"), "Attribute": "enableDnsHostnames"}
    value = cloud("ec2").describe_vpc_attribute(**ask)["EnableDnsHostnames"]["Value"]
    found = cloud("ec2").describe_vpcs(VpcIds=[cloud.id("Vpc")])["Vpcs"][0]
    return value, found.get("Tags", [])


def endpoint(cloud: Cloud) -> Any:
    found = cloud("ec2").describe_vpc_endpoints(VpcEndpointIds=[cloud.id("Endpoint")])
    return found["VpcEndpoints"][0]["RouteTableIds"] == [cloud.id("Routes")]


def export(cloud: Cloud) -> Any:
    return [item["Export"]["Description"] for item in data_exports(ACCOUNT, "us-east-1").values()]


def of(key: str, *path: str | int) -> Any:
    """What the whole stack has there."""
    value: Any = everything()[key]["Properties"]
    for step in path:
        value = value[step]
    return value


WEEK = {"Rules": [{"Status": "Enabled", "ExpirationInDays": 7}]}
OLD_VERSIONS = {
    "Rules": [
        {
            "Id": "old",
            "Status": "Enabled",
            "Prefix": "a/",
            "NoncurrentVersionExpiration": {"NoncurrentDays": 30},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
        }
    ]
}
BLOCK = dict.fromkeys(
    (
        "BlockPublicAcls",
        "BlockPublicPolicy",
        "IgnorePublicAcls",
        "RestrictPublicBuckets",
    ),
    True,
)
AES = {
    "ServerSideEncryptionConfiguration": [
        {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    ]
}
LIVE = [{"filter": "live", "filterType": "WILDCARD"}]
INSIGHTS = [{"Name": "containerInsights", "Value": "enabled"}]


def rules(count: int) -> dict[str, str]:
    selection = {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": count}
    rule = {"rulePriority": 1, "selection": selection, "action": {"type": "expire"}}
    return {"LifecyclePolicyText": json.dumps({"rules": [rule]})}


CHANGES = [
    Change(
        "Bucket",
        {"VersioningConfiguration": {"Status": "Enabled"}},
        {},
        bucket("bucket_versioning", "Status"),
        ("Enabled", "Suspended"),
    ),
    Change(
        "Bucket",
        {"LifecycleConfiguration": WEEK},
        {"LifecycleConfiguration": OLD_VERSIONS},
        bucket("bucket_lifecycle_configuration", "Rules"),
        (
            [{"Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 7}}],
            [
                {
                    "ID": "old",
                    "Status": "Enabled",
                    "Filter": {"Prefix": "a/"},
                    "NoncurrentVersionExpiration": {"NoncurrentDays": 30},
                    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
                }
            ],
        ),
    ),
    Change(
        "Bucket",
        {"PublicAccessBlockConfiguration": BLOCK},
        {"PublicAccessBlockConfiguration": BLOCK | {"BlockPublicAcls": False}},
        bucket("public_access_block", "PublicAccessBlockConfiguration"),
        (BLOCK, BLOCK | {"BlockPublicAcls": False}),
    ),
    Change(
        "Bucket",
        {"BucketEncryption": AES, "Tags": [{"Key": "a", "Value": "1"}]},
        {"BucketEncryption": AES, "Tags": [{"Key": "a", "Value": "2"}]},
        lambda cloud: [
            bucket("bucket_tagging", "TagSet")(cloud)[0]["Value"],
            len(bucket("bucket_encryption", "ServerSideEncryptionConfiguration", "Rules")(cloud)),
        ],
        (["1", 1], ["2", 1]),
    ),
    Change(
        "BucketPolicy",
        {"PolicyDocument": allow("s3:GetObject", Principal="*")},
        {"PolicyDocument": allow("s3:PutObject", Principal="*")},
        lambda cloud: json.loads(bucket("bucket_policy", "Policy")(cloud))["Statement"][0][
            "Action"
        ],
        ("s3:GetObject", "s3:PutObject"),
    ),
    Change(
        "Images",
        {},
        {
            "ImageTagMutability": "MUTABLE",
            "ImageTagMutabilityExclusionFilters": [],
            "ImageScanningConfiguration": {"ScanOnPush": False},
        },
        images,
        (
            ("IMMUTABLE_WITH_EXCLUSION", LIVE, {"scanOnPush": True}),
            ("MUTABLE", [], {"scanOnPush": False}),
        ),
    ),
    Change(
        "Images",
        {"LifecyclePolicy": rules(5)},
        {"LifecyclePolicy": rules(9)},
        lambda cloud: lifecycle(cloud)[0]["selection"]["countNumber"],
        (5, 9),
    ),
    Change(
        "Role",
        {"Policies": [{"PolicyName": "a", "PolicyDocument": allow("s3:GetObject")}]},
        {"Policies": [{"PolicyName": "b", "PolicyDocument": allow("s3:PutObject")}]},
        role_policies,
        (
            {"a": "s3:GetObject", "inline": "s3:GetObject"},
            {"b": "s3:PutObject", "inline": "s3:GetObject"},
        ),
    ),
    Change(
        "Role",
        {"MaxSessionDuration": 7200},
        {"AssumeRolePolicyDocument": trust("scheduler"), "Description": "new"},
        lambda cloud: [
            cloud("iam").get_role(RoleName="role")["Role"].get(name)
            for name in ("MaxSessionDuration", "Description", "AssumeRolePolicyDocument")
        ],
        ([7200, None, trust("ecs-tasks")], [3600, "new", trust("scheduler")]),
    ),
    Change(
        "Managed",
        {},
        {"PolicyDocument": allow("s3:PutObject"), "Roles": [ref("Role"), ref("BuildRole")]},
        managed,
        (("s3:GetObject", 1), ("s3:PutObject", 2)),
    ),
    Change(
        "Cluster",
        {},
        {"ClusterSettings": INSIGHTS},
        lambda cloud: cluster(cloud)[0],
        ("disabled", "enabled"),
    ),
    Change(
        "Providers",
        {},
        {"CapacityProviders": ["FARGATE"]},
        lambda cloud: cluster(cloud)[1],
        (["FARGATE", "FARGATE_SPOT"], ["FARGATE"]),
    ),
    Change(
        "Rule",
        {},
        {"EventPattern": {"source": ["aws.s3"]}, "Targets": of("Rule", "Targets")[:1]},
        rule,
        ((["aws.ecs"], ["Pipeline", "Queue", "Topic"]), (["aws.s3"], ["Queue"])),
    ),
    Change(
        "Schedule",
        {},
        {"ScheduleExpression": "cron(0 1 * * ? *)", "State": "DISABLED"},
        schedule,
        (("rate(1 day)", "ENABLED", "{}"), ("cron(0 1 * * ? *)", "DISABLED", "{}")),
    ),
    Change(
        "Alarm",
        {"TreatMissingData": "notBreaching"},
        {"Threshold": 5},
        alarm,
        ((1.0, "notBreaching"), (5.0, None)),
    ),
    Change("Queue", {"VisibilityTimeout": 60}, {}, queue("VisibilityTimeout"), ("60", "30")),
    Change(
        "QueuePolicy",
        {},
        {"PolicyDocument": allow("sqs:ReceiveMessage", Principal="*")},
        lambda cloud: json.loads(queue("Policy")(cloud))["Statement"][0]["Action"],
        ("sqs:SendMessage", "sqs:ReceiveMessage"),
    ),
    Change(
        "TopicPolicy",
        {},
        {"PolicyDocument": allow("sns:Subscribe", Principal="*")},
        topic_policy,
        ("sns:Publish", "sns:Subscribe"),
    ),
    Change("Mail", {}, {"FilterPolicy": {"a": ["b"]}}, subscription, (None, '{"a": ["b"]}')),
    Change(
        "Build",
        {"Description": "old"},
        {"Environment": of("Build", "Environment") | {"ComputeType": "BUILD_GENERAL1_LARGE"}},
        project,
        (
            (
                "BUILD_GENERAL1_SMALL",
                {"type": "CODEPIPELINE", "buildspec": "buildspec.yml"},
                "old",
            ),
            (
                "BUILD_GENERAL1_LARGE",
                {"type": "CODEPIPELINE", "buildspec": "buildspec.yml"},
                None,
            ),
        ),
    ),
    Change(
        "Pipeline",
        {},
        {"Stages": json.loads(json.dumps(of("Pipeline", "Stages")).replace("main", "next"))},
        pipeline,
        ((1, "main"), (2, "next")),
    ),
    Change(
        "Source",
        {"RepositoryDescription": "old"},
        {"RepositoryName": "renamed", "RepositoryDescription": "new"},
        source,
        (("source", "old"), ("renamed", "new")),
    ),
    Change(
        "Budget",
        {},
        {"Budget": of("Budget", "Budget") | {"BudgetLimit": {"Amount": 99, "Unit": "USD"}}},
        budget,
        (("10", ["user:nightshift$prod"]), ("99", ["user:nightshift$prod"])),
    ),
    Change(
        "Export",
        {"Export": of("Export", "Export") | {"Description": "old"}},
        {"Export": of("Export", "Export") | {"Description": "new"}},
        export,
        (["old"], ["new"]),
    ),
    Change(
        "Group",
        {},
        {"SecurityGroupEgress": []},
        group_rules,
        ([80, 443], [443]),
    ),
    Change(
        "Vpc",
        {"Tags": [{"Key": "a", "Value": "1"}]},
        {"EnableDnsHostnames": False, "Tags": [{"Key": "b", "Value": "2"}]},
        vpc,
        (
            (True, [{"Key": "a", "Value": "1"}]),
            (False, [{"Key": "b", "Value": "2"}]),
        ),
    ),
    Change("Endpoint", {}, {"RouteTableIds": []}, endpoint, (True, False)),
]


def test_changes_are_made_in_place(cloud: Cloud) -> None:
    """All at once: each is seen on its own."""
    before, after = everything(), everything()
    for change in CHANGES:
        before[change.key]["Properties"] |= change.before
        after[change.key]["Properties"] |= change.after
    labels = [f"{number} {change.key}" for number, change in enumerate(CHANGES)]
    cloud.create(before)
    seen = [change.look(cloud) for change in CHANGES]
    assert dict(zip(labels, seen, strict=True)) == dict(
        zip(labels, [change.seen[0] for change in CHANGES], strict=True)
    )
    ids = {key: cloud.id(key) for key in before}
    cloud.update(after)
    seen = [change.look(cloud) for change in CHANGES]
    assert dict(zip(labels, seen, strict=True)) == dict(
        zip(labels, [change.seen[1] for change in CHANGES], strict=True)
    )
    assert {key: cloud.id(key) for key in after} == ids
    cloud.delete()
