"""Who reads the alerts: a queue that is subscribed to a topic, in place of a mailbox."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass
from typing import Any

from infra.local.aws import LocalAws


@dataclass(frozen=True)
class Message:
    subject: str  # "" where there is none
    text: str
    topic_arn: str


class Inbox:
    """What arrives at a topic from now on."""

    def __init__(self, aws: LocalAws, topic_arn: str) -> None:
        self.topic_arn = topic_arn
        self._sqs: Any = aws.client("sqs")
        self._messages: list[Message] = []
        name = f"inbox-{uuid.uuid4().hex[:8]}"
        self._url = self._sqs.create_queue(QueueName=name)["QueueUrl"]
        asked = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])
        arn = asked["Attributes"]["QueueArn"]
        # https://docs.aws.amazon.com/sns/latest/dg/subscribe-sqs-queue-to-sns-topic.html
        let_in = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": topic_arn}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [let_in]})
        self._sqs.set_queue_attributes(QueueUrl=self._url, Attributes={"Policy": policy})
        aws.client("sns").subscribe(TopicArn=topic_arn, Protocol="sqs", Endpoint=arn)

    def messages(self) -> list[Message]:
        """All that have arrived so far, the first first."""
        while found := self._received():
            for each in found:
                body = json.loads(each["Body"])
                self._messages.append(
                    Message(body.get("Subject", ""), body["Message"], body["TopicArn"])
                )
                receipt = each["ReceiptHandle"]
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=receipt)
        return list(self._messages)

    def wait(self, text: str, seconds: float = 30) -> Message:
        """The first with `text` in its subject or its text. Raises TimeoutError with what came."""
        end = time.monotonic() + seconds
        while True:
            for each in self.messages():
                if text in each.subject or text in each.text:
                    return each
            if time.monotonic() > end:
                came = [f"{each.subject}: {each.text}" for each in self._messages]
                raise TimeoutError(f"no message with {text!r} in {seconds} s; there came: {came}")
            time.sleep(0.1)

    def _received(self) -> list[dict[str, Any]]:
        answer = self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10)
        found: list[dict[str, Any]] = answer.get("Messages", [])
        return found
