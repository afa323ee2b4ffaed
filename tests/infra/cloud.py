"""A stack in moto, as its caller sees it, and short ways to write its template."""

from __future__ import annotations

import functools
import json
import logging
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

from infra.local.cloudformation import register
from infra.local.cloudformation.watch import data_exports

ACCOUNT = "123456789012"
Template = dict[str, Any]


@dataclass(frozen=True)
class Cloud:
    url: str
    region: str = "us-east-1"

    def __call__(self, service: str) -> Any:
        return _client(service, self.url, self.region)

    def post(self, path: str, body: bytes = b"") -> None:
        headers = {"Content-Type": "text/plain"}
        request = urllib.request.Request(f"{self.url}/moto-api/{path}", body, headers)
        urllib.request.urlopen(request).close()

    def create(self, resources: Template, status: str = "CREATE_COMPLETE", **more: Any) -> None:
        body = json.dumps({"Resources": resources, **more})
        self("cloudformation").create_stack(StackName="stack", TemplateBody=body)
        assert self.status() == status, self.reasons()

    def update(self, resources: Template, status: str = "UPDATE_COMPLETE", **more: Any) -> None:
        body = json.dumps({"Resources": resources, **more})
        self("cloudformation").update_stack(StackName="stack", TemplateBody=body)
        assert self.status() == status, self.reasons()

    def change(self, kind: str, resources: Template, status: str, *, imports: bool = False) -> None:
        """As the CDK CLI deploys."""
        aws = self("cloudformation")
        names = {"StackName": "stack", "ChangeSetName": f"change-{kind.lower()}"}
        body = json.dumps({"Resources": resources})
        aws.create_change_set(
            **names, TemplateBody=body, ChangeSetType=kind, ImportExistingResources=imports
        )
        assert aws.describe_change_set(**names)["Status"] == "CREATE_COMPLETE"
        aws.execute_change_set(**names)
        assert self.status() == status, self.reasons()
        aws.delete_change_set(**names)

    def delete(self, status: str | None = None) -> None:
        stack = self("cloudformation").describe_stacks(StackName="stack")["Stacks"][0]["StackId"]
        self("cloudformation").delete_stack(StackName="stack")
        assert self.status(stack) == (status or "DELETE_COMPLETE"), self.reasons(stack)

    def status(self, stack: str = "stack") -> str:
        stacks = self("cloudformation").describe_stacks(StackName=stack)["Stacks"]
        return str(stacks[0]["StackStatus"])

    def reasons(self, stack: str = "stack") -> str:
        events = self("cloudformation").describe_stack_events(StackName=stack)["StackEvents"]
        return "\n".join(event.get("ResourceStatusReason", "") for event in events)

    def events(self, logical_id: str) -> list[str]:
        events = self("cloudformation").describe_stack_events(StackName="stack")["StackEvents"]
        newest_last = reversed(events)
        return [e["ResourceStatus"] for e in newest_last if e["LogicalResourceId"] == logical_id]

    def id(self, logical_id: str) -> str:
        aws = self("cloudformation")
        answer = aws.describe_stack_resource(StackName="stack", LogicalResourceId=logical_id)
        return str(answer["StackResourceDetail"]["PhysicalResourceId"])

    def template(self) -> Any:
        return self("cloudformation").get_template(StackName="stack")["TemplateBody"]

    def outputs(self) -> dict[str, str]:
        stack = self("cloudformation").describe_stacks(StackName="stack")["Stacks"][0]
        return {item["OutputKey"]: item["OutputValue"] for item in stack.get("Outputs", [])}


@functools.cache
def _client(service: str, url: str, region: str) -> Any:
    return boto3.client(service, endpoint_url=url, region_name=region)


def servers() -> Iterator[str]:
    """A moto with all types, for a fixture of a module."""
    register()
    register()  # more than once is once
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def clouds(server: str) -> Iterator[Cloud]:
    """An account with nothing in it, for a fixture of a test."""
    cloud = Cloud(server)
    cloud.post("reset")
    yield cloud
    cloud.post("reset")


def resource(kind: str, _more: Template | None = None, /, **properties: Any) -> Template:
    return {"Type": f"AWS::{kind}", "Properties": properties, **(_more or {})}


def get(logical_id: str, attribute: str = "Arn") -> Template:
    return {"Fn::GetAtt": [logical_id, attribute]}


def ref(logical_id: str) -> Template:
    return {"Ref": logical_id}


def allow(action: str, target: Any = "*", **more: Any) -> Template:
    statement = {"Effect": "Allow", "Action": action, "Resource": target, **more}
    return {"Version": "2012-10-17", "Statement": [statement]}


def trust(service: str) -> Template:
    principal = {"Service": f"{service}.amazonaws.com"}
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal}
    return {"Version": "2012-10-17", "Statement": [statement]}


def role(service: str = "ecs-tasks", **properties: Any) -> Template:
    return resource("IAM::Role", AssumeRolePolicyDocument=trust(service), **properties)


KEPT = {"DeletionPolicy": "Retain"}


def what_there_is(cloud: Cloud) -> dict[str, list[Any]]:
    """As the services themselves say it."""
    ecs, ec2 = cloud("ecs"), cloud("ec2")
    clusters = ecs.list_clusters()["clusterArns"]
    there = {
        "vpcs": [v["VpcId"] for v in ec2.describe_vpcs()["Vpcs"] if not v["IsDefault"]],
        "subnets": [s for s in ec2.describe_subnets()["Subnets"] if not s["DefaultForAz"]],
        "groups": [
            g["GroupId"]
            for g in ec2.describe_security_groups()["SecurityGroups"]
            if g["GroupName"] != "default"
        ],
        "route tables": ec2.describe_route_tables()["RouteTables"][1:],  # the default VPC's
        "gateways": ec2.describe_internet_gateways()["InternetGateways"],
        "endpoints": [
            e for e in ec2.describe_vpc_endpoints()["VpcEndpoints"] if e["State"] != "deleted"
        ],
        "nat": [n for n in ec2.describe_nat_gateways()["NatGateways"] if n["State"] != "deleted"],
        "addresses": ec2.describe_addresses()["Addresses"],
        "images": cloud("ecr").describe_repositories()["repositories"],
        "buckets": cloud("s3").list_buckets()["Buckets"],
        "roles": cloud("iam").list_roles()["Roles"],
        "policies": cloud("iam").list_policies(Scope="Local")["Policies"],
        "clusters": clusters,
        "services": [s for c in clusters for s in ecs.list_services(cluster=c)["serviceArns"]],
        "tasks": ecs.list_task_definitions(status="ACTIVE")["taskDefinitionArns"],
        "logs": cloud("logs").describe_log_groups()["logGroups"],
        "sources": _repositories(cloud),
        "builds": cloud("codebuild").list_projects()["projects"],
        "pipelines": cloud("codepipeline").list_pipelines()["pipelines"],
        "queues": cloud("sqs").list_queues().get("QueueUrls", []),
        "topics": cloud("sns").list_topics()["Topics"],
        "subscriptions": cloud("sns").list_subscriptions()["Subscriptions"],
        "rules": cloud("events").list_rules()["Rules"],
        "schedules": cloud("scheduler").list_schedules()["Schedules"],
        "schedule groups": cloud("scheduler").list_schedule_groups()["ScheduleGroups"][1:],
        "alarms": cloud("cloudwatch").describe_alarms()["MetricAlarms"],
        "budgets": cloud("budgets").describe_budgets(AccountId=ACCOUNT).get("Budgets", []),
        "exports": list(data_exports(ACCOUNT, cloud.region)),
    }
    return {name: items for name, items in there.items() if items}


def _repositories(cloud: Cloud) -> list[str]:
    """Moto cannot list them."""
    try:
        return [cloud("codecommit").get_repository(repositoryName="source")["repositoryMetadata"]]
    except ClientError:
        return []
