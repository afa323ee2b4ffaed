"""AWS::Events, AWS::Scheduler, AWS::CloudWatch, AWS::Budgets, AWS::BCMDataExports."""

from __future__ import annotations

import uuid
from typing import Any

from moto.budgets.models import Budget, budgets_backends
from moto.cloudformation.models import cloudformation_backends
from moto.scheduler.models import scheduler_backends

from infra.local.cloudformation.api import Api, Props, found, only, without
from infra.local.cloudformation.kind import Kind, id_as
from infra.local.cloudformation.tags import keys_gone, retag

# --- rules ---------------------------------------------------------------------------------------


def _put_rule(api: Api, p: Props) -> str:
    api.call("events", "put_rule", **without(p, "Targets"))
    _target(api, p, {})
    return str(p["Name"])


def _update_rule(api: Api, _: str, p: Props, old: Props) -> None:
    if without(p, "Targets") != without(old, "Targets"):
        api.call("events", "put_rule", **without(p, "Targets"))
    _target(api, p, old)


def _target(api: Api, p: Props, old: Props) -> None:
    new, was = ({t["Id"]: t for t in x.get("Targets", [])} for x in (p, old))
    at = {"Rule": (p or old)["Name"], **only(p or old, "EventBusName")}
    gone = sorted(was.keys() - new.keys())
    if gone:
        api.call("events", "remove_targets", **at, Ids=gone)
    changed = [target for key, target in new.items() if target != was.get(key)]
    if changed:
        answer = api.call("events", "put_targets", **at, Targets=changed)
        if answer["FailedEntryCount"]:
            raise ValueError(f"targets were refused: {answer['FailedEntries']}")


def _delete_rule(api: Api, name: str, p: Props) -> None:
    _target(api, {}, p)
    api.call("events", "delete_rule", Name=name, **only(p, "EventBusName"))


def _rule_arn(api: Api, p: Props) -> str:
    bus = p.get("EventBusName", "default").split("/")[-1]
    return api.arn("events", f"rule/{p['Name']}" if bus == "default" else f"rule/{bus}/{p['Name']}")


def _find_rule(api: Api, name: str, p: Props) -> str | None:
    at = only(p, "EventBusName")
    return name if found(lambda: api.call("events", "describe_rule", Name=name, **at)) else None


# --- schedules -----------------------------------------------------------------------------------

_SCHEDULE = ("GroupName", "Name")


def _create_schedule(api: Api, p: Props) -> str:
    group = p.get("GroupName", "default")
    if group not in scheduler_backends[api.account][api.region].schedule_groups:
        raise ValueError(f"Schedule group {group} does not exist.")  # moto: a KeyError
    api.call("scheduler", "create_schedule", **p)
    return str(p["Name"])


def _find_group(api: Api, name: str, _: Props) -> str | None:
    there = found(lambda: api.call("scheduler", "get_schedule_group", Name=name))
    return name if there else None


def _create_group(api: Api, p: Props) -> str:
    api.call("scheduler", "create_schedule_group", **p)
    return str(p["Name"])


def _delete_group(api: Api, name: str, _: Props) -> None:
    if _find_group(api, name, {}):  # moto: a KeyError
        api.call("scheduler", "delete_schedule_group", Name=name)


def _schedule_arn(api: Api, p: Props) -> str:
    return api.arn("scheduler", f"schedule/{p.get('GroupName', 'default')}/{p['Name']}")


# --- alarms --------------------------------------------------------------------------------------


def _put_alarm(api: Api, p: Props) -> str:
    api.call("cloudwatch", "put_metric_alarm", **p)
    return str(p["AlarmName"])


def _update_alarm(api: Api, name: str, p: Props, old: Props) -> None:
    if without(p, "Tags") != without(old, "Tags"):
        api.call("cloudwatch", "put_metric_alarm", **without(p, "Tags"))
    arn = api.arn("cloudwatch", f"alarm:{name}")
    gone = keys_gone(p, old)
    if gone:
        api.call("cloudwatch", "untag_resource", ResourceARN=arn, TagKeys=gone)
    if p.get("Tags"):
        api.call("cloudwatch", "tag_resource", ResourceARN=arn, Tags=p["Tags"])


def _find_alarm(api: Api, name: str, _: Props) -> str | None:
    alarms = api.call("cloudwatch", "describe_alarms", AlarmNames=[name])["MetricAlarms"]
    return name if alarms else None


# --- budgets -------------------------------------------------------------------------------------


def _create_budget(api: Api, p: Props) -> str:
    api.call("budgets", "create_budget", AccountId=api.account, **p)
    return str(p["Budget"]["BudgetName"])


def _update_budget(api: Api, name: str, p: Props, _: Props) -> None:
    """Moto has no call for it. Notifications are not among what can change."""
    given = api.fitted("budgets", "create_budget", {"AccountId": api.account, **p})
    budgets = budgets_backends[api.account]["aws"].budgets[api.account]
    budgets[name] = Budget(given["Budget"], given.get("NotificationsWithSubscribers", []))


def _find_budget(api: Api, name: str, _: Props) -> str | None:
    at = {"AccountId": api.account, "BudgetName": name}
    return name if found(lambda: api.call("budgets", "describe_budget", **at)) else None


# --- exports of bills ----------------------------------------------------------------------------


def data_exports(account: str, region: str) -> dict[str, Props]:
    """ARNs and properties: moto has no such service. A reset of moto forgets them."""
    backend: Any = cloudformation_backends[account][region]
    exports: dict[str, Props] = backend.__dict__.setdefault("data_exports", {})
    return exports


def _create_export(api: Api, p: Props) -> str:
    name = p["Export"]["Name"]
    if _find_export(api, name, p):
        raise ValueError(f"export {name} already exists")
    arn = f"arn:aws:bcm-data-exports:us-east-1:{api.account}:export/{name}-{uuid.uuid4()}"
    return _update_export(api, arn, p, {})


def _update_export(api: Api, arn: str, p: Props, _: Props) -> str:
    # There is no call to make, but botocore can say whether the properties are right.
    api.fitted("bcm-data-exports", "create_export", {"Export": p["Export"]})
    data_exports(api.account, api.region)[arn] = p
    return arn


def _find_export(api: Api, name: str, _: Props) -> str | None:
    exports = data_exports(api.account, api.region)
    return next((arn for arn, p in exports.items() if p["Export"]["Name"] == name), None)


KINDS = (
    Kind(
        "AWS::Events::Rule",
        _put_rule,
        _delete_rule,
        _update_rule,
        lambda api, _, p: {"Arn": _rule_arn(api, p)},
        fixed=("EventBusName",),
        name="Name",
        find=_find_rule,
    ),
    Kind(
        "AWS::Scheduler::Schedule",
        _create_schedule,
        lambda api, _, p: api.call("scheduler", "delete_schedule", **only(p, *_SCHEDULE)),
        lambda api, _, p, _old: api.call("scheduler", "update_schedule", **p),
        lambda api, _, p: {"Arn": _schedule_arn(api, p)},
        fixed=("GroupName",),
        name="Name",
    ),
    Kind(
        "AWS::Scheduler::ScheduleGroup",
        _create_group,
        _delete_group,
        lambda api, name, p, old: retag(
            api, "scheduler", api.arn("scheduler", f"schedule-group/{name}"), p, old
        ),
        lambda api, name, _: {"Arn": api.arn("scheduler", f"schedule-group/{name}")},
        name="Name",
        find=_find_group,
        importable=True,
    ),
    Kind(
        "AWS::CloudWatch::Alarm",
        _put_alarm,
        lambda api, name, _: api.call("cloudwatch", "delete_alarms", AlarmNames=[name]),
        _update_alarm,
        lambda api, name, _: {"Arn": api.arn("cloudwatch", f"alarm:{name}")},
        name="AlarmName",
        find=_find_alarm,
        importable=True,
    ),
    Kind(
        "AWS::Budgets::Budget",
        _create_budget,
        lambda api, name, _: api.call(
            "budgets", "delete_budget", AccountId=api.account, BudgetName=name
        ),
        _update_budget,
        fixed=("NotificationsWithSubscribers",),
        name="Budget/BudgetName",
        find=_find_budget,
    ),
    Kind(
        "AWS::BCMDataExports::Export",
        _create_export,
        lambda api, arn, _: data_exports(api.account, api.region).pop(arn, None),
        _update_export,
        id_as("ExportArn"),
        fixed=("Export/Name", "Export/RefreshCadence"),
    ),
)
