"""The picture shows what the templates say, and nothing else."""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from flows.problem import Problem
from infra.picture.draw import draw, fitted, width
from infra.picture.graph import Graph, graph
from infra.picture.layout import BORDER, WIDTH, Line, layout
from infra.picture.nodes import IN_OTHERS, NOT_SHOWN
from infra.picture.template import read

SVG = Path(__file__).parents[2] / "docs/architecture.svg"
Template = dict[str, Any]
DATA = "arn:aws:s3:::n-data-${AWS::AccountId}-us-east-1"
STATE = "arn:aws:s3:::n-state-${AWS::AccountId}-us-east-1"


def resource(type: str, **properties: Any) -> Template:
    return {"Type": f"AWS::{type}", "Properties": properties}


def sub(text: str) -> Template:
    return {"Fn::Sub": text}


def arn(service: str, name: str) -> Template:
    return sub(f"arn:aws:{service}:us-east-1:${{AWS::AccountId}}:{name}")


def ref(id: str) -> Template:
    return {"Ref": id}


def role(name: str, service: str, *grants: tuple[str, Any], effect: str = "Allow") -> Template:
    statements = [{"Effect": effect, "Action": a, "Resource": r} for a, r in grants]
    return resource(
        "IAM::Role",
        RoleName=f"n-{name}",
        AssumeRolePolicyDocument={
            "Statement": {"Principal": {"Service": f"{service}.amazonaws.com"}}
        },
        Policies=[{"PolicyDocument": {"Statement": statements}}],
    )


def role_arn(name: str) -> Template:
    return sub(f"arn:aws:iam::${{AWS::AccountId}}:role/n-{name}")


def job(name: str, *grants: tuple[str, str]) -> Template:
    return role(f"job-{name}", "ecs-tasks", *((a, sub(r)) for a, r in grants))


def installation() -> dict[str, Template]:
    """Two small stacks: CodeCommit, an orchestrator that sleeps, one job."""
    identity = {
        "BuildRole": role(
            "build",
            "codebuild",
            ("ecr:PutImage", arn("ecr", "repository/n")),
            ("ecs:UpdateService", arn("ecs", "service/n/orchestrator")),
        ),
        "PipelineRole": role(
            "pipeline", "codepipeline", ("codebuild:StartBuild", arn("codebuild", "project/n"))
        ),
        "PushRole": role(
            "push", "events", ("codepipeline:StartPipelineExecution", arn("codepipeline", "n"))
        ),
        "SchedulerRole": role(
            "scheduler",
            "scheduler",
            ("ecs:UpdateService", arn("ecs", "service/n/orchestrator")),
            ("sns:Publish", arn("sns", "n-alerts")),
        ),
        "ExecutionRole": role(
            "execution", "ecs-tasks", ("ecr:BatchGetImage", arn("ecr", "repository/n"))
        ),
        "OrchestratorRole": role(
            "orchestrator",
            "ecs-tasks",
            ("ecs:RunTask", arn("ecs", "task-definition/n-job*:*")),
            ("iam:PassRole", [role_arn("execution"), role_arn("job-*")]),
            ("sqs:ReceiveMessage", arn("sqs", "n-tasks")),
            ("scheduler:UpdateSchedule", arn("scheduler", "schedule/n/wake-up")),
            ("scheduler:UpdateSchedule", arn("scheduler", "schedule/n/watchdog")),
            ("s3:GetObject", sub(f"{STATE}/prefect/*")),
        ),
        "Job": job(
            "report",
            ("s3:GetObject", f"{DATA}/bills/*"),
            ("s3:GetObject", f"{DATA}/reports/*"),
            ("s3:PutObject", f"{DATA}/reports/*"),
        ),
    }
    rest = {
        "Source": resource("CodeCommit::Repository", RepositoryName="n"),
        "OnPush": resource(
            "Events::Rule",
            Name="n-push",
            EventPattern={
                "resources": [arn("codecommit", "n")],
                "detail": {"referenceName": ["main"]},
            },
            Targets=[{"Arn": arn("codepipeline", "n"), "RoleArn": role_arn("push")}],
        ),
        "Release": resource(
            "CodePipeline::Pipeline",
            Name="n",
            RoleArn=role_arn("pipeline"),
            Stages=[
                {"Actions": [action("CodeCommit", RepositoryName="n", BranchName="main")]},
                {"Actions": [action("CodeBuild", ProjectName=ref("Build"))]},
            ],
        ),
        "Build": resource(
            "CodeBuild::Project",
            Name="n",
            ServiceRole=role_arn("build"),
            Environment={
                "EnvironmentVariables": [
                    {"Name": "IMAGE", "Value": {"Fn::Join": ["", ["ecr", "/", ref("Images")]]}},
                    {"Name": "SERVICE", "Value": "orchestrator"},
                ]
            },
        ),
        "Images": resource("ECR::Repository", RepositoryName="n"),
        "Cluster": resource("ECS::Cluster", ClusterName="n"),
        "Task": resource(
            "ECS::TaskDefinition",
            Family="n-orchestrator",
            TaskRoleArn=role_arn("orchestrator"),
            ExecutionRoleArn=role_arn("execution"),
            ContainerDefinitions=[{"Image": {"Fn::Join": ["", ["ecr/", ref("Images"), ":live"]]}}],
        ),
        "Service": resource(
            "ECS::Service",
            ServiceName="orchestrator",
            Cluster=ref("Cluster"),
            TaskDefinition=ref("Task"),
            NetworkConfiguration={"AwsvpcConfiguration": {"SecurityGroups": [ref("Inside")]}},
        ),
        "Inside": resource("EC2::SecurityGroup"),
        "Jobs": resource("EC2::SecurityGroup"),
        "LetIn": resource(
            "EC2::SecurityGroupIngress", GroupId=ref("Inside"), SourceSecurityGroupId=ref("Jobs")
        ),
        "WakeUp": resource(
            "Scheduler::Schedule",
            Name="wake-up",
            GroupName="n",
            ScheduleExpression="rate(1 day)",
            Target={
                "Arn": "arn:aws:scheduler:::aws-sdk:ecs:updateService",
                "RoleArn": role_arn("scheduler"),
                "Input": '{"Cluster": "n", "Service": "orchestrator", "DesiredCount": 1}',
            },
        ),
        "Watchdog": resource(
            "Scheduler::Schedule",
            Name="watchdog",
            GroupName="n",
            ScheduleExpression="rate(1 day)",
            Target={
                "Arn": "arn:aws:scheduler:::aws-sdk:sns:publish",
                "RoleArn": role_arn("scheduler"),
                "Input": sub('{"TopicArn": "arn:aws:sns:us-east-1:${AWS::AccountId}:n-alerts"}'),
            },
        ),
        "Tasks": resource("SQS::Queue", QueueName="n-tasks"),
        "TaskEvents": resource(
            "Events::Rule",
            Name="n-tasks",
            EventPattern={
                "detail-type": ["ECS Task State Change"],
                "detail": {"clusterArn": [arn("ecs", "cluster/n")]},
            },
            Targets=[{"Arn": {"Fn::GetAtt": ["Tasks", "Arn"]}}],
        ),
        "Data": resource("S3::Bucket", BucketName=sub("n-data-${AWS::AccountId}-us-east-1")),
        "State": resource("S3::Bucket", BucketName=sub("n-state-${AWS::AccountId}-us-east-1")),
        "Alerts": resource("SNS::Topic", TopicName="n-alerts"),
        "Failed": resource(
            "Events::Rule",
            Name="n-failed",
            EventPattern={"detail": {"pipeline": ["n"]}},
            Targets=[{"Arn": ref("Alerts")}],
        ),
    }
    outputs = {
        "DataBucket": {"Value": ref("Data")},
        "StateBucket": {"Value": ref("State")},
        "JobSecurityGroup": {"Value": ref("Jobs")},
        "CapacityProvider": {"Value": "FARGATE_SPOT"},
    }
    named = {"Report": {"Description": "report/daily", "Value": {"Fn::GetAtt": ["Job", "Arn"]}}}
    return {
        "n-identity": {"Resources": identity, "Outputs": named},
        "n": {"Resources": rest, "Outputs": outputs},
    }


def action(provider: str, **configuration: Any) -> Template:
    return {"ActionTypeId": {"Provider": provider}, "Configuration": configuration}


def of(stacks: dict[str, Template], id: str) -> Template:
    found: Template = next(t["Resources"][id] for t in stacks.values() if id in t["Resources"])
    return found["Properties"]  # type: ignore[no-any-return]


def arrows(found: Graph) -> set[tuple[str, str]]:
    return {(edge.source, edge.target) for edge in found.edges}


def label(found: Graph, source: str, target: str) -> str:
    return next(e.label for e in found.edges if (e.source, e.target) == (source, target))


# --- both workflows ------------------------------------------------------------------------------


def test_development_ends_in_the_image_and_operation_starts_from_it() -> None:
    found = graph(installation())
    assert arrows(found) == {
        ("Developers", "Source"),
        ("Source", "OnPush"),
        ("OnPush", "Release"),
        ("Release", "Build"),
        ("Build", "Images"),
        ("Build", "Service"),
        ("Images", "Service"),
        ("Images", "Job"),
        ("WakeUp", "Service"),
        ("Service", "WakeUp"),
        ("Service", "Watchdog"),
        ("Watchdog", "Alerts"),
        ("Service", "Job"),
        ("Job", "Service"),
        ("Job", "Data"),
        ("Data", "Job"),
        ("State", "Service"),
        ("Cluster", "TaskEvents"),
        ("TaskEvents", "Tasks"),
        ("Tasks", "Service"),
        ("Release", "Failed"),
        ("Failed", "Alerts"),
    }
    assert label(found, "Images", "Service") == ":live"
    assert label(found, "Data", "Job") == "reads bills/, reports/"
    assert label(found, "Job", "Data") == "writes reports/"
    assert found.node("Job").name == "report/daily"
    assert found.node("Job").details == ("role n-job-report", "on Fargate Spot")


@pytest.mark.parametrize(
    ("gone", "arrow"),
    [
        ("OnPush", ("OnPush", "Release")),
        ("PushRole", ("OnPush", "Release")),
        ("PipelineRole", ("Release", "Build")),
        ("BuildRole", ("Build", "Images")),
        ("BuildRole", ("Build", "Service")),
        ("Task", ("Images", "Service")),
        ("ExecutionRole", ("Images", "Job")),
        ("OrchestratorRole", ("Service", "Job")),
        ("OrchestratorRole", ("Tasks", "Service")),
        ("SchedulerRole", ("WakeUp", "Service")),
        ("SchedulerRole", ("Watchdog", "Alerts")),
        ("WakeUp", ("WakeUp", "Service")),
        ("LetIn", ("Job", "Service")),
        ("TaskEvents", ("TaskEvents", "Tasks")),
    ],
)
def test_without_what_makes_it_there_is_no_arrow(gone: str, arrow: tuple[str, str]) -> None:
    stacks = installation()
    assert arrow in arrows(graph(stacks))
    for template in stacks.values():
        template["Resources"].pop(gone, None)
    assert arrow not in arrows(graph(stacks))


def test_a_target_that_is_not_ours_is_no_arrow() -> None:
    stacks = installation()
    of(stacks, "WakeUp")["Target"]["Input"] = (
        '{"Cluster": "n", "Service": "other", "DesiredCount": 1}'
    )
    of(stacks, "Task")["ContainerDefinitions"][0]["Image"] = "public.ecr.aws/other:live"
    found = arrows(graph(stacks))
    assert ("WakeUp", "Service") not in found
    assert ("Images", "Service") not in found


def test_what_is_denied_again_is_no_arrow() -> None:
    stacks = installation()
    policy = of(stacks, "Job")["Policies"][0]["PolicyDocument"]
    policy["Statement"].append({"Effect": "Deny", "Action": "s3:Put*", "Resource": "*"})
    found = arrows(graph(stacks))
    assert ("Job", "Data") not in found
    assert ("Data", "Job") in found


def test_a_connection_starts_the_pipeline_itself() -> None:
    stacks = installation()
    rest = stacks["n"]["Resources"]
    del rest["Source"], rest["OnPush"]
    configuration = {"FullRepositoryId": "acme/jobs", "BranchName": "main", "DetectChanges": "true"}
    stage = of(stacks, "Release")["Stages"][0]
    stage["Actions"] = [action("CodeStarSourceConnection", **configuration)]
    found = graph(stacks)
    assert [node.name for node in found.of("source")] == ["acme/jobs"]
    assert label(found, "Elsewhere", "Release") == "a push to main starts"
    stage["Actions"][0]["Configuration"]["DetectChanges"] = "false"
    assert ("Elsewhere", "Release") not in arrows(graph(stacks))


def test_a_repository_that_was_there_before() -> None:
    stacks = installation()
    del stacks["n"]["Resources"]["Source"]
    found = graph(stacks)
    assert [(node.name, node.details) for node in found.of("source")] == [
        ("n", ("was there before",))
    ]
    assert {("Developers", "Elsewhere"), ("Elsewhere", "OnPush")} <= arrows(found)


def test_an_orchestrator_without_history_has_no_arrow_to_it() -> None:
    stacks = installation()
    policy = of(stacks, "OrchestratorRole")["Policies"][0]["PolicyDocument"]
    policy["Statement"] = [s for s in policy["Statement"] if s["Action"] != "s3:GetObject"]
    found = graph(stacks)
    assert [node.id for node in found.of("state")] == ["State"]
    assert not any("State" in arrow for arrow in arrows(found))


def test_two_deployments_have_a_box_and_labels_each() -> None:
    stacks = two_deployments()
    found = graph(stacks)
    assert [node.name for node in found.of("job")] == ["report/daily", "n-job-orders"]
    assert label(found, "Orders", "Data") == "writes orders/"
    assert label(found, "partner-drop", "Orders") == "reads in/"
    assert found.node("Orders").details[-1] == "also secretsmanager:GetSecretValue"
    drawn = draw(found)
    for text in ("writes orders/", "writes reports/", "reads in/", "role job-orders"):
        assert drawn.count(f">{text}</text>") == 1


def two_deployments() -> dict[str, Template]:
    stacks = installation()
    resources = stacks["n-identity"]["Resources"]
    resources["Orders"] = job(
        "orders",
        ("s3:GetObject", "arn:aws:s3:::partner-drop/in/*"),
        ("s3:PutObject", f"{DATA}/orders/*"),
    )
    resources["More"] = resource(
        "IAM::ManagedPolicy",
        Roles=[ref("Orders")],
        PolicyDocument={
            "Statement": {
                "Effect": "Allow",
                "Action": "secretsmanager:GetSecretValue",
                "Resource": "*",
            }
        },
    )
    return stacks


def test_an_alert_that_nobody_hears_says_so() -> None:
    stacks = installation()
    drawn = draw(graph(stacks))
    assert ">failed: pipeline n</text>" in drawn
    stacks["n"]["Resources"]["Alarm"] = resource(
        "CloudWatch::Alarm",
        AlarmName="n-late",
        Dimensions=[{"Name": "ServiceName", "Value": "orchestrator"}],
    )
    assert ">late: service orchestrator (tells nobody)</text>" in draw(graph(stacks))


# --- a place for everything ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("id", "new"),
    [
        ("Table", resource("DynamoDB::Table")),  # a type that nobody has placed
        ("Scratch", resource("S3::Bucket", BucketName="n-scratch")),  # whose bucket?
        ("Astray", resource("Events::Rule", Name="n-astray", Targets=[])),
    ],
)
def test_what_has_no_place_is_an_error_that_names_it(id: str, new: Template) -> None:
    stacks = installation()
    stacks["n"]["Resources"][id] = new
    with pytest.raises(Problem, match=f"no place in the picture[^$]*{id}"):
        graph(stacks)


def test_two_in_one_place_are_an_error() -> None:
    stacks = installation()
    stacks["n"]["Resources"]["Second"] = resource("SNS::Topic", TopicName="n-second")
    with pytest.raises(Problem, match="one place"):
        layout(graph(stacks))


def test_stacks_that_share_a_logical_id_are_an_error() -> None:
    stacks = installation()
    stacks["n"]["Resources"]["Job"] = resource("SNS::Topic")
    with pytest.raises(Problem, match="same logical id"):
        read(stacks)


def test_what_is_left_out_has_a_reason() -> None:
    assert not set(NOT_SHOWN) & set(IN_OTHERS)
    assert all({**NOT_SHOWN, **IN_OTHERS}.values())


# --- the drawing ---------------------------------------------------------------------------------


@pytest.mark.parametrize("stacks", [installation(), two_deployments()], ids=["one", "two"])
def test_boxes_are_apart_and_on_the_page(stacks: dict[str, Template]) -> None:
    found = graph(stacks)
    made = layout(found)
    inside = {n.id: made.boxes[n.id] for n in found.nodes if n.kind not in ("cluster", "alert")}
    for id, a in inside.items():
        assert a.x > 0
        assert a.right < WIDTH
        assert a.bottom < made.height
        for other, b in inside.items():
            apart = a.right < b.x or b.right < a.x or a.bottom < b.y or b.bottom < a.y
            assert id == other or apart, (id, other)


def test_the_image_stands_in_both_lanes() -> None:
    found = graph(installation())
    boxes = layout(found).boxes
    assert boxes["Images"].y < BORDER < boxes["Images"].bottom
    assert max(boxes[id].bottom for id in ("Source", "OnPush", "Release", "Build")) < BORDER
    assert min(boxes[id].y for id in ("WakeUp", "Service", "Job", "Data", "Tasks")) > BORDER


@pytest.mark.parametrize("stacks", [installation(), two_deployments()], ids=["one", "two"])
def test_no_arrow_goes_through_a_label(stacks: dict[str, Template]) -> None:
    assert not list(crossings(graph(stacks)))


def test_no_arrow_goes_through_a_label_in_the_repository(templates: dict[str, Template]) -> None:
    assert not list(crossings(graph(templates)))


def crossings(found: Graph) -> Iterator[tuple[str, Line]]:
    lines = layout(found).lines
    for line in lines:
        wide = min(width(line.label, 11), line.room)
        left = line.at[0] - (wide / 2 if line.anchor == "middle" else 0)
        for other in lines if line.label else ():
            for (x1, y1), (x2, y2) in pairwise(other.points):
                beside = max(x1, x2) < left or min(x1, x2) > left + wide
                above = max(y1, y2) < line.at[1] - 9 or min(y1, y2) > line.at[1] + 3
                if not (beside or above):
                    yield line.label, other


def test_the_same_templates_are_the_same_bytes_whatever_their_order() -> None:
    stacks = installation()
    again = dict(reversed(copy.deepcopy(stacks).items()))
    assert draw(graph(stacks)) == draw(graph(again))


def test_names_are_text_and_never_markup() -> None:
    stacks = installation()
    stacks["n-identity"]["Outputs"]["Report"]["Description"] = "<b>&/daily"
    texts = [element.text for element in ET.fromstring(draw(graph(stacks))).iter()]
    assert "<b>&/daily" in texts


def test_a_long_name_keeps_its_ends() -> None:
    short = fitted("a-name-that-is-much-too-long-for-its-box", 11, 120)
    assert short.startswith("a-name")
    assert short.endswith("box")
    assert width(short, 11) <= 120
    assert fitted("short", 11, 120) == "short"


# --- what is in the repository -------------------------------------------------------------------


def test_the_picture_is_up_to_date(templates: dict[str, Template]) -> None:
    assert SVG.read_text() == draw(graph(templates)), "run `make picture`"
