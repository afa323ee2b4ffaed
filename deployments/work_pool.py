"""The work pool: how the worker turns a flow run into an ECS task on Fargate.

Made from the template that the installed prefect-aws has, place by place. A place that it no longer
has is a Problem here, and tests/deployments compares the whole with what this was written for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from deployments.meter.task import ARCHITECTURE, CAPACITY, PUBLIC_IP
from flows.problem import Problem

TYPE = "ecs"
PLATFORM = "ARM64"
# What the worker runs by itself (`BaseJobConfiguration._base_flow_run_command`), metered.
COMMAND = "python -m deployments.meter prefect flow-run execute"
SCRATCH = "/tmp"  # noqa: S108 - where a task may write: its root file system is read-only


def base_job_template(
    outputs: Mapping[str, str], image: str, *, external: bool = False
) -> dict[str, Any]:
    """The base job template of the pool.

    `outputs`: the stack's. `image`: by digest; here rather than in each deployment, so that one
    change switches all of them, and a release that changes no declaration touches no deployment.
    `external`: the API is someone else's and wants a key, not our own name and password.
    """
    from prefect_aws.workers import ECSWorker  # late: it takes a second

    if not re.fullmatch(r"[^@\s]+@sha256:[0-9a-f]{64}", image):
        raise Problem(
            "the image is not named by its digest",
            value=image,
            detail="a tag may be another image at the next run",
            fix="write REPOSITORY@sha256:…, as the registry has it",
        )
    account, region = _account_and_region(output(outputs, "ImageRepository"))
    template: dict[str, Any] = ECSWorker.get_default_base_job_template()
    for variable, value in {
        "image": image,
        "cluster": output(outputs, "ClusterName"),
        "family": output(outputs, "JobFamily"),
        "execution_role_arn": output(outputs, "ExecutionRoleArn"),
        # The launch type makes the definition one for Fargate; in RunTask the strategy takes its
        # place (`ECSWorker._prepare_task_definition`, `_prepare_task_run_request`).
        "launch_type": "FARGATE",
        "capacity_provider_strategy": [
            {"capacityProvider": output(outputs, "CapacityProvider"), "weight": 1, "base": 0}
        ],
        # A worker remembers its definitions only while it lives, and ours lives for minutes.
        "match_latest_revision_in_family": True,
        "auto_deregister_task_definition": False,
        "prefect_api_key_secret_arn" if external else "prefect_api_auth_string_secret_arn": (
            f"arn:aws:ssm:{region}:{account}:parameter{output(outputs, 'ApiSecret')}"
        ),
        "labels": {"nightshift": output(outputs, "ClusterName")},  # whose costs these are
        "env": _environment(outputs, region),
        "command": COMMAND,
    }.items():
        _at(template, f"variables.properties.{variable}")["default"] = value
    _capacity(template)
    _definition(template, outputs, region)
    _request(template, outputs)
    return template


def _environment(outputs: Mapping[str, str], region: str) -> dict[str, str | None]:
    """What each run is given. It goes before what the worker hands on of its own settings."""
    return {
        "AWS_DEFAULT_REGION": region,
        "HOME": SCRATCH,
        "PREFECT_HOME": f"{SCRATCH}/prefect",
        # What is interrupted says so. To put itself back on the schedule (`reschedule`) would be on
        # Spot again, without end: the orchestrator runs it again, the last time on demand.
        "PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR": "crash",
        "PREFECT_CLIENT_MAX_RETRIES": "10",  # half an hour without an API; the default is a minute
        "DO_NOT_TRACK": "1",
        ARCHITECTURE: PLATFORM,
        PUBLIC_IP: output(outputs, "AssignPublicIp"),
        # None takes it away: the server's password would stand in each task's description.
        "PREFECT_SERVER_API_AUTH_STRING": None,
    }


def _capacity(template: dict[str, Any]) -> None:
    """Tells each run on what it runs, whoever says so: the pool, the deployment, or for one run the
    orchestrator. Within a text a value becomes its text (`prefect.utilities.templating`), and what
    stands here in `env` is added to, by the pool's default and by a deployment's own
    (`BaseJobConfiguration.from_template_and_values`).
    """
    strategy = {CAPACITY: "strategy {{ capacity_provider_strategy }}"}
    _replace(template, "job_configuration.env", "{{ env }}", strategy)


def _definition(template: dict[str, Any], outputs: Mapping[str, str], region: str) -> None:
    """What RunTask cannot say. The same for every deployment, so that the worker, which compares
    with the family's latest revision only, registers one for each image and not one for each run.
    """
    place = "job_configuration.task_definition"
    # The smallest there is, and never used: RunTask says what the deployment declares.
    _replace(template, f"{place}.cpu", "{{ cpu }}", "256")
    _replace(template, f"{place}.memory", "{{ memory }}", "512")
    _add(
        template,
        place,
        {
            "runtimePlatform": {"cpuArchitecture": PLATFORM, "operatingSystemFamily": "LINUX"},
            "volumes": [{"name": "scratch"}],
        },
    )
    _add(
        template,
        f"{place}.containerDefinitions.0",
        {
            "stopTimeout": 120,  # Fargate's most: as long as Spot warns beforehand
            "linuxParameters": {"initProcessEnabled": True},  # hands SIGTERM on
            "readonlyRootFilesystem": True,
            "mountPoints": [
                {"sourceVolume": "scratch", "containerPath": SCRATCH, "readOnly": False}
            ],
            # Here and not by `configure_cloudwatch_logs`: with that the worker asks ECS to make
            # the group, which the execution role may not.
            "logConfiguration": {
                "logDriver": "awslogs",
                "options": {
                    "awslogs-group": output(outputs, "JobLogGroup"),
                    "awslogs-region": region,
                    "awslogs-stream-prefix": "job",
                },
            },
        },
    )


def _request(template: dict[str, Any], outputs: Mapping[str, str]) -> None:
    """Given by `network_configuration`, the worker would look up VPC and subnets, which its role
    need not be allowed to.
    """
    _add(
        template,
        "job_configuration.task_run_request",
        {
            "networkConfiguration": {
                "awsvpcConfiguration": {
                    "subnets": output(outputs, "SubnetIds").split(","),
                    "securityGroups": [output(outputs, "JobSecurityGroup")],
                    "assignPublicIp": output(outputs, "AssignPublicIp"),
                }
            }
        },
    )
    overrides = "job_configuration.task_run_request.overrides"
    for name in ("cpu", "memory", "taskRoleArn"):  # what a deployment declares gets there
        _at(template, f"{overrides}.{name}")


def output(outputs: Mapping[str, str], key: str) -> str:
    if not outputs.get(key):
        raise Problem(
            "the stack lacks an output that is needed here",
            where={"output": key},
            detail=f"it has {', '.join(sorted(outputs)) or 'none'}",
            fix="a cloud engineer deploys the stack of this version: make deploy",
        )
    return outputs[key]


def _account_and_region(repository: str) -> tuple[str, str]:
    match = re.match(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com/", repository)
    if not match:
        raise Problem(
            "the image repository does not say its account and region",
            where={"output": "ImageRepository"},
            value=repository,
            fix="see what the stack's output is: 123456789012.dkr.ecr.REGION.amazonaws.com/NAME",
        )
    return match[1], match[2]


# --- places in the template ----------------------------------------------------------------------


def _at(template: Any, path: str) -> Any:
    found = template
    for part in path.split("."):
        try:
            found = found[int(part)] if isinstance(found, list) else found[part]
        except (KeyError, IndexError, TypeError):
            raise _moved(path, "it is not there") from None
    return found


def _add(template: Any, path: str, values: Mapping[str, Any]) -> None:
    found = _at(template, path)
    for key in values:
        if key in found:
            raise _moved(f"{path}.{key}", "it is there already, and would be overwritten")
    found.update(values)


def _replace(template: Any, path: str, old: str, new: str | dict[str, str]) -> None:
    parent, _, key = path.rpartition(".")
    if _at(template, path) != old:
        raise _moved(path, f"it is {_at(template, path)!r} and was {old!r}")
    _at(template, parent)[key] = new


def _moved(path: str, detail: str) -> Problem:
    return Problem(
        "the installed prefect-aws has another job template than this was written for",
        where={"place": path},
        detail=detail,
        fix="see what prefect_aws/workers/ecs_worker.py does now, and mend "
        "deployments/work_pool.py",
    )
