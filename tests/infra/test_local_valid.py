"""Requests and responses held against botocore's models, by themselves and as they pass."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.core.responses import BaseResponse
from moto.ecs.responses import EC2ContainerServiceResponse

from infra.local.aws import ACCOUNT, LocalAws
from infra.local.valid import (
    MOTOS_OWN,
    Finding,
    check_request,
    check_response,
    check_shape,
    validated,
)

# --- values --------------------------------------------------------------------------------------

RUN: dict[str, Any] = {
    "taskDefinition": "t",
    "count": 1,
    "networkConfiguration": {
        "awsvpcConfiguration": {"subnets": ["s"], "assignPublicIp": "ENABLED"}
    },
    "overrides": {"containerOverrides": [{"name": "x", "environment": [{"name": "A"}]}]},
}


def test_a_request_as_it_should_be() -> None:
    assert check_request("ecs", "RunTask", RUN) == []
    assert check_request("sqs", "SendMessage", {"QueueUrl": "u", "MessageBody": "m"}) == []


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"taskDefinition": None}, 'Missing required parameter in input: "taskDefinition"'),
        ({"cuont": 1}, 'Unknown parameter in input: "cuont"'),
        ({"count": "1"}, "Invalid type for parameter count, value: 1"),
        ({"launchType": "FARGATES"}, "launchType: 'FARGATES' is none of EC2, FARGATE"),
        (
            {"overrides": {"containerOverrides": [{"nam": "x"}]}},
            'Unknown parameter in overrides.containerOverrides[0]: "nam"',
        ),
    ],
)
def test_a_request_with_a_mistake(change: dict[str, Any], found: str) -> None:
    params = {key: value for key, value in (RUN | change).items() if value is not None}
    (text,) = check_request("ecs", "RunTask", params)
    assert text.startswith(found)


NOW = datetime(2026, 12, 1, tzinfo=UTC)
TASK: dict[str, Any] = {
    "taskArn": f"arn:aws:ecs:us-east-1:{ACCOUNT}:task/c/1",
    "lastStatus": "STOPPED",
    "stopCode": "EssentialContainerExited",
    "createdAt": NOW,
    "version": 3,
    "enableExecuteCommand": False,
    "containers": [{"name": "x", "exitCode": 1}],
}


def answered(**change: Any) -> list[str]:
    return check_response("ecs", "DescribeTasks", {"tasks": [TASK | change], "failures": []})


def test_a_response_as_it_should_be() -> None:
    assert answered() == []
    assert (
        check_response("ecs", "RunTask", {"tasks": [], "ResponseMetadata": {"any": "thing"}}) == []
    )
    assert check_response("sqs", "DeleteMessage", {}) == []


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"lastStatuz": "STOPPED"}, "tasks[0].lastStatuz: Task has no such member"),
        ({"stopCode": "Bored"}, "tasks[0].stopCode: 'Bored' is none of TaskFailedToStart"),
        ({"createdAt": "2026-12-01"}, "tasks[0].createdAt: '2026-12-01' is no timestamp"),
        ({"createdAt": datetime(2026, 12, 1)}, "tasks[0].createdAt: "),  # of no time zone
        ({"version": "3"}, "tasks[0].version: '3' is no long"),
        ({"version": True}, "tasks[0].version: True is no long"),
        ({"enableExecuteCommand": 0}, "tasks[0].enableExecuteCommand: 0 is no boolean"),
        ({"lastStatus": None}, "tasks[0].lastStatus: None is no string"),
        ({"containers": {}}, "tasks[0].containers: {} is no list"),
        ({"containers": ["x"]}, "tasks[0].containers[0]: 'x' is no structure"),
        (
            {"containers": [{}, {"exit": 1}]},
            "tasks[0].containers[1].exit: Container has no such member",
        ),
    ],
)
def test_a_response_with_a_mistake(change: dict[str, Any], found: str) -> None:
    (text,) = answered(**change)
    assert text.startswith(found)


def test_a_response_that_lacks_something() -> None:
    found = check_response("scheduler", "CreateSchedule", {})
    assert found == ["ScheduleArn: is required"]
    assert check_response("sqs", "PurgeQueue", {"Purged": True}) == ["Purged: unknown"]


def test_keys_of_a_map() -> None:
    given = {"Messages": [{"Attributes": {"SentTimestamp": "1", "SentTmestamp": "1"}}]}
    (text,) = check_response("sqs", "ReceiveMessage", given)
    assert text.startswith("Messages[0].Attributes['SentTmestamp']: 'SentTmestamp' is none of")


def test_the_detail_of_an_event_has_its_times_as_text() -> None:
    detail = TASK | {"createdAt": "2026-12-01T00:00:00.123Z", "updatedAt": "2026-12-01T00:00:01Z"}
    assert check_shape("ecs", "Task", detail, also=("updatedAt",)) == []
    assert check_shape("ecs", "Task", detail) == ["updatedAt: Task has no such member"]
    (text,) = check_shape("ecs", "Task", detail | {"createdAt": NOW}, also=("updatedAt",))
    assert text.endswith("is no timestamp")
    assert check_shape("ecs", "Task", "a task") == ["Task: 'a task' is no structure"]
    assert check_shape("ecs", "Task", {"createdAt": "soon"}) == [
        "createdAt: 'soon' is no timestamp"
    ]


# --- what passes ---------------------------------------------------------------------------------

SERVICES = ("ecs", "scheduler", "sqs", "logs", "events")


def texts(findings: list[Finding]) -> list[str]:
    return [str(finding) for finding in findings]


def test_what_boto3_and_moto_say_to_each_other(aws: LocalAws) -> None:
    """Nothing but what is expected of moto."""
    role = f"arn:aws:iam::{ACCOUNT}:role/r"
    with validated(SERVICES) as findings:
        sqs, events = aws.client("sqs"), aws.client("events")
        url = sqs.create_queue(QueueName="q", Attributes={"DelaySeconds": "0"})["QueueUrl"]
        sqs.send_message(
            QueueUrl=url,
            MessageBody="m",
            MessageAttributes={"A": {"DataType": "Binary", "BinaryValue": b"1"}},
        )
        sqs.receive_message(QueueUrl=url, MessageAttributeNames=["All"], AttributeNames=["All"])
        events.put_events(Entries=[{"Source": "s", "DetailType": "d", "Detail": "{}", "Time": NOW}])
        scheduler = aws.client("scheduler")
        scheduler.create_schedule(
            Name="s",
            ScheduleExpression="rate(1 day)",
            FlexibleTimeWindow={"Mode": "OFF"},
            StartDate=datetime(2100, 1, 1, tzinfo=UTC),
            Target={"Arn": url, "RoleArn": role, "Input": "i"},
        )
        assert scheduler.get_schedule(Name="s")["StartDate"].year == 2100
        assert len(scheduler.list_schedules()["Schedules"]) == 1
        scheduler.delete_schedule(Name="s")
        ecs = aws.client("ecs")
        ecs.create_cluster(clusterName="c")
        ecs.describe_tasks(cluster="c", tasks=["1"])
        with pytest.raises(ClientError):
            ecs.describe_tasks(cluster="none", tasks=["1"])
        logs = aws.client("logs")
        logs.create_log_group(logGroupName="g")
        logs.create_log_stream(logGroupName="g", logStreamName="s")
        logs.put_log_events(
            logGroupName="g", logStreamName="s", logEvents=[{"timestamp": 1, "message": "m"}]
        )
        logs.get_log_events(logGroupName="g", logStreamName="s")
    assert texts(findings) == []


def test_motos_own_findings_are_there(aws: LocalAws) -> None:
    with validated(["scheduler"], known={}) as findings:
        aws.client("scheduler").create_schedule(
            Name="s",
            ScheduleExpression="rate(1 day)",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={"Arn": "a", "RoleArn": "arn:aws:iam::123456789012:role/r"},
        )
        aws.client("scheduler").list_schedules()
    places = {
        f"scheduler:ListSchedules response {text.text.split(':')[0].replace('[0]', '[]')}"
        for text in findings
    }
    assert places == set(MOTOS_OWN)  # else an entry can go


def test_a_request_that_no_client_should_send(aws: LocalAws) -> None:
    ecs = aws.client("ecs")
    ecs.create_cluster(clusterName="c")

    def spoil(params: dict[str, Any], **_: Any) -> None:
        body = json.loads(params["body"]) | {"launchType": "FARGATES", "clutser": "c"}
        params["body"] = json.dumps(body).encode()

    ecs.meta.events.register("before-call.ecs.ListTasks", spoil)
    with validated(["ecs"]) as findings:
        ecs.list_tasks(cluster="c")
    first, second = texts(findings)
    assert first.startswith("ecs:ListTasks request, launchType: 'FARGATES' is none of EC2, FARGATE")
    assert second == "ecs:ListTasks request, clutser: ListTasksRequest has no such member"


def test_a_fake_that_answers_nonsense(aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3 itself would not notice any of it."""
    ecs = aws.client("ecs")
    ecs.create_cluster(clusterName="c")
    made = {"lastStatuz": "RUNNING", "createdAt": 1.5, "stoppedAt": None, "launchType": "MOON"}
    monkeypatch.setattr(
        EC2ContainerServiceResponse,
        "describe_tasks",
        lambda _: json.dumps({"tasks": [made], "failures": []}),
    )
    with validated(SERVICES, operations=("DescribeTasks",)) as findings:
        ecs.describe_tasks(cluster="c", tasks=["1"])
        ecs.list_clusters()
    assert [finding.text.partition(" is none")[0] for finding in findings] == [
        "tasks[0].lastStatuz: Task has no such member",
        "tasks[0].launchType: 'MOON'",
    ]
    assert {(f.service, f.operation, f.side) for f in findings} == {
        ("ecs", "DescribeTasks", "response")
    }
    monkeypatch.setattr(EC2ContainerServiceResponse, "describe_tasks", lambda _: "<tasks/>")
    with validated(["ecs"]) as broken:
        ecs.describe_tasks(cluster="c", tasks=["1"])
    assert texts(broken) == ["ecs:DescribeTasks response, body: is no JSON"]
    monkeypatch.undo()
    with validated(SERVICES, operations=("ListClusters",)) as others:
        ecs.describe_tasks(cluster="c", tasks=["1"])
    assert others == []


def test_it_ends(aws: LocalAws) -> None:
    before = BaseResponse.call_action
    with validated(["ecs"]):
        assert BaseResponse.call_action is not before
    assert BaseResponse.call_action is before


def test_services_that_do_not_speak_json_are_not_taken() -> None:
    with pytest.raises(ValueError, match="iam speaks query"), validated(["iam"]):
        pass
