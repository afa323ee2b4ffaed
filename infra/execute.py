"""Looks at an account and carries out a plan's steps. Every AWS call of the commands is here."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from deployments.orchestrator import journal
from deployments.outputs import LIVE
from flows.problem import Problem
from infra import cdk
from infra.lifecycle import (
    ActivateTag,
    AllowFirstStart,
    Cdk,
    DeleteBucket,
    DeleteSecret,
    DeregisterDefinitions,
    MakeSecret,
    MakeServiceRole,
    Say,
    Seen,
    SetDesiredCount,
    Step,
    StopTasks,
    described,
)
from infra.names import SERVICE, TAG, Names
from infra.settings import Settings


class Account:
    """One account and region, as the credentials at hand see it."""

    def __init__(self, region: str) -> None:
        self._region = region
        try:
            self.id: str = self.client("sts").get_caller_identity()["Account"]
        except (BotoCoreError, ClientError) as error:
            raise Problem(
                "AWS does not know who you are",
                detail=str(error),
                fix="log in first: aws sso login, or AWS_PROFILE",
            ) from error

    def client(self, service: str) -> Any:
        return boto3.client(service, region_name=self._region)


# --- look ----------------------------------------------------------------------------------------


def look(account: Account, settings: Settings, names: Names) -> Seen:
    stacks = {}
    for stack in (names.identity_stack, names.installation):
        if status := _stack_status(account, stack):
            stacks[stack] = status
    buckets = {}
    for content in ("data", "state", "artifacts"):
        size = _bytes_in(account.client("s3"), names.bucket(content), account.id)
        if size is not None:
            buckets[names.bucket(content)] = size
    deployed = names.installation in stacks
    repository = settings.source == "codecommit" and _there(
        account.client("codecommit"),
        "get_repository",
        "RepositoryDoesNotExistException",
        repositoryName=settings.codecommit_repository,
    )
    return Seen(
        account=account.id,
        stacks=stacks,
        buckets=buckets,
        secret=bool(
            account.client("ssm").describe_parameters(
                ParameterFilters=[{"Key": "Name", "Values": [names.secret]}]
            )["Parameters"]
        ),
        service_role=_there(
            account.client("iam"), "get_role", "NoSuchEntity", RoleName="AWSServiceRoleForECS"
        ),
        repository=repository,
        repository_is_ours=deployed and repository and _owns_repository(account, names),
        live_image=deployed and _has_live_image(account, names),
        desired_count=_desired_count(account, names) if deployed else None,
        tasks=_tasks(account, names) if deployed else (),
        definitions=_definitions(account, names),
        history=names.bucket("state") in buckets and _has_history(account, names),
    )


def _stack_status(account: Account, name: str) -> str | None:
    try:
        found = account.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    return str(found[0]["StackStatus"]) if found else None


def _bytes_in(s3: Any, bucket: str, account: str) -> int | None:
    """None where there is no such bucket. Fails where it is another account's."""
    try:
        s3.head_bucket(Bucket=bucket, ExpectedBucketOwner=account)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchBucket"):
            return None
        raise
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=bucket)
    return sum(int(version["Size"]) for page in pages for version in page.get("Versions", ()))


def _has_history(account: Account, names: Names) -> bool:
    return _there(
        account.client("s3"), "head_object", "404", Bucket=names.bucket("state"), Key=journal.KEY
    )


def _there(client: Any, operation: str, *absent: str, **arguments: Any) -> bool:
    try:
        getattr(client, operation)(**arguments)
    except ClientError as error:
        if error.response["Error"]["Code"] in absent:
            return False
        raise
    return True


def _owns_repository(account: Account, names: Names) -> bool:
    pages = account.client("cloudformation").get_paginator("list_stack_resources")
    return any(
        resource["ResourceType"] == "AWS::CodeCommit::Repository"
        for page in pages.paginate(StackName=names.installation)
        for resource in page["StackResourceSummaries"]
    )


def _has_live_image(account: Account, names: Names) -> bool:
    return _there(
        account.client("ecr"),
        "describe_images",
        "ImageNotFoundException",
        "RepositoryNotFoundException",
        repositoryName=names.installation,
        imageIds=[{"imageTag": LIVE}],
    )


def _desired_count(account: Account, names: Names) -> int | None:
    ecs = account.client("ecs")
    if not ecs.describe_clusters(clusters=[names.installation])["clusters"]:
        return None  # a destroy was broken off
    services = ecs.describe_services(cluster=names.installation, services=[SERVICE])["services"]
    return next((service["desiredCount"] for service in services), None)


def _tasks(account: Account, names: Names) -> tuple[str, ...]:
    pages = account.client("ecs").get_paginator("list_tasks")
    try:
        found = [
            arn for page in pages.paginate(cluster=names.installation) for arn in page["taskArns"]
        ]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ClusterNotFoundException":
            return ()  # a destroy was broken off
        raise
    return tuple(found)


def _definitions(account: Account, names: Names) -> tuple[str, ...]:
    """Task definitions that workers have made: the stack's own is not among them."""
    ecs = account.client("ecs")
    families = [
        family
        for page in ecs.get_paginator("list_task_definition_families").paginate(
            familyPrefix=f"{names.installation}-job", status="ACTIVE"
        )
        for family in page["families"]
    ]
    return tuple(
        arn
        for family in families
        for page in ecs.get_paginator("list_task_definitions").paginate(familyPrefix=family)
        for arn in page["taskDefinitionArns"]
    )


# --- do ------------------------------------------------------------------------------------------


def execute(account: Account, names: Names, steps: Sequence[Step]) -> None:
    """One step after the other; a failure names the step, and what was done stays done."""
    for step in steps:
        if text := described(step):
            print(f"→ {text}", flush=True)
        with _named(step):
            _do(account, names, step)


@contextmanager
def _named(step: Step) -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise Problem(
            f"AWS refused to {described(step)}",
            detail=str(error),
            fix="mend that, then run the command again: it takes up where it stopped",
        ) from error


def _do(account: Account, names: Names, step: Step) -> None:
    match step:
        case MakeSecret(name, value):
            account.client("ssm").put_parameter(
                Name=name,
                Description="Who may use this installation's Prefect API.",
                Type="SecureString",
                Value=value or f"nightshift:{secrets.token_urlsafe(32)}",
                Overwrite=value is not None,
            )
        case MakeServiceRole():
            _make_service_role(account)
        case Cdk(command, arguments, context):
            cdk.run(command, arguments, context)
        case AllowFirstStart(bucket):
            account.client("s3").put_object(Bucket=bucket, Key=journal.FIRST_START, Body=b"")
        case SetDesiredCount(count):
            account.client("ecs").update_service(
                cluster=names.installation, service=SERVICE, desiredCount=count
            )
        case ActivateTag():
            _activate_tag(account)
        case StopTasks(arns):
            _stop_tasks(account, names, arns)
        case DeregisterDefinitions(arns):
            for arn in arns:
                account.client("ecs").deregister_task_definition(taskDefinition=arn)
        case DeleteBucket(name):
            _delete_bucket(account, name)
        case DeleteSecret(name):
            account.client("ssm").delete_parameter(Name=name)
        case Say(text):
            print(text)


def _make_service_role(account: Account) -> None:
    try:
        account.client("iam").create_service_linked_role(AWSServiceName="ecs.amazonaws.com")
    except ClientError as error:
        if "has been taken" not in str(error):  # somebody was faster
            raise


def _activate_tag(account: Account) -> None:
    """AWS knows a tag some hours after it was first used, and only the paying account may do this:
    a failure is a thing to know, not to stop for.
    """
    status = [{"TagKey": TAG, "Status": "Active"}]
    try:
        failed = account.client("ce").update_cost_allocation_tags_status(
            CostAllocationTagsStatus=status
        )["Errors"]
        why = failed[0]["Message"] if failed else ""
    except (BotoCoreError, ClientError) as error:
        why = str(error)
    if why:
        print(
            f"  not yet ({why})\n"
            "  Until then the budget reads zero. The next `make deploy` tries again."
        )


def _stop_tasks(account: Account, names: Names, arns: Sequence[str]) -> None:
    ecs = account.client("ecs")
    services = ecs.describe_services(cluster=names.installation, services=[SERVICE])["services"]
    if any(service["status"] == "ACTIVE" for service in services):
        ecs.update_service(cluster=names.installation, service=SERVICE, desiredCount=0)
    for arn in arns:
        ecs.stop_task(cluster=names.installation, task=arn, reason="make destroy")
    waiter = ecs.get_waiter("tasks_stopped")
    for start in range(0, len(arns), 100):  # DescribeTasks takes a hundred
        waiter.wait(
            cluster=names.installation,
            tasks=list(arns[start : start + 100]),
            WaiterConfig={"Delay": 3, "MaxAttempts": 60},
        )


def _delete_bucket(account: Account, name: str) -> None:
    s3 = account.client("s3")
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=name)
    for page in pages:
        versions = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
        doomed = [{"Key": v["Key"], "VersionId": v["VersionId"]} for v in versions]
        if doomed:
            answer = s3.delete_objects(Bucket=name, Delete={"Objects": doomed, "Quiet": True})
            for error in answer.get("Errors", ())[:1]:
                raise Problem(
                    "S3 did not delete an object",
                    where={"bucket": name},
                    value=error["Key"],
                    detail=error["Message"],
                    fix="mend that, then run the command again",
                )
    s3.delete_bucket(Bucket=name)
