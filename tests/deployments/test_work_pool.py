"""What the worker makes of the work pool: an ECS task definition, and a call of RunTask."""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import boto3
import pytest
from botocore.validate import validate_parameters
from moto import mock_aws
from prefect.client.schemas.objects import FlowRun
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    PREFECT_SERVER_API_AUTH_STRING,
    temporary_settings,
)
from prefect.workers.base import BaseJobConfiguration
from prefect_aws.credentials import _get_client_cached
from prefect_aws.workers import ecs_worker
from prefect_aws.workers.ecs_worker import ECSJobConfiguration, ECSWorker

from deployments.orchestrator.again import ON_DEMAND
from deployments.work_pool import base_job_template
from flows.problem import Problem
from tests.deployments.stack import IMAGE, NEXT_IMAGE, OUTPUTS

GOLDEN = Path(__file__).parent / "prefect_aws_template.json"
LOG = logging.getLogger(__name__)
ROLE = "arn:aws:iam::123456789012:role/nightshift-prod-job-a"


def configuration(image: str = IMAGE, **values: Any) -> ECSJobConfiguration:
    """As a worker has it for a flow run of a deployment with these job variables."""
    made: ECSJobConfiguration = asyncio.run(
        ECSJobConfiguration.from_template_and_values(
            base_job_template(OUTPUTS, image),
            {"cpu": 1024, "memory": 2048, "task_role_arn": ROLE, **values},
            client=Mock(),
        )
    )
    made.prepare_for_flow_run(run())
    return made


def run() -> FlowRun:
    return FlowRun(flow_id=uuid.uuid4(), deployment_id=uuid.uuid4(), name="it")


def definition(image: str = IMAGE, **values: Any) -> dict[str, Any]:
    return ECSWorker("fargate")._prepare_task_definition(
        configuration(image, **values), "eu-west-1", run()
    )


def test_the_template_it_is_made_from() -> None:
    """When this differs, prefect-aws has changed its worker. See what became of the places that
    deployments/work_pool.py sets (`git diff` after writing the file anew), and of what it says
    about ECSWorker; then keep the new file.
    """
    assert ECSWorker.get_default_base_job_template() == json.loads(GOLDEN.read_text())


# --- what reaches ECS ----------------------------------------------------------------------------


def test_the_task_definition() -> None:
    made = definition()
    (container,) = made.pop("containerDefinitions")
    assert made == {
        "family": "nightshift-prod-job",
        "cpu": "256",
        "memory": "512",
        "executionRoleArn": OUTPUTS["ExecutionRoleArn"],
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "runtimePlatform": {"cpuArchitecture": "ARM64", "operatingSystemFamily": "LINUX"},
        "volumes": [{"name": "scratch"}],
    }
    assert container == {
        "name": "prefect",
        "image": IMAGE,
        "stopTimeout": 120,
        "linuxParameters": {"initProcessEnabled": True},
        "readonlyRootFilesystem": True,
        "mountPoints": [{"sourceVolume": "scratch", "containerPath": "/tmp", "readOnly": False}],
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": "/nightshift-prod/jobs",
                "awslogs-region": "eu-west-1",
                "awslogs-stream-prefix": "job",
            },
        },
        "secrets": [
            {
                "name": "PREFECT_API_AUTH_STRING",
                "valueFrom": "arn:aws:ssm:eu-west-1:123456789012:parameter"
                "/nightshift-prod/prefect-api-auth",
            }
        ],
    }


def test_the_request() -> None:
    # The worker hands its own settings on, but for passwords and its home.
    own = {
        PREFECT_SERVER_API_AUTH_STRING: "name:password",
        PREFECT_API_AUTH_STRING: "name:password",
        PREFECT_API_URL: "http://10.0.0.1:4200/api",
    }
    with temporary_settings(own):
        of = configuration(env={"PREFECT_CLIENT_MAX_RETRIES": "3", "OWN": "value"})
    request = ECSWorker("fargate")._prepare_task_run_request(of, definition(), "arn", False)
    (container,) = request["overrides"].pop("containerOverrides")
    assert request["overrides"] == {"cpu": "1024", "memory": "2048", "taskRoleArn": ROLE}
    assert (container["cpu"], container["memory"]) == (1024, 2048)
    assert request["networkConfiguration"] == {
        "awsvpcConfiguration": {
            "subnets": ["subnet-1", "subnet-2"],
            "securityGroups": ["sg-1"],
            "assignPublicIp": "ENABLED",
        }
    }
    assert request["capacityProviderStrategy"] == [
        {"capacityProvider": "FARGATE_SPOT", "weight": 1, "base": 0}
    ]
    assert "launchType" not in request
    assert request["cluster"] == "nightshift-prod"
    assert {"key": "nightshift", "value": "nightshift-prod"} in request["tags"]
    assert container["command"] == [
        *("python", "-m", "deployments.meter"),
        *BaseJobConfiguration._base_flow_run_command().split(),
    ]
    environment = {item["name"]: item["value"] for item in container["environment"]}
    assert "name:password" not in environment.values()
    expected = {
        "AWS_DEFAULT_REGION": "eu-west-1",
        "HOME": "/tmp",
        "PREFECT_HOME": "/tmp/prefect",
        "PREFECT_API_URL": "http://10.0.0.1:4200/api",
        "PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR": "crash",
        "PREFECT_CLIENT_MAX_RETRIES": "3",
        "OWN": "value",
        "NIGHTSHIFT_ARCHITECTURE": "ARM64",
        "NIGHTSHIFT_PUBLIC_IP": "ENABLED",
    }
    assert {name: environment.get(name) for name in expected} == expected


@pytest.mark.parametrize(
    ("values", "spot"),
    [
        ({}, True),
        ({"capacity_provider_strategy": ON_DEMAND}, False),
        ({"capacity_provider_strategy": ON_DEMAND, "env": {"OWN": "value"}}, False),
        ({"env.OWN": "value"}, True),
    ],
)
def test_a_run_is_told_what_it_runs_on(values: dict[str, Any], spot: bool) -> None:
    """Whoever says so: `FARGATE_SPOT` is in it, or is not."""
    environment = configuration(**values).env
    assert ("FARGATE_SPOT" in (environment["NIGHTSHIFT_CAPACITY"] or "")) is spot
    assert environment["HOME"] == "/tmp"
    assert environment.get("OWN") == ("value" if "env" in str(values) else None)


def test_an_external_api_wants_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    made = base_job_template(OUTPUTS, IMAGE, external=True)["variables"]["properties"]
    assert made["prefect_api_auth_string_secret_arn"]["default"] is None
    assert made["prefect_api_key_secret_arn"]["default"].endswith("/prefect-api-auth")


# --- one revision for each image -----------------------------------------------------------------


def as_ecs_has_it(registered: dict[str, Any]) -> dict[str, Any]:
    """What DescribeTaskDefinition adds: empty lists and its own fields. See the response in
    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeTaskDefinition.html
    """
    (container,) = registered["containerDefinitions"]
    full = {
        **container,
        "cpu": 0,
        "essential": True,
        "portMappings": [],
        "environment": [],
        "environmentFiles": [],
        "volumesFrom": [],
        "systemControls": [],
        "logConfiguration": {**container["logConfiguration"], "secretOptions": []},
    }
    return {
        **registered,
        "containerDefinitions": [full],
        "volumes": [{"name": "scratch", "host": {}}],
        "placementConstraints": [],
        "compatibilities": ["EC2", "FARGATE", "MANAGED_INSTANCES"],
        "requiresAttributes": [{"name": "ecs.capability.task-eni"}],
        "taskDefinitionArn": "arn:aws:ecs:eu-west-1:123456789012:task-definition/x:1",
        "revision": 1,
        "status": "ACTIVE",
        "registeredAt": "2026-11-24T00:00:00Z",
        "registeredBy": "arn:aws:sts::123456789012:assumed-role/x/y",
    }


def test_it_is_equal_to_what_ecs_has() -> None:
    equal = ECSWorker("fargate")._task_definitions_equal
    assert equal(definition(), as_ecs_has_it(definition()), LOG)
    assert not equal(definition(NEXT_IMAGE), as_ecs_has_it(definition()), LOG)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Every AWS call that is made, by service and name. RunTask is checked and goes no further:
    moto wants what Fargate does not need.
    """
    made: list[str] = []
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with mock_aws():
        real = boto3.Session.client

        def watched(*args: Any, **kwargs: Any) -> Any:
            client = real(*args, **kwargs)
            service = client.meta.service_model.service_name
            client.meta.events.register(
                "before-call", lambda model, **_: made.append(f"{service}:{model.name}")
            )
            return client

        def run_task(_: ECSWorker, client: Any, request: dict[str, Any]) -> dict[str, str]:
            shape = client.meta.service_model.operation_model("RunTask").input_shape
            validate_parameters(request, shape)
            made.append("ecs:RunTask")
            return {"taskArn": request["taskDefinition"], "clusterArn": request["cluster"]}

        monkeypatch.setattr(boto3.Session, "client", watched)
        monkeypatch.setattr(ECSWorker, "_create_task_run", run_task)
        _get_client_cached.cache_clear()
        yield made
        _get_client_cached.cache_clear()


def test_a_revision_for_each_image_and_not_for_each_run(
    calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def submit(image: str = IMAGE, **values: Any) -> str:
        """Has a new worker start a run; the definition it used."""
        monkeypatch.setattr(ecs_worker, "_TASK_DEFINITION_CACHE", {})
        of = configuration(image, **values)
        assert of.aws_credentials
        client = of.aws_credentials.get_client("ecs")
        return ECSWorker("fargate")._prepare_and_create_task(LOG, client, of, run())[0]

    first = submit()
    assert calls == [
        "ecs:DescribeTaskDefinition",
        "ecs:RegisterTaskDefinition",
        "ecs:RunTask",
    ], "and nothing of ec2, which the role may not ask"
    # The next day's worker, and another deployment with other hardware and another role.
    assert submit() == first
    assert submit(cpu=4096, memory=8192, task_role_arn="arn:aws:iam::123456789012:role/b") == first
    assert submit(env={"A": "b"}) == first
    assert submit(NEXT_IMAGE) != first
    assert calls.count("ecs:RegisterTaskDefinition") == 2


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("image", ["x", "x:live", "x@sha256:12", "@sha256:" + "0" * 64, ""])
def test_an_image_without_its_digest(image: str) -> None:
    with pytest.raises(Problem, match="not named by its digest"):
        base_job_template(OUTPUTS, image)


@pytest.mark.parametrize("output", ["ClusterName", "SubnetIds", "ApiSecret", "ImageRepository"])
def test_an_output_that_is_missing(output: str) -> None:
    outputs = {key: value for key, value in OUTPUTS.items() if key != output}
    with pytest.raises(Problem, match="lacks an output") as caught:
        base_job_template(outputs, IMAGE)
    assert caught.value.where == {"output": output}
    assert "make deploy" in caught.value.fix


def test_a_repository_of_another_form() -> None:
    with pytest.raises(Problem, match="account and region") as caught:
        base_job_template({**OUTPUTS, "ImageRepository": "somewhere/else"}, IMAGE)
    assert caught.value.value == "somewhere/else"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("variables.properties.image", None),
        ("variables.properties.match_latest_revision_in_family", None),
        ("variables.properties.command", None),
        ("job_configuration.env", {}),
        ("job_configuration.task_definition.cpu", "{{ task_cpu }}"),
        ("job_configuration.task_definition.runtimePlatform", {}),
        ("job_configuration.task_definition.containerDefinitions", []),
        ("job_configuration.task_run_request.networkConfiguration", {}),
        ("job_configuration.task_run_request.overrides.taskRoleArn", None),
    ],
)
def test_a_prefect_aws_of_another_shape(
    monkeypatch: pytest.MonkeyPatch, path: str, value: Any
) -> None:
    template = ECSWorker.get_default_base_job_template()
    *outer, last = path.split(".")
    at: Any = template
    for key in outer:
        at = at[key]
    if value is None:
        del at[last]
    else:
        at[last] = value
    monkeypatch.setattr(ECSWorker, "get_default_base_job_template", lambda: template)
    with pytest.raises(Problem, match="another job template") as caught:
        base_job_template(OUTPUTS, IMAGE)
    assert str(caught.value.where["place"]).startswith(path)
    assert "deployments/work_pool.py" in caught.value.fix
