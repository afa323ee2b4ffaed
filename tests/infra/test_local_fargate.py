"""Tasks that really run, as processes and as containers, seen through AWS's API."""

from __future__ import annotations

import itertools
import json
import os
import socket
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from flows.problem import Problem
from infra.local.aws import ACCOUNT
from infra.local.engine import Engine
from infra.local.fargate.containers import Containers
from infra.local.fargate.processes import Processes
from infra.local.fargate.runtime import Runtime
from infra.local.fargate.task import NETWORK, addresses
from infra.local.programs import inside, kill_program, program
from infra.local.valid import check_shape, validated
from tests.infra.fargate_cloud import (
    CLUSTER,
    NEVER,
    OBEDIENT,
    PROJECT,
    STUBBORN,
    Cloud,
    busy_process,
    cloud,
    find_image,
    find_podman,
    processes_with,
    role,
    until,
)
from tests.needs import need


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine | None:
    return find_podman(tmp_path_factory.mktemp("engine"))


@pytest.fixture(scope="module", params=["processes", "podman"])
def kind(request: pytest.FixtureRequest, engine: Engine | None) -> str:
    if request.param == "podman":
        need(engine is not None, "there is no podman")
        assert engine is not None
        need(find_image(engine), "there is no image to run: neither Python's nor our own")
    else:
        need(os.geteuid() == 0, "tasks as processes are tested as root")
    return str(request.param)


@pytest.fixture(scope="module")
def image(kind: str, engine: Engine | None) -> str:
    return find_image(engine) if kind == "podman" and engine is not None else "an-image"


@pytest.fixture(scope="module")
def here(kind: str, image: str, engine: Engine | None) -> Iterator[Cloud]:
    """The one cloud of all tests. What its API is asked and answers is checked throughout."""
    runtime: Runtime = Processes(PROJECT)
    if kind == "podman" and engine is not None:
        runtime = Containers(engine, {})
    with validated(["ecs"]) as findings, cloud(runtime, image) as made:
        made.findings = findings
        yield made
    assert not findings, "\n".join(map(str, findings))


DOCKER = "application/vnd.docker.distribution"
ONLY_CONTAINERS = pytest.mark.parametrize("kind", ["podman"], indirect=True, scope="module")


def ask(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.loads(answer.read())


def variables(lines: list[str]) -> dict[str, str]:
    return dict(line.split("=", 1) for line in lines if "=" in line)


# --- what a task is given ------------------------------------------------------------------------


def test_environment_command_and_hardware(here: Cloud) -> None:
    own = [{"name": "A", "value": "1"}, {"name": "B", "value": "with a\ttab and $HOME"}]
    override = {
        "name": "main",
        "command": ["/bin/sh", "-c", "env"],
        "environment": [{"name": "A", "value": "2"}],
    }
    arn = here.start(
        here.define("exit 1", environment=own),
        overrides={"cpu": "512", "memory": "1024", "containerOverrides": [override]},
        startedBy="someone",
        tags=[{"key": "a", "value": "b"}],
    )
    task = here.end(arn)
    assert [each["exitCode"] for each in task["containers"]] == [0]
    assert (task["cpu"], task["memory"], task["startedBy"]) == ("512", "1024", "someone")
    assert task["overrides"]["containerOverrides"] == [override]
    found = variables(here.lines[arn])
    assert (found["A"], found["B"]) == ("2", "with a\ttab and $HOME")
    assert found["AWS_REGION"] == found["AWS_DEFAULT_REGION"] == "us-east-1"
    assert "AWS_ACCESS_KEY_ID" not in found  # nothing of this process's own
    assert task["tags"] == []  # unless they are asked for
    asked = here.ecs.describe_tasks(cluster=CLUSTER, tasks=[arn], include=["TAGS"])["tasks"]
    assert asked[0]["tags"] == [{"key": "a", "value": "b"}]


@pytest.mark.parametrize("name", ["job", "other"])
def test_credentials_are_those_of_the_tasks_role(here: Cloud, name: str) -> None:
    family = here.define(f"echo URI=$AWS_CONTAINER_CREDENTIALS_FULL_URI; {NEVER}")
    overrides = {} if name == "job" else {"taskRoleArn": role(name)}
    arn = here.start(family, overrides=overrides)
    here.up(arn)
    address = variables(here.lines[arn])["URI"]
    told = ask(address)
    assert told["RoleArn"] == role(name)
    keys = {
        "aws_access_key_id": told["AccessKeyId"],
        "aws_secret_access_key": told["SecretAccessKey"],
        "aws_session_token": told["Token"],
    }
    s3 = here.aws.client("s3", keys)
    s3.put_object(Bucket="bucket", Key=f"{name}/x", Body=b"")
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_object(Bucket="bucket", Key="elsewhere/x", Body=b"")
    here.fargate.kill(here.fargate.task(arn))
    here.end(arn)
    with pytest.raises(urllib.error.HTTPError):  # with the task ends its network
        ask(address)


def test_secrets_are_had_with_the_execution_role(here: Cloud) -> None:
    arn = f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter"
    secrets = [
        {"name": "BY_NAME", "valueFrom": "/fine/secret"},
        {"name": "BY_ARN", "valueFrom": f"{arn}/fine/secret"},
        {"name": "TOP", "valueFrom": f"{arn}/fine"},
    ]
    _, lines = here.run("env", secrets=secrets)
    found = variables(lines)
    assert found["BY_NAME"] == found["BY_ARN"] == "the value of /fine/secret"
    assert found["TOP"] == "the value of fine"


@pytest.mark.parametrize("parameter", ["/private/secret", "/fine/none"])
def test_a_secret_that_cannot_be_had(here: Cloud, parameter: str) -> None:
    secrets = [{"name": "SECRET", "valueFrom": parameter}]
    task, lines = here.run("env", secrets=secrets)
    assert task["stopCode"] == "TaskFailedToStart"
    assert task["stoppedReason"].startswith("ResourceInitializationError")
    assert "exitCode" not in task["containers"][0]
    assert not lines


def test_every_line_is_in_the_log_when_the_task_has_ended(here: Cloud) -> None:
    shell = 'i=0; while [ $i -lt 5000 ]; do echo "line $i"; i=$((i+1)); done; printf last'
    arn = here.start(here.define(shell))
    here.end(arn)
    assert here.logged(arn) == [f"line {number}" for number in range(5000)] + ["last"]


def test_a_log_that_may_not_be_written(here: Cloud) -> None:
    options = {"awslogs-group": "/elsewhere", "awslogs-stream-prefix": "p"}
    options["awslogs-region"] = "us-east-1"
    log = {"logDriver": "awslogs", "options": options}
    task, _ = here.run("echo", logConfiguration=log)
    assert task["stopCode"] == "TaskFailedToStart"
    assert "failed to validate logger args" in task["stoppedReason"]


def test_metadata(here: Cloud, kind: str) -> None:
    arn = here.start(here.define("echo URI=$ECS_CONTAINER_METADATA_URI_V4; while :; do :; done"))
    until(lambda: here.describe(arn)["lastStatus"] == "RUNNING", "it runs")
    here.up(arn)
    address = variables(here.lines[arn])["URI"]
    task, container = ask(f"{address}/task"), ask(address)
    described = here.describe(arn)
    assert task["TaskARN"] == arn
    assert task["Limits"] == {"CPU": 0.25, "Memory": 512}
    for name in ("pullStartedAt", "pullStoppedAt"):
        said = task[name[0].upper() + name[1:]]
        assert said.startswith(described[name].strftime("%Y-%m-%dT%H:%M:%S"))
    assert task["Containers"] == [container]
    (network,) = container["Networks"]
    assert network["NetworkMode"] == "awsvpc"
    (address_of_its_own,) = network["IPv4Addresses"]
    assert address_of_its_own in str(described["attachments"][0]["details"])
    assert (container["KnownStatus"], container["LogDriver"]) == ("RUNNING", "awslogs")
    if kind == "podman":

        def used() -> int:
            return int(ask(f"{address}/stats")["cpu_stats"]["cpu_usage"]["total_usage"])

        stats = f"{address}/task/stats"
        until(lambda: ask(stats)[container["DockerId"]], "there are stats")  # after a second
        before = used()
        until(lambda: used() > before, "more CPU is used")
        memory = ask(stats)[container["DockerId"]]["memory_stats"]
        assert 0 < memory["usage"] <= memory["limit"] == 512 * 1024 * 1024
        assert 0 <= memory["stats"]["inactive_file"] < memory["usage"]
    with pytest.raises(urllib.error.HTTPError, match="404"):
        ask(f"{address}/nothing")
    here.fargate.kill(here.fargate.task(arn))
    here.end(arn)


SERVES = """
import http.server, json, os, urllib.request
task = json.load(urllib.request.urlopen(os.environ["ECS_CONTAINER_METADATA_URI_V4"] + "/task"))
(address,) = task["Containers"][0]["Networks"][0]["IPv4Addresses"]
server = http.server.HTTPServer((address, 4200), http.server.SimpleHTTPRequestHandler)
print("PROXIES=" + " ".join(name for name in os.environ if "proxy" in name.lower()), flush=True)
print("ADDRESS=" + address, flush=True)
server.serve_forever()
"""


def test_each_has_an_address_of_its_own(here: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that listen at the same port; a machine behind a proxy tells them nothing of it."""
    for name in ("http_proxy", "HTTPS_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    family = here.define("", command=["python3", "-c", SERVES])
    first, second = here.start(family), here.start(family)
    here.up(first, second)
    found = {}
    for arn in (first, second):
        until(lambda arn=arn: "ADDRESS" in variables(here.lines[arn]), "it listens")  # type: ignore[misc]
        said = variables(here.lines[arn])
        assert said["PROXIES"] == ""
        task = here.describe(arn)
        (attached,) = task["attachments"]
        details = {each["name"]: each["value"] for each in attached["details"]}
        assert attached["status"] == "ATTACHED"
        assert details["subnetId"] == here.network["awsvpcConfiguration"]["subnets"][0]
        assert details["networkInterfaceId"].startswith("eni-")
        assert details["privateIPv4Address"] == said["ADDRESS"]
        assert task["containers"][0]["networkInterfaces"] == [
            {"attachmentId": attached["id"], "privateIpv4Address": said["ADDRESS"]}
        ]
        found[arn] = ip_address(said["ADDRESS"])
        assert found[arn] in NETWORK
        assert listens(said["ADDRESS"])
    assert found[first] != found[second]
    here.fargate.kill(here.fargate.task(first))
    here.end(first)
    assert not listens(str(found[first]))
    assert listens(str(found[second]))
    here.fargate.kill(here.fargate.task(second))
    here.end(second)


PROGRAMS = """
import subprocess, time
def start(*command):
    return subprocess.Popen(command, executable="/bin/sleep", env={})
first, second = start("litestream", "1000"), start("litestream-of-another", "1001")
print("up", flush=True)
print("LITESTREAM=", first.wait(), sep="", flush=True)
print("OTHER=", second.poll(), sep="", flush=True)
"""


def test_a_program_is_killed_inside_one(here: Cloud) -> None:
    """Also one that has nothing of the task in its environment; the same of another task stays."""
    family = here.define("", command=["python3", "-c", PROGRAMS])
    arns = [here.start(family), here.start(family)]
    here.up(*arns)
    first, second = (here.fargate.task(arn) for arn in arns)
    (found,) = program(first, "litestream")
    assert found.line == "litestream 1000"
    (other,) = program(second, "litestream")
    with pytest.raises(Problem, match="the task has no worker"):
        kill_program(first, "worker")
    assert kill_program(first, "litestream") == [found.pid]
    here.end(arns[0])
    said = variables(here.lines[arns[0]])
    assert (said["LITESTREAM"], said["OTHER"]) == ("-9", "None")
    assert inside(first) == []
    assert program(second, "litestream") == [other]
    here.fargate.kill(second)
    here.end(arns[1])


def listens(address: str) -> bool:
    with socket.socket() as client:
        return client.connect_ex((address, 4200)) == 0


def test_no_address_is_given_twice() -> None:
    found = list(itertools.islice(addresses(NETWORK.num_addresses - 300), 1000))
    assert len(set(found)) == 1000
    assert all(ip_address(each) in NETWORK for each in found)
    assert not [each for each in found if each.endswith((".0", ".255"))]


# --- its life ------------------------------------------------------------------------------------

LIFE = [
    *("PROVISIONING", "PENDING", "ACTIVATING", "RUNNING"),
    *("DEACTIVATING", "STOPPING", "DEPROVISIONING", "STOPPED"),
]
NOT_STARTED = [status for status in LIFE if status not in ("ACTIVATING", "RUNNING")]


def statuses(events: list[dict[str, Any]]) -> list[str]:
    """Without the event that says no more than that the task is to stop."""
    told = [(event["lastStatus"], event["desiredStatus"]) for event in events]
    repeated = [
        number
        for number in range(1, len(told))
        if told[number][0] == told[number - 1][0] and told[number - 1][1] != told[number][1]
    ]
    return [status for number, (status, _) in enumerate(told) if number not in repeated]


def test_every_change_is_told_once_and_in_order(here: Cloud) -> None:
    ends, stopped = here.start(here.define("exit 3")), here.start(here.define(OBEDIENT))
    fails = here.start(here.define(image=f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/none:x"))
    here.up(stopped)
    until(lambda: here.describe(stopped)["lastStatus"] == "RUNNING", "it runs")
    here.stop(stopped)
    for arn, life in ((ends, LIFE), (stopped, LIFE), (fails, NOT_STARTED)):
        task = here.end(arn)
        events = here.events_of(arn)
        assert statuses(events) == life
        versions = [event["version"] for event in events]
        assert versions == list(range(1, len(events) + 1))
        assert task["version"] == versions[-1]
        for event in events:
            assert not check_shape("ecs", "Task", event, also=("updatedAt",))
        assert events[-1]["stoppedReason"] == task["stoppedReason"]
        assert events[-1]["containers"][0].get("exitCode") == task["containers"][0].get("exitCode")


def test_how_tasks_end(here: Cloud) -> None:
    """All at once, for most of the time they wait."""
    simple, stubborn = here.define("exit 3"), here.define(STUBBORN, stopTimeout=1)
    obedient = here.define(OBEDIENT)
    passed_on = here.define(f"echo up; exec {NEVER}", linuxParameters={"initProcessEnabled": True})
    ended = here.start(simple)
    killed, ignores, obeys, init, interrupted = started = [
        here.start(each) for each in (obedient, stubborn, obedient, passed_on, obedient)
    ]
    here.up(*started)
    here.fargate.kill(here.fargate.task(killed))
    here.stop(ignores, reason="enough")
    here.stop(obeys)
    here.stop(init)
    here.fargate.interrupt(here.fargate.task(interrupted))
    exited = ("EssentialContainerExited", "Essential container in task exited")
    by_user = ("UserInitiated", "Task stopped by user")
    expected = {
        ended: (*exited, 3),
        killed: (*exited, 137),
        ignores: ("UserInitiated", "enough", 137),
        obeys: (*by_user, 7),
        init: (*by_user, 143),
        interrupted: ("SpotInterruption", "Your Spot Task was interrupted.", 7),
    }
    for arn, (code, reason, status) in expected.items():
        task = here.end(arn)
        assert (task["stopCode"], task["stoppedReason"]) == (code, reason)
        assert task["containers"][0]["exitCode"] == status
        assert task["containers"][0]["lastStatus"] == task["desiredStatus"] == "STOPPED"
        times = ("createdAt", "pullStartedAt", "pullStoppedAt", "startedAt", "stoppingAt")
        found = [task[each] for each in (*times, "executionStoppedAt", "stoppedAt")]
        assert found == sorted(found)
    here.stop(ended, reason="too late")  # no error, and no change
    assert here.describe(ended)["stoppedReason"] == exited[1]


def test_one_that_is_stopped_before_it_runs(here: Cloud) -> None:
    """SIGTERM may come before the shell has its trap: then the kernel keeps it from it."""
    arn = here.start(here.define(OBEDIENT, stopTimeout=2))
    here.stop(arn)
    task = here.end(arn)
    assert (task["stopCode"], task["lastStatus"]) == ("UserInitiated", "STOPPED")


def test_a_command_that_does_not_exist(here: Cloud) -> None:
    task, _ = here.run("", command=["no-such-command"])
    assert task["stopCode"] == "TaskFailedToStart"
    assert task["containers"][0]["reason"].startswith("CannotStartContainerError")
    assert "no-such-command" in task["containers"][0]["reason"]
    assert "exitCode" not in task["containers"][0]


def test_an_image_that_does_not_exist(here: Cloud) -> None:
    registry = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com"
    for path in ("none:latest", "repository:none", f"repository@sha256:{'0' * 64}"):
        task, _ = here.run("", image=f"{registry}/{path}")
        assert task["stopCode"] == "TaskFailedToStart"
        assert task["stoppedReason"].startswith("CannotPullContainerError")


def test_a_tag_is_pulled_by_the_digest_that_it_has(here: Cloud, kind: str) -> None:
    registry = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com"
    manifest = {"schemaVersion": 2, "mediaType": f"{DOCKER}.manifest.v2+json"}
    answer = here.aws.client("ecr").put_image(
        repositoryName="repository", imageManifest=json.dumps(manifest), imageTag="live"
    )
    digest = answer["image"]["imageId"]["imageDigest"]
    task, _ = here.run("exit 0", image=f"{registry}/repository:live")
    (container,) = task["containers"]
    assert container["image"] == f"{registry}/repository:live"
    if kind == "processes":
        assert container["imageDigest"] == digest
    else:  # there is no registry
        assert f"{registry}/repository@{digest}" in task["stoppedReason"]


@ONLY_CONTAINERS
def test_an_image_that_the_engine_does_not_find(here: Cloud) -> None:
    task, _ = here.run("", image="127.0.0.1:9/none:latest")  # nothing listens there
    assert task["stopCode"] == "TaskFailedToStart"
    assert task["stoppedReason"].startswith("CannotPullContainerError")


def test_no_capacity(here: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    family = here.define("exit 0")
    spot = [{"capacityProvider": "FARGATE_SPOT"}]
    with monkeypatch.context() as patch:
        patch.setattr(here.fargate, "refuse_capacity", lambda task: task.provider != "")
        answer = here.ecs.run_task(**here.request(family, capacityProviderStrategy=spot))
        assert answer["tasks"] == []
        assert answer["failures"][0]["reason"].startswith("Capacity is unavailable")
        assert "exitCode" in here.end(here.start(family))["containers"][0]
    with monkeypatch.context() as patch:
        patch.setattr(here.fargate, "no_machine", lambda _: True)
        arn = here.start(family, capacityProviderStrategy=spot)
        task = here.end(arn)
    assert task["capacityProviderName"] == "FARGATE_SPOT"
    assert task["stopCode"] == "TaskFailedToStart"
    assert task["stoppedReason"].startswith("Capacity is unavailable")
    assert "PENDING" not in statuses(here.events_of(arn))


@ONLY_CONTAINERS
def test_out_of_memory(here: Cloud) -> None:
    task, _ = here.run("", command=["python3", "-c", "bytearray(900_000_000)"])
    assert task["stopCode"] == "EssentialContainerExited"
    assert task["containers"][0]["exitCode"] == 137
    assert task["containers"][0]["reason"].startswith("OutOfMemoryError")


@ONLY_CONTAINERS
def test_what_can_be_written(
    here: Cloud, engine: Engine, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"localhost/nightshift-test-{uuid.uuid4().hex[:8]}"
    engine.run("build", "--tag", name, "-", input=f"FROM {image}\nVOLUME /tmp\nUSER 10001\n")
    try:
        volumes = [
            {"sourceVolume": "empty", "containerPath": "/data"},
            {"sourceVolume": "declared", "containerPath": "/tmp"},
        ]
        task, lines = here.run(
            "stat -c %u:%a /data /tmp; ls -A /data; touch /tmp/x && echo written; touch /var/x",
            image=name,
            readonlyRootFilesystem=True,
            mountPoints=volumes,
        )
        with monkeypatch.context() as patch:
            patch.setattr(here.fargate, "scratch_mb", lambda _: 2)
            full, said = here.run(
                "stat -c %u:%a /tmp; id -u; head -c 1900000 /dev/zero >/tmp/x && echo written;"
                "head -c 1900000 /dev/zero >/tmp/y",
                image=name,
                readonlyRootFilesystem=True,
                mountPoints=volumes,
            )
    finally:
        engine.run("rmi", name)
    assert (said[:3], full["containers"][0]["exitCode"]) == (["0:1777", "10001", "written"], 1)
    assert "No space left on device" in said[3]
    assert lines[:3] == ["0:755", "0:1777", "written"]
    assert "Read-only file system" in lines[3]
    of_the_task = f"name=nightshift-{task['taskArn'].split('/')[-1]}"
    assert engine.run("volume", "ls", "--quiet", "--filter", of_the_task).stdout == ""


# --- the API -------------------------------------------------------------------------------------


def refusal(here: Cloud, operation: str, **request: Any) -> tuple[int, str]:
    """The status and the code of an error, of a request that boto3 would not send."""
    made = here.aws.client("ecs")
    made.meta.events.register("before-call.ecs", lambda params, **_: _put(params, request))
    calls: dict[str, tuple[Any, dict[str, Any]]] = {
        "RunTask": (made.run_task, {"taskDefinition": "x"}),
        "StopTask": (made.stop_task, {"task": "x"}),
        "DescribeTasks": (made.describe_tasks, {"tasks": ["x"]}),
        "ListTasks": (made.list_tasks, {}),
    }
    call, sent = calls[operation]
    with pytest.raises(ClientError) as error:
        call(**sent)  # of which only the address is used
    response = error.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


def _put(params: dict[str, Any], request: dict[str, Any]) -> None:
    params["body"] = json.dumps(request).encode()


def test_malformed_requests_are_errors_of_the_caller(here: Cloud) -> None:
    family = here.define("exit 0")
    good = here.request(family)
    nowhere = {"awsvpcConfiguration": {"subnets": ["subnet-0"]}}
    no_group: dict[str, Any] = {"awsvpcConfiguration": {**here.network["awsvpcConfiguration"]}}
    no_group["awsvpcConfiguration"]["securityGroups"] = ["sg-0"]
    at = {"cluster": CLUSTER}
    other = [{"capacityProvider": "OTHER"}]
    malformed: list[tuple[str, dict[str, Any]]] = [
        ("RunTask", at),
        ("RunTask", {**good, "taskDefinition": "none"}),
        ("RunTask", {**good, "taskDefinition": f"{family}:99"}),
        ("RunTask", {**good, "cluster": "none"}),
        ("RunTask", {**good, "count": 11}),
        ("RunTask", {**good, "networkConfiguration": nowhere}),
        ("RunTask", {**good, "networkConfiguration": no_group}),
        ("RunTask", {**good, "overrides": {"taskRoleArn": role("none")}}),
        ("RunTask", {**good, "overrides": {"taskRoleArn": "none"}}),
        ("RunTask", {**good, "overrides": {"cpu": "a lot"}}),
        ("RunTask", {**good, "overrides": {"containerOverrides": [{"name": "x"}]}}),
        ("RunTask", {**good, "launchType": None, "capacityProviderStrategy": other}),
        ("StopTask", at),
        ("StopTask", {**at, "task": "none"}),
        ("StopTask", {"cluster": "none", "task": "none"}),
        ("DescribeTasks", at),
        ("DescribeTasks", {**at, "tasks": []}),
        ("ListTasks", {"cluster": "none"}),
        ("ListTasks", {**at, "serviceName": "none"}),
    ]
    for operation, request in malformed:
        before = len(here.findings)
        status, code = refusal(here, operation, **request)
        del here.findings[before:]  # they are what is meant
        assert (status, code[0].isupper()) == (400, True), (operation, request, status, code)


def test_what_is_not_there(here: Cloud) -> None:
    answer = here.ecs.describe_tasks(cluster=CLUSTER, tasks=["0" * 32])
    arn = f"arn:aws:ecs:us-east-1:{ACCOUNT}:task/{CLUSTER}/{'0' * 32}"
    assert answer["failures"] == [{"arn": arn, "reason": "MISSING"}]
    with pytest.raises(ClientError, match="The referenced task was not found"):
        here.stop("0" * 32)


def test_lists(here: Cloud) -> None:
    ends, stays = here.define("exit 0"), here.define(OBEDIENT)
    ended, first, second = (
        here.start(ends, startedBy="me"),
        here.start(stays, startedBy="me"),
        here.start(stays),
    )
    here.end(ended)

    def listed(**filters: str) -> list[str]:
        found = here.ecs.list_tasks(cluster=CLUSTER, **filters)["taskArns"]
        return [arn for arn in found if arn in (ended, first, second)]

    assert listed() == listed(family=stays) == [first, second]
    assert listed(startedBy="me") == [first]
    assert listed(desiredStatus="STOPPED") == listed(family=ends, desiredStatus="STOPPED")
    assert listed(family=ends, desiredStatus="STOPPED") == [ended]
    assert listed(launchType="FARGATE") == [first, second]
    assert listed(launchType="EC2") == []
    for arn in (first, second):
        here.stop(arn)
        here.end(arn)


# --- services ------------------------------------------------------------------------------------


def counts(here: Cloud, name: str) -> tuple[int, int]:
    service = here.ecs.describe_services(cluster=CLUSTER, services=[name])["services"][0]
    return service["desiredCount"], service["runningCount"]


def scale(here: Cloud, name: str, count: int) -> None:
    here.ecs.update_service(cluster=CLUSTER, service=name, desiredCount=count)


def test_a_service_wakes_and_sleeps(here: Cloud) -> None:
    here.serve("sleeper", here.define(OBEDIENT), 0)
    scale(here, "sleeper", 1)
    assert counts(here, "sleeper") == (1, 0)  # what is wanted is not what runs
    until(lambda: counts(here, "sleeper") == (1, 1), "it runs")
    (arn,) = here.serving("sleeper")
    here.up(arn)
    scale(here, "sleeper", 0)
    task = here.end(arn)
    assert task["stopCode"] == "ServiceSchedulerInitiated"
    assert task["group"] == "service:sleeper"
    until(lambda: counts(here, "sleeper") == (0, 0), "it sleeps")
    assert here.serving("sleeper") == []


def test_never_two_where_there_may_be_but_one(here: Cloud) -> None:
    limits = {"minimumHealthyPercent": 0, "maximumPercent": 100}
    here.serve("single", here.define(OBEDIENT), deploymentConfiguration=limits)
    until(lambda: counts(here, "single") == (1, 1), "it runs")
    (first,) = here.serving("single")
    here.up(first)
    here.ecs.update_service(cluster=CLUSTER, service="single", forceNewDeployment=True)
    until(lambda: here.serving("single") not in ([], [first]), "it is replaced")
    (second,) = here.serving("single")
    here.end(first)
    until(lambda: counts(here, "single") == (1, 1), "its successor runs")
    here.up(second)
    # another definition is another deployment, and what crashed is started again
    here.ecs.update_service(cluster=CLUSTER, service="single", taskDefinition=here.define(OBEDIENT))
    here.end(second)
    until(lambda: counts(here, "single") == (1, 1), "the other definition runs")
    (third,) = here.serving("single")
    here.fargate.kill(here.fargate.task(third))
    assert here.end(third)["stopCode"] == "EssentialContainerExited"
    until(lambda: here.serving("single") not in ([], [third]), "it is started again")
    here.ecs.delete_service(cluster=CLUSTER, service="single", force=True)
    until(lambda: here.serving("single") == [], "with the service end its tasks")
    for task in here.fargate.tasks():
        if task.planned.group == "service:single":
            assert task.ended.wait(60)


def test_one_that_waits_for_its_successor(here: Cloud) -> None:
    here.serve("healthy", here.define(OBEDIENT))
    until(lambda: counts(here, "healthy") == (1, 1), "it runs")
    (first,) = here.serving("healthy")
    here.up(first)
    here.ecs.update_service(cluster=CLUSTER, service="healthy", forceNewDeployment=True)
    old = here.end(first)
    (second,) = here.serving("healthy")
    assert here.describe(second)["startedAt"] <= old["stoppingAt"]
    here.ecs.delete_service(cluster=CLUSTER, service="healthy", force=True)
    here.end(second)


def test_services_that_are_held_or_cannot_start(here: Cloud) -> None:
    here.fargate.held.add("held")
    here.serve("held", here.define(OBEDIENT))
    here.serve("failing", here.define("", command=["no-such-command"]))
    until(lambda: len(_of("failing", here)) > 1, "it tries again")
    first, second = (here.fargate.task(arn).times for arn in _of("failing", here)[:2])
    assert second["createdAt"] - first["stoppedAt"] >= timedelta(seconds=2)  # after a pause
    assert _of("held", here) == []
    scale(here, "failing", 0)


def _of(service: str, here: Cloud) -> list[str]:
    return [task.arn for task in here.fargate.tasks() if task.planned.group.endswith(service)]


# --- what is left --------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["closed", "killed"])
def test_nothing_is_left(
    kind: str, image: str, engine: Engine | None, tmp_path: Path, how: str
) -> None:
    mark = f"0.{uuid.uuid4().int % 10**12:012}"  # of sleep's own arguments
    with busy_process(kind, image, tmp_path, mark) as process:
        assert processes_with(mark)
        if how == "closed":
            process.communicate("\n", timeout=60)
            assert process.returncode == 0
        else:
            process.kill()
            process.wait()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(tmp_path))
        if kind == "podman" and engine is not None:
            containers = Containers(engine, {})

            def owned() -> bool:
                owners = containers.owners().values()
                return str(process.pid) in [owner.partition(".")[0] for owner in owners]

            if how == "killed":
                assert owned()
                assert processes_with(mark)  # so that there is something to sweep

                # What the engine was about when its caller was killed, it still brings to an end.
                def swept() -> bool:
                    containers.sweep()
                    return not (processes_with(mark) or owned())

                until(swept, "all is swept")
            assert not owned()
        until(lambda: not processes_with(mark), "no process is left", 10)
        assert str(tmp_path) not in Path("/proc/mounts").read_text()
        if how == "killed" and kind == "processes":
            Processes(PROJECT).sweep()
    assert list(tmp_path.glob("nightshift-task-*")) == []
