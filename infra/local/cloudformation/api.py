"""Calls from moto's CloudFormation to moto's other services: boto3 without a network.

Each request is handed to the service's own code in this process. So a resource of a template is
made exactly as the same boto3 call would make it, with botocore checking every parameter.
"""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import botocore.config
import botocore.session
from botocore.exceptions import ClientError
from moto.core.authorization import ActionAuthenticatorMixin
from moto.core.botocore_stubber import BotocoreStubber

Props = dict[str, Any]

_inside: ContextVar[bool] = ContextVar("inside", default=False)
_making = threading.Lock()  # botocore sessions make one client at a time


@dataclass(frozen=True)
class Api:
    """One account in one region."""

    account: str
    region: str

    def call(self, service: str, operation: str, /, **parameters: Any) -> dict[str, Any]:
        """Names may be written as in templates: letter case is the API's concern, not the caller's.

        A property that the API does not know is an error, as in CloudFormation.
        """
        client = _client(self, service)
        fitted = self.fitted(service, operation, parameters)
        answer: dict[str, Any] = getattr(client, operation)(**fitted)
        return answer

    def fitted(self, service: str, operation: str, parameters: Props) -> Props:
        """The parameters in the API's own spelling; None is left out."""
        client = _client(self, service)
        name = client.meta.method_to_api_mapping[operation]
        shape = client.meta.service_model.operation_model(name).input_shape
        given = {key: value for key, value in parameters.items() if value is not None}
        fitted: Props = _fit(shape, given) if shape else {}
        return fitted

    def arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"


def is_missing(error: Exception) -> bool:
    """Whether a call failed because what it is about does not exist."""
    if not isinstance(error, ClientError):
        return False
    code = str(error.response["Error"]["Code"])
    signs = ("NotFound", "NoSuch", "DoesNotExist", "NonExistent", "NotExist", "404")
    return any(sign in code for sign in signs)


def found(call: Callable[[], Any]) -> Any:
    """What a call answers, or None where what it asks for does not exist."""
    try:
        return call()
    except ClientError as error:
        if is_missing(error):
            return None
        raise


def only(properties: Props, *names: str) -> Props:
    return {name: properties[name] for name in names if name in properties}


def without(properties: Props, *names: str) -> Props:
    return {name: value for name, value in properties.items() if name not in names}


def let_in() -> None:
    """CloudFormation acts with the rights of whoever called it: its own calls are not checked.

    Otherwise enforcing IAM in moto would refuse them, as they are signed with no one's key.
    """
    mixin: Any = ActionAuthenticatorMixin
    check = mixin._authenticate_and_authorize_action

    @functools.wraps(check)
    def wrapped(self: Any, *arguments: Any, **named: Any) -> None:
        if not _inside.get():
            check(self, *arguments, **named)

    mixin._authenticate_and_authorize_action = wrapped


def _client(api: Api, service: str) -> Any:
    with _making:
        return _made_client(api, service)


@functools.cache
def _made_client(api: Api, service: str) -> Any:
    settings = botocore.config.Config(
        ignore_configured_endpoint_urls=True,  # AWS_ENDPOINT_URL may name this very server
        retries={"max_attempts": 0},
        s3={"addressing_style": "path"},
    )
    client = _session().create_client(
        service,
        region_name=api.region,
        aws_access_key_id="cloudformation",
        aws_secret_access_key="cloudformation",  # noqa: S106 (moto's own, no secret)
        config=settings,
    )
    stub = BotocoreStubber()
    stub.enabled = True

    def answer(event_name: str, request: Any, **named: Any) -> Any:
        request.headers["x-moto-account-id"] = api.account
        mark = _inside.set(True)
        try:
            return stub(event_name, request, **named)
        finally:
            _inside.reset(mark)

    client.meta.events.register("before-send", answer)
    return client


@functools.cache
def _session() -> Any:
    return botocore.session.get_session()


def _fit(shape: Any, value: Any) -> Any:
    """A template's value as the API wants it: spelling of keys, text for numbers, text for JSON."""
    match shape.type_name:
        case "structure":
            if not isinstance(value, dict):
                raise TypeError(f"{shape.name}: expected an object, found {value!r}")
            return {
                name: _fit(shape.members[name], item)
                for name, item in ((_member(shape, key), item) for key, item in value.items())
            }
        case "list" if isinstance(value, list):
            return [_fit(shape.member, item) for item in value]
        case "map" if isinstance(value, list):  # tags: pairs in templates, a map in some APIs
            return {item["Key"]: _fit(shape.value, item["Value"]) for item in value}
        case "map" if isinstance(value, dict):
            return {key: _fit(shape.value, item) for key, item in value.items()}
        case "string":
            return _text(value)
        case "integer" | "long":
            return int(value)
        case "float" | "double":
            return float(value)
        case "boolean":
            return value if isinstance(value, bool) else str(value).lower() == "true"
    return value


def _member(shape: Any, key: str) -> str:
    if key in shape.members:
        return key
    for name in shape.members:
        if name.lower() == key.lower():
            return str(name)
    raise ValueError(f"Encountered unsupported property {key}")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, dict | list) else str(value)
