"""What the stacks of an installation would say."""

from __future__ import annotations

OUTPUTS = {
    "ClusterName": "nightshift-prod",
    "VpcId": "vpc-1",
    "SubnetIds": "subnet-1,subnet-2",
    "AssignPublicIp": "ENABLED",
    "JobSecurityGroup": "sg-1",
    "CapacityProvider": "FARGATE_SPOT",
    "ExecutionRoleArn": "arn:aws:iam::123456789012:role/nightshift-prod-execution",
    "JobLogGroup": "/nightshift-prod/jobs",
    "JobFamily": "nightshift-prod-job",
    "ImageRepository": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/nightshift-prod",
    "DataBucket": "the-bucket",
    "StateBucket": "the-state",
    "TaskQueueName": "nightshift-prod-tasks",
    "ApiSecret": "/nightshift-prod/prefect-api-auth",
}
IMAGE = f"{OUTPUTS['ImageRepository']}@sha256:{'0' * 64}"
NEXT_IMAGE = f"{OUTPUTS['ImageRepository']}@sha256:{'1' * 64}"


class Roles(dict[str, str]):
    """A role for every deployment there could be."""

    def __missing__(self, name: str) -> str:
        return f"arn:aws:iam::123456789012:role/nightshift-prod-job-{name.replace('/', '-')}"

    def __contains__(self, name: object) -> bool:
        return True
