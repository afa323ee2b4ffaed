"""The plan, on a model of the server: what it leads to, and that it ends there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.plan import (
    CreateDeployment,
    CreatePool,
    CreateSchedule,
    DeleteDeployment,
    DeleteSchedule,
    Existing,
    ExistingSchedule,
    MakeRuns,
    Plan,
    Pool,
    UpdateDeployment,
    UpdatePool,
    UpdateSchedule,
    described,
    plan,
)
from deployments.wanted import POOL, Schedule, Wanted

NAMES = st.sampled_from(["a/x", "a/y", "b/x", "c/z"])
FIELDS = {"tags": st.lists(st.sampled_from("pq"), max_size=1), "limit": st.none() | st.just(1)}
TEMPLATES = st.fixed_dictionaries(
    {"image": st.sampled_from("123")}, optional={"env": st.none() | st.just({"A": None})}
)
SCHEDULE = {"schedule": st.sampled_from(["six", "seven"])}
ON = st.booleans()
WANTED = st.builds(
    Wanted,
    NAMES,
    st.fixed_dictionaries({**FIELDS, "work_pool_name": st.just(POOL)}, optional={"paused": ON}),
    st.lists(
        st.builds(
            Schedule,
            st.sampled_from(["s", "t"]),
            st.fixed_dictionaries(SCHEDULE, optional={"active": ON}),
        ),
        unique_by=lambda schedule: schedule.slug,
    ).map(tuple),
)
EXISTING = st.builds(
    Existing,
    st.uuids().map(str),
    NAMES,
    st.fixed_dictionaries(
        {
            **FIELDS,
            "paused": ON,
            "work_pool_name": st.sampled_from([POOL, "other", None]),
            "version": st.just("theirs"),
        }
    ),
    st.lists(
        st.builds(
            ExistingSchedule,
            st.uuids().map(str),
            st.sampled_from(["s", "t", "u", None]),
            st.fixed_dictionaries({**SCHEDULE, "active": ON}),
        ),
        unique_by=lambda schedule: schedule.slug or schedule.id,
        max_size=3,
    ).map(tuple),
)
POOLS = st.none() | st.builds(Pool, st.just("ecs"), TEMPLATES, ON)


class Model:
    """A server: what the steps do to it."""

    def __init__(self, existing: list[Existing], pool: Pool | None) -> None:
        self.deployments = {deployment.name: deployment for deployment in existing}
        self.pool = pool
        self.made: list[str] = []

    def carry_out(self, decided: Plan) -> None:
        for step in decided.steps:
            self.step(step)

    def step(self, step: object) -> None:
        match step:
            case CreatePool(template):
                assert self.pool is None
                self.pool = Pool("ecs", template)
            case UpdatePool(template):
                assert self.pool
                self.pool = replace(self.pool, template=template)
            case CreateDeployment(wanted):
                assert self.pool
                assert wanted.name not in self.deployments
                schedules = tuple(map(self.schedule, wanted.schedules))
                fields = {"paused": False, **wanted.fields}
                made = Existing(f"id-{wanted.name}", wanted.name, fields, schedules)
                self.deployments[wanted.name] = made
            case UpdateDeployment(name, id_, changes):
                found = self.deployments[name]
                assert found.id == id_
                fields = {**found.fields, **{c.key: c.becomes for c in changes}}
                self.deployments[name] = replace(found, fields=fields)
            case CreateSchedule(name, _, schedule):
                self.schedules(name, lambda all_: [*all_, self.schedule(schedule)])
            case UpdateSchedule(name, _, schedule_id, _, changes):
                new = {c.key: c.becomes for c in changes}
                self.schedules(
                    name,
                    lambda all_: [
                        replace(s, fields={**s.fields, **new}) if s.id == schedule_id else s
                        for s in all_
                    ],
                )
            case DeleteSchedule(name, _, schedule_id):
                self.schedules(name, lambda all_: [s for s in all_ if s.id != schedule_id])
            case DeleteDeployment(name):
                del self.deployments[name]
            case MakeRuns(name):
                self.made.append(name)
                assert not self.deployments[name].fields["paused"]
            case _:
                raise AssertionError(step)

    @staticmethod
    def schedule(wanted: Schedule) -> ExistingSchedule:
        return ExistingSchedule(f"id-{wanted.slug}", wanted.slug, {"active": True, **wanted.fields})

    def schedules(self, name: str, change: Any) -> None:
        found = self.deployments[name]
        self.deployments[name] = replace(found, schedules=tuple(change(found.schedules)))


def of(items: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(items, unique_by=lambda item: item.name)


@settings(deadline=None)
@given(of(WANTED), of(EXISTING), POOLS, TEMPLATES)
def test_it_leads_there_and_ends_there(
    wanted: list[Wanted], existing: list[Existing], pool: Pool | None, template: dict[str, Any]
) -> None:
    server = Model(existing, pool)
    first = plan(wanted, existing, pool, template)
    server.carry_out(first)
    now = list(server.deployments.values())
    assert plan(wanted, now, server.pool, template).steps == ()
    assert server.pool
    assert server.pool.template == template
    declared = {deployment.name: deployment for deployment in wanted}
    was = {deployment.name: deployment for deployment in existing}
    for found in now:
        if found.name not in declared:
            assert found.pool != POOL
            assert found == was[found.name], "what is not ours is left alone"
            continue
        deployment = declared[found.name]
        assert found.fields.items() >= deployment.fields.items()
        assert {s.slug for s in found.schedules} == {s.slug for s in deployment.schedules}
        if found.name in was and "paused" not in deployment.fields:
            assert found.fields["paused"] == was[found.name].fields["paused"]
    assert declared.keys() <= server.deployments.keys()
    assert all(described(step) for step in first.steps)


@settings(deadline=None, max_examples=50)
@given(of(WANTED), TEMPLATES)
def test_what_is_right_is_not_touched(wanted: list[Wanted], template: dict[str, Any]) -> None:
    """One deployment is changed: only that one is, and only its runs are made anew."""
    server = Model([], None)
    server.carry_out(plan(wanted, [], None, template))
    if not wanted:
        return
    changed = replace(wanted[0], fields={**wanted[0].fields, "tags": ["other"]})
    steps = plan(
        [changed, *wanted[1:]], list(server.deployments.values()), server.pool, template
    ).steps
    runs = bool(changed.schedules) and not changed.fields.get("paused")
    assert [type(step) for step in steps] == [UpdateDeployment, *([MakeRuns] if runs else [])]
    assert all(getattr(step, "name", "") == changed.name for step in steps)


def test_a_difference_is_named_leaf_by_leaf() -> None:
    was = {"variables": {"image": {"default": "a"}, "old": 1}, "same": [1]}
    new = {"variables": {"image": {"default": "b"}, "new": None}, "same": [1]}
    (step,) = plan([], [], Pool("ecs", was), new).steps
    assert described(step) == (
        "update the work pool fargate\n"
        "    variables.image.default: 'a' → 'b'\n"
        "    variables.old: 1 → (absent)\n"
        "    variables.new: (absent) → None"
    )
