"""What is wrong with a prefect.yaml is said before any of it is deployed."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from prefect.cli.deploy._models import (
    ConcurrencyLimitSpec,
    DeploymentConfig,
    PrefectYamlModel,
    RawScheduleConfig,
    WorkPoolConfig,
)

from deployments import check, check_schedules, hardware
from deployments.check import checked
from deployments.problems import Problems
from deployments.wanted import with_roles
from flows.problem import Problem
from tests.deployments.project import ENTRY, SMALL, VARIABLES, entry, write


def test_ours_is_fine() -> None:
    (daily,) = checked(Path(__file__).parents[2] / "prefect.yaml", VARIABLES)
    assert daily.name == "cost-report/daily"
    assert daily.fields["parameters"] == {
        "source": "s3://the-bucket/bills/",
        "destination": "s3://the-bucket/reports/",
    }
    assert daily.fields["concurrency_limit"] == 1
    assert [schedule.slug for schedule in daily.schedules] == ["daily"]


def test_as_prefect_is_to_have_it(folder: Path) -> None:
    by_hand, daily = sorted(
        checked(write(folder, ENTRY, SMALL), VARIABLES), key=lambda one: one.fields["entrypoint"]
    )[::-1]
    assert by_hand.name == "nothing/by-hand"
    assert by_hand.schedules == ()
    assert by_hand.fields["description"] == "Does nothing.", "the flow's own"
    assert "paused" not in by_hand.fields
    assert daily.fields["job_variables"] == {"cpu": 512, "memory": 1024}
    (schedule,) = daily.schedules
    assert schedule.fields == {
        "schedule": {"cron": "0 6 * * *", "timezone": "Europe/Berlin", "day_or": True},
        "parameters": {},
    }


@pytest.mark.parametrize(
    ("known", "model"),
    [
        ([key for key in check.ENTRY if key != "catchup"], DeploymentConfig),
        (check.WORK_POOL, WorkPoolConfig),
        (check.CONCURRENCY, ConcurrencyLimitSpec),
        (check_schedules.KNOWN, RawScheduleConfig),
        ([key for key in check.TOP if key != "definitions"], PrefectYamlModel),
    ],
)
def test_every_key_that_is_known_here_is_one_of_prefects(known: list[str], model: Any) -> None:
    """When a key fails here, Prefect has renamed it: see its release notes."""
    theirs = {field.alias or name for name, field in model.model_fields.items()}
    assert set(known) <= theirs


@pytest.mark.parametrize(
    ("change", "expected"),
    [({}, "newest"), ({"catchup": "newest"}, "newest"), ({"catchup": "all"}, "all")],
)
def test_which_of_the_missed_runs_are_made_up_for(
    folder: Path, change: dict[str, Any], expected: str
) -> None:
    found = checked(write(folder, entry(change)), VARIABLES)
    (daily,) = with_roles(found, {"copy/daily": "arn"}, "the-stack")
    assert daily.catch_up == expected
    assert "catchup" not in daily.fields, "it is ours: Prefect is not told"


def test_prefect_passes_over_what_is_ours() -> None:
    """So that its own `prefect deploy` takes the file as well."""
    assert not hasattr(DeploymentConfig.model_validate(entry({"catchup": "all"})), "catchup")


# --- one by one ----------------------------------------------------------------------------------

WRONG: list[tuple[dict[str, Any], str, str, str, str]] = [
    # change, summary, key, value, fix
    ({"entrypoint": "jobs.py:copi"}, "cannot be imported", "entrypoint", "copi", "path/to/file.py"),
    ({"entrypoint": "job.py:copy"}, "cannot be imported", "entrypoint", "job.py", "by itself"),
    ({"shedules": []}, "not carried out", "shedules", "shedules", "write schedules"),
    ({"triggers": []}, "not carried out", "triggers", "triggers", "take it out"),
    ({"build": [{"x": {}}]}, "build step", "build", "x", "build: null"),
    ({"pull": "here"}, "where a run finds the code", "pull", "here", "set_working_directory"),
    ({"pull": [{"prefect.nothing": {}}]}, "pull step", "pull", "prefect.nothing", "directory"),
    ({"description": 5}, "not text", "description", "5", "write text"),
    ({"tags": "a"}, "not a list", "tags", "a", "list of texts"),
    ({"tags": [1]}, "not a list", "tags", "[1]", "list of texts"),
    ({"paused": "no"}, "not true or false", "paused", "no", "true or false"),
    # schedules
    ({"schedules": None}, "when the deployment runs", "schedules", "", "schedules: []"),
    ({"schedules": {"cron": "x"}}, "when the deployment runs", "schedules", "cron", "a list"),
    ({"schedules": ["6:00"]}, "not a mapping", "schedules.1", "6:00", "cron"),
    ({"schedules.0.slug": None}, "no slug", "schedules.1.slug", "", "give it a slug"),
    (
        {"schedules": [*ENTRY["schedules"], *ENTRY["schedules"]]},
        "the same slug",
        "schedules.2.slug",
        "daily",
        "another",
    ),
    ({"schedules.0.cron": "0 6 * *"}, "when this is", "schedules.1.cron", "0 6 * *", "five fields"),
    ({"schedules.0.cron": "61 6 * * *"}, "when this is", "schedules.1.cron", "61", "five fields"),
    ({"schedules.0.cron": "R 6 * * *"}, "when this is", "schedules.1.cron", "R", "five fields"),
    ({"schedules.0.cron": None}, "when this is", "schedules.1.cron", "", "five fields"),
    ({"schedules.0.crn": "x"}, "not carried out", "schedules.1.crn", "crn", "write cron"),
    (
        {"schedules.0.interval": 60},
        "not carried out",
        "schedules.1.interval",
        "interval",
        "say it as cron",
    ),
    (
        {"schedules.0.timezone": "Europe/Berln"},
        "no such time zone",
        "schedules.1.timezone",
        "Europe/Berln",
        "write Europe/Berlin",
    ),
    ({"schedules.0.active": "yes"}, "active is not", "schedules.1.active", "yes", "true or false"),
    # parameters
    ({"parameters.mist": 1}, "no such parameter", "parameters.mist", "mist", "write most"),
    ({"parameters.most": "many"}, "does not take", "parameters.most", "many", "signature"),
    ({"parameters.note": 5}, "does not take", "parameters.note", "5", "signature"),
    ({"parameters": ["x"]}, "not a mapping", "parameters", "x", "name: value"),
    ({"parameters.source": "/tmp/x"}, "not an S3 address", "source", "/tmp/x", "s3://"),
    (
        {"schedules.0.parameters": {"most": "many"}},
        "does not take",
        "schedules.daily.parameters.most",
        "many",
        "signature",
    ),
    (
        {"schedules.0.parameters": {"mist": 2}},
        "no such parameter",
        "schedules.daily.parameters.mist",
        "mist",
        "write most",
    ),
    # variables
    (
        {"parameters.note": "{{ $NOWHERE }}"},
        "nothing to put in its place",
        "parameters.note",
        "{{ $NOWHERE }}",
        "set the variable NOWHERE",
    ),
    (
        {"tags": ["{{ prefect.variables.x }}"]},
        "nothing to put in its place",
        "tags.1",
        "prefect.variables.x",
        "{{ $NAME }}",
    ),
    # concurrency
    ({"catchup": "none"}, "runs that were missed", "catchup", "none", "newest, all"),
    ({"catchup": "ALL"}, "runs that were missed", "catchup", "ALL", "newest, all"),
    ({"catchup": False}, "runs that were missed", "catchup", "False", "newest, all"),
    ({"catchup": ["all"]}, "runs that were missed", "catchup", "['all']", "newest, all"),
    ({"catchup": ""}, "runs that were missed", "catchup", "", "newest, all"),
    ({"catch_up": "all"}, "not carried out", "catch_up", "catch_up", "catchup"),
    ({"concurrency_limit.limit": 0}, "whole number from 1", "concurrency_limit", "0", "limit: 1"),
    ({"concurrency_limit": 0}, "whole number from 1", "concurrency_limit", "0", "limit: 1"),
    ({"concurrency_limit": True}, "whole number from 1", "concurrency_limit", "True", "limit: 1"),
    ({"concurrency_limit.limit": None}, "whole number", "concurrency_limit", "none", "limit: 1"),
    (
        {"concurrency_limit.collision_strategy": "WAIT"},
        "no room",
        "concurrency_limit.collision_strategy",
        "WAIT",
        "ENQUEUE",
    ),
    (
        {"concurrency_limit.grace_period_seconds": 5},
        "grace period",
        "concurrency_limit.grace_period_seconds",
        "5",
        "leave it out",
    ),
    ({"concurrency_limit.lim": 5}, "not carried out", "concurrency_limit.lim", "lim", "limit"),
    # work pool and hardware
    ({"work_pool": None}, "work pool of this installation", "work_pool.name", "", "name: fargate"),
    ({"work_pool.name": "other"}, "of this installation", "work_pool.name", "other", "fargate"),
    (
        {"work_pool.work_queue": "x"},
        "not carried out",
        "work_pool.work_queue",
        "work_queue",
        "work_queue_name",
    ),
    (
        {"work_pool.job_variables.task_role_arn": "arn:…"},
        "not carried out",
        "work_pool.job_variables.task_role_arn",
        "task_role_arn",
        "take it out",
    ),
    (
        {"work_pool.job_variables.cpu": None},
        "cpu is a whole number",
        "work_pool.job_variables.cpu",
        "",
        "CPU units",
    ),
    (
        {"work_pool.job_variables.memory": "1 GB"},
        "memory is a whole number",
        "work_pool.job_variables.memory",
        "1 GB",
        "MiB",
    ),
    (
        {"work_pool.job_variables.memory": 8192},
        "no such machine",
        "work_pool.job_variables",
        "cpu: 512, memory: 8192",
        "cpu: 1024 and memory: 8192",
    ),
    (
        {"work_pool.job_variables.cpu": 1000},
        "no such machine",
        "work_pool.job_variables",
        "cpu: 1000",
        "cpu: 1024 and memory: 2048",
    ),
    (
        {"work_pool.job_variables.env": {"A": 1}},
        "environment is text",
        "work_pool.job_variables.env",
        "'A': 1",
        "in quotes",
    ),
]


@pytest.mark.parametrize(("change", "summary", "key", "value", "fix"), WRONG)
def test_what_is_wrong_is_named(
    folder: Path, change: dict[str, Any], summary: str, key: str, value: str, fix: str
) -> None:
    file = write(folder, SMALL, entry(change))
    with pytest.raises(Problem, match=summary) as caught:
        checked(file, VARIABLES)
    problem = caught.value
    assert not isinstance(problem, Problems), problem
    assert problem.where["file"] == file
    assert problem.where["deployment"] == "daily"
    assert key in (problem.where.get("key"), problem.where.get("parameter"))
    assert value in (problem.value or "")
    assert fix in problem.fix


def test_a_parameter_that_is_missing(folder: Path) -> None:
    needs = entry({"entrypoint": "jobs.py:needs"}, SMALL)
    with pytest.raises(Problem, match="needs is not given") as caught:
        checked(write(folder, needs), VARIABLES)
    assert caught.value.where["key"] == "parameters.number"
    assert "give number a value" in caught.value.fix
    at_six = {"slug": "six", "cron": "0 6 * * *", "parameters": {"number": 6}}
    checked(write(folder, {**needs, "schedules": [at_six]}), VARIABLES)  # the schedule gives it
    at_seven = {"slug": "seven", "cron": "0 7 * * *", "parameters": {}}
    with pytest.raises(Problem, match="needs is not given"):
        checked(write(folder, {**needs, "schedules": [at_six, at_seven]}), VARIABLES)


def test_what_the_schema_lets_through_the_flow_itself_may_refuse(folder: Path) -> None:
    loose = entry({"enforce_parameter_schema": False, "parameters.most": "many"})
    with pytest.raises(Problem, match="does not take") as caught:
        checked(write(folder, loose), VARIABLES)
    assert caught.value.where["key"] == "parameters.most"
    checked(
        write(folder, entry({"parameters.most": "3", "enforce_parameter_schema": False})),
        {**VARIABLES},
    )


def test_no_pull_at_all(folder: Path) -> None:
    with pytest.raises(Problem, match="finds the code"):
        checked(write(folder, SMALL, pull=None), VARIABLES)
    checked(write(folder, SMALL, pull=[]), VARIABLES)


@pytest.mark.parametrize(
    ("top", "key"), [({"deploymnts": 1}, "deploymnts"), ({"push": [1]}, "push")]
)
def test_the_top_of_the_file(folder: Path, top: dict[str, Any], key: str) -> None:
    with pytest.raises(Problem) as caught:
        checked(write(folder, SMALL, **top), VARIABLES)
    assert caught.value.where == {"file": folder / "prefect.yaml", "key": key}


def test_all_at_once(folder: Path) -> None:
    file = write(
        folder,
        entry({"entrypoint": "jobs.py:copi"}),
        entry({"name": "other", "schedules.0.cron": "x", "tags": 1}),
        {"name": "x"},
        SMALL,
        SMALL,
    )
    with pytest.raises(Problems) as caught:
        checked(file, VARIABLES)
    summaries = " ".join(problem.summary for problem in caught.value.problems)
    assert len(caught.value.problems) == 5, str(caught.value)
    assert "cannot be imported" in summaries
    assert "share one role" in summaries
    assert str(caught.value).endswith("5 problems: put each right; none of it was deployed")


def test_a_variable_is_put_in_before_the_value_is_looked_at(folder: Path) -> None:
    file = write(folder, entry({"concurrency_limit": None, "tags": ["{{ $TAG }}-x"]}))
    (daily,) = checked(file, {**VARIABLES, "TAG": "t"})
    assert daily.fields["tags"] == ["t-x"]
    assert daily.fields["parameters"]["source"] == "s3://the-bucket/in/"


# --- roles and hardware --------------------------------------------------------------------------


def test_a_deployment_without_a_role(folder: Path) -> None:
    wanted = checked(write(folder, ENTRY, SMALL), VARIABLES)
    with pytest.raises(Problem, match="no role yet") as caught:
        with_roles(wanted, {"copy/daily": "arn:1"}, "nightshift-prod")
    assert caught.value.where["deployment"] == "nothing/by-hand"
    assert caught.value.where["key"] == "task_role_arn"
    assert "make deploy" in caught.value.fix
    daily, _ = with_roles(wanted, {"copy/daily": "arn:1", "nothing/by-hand": "arn:2"}, "x")
    assert daily.fields["job_variables"]["task_role_arn"] == "arn:1"


def test_each_run_is_told_how_many_there_are_in_a_year(folder: Path) -> None:
    own = {"work_pool.job_variables.env": {"OWN": "value"}}
    wanted = checked(write(folder, entry(own), SMALL), VARIABLES)
    daily, by_hand = with_roles(wanted, {"copy/daily": "arn:1", "nothing/by-hand": "arn:2"}, "x")
    assert daily.fields["job_variables"]["env"] == {"NIGHTSHIFT_RUNS_A_YEAR": "365", "OWN": "value"}
    assert "env" not in by_hand.fields["job_variables"]


def test_a_date_is_text(folder: Path) -> None:
    file = write(folder, entry({"parameters.note": date(2026, 11, 1)}))
    (daily,) = checked(file, VARIABLES)
    assert daily.fields["parameters"]["note"] == "2026-11-01"


def test_an_empty_variable_is_none(folder: Path) -> None:
    with pytest.raises(Problem, match="nothing to put in its place"):
        checked(write(folder, ENTRY), {"NIGHTSHIFT_DATA_BUCKET": ""})


@pytest.mark.parametrize(
    ("asked", "nearest"),
    [
        ((1, 1), (256, 512)),
        ((256, 513), (256, 1024)),
        ((256, 4096), (512, 4096)),
        ((4096, 30721), (8192, 32768)),
        ((8192, 61440), (8192, 61440)),
        ((99999, 1), (16384, 122880)),
    ],
)
def test_the_nearest_machine(asked: tuple[int, int], nearest: tuple[int, int]) -> None:
    assert hardware.nearest(*asked) == nearest
    assert hardware.valid(*nearest)
