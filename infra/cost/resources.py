"""A rule for each type of resource: what it uses in a month, or why it costs nothing.

A type without one is a Problem, so that nothing new in the templates goes unpriced.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

from deployments.prices import Prices
from flows.problem import Problem
from infra.cost.assumptions import ALWAYS, Assumptions
from infra.cost.lines import Bill, Kind, Use, priced
from infra.cost.runs import Job

Templates = Mapping[str, Mapping[str, Any]]  # a stack's name: its template

ECS = "Amazon Elastic Container Service"
VPC = "Amazon Virtual Private Cloud"
EC2 = "Amazon Elastic Compute Cloud"
S3 = "Amazon Simple Storage Service"
ECR = "Amazon EC2 Container Registry (ECR)"
CLOUDWATCH = "AmazonCloudWatch"
SQS = "Amazon Simple Queue Service"

_WEEK = 7 * 24  # hours: it wakes by then, to look after itself
_MINUTE = Decimal(1) / 60  # in hours: Fargate's least, and an address's

_EC2_FREE = "https://aws.amazon.com/vpc/pricing/: only NAT, addresses, endpoints and traffic cost"
_IAM = "https://aws.amazon.com/iam/: no additional charge"
_RULE = "AWS's own events cost nothing: https://aws.amazon.com/eventbridge/pricing/"
_POLICY = "a policy, part of what it guards"
FREE: dict[str, str] = {
    "AWS::BCMDataExports::Export": "https://aws.amazon.com/aws-cost-management/pricing/: exports "
    "are free, their storage is S3's",
    "AWS::Budgets::Budget": "https://aws.amazon.com/aws-cost-management/aws-budgets/pricing/: "
    "budgets without actions are free",
    "AWS::EC2::InternetGateway": _EC2_FREE,
    "AWS::EC2::Route": _EC2_FREE,
    "AWS::EC2::RouteTable": _EC2_FREE,
    "AWS::EC2::SecurityGroup": _EC2_FREE,
    "AWS::EC2::SecurityGroupEgress": _EC2_FREE,
    "AWS::EC2::SecurityGroupIngress": _EC2_FREE,
    "AWS::EC2::Subnet": _EC2_FREE,
    "AWS::EC2::SubnetRouteTableAssociation": _EC2_FREE,
    "AWS::EC2::VPC": _EC2_FREE,
    "AWS::EC2::VPCGatewayAttachment": _EC2_FREE,
    "AWS::ECS::ClusterCapacityProviderAssociations": "only says that Fargate and Spot may be",
    "AWS::ECS::TaskDefinition": "https://aws.amazon.com/ecs/pricing/: what runs of it costs",
    "AWS::Events::Rule": _RULE,
    "AWS::IAM::ManagedPolicy": _IAM,
    "AWS::IAM::Role": _IAM,
    "AWS::S3::BucketPolicy": _POLICY,
    "AWS::SNS::Topic": "https://aws.amazon.com/sns/pricing/: what it sends costs",
    "AWS::SNS::TopicPolicy": _POLICY,
    "AWS::SQS::QueuePolicy": _POLICY,
    "AWS::Scheduler::ScheduleGroup": "part of its schedules' names",
}


@dataclass(frozen=True)
class Resource:
    id: str
    type: str
    properties: Mapping[str, Any]


@dataclass(frozen=True)
class Month:
    """What happens in a month in an installation of these templates."""

    templates: Templates
    jobs: tuple[Job, ...]
    assumed: Assumptions

    @cached_property
    def resources(self) -> tuple[Resource, ...]:
        return tuple(
            Resource(id, found["Type"], found.get("Properties", {}))
            for template in self.templates.values()
            for id, found in template["Resources"].items()
        )

    def output(self, name: str) -> str:
        for template in self.templates.values():
            if name in template.get("Outputs", {}):
                return str(template["Outputs"][name]["Value"])
        raise Problem(
            "the templates have no such output",
            where={"output": name},
            fix="price the templates of an installation: make cost",
        )

    @cached_property
    def spot(self) -> bool:
        return self.output("CapacityProvider") == "FARGATE_SPOT"

    @cached_property
    def addresses(self) -> bool:
        """Whether each task has a public one."""
        return self.output("AssignPublicIp") == "ENABLED"

    @cached_property
    def orchestrator(self) -> Mapping[str, Any]:
        """The properties of the task definition that is in the template."""
        (one,) = (r for r in self.resources if r.type == "AWS::ECS::TaskDefinition")
        return one.properties

    def setting(self, name: str) -> str:
        """Of the orchestrator's environment."""
        (container,) = self.orchestrator["ContainerDefinitions"]
        return next(str(v["Value"]) for v in container["Environment"] if v["Name"] == name)

    @cached_property
    def runs(self) -> Decimal:
        return sum((job.runs for job in self.jobs), Decimal(0))

    @cached_property
    def wakes(self) -> Decimal:
        """Wake-ups; none of one that never sleeps."""
        if self.setting("NIGHTSHIFT_ORCHESTRATOR") == "always":
            return Decimal(0)
        return max(self.runs, self.assumed.hours / _WEEK) + self.assumed.pushes

    @cached_property
    def awake(self) -> Decimal:
        """Hours of the orchestrator, never more than the month has."""
        assumed = self.assumed
        if self.setting("NIGHTSHIFT_ORCHESTRATOR") == "always":
            return assumed.hours
        beyond = (
            Decimal(self.setting("NIGHTSHIFT_WAKE_LEAD"))
            + assumed.start_seconds
            + assumed.after_seconds
        )
        at_work = sum((job.runs * (job.minutes * 60 + beyond) for job in self.jobs), Decimal(0))
        for_nothing = (self.wakes - self.runs) * (assumed.wake_seconds + assumed.start_seconds)
        return min(assumed.hours, (at_work + for_nothing) / 3600)

    def hours(self, job: Job) -> Decimal:
        """Of one job's tasks, as Fargate bills them."""
        one = job.minutes / 60 + self.assumed.start_seconds / 3600
        return job.runs * max(one, _MINUTE)


def bill(templates: Templates, jobs: tuple[Job, ...], prices: Prices, assumed: Assumptions) -> Bill:
    """The whole bill of a month. Raises Problem for a type of resource without a rule."""
    month = Month(templates, jobs, assumed)
    uses = [use for resource in month.resources for use in _uses(resource, month)]
    return Bill(
        priced(sorted(uses, key=lambda use: _ORDER[use.kind]), prices),
        assumptions=(*ALWAYS, *assumed.sentences()),
        free_of_charge={
            resource.type: FREE[resource.type]
            for resource in month.resources
            if resource.type in FREE
        },
    )


_ORDER: dict[Kind, int] = {"fixed": 0, "per run": 1, "per push": 2}


def _uses(resource: Resource, month: Month) -> Iterator[Use]:
    if resource.type in FREE:
        return
    rule = RULES.get(resource.type)
    if rule is None:
        raise Problem(
            "a type of resource has no price",
            where={"resource": resource.id},
            value=resource.type,
            fix="give it a rule, or a reason why it is free, in infra/cost/resources.py",
        )
    for use in rule(resource, month):
        if use.quantity:
            yield use


# --- rules ---------------------------------------------------------------------------------------


def fargate(
    name: str, kind: Kind, cpu: int, memory: int, hours: Decimal, *, spot: bool, address: bool
) -> Iterator[Use]:
    """An ECS task on ARM64. `cpu`: units; `memory`: MiB."""
    where, price = ("Fargate Spot", "fargate-spot") if spot else ("Fargate", "fargate")
    vcpus, gb = Decimal(cpu) / 1024, Decimal(memory) / 1024
    yield Use(
        name, ECS, f"{where}, {vcpus:f} vCPU", kind, "vCPU-hour", vcpus * hours,
        f"{price}-arm64-vcpu-hour",
    )  # fmt: skip
    yield Use(
        name, ECS, f"{where}, {gb:f} GB", kind, "GB-hour", gb * hours, f"{price}-arm64-gb-hour"
    )
    if address:
        yield Use(name, VPC, "public IPv4 address", kind, "hour", hours, "public-ipv4-hour")


def _cluster(_: Resource, month: Month) -> Iterator[Use]:
    """The jobs that run in it."""
    assumed = month.assumed
    for job in month.jobs:
        yield from fargate(
            job.name, "per run", job.cpu, job.memory, month.hours(job),
            spot=month.spot, address=month.addresses,
        )  # fmt: skip
        puts, gets = job.runs * assumed.run_puts, job.runs * assumed.run_gets
        yield Use(job.name, S3, "writes and lists", "per run", "request", puts, "s3-put")
        yield Use(job.name, S3, "reads", "per run", "request", gets, "s3-get")


def _service(_: Resource, month: Month) -> Iterator[Use]:
    assumed, definition, name = month.assumed, month.orchestrator, "orchestrator"
    mode = month.setting("NIGHTSHIFT_ORCHESTRATOR")
    kind: Kind = "fixed" if mode == "always" else "per run"
    yield from fargate(
        name, kind, int(definition["Cpu"]), int(definition["Memory"]), month.awake,
        spot=False, address=month.addresses,
    )  # fmt: skip
    minutes = month.awake * 60
    puts = assumed.lists_minute + (assumed.puts_minute if mode != "external" else 0)
    yield Use(name, S3, "writes and lists", kind, "request", minutes * puts, "s3-put")
    gets = month.wakes * assumed.wake_gets
    yield Use(name, S3, "reads", kind, "request", gets, "s3-get")
    secrets = 2 * (month.wakes + month.runs)
    kms = "AWS Key Management Service"
    yield Use(name, kms, "the API's secret, decrypted", kind, "request", secrets, "kms-request")


def _bucket(resource: Resource, month: Month) -> Iterator[Use]:
    sizes = {
        "Data": month.assumed.data_gb,
        "State": month.assumed.state_gb,
        "Artifacts": month.assumed.artifacts_gb,
    }
    of = next((name for name in sizes if resource.id.startswith(name)), None)
    if of is None:
        raise Problem(
            "a bucket's size is not assumed",
            where={"resource": resource.id},
            fix="say in infra/cost/resources.py how much is in it",
        )
    yield Use(resource.id, S3, "stored", "fixed", "GB-month", sizes[of], "s3-gb-month")


def _repository(resource: Resource, month: Month) -> Iterator[Use]:
    policy = json.loads(resource.properties["LifecyclePolicy"]["LifecyclePolicyText"])
    kept = max(rule["selection"]["countNumber"] for rule in policy["rules"])
    size = month.assumed.repository_gb(kept)
    yield Use(resource.id, ECR, "images", "fixed", "GB-month", size, "ecr-gb-month")


def _log_group(resource: Resource, month: Month) -> Iterator[Use]:
    assumed, name = month.assumed, str(resource.properties.get("LogGroupName", resource.id))
    of = name.rpartition("/")[2]
    kind: Kind = "per push" if of == "build" else "per run"
    megabytes = {
        "jobs": month.runs * assumed.run_log_mb,
        # One that never sleeps writes about as much for each run.
        "orchestrator": max(month.wakes, month.runs) * assumed.wake_log_mb,
        "build": assumed.pushes,
    }.get(of, Decimal(0))
    gb = megabytes / 1000
    yield Use(name, CLOUDWATCH, "logs taken in", kind, "GB", gb, "logs-gb")
    months = Decimal(int(resource.properties.get("RetentionInDays", 3653))) / 30
    yield Use(name, CLOUDWATCH, "logs kept", kind, "GB-month", gb * months, "logs-gb-month")


def _queue(resource: Resource, month: Month) -> Iterator[Use]:
    name = str(resource.properties.get("QueueName", resource.id))
    if not name.endswith("-tasks"):
        return  # the others are empty, and nobody asks them
    asked = month.awake * 60 * month.assumed.queue_minute
    events = 6 * (month.runs + month.wakes)  # state changes of a task, each put there once
    yield Use(name, SQS, "task events", "per run", "request", asked + events, "sqs-request")


def _alarm(resource: Resource, _: Month) -> Iterator[Use]:
    name = str(resource.properties.get("AlarmName", resource.id))
    yield Use(name, CLOUDWATCH, "alarm", "fixed", "alarm", Decimal(1), "alarm-month")


def _schedule(resource: Resource, month: Month) -> Iterator[Use]:
    name = str(resource.properties.get("Name", resource.id))
    times = month.wakes - month.assumed.pushes if month.wakes else Decimal(0)
    if resource.properties.get("State") == "DISABLED":
        times = Decimal(0)  # switched on for what goes wrong alone
    yield Use(
        name, "CloudWatch Events", "scheduled", "per run", "invocation", times,
        "scheduler-invocation",
    )  # fmt: skip


def _build(resource: Resource, month: Month) -> Iterator[Use]:
    environment = resource.properties["Environment"]
    arm = environment["Type"] == "ARM_CONTAINER"
    price = "codebuild-arm-small-minute" if arm else "codebuild-small-minute"
    minutes = month.assumed.pushes * month.assumed.build_minutes
    yield Use(resource.id, "CodeBuild", "builds", "per push", "minute", minutes, price)


def _pipeline(resource: Resource, month: Month) -> Iterator[Use]:
    minutes = month.assumed.pushes * (month.assumed.build_minutes + 1)
    yield Use(
        resource.id, "AWS CodePipeline", "actions", "per push", "minute", minutes,
        "codepipeline-minute",
    )  # fmt: skip


def _source(resource: Resource, month: Month) -> Iterator[Use]:
    users = max(month.assumed.users - 5, Decimal(0))
    yield Use(
        resource.id, "AWS CodeCommit", "users beyond five", "fixed", "user", users,
        "codecommit-user-month",
    )  # fmt: skip


def _mail(resource: Resource, month: Month) -> Iterator[Use]:
    yield Use(
        resource.id, "Amazon Simple Notification Service", "mails", "fixed", "mail",
        month.assumed.mails, "sns-mail",
    )  # fmt: skip


def _nat(resource: Resource, month: Month) -> Iterator[Use]:
    yield Use(resource.id, EC2, "NAT gateway", "fixed", "hour", month.assumed.hours, "nat-hour")
    gb = (month.runs + month.wakes) * month.assumed.run_nat_gb
    yield Use(resource.id, EC2, "through the NAT gateway", "per run", "GB", gb, "nat-gb")


def _address(resource: Resource, month: Month) -> Iterator[Use]:
    hours = month.assumed.hours
    yield Use(resource.id, VPC, "public IPv4 address", "fixed", "hour", hours, "public-ipv4-hour")


def _endpoint(resource: Resource, month: Month) -> Iterator[Use]:
    if resource.properties.get("VpcEndpointType") != "Interface":
        return  # a gateway's is free: https://aws.amazon.com/privatelink/pricing/
    hours = month.assumed.hours * len(resource.properties.get("SubnetIds", ("one",)))
    yield Use(resource.id, VPC, "interface endpoint", "fixed", "hour", hours, "endpoint-hour")


RULES: dict[str, Callable[[Resource, Month], Iterator[Use]]] = {
    "AWS::CloudWatch::Alarm": _alarm,
    "AWS::CodeBuild::Project": _build,
    "AWS::CodeCommit::Repository": _source,
    "AWS::CodePipeline::Pipeline": _pipeline,
    "AWS::EC2::EIP": _address,
    "AWS::EC2::NatGateway": _nat,
    "AWS::EC2::VPCEndpoint": _endpoint,
    "AWS::ECR::Repository": _repository,
    "AWS::ECS::Cluster": _cluster,
    "AWS::ECS::Service": _service,
    "AWS::Logs::LogGroup": _log_group,
    "AWS::S3::Bucket": _bucket,
    "AWS::SNS::Subscription": _mail,
    "AWS::SQS::Queue": _queue,
    "AWS::Scheduler::Schedule": _schedule,
}
