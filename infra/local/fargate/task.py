"""What is known of one task, as DescribeTasks and the state changes on EventBridge tell it."""

from __future__ import annotations

import threading
import uuid
from datetime import UTC, datetime
from typing import Any

from infra.local.fargate.request import Planned
from infra.local.fargate.runtime import Exit, Running

Json = dict[str, Any]

# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-lifecycle-explanation.html
STATUSES = (
    *("PROVISIONING", "PENDING", "ACTIVATING", "RUNNING"),
    *("DEACTIVATING", "STOPPING", "DEPROVISIONING", "STOPPED"),
)


class Task:
    """Its thread writes, requests read: all under one lock."""

    def __init__(self, planned: Planned, region: str, account: str, deployment: str = "") -> None:
        self.planned = planned
        self.id = uuid.uuid4().hex
        self.region = region
        self.arn = f"arn:aws:ecs:{region}:{account}:task/{planned.cluster}/{self.id}"
        self.cluster_arn = f"arn:aws:ecs:{region}:{account}:cluster/{planned.cluster}"
        self.container_arn = self.arn.replace(":task/", ":container/") + f"/{uuid.uuid4()}"
        self.attachment = str(uuid.uuid4())
        self.deployment = deployment  # of the service that it belongs to
        self.lock = threading.RLock()
        self.last_status = "PROVISIONING"
        self.desired_status = "RUNNING"
        self.times: dict[str, datetime] = {"createdAt": datetime.now(UTC)}
        self.version = 1
        self.image_digest = ""
        self.exit: Exit | None = None
        self.reason = ""  # of the container's end
        self.stop_code = ""
        self.stopped_reason = ""
        self.placed = False  # a machine was found
        self.running: Running | None = None
        self.ended = threading.Event()

    def to(self, status: str, *times: str) -> bool:
        """Goes on to a status, and notes the time under these names; False if it was there."""
        with self.lock:
            if STATUSES.index(status) <= STATUSES.index(self.last_status):
                return False
            self.last_status = status
            self.version += 1  # one for each event
            self.note(*times)
            return True

    def note(self, *times: str) -> None:
        with self.lock:
            for time in times:
                self.times.setdefault(time, datetime.now(UTC))

    def stop(self, code: str, reason: str) -> bool:
        """Says that it is to stop, and why: the first who says so is who is told of."""
        with self.lock:
            if self.desired_status == "STOPPED":
                return False
            self.desired_status = "STOPPED"
            self.version += 1
            self.stop_code, self.stopped_reason = code, reason
            return True

    @property
    def stopping(self) -> bool:
        return self.desired_status == "STOPPED"

    def seconds(self) -> float:
        """From the start of the image pull, as Fargate bills it, until the end or until now."""
        start = self.times.get("pullStartedAt")
        end = self.times.get("stoppedAt") or datetime.now(UTC)
        return (end - start).total_seconds() if start else 0.0

    def describe(self) -> Json:
        """As DescribeTasks answers it: shape `Task`, times as datetime."""
        with self.lock:
            planned = self.planned
            told: Json = {
                "attachments": [self._attachment()],
                "attributes": [{"name": "ecs.cpu-architecture", "value": self._architecture()}],
                "availabilityZone": f"{self.region}a",
                "clusterArn": self.cluster_arn,
                "containers": [self._container()],
                "cpu": str(planned.cpu),
                "desiredStatus": self.desired_status,
                "enableExecuteCommand": False,
                "group": planned.group,
                "healthStatus": "UNKNOWN",
                "lastStatus": self.last_status,
                "launchType": planned.launch_type,
                "memory": str(planned.memory),
                "overrides": {"containerOverrides": [], **planned.overrides},
                "platformFamily": "Linux",
                "platformVersion": "1.4.0",
                "tags": [{"key": key, "value": value} for key, value in planned.tags],
                "taskArn": self.arn,
                "taskDefinitionArn": planned.definition["taskDefinitionArn"],
                "version": self.version,
                "ephemeralStorage": {"sizeInGiB": 20},
                **self.times,
            }
            if planned.provider:
                told["capacityProviderName"] = planned.provider
            if planned.started_by:
                told["startedBy"] = planned.started_by
            if self.placed:
                told |= {"connectivity": "CONNECTED", "connectivityAt": self.times["createdAt"]}
            if self.stop_code:
                told |= {"stopCode": self.stop_code, "stoppedReason": self.stopped_reason}
            return told

    def _container(self) -> Json:
        told: Json = {
            "containerArn": self.container_arn,
            "taskArn": self.arn,
            "name": self.planned.container["name"],
            "image": self.planned.container["image"],
            "runtimeId": f"{self.id}-{self.container_arn[-10:]}",
            "lastStatus": self.container_status(),
            "networkBindings": [],
            "networkInterfaces": [],
            "healthStatus": "UNKNOWN",
            "cpu": str(self.planned.container.get("cpu", 0)),
        }
        if memory := self.planned.container.get("memory"):
            told["memory"] = str(memory)
        if self.image_digest:
            told["imageDigest"] = self.image_digest
        if self.exit is not None:
            told["exitCode"] = self.exit.code
        if self.reason:
            told["reason"] = self.reason
        return told

    def container_status(self) -> str:
        if self.exit is not None or self.last_status in ("DEPROVISIONING", "STOPPED"):
            return "STOPPED"
        return "RUNNING" if "startedAt" in self.times else "PENDING"

    def _attachment(self) -> Json:
        ended = self.last_status in ("DEPROVISIONING", "STOPPED")
        return {
            "id": self.attachment,
            "type": "ElasticNetworkInterface",
            "status": "DELETED" if ended else "ATTACHED" if self.placed else "PRECREATED",
            "details": [{"name": "subnetId", "value": self.planned.subnets[0]}],
        }

    def _architecture(self) -> str:
        platform = self.planned.definition.get("runtimePlatform") or {}
        return str(platform.get("cpuArchitecture") or "X86_64").lower()
