"""What the commands say and decide, without AWS."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deployments.diagnosis import Diagnosis
from deployments.operate.history import Run
from deployments.operate.installation import Service, WakeUp
from deployments.operate.logs import among, unknown
from deployments.operate.status import Seen, condition, screen, warnings
from deployments.operate.trigger import Answer, answer_of, known, logs_of, parameters, state_line
from deployments.operate.ui import is_local, private_address, schemas, tunnel_command
from deployments.operate.wake import former_life, has_been_awake
from deployments.operate.words import (
    distance,
    first_line,
    iso,
    moment,
    short_digest,
    span,
    time_of,
)
from deployments.orchestrator.journal import Journal
from flows.problem import Problem

NOW = datetime(2026, 11, 26, 21, 0, tzinfo=UTC)
TASK = "arn:aws:ecs:eu-west-1:123456789012:task/nightshift-prod/0123"


def later(**length: float) -> str:
    return iso(NOW + timedelta(**length))


# --- words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "said"),
    [
        ({"seconds": 0}, "0 s"),
        ({"seconds": 59.9}, "59 s"),
        ({"minutes": 5, "seconds": 59}, "5 min"),
        ({"hours": 3, "minutes": 5}, "3 h 5 min"),
        ({"hours": 4}, "4 h"),
        ({"days": 2, "hours": 3, "minutes": 59}, "2 d 3 h"),
        ({"days": 60}, "60 d"),
        ({"minutes": -5}, "5 min"),
    ],
)
def test_spans(length: dict[str, float], said: str) -> None:
    assert span(timedelta(**length)) == said


def test_distances_and_moments() -> None:
    assert distance(NOW + timedelta(hours=3, minutes=5), NOW) == "in 3 h 5 min"
    assert distance(NOW - timedelta(minutes=5), NOW) == "5 min ago"
    assert distance(NOW, NOW) == "now"
    assert moment(NOW + timedelta(hours=9), NOW) == "2026-11-27 06:00 UTC (in 9 h)"
    assert moment(None, NOW) == "at a time that is not known"


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-11-26T21:00:00Z", NOW),
        ("2026-11-26T22:00:00+01:00", NOW),
        ("2026-11-26 21:00:00.000000", NOW),
        ("", None),
        (None, None),
        ("yesterday", None),
    ],
)
def test_times(text: str | None, time: datetime | None) -> None:
    assert time_of(text) == time


def test_digests_and_messages() -> None:
    assert short_digest(f"repository@sha256:{'ab' * 32}") == "sha256:abababababab"
    assert short_digest("") == ""
    assert first_line("\n  one\ntwo") == "one"
    assert first_line("x" * 200, 10) == "x" * 9 + "…"


# --- the condition -------------------------------------------------------------------------------

ASLEEP = Journal(life=3, doing="asleep", since=later(hours=-1), wake_up=later(hours=8, minutes=57))
WORKING = Journal(
    holder=TASK,
    life=4,
    began=later(minutes=-5),
    doing="working",
    since=later(minutes=-3),
    because="1 run busy: amber-fox of cost-report/daily",
)
UP = Service(desired=1, running=1, tasks=(TASK,))
DOWN = Service(desired=0, running=0)


@pytest.mark.parametrize(
    ("journal", "service", "expected"),
    [
        (None, DOWN, "never started"),
        (None, Service(1, 0), "waking"),
        (ASLEEP, DOWN, "asleep"),
        (ASLEEP, Service(1, 0), "waking"),
        (WORKING, UP, "working"),
        (replace(WORKING, doing="waking"), UP, "waking"),
        (replace(WORKING, doing="going to sleep"), UP, "going to sleep"),
        # what the journal says is of a task that has ended
        (WORKING, Service(1, 0), "waking"),
        (WORKING, Service(1, 1, ("another",)), "waking"),
        (WORKING, DOWN, "stopped"),
    ],
)
def test_conditions(journal: Journal | None, service: Service, expected: str) -> None:
    assert condition(journal, service) == expected


@pytest.mark.parametrize(
    ("first", "service", "later_on", "done"),
    [
        (ASLEEP, DOWN, ASLEEP, False),
        (ASLEEP, DOWN, replace(WORKING, doing="asleep"), True),
        (ASLEEP, DOWN, replace(WORKING, doing="waking"), False),
        (None, DOWN, replace(WORKING, doing="going to sleep"), True),
        # on its way to sleep when it was asked: that life will not do
        (replace(WORKING, doing="going to sleep"), UP, replace(WORKING, doing="asleep"), False),
        # somebody else has just woken it
        (replace(WORKING, doing="waking"), UP, replace(WORKING, doing="asleep"), True),
        # what woke before has died
        (replace(WORKING, doing="waking"), DOWN, replace(WORKING, doing="asleep"), False),
    ],
)
def test_whether_it_was_awake_since(
    first: Journal | None, service: Service, later_on: Journal, done: bool
) -> None:
    assert has_been_awake(later_on, former_life(first, service)) is done


# --- the screen ----------------------------------------------------------------------------------

NEXT = {"deployment": "cost-report/daily", "run": "amber-fox", "at": later(hours=9)}
LAST = {
    "deployment": "cost-report/daily",
    "run": "blue-owl",
    "id": "1",
    "state": "Completed",
    "type": "COMPLETED",
    "at": later(hours=-1, minutes=-2),
    "message": "All states completed.\nmore",
}
WAKE_AT = NOW + timedelta(hours=8, minutes=57)
WAKE = WakeUp("at(2026-11-27T05:57:00)", WAKE_AT)


def seen(**changed: Any) -> Seen:
    journal = replace(ASLEEP, next=(NEXT,), last=(LAST,), image=f"r@sha256:{'0' * 64}")
    return replace(Seen("nightshift-prod", journal, DOWN, wake_up=WAKE), **changed)


def test_asleep() -> None:
    assert screen(seen(), NOW).splitlines() == [
        "nightshift-prod is asleep since 2026-11-26 20:00 UTC (1 h ago)",
        "wake-up   2026-11-27 05:57 UTC (in 8 h 57 min)",
        "next      2026-11-27 06:00 UTC (in 9 h)  cost-report/daily amber-fox",
        "last      Completed 1 h 2 min ago  cost-report/daily blue-owl: All states completed.",
        "image     sha256:000000000000",
        "service   desired 0, running 0",
    ]


def test_awake() -> None:
    text = screen(seen(journal=WORKING, service=UP, requests=(NOW - timedelta(seconds=20),)), NOW)
    assert text.splitlines()[0] == (
        "nightshift-prod is awake since 2026-11-26 20:55 UTC (5 min ago): "
        "1 run busy: amber-fox of cost-report/daily"
    )
    assert "requests  1 waits, since 2026-11-26 20:59 UTC (20 s ago)" in text
    assert "nothing has run yet" in text
    assert "!" not in text


def test_always_on_has_no_wake_up_and_lacks_none() -> None:
    text = screen(seen(journal=WORKING, service=UP, wakes=False, wake_up=None), NOW)
    assert "wake-up   none: it is always on" in text
    assert not warnings(seen(wakes=False, wake_up=None), NOW)


@pytest.mark.parametrize(
    ("wake_up", "said"),
    [
        (None, "there is no wake-up"),
        (replace(WAKE, enabled=False), "is disabled"),
        (WakeUp("cron(0 5 * * ? *)", None), "not what the orchestrator sets (cron(0 5"),
        (replace(WAKE, at=NOW + timedelta(hours=10)), "later than the next run, 2026-11-27 06:00"),
        (replace(WAKE, at=NOW - timedelta(minutes=5)), "has passed"),
        (replace(WAKE, at=NOW + timedelta(hours=1)), "had set the wake-up to 2026-11-27 05:57"),
    ],
)
def test_a_wake_up_that_would_not_do(wake_up: WakeUp | None, said: str) -> None:
    (found,) = warnings(seen(wake_up=wake_up), NOW)
    assert said in found


def test_why_it_does_not_start() -> None:
    why = Diagnosis("error", "the image is missing", "CannotPullContainerError", "push it")
    service = Service(1, 0, event="(service orchestrator) was unable", ended=why, ended_at=NOW)
    found = warnings(seen(service=service), NOW)
    assert found == [
        "its last task has ended: the image is missing (CannotPullContainerError)",
        "  fix: push it",
        "ECS says: (service orchestrator) was unable",
    ]
    before = replace(service, ended_at=NOW - timedelta(days=1))  # of an earlier life
    assert warnings(seen(service=before), NOW) == ["ECS says: (service orchestrator) was unable"]


def test_trouble_and_damage_and_a_service_that_was_set_to_0() -> None:
    journal = replace(WORKING, trouble="S3 is away", bad=(2, 3))
    found = warnings(seen(journal=journal), NOW)
    assert [text.partition(":")[0] for text in found] == [
        "somebody, or something, has set the service to 0 while it worked",
        "trouble",
        "the copies of the history of lives 2, 3 are damaged; they are kept",
    ]


# --- trigger -------------------------------------------------------------------------------------


def test_parameters_are_json_where_they_read_as_such() -> None:
    pairs = ["a=1", "b=text", 'c=["x", 2]', "d=2026-11", "e=", "f=x=y", "g=null", "h=NaN", 'i="1"']
    assert parameters(pairs) == {
        "a": 1,
        "b": "text",
        "c": ["x", 2],
        "d": "2026-11",
        "e": "",
        "f": "x=y",
        "g": None,
        "h": "NaN",
        "i": "1",
    }


@pytest.mark.parametrize("pair", ["a", "=1", ""])
def test_what_is_no_parameter(pair: str) -> None:
    with pytest.raises(Problem, match="KEY=VALUE"):
        parameters([pair])


def test_an_unknown_deployment_is_told_the_nearest() -> None:
    known("cost-report/daily", ["cost-report/daily"])
    with pytest.raises(Problem) as raised:
        known("cost-report/dayly", ["nothing/by-hand", "cost-report/daily"])
    assert raised.value.detail == "there is cost-report/daily"
    with pytest.raises(Problem, match="has none"):
        known("a/b", [])


def test_answers() -> None:
    assert answer_of(None) is None
    found = answer_of({"run": "1", "name": "n", "state": "Failed", "type": "FAILED", "other": 1})
    assert found == Answer(run="1", name="n", state="Failed", type="FAILED")
    assert found.ended
    assert state_line(replace(found, message="why\nmore")) == "n: Failed (why)"
    assert logs_of(Answer(name="cost-report 2026-11")) == "make logs RUN='cost-report 2026-11'"
    assert state_line(Answer(name="n", state="Running", type="RUNNING")) == "n: Running"


# --- logs ----------------------------------------------------------------------------------------


def run(id_: str, name: str, minutes: int) -> Run:
    at = NOW - timedelta(minutes=minutes)
    return Run(id_, name, "a/b", "Completed", "COMPLETED", "", at)


def test_the_newest_run_that_fits() -> None:
    runs = [run("aaaa1", "fox", 9), run("bbbb1", "fox", 5), run("bbbb2", "owl", 7)]
    assert among(runs, "fox") == runs[1]
    assert among(runs, "aaaa1") == runs[0]
    assert among(runs, "bbbb") == runs[1]
    assert among(runs, "bbbb2") == runs[2]
    assert among(runs, "b") is None  # too short to be meant as an id
    assert among(runs, "cat") is None


def test_an_unknown_run_is_told_the_newest() -> None:
    said = str(unknown("cat", [run("1", "fox", 5)], NOW))
    assert "there is no such run" in said
    assert "fox (a/b, 5 min ago)" in said
    assert "make trigger" in str(unknown("", [], NOW))


# --- the tunnel ----------------------------------------------------------------------------------

DESCRIBED: dict[str, object] = {
    "taskArn": TASK,
    "clusterArn": "arn:aws:ecs:eu-west-1:123456789012:cluster/nightshift-prod",
    "containers": [
        {"name": "aws-guardduty-agent-1", "runtimeId": "0123-999"},
        {"name": "orchestrator", "runtimeId": "0123-456"},
    ],
    "attachments": [
        {"details": [{"name": "subnetId", "value": "s"}]},
        {"details": [{"name": "privateIPv4Address", "value": "10.0.0.7"}]},
    ],
}


def test_the_tunnel_goes_through_the_task_to_its_own_address() -> None:
    assert private_address(DESCRIBED) == "10.0.0.7"
    assert tunnel_command(DESCRIBED, "10.0.0.7", 4300, "eu-west-1") == [
        "aws",
        "ssm",
        "start-session",
        "--region",
        "eu-west-1",
        "--target",
        "ecs:nightshift-prod_0123_0123-456",
        "--document-name",
        "AWS-StartPortForwardingSessionToRemoteHost",
        "--parameters",
        "host=10.0.0.7,portNumber=4200,localPortNumber=4300",
    ]
    with pytest.raises(Problem, match="no address yet"):
        private_address({"taskArn": TASK})


@pytest.mark.parametrize(
    ("endpoint", "local"),
    [
        ("http://127.0.0.1:4566", True),
        ("http://localhost:4566", True),
        ("http://[::1]:4566", True),
        ("https://ecs.eu-west-1.amazonaws.com", False),
        ("http://10.0.0.1:4566", False),
    ],
)
def test_what_is_on_this_machine(endpoint: str, local: bool) -> None:
    assert is_local(endpoint) is local


def test_the_installed_prefects_schema_has_one_newest_version() -> None:
    known_versions, newest = schemas()
    assert len(newest) == 1
    assert newest < known_versions
