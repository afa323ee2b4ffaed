"""make release, releases and rollback, against an AWS with ECR's images in it."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from deployments.operate import installation as aws
from deployments.operate.__main__ import main
from deployments.operate.installation import Installation
from deployments.operate.release import release
from deployments.operate.releases import Release, live, releases, scan, subjects, table, wanted
from deployments.operate.rollback import rollback
from deployments.outputs import RELEASED
from flows.problem import Problem
from infra.local.release import images
from infra.local.release.scan import Scanner, finding
from tests.deployments.played import install
from tests.deployments.stack import OUTPUTS

REPOSITORY = OUTPUTS["ImageRepository"].partition("/")[2]
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
MEDIA_TYPE = "application/vnd.oci.image.manifest.v1+json"


@dataclass
class Ecr:
    at: Installation
    client: Any
    scanner: Scanner

    def push(self, *tags: str) -> str:
        """An image of its own; its digest. The manifest does not name its type, as OCI allows."""
        manifest = json.dumps({"schemaVersion": 2, "layers": [], "x": uuid.uuid4().hex}, indent=3)
        for tag in tags:
            put = self.client.put_image(
                repositoryName=REPOSITORY,
                imageTag=tag,
                imageManifest=manifest,
                imageManifestMediaType=MEDIA_TYPE,
            )
        return str(put["image"]["imageId"]["imageDigest"])

    def released(self, tag: str, *more: str) -> str:
        """One that a release has made live, once."""
        return self.push(tag, f"{RELEASED}{tag}", *more)

    @property
    def live(self) -> str | None:
        found = live(releases(self.at))
        return found.digest if found else None

    @property
    def desired(self) -> int:
        return aws.service(self.at).desired


@pytest.fixture
def ecr(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ecr]:
    stack = f"nightshift-{uuid.uuid4().hex[:8]}"
    monkeypatch.setenv("NIGHTSHIFT_STACK", stack)
    at = install(stack)
    client = at.client("ecr")
    scanner = Scanner(seconds=0)
    with images.mended(scanner):
        client.create_repository(
            repositoryName=REPOSITORY,
            imageTagMutability="IMMUTABLE_WITH_EXCLUSION",
            imageTagMutabilityExclusionFilters=[{"filterType": "WILDCARD", "filter": "live"}],
            imageScanningConfiguration={"scanOnPush": True},
        )
        yield Ecr(at, client, scanner)
        client.delete_repository(repositoryName=REPOSITORY, force=True)


# --- releases ------------------------------------------------------------------------------------


def test_nothing_was_released(ecr: Ecr, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["releases"]) == 0
    assert "nothing was released yet" in capsys.readouterr().out


def test_each_image_with_what_its_scan_has_found(
    ecr: Ecr, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [finding("CVE-1", "LOW"), finding("CVE-2", "CRITICAL"), finding("CVE-3", "LOW")]
    ecr.scanner.findings = lambda _: found
    first = ecr.released("0123456789ab")
    second = ecr.released("123456789abc", "live")
    ecr.scanner.findings = lambda _: []
    third = ecr.push("ba9876543210")
    ecr.client.put_image_scanning_configuration(
        repositoryName=REPOSITORY, imageScanningConfiguration={"scanOnPush": False}
    )
    fourth = ecr.push("by-hand")
    assert {
        one.digest: (one.tags, one.live, one.released, one.scan) for one in releases(ecr.at)
    } == {
        first: (("0123456789ab",), False, True, "1 CRITICAL, 2 LOW"),
        second: (("123456789abc",), True, True, "1 CRITICAL, 2 LOW"),
        third: (("ba9876543210",), False, False, "nothing found"),
        fourth: (("by-hand",), False, False, "no scan"),
    }
    assert main(["releases"]) == 0
    said = capsys.readouterr().out
    assert f"released      0123456789ab  {first[:19]}" in said
    assert f"live          123456789abc  {second[:19]}" in said
    assert f"not released  ba9876543210  {third[:19]}" in said
    assert len(said.splitlines()) == 1 + 4


def test_who_may_not_read_findings_is_told(
    ecr: Ecr, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ecr.push("0123456789ab")

    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "DescribeImageScanFindings")

    monkeypatch.setattr(ecr.client, "describe_image_scan_findings", refuse)
    with pytest.raises(Problem, match="refused to read what the images' scans have found"):
        releases(ecr.at)
    assert [one.scan for one in releases(ecr.at, scanned=False)] == [""]


def a_release(
    tag: str, hours: int, *, live: bool = False, released: bool = True, scan: str = "nothing found"
) -> Release:
    digest = f"sha256:{tag[0] * 64}"
    return Release(digest, (tag,), NOW - timedelta(hours=hours), live, released, scan)


def test_the_table() -> None:
    found = [
        a_release("cccccccccccc", 1, released=False, scan="2 CRITICAL"),
        a_release("bbbbbbbbbbbb", 2),
        a_release("aaaaaaaaaaaa", 30, live=True, scan="2 HIGH"),
    ]
    assert table(found, {"aaaaaaaaaaaa": "A change"}, NOW).splitlines() == [
        "              tag           image                pushed       scan           commit",
        "not released  cccccccccccc  sha256:cccccccccccc  1 h ago      2 CRITICAL",
        "released      bbbbbbbbbbbb  sha256:bbbbbbbbbbbb  2 h ago      nothing found",
        "live          aaaaaaaaaaaa  sha256:aaaaaaaaaaaa  1 d 6 h ago  2 HIGH         A change",
    ]
    assert table(found[:1], {}, NOW).splitlines()[-1].startswith("! none is live")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({}, "no scan"),
        (
            {"imageScanStatus": {"status": "ACTIVE"}, "imageScanFindings": {"findings": []}},
            "not told yet",
        ),
        (
            {
                "imageScanStatus": {"status": "COMPLETE"},
                "imageScanFindings": {"imageScanCompletedAt": NOW, "findingSeverityCounts": {}},
            },
            "nothing found",
        ),
        ({"imageScanStatus": {"status": "IN_PROGRESS"}}, "in progress"),
        ({"imageScanStatus": {"status": "UNSUPPORTED_IMAGE"}}, "unsupported image"),
        (
            {
                "imageScanStatus": {"status": "ACTIVE"},
                "imageScanFindings": {
                    "findingSeverityCounts": {"UNTRIAGED": 1, "MEDIUM": 2, "HIGH": 3}
                },
            },
            "3 HIGH, 2 MEDIUM, 1 UNTRIAGED",
        ),
    ],
)
def test_a_scan_in_words(answer: dict[str, Any], said: str) -> None:
    assert scan(answer) == said


def test_a_commit_that_is_known_here_has_its_first_line(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    head = git(project, "rev-parse", "HEAD")[:12]
    found = [a_release(head, 1), a_release("f" * 12, 2), a_release("by-hand", 3)]
    assert subjects(found) == {head: "One"}


# --- rollback ------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["tag", "digest", "short digest"])
def test_rollback_moves_live_and_wakes(
    ecr: Ecr, by: str, capsys: pytest.CaptureFixture[str]
) -> None:
    old = ecr.released("aaaaaaaaaaaa")
    new = ecr.released("bbbbbbbbbbbb", "live")
    to = {"tag": "aaaaaaaaaaaa", "digest": old, "short digest": old[:19]}[by]
    assert main(["rollback", "--to", to]) == 0
    assert ecr.live == old
    assert ecr.desired == 1
    said = capsys.readouterr().out
    assert f"live is aaaaaaaaaaaa ({old[:19]}); it was bbbbbbbbbbbb ({new[:19]})" in said
    assert main(["rollback", "--to", "bbbbbbbbbbbb"]) == 0  # and forth again
    assert ecr.live == new


@pytest.mark.parametrize("by", ["tag", "digest"])
def test_one_that_was_stopped_does_not_go_live(
    ecr: Ecr, by: str, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = ecr.push("aaaaaaaaaaaa")
    digest = ecr.released("bbbbbbbbbbbb", "live")
    to = {"tag": "aaaaaaaaaaaa", "digest": refused}[by]
    assert main(["rollback", "--to", to]) == 1
    said = capsys.readouterr().err
    assert "the image was never released" in said
    assert "aaaaaaaaaaaa" in said
    assert (ecr.live, ecr.desired) == (digest, 0)


def test_one_that_is_live_already_is_left_alone(ecr: Ecr) -> None:
    digest = ecr.push("aaaaaaaaaaaa", "live")
    said: list[str] = []
    rollback(ecr.at, "aaaaaaaaaaaa", said.append)
    assert said == [f"aaaaaaaaaaaa ({digest[:19]}) is live already"]
    assert ecr.desired == 0


@pytest.mark.parametrize("to", ["", "cccccccccccc", "live", f"sha256:{'0' * 64}", "sha256:"])
def test_one_that_is_not_there(ecr: Ecr, to: str, capsys: pytest.CaptureFixture[str]) -> None:
    digest = ecr.push("aaaaaaaaaaaa", "live")
    assert main(["rollback", "--to", to]) == 1
    assert "the newest are aaaaaaaaaaaa" in capsys.readouterr().err
    assert (ecr.live, ecr.desired) == (digest, 0)


def test_a_digest_that_two_could_be() -> None:
    found = [Release(f"sha256:{'0' * 12}{last * 52}", (last,), NOW, False, True) for last in "ab"]
    with pytest.raises(Problem, match="no such release"):
        wanted(found, f"sha256:{'0' * 12}")
    assert wanted(found, f"sha256:{'0' * 12}a").tags == ("a",)


# --- release -------------------------------------------------------------------------------------

SPEC = """\
version: 0.2
env: {shell: bash}
phases:
  build:
    on-failure: ABORT
    commands:
      - env > ../seen
      - docker build .
      - aws ecr wait
"""


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=n", "-c", "user.email=n@example.com"]
    done = subprocess.run(
        ["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / "buildspec.yml").write_text(SPEC)
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "One\n\nAnd more.")
    return folder


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`docker` and `aws`, which are well."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("docker", "aws"):
        (folder / name).write_text("#!/bin/sh\necho $0 $*\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
    return folder


@pytest.fixture
def built(ecr: Ecr, project: Path, monkeypatch: pytest.MonkeyPatch) -> Ecr:
    """With a CodeBuild project as the stack makes it, in the project's folder."""
    variables = {"IMAGE": "i", "CLUSTER": "c", "SERVICE": "s", "SEVERITY": "high"}
    ecr.at.client("codebuild").create_project(
        name=ecr.at.stack,
        source={"type": "CODEPIPELINE", "buildspec": "buildspec.yml", "location": "x"},
        artifacts={"type": "CODEPIPELINE", "location": "x"},  # moto asks for one
        environment={
            "type": "ARM_CONTAINER",
            "image": "i",
            "computeType": "BUILD_GENERAL1_SMALL",
            "environmentVariables": [
                {"name": name, "value": value, "type": "PLAINTEXT"}
                for name, value in variables.items()
            ],
        },
        serviceRole="arn:aws:iam::123456789012:role/service-role/build",
    )
    monkeypatch.chdir(project)
    return ecr


def test_release_runs_the_buildspec_as_the_project_would(
    built: Ecr, project: Path, programs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    built.push("aaaaaaaaaaaa", "live")
    assert main(["release"]) == 0
    seen = dict(
        line.split("=", 1)
        for line in (project.parent / "seen").read_text().splitlines()
        if "=" in line
    )
    commit = git(project, "rev-parse", "HEAD")
    assert {
        "IMAGE": "i",
        "CLUSTER": "c",
        "SERVICE": "s",
        "SEVERITY": "high",
    }.items() <= seen.items()
    assert seen["CODEBUILD_RESOLVED_SOURCE_VERSION"] == commit
    assert seen["AWS_DEFAULT_REGION"] == built.client.meta.region_name
    said = capsys.readouterr().out
    assert f"{programs}/docker build ." in said
    assert "live is aaaaaaaaaaaa" in said.splitlines()[-1]


def test_a_command_that_fails_is_named(
    built: Ecr, programs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (programs / "docker").write_text("#!/bin/sh\nexit 9\n")
    assert main(["release"]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[-3:] == [
        "the release has stopped in build, exit status 9:",
        "  docker build .",
        "live is none; see above why",
    ]


@pytest.mark.parametrize("program", ["docker", "aws"])
def test_a_program_that_is_missing(
    built: Ecr, programs: Path, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (programs / program).unlink()
    monkeypatch.setattr("deployments.operate.release.path", lambda _: str(programs))
    with pytest.raises(Problem, match=f"the program {program} is not on PATH"):
        release(built.at, lambda _: None, Path.cwd())


def test_what_is_in_no_commit_is_not_released(
    built: Ecr, project: Path, programs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "new.py").write_text("")
    assert main(["release"]) == 1
    assert "new.py" in capsys.readouterr().err
    assert not (project.parent / "seen").exists()


def test_a_folder_that_is_no_repository(
    built: Ecr, programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["release"]) == 1


def test_a_stack_without_a_project(
    ecr: Ecr,
    project: Path,
    programs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(project)
    assert main(["release"]) == 1
    assert "no CodeBuild project" in capsys.readouterr().err


def test_no_such_stack(s3_endpoint: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["release"], ["releases"], ["rollback", "--to", "a"]):
        assert main([*command, "--stack", "nobody"]) == 1
        assert "the stack's outputs cannot be read" in capsys.readouterr().err
