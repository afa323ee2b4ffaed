"""A node for each resource that the picture is about."""

from __future__ import annotations

import json
from collections.abc import Iterator

from flows.problem import Problem
from infra.picture.parts import Node
from infra.picture.template import Cloud, Resource

_EC2 = "The network: where tasks run, not what they do."
_POLICY = "Only refuses plain HTTP and lets in the service whose arrow is drawn."
NOT_SHOWN = {
    "EC2::EIP": _EC2,
    "EC2::InternetGateway": _EC2,
    "EC2::NatGateway": _EC2,
    "EC2::Route": _EC2,
    "EC2::RouteTable": _EC2,
    "EC2::SecurityGroupEgress": _EC2,
    "EC2::Subnet": _EC2,
    "EC2::SubnetRouteTableAssociation": _EC2,
    "EC2::VPC": _EC2,
    "EC2::VPCEndpoint": _EC2,
    "EC2::VPCGatewayAttachment": _EC2,
    "ECS::ClusterCapacityProviderAssociations": "Only says that Fargate and Fargate Spot may be.",
    "Logs::LogGroup": "Everything that runs has one.",
    "S3::BucketPolicy": _POLICY,
    "SNS::TopicPolicy": _POLICY,
    "SQS::QueuePolicy": _POLICY,
    "Scheduler::ScheduleGroup": "Only part of the schedule's name.",
}
# Read for what they say about others: an arrow, or a line in a box.
IN_OTHERS = {
    "EC2::SecurityGroup": "who may call Prefect's API",
    "EC2::SecurityGroupIngress": "who may call Prefect's API",
    "ECS::TaskDefinition": "what the service runs, and as whom",
    "IAM::ManagedPolicy": "what a job may do beyond its data",
    "SNS::Subscription": "how the topic tells people",
}
ECS_TASKS = "ecs-tasks.amazonaws.com"
PUBLISH = "arn:aws:scheduler:::aws-sdk:sns:publish"


def nodes(cloud: Cloud) -> Iterator[Node]:
    for resource in cloud.resources.values():
        if resource.type not in NOT_SHOWN and resource.type not in IN_OTHERS:
            yield from _node(cloud, resource)
    yield from _beyond(cloud)


def _node(cloud: Cloud, it: Resource) -> Iterator[Node]:
    name = cloud.name(it)
    match it.type:
        case "CodeCommit::Repository":
            yield Node(it.id, "source", "CodeCommit", name)
        case "CodePipeline::Pipeline":
            yield Node(it.id, "pipeline", "CodePipeline", name)
        case "CodeBuild::Project":
            build = cloud.text(it.get("Source", "BuildSpec"))
            yield Node(it.id, "build", "CodeBuild", name, (build,))
        case "ECR::Repository":
            yield Node(it.id, "image", "ECR repository", name)
        case "ECS::Cluster":
            yield Node(it.id, "cluster", "ECS cluster", name)
        case "ECS::Service":
            where = cloud.text(it.get("LaunchType")).replace("_", " ").title()
            details = (*_sleep(cloud, it), f"on {where}" if where else "")
            yield Node(it.id, "service", "ECS service", name, tuple(filter(None, details)))
        case "Scheduler::Schedule" if told_by(cloud, it):
            yield Node(it.id, "alert", "Schedule", name)
        case "Scheduler::Schedule":
            first = f"at first {cloud.text(it.get('ScheduleExpression'))}"
            yield Node(it.id, "schedule", "EventBridge schedule", name, (first,))
        case "SNS::Topic":
            told = tuple(_told(cloud, it)) or ("nobody subscribed",)
            yield Node(it.id, "topic", "SNS topic", name, told)
        case "BCMDataExports::Export":
            yield Node(it.id, "export", "AWS's bill export", cloud.text(it.get("Export", "Name")))
        case "S3::Bucket":
            kept = it.get("VersioningConfiguration", "Status") == "Enabled"
            yield Node(it.id, _bucket(cloud, it), "S3 bucket", name, ("versioned",) if kept else ())
        case "SQS::Queue":
            yield _queue(cloud, it)
        case "Events::Rule":
            kind = _rule(cloud, it)
            about = tuple(it.get("EventPattern", "detail-type")) if kind == "task_events" else ()
            yield Node(it.id, kind, "EventBridge rule", name, about)
        case "CloudWatch::Alarm":
            yield Node(it.id, "alert", "Alarm", name)
        case "Budgets::Budget":
            limit = it.get("Budget", "BudgetLimit") or {}
            much = f"{limit.get('Amount')} {limit.get('Unit')} a month"
            yield Node(it.id, "alert", "Budget", f"budget of {much}")
        case "IAM::Role":
            if is_job(cloud, it):
                yield _job(cloud, it)
        case _:
            raise _no_place(it, "Nobody has said what it is in the picture.")


def _no_place(it: Resource, why: str) -> Problem:
    return Problem(
        "a resource has no place in the picture",
        where={"resource": it.id},
        value=it.type,
        detail=why,
        fix="give it one in infra/picture, or a reason in its NOT_SHOWN",
    )


_WORDS = {
    "asleep": ("Prefect's server and worker", "asleep when idle"),
    "always": ("Prefect's server and worker", "always on"),
    "external": ("Prefect's worker", "for a server elsewhere", "asleep when idle"),
}


def _sleep(cloud: Cloud, service: Resource) -> tuple[str, ...]:
    task = task_of(cloud, service)
    for container in (task.get("ContainerDefinitions") if task else None) or []:
        for variable in container.get("Environment", []):
            if variable["Name"] == "NIGHTSHIFT_ORCHESTRATOR":
                return _WORDS[variable["Value"]]
    return ()


def _told(cloud: Cloud, topic: Resource) -> Iterator[str]:
    """How, not whom: an address has no business in a picture."""
    for subscription in cloud.of("SNS::Subscription"):
        if cloud.text(subscription.get("TopicArn")) == cloud.arn(topic):
            yield f"by {cloud.text(subscription.get('Protocol'))}"


def told_by(cloud: Cloud, schedule: Resource) -> Resource | None:
    """The topic to which it publishes, if that is what it does."""
    target = schedule.get("Target") or {}
    if cloud.text(target.get("Arn")) != PUBLISH:
        return None
    asked = json.loads(cloud.text(target["Input"]))
    return cloud.find("SNS::Topic", asked["TopicArn"])


def _bucket(cloud: Cloud, bucket: Resource) -> str:
    name = cloud.name(bucket)
    stores = [cloud.text(p.get("ArtifactStore", "Location")) for p in pipelines(cloud)]
    if name in stores:
        return "artifacts"
    for kind, output in (("data", "DataBucket"), ("state", "StateBucket")):
        if name == cloud.output(output):
            return kind
    raise _no_place(bucket, "No output and no pipeline names it, so what is in it is not known.")


def _queue(cloud: Cloud, queue: Resource) -> Node:
    name, arn = cloud.name(queue), cloud.arn(queue)
    for schedule in cloud.of("Scheduler::Schedule"):
        if cloud.text(schedule.get("Target", "DeadLetterConfig", "Arn")) == arn:
            return Node(queue.id, "lost", "SQS, undelivered", name)
    for other in cloud.of("SQS::Queue"):
        if cloud.text(other.get("RedrivePolicy", "deadLetterTargetArn")) == arn:
            return Node(queue.id, "unheard", "SQS, given up", name)
    days = (queue.get("MessageRetentionPeriod") or 0) // (24 * 60 * 60)
    return Node(queue.id, "queue", "SQS queue", name, (f"keeps them {days} days",) if days else ())


def _rule(cloud: Cloud, rule: Resource) -> str:
    kinds = {
        kind
        for kind, type in (
            ("on_push", "CodePipeline::Pipeline"),
            ("task_events", "SQS::Queue"),
            ("alert", "SNS::Topic"),
        )
        for target in rule.get("Targets") or []
        if cloud.find(type, target["Arn"])
    }
    if len(kinds) != 1:
        raise _no_place(rule, "What it has for targets is not one of pipeline, queue and topic.")
    return kinds.pop()


def _job(cloud: Cloud, role: Resource) -> Node:
    names = (
        str(output.get("Description", ""))
        for output in cloud.outputs.values()
        if cloud.text(output["Value"]) == cloud.arn(role)
    )
    where = cloud.output("CapacityProvider").replace("_", " ").title()
    more = sorted(
        {
            action
            for statement in cloud.statements(role)
            for action in statement.actions
            if statement.effect == "Allow" and not action.startswith("s3:")
        }
    )
    details = (
        f"role {cloud.name(role)}",
        f"on {where}" if where else "",
        f"also {', '.join(more)}" if more else "",
    )
    name = next(filter(None, names), cloud.name(role))
    return Node(role.id, "job", "ECS task, one for each run", name, tuple(filter(None, details)))


def _beyond(cloud: Cloud) -> Iterator[Node]:
    """What the templates name without making it, and the people who push."""
    sources = list(cloud.of("CodeCommit::Repository"))
    for _, configuration in source_actions(cloud):
        if "FullRepositoryId" in configuration:
            yield Node("Elsewhere", "source", "Connection", str(configuration["FullRepositoryId"]))
        elif not cloud.find("CodeCommit::Repository", configuration["RepositoryName"]):
            name = cloud.text(configuration["RepositoryName"])
            yield Node("Elsewhere", "source", "CodeCommit", name, ("was there before",))
    if sources or any(source_actions(cloud)):
        yield Node("Developers", "developer", "Developers", "write flows", ("and push",))
    for bucket in sorted({b for role in jobs(cloud) for b in buckets_of(cloud, role)}):
        if not cloud.find("S3::Bucket", bucket):
            yield Node(bucket, "outside", "S3 bucket elsewhere", bucket)


# --- what both workflows ask ---------------------------------------------------------------------


def pipelines(cloud: Cloud) -> list[Resource]:
    return cloud.of("CodePipeline::Pipeline")


def actions(pipeline: Resource) -> list[dict[str, object]]:
    return [
        {"provider": action["ActionTypeId"]["Provider"], **action["Configuration"]}
        for stage in pipeline.get("Stages") or []
        for action in stage["Actions"]
    ]


def source_actions(cloud: Cloud) -> list[tuple[Resource, dict[str, object]]]:
    wanted = ("CodeCommit", "CodeStarSourceConnection")
    return [(p, a) for p in pipelines(cloud) for a in actions(p) if a["provider"] in wanted]


def task_of(cloud: Cloud, service: Resource) -> Resource | None:
    return cloud.find("ECS::TaskDefinition", service.get("TaskDefinition"))


def is_job(cloud: Cloud, role: Resource) -> bool:
    """ECS tasks take it, and it is not one that the orchestrator's own task has."""
    trusted = str(role.get("AssumeRolePolicyDocument"))
    tasks = cloud.of("ECS::TaskDefinition")
    own = {cloud.text(t.get(key)) for t in tasks for key in ("TaskRoleArn", "ExecutionRoleArn")}
    return ECS_TASKS in trusted and cloud.arn(role) not in own


def jobs(cloud: Cloud) -> list[Resource]:
    return [role for role in cloud.of("IAM::Role") if is_job(cloud, role)]


READS, WRITES = ("s3:GetObject",), ("s3:PutObject", "s3:DeleteObject")


def prefixes(cloud: Cloud, role: Resource, verbs: tuple[str, ...]) -> dict[str, list[str]]:
    """A bucket's name: below what the role may do one of these there."""
    found: dict[str, list[str]] = {}
    for verb in verbs:
        for pattern in cloud.granted(role, verb):
            bucket, _, key = pattern.removeprefix("arn:aws:s3:::").partition("/")
            keys = found.setdefault(bucket, [])
            key = key.removesuffix("*") or "everything"
            if key not in keys and key.rstrip("/") not in keys:  # an object, or what is below it
                keys.append(key)
    return found


def buckets_of(cloud: Cloud, role: Resource) -> set[str]:
    return {*prefixes(cloud, role, READS), *prefixes(cloud, role, WRITES)}
