"""Where the orchestrator is, from what ECS and the stacks say."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from deployments.orchestrator import surroundings as module
from deployments.orchestrator.surroundings import Surroundings, surroundings
from deployments.outputs import Outputs
from flows.problem import Problem
from tests.deployments.stack import OUTPUTS

TASK = "arn:aws:ecs:eu-west-1:123456789012:task/nightshift-prod/0123"
DIGEST = f"sha256:{'a' * 64}"
METADATA: dict[str, Any] = {  # as Fargate has it
    "Cluster": "arn:aws:ecs:eu-west-1:123456789012:cluster/nightshift-prod",
    "TaskARN": TASK,
    "LaunchType": "FARGATE",
    "Containers": [
        {
            "Name": "orchestrator",
            "Image": f"{OUTPUTS['ImageRepository']}:live",
            "ImageID": DIGEST,
            "Networks": [{"NetworkMode": "awsvpc", "IPv4Addresses": ["10.0.0.7"]}],
        }
    ],
}
VALUES = {
    **OUTPUTS,
    "ServiceName": "nightshift-prod-orchestrator",
    "WakeUpSchedule": "nightshift-prod/wake-up",
    "WatchdogSchedule": "nightshift-prod/watchdog",
    "AlertTopic": "arn:aws:sns:eu-west-1:123456789012:nightshift-prod-alerts",
}


class Metadata:
    """ECS's endpoint, of a task that says what a test wants."""

    content: bytes = json.dumps(METADATA).encode()
    asked: str = ""

    def __init__(self) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked = self.path
                self.send_response(200)
                self.end_headers()
                self.wfile.write(outer.content)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v4/0123"


@pytest.fixture
def metadata() -> Iterator[Metadata]:
    made = Metadata()
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@pytest.fixture
def values(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    found = dict(VALUES)
    monkeypatch.setattr(module, "outputs", lambda stack: Outputs(stack, found, {}))
    return found


def environment(metadata: Metadata, **more: str) -> dict[str, str]:
    return {
        "NIGHTSHIFT_STACK": "nightshift-prod",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "ECS_CONTAINER_METADATA_URI_V4": metadata.url,
        **more,
    }


def look(metadata: Metadata, **more: str) -> Surroundings:
    return surroundings(environment(metadata, **more))


def test_all_there_is(metadata: Metadata, values: dict[str, str]) -> None:
    found = look(metadata)
    assert metadata.asked == "/v4/0123/task"
    assert found == Surroundings(
        mode="asleep",
        lead=timedelta(minutes=2),
        overdue=timedelta(minutes=30),
        history_days=60,
        task=TASK,
        cluster="nightshift-prod",
        service="nightshift-prod-orchestrator",
        image=f"{OUTPUTS['ImageRepository']}@{DIGEST}",
        repository=OUTPUTS["ImageRepository"],
        region="eu-west-1",
        address="10.0.0.7",
        api="http://10.0.0.7:4200/api",
        bucket="the-state",
        wake_up=("nightshift-prod", "wake-up"),
        watchdog=("nightshift-prod", "watchdog"),
        topic="arn:aws:sns:eu-west-1:123456789012:nightshift-prod-alerts",
        queue="nightshift-prod-tasks",
        outputs=Outputs("nightshift-prod", values, {}),
    )
    assert found.digest == DIGEST


def test_settings(metadata: Metadata, values: dict[str, str]) -> None:
    found = look(
        metadata,
        NIGHTSHIFT_ORCHESTRATOR="always",
        NIGHTSHIFT_WAKE_LEAD="60",
        NIGHTSHIFT_HISTORY_DAYS="7",
        NIGHTSHIFT_OVERDUE_MINUTES="0",
    )
    assert found.overdue == timedelta()
    assert (found.mode, found.lead, found.history_days) == ("always", timedelta(minutes=1), 7)
    assert look(metadata, NIGHTSHIFT_ORCHESTRATOR="", NIGHTSHIFT_WAKE_LEAD="").mode == "asleep"


def test_another_server_has_its_own_address(metadata: Metadata, values: dict[str, str]) -> None:
    away = "https://prefect.example.com/api"
    found = look(metadata, NIGHTSHIFT_ORCHESTRATOR="external", PREFECT_API_URL=away)
    assert found.api == away
    # In the other modes the variable is not looked at.
    assert look(metadata, PREFECT_API_URL=away).api == "http://10.0.0.7:4200/api"
    with pytest.raises(Problem) as caught:
        look(metadata, NIGHTSHIFT_ORCHESTRATOR="external")
    assert caught.value.where == {"variable": "PREFECT_API_URL"}


def test_a_stack_without_a_wake_up(metadata: Metadata, values: dict[str, str]) -> None:
    del values["WakeUpSchedule"]
    assert look(metadata).wake_up == ("", "")


def test_a_stack_that_is_older_than_the_image(metadata: Metadata, values: dict[str, str]) -> None:
    """A push brings the image, and only `make deploy` what it watches with."""
    del values["WatchdogSchedule"]
    assert look(metadata).watchdog == ("", "")


@pytest.mark.parametrize(
    "variable", ["NIGHTSHIFT_STACK", "AWS_DEFAULT_REGION", "ECS_CONTAINER_METADATA_URI_V4"]
)
def test_what_is_needed(metadata: Metadata, values: dict[str, str], variable: str) -> None:
    for given in ({variable: ""}, {}):
        wanted = environment(metadata) | given
        if not given:
            del wanted[variable]
        with pytest.raises(Problem, match="needs is not set") as caught:
            surroundings(wanted)
        assert caught.value.where == {"variable": variable}


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"NIGHTSHIFT_ORCHESTRATOR": "sleepy"}, "no such kind"),
        ({"NIGHTSHIFT_WAKE_LEAD": "soon"}, "not a number"),
        ({"NIGHTSHIFT_HISTORY_DAYS": "many"}, "not a number"),
    ],
)
def test_what_makes_no_sense(
    metadata: Metadata, values: dict[str, str], given: dict[str, str], match: str
) -> None:
    with pytest.raises(Problem, match=match) as caught:
        look(metadata, **given)
    assert caught.value.where == {"variable": next(iter(given))}


@pytest.mark.parametrize("missing", ["StateBucket", "ServiceName", "ClusterName", "TaskQueueName"])
def test_a_stack_that_says_too_little(
    metadata: Metadata, values: dict[str, str], missing: str
) -> None:
    del values[missing]
    with pytest.raises(Problem, match=missing):
        look(metadata)


@pytest.mark.parametrize("said", [b"", b"<html>", b"[]", b"{}", b'{"Containers": []}'])
def test_ecs_says_something_else(metadata: Metadata, values: dict[str, str], said: bytes) -> None:
    metadata.content = said
    with pytest.raises(Problem, match="does not say which task"):
        look(metadata)


def test_a_container_that_is_not_ours(metadata: Metadata, values: dict[str, str]) -> None:
    """GuardDuty's, for one, which comes with every task where it is switched on."""
    agent = {
        "Name": "aws-guardduty-agent",
        "Image": "593207742271.dkr.ecr.eu-west-1.amazonaws.com/aws-guardduty-agent-fargate:latest",
        "ImageID": f"sha256:{'b' * 64}",
        "Networks": [{"NetworkMode": "awsvpc", "IPv4Addresses": ["10.0.0.7"]}],
    }
    (own,) = METADATA["Containers"]
    metadata.content = json.dumps({**METADATA, "Containers": [agent, own]}).encode()
    assert look(metadata).digest == DIGEST


def test_not_on_ecs(values: dict[str, str]) -> None:
    nobody = {"NIGHTSHIFT_STACK": "x", "ECS_CONTAINER_METADATA_URI_V4": "http://127.0.0.1:9/v4"}
    with pytest.raises(Problem, match="does not say which task") as caught:
        surroundings({**nobody, "AWS_DEFAULT_REGION": "eu-west-1"})
    assert "make wake" in str(caught.value)
