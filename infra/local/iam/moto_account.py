"""What moto's backends know: policies, ARNs, task definitions, objects. Reads, changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from moto.cloudformation.models import cloudformation_backends
from moto.core.exceptions import ServiceException
from moto.ecs.models import ecs_backends
from moto.iam.models import iam_backends
from moto.s3.models import s3_backends
from werkzeug.exceptions import HTTPException

from infra.local.iam.policy import Statement, statements
from infra.local.iam.request import TaskDefinition

_MISSING = (ServiceException, HTTPException)  # moto's two families of errors


@dataclass(frozen=True)
class MotoAccount:
    """An account as `request.Known` asks about it."""

    account: str
    region: str
    partition: str = "aws"

    @property
    def iam(self) -> Any:
        return iam_backends[self.account][self.partition]

    def role_arn(self, name: str) -> str | None:
        role = self._get("get_role", name)
        return str(role.arn) if role else None

    def user_arn(self, name: str) -> str | None:
        user = self._get("get_user", name)
        return str(user.arn) if user else None

    def stack_arn(self, name: str) -> str | None:
        stacks = cloudformation_backends[self.account][self.region].stacks.values()
        return next((str(stack.stack_id) for stack in stacks if stack.name == name), None)

    def task_definition(self, name: str) -> TaskDefinition | None:
        try:
            found = ecs_backends[self.account][self.region].describe_task_definition(name)
        except _MISSING:
            return None
        # moto sets the attributes if there are some.
        roles = (getattr(found, name, None) for name in ("task_role_arn", "execution_role_arn"))
        return TaskDefinition(str(found.arn), tuple(str(role) for role in roles if role))

    def has_object(self, bucket: str, key: str) -> bool | None:
        backend = s3_backends[self.account][self.partition]
        if bucket not in backend.buckets:
            return None
        found = backend.get_object(bucket, key)
        return found is not None

    def bucket_policy(self, bucket: str) -> tuple[Statement, ...]:
        backend = s3_backends[self.account][self.partition]
        document = backend.buckets[bucket].policy if bucket in backend.buckets else None
        return statements(document.decode(), f"the policy of {bucket}") if document else ()

    def trust_policy(self, role_arn: str) -> tuple[Statement, ...] | None:
        """None: there is no such role."""
        role = self._get("get_role", role_arn.split("/")[-1])
        if not role or role.arn != role_arn:
            return None
        return statements(role.assume_role_policy_document, f"the trust policy of {role.name}")

    def role_statements(self, name: str) -> list[Statement]:
        role = self._get("get_role", name)
        return list(_statements(role)) if role else []

    def user_statements(self, name: str) -> list[Statement]:
        user = self._get("get_user", name)
        owners = [user, *self.iam.get_groups_for_user(name)] if user else []
        return [statement for owner in owners for statement in _statements(owner)]

    def _get(self, method: str, name: str) -> Any:
        try:
            return getattr(self.iam, method)(name)
        except _MISSING:
            return None


def _statements(owner: Any) -> Iterator[Statement]:
    """Of a role, user or group: its inline policies and those attached to it."""
    for name, document in owner.policies.items():
        yield from statements(document, name)
    for policy in owner.managed_policies.values():
        document = next(version.document for version in policy.versions if version.is_default)
        yield from statements(document, str(policy.name))
