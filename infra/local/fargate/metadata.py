"""What a task asks the machine that it runs on: its credentials, and its own metadata (v4).

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4-fargate.html
On Fargate both are at 169.254.170.2 and the credentials have a relative address; here they are on
the loopback interface, so that the address is whole.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from infra.local.fargate.runtime import Usage
from infra.local.fargate.task import NETWORK, Task

Json = dict[str, Any]
Answer = Callable[[str], Json | None]  # a path's answer, None where there is nothing


@contextmanager
def endpoint(answer: Answer) -> Iterator[str]:
    """Serves JSON on a free port of the loopback interface; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # its name is http.server's
            told = answer(self.path.rstrip("/"))
            body = json.dumps(told if told is not None else {"error": "not found"}).encode()
            self.send_response(200 if told is not None else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="task-metadata", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def metadata(task: Task, below: str) -> Json | None:
    """Of a path below the task's own: '' is the container, '/task' the task, and their '/stats'."""
    usage = task.running.usage() if task.running else Usage()
    if below == "":
        return _container(task)
    if below == "/task":
        return _task(task)
    if below == "/stats":
        return _stats(task, usage)
    if below == "/task/stats":
        return {_docker_id(task): _stats(task, usage)}
    return None


def _task(task: Task) -> Json:
    told = task.describe()
    family, _, revision = told["taskDefinitionArn"].partition("task-definition/")[2].partition(":")
    return {
        "Cluster": task.cluster_arn,
        "TaskARN": task.arn,
        "Family": family,
        "Revision": revision,
        "DesiredStatus": told["desiredStatus"],
        "KnownStatus": told["lastStatus"],
        "Limits": {"CPU": task.planned.cpu / 1024, "Memory": task.planned.memory},
        **_times(task.times, pullStartedAt="PullStartedAt", pullStoppedAt="PullStoppedAt"),
        "AvailabilityZone": told["availabilityZone"],
        "LaunchType": told["launchType"],
        "EphemeralStorageMetrics": {
            "Utilized": 0,  # nobody looks
            "Reserved": told["ephemeralStorage"]["sizeInGiB"] * 1024,
        },
        "ClockDrift": {"ClockErrorBound": 0.5, "ClockSynchronizationStatus": "SYNCHRONIZED"},
        "FaultInjectionEnabled": False,
        "Containers": [_container(task)],
    }


def _container(task: Task) -> Json:
    container = task.planned.container
    logs = container.get("logConfiguration") or {}
    return {
        "DockerId": _docker_id(task),
        "Name": container["name"],
        "DockerName": container["name"],
        "Image": container["image"],
        "ImageID": task.image_digest,
        "Labels": {
            "com.amazonaws.ecs.cluster": task.cluster_arn,
            "com.amazonaws.ecs.container-name": container["name"],
            "com.amazonaws.ecs.task-arn": task.arn,
        },
        "DesiredStatus": task.desired_status,
        "KnownStatus": task.container_status(),
        "Limits": {"CPU": int(container.get("cpu") or 2)},
        **_times(task.times, createdAt="CreatedAt", startedAt="StartedAt"),
        "Type": "NORMAL",
        "LogDriver": logs.get("logDriver", ""),
        "LogOptions": logs.get("options") or {},
        "ContainerARN": task.container_arn,
        "Networks": [_network(task)],
        "Snapshotter": "overlayfs",
    }


def _network(task: Task) -> Json:
    return {
        "NetworkMode": "awsvpc",
        "IPv4Addresses": [task.address],
        "AttachmentIndex": 0,
        "MACAddress": task.mac_address,
        "IPv4SubnetCIDRBlock": str(NETWORK),
        "PrivateDNSName": task.dns_name,
    }


def _docker_id(task: Task) -> str:
    return f"{task.id}-{task.container_arn[-10:]}"


def _stats(task: Task, usage: Usage) -> Json | None:
    """The part of Docker's stats that says how much is used. As on Fargate, none for the first
    second, and none where nobody counts.
    """
    started = task.times.get("startedAt")
    if not usage.memory or not started or datetime.now(UTC) - started < timedelta(seconds=1):
        return None
    return {
        "read": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "id": _docker_id(task),
        "name": task.planned.container["name"],
        "cpu_stats": {"cpu_usage": {"total_usage": usage.cpu_nanoseconds}},
        "memory_stats": {
            "usage": usage.memory,
            "max_usage": usage.memory_peak,
            "stats": {"inactive_file": usage.inactive_file},
            "limit": task.planned.memory * 1024 * 1024,
        },
    }


def _times(times: Mapping[str, datetime], **names: str) -> Json:
    return {
        told: times[kept].isoformat().replace("+00:00", "Z")
        for kept, told in names.items()
        if kept in times
    }
