"""The cluster, its logs, and the orchestrator: a service of one small task, or of none.

The service's desired count is not in the template, so that an update leaves a sleeping orchestrator
asleep and a working one awake. Only the first deployment says 0: there is no image yet.
"""

from __future__ import annotations

from typing import Any

from aws_cdk import RemovalPolicy
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_logs as logs
from constructs import Construct

from deployments.outputs import LIVE
from deployments.work_pool import SCRATCH
from infra.names import SERVICE, Names
from infra.network import PREFECT_PORT, Network
from infra.settings import Settings
from infra.substitute import sub

LOGS = ("jobs", "orchestrator", "build")

# Where the agent of ECS Exec writes, which ECS runs in the container as root. AWS supports it on a
# root file system that can be written to; with volumes here it has done with a read-only one:
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-exec.html
# https://github.com/aws/containers-roadmap/issues/1359
# Where it does not start, the task runs on, and only the tunnel to the live UI is missing.
_AGENT = {"agent-state": "/var/lib/amazon", "agent-log": "/var/log/amazon"}


def cluster(scope: Construct, settings: Settings) -> ecs.CfnCluster:
    made = ecs.CfnCluster(
        scope,
        "Cluster",
        cluster_name=settings.installation,
        cluster_settings=[  # Container Insights bills each metric
            ecs.CfnCluster.ClusterSettingsProperty(name="containerInsights", value="disabled")
        ],
    )
    ecs.CfnClusterCapacityProviderAssociations(
        scope,
        "CapacityProviders",
        cluster=made.ref,
        capacity_providers=["FARGATE", "FARGATE_SPOT"],
        default_capacity_provider_strategy=[],
    )
    return made


def log_groups(scope: Construct, settings: Settings, names: Names) -> dict[str, logs.CfnLogGroup]:
    groups = {}
    for of in LOGS:
        group = logs.CfnLogGroup(
            scope,
            f"{of.title()}Log",
            log_group_name=names.log_group(of),
            retention_in_days=settings.log_retention_days,
        )
        group.apply_removal_policy(RemovalPolicy.DESTROY)
        groups[of] = group
    return groups


def orchestrator(
    scope: Construct,
    settings: Settings,
    names: Names,
    *,
    cluster: ecs.CfnCluster,
    network: Network,
    images: ecr.Repository,
    log: logs.CfnLogGroup,
    first: bool,
) -> ecs.CfnService:
    own_server = settings.orchestrator != "external"
    volumes = {"scratch": SCRATCH, **(_AGENT if own_server else {})}
    definition = ecs.CfnTaskDefinition(
        scope,
        "OrchestratorTask",
        family=f"{settings.installation}-{SERVICE}",
        cpu="512",
        memory="1024",
        network_mode="awsvpc",
        requires_compatibilities=["FARGATE"],
        runtime_platform=ecs.CfnTaskDefinition.RuntimePlatformProperty(
            cpu_architecture="ARM64", operating_system_family="LINUX"
        ),
        execution_role_arn=sub(names.role_arn("execution")),
        task_role_arn=sub(names.role_arn("orchestrator")),
        volumes=[ecs.CfnTaskDefinition.VolumeProperty(name=name) for name in volumes],
        container_definitions=[
            ecs.CfnTaskDefinition.ContainerDefinitionProperty(
                name=SERVICE,
                image=images.repository_uri_for_tag(LIVE),
                # Each wake-up asks anew what `live` is; ECS would keep the first answer:
                # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-ecs.html
                version_consistency="disabled",
                command=["python", "-m", "deployments.orchestrator"],
                environment=_environment(settings),
                secrets=_secrets(settings, names),
                port_mappings=_ports(settings) or None,
                readonly_root_filesystem=True,
                mount_points=[
                    ecs.CfnTaskDefinition.MountPointProperty(
                        source_volume=name, container_path=path, read_only=False
                    )
                    for name, path in volumes.items()
                ],
                linux_parameters=ecs.CfnTaskDefinition.LinuxParametersProperty(
                    init_process_enabled=True
                ),
                stop_timeout=120,  # Fargate's most: time to bring the database home
                log_configuration=ecs.CfnTaskDefinition.LogConfigurationProperty(
                    log_driver="awslogs",
                    options={
                        "awslogs-group": log.ref,
                        "awslogs-region": settings.region,
                        "awslogs-stream-prefix": SERVICE,
                    },
                ),
            )
        ],
    )
    return ecs.CfnService(
        scope,
        "Orchestrator",
        service_name=SERVICE,
        cluster=cluster.ref,
        task_definition=definition.ref,
        desired_count=0 if first else None,
        launch_type="FARGATE",  # on demand: it holds the history
        # At most one orchestrator writes the database: the old one ends before a new one starts. No
        # circuit breaker: a deployment that it has failed starts nothing any more, whatever the
        # desired count, so that three starts without capacity would be the end of every wake-up.
        # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Deployment.html
        deployment_configuration=ecs.CfnService.DeploymentConfigurationProperty(
            minimum_healthy_percent=0, maximum_percent=100
        ),
        enable_execute_command=own_server or None,  # the tunnel to the live UI, with no port open
        network_configuration=ecs.CfnService.NetworkConfigurationProperty(
            awsvpc_configuration=ecs.CfnService.AwsVpcConfigurationProperty(
                subnets=network.subnet_ids,
                security_groups=[network.orchestrator.security_group_id],
                assign_public_ip=network.assign_public_ip,
            )
        ),
        enable_ecs_managed_tags=True,
        propagate_tags="SERVICE",
    )


def _environment(settings: Settings) -> list[Any]:
    """What the orchestrator cannot ask the stack's outputs. Little, and seldom changed: another
    value here is another task definition, and restarts an orchestrator that is awake.
    """
    values = {
        "NIGHTSHIFT_STACK": settings.installation,
        "NIGHTSHIFT_ORCHESTRATOR": settings.orchestrator,
        "AWS_DEFAULT_REGION": settings.region,
        "NIGHTSHIFT_WAKE_LEAD": str(settings.wake_lead_seconds),
        "NIGHTSHIFT_OVERDUE_MINUTES": str(settings.overdue_minutes),
        "NIGHTSHIFT_HISTORY_DAYS": str(settings.history_days),
    }
    if settings.orchestrator == "external":
        values["PREFECT_API_URL"] = settings.prefect_api_url
    return [
        ecs.CfnTaskDefinition.KeyValuePairProperty(name=name, value=value)
        for name, value in values.items()
    ]


def _secrets(settings: Settings, names: Names) -> list[Any]:
    external = ("PREFECT_API_KEY",)
    own = ("PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING")
    return [
        ecs.CfnTaskDefinition.SecretProperty(name=name, value_from=sub(names.secret_arn))
        for name in (external if settings.orchestrator == "external" else own)
    ]


def _ports(settings: Settings) -> list[Any]:
    if settings.orchestrator == "external":
        return []
    return [ecs.CfnTaskDefinition.PortMappingProperty(container_port=PREFECT_PORT, protocol="tcp")]
