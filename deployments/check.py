"""prefect.yaml, checked as a whole before any of it is deployed.

What Prefect, ECS or a run at six in the morning would refuse is refused here, with what to do
about it; and so is what `prefect deploy` takes and quietly ignores.
"""

from __future__ import annotations

import difflib
import pydoc
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from deployments import hardware
from deployments.check_parameters import parameter_problems
from deployments.check_schedules import schedules
from deployments.declared import Deployment, deployment, one_each
from deployments.fill import filled, unfilled
from deployments.prefect_yaml import load_flow, place, read
from deployments.problems import raise_all
from deployments.wanted import POOL, Wanted
from flows.problem import Problem

# Of the keys that Prefect knows (`prefect/cli/deploy/_models.py`), those that are carried out here.
# `definitions` is where Prefect's own examples keep what YAML anchors repeat.
TOP = ("name", "prefect-version", "build", "push", "pull", "definitions", "deployments")
ENTRY = (
    *("name", "entrypoint", "description", "tags", "schedules", "paused", "concurrency_limit"),
    *("parameters", "enforce_parameter_schema", "work_pool", "build", "push", "pull"),
    "catchup",  # ours: Prefect passes over what it does not know
)
WORK_POOL = ("name", "work_queue_name", "job_variables")
# The others belong to the work pool; and with a role of its own choice a job could do anything.
JOB_VARIABLES = ("cpu", "memory", "env")
CONCURRENCY = ("limit", "collision_strategy", "grace_period_seconds")
STRATEGIES = ("ENQUEUE", "CANCEL_NEW")
CATCH_UP = ("newest", "all")

Where = dict[str, object]


def checked(file: Path, variables: Mapping[str, str]) -> tuple[Wanted, ...]:
    """Every deployment of the file, by name, as Prefect is to have it, but for its role.

    `variables` are what `{{ $NAME }}` may name. Raises a Problem, or Problems with all there are.
    """
    content = read(file)
    top: Where = {"file": file}
    problems = [*_unknown(top, content, TOP), *_actions(top, content)]
    found: list[Deployment] = []
    wanted: list[Wanted] = []
    for number, entry in enumerate(content["deployments"], start=1):
        try:
            where = place(file, number, entry)
            problems += _unknown(where, entry, ENTRY)
            flow = load_flow(file, where, entry["entrypoint"])
            of_entry = _Entry(where, filled(entry, variables), flow, content)
            wrong = list(_unset(where, of_entry.content)) or list(of_entry.problems())
            problems += wrong
            found.append(deployment(where, entry, flow))
            if not wrong:
                wanted.append(of_entry.wanted(found[-1].name))
        except Problem as problem:
            problems.append(problem)
    try:
        one_each(file, found)
    except Problem as problem:
        problems.append(problem)
    raise_all(problems)
    return tuple(sorted(wanted, key=lambda one: one.name))


class _Entry:
    """One entry, its variables filled in, and its flow."""

    def __init__(self, where: Where, content: dict[str, Any], flow: Any, file: dict[str, Any]):
        from prefect.utilities.callables import parameter_schema

        self.where = where
        self.content = content
        self.flow = flow
        self.pull = content["pull"] if "pull" in content else file.get("pull")
        if isinstance(self.pull, dict) and self.pull:
            self.pull = [self.pull]  # as Prefect reads it
        self.schema = parameter_schema(flow).model_dump(exclude_unset=True)
        self.parameters = content.get("parameters") or {}
        self.schedules, self.schedule_problems = schedules(where, content)

    def problems(self) -> Iterator[Problem]:
        yield from _actions(self.where, self.content)
        yield from _pull(self.where, self.pull)
        yield from _kinds(self.where, self.content)
        yield from _concurrency(self.where, self.content.get("concurrency_limit"))
        yield from _catch_up(self.where, self.content.get("catchup"))
        yield from _work_pool(self.where, self.content.get("work_pool"))
        yield from self.schedule_problems
        yield from parameter_problems(
            self.where,
            self.flow,
            self.parameters,
            self.schedules,
            self.schema if self.content.get("enforce_parameter_schema", True) else None,
        )

    def wanted(self, name: str) -> Wanted:
        """As `prefect deploy` registers it (`prefect/cli/deploy/_core.py`)."""
        limit = self.content.get("concurrency_limit")
        options = None
        if isinstance(limit, dict):
            options = {key: limit[key] for key in CONCURRENCY[1:] if limit.get(key) is not None}
            limit = limit.get("limit")
        pool = self.content.get("work_pool") or {}
        fields = {
            "description": self.content.get("description") or self.flow.description or "",
            "tags": self.content.get("tags") or [],
            "parameters": self.parameters,
            "parameter_openapi_schema": self.schema,
            "enforce_parameter_schema": self.content.get("enforce_parameter_schema", True),
            "entrypoint": self.content["entrypoint"],
            "path": None,
            "pull_steps": self.pull,
            "concurrency_limit": limit,
            "concurrency_options": options,
            "work_pool_name": pool.get("name"),
            "work_queue_name": pool.get("work_queue_name") or "default",
            "job_variables": pool.get("job_variables") or {},
        }
        if self.content.get("paused") is not None:
            fields["paused"] = self.content["paused"]
        return Wanted(name, fields, self.schedules, self.content.get("catchup") or "newest")


# --- one check each ------------------------------------------------------------------------------


def _unknown(where: Where, mapping: Any, known: Iterable[str], key: str = "") -> Iterator[Problem]:
    for name in mapping:
        if name in known:
            continue
        near = difflib.get_close_matches(str(name), list(known), n=1)
        yield Problem(
            "prefect.yaml has a key that is not carried out here",
            where={**where, "key": f"{key}.{name}" if key else name},
            value=name,
            detail=f"known here: {', '.join(known)}",
            fix=f"write {near[0]}" if near else "take it out",
        )


def _actions(where: Where, mapping: Mapping[str, Any]) -> Iterator[Problem]:
    for key in ("build", "push"):
        if mapping.get(key):
            yield Problem(
                f"a {key} step would run at each `prefect deploy`",
                where={**where, "key": key},
                value=mapping[key],
                detail="the pipeline builds and pushes the image",
                fix=f"write {key}: null",
            )


def _unset(where: Where, content: Mapping[str, Any]) -> Iterator[Problem]:
    for key, placeholder in unfilled({k: v for k, v in content.items() if k != "pull"}):
        variable = placeholder.strip("{} ")
        yield Problem(
            "a placeholder has nothing to put in its place",
            where={**where, "key": key},
            value=placeholder,
            detail=""
            if variable.startswith("$")
            else "only {{ $NAME }}, a variable of the environment, is filled in",
            fix=f"set the variable {variable[1:]}, or write the value itself"
            if variable.startswith("$")
            else "write {{ $NAME }}, or the value itself",
        )


def _pull(where: Where, steps: Any) -> Iterator[Problem]:
    where = {**where, "key": "pull"}
    if not isinstance(steps, list):
        yield Problem(
            "prefect.yaml does not say where a run finds the code",
            where=where,
            value=steps,
            detail="without `pull`, Prefect puts in the folder of whoever deploys",
            fix="write pull: with prefect.deployments.steps.set_working_directory, as it was",
        )
        return
    for step in steps:
        name = next(iter(step), None) if isinstance(step, dict) and len(step) == 1 else None
        if not (isinstance(name, str) and callable(pydoc.locate(name))):
            yield Problem(
                "a pull step is not a function that can be imported",
                where=where,
                value=step,
                fix="write prefect.deployments.steps.set_working_directory: {directory: …}",
            )


_KINDS: dict[str, tuple[type, str]] = {
    "description": (str, "text"),
    "tags": (list, "a list of texts"),
    "paused": (bool, "true or false"),
    "enforce_parameter_schema": (bool, "true or false"),
}


def _kinds(where: Where, content: Mapping[str, Any]) -> Iterator[Problem]:
    for key, (kind, words) in _KINDS.items():
        value = content.get(key)
        right = isinstance(value, kind) and (
            not isinstance(value, list) or all(isinstance(tag, str) and tag for tag in value)
        )
        if value is not None and not right:
            yield Problem(
                f"{key} is not {words}",
                where={**where, "key": key},
                value=value,
                fix=f"write {words}",
            )


def _concurrency(where: Where, limit: Any) -> Iterator[Problem]:
    where = {**where, "key": "concurrency_limit"}
    if isinstance(limit, dict):
        yield from _unknown(where, limit, CONCURRENCY, "concurrency_limit")
        strategy = limit.get("collision_strategy")
        if strategy not in STRATEGIES:
            yield Problem(
                "it is not said what becomes of a run for which there is no room",
                where={**where, "key": "concurrency_limit.collision_strategy"},
                value=strategy,
                fix=f"write one of {', '.join(STRATEGIES)}",
            )
        grace = limit.get("grace_period_seconds")
        if grace is not None and not (_whole(grace) and 60 <= grace <= 86400):
            yield Problem(
                "Prefect takes a grace period of 60 to 86400 seconds",
                where={**where, "key": "concurrency_limit.grace_period_seconds"},
                value=grace,
                fix="write such a number, or leave it out",
            )
        limit = limit.get("limit", "none")
    if limit is not None and not (_whole(limit) and limit >= 1):
        yield Problem(
            "a concurrency limit is a whole number from 1",
            where=where,
            value=limit,
            fix="write limit: 1, or pause the deployment with paused: true",
        )


def _catch_up(where: Where, value: Any) -> Iterator[Problem]:
    if value is not None and value not in CATCH_UP:
        yield Problem(
            "it is not said which of the runs that were missed are to run",
            where={**where, "key": "catchup"},
            value=value,
            fix=f"write one of {', '.join(CATCH_UP)}, or leave it out for {CATCH_UP[0]}",
        )


def _work_pool(where: Where, pool: Any) -> Iterator[Problem]:
    name = pool.get("name") if isinstance(pool, dict) else pool
    if name != POOL or not isinstance(pool, dict):
        yield Problem(
            "the deployment is not for the work pool of this installation",
            where={**where, "key": "work_pool.name"},
            value=name,
            fix=f"write work_pool: with name: {POOL}",
        )
        return
    yield from _unknown(where, pool, WORK_POOL, "work_pool")
    queue = pool.get("work_queue_name")
    if queue is not None and not (isinstance(queue, str) and queue):
        yield Problem(
            "a work queue's name is text",
            where={**where, "key": "work_pool.work_queue_name"},
            value=queue,
            fix="write its name, or leave it out for the default queue",
        )
    inner = "work_pool.job_variables"
    variables = pool.get("job_variables")
    variables = variables if isinstance(variables, dict) else {}
    yield from _unknown(where, variables, JOB_VARIABLES, inner)
    yield from _hardware(where, variables.get("cpu"), variables.get("memory"), inner)
    env = variables.get("env") or {}
    texts = isinstance(env, dict) and all(isinstance(x, str) for kv in env.items() for x in kv)
    if not texts:
        yield Problem(
            "a variable of the environment is text",
            where={**where, "key": f"{inner}.env"},
            value=env,
            fix='write NAME: "value", numbers in quotes too',
        )


def _hardware(where: Where, cpu: Any, memory: Any, key: str) -> Iterator[Problem]:
    for name, value in (("cpu", cpu), ("memory", memory)):
        if not _whole(value):
            unit = "CPU units, 1024 for a whole one" if name == "cpu" else "MiB"
            yield Problem(
                f"a job's {name} is a whole number",
                where={**where, "key": f"{key}.{name}"},
                value=value,
                fix=f"write {name}: in {unit}",
            )
            return
    if not hardware.valid(cpu, memory):
        best = hardware.nearest(cpu, memory)
        yield Problem(
            "Fargate has no such machine",
            where={**where, "key": key},
            value=f"cpu: {cpu}, memory: {memory}",
            detail=f"with cpu {cpu} it has memory {_sizes(cpu)}"
            if cpu in hardware.SIZES
            else f"it has cpu {', '.join(map(str, hardware.SIZES))}",
            fix=f"write cpu: {best[0]} and memory: {best[1]}",
        )


def _sizes(cpu: int) -> str:
    sizes = hardware.SIZES[cpu]
    return f"{sizes[0]} to {sizes[-1]} in steps of {sizes[-1] - sizes[-2]}"


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
