"""Every role of `grants`, made: an inline policy for what it is for, and for each extra a managed
policy whose description is the reason that was given.
"""

from __future__ import annotations

from aws_cdk import aws_iam as iam
from constructs import Construct

from infra import policies, reviewed
from infra.grants import Role
from infra.names import Names, logical_id
from infra.substitute import sub_all


def make_role(scope: Construct, names: Names, role: Role) -> iam.CfnRole:
    made = iam.CfnRole(
        scope,
        logical_id(role.name) + "Role",
        role_name=names.role(role.name),
        description=role.description,
        assume_role_policy_document=sub_all(
            policies.trust(role.service, names.account, role.source_arn)
        ),
        policies=[
            iam.CfnRole.PolicyProperty(
                policy_name="access", policy_document=sub_all(policies.document(role.statements))
            )
        ],
    )
    for statement in role.statements:
        if statement["Effect"] == "Allow":
            reviewed.wildcards(made, statement, policies.wildcard)
    for number, extra in enumerate(role.extras, start=1):
        statement = policies.allow("Extra", extra.actions, extra.resources)
        policy = iam.CfnManagedPolicy(
            scope,
            f"{logical_id(role.name)}Extra{number}",
            description=extra.reason,
            policy_document=sub_all(policies.document([statement])),
            roles=[made.ref],
        )
        reviewed.wildcards(policy, statement, lambda *_, e=extra: e.reason)
    return made
