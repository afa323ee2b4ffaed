"""From a push to the end of a build, with a buildspec of a few lines instead of the image's."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from infra.local.aws import ACCOUNT
from infra.local.iam import NotTrusted, assume
from infra.local.release import events, source
from infra.local.release.pipelines import why
from tests.infra.release_place import (
    CODECOMMIT,
    NAME,
    PIPELINE_ARN,
    RIGHTS,
    STATE_CHANGES,
    Place,
    build_of,
    buildspec,
    count,
    nap,
    place_of,
    until,
    without,
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with ExitStack() as stack:
        place = place_of(stack, tmp_path_factory.mktemp("release"), CODECOMMIT)
        yield place
        # Nothing that was asked or answered is otherwise than AWS's models have it.
        moto = {"location"}  # of projects, which AWS has none of
        assert [each for each in place.findings if not moto & set(each.text.split())] == []


@pytest.fixture
def silent(place: Place) -> Place:
    place.told()
    return place


def test_a_build_runs_the_commits_own_commands(silent: Place) -> None:
    place = silent
    commit = place.push(
        buildspec(
            "KEPT=$COLOUR",
            'echo "$KEPT $CODEBUILD_RESOLVED_SOURCE_VERSION $CODEBUILD_INITIATOR"',
            "cat words; aws sts get-caller-identity --query Arn --output text",
            'test -z "${SSL_CERT_FILE:-}${PYTHONPATH:-}" && python3 -c "import boto3"',
        ),
        words="of the commit\n",
    )
    execution = place.start()
    assert execution.over.wait(60)
    assert (execution.status, execution.commit) == ("Succeeded", commit)
    log = place.log(execution)
    assert f"blue {commit} codepipeline/{NAME}" in log
    assert "of the commit" in log
    (arn,) = (line for line in log if line.startswith("arn:"))
    assert arn.startswith(f"arn:aws:sts::{ACCOUNT}:assumed-role/codebuild/AWSCodeBuild-")
    client = place.client("codepipeline")
    told = client.get_pipeline_execution(pipelineName=NAME, pipelineExecutionId=execution.id)
    assert told["pipelineExecution"]["status"] == "Succeeded"
    (revision,) = told["pipelineExecution"]["artifactRevisions"]
    assert revision["revisionId"] == commit
    (newest, *_) = client.list_pipeline_executions(pipelineName=NAME)["pipelineExecutionSummaries"]
    assert newest["pipelineExecutionId"] == execution.id
    state = client.get_pipeline_state(name=NAME)
    assert [each["latestExecution"]["status"] for each in state["stageStates"]] == ["Succeeded"] * 2
    (build,) = place.client("codebuild").batch_get_builds(ids=[build_of(execution)])["builds"]
    assert build["resolvedSourceVersion"] == commit
    assert [phase["phaseType"] for phase in build["phases"]] == [
        *("SUBMITTED", "QUEUED", "PROVISIONING", "DOWNLOAD_SOURCE", "BUILD", "UPLOAD_ARTIFACTS"),
        *("FINALIZING", "COMPLETED"),
    ]
    assert list((place.folder / "builds").glob("*")) == []  # nothing of it is left


def test_it_tells_of_itself_in_order(silent: Place) -> None:
    place = silent
    execution = place.run("true")
    told = [each for each in place.told() if each["detail-type"] in STATE_CHANGES]
    shown = [
        (each["source"], each["detail"].get("action", ""), state(each["detail"])) for each in told
    ]
    assert [each for each in shown if each[0] == "aws.codepipeline"] == [
        ("aws.codepipeline", "", "STARTED"),
        ("aws.codepipeline", "Source", "STARTED"),
        ("aws.codepipeline", "Source", "SUCCEEDED"),
        ("aws.codepipeline", "Build", "STARTED"),
        ("aws.codepipeline", "Build", "SUCCEEDED"),
        ("aws.codepipeline", "", "SUCCEEDED"),
    ]
    assert [each[2] for each in shown if each[0] == "aws.codebuild"] == ["IN_PROGRESS", "SUCCEEDED"]
    for each in told:
        assert each["resources"]
        if each["source"] == "aws.codepipeline":
            assert each["detail"]["execution-id"] == execution.id
            assert each["detail"]["pipeline"] == NAME
            assert each["resources"] == [PIPELINE_ARN]


def state(detail: dict[str, Any]) -> str:
    return str(detail.get("state") or detail["build-status"])


def test_a_command_that_fails_is_named(silent: Place) -> None:
    place = silent
    execution = place.run("echo begun", "sh -c 'exit 3'", "echo never")
    summary = (
        "Build terminated with state: FAILED. Phase: BUILD, Code: COMMAND_EXECUTION_ERROR, "
        "Message: Error while executing command: sh -c 'exit 3'. Reason: exit status 3"
    )
    assert execution.status == "Failed"
    log = place.log(execution)
    assert "begun" in log
    assert "never" not in log
    told = place.told()
    (failed,) = (
        each["detail"]
        for each in told
        if each["detail-type"] == events.ACTION and each["detail"]["state"] == "FAILED"
    )
    build = build_of(execution)
    assert failed["execution-result"] == {
        "external-execution-url": "https://console.aws.amazon.com/codebuild/home"
        f"?region=us-east-1#/builds/{build}/view/new",
        "external-execution-summary": summary,
        "external-execution-id": build,
        "error-code": "JobFailed",
    }
    assert failed["type"] == {
        "owner": "AWS",
        "provider": "CodeBuild",
        "category": "Build",
        "version": "1",
    }
    (ended,) = (
        each["detail"]
        for each in told
        if each["detail-type"] == events.PIPELINE and each["detail"]["state"] == "FAILED"
    )
    assert ended["execution-id"] == execution.id
    stage = place.client("codepipeline").get_pipeline_state(name=NAME)["stageStates"][1]
    latest = stage["actionStates"][0]["latestExecution"]
    assert latest["errorDetails"] == {"code": "JobFailed", "message": summary}
    (newest, *_) = place.client("codepipeline").list_action_executions(pipelineName=NAME)[
        "actionExecutionDetails"
    ]
    assert newest["output"]["executionResult"]["externalExecutionSummary"] == summary


def test_a_buildspec_that_is_not_there_is_said(place: Place) -> None:
    source.commit(place.repository, place.folder / "clone", {"buildspec.yml": None}, "Gone")
    execution = place.start()
    assert execution.over.wait(30)
    assert execution.failed is not None
    assert "Phase: DOWNLOAD_SOURCE, Code: YAML_FILE_ERROR" in execution.failed.summary


def test_of_three_in_quick_succession_the_second_gives_way(silent: Place, tmp_path: Path) -> None:
    place = silent
    gate = tmp_path / "gate"
    place.push(buildspec(f"while ! test -e {gate}; do sleep 0.05; done"))
    first = place.start()
    until(lambda: any(action.stage == "Build" for action in first.actions))
    second = place.start()
    until(lambda: second.commit)
    commit = place.push(buildspec(f"test -e {gate}"))
    third = place.start()
    assert second.over.wait(30)
    assert second.status == "Superseded"
    gate.touch()
    assert first.over.wait(30)
    assert third.over.wait(30)
    assert (first.status, third.status) == ("Succeeded", "Succeeded")
    assert third.commit == commit
    states = {
        each["detail"]["execution-id"]: each["detail"]["state"]
        for each in place.told()
        if each["detail-type"] == events.PIPELINE
    }
    assert states == {first.id: "SUCCEEDED", second.id: "SUPERSEDED", third.id: "SUCCEEDED"}


def test_a_build_that_is_stopped_leaves_no_process(place: Place, tmp_path: Path) -> None:
    mark = nap()
    place.push(buildspec(f"{mark} & {mark}"))
    execution = place.start()
    until(lambda: count(mark) == 2)
    place.client("codebuild").stop_build(id=build_of(execution))
    assert execution.over.wait(30)
    assert execution.failed is not None
    assert execution.failed.summary == "Build terminated with state: STOPPED"
    assert count(mark) == 0


def test_a_build_that_takes_too_long_ends(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place.builds, "minute", 0.2)
    execution = place.run("sleep 1000")
    assert execution.failed is not None
    assert "state: TIMED_OUT. Phase: BUILD, Code: BUILD_TIMED_OUT" in execution.failed.summary


def test_a_builds_program_goes_when_its_starter_is_killed(place: Place, tmp_path: Path) -> None:
    """SIGKILL to the cloud: what the build has started goes too."""
    mark = nap()
    folder = tmp_path / "build"
    (folder / "source").mkdir(parents=True)
    (folder / "source" / "buildspec.yml").write_text(buildspec(mark))
    environment = {"PATH": "/usr/bin:/bin", "BUILDSPEC": "buildspec.yml"}
    (folder / "environment.json").write_text(json.dumps(environment))
    code = (
        "import pathlib, sys; from infra.local.release.builds import _started; "
        "_started(pathlib.Path(sys.argv[1])).wait()"
    )
    starter = subprocess.Popen([sys.executable, "-c", code, str(folder)])
    until(lambda: count(mark) == 1)
    starter.kill()
    starter.wait()
    until(lambda: count(mark) == 0)


# --- rights --------------------------------------------------------------------------------------


def test_nothing_was_refused_and_every_grant_is_used(place: Place) -> None:
    """Last of those that build: it looks back at all of them."""
    assert place.aws.record is not None
    for role in RIGHTS:
        assert place.aws.record.refused(role) == []
        unused = {grant.action for grant in place.aws.record.unused(role)}
        assert unused <= {"codeconnections:UseConnection"}, role


@pytest.mark.parametrize(
    ("service", "action", "stage", "code"),
    [
        ("codepipeline", "codecommit:GetBranch", "Source", "PermissionError"),
        ("codepipeline", "codecommit:UploadArchive", "Source", "PermissionError"),
        ("codepipeline", "s3:PutObject", "Source", "PermissionError"),
        ("codepipeline", "codebuild:StartBuild", "Build", "PermissionError"),
        ("codebuild", "s3:GetObject", "Build", "JobFailed"),
        ("codebuild", "logs:CreateLogStream", "Build", "JobFailed"),
    ],
)
def test_without_a_right_it_fails_there(
    place: Place, service: str, action: str, stage: str, code: str
) -> None:
    place.push(buildspec("true", f": without {action}"))
    with without(place.aws, service, action):
        execution = place.start()
        assert execution.over.wait(30)
    failed = execution.failed
    assert failed is not None
    assert (failed.stage, failed.code) == (stage, code), failed.summary
    assert action in failed.summary


def test_the_roles_are_for_their_services_alone(place: Place) -> None:
    with pytest.raises(NotTrusted):
        assume(f"arn:aws:iam::{ACCOUNT}:role/codebuild", "codepipeline.amazonaws.com")


def test_a_summary_of_a_build_without_a_reason() -> None:
    assert why({"buildStatus": "STOPPED", "phases": []}) == "Build terminated with state: STOPPED"
