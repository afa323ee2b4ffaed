"""EventBridge Scheduler that fires: moto stores schedules and never does.

`Scheduler` watches moto's schedules and calls their targets, as the schedule's role, on moto.
`next_time` says when a schedule is due.

What AWS does not document, and what is done here:
- A one-time schedule whose time had passed when it was set never fires: the harsher reading.
- Which errors are tried again. Here that is whatever the target or IAM answers; a request that
  cannot even be made (Input that is no JSON or names no such parameter) goes to the dead-letter
  queue at once, which AWS says it does with "a permanent error".
- The pauses between attempts, "exponential" on AWS: here they are seconds at most, so that a test
  need not wait. How old an event may get is measured by the clock, as on AWS.
- What becomes of attempts still to be made when their schedule is changed or deleted: they are made
  as they were planned.
- A change of a schedule's expression, time zone, dates or state starts it anew; any other does not.

Not covered:
- Flexible time windows: the target is called at the start of the window, which is within it. Nor
  does a call come late in its minute: AWS has "60 second precision", here it is the next look.
- At-least-once delivery: here a target is never called twice for the same time.
- Templated targets other than SQS's SendMessage and ECS's RunTask; the default notification that
  AWS sends to a templated target without Input.
- AWS refuses to store an invalid expression or target; moto stores it, and `Scheduler` says so.
- moto keeps a schedule's old ActionAfterCompletion when it is updated; AWS sets it anew.
- Customer-managed keys, quotas, CloudWatch metrics, payloads cut short for the dead-letter queue.
"""

from infra.local.schedules.attempts import Event, shortened
from infra.local.schedules.expressions import next_time
from infra.local.schedules.scheduler import Scheduler

__all__ = ["Event", "Scheduler", "next_time", "shortened"]
