"""ECS: which calls AWS checks for a request.

https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerservice.html
"""

from __future__ import annotations

from typing import Any

from infra.local.iam.policy import Call
from infra.local.iam.request import Request, Value, pass_roles, tag_context

_PASSED_TO = "ecs-tasks.amazonaws.com"
_ON_SERVICES = {"CreateService", "UpdateService", "DeleteService", "DescribeServices"}
_ON_TASKS = {"StopTask", "DescribeTasks", "ExecuteCommand"}
_ON_CLUSTERS = {
    *("DescribeClusters", "DeleteCluster", "UpdateCluster", "PutClusterCapacityProviders"),
}
_ON_TAGGED = {"TagResource", "UntagResource", "ListTagsForResource"}
_ON_ANYTHING = {
    *("DescribeTaskDefinition", "DeregisterTaskDefinition", "ListTaskDefinitions"),
    *("ListTaskDefinitionFamilies", "ListClusters", "ListServices", "ListTasks"),
}


def ecs_calls(request: Request) -> list[Call]:
    operation = request.operation
    if operation == "RunTask":
        return _run_task(request)
    if operation == "RegisterTaskDefinition":
        return _register(request)
    if operation in _ON_SERVICES:
        return _services(request)
    if operation in _ON_TASKS:
        tasks = request.listed("task") + request.listed("tasks")
        return [_in_cluster(request, _arn(request, "task", one)) for one in tasks]
    if operation in _ON_CLUSTERS:
        clusters = request.listed("cluster") + request.listed("clusters") or ["default"]
        return [request.call(_cluster_arn(request, one)) for one in clusters]
    if operation in _ON_TAGGED:
        return [request.call(str(request.params.get("resourceArn", "*")), **_tags(request))]
    if operation in _ON_ANYTHING:
        # Of a list's filters only the cluster is a condition key.
        context = {"ecs__cluster": _cluster_arn(request)} if "cluster" in request.params else {}
        return [request.call("*", **context)]
    return []


def _run_task(request: Request) -> list[Call]:
    name = str(request.params.get("taskDefinition", ""))
    found = request.known.task_definition(name)
    arn = found.arn if found else request.arn(f"task-definition/{name.split('/')[-1]}")
    overrides = request.params.get("overrides") or {}
    roles = [overrides.get("taskRoleArn"), overrides.get("executionRoleArn")]
    return [
        _in_cluster(request, arn),
        *pass_roles(request, [*roles, *(found.roles if found else ())], _PASSED_TO),
        *_tag(request, f"task/{_cluster(request)}/*"),  # the task's id is yet to be made
    ]


def _register(request: Request) -> list[Call]:
    family = f"task-definition/{request.params.get('family', '')}:*"  # nor is there a revision
    roles = [request.params.get("taskRoleArn"), request.params.get("executionRoleArn")]
    return [
        request.call(request.arn(family), **_tags(request)),
        *pass_roles(request, roles, _PASSED_TO),
        *_tag(request, family),
    ]


def _services(request: Request) -> list[Call]:
    given = request.params
    named = [
        *request.listed("service"),
        *request.listed("services"),
        *request.listed("serviceName"),
    ]
    calls = [_in_cluster(request, _arn(request, "service", one)) for one in named]
    if given.get("taskDefinition"):
        found = request.known.task_definition(str(given["taskDefinition"]))
        calls += pass_roles(request, found.roles if found else (), _PASSED_TO)
    if request.operation == "CreateService":
        calls += _tag(request, f"service/{_cluster(request)}/{given.get('serviceName', '')}")
    return calls


def _tag(request: Request, resource: str) -> list[Call]:
    """Tags that come with a new thing need a grant of their own.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/supported-iam-actions-tagging.html
    """
    tags = _tags(request)
    if not tags:
        return []
    return [
        request.call(
            request.arn(resource), "TagResource", ecs__CreateAction=request.operation, **tags
        )
    ]


def _tags(request: Request) -> dict[str, Any]:
    keys: dict[str, Value] = {"aws:TagKeys": request.listed("tagKeys")}
    return tag_context(request.listed("tags")) or (keys if request.listed("tagKeys") else {})


def _in_cluster(request: Request, resource: str) -> Call:
    return request.call(resource, ecs__cluster=_cluster_arn(request))


def _cluster(request: Request) -> str:
    return str(request.params.get("cluster") or "default").split("/")[-1]


def _cluster_arn(request: Request, name: str = "") -> str:
    named = name or str(request.params.get("cluster") or "default")
    return named if named.startswith("arn:") else request.arn(f"cluster/{named}")


def _arn(request: Request, kind: str, name: str) -> str:
    return name if name.startswith("arn:") else request.arn(f"{kind}/{_cluster(request)}/{name}")
