"""Holds requests to the local AWS, so that a test can do something at a moment of its choice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication

from infra.local.cloud import Cloud
from infra.local.iam.buckets import replaced


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    target: str  # 'AmazonEC2ContainerServiceV20141113.RunTask', '' of S3
    access_key: str
    service: str = ""  # 's3', as the signature names it


@dataclass
class Hold:
    """Requests that wait. Let go, they are answered; dropped, they never reach AWS."""

    matches: Callable[[Request], bool]
    reached: threading.Event = field(default_factory=threading.Event)
    _refused: threading.Event = field(default_factory=threading.Event)
    _over: threading.Event = field(default_factory=threading.Event)
    _dropped: bool = False

    def wait(self, seconds: float = 90) -> None:
        assert self.reached.wait(seconds), "no such request has come"

    def let_go(self) -> None:
        self._over.set()

    def drop(self) -> None:
        self._dropped = True
        self._over.set()

    def refuse(self) -> None:
        """From now on they do not wait, and never reach AWS."""
        self._refused.set()

    def passes(self, request: Request) -> bool:
        """Waits if it is one of these; whether AWS is to see it."""
        if self._over.is_set() or not self.matches(request):
            return True
        self.reached.set()
        if not self._refused.is_set():
            self._over.wait()
        return not (self._dropped or self._refused.is_set())


def _request(environ: dict[str, Any]) -> Request:
    signature = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2]
    scope = signature.partition(",")[0].split("/")  # KEY/DATE/REGION/SERVICE/aws4_request
    return Request(
        environ["REQUEST_METHOD"],
        environ["PATH_INFO"],
        environ.get("HTTP_X_AMZ_TARGET", ""),
        scope[0],
        scope[3] if len(scope) > 3 else "",
    )


@contextmanager
def away(cloud: Cloud, service: str = "s3", *, hangs: bool = False) -> Iterator[list[Request]]:
    """All requests of ECS tasks to a service fail, until the context ends: 503 at once, or, if it
    `hangs`, when that is over. Gives those that have come. This process's own are answered.
    """
    came: list[Request] = []

    def matches(request: Request) -> bool:
        ours = request.service == service and cloud.fargate.task_of(request.access_key) is not None
        if ours:
            came.append(request)
        return ours

    with held(matches) as hold:
        if not hangs:
            hold.refuse()
        yield came


@contextmanager
def held(matches: Callable[[Request], bool]) -> Iterator[Hold]:
    """Requests that match wait until they are let go, or the context ends, which drops them."""
    hold = Hold(matches)
    answer = DomainDispatcherApplication.__call__

    def call(app: Any, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if hold.passes(_request(environ)):
            passed: Iterable[bytes] = answer(app, environ, start_response)
            return passed
        start_response("503 Service Unavailable", [("Content-Length", "0")])
        return [b""]

    with replaced(DomainDispatcherApplication, "__call__", call):
        try:
            yield hold
        finally:
            hold.drop()
