"""AWS::EC2: security groups, with their rules inside or on their own."""

from __future__ import annotations

from typing import Any

from infra.local.cloudformation.api import Api, Props
from infra.local.cloudformation.kind import Kind, id_as

_WAYS = {"SecurityGroupIngress": "ingress", "SecurityGroupEgress": "egress"}
_PORTS = ("IpProtocol", "FromPort", "ToPort")
_TARGETS = {
    "CidrIp": ("IpRanges", "CidrIp"),
    "CidrIpv6": ("Ipv6Ranges", "CidrIpv6"),
    "SourceSecurityGroupId": ("UserIdGroupPairs", "GroupId"),
    "DestinationSecurityGroupId": ("UserIdGroupPairs", "GroupId"),
    "SourcePrefixListId": ("PrefixListIds", "PrefixListId"),
    "DestinationPrefixListId": ("PrefixListIds", "PrefixListId"),
}
# What AWS puts into a new group. CloudFormation takes it out when the template has another rule for
# egress, inside the group or on its own: https://github.com/aws/aws-cdk/issues/987
_EVERYTHING = {"IpProtocol": "-1", "CidrIp": "0.0.0.0/0"}


def _permission(rule: Props) -> Props:
    permission: Props = {}
    for name, value in rule.items():
        if name in _PORTS:
            permission[name] = value
        elif name in _TARGETS:
            group, key = _TARGETS[name]
            about = {"Description": rule["Description"]} if "Description" in rule else {}
            permission[group] = [{key: value, **about}]
        elif name not in ("Description", "GroupId", "SourceSecurityGroupOwnerId"):
            raise ValueError(f"Encountered unsupported property {name}")
    return permission


def _change(api: Api, what: str, way: str, group: str, rules: list[Props]) -> list[Any]:
    if not rules:
        return []
    permissions = [_permission(rule) for rule in rules]
    operation = f"{what}_security_group_{way}"
    answer = api.call("ec2", operation, GroupId=group, IpPermissions=permissions)
    rules_made: list[Any] = answer.get("SecurityGroupRules", [])
    return rules_made


def _create_group(api: Api, p: Props) -> str:
    group: str = api.call(
        "ec2",
        "create_security_group",
        GroupName=p["GroupName"],
        Description=p["GroupDescription"],
        VpcId=p.get("VpcId"),
    )["GroupId"]
    _update_group(api, group, p, {})
    return group


def _update_group(api: Api, group: str, p: Props, old: Props) -> None:
    for name, way in _WAYS.items():
        new, was = p.get(name, []), old.get(name, [])
        _change(api, "revoke", way, group, [rule for rule in was if rule not in new])
        if new:
            _open_no_more(api, group, way)
        _change(api, "authorize", way, group, [rule for rule in new if rule not in was])
    gone = {t["Key"] for t in old.get("Tags", [])} - {t["Key"] for t in p.get("Tags", [])}
    if gone:
        tags = [{"Key": key} for key in sorted(gone)]
        api.call("ec2", "delete_tags", Resources=[group], Tags=tags)
    if p.get("Tags"):
        api.call("ec2", "create_tags", Resources=[group], Tags=p["Tags"])


def _open_no_more(api: Api, group: str, way: str) -> None:
    found = api.call("ec2", "describe_security_groups", GroupIds=[group])["SecurityGroups"][0]
    everything = [{"CidrIp": "0.0.0.0/0"}]
    if way == "egress" and any(
        rule["IpProtocol"] == "-1" and rule.get("IpRanges") == everything  # without a description
        for rule in found["IpPermissionsEgress"]
    ):
        _change(api, "revoke", way, group, [_EVERYTHING])


def _rule_kind(name: str) -> Kind:
    way = _WAYS[name]

    def create(api: Api, p: Props) -> str:
        _open_no_more(api, p["GroupId"], way)
        return str(_change(api, "authorize", way, p["GroupId"], [p])[0]["SecurityGroupRuleId"])

    def delete(api: Api, rule: str, p: Props) -> None:
        operation = f"revoke_security_group_{way}"
        api.call("ec2", operation, GroupId=p["GroupId"], SecurityGroupRuleIds=[rule])

    def update(api: Api, rule: str, p: Props, old: Props) -> None:  # noqa: ARG001
        operation = f"update_security_group_rule_descriptions_{way}"
        api.call("ec2", operation, GroupId=p["GroupId"], IpPermissions=[_permission(p)])

    return Kind(
        f"AWS::EC2::{name}",
        create,
        delete,
        update,
        id_as("Id"),
        fixed=("GroupId", *_PORTS, *_TARGETS),
    )


RULE_KINDS = (
    Kind(
        "AWS::EC2::SecurityGroup",
        _create_group,
        lambda api, group, _: api.call("ec2", "delete_security_group", GroupId=group),
        _update_group,
        lambda _, group, p: {"GroupId": group, "Id": group, "VpcId": p.get("VpcId")},
        fixed=("GroupDescription", "VpcId"),
        name="GroupName",
    ),
    *(_rule_kind(name) for name in _WAYS),
)
