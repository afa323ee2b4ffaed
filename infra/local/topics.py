"""What AWS's own services send to topics and queues: the policy of the topic or queue decides."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from moto.sns.models import Topic, sns_backends
from moto.sqs.models import sqs_backends

from infra.local.aws import LocalAws
from infra.local.iam.buckets import TLS, replaced
from infra.local.iam.conditions import UnsupportedPolicy
from infra.local.iam.policy import Call, Caller, statements
from infra.local.iam.verdict import Policies, Verdict, judge

Context = Mapping[str, str | list[str]]
Say = Callable[[str], None]

_SUBJECT = 100  # characters: https://docs.aws.amazon.com/sns/latest/api/API_Publish.html


class NotDelivered(Exception):
    """Nobody gets the message, and why."""


def publish(
    aws: LocalAws, service: str, topic_arn: str, text: str, subject: str, context: Context
) -> None:
    """As a service, 'cloudwatch.amazonaws.com' for example. `context`: what AWS says of where the
    message comes from. Raises NotDelivered.
    """
    _, _, _, region, account, _ = topic_arn.split(":", 5)
    topic = sns_backends[account][region].topics.get(topic_arn)
    if topic is None:
        raise NotDelivered(f"there is no topic {topic_arn}")
    _check(aws, service, "sns:Publish", topic_arn, topic.policy, context)
    topic.publish(text, subject=subject[:_SUBJECT] or None)


def send(
    aws: LocalAws,
    service: str,
    queue_arn: str,
    text: str,
    context: Context,
    *,
    group: str | None = None,
    attributes: Mapping[str, str] | None = None,
) -> None:
    """The same to a queue."""
    _, _, _, region, account, name = queue_arn.split(":", 5)
    backend = sqs_backends[account][region]
    queue = backend.queues.get(name)
    if queue is None:
        raise NotDelivered(f"there is no queue {queue_arn}")
    _check(aws, service, "sqs:SendMessage", queue_arn, getattr(queue, "policy", ""), context)
    told = {
        key: {"DataType": "String", "StringValue": value}
        for key, value in (attributes or {}).items()
    }
    backend.send_message(name, text, message_attributes=told, group_id=group)


def _check(
    aws: LocalAws, service: str, action: str, arn: str, policy: Any, context: Context
) -> None:
    call = Call(action, arn, {**TLS, "aws:PrincipalIsAWSService": "true", **context})
    try:
        own = statements(policy, f"the policy of {arn.split(':')[-1]}") if policy else ()
        verdict = judge(call, Caller(service=service), Policies(identity=(), resource=own))
    except UnsupportedPolicy as error:
        verdict = Verdict(call, False, str(error), "")
    if aws.record is not None:
        aws.record.add(service, [verdict], role=False)
    if not verdict.allowed:
        raise NotDelivered(f"{service} may not {action} to {arn}: {verdict.why}")


@contextmanager
def heard(say: Say) -> Iterator[None]:
    """For as long as this lasts, `say` has a line of each message to a topic, as people would get a
    mail of it.
    """
    original = Topic.publish

    def tell(topic: Any, message: str, subject: str | None = None, **more: Any) -> Any:
        say(f"alert: {line(subject or '', message)}")
        return original(topic, message, subject=subject, **more)

    with replaced(Topic, "publish", tell):
        yield


def line(subject: str, text: str) -> str:
    """What a message says, in one line. A sentence of a rule has quotation marks around it, and an
    alarm comes as JSON.
    """
    try:
        found = json.loads(text)
    except ValueError:
        found = text
    said = str(found)
    if isinstance(found, dict):
        said = str(found.get("AlarmDescription") or found.get("NewStateReason") or text)
    return " ".join(f"{subject}: {said}".removeprefix(": ").split())
