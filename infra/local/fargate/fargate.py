"""The local Fargate of one local AWS."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from moto.ec2.models import ec2_backends
from moto.ecs.models import ecs_backends

from infra.local.aws import ACCOUNT, LocalAws
from infra.local.fargate import api, events
from infra.local.fargate.life import NO_CAPACITY, Place
from infra.local.fargate.metadata import endpoint, metadata
from infra.local.fargate.request import Json, Planned, Refused, planned
from infra.local.fargate.runtime import Runtime
from infra.local.fargate.services import ServiceTask, decide
from infra.local.fargate.task import Task, addresses
from infra.local.iam import NotTrusted, assume

_CREDENTIALS_LAST = timedelta(hours=6)
_LOOK = 0.25  # seconds between looks at the services

Say = Callable[[str], None]


class Fargate:
    """Its tasks, and what may befall them."""

    def __init__(
        self, aws: LocalAws, runtime: Runtime, say: Say, said: Callable[[Task, str], None]
    ):
        self._aws = aws
        self._say = say
        self._lock = threading.RLock()
        self._tasks: dict[str, Task] = {}  # by id
        self._closed = threading.Event()
        self._arn = f"arn:aws:ecs:{aws.region}:{ACCOUNT}"
        self._endpoint = ""
        self._addresses = addresses()
        self._keys: dict[str, tuple[Task, dict[str, str]]] = {}  # a secret path: credentials
        self._waiting: dict[str, float] = {}  # services that could not start a task: until when
        self.held: set[str] = set()  # services that something else stands for: none is started
        self.refuse_capacity: Callable[[Planned], bool] = lambda _: False  # RunTask: a failure
        self.no_machine: Callable[[Planned], bool] = lambda _: False  # accepted, never placed
        # A disk that is nearly full: MiB of the volumes that a container's image declares.
        self.scratch_mb: Callable[[Planned], int | None] = lambda _: None
        self.runtime = runtime
        self._place = Place(
            runtime=runtime,
            client=self._client,
            surroundings=self._surroundings,
            changed=self._changed,
            said=said,
            capacity=lambda wanted: not self.no_machine(wanted),
            scratch_mb=lambda wanted: self.scratch_mb(wanted),
        )

    # --- what ECS's API asks ----------------------------------------------------------------------

    def run_task(self, request: Json) -> Json:
        """RunTask's response. Raises Refused."""
        wanted = self._planned(request)
        if self.refuse_capacity(wanted):
            return {"tasks": [], "failures": [{"reason": NO_CAPACITY}]}
        made = [self._begin(wanted) for _ in range(request.get("count") or 1)]
        return {"tasks": [task.describe() for task in made], "failures": []}

    def stop_task(self, request: Json) -> Json:
        task = self._find(request)
        if task is None:
            raise Refused("InvalidParameterException", "The referenced task was not found.")
        self._place.stop(task, "UserInitiated", request.get("reason") or "Task stopped by user")
        return {"task": task.describe()}

    def describe_tasks(self, request: Json) -> Json:
        if not request["tasks"]:
            raise Refused("InvalidParameterException", "Tasks cannot be empty.")
        with_tags = "TAGS" in (request.get("include") or [])
        found, missing = [], []
        for asked in request["tasks"]:
            task = self._find({**request, "task": asked})
            if task is None:
                arn = f"{self._arn}:task/{_name(request.get('cluster'))}/{_name(asked)}"
                missing.append({"arn": arn, "reason": "MISSING"})
                continue
            told = task.describe()
            found.append(told if with_tags else {**told, "tags": []})
        return {"tasks": found, "failures": missing}

    def list_tasks(self, request: Json) -> Json:
        cluster = _name(request.get("cluster"))
        desired = request.get("desiredStatus") or "RUNNING"
        service = request.get("serviceName")
        filters: list[Callable[[Task], bool]] = [
            lambda task: task.planned.cluster == cluster,
            lambda task: task.desired_status == desired,
            lambda task: (
                not request.get("family") or task.planned.definition["family"] == request["family"]
            ),
            lambda task: (
                not request.get("startedBy") or task.planned.started_by == request["startedBy"]
            ),
            lambda task: not service or task.planned.group == f"service:{_name(service)}",
            lambda task: request.get("launchType") in (None, task.planned.launch_type),
            lambda _: not request.get("containerInstance"),  # Fargate has none to show
        ]
        return {"taskArns": [task.arn for task in self.tasks() if all(f(task) for f in filters)]}

    # --- what a test, or chance, does to it -------------------------------------------------------

    def tasks(self) -> list[Task]:
        """All there have been, the first first."""
        with self._lock:
            return list(self._tasks.values())

    def task(self, arn: str) -> Task:
        return self._tasks[arn.split("/")[-1]]

    def task_of(self, access_key: str) -> Task | None:
        """Whose credentials these are."""
        known = list(self._keys.values())
        return next((t for t, keys in known if keys["aws_access_key_id"] == access_key), None)

    def kill(self, task: Task) -> None:
        """SIGKILL, as from the kernel: ECS learns of it when the container has ended."""
        if task.running is not None:
            task.running.kill("KILL")

    def interrupt(self, task: Task) -> None:
        """Spot takes the machine back: SIGTERM, and SIGKILL after the stopTimeout."""
        self._say(f"Spot interrupts {_short(task)}")
        self._place.stop(task, "SpotInterruption", "Your Spot Task was interrupted.")

    # --- inside -----------------------------------------------------------------------------------

    def _planned(self, request: Json) -> Planned:
        cluster = ecs_backends[ACCOUNT][self._aws.region]._get_cluster(
            _name(request.get("cluster"))
        )
        strategy = request.get("capacityProviderStrategy")
        if not strategy and not request.get("launchType"):
            strategy = cluster.default_capacity_provider_strategy or []
            request = {**request, "capacityProviderStrategy": strategy}
        for each in strategy or []:
            if each["capacityProvider"] not in (cluster.capacity_providers or []):
                raise Refused(
                    "InvalidParameterException",
                    f"The specified capacity provider '{each['capacityProvider']}' is not "
                    f"associated with the cluster '{cluster.name}'.",
                )
        try:
            answer = self._aws.client("ecs").describe_task_definition(
                taskDefinition=request["taskDefinition"]
            )
        except Exception as error:
            raise Refused("ClientException", "TaskDefinition not found.") from error
        wanted = planned(request, answer["taskDefinition"])
        known = ec2_backends[ACCOUNT][self._aws.region]
        groups = {group.id for group in known.describe_security_groups()}
        for group in wanted.security_groups:
            if group not in groups:
                raise Refused(
                    "InvalidParameterException",
                    f"Error retrieving security group information for [{group}]: The security "
                    f"group '{group}' does not exist (ErrorCode: InvalidGroup.NotFound)",
                )
        subnets = {subnet.id for subnet in known.describe_subnets()}
        for subnet in wanted.subnets:
            if subnet not in subnets:
                raise Refused(
                    "InvalidParameterException",
                    f"Error retrieving subnet information for [{subnet}]: The subnet ID "
                    f"'{subnet}' does not exist (ErrorCode: InvalidSubnetID.NotFound)",
                )
        return wanted

    def _begin(self, wanted: Planned, deployment: str = "") -> Task:
        with self._lock:
            address = next(self._addresses)
        task = Task(wanted, self._aws.region, ACCOUNT, deployment, address)
        for role in filter(None, (wanted.task_role, wanted.execution_role)):
            try:
                self._credentials(role, task)
            except (NotTrusted, IndexError) as error:  # IndexError: no ARN at all
                raise Refused(
                    "ClientException",
                    f"ECS was unable to assume the role '{role}' that was provided for this task. "
                    "Please verify that the role being passed has the proper trust relationship "
                    "and permissions and that your IAM user has permissions to pass this role.",
                ) from error
        with self._lock:  # so that none begins after the end
            if self._closed.is_set():
                raise Refused("ServerException", "the local cloud is stopping")
            self._tasks[task.id] = task
            self._place.begin(task)
        return task

    def _find(self, request: Json) -> Task | None:
        task = self._tasks.get(str(request["task"]).split("/")[-1])
        return task if task and task.planned.cluster == _name(request.get("cluster")) else None

    def _changed(self, task: Task) -> None:
        events.put(task, ACCOUNT)
        if task.last_status == "RUNNING" and not task.stopping:
            self._say(f"{_short(task)} runs")
        elif task.last_status == "STOPPED":
            code = task.exit.code if task.exit else None
            self._say(
                f"{_short(task)} stopped after {task.seconds():.0f} s: {task.stopped_reason}"
                + (
                    f" ({task.reason})"
                    if task.reason and task.reason != task.stopped_reason
                    else ""
                )
                + (f", exit code {code}" if code is not None else "")
            )

    def _credentials(self, role: str, task: Task) -> dict[str, str]:
        return assume(
            role,
            "ecs-tasks.amazonaws.com",
            session=task.id,
            context={"aws:SourceAccount": ACCOUNT, "aws:SourceArn": task.arn},
            region=self._aws.region,
            seconds=int(_CREDENTIALS_LAST.total_seconds()),
        )

    def _client(self, role: str, task: Task) -> Callable[[str], Any]:
        """Clients with the rights of a role; ECS has none of its own."""
        keys: dict[str, str] = {}

        def client(service: str) -> Any:
            if not keys:
                keys.update(self._credentials(role, task))
            return boto3.client(
                service, endpoint_url=self._aws.url, region_name=self._aws.region, **keys
            )

        return client

    def _surroundings(self, task: Task) -> dict[str, str]:
        set_by_ecs = {
            "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE",
            "AWS_REGION": self._aws.region,
            "AWS_DEFAULT_REGION": self._aws.region,
            "ECS_CONTAINER_METADATA_URI_V4": f"{self._endpoint}/v4/{task.id}",
            "AWS_ENDPOINT_URL": self._aws.url,  # the one thing that AWS has not
        }
        if role := task.planned.task_role:
            path = f"/v2/credentials/{uuid.uuid4()}"
            self._keys[path] = (task, self._credentials(role, task))
            set_by_ecs["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = f"{self._endpoint}{path}"
        return set_by_ecs

    def _answer(self, path: str) -> Json | None:
        if path in self._keys:
            task, keys = self._keys[path]
            if task.ended.is_set():
                return None  # its network was its own
            return {
                "RoleArn": task.planned.task_role,
                "AccessKeyId": keys["aws_access_key_id"],
                "SecretAccessKey": keys["aws_secret_access_key"],
                "Token": keys["aws_session_token"],
                "Expiration": (datetime.now(UTC) + _CREDENTIALS_LAST).strftime(
                    "%Y-%m-%dT%H:%M:%SZ"
                ),
            }
        version, _, rest = path.lstrip("/").partition("/")
        task_id, slash, below = rest.partition("/")
        found = self._tasks.get(task_id)
        return metadata(found, slash + below) if version == "v4" and found else None

    def _keep_services(self) -> None:
        while not self._closed.wait(_LOOK):
            for service in list(ecs_backends[ACCOUNT][self._aws.region].services.values()):
                if service.name in self.held:
                    continue
                try:
                    self._keep(service)
                except Exception as error:  # of one service: the others are still to be kept
                    self._say(f"service {service.name}: {type(error).__name__}: {error}")

    def _keep(self, service: Any) -> None:
        """Starts and stops what the service's scheduler would."""
        group = f"service:{service.name}"
        own = [
            task
            for task in self.tasks()
            if task.planned.group == group and task.planned.cluster == service.cluster_name
        ]
        desired = service.desired_count if service.status == "ACTIVE" else 0
        deployment = f"{service.deployments[0]['id']} {service.task_definition}"
        limits = getattr(service, "deployment_configuration", None) or {}
        decision = decide(
            desired,
            deployment,
            [ServiceTask(t.arn, t.deployment, t.last_status, t.stopping) for t in own],
            minimum_percent=limits.get("minimumHealthyPercent", 100),
            maximum_percent=limits.get("maximumPercent", 200),
        )
        for arn in decision.stop:
            self._place.stop(
                self.task(arn),
                "ServiceSchedulerInitiated",
                f"Scaling activity initiated by (deployment {service.deployments[0]['id']})",
            )
        for _ in range(decision.start if self._may_start(service, own) else 0):
            self._start_one(service, deployment, group)
        running = sum(t.last_status == "RUNNING" and not t.stopping for t in own)
        service.running_count = running
        service.pending_count = max(0, desired - running)

    def _start_one(self, service: Any, deployment: str, group: str) -> None:
        request: Json = {
            "cluster": service.cluster_name,
            "taskDefinition": service.task_definition,
            "networkConfiguration": service.network_configuration,
            "group": group,
            "startedBy": service.deployments[0]["id"],
            "launchType": service.launch_type or "",
            "capacityProviderStrategy": getattr(service, "capacity_provider_strategy", None) or [],
        }
        try:
            self._begin(self._planned(request), deployment)
        except Refused as error:
            self._waiting[service.arn] = time.monotonic() + 10
            self._say(f"service {service.name} failed to launch a task with (error {error})")

    def _close(self) -> None:
        """Ends every task, by force if it must be: what is left on this machine is nothing."""
        with self._lock:
            self._closed.set()
        self._place.close(self.tasks(), "the local cloud is stopping")

    def _may_start(self, service: Any, own: list[Task]) -> bool:
        """ECS waits longer and longer before it starts again what never came to run.

        https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-throttle-logic.html
        """
        if time.monotonic() < self._waiting.get(service.arn, 0):
            return False
        last, pause = pause_after(own)
        return last is None or datetime.now(UTC) - last > pause


def pause_after(own: Sequence[Task]) -> tuple[datetime | None, timedelta]:
    """When the last of a service's tasks failed to start, and how long that is to be waited for."""
    failed = []
    for task in reversed(own):
        if "startedAt" in task.times:
            break
        # One that was told to stop before it could run has not failed. One that is still on its way
        # to its end has.
        if task.stop_code == "TaskFailedToStart":
            failed.append(task.times.get("stoppedAt") or datetime.now(UTC))
    if not failed:
        return None, timedelta()
    return max(failed), timedelta(seconds=min(2.0 ** len(failed), 60))


def _name(cluster_or_service: str | None) -> str:
    return (cluster_or_service or "default").split("/")[-1]


def _short(task: Task) -> str:
    return f"ECS task {task.planned.group.partition(':')[2]} {task.id[:8]}"


@contextmanager
def local_fargate(
    aws: LocalAws,
    runtime: Runtime,
    *,
    say: Say = lambda _: None,
    said: Callable[[Task, str], None] = lambda _task, _line: None,
) -> Iterator[Fargate]:
    """Tasks and services of this local AWS run, until the context ends.

    `say` is told what happens, `said` every line of every container.
    """
    fargate = Fargate(aws, runtime, say, said)
    with ExitStack() as stack:
        runtime.sweep()
        stack.enter_context(api.in_place(fargate))
        fargate._endpoint = stack.enter_context(endpoint(fargate._answer))
        keeper = threading.Thread(target=fargate._keep_services, name="services", daemon=True)
        keeper.start()
        stack.callback(keeper.join)
        stack.callback(fargate._close)
        yield fargate
