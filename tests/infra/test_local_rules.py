"""EventBridge's rules as infra/local plays them: what a target gets, and who is let in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from moto.events.models import Rule, events_backends

from infra.local import transform
from infra.local.aws import ACCOUNT, LocalAws
from infra.local.rules import Rules, local_rules
from infra.local.topics import heard, line
from tests.inbox import Inbox
from tests.infra.conftest import Synthesise
from tests.infra.test_local_stack import JOB, put

EVENT: dict[str, Any] = {
    "version": "0",
    "id": "7bf73129-1428-4cd3-a780-95db273d1602",
    "detail-type": "EC2 Instance State-change Notification",
    "source": "aws.ec2",
    "account": ACCOUNT,
    "time": "2015-11-11T21:29:54Z",
    "region": "us-east-1",
    "resources": ["arn:aws:ec2:us-east-1:123456789012:instance/i-abcd1111"],
    "detail": {"instance-id": "i-0123456789", "state": "RUNNING", "tags": [{"k": 1}, {"k": 2}]},
}
RULE = f"arn:aws:events:us-east-1:{ACCOUNT}:rule/example"
PATHS = {
    "instance": "$.detail.instance-id",
    "state": "$.detail.state",
    "timestamp": "$.time",
    "none": "$.detail.nothing",
    "tags": "$.detail.tags",
    "keys": "$.detail.tags[*].k",
    "second": "$.detail.tags[1].k",
}


# --- what a target gets: the examples of AWS's page, and what it leaves open ----------------------


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ('"instance <instance> is in <state>"', '"instance i-0123456789 is in RUNNING"'),
        (
            r'"instance \"<instance>\" is in <state>"',
            r'"instance \"i-0123456789\" is in RUNNING"',
        ),
        (
            '{\n  "instance" : <instance>,\n  "state": [ 9, <state>, true ]\n}',
            '{"instance":"i-0123456789","state":[9,"RUNNING",true]}',
        ),
        (
            r'{"state": "<state>", "said": "instance \"<instance>\" is in <state>"}',
            r'{"state":"RUNNING","said":"instance \"i-0123456789\" is in RUNNING"}',
        ),
        (
            '{"arn": <aws.events.rule-arn>, "name": "<aws.events.rule-name>"}',
            f'{{"arn":"{RULE}","name":"example"}}',
        ),
        ('"at <timestamp>"', '"at 2015-11-11T21:29:54Z"'),
        ('{"keys": <keys>, "second": <second>}', '{"keys":[1,2],"second":2}'),
        ('"tags <tags>"', '"tags [{"k":1},{"k":2}]"'),  # not escaped: no JSON any more
        ('"nothing: <none>."', '"nothing: ."'),
        ('{"none": <none>}', '{"none":""}'),
        ('"<b> is no variable"', '" is no variable"'),
    ],
)
def test_a_template_is_filled(template: str, expected: str) -> None:
    target = {"InputTransformer": {"InputPathsMap": PATHS, "InputTemplate": template}}
    assert transform.text(target, EVENT, RULE, "2015-11-11T21:29:55Z") == expected


def test_a_template_has_the_event_itself() -> None:
    template = '{"all": <aws.events.event.json>, "about": <aws.events.event>}'
    target = {"InputTransformer": {"InputTemplate": template}}
    found = json.loads(transform.text(target, EVENT, RULE, ""))
    assert found["all"] == EVENT
    assert found["about"] == {key: value for key, value in EVENT.items() if key != "detail"}


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ({}, EVENT),
        ({"Input": '{"a": 1}'}, {"a": 1}),
        ({"InputPath": "$.detail.state"}, "RUNNING"),
        ({"InputPath": "$.resources[0]"}, EVENT["resources"][0]),
        ({"InputPath": "$.detail.nothing"}, None),
    ],
)
def test_a_part_or_another_text(target: dict[str, str], expected: object) -> None:
    assert json.loads(transform.text(target, EVENT, RULE, "")) == expected


@pytest.mark.parametrize("path", ["detail.state", "$.detail[?(@.a)]", "$['detail']", "$.a b"])
def test_what_is_no_path_is_said(path: str) -> None:
    with pytest.raises(ValueError, match="no JSON path"):
        transform.text({"InputPath": path}, EVENT, RULE, "")


# --- where it goes -------------------------------------------------------------------------------


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def rules(aws: LocalAws, said: list[str]) -> Iterator[Rules]:
    with local_rules(aws, say=said.append) as running:
        yield running


def allow(service: str, action: str, resource: str, **condition: Any) -> str:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": action,
        "Resource": resource,
    }
    if condition:
        statement["Condition"] = condition
    tls = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": action,
        "Resource": resource,
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement, tls]})


def topic(aws: LocalAws, policy: str = "") -> str:
    sns = aws.client("sns")
    arn = str(sns.create_topic(Name="alerts")["TopicArn"])
    policy = policy or allow("events.amazonaws.com", "sns:Publish", arn)
    sns.set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=policy)
    return arn


def queue(aws: LocalAws, name: str, policy: str = "") -> str:
    """Its URL."""
    given = {"Policy": policy} if policy else {}
    return str(aws.client("sqs").create_queue(QueueName=name, Attributes=given)["QueueUrl"])


def rule(aws: LocalAws, target: dict[str, Any], pattern: dict[str, Any] | None = None) -> str:
    events = aws.client("events")
    pattern = pattern or {"source": ["mine"]}
    made = events.put_rule(Name="rule", EventPattern=json.dumps(pattern))
    answer = events.put_targets(Rule="rule", Targets=[{"Id": "1", **target}])
    assert answer["FailedEntryCount"] == 0
    return str(made["RuleArn"])


def happen(
    aws: LocalAws, detail: dict[str, Any] | None = None, resources: tuple[str, ...] = ()
) -> None:
    entry = {
        "Source": "mine",
        "DetailType": "Thing",
        "Detail": json.dumps(detail or {}),
        "Resources": list(resources),
    }
    answer = aws.client("events").put_events(Entries=[entry])
    assert answer["FailedEntryCount"] == 0


def received(aws: LocalAws, url: str) -> list[dict[str, Any]]:
    asked = {"MaxNumberOfMessages": 10, "MessageAttributeNames": ["All"]}
    found: list[dict[str, Any]] = (
        aws.client("sqs").receive_message(QueueUrl=url, **asked).get("Messages", [])
    )
    return found


def test_a_sentence_comes_to_a_topic(aws: LocalAws, rules: Rules) -> None:
    arn = topic(aws)
    inbox = Inbox(aws, arn)
    transformer = {
        "InputPathsMap": {"execution": "$.detail.execution-id"},
        "InputTemplate": '"release <execution> failed"',
    }
    rule(aws, {"Arn": arn, "InputTransformer": transformer})
    happen(aws, {"execution-id": "12"})
    (message,) = inbox.messages()
    assert message.text == '"release 12 failed"'
    assert message.subject == ""
    assert [each.outcome for each in rules.deliveries] == ["delivered"]


def test_a_topic_that_lets_nobody_in_loses_it(aws: LocalAws, rules: Rules, said: list[str]) -> None:
    arn = str(aws.client("sns").create_topic(Name="alerts")["TopicArn"])
    inbox = Inbox(aws, arn)
    rule(aws, {"Arn": arn})
    happen(aws)
    assert inbox.messages() == []
    assert rules.deliveries[0].outcome == "lost"
    assert f"events.amazonaws.com may not sns:Publish to {arn}" in said[0]
    assert aws.record is not None
    (refused,) = aws.record.refused("events.amazonaws.com")
    assert (refused.action, refused.resource) == ("sns:Publish", arn)


@pytest.mark.parametrize(
    "condition",
    [
        {"StringEquals": {"aws:SourceAccount": ACCOUNT}},
        {"ArnEquals": {"aws:SourceArn": f"arn:aws:events:us-east-1:{ACCOUNT}:rule/rule"}},
    ],
)
def test_eventbridge_gives_a_topic_nothing_to_compare(
    aws: LocalAws, rules: Rules, condition: dict[str, Any]
) -> None:
    arn = f"arn:aws:sns:us-east-1:{ACCOUNT}:alerts"
    topic(aws, allow("events.amazonaws.com", "sns:Publish", arn, **condition))
    rule(aws, {"Arn": arn})
    happen(aws)
    assert [each.outcome for each in rules.deliveries] == ["lost"]


def test_a_topic_that_is_not_there(aws: LocalAws, rules: Rules) -> None:
    rule(aws, {"Arn": f"arn:aws:sns:us-east-1:{ACCOUNT}:gone"})
    happen(aws)
    assert "there is no topic" in rules.deliveries[0].detail


@pytest.mark.parametrize(("name", "arrives"), [("rule", True), ("other", False)])
def test_a_queue_lets_in_the_rule_that_it_names(
    aws: LocalAws, rules: Rules, name: str, arrives: bool
) -> None:
    arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:tasks"
    own = {"ArnEquals": {"aws:SourceArn": f"arn:aws:events:us-east-1:{ACCOUNT}:rule/{name}"}}
    url = queue(aws, "tasks", allow("events.amazonaws.com", "sqs:SendMessage", arn, **own))
    rule(aws, {"Arn": arn})
    happen(aws, {"state": "done"}, ("a", "b"))
    found = [json.loads(message["Body"]) for message in received(aws, url)]
    assert bool(found) == arrives
    assert rules.deliveries[0].outcome == ("delivered" if arrives else "lost")
    for event in found:  # as AWS sends it
        assert set(event) == set(EVENT)
        assert event["time"].endswith("Z")
        assert (event["account"], event["resources"]) == (ACCOUNT, ["a", "b"])
        assert event["detail"] == {"state": "done"}


def test_what_is_lost_goes_to_the_dead_letter_queue(aws: LocalAws, rules: Rules) -> None:
    dead = f"arn:aws:sqs:us-east-1:{ACCOUNT}:dead"
    url = queue(aws, "dead", allow("events.amazonaws.com", "sqs:SendMessage", dead))
    gone = f"arn:aws:sns:us-east-1:{ACCOUNT}:gone"
    arn = rule(aws, {"Arn": gone, "DeadLetterConfig": {"Arn": dead}})
    happen(aws, {"state": "done"})
    (message,) = received(aws, url)
    assert json.loads(message["Body"])["detail"] == {"state": "done"}
    told = {key: value["StringValue"] for key, value in message["MessageAttributes"].items()}
    assert (told["RULE_ARN"], told["TARGET_ARN"]) == (arn, gone)
    assert rules.deliveries[0].outcome == "dead-lettered"


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ({"source": ["other", "mine"]}, True),
        ({"source": ["mine"], "detail-type": ["Another"]}, False),
        ({"resources": ["r1"]}, True),
        ({"detail": {"state": ["FAILED"], "of": {"name": ["a", "b"]}}}, True),
        ({"detail": {"state": ["FAILED"], "of": {"name": ["c"]}}}, False),
        ({"detail": {"state": [{"prefix": "FAI"}]}}, True),
        ({"detail": {"state": [{"anything-but": ["FAILED"]}]}}, False),
        ({"detail": {"code": [{"numeric": [">", 0, "<=", 5]}]}}, True),
        ({"detail": {"code": [{"anything-but": 0}]}}, True),
        ({"detail": {"gone": [{"exists": False}], "code": [{"exists": True}]}}, True),
        ({"detail": {"of": {"gone": [{"exists": True}]}}}, False),
    ],
)
def test_patterns(aws: LocalAws, rules: Rules, pattern: dict[str, Any], matches: bool) -> None:
    rule(aws, {"Arn": topic(aws)}, pattern)
    happen(aws, {"state": "FAILED", "code": 3, "of": {"name": "a"}}, ("r1", "r2"))
    assert bool(rules.deliveries) == matches


def test_a_rule_that_is_off_or_has_a_schedule_delivers_no_events(
    aws: LocalAws, rules: Rules
) -> None:
    events = aws.client("events")
    rule(aws, {"Arn": topic(aws)})
    events.disable_rule(Name="rule")
    events.put_rule(Name="hourly", ScheduleExpression="rate(1 hour)")
    events.put_targets(Rule="hourly", Targets=[{"Id": "1", "Arn": topic(aws)}])
    happen(aws)
    assert rules.deliveries == []
    events.enable_rule(Name="rule")
    happen(aws)
    assert [each.rule for each in rules.deliveries] == ["rule"]


# --- pipelines -----------------------------------------------------------------------------------

PIPELINE = f"arn:aws:codepipeline:us-east-1:{ACCOUNT}:release"


class Pipelines:
    """In place of moto's StartPipelineExecution."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from moto.codepipeline.responses import CodePipelineResponse

        self.started: list[str] = []

        def start(response: Any) -> str:
            self.started.append(json.loads(response.body)["name"])
            return json.dumps({"pipelineExecutionId": "12345678"})

        monkeypatch.setattr(CodePipelineResponse, "start_pipeline_execution", start)


@pytest.fixture
def pipelines(monkeypatch: pytest.MonkeyPatch) -> Pipelines:
    return Pipelines(monkeypatch)


def starter(aws: LocalAws, source_arn: str, resource: str = PIPELINE) -> str:
    iam = aws.client("iam")
    trusted = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sts:AssumeRole",
        "Condition": {"ArnEquals": {"aws:SourceArn": source_arn}},
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [trusted]})
    made = iam.create_role(RoleName="starter", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    may = {"Effect": "Allow", "Action": "codepipeline:StartPipelineExecution", "Resource": resource}
    iam.put_role_policy(
        RoleName="starter",
        PolicyName="start",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [may]}),
    )
    return str(made)


def test_a_pipeline_is_started_with_the_targets_role(
    aws: LocalAws, rules: Rules, pipelines: Pipelines
) -> None:
    role = starter(aws, f"arn:aws:events:us-east-1:{ACCOUNT}:rule/rule")
    rule(aws, {"Arn": PIPELINE, "RoleArn": role})
    happen(aws)
    rules.wait()
    assert pipelines.started == ["release"]
    assert rules.deliveries[0].detail == "12345678"
    assert aws.record is not None
    assert aws.record.unused("starter") == []


@pytest.mark.parametrize(
    ("source", "resource", "why"),
    [
        ("other", PIPELINE, "does not let events.amazonaws.com have it"),
        ("rule", f"{PIPELINE}-2", "not authorized to perform: codepipeline:StartPipelineExecution"),
    ],
)
def test_a_pipeline_is_not_started_without_rights(
    aws: LocalAws, rules: Rules, pipelines: Pipelines, source: str, resource: str, why: str
) -> None:
    role = starter(aws, f"arn:aws:events:us-east-1:{ACCOUNT}:rule/{source}", resource)
    rule(aws, {"Arn": PIPELINE, "RoleArn": role})
    happen(aws)
    rules.wait()
    assert pipelines.started == []
    assert why in rules.deliveries[0].detail


def test_a_target_without_a_role_is_said(aws: LocalAws, rules: Rules, pipelines: Pipelines) -> None:
    rule(aws, {"Arn": PIPELINE})
    happen(aws)
    rules.wait()
    assert pipelines.started == []
    assert "there is no role" in rules.deliveries[0].detail


# --- the template's own --------------------------------------------------------------------------


def test_the_topic_lets_the_templates_rules_in(
    aws: LocalAws, rules: Rules, synthesise: Synthesise
) -> None:
    put(aws, synthesise({"first": "true"}, [JOB]))
    alerts = f"arn:aws:sns:us-east-1:{ACCOUNT}:nightshift-prod-alerts"
    inbox = Inbox(aws, alerts)
    detail = {"pipeline": "nightshift-prod", "execution-id": "12-34", "state": "FAILED"}
    entry = {
        "Source": "aws.codepipeline",
        "DetailType": "CodePipeline Action Execution State Change",
        "Detail": json.dumps(detail),
    }
    # AWS's own services may say aws.…, people may not: this goes past the API's door.
    events_backends[ACCOUNT]["us-east-1"].put_events([entry])
    message = inbox.wait("12-34")
    assert "release" in message.text
    assert "<" not in message.text  # no variable is left
    assert aws.record is not None
    assert aws.record.refused("events.amazonaws.com") == []


# --- who watches ---------------------------------------------------------------------------------


def test_a_message_is_told_in_a_line(aws: LocalAws) -> None:
    arn = topic(aws)
    told: list[str] = []
    with heard(told.append):
        aws.client("sns").publish(TopicArn=arn, Subject="Now", Message="two\nlines")
    aws.client("sns").publish(TopicArn=arn, Message="after")
    assert told == ["alert: Now: two lines"]


@pytest.mark.parametrize(
    ("subject", "text", "expected"),
    [
        ("", '"a sentence"', "a sentence"),
        ("ALARM", '{"AlarmName": "n", "AlarmDescription": "Why it is."}', "ALARM: Why it is."),
        ("", '{"b": 1}', '{"b": 1}'),
        ("", "plain", "plain"),
    ],
)
def test_the_line(subject: str, text: str, expected: str) -> None:
    assert line(subject, text) == expected


def test_moto_is_put_back(aws: LocalAws) -> None:
    before = Rule.send_to_targets
    with local_rules(aws):
        assert Rule.send_to_targets is not before
    assert Rule.send_to_targets is before
