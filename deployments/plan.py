"""From what a Prefect server has to what prefect.yaml declares: the steps, decided beforehand.

`reconcile` looks at the server and carries them out. Nothing that is right is touched: Prefect
deletes and makes anew the scheduled runs of whatever it is asked to change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deployments.wanted import POOL, Schedule, Wanted
from deployments.work_pool import TYPE
from flows.problem import Problem

# --- what the server has -------------------------------------------------------------------------


@dataclass(frozen=True)
class Pool:
    type: str
    template: Mapping[str, Any]
    paused: bool = False


@dataclass(frozen=True)
class ExistingSchedule:
    id: str
    slug: str | None
    fields: Mapping[str, Any]  # schedule, parameters, active


@dataclass(frozen=True)
class Existing:
    """A deployment on the server; its fields as `Wanted` has them, and `paused`."""

    id: str
    name: str
    fields: Mapping[str, Any]
    schedules: tuple[ExistingSchedule, ...] = field(default=())

    @property
    def pool(self) -> str | None:
        name: str | None = self.fields["work_pool_name"]
        return name


# --- steps ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    key: str
    was: Any
    becomes: Any


@dataclass(frozen=True)
class CreatePool:
    template: Mapping[str, Any]


@dataclass(frozen=True)
class UpdatePool:
    template: Mapping[str, Any]
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class CreateDeployment:
    wanted: Wanted


@dataclass(frozen=True)
class UpdateDeployment:
    name: str
    id: str
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class CreateSchedule:
    name: str  # the deployment's, here and below
    id: str
    schedule: Schedule


@dataclass(frozen=True)
class UpdateSchedule:
    name: str
    id: str
    schedule_id: str
    slug: str
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class DeleteSchedule:
    name: str
    id: str
    schedule_id: str
    slug: str | None


@dataclass(frozen=True)
class DeleteDeployment:
    """With it go its scheduled runs, those that people asked for too: nothing is left to run."""

    name: str
    id: str


@dataclass(frozen=True)
class MakeRuns:
    """Have the server make the scheduled runs now: those that a change deleted, from the moment
    before it on, and those of a schedule that is new.
    """

    name: str


Step = (
    CreatePool
    | UpdatePool
    | CreateDeployment
    | UpdateDeployment
    | CreateSchedule
    | UpdateSchedule
    | DeleteSchedule
    | DeleteDeployment
    | MakeRuns
)


@dataclass(frozen=True)
class Plan:
    steps: tuple[Step, ...]
    notes: tuple[str, ...] = field(default=())  # what was seen and is left alone


# --- the plan ------------------------------------------------------------------------------------


def plan(
    wanted: Sequence[Wanted],
    existing: Sequence[Existing],
    pool: Pool | None,
    template: Mapping[str, Any],
) -> Plan:
    """The steps that lead from what there is to what is declared; none if it is so already.

    Deployments of other pools are left alone. prefect.yaml decides what it names; `paused` and
    a schedule's `active` are people's where it does not name them.
    """
    there = {deployment.name: deployment for deployment in existing}
    names = {deployment.name for deployment in wanted}
    steps: list[Step] = [*_pool(pool, template)]
    for deployment in wanted:
        found = there.get(deployment.name)
        changes = [CreateDeployment(deployment)] if not found else [*_update(deployment, found)]
        steps += changes
        paused = deployment.fields.get("paused", found.fields["paused"] if found else False)
        if changes and deployment.schedules and not paused:
            steps.append(MakeRuns(deployment.name))
    gone = [one for one in existing if one.name not in names]
    steps += [DeleteDeployment(one.name, one.id) for one in gone if one.pool == POOL]
    return Plan(tuple(steps), tuple(_notes(wanted, existing, gone, pool)))


def _pool(pool: Pool | None, template: Mapping[str, Any]) -> Iterator[Step]:
    if pool is None:
        yield CreatePool(template)
    elif pool.type != TYPE:
        raise Problem(
            "the work pool is of another type, which Prefect cannot change",
            where={"work pool": POOL, "key": "type"},
            value=pool.type,
            fix=f"delete it (prefect work-pool delete {POOL}): it is made anew as {TYPE}",
        )
    elif changes := tuple(_differences(pool.template, template)):
        yield UpdatePool(template, changes)


def _update(wanted: Wanted, found: Existing) -> Iterator[Step]:
    if changes := _changes(found.fields, wanted.fields):
        yield UpdateDeployment(found.name, found.id, changes)
    slugs = {schedule.slug: schedule for schedule in found.schedules}
    for schedule in wanted.schedules:
        at = slugs.get(schedule.slug)
        if at is None:
            yield CreateSchedule(found.name, found.id, schedule)
        elif changes := _changes(at.fields, schedule.fields):
            yield UpdateSchedule(found.name, found.id, at.id, schedule.slug, changes)
    keep = {schedule.slug for schedule in wanted.schedules}
    for known in found.schedules:
        if known.slug not in keep:
            yield DeleteSchedule(found.name, found.id, known.id, known.slug)


def _changes(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> tuple[Change, ...]:
    return tuple(
        Change(key, found.get(key), value)
        for key, value in wanted.items()
        if found.get(key) != value
    )


class _Absent:
    def __repr__(self) -> str:
        return "(absent)"


_ABSENT = _Absent()


def _differences(was: Any, becomes: Any, path: str = "") -> Iterator[Change]:
    """Leaf by leaf: a template is long, and a release changes one line of it."""
    if isinstance(was, dict) and isinstance(becomes, dict):
        for key in [*was, *(key for key in becomes if key not in was)]:
            inner = f"{path}.{key}" if path else str(key)
            yield from _differences(was.get(key, _ABSENT), becomes.get(key, _ABSENT), inner)
    elif was != becomes:
        yield Change(path, was, becomes)


def _notes(
    wanted: Sequence[Wanted],
    existing: Sequence[Existing],
    gone: Sequence[Existing],
    pool: Pool | None,
) -> Iterator[str]:
    for one in gone:
        if one.pool != POOL:
            where = f"work pool {one.pool}" if one.pool else "no work pool"
            yield f"left alone: {one.name} ({where})"
    if pool and pool.paused:
        yield f"the work pool {POOL} is paused: no run starts"
    there = {deployment.name: deployment for deployment in existing}
    for deployment in wanted:
        found = there.get(deployment.name)
        if not found:
            continue
        if found.fields["paused"] and "paused" not in deployment.fields:
            yield f"{found.name} is paused, and prefect.yaml does not say whether it should be"
        off = {schedule.slug for schedule in found.schedules if not schedule.fields["active"]}
        for schedule in deployment.schedules:
            if schedule.slug in off and "active" not in schedule.fields:
                yield (
                    f"{found.name}: schedule {schedule.slug} is off, and prefect.yaml does not "
                    "say whether it should be"
                )


# --- in words ------------------------------------------------------------------------------------


def described(step: Step) -> str:
    """A step as lines on the screen."""
    match step:
        case CreatePool():
            return f"create the work pool {POOL}"
        case UpdatePool(_, changes):
            return _with(f"update the work pool {POOL}", changes)
        case CreateDeployment(wanted):
            return f"create {wanted.name}"
        case UpdateDeployment(name, _, changes):
            return _with(f"update {name}", changes)
        case CreateSchedule(name, _, schedule):
            return f"create schedule {schedule.slug} of {name}"
        case UpdateSchedule(name, _, _, slug, changes):
            return _with(f"update schedule {slug} of {name}", changes)
        case DeleteSchedule(name, _, _, slug):
            return f"delete {f'schedule {slug}' if slug else 'a schedule without slug'} of {name}"
        case DeleteDeployment(name):
            return f"delete {name} and its scheduled runs"
        case MakeRuns(name):
            return f"make the scheduled runs of {name}"


def _with(text: str, changes: Sequence[Change]) -> str:
    lines = [f"    {c.key}: {_short(c.was)} → {_short(c.becomes)}" for c in changes]
    return "\n".join([text, *lines])


def _short(value: Any, most: int = 120) -> str:
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}…"
