"""AWS::IAM: roles, and the policies they carry."""

from __future__ import annotations

from typing import Any

from infra.local.cloudformation.api import Api, Props, found, only, without
from infra.local.cloudformation.kind import Kind, id_as

_ROLE = ("AssumeRolePolicyDocument", "RoleName", "Path", "Description", "MaxSessionDuration")
_MOST_VERSIONS = 5  # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html


def _policies(p: Props) -> dict[str, Any]:
    return {policy["PolicyName"]: policy["PolicyDocument"] for policy in p.get("Policies", [])}


def _create_role(api: Api, p: Props) -> str:
    name: str = p["RoleName"]
    own = only(p, *_ROLE, "PermissionsBoundary", "Tags")
    api.call("iam", "create_role", **own)
    _policies_of_role(api, name, p, {})
    return name


def _update_role(api: Api, name: str, p: Props, old: Props) -> None:
    if p["AssumeRolePolicyDocument"] != old.get("AssumeRolePolicyDocument"):
        trust = p["AssumeRolePolicyDocument"]
        api.call("iam", "update_assume_role_policy", RoleName=name, PolicyDocument=trust)
    hour = p.get("MaxSessionDuration", 3600)
    about = p.get("Description", "")
    api.call("iam", "update_role", RoleName=name, Description=about, MaxSessionDuration=hour)
    _policies_of_role(api, name, p, old)
    boundary = p.get("PermissionsBoundary")
    if boundary and boundary != old.get("PermissionsBoundary"):
        operation = "put_role_permissions_boundary"
        api.call("iam", operation, RoleName=name, PermissionsBoundary=boundary)
    elif old.get("PermissionsBoundary") and not boundary:
        api.call("iam", "delete_role_permissions_boundary", RoleName=name)
    gone = {t["Key"] for t in old.get("Tags", [])} - {t["Key"] for t in p.get("Tags", [])}
    if gone:
        api.call("iam", "untag_role", RoleName=name, TagKeys=sorted(gone))
    if p.get("Tags"):
        api.call("iam", "tag_role", RoleName=name, Tags=p["Tags"])


def _policies_of_role(api: Api, name: str, p: Props, old: Props) -> None:
    """Only what this resource gave is taken back: others may attach policies to the role too."""
    arns, old_arns = set(p.get("ManagedPolicyArns", [])), set(old.get("ManagedPolicyArns", []))
    for arn in sorted(old_arns - arns):
        api.call("iam", "detach_role_policy", RoleName=name, PolicyArn=arn)
    for arn in sorted(arns - old_arns):
        api.call("iam", "attach_role_policy", RoleName=name, PolicyArn=arn)
    inline, old_inline = _policies(p), _policies(old)
    for policy in old_inline.keys() - inline.keys():
        api.call("iam", "delete_role_policy", RoleName=name, PolicyName=policy)
    for policy, document in inline.items():
        if document != old_inline.get(policy):
            given = {"PolicyName": policy, "PolicyDocument": document}
            api.call("iam", "put_role_policy", RoleName=name, **given)


def _delete_role(api: Api, name: str, p: Props) -> None:
    _policies_of_role(api, name, {}, p)
    api.call("iam", "delete_role", RoleName=name)


def _find_role(api: Api, name: str, _: Props) -> str | None:
    return name if found(lambda: api.call("iam", "get_role", RoleName=name)) else None


def _role_attributes(api: Api, name: str, _: Props) -> dict[str, Any]:
    return only(api.call("iam", "get_role", RoleName=name)["Role"], "Arn", "RoleId")


# --- inline policies of their own ----------------------------------------------------------------


def _put_inline(api: Api, p: Props) -> str:
    _update_inline(api, "", p, {})
    return str(p["PolicyName"])


def _update_inline(api: Api, _: str, p: Props, old: Props) -> None:
    for role in p.get("Roles", []):
        given = {"PolicyName": p["PolicyName"], "PolicyDocument": p["PolicyDocument"]}
        api.call("iam", "put_role_policy", RoleName=role, **given)
    gone = set(old.get("Roles", [])) - set(p.get("Roles", []))
    _delete_inline(api, "", old | {"Roles": sorted(gone)})


def _delete_inline(api: Api, _: str, p: Props) -> None:
    for role in p.get("Roles", []):
        call = {"RoleName": role, "PolicyName": p["PolicyName"]}
        found(lambda call=call: api.call("iam", "delete_role_policy", **call))  # type: ignore[misc]


# --- managed policies ----------------------------------------------------------------------------


def _create_managed(api: Api, p: Props) -> str:
    own = without(p, "ManagedPolicyName", "Roles", "Users", "Groups")
    answer = api.call("iam", "create_policy", PolicyName=p["ManagedPolicyName"], **own)
    arn: str = answer["Policy"]["Arn"]
    _attach(api, arn, p, {})
    return arn


def _attach(api: Api, arn: str, p: Props, old: Props) -> None:
    for whom in ("Role", "User", "Group"):
        new, was = set(p.get(f"{whom}s", [])), set(old.get(f"{whom}s", []))
        for names, what in ((was - new, "detach"), (new - was, "attach")):
            for name in sorted(names):
                operation = f"{what}_{whom.lower()}_policy"
                api.call("iam", operation, PolicyArn=arn, **{f"{whom}Name": name})


def _update_managed(api: Api, arn: str, p: Props, old: Props) -> None:
    if p["PolicyDocument"] != old.get("PolicyDocument"):
        former = _former_versions(api, arn)
        if len(former) == _MOST_VERSIONS - 1:
            oldest = min(former, key=lambda version: version["CreateDate"])["VersionId"]
            api.call("iam", "delete_policy_version", PolicyArn=arn, VersionId=oldest)
        document = {"PolicyDocument": p["PolicyDocument"], "SetAsDefault": True}
        api.call("iam", "create_policy_version", PolicyArn=arn, **document)
    _attach(api, arn, p, old)


def _former_versions(api: Api, arn: str) -> list[Any]:
    versions = api.call("iam", "list_policy_versions", PolicyArn=arn)["Versions"]
    return [version for version in versions if not version["IsDefaultVersion"]]


def _delete_managed(api: Api, arn: str, p: Props) -> None:
    _attach(api, arn, {}, p)
    for version in _former_versions(api, arn):
        call = {"PolicyArn": arn, "VersionId": version["VersionId"]}
        api.call("iam", "delete_policy_version", **call)
    api.call("iam", "delete_policy", PolicyArn=arn)


KINDS = (
    Kind(
        "AWS::IAM::Role",
        _create_role,
        _delete_role,
        _update_role,
        _role_attributes,
        fixed=("Path",),
        name="RoleName",
        known=(*_ROLE, "PermissionsBoundary", "Tags", "ManagedPolicyArns", "Policies"),
        find=_find_role,
        importable=True,
    ),
    Kind(
        "AWS::IAM::Policy",
        _put_inline,
        _delete_inline,
        _update_inline,
        fixed=("PolicyName",),
        known=("PolicyName", "PolicyDocument", "Roles"),
    ),
    Kind(
        "AWS::IAM::ManagedPolicy",
        _create_managed,
        _delete_managed,
        _update_managed,
        id_as("PolicyArn"),
        fixed=("Path", "Description"),
        name="ManagedPolicyName",
    ),
)
