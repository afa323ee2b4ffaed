"""One installation, put together: read it from the top.

Two stacks, neither of which needs anything beforehand (no bootstrap, no asset, no parameter): CDK
hands CloudFormation a template of up to 50 KiB as it is. The first has every role, so that what a
new deployment may do is all that a deployment changes; the second has everything else, and is left
alone. They know each other's parts by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import aws_cdk as cdk

from deployments.declared import Deployment
from infra import compute, grants, network, registry, release, storage, watch
from infra.extra import Extra
from infra.identity import make_role
from infra.names import SERVICE, TAG, WAKE_UP, WATCHDOG, Names, logical_id
from infra.settings import Settings
from infra.substitute import sub


def stacks(
    app: cdk.App,
    settings: Settings,
    deployments: Sequence[Deployment],
    extras: Sequence[Extra],
    *,
    first: bool = False,
    account: str = "",
) -> tuple[cdk.Stack, cdk.Stack]:
    """Who may do what, and all the rest. `first`: nothing of it is there yet. `account`: its
    number, if CloudFormation is to take up buckets that are there, which it knows by name alone.
    """
    names = Names(settings.installation, settings.region)
    identity = _stack(app, names.identity_stack, settings)
    rest = _stack(app, names.installation, settings)
    rest.add_stack_dependency(identity)
    _identity(identity, settings, names, deployments, extras)
    _rest(rest, settings, names, first, account)
    return identity, rest


def _stack(app: cdk.App, name: str, settings: Settings) -> cdk.Stack:
    return cdk.Stack(
        app,
        name,
        stack_name=name,
        description="Nightshift: daily batch jobs that cost pennies.",
        env=cdk.Environment(region=settings.region),
        synthesizer=cdk.LegacyStackSynthesizer(),
        tags={TAG: settings.installation},  # CloudFormation hands it on to what it makes
    )


def _identity(
    scope: cdk.Stack,
    settings: Settings,
    names: Names,
    deployments: Sequence[Deployment],
    extras: Sequence[Extra],
) -> None:
    jobs = grants.job_roles(names, deployments, extras)
    for role in grants.own_roles(names, settings, jobs):
        make_role(scope, names, role)
    for deployment, job in zip(deployments, jobs, strict=True):
        made = make_role(scope, names, job)
        words = logical_id(deployment.slug)
        output = cdk.CfnOutput(
            scope, f"{words}Output", value=made.attr_arn, description=deployment.name
        )
        output.override_logical_id(words)


def _rest(scope: cdk.Stack, settings: Settings, names: Names, first: bool, account: str) -> None:
    net = network.network(scope, settings)
    images = registry.registry(scope, settings)
    known = replace(names, account=account or names.account)
    buckets = storage.storage(scope, settings, known)
    logs = compute.log_groups(scope, settings, names)
    cluster = compute.cluster(scope, settings)
    compute.orchestrator(
        scope,
        settings,
        names,
        cluster=cluster,
        network=net,
        images=images,
        log=logs["orchestrator"],
        first=first,
    )
    release.release(
        scope,
        settings,
        names,
        images=images,
        artifacts=buckets.artifacts,
        log=logs["build"],
    )
    watched = watch.watch(scope, settings, names)
    _outputs(
        scope,
        {
            "ClusterName": cluster.ref,
            "VpcId": net.vpc.vpc_id,
            "SubnetIds": cdk.Fn.join(",", net.subnet_ids),
            "AssignPublicIp": net.assign_public_ip,
            "JobSecurityGroup": net.jobs.security_group_id,
            "CapacityProvider": "FARGATE_SPOT" if settings.spot else "FARGATE",
            "ExecutionRoleArn": sub(names.role_arn("execution")),
            "JobLogGroup": logs["jobs"].ref,
            "JobFamily": f"{settings.installation}-job",
            "ImageRepository": images.repository_uri,
            "DataBucket": buckets.data.bucket_name,
            "StateBucket": buckets.state.bucket_name,
            "TaskQueueName": watched.tasks.attr_queue_name,
            "ApiSecret": names.secret,
            "ServiceName": SERVICE,
            "WakeUpSchedule": f"{settings.installation}/{WAKE_UP}" if watched.wake_up else "",
            "WatchdogSchedule": f"{settings.installation}/{WATCHDOG}",
            "AlertTopic": watched.topic.ref,
            "SourceRepository": _source(settings),
        },
    )


def _outputs(scope: cdk.Stack, values: dict[str, str]) -> None:
    """What `deployments/` makes the work pool from, and what the commands look up."""
    for name, value in values.items():
        if value:
            cdk.CfnOutput(scope, f"{name}Output", value=value).override_logical_id(name)


def _source(settings: Settings) -> str:
    if settings.source == "codecommit":
        return f"codecommit::{settings.region}://{settings.codecommit_repository}"
    return settings.repository
