"""What a schedule's target asks of AWS, as a request that boto3 can make. Nothing here acts.

https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-targets.html
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import botocore.session
from botocore.exceptions import UnknownServiceError

_UNIVERSAL = ":scheduler:::aws-sdk:"

# AWS's SDKs for other languages, whose names universal targets use, have other names for these.
_IN_BOTO3 = {"eventbridge": "events", "sfn": "stepfunctions", "cloudwatchlogs": "logs"}

# https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-targets-universal.html
_READ_ONLY = (
    *("get", "describe", "list", "poll", "receive", "search", "scan", "query", "select", "read"),
    *("lookup", "discover", "validate", "batchGet", "batchDescribe", "batchRead", "transactGet"),
    *("adminGet", "adminList", "testMigration", "retrieve", "testConnection", "translateDocument"),
    *("isAuthorized", "invokeModel"),
)


@dataclass(frozen=True)
class Request:
    service: str  # as in boto3.client
    operation: str  # as in the service's model: UpdateService
    params: Mapping[str, Any] = field(default_factory=dict)  # named as in boto3

    @property
    def action(self) -> str:
        return f"{self.service}:{self.operation}"


def request(target: Mapping[str, Any], text: str) -> Request:
    """`target` as the Scheduler's API has it; `text` is its Input with the context filled in.

    Raises ValueError for what no such request can be made of.
    """
    arn = str(target["Arn"])
    if _UNIVERSAL in arn:
        return _universal(arn.split(_UNIVERSAL, 1)[1], text)
    service = arn.split(":")[2]
    if service == "sqs":
        return _send_message(arn, target, text)
    if service == "ecs" and "EcsParameters" in target:
        return _run_task(arn, target["EcsParameters"], text)
    raise ValueError(f"this emulator has no templated target for {arn}")


def filled(text: str, context: Mapping[str, str]) -> str:
    """The text with its context attributes replaced: `<aws.scheduler.scheduled-time>` and others.

    https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html
    """
    for name, value in context.items():
        text = text.replace(f"<aws.scheduler.{name}>", value)
    return text


def _universal(what: str, text: str) -> Request:
    called, _, action = what.partition(":")
    if action.startswith(_READ_ONLY):
        raise ValueError(f"{action} is read-only, which no universal target may be")
    service = _IN_BOTO3.get(called, called)
    try:
        model = _model(service)
    except UnknownServiceError as error:
        raise ValueError(f"there is no service {called}") from error
    names = {name.lower(): name for name in model.operation_names}
    if action.lower() not in names:
        raise ValueError(f"{service} has no action {action}")
    operation = names[action.lower()]
    return Request(service, operation, _params(service, operation, _json(text)))


def _send_message(arn: str, target: Mapping[str, Any], text: str) -> Request:
    if not text:
        raise ValueError("without Input AWS sends a notification that this emulator does not know")
    group = target.get("SqsParameters", {})
    return Request("sqs", "SendMessage", {"QueueUrl": queue_url(arn), "MessageBody": text, **group})


def _run_task(cluster: str, parameters: Mapping[str, Any], text: str) -> Request:
    renamed = {"TaskDefinitionArn": "taskDefinition", "TaskCount": "count"}
    given = {renamed.get(name, name): value for name, value in parameters.items()}
    overrides = {"overrides": _json(text)} if text else {}
    given = {"cluster": cluster, **given, **overrides}
    return Request("ecs", "RunTask", _params("ecs", "RunTask", given))


def queue_url(arn: str) -> str:
    *_, region, account, name = arn.split(":")
    return f"https://sqs.{region}.amazonaws.com/{account}/{name}"


def _json(text: str) -> Any:
    try:
        return json.loads(text or "{}")
    except ValueError as error:
        raise ValueError(f"Input is no JSON: {error}") from error


def _params(service: str, operation: str, given: Any) -> dict[str, Any]:
    shape = _model(service).operation_model(operation).input_shape
    if not isinstance(given, dict):
        raise ValueError("Input is no JSON object")  # noqa: TRY004 - a mistake in what it says
    if shape is None:
        return {}
    params: dict[str, Any] = _renamed(shape, given, "Input")
    return params


def _renamed(shape: Any, value: Any, where: str) -> Any:
    """Keys of structures as boto3 has them. A universal target's Input writes them in Pascal case,
    whatever the service does: {"Cluster": ...} is ECS's `cluster`.
    """
    if shape.type_name == "structure" and isinstance(value, dict):
        names = {_pascal(name): name for name in shape.members}
        unknown = [key for key in value if _pascal(key) not in names]
        if unknown:
            raise ValueError(f"{where} has no parameter {', '.join(unknown)}")
        return {
            names[_pascal(key)]: _renamed(
                shape.members[names[_pascal(key)]], item, f"{where}.{key}"
            )
            for key, item in value.items()
        }
    if shape.type_name == "list" and isinstance(value, list):
        return [_renamed(shape.member, item, where) for item in value]
    if shape.type_name == "map" and isinstance(value, dict):
        return {key: _renamed(shape.value, item, f"{where}.{key}") for key, item in value.items()}
    return value


def _pascal(name: str) -> str:
    return name[:1].upper() + name[1:]


@functools.cache
def _model(service: str) -> Any:
    return botocore.session.get_session().get_service_model(service)
