"""What only a whole installation can tell: a run that failed, and one that never happened. The rest
of what people hear of is in tests/infra/test_watched.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from infra.local.cloud import Cloud
from tests.asleep import days
from tests.asleep.test_interrupted import update
from tests.inbox import Inbox
from tests.local_cloud.runs import deployment, until

FAILED = f"{days.NAME} Failed"
OVERDUE = f"{days.NAME} was due and has not begun"


@pytest.fixture(scope="module")
def inbox(cloud: Cloud) -> Inbox:
    return Inbox(cloud.aws, cloud.outputs.values["AlertTopic"])


def subjects(inbox: Inbox, part: str) -> list[str]:
    return [message.subject for message in inbox.messages() if part in message.subject]


def test_a_run_that_failed_is_told_once(asleep: Cloud, inbox: Inbox) -> None:
    """By itself: nobody asks how it went. And not again by the lives that come after."""
    cloud = asleep
    answer = days.ended(cloud, days.ask(cloud, name="told", fails=True))
    assert answer["type"] == "FAILED"
    message = inbox.wait(FAILED, 60)
    assert message.subject == f"{cloud.names.installation}: {FAILED}"
    (task,) = days.tasks_of(cloud, answer["run"])
    for part in ("a fault of its own", task.id, f"make logs RUN={answer['name']}", "UTC, after"):
        assert part in message.text
    journal = days.sleeps(cloud)
    assert any(one["run"].startswith(answer["run"]) for one in journal["told"])
    cloud.wake()
    until(lambda: cloud.orchestrator, 30, lambda: "not woken")
    days.sleeps(cloud)
    assert len(subjects(inbox, FAILED)) == 1


@contextmanager
def no_machine(cloud: Cloud) -> Iterator[None]:
    """Nothing places the orchestrator any more."""
    cloud.fargate.no_machine = lambda planned: planned.group == "service:orchestrator"
    try:
        yield
    finally:
        cloud.fargate.no_machine = lambda _: False


def test_a_run_that_never_happened_is_told_once(asleep: Cloud, inbox: Inbox) -> None:
    """The orchestrator dies before the run is due, and Fargate has no machine for another: nothing
    of ours is awake to say so. With a machine the run happens late.
    """
    cloud = asleep
    update(cloud, overdue_minutes="1")
    id_ = days.ask(cloud, name="before", seconds=5)
    days.begun(cloud, id_)
    due = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=25)
    overdue = cloud.api(
        f"/deployments/{deployment(cloud, days.NAME)['id']}/create_flow_run",
        {
            "name": "overdue",
            "parameters": {**deployment(cloud, days.NAME)["parameters"], "name": "overdue"},
            "state": {
                "type": "SCHEDULED",
                "state_details": {"scheduled_time": due.isoformat()},
            },
        },
    )
    assert days.ended(cloud, id_)["type"] == "COMPLETED"
    until(lambda: "overdue" in days.watchdog(cloud)["Target"]["Input"], 20, lambda: "not set")
    life = cloud.orchestrator
    assert life is not None
    with no_machine(cloud):
        cloud.fargate.kill(life)
        message = inbox.wait(OVERDUE, 120)
        assert datetime.now(UTC) >= due + timedelta(minutes=1)
    assert message.subject == f"{cloud.names.installation}: {OVERDUE}"
    for part in ("run overdue", f"{due:%H:%M:%S} UTC", "1 minute later", "make wake"):
        assert part in message.text
    until(
        lambda: days.written(cloud, "patient/overdue/") == ["begun.txt", "done.txt"],
        150,
        lambda: str(cloud.journal()),
    )
    days.sleeps(cloud)
    (run,) = [r for r in days.runs(cloud, days.NAME) if days.same(r["id"], overdue["id"])]
    assert run["state_type"] == "COMPLETED"
    assert len(subjects(inbox, OVERDUE)) == 1
