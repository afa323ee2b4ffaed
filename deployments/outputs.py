"""What an installation's two stacks say about themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flows.problem import Problem

LIVE = "live"  # the tag, in the repository that they name, of the image that the next run uses
RELEASED = "released-"  # and a commit's own tag: of what no gate has stopped (see buildspec.yml)


@dataclass(frozen=True)
class Outputs:
    stack: str
    values: Mapping[str, str]  # 'ClusterName': 'nightshift-prod', …
    roles: Mapping[str, str]  # deployment ('cost-report/daily'): its task role's ARN


def outputs(stack: str, cloudformation: Any = None) -> Outputs:
    """Asks CloudFormation, with the credentials and region at hand."""
    import boto3
    from botocore.exceptions import BotoCoreError

    try:
        client = cloudformation or boto3.client("cloudformation")
    except BotoCoreError as error:  # no region
        raise _unreadable(stack, error) from error
    identity = f"{stack}-identity"
    return Outputs(
        stack,
        {output["OutputKey"]: output["OutputValue"] for output in _of(client, stack)},
        {  # infra/identity.py gives a job role's output its deployment's name
            output["Description"]: output["OutputValue"]
            for output in _of(client, identity)
            if output.get("Description")
        },
    )


def _of(client: Any, stack: str) -> list[dict[str, str]]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        (found,) = client.describe_stacks(StackName=stack)["Stacks"]
    except (BotoCoreError, ClientError) as error:
        raise _unreadable(stack, error, client.meta.region_name) from error
    return list(found.get("Outputs", ()))


def _unreadable(stack: str, error: Exception, region: str | None = None) -> Problem:
    return Problem(
        "the stack's outputs cannot be read",
        where={"stack": stack, "region": region},
        detail=str(error),
        fix="name the installation that is deployed (NIGHTSHIFT_STACK, --stack), and see that AWS "
        "knows who and where you are (AWS_PROFILE, AWS_DEFAULT_REGION)",
    )
