"""Evaluates moto's alarms, and tells topics. See the package for what is missing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from moto.cloudwatch.models import Alarm, CloudWatchBackend, cloudwatch_backends

from infra.local import topics
from infra.local.alarms import notice
from infra.local.alarms.evaluate import Terms, datapoints, evaluated_from, reason, state
from infra.local.alarms.metrics import Metrics, metric
from infra.local.aws import ACCOUNT, LocalAws
from infra.local.fargate.task import Task
from infra.local.iam.buckets import replaced
from infra.local.ticking import Ticking

SERVICE = "cloudwatch.amazonaws.com"
_UNCHECKED = "Unchecked: Initial alarm creation"


@dataclass(frozen=True)
class Change:
    at: datetime
    alarm: str  # its name
    before: str
    after: str
    why: str


class Alarms(Ticking):
    """The alarms of a running LocalAws, for as long as the context lasts.

    `tasks`: those of the local Fargate. `clock` answers the time, aware. Alarms are looked at every
    `every` seconds; with None only when `tick` is called. `say` is told what could not be told or
    judged; `changes` has every change of a state. What goes wrong in the thread is raised at the
    context's end.
    """

    def __init__(
        self,
        aws: LocalAws,
        *,
        tasks: Callable[[], Iterable[Task]] = tuple,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        every: float | None = 0.5,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        super().__init__("alarms", every)
        self.changes: list[Change] = []
        self._aws, self._clock, self._say = aws, clock, say
        self._metrics = Metrics(ACCOUNT, aws.region, tasks)
        self._lock = threading.RLock()
        self._set_by_hand: dict[str, datetime] = {}  # names of alarms: until when it holds
        self._not_judged: set[str] = set()

    def add_sample(
        self,
        namespace: str,
        name: str,
        dimensions: Mapping[str, str],
        at: datetime,
        value: float | None = None,
    ) -> None:
        """As if the metric had been measured then; one a minute. Without a value it counts as a
        sample and no more.
        """
        self._metrics.add(metric(namespace, name, dimensions), at, value)

    def __enter__(self) -> Alarms:
        put, update = CloudWatchBackend.put_metric_alarm, Alarm.update_state

        def put_metric_alarm(backend: Any, *args: Any, **given: Any) -> Any:
            with self._lock:  # nobody is to see the state that moto gives it
                old = backend.alarms.get(given.get("name") or (args[0] if args else ""))
                made = put(backend, *args, **given)
                _begin(made, old)
                return made

        def by_hand(alarm: Any, why: str, data: str, value: str) -> None:
            # "This temporary state change lasts only until the next alarm comparison", which AWS
            # makes every minute:
            # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_SetAlarmState.html
            with self._lock:
                now = self._clock()
                held = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
                self._set_by_hand[alarm.name] = held
                self._change(alarm, value, why, data, now)

        self._update = update
        self._patches.enter_context(
            replaced(CloudWatchBackend, "put_metric_alarm", put_metric_alarm)
        )
        self._patches.enter_context(replaced(Alarm, "update_state", by_hand))
        for alarm in self._alarms():
            if alarm.state_reason == _UNCHECKED:
                alarm.state_value = "INSUFFICIENT_DATA"
        self._begin()
        return self

    def tick(self) -> None:
        """Look at every alarm now."""
        with self._lock:
            now = self._clock()
            self._metrics.look(now)
            for alarm in self._alarms():
                if self._set_by_hand.get(alarm.name, now) <= now:
                    self._judge(alarm, now)

    def _alarms(self) -> list[Any]:
        return list(cloudwatch_backends[ACCOUNT][self._aws.region].alarms.values())

    def _judge(self, alarm: Any, now: datetime) -> None:
        found = terms(alarm)
        if found is None:
            if alarm.name not in self._not_judged:
                self._not_judged.add(alarm.name)
                self._say(f"alarm {alarm.name}: this emulator cannot judge it")
            return
        dimensions = {each.name: each.value for each in alarm.dimensions}
        of = metric(alarm.namespace, alarm.metric_name, dimensions)
        samples = self._metrics.samples(of, evaluated_from(found, now), now)
        points = datapoints(found, samples, now)
        after = state(found, points, alarm.state_value)
        if after != alarm.state_value:
            self._change(alarm, after, reason(found, points, after, alarm.state_value), "{}", now)

    def _change(self, alarm: Any, after: str, why: str, data: str, now: datetime) -> None:
        before = alarm.state_value
        self._update(alarm, why, data, after)
        if before == after:
            return
        self.changes.append(Change(now, alarm.name, before, after, why))
        actions = {"ALARM": alarm.alarm_actions, "OK": alarm.ok_actions}
        for arn in actions.get(after, alarm.insufficient_data_actions):
            if alarm.actions_enabled:
                self._act(alarm, arn, before, now)

    def _act(self, alarm: Any, arn: str, before: str, now: datetime) -> None:
        if arn.split(":")[2] != "sns":
            self._say(f"alarm {alarm.name}: this emulator cannot do {arn}")
            return
        subject = notice.subject(alarm, alarm.state_value)
        text = notice.body(alarm, ACCOUNT, before, now)
        # https://docs.aws.amazon.com/sns/latest/dg/sns-access-policy-use-cases.html
        # A topic's default policy asks for AWS:SourceOwner.
        context: dict[str, str | list[str]] = {
            "aws:SourceAccount": ACCOUNT,
            "aws:SourceOwner": ACCOUNT,
            "aws:SourceArn": alarm.alarm_arn,
        }
        try:
            topics.publish(self._aws, SERVICE, arn, text, subject, context)
        except topics.NotDelivered as error:
            self._say(f"alarm {alarm.name}: nobody hears of {alarm.state_value}: {error}")


def terms(alarm: Any) -> Terms | None:
    """Of moto's alarm; None of one on several metrics, percentiles or other alarms."""
    if alarm.rule or alarm.metric_data_queries or alarm.extended_statistic:
        return None
    periods = int(alarm.evaluation_periods)
    found = Terms(
        statistic=alarm.statistic or "",
        period=int(alarm.period or 0),
        evaluation_periods=periods,
        datapoints_to_alarm=int(alarm.datapoints_to_alarm or periods),
        threshold=float(alarm.threshold or 0),
        comparison_operator=alarm.comparison_operator,
        treat_missing_data=alarm.treat_missing_data or "missing",
    )
    return found if found.known and found.period else None


def _begin(made: Any, old: Any) -> None:
    """moto begins with OK, also when an alarm is updated: "its state is left unchanged".

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
    """
    if old is None:
        made.state_value = "INSUFFICIENT_DATA"
        return
    kept = ("state_value", "state_reason", "state_reason_data", "state_updated_timestamp")
    for name in (*kept, "history"):
        setattr(made, name, getattr(old, name))
