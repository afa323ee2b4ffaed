"""A build's log in CloudWatch."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from infra.local.fargate.execution import _batches as batches
from infra.local.release.build import Build, Ended

_SENT = 0.25  # seconds between what is sent to the log


class Log:
    """A build's stream in CloudWatch, written by the build's role. Lines are sent a few times a
    second.
    """

    def __init__(self, build: Build) -> None:
        self._client: Any = None
        self._at = {"logGroupName": build.log_group, "logStreamName": build.uuid}
        self._lock = threading.Lock()
        self._waiting: list[dict[str, Any]] = []
        self._done = threading.Event()
        self._sender = threading.Thread(target=self._send, daemon=True)

    def open(self, client: Any) -> None:
        """Raises Ended: without a log CodeBuild builds nothing."""
        self._client = client
        try:
            self._client.create_log_stream(**self._at)
        except (ClientError, BotoCoreError) as error:
            message = f"Error in creating the log stream: {error}"
            raise Ended("FAILED", "ACCESS_DENIED", message) from error
        self._sender.start()

    def add(self, line: str) -> None:
        with self._lock:  # an event is not empty
            self._waiting.append({"timestamp": int(time.time() * 1000), "message": line or " "})

    def close(self) -> None:
        """Comes back when all is sent, or cannot be."""
        self._done.set()
        if self._sender.is_alive():
            self._sender.join()

    def _send(self) -> None:
        last = False
        while not last:
            last = self._done.wait(_SENT)
            with self._lock:
                waiting, self._waiting = self._waiting, []
            for batch in batches(waiting):
                with suppress(ClientError, BotoCoreError):
                    self._client.put_log_events(**self._at, logEvents=batch)
