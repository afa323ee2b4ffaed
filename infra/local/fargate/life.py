"""One task, from its request to its end, in a thread of its own."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from infra.local.fargate import execution
from infra.local.fargate.execution import Log, NotStarted
from infra.local.fargate.request import Planned
from infra.local.fargate.runtime import CannotStart, Container, NotPulled, Runtime
from infra.local.fargate.task import Task
from infra.local.iam import NotTrusted

NO_CAPACITY = (
    "Capacity is unavailable at this time. Please try again later or in a different "
    "availability zone"
)


@dataclass
class Place:
    """What a task's life needs of the cloud around it."""

    runtime: Runtime
    client: Callable[[str, Task], Callable[[str], Any]]  # (role, task): a service's client
    surroundings: Callable[[Task], Mapping[str, str]]  # variables that the platform sets
    changed: Callable[[Task], None]  # a state change, for EventBridge
    said: Callable[[Task, str], None]  # a line of the container's
    capacity: Callable[[Planned], bool]
    scratch_mb: Callable[[Planned], int | None] = lambda _: None
    _threads: list[threading.Thread] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _closing: threading.Event = field(default_factory=threading.Event)

    def begin(self, task: Task) -> None:
        thread = threading.Thread(target=self.live, args=[task], name=f"task-{task.id}")
        with self._lock:
            self._threads = [each for each in self._threads if each.is_alive()]
            thread.start()
            self._threads.append(thread)

    def live(self, task: Task) -> None:
        """https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-lifecycle-explanation.html"""
        log: Log | None = None
        try:
            self.changed(task)
            if not task.stopping:
                self._find_machine(task)
                container, log = self._prepare(task)
            if log is not None and not task.stopping:
                self._to(task, "ACTIVATING")
                self._run(task, container, log)
        except NotStarted as error:
            self._to_stop(task, "TaskFailedToStart", str(error))
        except Exception as error:  # a fault of the emulator's own must not look like running
            why = f"InternalError: {type(error).__name__}: {error}"
            self._to_stop(task, "TaskFailedToStart", why)
            raise
        finally:
            try:
                self._end(task, log)
            finally:
                task.ended.set()

    def _end(self, task: Task, log: Log | None) -> None:
        self._to(task, "DEACTIVATING", "stoppingAt")
        self._to(task, "STOPPING")
        if task.running is not None:
            task.running.remove()
        if log is not None:
            log.close()
        self._to(task, "DEPROVISIONING", "executionStoppedAt")
        self._to(task, "STOPPED", "stoppedAt")

    def stop(self, task: Task, code: str, reason: str) -> None:
        """SIGTERM now, SIGKILL after the container's stopTimeout. Does not wait."""
        with task.lock:  # so that it is told to stop once, here or by its own thread
            if self._to_stop(task, code, reason) and task.running is not None:
                self._terminate_later(task)

    def close(self, tasks: Iterable[Task], reason: str) -> None:
        """Ends all of them, by force."""
        self._closing.set()
        for task in tasks:
            with task.lock:
                self._to_stop(task, "UserInitiated", reason)
                running = task.running
            if running is not None and not task.ended.is_set():
                running.kill("KILL")
        for thread in self._threads:
            thread.join(timeout=60)  # as long as an engine may take to pull or to create

    def _terminate_later(self, task: Task) -> None:
        threading.Thread(target=self._terminate, args=[task], daemon=True).start()

    def _terminate(self, task: Task) -> None:
        running = task.running
        if running is None or task.ended.is_set():
            return
        self._to(task, "DEACTIVATING", "stoppingAt")
        self._to(task, "STOPPING")
        if not self._closing.is_set():
            running.kill("TERM")
            task.ended.wait(task.planned.stop_timeout)
        if not task.ended.is_set():
            running.kill("KILL")

    def _find_machine(self, task: Task) -> None:
        if not self.capacity(task.planned):
            raise NotStarted(NO_CAPACITY)
        task.placed = True
        self._to(task, "PENDING")

    def _prepare(self, task: Task) -> tuple[Container, Log]:
        definition = task.planned.container
        client = self.client(task.planned.execution_role, task)
        try:
            secrets = execution.secrets(client, definition)
            task.note("pullStartedAt")
            # By the digest that the tag had then: it may move before the image is pulled.
            image = execution.may_pull(client, definition["image"])
            task.image_digest = self.runtime.pull(image)
            task.note("pullStoppedAt")
            environment = {**self.surroundings(task), **secrets}
            log = Log(client, task)  # last: it is to be closed
        except NotPulled as error:
            raise NotStarted(execution.cannot_pull(definition["image"], error)) from error
        except NotTrusted as error:
            raise NotStarted(
                f"ResourceInitializationError: unable to get the credentials of a role: {error}"
            ) from error
        return container(task, environment, image, self.scratch_mb(task.planned)), log

    def _run(self, task: Task, container: Container, log: Log) -> None:
        try:
            running = self.runtime.start(container)
        except CannotStart as error:
            task.reason = f"CannotStartContainerError: {error}"
            raise NotStarted(task.reason) from error
        with task.lock:
            task.running = running
            if stopped_meanwhile := task.stopping:
                self._terminate_later(task)
        follow = threading.Thread(
            target=log.follow, args=[running.lines(), lambda line: self.said(task, line)]
        )
        follow.start()
        if not stopped_meanwhile:
            self._to(task, "RUNNING", "startedAt")
        ended = running.wait()
        follow.join()
        if ended.out_of_memory:
            task.reason = "OutOfMemoryError: Container killed due to memory usage"
        with task.lock:
            task.exit = ended
            self._to_stop(task, "EssentialContainerExited", "Essential container in task exited")

    def _to_stop(self, task: Task, code: str, reason: str) -> bool:
        with task.lock:
            if told := task.stop(code, reason):
                self.changed(task)
            return told

    def _to(self, task: Task, status: str, *times: str) -> None:
        with task.lock:  # so that each event tells of its own change, in order
            if task.to(status, *times):
                self.changed(task)


def container(
    task: Task, environment: Mapping[str, str], image: str, scratch_mb: int | None = None
) -> Container:
    """What is started for a task, with these variables beside its definition's."""
    planned = task.planned
    definition = planned.container
    own = {each["name"]: each["value"] for each in definition.get("environment") or []}
    return Container(
        name=f"nightshift-{task.id}-{uuid.uuid4().hex[:6]}",
        image=image,
        command=tuple(definition.get("command") or ()),
        entry_point=tuple(definition.get("entryPoint") or ()),
        environment=own | dict(environment),
        cpu=planned.cpu,
        memory=min(planned.memory, definition.get("memory") or planned.memory),
        read_only=bool(definition.get("readonlyRootFilesystem")),
        volumes=tuple(mount["containerPath"] for mount in definition.get("mountPoints") or []),
        init=bool((definition.get("linuxParameters") or {}).get("initProcessEnabled")),
        scratch_mb=scratch_mb,
    )
