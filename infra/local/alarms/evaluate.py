"""From datapoints to an alarm's state. Pure: nothing of moto in here.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

State = Literal["OK", "ALARM", "INSUFFICIENT_DATA"]

# "CloudWatch attempts to retrieve a higher number of data points" than the evaluation periods. How
# many is not documented; in its example they are 5 of 3 periods.
_MORE = 2

_COMPARE: dict[str, tuple[Callable[[float, float], bool], str]] = {
    "GreaterThanOrEqualToThreshold": (operator.ge, "greater than or equal to"),
    "GreaterThanThreshold": (operator.gt, "greater than"),
    "LessThanThreshold": (operator.lt, "less than"),
    "LessThanOrEqualToThreshold": (operator.le, "less than or equal to"),
}
_STATISTICS: dict[str, Callable[[Sequence[float]], float]] = {
    "Maximum": max,
    "Minimum": min,
    "Sum": sum,
    "Average": lambda values: sum(values) / len(values),
}


@dataclass(frozen=True)
class Sample:
    at: datetime
    value: float | None  # None: that it was taken is all that is known


@dataclass(frozen=True)
class Datapoint:
    """One period's statistic."""

    start: datetime
    value: float | None  # None: missing


@dataclass(frozen=True)
class Terms:
    """Of one alarm."""

    statistic: str
    period: int  # seconds
    evaluation_periods: int
    datapoints_to_alarm: int
    threshold: float
    comparison_operator: str
    treat_missing_data: str = "missing"

    @property
    def periods(self) -> int:
        """How many are looked at, to have enough where some are missing."""
        return self.evaluation_periods + _MORE

    @property
    def known(self) -> bool:
        """Whether this can judge it: no percentiles, no anomaly detection."""
        statistics = {*_STATISTICS, "SampleCount"}
        return self.comparison_operator in _COMPARE and self.statistic in statistics

    def breaching(self, value: float) -> bool:
        return _COMPARE[self.comparison_operator][0](value, self.threshold)


def evaluated_from(terms: Terms, now: datetime) -> datetime:
    """The start of the first period."""
    return _end(now) - terms.periods * timedelta(seconds=terms.period)


def datapoints(terms: Terms, samples: Sequence[Sample], now: datetime) -> list[Datapoint]:
    """Of the periods looked at, the oldest first.

    They slide with the minute, as AWS's do. The last one ends with the minute that runs: samples
    count at once, where AWS waits until they have arrived.
    """
    period = timedelta(seconds=terms.period)
    end = _end(now)
    found = []
    for back in range(terms.periods, 0, -1):
        start = end - back * period
        within = [sample for sample in samples if start <= sample.at < start + period]
        found.append(Datapoint(start, _statistic(terms.statistic, within)))
    return found


def _end(now: datetime) -> datetime:
    return now.replace(second=0, microsecond=0) + timedelta(minutes=1)


def _statistic(name: str, samples: Sequence[Sample]) -> float | None:
    values = [sample.value for sample in samples if sample.value is not None]
    if name == "SampleCount":
        return float(len(samples)) if samples else None
    return float(_STATISTICS[name](values)) if values else None


def state(terms: Terms, points: Sequence[Datapoint], before: str) -> str:
    """The alarm's state, which was `before`; before no look it is INSUFFICIENT_DATA."""
    wanted = terms.datapoints_to_alarm
    recent = [point.value for point in points if point.value is not None]
    recent = recent[-terms.evaluation_periods :]
    breaching = [terms.breaching(value) for value in recent]
    missing = terms.evaluation_periods - len(recent)
    if terms.treat_missing_data == "breaching":
        return "ALARM" if sum(breaching) + missing >= wanted else "OK"
    if not missing or terms.treat_missing_data == "notBreaching" or not all(breaching):
        return "ALARM" if sum(breaching) >= wanted else "OK"
    if sum(breaching) >= wanted:
        return "ALARM"
    if terms.treat_missing_data == "ignore":
        return before
    # "Avoiding premature transitions to alarm state": one datapoint that breaches is enough when it
    # is old enough, and what came after it breaches too or is missing.
    oldest = next((i for i, point in enumerate(points) if point.value is not None), len(points))
    return "ALARM" if len(points) - oldest >= wanted else "INSUFFICIENT_DATA"


def reason(terms: Terms, points: Sequence[Datapoint], after: str, before: str) -> str:
    """As CloudWatch words it; seen in its notifications, and not documented."""
    periods = terms.evaluation_periods
    if after == "INSUFFICIENT_DATA":
        were = "datapoint was" if periods == 1 else "datapoints were"
        return f"Insufficient Data: {periods} {were} unknown."
    recent = [point for point in points if point.value is not None][-periods:]
    if not recent:
        treated = {"breaching": "Breaching", "notBreaching": "NonBreaching"}
        how = treated.get(terms.treat_missing_data, "Missing")
        spell = "period" if periods == 1 else "periods"
        were = "missing datapoint was" if periods == 1 else "missing datapoints were"
        return (
            f"Threshold Crossed: no datapoints were received for {periods} {spell} and {periods} "
            f"{were} treated as [{how}]."
        )
    told = [p for p in recent if terms.breaching(p.value or 0.0) == (after == "ALARM")] or recent
    values = ", ".join(f"{p.value} ({p.start:%d/%m/%y %H:%M:%S})" for p in reversed(told))
    was = "was" if len(told) == 1 else "were"
    negated = "" if after == "ALARM" else "not "
    needed = terms.datapoints_to_alarm
    if after == "OK":
        needed = periods - needed + 1
    plural = "" if needed == 1 else "s"
    return (
        f"Threshold Crossed: {len(told)} out of the last {periods} datapoints [{values}] {was} "
        f"{negated}{_COMPARE[terms.comparison_operator][1]} the threshold ({terms.threshold}) "
        f"(minimum {needed} datapoint{plural} for {before} -> {after} transition)."
    )
