"""From the image to the data, and to who hears of failures: which links the templates have."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from infra.picture.nodes import READS, WRITES, jobs, prefixes, task_of, told_by
from infra.picture.parts import Edge
from infra.picture.template import Cloud, Resource

UPDATE_SERVICE = "arn:aws:scheduler:::aws-sdk:ecs:updateService"
SETS = "scheduler:UpdateSchedule"


def edges(cloud: Cloud) -> Iterator[Edge]:
    for service in cloud.of("ECS::Service"):
        task = task_of(cloud, service)
        role = cloud.role(task.get("TaskRoleArn")) if task else None
        yield from _image(cloud, service, task)
        yield from _wake_up(cloud, service, role)
        yield from _jobs(cloud, service, role)
        if role:
            yield from _data(cloud, service.id, role)
        for queue in cloud.of("SQS::Queue"):
            if cloud.may(role, "sqs:ReceiveMessage", queue):
                yield Edge(queue.id, service.id, "Prefect's observer")
    for job in jobs(cloud):
        yield from _data(cloud, job.id, job)
    yield from _export(cloud)
    yield from _queues(cloud)
    yield from _rules(cloud)
    yield from _alarms(cloud)


def _image(cloud: Cloud, service: Resource, task: Resource | None) -> Iterator[Edge]:
    for container in (task.get("ContainerDefinitions") if task else None) or []:
        image, _, tag = cloud.text(container["Image"]).rpartition(":")
        for repository in cloud.of("ECR::Repository"):
            if image.endswith(f"/{cloud.name(repository)}"):
                yield Edge(repository.id, service.id, f":{tag}")


def _wake_up(cloud: Cloud, service: Resource, role: Resource | None) -> Iterator[Edge]:
    for schedule in cloud.of("Scheduler::Schedule"):
        if topic := told_by(cloud, schedule):
            yield from _watchdog(cloud, service, role, schedule, topic)
            continue
        if _wakes(cloud, schedule.get("Target") or {}, service):
            yield Edge(schedule.id, service.id, "wakes")
        if cloud.may(role, SETS, schedule):
            yield Edge(service.id, schedule.id, "sets the next")


def _watchdog(
    cloud: Cloud, service: Resource, role: Resource | None, schedule: Resource, topic: Resource
) -> Iterator[Edge]:
    if cloud.may(role, SETS, schedule):
        yield Edge(service.id, schedule.id)
    if cloud.may(cloud.role(schedule.get("Target", "RoleArn")), "sns:Publish", topic):
        yield Edge(schedule.id, topic.id)


def _wakes(cloud: Cloud, target: dict[str, Any], service: Resource) -> bool:
    if cloud.text(target.get("Arn")) != UPDATE_SERVICE:
        return False
    asked = json.loads(cloud.text(target["Input"]))
    cluster = cloud.find("ECS::Cluster", service.get("Cluster"))
    return (
        asked.get("Service") == cloud.name(service)
        and asked.get("Cluster") == (cloud.name(cluster) if cluster else None)
        and asked.get("DesiredCount", 0) > 0
        and cloud.may(cloud.role(target.get("RoleArn")), "ecs:UpdateService", service)
    )


def _jobs(cloud: Cloud, service: Resource, role: Resource | None) -> Iterator[Edge]:
    """Tasks are defined when they run: what they can be is what the orchestrator may hand them."""
    runs = cloud.granted(role, "ecs:RunTask")
    for job in jobs(cloud):
        if not (runs and cloud.may(role, "iam:PassRole", job)):
            continue
        yield Edge(service.id, job.id, "runs")
        for repository in cloud.of("ECR::Repository"):
            if any(
                cloud.may(other, "ecr:BatchGetImage", repository)
                for other in cloud.of("IAM::Role")
                if cloud.may(role, "iam:PassRole", other)
            ):
                yield Edge(repository.id, job.id)
        if _may_call(cloud, service):
            yield Edge(job.id, service.id, "Prefect's API")


def _may_call(cloud: Cloud, service: Resource) -> bool:
    """The service lets in the security group that jobs get."""
    network = service.get("NetworkConfiguration", "AwsvpcConfiguration") or {}
    groups = set(map(cloud.text, network.get("SecurityGroups", [])))
    return any(
        cloud.text(rule.get("GroupId")) in groups
        and cloud.text(rule.get("SourceSecurityGroupId")) == cloud.output("JobSecurityGroup") != ""
        for rule in cloud.of("EC2::SecurityGroupIngress")
    )


def _data(cloud: Cloud, who: str, role: Resource) -> Iterator[Edge]:
    def there(bucket: str) -> str:
        found = cloud.find("S3::Bucket", bucket)
        return found.id if found else bucket

    for bucket, keys in prefixes(cloud, role, READS).items():
        yield Edge(there(bucket), who, f"reads {', '.join(keys)}")
    for bucket, keys in prefixes(cloud, role, WRITES).items():
        yield Edge(who, there(bucket), f"writes {', '.join(keys)}")


def _export(cloud: Cloud) -> Iterator[Edge]:
    for export in cloud.of("BCMDataExports::Export"):
        to = export.get("Export", "DestinationConfigurations", "S3Destination") or {}
        bucket = cloud.find("S3::Bucket", to.get("S3Bucket"))
        if bucket:
            yield Edge(export.id, bucket.id, f"writes {cloud.text(to.get('S3Prefix'))}/")


def _queues(cloud: Cloud) -> Iterator[Edge]:
    for schedule in cloud.of("Scheduler::Schedule"):
        failed = cloud.find("SQS::Queue", schedule.get("Target", "DeadLetterConfig", "Arn"))
        if failed:
            yield Edge(schedule.id, failed.id, "if not delivered")
    for queue in cloud.of("SQS::Queue"):
        failed = cloud.find("SQS::Queue", queue.get("RedrivePolicy", "deadLetterTargetArn"))
        if failed:
            yield Edge(
                queue.id, failed.id, f"after {queue.get('RedrivePolicy', 'maxReceiveCount')} tries"
            )


def _rules(cloud: Cloud) -> Iterator[Edge]:
    for rule in cloud.of("Events::Rule"):
        pattern, targets = rule.get("EventPattern") or {}, rule.get("Targets") or []
        detail = pattern.get("detail", {})
        for target in targets:
            if queue := cloud.find("SQS::Queue", target["Arn"]):
                yield Edge(rule.id, queue.id)
            if topic := cloud.find("SNS::Topic", target["Arn"]):
                yield Edge(rule.id, topic.id)
        for key, type in (("pipeline", "CodePipeline::Pipeline"), ("clusterArn", "ECS::Cluster")):
            for named in detail.get(key, []):
                if it := cloud.find(type, named):
                    yield Edge(
                        it.id, rule.id, "what becomes of tasks" if key == "clusterArn" else ""
                    )
        for named in pattern.get("resources", []):
            if it := cloud.find("ECS::Service", named):
                yield Edge(it.id, rule.id)


def _alarms(cloud: Cloud) -> Iterator[Edge]:
    for alarm in cloud.of("CloudWatch::Alarm"):
        of = {d["Name"]: d["Value"] for d in alarm.get("Dimensions") or []}
        for key, type in (("QueueName", "SQS::Queue"), ("ServiceName", "ECS::Service")):
            if key in of and (it := cloud.find(type, of[key])):
                yield Edge(it.id, alarm.id)
        for action in alarm.get("AlarmActions") or []:
            if topic := cloud.find("SNS::Topic", action):
                yield Edge(alarm.id, topic.id)
    for budget in cloud.of("Budgets::Budget"):
        for notification in budget.get("NotificationsWithSubscribers") or []:
            for subscriber in notification["Subscribers"]:
                if topic := cloud.find("SNS::Topic", subscriber["Address"]):
                    yield Edge(budget.id, topic.id)
