"""The parts of the release path that need no container: pushes, stages, arguments, tags, scans."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from deployments.operate.buildspec import read
from infra.local.aws import LocalAws, local_aws
from infra.local.release import source
from infra.local.release.arguments import Call, call, localised, original
from infra.local.release.images import digest_of, is_immutable
from infra.local.release.scan import finding
from infra.local.release.source import Repository, Update, git
from infra.local.release.stages import Arrival, Stages
from infra.local.valid import Finding, validated
from tests.needs import need

HOST = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
HERE = "127.0.0.1:5000"
REGISTRIES = {HOST: HERE}
AWS = Path(sys.prefix) / "awscli" / "bin" / "aws"


# --- the source repository -----------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path) -> Path:
    made = tmp_path / "project"
    made.mkdir()
    (made / "file").write_text("one\n")
    git(made, "init", "--quiet", "--initial-branch=work")
    commit(made, "first")
    return made


def commit(folder: Path, message: str) -> str:
    git(folder, "add", "--all")
    who = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.com")
    git(folder, *who, "commit", "--quiet", "--allow-empty", "--message", message)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(project: Path, tmp_path: Path) -> Repository:
    where = tmp_path / "source" / "nightshift.git"
    return source.repository(where, "codecommit::us-east-1://nightshift", "main", project)


def test_it_begins_with_the_commit_that_is_checked_out(
    repository: Repository, project: Path
) -> None:
    assert repository.head() == git(project, "rev-parse", "HEAD")
    assert source.Watch(repository, lambda _: None, print).news() == []


def test_a_folder_that_is_in_no_repository_of_its_own_begins_with_nothing(
    project: Path, tmp_path: Path
) -> None:
    inside = project / "inside"
    inside.mkdir()
    made = source.repository(tmp_path / "empty.git", "owner/name", "main", inside)
    with pytest.raises(Exception, match="no such branch"):
        made.head()


def test_a_push_to_the_repositorys_own_url_comes_here(
    repository: Repository, project: Path
) -> None:
    first, second = repository.head(), commit(project, "second")
    leads = repository.leads_here()
    git(project, "push", "--quiet", repository.url, "HEAD:main", "HEAD:refs/tags/v1", more=leads)
    found = source.Watch(repository, lambda _: None, print).news()
    assert found == [
        Update(first, second, "refs/heads/main"),
        Update("", second, "refs/tags/v1"),
    ]
    assert [each.event for each in found] == ["referenceUpdated", "referenceCreated"]
    assert found[0].detail("nightshift", "id") == {
        "event": "referenceUpdated",
        "repositoryName": "nightshift",
        "repositoryId": "id",
        "referenceType": "branch",
        "referenceName": "main",
        "referenceFullName": "refs/heads/main",
        "commitId": second,
        "oldCommitId": first,
    }


def test_no_push_is_lost_or_taken_for_another(repository: Repository, tmp_path: Path) -> None:
    """Many at once, each to its branch, by several people."""
    clones = []
    for number in range(6):
        clone = tmp_path / f"clone-{number}"
        git(tmp_path, "clone", "--quiet", str(repository.path), str(clone))
        clones.append((clone, commit(clone, f"by {number}")))
    told: list[Update] = []
    with source.Watch(repository, told.append, print):
        pushes = [
            subprocess.Popen(
                ["git", "push", "--quiet", "origin", f"HEAD:feature/{number}"], cwd=clone
            )
            for number, (clone, _) in enumerate(clones)
        ]
        assert [push.wait() for push in pushes] == [0] * len(clones)
        end = time.monotonic() + 30
        while len(told) < len(clones) and time.monotonic() < end:
            time.sleep(0.02)
    assert {(each.name, each.after) for each in told} == {
        (f"feature/{number}", made) for number, (_, made) in enumerate(clones)
    }
    assert {each.event for each in told} == {"referenceCreated"}


def test_a_line_that_is_not_whole_yet_is_left(repository: Repository) -> None:
    watch = source.Watch(repository, lambda _: None, print)
    updates = repository.path / "updates"
    line = f"{'0' * 40} {'1' * 40} refs/heads/main"
    updates.write_text(line)
    assert watch.news() == []
    with updates.open("a") as file:
        file.write(f"\n{'1' * 40} {'0' * 40} refs/heads/main\n")
    assert [each.event for each in watch.news()] == ["referenceCreated", "referenceDeleted"]
    assert watch.news() == []


# --- stages --------------------------------------------------------------------------------------


def begun(*executions: str) -> Stages:
    stages = Stages()
    for each in executions:
        stages.begin(each)
    return stages


def test_one_execution_is_in_a_stage_and_the_next_waits() -> None:
    stages = begun("a", "b")
    assert stages.arrive("Build", "a") == Arrival(enters=True)
    assert stages.arrive("Build", "b") == Arrival(enters=False)
    assert (stages.inside("Build"), stages.waiting("Build")) == ("a", "b")
    assert stages.leave("Build") == "b"
    assert (stages.inside("Build"), stages.waiting("Build")) == ("b", None)
    assert stages.leave("Build") is None


def test_one_that_waits_gives_way_to_a_newer_one() -> None:
    stages = begun("a", "b", "c")
    stages.arrive("Build", "a")
    stages.arrive("Build", "b")
    assert stages.arrive("Build", "c") == Arrival(enters=False, superseded=("b",))
    assert stages.leave("Build") == "c"


def test_one_that_comes_late_gives_way_itself() -> None:
    stages = begun("a", "b", "c")
    stages.arrive("Build", "a")
    stages.arrive("Build", "c")
    assert stages.arrive("Build", "b") == Arrival(enters=False, superseded=("b",))
    assert stages.waiting("Build") == "c"


def test_stages_are_apart() -> None:
    stages = begun("a", "b")
    stages.arrive("Build", "a")
    assert stages.arrive("Source", "b") == Arrival(enters=True)


# --- docker's arguments --------------------------------------------------------------------------

CALLS: dict[str, tuple[str, str, Call]] = {
    "a build for podman": (
        "podman",
        f"build --pull --platform linux/arm64 --cache-from type=registry,ref={HERE}/n:cache "
        "--cache-to=type=inline --build-arg REVISION=0123 --build-arg A=B --tag x:1 .",
        Call(
            "build",
            (
                *("--layers", "--format", "docker", "--network", "host"),
                *("--label", "org.opencontainers.image.revision=0123"),
                *("--build-arg", "REVISION=0123", "--build-arg", "A=B", "--tag", "x:1", "."),
            ),
            ("x:1",),
        ),
    ),
    "a build for docker": (
        "docker",
        "build --build-arg=REVISION=0123 -t x:1 --provenance=false .",
        Call(
            "build",
            ("--progress", "plain", "--build-arg=REVISION=0123", "-t", "x:1", "."),
            ("x:1",),
        ),
    ),
    "buildx, which pushes": (
        "podman",
        "buildx build --push --load --tag x:1 .",
        Call(
            "build",
            ("--layers", "--format", "docker", "--network", "host", "--tag", "x:1", "."),
            ("x:1",),
            pushes=True,
        ),
    ),
    "a run for podman": (
        "podman",
        "run --rm --read-only --platform linux/arm64 x:1 python -c pass",
        Call(
            "run",
            (
                *("--network", "host", "--http-proxy=false", "--read-only-tmpfs=false"),
                *("--rm", "--read-only", "x:1", "python", "-c", "pass"),
            ),
        ),
    ),
    "a run without a network": (
        "docker",
        "run --network none x:1",
        Call("run", ("--network", "none", "x:1")),
    ),
    "a push": ("podman", "push x:1", Call("push", ("x:1",))),
    "what is not known": ("podman", "image prune --force", Call("image", ("prune", "--force"))),
}


@pytest.mark.parametrize("name", CALLS)
def test_arguments(name: str) -> None:
    engine, text, expected = CALLS[name]
    assert call(text.split(), engine) == expected


def test_the_registry_is_the_local_one_and_back() -> None:
    asked = ["tag", f"{HOST}/nightshift:a", f"--x={HOST}/nightshift:live"]
    here = localised(asked, REGISTRIES)
    assert here == ["tag", f"{HERE}/nightshift:a", f"--x={HERE}/nightshift:live"]
    assert original(here[1], REGISTRIES) == (HOST, "nightshift", "a")
    assert original(f"{HERE}/nightshift", REGISTRIES) == (HOST, "nightshift", "latest")
    digest = f"@sha256:{'a' * 64}"
    assert original(f"{HERE}/nightshift{digest}", REGISTRIES) == (HOST, "nightshift", digest)
    assert original("docker.io/library/python:3", REGISTRIES) is None


# --- ECR: tags, digests, scans -------------------------------------------------------------------

MEDIA_TYPE = "application/vnd.docker.distribution.manifest.v2+json"


def manifest(content: str) -> str:
    layers = [{"mediaType": "layer", "size": 5, "digest": content}]
    return json.dumps({"schemaVersion": 2, "mediaType": MEDIA_TYPE, "layers": layers})


ONE, OTHER = manifest("one"), manifest("other")


@pytest.fixture(scope="module")
def aws() -> Iterator[LocalAws]:
    with local_aws() as running:
        yield running


@pytest.fixture
def findings() -> Iterator[list[Finding]]:
    with validated(["ecr"]) as found:
        yield found
    assert found == []


@pytest.fixture
def ecr(aws: LocalAws, findings: list[Finding]) -> Iterator[Any]:
    client = aws.client("ecr")
    client.create_repository(
        repositoryName="nightshift",
        imageTagMutability="IMMUTABLE_WITH_EXCLUSION",
        imageTagMutabilityExclusionFilters=[{"filterType": "WILDCARD", "filter": "live"}],
        imageScanningConfiguration={"scanOnPush": True},
    )
    aws.scanner.findings, aws.scanner.seconds, aws.scanner.late = (lambda _: ()), 0, 0
    yield client
    client.delete_repository(repositoryName="nightshift", force=True)


def put(ecr: Any, text: str, tag: str) -> str:
    answer = ecr.put_image(repositoryName="nightshift", imageManifest=text, imageTag=tag)
    return str(answer["image"]["imageId"]["imageDigest"])


def image(ecr: Any, **id_: str) -> Any:
    found = ecr.batch_get_image(repositoryName="nightshift", imageIds=[id_])
    return found["images"][0] if found["images"] else None


def tags(ecr: Any) -> dict[str, list[str]]:
    told = ecr.describe_images(repositoryName="nightshift")["imageDetails"]
    return {each["imageDigest"]: sorted(each.get("imageTags", [])) for each in told}


def test_a_digest_is_of_the_manifest(ecr: Any) -> None:
    assert put(ecr, ONE, "a") == digest_of(ONE)
    found = image(ecr, imageTag="a")
    assert found["imageManifest"] == ONE
    assert found["imageId"] == {"imageTag": "a", "imageDigest": digest_of(ONE)}
    assert image(ecr, imageTag="b") is None
    with pytest.raises(ClientError, match="ImageDigestDoesNotMatch"):
        ecr.put_image(
            repositoryName="nightshift",
            imageManifest=ONE,
            imageTag="c",
            imageDigest=digest_of(OTHER),
        )


def test_a_tag_stays_where_it_is(ecr: Any) -> None:
    put(ecr, ONE, "a")
    for text in (OTHER, ONE):  # of the same image too
        with pytest.raises(ecr.exceptions.ImageTagAlreadyExistsException, match="immutable"):
            put(ecr, text, "a")
    assert tags(ecr) == {digest_of(ONE): ["a"]}


def test_live_moves_there_and_back(ecr: Any) -> None:
    put(ecr, ONE, "a")
    put(ecr, OTHER, "b")
    for text in (ONE, OTHER, ONE):
        put(ecr, text, "live")
        assert image(ecr, imageTag="live")["imageManifest"] == text
    assert tags(ecr) == {digest_of(ONE): ["a", "live"], digest_of(OTHER): ["b"]}
    with pytest.raises(ecr.exceptions.ImageAlreadyExistsException):
        put(ecr, ONE, "live")


@pytest.mark.parametrize(
    ("mutability", "filters", "tag", "immutable"),
    [
        ("MUTABLE", [], "a", False),
        ("IMMUTABLE", [], "live", True),
        ("IMMUTABLE_WITH_EXCLUSION", ["live"], "live", False),
        ("IMMUTABLE_WITH_EXCLUSION", ["live"], "lively", True),
        ("IMMUTABLE_WITH_EXCLUSION", ["cache*"], "cache-main", False),
        ("MUTABLE_WITH_EXCLUSION", ["v*"], "v1", True),
        ("MUTABLE_WITH_EXCLUSION", ["v*"], "main", False),
    ],
)
def test_which_tags_move(mutability: str, filters: list[str], tag: str, immutable: bool) -> None:
    given = [{"filterType": "WILDCARD", "filter": each} for each in filters]
    assert is_immutable(mutability, given, tag) is immutable


def scanned(ecr: Any, tag: str) -> Any:
    return ecr.describe_image_scan_findings(repositoryName="nightshift", imageId={"imageTag": tag})


def test_what_is_pushed_is_scanned(aws: LocalAws, ecr: Any) -> None:
    """For a moment nobody knows; then what a test says, of this image alone."""
    aws.scanner.seconds = 0.3
    bad = finding("CVE-2026-0001", "CRITICAL", "openssl", "3.0.1")
    aws.scanner.findings = lambda digest: [bad] if digest == digest_of(OTHER) else []
    put(ecr, ONE, "a")
    put(ecr, OTHER, "b")
    found = scanned(ecr, "b")
    assert found["imageScanStatus"]["status"] == "IN_PROGRESS"
    assert "imageScanFindings" not in found
    time.sleep(0.35)
    found = scanned(ecr, "b")
    assert found["imageScanStatus"]["status"] == "COMPLETE"
    assert found["imageScanFindings"]["findingSeverityCounts"] == {"CRITICAL": 1}
    (told,) = found["imageScanFindings"]["findings"]
    assert (told["name"], told["severity"]) == ("CVE-2026-0001", "CRITICAL")
    assert {"key": "package_name", "value": "openssl"} in told["attributes"]
    clean = scanned(ecr, "a")["imageScanFindings"]
    assert (clean["findings"], clean["findingSeverityCounts"]) == ([], {})
    assert clean["imageScanCompletedAt"]
    details = ecr.describe_images(repositoryName="nightshift", imageIds=[{"imageTag": "b"}])
    (detail,) = details["imageDetails"]
    assert not [key for key in detail if "Scan" in key]  # basic scanning fills none of them
    assert detail["imageSizeInBytes"] == 5


def test_a_scan_may_be_complete_before_ecr_tells_what_it_has_found(aws: LocalAws, ecr: Any) -> None:
    aws.scanner.seconds, aws.scanner.late = 0, 0.3
    aws.scanner.findings = lambda _: [finding("CVE-2026-0001", "CRITICAL")]
    put(ecr, ONE, "a")
    found = scanned(ecr, "a")
    assert found["imageScanStatus"]["status"] == "COMPLETE"
    assert found["imageScanFindings"] == {"findings": []}
    time.sleep(0.35)
    found = scanned(ecr, "a")
    assert found["imageScanFindings"]["findingSeverityCounts"] == {"CRITICAL": 1}


def test_without_scan_on_push_there_is_no_scan(aws: LocalAws, ecr: Any) -> None:
    ecr.put_image_scanning_configuration(
        repositoryName="nightshift", imageScanningConfiguration={"scanOnPush": False}
    )
    put(ecr, ONE, "a")
    with pytest.raises(ecr.exceptions.ScanNotFoundException):
        scanned(ecr, "a")


def test_awss_own_command_moves_live(aws: LocalAws, ecr: Any) -> None:
    """As https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-retag.html does it."""
    need(AWS.is_file(), "no AWS CLI: make .venv/awscli")
    put(ecr, ONE, "a")
    put(ecr, OTHER, "live")
    script = (
        "MANIFEST=$(aws ecr batch-get-image --repository-name nightshift --image-ids imageTag=a"
        " --query 'images[].imageManifest' --output text) && "
        "aws ecr put-image --repository-name nightshift --image-tag live"
        ' --image-manifest "$MANIFEST"'
    )
    done = subprocess.run(
        ["bash", "-c", script],
        env={**os.environ, **aws.environment(), "PATH": f"{AWS.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert tags(ecr) == {digest_of(ONE): ["a", "live"], digest_of(OTHER): []}


def test_the_buildspecs_own_commands_give_the_tags_once_and_again(aws: LocalAws, ecr: Any) -> None:
    """With the real AWS CLI: a second release of what is live finds it as it is."""
    need(AWS.is_file(), "no AWS CLI: make .venv/awscli")
    put(ecr, OTHER, "live")
    put(ecr, ONE, "a")
    tagging = ("DIGEST=", "MANIFEST=", "aws ecr put-image")
    script = [each.text for each in read(Path("buildspec.yml")) if each.text.startswith(tagging)]
    assert len(script) == 4
    environment = {**os.environ, **aws.environment(), "REPOSITORY": "nightshift", "TAG": "a"}
    environment["PATH"] = f"{AWS.parent}:{os.environ['PATH']}"
    for _ in range(2):
        done = subprocess.run(
            ["bash", "-c", " && ".join(f"{{ {each}; }}" for each in script)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        given = {digest: sorted(names) for digest, names in tags(ecr).items()}
        assert given == {digest_of(ONE): ["a", "live", "released-a"], digest_of(OTHER): []}
