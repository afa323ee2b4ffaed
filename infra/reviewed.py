"""Findings of cdk-nag (AwsSolutions) that were looked at and are meant, each with its reason."""

from __future__ import annotations

from collections.abc import Callable

import aws_cdk as cdk
from constructs import IConstruct

from infra.names import ACCOUNT
from infra.policies import Statement

# (rule, the end of the construct's path, reason)
MEANT = (
    ("VPC7", "/Vpc/Resource", "Flow logs cost more than the jobs do, and no port is open."),
    ("S1", "/Data/Resource", "Access logs would need a bucket without logs of its own, and money."),
    ("S1", "/State/Resource", "As for the data; only the orchestrator's role gets in."),
    ("S1", "/Artifacts/Resource", "Copies of commits, for thirty days."),
    ("ECS4", "/Cluster", "Container Insights bills each metric; a run measures itself."),
    ("ECS2", "/OrchestratorTask", "Names of resources. What is secret comes from SSM."),
    ("CB4", "/Build", "AWS's own S3 key encrypts at no charge; one of ours is $1 a month."),
    ("SQS3", "/WakeUpFailed", "This is a dead-letter queue: EventBridge Scheduler's."),
)


def acknowledge(stack: cdk.Stack) -> None:
    for construct in stack.node.find_all():
        for rule, where, reason in MEANT:
            if f"/{construct.node.path}".endswith(where):
                _acknowledge(construct, rule, reason)


def wildcards(
    construct: IConstruct,
    statement: Statement,
    why: Callable[[Statement, str], str],
) -> None:
    """Acknowledge each resource of the statement that is not one name."""
    for resource in statement["Resource"]:
        if "*" in resource:
            named = resource.replace(ACCOUNT, "<AWS::AccountId>")  # as cdk-nag writes it
            _acknowledge(construct, f"IAM5[Resource::{named}]", why(statement, resource))


def _acknowledge(construct: IConstruct, rule: str, reason: str) -> None:
    acknowledgment = cdk.Acknowledgment(id=f"AwsSolutions::AwsSolutions-{rule}", reason=reason)
    cdk.Validations.of(construct).acknowledge(acknowledgment)
