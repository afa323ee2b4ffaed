"""Puts the local Fargate in the place of moto's tasks: patches of moto 5.2.5's internals."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from moto.core.responses import ActionResult
from moto.core.utils import camelcase_to_underscores
from moto.ecs.exceptions import ECSException
from moto.ecs.responses import EC2ContainerServiceResponse

from infra.local.fargate.request import Json, Refused
from infra.local.iam.buckets import replaced
from infra.local.valid import check_request

if TYPE_CHECKING:
    from infra.local.fargate.fargate import Fargate

Answer = Callable[[Any], Any]


@contextmanager
def in_place(fargate: Fargate) -> Iterator[None]:
    operations = (fargate.run_task, fargate.stop_task, fargate.describe_tasks, fargate.list_tasks)
    ecs = EC2ContainerServiceResponse
    with ExitStack() as stack:
        for operation in operations:
            stack.enter_context(replaced(ecs, operation.__name__, _answering(operation)))
        create, update = ecs.create_service, ecs.update_service
        stack.enter_context(replaced(ecs, create.__name__, _creating(create)))
        stack.enter_context(replaced(ecs, update.__name__, _updating(update)))
        yield


def _answering(operation: Callable[[Json], Json]) -> Answer:
    name = "".join(part.title() for part in operation.__name__.split("_"))

    def answer(response: Any) -> ActionResult:
        request = response._get_params()
        if wrong := check_request("ecs", name, request):
            raise ECSException("InvalidParameterException", "; ".join(wrong))
        cluster = request.get("cluster") or "default"
        response.ecs_backend._get_cluster(cluster)  # raises ClusterNotFoundException
        if service := request.get("serviceName"):
            response.ecs_backend._get_service(cluster, service)  # the same of a service
        response._include_in_response("DescribeTasksResponse.tasks.Task.tags")
        try:
            return ActionResult(operation(request))
        except Refused as error:
            raise ECSException(error.code, error.message) from error

    return answer


def _creating(create: Answer) -> Answer:
    """What moto drops of a new service, and its scheduler goes by."""

    def answer(response: Any) -> Any:
        given = response._get_params()
        made = create(response)
        service = response.ecs_backend._get_service(
            given.get("cluster") or "default", given["serviceName"]
        )
        for name in ("capacityProviderStrategy", "deploymentConfiguration"):
            if name in given:
                setattr(service, camelcase_to_underscores(name), given[name])
        service.launch_type = given.get("launchType")  # moto says EC2 where there is none
        return made

    return answer


def _updating(update: Answer) -> Answer:
    """moto says that as many run as are wanted, and knows no deployment but forced ones."""

    def answer(response: Any) -> Any:
        given = response._get_params()
        backend = response.ecs_backend
        service = backend._get_service(given.get("cluster") or "default", given["service"])
        counts = (service.running_count, service.pending_count)
        before = service.task_definition
        made = update(response)
        service.running_count, service.pending_count = counts
        if service.task_definition:
            service.task_definition = backend.describe_task_definition(service.task_definition).arn
        if service.deployments:
            present = service.deployments[0]
            present["taskDefinition"] = service.task_definition
            if service.task_definition != before and not given.get("forceNewDeployment"):
                present["id"] = f"ecs-svc/{random.randint(10**18, 10**19)}"  # noqa: S311 - a name
        return made

    return answer
