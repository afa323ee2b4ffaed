"""Whether a role may do what there is no API call for here."""

from __future__ import annotations

from infra.local.iam.moto_account import MotoAccount
from infra.local.iam.policy import Call, Caller
from infra.local.iam.record import Record
from infra.local.iam.verdict import Policies, judge, sentence


def ask(record: Record | None, role_arn: str, action: str, resource: str) -> str:
    """'', or the refusal in AWS's words; it counts in the record like a call. Without a record
    nothing is enforced.
    """
    if record is None:
        return ""
    account, name = role_arn.split(":")[4], role_arn.split("/")[-1]
    region = resource.split(":")[3] or "us-east-1"
    caller = Caller(account=account, arn=role_arn, role_arn=role_arn)
    known = MotoAccount(account, region)
    verdict = judge(Call(action, resource), caller, Policies(known.role_statements(name)))
    record.add(name, [verdict], role=True)
    return "" if verdict.allowed else sentence(verdict, caller)
