"""What is known of one task, as DescribeTasks and the state changes on EventBridge tell it."""

from __future__ import annotations

import itertools
import random
import sys
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import IPv4Network
from typing import Any

from infra.local.fargate.request import Planned
from infra.local.fargate.runtime import Exit, Running

Json = dict[str, Any]

# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-lifecycle-explanation.html
STATUSES = (
    *("PROVISIONING", "PENDING", "ACTIVATING", "RUNNING"),
    *("DEACTIVATING", "STOPPING", "DEPROVISIONING", "STOPPED"),
)

# Where tasks have their addresses. Linux answers on all of 127.0.0.0/8 and lets nobody else in.
NETWORK = IPv4Network("127.64.0.0/10")
NO_ADDRESS_OF_ITS_OWN = "127.0.0.1"


def addresses(start: int | None = None) -> Iterator[str]:
    """Of the loopback network, each once. They begin anywhere, so that two clouds on one machine
    hardly ever have the same. Elsewhere than on Linux all are 127.0.0.1.
    """
    if sys.platform != "linux":
        yield from itertools.repeat(NO_ADDRESS_OF_ITS_OWN)
    size = NETWORK.num_addresses
    first = random.randrange(size) if start is None else start  # noqa: S311 - no secret
    for number in range(size):
        address = NETWORK[(first + number) % size]
        if int(address) & 0xFF not in (0, 0xFF):  # no machine's, in what people make of networks
            yield str(address)


class Task:
    """Its thread writes, requests read: all under one lock."""

    def __init__(
        self,
        planned: Planned,
        region: str,
        account: str,
        deployment: str = "",
        address: str = NO_ADDRESS_OF_ITS_OWN,
    ) -> None:
        self.planned = planned
        self.id = uuid.uuid4().hex
        self.address = address  # of its network interface
        self.region = region
        self.arn = f"arn:aws:ecs:{region}:{account}:task/{planned.cluster}/{self.id}"
        self.cluster_arn = f"arn:aws:ecs:{region}:{account}:cluster/{planned.cluster}"
        self.container_arn = self.arn.replace(":task/", ":container/") + f"/{uuid.uuid4()}"
        self.attachment = str(uuid.uuid4())
        self.interface = f"eni-{uuid.uuid4().hex[:17]}"
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
            "networkInterfaces": self._interfaces(),
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

    @property
    def dns_name(self) -> str:
        zone = "ec2" if self.region == "us-east-1" else f"{self.region}.compute"
        return f"ip-{self.address.replace('.', '-')}.{zone}.internal"

    @property
    def mac_address(self) -> str:
        """Made up of its address; the first byte says that nobody has given it out."""
        return ":".join(f"{part:02x}" for part in (2, 0, *map(int, self.address.split("."))))

    def _interfaces(self) -> list[Json]:
        if not self.placed:
            return []
        return [{"attachmentId": self.attachment, "privateIpv4Address": self.address}]

    def _attachment(self) -> Json:
        """https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Attachment.html"""
        ended = self.last_status in ("DEPROVISIONING", "STOPPED")
        details = {"subnetId": self.planned.subnets[0]}
        if self.placed:
            details |= {
                "networkInterfaceId": self.interface,
                "macAddress": self.mac_address,
                "privateDnsName": self.dns_name,
                "privateIPv4Address": self.address,
            }
        return {
            "id": self.attachment,
            "type": "ElasticNetworkInterface",
            "status": "DELETED" if ended else "ATTACHED" if self.placed else "PRECREATED",
            "details": [{"name": name, "value": value} for name, value in details.items()],
        }

    def _architecture(self) -> str:
        platform = self.planned.definition.get("runtimePlatform") or {}
        return str(platform.get("cpuArchitecture") or "X86_64").lower()
