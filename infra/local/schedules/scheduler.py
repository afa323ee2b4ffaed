"""Calls the targets of moto's schedules when they are due. See the package for what is missing."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import boto3.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from moto.scheduler import models

from infra.local.iam import NotTrusted, assume
from infra.local.iam.buckets import replaced
from infra.local.schedules import stored
from infra.local.schedules.attempts import (
    Attempt,
    Event,
    Failure,
    Outcome,
    context,
    dead_letter,
    failure,
    given_up,
    shortened,
)
from infra.local.schedules.targets import Request, filled, request
from infra.local.ticking import Ticking

if TYPE_CHECKING:
    from infra.local.aws import LocalAws

_ERRORS = (ClientError, NotTrusted, BotoCoreError)


class Scheduler(Ticking):
    """Fires the schedules of a running LocalAws for as long as the context lasts.

    `clock` answers the time, aware; schedules get their dates from it too. The schedules are looked
    at every `every` seconds; with None only when `tick` is called. `say` is told of each event as
    text; `events` has them all. What goes wrong in the thread is raised at the context's end.
    """

    def __init__(
        self,
        aws: LocalAws,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        every: float | None = 0.2,
        say: Callable[[str], None] = lambda _: None,
        back_off: Callable[[int], timedelta] = shortened,
    ) -> None:
        super().__init__("scheduler", every)
        self.events: list[Event] = []
        self._aws, self._clock = aws, clock
        self._say, self._back_off = say, back_off
        self._watched: dict[str, stored.Watched] = {}  # by ARN
        self._again: list[Attempt] = []
        self._session = boto3.session.Session()  # the default one is not for threads
        self._looking = threading.Lock()

    def __enter__(self) -> Scheduler:
        # moto dates schedules, which tells when one was set: by our clock from here on.
        for name, value in (
            ("unix_time", lambda: self._clock().timestamp()),
            ("utcnow", lambda: self._clock().astimezone(UTC).replace(tzinfo=None)),
        ):
            self._patches.enter_context(replaced(models, name, value))
        now = self._clock()
        for schedule in stored.schedules():
            self._watch(schedule, stored.watched(schedule, now))
        self._begin()
        return self

    def tick(self) -> None:
        """Make every call that is due, in order of time.

        Schedules are looked at anew after each call, which may have changed them.
        """
        with self._looking:
            now = self._clock()
            while not self._stop.is_set() and (attempt := self._due(now)):
                self._make(attempt)

    # --- what is due

    def _due(self, now: datetime) -> Attempt | None:
        """The earliest attempt that is due; it counts as made."""
        there = {schedule.arn: schedule for schedule in stored.schedules()}
        for gone in self._watched.keys() - there.keys():
            del self._watched[gone]
        due = [attempt for attempt in self._again if attempt.at <= now]
        for arn, schedule in there.items():
            known = self._watched.get(arn)
            if known is None or known.timing != stored.timing(schedule):
                known = stored.watched(schedule)
                self._watch(schedule, known)
            try:
                time = stored.next_due(schedule, known)
            except ValueError:  # said when the schedule was first seen
                continue
            if time is not None and time <= now:
                group, target = stored.group_arn(schedule), dict(schedule.target)
                due.append(Attempt(arn, group, target, due=time, at=time))
        if not due:
            return None
        first = min(due, key=lambda attempt: (attempt.at, attempt.schedule))
        if first in self._again:
            self._again.remove(first)
        else:
            known = self._watched[first.schedule]
            self._watched[first.schedule] = replace(known, done_to=first.due)
        return first

    def _watch(self, schedule: models.Schedule, known: stored.Watched) -> None:
        self._watched[schedule.arn] = known
        try:
            stored.next_due(schedule, known)
        except ValueError as error:
            self._tell(Event(self._clock(), schedule.arn, "invalid", detail=str(error)))

    # --- calls

    def _make(self, attempt: Attempt) -> None:
        execution = uuid.uuid4().hex[:16]
        body = filled(attempt.target.get("Input") or "", context(attempt, execution))
        action = ""
        try:
            asked = request(attempt.target, body)
            action = asked.action
            self._call(attempt, asked, attempt.region)
        except (*_ERRORS, ValueError) as error:
            failed = failure(error)
            self._tell_of(attempt, action, "failed", str(failed))
            self._go_on(attempt, action, failed, body, execution)
        else:
            self._tell_of(attempt, action, "delivered")
            self._complete(attempt)

    def _call(self, attempt: Attempt, asked: Request, region: str) -> None:
        """As the schedule's role, which the Scheduler takes for the sake of the schedule's group:
        https://docs.aws.amazon.com/scheduler/latest/UserGuide/cross-service-confused-deputy-prevention.html
        """
        credentials = assume(
            str(attempt.target["RoleArn"]),
            "scheduler.amazonaws.com",
            session="scheduler",
            context={"aws:SourceAccount": attempt.account, "aws:SourceArn": attempt.group},
            region=region,
        )
        client = self._session.client(
            asked.service,
            endpoint_url=self._aws.url,
            region_name=region,
            config=Config(retries={"total_max_attempts": 1}),
            **credentials,
        )
        try:
            client._make_api_call(asked.operation, dict(asked.params))
        finally:
            client.close()

    def _go_on(
        self, attempt: Attempt, action: str, failed: Failure, body: str, execution: str
    ) -> None:
        """After a failure: another attempt, or the dead-letter queue."""
        at = self._clock() + self._back_off(attempt.number)
        policy: Mapping[str, int] = attempt.target.get("RetryPolicy") or {}
        why = "" if failed.permanent else given_up(attempt.number, at - attempt.due, policy)
        if not why and not failed.permanent:
            self._again.append(replace(attempt, at=at, number=attempt.number + 1))
            return
        queue = (attempt.target.get("DeadLetterConfig") or {}).get("Arn", "")
        if not queue:
            self._tell_of(attempt, action, "dropped", "there is no dead-letter queue")
        else:
            letter = dead_letter(queue, attempt, failed, why, body, execution)
            try:
                self._call(attempt, letter, queue.split(":")[3])
            except _ERRORS as error:
                self._tell_of(attempt, action, "dropped", f"{queue}: {failure(error)}")
            else:
                self._tell_of(attempt, action, "dead-lettered", queue)
        self._complete(attempt)

    def _complete(self, attempt: Attempt) -> None:
        """Delete the schedule, if it is to go after its last call and this was that."""
        known = self._watched.get(attempt.schedule)
        for schedule in stored.schedules():
            if (
                schedule.arn == attempt.schedule
                and schedule.action_after_completion == "DELETE"
                and known
                and (known.timing, known.done_to) == (stored.timing(schedule), attempt.due)
                and stored.is_last(schedule, known)
            ):
                stored.delete(schedule)
                self._tell(Event(self._clock(), schedule.arn, "deleted"))

    def _tell_of(self, attempt: Attempt, action: str, outcome: Outcome, detail: str = "") -> None:
        now = self._clock()
        number, due = attempt.number, attempt.due
        self._tell(Event(now, attempt.schedule, outcome, due, action, number, detail))

    def _tell(self, event: Event) -> None:
        self.events.append(event)
        self._say(str(event))
