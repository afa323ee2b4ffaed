"""From a RunTask request and a task definition to what is to run. Decides, and does nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deployments import hardware

Json = dict[str, Any]

_STOP_TIMEOUT = 30  # seconds, ECS's default
_PROVIDERS = ("FARGATE", "FARGATE_SPOT")


class Refused(Exception):
    """ECS answers the request with this error."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Planned:
    """What one task of a request is to be."""

    cluster: str  # name
    definition: Json = field(repr=False)  # as DescribeTaskDefinition gives it
    container: Json = field(repr=False)  # its only container's definition, overrides applied
    overrides: Json = field(repr=False)
    cpu: int  # units
    memory: int  # MiB
    task_role: str  # ARN, or ''
    execution_role: str  # ARN, or ''
    launch_type: str
    provider: str  # capacity provider, or ''
    subnets: tuple[str, ...]
    security_groups: tuple[str, ...]
    group: str
    started_by: str
    tags: tuple[tuple[str, str], ...]

    @property
    def stop_timeout(self) -> int:
        """Seconds between SIGTERM and SIGKILL."""
        return int(self.container.get("stopTimeout", _STOP_TIMEOUT))


def planned(request: Mapping[str, Any], definition: Json) -> Planned:
    """Raises Refused, in ECS's words."""
    overrides = dict(request.get("overrides") or {})
    if not 1 <= int(request.get("count") or 1) <= 10:
        raise Refused("InvalidParameterException", "Count must be between 1 and 10.")
    cpu, memory = _hardware(definition, overrides)
    strategy = request.get("capacityProviderStrategy") or []
    launch_type = request.get("launchType") or ""
    if launch_type and strategy:
        raise Refused(
            "InvalidParameterException",
            "Specify either Launch Type or Capacity Provider Strategy, but not both.",
        )
    provider = strategy[0]["capacityProvider"] if strategy else ""
    # Without either, ECS looks for machines of one's own.
    if provider not in _PROVIDERS and launch_type != "FARGATE":
        raise Refused(
            "InvalidParameterException",
            "No Container Instances were found in your cluster.",
        )
    if definition.get("networkMode") != "awsvpc":
        raise Refused("ClientException", "Fargate only supports network mode 'awsvpc'.")
    if "FARGATE" not in definition.get("requiresCompatibilities", []):
        raise Refused(
            "InvalidParameterException",
            "Task definition does not support launch_type FARGATE.",
        )
    network = (request.get("networkConfiguration") or {}).get("awsvpcConfiguration") or {}
    if not network.get("subnets"):
        raise Refused(
            "InvalidParameterException",
            "Network Configuration must be provided when networkMode 'awsvpc' is specified.",
        )
    container = _container(definition, overrides)
    execution_role = overrides.get("executionRoleArn") or definition.get("executionRoleArn") or ""
    if (wants := _wants_a_role(container)) and not execution_role:
        raise Refused(
            "ClientException",
            f"Fargate requires task definition to have execution role ARN to support {wants}.",
        )
    return Planned(
        cluster=str(request.get("cluster") or "default").split("/")[-1],
        definition=definition,
        container=container,
        overrides=overrides,
        cpu=cpu,
        memory=memory,
        task_role=overrides.get("taskRoleArn") or definition.get("taskRoleArn") or "",
        execution_role=execution_role,
        launch_type="FARGATE",
        provider=provider,
        subnets=tuple(network["subnets"]),
        security_groups=tuple(network.get("securityGroups") or ()),
        group=request.get("group") or f"family:{definition['family']}",
        started_by=request.get("startedBy") or "",
        tags=tuple((tag["key"], tag.get("value", "")) for tag in request.get("tags") or []),
    )


def _wants_a_role(container: Json) -> str:
    """https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_execution_IAM_role.html"""
    if (container.get("logConfiguration") or {}).get("logDriver") == "awslogs":
        return "log driver awslogs"
    if container.get("secrets"):
        return "secrets"
    return "ECR images" if ".dkr.ecr." in container["image"] else ""


def _hardware(definition: Json, overrides: Json) -> tuple[int, int]:
    cpu = overrides.get("cpu") or definition.get("cpu") or "0"
    memory = overrides.get("memory") or definition.get("memory") or "0"
    for name, value in (("cpu", cpu), ("memory", memory)):
        if not str(value).isdecimal():  # `.25 vCPU` is nothing that anyone here writes
            raise Refused("ClientException", f"Invalid '{name}' setting for task.")
    if not hardware.valid(int(cpu), int(memory)):
        raise Refused(
            "ClientException",
            "No Fargate configuration exists for given values: "
            f"{cpu} CPU, {memory} memory. See the Amazon ECS documentation for the valid ones.",
        )
    return int(cpu), int(memory)


def _container(definition: Json, overrides: Json) -> Json:
    """The container's definition with what the request puts in place of it.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerOverride.html
    """
    containers = definition["containerDefinitions"]
    if len(containers) != 1:
        raise Refused("ClientException", "The local Fargate runs tasks of one container.")
    container = dict(containers[0])
    for override in overrides.get("containerOverrides") or []:
        if override.get("name") != container["name"]:
            raise Refused(
                "InvalidParameterException",
                "Override for container named "
                f"{override.get('name')} is not a container in the TaskDefinition.",
            )
        if override.get("command"):
            container["command"] = override["command"]
        environment = {e["name"]: e["value"] for e in container.get("environment") or []}
        environment |= {e["name"]: e["value"] for e in override.get("environment") or []}
        container["environment"] = [{"name": n, "value": v} for n, v in environment.items()]
    return container
