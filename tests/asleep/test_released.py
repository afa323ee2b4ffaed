"""A push becomes the next run, or changes nothing: the pipeline, real builds, a real registry."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from deployments.outputs import RELEASED
from infra.local.cloud import Cloud
from infra.local.fargate.task import Task
from infra.local.release.executions import Execution
from infra.local.release.scan import finding
from tests.asleep import days
from tests.local_cloud.runs import until

FLOW = "flows/patient.py"
FAULTY = (
    "flows/cost_report/__main__.py"  # the smoke test runs it; what checks prefect.yaml does not
)

# What nothing here has a use for, and who has.
UNUSED = {
    "pipeline": {
        "ReadSource codecommit:CancelUploadArchive": "when an execution is stopped meanwhile",
        "CarryArtifacts s3:GetObject": "an action that takes an artifact without CodeBuild",
        "CarryArtifacts s3:GetObjectVersion": "the same, in a bucket with versions",
        **{
            f"FindArtifacts s3:{action}": "what CodePipeline looks at is not known here"
            for action in ("GetBucketAcl", "GetBucketLocation", "GetBucketVersioning")
        },
    },
    "build": {
        "ReadArtifacts s3:GetObjectVersion": "a bucket with versions",
        **{
            f"FindArtifacts s3:{action}": "what CodeBuild looks at is not known here"
            for action in ("GetBucketAcl", "GetBucketLocation")
        },
        **{
            f"ReadInspectorFindings inspector2:{action}": "a registry with enhanced scanning"
            for action in ("ListCoverage", "ListFindings")
        },
    },
    "source-event": {},
}

Clock = list[tuple[str, float]]


@pytest.fixture(scope="module")
def clock() -> Iterator[Clock]:
    """What each step has taken."""
    steps: Clock = []
    yield steps
    for what, seconds in steps:
        print(f"{seconds:6.1f} s  {what}")


def writes(word: str) -> str:
    """The flow, with another line."""
    changed = days.PATIENT.replace('b"done\\n"', f'b"{word}\\n"')
    assert changed != days.PATIENT
    return changed


def result(cloud: Cloud, prefix: str) -> str:
    s3 = cloud.aws.client("s3")
    body = s3.get_object(Bucket=cloud.bucket, Key=f"{prefix}/done.txt")["Body"]
    return str(body.read().decode().strip())


def live(cloud: Cloud) -> str:
    return cloud.image.partition("@")[2]


def tags_of(cloud: Cloud, digest: str) -> list[str]:
    found = cloud.aws.client("ecr").describe_images(
        repositoryName=cloud.names.installation, imageIds=[{"imageDigest": digest}]
    )
    tags: list[str] = found["imageDetails"][0]["imageTags"]
    return tags


def released(cloud: Cloud, commit: str, clock: Clock, what: str) -> Execution:
    """The execution that a push has started, once it is over."""

    def look() -> Execution | None:
        return next((e for e in cloud.pipeline.executions() if e.commit == commit), None)

    execution = until(look, 30, lambda: f"no execution for {commit}")
    assert execution is not None
    assert execution.over.wait(180), execution
    clock.append((what, (execution.changed - execution.began).total_seconds()))
    return execution


def digest(task: Task) -> str:
    """As DescribeTasks tells it."""
    return str(task.describe()["containers"][0]["imageDigest"])


def digest_of(cloud: Cloud, run: str) -> str:
    (task,) = days.tasks_of(cloud, run)
    return digest(task)


def pulses(cloud: Cloud) -> list[Task]:
    """Of the runs that nobody has asked for: their tasks that have ended well, the first first."""
    role = cloud.names.role_arn("job-patient-pulse")
    return [
        task
        for task in cloud.fargate.tasks()
        if task.planned.task_role == role and task.exit is not None and task.exit.code == 0
    ]


@pytest.fixture(scope="module")
def first(cloud: Cloud, clock: Clock) -> dict[str, Any]:
    """A push that changes a line of a flow and brings a schedule; what then was live."""
    days.sleeps(cloud)
    text = (cloud.project / "prefect.yaml").read_text()
    assert days.PULSE in text
    scheduled = text.replace(days.PULSE, days.at("* * * * *"))
    was = live(cloud)
    (tag,) = [each for each in tags_of(cloud, was) if not each.startswith(("live", RELEASED))]
    commit = cloud.push({FLOW: writes("first"), "prefect.yaml": scheduled}, "A first change")
    execution = released(cloud, commit, clock, "a push that goes live")
    assert execution.status == "Succeeded", execution.failed
    assert live(cloud) != was
    assert sorted(tags_of(cloud, live(cloud))) == sorted(
        [commit[:12], f"{RELEASED}{commit[:12]}", "live"]
    )
    return {"digest": live(cloud), "was": was, "its tag": tag, "without schedule": text}


def test_a_push_becomes_the_next_scheduled_run(
    cloud: Cloud, first: dict[str, Any], clock: Clock
) -> None:
    """Untouched by anyone: the new result, from the new digest."""
    began = time.monotonic()
    (task, *_) = until(lambda: pulses(cloud), 200, lambda: str(cloud.journal()))
    clock.append(("until a scheduled run had ended", time.monotonic() - began))
    assert digest(task) == first["digest"]
    assert result(cloud, "pulse/run") == "first"


def test_what_fails_changes_nothing(cloud: Cloud, first: dict[str, Any], clock: Clock) -> None:
    """A smoke test that fails, and a scan that finds a critical; each names its command."""
    broken = (cloud.project / FAULTY).read_text()
    fault = f'{broken}\nraise RuntimeError("a fault of its own")\n'
    commit = cloud.push({FAULTY: fault, FLOW: writes("faulty")}, "A fault")
    execution = released(cloud, commit, clock, "a push whose smoke test fails")
    assert execution.status == "Failed"
    assert execution.failed is not None
    assert "Phase: BUILD, Code: COMMAND_EXECUTION_ERROR" in execution.failed.summary
    assert "python -m flows.smoke. Reason: exit status 1" in execution.failed.summary
    assert live(cloud) == first["digest"]
    ecr = cloud.aws.client("ecr")
    images = ecr.list_images(repositoryName=cloud.names.installation)["imageIds"]
    assert commit[:12] not in [each.get("imageTag") for each in images]  # nor was it pushed

    critical = finding("CVE-2026-0001", "CRITICAL", "openssl", "3.0.1")
    cloud.aws.scanner.findings = lambda _: [critical]
    cloud.aws.scanner.late = 8  # complete, it seems, when the build looks for the first time
    commit = cloud.push({FAULTY: broken, FLOW: writes("vulnerable")}, "A finding")
    execution = released(cloud, commit, clock, "a push whose scan finds a critical")
    cloud.aws.scanner.findings, cloud.aws.scanner.late = (lambda _: ()), 0
    assert execution.status == "Failed"
    assert execution.failed is not None
    assert "python3 -m deployments.findings" in execution.failed.summary
    assert live(cloud) == first["digest"]
    shown = days.command(cloud, "releases").stdout.splitlines()
    (row,) = (line for line in shown if commit[:12] in line)
    assert row.startswith("not released")
    assert "1 CRITICAL" in row
    refused = days.command(cloud, "rollback", "--to", commit[:12], check=False)
    assert refused.returncode == 1
    assert "the image was never released" in refused.stderr
    assert live(cloud) == first["digest"]
    # Nor did the runs that were due meanwhile know of either.
    assert {digest(task) for task in pulses(cloud)} == {first["digest"]}
    assert result(cloud, "pulse/run") == "first"


def test_a_run_under_way_ends_on_its_image_and_of_two_pushes_the_newer_is_live(
    cloud: Cloud, first: dict[str, Any], clock: Clock
) -> None:
    id_ = days.ask(cloud, name="under-way", seconds=40)
    run = days.begun(cloud, id_)["run"]
    before = len(cloud.pipeline.executions())
    quiet = {"prefect.yaml": first["without schedule"]}
    older = cloud.push({FLOW: writes("older"), **quiet}, "The older")
    newer = cloud.push({FLOW: writes("newer")}, "The newer")
    last = released(cloud, newer, clock, "the newer of two pushes")
    # Each push has an execution. The first may have come in time for the first commit, or not.
    until(
        lambda: (
            len(cloud.pipeline.executions()) == before + 2
            and all(e.over.is_set() for e in cloud.pipeline.executions())
        ),
        120,
        lambda: str(cloud.pipeline.executions()),
    )
    assert last.status == "Succeeded", last.failed
    both = cloud.pipeline.executions()[before:]
    assert {e.commit for e in both} <= {"", older, newer}
    assert {e.status for e in both} <= {"Succeeded", "Superseded"}
    assert newer[:12] in tags_of(cloud, live(cloud))
    answer = days.ended(cloud, id_)
    assert (answer["type"], answer["run"]) == ("COMPLETED", run)
    assert digest_of(cloud, run) == first["digest"]
    assert result(cloud, "patient/under-way") == "first"


def test_a_rollback_gives_the_old_result(cloud: Cloud, first: dict[str, Any], clock: Clock) -> None:
    """To what was live before any push."""
    began = time.monotonic()
    assert live(cloud) != first["was"]
    done = days.command(cloud, "rollback", "--to", first["its tag"])
    assert first["its tag"] in done.stdout
    assert live(cloud) == first["was"]
    until(lambda: cloud.journal()["image"] == cloud.image, 120, lambda: str(cloud.journal()))
    answer = days.ended(cloud, days.ask(cloud, name="rolled-back"))
    assert answer["type"] == "COMPLETED"
    assert digest_of(cloud, answer["run"]) == first["was"]
    assert result(cloud, "patient/rolled-back") == "done"
    clock.append(("a rollback, and a run", time.monotonic() - began))


def test_no_call_was_refused_and_no_grant_is_in_vain(cloud: Cloud, first: dict[str, Any]) -> None:
    """What the builds and the pipeline took, by the rights that they were given."""
    assert first
    record = cloud.aws.record
    assert record is not None
    for name, known in UNUSED.items():
        role = cloud.names.role(name)
        assert record.refused(role) == []
        unused = {f"{grant.statement} {grant.action}" for grant in record.unused(role)}
        assert unused <= known.keys(), name
    days.sleeps(cloud)
