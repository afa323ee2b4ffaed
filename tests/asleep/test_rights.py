"""What all of this took, by the rights that it was given: last, when everything has happened."""

from __future__ import annotations

from infra.local.cloud import Cloud
from tests.asleep import days
from tests.needs import LONG

# What nothing here has a use for, and who has. All else that is granted is used.
UNUSED = {
    "orchestrator": {
        "HearOfTasks sqs:ChangeMessageVisibility": "when an event takes minutes to be dealt with",
        "ReadJobLogs logs:GetLogEvents": "of a task that has died before it knew of Prefect",
        **({} if LONG else {"WatchTasks ecs:StopTask": "after a kill: see test_killed.py"}),
        **{
            f"AnswerSessions ssmmessages:{action}": "ECS Exec's agent, which is not here"
            for action in (
                *("CreateControlChannel", "CreateDataChannel"),
                *("OpenControlChannel", "OpenDataChannel"),
            )
        },
    },
    "scheduler": {
        "KeepWhatFailed sqs:SendMessage": "when a wake-up fails",
        "TellPeople sns:Publish": "when a run has not begun: see test_watched.py",
    },
}


def test_no_call_was_refused_and_no_grant_is_in_vain(asleep: Cloud) -> None:
    cloud = asleep
    record = cloud.aws.record
    assert record is not None
    names = cloud.names
    days.sleeps(cloud)
    ours = {names.role(name) for name in ("orchestrator", "execution", "scheduler")}
    refused = [one for one in record.entries() if one.principal in ours and not one.allowed]
    assert refused == []
    if len(cloud.lives()) > 12:  # all tests of this folder have run
        for role, known in UNUSED.items():
            unused = {f"{g.statement} {g.action}" for g in record.unused(names.role(role))}
            assert unused <= known.keys(), role
