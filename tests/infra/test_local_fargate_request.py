"""What the local Fargate makes of a RunTask request, and what it refuses in ECS's words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.fargate.request import Refused, planned

DEFINITION: dict[str, Any] = {
    "family": "job",
    "taskDefinitionArn": "arn:aws:ecs:us-east-1:123456789012:task-definition/job:1",
    "cpu": "256",
    "memory": "512",
    "networkMode": "awsvpc",
    "requiresCompatibilities": ["FARGATE"],
    "taskRoleArn": "arn:aws:iam::123456789012:role/job",
    "executionRoleArn": "arn:aws:iam::123456789012:role/execution",
    "containerDefinitions": [
        {
            "name": "main",
            "image": "an-image",
            "command": ["its", "own"],
            "environment": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
        }
    ],
}
REQUEST: dict[str, Any] = {
    "taskDefinition": "job",
    "launchType": "FARGATE",
    "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-1"]}},
}


def test_what_is_not_overridden_is_the_definitions() -> None:
    task = planned(REQUEST, DEFINITION)
    assert (task.cpu, task.memory, task.stop_timeout) == (256, 512, 30)
    assert task.container["command"] == ["its", "own"]
    assert task.task_role.endswith("/job")
    assert (task.cluster, task.group, task.started_by) == ("default", "family:job", "")
    assert (task.launch_type, task.provider) == ("FARGATE", "")


def test_overrides() -> None:
    overrides = {
        "cpu": "1024",
        "memory": "4096",
        "taskRoleArn": "arn:aws:iam::123456789012:role/other",
        "containerOverrides": [
            {
                "name": "main",
                "command": ["another"],
                "environment": [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}],
            }
        ],
    }
    task = planned({**REQUEST, "overrides": overrides}, DEFINITION)
    assert (task.cpu, task.memory) == (1024, 4096)
    assert task.task_role.endswith("/other")
    assert task.execution_role.endswith("/execution")
    assert task.container["command"] == ["another"]
    environment = {each["name"]: each["value"] for each in task.container["environment"]}
    assert environment == {"A": "1", "B": "3", "C": "4"}
    assert DEFINITION["containerDefinitions"][0]["command"] == ["its", "own"]  # left as it is


def test_spot_is_a_capacity_provider() -> None:
    request = {**REQUEST, "capacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT"}]}
    del request["launchType"]
    task = planned(request, DEFINITION)
    assert (task.launch_type, task.provider) == ("FARGATE", "FARGATE_SPOT")


def _container(**changed: Any) -> dict[str, Any]:
    return {"containerDefinitions": [{**DEFINITION["containerDefinitions"][0], **changed}]}


@pytest.mark.parametrize(
    ("request_", "definition", "text"),
    [
        ({"launchType": "EC2"}, {}, "No Container Instances"),
        ({"launchType": ""}, {}, "No Container Instances"),
        ({"capacityProviderStrategy": [{"capacityProvider": "FARGATE"}]}, {}, "not both"),
        ({"networkConfiguration": {}}, {}, "Network Configuration must be provided"),
        ({"count": 11}, {}, "Count"),
        ({"count": -1}, {}, "Count"),
        ({"overrides": {"cpu": "256", "memory": "8192"}}, {}, "No Fargate configuration exists"),
        ({"overrides": {"cpu": "a lot"}}, {}, "Invalid 'cpu' setting"),
        ({"overrides": {"containerOverrides": [{"name": "x"}]}}, {}, "named x is not a container"),
        ({}, {"networkMode": "bridge"}, "awsvpc"),
        ({}, {"requiresCompatibilities": ["EC2"]}, "does not support launch_type FARGATE"),
        ({}, {"cpu": None}, "No Fargate configuration exists"),
        (
            {},
            {"executionRoleArn": "", **_container(logConfiguration={"logDriver": "awslogs"})},
            "execution role ARN to support log driver awslogs",
        ),
        (
            {},
            {"executionRoleArn": "", **_container(secrets=[{"name": "A", "valueFrom": "/a"}])},
            "execution role ARN to support secrets",
        ),
        (
            {},
            {"executionRoleArn": "", **_container(image="1.dkr.ecr.us-east-1.amazonaws.com/a")},
            "execution role ARN to support ECR images",
        ),
    ],
)
def test_what_is_refused(request_: dict[str, Any], definition: dict[str, Any], text: str) -> None:
    with pytest.raises(Refused) as refused:
        planned(REQUEST | request_, DEFINITION | definition)
    assert text in refused.value.message
    assert refused.value.code in ("ClientException", "InvalidParameterException")


_VARIABLES = st.dictionaries(st.sampled_from("ABCDE"), st.text(max_size=3))


@given(_VARIABLES, _VARIABLES)
def test_of_each_variable_the_override_wins(own: dict[str, str], other: dict[str, str]) -> None:
    def listed(values: dict[str, str]) -> list[dict[str, str]]:
        return [{"name": name, "value": value} for name, value in values.items()]

    override = {"containerOverrides": [{"name": "main", "environment": listed(other)}]}
    definition = DEFINITION | _container(environment=listed(own))
    task = planned({**REQUEST, "overrides": override}, definition)
    merged = {each["name"]: each["value"] for each in task.container["environment"]}
    assert merged == own | other
