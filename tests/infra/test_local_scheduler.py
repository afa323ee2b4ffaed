"""EventBridge Scheduler as infra/local plays it: when schedules are due, and what they do then."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.local.aws import ACCOUNT, LocalAws
from infra.local.schedules import Event, Scheduler, next_time, shortened
from infra.local.schedules.attempts import given_up
from infra.local.schedules.targets import Request, filled, request
from tests.infra.conftest import Synthesise
from tests.infra.test_local_stack import JOB, NAMES, desired, put


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


LONG_AGO = utc("2020-01-01T00:00")


def times(expression: str, after: str, count: int = 3, zone: str = "UTC") -> list[str]:
    """The next ones, as a clock on the wall of the zone has them."""
    found: list[str] = []
    moment = utc(after)
    while len(found) < count:
        due = next_time(expression, zone, moment, created=LONG_AGO)
        if due is None:
            break
        found.append(due.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%dT%H:%M"))
        moment = due
    return found


# --- when ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("30 8 * * ? *", ["2026-12-01T08:30", "2026-12-02T08:30", "2026-12-03T08:30"]),
        ("30 8 * * ?", ["2026-12-01T08:30", "2026-12-02T08:30", "2026-12-03T08:30"]),
        ("1/10 0 * * ? *", ["2026-12-01T00:01", "2026-12-01T00:11", "2026-12-01T00:21"]),
        ("0-40/20 */12 * * ? *", ["2026-12-01T00:20", "2026-12-01T00:40", "2026-12-01T12:00"]),
        ("0 9 ? * MON-FRI *", ["2026-12-01T09:00", "2026-12-02T09:00", "2026-12-03T09:00"]),
        ("0 9 ? * 1,sat *", ["2026-12-05T09:00", "2026-12-06T09:00", "2026-12-12T09:00"]),
        ("15 10 ? * 6L 2026-2027", ["2026-12-25T10:15", "2027-01-29T10:15", "2027-02-26T10:15"]),
        ("0 0 ? * L *", ["2026-12-05T00:00", "2026-12-12T00:00", "2026-12-19T00:00"]),
        ("0 0 ? * 3#2 *", ["2026-12-08T00:00", "2027-01-12T00:00", "2027-02-09T00:00"]),
        ("0 0 ? * SUN#5 *", ["2027-01-31T00:00", "2027-02-28T00:00", "2027-05-30T00:00"][:1]),
        ("0 0 L * ? *", ["2026-12-31T00:00", "2027-01-31T00:00", "2027-02-28T00:00"]),
        ("0 0 15,L FEB ? *", ["2027-02-15T00:00", "2027-02-28T00:00", "2028-02-15T00:00"]),
        ("0 0 29 2 ? *", ["2028-02-29T00:00", "2032-02-29T00:00", "2036-02-29T00:00"]),
        ("0 0 31 * ? *", ["2026-12-31T00:00", "2027-01-31T00:00", "2027-03-31T00:00"]),
        ("0 0 3W * ? *", ["2026-12-03T00:00", "2027-01-04T00:00", "2027-02-03T00:00"]),
        # A Saturday that is the first, and a Sunday that is the last: not into another month.
        ("0 0 1W MAY ? 2027", ["2027-05-03T00:00"]),
        ("0 0 31W JAN ? 2027", ["2027-01-29T00:00"]),
        ("0 0 31W FEB ? *", []),
        ("0 0 30 FEB ? *", []),
        ("0 0 1 1 ? 2026", []),
        ("0 0 1 1 ? 2199", ["2199-01-01T00:00"]),
    ],
)
def test_cron(fields: str, expected: list[str]) -> None:
    assert times(f"cron({fields})", "2026-12-01T00:00:30", len(expected) or 1) == expected


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("cron(60 8 * * ? *)", "minutes: '60' is not in 0-59"),
        ("cron(0 24 * * ? *)", "hours: '24' is not in 0-23"),
        ("cron(0 8 0 * ? *)", "day-of-month: '0' is not in 1-31"),
        ("cron(0 8 ? * 0 *)", "day-of-week: '0' is not in 1-7"),
        ("cron(0 8 ? * MO *)", "day-of-week: 'MO'"),
        ("cron(0 8 ? * 3#6 *)", "day-of-week: '3#6'"),
        ("cron(0 8 ? * 3#1,6#3 *)", "day-of-week: '3#1,6#3'"),
        ("cron(0 8 * 13 ? *)", "month: '13' is not in 1-12"),
        ("cron(0 8 * * ? 1969)", "year: '1969' is not in 1970-2199"),
        ("cron(0 8 * * * *)", "exactly one of the two"),
        ("cron(0 8 ? * ? *)", "exactly one of the two"),
        ("cron(? 8 * * ? *)", "minutes: '?'"),
        ("cron(W 8 * * ? *)", "minutes: 'W'"),
        ("cron(*/0 8 * * ? *)", "minutes: '0' is no step"),
        ("cron(30-10 8 * * ? *)", "minutes: '30-10' ends before it starts"),
        ("cron(1,,2 8 * * ? *)", "minutes: ''"),
        ("cron(-5 8 * * ? *)", "minutes: ''"),
        ("cron(0 8 LW * ? *)", "day-of-month: 'L'"),
        ("cron(0 8 * *)", "cron: 4 fields"),
        ("cron(0 8 * * ? * *)", "cron: 7 fields"),
        ("rate(0 days)", "rate: 0 is not positive"),
        ("rate(5 weeks)", "rate: '5 weeks'"),
        ("rate(1.5 hours)", "rate: '1.5 hours'"),
        ("at(2026-02-30T00:00:00)", "at: '2026-02-30T00:00:00' is no date"),
        ("at(2026-12-01 05:50:00)", "at: '2026-12-01 05:50:00' is not"),
        ("at(2026-12-01T05:50:00Z)", "at: "),
        ("every day", "expression: 'every day'"),
        ("cron(0 8 * * ? *", "expression: "),
    ],
)
def test_an_invalid_expression_names_what_is_wrong(expression: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        next_time(expression, "UTC", LONG_AGO, created=LONG_AGO)
    assert message in str(caught.value)


@pytest.mark.parametrize("zone", ["Europe/Atlantis", "", "../etc/passwd", "/etc"])
def test_an_unknown_time_zone(zone: str) -> None:
    with pytest.raises(ValueError, match="timezone"):
        next_time("rate(1 day)", zone, LONG_AGO, created=LONG_AGO)


def test_at_fires_once() -> None:
    assert times("at(2026-12-01T05:50:00)", "2026-12-01T05:49:59") == ["2026-12-01T05:50"]
    assert times("at(2026-12-01T05:50:00)", "2026-12-01T05:50:00") == []
    in_winter = next_time(
        "at(2022-11-20T13:00:00)", "America/Los_Angeles", LONG_AGO, created=LONG_AGO
    )
    assert in_winter == utc("2022-11-20T21:00")


def test_at_ignores_start_and_end() -> None:
    due = next_time(
        "at(2026-12-01T05:50:00)",
        "UTC",
        LONG_AGO,
        created=LONG_AGO,
        start=utc("2027-01-01"),
        end=utc("2026-01-01"),
    )
    assert due == utc("2026-12-01T05:50")


def test_rate_counts_from_its_start_or_from_when_it_was_made() -> None:
    made, start = utc("2026-12-01T10:07:30"), utc("2026-12-02T00:00")

    def following(after: datetime, **given: datetime) -> datetime | None:
        return next_time("rate(15 minutes)", "UTC", after, created=made, **given)

    assert following(made - timedelta(seconds=1)) == made
    assert following(made) == made + timedelta(minutes=15)
    assert following(made + timedelta(minutes=40)) == made + timedelta(minutes=45)
    assert following(made, start=start) == start
    assert following(start, start=start) == start + timedelta(minutes=15)
    assert following(start, start=start, end=start + timedelta(minutes=14)) is None


def test_cron_between_its_start_and_its_end() -> None:
    given = {
        "created": LONG_AGO,
        "start": utc("2026-12-02T08:00"),
        "end": utc("2026-12-03T08:00"),
    }
    first = next_time("cron(0 8 * * ? *)", "UTC", LONG_AGO, **given)
    assert first == utc("2026-12-02T08:00")
    assert first is not None
    last = next_time("cron(0 8 * * ? *)", "UTC", first, **given)
    assert last == utc("2026-12-03T08:00")
    assert last is not None
    assert next_time("cron(0 8 * * ? *)", "UTC", last, **given) is None


def test_a_time_that_the_clock_jumps_over_is_skipped() -> None:
    """The user guide's own example."""
    found = times("cron(30 2 * * ? *)", "2026-03-07T00:00", 3, "America/Los_Angeles")
    assert found == ["2026-03-07T02:30", "2026-03-09T02:30", "2026-03-10T02:30"]


def test_a_time_that_the_clock_shows_twice_counts_once_before_the_shift() -> None:
    zone = "America/Los_Angeles"
    due = next_time("cron(30 1 1 11 ? 2026)", zone, LONG_AGO, created=LONG_AGO)
    assert due == utc("2026-11-01T08:30")  # still seven hours behind
    assert next_time("cron(30 1 1 11 ? 2026)", zone, due, created=LONG_AGO) is None
    # From within the hour that is shown again: nothing until it is over.
    second = utc("2026-11-01T09:10")
    assert next_time("cron(*/5 * * * ? *)", zone, second, created=LONG_AGO) == utc(
        "2026-11-01T10:00"
    )


def test_a_day_is_24_hours_to_rate() -> None:
    made = datetime(2026, 3, 7, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    due = next_time("rate(60 days)", "Europe/Berlin", made, created=made)
    assert due is not None
    assert due - made.astimezone(UTC) == timedelta(hours=60 * 24)


def test_at_in_a_gap_is_not_lost() -> None:
    due = next_time("at(2026-03-29T02:30:00)", "Europe/Berlin", LONG_AGO, created=LONG_AGO)
    assert due == utc("2026-03-29T01:30")  # 03:30 by the clock


EXPRESSIONS = [
    "cron(0/7 3-9 ? * MON,FRI#1 *)".replace("MON,FRI#1", "FRI#1"),
    "cron(*/25 * L * ? *)",
    "cron(30 1-3 * MAR,OCT,NOV ? *)",
    "cron(5 4 15W * ? 2026-2030)",
    "cron(0 0 ? * 2L *)",
    "rate(7 hours)",
    "rate(1 day)",
    "at(2027-03-28T02:30:00)",
]
MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2031, 12, 31), timezones=st.just(UTC))


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(EXPRESSIONS),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
    MOMENTS,
    MOMENTS,
)
def test_the_next_time_is_later_and_never_goes_back(
    expression: str, zone: str, one: datetime, other: datetime
) -> None:
    created = utc("2026-02-03T04:05:06")
    earlier, later = sorted((one, other))
    first = next_time(expression, zone, earlier, created=created)
    second = next_time(expression, zone, later, created=created)
    assert first is None or first > earlier
    assert second is None or second > later
    if first is None:
        assert second is None
    elif second is not None:
        assert first <= second
        assert (first == second) == (first > later)  # nothing in between is left out


# --- what ----------------------------------------------------------------------------------------

QUEUE = f"arn:aws:sqs:us-east-1:{ACCOUNT}:inbox"
UNIVERSAL = "arn:aws:scheduler:::aws-sdk:"


def asked(arn: str, value: object, **more: Any) -> Request:
    text = value if isinstance(value, str) else json.dumps(value)
    return request({"Arn": arn, **more}, text)


def test_a_universal_target_names_an_action_and_its_parameters_in_pascal_case() -> None:
    made = asked(
        f"{UNIVERSAL}ecs:updateService", {"Cluster": "c", "Service": "s", "DesiredCount": 1}
    )
    assert made == Request(
        "ecs", "UpdateService", {"cluster": "c", "service": "s", "desiredCount": 1}
    )
    assert made.action == "ecs:UpdateService"
    nested = asked(
        f"{UNIVERSAL}ecs:runTask",
        {
            "TaskDefinition": "t",
            "NetworkConfiguration": {"AwsvpcConfiguration": {"Subnets": ["s"]}},
            "Overrides": {"ContainerOverrides": [{"Name": "x", "Environment": [{"Name": "A"}]}]},
        },
    )
    assert nested.params["networkConfiguration"] == {"awsvpcConfiguration": {"subnets": ["s"]}}
    assert nested.params["overrides"] == {
        "containerOverrides": [{"name": "x", "environment": [{"name": "A"}]}]
    }
    tagged = asked(f"{UNIVERSAL}sqs:tagQueue", {"QueueUrl": "u", "Tags": {"aB": "1"}})
    assert tagged.params["Tags"] == {"aB": "1"}  # keys of a map are the caller's own
    assert asked(f"{UNIVERSAL}cloudwatchlogs:createLogGroup", {}).service == "logs"


@pytest.mark.parametrize(
    ("what", "value", "message"),
    [
        ("ecs:describeTasks", {}, "read-only"),
        ("ecs:updateServices", {}, "no action updateServices"),
        ("ec5:updateService", {}, "no service ec5"),
        ("ecs:updateService", {"Clusters": "c"}, "Input has no parameter Clusters"),
        ("ecs:updateService", "{", "Input is no JSON"),
        ("ecs:updateService", [], "no JSON object"),
    ],
)
def test_what_no_request_can_be_made_of(what: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        asked(f"{UNIVERSAL}{what}", value)


def test_templated_targets() -> None:
    url = f"https://sqs.us-east-1.amazonaws.com/{ACCOUNT}/inbox"
    assert asked(QUEUE, "hello") == Request(
        "sqs", "SendMessage", {"QueueUrl": url, "MessageBody": "hello"}
    )
    grouped = asked(QUEUE, "hello", SqsParameters={"MessageGroupId": "g"})
    assert grouped.params["MessageGroupId"] == "g"
    cluster = f"arn:aws:ecs:us-east-1:{ACCOUNT}:cluster/c"
    parameters = {
        "TaskDefinitionArn": "t:1",
        "TaskCount": 2,
        "LaunchType": "FARGATE",
        "NetworkConfiguration": {"awsvpcConfiguration": {"Subnets": ["s"]}},
    }
    run = asked(cluster, {"containerOverrides": []}, EcsParameters=parameters)
    assert run == Request(
        "ecs",
        "RunTask",
        {
            "cluster": cluster,
            "taskDefinition": "t:1",
            "count": 2,
            "launchType": "FARGATE",
            "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["s"]}},
            "overrides": {"containerOverrides": []},
        },
    )
    with pytest.raises(ValueError, match="no templated target"):
        asked(f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:f", "{}")
    with pytest.raises(ValueError, match="without Input"):
        asked(QUEUE, "")


def test_input_may_name_what_is_known_of_the_call() -> None:
    text = "<aws.scheduler.scheduled-time> <aws.scheduler.attempt-number> <aws.scheduler.x>"
    known = {"scheduled-time": "2022-03-22T18:59:43Z", "attempt-number": "1"}
    assert filled(text, known) == "2022-03-22T18:59:43Z 1 <aws.scheduler.x>"


def test_what_is_given_up() -> None:
    policy = {"MaximumRetryAttempts": 2, "MaximumEventAgeInSeconds": 60}
    minute = timedelta(seconds=60)
    assert given_up(2, minute, policy) == ""
    assert given_up(3, minute, policy) == "MaximumRetryAttempts"
    assert given_up(1, minute + timedelta(seconds=1), policy) == "MaximumEventAgeInSeconds"
    assert given_up(1, timedelta(), {"MaximumRetryAttempts": 0}) == "MaximumRetryAttempts"
    assert given_up(185, timedelta(days=1), {}) == ""
    assert given_up(186, timedelta(days=1), {}) == "MaximumRetryAttempts"
    assert given_up(1, timedelta(days=1, seconds=1), {}) == "MaximumEventAgeInSeconds"
    assert shortened(1) < shortened(2) <= shortened(200) == timedelta(seconds=1)


# --- a clock, schedules and a queue --------------------------------------------------------------


class Clock:
    """Stands still unless it is set."""

    def __init__(self, text: str) -> None:
        self.now = utc(text)

    def __call__(self) -> datetime:
        return self.now

    def set(self, text: str) -> None:
        self.now = utc(text)


def trust(account: str = ACCOUNT, group: str = "*") -> str:
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "scheduler.amazonaws.com"},
                    "Action": "sts:AssumeRole",
                    "Condition": {
                        "StringEquals": {"aws:SourceAccount": account},
                        "ArnLike": {
                            "aws:SourceArn": f"arn:aws:scheduler:us-east-1:{ACCOUNT}:"
                            f"schedule-group/{group}"
                        },
                    },
                }
            ],
        }
    )


def role(aws: LocalAws, name: str, *resources: str, trusts: str = "") -> str:
    """That may send to these queues."""
    iam = aws.client("iam")
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=trusts or trust())
    statement = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": list(resources)}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    iam.put_role_policy(RoleName=name, PolicyName="send", PolicyDocument=json.dumps(policy))
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


def schedule(aws: LocalAws, expression: str, role_arn: str, **more: Any) -> str:
    target = {"Arn": QUEUE, "RoleArn": role_arn, "Input": "<aws.scheduler.scheduled-time>"}
    given = {
        "Name": "s",
        "ScheduleExpression": expression,
        "FlexibleTimeWindow": {"Mode": "OFF"},
        **more,
        "Target": target | more.get("Target", {}),
    }
    return str(aws.client("scheduler").create_schedule(**given)["ScheduleArn"])


def received(aws: LocalAws, name: str = "inbox") -> list[dict[str, Any]]:
    """What is in the queue; it is empty after this."""
    sqs, found = aws.client("sqs"), []
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    while messages := sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
    ).get("Messages"):
        found += messages
        for message in messages:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


def bodies(aws: LocalAws, name: str = "inbox") -> list[str]:
    return sorted(message["Body"] for message in received(aws, name))


def attributes(message: dict[str, Any]) -> dict[str, str]:
    found = message.get("MessageAttributes", {})
    assert {value["DataType"] for value in found.values()} <= {"String"}
    return {name: value["StringValue"] for name, value in found.items()}


def outcomes(events: list[Event]) -> list[str]:
    return [event.outcome for event in events]


@pytest.fixture
def sender(aws: LocalAws) -> str:
    """A role that may send to the queue that is there."""
    aws.client("sqs").create_queue(QueueName="inbox")
    return role(aws, "sender", QUEUE)


def test_it_fires_each_time_once(aws: LocalAws, sender: str) -> None:
    clock, said = Clock("2026-12-01T05:00:00"), list[str]()
    with Scheduler(aws, clock=clock, every=None, say=said.append) as scheduler:
        arn = schedule(aws, "cron(50 5 * * ? *)", sender)
        made = aws.client("scheduler").get_schedule(Name="s")
        assert made["CreationDate"] == clock.now  # moto dates it by our clock
        for at in ("05:00:00", "05:49:59"):
            clock.set(f"2026-12-01T{at}")
            scheduler.tick()
        assert bodies(aws) == []
        for _ in range(3):
            clock.set("2026-12-01T05:50:01")
            scheduler.tick()
        assert bodies(aws) == ["2026-12-01T05:50:00Z"]
        clock.set("2026-12-04T05:50:00")  # the machine slept: each time that has come, once
        scheduler.tick()
        assert bodies(aws) == [f"2026-12-0{day}T05:50:00Z" for day in (2, 3, 4)]
    assert scheduler.events[0] == Event(
        utc("2026-12-01T05:50:01"), arn, "delivered", utc("2026-12-01T05:50"), "sqs:SendMessage", 1
    )
    assert said[0] == (
        "2026-12-01T05:50:01Z default/s, due 2026-12-01T05:50:00Z: sqs:SendMessage delivered"
    )
    assert aws.record is not None
    sent = [(entry.action, entry.allowed) for entry in aws.record.entries("sender")]
    assert sent == [("sqs:SendMessage", True)] * 4


def test_a_rate_without_a_start_fires_at_once(aws: LocalAws, sender: str) -> None:
    clock = Clock("2026-12-01T05:00:07")
    with Scheduler(aws, clock=clock, every=None) as scheduler:
        schedule(aws, "rate(1 hour)", sender)
        clock.set("2026-12-01T05:00:08")
        scheduler.tick()
        assert bodies(aws) == ["2026-12-01T05:00:07Z"]
        clock.set("2026-12-01T07:00:07")
        scheduler.tick()
        assert bodies(aws) == ["2026-12-01T06:00:07Z", "2026-12-01T07:00:07Z"]


def test_dates_and_a_time_zone(aws: LocalAws, sender: str) -> None:
    clock = Clock("2026-12-01T00:00:00")
    with Scheduler(aws, clock=clock, every=None) as scheduler:
        schedule(
            aws,
            "cron(0 12 * * ? *)",
            sender,
            ScheduleExpressionTimezone="Asia/Tokyo",
            StartDate=utc("2026-12-02T00:00"),
            EndDate=utc("2026-12-04T00:00"),
        )
        clock.set("2026-12-31T00:00:00")
        scheduler.tick()
        assert bodies(aws) == ["2026-12-02T03:00:00Z", "2026-12-03T03:00:00Z"]


def test_schedules_change_at_any_time(aws: LocalAws, sender: str) -> None:
    clock = Clock("2026-12-01T00:00:00")
    api = aws.client("scheduler")

    def change(expression: str, **more: Any) -> None:
        target = {"Arn": QUEUE, "RoleArn": sender, "Input": "<aws.scheduler.scheduled-time>"}
        window = {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 15}
        api.update_schedule(
            Name="s",
            ScheduleExpression=expression,
            FlexibleTimeWindow=window,
            Target=target,
            **more,
        )

    with Scheduler(aws, clock=clock, every=None) as scheduler:

        def later(text: str) -> list[str]:
            clock.set(f"2026-12-01T{text}")
            scheduler.tick()
            return [body.split("T")[1] for body in bodies(aws)]

        schedule(aws, "at(2026-12-01T01:00:00)", sender)
        assert later("00:30:00") == []
        change("at(2026-12-01T02:00:00)")
        assert later("01:30:00") == []  # the time that it had is no more
        assert later("02:00:00") == ["02:00:00Z"]
        change("at(2026-12-01T02:00:00)", Description="what has been stays done")
        assert later("02:10:00") == []
        change("at(2026-12-01T02:05:00)")  # had passed when it was set
        assert later("02:20:00") == []
        change("cron(0 * * * ? *)", State="DISABLED")
        assert later("04:30:00") == []
        change("cron(0 * * * ? *)", State="ENABLED")  # what it missed is not made up for
        assert later("05:30:00") == ["05:00:00Z"]
        api.delete_schedule(Name="s")
        assert later("07:30:00") == []
        schedule(aws, "cron(0 * * * ? *)", sender)
        assert later("08:00:00") == ["08:00:00Z"]
        api.create_schedule_group(Name="other")
        schedule(aws, "at(2026-12-01T08:30:00)", sender, GroupName="other")
        assert later("09:00:00") == ["08:30:00Z", "09:00:00Z"]


def test_what_was_there_before_it_started(aws: LocalAws, sender: str) -> None:
    """Its dates are of another clock."""
    schedule(aws, "at(2020-12-01T01:00:00)", sender)
    schedule(aws, "rate(1 day)", sender, Name="r", State="DISABLED")
    clock = Clock("2020-12-01T00:00:00")
    with Scheduler(aws, clock=clock, every=None) as scheduler:
        clock.set("2020-12-03T01:00:00")
        scheduler.tick()
        assert bodies(aws) == ["2020-12-01T01:00:00Z"]


def test_it_is_deleted_after_its_last_call_if_it_says_so(aws: LocalAws, sender: str) -> None:
    clock = Clock("2026-12-01T00:00:00")
    api = aws.client("scheduler")

    def names() -> list[str]:
        return sorted(found["Name"] for found in api.list_schedules()["Schedules"])

    with Scheduler(aws, clock=clock, every=None) as scheduler:
        once, delete = "at(2026-12-01T01:00:00)", {"ActionAfterCompletion": "DELETE"}
        schedule(aws, once, sender, Name="gone", **delete)
        schedule(aws, once, sender, Name="stays")
        schedule(aws, "rate(30 minutes)", sender, Name="no-end", **delete)
        end = utc("2026-12-01T00:40")
        schedule(aws, "rate(30 minutes)", sender, Name="ends", EndDate=end, **delete)
        clock.set("2026-12-01T00:29:00")
        scheduler.tick()
        assert names() == ["ends", "gone", "no-end", "stays"]
        clock.set("2026-12-01T00:30:00")
        scheduler.tick()
        assert names() == ["gone", "no-end", "stays"]
        clock.set("2026-12-01T02:00:00")
        scheduler.tick()
        assert names() == ["no-end", "stays"]
        deleted = [event.schedule for event in scheduler.events if event.outcome == "deleted"]
        assert [arn.split("/")[-1] for arn in deleted] == ["ends", "gone"]


def test_an_invalid_expression_is_told_once(aws: LocalAws, sender: str) -> None:
    clock = Clock("2026-12-01T00:00:00")
    with Scheduler(aws, clock=clock, every=None) as scheduler:
        schedule(aws, "cron(0 99 * * ? *)", sender)
        for _ in range(3):
            scheduler.tick()
    (event,) = scheduler.events
    assert (event.outcome, event.detail) == ("invalid", "hours: '99' is not in 0-23")


def test_it_looks_by_itself(aws: LocalAws, sender: str) -> None:
    """With the real clock."""
    with Scheduler(aws) as scheduler:
        schedule(aws, "rate(1 day)", sender)
        until = time.monotonic() + 30
        while not scheduler.events and time.monotonic() < until:
            time.sleep(0.02)
    assert outcomes(scheduler.events) == ["delivered"]
    assert len(bodies(aws)) == 1


def test_what_goes_wrong_in_the_thread_is_raised(aws: LocalAws, sender: str) -> None:
    def fail(_: str) -> None:
        raise RuntimeError("nobody listens")

    def run() -> None:
        with Scheduler(aws, every=0.01, say=fail) as scheduler:
            schedule(aws, "rate(1 day)", sender)
            assert scheduler._thread is not None
            scheduler._thread.join(30)

    with pytest.raises(RuntimeError, match="nobody listens"):
        run()


# --- failures ------------------------------------------------------------------------------------

LETTERS = f"arn:aws:sqs:us-east-1:{ACCOUNT}:letters"
DEAD = {"DeadLetterConfig": {"Arn": LETTERS}}
WHEN = "at(2026-12-01T01:00:00)"


def policy(attempts: int, seconds: int = 3600) -> dict[str, Any]:
    return {
        "RetryPolicy": {
            "MaximumRetryAttempts": attempts,
            "MaximumEventAgeInSeconds": seconds,
        }
    }


@pytest.fixture
def failing(aws: LocalAws) -> Callable[..., Scheduler]:
    """Make a schedule as told and let an hour go by after it was due, five seconds at a time."""

    def run(role_arn: str, target: dict[str, Any], **more: Any) -> Scheduler:
        clock = Clock("2026-12-01T00:59:00")
        pause = timedelta(seconds=10)
        with Scheduler(aws, clock=clock, every=None, back_off=lambda _: pause) as scheduler:
            schedule(aws, WHEN, role_arn, Target=target, **more)
            clock.set("2026-12-01T01:00:00")
            for _ in range(40):
                scheduler.tick()
                clock.now += timedelta(seconds=5)
        return scheduler

    aws.client("sqs").create_queue(QueueName="letters")
    return run


def test_a_refusal_is_tried_again_and_ends_in_the_dead_letter_queue(
    aws: LocalAws, failing: Callable[..., Scheduler]
) -> None:
    aws.client("sqs").create_queue(QueueName="inbox")
    scheduler = failing(role(aws, "letters", LETTERS), DEAD | policy(2))
    assert outcomes(scheduler.events) == ["failed", "failed", "failed", "dead-lettered"]
    assert [event.attempt for event in scheduler.events] == [1, 2, 3, 3]
    when = [(event.when - utc("2026-12-01T01:00")).seconds for event in scheduler.events]
    assert when == [0, 10, 20, 20]
    (letter,) = received(aws, "letters")
    assert letter["Body"] == "2026-12-01T01:00:00Z"
    found = attributes(letter)
    message, execution = found.pop("ERROR_MESSAGE"), found.pop("EXECUTION_ID")
    assert "is not authorized to perform: sqs:sendmessage" in message.lower()
    assert len(execution) == 16
    assert found == {
        "ERROR_CODE": "AccessDenied",
        "EXHAUSTED_RETRY_CONDITION": "MaximumRetryAttempts",
        "IS_PAYLOAD_TRUNCATED": "false",
        "RETRY_ATTEMPTS": "2",
        "SCHEDULED_TIME": "2026-12-01T01:00:00Z",
        "SCHEDULE_ARN": f"arn:aws:scheduler:us-east-1:{ACCOUNT}:schedule/default/s",
        "TARGET_ARN": QUEUE,
    }
    assert aws.record is not None
    assert {entry.resource for entry in aws.record.refused("letters")} == {QUEUE}


def test_an_event_gets_too_old(aws: LocalAws, failing: Callable[..., Scheduler]) -> None:
    scheduler = failing(role(aws, "both", QUEUE, LETTERS), DEAD | policy(20, 60))  # no such queue
    assert outcomes(scheduler.events) == ["failed"] * 7 + ["dead-lettered"]
    found = attributes(received(aws, "letters")[0])
    assert found["EXHAUSTED_RETRY_CONDITION"] == "MaximumEventAgeInSeconds"
    assert found["RETRY_ATTEMPTS"] == "6"
    assert found["ERROR_CODE"] == "AWS.SimpleQueueService.NonExistentQueue"


def test_a_later_attempt_succeeds(aws: LocalAws) -> None:
    clock = Clock("2026-12-01T00:59:00")
    with Scheduler(aws, clock=clock, every=None) as scheduler:
        schedule(aws, WHEN, role(aws, "sender", QUEUE), ActionAfterCompletion="DELETE")
        clock.set("2026-12-01T01:00:00")
        scheduler.tick()
        aws.client("sqs").create_queue(QueueName="inbox")
        clock.set("2026-12-01T01:00:01")
        scheduler.tick()
    assert outcomes(scheduler.events) == ["failed", "delivered", "deleted"]
    assert str(scheduler.events[1]).endswith("sqs:SendMessage delivered, attempt 2")
    assert bodies(aws) == ["2026-12-01T01:00:00Z"]


def test_what_cannot_be_asked_is_not_tried_again(
    aws: LocalAws, failing: Callable[..., Scheduler]
) -> None:
    wrong = {"Arn": f"{UNIVERSAL}ecs:updateService", "Input": '{"Services": "x"}'}
    scheduler = failing(role(aws, "letters", LETTERS), DEAD | wrong)
    assert outcomes(scheduler.events) == ["failed", "dead-lettered"]
    (letter,) = received(aws, "letters")
    assert letter["Body"] == '{"Services": "x"}'
    found = attributes(letter)
    assert found["ERROR_MESSAGE"] == "Input has no parameter Services"
    assert found["RETRY_ATTEMPTS"] == "0"
    assert "EXHAUSTED_RETRY_CONDITION" not in found


@pytest.mark.parametrize("wrong", ["account", "group", "absent"])
def test_a_role_that_does_not_trust_the_group_takes_nothing_and_sends_nothing(
    aws: LocalAws, failing: Callable[..., Scheduler], wrong: str
) -> None:
    aws.client("sqs").create_queue(QueueName="inbox")
    made = f"arn:aws:iam::{ACCOUNT}:role/absent"
    if wrong != "absent":
        trusts = trust(account="999999999999") if wrong == "account" else trust(group="other")
        made = role(aws, "doubtful", QUEUE, LETTERS, trusts=trusts)
    scheduler = failing(made, DEAD | policy(0))
    assert outcomes(scheduler.events) == ["failed", "dropped"]
    assert "AccessDenied" in scheduler.events[0].detail
    assert bodies(aws) == bodies(aws, "letters") == []


def test_without_a_dead_letter_queue_it_is_dropped(
    aws: LocalAws, failing: Callable[..., Scheduler]
) -> None:
    scheduler = failing(role(aws, "sender", QUEUE), policy(1))
    assert outcomes(scheduler.events) == ["failed", "failed", "dropped"]
    assert scheduler.events[-1].detail == "there is no dead-letter queue"


# --- the wake-up of the templates ----------------------------------------------------------------


def sleep(aws: LocalAws, expression: str) -> None:
    """What the orchestrator does last, with its own role."""
    mine = aws.role(NAMES.role("orchestrator"), "ecs-tasks.amazonaws.com", NAMES.arn("ecs", "x"))
    api = aws.client("scheduler", mine)
    there = api.get_schedule(GroupName="nightshift-prod", Name="wake-up")
    keys = ("GroupName", "Name", "FlexibleTimeWindow", "Target", "Description")
    api.update_schedule(
        **{key: there[key] for key in keys},
        ScheduleExpression=expression,
        ScheduleExpressionTimezone="UTC",
    )
    aws.client("ecs", mine).update_service(
        cluster="nightshift-prod", service="orchestrator", desiredCount=0
    )


def test_the_orchestrator_is_woken_when_it_asked_for_it(
    aws: LocalAws, synthesise: Synthesise
) -> None:
    clock = Clock("2026-11-30T12:00:00")
    with Scheduler(aws, clock=clock, every=None) as scheduler:
        put(aws, synthesise({"first": "true"}, [JOB]))
        assert desired(aws) == 0
        scheduler.tick()
        assert desired(aws) == 0  # there is no image yet
        clock.set("2026-12-01T05:00:00")
        scheduler.tick()
        assert desired(aws) == 1  # but nothing is asleep without a wake-up
        for day in (1, 2, 3):
            sleep(aws, f"at(2026-12-0{day}T05:50:00)")
            clock.set(f"2026-12-0{day}T05:49:59")
            scheduler.tick()
            assert desired(aws) == 0
            clock.set(f"2026-12-0{day}T05:50:00")
            scheduler.tick()
            assert desired(aws) == 1
    assert outcomes(scheduler.events) == ["delivered"] * 4
    assert {event.action for event in scheduler.events} == {"ecs:UpdateService"}
    assert aws.record is not None
    calls = aws.record.entries(NAMES.role("scheduler"))
    assert [(call.action, call.resource, call.allowed) for call in calls] == [
        ("ecs:UpdateService", NAMES.service_arn, True)
    ] * 4
    assert aws.record.refused() == []
    unused = {grant.action for grant in aws.record.unused(NAMES.role("scheduler"))}
    assert unused == {"sqs:SendMessage", "sns:Publish"}  # nothing failed


def test_a_wake_up_that_is_refused_is_kept_in_its_queue(
    aws: LocalAws, synthesise: Synthesise
) -> None:
    put(aws, synthesise({"first": "true"}, [JOB]))
    iam, name = aws.client("iam"), NAMES.role("scheduler")
    for found in iam.list_role_policies(RoleName=name)["PolicyNames"]:
        document = iam.get_role_policy(RoleName=name, PolicyName=found)["PolicyDocument"]
        kept = [s for s in document["Statement"] if s["Sid"] != "SetDesiredCount"]
        assert len(kept) < len(document["Statement"])
        narrower = json.dumps(document | {"Statement": kept})
        iam.put_role_policy(RoleName=name, PolicyName=found, PolicyDocument=narrower)

    clock = Clock("2026-12-01T05:49:00")
    with Scheduler(aws, clock=clock, every=None) as scheduler:
        sleep(aws, "at(2026-12-01T05:50:00)")
        for _ in range(40):
            scheduler.tick()
            clock.now += timedelta(seconds=30)
    assert desired(aws) == 0
    assert outcomes(scheduler.events) == ["failed"] * 21 + ["dead-lettered"]
    (letter,) = received(aws, "nightshift-prod-wake-up-failed")
    assert json.loads(letter["Body"]) == {
        "Cluster": "nightshift-prod",
        "Service": "orchestrator",
        "DesiredCount": 1,
    }
    found = attributes(letter)
    assert found["ERROR_CODE"] == "AccessDeniedException"
    assert "ecs:UpdateService" in found["ERROR_MESSAGE"]
    assert found["EXHAUSTED_RETRY_CONDITION"] == "MaximumRetryAttempts"
    assert found["RETRY_ATTEMPTS"] == "20"
    assert found["SCHEDULED_TIME"] == "2026-12-01T05:50:00Z"
    assert found["SCHEDULE_ARN"] == NAMES.schedule_arn("wake-up")
    assert found["TARGET_ARN"] == f"{UNIVERSAL}ecs:updateService"
    assert aws.record is not None
    refused = {(entry.principal, entry.action) for entry in aws.record.refused()}
    assert refused == {(name, "ecs:UpdateService")}
