"""Whether policies allow a call: pure, nothing of moto or boto3 in here.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from infra.local.iam.conditions import Condition, UnsupportedPolicy, conditions, holds
from infra.local.iam.patterns import Context, arn_like, like


@dataclass(frozen=True)
class Call:
    """What AWS asks its policies: may this action be done to this resource, in this context?"""

    action: str
    resource: str
    context: dict[str, str | list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Caller:
    """Who asks. A service (ecs-tasks.amazonaws.com) has no ARN and no account."""

    arn: str = ""  # of the user, or of the role's session
    account: str = ""
    role_arn: str = ""
    service: str = ""


@dataclass(frozen=True)
class Statement:
    policy: str
    index: int
    sid: str
    allow: bool
    actions: tuple[str, ...]
    not_actions: bool
    resources: tuple[str, ...]  # a trust policy has none: it is about its own role
    not_resources: bool
    conditions: tuple[Condition, ...]
    variables: bool
    principals: tuple[tuple[str, str], ...] | None  # (AWS or Service, name); None: whoever has it

    @property
    def label(self) -> str:
        return self.sid or str(self.index)


@dataclass(frozen=True)
class Decision:
    """The statements that apply to a call. One deny outweighs any number of allows."""

    allowed_by: tuple[Statement, ...]
    denied_by: tuple[Statement, ...]

    @property
    def allowed(self) -> bool:
        return bool(self.allowed_by) and not self.denied_by

    @property
    def matched(self) -> tuple[Statement, ...]:
        return self.denied_by + self.allowed_by


def statements(document: str | dict[str, Any], policy: str) -> tuple[Statement, ...]:
    """The statements of a policy document; `policy` is its name in reports."""
    return _parsed(document if isinstance(document, str) else json.dumps(document), policy)


@lru_cache(maxsize=1024)  # policies change seldom and are asked for at every call
def _parsed(document: str, policy: str) -> tuple[Statement, ...]:
    parsed = json.loads(document)
    listed = parsed["Statement"]
    # Before this version ${…} was plain text.
    variables = parsed.get("Version") == "2012-10-17"
    return tuple(
        _statement(one, policy, index, variables)
        for index, one in enumerate(listed if isinstance(listed, list) else [listed])
    )


_ELEMENTS = {
    *("Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition", "Principal"),
}


def _statement(one: dict[str, Any], policy: str, index: int, variables: bool) -> Statement:
    unknown = set(one) - _ELEMENTS
    if unknown or one.get("Effect") not in ("Allow", "Deny"):
        what = ", ".join(sorted(unknown)) or f"Effect {one.get('Effect')!r}"
        raise UnsupportedPolicy(f"{what} in statement {index} of {policy} is not known here")
    return Statement(
        policy=policy,
        index=index,
        sid=one.get("Sid", ""),
        allow=one["Effect"] == "Allow",
        actions=_texts(one["NotAction"] if "NotAction" in one else one["Action"]),
        not_actions="NotAction" in one,
        resources=_texts(one["NotResource"] if "NotResource" in one else one.get("Resource", [])),
        not_resources="NotResource" in one,
        conditions=conditions(one.get("Condition", {})),
        variables=variables,
        principals=_principals(one["Principal"]) if "Principal" in one else None,
    )


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(value) if isinstance(value, list) else (value,)


def _principals(value: Any) -> tuple[tuple[str, str], ...]:
    if value == "*":
        return (("AWS", "*"),)
    return tuple((kind, name) for kind, names in value.items() for name in _texts(names))


def evaluate(policies: Iterable[Statement], call: Call, caller: Caller | None = None) -> Decision:
    """`caller` matters to statements with a Principal: those of bucket and trust policies."""
    context = {key.lower(): value for key, value in call.context.items()}
    matched = [s for s in policies if _applies(s, call, context, caller)]
    return Decision(
        allowed_by=tuple(s for s in matched if s.allow),
        denied_by=tuple(s for s in matched if not s.allow),
    )


def actions_matched(statement: Statement, action: str) -> list[str]:
    """Which of the actions that a statement lists cover this one."""
    return [pattern for pattern in statement.actions if like(pattern, action, None, fold=True)]


def names(statement: Statement, caller: Caller) -> bool:
    """Whether a statement's Principal is the caller itself and not only the caller's account.

    Naming an account hands the decision to that account's own policies:
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
    """
    mine = {
        ("AWS", "*"),
        ("AWS", caller.arn),
        ("AWS", caller.role_arn),
        ("Service", caller.service),
    }
    return any(name and (kind, name) in mine for kind, name in statement.principals or ())


def _applies(statement: Statement, call: Call, context: Context, caller: Caller | None) -> bool:
    known = context if statement.variables else None
    return (
        _is_for(statement, caller)
        and bool(actions_matched(statement, call.action)) != statement.not_actions
        and (
            not statement.resources
            or any(arn_like(one, call.resource, known) for one in statement.resources)
            != statement.not_resources
        )
        and all(holds(c, context, variables=statement.variables) for c in statement.conditions)
    )


def _is_for(statement: Statement, caller: Caller | None) -> bool:
    if statement.principals is None:
        return True
    if caller is None:
        return False
    if names(statement, caller):
        return True
    return bool(caller.account) and any(
        kind == "AWS" and (name == caller.account or name.endswith(f"::{caller.account}:root"))
        for kind, name in statement.principals
    )
