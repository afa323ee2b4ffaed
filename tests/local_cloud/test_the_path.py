"""The production path: what is declared runs when it is due, with the rights of its role and no
others, and people see what it did.
"""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from infra.local.cloud import Cloud
from infra.local.iam import Record
from infra.local.iam.record import Entry
from infra.local.prefect import base_environment
from tests.local_cloud import project as projects
from tests.local_cloud.runs import Run, contents, deployment, objects, start, until

SCHEDULED = "cost-report/every-minute"


def prefect(cloud: Cloud, *arguments: str) -> str:
    """The stock command, in the project, at no terminal."""
    done = subprocess.run(
        [sys.executable, "-m", "prefect", *arguments],
        cwd=cloud.project,
        env={
            **base_environment(),
            **cloud.environment(),
            "PREFECT_HOME": str(cloud.folder / "developer"),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def password(cloud: Cloud) -> str:
    return cloud.api.auth.partition(":")[2]


@pytest.fixture(scope="module")
def scheduled(cloud: Cloud) -> Run:
    """A run that nobody has started: the stock `prefect deploy`, the roles, and the schedule."""
    deployed = prefect(cloud, "--no-prompt", "deploy", "--all")
    assert SCHEDULED in deployed
    said = cloud.reconcile()  # stock deploying knows no roles
    assert SCHEDULED in said
    assert cloud.reconcile() == "nothing to change"
    known = deployment(cloud, SCHEDULED)["id"]

    # The first that completes: one that fell due before the roles were back has none, and fails.
    def look() -> list[str]:
        mine = {"deployments": {"id": {"any_": [known]}}, "sort": "EXPECTED_START_TIME_ASC"}
        completed = {"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
        return [run["id"] for run in cloud.api("/flow_runs/filter", {**mine, **completed})]

    first = until(look, 190, lambda: "no run has become due and completed")
    run = Run(cloud, first[0])
    projects.withdraw(cloud.project, projects.EVERY_MINUTE)
    assert f"delete {SCHEDULED}" in cloud.reconcile()
    return run


def test_a_schedule_fires_and_the_report_is_published(cloud: Cloud, scheduled: Run) -> None:
    assert scheduled.now["auto_scheduled"]
    published = contents(cloud, "every-minute/")
    (pointer,) = (name for name in published if name.endswith("latest.json"))
    report = json.loads(published[pointer])["report"]
    assert any(name.endswith("report.html") for name in published)
    assert report.partition("/execution=")[2].split("/")[0] in " ".join(published)


def test_it_ran_as_an_ecs_task_on_spot_with_its_own_role(cloud: Cloud, scheduled: Run) -> None:
    (task,) = scheduled.tasks
    told = cloud.aws.client("ecs").describe_tasks(
        cluster=cloud.names.installation, tasks=[task.arn], include=["TAGS"]
    )["tasks"][0]
    assert told["capacityProviderName"] == "FARGATE_SPOT"
    assert (told["cpu"], told["memory"]) == ("1024", "2048")
    assert told["overrides"]["taskRoleArn"] == cloud.outputs.roles[SCHEDULED]
    assert told["containers"][0]["exitCode"] == 0
    assert told["containers"][0]["imageDigest"] == cloud.image.partition("@")[2]
    assert told["stopCode"] == "EssentialContainerExited"
    shown = json.dumps(told, default=str)
    assert password(cloud) not in shown  # neither in the description nor in the definition
    definition = cloud.aws.client("ecs").describe_task_definition(
        taskDefinition=told["taskDefinitionArn"]
    )["taskDefinition"]
    assert password(cloud) not in json.dumps(definition, default=str)
    assert definition["runtimePlatform"]["cpuArchitecture"] == "ARM64"
    assert definition["containerDefinitions"][0]["readonlyRootFilesystem"] is True


def test_its_log_is_in_cloudwatch_and_in_prefect(cloud: Cloud, scheduled: Run) -> None:
    (task,) = scheduled.tasks
    events = cloud.aws.client("logs").get_log_events(
        logGroupName=cloud.outputs.values["JobLogGroup"],
        logStreamName=f"job/prefect/{task.id}",
        startFromHead=True,
    )["events"]
    text = "\n".join(event["message"] for event in events)
    assert "reconciled" in text
    assert "Finished in state Completed" in text
    until(lambda: "reconciled" in scheduled.log(), 20, scheduled.log)


def test_its_artifacts_are_in_prefect(scheduled: Run) -> None:
    kinds = {key: artifact["type"] for key, artifact in scheduled.artifacts().items()}
    assert kinds["cost-report-summary"] == "markdown"
    assert kinds["cost-report-top-services"] == "table"
    assert kinds["cost-report-link"] == "markdown"


COST = (
    r"cost: \$0\.\d+ \(\d+ s(, billed as 60,)? of 1 vCPU, 2 GB, ARM64, Spot; \d+ % start-up\); "
    r"peak \d+ MB, [\d.]+ vCPU on average; (the size is right|.+ would do: \$\d.* less a year)"
)


def test_it_says_what_it_has_cost(
    cloud: Cloud, scheduled: Run, lines: list[tuple[str, str]]
) -> None:
    until(lambda: "run-cost" in scheduled.artifacts(), 20, scheduled.log)
    assert re.search(COST, scheduled.log())
    (task,) = scheduled.tasks
    assert any(re.fullmatch(COST, line) for of, line in lines if of == task.id)
    told = scheduled.artifacts()["run-cost"]
    assert told["type"] == "markdown"
    for what in ("| vCPU |", "| public IPv4 address |", "| logs |", "| S3 reads |", "| **all** |"):
        assert what in told["data"]


def test_one_task_definition_serves_all_deployments(cloud: Cloud, scheduled: Run) -> None:
    run = start(cloud, "cost-report/by-hand", {"destination": f"s3://{cloud.bucket}/by-hand/one/"})
    assert run.wait() == "COMPLETED"
    family = cloud.outputs.values["JobFamily"]
    found = cloud.aws.client("ecs").list_task_definitions(familyPrefix=family)
    assert len(found["taskDefinitionArns"]) == 1


def test_what_is_withdrawn_is_gone_and_its_runs_stay(cloud: Cloud, scheduled: Run) -> None:
    names = {d["name"] for d in cloud.api("/deployments/filter", {})}
    assert "every-minute" not in names
    assert scheduled.state == "COMPLETED"


def test_a_flow_that_a_stranger_adds_by_the_readme(cloud: Cloud) -> None:
    (name,) = (name for name in cloud.outputs.roles if not name.startswith("cost-report/"))
    run = start(cloud, name)
    assert run.wait() == "COMPLETED", run.log()
    lines = contents(cloud, "line-counts/")["lines.txt"]
    s3 = cloud.aws.client("s3")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=cloud.bucket, Prefix="bills/")
    counted = sum(
        s3.get_object(Bucket=cloud.bucket, Key=each["Key"])["Body"].read().count(b"\n")
        for page in pages
        for each in page["Contents"]
    )
    assert int(lines) == counted
    (task,) = run.tasks
    assert (task.planned.cpu, task.planned.memory) == (256, 512)
    assert task.planned.task_role == cloud.outputs.roles[name]


def test_two_at_once_are_one_after_the_other(cloud: Cloud) -> None:
    """The concurrency limit of `cost-report/daily` is 1; the second waits."""
    runs = [start(cloud, "cost-report/daily") for _ in range(2)]
    assert [run.wait(seconds=180) for run in runs] == ["COMPLETED", "COMPLETED"]
    first, second = sorted(runs, key=lambda run: run.tasks[0].times["startedAt"])
    assert "AwaitingConcurrencySlot" in second.states()
    assert second.now["start_time"] >= first.now["end_time"]


# --- what each role has asked for -----------------------------------------------------------------


def test_no_role_was_refused_anything(cloud: Cloud, scheduled: Run, record: Record) -> None:
    roles = {role.rpartition("/")[2] for role in cloud.outputs.roles.values()}
    roles |= {cloud.names.role(of) for of in ("orchestrator", "execution", "scheduler")}
    asked = {entry.principal for entry in record.entries()}
    assert cloud.outputs.roles[SCHEDULED].rpartition("/")[2] in asked
    assert [entry for role in roles for entry in _refused(record.entries(role))] == []


def _refused(entries: list[Entry]) -> Iterator[Entry]:
    """But for what S3 keeps from who may read an object that is not there: whether it is there. It
    says 403, the flow understands, and the emulator notes a ListBucket after the GetObject.
    """
    for before, entry in itertools.pairwise([None, *entries]):
        read = before and before.allowed and before.action == "s3:GetObject"
        if entry and not entry.allowed and not (read and entry.action == "s3:ListBucket"):
            yield entry


# What a day like this one has no use for, and who has. All else that is granted is used.
UNUSED = {
    "orchestrator": {
        "HearOfTasks sqs:ChangeMessageVisibility": "when an event takes minutes to be dealt with",
        "ReadJobLogs logs:GetLogEvents": "of a task that has died before it knew of Prefect",
        "WatchTasks ecs:StopTask": "to cancel",
        "ListTasks ecs:ListTasks": "to set runs straight",
        "ListState s3:ListBucket": "to sleep, as all below: see tests/asleep",
        "ReadState s3:GetObject": "",
        "WriteState s3:PutObject": "",
        "PruneState s3:DeleteObject": "",
        "SeeWhatIsLive ecr:DescribeImages": "",
        **{
            f"AnswerSessions ssmmessages:{action}": "for ECS Exec's agent"
            for action in (
                *("CreateControlChannel", "CreateDataChannel"),
                *("OpenControlChannel", "OpenDataChannel"),
            )
        },
        "OwnService ecs:UpdateService": "",
        "SetSchedules scheduler:GetSchedule": "",
        "SetSchedules scheduler:UpdateSchedule": "",
        "TellPeople sns:Publish": "",
        "PassSchedulerRole iam:PassRole": "",
    },
    "execution": {"PullImage ecr:BatchCheckLayerAvailability": "AWS says that a pull needs it"},
    "scheduler": {
        "KeepWhatFailed sqs:SendMessage": "when a wake-up fails",
        "TellPeople sns:Publish": "when a run has not begun",
        "SetDesiredCount ecs:UpdateService": "to wake whom nobody stands for: see tests/asleep",
    },
    "job-cost-report-every-minute": {},
}


def test_grants_that_no_call_has_used_are_listed(
    cloud: Cloud, scheduled: Run, record: Record
) -> None:
    """A grant in vain is one to take away: whoever adds one finds it here."""
    for role, known in UNUSED.items():
        unused = {f"{g.statement} {g.action}" for g in record.unused(cloud.names.role(role))}
        print(f"{role}: {', '.join(sorted(unused)) or 'every grant is used'}")
        assert unused <= known.keys(), role


def test_objects_are_written_by_the_job_alone(cloud: Cloud, scheduled: Run, record: Record) -> None:
    writers = {
        entry.principal
        for entry in record.entries()
        if entry.action == "s3:PutObject" and "/every-minute/" in entry.resource
    }
    assert writers == {cloud.outputs.roles[SCHEDULED].rpartition("/")[2]}
    assert objects(cloud, "every-minute/")
