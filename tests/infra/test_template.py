"""What the templates say, property by property: the emulator drops some of it in silence."""

from __future__ import annotations

import json
from typing import Any

import pytest

from infra.extra import Extra
from infra.names import Names
from tests.infra.conftest import Synthesise, Templates, deployment, reads, writes

NAMES = Names("nightshift-prod", "us-east-1")
CONNECTION = {
    "source": "connection",
    "connection_arn": "arn:aws:codeconnections:us-east-1:123456789012:connection/0a1b",
    "repository": "us/jobs",
    "branch": "release",
}
EXTERNAL = {"orchestrator": "external", "prefect_api_url": "https://prefect.example.com/api"}


@pytest.fixture(scope="session")
def rest(templates: Templates) -> Any:
    from aws_cdk.assertions import Template

    return Template.from_json(templates["nightshift-prod"])


@pytest.fixture(scope="session")
def identity(templates: Templates) -> Any:
    from aws_cdk.assertions import Template

    return Template.from_json(templates["nightshift-prod-identity"])


def like(value: Any) -> Any:
    from aws_cdk.assertions import Match

    return Match.object_like(value)


def has_one_of(values: list[Any]) -> Any:
    from aws_cdk.assertions import Match

    return Match.array_with(values)


def of_type(template: dict[str, Any], kind: str) -> dict[str, Any]:
    return {k: r for k, r in template["Resources"].items() if r["Type"] == kind}


# --- network -------------------------------------------------------------------------------------


def test_two_public_subnets_and_no_gateway_that_costs(rest: Any) -> None:
    rest.resource_count_is("AWS::EC2::Subnet", 2)
    rest.all_resources_properties("AWS::EC2::Subnet", like({"MapPublicIpOnLaunch": False}))
    rest.resource_count_is("AWS::EC2::NatGateway", 0)
    rest.resource_count_is("AWS::EC2::EIP", 0)
    rest.has_resource_properties("AWS::EC2::VPCEndpoint", {"VpcEndpointType": "Gateway"})
    rest.resource_count_is("AWS::EC2::VPCEndpoint", 1)


def test_the_only_way_in_is_prefects_api_for_jobs(templates: Templates) -> None:
    template = templates["nightshift-prod"]
    groups = of_type(template, "AWS::EC2::SecurityGroup")
    assert all("SecurityGroupIngress" not in g["Properties"] for g in groups.values())
    (way_in,) = of_type(template, "AWS::EC2::SecurityGroupIngress").values()
    properties = way_in["Properties"]
    assert (properties["FromPort"], properties["ToPort"], properties["IpProtocol"]) == (
        4200,
        4200,
        "tcp",
    )
    assert "CidrIp" not in properties
    source = properties["SourceSecurityGroupId"]["Fn::GetAtt"][0]
    target = properties["GroupId"]["Fn::GetAtt"][0]
    assert source.startswith("JobSecurityGroup")
    assert target.startswith("OrchestratorSecurityGroup")


def test_the_ways_out_are_those_that_are_set(synthesise: Synthesise) -> None:
    template = synthesise({"egress_ports": "[443, 5432]"})["nightshift-prod"]
    out = [r["Properties"] for r in of_type(template, "AWS::EC2::SecurityGroupEgress").values()]
    anywhere = [
        (p["GroupId"]["Fn::GetAtt"][0][:3], p["FromPort"], p["ToPort"])
        for p in out
        if "CidrIp" in p
    ]
    assert sorted(anywhere) == [("Job", 443, 443), ("Job", 5432, 5432), ("Orc", 443, 443)]
    assert all(p["IpProtocol"] == "tcp" for p in out)


def test_a_private_network_has_one_nat_gateway_and_no_public_task(synthesise: Synthesise) -> None:
    template = synthesise({"network": "private"})["nightshift-prod"]
    assert len(of_type(template, "AWS::EC2::NatGateway")) == 1
    assert len(of_type(template, "AWS::EC2::Subnet")) == 4
    (service,) = of_type(template, "AWS::ECS::Service").values()
    network = service["Properties"]["NetworkConfiguration"]["AwsvpcConfiguration"]
    assert network["AssignPublicIp"] == "DISABLED"
    assert all("private" in subnet["Ref"] for subnet in network["Subnets"])
    assert template["Outputs"]["AssignPublicIp"]["Value"] == "DISABLED"


# --- registry ------------------------------------------------------------------------------------


def test_a_tag_is_pushed_once_live_excepted_and_scanned(rest: Any) -> None:
    rest.has_resource_properties(
        "AWS::ECR::Repository",
        {
            "ImageScanningConfiguration": {"ScanOnPush": True},
            "ImageTagMutability": "IMMUTABLE_WITH_EXCLUSION",
            "ImageTagMutabilityExclusionFilters": [
                {
                    "ImageTagMutabilityExclusionFilterType": "WILDCARD",
                    "ImageTagMutabilityExclusionFilterValue": "live",
                }
            ],
            "EmptyOnDelete": True,
        },
    )


def test_old_images_go_and_the_live_one_never(templates: Templates) -> None:
    (repository,) = of_type(templates["nightshift-prod"], "AWS::ECR::Repository").values()
    text = repository["Properties"]["LifecyclePolicy"]["LifecyclePolicyText"]
    rules = sorted(json.loads(text)["rules"], key=lambda rule: int(rule["rulePriority"]))
    selections = [rule["selection"] for rule in rules]
    assert selections[0]["tagPatternList"] == ["live"]  # met first, so no other rule may take it
    assert selections[0]["countNumber"] == 1
    assert (selections[1]["tagPatternList"], selections[1]["countNumber"]) == (["released-*"], 20)
    assert (selections[2]["tagPatternList"], selections[2]["countNumber"]) == (["*"], 5)
    assert selections[3]["tagStatus"] == "untagged"


# --- storage -------------------------------------------------------------------------------------


def test_every_bucket_is_private_encrypted_and_kept(templates: Templates, rest: Any) -> None:
    rest.resource_count_is("AWS::S3::Bucket", 3)
    rest.all_resources_properties(
        "AWS::S3::Bucket",
        like(
            {
                "PublicAccessBlockConfiguration": {
                    "BlockPublicAcls": True,
                    "BlockPublicPolicy": True,
                    "IgnorePublicAcls": True,
                    "RestrictPublicBuckets": True,
                },
                "BucketEncryption": {
                    "ServerSideEncryptionConfiguration": [
                        {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
                    ]
                },
                "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
            }
        ),
    )
    for bucket in of_type(templates["nightshift-prod"], "AWS::S3::Bucket").values():
        assert (bucket["DeletionPolicy"], bucket["UpdateReplacePolicy"]) == ("Retain", "Retain")


def test_every_bucket_is_tls_only(rest: Any) -> None:
    rest.resource_count_is("AWS::S3::BucketPolicy", 3)
    rest.all_resources_properties(
        "AWS::S3::BucketPolicy",
        like(
            {
                "PolicyDocument": like(
                    {
                        "Statement": has_one_of(
                            [
                                like(
                                    {
                                        "Effect": "Deny",
                                        "Action": "s3:*",
                                        "Principal": {"AWS": "*"},
                                        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                                    }
                                )
                            ]
                        )
                    }
                )
            }
        ),
    )


def test_data_can_be_taken_back_for_a_week_and_artifacts_go(templates: Templates) -> None:
    buckets = {
        bucket["Properties"]["BucketName"]["Fn::Sub"].split("-")[2]: bucket["Properties"]
        for bucket in of_type(templates["nightshift-prod"], "AWS::S3::Bucket").values()
    }
    assert buckets["data"]["VersioningConfiguration"] == {"Status": "Enabled"}
    rules = {of: b["LifecycleConfiguration"]["Rules"] for of, b in buckets.items()}
    assert {"NoncurrentVersionExpiration": {"NoncurrentDays": 7}, "Status": "Enabled"} in rules[
        "data"
    ]
    assert {"ExpirationInDays": 30, "Status": "Enabled"} in rules["artifacts"]
    assert not any("ExpirationInDays" in rule for rule in (*rules["data"], *rules["state"]))
    assert all("AbortIncompleteMultipartUpload" in of[0] for of in rules.values())


def test_awss_own_export_writes_the_bill_where_the_job_reads_it(
    templates: Templates, synthesise: Synthesise
) -> None:
    (export,) = of_type(templates["nightshift-prod"], "AWS::BCMDataExports::Export").values()
    made = export["Properties"]["Export"]
    assert made["DestinationConfigurations"]["S3Destination"]["S3Prefix"] == "bills"
    assert made["DataQuery"]["TableConfigurations"] == {
        "FOCUS_1_2_AWS": {"TIME_GRANULARITY": "DAILY"}
    }
    for column in ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost", "Tags"):
        assert column in made["DataQuery"]["QueryStatement"]
    assert any("Policy" in other for other in export["DependsOn"])
    elsewhere = synthesise({"region": "eu-central-1"})["nightshift-prod"]
    assert not of_type(elsewhere, "AWS::BCMDataExports::Export")
    assert "bcm-data-exports" not in json.dumps(elsewhere)


# --- compute -------------------------------------------------------------------------------------


def test_the_orchestrator_is_small_arm_and_read_only(rest: Any) -> None:
    rest.has_resource_properties(
        "AWS::ECS::TaskDefinition",
        {
            "Cpu": "512",
            "Memory": "1024",
            "NetworkMode": "awsvpc",
            "RequiresCompatibilities": ["FARGATE"],
            "RuntimePlatform": {"CpuArchitecture": "ARM64", "OperatingSystemFamily": "LINUX"},
            "ContainerDefinitions": [
                like(
                    {
                        "ReadonlyRootFilesystem": True,
                        "StopTimeout": 120,
                        "VersionConsistency": "disabled",
                        "Command": ["python", "-m", "deployments.orchestrator"],
                        "Secrets": [
                            like({"Name": "PREFECT_SERVER_API_AUTH_STRING"}),
                            like({"Name": "PREFECT_API_AUTH_STRING"}),
                        ],
                    }
                )
            ],
        },
    )


def container(template: dict[str, Any]) -> dict[str, Any]:
    (definition,) = of_type(template, "AWS::ECS::TaskDefinition").values()
    (found,) = definition["Properties"]["ContainerDefinitions"]
    return dict(found)


def variables(template: dict[str, Any]) -> dict[str, str]:
    return {item["Name"]: item["Value"] for item in container(template)["Environment"]}


def test_the_orchestrator_is_told_what_no_output_says(
    templates: Templates, synthesise: Synthesise
) -> None:
    assert variables(templates["nightshift-prod"]) == {
        "NIGHTSHIFT_STACK": "nightshift-prod",
        "NIGHTSHIFT_ORCHESTRATOR": "asleep",
        "AWS_DEFAULT_REGION": "us-east-1",
        "NIGHTSHIFT_WAKE_LEAD": "120",
        "NIGHTSHIFT_OVERDUE_MINUTES": "30",
        "NIGHTSHIFT_HISTORY_DAYS": "60",
    }
    other = synthesise({"wake_lead_seconds": "60", "history_days": "365"})["nightshift-prod"]
    assert variables(other)["NIGHTSHIFT_WAKE_LEAD"] == "60"
    assert variables(other)["NIGHTSHIFT_HISTORY_DAYS"] == "365"


@pytest.mark.parametrize("mode", ["asleep", "always", "external"])
def test_the_tunnel_is_there_where_there_is_a_ui(synthesise: Synthesise, mode: str) -> None:
    """And with it the volumes that its agent writes to: all else stays read-only."""
    made = synthesise(EXTERNAL if mode == "external" else {"orchestrator": mode})
    template = made["nightshift-prod"]
    own = mode != "external"
    (service,) = of_type(template, "AWS::ECS::Service").values()
    assert service["Properties"].get("EnableExecuteCommand", False) is own
    paths = {m["ContainerPath"]: m["SourceVolume"] for m in container(template)["MountPoints"]}
    assert set(paths) == {"/tmp", *(("/var/lib/amazon", "/var/log/amazon") if own else ())}
    (definition,) = of_type(template, "AWS::ECS::TaskDefinition").values()
    assert [v["Name"] for v in definition["Properties"]["Volumes"]] == list(paths.values())
    assert ("ssmmessages:OpenDataChannel" in json.dumps(made["nightshift-prod-identity"])) is own


def test_at_most_one_orchestrator_and_its_count_is_its_own(rest: Any, templates: Templates) -> None:
    (service,) = of_type(templates["nightshift-prod"], "AWS::ECS::Service").values()
    assert "DesiredCount" not in service["Properties"]
    rest.has_resource_properties(
        "AWS::ECS::Service",
        {
            "LaunchType": "FARGATE",
            # Without a circuit breaker, which would end it for good.
            "DeploymentConfiguration": {"MaximumPercent": 100, "MinimumHealthyPercent": 0},
            "NetworkConfiguration": {"AwsvpcConfiguration": like({"AssignPublicIp": "ENABLED"})},
        },
    )


def test_the_first_deployment_starts_nothing(synthesise: Synthesise) -> None:
    (service,) = of_type(
        synthesise({"first": "true"})["nightshift-prod"], "AWS::ECS::Service"
    ).values()
    assert service["Properties"]["DesiredCount"] == 0


def test_spot_is_for_jobs(templates: Templates, synthesise: Synthesise, rest: Any) -> None:
    rest.has_resource_properties(
        "AWS::ECS::ClusterCapacityProviderAssociations",
        {"CapacityProviders": ["FARGATE", "FARGATE_SPOT"]},
    )
    assert templates["nightshift-prod"]["Outputs"]["CapacityProvider"]["Value"] == "FARGATE_SPOT"
    without = synthesise({"spot": "false"})["nightshift-prod"]
    assert without["Outputs"]["CapacityProvider"]["Value"] == "FARGATE"


def test_logs_go_after_a_while(synthesise: Synthesise) -> None:
    template = synthesise({"log_retention_days": 7})["nightshift-prod"]
    groups = of_type(template, "AWS::Logs::LogGroup")
    assert {g["Properties"]["LogGroupName"] for g in groups.values()} == {
        *("/nightshift-prod/jobs", "/nightshift-prod/orchestrator", "/nightshift-prod/build")
    }
    assert all(g["Properties"]["RetentionInDays"] == 7 for g in groups.values())
    assert all(g["DeletionPolicy"] == "Delete" for g in groups.values())


def test_an_external_api_has_no_port_and_its_own_key(synthesise: Synthesise) -> None:
    template = synthesise(EXTERNAL)["nightshift-prod"]
    assert not of_type(template, "AWS::EC2::SecurityGroupIngress")
    orchestrator = container(template)
    assert [secret["Name"] for secret in orchestrator["Secrets"]] == ["PREFECT_API_KEY"]
    assert variables(template)["PREFECT_API_URL"] == EXTERNAL["prefect_api_url"]
    assert "PortMappings" not in orchestrator


# --- identity ------------------------------------------------------------------------------------


def test_roles_are_in_a_stack_of_their_own(templates: Templates) -> None:
    assert not of_type(templates["nightshift-prod"], "AWS::IAM::Role")
    kinds = {r["Type"] for r in templates["nightshift-prod-identity"]["Resources"].values()}
    assert kinds == {"AWS::IAM::Role"}


def test_a_role_is_taken_by_one_service_for_our_account_alone(templates: Templates) -> None:
    for role in of_type(templates["nightshift-prod-identity"], "AWS::IAM::Role").values():
        (trust,) = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        assert isinstance(trust["Principal"]["Service"], str)
        condition = trust["Condition"]
        assert condition["StringEquals"]["aws:SourceAccount"] == {"Fn::Sub": "${AWS::AccountId}"}
        assert condition["ArnLike"]["aws:SourceArn"]["Fn::Sub"].startswith("arn:aws:")


def test_a_jobs_role_is_what_its_flow_declares(identity: Any) -> None:
    bucket = "arn:aws:s3:::nightshift-prod-data-${AWS::AccountId}-us-east-1"
    identity.has_resource_properties(
        "AWS::IAM::Role",
        like(
            {
                "RoleName": "nightshift-prod-job-cost-report-daily",
                "Policies": [
                    {
                        "PolicyName": "access",
                        "PolicyDocument": like(
                            {
                                "Statement": [
                                    like(
                                        {
                                            "Action": "s3:ListBucket",
                                            "Condition": {
                                                "StringLike": {
                                                    "s3:prefix": ["bills/*", "reports/*"]
                                                }
                                            },
                                        }
                                    ),
                                    like(
                                        {
                                            "Action": "s3:GetObject",
                                            "Resource": [
                                                {"Fn::Sub": f"{bucket}/bills/*"},
                                                {"Fn::Sub": f"{bucket}/reports/*"},
                                            ],
                                        }
                                    ),
                                    like(
                                        {
                                            "Action": "s3:PutObject",
                                            "Resource": {"Fn::Sub": f"{bucket}/reports/*"},
                                        }
                                    ),
                                    {
                                        "Sid": "NeverIam",
                                        "Effect": "Deny",
                                        "Action": "iam:*",
                                        "Resource": "*",
                                    },
                                ]
                            }
                        ),
                    }
                ],
            }
        ),
    )


def test_an_extra_is_a_policy_whose_description_is_the_reason(synthesise: Synthesise) -> None:
    reason = "Reads the key of the price list."
    more = [Extra("a/b", ("ssm:GetParameter",), ("arn:aws:ssm:us-east-1:1:parameter/k*",), reason)]
    made = synthesise({}, [deployment("a/b", reads("in/")), deployment("c/d")], more)
    (policy,) = of_type(made["nightshift-prod-identity"], "AWS::IAM::ManagedPolicy").values()
    assert policy["Properties"]["Description"] == reason
    assert policy["Properties"]["Roles"] == [{"Ref": "JobABRole"}]


def test_outputs_say_which_role_is_whose(synthesise: Synthesise) -> None:
    made = synthesise({}, [deployment("a/b"), deployment("c-d/e")])["nightshift-prod-identity"]
    assert {o["Description"]: o["Value"]["Fn::GetAtt"][0] for o in made["Outputs"].values()} == {
        "a/b": "JobABRole",
        "c-d/e": "JobCDERole",
    }


# --- release -------------------------------------------------------------------------------------


def test_a_push_starts_the_pipeline_and_nothing_polls(rest: Any) -> None:
    rest.has_resource_properties(
        "AWS::CodePipeline::Pipeline",
        {
            "PipelineType": "V2",
            "ExecutionMode": "SUPERSEDED",
            "Stages": [
                {
                    "Name": "Source",
                    "Actions": [
                        like(
                            {
                                "ActionTypeId": like({"Provider": "CodeCommit"}),
                                "Configuration": {
                                    "RepositoryName": "nightshift-prod",
                                    "BranchName": "main",
                                    "PollForSourceChanges": "false",
                                },
                            }
                        )
                    ],
                },
                {
                    "Name": "Build",
                    "Actions": [like({"ActionTypeId": like({"Provider": "CodeBuild"})})],
                },
            ],
        },
    )
    rest.has_resource_properties(
        "AWS::Events::Rule",
        {
            "EventPattern": {
                "source": ["aws.codecommit"],
                "detail-type": ["CodeCommit Repository State Change"],
                "resources": [{"Fn::Sub": NAMES.arn("codecommit", "nightshift-prod")}],
                "detail": {
                    "event": ["referenceCreated", "referenceUpdated"],
                    "referenceType": ["branch"],
                    "referenceName": ["main"],
                },
            },
            "Targets": [
                like(
                    {
                        "Arn": {"Fn::Sub": NAMES.pipeline_arn},
                        "RoleArn": {"Fn::Sub": NAMES.role_arn("source-event")},
                    }
                ),
            ],
        },
    )


def test_the_build_is_arm_and_follows_buildspec(rest: Any) -> None:
    rest.has_resource_properties(
        "AWS::CodeBuild::Project",
        {
            "Environment": like(
                {
                    "Type": "ARM_CONTAINER",
                    "ComputeType": "BUILD_GENERAL1_SMALL",
                    "Image": "aws/codebuild/amazonlinux-aarch64-standard:3.0",
                    "PrivilegedMode": True,
                }
            ),
            "Source": {"Type": "CODEPIPELINE", "BuildSpec": "buildspec.yml"},
        },
    )


@pytest.mark.parametrize("severity", ["critical", "high"])
def test_the_build_is_told_what_stops_a_release(synthesise: Synthesise, severity: str) -> None:
    template = synthesise({"scan_severity": severity})["nightshift-prod"]
    (project,) = of_type(template, "AWS::CodeBuild::Project").values()
    variables = project["Properties"]["Environment"]["EnvironmentVariables"]
    assert {"Name": "SEVERITY", "Value": severity, "Type": "PLAINTEXT"} in variables


def test_the_code_is_kept(templates: Templates) -> None:
    (repository,) = of_type(templates["nightshift-prod"], "AWS::CodeCommit::Repository").values()
    assert repository["DeletionPolicy"] == "Retain"


def test_a_connection_needs_no_repository_and_no_rule(synthesise: Synthesise) -> None:
    template = synthesise(CONNECTION)["nightshift-prod"]
    assert not of_type(template, "AWS::CodeCommit::Repository")
    assert "nightshift-prod-push" not in json.dumps(template)
    (pipeline,) = of_type(template, "AWS::CodePipeline::Pipeline").values()
    (source,) = pipeline["Properties"]["Stages"][0]["Actions"]
    assert source["ActionTypeId"]["Provider"] == "CodeStarSourceConnection"
    assert source["Configuration"] == {
        "ConnectionArn": CONNECTION["connection_arn"],
        "FullRepositoryId": "us/jobs",
        "BranchName": "release",
        "DetectChanges": "true",  # the connection starts the pipeline: no rule of ours does
    }
    (build,) = pipeline["Properties"]["Stages"][1]["Actions"]
    assert build["InputArtifacts"] == source["OutputArtifacts"]


def test_with_a_connection_the_pipeline_may_use_that_one_and_read_no_codecommit(
    synthesise: Synthesise,
) -> None:
    roles = synthesise(CONNECTION)["nightshift-prod-identity"]
    (role,) = (
        r["Properties"]
        for name, r in of_type(roles, "AWS::IAM::Role").items()
        if name.startswith("Pipeline")
    )
    text = json.dumps(role["Policies"])
    assert CONNECTION["connection_arn"] in text
    assert "codeconnections:UseConnection" in text
    assert "codestar-connections:UseConnection" in text
    assert "codecommit" not in text
    assert not [name for name in of_type(roles, "AWS::IAM::Role") if name.startswith("SourceEvent")]


# --- watch ---------------------------------------------------------------------------------------


def test_task_events_wait_for_the_observer(rest: Any, templates: Templates) -> None:
    rest.has_resource_properties(
        "AWS::Events::Rule",
        {
            "EventPattern": {
                "source": ["aws.ecs"],
                "detail-type": ["ECS Task State Change"],
                "detail": {
                    "clusterArn": [{"Fn::Sub": NAMES.cluster_arn}],
                },
            }
        },
    )
    queues = of_type(templates["nightshift-prod"], "AWS::SQS::Queue")
    assert queues["Tasks"]["Properties"]["RedrivePolicy"]["maxReceiveCount"] == 5
    for queue in queues.values():
        assert queue["Properties"]["SqsManagedSseEnabled"] is True
        assert queue["Properties"]["MessageRetentionPeriod"] == 1_209_600


def test_the_wake_up_sets_one_and_keeps_what_failed(rest: Any) -> None:
    rest.has_resource_properties(
        "AWS::Scheduler::Schedule",
        {
            "Name": "wake-up",
            "ScheduleExpression": "cron(0 5 * * ? *)",  # a rate would fire when it is made
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": like(
                {
                    "Arn": "arn:aws:scheduler:::aws-sdk:ecs:updateService",
                    "Input": json.dumps(
                        {"Cluster": "nightshift-prod", "Service": "orchestrator", "DesiredCount": 1}
                    ),
                    "DeadLetterConfig": {"Arn": {"Fn::GetAtt": ["WakeUpFailed", "Arn"]}},
                }
            ),
        },
    )


def test_no_setting_of_the_same_installation_moves_the_wake_up(synthesise: Synthesise) -> None:
    plain = of_type(synthesise()["nightshift-prod"], "AWS::Scheduler::Schedule")
    assert set(plain) == {"WakeUp", "Watchdog"}
    other = {
        "spot": "false",
        "network": "private",
        "log_retention_days": 1,
        "wake_lead_seconds": 60,
        "overdue_minutes": 0,
        "history_days": 7,
        "alert_email": "a@b.cc",
    }
    assert of_type(synthesise(other)["nightshift-prod"], "AWS::Scheduler::Schedule") == plain


def test_always_on_needs_no_wake_up(synthesise: Synthesise) -> None:
    template = synthesise({"orchestrator": "always"})["nightshift-prod"]
    assert set(of_type(template, "AWS::Scheduler::Schedule")) == {"Watchdog"}
    assert "AwakeTooLong" not in template["Resources"]


MODES: list[dict[str, str]] = [
    {},
    {"orchestrator": "always"},
    {"orchestrator": "external", "prefect_api_url": "https://p.example.com/api"},
]


@pytest.mark.parametrize("context", MODES, ids=str)
def test_a_watchdog_tells_of_what_has_not_begun(
    synthesise: Synthesise, context: dict[str, str]
) -> None:
    """However the orchestrator is run. It is off until that one has set it."""
    rest = synthesise({**context, "overdue_minutes": 45})["nightshift-prod"]
    watchdog = of_type(rest, "AWS::Scheduler::Schedule")["Watchdog"]["Properties"]
    assert (watchdog["Name"], watchdog["State"]) == ("watchdog", "DISABLED")
    assert watchdog["GroupName"] == {"Ref": "Schedules"}
    assert watchdog["Target"]["Arn"] == "arn:aws:scheduler:::aws-sdk:sns:publish"
    asked = json.loads(watchdog["Target"]["Input"]["Fn::Sub"])
    assert asked["TopicArn"] == NAMES.topic_arn
    assert rest["Outputs"]["WatchdogSchedule"]["Value"] == "nightshift-prod/watchdog"
    task = of_type(rest, "AWS::ECS::TaskDefinition")["OrchestratorTask"]["Properties"]
    environment = task["ContainerDefinitions"][0]["Environment"]
    assert {"Name": "NIGHTSHIFT_OVERDUE_MINUTES", "Value": "45"} in environment


def test_a_release_that_failed_is_told_by_the_action_that_did(templates: Templates) -> None:
    """Once: the pipeline's own event would come for the same failure, and says less."""
    rules = of_type(templates["nightshift-prod"], "AWS::Events::Rule")
    failed = [
        rule["Properties"]
        for rule in rules.values()
        if rule["Properties"].get("EventPattern", {}).get("source") == ["aws.codepipeline"]
    ]
    there = set()  # each event is one rule's
    for rule in failed:
        pattern = rule["EventPattern"]
        assert pattern["detail-type"] == ["CodePipeline Action Execution State Change"]
        (exists,) = pattern["detail"]["execution-result"]["external-execution-summary"]
        there.add(exists["exists"])
        said = rule["Targets"][0]["InputTransformer"]
        assert all(f"<{name}>" in said["InputTemplate"] for name in said["InputPathsMap"])
        for part in ('"what"', '"where"', '"why"', '"next"', "/nightshift-prod/build"):
            assert part in said["InputTemplate"]
        # What is there has quotation marks in it, and must not stand within them.
        assert ('"why": <why>' in said["InputTemplate"]) is exists["exists"]
    assert there == {True, False}
    assert len(failed) == 2


def test_alerts_go_where_they_are_wanted(templates: Templates, synthesise: Synthesise) -> None:
    assert not of_type(templates["nightshift-prod"], "AWS::SNS::Subscription")
    template = synthesise({"alert_email": "ops@example.com"})["nightshift-prod"]
    (subscription,) = of_type(template, "AWS::SNS::Subscription").values()
    assert subscription["Properties"]["Endpoint"] == "ops@example.com"
    assert subscription["Properties"]["Protocol"] == "email"


def test_only_our_own_account_may_publish_and_only_over_tls(templates: Templates) -> None:
    (policy,) = of_type(templates["nightshift-prod"], "AWS::SNS::TopicPolicy").values()
    publish, events, tls = policy["Properties"]["PolicyDocument"]["Statement"]
    assert events["Principal"] == {"Service": "events.amazonaws.com"}
    assert publish["Condition"]["StringEquals"]["aws:SourceAccount"] == {
        "Fn::Sub": "${AWS::AccountId}"
    }
    assert (tls["Effect"], tls["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_every_alarm_tells_the_topic(templates: Templates) -> None:
    alarms = of_type(templates["nightshift-prod"], "AWS::CloudWatch::Alarm")
    assert set(alarms) == {"AwakeTooLong", "TaskEventsUnheard", "WakeUpLost"}
    for alarm in alarms.values():
        assert alarm["Properties"]["AlarmActions"] == [{"Ref": "Alerts"}]
        assert alarm["Properties"]["TreatMissingData"] == "notBreaching"
        said = alarm["Properties"]["AlarmDescription"]
        assert said.startswith("nightshift-prod: ")
        assert all(part in said for part in ("Where: ", "Why: ", "Next: "))
        # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
        assert len(said) <= 1024
    assert len(alarms) <= 10, "ten are free"


def test_a_budget_of_what_is_set(synthesise: Synthesise) -> None:
    template = synthesise({"monthly_budget_usd": "12.50"})["nightshift-prod"]
    (budget,) = of_type(template, "AWS::Budgets::Budget").values()
    assert budget["Properties"]["Budget"]["BudgetLimit"] == {"Amount": 12.5, "Unit": "USD"}
    assert budget["Properties"]["Budget"]["CostFilters"] == {
        "TagKeyValue": ["user:nightshift$nightshift-prod"]
    }
    none = synthesise({"monthly_budget_usd": "0", "awake_hours_alarm": 0})["nightshift-prod"]
    assert not of_type(none, "AWS::Budgets::Budget")
    assert "AwakeTooLong" not in none["Resources"]


def test_jobs_that_write_are_named_apart(synthesise: Synthesise) -> None:
    made = synthesise({}, [deployment("a/b", reads("in/"), writes("out/"))])
    text = json.dumps(made["nightshift-prod-identity"])
    assert "nightshift-prod-job-a-b" in text
    assert "cost-report" not in text
