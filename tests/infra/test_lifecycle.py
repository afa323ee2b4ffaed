"""Deploying and destroying, decided from what is seen: no AWS needed to test it."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from flows.problem import Problem
from infra.lifecycle import (
    ActivateTag,
    AllowFirstStart,
    Cdk,
    DeleteBucket,
    DeleteSecret,
    DeregisterDefinitions,
    MakeSecret,
    MakeServiceRole,
    Say,
    Seen,
    SetDesiredCount,
    Step,
    StopTasks,
    described,
    plan_deploy,
    plan_destroy,
)
from infra.names import Names
from infra.settings import load

NAMES = Names("nightshift-prod", "us-east-1", "123456789012")
BUCKETS = {
    NAMES.bucket(of): size for of, size in (("data", 5_000_000), ("state", 2), ("artifacts", 0))
}
STACKS = {"nightshift-prod-identity": "CREATE_COMPLETE", "nightshift-prod": "UPDATE_COMPLETE"}
SECRET = "/nightshift-prod/prefect-api-auth"


def seen(**what: Any) -> Seen:
    return Seen(account="123456789012", **what)


RUNNING = {
    "stacks": STACKS,
    "buckets": BUCKETS,
    "secret": True,
    "repository": True,
    "repository_is_ours": True,
    "live_image": True,
    "desired_count": 0,
}


def deploy(
    there: Seen, *, ask: bool = False, api_key: str | None = None, **settings: Any
) -> list[Step]:
    return plan_deploy(load(settings), NAMES, there, context=settings, ask=ask, api_key=api_key)


def destroy(there: Seen, **settings: str) -> list[Step]:
    return plan_destroy(load(settings), NAMES, there, context=settings)


def test_an_empty_account() -> None:
    secret, cdk, first, tag, say = deploy(seen())
    assert secret == MakeSecret(SECRET)
    assert cdk == Cdk("deploy", ("--all", "--require-approval", "never"), {"first": "true"})
    assert first == AllowFirstStart(NAMES.bucket("state"))
    assert tag == ActivateTag()
    assert isinstance(say, Say)
    assert "git push aws HEAD:main" in say.text


def test_a_password_that_is_kept_elsewhere_does_not_answer_first(tmp_path: Path) -> None:
    """What is said to be typed, typed twice, into git, which has a helper of its own."""
    *_, say = deploy(seen())
    assert isinstance(say, Say)
    config = tmp_path / "gitconfig"
    config.write_text('[credential]\n\thelper = "!echo username=kept; echo password=kept; :"\n')
    alone = {
        "GIT_CONFIG_GLOBAL": str(config),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
    }

    def run(*command: str, given: str = "") -> str:
        return subprocess.run(
            command, cwd=tmp_path, env={**os.environ, **alone}, input=given, check=True,
            capture_output=True, text=True,
        ).stdout  # fmt: skip

    run("git", "init", "--quiet")
    typed = [line for line in say.text.splitlines() if line.startswith("    git config ")]
    theirs = "!aws codecommit credential-helper $@"
    ours = "!echo username=new; echo password=new; :"
    for line in (*typed, *typed):
        run(*(ours if word == theirs else word for word in shlex.split(line)))
    place = "protocol=https\nhost=git-codecommit.us-east-1.amazonaws.com\npath=v1/repos/x\n"
    answer = run("git", "credential", "fill", given=place)
    assert "username=new" in answer
    assert "path=v1/repos/x" in answer
    assert "username=kept" in run(
        "git", "credential", "fill", given="protocol=https\nhost=example.com\n"
    )


def test_an_account_that_never_had_a_cluster() -> None:
    """ECS makes its role with the first one, and a stack's fails before the role is there."""
    steps = deploy(seen(service_role=False))
    assert steps.index(MakeServiceRole()) < [isinstance(step, Cdk) for step in steps].index(True)


def test_an_update_says_nothing_of_the_desired_count() -> None:
    cdk, tag = deploy(seen(**RUNNING), ask=True, spot="false")
    assert cdk == Cdk("deploy", ("--all", "--require-approval", "broadening"), {"spot": "false"})
    assert tag == ActivateTag()


@pytest.mark.parametrize("status", ["ROLLBACK_COMPLETE", "REVIEW_IN_PROGRESS"])
def test_a_stack_that_failed_to_be_made_is_the_first_again(status: str) -> None:
    there = seen(stacks={**STACKS, "nightshift-prod": status}, secret=True)
    cdk = deploy(there)[0]
    assert isinstance(cdk, Cdk)
    assert cdk.context == {"first": "true"}


def test_the_data_of_an_earlier_installation_is_taken_up() -> None:
    cdk = deploy(seen(buckets=BUCKETS, secret=True))[0]
    assert isinstance(cdk, Cdk)
    assert "--import-existing-resources" in cdk.arguments
    assert cdk.context == {"first": "true", "account": "123456789012"}
    cdk = deploy(seen(**RUNNING))[0]
    assert isinstance(cdk, Cdk)
    assert "--import-existing-resources" not in cdk.arguments


def test_a_repository_of_someone_else_is_not_taken() -> None:
    there = seen(repository=True)
    with pytest.raises(Problem, match="repository is there already") as caught:
        deploy(there)
    assert "existing_repository = true" in caught.value.fix
    assert deploy(there, existing_repository="true")


def test_a_history_is_begun_where_there_is_none_and_nothing_has_run() -> None:
    def begins(there: Seen, **settings: Any) -> bool:
        return any(isinstance(step, AllowFirstStart) for step in deploy(there, **settings))

    assert begins(seen())
    assert begins(seen(), orchestrator="always")
    assert begins(seen(**{**RUNNING, "live_image": False}))  # the first one was broken off
    assert not begins(seen(**RUNNING))  # and where it has lost its history, people decide
    assert not begins(seen(buckets=BUCKETS, secret=True, history=True))  # of a former installation
    external = {"orchestrator": "external", "prefect_api_url": "https://x.example.com/api"}
    there = seen(secret=True)
    assert not begins(there, **external)


def test_always_on_is_switched_on_when_there_is_an_image() -> None:
    assert SetDesiredCount(1) in deploy(seen(**RUNNING), orchestrator="always")
    without = {**RUNNING, "live_image": False}
    assert SetDesiredCount(1) not in deploy(seen(**without), orchestrator="always")
    awake = {**RUNNING, "desired_count": 1}
    assert SetDesiredCount(1) not in deploy(seen(**awake), orchestrator="always")
    assert SetDesiredCount(1) not in deploy(seen(**RUNNING))


def test_an_external_api_needs_its_key_once() -> None:
    external: dict[str, Any] = {
        "orchestrator": "external",
        "prefect_api_url": "https://x.example.com/api",
    }
    with pytest.raises(Problem, match="key is not known") as caught:
        deploy(seen(), **external)
    assert "PREFECT_API_KEY=" in caught.value.fix
    assert deploy(seen(), api_key="pnu_1", **external)[0] == MakeSecret(SECRET, "pnu_1")
    assert not any(isinstance(s, MakeSecret) for s in deploy(seen(**RUNNING), **external))
    assert MakeSecret(SECRET, "pnu_2") in deploy(seen(**RUNNING), api_key="pnu_2", **external)


def test_a_connection_is_pushed_to_where_it_is() -> None:
    steps = deploy(
        seen(),
        source="connection",
        repository="us/jobs",
        connection_arn="arn:aws:codeconnections:us-east-1:123456789012:connection/0a1b",
    )
    assert isinstance(steps[-1], Say)
    assert "us/jobs" in steps[-1].text


def test_destroying_keeps_the_data_and_says_so() -> None:
    there = seen(**RUNNING, tasks=("arn:task/1",), definitions=("arn:definition/1",))
    *steps, say = destroy(there)
    assert steps == [
        StopTasks(("arn:task/1",)),
        Cdk("destroy", ("--all", "--force"), {}),
        DeregisterDefinitions(("arn:definition/1",)),
        DeleteBucket(NAMES.bucket("artifacts")),
        DeleteSecret(SECRET),
    ]
    assert isinstance(say, Say)
    assert f"s3://{NAMES.bucket('data')} (5.0 MB)" in say.text
    assert NAMES.bucket("artifacts") not in say.text
    assert "CodeCommit repository nightshift-prod" in say.text
    assert "purge=true" in say.text


def test_purging_takes_the_data_too_and_never_the_code() -> None:
    *steps, say = destroy(seen(**RUNNING), purge="true")
    assert {s.name for s in steps if isinstance(s, DeleteBucket)} == set(BUCKETS)
    assert isinstance(say, Say)
    assert "s3://" not in say.text
    assert "CodeCommit" in say.text


def test_what_is_not_there_is_not_destroyed() -> None:
    (say,) = destroy(seen())
    assert say == Say("Nothing of nightshift-prod is left.")


def test_every_step_can_be_said() -> None:
    steps = [*deploy(seen(**RUNNING), orchestrator="always"), *deploy(seen())]
    steps += destroy(seen(**RUNNING, tasks=("a",), definitions=("b",)), purge="true")
    kinds = {type(step) for step in steps}
    assert len(kinds) == 10
    assert all(described(step) or isinstance(step, Say) for step in steps)
