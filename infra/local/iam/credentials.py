"""Credentials that moto knows, as keyword arguments of `boto3.client`."""

from __future__ import annotations

import json
from collections.abc import Mapping

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.iam.models import iam_backends
from moto.sts.models import sts_backends

from infra.local.iam.moto_account import MotoAccount
from infra.local.iam.policy import Call, Caller, Statement, evaluate

_ADMINISTRATOR = "administrator"
_EVERYTHING = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}


class NotTrusted(PermissionError):
    """A role's trust policy does not let the service have it."""


def administrator(account: str = DEFAULT_ACCOUNT_ID) -> dict[str, str]:
    """Of a user who may do everything, like the person who deploys."""
    iam = iam_backends[account]["aws"]
    if _ADMINISTRATOR not in iam.users:
        iam.create_user("us-east-1", _ADMINISTRATOR)
        iam.put_user_policy(_ADMINISTRATOR, "everything", json.dumps(_EVERYTHING))
        iam.create_access_key(_ADMINISTRATOR)
    key = iam.users[_ADMINISTRATOR].access_keys[0]
    return {
        "aws_access_key_id": key.access_key_id,
        "aws_secret_access_key": key.secret_access_key,
    }


def assume(
    role_arn: str,
    service: str | None = None,
    *,
    session: str = "session",
    context: Mapping[str, str | list[str]] | None = None,
    region: str = "us-east-1",
    seconds: int = 3600,
) -> dict[str, str]:
    """Of a session of the role, as AWS hands them to what `service` runs under it.

    `service` is the first that the trust policy names by default. `context` is what AWS would add
    of where the call comes from: aws:SourceAccount, aws:SourceArn.
    """
    account = role_arn.split(":")[4]
    trust = MotoAccount(account, region).trust_policy(role_arn)
    if trust is None:
        raise NotTrusted(f"there is no role {role_arn}")
    asking = service or _first_service(trust, role_arn)
    call = Call("sts:AssumeRole", role_arn, dict(context or {}))
    decision = evaluate(trust, call, Caller(service=asking))
    if not decision.allowed:
        given = ", ".join(f"{key}={value}" for key, value in call.context.items()) or "no context"
        raise NotTrusted(f"the trust policy of {role_arn} does not let {asking} have it ({given})")
    made = sts_backends[account]["aws"].assume_role(
        region_name=region,
        role_session_name=session,
        role_arn=role_arn,
        policy="",
        duration=seconds,
        external_id="",
    )
    return {
        "aws_access_key_id": made.access_key_id,
        "aws_secret_access_key": made.secret_access_key,
        "aws_session_token": made.session_token,
    }


def _first_service(trust: tuple[Statement, ...], role_arn: str) -> str:
    for statement in trust:
        for kind, name in statement.principals or ():
            if kind == "Service" and statement.allow:
                return name
    raise NotTrusted(f"the trust policy of {role_arn} names no service")
