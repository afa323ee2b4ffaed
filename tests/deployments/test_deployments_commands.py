"""`python -m deployments`, and what importing it costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from prefect.client.orchestration import SyncPrefectClient

from deployments.__main__ import main
from deployments.outputs import outputs
from flows.problem import Problem
from tests.deployments.project import ENTRY, SMALL, VARIABLES, entry, write
from tests.deployments.stack import IMAGE, OUTPUTS

REPOSITORY = Path(__file__).parents[2]
ROLES = {"CopyDaily": "copy/daily", "NothingByHand": "nothing/by-hand"}


def stack(name: str, made: dict[str, dict[str, str]]) -> None:
    resource = {"Topic": {"Type": "AWS::SNS::Topic"}}
    template = {"Resources": resource, "Outputs": made}
    boto3.client("cloudformation").create_stack(StackName=name, TemplateBody=json.dumps(template))


@pytest.fixture
def stacks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        stack("nightshift-dev", {key: {"Value": value} for key, value in OUTPUTS.items()})
        stack(
            "nightshift-dev-identity",
            {key: {"Value": f"arn:{key}", "Description": name} for key, name in ROLES.items()},
        )
        yield


# --- outputs -------------------------------------------------------------------------------------


def test_the_outputs_of_both_stacks(stacks: None) -> None:
    found = outputs("nightshift-dev")
    assert found.values == OUTPUTS
    assert found.roles == {"copy/daily": "arn:CopyDaily", "nothing/by-hand": "arn:NothingByHand"}


def test_a_stack_that_is_not_there(stacks: None) -> None:
    with pytest.raises(Problem, match="cannot be read") as caught:
        outputs("nightshift-prod")
    assert caught.value.where == {"stack": "nightshift-prod", "region": "us-east-1"}
    assert "NIGHTSHIFT_STACK" in caught.value.fix


# --- check ---------------------------------------------------------------------------------------


def test_check_says_what_is_fine(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NIGHTSHIFT_DATA_BUCKET", raising=False)
    assert main(["check", "--file", str(write(folder, ENTRY, SMALL))]) == 0
    assert capsys.readouterr().out == "copy/daily: fine\nnothing/by-hand: fine\n"


def test_check_says_what_is_wrong(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(folder, entry({"tags": 1, "schedules.0.cron": "x"}))
    assert main(["check", "--file", str(file)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "2 problems" in said.err
    assert "Traceback" not in said.err


# --- reconcile -----------------------------------------------------------------------------------


def reconcile(file: Path, *more: str) -> int:
    return main(
        ["reconcile", "--stack", "nightshift-dev", "--image", IMAGE, "--file", str(file), *more]
    )


def test_reconcile(
    prefect: SyncPrefectClient,
    stacks: None,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NIGHTSHIFT_DATA_BUCKET", raising=False)
    file = write(folder, ENTRY, SMALL)
    steps = [
        "create the work pool fargate",
        "create copy/daily",
        "make the scheduled runs of copy/daily",
        "create nothing/by-hand",
    ]
    assert reconcile(file, "--dry-run") == 0
    assert capsys.readouterr().out.splitlines() == [f"would {step}" for step in steps]
    assert prefect.read_deployments() == []
    assert reconcile(file) == 0
    assert capsys.readouterr().out.splitlines() == steps
    found = {deployment.name: deployment for deployment in prefect.read_deployments()}
    assert found["daily"].parameters["source"] == "s3://the-bucket/in/"
    assert found["daily"].job_variables["task_role_arn"] == "arn:CopyDaily"
    assert reconcile(file) == 0
    assert capsys.readouterr().out == "nothing to change\n"


def test_reconcile_changes_nothing_when_something_is_wrong(
    prefect: SyncPrefectClient, stacks: None, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(folder, SMALL, entry({"name": "unknown"}))  # it has no role
    assert reconcile(file) == 1
    assert "deployment copy/unknown" in capsys.readouterr().err
    assert prefect.read_deployments() == []
    image = ["--image", "somewhere:live"]
    assert main(["reconcile", "--stack", "nightshift-dev", "--file", str(file), *image]) == 1
    assert "digest" in capsys.readouterr().err


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=REPOSITORY,
        env={**os.environ, **VARIABLES, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("url", "says"),
    [("", "not said which Prefect server"), ("http://127.0.0.1:9/api", "does not answer")],
)
def test_without_a_server(url: str, says: str) -> None:
    done = run(
        "-c",
        "from deployments.reconcile import reconciled\n"
        "from flows.problem import Problem\n"
        "try: reconciled([], {})\n"
        "except Problem as problem: print(problem)\n",
        PREFECT_API_URL=url,
        PREFECT_CLIENT_MAX_RETRIES="0",
    )
    assert says in done.stdout, done.stderr
    assert "PREFECT_API_URL" in done.stdout


@pytest.mark.parametrize("command", [[], ["check"], ["reconcile"], ["straighten"]])
def test_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*command, "--help"])
    assert caught.value.code == 0
    assert "python -m deployments" in capsys.readouterr().out


# --- imports -------------------------------------------------------------------------------------


def test_what_infra_imports_of_it_is_light() -> None:
    """`infra` reads deployments at every command: Prefect takes a second to import."""
    done = run("-c", "import sys, deployments.declared; print(*sorted(sys.modules))")
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"prefect", "prefect_aws", "boto3", "botocore", "pydantic"}


def test_it_imports_nothing_of_infra() -> None:
    modules = [
        f"deployments.{path.stem}"
        for path in (REPOSITORY / "deployments").glob("*.py")
        if not path.stem.startswith("_")
    ]
    done = run("-c", f"import sys, {', '.join(modules)}; print(*sorted(sys.modules))")
    loaded: set[Any] = {name.partition(".")[0] for name in done.stdout.split()}
    assert "deployments" in loaded, done.stderr
    assert not loaded & {"infra", "aws_cdk"}
