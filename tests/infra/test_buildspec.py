"""What CodeBuild runs, as far as it can be told without running it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.infra.conftest import Templates

BUILDSPEC = Path("buildspec.yml")


@pytest.fixture
def commands() -> list[str]:
    phases: dict[str, Any] = yaml.safe_load(BUILDSPEC.read_text())["phases"]
    return [command for phase in phases.values() for command in phase["commands"]]


def test_it_uses_what_the_project_gives_it(commands: list[str], templates: Templates) -> None:
    (project,) = (
        r["Properties"]
        for r in templates["nightshift-prod"]["Resources"].values()
        if r["Type"] == "AWS::CodeBuild::Project"
    )
    given = {v["Name"] for v in project["Environment"]["EnvironmentVariables"]}
    used = set(re.findall(r"\$\{?([A-Z_]+)", "\n".join(commands)))
    assert used == {*given, "TAG", "CODEBUILD_RESOLVED_SOURCE_VERSION"}


@pytest.mark.parametrize("there", [False, True], ids=["new commit", "built before"])
def test_live_moves_last_and_a_commits_tag_is_pushed_once(
    commands: list[str], tmp_path: Path, there: bool
) -> None:
    done, log = run(commands, tmp_path, there=there)
    assert done.returncode == 0, done.stderr
    image = "1.dkr.ecr.us-east-1.amazonaws.com/nightshift-prod"
    assert sorted(log[:2]) == [  # two ends of a pipe
        "aws ecr get-login-password",
        "docker login --username AWS --password-stdin 1.dkr.ecr.us-east-1.amazonaws.com",
    ]
    assert log[2:] == [
        f"docker build --build-arg REVISION=0123456789ab --tag {image}:0123456789ab .",
        "aws ecr describe-images --repository-name nightshift-prod "
        "--image-ids imageTag=0123456789ab",
        f"docker {'pull' if there else 'push'} {image}:0123456789ab",
        f"docker tag {image}:0123456789ab {image}:live",
        f"docker push {image}:live",
        "aws ecs update-service --cluster nightshift-prod --service orchestrator --desired-count 1",
    ]


@pytest.mark.parametrize("failing", ["docker build", "docker push"])
def test_a_failure_leaves_live_where_it_was(
    commands: list[str], tmp_path: Path, failing: str
) -> None:
    done, log = run(commands, tmp_path, failing=failing)
    assert done.returncode != 0
    assert not any(":live" in line or "update-service" in line for line in log)


def run(
    commands: list[str], folder: Path, *, there: bool = False, failing: str = "never"
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """The commands in bash, with programs that write down how they are called."""
    log = folder / "log"
    for program in ("aws", "docker"):
        script = folder / program
        script.write_text(
            f'#!/bin/sh\n[ -t 0 ] || :\necho "{program} $*" >> {log}\n'
            f'case "{program} $*" in "{failing}"*) exit 1;; esac\n'
            f'case "$*" in "ecr describe-images"*) exit {0 if there else 254};; esac\n'
        )
        script.chmod(0o755)
    done = subprocess.run(
        [shutil.which("bash") or "bash", "-c", "\n".join(commands)],
        env={
            "PATH": f"{folder}:/usr/bin:/bin",
            "IMAGE": "1.dkr.ecr.us-east-1.amazonaws.com/nightshift-prod",
            "CLUSTER": "nightshift-prod",
            "SERVICE": "orchestrator",
            "CODEBUILD_RESOLVED_SOURCE_VERSION": "0123456789abcdef",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return done, log.read_text().splitlines()
