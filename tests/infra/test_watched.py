"""What people hear of, each triggered on the stack as it is: once, with what, where, why and the
next step. That a run failed, the orchestrator tells: tests/asleep/test_watched.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from moto.events.models import events_backends

from deployments.orchestrator import watchdog
from deployments.orchestrator.life import SetWatchdog, Unbegun
from infra.local.alarms import Alarms
from infra.local.aws import ACCOUNT, LocalAws, local_aws
from infra.local.rules import local_rules
from infra.local.schedules import Scheduler
from infra.names import SERVICE
from tests.inbox import Inbox, Message
from tests.infra.conftest import Synthesise
from tests.infra.test_local_stack import JOB, NAMES, put

START = datetime(2026, 11, 30, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
MODES = ("asleep", "always")


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["asleep"])
def aws(request: pytest.FixtureRequest, synthesise: Synthesise) -> Iterator[LocalAws]:
    with local_aws() as running, local_rules(running):
        put(running, synthesise({"first": "true", "orchestrator": request.param}, [JOB]))
        yield running
        assert running.record is not None
        ours = {NAMES.role("orchestrator"), "events.amazonaws.com", "cloudwatch.amazonaws.com"}
        assert [one for one in running.record.refused() if one.principal in ours] == []


@pytest.fixture
def inbox(aws: LocalAws) -> Inbox:
    return Inbox(aws, NAMES.topic_arn)


def only(inbox: Inbox) -> Message:
    (message,) = inbox.messages()
    return message


# --- a run never happened ------------------------------------------------------------------------

DUE = datetime(2026, 12, 1, 6, tzinfo=UTC)
SET = SetWatchdog(DUE + 30 * MINUTE, (Unbegun("cost-report/daily", "amber-fox", DUE),))


def set_watchdog(aws: LocalAws, to: SetWatchdog) -> None:
    """As the orchestrator does, with its role."""
    task = NAMES.arn("ecs", "task/nightshift-prod/1")
    mine = aws.role(NAMES.role("orchestrator"), "ecs-tasks.amazonaws.com", task)
    scheduler = aws.client("scheduler", mine)
    schedule = (NAMES.installation, "watchdog")
    watchdog.move(scheduler, schedule, to, topic=NAMES.topic_arn, stack=NAMES.installation)


@pytest.mark.parametrize("aws", MODES, indirect=True)
def test_a_run_that_never_happened(aws: LocalAws, inbox: Inbox, clock: Clock) -> None:
    """Nothing of ours runs: EventBridge Scheduler tells."""
    with Scheduler(aws, clock=clock, every=None) as scheduler:
        set_watchdog(aws, SET)
        for minutes in (-1, 29):
            clock.now = DUE + minutes * MINUTE
            scheduler.tick()
        assert [one for one in inbox.messages() if "due" in one.subject] == []
        for _ in range(3):
            clock.now += timedelta(hours=9)
            scheduler.tick()
    message = only(inbox)
    assert message.subject == "nightshift-prod: cost-report/daily was due and has not begun"
    for part in ("run amber-fox", "2026-12-01 06:00:00", "/nightshift-prod/orchestrator"):
        assert part in message.text
    for part in ("what:", "where:", "why:", "next:", "make wake"):
        assert part in message.text


def test_a_run_that_has_begun(aws: LocalAws, inbox: Inbox, clock: Clock) -> None:
    with Scheduler(aws, clock=clock, every=None) as scheduler:
        set_watchdog(aws, SET)
        clock.now = DUE + MINUTE
        set_watchdog(aws, SetWatchdog())  # it was the last one
        clock.now = DUE + timedelta(days=3)
        scheduler.tick()
    assert inbox.messages() == []


def test_nobody_is_told_before_there_is_an_orchestrator(
    aws: LocalAws, inbox: Inbox, clock: Clock
) -> None:
    with Scheduler(aws, clock=clock, every=None) as scheduler:
        clock.now = START + timedelta(days=3)
        scheduler.tick()
    assert inbox.messages() == []


# --- a wake-up failed ----------------------------------------------------------------------------


def test_a_wake_up_that_failed(aws: LocalAws, inbox: Inbox, clock: Clock) -> None:
    """Its role may not do it any more."""
    iam, role = aws.client("iam"), NAMES.role("scheduler")
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        document = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        kept = [s for s in document["Statement"] if s["Sid"] != "SetDesiredCount"]
        narrower = json.dumps({**document, "Statement": kept})
        iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=narrower)
    with (
        Scheduler(aws, clock=clock, every=None) as scheduler,
        Alarms(aws, clock=clock, every=None) as alarms,
    ):
        clock.now = START.replace(hour=5) + timedelta(days=1)  # as the template has it
        for _ in range(90):
            scheduler.tick()
            alarms.tick()
            clock.now += MINUTE
    message = only(inbox)
    assert message.subject.startswith('ALARM: "nightshift-prod-wake-up-failed"')
    told(json.loads(message.text), "was not woken", "make wake")


# --- the orchestrator did not sleep --------------------------------------------------------------


def test_it_did_not_sleep_for_hours(aws: LocalAws, inbox: Inbox, clock: Clock) -> None:
    service = {"ClusterName": NAMES.installation, "ServiceName": SERVICE}
    with Alarms(aws, clock=clock, every=None) as alarms:
        for _ in range(8 * 60):
            alarms.add_sample("AWS/ECS", "CPUUtilization", service, clock.now)
            if clock.now - START < timedelta(hours=5):
                alarms.tick()
                assert inbox.messages() == []
            elif clock.now.minute % 10 == 0:
                alarms.tick()
            clock.now += MINUTE
    message = only(inbox)
    assert message.subject.startswith('ALARM: "nightshift-prod-awake-too-long"')
    told(json.loads(message.text), "has not slept for 6 hours", "make status")


def told(alarm: Any, what: str, next_step: str) -> None:
    said = alarm["AlarmDescription"]
    assert what in said
    assert "Where: " in said
    assert "Why: " in said
    assert next_step in said.partition("Why: ")[2]


# --- a build failed ------------------------------------------------------------------------------

BUILD = "https://console.aws.amazon.com/codebuild/home?region=us-east-1#/builds/n:1/view/new"
SUMMARY = (
    "Build terminated with state: FAILED. Phase: BUILD, Code: COMMAND_EXECUTION_ERROR, Message: "
    "Error while executing command: python -m flows.smoke. Reason: exit status 1"
)


def happens(kind: str, **detail: Any) -> None:
    """As CodePipeline says it. Past the API's door: people may not say aws.…"""
    known = {"pipeline": NAMES.installation, "execution-id": "12-34", "version": 3.0}
    event = {
        "Source": "aws.codepipeline",
        "DetailType": f"CodePipeline {kind} Execution State Change",
        "Detail": json.dumps({**known, **detail}),
        "Resources": [NAMES.pipeline_arn],
    }
    events_backends[ACCOUNT]["us-east-1"].put_events([event])


def action(name: str, state: str, **more: Any) -> None:
    happens("Action", stage=name, action=name, state=state, region="us-east-1", **more)


def test_a_build_that_failed(aws: LocalAws, inbox: Inbox) -> None:
    """All events that a failure brings, and one message."""
    result = {
        "external-execution-url": BUILD,
        "external-execution-summary": SUMMARY,
        "external-execution-id": "n:1",
        "error-code": "JobFailed",
    }
    happens("Pipeline", state="STARTED")
    action("Source", "SUCCEEDED")
    action("Build", "STARTED")
    action("Build", "FAILED", **{"execution-result": result})
    happens("Stage", stage="Build", state="FAILED")
    happens("Pipeline", state="FAILED")
    said = json.loads(only(inbox).text)
    assert "a release failed" in said["what"]
    assert "in Build" in said["what"]
    assert said["where"].startswith("the pipeline nightshift-prod, execution 12-34")
    assert said["where"].endswith(BUILD)
    assert said["why"] == SUMMARY
    assert said["next"]


def test_a_source_that_failed_says_what_is_known(aws: LocalAws, inbox: Inbox) -> None:
    """What an event does not have leaves a sentence all the same."""
    action("Source", "FAILED")
    happens("Pipeline", state="FAILED")
    said = only(inbox).text
    assert "in Source; make releases shows which image is live" in said
    assert "<" not in said


def test_a_release_that_was_superseded_is_no_failure(aws: LocalAws, inbox: Inbox) -> None:
    action("Build", "ABANDONED")
    happens("Pipeline", state="SUPERSEDED")
    assert inbox.messages() == []
