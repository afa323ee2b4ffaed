"""AWS::SQS and AWS::SNS: queues, topics, who may write to them, who reads them."""

from __future__ import annotations

import uuid
from typing import Any

from moto.sns.models import sns_backends

from infra.local.cloudformation.api import Api, Props, found, only, without
from infra.local.cloudformation.kind import Kind, id_as
from infra.local.cloudformation.tags import keys_gone, retag

# --- queues --------------------------------------------------------------------------------------

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html
_QUEUE: dict[str, Any] = {
    "DelaySeconds": 0,
    "MaximumMessageSize": 1_048_576,
    "MessageRetentionPeriod": 345_600,
    "ReceiveMessageWaitTimeSeconds": 0,
    "VisibilityTimeout": 30,
    "RedrivePolicy": "",
    "RedriveAllowPolicy": "",
    "KmsMasterKeyId": "",
    "KmsDataKeyReusePeriodSeconds": 300,
    "SqsManagedSseEnabled": True,
    "ContentBasedDeduplication": False,
}
_LARGEST_IN_MOTO = 262_144  # moto 5.2 does not know the limit that AWS raised in August 2025


def _create_queue(api: Api, p: Props) -> str:
    attributes = only(p, *_QUEUE, "FifoQueue")
    answer = api.call(
        "sqs", "create_queue", QueueName=p["QueueName"], Attributes=attributes, tags=p.get("Tags")
    )
    return str(answer["QueueUrl"])


def _update_queue(api: Api, url: str, p: Props, old: Props) -> None:
    changed = {
        name: p.get(name, default)
        for name, default in _QUEUE.items()
        if p.get(name) != old.get(name)
    }
    if changed.get("MaximumMessageSize", 0) > _LARGEST_IN_MOTO and "MaximumMessageSize" not in p:
        changed["MaximumMessageSize"] = _LARGEST_IN_MOTO
    if changed:
        api.call("sqs", "set_queue_attributes", QueueUrl=url, Attributes=changed)
    gone = keys_gone(p, old)
    if gone:
        api.call("sqs", "untag_queue", QueueUrl=url, TagKeys=gone)
    if p.get("Tags"):
        api.call("sqs", "tag_queue", QueueUrl=url, Tags=p["Tags"])


def _find_queue(api: Api, name: str, _: Props) -> str | None:
    answer = found(lambda: api.call("sqs", "get_queue_url", QueueName=name))
    return answer["QueueUrl"] if answer else None


def _queue_attributes(api: Api, url: str, _: Props) -> dict[str, Any]:
    name = url.split("/")[-1]
    return {"Arn": api.arn("sqs", name), "QueueName": name, "QueueUrl": url}


def _put_queue_policy(api: Api, _: str, p: Props, old: Props) -> None:
    for url in set(old.get("Queues", [])) - set(p.get("Queues", [])):
        found(lambda url=url: _set_policy(api, url, ""))  # type: ignore[misc]
    for url in p.get("Queues", []):
        _set_policy(api, url, p["PolicyDocument"])


def _set_policy(api: Api, url: str, document: Any) -> None:
    api.call("sqs", "set_queue_attributes", QueueUrl=url, Attributes={"Policy": document})


# --- topics --------------------------------------------------------------------------------------

_TOPIC = ("DisplayName", "KmsMasterKeyId", "FifoTopic", "ContentBasedDeduplication")


def _create_topic(api: Api, p: Props) -> str:
    attributes = only(p, *_TOPIC)
    answer = api.call(
        "sns", "create_topic", Name=p["TopicName"], Attributes=attributes, Tags=p.get("Tags", [])
    )
    arn: str = answer["TopicArn"]
    for subscription in p.get("Subscription", []):
        api.call("sns", "subscribe", TopicArn=arn, **subscription)
    return arn


def _update_topic(api: Api, arn: str, p: Props, old: Props) -> None:
    if p.get("Subscription") != old.get("Subscription"):
        raise ValueError("subscriptions inside a topic cannot be changed here")
    for name in _TOPIC:
        if p.get(name) != old.get(name):
            value = p.get(name, "")
            changed = {"AttributeName": name, "AttributeValue": value}
            api.call("sns", "set_topic_attributes", TopicArn=arn, **changed)
    retag(api, "sns", arn, p, old)


def _find_topic(api: Api, name: str, _: Props) -> str | None:
    arn = api.arn("sns", name)
    answer = found(lambda: api.call("sns", "get_topic_attributes", TopicArn=arn))
    return arn if answer else None


def _put_topic_policy(api: Api, _: str, p: Props, old: Props) -> None:
    for arn in set(old.get("Topics", [])) - set(p.get("Topics", [])):
        topic = sns_backends[api.account][api.region].topics.get(arn)
        if topic:  # without a policy of its own a topic has AWS's
            default = topic._create_default_topic_policy(api.region, api.account, topic.name)
            topic._policy_json = default
    for arn in p.get("Topics", []):
        policy = {"AttributeName": "Policy", "AttributeValue": p["PolicyDocument"]}
        api.call("sns", "set_topic_attributes", TopicArn=arn, **policy)


# --- subscriptions -------------------------------------------------------------------------------

_SUBSCRIPTION = (
    *("RawMessageDelivery", "FilterPolicy", "FilterPolicyScope", "RedrivePolicy"),
    *("DeliveryPolicy", "SubscriptionRoleArn"),
)


def _subscribe(api: Api, p: Props) -> str:
    own = without(p, *_SUBSCRIPTION, "Region")
    attributes = only(p, *_SUBSCRIPTION)
    answer = api.call("sns", "subscribe", **own, Attributes=attributes, ReturnSubscriptionArn=True)
    return str(answer["SubscriptionArn"])


def _update_subscription(api: Api, arn: str, p: Props, old: Props) -> None:
    for name in _SUBSCRIPTION:
        if p.get(name) != old.get(name):
            value = p.get(name, "false" if name == "RawMessageDelivery" else {})
            changed = {"AttributeName": name, "AttributeValue": value}
            api.call("sns", "set_subscription_attributes", SubscriptionArn=arn, **changed)


def _first(put: Any, api: Api, p: Props) -> str:
    """Policies of queues and topics have no name but the one that CloudFormation makes up."""
    put(api, "", p, {})
    return f"policy-{uuid.uuid4()}"


KINDS = (
    Kind(
        "AWS::SQS::Queue",
        _create_queue,
        lambda api, url, _: api.call("sqs", "delete_queue", QueueUrl=url),
        _update_queue,
        _queue_attributes,
        fixed=("FifoQueue",),
        name="QueueName",
        known=("QueueName", "FifoQueue", "Tags", *_QUEUE),
        find=_find_queue,
    ),
    Kind(
        "AWS::SQS::QueuePolicy",
        lambda api, p: _first(_put_queue_policy, api, p),
        lambda api, _, p: _put_queue_policy(api, "", {}, p),
        _put_queue_policy,
        id_as("Id"),
        known=("Queues", "PolicyDocument"),
    ),
    Kind(
        "AWS::SNS::Topic",
        _create_topic,
        lambda api, arn, _: api.call("sns", "delete_topic", TopicArn=arn),
        _update_topic,
        lambda _api, arn, _: {"TopicArn": arn, "TopicName": arn.split(":")[-1]},
        fixed=("FifoTopic",),
        name="TopicName",
        known=("TopicName", "Subscription", "Tags", *_TOPIC),
        find=_find_topic,
    ),
    Kind(
        "AWS::SNS::TopicPolicy",
        lambda api, p: _first(_put_topic_policy, api, p),
        lambda api, _, p: _put_topic_policy(api, "", {}, p),
        _put_topic_policy,
        id_as("Id"),
        known=("Topics", "PolicyDocument"),
    ),
    Kind(
        "AWS::SNS::Subscription",
        _subscribe,
        lambda api, arn, _: api.call("sns", "unsubscribe", SubscriptionArn=arn),
        _update_subscription,
        id_as("Arn"),
        fixed=("TopicArn", "Protocol", "Endpoint"),
    ),
)
