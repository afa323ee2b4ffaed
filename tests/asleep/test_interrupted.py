"""Spot with fallback; releases and updates while a run is under way."""

from __future__ import annotations

from infra.local import installation
from infra.local.cloud import Cloud
from infra.local.fargate.task import Task
from tests.asleep import days
from tests.asleep.conftest import LEAD
from tests.local_cloud.runs import until
from tests.needs import ONLY_LONG

pytestmark = ONLY_LONG

TAGGED = days.BY_HAND.replace("schedules: []", "schedules: []\n    tags: [released]")


def task_of(cloud: Cloud, run: str) -> Task:
    """The ECS task of a run, once its container runs."""

    def look() -> Task | None:
        return next((task for task in days.tasks_of(cloud, run) if task.running), None)

    found = until(look, 60, lambda: f"no ECS task of {run}")
    assert found is not None
    return found


def test_spot_twice_and_then_on_demand(asleep: Cloud) -> None:
    cloud = asleep
    id_ = days.ask(cloud, name="spot", seconds=15)
    runs: list[str] = []
    for _ in range(2):
        runs.append(days.begun(cloud, id_, besides=runs)["run"])
        cloud.fargate.interrupt(task_of(cloud, runs[-1]))
    answer = days.ended(cloud, id_)
    assert answer["type"] == "COMPLETED"
    runs.append(answer["run"])
    tasks = [days.tasks_of(cloud, run) for run in runs]
    assert [[task.planned.provider for task in own] for own in tasks] == [
        ["FARGATE_SPOT"],
        ["FARGATE_SPOT"],
        ["FARGATE"],
    ]
    days.sleeps(cloud)
    states = {run["name"]: run["state_type"] for run in days.runs(cloud, days.NAME)}
    first = answer["name"].removesuffix("-again-2")
    assert [states[first], states[f"{first}-again"], states[f"{first}-again-2"]] == [
        "CRASHED",
        "CRASHED",
        "COMPLETED",
    ]
    assert days.written(cloud, "patient/spot/") == ["begun.txt", "done.txt"]


def test_a_release_while_a_run_is_under_way(asleep: Cloud, lines: days.Lines) -> None:
    """The run goes on, on the image that it began with; then the new one takes over."""
    cloud = asleep
    before = cloud.image
    id_ = days.ask(cloud, name="released", seconds=20)
    run = days.begun(cloud, id_)["run"]
    days.release(cloud, days.BY_HAND, TAGGED)
    assert cloud.image != before
    assert days.ended(cloud, id_)["type"] == "COMPLETED"
    assert days.answer(cloud, id_)["run"] == run
    assert len(days.tasks_of(cloud, run)) == 1
    until(lambda: cloud.journal()["image"] == cloud.image, 120, lambda: str(cloud.journal()))
    days.sleeps(cloud)
    with days.history(cloud) as db:
        (tags,) = db.execute("select tags from deployment where name = 'by-hand'").fetchone()
    assert "released" in tags
    days.one_at_a_time(cloud, lines)


def test_an_update_of_the_stack_while_asleep(asleep: Cloud) -> None:
    cloud = asleep
    before = len(cloud.lives())
    update(cloud, history_days="50")
    assert days.is_asleep(cloud)
    assert len(cloud.lives()) == before


def test_an_update_of_the_stack_while_a_run_is_under_way(asleep: Cloud, lines: days.Lines) -> None:
    """ECS replaces the orchestrator: the run's task speaks to nobody, is stopped, runs again."""
    cloud = asleep
    id_ = days.ask(cloud, name="updated", seconds=60)
    first = days.begun(cloud, id_)["run"]
    task = task_of(cloud, first)
    update(cloud, history_days="40")
    answer = days.ended(cloud, id_)
    assert answer["type"] == "COMPLETED"
    assert answer["run"] != first
    assert "Nightshift" in task.stopped_reason
    days.sleeps(cloud)
    (former,) = [r for r in days.runs(cloud, days.NAME) if days.same(r["id"], first)]
    assert former["state_type"] == "CRASHED"
    days.one_at_a_time(cloud, lines)


def update(cloud: Cloud, **settings: str) -> None:
    """`make deploy` with other settings."""
    context = {"wake_lead_seconds": str(LEAD), "first": "false", **settings}
    templates = installation.synthesise(cloud.project, context)
    installation.update(cloud.aws, templates, cloud.names)
