"""The schedules of one entry of prefect.yaml."""

from __future__ import annotations

import difflib
import zoneinfo
from collections.abc import Iterator, Mapping
from typing import Any

from deployments.wanted import Schedule
from flows.problem import Problem

# Only cron: an interval starts anew at each deploy unless it is anchored, and cron says the rest.
KNOWN = ("cron", "timezone", "day_or", "active", "parameters", "slug", "replaces")


def schedules(
    where: dict[str, object], entry: Mapping[str, Any]
) -> tuple[tuple[Schedule, ...], list[Problem]]:
    """What Prefect is to have, and what is wrong. Those that are wrong are left out."""
    where = {**where, "key": "schedules"}
    found = entry.get("schedules")
    if "schedules" not in entry or not isinstance(found, list | None):
        problem = Problem(
            "it is not said when the deployment runs",
            where=where,
            value=found,
            detail="without the key, `prefect deploy` asks in a terminal",
            fix="write schedules: with a list, or schedules: [] if only people start it",
        )
        return (), [problem]
    good: list[Schedule] = []
    problems: list[Problem] = []
    slugs: list[str] = []
    for number, one in enumerate(found or (), start=1):
        of_one = {**where, "key": f"schedules.{number}"}
        wrong = list(_problems(of_one, one, slugs))
        problems += wrong
        if not wrong:
            good.append(_schedule(one))
            slugs.append(one["slug"])
    return tuple(good), problems


def _problems(where: dict[str, object], one: Any, slugs: list[str]) -> Iterator[Problem]:
    from pydantic import ValidationError

    if not isinstance(one, dict):
        yield Problem(
            "a schedule is not a mapping",
            where=where,
            value=one,
            fix='write slug: daily, cron: "0 6 * * *" and timezone: UTC',
        )
        return
    key = where["key"]
    for name in one:
        if name not in KNOWN:
            near = difflib.get_close_matches(str(name), KNOWN, n=1)
            yield Problem(
                "a schedule has a key that is not carried out here",
                where={**where, "key": f"{key}.{name}"},
                value=name,
                detail=f"known here: {', '.join(KNOWN)}",
                fix=f"write {near[0]}" if near else "say it as cron",
            )
    slug = one.get("slug")
    if not isinstance(slug, str) or not slug:
        yield Problem(
            "a schedule has no slug",
            where={**where, "key": f"{key}.slug"},
            value=slug,
            detail="without one, Prefect makes it anew at each deploy, and its runs twice",
            fix="give it a slug: a word of its own, such as daily",
        )
    elif slug in slugs:
        yield Problem(
            "two schedules of one deployment have the same slug",
            where={**where, "key": f"{key}.slug"},
            value=slug,
            fix="give one of them another",
        )
    zone = one.get("timezone")
    if zone is not None and str(zone) not in zoneinfo.available_timezones():
        near = difflib.get_close_matches(str(zone), zoneinfo.available_timezones(), n=1)
        yield Problem(
            "there is no such time zone",
            where={**where, "key": f"{key}.timezone"},
            value=zone,
            fix=f"write {near[0]}" if near else "write it as Europe/Berlin, or UTC",
        )
        return
    for name, kind in (("active", bool), ("day_or", bool), ("parameters", dict)):
        if one.get(name) is not None and not isinstance(one[name], kind):
            yield Problem(
                f"a schedule's {name} is not {'a mapping' if kind is dict else 'true or false'}",
                where={**where, "key": f"{key}.{name}"},
                value=one[name],
                fix=f"write {'parameter: value below it' if kind is dict else 'true or false'}",
            )
            return
    try:
        _cron(one)
    except ValidationError as error:
        yield Problem(
            "Prefect does not understand when this is",
            where={**where, "key": f"{key}.cron"},
            value=one.get("cron"),
            detail="; ".join(str(wrong["msg"]) for wrong in error.errors()),
            fix='write five fields, minute hour day month weekday: "0 6 * * *" is six every day',
        )


def _schedule(one: Mapping[str, Any]) -> Schedule:
    fields: dict[str, Any] = {
        "schedule": _cron(one).model_dump(mode="json"),
        "parameters": one.get("parameters") or {},
    }
    if one.get("active") is not None:
        fields["active"] = one["active"]
    return Schedule(one["slug"], fields)


def _cron(one: Mapping[str, Any]) -> Any:
    from prefect.client.schemas.schedules import CronSchedule

    keys = ("cron", "timezone", "day_or")
    return CronSchedule.model_validate({k: one[k] for k in keys if one.get(k) is not None})
