"""Who may read and write what, in plain words, and what changes against what is deployed.

Markdown, made for a pull request.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from deployments.declared import Data, Deployment
from infra import grants, policies
from infra.execute import Account
from infra.extra import Extra
from infra.names import Names
from infra.settings import Settings

Policies = Mapping[str, frozenset[str]]  # a role's name: its policy, a line for each action


def in_words(names: Names, deployment: Deployment, extras: Sequence[Extra]) -> str:
    """What one deployment may do, and why."""
    may = [_data_in_words(names, data) for data in deployment.data]
    for extra in extras:
        if extra.deployment == deployment.name:
            on = ", ".join(f"`{resource}`" for resource in extra.resources)
            may.append(f"- also: {', '.join(extra.actions)} on {on}, because: {extra.reason}")
    head = [f"### {deployment.name}"]
    if deployment.description:
        head.append(deployment.description)
    return "\n".join([*head, "", *may, "- nothing else" if may else "- nothing"])


def _data_in_words(names: Names, data: Data) -> str:
    verbs = " and ".join(
        verb for verb, may in (("reads", data.read), ("writes", data.write)) if may
    )
    own = data.bucket == grants.DATA_BUCKET
    address = f"s3://{names.bucket('data') if own else data.bucket}/{data.key}"
    return f"- {verbs} `{address}`: its parameter `{data.parameter}`"


def declared_policies(
    names: Names,
    settings: Settings,
    deployments: Sequence[Deployment],
    extras: Sequence[Extra],
) -> Policies:
    """What the roles of this installation are to be."""
    jobs = grants.job_roles(names, deployments, extras)
    found = {}
    for role in (*grants.own_roles(names, settings, jobs), *jobs):
        more = [policies.allow("Extra", e.actions, e.resources) for e in role.extras]
        found[names.role(role.name)] = frozenset(_lines([*role.statements, *more]))
    return found


def deployed_policies(account: Account, names: Names) -> Policies:
    """What the roles of this installation are, as IAM has them. Raises ClientError."""
    iam = account.client("iam")
    pages = account.client("cloudformation").get_paginator("list_stack_resources")
    roles = [
        resource["PhysicalResourceId"]
        for page in pages.paginate(StackName=names.identity_stack)
        for resource in page["StackResourceSummaries"]
        if resource["ResourceType"] == "AWS::IAM::Role"
    ]
    return {role: frozenset(_lines(_statements(iam, role))) for role in roles}


def _statements(iam: Any, role: str) -> list[policies.Statement]:
    documents = [
        iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]
    ]
    for attached in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
        arn = attached["PolicyArn"]
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        policy = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]
        documents.append(policy["Document"])
    return [s for document in map(_parsed, documents) for s in _listed(document["Statement"])]


def _parsed(document: Any) -> Any:
    return json.loads(document) if isinstance(document, str) else document


def _lines(statements: Iterable[policies.Statement]) -> Iterable[str]:
    """One line for each effect, action, resource and condition: what a diff should compare."""
    for statement in statements:
        condition = _condition(statement.get("Condition") or {})
        for action in _listed(statement["Action"]):
            for resource in _listed(statement["Resource"]):
                yield f"{statement['Effect'].lower()} {action} on {resource}{condition}"


def _condition(condition: Mapping[str, Mapping[str, Any]]) -> str:
    parts = [
        f"{key} {operator} {', '.join(_listed(values))}"
        for operator, keys in condition.items()
        for key, values in keys.items()
    ]
    return f", if {' and '.join(sorted(parts))}" if parts else ""


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def difference(declared: Policies, deployed: Policies) -> str:
    """As a diff: what would be added, and what would be taken away."""
    lines = []
    for role in sorted({*declared, *deployed}):
        new, old = declared.get(role, frozenset()), deployed.get(role, frozenset())
        changes = [
            *(f"- {line}" for line in sorted(old - new)),
            *(f"+ {line}" for line in sorted(new - old)),
        ]
        if changes:
            state = " (new)" if role not in deployed else " (goes)" if role not in declared else ""
            lines += [f"@@ {role}{state} @@", *changes]
    return "\n".join(["```diff", *lines, "```"]) if lines else "None."


def compared(
    settings: Settings,
    deployments: Sequence[Deployment],
    extras: Sequence[Extra],
    account: Account,
) -> str:
    """The difference to what is deployed in the account."""
    names = Names(settings.installation, settings.region, account.id)
    try:
        deployed = deployed_policies(account, names)
    except ClientError as error:
        if "does not exist" not in str(error):
            return f"Not known: {error}"
        deployed = {}  # nothing is deployed
    return difference(declared_policies(names, settings, deployments, extras), deployed)
