"""What of a type is particular: what is replaced, what stays, what can be asked of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.infra.cloud import ACCOUNT, Cloud, clouds, get, ref, resource, servers
from tests.infra.everything import everything


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    yield from servers()


@pytest.fixture
def cloud(server: str) -> Iterator[Cloud]:
    yield from clouds(server)


def service(cloud: Cloud) -> Any:
    return cloud("ecs").describe_services(cluster="cluster", services=["service"])["services"][0]


def test_a_service_starts_with_one_and_keeps_what_it_has(cloud: Cloud) -> None:
    cloud.create(everything())
    made = service(cloud)
    assert made["desiredCount"] == 1
    for count in (0, 1):
        cloud("ecs").update_service(cluster="cluster", service="service", desiredCount=count)
        cloud.update(everything(image=f"img:{count + 2}", days=3 + 2 * count))
        now = service(cloud)
        assert now["desiredCount"] == count
        assert now["serviceArn"] == made["serviceArn"]
        assert now["taskDefinition"].endswith(f"family:{count + 2}")
        assert now["deployments"][0]["taskDefinition"] == now["taskDefinition"]


def test_a_service_is_as_the_template_says(cloud: Cloud) -> None:
    first = everything()
    first["Service"]["Properties"]["DesiredCount"] = 0
    cloud.create(first)
    made = service(cloud)
    assert made["desiredCount"] == 0
    assert "launchType" not in made
    assert made["capacityProviderStrategy"] == [{"capacityProvider": "FARGATE", "weight": 1}]
    assert made["deploymentConfiguration"]["maximumPercent"] == 100
    assert made["enableECSManagedTags"] is True
    assert made["propagateTags"] == "SERVICE"
    network = made["networkConfiguration"]["awsvpcConfiguration"]
    assert network["subnets"] == [cloud.id("Subnet")]
    cloud.update(everything(days=3))  # DesiredCount goes from the template: nothing happens
    assert service(cloud)["desiredCount"] == 0


def test_what_runs_is_not_stopped_by_an_update_of_something_else(cloud: Cloud) -> None:
    cloud.create(everything())
    ecs = cloud("ecs")
    network = {"subnets": [cloud.id("Subnet")], "securityGroups": [cloud.id("Group")]}
    ecs.run_task(
        cluster="cluster",
        taskDefinition="family",
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": network},
    )
    running = ecs.list_tasks(cluster="cluster")["taskArns"]
    cloud.update(everything(days=3, threshold=7))
    assert ecs.list_tasks(cluster="cluster")["taskArns"] == running
    assert cloud.events("Service") == ["CREATE_IN_PROGRESS", "CREATE_COMPLETE"]
    cloud.delete("DELETE_FAILED")  # as AWS: a cluster with a task stays
    assert "while Tasks are active" in cloud.reasons()


def test_a_changed_task_is_a_new_revision_and_the_old_one_is_put_away(cloud: Cloud) -> None:
    cloud.create(everything())
    ecs = cloud("ecs")
    first = ecs.describe_task_definition(taskDefinition="family")["taskDefinition"]
    assert first["networkMode"] == "awsvpc"
    assert first["requiresCompatibilities"] == ["FARGATE"]
    assert first["runtimePlatform"]["cpuArchitecture"] == "ARM64"
    assert first["containerDefinitions"][0]["readonlyRootFilesystem"] is True
    assert first["containerDefinitions"][0]["stopTimeout"] == 120
    assert first["containerDefinitions"][0]["secrets"][0]["name"] == "KEY"
    cloud.update(everything(image="img:2"))
    active = ecs.list_task_definitions(status="ACTIVE")["taskDefinitionArns"]
    assert [arn.split("/")[-1] for arn in active] == ["family:2"]
    old = ecs.list_task_definitions(status="INACTIVE")["taskDefinitionArns"]
    assert [arn.split("/")[-1] for arn in old] == ["family:1"]


def test_a_budgets_notifications_cannot_change_under_a_name_of_its_own(cloud: Cloud) -> None:
    """They are createOnly in AWS's schema, so the budget is replaced, and its name is taken."""
    cloud.create(everything())
    changed = everything()
    budget = changed["Budget"]["Properties"]
    budget["NotificationsWithSubscribers"][0]["Notification"]["Threshold"] = 50
    cloud.update(changed, "UPDATE_ROLLBACK_COMPLETE")
    assert "budget already exists" in cloud.reasons()


def test_a_group_is_closed_by_rules_inside_or_on_their_own(cloud: Cloud) -> None:
    vpc = resource("EC2::VPC", CidrBlock="10.0.0.0/16")
    group = resource("EC2::SecurityGroup", GroupDescription="a", VpcId=ref("Vpc"))
    cloud.create({"Vpc": vpc, "Group": group})
    assert open_ports(cloud) == [None]
    rule = resource(
        "EC2::SecurityGroupEgress",
        GroupId=get("Group", "GroupId"),
        CidrIp="0.0.0.0/0",
        IpProtocol="tcp",
        FromPort=443,
        ToPort=443,
        Description="AWS",
    )
    cloud.update({"Vpc": vpc, "Group": group, "Rule": rule})
    assert open_ports(cloud) == [443]
    rule["Properties"]["Description"] = "AWS's APIs"
    was = cloud.id("Rule")
    cloud.update({"Vpc": vpc, "Group": group, "Rule": rule})
    assert cloud.id("Rule") == was


def open_ports(cloud: Cloud) -> Any:
    group = cloud("ec2").describe_security_groups(GroupIds=[cloud.id("Group")])
    return [p.get("FromPort") for p in group["SecurityGroups"][0]["IpPermissionsEgress"]]


ATTRIBUTES = {
    "Bucket": ("Arn", "DomainName", "RegionalDomainName"),
    "Images": ("Arn", "RepositoryUri"),
    "Role": ("Arn", "RoleId"),
    "Vpc": ("VpcId", "CidrBlock", "DefaultSecurityGroup"),
    "Subnet": ("AvailabilityZone", "SubnetId"),
    "Address": ("AllocationId", "PublicIp"),
    "Cluster": ("Arn",),
    "Service": ("Name", "ServiceArn"),
    "Log": ("Arn",),
    "Source": ("Arn", "Name", "CloneUrlHttp"),
    "Build": ("Arn",),
    "Pipeline": ("Version",),
    "Rule": ("Arn",),
    "Schedules": ("Arn",),
    "Schedule": ("Arn",),
    "Queue": ("Arn", "QueueName", "QueueUrl"),
    "Topic": ("TopicArn", "TopicName"),
    "Alarm": ("Arn",),
    "Export": ("ExportArn",),
}


def test_what_can_be_asked_of_each(cloud: Cloud) -> None:
    outputs = {
        f"{key}{name}": {"Value": get(key, name)}
        for key, names in ATTRIBUTES.items()
        for name in names
    }
    cloud.create(everything(), Outputs=outputs | {"TaskRef": {"Value": ref("Task")}})
    seen = cloud.outputs()
    here = f"us-east-1:{ACCOUNT}"
    assert seen.keys() == {*outputs, "TaskRef"}
    assert {key: seen[key] for key in seen if key.endswith("Arn") and key != "ExportExportArn"} == {
        "BucketArn": "arn:aws:s3:::bucket",
        "ImagesArn": f"arn:aws:ecr:{here}:repository/images",
        "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/role",
        "ClusterArn": f"arn:aws:ecs:{here}:cluster/cluster",
        "ServiceServiceArn": f"arn:aws:ecs:{here}:service/cluster/service",
        "LogArn": f"arn:aws:logs:{here}:log-group:/log:*",
        "SourceArn": f"arn:aws:codecommit:{here}:source",
        "BuildArn": f"arn:aws:codebuild:{here}:project/build",
        "RuleArn": f"arn:aws:events:{here}:rule/rule",
        "SchedulesArn": f"arn:aws:scheduler:{here}:schedule-group/group",
        "ScheduleArn": f"arn:aws:scheduler:{here}:schedule/group/schedule",
        "QueueArn": f"arn:aws:sqs:{here}:queue",
        "TopicTopicArn": f"arn:aws:sns:{here}:topic",
        "AlarmArn": f"arn:aws:cloudwatch:{here}:alarm:alarm",
    }
    assert seen["TaskRef"].endswith("task-definition/family:1")
    assert seen["PipelineVersion"] == "1"
