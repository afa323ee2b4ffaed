"""One request as the mapping to calls sees it, and what it may ask about the account."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from infra.local.iam.policy import Call

Value = str | list[str]


@dataclass(frozen=True)
class TaskDefinition:
    arn: str
    roles: tuple[str, ...]  # the task's and the execution role, where it has them


class Known(Protocol):
    """What AWS looks up before it asks the policies. None: there is no such thing."""

    def role_arn(self, name: str) -> str | None: ...  # a role may have a path, which a name hides

    def user_arn(self, name: str) -> str | None: ...

    def stack_arn(self, name: str) -> str | None: ...  # it ends in a random id

    def task_definition(self, name: str) -> TaskDefinition | None: ...

    def has_object(self, bucket: str, key: str) -> bool | None: ...  # None: no such bucket


@dataclass(frozen=True)
class Request:
    service: str  # as in an action's prefix
    operation: str
    account: str
    region: str
    known: Known
    params: Mapping[str, Any] = field(default_factory=dict)  # named as in boto3
    partition: str = "aws"

    def arn(self, resource: str, *, service: str = "", regional: bool = True) -> str:
        region = self.region if regional else ""
        return f"arn:{self.partition}:{service or self.service}:{region}:{self.account}:{resource}"

    def call(self, resource: str, action: str = "", **context: Value) -> Call:
        """`action` is the operation's own name by default; a context key's `__` is a colon."""
        given = {key.replace("__", ":"): value for key, value in context.items()}
        return Call(f"{self.service}:{action or self.operation}", resource, given)

    def listed(self, name: str) -> list[Any]:
        """A parameter that may be one thing, many or absent."""
        value = self.params.get(name)
        if value is None or value == "":
            return []
        return list(value) if isinstance(value, (list, tuple)) else [value]


def pass_roles(request: Request, roles: Iterable[str | None], service: str) -> list[Call]:
    """Who hands a role to a service needs iam:PassRole on it.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html
    """
    arns = dict.fromkeys(_role_arn(request, role) for role in roles if role)
    return [Call("iam:PassRole", arn, {"iam:PassedToService": service}) for arn in arns]


def _role_arn(request: Request, role: str) -> str:
    if role.startswith("arn:"):
        return role
    return request.known.role_arn(role) or request.arn(
        f"role/{role}", service="iam", regional=False
    )


def tag_context(tags: Iterable[Mapping[str, str]]) -> dict[str, Value]:
    """The context of a request that brings tags, `key` or `Key` as the service spells it."""
    pairs = [(t.get("key", t.get("Key", "")), t.get("value", t.get("Value", ""))) for t in tags]
    if not pairs:
        return {}
    named: dict[str, Value] = {f"aws:RequestTag/{key}": value for key, value in pairs}
    return named | {"aws:TagKeys": [key for key, _ in pairs]}
