"""Kills, and what it then comes to: always to sleep, with a history that is true."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

from infra.local.cloud import Cloud
from infra.local.fargate.task import Task
from infra.local.programs import Name, inside, kill_program, program
from tests.asleep import days
from tests.local_cloud.hold import away
from tests.local_cloud.runs import until
from tests.needs import ONLY_LONG

pytestmark = ONLY_LONG

KILLS = int(os.environ.get("NIGHTSHIFT_KILLS", 20))
AWAY = 120  # seconds
SEED = int(os.environ.get("NIGHTSHIFT_KILL_SEED", "5"))

PROGRAMS: tuple[Name, ...] = ("litestream", "server", "worker")


def test_its_programs_are_killed_one_by_one(asleep: Cloud, lines: days.Lines) -> None:
    """Each is started again, and neither the run nor the history knows of it."""
    cloud = asleep
    id_ = days.ask(cloud, name="programs", seconds=60)
    days.begun(cloud, id_)
    life = cloud.orchestrator
    assert life is not None
    for name in PROGRAMS:
        former = pids(life, name)
        kill_program(life, name)
        until(
            lambda name=name, former=former: pids(life, name) - former,  # type: ignore[misc]
            60,
            lambda name=name: f"{name} was not started again",  # type: ignore[misc]
        )
    answer = days.ended(cloud, id_)
    assert answer["type"] == "COMPLETED"
    assert len(days.tasks_of(cloud, answer["run"])) == 1
    days.sleeps(cloud)
    assert cloud.lives()[-1] is life
    assert len(days.said(lines, life, "has ended by itself")) == len(PROGRAMS)


def pids(life: Task, name: Name) -> set[int]:
    return {process.pid for process in program(life, name)}


def test_s3_is_away(asleep: Cloud) -> None:
    """The run itself needs S3, and ends before; the history comes home when S3 is back."""
    cloud = asleep
    id_ = days.ask(cloud, name="s3-away")
    run = days.ended(cloud, id_)
    assert run["type"] == "COMPLETED"
    life = cloud.orchestrator
    with away(cloud, "s3") as came:
        time.sleep(AWAY)
    assert came
    days.sleeps(cloud)
    assert cloud.lives()[-1] is life  # it has waited
    assert [r["state_type"] for r in days.runs(cloud) if days.same(r["id"], run["run"])] == [
        "COMPLETED"
    ]


def test_the_disk_is_full(asleep: Cloud, lines: days.Lines) -> None:
    """What it cannot write is lost with the disk, and the next life has another."""
    cloud = asleep
    cloud.fargate.scratch_mb = lambda planned: 200 if "orchestrator" in planned.group else None
    id_ = days.ask(cloud, name="full", seconds=20)
    days.begun(cloud, id_)
    life = cloud.orchestrator
    assert life is not None
    cloud.fargate.scratch_mb = lambda _: None
    (first, *_) = inside(life)
    fill(Path(f"/proc/{first.pid}/root/tmp/fill"))
    answer = days.ended(cloud, id_)
    assert answer["type"] == "COMPLETED"
    days.sleeps(cloud)
    assert days.said(lines, life, "the disk is full")
    assert cloud.lives()[-1] is not life
    days.one_at_a_time(cloud, lines)


def fill(file: Path) -> None:
    try:
        with file.open("wb") as out:
            while True:
                out.write(b"\0" * 1024 * 1024)
                out.flush()
    except OSError:
        return


def test_the_replica_is_damaged(asleep: Cloud) -> None:
    """It says so, keeps the damaged one, and goes back to the life before."""
    cloud = asleep
    cloud.wake()  # for a life that only looks after itself, and adds no run
    until(lambda: cloud.orchestrator, 30, lambda: "not woken")
    former = days.sleeps(cloud)["life"]
    known = {run["id"] for run in days.runs(cloud)}
    s3 = cloud.aws.client("s3")
    found = s3.list_objects_v2(Bucket=cloud.state_bucket, Prefix=f"prefect/lives/{former}/")
    objects = [each["Key"] for each in found["Contents"]]
    for key in objects:
        s3.put_object(Bucket=cloud.state_bucket, Key=key, Body=b"not what it was")
    id_ = days.ask(cloud, name="damaged")
    assert days.ended(cloud, id_)["type"] == "COMPLETED"
    journal = days.sleeps(cloud)
    assert journal["bad"] == [former]
    found = s3.list_objects_v2(Bucket=cloud.state_bucket, Prefix=f"prefect/lives/{former}/")
    assert [each["Key"] for each in found["Contents"]] == objects
    assert known <= {run["id"] for run in days.runs(cloud)}


def test_killed_at_any_moment(asleep: Cloud, lines: days.Lines) -> None:
    """kill -9 of the whole ECS task. Every run that was asked for is carried out, and each that
    had ended a second before is still known.
    """
    cloud = asleep
    chance = random.Random(SEED)
    ended: dict[str, str] = {}  # runs that are known to have ended, and how
    for number in range(KILLS):
        id_ = days.ask(cloud, name=f"kill-{number}", seconds=5)
        life = until(lambda: cloud.orchestrator, 30, lambda: "not woken")
        assert life is not None
        days.container(life)
        # Shares of a life that takes some forty seconds, one after the other.
        moment = 38 * (number + chance.random()) / KILLS
        life.ended.wait(moment)
        doing = cloud.journal()
        cloud.fargate.kill(life)
        print(f"kill {number} after {moment:.1f} s: {doing.get('doing')}, {doing.get('because')}")
        answer = days.ended(cloud, id_)
        assert answer["type"] == "COMPLETED", answer
        ended[answer["run"]] = answer["type"]
        days.sleeps(cloud)
        known = {days.uuid_of(run["id"]): run["state_type"] for run in days.runs(cloud)}
        assert {run: known.get(run) for run in ended} == ended
        assert days.written(cloud, f"patient/kill-{number}/") == ["begun.txt", "done.txt"]
        days.one_at_a_time(cloud, lines)
