"""What CloudWatch tells a topic of an alarm.

AWS documents no schema. The body has what people's programs read in theirs, for example
https://github.com/kenju/go-cloudwatch/blob/master/main.go
"""

from __future__ import annotations

import functools
import json
import re
from datetime import UTC, datetime
from typing import Any

import botocore.session


def subject(alarm: Any, state: str) -> str:
    return f'{state}: "{alarm.name}" in {region_name(alarm.region_name)}'


def body(alarm: Any, account: str, before: str, at: datetime) -> str:
    """`alarm`: moto's, in its new state."""
    return json.dumps(
        {
            "AlarmName": alarm.name,
            "AlarmDescription": alarm.description,
            "AWSAccountId": account,
            "AlarmConfigurationUpdatedTimestamp": _moment(alarm.configuration_updated_timestamp),
            "NewStateValue": alarm.state_value,
            "NewStateReason": alarm.state_reason,
            "StateChangeTime": _moment(at),
            "Region": region_name(alarm.region_name),
            "AlarmArn": alarm.alarm_arn,
            "OldStateValue": before,
            "OKActions": alarm.ok_actions,
            "AlarmActions": alarm.alarm_actions,
            "InsufficientDataActions": alarm.insufficient_data_actions,
            "Trigger": {
                "MetricName": alarm.metric_name,
                "Namespace": alarm.namespace,
                "StatisticType": "Statistic",
                "Statistic": re.sub(r"(?<=[a-z])(?=[A-Z])", "_", alarm.statistic or "").upper(),
                "Unit": alarm.unit,
                "Dimensions": [{"value": d.value, "name": d.name} for d in alarm.dimensions],
                "Period": alarm.period,
                "EvaluationPeriods": alarm.evaluation_periods,
                **(
                    {"DatapointsToAlarm": alarm.datapoints_to_alarm}
                    if alarm.datapoints_to_alarm
                    else {}
                ),
                "ComparisonOperator": alarm.comparison_operator,
                "Threshold": alarm.threshold,
                "TreatMissingData": alarm.treat_missing_data or "missing",
                "EvaluateLowSampleCountPercentile": alarm.evaluate_low_sample_count_percentile
                or "",
            },
        }
    )


@functools.cache
def region_name(region: str) -> str:
    """'US East (N. Virginia)'. CloudWatch says EU where AWS's other lists say Europe."""
    partitions = botocore.session.get_session().get_data("endpoints")["partitions"]
    for partition in partitions:
        if region in partition["regions"]:
            name = str(partition["regions"][region]["description"])
            return name.replace("Europe (", "EU (")
    return region


def _moment(time: datetime) -> str:
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "+0000")
