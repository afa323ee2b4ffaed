"""Bucket policies, evaluated. moto's own check ignores conditions and principals: a policy that
denies what does not come over TLS makes it answer 403 to everything, enforcement or not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from moto import settings
from moto.core.authorization import ActionAuthenticatorMixin
from moto.iam.access_control import PermissionResult
from moto.s3.models import FakeBucket

from infra.local.iam.policy import Call, Caller, evaluate, statements

# The emulator speaks plain HTTP on the loopback interface where AWS speaks TLS.
TLS: dict[str, str | list[str]] = {"aws:SecureTransport": "true"}

# Objects that the request in hand may not delete (see enforce.py): moto asks for each.
REFUSED_DELETES: ContextVar[frozenset[str]] = ContextVar("refused_deletes", default=frozenset())


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[Any]:
    """Set an attribute and put the old one back; yields the old one."""
    old = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield old
    finally:
        setattr(owner, name, old)


@contextmanager
def mend_bucket_policies() -> Iterator[None]:
    """For as long as this lasts, moto judges bucket policies as AWS does."""
    with replaced(FakeBucket, "get_permission", _permission):
        yield


def _permission(bucket: Any, action: str, resource: str) -> PermissionResult:
    if ActionAuthenticatorMixin.request_count >= settings.INITIAL_NO_AUTH_ACTION_COUNT:
        # moto asks before it knows who calls; enforce.py judges the bucket's policy when it does.
        denied = resource in REFUSED_DELETES.get()
        return PermissionResult.DENIED if denied else PermissionResult.NEUTRAL
    if bucket.policy is None:
        return PermissionResult.NEUTRAL
    # moto makes the action out of the HTTP method.
    named = {"s3:HeadObject": "s3:GetObject", "s3:PostObject": "s3:PutObject"}.get(action, action)
    policies = statements(bucket.policy.decode(), f"the policy of {bucket.name}")
    # Without enforcement nobody has a name: only what is said of everybody counts.
    decision = evaluate(policies, Call(named, resource, TLS), Caller())
    if decision.denied_by:
        return PermissionResult.DENIED
    return PermissionResult.PERMITTED if decision.allowed else PermissionResult.NEUTRAL
