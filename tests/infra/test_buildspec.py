"""The release's steps, with programs that write down how they are called and do as told."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deployments.operate.buildspec import Failed, read, run
from tests.infra.conftest import Templates

BUILDSPEC = Path("buildspec.yml")
IMAGE = "1.dkr.ecr.us-east-1.amazonaws.com/nightshift-prod"
TAG = "0123456789ab"
OLD, NEW = f"sha256:{'0' * 64}", f"sha256:{'1' * 64}"

OF_TAG = f"aws ecr batch-get-image --repository-name nightshift-prod --image-ids imageTag={TAG}"
TRY = f"docker run --rm --network none --read-only --tmpfs /tmp:mode=1777 {IMAGE}:{TAG} python -m"
GATE = "python3 -m deployments.findings"
PUT = "aws ecr put-image"
WAKE = "aws ecs update-service --cluster nightshift-prod --service orchestrator --desired-count 1"

# A file for each tag that the registry has, with the digest in it.
PROGRAM = """\
#!/bin/sh
call="{program} $*"
echo "$call" >> log
case "$call" in {failing}) exit 3;; esac
case "$call" in
  "docker push "*) echo {new} > {tag};;
  *"batch-get-image"*"imageTag=live"*) cat live 2>/dev/null || echo None;;
  *"batch-get-image"*"imageTag={tag}"*) cat {tag} 2>/dev/null || echo None;;
  *"batch-get-image"*"imageDigest={new}"*) printf '{{\\n   "schemaVersion": 2\\n}}\\n';;
  *"put-image"*) echo {new} > live;;
esac
"""


@dataclass
class Release:
    """In a folder of its own, in which buildspec.yml is a link."""

    folder: Path
    log: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def tag(self, name: str, digest: str) -> None:
        (self.folder / name).write_text(f"{digest}\n")

    @property
    def live(self) -> str:
        return (self.folder / "live").read_text().strip()

    def run(self, failing: str = '"never"') -> Failed | None:
        for program in ("aws", "docker", "python3"):
            script = self.folder / program
            script.write_text(PROGRAM.format(program=program, failing=failing, tag=TAG, new=NEW))
            script.chmod(0o755)
        (self.folder / BUILDSPEC).symlink_to(BUILDSPEC.absolute())
        environment = {
            "PATH": f"{self.folder}:/usr/bin:/bin",
            "IMAGE": IMAGE,
            "CLUSTER": "nightshift-prod",
            "SERVICE": "orchestrator",
            "SEVERITY": "critical",
            "CODEBUILD_RESOLVED_SOURCE_VERSION": "0123456789abcdef",
        }
        failed = run(self.folder / BUILDSPEC, environment, self.said.append)
        self.log = (self.folder / "log").read_text().splitlines()
        return failed


@pytest.fixture
def release(tmp_path: Path) -> Release:
    made = Release(tmp_path)
    made.tag("live", OLD)
    return made


def test_it_uses_what_the_project_gives_it(templates: Templates) -> None:
    (project,) = (
        r["Properties"]
        for r in templates["nightshift-prod"]["Resources"].values()
        if r["Type"] == "AWS::CodeBuild::Project"
    )
    given = {v["Name"] for v in project["Environment"]["EnvironmentVariables"]}
    commands = "\n".join(command.text for command in read(BUILDSPEC))
    made = set(re.findall(r"^([A-Z]+)=", commands, re.MULTILINE))
    used = set(re.findall(r"\$\{?([A-Z_]+)", commands))
    assert used == {*given, *made, "CODEBUILD_RESOLVED_SOURCE_VERSION"}


def test_the_steps_of_a_new_commit(release: Release) -> None:
    assert release.run() is None, release.said
    assert sorted(release.log[:2]) == [  # two ends of a pipe
        "aws ecr get-login-password",
        f"docker login --username AWS --password-stdin {IMAGE.partition('/')[0]}",
    ]
    digest_of = "--query images[0].imageId.imageDigest --output text"
    manifest = release.log.index(PUT_ALL)  # the manifest itself has several lines
    assert release.log[2:manifest] == [
        f"{OF_TAG} {digest_of}",
        f"docker build --platform linux/arm64 --cache-from {IMAGE}:live "
        "--build-arg BUILDKIT_INLINE_CACHE=1 "
        f"--build-arg REVISION={TAG} --tag {IMAGE}:{TAG} .",
        f"{TRY} deployments check",
        f"{TRY} flows.smoke",
        f"docker push {IMAGE}:{TAG}",
        f"{GATE} --repository nightshift-prod --tag {TAG} --severity critical "
        "--accepted infra/findings.toml",
        f"{OF_TAG} {digest_of}",
        f"aws ecr batch-get-image --repository-name nightshift-prod --image-ids imageDigest={NEW} "
        "--query images[0].imageManifest --output text",
        "aws ecr batch-get-image --repository-name nightshift-prod --image-ids imageTag=live "
        f"{digest_of}",
    ]
    assert release.log[manifest:] == [PUT_ALL, '   "schemaVersion": 2', "}", WAKE]
    assert release.live == NEW


PUT_ALL = (
    f"aws ecr put-image --repository-name nightshift-prod --image-tag live --image-digest {NEW} "
    "--image-manifest {"
)


def test_a_commit_that_was_pushed_before_is_tried_as_it_is(release: Release) -> None:
    release.tag(TAG, NEW)
    assert release.run() is None, release.said
    assert f"docker pull --platform linux/arm64 {IMAGE}:{TAG}" in release.log
    assert not [line for line in release.log if line.startswith(("docker build", "docker push"))]
    assert [line for line in release.log if line.startswith((TRY, GATE))]
    assert release.live == NEW


def test_one_that_is_live_already_stays_so(release: Release) -> None:
    """ECR would refuse to give it the tag again."""
    release.tag(TAG, NEW)
    release.tag("live", NEW)
    assert release.run() is None, release.said
    assert not [line for line in release.log if line.startswith(PUT)]
    assert release.log[-1] == WAKE


def test_the_first_release_of_all(release: Release) -> None:
    (release.folder / "live").unlink()
    assert release.run() is None, release.said
    assert release.live == NEW


@pytest.mark.parametrize(
    ("failing", "command"),
    [
        ('"docker login"*', "aws ecr get-login-password | docker login"),
        (f'"aws ecr batch-get-image"*"imageTag={TAG}"*', 'PUSHED="$(aws ecr batch-get-image'),
        ('"docker build"*', 'test "$PUSHED" != None || docker build'),
        ('*"deployments check"', "docker run --rm"),
        ('*"flows.smoke"', "docker run --rm"),
        ('"docker push"*', 'test "$PUSHED" != None || docker push'),
        ('"python3 "*', "python3 -m deployments.findings"),
        ('"aws ecr batch-get-image"*"imageDigest="*', 'MANIFEST="$(aws ecr batch-get-image'),
        ('"aws ecr batch-get-image"*"imageTag=live"*', 'WAS="$(aws ecr batch-get-image'),
        ('"aws ecr put-image"*', 'test "$WAS" = "$DIGEST" || aws ecr put-image'),
    ],
)
def test_whatever_fails_is_named_and_live_stays(
    release: Release, failing: str, command: str
) -> None:
    failed = release.run(failing)
    assert failed is not None
    assert failed.command.startswith(command)
    assert failed.status == 3
    assert release.live == OLD
    assert WAKE not in release.log
    if not failed.command.startswith(('test "$WAS"', "WAS=", "MANIFEST=")):
        assert not [line for line in release.log if line.startswith(PUT)]


def test_a_pull_that_fails_goes_no_further(release: Release) -> None:
    release.tag(TAG, NEW)
    failed = release.run('"docker pull"*')
    assert failed is not None
    assert failed.command.startswith('test "$PUSHED" = None || docker pull')
    assert release.live == OLD


def test_codepipeline_can_name_each_step() -> None:
    """It shows one line of a command, and the program is to be seen in it."""
    for command in read(BUILDSPEC):
        assert "\n" not in command.text
        assert len(re.findall(r"\b(?:aws|docker|python3) [a-z-]", command.text)) <= 2
