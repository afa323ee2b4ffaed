"""A VPC of public subnets in two zones, S3 at no charge, and no door in.

Tasks have public addresses and no open port: a NAT gateway would cost more than the jobs. With
`network = "private"` they have none, and the NAT gateway is there.
"""

from __future__ import annotations

from dataclasses import dataclass

from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from infra.settings import Settings

PREFECT_PORT = 4200


@dataclass(frozen=True)
class Network:
    vpc: ec2.Vpc
    subnet_ids: list[str]
    assign_public_ip: str  # ENABLED or DISABLED, as ECS has it
    jobs: ec2.SecurityGroup
    orchestrator: ec2.SecurityGroup


def network(scope: Construct, settings: Settings) -> Network:
    private = settings.network == "private"
    subnets = [_subnets("public", ec2.SubnetType.PUBLIC)]
    if private:
        subnets.append(_subnets("private", ec2.SubnetType.PRIVATE_WITH_EGRESS))
    vpc = ec2.Vpc(
        scope,
        "Vpc",
        vpc_name=settings.installation,
        ip_addresses=ec2.IpAddresses.cidr("10.0.0.0/16"),
        max_azs=2,
        nat_gateways=1 if private else 0,
        subnet_configuration=subnets,
        gateway_endpoints={
            "S3": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.S3)
        },
        restrict_default_security_group=False,  # a Lambda would do it; nothing uses that group
    )
    jobs = _security_group(scope, "JobSecurityGroup", vpc, f"{settings.installation}: jobs")
    orchestrator = _security_group(
        scope, "OrchestratorSecurityGroup", vpc, f"{settings.installation}: orchestrator"
    )
    for port in settings.egress_ports:
        jobs.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(port), "what jobs connect to")
    orchestrator.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(443), "AWS's APIs")
    if settings.orchestrator != "external":
        api = ec2.Port.tcp(PREFECT_PORT)
        orchestrator.add_ingress_rule(jobs, api, "Prefect's API, for jobs alone")
        jobs.add_egress_rule(orchestrator, api, "Prefect's API")
    return Network(
        vpc,
        [subnet.subnet_id for subnet in (vpc.private_subnets if private else vpc.public_subnets)],
        "DISABLED" if private else "ENABLED",
        jobs,
        orchestrator,
    )


def _subnets(name: str, kind: ec2.SubnetType) -> ec2.SubnetConfiguration:
    # Tasks ask for an address themselves; nothing else that is put here gets one.
    public = False if kind == ec2.SubnetType.PUBLIC else None
    return ec2.SubnetConfiguration(
        name=name, subnet_type=kind, cidr_mask=20, map_public_ip_on_launch=public
    )


def _security_group(scope: Construct, id: str, vpc: ec2.Vpc, about: str) -> ec2.SecurityGroup:
    return ec2.SecurityGroup(
        scope, id, vpc=vpc, description=about, allow_all_outbound=False, disable_inline_rules=True
    )
