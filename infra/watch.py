"""What happens is heard of: task events for Prefect's observer, a wake-up that does not get lost,
and an alert for what people should know.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_events as events
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra import policies
from infra.names import SERVICE, TAG, WAKE_UP, WATCHDOG, Names, logical_id
from infra.settings import Settings
from infra.substitute import sub, sub_all

DAYS = 24 * 60 * 60  # seconds


@dataclass(frozen=True)
class Watch:
    tasks: sqs.CfnQueue
    topic: sns.CfnTopic
    wake_up: scheduler.CfnSchedule | None
    watchdog: scheduler.CfnSchedule


def watch(scope: Construct, settings: Settings, names: Names) -> Watch:
    topic = _topic(scope, settings, names)
    tasks = _task_events(scope, names, topic)
    group = scheduler.CfnScheduleGroup(scope, "Schedules", name=names.installation)
    watchdog = _watchdog(scope, names, group)
    wake_up = None
    if settings.orchestrator != "always":
        wake_up = _wake_up(scope, names, group, topic)
        if settings.awake_hours_alarm:
            _awake_too_long(scope, settings, names, topic)
    _failures(scope, names, topic)
    if settings.makes_budget:
        _budget(scope, settings, topic)
    return Watch(tasks, topic, wake_up, watchdog)


# --- alerts --------------------------------------------------------------------------------------


def _topic(scope: Construct, settings: Settings, names: Names) -> sns.CfnTopic:
    topic = sns.CfnTopic(scope, "Alerts", topic_name=f"{names.installation}-alerts")
    own = {"StringEquals": {"aws:SourceAccount": names.account}}
    statements = [
        _publish("OwnAccount", ["budgets.amazonaws.com", "cloudwatch.amazonaws.com"], topic, own),
        # EventBridge gives SNS nothing to compare; CDK's own target grants it the same way:
        # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html
        _publish("EventBridge", ["events.amazonaws.com"], topic, {}),
        _no_plain_http("sns:Publish", topic.ref),
    ]
    sns.CfnTopicPolicy(
        scope,
        "AlertsPolicy",
        topics=[topic.ref],
        policy_document=sub_all(policies.document(statements)),
    )
    if settings.alert_email:
        sns.CfnSubscription(
            scope,
            "AlertsByMail",
            topic_arn=topic.ref,
            protocol="email",
            endpoint=settings.alert_email,
        )
    return topic


def _publish(
    sid: str, services: list[str], topic: sns.CfnTopic, condition: Any
) -> policies.Statement:
    statement = {
        "Sid": sid,
        "Effect": "Allow",
        "Principal": {"Service": services},
        "Action": "sns:Publish",
        "Resource": topic.ref,
    }
    return {**statement, "Condition": condition} if condition else statement


def _failures(scope: Construct, names: Names, topic: sns.CfnTopic) -> None:
    """What EventBridge knows of by itself: AWS's own events cost nothing."""
    # The action's event and not the pipeline's: this one says why, and a pipeline fails by one of
    # its actions, the source's or the build's. Of a build the summary names the phase and the
    # command that failed, which has quotation marks: outside of a string EventBridge escapes them.
    # What an event does not have could not stand there, so that it is a rule of its own.
    # https://docs.aws.amazon.com/codepipeline/latest/userguide/detect-state-changes-cloudwatch-events.html
    why = "external-execution-summary"
    paths = {"execution": "$.detail.execution-id", "action": "$.detail.action", "at": "$.time"}
    parts = {
        # Not that live is where it was: what could not be woken is live already.
        "what": f"{names.installation}: a release failed at <at>, in <action>; make releases shows "
        "which image is live",
        "where": f"the pipeline {names.installation}, execution <execution>; the log group "
        f"{names.log_group('build')}",
        "why": "see there",
        "next": "read the log, mend it and push again; or make release",
    }
    for what, there in (("release-failed", True), ("release-failed-unexplained", False)):
        result = "$.detail.execution-result.external-execution-"
        _tell(
            scope,
            names,
            topic,
            what,
            {
                "source": ["aws.codepipeline"],
                "detail-type": ["CodePipeline Action Execution State Change"],
                "detail": {
                    "pipeline": [names.installation],
                    "state": ["FAILED"],
                    "execution-result": {why: [{"exists": there}]},
                },
            },
            {**paths, "why": f"{result}summary", "page": f"{result}url"} if there else paths,
            {**parts, "where": parts["where"] + "; <page>", "why": "<why>"} if there else parts,
        )
    _tell(
        scope,
        names,
        topic,
        "orchestrator-failed",
        {
            "source": ["aws.ecs"],
            "detail-type": ["ECS Service Action"],
            "resources": [names.service_arn],
            "detail": {
                "eventName": ["SERVICE_TASK_PLACEMENT_FAILURE", "SERVICE_TASK_START_IMPAIRED"]
            },
        },
        {"what": "$.detail.eventName", "at": "$.time"},
        f"{names.installation}: the orchestrator did not start at <at>, so runs that are due wait. "
        f"Where: the ECS service {SERVICE} in the cluster {names.installation}; the log group "
        f"{names.log_group(SERVICE)}. Why: <what>; the service's events and the log say more. "
        "Next: make status; ECS tries again by itself.",
    )


def _tell(
    scope: Construct,
    names: Names,
    topic: sns.CfnTopic,
    what: str,
    pattern: Any,
    paths: dict[str, str],
    said: str | dict[str, str],
) -> None:
    events.CfnRule(
        scope,
        logical_id(what),
        name=f"{names.installation}-{what}",
        event_pattern=sub_all(pattern),
        targets=[
            events.CfnRule.TargetProperty(
                id="Alerts",
                arn=topic.ref,
                input_transformer=events.CfnRule.InputTransformerProperty(
                    input_paths_map=paths,
                    input_template=json.dumps(said).replace('"<why>"', "<why>"),
                ),
            )
        ],
    )


def _awake_too_long(
    scope: Construct, settings: Settings, names: Names, topic: sns.CfnTopic
) -> None:
    """ECS measures the CPU of a service only while a task of it runs."""
    hours = settings.awake_hours_alarm
    cloudwatch.CfnAlarm(
        scope,
        "AwakeTooLong",
        alarm_name=f"{names.installation}-awake-too-long",
        alarm_description=f"{names.installation}: the orchestrator has not slept for {hours} hours "
        f"and is paid for. Where: the ECS service {SERVICE}, the log group "
        f"{names.log_group(SERVICE)}. Why: make status says what keeps it awake: a run that does "
        "not end, a schedule of every few minutes, or trouble. Next: end that run or mend the "
        "trouble; then it sleeps by itself.",
        namespace="AWS/ECS",
        metric_name="CPUUtilization",
        dimensions=[
            cloudwatch.CfnAlarm.DimensionProperty(name="ClusterName", value=names.installation),
            cloudwatch.CfnAlarm.DimensionProperty(name="ServiceName", value=SERVICE),
        ],
        statistic="SampleCount",
        period=3600,
        evaluation_periods=hours,
        # One sample a minute: in each of the hours it was awake for most of it. A schedule of every
        # hour wakes it in each of them too, for minutes.
        threshold=45,
        comparison_operator="GreaterThanOrEqualToThreshold",
        treat_missing_data="notBreaching",
        alarm_actions=[topic.ref],
    )


def _not_empty(
    scope: Construct, id: str, queue: sqs.CfnQueue, topic: sns.CfnTopic, name: str, about: str
) -> None:
    cloudwatch.CfnAlarm(
        scope,
        id,
        alarm_name=name,
        alarm_description=about,
        namespace="AWS/SQS",
        metric_name="ApproximateNumberOfMessagesVisible",
        dimensions=[
            cloudwatch.CfnAlarm.DimensionProperty(name="QueueName", value=queue.attr_queue_name)
        ],
        statistic="Maximum",
        period=300,
        evaluation_periods=1,
        threshold=1,
        comparison_operator="GreaterThanOrEqualToThreshold",
        treat_missing_data="notBreaching",
        alarm_actions=[topic.ref],
    )


def _budget(scope: Construct, settings: Settings, topic: sns.CfnTopic) -> None:
    """What carries this installation's tag; AWS sees a tag in bills once it is activated there."""
    subscriber = budgets.CfnBudget.SubscriberProperty(subscription_type="SNS", address=topic.ref)
    budgets.CfnBudget(
        scope,
        "Budget",
        budget=budgets.CfnBudget.BudgetDataProperty(
            budget_type="COST",
            time_unit="MONTHLY",
            budget_limit=budgets.CfnBudget.SpendProperty(
                amount=float(settings.monthly_budget_usd), unit="USD"
            ),
            cost_filters={"TagKeyValue": [f"user:{TAG}${settings.installation}"]},
        ),
        notifications_with_subscribers=[
            budgets.CfnBudget.NotificationWithSubscribersProperty(
                notification=budgets.CfnBudget.NotificationProperty(
                    comparison_operator="GREATER_THAN",
                    notification_type=kind,
                    threshold=percent,
                    threshold_type="PERCENTAGE",
                ),
                subscribers=[subscriber],
            )
            for kind, percent in (("ACTUAL", 80), ("FORECASTED", 100))
        ],
    )


# --- queues --------------------------------------------------------------------------------------


def _task_events(scope: Construct, names: Names, topic: sns.CfnTopic) -> sqs.CfnQueue:
    """What becomes of each ECS task, kept for Prefect's observer until it is awake to hear it."""
    failed = _queue(scope, "TasksUnheard", f"{names.installation}-tasks-unheard", None)
    queue = _queue(scope, "Tasks", f"{names.installation}-tasks", failed)
    rule = events.CfnRule(
        scope,
        "TaskEvents",
        name=f"{names.installation}-tasks",
        description="State changes of this cluster's tasks, for Prefect's observer.",
        event_pattern={
            "source": ["aws.ecs"],
            "detail-type": ["ECS Task State Change"],
            "detail": {"clusterArn": [sub(names.cluster_arn)]},
        },
        targets=[events.CfnRule.TargetProperty(id="Observer", arn=queue.attr_arn)],
    )
    _guard(scope, "TasksPolicy", queue, rule)
    _guard(scope, "TasksUnheardPolicy", failed)
    _not_empty(
        scope,
        "TaskEventsUnheard",
        failed,
        topic,
        f"{names.installation}-task-events-unheard",
        f"{names.installation}: the observer failed on an ECS task's event five times, so a run "
        f"may show a wrong state. Where: the event is in the queue {names.installation}"
        f"-tasks-unheard. Why: the log group {names.log_group(SERVICE)}. Next: make wake sets runs "
        "straight; then purge the queue.",
    )
    return queue


def _wake_up(
    scope: Construct, names: Names, group: scheduler.CfnScheduleGroup, topic: sns.CfnTopic
) -> scheduler.CfnSchedule:
    """The standing wake-up. The orchestrator moves it before it sleeps; nothing in it depends on a
    setting, so that no update of the stack moves it back.
    """
    failed = _queue(scope, "WakeUpFailed", f"{names.installation}-wake-up-failed", None)
    _guard(scope, "WakeUpFailedPolicy", failed)
    one = {"Cluster": names.installation, "Service": SERVICE, "DesiredCount": 1}
    schedule = scheduler.CfnSchedule(
        scope,
        "WakeUp",
        name=WAKE_UP,
        group_name=group.ref,
        description="Sets the orchestrator's desired count to 1.",
        # Until the orchestrator has slept for the first time. A rate would fire when it is made,
        # and there is no image yet. Where there is none in the morning either, ECS goes on trying
        # and says so, until the first push.
        schedule_expression="cron(0 5 * * ? *)",
        schedule_expression_timezone="UTC",
        flexible_time_window=scheduler.CfnSchedule.FlexibleTimeWindowProperty(mode="OFF"),
        target=scheduler.CfnSchedule.TargetProperty(
            arn="arn:aws:scheduler:::aws-sdk:ecs:updateService",
            role_arn=sub(names.role_arn("scheduler")),
            input=json.dumps(one),
            dead_letter_config=scheduler.CfnSchedule.DeadLetterConfigProperty(arn=failed.attr_arn),
            retry_policy=scheduler.CfnSchedule.RetryPolicyProperty(
                maximum_event_age_in_seconds=3600, maximum_retry_attempts=20
            ),
        ),
    )
    _not_empty(
        scope,
        "WakeUpLost",
        failed,
        topic,
        f"{names.installation}-wake-up-failed",
        f"{names.installation}: the orchestrator was not woken, so runs that are due wait. Where: "
        f"the schedule {names.installation}/{WAKE_UP}. Why: ERROR_MESSAGE of the message in the "
        f"queue {names.installation}-wake-up-failed. Next: make wake; then mend what the message "
        "names, and purge the queue.",
    )
    return schedule


def _watchdog(
    scope: Construct, names: Names, group: scheduler.CfnScheduleGroup
) -> scheduler.CfnSchedule:
    """Tells people of a run that has not begun, also where no orchestrator ever starts. That one
    sets the time and what is said, and switches it on; nothing in it depends on a setting, so that
    no update of the stack undoes that.
    """
    nothing = {"TopicArn": names.topic_arn, "Message": "The orchestrator has not set it yet."}
    return scheduler.CfnSchedule(
        scope,
        "Watchdog",
        name=WATCHDOG,
        group_name=group.ref,
        description="Tells people of a run that has not begun.",
        state="DISABLED",
        schedule_expression="cron(0 5 * * ? *)",  # never
        schedule_expression_timezone="UTC",
        flexible_time_window=scheduler.CfnSchedule.FlexibleTimeWindowProperty(mode="OFF"),
        target=scheduler.CfnSchedule.TargetProperty(
            arn="arn:aws:scheduler:::aws-sdk:sns:publish",
            role_arn=sub(names.role_arn("scheduler")),
            input=sub(json.dumps(nothing)),
        ),
    )


def _queue(scope: Construct, id: str, name: str, failed: sqs.CfnQueue | None) -> sqs.CfnQueue:
    redrive = {"deadLetterTargetArn": failed.attr_arn, "maxReceiveCount": 5} if failed else None
    return sqs.CfnQueue(
        scope,
        id,
        queue_name=name,
        message_retention_period=14 * DAYS,  # SQS's most: the orchestrator may sleep for long
        redrive_policy=redrive,
        sqs_managed_sse_enabled=True,
    )


def _guard(
    scope: Construct, id: str, queue: sqs.CfnQueue, rule: events.CfnRule | None = None
) -> None:
    """TLS only, and the rule that fills the queue, if one does, is let in."""
    statements = [_no_plain_http("sqs:*", queue.attr_arn)]
    if rule:
        statements.append(
            {
                "Sid": "OwnRule",
                "Effect": "Allow",
                "Principal": {"Service": "events.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": queue.attr_arn,
                "Condition": {"ArnEquals": {"aws:SourceArn": rule.attr_arn}},
            }
        )
    sqs.CfnQueuePolicy(scope, id, queues=[queue.ref], policy_document=policies.document(statements))


def _no_plain_http(action: str, resource: str) -> policies.Statement:
    return {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": action,
        "Resource": resource,
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
