"""Whether requests and responses are what AWS's own models of its services say.

The models are botocore's (https://docs.aws.amazon.com/boto3/latest/guide/configuration.html, the
data that `boto3` itself is driven by). boto3 checks what it sends and drops what it does not know
in an answer, so that a fake can answer nonsense for long before anything notices.

Not covered: services that do not speak JSON; responses that are errors; patterns and greatest
lengths, which botocore does not check either.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import botocore.session
from botocore.validate import ParamValidator
from moto.core.responses import BaseResponse

from infra.local.iam.buckets import replaced
from infra.local.iam.enforce import _parsed as parsed

# How a value is written: as boto3 hands it over, in an EventBridge event, in the body of HTTP.
Form = Literal["boto3", "event", "wire"]

Kind = Literal["unknown", "missing", "type", "enum"]


@dataclass(frozen=True)
class Flaw:
    """What is wrong at one place of a value."""

    where: str  # 'tasks[0].containers[1].name'
    kind: Kind
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(frozen=True)
class Finding:
    """A flaw of a request that came to moto, or of what it answered."""

    service: str
    operation: str
    side: Literal["request", "response"]
    text: str

    def __str__(self) -> str:
        return f"{self.service}:{self.operation} {self.side}, {self.text}"


# --- values --------------------------------------------------------------------------------------


def check_request(service: str, operation: str, params: Mapping[str, Any]) -> list[str]:
    """What is wrong with the parameters, named as in boto3. `operation` is the API's: RunTask."""
    shape = _operation(service, operation).input_shape
    if shape is None:
        return [f"{name}: there are no parameters" for name in params]
    report = ParamValidator().validate(dict(params), shape)
    found = report.generate_report().splitlines() if report.has_errors() else []
    return found + [str(flaw) for flaw in _flaws(shape, params, "", "boto3") if flaw.kind == "enum"]


def check_response(service: str, operation: str, response: Mapping[str, Any]) -> list[str]:
    """What is wrong with an answer as boto3 returns it: times are datetimes."""
    given = {key: value for key, value in response.items() if key != "ResponseMetadata"}
    shape = _operation(service, operation).output_shape
    if shape is None:
        return [f"{name}: unknown" for name in given]
    return [str(flaw) for flaw in _flaws(shape, given, "", "boto3")]


def check_shape(service: str, name: str, value: object, *, also: Collection[str] = ()) -> list[str]:
    """What is wrong with a part of an event, which has times as ISO 8601 text.

    `also` are members of the outermost that the event has and the shape has not: an "ECS Task State
    Change" is a `Task` and `updatedAt`
    (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_task_events.html).
    """
    shape = _model(service).shape_for(name)
    given = value
    if isinstance(value, dict):
        given = {key: item for key, item in value.items() if key not in also}
    return [str(flaw) for flaw in _flaws(shape, given, "", "event")]


def _flaws(shape: Any, value: Any, where: str, form: Form) -> Iterator[Flaw]:
    match shape.type_name:
        case "structure" if getattr(shape, "is_document_type", False):
            return
        case "structure" if isinstance(value, Mapping):
            yield from _structure(shape, value, where, form)
        case "list" if isinstance(value, list | tuple):
            for number, item in enumerate(value):
                yield from _flaws(shape.member, item, f"{where}[{number}]", form)
        case "map" if isinstance(value, Mapping):
            for key, item in value.items():
                yield from _flaws(shape.key, key, f"{where}[{key!r}]", form)
                yield from _flaws(shape.value, item, f"{where}[{key!r}]", form)
        case "string" | "character" if isinstance(value, str):
            if shape.metadata.get("enum") and value not in shape.enum:
                yield Flaw(where, "enum", f"{value!r} is none of {', '.join(shape.enum)}")
        case _ if not _is(shape, value, form):
            yield Flaw(where or shape.name, "type", f"{value!r} is no {shape.type_name}")


def _structure(shape: Any, value: Mapping[str, Any], where: str, form: Form) -> Iterator[Flaw]:
    inside = f"{where}." if where else ""
    members: dict[str, Any] = {}
    required = set(shape.required_members)
    for name, member in shape.members.items():
        spelt = member.serialization.get("name", name) if form == "wire" else name
        if form == "wire" and "location" in member.serialization:
            continue  # in the URL or a header
        members[spelt] = member
        # A client takes null in a body as absent.
        absent = value.get(spelt) is None if form == "wire" else spelt not in value
        if name in required and absent:
            yield Flaw(f"{inside}{spelt}", "missing", "is required")
    for key, item in value.items():
        if key not in members:
            yield Flaw(f"{inside}{key}", "unknown", f"{shape.name} has no such member")
        elif not (form == "wire" and item is None):
            yield from _flaws(members[key], item, f"{inside}{key}", form)


def _is(shape: Any, value: Any, form: Form) -> bool:
    match shape.type_name:
        case "boolean":
            return isinstance(value, bool)
        case "integer" | "long":
            return isinstance(value, int) and not isinstance(value, bool)
        case "float" | "double":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "timestamp":
            return _is_time(shape, value, form)
        case "blob":
            return isinstance(value, str if form != "boto3" else bytes) or hasattr(value, "read")
    return False


def _is_time(shape: Any, value: Any, form: Form) -> bool:
    if form == "boto3":
        return isinstance(value, datetime) and value.tzinfo is not None
    if form == "wire" and shape.serialization.get("timestampFormat") != "iso8601":
        return isinstance(value, int | float) and not isinstance(value, bool)
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


@functools.cache
def _model(service: str) -> Any:
    return botocore.session.get_session().get_service_model(service)


def _operation(service: str, operation: str) -> Any:
    return _model(service).operation_model(operation)


# --- all that passes through moto ----------------------------------------------------------------


@contextmanager
def validated(
    services: Collection[str],
    *,
    operations: Collection[str] = (),
    known: Mapping[str, str] | None = None,
) -> Iterator[list[Finding]]:
    """For as long as this lasts, every request of these services that comes to moto in this process
    is checked as it arrives, and every response as it leaves; yields what is found.

    `services` are named as in boto3, and speak JSON; `operations` (`RunTask`) narrows them. `known`
    findings are left out: see `MOTOS_OWN`, the default.
    """
    for service in services:
        protocol = _model(service).metadata["protocol"]
        if protocol not in ("json", "rest-json"):
            raise ValueError(f"{service} speaks {protocol}: unknown members cannot be seen in it")
    findings: list[Finding] = []
    expected = MOTOS_OWN if known is None else known
    act = BaseResponse.call_action

    def checked(response: Any) -> Any:
        service = response.boto3_service_name
        operation, params = parsed(response) if service in services else ("", {})
        if not operation or (operations and operation not in operations):
            return act(response)

        def keep(side: Literal["request", "response"], texts: list[str]) -> None:
            found = [Finding(service, operation, side, text) for text in texts]
            findings.extend(f for f in found if _place(f) not in expected)

        body = response.normalized_request.data
        keep(
            "request",
            [*check_request(service, operation, params), *_unknown(service, operation, body)],
        )
        status, headers, answer = act(response)
        if int(status) < 400:
            keep("response", _answer(service, operation, answer))
        return status, headers, answer

    with replaced(BaseResponse, act.__name__, checked):
        yield findings


def _place(finding: Finding) -> str:
    """As in MOTOS_OWN: without what differs from one answer to the next."""
    where = re.sub(r"\[[^]]*\]", "[]", finding.text.partition(":")[0])
    return f"{finding.service}:{finding.operation} {finding.side} {where}"


def _unknown(service: str, operation: str, body: bytes) -> list[str]:
    """Parameters that no parser of requests would see, for it looks for those that it knows."""
    flaws = _in_body(_operation(service, operation).input_shape, body)
    return [str(flaw) for flaw in flaws if flaw.kind == "unknown"]


def _answer(service: str, operation: str, body: str | bytes) -> list[str]:
    return [str(flaw) for flaw in _in_body(_operation(service, operation).output_shape, body)]


def _in_body(shape: Any, body: str | bytes) -> list[Flaw]:
    if not body or (shape is not None and "payload" in shape.serialization):
        return []  # nothing to see, or a body that is no structure
    try:
        value = json.loads(body)
    except ValueError:
        return [Flaw("body", "unknown", "is no JSON")]
    if shape is None:
        return [Flaw(key, "unknown", "there is nothing to say") for key in value]
    return list(_flaws(shape, value, "", "wire"))


# What moto answers otherwise than AWS, and why it is let be. Found by running the tests of the
# scheduler and of the stack with ecs, scheduler, sqs, logs and events checked.
MOTOS_OWN: Mapping[str, str] = {
    f"scheduler:ListSchedules response Schedules[].{name}": (
        "moto lists schedules whole; AWS lists summaries, which is all that boto3 takes from it"
    )
    for name in (
        *("ActionAfterCompletion", "Description", "EndDate", "FlexibleTimeWindow", "KmsKeyArn"),
        *("ScheduleExpression", "ScheduleExpressionTimezone", "StartDate"),
    )
}
