"""What AWS answers to one call, from every policy that has a say in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from infra.local.iam.policy import Call, Caller, Statement, evaluate, names


@dataclass(frozen=True)
class Policies:
    """Those of the caller, those of a bucket, and the trust policy where a role is asked for."""

    identity: Sequence[Statement]
    resource: Sequence[Statement] = ()
    trust: Sequence[Statement] | None = None


@dataclass(frozen=True)
class Verdict:
    call: Call
    allowed: bool
    why: str  # for people: what allows or refuses it
    clause: str  # the end of AWS's sentence
    used: tuple[Statement, ...] = ()  # of the caller's own statements


def judge(call: Call, caller: Caller, policies: Policies) -> Verdict:
    """Within one account: a bucket policy that names the caller is enough of a grant, one that
    names the account leaves it to the caller's policies.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-basics.html
    The sentences: https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
    """
    identity = evaluate(policies.identity, call)
    resource = evaluate(policies.resource, call, caller)
    trust = evaluate(policies.trust or (), call, caller)
    for decision, where in (
        (identity, "an identity-based policy"),
        (resource, "a resource-based policy"),
        (trust, "the role trust policy"),
    ):
        if decision.denied_by:
            why = f"denied by {_which(decision.denied_by)}"
            return Verdict(call, False, why, f"with an explicit deny in {where}")
    if policies.trust is not None and not trust.allowed:
        why = "the role's trust policy does not name the caller"
        return Verdict(
            call, False, why, f"because no role trust policy allows the {call.action} action"
        )
    direct = [s for s in resource.allowed_by + trust.allowed_by if names(s, caller)]
    if not identity.allowed and not direct:
        return Verdict(
            call,
            False,
            "no statement allows it",
            f"because no identity-based policy allows the {call.action} action",
        )
    allowing = identity.allowed_by or tuple(direct)
    return Verdict(call, True, f"allowed by {_which(allowing)}", "", identity.allowed_by)


def sentence(verdict: Verdict, caller: Caller) -> str:
    """The refusal in AWS's words. S3 puts the resource in quotation marks."""
    call = verdict.call
    resource = f'"{call.resource}"' if call.action.startswith("s3:") else call.resource
    return (
        f"User: {caller.arn} is not authorized to perform: {call.action} "
        f"on resource: {resource} {verdict.clause}"
    )


def _which(statements: Sequence[Statement]) -> str:
    return ", ".join(f"{s.label} of {s.policy}" for s in statements)
