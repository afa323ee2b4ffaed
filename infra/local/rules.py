"""EventBridge's rules that deliver: to topics, to queues and to pipelines.

moto's rules know queues only, fail PutEvents for a topic, and ask no policy. Here what a target
gets is made as AWS makes it (see `transform`), the topic's or queue's own policy has to let
EventBridge in, and a pipeline is started with the target's role, whose trust policy is asked for
the rule's sake. What does not arrive goes to the target's dead-letter queue, if there is one, and
is told.

Not covered: KMS; other targets than these, log groups, archives and buses (those are moto's);
patterns on objects within lists (moto's matching does not look into them); the retries that AWS
makes for a day where a target has trouble. What is refused is not tried again there either:
https://repost.aws/knowledge-center/eventbridge-resolve-failedinvocation-errors
"""

from __future__ import annotations

import copy
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import boto3.session
from botocore.exceptions import BotoCoreError, ClientError
from moto.events.models import Rule

from infra.local import topics, transform
from infra.local.aws import LocalAws
from infra.local.iam import NotTrusted, assume
from infra.local.iam.buckets import replaced

SERVICE = "events.amazonaws.com"
Say = Callable[[str], None]
Outcome = Literal["delivered", "lost", "dead-lettered"]


@dataclass(frozen=True)
class Delivery:
    rule: str  # its name
    target: str  # ARN
    outcome: Outcome
    detail: str = ""  # why it is lost; the execution of a pipeline

    def __str__(self) -> str:
        return f"rule {self.rule}: {self.outcome} to {self.target}: {self.detail}"


class Rules:
    """`deliveries` has all that came of events, the first first."""

    def __init__(self, aws: LocalAws, say: Say) -> None:
        self.deliveries: list[Delivery] = []
        self._aws, self._say = aws, say
        self._starts: list[threading.Thread] = []

    def deliver(self, rule: Any, found: Any, others: Callable[..., None]) -> None:
        """What moto calls for each rule of the bus with each event; `others`: moto's own."""
        if rule.state == "DISABLED" or (
            rule.scheduled_expression and not rule.event_pattern._pattern
        ):
            return  # a rule of a schedule matches no event; in moto it matches all
        event, received = _as_sent(found)
        if not rule.event_pattern.matches_event(event):
            return
        for target in list(rule.targets):
            service = target["Arn"].split(":")[2]
            if service == "codepipeline":
                self._start(rule, target, event)
            elif service in ("sns", "sqs"):
                self._send(service, rule, target, event, received)
            else:
                alone = copy.copy(rule)
                alone.targets = [target]
                others(alone, found)

    def _send(self, service: str, rule: Any, target: Any, event: Any, received: str) -> None:
        try:
            text = transform.text(target, event, rule.arn, received)
            if service == "sns":
                # Nothing to compare: for a topic's KMS key SNS says that EventBridge gives neither
                # aws:SourceAccount nor aws:SourceArn. For the topic itself nobody says that it
                # does, and this is the harsher reading.
                # https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
                topics.publish(self._aws, SERVICE, target["Arn"], text, "", {})
            else:
                group = (target.get("SqsParameters") or {}).get("MessageGroupId")
                topics.send(self._aws, SERVICE, target["Arn"], text, _source(rule), group=group)
        except (topics.NotDelivered, ValueError) as error:
            self._lose(rule, target, event, type(error).__name__, str(error))
        else:
            self._tell(Delivery(rule.name, target["Arn"], "delivered"))

    def _start(self, rule: Any, target: Any, event: Any) -> None:
        """Aside: PutEvents does not wait for what its events cause."""
        arguments = (rule, target, event)
        thread = threading.Thread(target=self._start_pipeline, args=arguments, daemon=True)
        self._starts.append(thread)
        thread.start()

    def _start_pipeline(self, rule: Any, target: Any, event: Any) -> None:
        try:
            keys = assume(
                str(target.get("RoleArn") or ":::::"),
                SERVICE,
                session=f"{rule.name}-{uuid.uuid4().hex[:8]}"[-64:],
                context=_source(rule),
                region=rule.region_name,
            )
            client = boto3.session.Session().client(
                "codepipeline",
                endpoint_url=self._aws.url,
                region_name=rule.region_name,
                **keys,
            )
            answer = client.start_pipeline_execution(name=target["Arn"].split(":")[-1])
        except ClientError as error:
            self._lose(rule, target, event, error.response["Error"]["Code"], str(error))
        except (NotTrusted, BotoCoreError) as error:
            self._lose(rule, target, event, type(error).__name__, str(error))
        else:
            execution = answer["pipelineExecutionId"]
            self._tell(Delivery(rule.name, target["Arn"], "delivered", execution))

    def _lose(self, rule: Any, target: Any, event: Any, code: str, why: str) -> None:
        """https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html"""
        outcome: Outcome = "lost"
        if queue := (target.get("DeadLetterConfig") or {}).get("Arn"):
            about = {"RULE_ARN": rule.arn, "TARGET_ARN": target["Arn"], "ERROR_CODE": code}
            about["ERROR_MESSAGE"] = why
            try:
                text = transform.compact(event)
                topics.send(self._aws, SERVICE, queue, text, _source(rule), attributes=about)
                outcome = "dead-lettered"
            except topics.NotDelivered as error:
                why = f"{why}; {error}"
        self._tell(Delivery(rule.name, target["Arn"], outcome, why))

    def _tell(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        if delivery.outcome != "delivered":
            self._say(str(delivery))

    def wait(self) -> None:
        """Until each pipeline that was to be started has been asked to start."""
        for thread in list(self._starts):
            thread.join()


@contextmanager
def local_rules(aws: LocalAws, *, say: Say = lambda _: None) -> Iterator[Rules]:
    """Until the context ends; `say` is told what did not arrive."""
    rules = Rules(aws, say)
    original = Rule.send_to_targets

    def deliver(rule: Any, event: Any, transform_input: bool = True) -> None:
        if not transform_input:  # for an archive
            original(rule, event, transform_input)
        else:
            rules.deliver(rule, event, original)

    with replaced(Rule, "send_to_targets", deliver):
        try:
            yield rules
        finally:
            rules.wait()


def _as_sent(found: Any) -> tuple[dict[str, Any], str]:
    """The event as AWS sends it, and when it was received: moto has seconds where AWS has a text.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-events-structure.html
    """
    event = {**found, "time": _moment(found["time"])}
    return event, _moment(event.pop("ingestion-time"))


def _moment(time: Any) -> str:
    if isinstance(time, str) and not time.replace(".", "", 1).isdigit():
        return time
    if not isinstance(time, datetime):
        time = datetime.fromtimestamp(float(time), UTC)
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def _source(rule: Any) -> dict[str, str | list[str]]:
    return {"aws:SourceAccount": rule.account_id, "aws:SourceArn": rule.arn}
