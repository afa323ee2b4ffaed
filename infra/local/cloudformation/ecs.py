"""AWS::ECS: clusters, task definitions, services."""

from __future__ import annotations

from typing import Any

from moto.core.utils import camelcase_to_underscores
from moto.ecs.models import ecs_backends

from infra.local.cloudformation.api import Api, Props, found, only, without
from infra.local.cloudformation.kind import Kind, id_as
from infra.local.cloudformation.tags import retag

# --- clusters ------------------------------------------------------------------------------------

_PROVIDERS = ("CapacityProviders", "DefaultCapacityProviderStrategy")


def _create_cluster(api: Api, p: Props) -> str:
    own = without(p, "ClusterSettings")
    api.call("ecs", "create_cluster", settings=p.get("ClusterSettings"), **own)
    return str(p["ClusterName"])


def _update_cluster(api: Api, name: str, p: Props, old: Props) -> None:
    changed = {
        "settings": p.get("ClusterSettings", [{"name": "containerInsights", "value": "disabled"}]),
        **only(p, "Configuration", "ServiceConnectDefaults"),
    }
    api.call("ecs", "update_cluster", cluster=name, **changed)
    if any(p.get(key) != old.get(key) for key in _PROVIDERS):
        _put_providers(api, p | {"Cluster": name})
    retag(api, "ecs", api.arn("ecs", f"cluster/{name}"), p, old)


def _put_providers(api: Api, p: Props) -> str:
    cluster: str = p["Cluster"]
    api.call(
        "ecs",
        "put_cluster_capacity_providers",
        cluster=cluster,
        capacityProviders=p.get("CapacityProviders", []),
        defaultCapacityProviderStrategy=p.get("DefaultCapacityProviderStrategy", []),
    )
    return cluster


def _delete_cluster(api: Api, name: str, _: Props) -> None:
    # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeleteCluster.html
    if api.call("ecs", "list_services", cluster=name)["serviceArns"]:
        raise ValueError("The Cluster cannot be deleted while Services are active.")
    if api.call("ecs", "list_tasks", cluster=name, desiredStatus="RUNNING")["taskArns"]:
        raise ValueError("The Cluster cannot be deleted while Tasks are active.")
    api.call("ecs", "delete_cluster", cluster=name)
    ecs_backends[api.account][api.region].clusters.pop(name, None)  # moto lists inactive ones


def _find_cluster(api: Api, name: str, _: Props) -> str | None:
    clusters = api.call("ecs", "describe_clusters", clusters=[name])["clusters"]
    return name if clusters and clusters[0]["status"] == "ACTIVE" else None


# --- task definitions ----------------------------------------------------------------------------

_REVISION = (
    *("ContainerDefinitions", "Cpu", "Memory", "NetworkMode", "RequiresCompatibilities"),
    *("RuntimePlatform", "TaskRoleArn", "ExecutionRoleArn", "Volumes", "EphemeralStorage"),
    *("PlacementConstraints", "ProxyConfiguration", "PidMode", "IpcMode", "EnableFaultInjection"),
)


def _register(api: Api, p: Props) -> str:
    answer = api.call("ecs", "register_task_definition", **p)
    return str(answer["taskDefinition"]["taskDefinitionArn"])


# --- services ------------------------------------------------------------------------------------

_CREATE_ONLY = ("Cluster", "ServiceName", "LaunchType", "Role", "SchedulingStrategy")
_DROPPED_BY_MOTO = (
    *("CapacityProviderStrategy", "DeploymentConfiguration", "EnableECSManagedTags"),
    *("EnableExecuteCommand", "HealthCheckGracePeriodSeconds", "AvailabilityZoneRebalancing"),
)


def _create_service(api: Api, p: Props) -> str:
    given = p | {"DesiredCount": p.get("DesiredCount", 1)}  # AWS's own default, moto's is 0
    service = api.call("ecs", "create_service", **given)["service"]
    made = _in_moto(api, service["serviceArn"])
    dropped = api.fitted("ecs", "create_service", only(p, *_DROPPED_BY_MOTO))
    for name, value in dropped.items():
        setattr(made, camelcase_to_underscores(name), value)
    if "CapacityProviderStrategy" in p:
        made.launch_type = None  # a service has one or the other; moto says EC2
    return str(service["serviceArn"])


def _update_service(api: Api, arn: str, p: Props, old: Props) -> None:
    """What differs, and the desired count if the template has one: without it, it stays."""
    changed = {name: value for name, value in p.items() if value != old.get(name)}
    changed |= only(p, "DesiredCount")
    changed = without(changed, *_CREATE_ONLY, "Tags")
    if changed:
        api.call("ecs", "update_service", cluster=_cluster(arn), service=arn, **changed)
    for deployment in _in_moto(api, arn).deployments:  # moto leaves the old one there
        deployment["taskDefinition"] = p["TaskDefinition"]
    retag(api, "ecs", arn, p, old)


def _delete_service(api: Api, arn: str, _: Props) -> None:
    at = {"cluster": _cluster(arn), "service": arn}
    api.call("ecs", "update_service", **at, desiredCount=0)
    api.call("ecs", "delete_service", **at, force=True)
    ecs_backends[api.account][api.region].services.pop(_key(arn), None)  # moto lists inactive ones


def _in_moto(api: Api, arn: str) -> Any:
    return ecs_backends[api.account][api.region].services[_key(arn)]


def _key(arn: str) -> str:
    return ":".join(arn.split("/")[-2:])


def _cluster(arn: str) -> str:
    return arn.split("/")[-2]


def _find_service(api: Api, name: str, p: Props) -> str | None:
    cluster = p.get("Cluster", "default")
    answer = found(
        lambda: api.call("ecs", "describe_services", cluster=cluster, services=[name])["services"]
    )
    active = [service for service in answer or [] if service["status"] == "ACTIVE"]
    return active[0]["serviceArn"] if active else None


KINDS = (
    Kind(
        "AWS::ECS::Cluster",
        _create_cluster,
        _delete_cluster,
        _update_cluster,
        lambda api, name, _: {"Arn": api.arn("ecs", f"cluster/{name}")},
        name="ClusterName",
        find=_find_cluster,
        importable=True,
    ),
    Kind(
        "AWS::ECS::ClusterCapacityProviderAssociations",
        _put_providers,
        lambda api, cluster, _: _put_providers(api, {"Cluster": cluster}),
        lambda api, _, p, _old: _put_providers(api, p),
        fixed=("Cluster",),
    ),
    Kind(
        "AWS::ECS::TaskDefinition",
        _register,
        lambda api, arn, _: api.call("ecs", "deregister_task_definition", taskDefinition=arn),
        lambda api, arn, p, old: retag(api, "ecs", arn, p, old),
        id_as("TaskDefinitionArn"),
        fixed=_REVISION,
        name="Family",
    ),
    Kind(
        "AWS::ECS::Service",
        _create_service,
        _delete_service,
        _update_service,
        lambda _api, arn, _: {"ServiceArn": arn, "Name": arn.split("/")[-1]},
        fixed=_CREATE_ONLY,
        name="ServiceName",
        find=_find_service,
    ),
)
