"""What things are called. Every name starts with the installation's, so that several live in one
account, and is known beforehand, so that a statement can name what is not there yet.
"""

from __future__ import annotations

from dataclasses import dataclass

from deployments.declared import Deployment

SERVICE = "orchestrator"
WAKE_UP = "wake-up"
WATCHDOG = "watchdog"
TAG = "nightshift"  # the key of the tag that says which installation a thing belongs to
ACCOUNT = "${AWS::AccountId}"  # left for CloudFormation to fill in (Fn::Sub)


def logical_id(name: str) -> str:
    """A name as CloudFormation's logical ids may be: `job-cost-report` is `JobCostReport`."""
    return "".join(part.title() for part in name.split("-"))


@dataclass(frozen=True)
class Names:
    """The names and ARNs of one installation."""

    installation: str
    region: str
    account: str = ACCOUNT

    def arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"

    # --- storage: S3's names are the whole world's, so these carry the account and the region

    def bucket(self, content: str) -> str:
        return f"{self.installation}-{content}-{self.account}-{self.region}"

    def bucket_arn(self, content: str) -> str:
        return f"arn:aws:s3:::{self.bucket(content)}"

    # --- compute

    @property
    def cluster_arn(self) -> str:
        return self.arn("ecs", f"cluster/{self.installation}")

    @property
    def service_arn(self) -> str:
        return self.arn("ecs", f"service/{self.installation}/{SERVICE}")

    @property
    def tasks_arn(self) -> str:
        return self.arn("ecs", f"task/{self.installation}/*")

    @property
    def job_definitions_arn(self) -> str:
        return self.arn("ecs", f"task-definition/{self.installation}-job*:*")

    def log_group(self, of: str) -> str:
        return f"/{self.installation}/{of}"

    def log_group_arn(self, of: str) -> str:
        return self.arn("logs", f"log-group:{self.log_group(of)}")

    @property
    def secret(self) -> str:
        """The SSM parameter with the Prefect API's credentials; `make deploy` makes it."""
        return f"/{self.installation}/prefect-api-auth"

    @property
    def secret_arn(self) -> str:
        return self.arn("ssm", f"parameter{self.secret}")

    # --- identity

    def role(self, of: str) -> str:
        return f"{self.installation}-{of}"

    def role_arn(self, of: str) -> str:
        return f"arn:aws:iam::{self.account}:role/{self.role(of)}"

    def job(self, deployment: Deployment) -> str:
        return f"job-{deployment.slug}"

    # --- the rest

    @property
    def repository_arn(self) -> str:
        return self.arn("ecr", f"repository/{self.installation}")

    @property
    def project_arn(self) -> str:
        return self.arn("codebuild", f"project/{self.installation}")

    @property
    def pipeline_arn(self) -> str:
        return self.arn("codepipeline", self.installation)

    def queue_arn(self, of: str) -> str:
        return self.arn("sqs", f"{self.installation}-{of}")

    @property
    def topic_arn(self) -> str:
        return self.arn("sns", f"{self.installation}-alerts")

    def schedule_arn(self, of: str) -> str:
        return self.arn("scheduler", f"schedule/{self.installation}/{of}")

    @property
    def identity_stack(self) -> str:
        return f"{self.installation}-identity"

    @property
    def stack_arns(self) -> list[str]:
        stacks = (self.installation, self.identity_stack)
        return [self.arn("cloudformation", f"stack/{stack}/*") for stack in stacks]
