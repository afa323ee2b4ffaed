"""What ECS does for a task with its execution role: the right to the image, secrets, the log."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from infra.local.fargate.task import Task

Client = Callable[[str], Any]  # a service's client with the execution role's credentials
Event = dict[str, Any]  # of CloudWatch's logs


class NotStarted(Exception):
    """The task ends before its container runs; the text is its stoppedReason."""


def may_pull(client: Client, image: str) -> str:
    """Asks the registry's API as ECS does; the image's name by its digest, where the registry tells
    it. The layers themselves come from the local registry.
    """
    host, _, path = image.partition("/")
    if ".dkr.ecr." not in host:
        return image
    name, _, digest = path.partition("@")
    repository, _, tag = name.partition(":")
    ecr = client("ecr")
    wanted = {"imageDigest": digest} if digest else {"imageTag": tag or "latest"}
    try:
        ecr.get_authorization_token()
    except ClientError as error:
        raise NotStarted(_unavailable("ecr registry auth", error)) from error
    try:
        found = ecr.batch_get_image(repositoryName=repository, imageIds=[wanted])
        if not found["images"]:
            raise NotStarted(cannot_pull(image, f"{image}: not found"))
        ecr.get_download_url_for_layer(repositoryName=repository, layerDigest=_A_LAYER)
    except ClientError as error:
        raise NotStarted(cannot_pull(image, error)) from error
    return f"{host}/{repository}@{found['images'][0]['imageId']['imageDigest']}"


def cannot_pull(image: str, why: object) -> str:
    return (
        "CannotPullContainerError: pull image manifest has been retried 1 time(s): "
        f"failed to resolve ref {image}: {why}"
    )


_A_LAYER = "sha256:" + "0" * 64  # what is asked for is the right, not the layer


def secrets(client: Client, container: dict[str, Any]) -> dict[str, str]:
    """The values of a container's `secrets`, by the names of their variables."""
    found = {}
    for secret in container.get("secrets") or []:
        names = _parameters(secret["valueFrom"])
        try:
            answer = client("ssm").get_parameters(Names=names, WithDecryption=True)
        except ClientError as error:
            raise NotStarted(_unavailable("secrets from ssm", error)) from error
        if not answer["Parameters"]:
            why = f"invalid ssm parameters: {names[0]}"
            raise NotStarted(_unavailable("secrets from ssm", why))
        found[secret["name"]] = answer["Parameters"][0]["Value"]
    return found


def _parameters(value_from: str) -> list[str]:
    """What a parameter of this name or ARN may be called: of `x` and `/x` the ARN is the same."""
    _, is_arn, name = value_from.partition(":parameter/")
    if not is_arn:
        return [value_from]
    return [f"/{name}"] if "/" in name else [name, f"/{name}"]


def _unavailable(what: str, why: object) -> str:
    return (
        "ResourceInitializationError: unable to pull secrets or registry auth: execution resource "
        f"retrieval failed: unable to retrieve {what}: service call has been retried 1 time(s): "
        f"{why}"
    )


class Log:
    """A task's stream in CloudWatch. Lines are sent a few times a second."""

    def __init__(self, client: Client, task: Task) -> None:
        configuration = task.planned.container.get("logConfiguration") or {}
        self._options = configuration.get("options") or {}
        self._stream = ""
        self._lock = threading.Lock()
        self._waiting: list[Event] = []
        self._done = threading.Event()
        self._sender: threading.Thread | None = None
        if configuration.get("logDriver") != "awslogs":
            return
        self._logs = client("logs")
        name = task.planned.container["name"]
        self._stream = f"{self._options.get('awslogs-stream-prefix', 'ecs')}/{name}/{task.id}"
        try:
            self._logs.create_log_stream(
                logGroupName=self._options["awslogs-group"], logStreamName=self._stream
            )
        except ClientError as error:
            raise NotStarted(
                "ResourceInitializationError: failed to validate logger args: create stream has "
                f"been retried 1 times: failed to create Cloudwatch log stream: {error}"
            ) from error
        self._sender = threading.Thread(target=self._send, name=f"log-{task.id}", daemon=True)
        self._sender.start()

    def follow(self, lines: Iterable[str], told: Callable[[str], None]) -> None:
        for line in lines:
            told(line)
            if not self._stream:
                continue
            now = int(time.time() * 1000)
            parts = range(0, len(line), _LONGEST)
            events = [{"timestamp": now, "message": line[at : at + _LONGEST]} for at in parts]
            with self._lock:
                self._waiting += events

    def close(self) -> None:
        """Comes back when all is sent, or cannot be."""
        self._done.set()
        if self._sender:
            self._sender.join()

    def _send(self) -> None:
        last = False
        while not last:
            last = self._done.wait(0.25)
            with self._lock:
                waiting, self._waiting = self._waiting, []
            for batch in _batches(waiting):
                # Without the right to write, a task goes on and its lines are lost.
                with suppress(ClientError, BotoCoreError):
                    self._logs.put_log_events(
                        logGroupName=self._options["awslogs-group"],
                        logStreamName=self._stream,
                        logEvents=batch,
                    )


# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html
_BATCH = 1_048_576  # bytes, and for each event
_MORE = 26
_EVENTS = 10_000
_LONGEST = 16_384  # characters: containerd hands over what is longer in pieces


def _batches(events: list[Event]) -> Iterator[list[Event]]:
    batch: list[Event] = []
    size = 0
    for event in events:
        own = len(event["message"].encode()) + _MORE
        if batch and (size + own > _BATCH or len(batch) == _EVENTS):
            yield batch
            batch, size = [], 0
        batch.append(event)
        size += own
    if batch:
        yield batch
