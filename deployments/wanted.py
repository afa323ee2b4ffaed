"""What a Prefect server should have of one deployment, in the words of its API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from deployments.meter.often import VARIABLE, runs_a_year
from deployments.problems import raise_all
from flows.problem import Problem

POOL = "fargate"  # the work pool of every deployment

CatchUp = Literal["newest", "all"]  # of the times that a schedule has missed: which of them run


@dataclass(frozen=True)
class Schedule:
    slug: str  # tells it apart from the deployment's others, at each release
    fields: Mapping[str, Any]  # schedule, parameters; active where prefect.yaml names it


@dataclass(frozen=True)
class Wanted:
    """A deployment as prefect.yaml has it.

    What a field does not name is left alone: `paused`, and a schedule's `active`, where
    prefect.yaml says nothing. They are switches in Prefect's pages.
    """

    name: str  # 'cost-report/daily'
    fields: Mapping[str, Any]
    schedules: tuple[Schedule, ...] = field(default=())
    catch_up: CatchUp = "newest"


def with_roles(
    wanted: Sequence[Wanted], roles: Mapping[str, str], stack: str
) -> tuple[Wanted, ...]:
    """Each deployment with its own task role, its runs told how many they are in a year. `roles`:
    ARNs by the deployments' names.
    """
    raise_all(
        Problem(
            "a deployment has no role yet",
            where={"stack": stack, "deployment": deployment.name, "key": "task_role_arn"},
            detail=f"the stack has those of: {', '.join(sorted(roles)) or 'none'}",
            fix="a cloud engineer deploys it: make deploy",
        )
        for deployment in wanted
        if deployment.name not in roles
    )
    return tuple(_with_role(deployment, roles[deployment.name]) for deployment in wanted)


def _with_role(deployment: Wanted, role: str) -> Wanted:
    variables = {**deployment.fields["job_variables"], "task_role_arn": role}
    if runs := runs_a_year(deployment.schedules):
        variables["env"] = {VARIABLE: str(runs), **(variables.get("env") or {})}
    return replace(deployment, fields={**deployment.fields, "job_variables": variables})
