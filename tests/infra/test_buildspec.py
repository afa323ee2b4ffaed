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
RELEASED = f"released-{TAG}"
WAKE = "aws ecs update-service --cluster nightshift-prod --service orchestrator --desired-count 1"

# A file for each tag that the registry has, with the digest in it. ECR gives no image a tag that it
# has already.
PROGRAM = """\
#!/bin/sh
call="{program} $*"
echo "$call" >> log
case "$call" in {lost}) answer=lost;; {failing}) exit 3;; esac
case "$call" in
  "docker push "*) echo {new} > {tag};;
  *"batch-get-image"*"imageTag="*)
    tag="${{call#*imageTag=}}"
    cat "${{tag%% *}}" 2>/dev/null || echo None;;
  *"batch-get-image"*"imageDigest={new}"*) printf '{{\\n   "schemaVersion": 2\\n}}\\n';;
  *"put-image"*)
    tag="${{call#*--image-tag }}"
    tag="${{tag%% *}}"
    case "$(cat "$tag" 2>/dev/null)" in {new}) exit 254;; esac
    echo {new} > "$tag";;
esac
case "$answer" in lost) exit 255;; esac
"""


@dataclass
class Release:
    """In a folder of its own, in which buildspec.yml is a link."""

    folder: Path
    log: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def tag(self, name: str, digest: str) -> None:
        (self.folder / name).write_text(f"{digest}\n")

    def tagged(self, name: str) -> str:
        file = self.folder / name
        return file.read_text().strip() if file.exists() else ""

    @property
    def live(self) -> str:
        return self.tagged("live")

    def run(self, failing: str = '"never"', lost: str = '"never"') -> Failed | None:
        """`failing`: calls that do nothing; `lost`: calls that do, whose answer does not come."""
        given = {"failing": failing, "lost": lost, "tag": TAG, "new": NEW}
        for program in ("aws", "docker", "python3", "sleep"):
            script = self.folder / program
            script.write_text(PROGRAM.format(program=program, **given))
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
    puts = release.log.index(put(RELEASED))
    assert release.log[2:puts] == [
        f"{OF_TAG} {digest_of}",
        f"docker build --pull --platform linux/arm64 --cache-from {IMAGE}:live "
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
    ]
    rest = ['   "schemaVersion": 2', "}"]  # the manifest itself has several lines
    assert release.log[puts:] == [put(RELEASED), *rest, put("live"), *rest, WAKE]
    assert (release.tagged(RELEASED), release.live) == (NEW, NEW)


def put(tag: str) -> str:
    return (
        f"aws ecr put-image --repository-name nightshift-prod --image-tag {tag} "
        f"--image-digest {NEW} --image-manifest {{"
    )


def test_a_commit_that_was_pushed_before_is_tried_as_it_is(release: Release) -> None:
    release.tag(TAG, NEW)
    assert release.run() is None, release.said
    assert f"docker pull --platform linux/arm64 {IMAGE}:{TAG}" in release.log
    assert not [line for line in release.log if line.startswith(("docker build", "docker push"))]
    assert [line for line in release.log if line.startswith((TRY, GATE))]
    assert release.live == NEW


def test_one_that_is_live_already_stays_so(release: Release) -> None:
    """ECR refuses to give it the tags again."""
    for tag in (TAG, RELEASED, "live"):
        release.tag(tag, NEW)
    assert release.run() is None, release.said
    assert (release.tagged(RELEASED), release.live) == (NEW, NEW)
    assert release.log[-1] == WAKE


def test_one_that_was_released_before_is_live_again(release: Release) -> None:
    for tag in (TAG, RELEASED):
        release.tag(tag, NEW)
    assert release.run() is None, release.said
    assert release.live == NEW


@pytest.mark.parametrize("tag", [RELEASED, "live"])
def test_a_tag_that_was_put_though_no_answer_came(release: Release, tag: str) -> None:
    assert release.run(lost=f'"{PUT}"*"--image-tag {tag} "*') is None, release.said
    assert (release.tagged(RELEASED), release.live) == (NEW, NEW)
    assert release.log[-1] == WAKE


def test_one_that_another_release_has_made_live_meanwhile_is_not_said_to_be(
    release: Release,
) -> None:
    failed = release.run(f'"{PUT}"*"--image-tag live "*')
    assert failed is not None
    assert (failed.status, release.live) == (1, OLD)


# --- waking --------------------------------------------------------------------------------------


def test_who_is_not_woken_at_once_is_woken_all_the_same(release: Release) -> None:
    failing = f'"{WAKE}") rm tried 2>/dev/null && exit 3;; "never"'
    (release.folder / "tried").touch()
    assert release.run(failing) is None, release.said
    assert [line for line in release.log if line.startswith(("sleep", WAKE))] == [
        *(WAKE, "sleep 10", WAKE)
    ]


def test_who_cannot_be_woken_fails_the_build_which_says_what_is_live(release: Release) -> None:
    failed = release.run('"aws ecs update-service"*')
    assert failed is not None
    assert release.live == NEW
    assert release.log.count(WAKE) == 3
    # In the log, and in the command itself, which is what CodePipeline tells people.
    for said in (release.said[-1], failed.command):
        assert "The image is live. Only the orchestrator could not be woken" in said
        assert "make wake" in said


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
        (f'"{PUT}"*"--image-tag released-"*', 'aws ecr put-image --repository-name "$REPOSITORY"'),
        (f'"{PUT}"*"--image-tag live"*', 'aws ecr put-image --repository-name "$REPOSITORY"'),
    ],
)
def test_whatever_fails_is_named_and_live_stays(
    release: Release, failing: str, command: str
) -> None:
    failed = release.run(failing)
    assert failed is not None
    assert failed.command.startswith(command)
    assert failed.status == (1 if failed.command.startswith(PUT) else 3)
    assert release.live == OLD
    assert WAKE not in release.log
    if not failed.command.startswith((PUT, "MANIFEST=")):
        assert not [line for line in release.log if line.startswith(PUT)]
    assert bool(release.tagged(RELEASED)) == ("--image-tag live" in failed.command)


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
