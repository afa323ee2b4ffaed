"""CloudWatch alarms that are evaluated: moto stores alarms and never looks at a metric.

`Alarms` evaluates moto's alarms and publishes to their topics, as CloudWatch and under the topic's
policy, when their state changes and only then. `evaluate` says what datapoints come to.

Metrics there are: AWS/SQS ApproximateNumberOfMessagesVisible of every queue, looked at as often as
alarms are; AWS/ECS CPUUtilization and MemoryUtilization of a service, of which only SampleCount is
known (one a minute for each task that runs); and what PutMetricData puts. All others are missing.

What AWS does not document, and what is done here:
- How many datapoints more than the evaluation periods are looked at where some are missing: two, as
  in AWS's example. So an alarm of six periods can be raised by six within the last eight.
- What becomes of a single datapoint that breaches and is not old enough, with missing data treated
  as missing: INSUFFICIENT_DATA.

Not covered:
- The delay of metrics: a sample counts at once, and of a queue the greatest of each minute. AWS
  measures a queue once a minute, stops after six hours without use, and is minutes late. An alarm
  goes back as late as on AWS: when the period has no such sample any more.
- Composite alarms, metric math, percentiles, anomaly detection (said once, and left as they are),
  periods of less than a minute, units; actions other than topics (said).
- Metrics are not to be had from GetMetricData. The state changes are not on EventBridge.
"""

from infra.local.alarms.alarms import Alarms, Change
from infra.local.alarms.evaluate import Datapoint, Sample, Terms

__all__ = ["Alarms", "Change", "Datapoint", "Sample", "Terms"]
