"""The commands as one types them, against the local AWS: the stock CDK CLI deploys and destroys."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra import cdk
from infra.local.aws import ACCOUNT, LocalAws, local_aws
from infra.names import Names

ROOT = Path(__file__).parents[2]
NAMES = Names("nightshift-prod", "us-east-1", ACCOUNT)
DATA, STATE, ARTIFACTS = (NAMES.bucket(of) for of in ("data", "state", "artifacts"))
SECRET = "/nightshift-prod/prefect-api-auth"


@pytest.fixture(scope="module")
def cloud() -> Iterator[LocalAws]:
    if not cdk.CLI.exists():
        reason = "the CDK CLI is not set up: make test does it"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    with local_aws() as aws:
        yield aws


def run(*command: str, aws: LocalAws | None = None, typed: str = "") -> tuple[int, str]:
    """What a command prints, errors included, and its exit status."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ
        | {"CDK_DISABLE_VERSION_CHECK": "true"}  # it would ask npm's registry
        | (aws.environment() if aws else {}),
        input=typed,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def infra(*arguments: str, aws: LocalAws | None = None, typed: str = "") -> tuple[int, str]:
    return run(sys.executable, "-m", "infra", *arguments, aws=aws, typed=typed)


def stacks(aws: LocalAws) -> dict[str, str]:
    found = aws.client("cloudformation").list_stacks()["StackSummaries"]
    living = [stack for stack in found if stack["StackStatus"] != "DELETE_COMPLETE"]
    return {stack["StackName"]: stack["StackStatus"] for stack in living}


def buckets(aws: LocalAws) -> set[str]:
    return {bucket["Name"] for bucket in aws.client("s3").list_buckets()["Buckets"]}


def state(aws: LocalAws) -> set[str]:
    listed = aws.client("s3").list_objects_v2(Bucket=STATE).get("Contents", [])
    return {found["Key"] for found in listed}


def secret(aws: LocalAws) -> str | None:
    try:
        answer = aws.client("ssm").get_parameter(Name=SECRET, WithDecryption=True)
    except ClientError:
        return None
    assert answer["Parameter"]["Type"] == "SecureString"
    return str(answer["Parameter"]["Value"])


# --- from an empty account to one, in the order in which one does it ------------------------------


def test_nothing_to_destroy(cloud: LocalAws) -> None:
    assert infra("destroy", "--yes", aws=cloud) == (0, "Nothing of nightshift-prod is left.\n")


def test_access_before_anything_is_deployed(cloud: LocalAws) -> None:
    status, said = infra("access", aws=cloud)
    assert status == 0
    assert "@@ nightshift-prod-job-cost-report-daily (new) @@" in said


def test_deploy(cloud: LocalAws) -> None:
    status, said = infra("deploy", "--yes", aws=cloud)
    assert status == 0, said
    assert stacks(cloud) == {
        "nightshift-prod": "CREATE_COMPLETE",
        "nightshift-prod-identity": "CREATE_COMPLETE",
    }
    ecs = cloud.client("ecs")
    (service,) = ecs.describe_services(cluster="nightshift-prod", services=["orchestrator"])[
        "services"
    ]
    assert service["desiredCount"] == 0
    assert "make ECS's service-linked role" in said
    role = cloud.client("iam").get_role(RoleName="AWSServiceRoleForECS")["Role"]
    assert role["Path"] == "/aws-service-role/ecs.amazonaws.com/"
    assert "git push aws HEAD:main" in said
    assert "Tag keys not found: nightshift" in said
    made = secret(cloud)
    assert made is not None
    assert made.startswith("nightshift:")
    assert len(made) > 40
    assert made.split(":")[1] not in said
    assert "let the orchestrator begin a history" in said
    assert "-us-east-1/reports/predicted.json" in said
    assert state(cloud) == {"prefect/first-start"}


def test_diff_and_access_find_nothing_then(cloud: LocalAws) -> None:
    """The stock CLI by itself, as one may call it."""
    path = f"{cdk.BIN}{os.pathsep}{os.environ['PATH']}"
    status, said = run("env", f"PATH={path}", "cdk", "diff", "--all", aws=cloud)
    assert status == 0, said
    # The one difference: the first deployment said 0, which no later one repeats.
    assert "Number of stacks with differences: 1" in said
    assert "DesiredCount" in said
    status, said = infra("access", aws=cloud)
    assert said.rstrip().endswith("## Difference to what is deployed\n\nNone.")


def test_access_names_what_a_change_of_the_roles_would_do(cloud: LocalAws) -> None:
    iam = cloud.client("iam")
    role = "nightshift-prod-job-cost-report-daily"
    before = iam.get_role_policy(RoleName=role, PolicyName="access")["PolicyDocument"]
    widened = {**before, "Statement": [s for s in before["Statement"] if s["Sid"] != "Write"]}
    widened["Statement"].append(
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::salaries/*"}
    )
    put(iam, role, widened)
    _, said = infra("access", aws=cloud)
    put(iam, role, before)
    assert f"@@ {role} @@" in said
    assert "- allow s3:GetObject on arn:aws:s3:::salaries/*" in said
    assert f"+ allow s3:PutObject on arn:aws:s3:::{DATA}/reports/*" in said
    assert said.count("\n+ ") == said.count("\n- allow") == 1


def put(iam: Any, role: str, document: Any) -> None:
    iam.put_role_policy(RoleName=role, PolicyName="access", PolicyDocument=json.dumps(document))


def test_destroy_asks_first(cloud: LocalAws) -> None:
    status, said = infra("destroy", aws=cloud, typed="yes\n")
    assert status == 1
    assert "delete s3://" in said
    assert "nothing was changed" in said
    assert len(stacks(cloud)) == 2


def test_destroy_keeps_the_data_and_says_so(cloud: LocalAws) -> None:
    s3, ecs = cloud.client("s3"), cloud.client("ecs")
    s3.put_object(Bucket=DATA, Key="reports/x", Body=b"1" * 100_000)
    s3.put_object(Bucket=ARTIFACTS, Key="source/1", Body=b"1")
    # As the orchestrator leaves it once there is a history.
    s3.put_object(Bucket=STATE, Key="prefect/orchestrator.json", Body=b"{}")
    s3.delete_object(Bucket=STATE, Key="prefect/first-start")
    ecs.register_task_definition(
        family="nightshift-prod-job",
        containerDefinitions=[{"name": "a", "image": "b", "memory": 1}],
    )
    status, said = infra("destroy", aws=cloud, typed="nightshift-prod\n")
    assert status == 0, said
    assert stacks(cloud) == {}
    assert buckets(cloud) == {DATA, STATE}
    assert f"s3://{DATA} (0.1 MB)" in said
    assert secret(cloud) is None
    assert ecs.list_task_definitions(status="ACTIVE")["taskDefinitionArns"] == []
    assert what_costs(cloud) == []


def what_costs(aws: LocalAws) -> list[str]:
    """Everything that AWS would bill, or that would be in the way of the next installation."""
    ec2 = aws.client("ec2")
    vpcs = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["false"]}])["Vpcs"]
    alarms = aws.client("cloudwatch").describe_alarms()["MetricAlarms"]
    budgets = aws.client("budgets").describe_budgets(AccountId=ACCOUNT).get("Budgets", [])
    roles = aws.client("iam").list_roles()["Roles"]
    return [
        *(vpc["VpcId"] for vpc in vpcs),
        *(n["NatGatewayId"] for n in ec2.describe_nat_gateways()["NatGateways"]),
        *(a["AllocationId"] for a in ec2.describe_addresses()["Addresses"]),
        *(r["repositoryName"] for r in aws.client("ecr").describe_repositories()["repositories"]),
        *aws.client("ecs").list_clusters()["clusterArns"],
        # ECS's own is the account's, whoever has clusters in it.
        *(r["RoleName"] for r in roles if not r["Path"].startswith("/aws-service-role/")),
        *(g["logGroupName"] for g in aws.client("logs").describe_log_groups()["logGroups"]),
        *aws.client("sqs").list_queues().get("QueueUrls", []),
        *(t["TopicArn"] for t in aws.client("sns").list_topics()["Topics"]),
        *(r["Name"] for r in aws.client("events").list_rules()["Rules"]),
        *(s["Name"] for s in aws.client("scheduler").list_schedules()["Schedules"]),
        *aws.client("codebuild").list_projects()["projects"],
        *(p["name"] for p in aws.client("codepipeline").list_pipelines()["pipelines"]),
        *(alarm["AlarmName"] for alarm in alarms),
        *(budget["BudgetName"] for budget in budgets),
    ]


def test_the_repository_of_before_is_not_taken_without_being_told(cloud: LocalAws) -> None:
    status, said = infra("deploy", "--yes", aws=cloud)
    assert status == 1
    assert "existing_repository = true" in said
    assert stacks(cloud) == {}


def test_the_next_deploy_takes_up_the_data(cloud: LocalAws) -> None:
    status, said = infra("deploy", "--yes", "--set", "existing_repository=true", aws=cloud)
    assert status == 0, said
    body = cloud.client("s3").get_object(Bucket=DATA, Key="reports/x")["Body"].read()
    assert len(body) == 100_000
    assert state(cloud) == {"prefect/orchestrator.json"}  # the history goes on; none is begun


def test_a_second_deploy_keeps_the_secret_and_changes_what_is_set(cloud: LocalAws) -> None:
    """This one knows the buckets by Fn::Sub again, and leaves them alone."""
    before = secret(cloud)
    settings = ("--set", "existing_repository=true", "--set", "log_retention_days=7")
    status, said = infra("deploy", "--yes", *settings, aws=cloud)
    assert status == 0, said
    assert secret(cloud) == before
    assert "service-linked role" not in said
    assert stacks(cloud)["nightshift-prod"] == "UPDATE_COMPLETE"
    assert buckets(cloud) == {DATA, STATE, ARTIFACTS}
    (group,) = cloud.client("logs").describe_log_groups(
        logGroupNamePrefix="/nightshift-prod/build"
    )["logGroups"]
    assert group["retentionInDays"] == 7


def test_purge_takes_everything_but_the_code(cloud: LocalAws) -> None:
    options = ("--yes", "--set", "purge=true", "--set", "existing_repository=true")
    status, said = infra("destroy", *options, aws=cloud)
    assert status == 0, said
    assert buckets(cloud) == set()
    assert what_costs(cloud) == []
    assert "the CodeCommit repository nightshift-prod" in said


# --- what can be wrong ---------------------------------------------------------------------------


def test_a_bad_setting_is_a_line_and_not_a_traceback() -> None:
    status, said = infra("synth", "--set", "stage=Prod")
    assert (status, len(said.splitlines())) == (1, 1)
    status, said = infra("synth", "--set", "stage")
    assert (status, len(said.splitlines())) == (1, 1)


def test_without_credentials() -> None:
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    without = [text for key in keys for text in ("-u", key)]
    for command in ("diff", "deploy"):
        status, said = run("env", *without, sys.executable, "-m", "infra", command)
        assert status == 1
        assert "log in first" in said
        assert "Traceback" not in said
    status, said = run("env", *without, sys.executable, "-m", "infra", "access")
    assert status == 0
    assert "Not compared" in said


@pytest.mark.parametrize("command", ["synth", "diff", "deploy", "destroy", "access"])
def test_every_command_explains_itself(command: str) -> None:
    status, said = infra(command, "--help")
    assert status == 0
    assert "--set KEY=VALUE" in said
