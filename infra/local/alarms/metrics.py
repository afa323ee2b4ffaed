"""The metrics that this AWS has: what is in its queues, whether a service runs, and what is put."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from moto.cloudwatch.models import MetricDatum, cloudwatch_backends
from moto.sqs.models import sqs_backends

from infra.local.alarms.evaluate import Sample
from infra.local.fargate.task import Task

_MINUTE = timedelta(minutes=1)
_KEPT = timedelta(days=2)  # an alarm looks at one day
_VISIBLE = "ApproximateNumberOfMessagesVisible"


@dataclass(frozen=True)
class Metric:
    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]  # sorted: names and values


def metric(namespace: str, name: str, dimensions: Mapping[str, str]) -> Metric:
    return Metric(namespace, name, tuple(sorted(dimensions.items())))


class Metrics:
    def __init__(self, account: str, region: str, tasks: Callable[[], Iterable[Task]]) -> None:
        self._account, self._region, self._tasks = account, region, tasks
        self._lock = threading.Lock()
        self._samples: dict[Metric, dict[datetime, float | None]] = {}

    def add(self, of: Metric, at: datetime, value: float | None) -> None:
        """Of one minute the greatest is kept: AWS's own have one sample a minute."""
        minute = at.replace(second=0, microsecond=0)
        with self._lock:
            kept = self._samples.setdefault(of, {})
            before = kept.get(minute)
            kept[minute] = value if before is None else max(before, value or 0.0)

    def look(self, now: datetime) -> None:
        """How much there is in the queues now."""
        for queue in list(sqs_backends[self._account][self._region].queues.values()):
            visible = float(queue.approximate_number_of_messages)
            self.add(metric("AWS/SQS", _VISIBLE, {"QueueName": queue.name}), now, visible)
        with self._lock:
            for kept in self._samples.values():
                for minute in [minute for minute in kept if minute < now - _KEPT]:
                    del kept[minute]

    def samples(self, of: Metric, start: datetime, now: datetime) -> list[Sample]:
        """From `start` until now. None of a metric that this AWS does not have."""
        with self._lock:
            kept = [Sample(at, value) for at, value in self._samples.get(of, {}).items()]
        found = [*kept, *self._put(of), *self._of_service(of, now)]
        return [sample for sample in found if start <= sample.at <= now]

    def _put(self, of: Metric) -> list[Sample]:
        """By PutMetricData."""
        data = list(cloudwatch_backends[self._account][self._region].metric_data)
        return [
            Sample(_aware(each.timestamp), float(each.value))
            for each in data
            if isinstance(each, MetricDatum) and _of(each) == of
        ]

    def _of_service(self, of: Metric, now: datetime) -> list[Sample]:
        """ECS measures a service once a minute for each of its tasks that runs. How busy it was is
        not known here.

        https://docs.aws.amazon.com/AmazonECS/latest/developerguide/available-metrics.html
        """
        known = dict(of.dimensions)
        measured = of.name in ("CPUUtilization", "MemoryUtilization")
        if (of.namespace, set(known), measured) != (
            "AWS/ECS",
            {"ClusterName", "ServiceName"},
            True,
        ):
            return []
        found = []
        for task in self._tasks():
            planned, began = task.planned, task.times.get("startedAt")
            wanted = (known["ClusterName"], f"service:{known['ServiceName']}")
            if began is None or (planned.cluster, planned.group) != wanted:
                continue
            end = min(now, task.times.get("executionStoppedAt") or now)
            while began <= end:
                found.append(Sample(began, None))
                began += _MINUTE
        return found


def _of(datum: Any) -> Metric:
    dimensions = {str(each.name): str(each.value) for each in datum.dimensions}
    return metric(str(datum.namespace), str(datum.name), dimensions)


def _aware(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time
