"""CloudWatch alarms as infra/local plays them: when they change, and what people hear of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from infra.local.alarms import Alarms, Datapoint, Sample, Terms
from infra.local.alarms.evaluate import datapoints, reason, state
from infra.local.alarms.notice import region_name
from infra.local.aws import ACCOUNT, LocalAws
from infra.local.fargate.request import planned
from infra.local.fargate.task import Task
from tests.inbox import Inbox
from tests.infra.conftest import Synthesise
from tests.infra.test_local_fargate_request import DEFINITION, REQUEST
from tests.infra.test_local_stack import JOB, put

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SERVICE = {"ClusterName": "cluster", "ServiceName": "orchestrator"}

THREE = Terms("Maximum", 300, 3, 3, 1.0, "GreaterThanOrEqualToThreshold")
TWO_OF_THREE = replace(THREE, datapoints_to_alarm=2)
TREATED = ("missing", "ignore", "breaching", "notBreaching")
STATES = {"OK": "OK", "ALARM": "ALARM", "-": "INSUFFICIENT_DATA", "same": "before"}


def points(text: str) -> list[Datapoint]:
    """As AWS's tables have them: 0 is within the threshold, X breaches it, - is missing."""
    values: dict[str, float | None] = {"0": 0.0, "X": 1.0, "-": None}
    return [Datapoint(NOON, values[sign]) for sign in text.split()]


# The two tables of
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
@pytest.mark.parametrize(
    ("terms", "found", "expected"),
    [
        (THREE, "0 - X - X", "OK OK OK OK"),
        (THREE, "0 - - - -", "OK OK OK OK"),
        (THREE, "- - - - -", "- same ALARM OK"),
        (THREE, "0 X X - X", "ALARM ALARM ALARM ALARM"),
        (THREE, "- - X - -", "ALARM same ALARM OK"),
        (TWO_OF_THREE, "0 - X - X", "ALARM ALARM ALARM ALARM"),
        (TWO_OF_THREE, "0 0 X 0 X", "ALARM ALARM ALARM ALARM"),
        (TWO_OF_THREE, "0 - X - -", "OK OK ALARM OK"),
        (TWO_OF_THREE, "- - - - 0", "OK OK ALARM OK"),
        (TWO_OF_THREE, "- - - X -", "ALARM same ALARM OK"),
        # and what its text says of three of three
        (THREE, "- - - - X", "- same ALARM OK"),
        (THREE, "- - - X -", "- same ALARM OK"),
        (THREE, "- - - X 0", "OK OK OK OK"),
    ],
)
def test_states(terms: Terms, found: str, expected: str) -> None:
    for treated, name in zip(TREATED, expected.split(), strict=True):
        asked = replace(terms, treat_missing_data=treated)
        assert state(asked, points(found), "before") == STATES[name], treated


@pytest.mark.parametrize(
    ("comparison", "values"),
    [
        ("GreaterThanOrEqualToThreshold", (False, True, True)),
        ("GreaterThanThreshold", (False, False, True)),
        ("LessThanThreshold", (True, False, False)),
        ("LessThanOrEqualToThreshold", (True, True, False)),
    ],
)
def test_comparisons(comparison: str, values: tuple[bool, ...]) -> None:
    terms = replace(THREE, comparison_operator=comparison, threshold=5.0)
    assert tuple(terms.breaching(value) for value in (4.0, 5.0, 6.0)) == values


@pytest.mark.parametrize(
    ("statistic", "expected"),
    [("Maximum", 5.0), ("Minimum", 1.0), ("Sum", 9.0), ("Average", 3.0), ("SampleCount", 4.0)],
)
def test_a_period_becomes_a_datapoint(statistic: str, expected: float) -> None:
    terms = replace(THREE, statistic=statistic)
    within = [Sample(NOON + n * MINUTE, value) for n, value in enumerate((1.0, 5.0, None, 3.0))]
    before = Sample(NOON - MINUTE, 100.0)
    found = datapoints(terms, [before, *within], NOON + timedelta(minutes=4, seconds=59))
    assert [point.start for point in found[-2:]] == [NOON - timedelta(minutes=5), NOON]
    assert found[-1].value == expected
    assert found[-3].value is None
    assert len(found) == 5  # two more than the periods


def test_the_reason_is_in_cloudwatchs_words() -> None:
    terms = replace(THREE, evaluation_periods=1, datapoints_to_alarm=1)
    assert reason(terms, points("- - X"), "ALARM", "OK") == (
        "Threshold Crossed: 1 out of the last 1 datapoints [1.0 (27/11/26 12:00:00)] was greater "
        "than or equal to the threshold (1.0) (minimum 1 datapoint for OK -> ALARM transition)."
    )
    assert "was not greater than or equal to" in reason(terms, points("- - 0"), "OK", "ALARM")
    quiet = replace(terms, treat_missing_data="notBreaching")
    assert reason(quiet, points("- - -"), "OK", "ALARM") == (
        "Threshold Crossed: no datapoints were received for 1 period and 1 missing datapoint was "
        "treated as [NonBreaching]."
    )
    assert reason(terms, [], "INSUFFICIENT_DATA", "OK") == (
        "Insufficient Data: 1 datapoint was unknown."
    )


@pytest.mark.parametrize(
    ("region", "name"),
    [
        ("us-east-1", "US East (N. Virginia)"),
        ("eu-central-1", "EU (Frankfurt)"),
        ("no-where-1", "no-where-1"),
    ],
)
def test_names_of_regions(region: str, name: str) -> None:
    assert region_name(region) == name


# --- in an AWS -----------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def tasks() -> list[Task]:
    return []


@pytest.fixture
def alarms(aws: LocalAws, clock: Clock, said: list[str], tasks: list[Task]) -> Iterator[Alarms]:
    with Alarms(aws, tasks=lambda: tasks, clock=clock, every=None, say=said.append) as running:
        yield running


def topic(aws: LocalAws, condition: dict[str, Any] | None = None) -> str:
    sns = aws.client("sns")
    arn = str(sns.create_topic(Name="alerts")["TopicArn"])
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "cloudwatch.amazonaws.com"},
        "Action": "sns:Publish",
        "Resource": arn,
        "Condition": condition or {"StringEquals": {"aws:SourceAccount": ACCOUNT}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sns.set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=policy)
    return arn


def alarm(aws: LocalAws, **changes: Any) -> None:
    """On a message in the queue `dead`, or with these changes."""
    made = {
        "AlarmName": "lost",
        "AlarmDescription": "Something is lost.",
        "Namespace": "AWS/SQS",
        "MetricName": "ApproximateNumberOfMessagesVisible",
        "Dimensions": [{"Name": "QueueName", "Value": "dead"}],
        "Statistic": "Maximum",
        "Period": 300,
        "EvaluationPeriods": 1,
        "Threshold": 1,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "TreatMissingData": "notBreaching",
    }
    aws.client("cloudwatch").put_metric_alarm(**(made | changes))


def awake(aws: LocalAws, arn: str, hours: int = 3) -> None:
    """As infra/watch.py has it."""
    alarm(
        aws,
        AlarmName="awake",
        Namespace="AWS/ECS",
        MetricName="CPUUtilization",
        Dimensions=[{"Name": name, "Value": value} for name, value in SERVICE.items()],
        Statistic="SampleCount",
        Period=3600,
        EvaluationPeriods=hours,
        Threshold=45,
        AlarmActions=[arn],
    )


def value(aws: LocalAws, name: str = "lost") -> str:
    found = aws.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
    return str(found[0]["StateValue"])


def run(alarms: Alarms, clock: Clock, minutes: int) -> None:
    for _ in range(minutes):
        clock.now += MINUTE
        alarms.tick()


def subjects(inbox: Inbox) -> list[str]:
    return [message.subject for message in inbox.messages()]


RAISED = 'ALARM: "lost" in US East (N. Virginia)'
OVER = 'OK: "lost" in US East (N. Virginia)'


def test_one_message_for_each_change(aws: LocalAws, alarms: Alarms, clock: Clock) -> None:
    arn = topic(aws)
    inbox = Inbox(aws, arn)
    sqs = aws.client("sqs")
    dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
    alarm(aws, AlarmActions=[arn])
    assert value(aws) == "INSUFFICIENT_DATA"
    alarms.tick()
    assert value(aws) == "OK"

    sqs.send_message(QueueUrl=dead, MessageBody="{}")
    alarms.tick()
    assert value(aws) == "ALARM"
    run(alarms, clock, 30)
    assert subjects(inbox) == [RAISED]  # no second while it stays

    sqs.purge_queue(QueueUrl=dead)
    run(alarms, clock, 4)
    assert value(aws) == "ALARM"  # the period still has it
    run(alarms, clock, 1)
    assert value(aws) == "OK"
    assert subjects(inbox) == [RAISED]  # nobody asked for OK
    sqs.send_message(QueueUrl=dead, MessageBody="{}")
    run(alarms, clock, 1)
    assert subjects(inbox) == [RAISED, RAISED]
    assert [change.after for change in alarms.changes] == ["OK", "ALARM", "OK", "ALARM"]


def test_the_message_says_what_cloudwatch_says(aws: LocalAws, alarms: Alarms) -> None:
    arn = topic(aws)
    inbox = Inbox(aws, arn)
    dead = aws.client("sqs").create_queue(QueueName="dead")["QueueUrl"]
    alarm(aws, AlarmActions=[arn])
    alarms.tick()
    aws.client("sqs").send_message(QueueUrl=dead, MessageBody="{}")
    alarms.tick()
    (message,) = inbox.messages()
    told = json.loads(message.text)
    assert told["AlarmName"] == "lost"
    assert told["AlarmDescription"] == "Something is lost."
    assert (told["OldStateValue"], told["NewStateValue"]) == ("OK", "ALARM")
    assert told["AlarmArn"] == f"arn:aws:cloudwatch:us-east-1:{ACCOUNT}:alarm:lost"
    assert told["AWSAccountId"] == ACCOUNT
    assert told["StateChangeTime"] == "2026-11-27T12:00:00.000+0000"
    assert told["NewStateReason"].startswith("Threshold Crossed: 1 out of the last 1 datapoints")
    trigger = told["Trigger"]
    assert (trigger["Statistic"], trigger["Period"], trigger["Threshold"]) == ("MAXIMUM", 300, 1.0)
    assert trigger["Dimensions"] == [{"value": "dead", "name": "QueueName"}]


def test_the_thread_looks_by_itself(aws: LocalAws) -> None:
    arn = topic(aws)
    inbox = Inbox(aws, arn)
    dead = aws.client("sqs").create_queue(QueueName="dead")["QueueUrl"]
    alarm(aws, AlarmActions=[arn])
    with Alarms(aws, every=0.02):
        aws.client("sqs").send_message(QueueUrl=dead, MessageBody="{}")
        assert inbox.wait("ALARM").subject == RAISED


@pytest.mark.parametrize(
    "condition",
    [
        {"StringEquals": {"aws:SourceAccount": "999999999999"}},
        {"ArnLike": {"aws:SourceArn": f"arn:aws:cloudwatch:us-east-1:{ACCOUNT}:alarm:other*"}},
    ],
)
def test_a_topic_that_does_not_let_it_in_loses_it(
    aws: LocalAws, alarms: Alarms, said: list[str], condition: dict[str, Any]
) -> None:
    arn = topic(aws, condition)
    inbox = Inbox(aws, arn)
    alarm(aws, AlarmActions=[arn])
    aws.client("cloudwatch").set_alarm_state(
        AlarmName="lost", StateValue="ALARM", StateReason="to try it"
    )
    assert inbox.messages() == []
    assert f"cloudwatch.amazonaws.com may not sns:Publish to {arn}" in said[0]
    assert aws.record is not None
    assert [entry.resource for entry in aws.record.refused("cloudwatch.amazonaws.com")] == [arn]


def test_a_topics_default_policy_lets_its_own_account_in(aws: LocalAws, alarms: Alarms) -> None:
    arn = str(aws.client("sns").create_topic(Name="alerts")["TopicArn"])
    inbox = Inbox(aws, arn)
    alarm(aws, OKActions=[arn], InsufficientDataActions=[arn])
    alarms.tick()
    assert subjects(inbox) == [OVER]


def test_a_state_set_by_hand_lasts_until_the_next_minute(
    aws: LocalAws, alarms: Alarms, clock: Clock
) -> None:
    arn = topic(aws)
    inbox = Inbox(aws, arn)
    alarm(aws, AlarmActions=[arn], OKActions=[arn])
    alarms.tick()
    for _ in range(2):  # the second is no change
        aws.client("cloudwatch").set_alarm_state(
            AlarmName="lost", StateValue="ALARM", StateReason="to try it"
        )
    alarms.tick()
    assert value(aws) == "ALARM"
    run(alarms, clock, 1)
    assert value(aws) == "OK"
    assert subjects(inbox) == [OVER, RAISED, OVER]
    assert json.loads(inbox.messages()[1].text)["NewStateReason"] == "to try it"


def test_an_update_leaves_the_state(aws: LocalAws, alarms: Alarms) -> None:
    arn = topic(aws)
    inbox = Inbox(aws, arn)
    dead = aws.client("sqs").create_queue(QueueName="dead")["QueueUrl"]
    aws.client("sqs").send_message(QueueUrl=dead, MessageBody="{}")
    alarm(aws, AlarmActions=[arn])
    alarms.tick()
    alarm(aws, AlarmActions=[arn], AlarmDescription="In other words.")
    assert value(aws) == "ALARM"
    alarms.tick()
    assert subjects(inbox) == [RAISED]


def test_actions_that_are_off_are_not_done(aws: LocalAws, alarms: Alarms, said: list[str]) -> None:
    arn = topic(aws)
    inbox = Inbox(aws, arn)
    alarm(aws, OKActions=[arn], ActionsEnabled=False)
    alarm(aws, AlarmName="other", OKActions=["arn:aws:automate:us-east-1:ec2:stop"])
    alarms.tick()
    assert value(aws) == "OK"
    assert inbox.messages() == []
    assert said == ["alarm other: this emulator cannot do arn:aws:automate:us-east-1:ec2:stop"]


@pytest.mark.parametrize(
    ("treated", "expected"),
    [("missing", "INSUFFICIENT_DATA"), ("notBreaching", "OK"), ("breaching", "ALARM")],
)
def test_a_metric_that_is_not_there_is_missing(
    aws: LocalAws, alarms: Alarms, treated: str, expected: str
) -> None:
    alarm(aws, Namespace="AWS/Nothing", TreatMissingData=treated)
    alarms.tick()
    assert value(aws) == expected


def test_two_of_three_datapoints(aws: LocalAws, alarms: Alarms, clock: Clock) -> None:
    alarm(aws, Namespace="Own", MetricName="m", EvaluationPeriods=3, DatapointsToAlarm=2, Period=60)
    states = []
    for measured in (0, 1, 0, 1, 0, 0):
        alarms.add_sample("Own", "m", {"QueueName": "dead"}, clock.now, measured)
        alarms.tick()
        states.append(value(aws))
        clock.now += MINUTE
    assert states == ["OK", "OK", "OK", "ALARM", "OK", "OK"]


def test_what_people_put_counts(aws: LocalAws, alarms: Alarms, clock: Clock) -> None:
    dimensions = [{"Name": "QueueName", "Value": "dead"}]
    alarm(aws, Namespace="Own", MetricName="m")
    datum = {"MetricName": "m", "Value": 3, "Timestamp": clock.now, "Dimensions": dimensions}
    aws.client("cloudwatch").put_metric_data(Namespace="Own", MetricData=[datum])
    alarms.tick()
    assert value(aws) == "ALARM"


def test_what_it_cannot_judge_it_says_once(aws: LocalAws, alarms: Alarms, said: list[str]) -> None:
    query = {"Id": "a", "Expression": "1 + 1", "ReturnData": True, "Period": 60}
    aws.client("cloudwatch").put_metric_alarm(
        AlarmName="sum",
        Metrics=[query],
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )
    alarms.tick()
    alarms.tick()
    assert said == ["alarm sum: this emulator cannot judge it"]
    assert value(aws, "sum") == "INSUFFICIENT_DATA"


# --- a service that is awake too long ------------------------------------------------------------


def stay(alarms: Alarms, until: datetime, minutes: int) -> None:
    for back in range(minutes):
        alarms.add_sample("AWS/ECS", "CPUUtilization", SERVICE, until - back * MINUTE)


@pytest.mark.parametrize(("minutes", "expected"), [(180, "ALARM"), (165, "ALARM"), (164, "OK")])
def test_awake_for_most_of_each_hour(
    aws: LocalAws, alarms: Alarms, clock: Clock, minutes: int, expected: str
) -> None:
    arn = topic(aws)
    inbox = Inbox(aws, arn)
    awake(aws, arn)
    stay(alarms, clock.now, minutes)
    alarms.tick()
    assert value(aws, "awake") == expected
    assert len(inbox.messages()) == (expected == "ALARM")


def test_awake_for_minutes_of_each_hour_is_no_alarm(
    aws: LocalAws, alarms: Alarms, clock: Clock
) -> None:
    awake(aws, topic(aws))
    for hour in range(5):
        stay(alarms, clock.now - timedelta(hours=hour), 20)
    alarms.tick()
    assert value(aws, "awake") == "OK"


def test_hours_asleep_are_not_between_hours_awake(
    aws: LocalAws, alarms: Alarms, clock: Clock
) -> None:
    """What notBreaching does not prevent: CloudWatch looks further back where data is missing, and
    so takes hours awake on both sides of an hour asleep for one stretch.
    """
    awake(aws, topic(aws))
    stay(alarms, clock.now, 60)
    stay(alarms, clock.now - timedelta(hours=2), 120)
    alarms.tick()
    assert value(aws, "awake") == "ALARM"


def service_task(began: datetime, ended: datetime | None = None, group: str = "") -> Task:
    request = {**REQUEST, "cluster": "cluster", "group": group or "service:orchestrator"}
    task = Task(planned(request, DEFINITION), "us-east-1", ACCOUNT)
    task.times["startedAt"] = began
    if ended:
        task.times["executionStoppedAt"] = ended
    return task


def test_a_service_is_measured_while_its_task_runs(
    aws: LocalAws, alarms: Alarms, clock: Clock, tasks: Sequence[Task]
) -> None:
    lives = [
        service_task(NOON, NOON + timedelta(minutes=100)),
        service_task(NOON + timedelta(minutes=105)),
        service_task(NOON - timedelta(hours=9), group="family:job"),
    ]
    assert isinstance(tasks, list)
    tasks += lives
    awake(aws, topic(aws), hours=3)
    clock.now = NOON + timedelta(hours=2, minutes=43)
    alarms.tick()
    assert value(aws, "awake") == "OK"
    run(alarms, clock, 5)
    assert value(aws, "awake") == "ALARM"


# --- the template's own --------------------------------------------------------------------------


def test_every_alarm_of_the_template_is_heard(
    aws: LocalAws, alarms: Alarms, clock: Clock, synthesise: Synthesise
) -> None:
    put(aws, synthesise({"first": "true"}, [JOB]))
    inbox = Inbox(aws, f"arn:aws:sns:us-east-1:{ACCOUNT}:nightshift-prod-alerts")
    cloudwatch, sqs = aws.client("cloudwatch"), aws.client("sqs")
    alarms.tick()
    found = cloudwatch.describe_alarms()["MetricAlarms"]
    names = {each["AlarmName"] for each in found}
    assert {"nightshift-prod-wake-up-failed", "nightshift-prod-awake-too-long"} <= names
    assert {each["StateValue"] for each in found} == {"OK"}
    for each in found:
        dimensions = {one["Name"]: one["Value"] for one in each["Dimensions"]}
        if each["Namespace"] == "AWS/SQS":
            url = sqs.get_queue_url(QueueName=dimensions["QueueName"])["QueueUrl"]
            sqs.send_message(QueueUrl=url, MessageBody="{}")
        else:
            assert each["Namespace"] == "AWS/ECS"
            for back in range(each["EvaluationPeriods"] * each["Period"] // 60):
                at = clock.now - back * MINUTE
                alarms.add_sample(each["Namespace"], each["MetricName"], dimensions, at)
    alarms.tick()
    assert {json.loads(message.text)["AlarmName"] for message in inbox.messages()} == names
    assert aws.record is not None
    assert aws.record.refused("cloudwatch.amazonaws.com") == []


def test_what_breaks_in_the_thread_is_raised(aws: LocalAws) -> None:
    asked = threading.Event()

    def broken() -> datetime:
        asked.set()
        raise RuntimeError("no clock")

    with pytest.raises(RuntimeError, match="no clock"), Alarms(aws, clock=broken, every=0.01):
        assert asked.wait(30)
