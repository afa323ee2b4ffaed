"""A sleeping orchestrator of the local cloud: what it does, what it has, and what is left of it."""

from __future__ import annotations

import itertools
import json
import sqlite3
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deployments import litestream
from infra.local.cloud import Cloud
from infra.local.fargate.task import Task
from infra.local.prefect import base_environment
from tests.local_cloud import project as projects
from tests.local_cloud.runs import until

FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
RUN_TAG = "prefect.io/flow-run-id"

PATIENT = '''\
"""Writes when it begins and when it is done, and takes its time in between."""

import time

from prefect import flow, get_run_logger

from flows.data import Destination
from flows.storage import storage


@flow
def patient(
    destination: Destination, name: str = "run", seconds: float = 0, fails: bool = False
) -> None:
    place = storage(destination)
    place.write(f"{name}/begun.txt", b"begun\\n")
    get_run_logger().info("%s takes %s s", name, seconds)
    time.sleep(seconds)
    if fails:
        raise ValueError("a fault of its own")
    place.write(f"{name}/done.txt", b"done\\n")
'''

BY_HAND = """\

  - name: by-hand
    entrypoint: flows/patient.py:patient
    schedules: []
    parameters:
      destination: s3://{{ $NIGHTSHIFT_DATA_BUCKET }}/patient/
    work_pool:
      name: fargate
      job_variables:
        cpu: 1024
        memory: 2048
"""

NAME = "patient/by-hand"


PULSE = """\

  - name: pulse
    entrypoint: flows/patient.py:patient
    schedules: []
    parameters:
      destination: s3://{{ $NIGHTSHIFT_DATA_BUCKET }}/pulse/
    work_pool:
      name: fargate
      job_variables:
        cpu: 1024
        memory: 2048
"""


def at(cron: str, *more: str) -> str:
    """PULSE with a schedule. `more`: lines of the entry."""
    schedule = f"""schedules:
      - slug: pulse
        cron: "{cron}"
        timezone: UTC"""
    extra = "".join(f"\n    {line}" for line in more)
    return PULSE.replace("schedules: []", schedule + extra)


def release(cloud: Cloud, was: str, becomes: str) -> None:
    """A push that changes an entry of prefect.yaml."""
    projects.withdraw(cloud.project, was)
    projects.declare(cloud.project, becomes)
    cloud.release()


# --- asleep and awake ----------------------------------------------------------------------------


def service(cloud: Cloud) -> dict[str, Any]:
    names = cloud.names.installation
    answer = cloud.aws.client("ecs").describe_services(cluster=names, services=["orchestrator"])
    found: dict[str, Any] = answer["services"][0]
    return found


def is_asleep(cloud: Cloud) -> bool:
    """The service is at 0, and nothing of it runs."""
    return service(cloud)["desiredCount"] == 0 and cloud.orchestrator is None


def sleeps(cloud: Cloud, seconds: float = 180) -> dict[str, Any]:
    """Once it sleeps; its journal. It holds what it is bound to hold whenever it sleeps."""
    until(lambda: is_asleep(cloud), seconds, lambda: f"{cloud.journal()}\n{service(cloud)}")
    found = cloud.journal()
    assert found["doing"] == "asleep"
    assert found["holder"] == ""
    hold_true(cloud)
    return found


def hold_true(cloud: Cloud) -> None:
    """I1 and I6, of an orchestrator that sleeps, and that people would hear of what it misses."""
    now = datetime.now(UTC)
    with history(cloud) as db:
        busy = db.execute(
            "select name, state_type from flow_run where state_type in "
            "('PENDING', 'RUNNING', 'CANCELLING') and work_queue_id is not null"
        ).fetchall()
        (due,) = db.execute(
            "select min(next_scheduled_start_time) from flow_run where state_type = 'SCHEDULED'"
        ).fetchone()
    assert busy == []
    wakes = wake_up(cloud)
    assert wakes is not None
    if is_asleep(cloud):  # it may have woken meanwhile
        assert wakes > now
    found = watchdog(cloud)
    if due:
        at = datetime.fromisoformat(due).replace(tzinfo=UTC)
        assert wakes <= at
        assert found["State"] == "ENABLED"
        assert f"was due at {at:%Y-%m-%d %H:%M:%S} UTC" in found["Target"]["Input"]
    else:
        assert found["State"] == "DISABLED"


def watchdog(cloud: Cloud) -> dict[str, Any]:
    """The schedule that tells of a run which has not begun."""
    group, _, name = cloud.outputs.values["WatchdogSchedule"].partition("/")
    api = cloud.aws.client("scheduler")
    found: dict[str, Any] = api.get_schedule(GroupName=group, Name=name)
    return found


def wake_up(cloud: Cloud) -> datetime | None:
    group, _, name = cloud.outputs.values["WakeUpSchedule"].partition("/")
    found = cloud.aws.client("scheduler").get_schedule(GroupName=group, Name=name)
    expression = found["ScheduleExpression"]
    if not expression.startswith("at("):
        return None
    return datetime.fromisoformat(expression[3:-1]).replace(tzinfo=UTC)


def working(cloud: Cloud, seconds: float = 120) -> Task:
    """The task of an orchestrator whose worker takes runs."""

    def look() -> Task | None:
        task = cloud.orchestrator
        journal = cloud.journal()
        mine = task is not None and journal.get("holder") == task.arn
        return task if mine and journal["doing"] == "working" else None

    found = until(look, seconds, lambda: str(cloud.journal()))
    assert found is not None
    return found


def container(task: Task) -> None:
    """Waits until its container runs."""
    until(lambda: task.running, 60, lambda: f"{task.id} does not start: {task.last_status}")


# --- runs ----------------------------------------------------------------------------------------


def ask(cloud: Cloud, deployment: str = NAME, **parameters: Any) -> str:
    """A request, as `make trigger` writes it, and a wake-up; its id."""
    id_ = uuid.uuid4().hex
    cloud.aws.client("s3").put_object(
        Bucket=cloud.state_bucket,
        Key=f"prefect/requests/{id_}.json",
        Body=json.dumps({"deployment": deployment, "parameters": parameters}).encode(),
    )
    cloud.wake()
    return id_


def answer(cloud: Cloud, id_: str) -> dict[str, Any]:
    s3: Any = cloud.aws.client("s3")
    try:
        got = s3.get_object(Bucket=cloud.state_bucket, Key=f"prefect/answers/{id_}.json")
    except s3.exceptions.NoSuchKey:
        return {}
    found: dict[str, Any] = json.loads(got["Body"].read())
    return found


def begun(
    cloud: Cloud, id_: str, seconds: float = 150, besides: Sequence[str] = ()
) -> dict[str, Any]:
    """The answer, once the run is Running. `besides`: runs that it was about before."""

    def look() -> dict[str, Any]:
        found = answer(cloud, id_)
        assert found.get("type") not in FINAL, found
        begun = found.get("type") == "RUNNING" and found.get("task")
        return found if begun and found["run"] not in besides else {}

    return until(look, seconds, lambda: f"{answer(cloud, id_)} {cloud.journal()}")


def ended(cloud: Cloud, id_: str, seconds: float = 240) -> dict[str, Any]:
    """The answer, once the run has ended."""

    def look() -> dict[str, Any]:
        found = answer(cloud, id_)
        return found if found.get("type") in FINAL or "refused" in found else {}

    return until(look, seconds, lambda: f"{answer(cloud, id_)} {cloud.journal()}")


def tasks_of(cloud: Cloud, run: str) -> list[Task]:
    return [t for t in cloud.fargate.tasks() if dict(t.planned.tags).get(RUN_TAG) == run]


def written(cloud: Cloud, prefix: str) -> list[str]:
    s3: Any = cloud.aws.client("s3")
    found = s3.list_objects_v2(Bucket=cloud.bucket, Prefix=prefix)
    return sorted(each["Key"].removeprefix(prefix) for each in found.get("Contents", []))


# --- history -------------------------------------------------------------------------------------


class _Copy(closing):  # type: ignore[type-arg]
    def __init__(self, connection: sqlite3.Connection, folder: Any) -> None:
        super().__init__(connection)
        self._folder = folder

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._folder.cleanup()


def history(cloud: Cloud) -> Any:
    """What S3 has of it, as a database; a context."""
    folder = tempfile.TemporaryDirectory(prefix="history-")
    copy = Path(folder.name) / "prefect.db"
    s3 = cloud.aws.client("s3")
    place = litestream.replica(s3, cloud.state_bucket, f"prefect/lives/{cloud.journal()['life']}")
    keys = {
        "AWS_ACCESS_KEY_ID": cloud.aws.environment()["AWS_ACCESS_KEY_ID"],
        "AWS_SECRET_ACCESS_KEY": cloud.aws.environment()["AWS_SECRET_ACCESS_KEY"],
    }
    litestream.restore(place, copy, credentials=keys)
    return _Copy(sqlite3.connect(copy), folder)


def runs(cloud: Cloud, like: str = "%") -> list[dict[str, Any]]:
    """Of the copy in S3: every flow run of a pool, by the time that it was for."""
    with history(cloud) as db:
        db.row_factory = sqlite3.Row
        return [
            dict(row)
            for row in db.execute(
                "select r.id, r.name, r.state_type, r.state_name, r.expected_start_time, "
                "r.idempotency_key, r.parameters, f.name || '/' || d.name as deployment "
                "from flow_run r join deployment d on d.id = r.deployment_id "
                "join flow f on f.id = r.flow_id "
                "where f.name || '/' || d.name like ? order by r.expected_start_time",
                (like,),
            )
        ]


# --- commands ------------------------------------------------------------------------------------


def command(cloud: Cloud, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """`python -m deployments.operate …`, as a person with the installation's environment."""
    done = subprocess.run(
        [sys.executable, "-m", "deployments.operate", *arguments],
        cwd=cloud.project,
        env={**base_environment(), **cloud.environment()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


# --- what containers have written ----------------------------------------------------------------

Lines = list[tuple[str, datetime, str]]


def said(lines: Lines, task: Task, what: str) -> list[str]:
    return [line for id_, _, line in lines if id_ == task.id and what in line]


def one_at_a_time(cloud: Cloud, lines: Lines) -> None:
    """I2: nobody took over the history before the last to have it had ended."""
    for before, after in itertools.pairwise(cloud.lives()):
        taken = [at for id_, at, line in lines if id_ == after.id and "take over" in line]
        assert not taken or before.times["executionStoppedAt"] <= taken[0], (before.id, after.id)


def uuid_of(stored: str) -> str:
    """As SQLite has it, to as everybody else does."""
    return str(uuid.UUID(stored))


def same(stored: str, run: str) -> bool:
    return uuid_of(stored) == run


def moment(stored: str) -> datetime:
    """SQLite's text for a time."""
    return datetime.fromisoformat(stored).replace(tzinfo=UTC)


def times(cloud: Cloud) -> list[dict[str, Any]]:
    """Of every flow run: its id, when it started and when it ended."""
    with history(cloud) as db:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute("select id, start_time, end_time from flow_run")]
