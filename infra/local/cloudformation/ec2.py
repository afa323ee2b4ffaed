"""AWS::EC2: a VPC and what is in it."""

from __future__ import annotations

from typing import Any

from infra.local.cloudformation.api import Api, Props, only, without
from infra.local.cloudformation.ec2_rules import RULE_KINDS
from infra.local.cloudformation.kind import Kind, id_as


def _tag(api: Api, physical_id: str, new: Props, old: Props | None = None) -> None:
    gone = _keys(old or {}) - _keys(new)
    if gone:
        tags = [{"Key": key} for key in sorted(gone)]
        api.call("ec2", "delete_tags", Resources=[physical_id], Tags=tags)
    if new.get("Tags"):
        api.call("ec2", "create_tags", Resources=[physical_id], Tags=new["Tags"])


def _keys(properties: Props) -> set[str]:
    return {tag["Key"] for tag in properties.get("Tags", [])}


# --- VPC -----------------------------------------------------------------------------------------

_DNS = ("EnableDnsSupport", "EnableDnsHostnames")


def _create_vpc(api: Api, p: Props) -> str:
    vpc: str = api.call("ec2", "create_vpc", **without(p, "Tags", *_DNS))["Vpc"]["VpcId"]
    _update_vpc(api, vpc, p, {})
    return vpc


def _update_vpc(api: Api, vpc: str, p: Props, old: Props) -> None:
    for name, default in zip(_DNS, (True, False), strict=True):  # what AWS sets without it
        value = {"Value": p.get(name, default)}
        api.call("ec2", "modify_vpc_attribute", VpcId=vpc, **{name: value})
    _tag(api, vpc, p, old)


def _vpc_attributes(api: Api, vpc: str, p: Props) -> dict[str, Any]:
    filters = [{"Name": "vpc-id", "Values": [vpc]}]
    default = [*filters, {"Name": "group-name", "Values": ["default"]}]
    groups = api.call("ec2", "describe_security_groups", Filters=default)["SecurityGroups"]
    acls = api.call("ec2", "describe_network_acls", Filters=filters)["NetworkAcls"]
    return {
        "VpcId": vpc,
        "CidrBlock": p.get("CidrBlock"),
        "DefaultSecurityGroup": groups[0]["GroupId"] if groups else None,
        "DefaultNetworkAcl": acls[0]["NetworkAclId"] if acls else None,
    }


# --- subnet --------------------------------------------------------------------------------------


def _create_subnet(api: Api, p: Props) -> str:
    answer = api.call("ec2", "create_subnet", **without(p, "Tags", "MapPublicIpOnLaunch"))
    subnet: str = answer["Subnet"]["SubnetId"]
    _update_subnet(api, subnet, p, {})
    return subnet


def _update_subnet(api: Api, subnet: str, p: Props, old: Props) -> None:
    public = {"Value": p.get("MapPublicIpOnLaunch", False)}
    api.call("ec2", "modify_subnet_attribute", SubnetId=subnet, MapPublicIpOnLaunch=public)
    _tag(api, subnet, p, old)


def _subnet_attributes(api: Api, subnet: str, _: Props) -> dict[str, Any]:
    found = api.call("ec2", "describe_subnets", SubnetIds=[subnet])["Subnets"][0]
    return only(found, "SubnetId", "VpcId", "CidrBlock", "AvailabilityZone", "AvailabilityZoneId")


# --- routes --------------------------------------------------------------------------------------

_DESTINATIONS = ("DestinationCidrBlock", "DestinationIpv6CidrBlock", "DestinationPrefixListId")


def _create_route_table(api: Api, p: Props) -> str:
    answer = api.call("ec2", "create_route_table", VpcId=p["VpcId"])
    table: str = answer["RouteTable"]["RouteTableId"]
    _tag(api, table, p)
    return table


def _create_route(api: Api, p: Props) -> str:
    api.call("ec2", "create_route", **p)
    return "|".join([p["RouteTableId"], *only(p, *_DESTINATIONS).values()])


def _delete_route(api: Api, _: str, p: Props) -> None:
    api.call("ec2", "delete_route", **only(p, "RouteTableId", *_DESTINATIONS))


def _associate(api: Api, p: Props) -> str:
    return str(api.call("ec2", "associate_route_table", **p)["AssociationId"])


# --- gateways and endpoints ----------------------------------------------------------------------


def _create_gateway(api: Api, p: Props) -> str:
    answer = api.call("ec2", "create_internet_gateway")
    gateway: str = answer["InternetGateway"]["InternetGatewayId"]
    _tag(api, gateway, p)
    return gateway


def _attach(api: Api, p: Props) -> str:
    api.call("ec2", "attach_internet_gateway", **p)
    return f"IGW|{p['VpcId']}"


def _allocate(api: Api, p: Props) -> str:
    answer = api.call("ec2", "allocate_address", Domain="vpc", **without(p, "Domain", "Tags"))
    _tag(api, answer["AllocationId"], p)
    return str(answer["PublicIp"])


def _allocation(api: Api, ip: str) -> str:
    return str(
        api.call("ec2", "describe_addresses", PublicIps=[ip])["Addresses"][0]["AllocationId"]
    )


def _create_nat(api: Api, p: Props) -> str:
    answer = api.call("ec2", "create_nat_gateway", **without(p, "Tags"))
    nat: str = answer["NatGateway"]["NatGatewayId"]
    _tag(api, nat, p)
    return nat


def _create_endpoint(api: Api, p: Props) -> str:
    answer = api.call("ec2", "create_vpc_endpoint", **without(p, "Tags"))
    endpoint: str = answer["VpcEndpoint"]["VpcEndpointId"]
    _tag(api, endpoint, p)
    return endpoint


def _update_endpoint(api: Api, endpoint: str, p: Props, old: Props) -> None:
    changes: Props = only(p, "PolicyDocument", "PrivateDnsEnabled")
    for name in ("RouteTableIds", "SubnetIds", "SecurityGroupIds"):
        new, was = set(p.get(name, [])), set(old.get(name, []))
        changes |= {f"Add{name}": sorted(new - was), f"Remove{name}": sorted(was - new)}
    changes = {name: value for name, value in changes.items() if value != []}
    if changes:
        api.call("ec2", "modify_vpc_endpoint", VpcEndpointId=endpoint, **changes)
    _tag(api, endpoint, p, old)


KINDS = (
    Kind(
        "AWS::EC2::VPC",
        _create_vpc,
        lambda api, vpc, _: api.call("ec2", "delete_vpc", VpcId=vpc),
        _update_vpc,
        _vpc_attributes,
        fixed=("CidrBlock", "InstanceTenancy"),
    ),
    Kind(
        "AWS::EC2::Subnet",
        _create_subnet,
        lambda api, subnet, _: api.call("ec2", "delete_subnet", SubnetId=subnet),
        _update_subnet,
        _subnet_attributes,
        fixed=("VpcId", "CidrBlock", "AvailabilityZone", "AvailabilityZoneId"),
    ),
    Kind(
        "AWS::EC2::RouteTable",
        _create_route_table,
        lambda api, table, _: api.call("ec2", "delete_route_table", RouteTableId=table),
        _tag,
        id_as("RouteTableId"),
        fixed=("VpcId",),
    ),
    Kind(
        "AWS::EC2::Route",
        _create_route,
        _delete_route,
        lambda api, _, p, _old: api.call("ec2", "replace_route", **p),
        fixed=("RouteTableId", *_DESTINATIONS),
    ),
    Kind(
        "AWS::EC2::SubnetRouteTableAssociation",
        _associate,
        lambda api, it, _: api.call("ec2", "disassociate_route_table", AssociationId=it),
        attributes=id_as("Id"),
    ),
    Kind(
        "AWS::EC2::InternetGateway",
        _create_gateway,
        lambda api, it, _: api.call("ec2", "delete_internet_gateway", InternetGatewayId=it),
        _tag,
        id_as("InternetGatewayId"),
    ),
    Kind(
        "AWS::EC2::VPCGatewayAttachment",
        _attach,
        lambda api, _, p: api.call("ec2", "detach_internet_gateway", **p),
    ),
    Kind(
        "AWS::EC2::EIP",
        _allocate,
        lambda api, ip, _: api.call("ec2", "release_address", AllocationId=_allocation(api, ip)),
        lambda api, ip, p, old: _tag(api, _allocation(api, ip), p, old),
        lambda api, ip, _: {"PublicIp": ip, "AllocationId": _allocation(api, ip)},
    ),
    Kind(
        "AWS::EC2::NatGateway",
        _create_nat,
        lambda api, it, _: api.call("ec2", "delete_nat_gateway", NatGatewayId=it),
        _tag,
        id_as("NatGatewayId"),
        fixed=("SubnetId", "AllocationId", "ConnectivityType", "PrivateIpAddress"),
    ),
    Kind(
        "AWS::EC2::VPCEndpoint",
        _create_endpoint,
        lambda api, it, _: api.call("ec2", "delete_vpc_endpoints", VpcEndpointIds=[it]),
        _update_endpoint,
        id_as("Id"),
        fixed=("VpcId", "ServiceName", "VpcEndpointType"),
    ),
    *RULE_KINDS,
)
