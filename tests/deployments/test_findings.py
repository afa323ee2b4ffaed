"""The gate: what ECR's scan has found, what is accepted, and what stops a release."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from deployments.findings import (
    CHOICES,
    Accepted,
    Finding,
    findings,
    judge,
    read_accepted,
    report,
    wait,
)
from flows.problem import Problem

ROOT = Path(__file__).parents[2]
TODAY = date(2026, 11, 27)
FILE = Path("infra/findings.toml")


def finding(severity: str, name: str = "CVE-2026-1", package: str = "zlib") -> Finding:
    return Finding(name, severity, package, "1.3", f"https://security.example/{name}")


def accepted(until: date, name: str = "CVE-2026-1", package: str = "") -> Accepted:
    return Accepted(name, until, "not reachable", package)


# --- judging -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("severity", "stop"),
    [
        ("low", ["LOW", "MEDIUM", "HIGH", "CRITICAL"]),
        ("medium", ["MEDIUM", "HIGH", "CRITICAL"]),
        ("high", ["HIGH", "CRITICAL"]),
        ("critical", ["CRITICAL"]),
    ],
)
def test_the_severity_and_all_above_it_stop(severity: str, stop: list[str]) -> None:
    every = ("INFORMATIONAL", "UNDEFINED", "LOW", "MEDIUM", "HIGH", "CRITICAL")
    judged = judge([finding(one, f"CVE-{one}") for one in every], [], severity, TODAY)
    assert [one.severity for one, _ in judged.stopping] == stop[::-1]  # the worst first
    assert judged.below == {one: 1 for one in every if one not in stop}


@pytest.mark.parametrize(
    ("entry", "stops"),
    [
        (accepted(TODAY), False),
        (accepted(TODAY - timedelta(days=1)), True),
        (accepted(TODAY, name="CVE-2026-2"), True),
        (accepted(TODAY, package="zlib"), False),
        (accepted(TODAY, package="zlib1g"), True),
    ],
    ids=["on the last day", "after it", "another", "in the package", "in another package"],
)
def test_what_is_accepted_does_not_stop(entry: Accepted, stops: bool) -> None:
    judged = judge([finding("CRITICAL")], [entry], "critical", TODAY)
    assert bool(judged.stopping) is stops
    assert bool(judged.accepted) is not stops


def test_of_two_entries_the_later_one_counts() -> None:
    entries = [accepted(TODAY + timedelta(days=9), package="zlib"), accepted(date(2026, 1, 1))]
    assert not judge([finding("HIGH")], entries, "high", TODAY).stopping


def test_it_says_what_to_do() -> None:
    found = [finding("CRITICAL"), finding("HIGH", "CVE-2026-2"), finding("LOW", "CVE-2026-3")]
    entries = [
        accepted(TODAY - timedelta(days=1)),
        accepted(TODAY + timedelta(days=14), "CVE-2026-2"),
        accepted(TODAY + timedelta(days=99), "CVE-2026-4"),
    ]
    said = report(judge(found, entries, "high", TODAY), "high", FILE, TODAY)
    assert said[:-1] == [
        "below high: 1 LOW",
        "accepted until 2026-12-11: CVE-2026-2 HIGH in zlib 1.3: not reachable"
        " ! in 14 days it stops releases",
        f"CVE-2026-4 is not found any more: take it out of {FILE}",
        "CVE-2026-1 CRITICAL in zlib 1.3  https://security.example/CVE-2026-1",
        "  was accepted until 2026-11-26: not reachable",
        "the release stops: 1 finding at or above high",
    ]
    assert "allow-empty" in said[-1]
    assert str(FILE) in said[-1]


def test_one_that_is_accepted_for_long_gives_no_warning() -> None:
    judged = judge([finding("HIGH")], [accepted(TODAY + timedelta(days=15))], "high", TODAY)
    said = report(judged, "high", FILE, TODAY)
    assert not [line for line in said if "!" in line]
    assert said[-1] == "the scan finds nothing that stops a release (high and above)"


# --- what is accepted ----------------------------------------------------------------------------

ENTRY = '[[accepted]]\nid = "CVE-2026-1"\nuntil = 2027-01-31\nreason = "no fix yet"\n'


def test_the_projects_own_list_can_be_used() -> None:
    assert isinstance(read_accepted(ROOT / FILE, datetime.now(UTC).date()), list)


def test_entries_are_read(tmp_path: Path) -> None:
    file = tmp_path / "findings.toml"
    file.write_text(ENTRY + ENTRY.replace("CVE-2026-1", "CVE-2026-2") + 'package = "zlib"\n')
    assert read_accepted(file, TODAY) == [
        Accepted("CVE-2026-1", date(2027, 1, 31), "no fix yet"),
        Accepted("CVE-2026-2", date(2027, 1, 31), "no fix yet", "zlib"),
    ]


@pytest.mark.parametrize(
    ("was", "becomes", "key"),
    [
        ('id = "CVE-2026-1"', "", "id"),
        ('"CVE-2026-1"', "7", "id"),
        ('"no fix yet"', '" "', "reason"),
        ('reason = "no fix yet"', "", "reason"),
        ("until = 2027-01-31", "", "until"),
        ("2027-01-31", '"2027-01-31"', "until"),
        ("2027-01-31", "2027-01-31T00:00:00Z", "until"),
        ("2027-01-31", "2027-05-27", "until"),
        ('"no fix yet"', '"no fix yet"\npackages = "zlib"', "packages"),
        ('"no fix yet"', '"no fix yet"\npackage = 1', "package"),
        ("[[accepted]]", "[[allowed]]", "allowed"),
        ("[[accepted]]", "[accepted]", "accepted"),
    ],
)
def test_an_entry_that_is_wrong_is_named(tmp_path: Path, was: str, becomes: str, key: str) -> None:
    file = tmp_path / "findings.toml"
    file.write_text(ENTRY.replace(was, becomes))
    with pytest.raises(Problem) as raised:
        read_accepted(file, TODAY)
    assert raised.value.where["key"] == key
    assert raised.value.where["file"] == file
    assert raised.value.fix


@pytest.mark.parametrize("text", [None, "a = ", "accepted = 1", "accepted = [1]"])
def test_a_file_that_is_wrong_is_named(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "findings.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(Problem, match=r"findings\.toml"):
        read_accepted(file, TODAY)


# --- what the scan says --------------------------------------------------------------------------

BASIC = {
    "imageScanStatus": {"status": "COMPLETE"},
    "imageScanFindings": {
        "findings": [
            {
                "name": "CVE-2026-1",
                "uri": "https://security-tracker.debian.org/tracker/CVE-2026-1",
                "severity": "CRITICAL",
                "attributes": [
                    {"key": "package_version", "value": "1.3"},
                    {"key": "package_name", "value": "zlib"},
                    {"key": "CVSS3_SCORE", "value": "9.8"},
                ],
            },
            {"name": "CVE-2026-2", "severity": "SOMETHING NEW"},
        ],
        "imageScanCompletedAt": "2026-11-27T05:00:00+00:00",
        "vulnerabilitySourceUpdatedAt": "2026-11-27T04:00:00+00:00",
        "findingSeverityCounts": {"CRITICAL": 1, "UNDEFINED": 1},
    },
}
CLEAN = {
    "imageScanStatus": {"status": "COMPLETE"},
    "imageScanFindings": {
        "findings": [],
        "imageScanCompletedAt": "2026-11-27T05:00:00+00:00",
        "vulnerabilitySourceUpdatedAt": "2026-11-27T04:00:00+00:00",
        "findingSeverityCounts": {},
    },
}
ENHANCED = {
    "imageScanStatus": {"status": "ACTIVE"},
    "imageScanFindings": {
        "enhancedFindings": [
            {
                "severity": "HIGH",
                "status": "ACTIVE",
                "packageVulnerabilityDetails": {
                    "vulnerabilityId": "CVE-2026-3",
                    "sourceUrl": "https://nvd.example/CVE-2026-3",
                    "vulnerablePackages": [
                        {"name": "pyarrow", "version": "1", "fixedInVersion": "2"},
                        {"name": "numpy", "version": "3", "fixedInVersion": "NotAvailable"},
                    ],
                },
            },
            {"severity": "CRITICAL", "status": "SUPPRESSED"},
            {"severity": "UNTRIAGED", "status": "ACTIVE", "title": "CVE-2026-4 - x"},
        ],
        "findingSeverityCounts": {"HIGH": 1, "UNTRIAGED": 1},
    },
}


def blank(status: str) -> Mapping[str, Any]:
    """What the AWS CLI shows while ECR has nothing from Inspector yet:
    https://github.com/aws/aws-sdk/issues/289
    """
    return {
        "imageScanFindings": {"findings": []},
        "registryId": "registry",
        "repositoryName": "r",
        "imageId": {"imageDigest": "...", "imageTag": "t"},
        "imageScanStatus": {
            "status": status,
            "description": "The scan was completed successfully.",
        },
    }


def test_ecrs_own_scan() -> None:
    link = "https://security-tracker.debian.org/tracker/CVE-2026-1"
    assert findings(BASIC) == [
        Finding("CVE-2026-1", "CRITICAL", "zlib", "1.3", link),
        Finding("CVE-2026-2", "UNDEFINED", "", ""),
    ]


def test_inspectors_scan() -> None:
    link = "https://nvd.example/CVE-2026-3"
    assert findings(ENHANCED) == [
        Finding("CVE-2026-3", "HIGH", "pyarrow", "1", link, "2"),
        Finding("CVE-2026-3", "HIGH", "numpy", "3", link),
        Finding("CVE-2026-4 - x", "UNDEFINED", "", ""),
    ]


def status(name: str, why: str = "") -> Mapping[str, Any]:
    return {"imageScanStatus": {"status": name, "description": why}}


def test_it_waits_and_says_so_once_for_each_state() -> None:
    answers = iter(
        [None, None, status("PENDING"), status("IN_PROGRESS"), status("IN_PROGRESS"), BASIC]
    )
    said: list[str] = []
    assert wait(lambda: next(answers), "r:t", said.append, look=0) is BASIC
    assert said == [
        "waiting for ECR's scan of r:t: not begun yet",
        "waiting for ECR's scan of r:t: PENDING",
        "waiting for ECR's scan of r:t: IN_PROGRESS",
    ]
    assert wait(lambda: ENHANCED, "r:t", said.append) is ENHANCED
    assert wait(lambda: CLEAN, "r:t", said.append) is CLEAN


@pytest.mark.parametrize("name", ["COMPLETE", "ACTIVE"])
def test_a_scan_that_is_done_and_tells_nothing_is_waited_for(name: str) -> None:
    answers = iter([None, blank(name), blank(name), ENHANCED])
    said: list[str] = []
    assert wait(lambda: next(answers), "r:t", said.append, look=0) is ENHANCED
    assert said[1:] == [f"waiting for ECR's scan of r:t: {name}, and nothing of what it has found"]
    with pytest.raises(Problem, match="does not end") as raised:
        wait(lambda: blank(name), "r:t", said.append, seconds=0.05, look=0.01)
    assert raised.value.value == name
    assert "ECR does not tell what was found" in (raised.value.detail or "")


@pytest.mark.parametrize(
    "name", ["FAILED", "UNSUPPORTED_IMAGE", "SCAN_ELIGIBILITY_EXPIRED", "LIMIT_EXCEEDED", "NEW"]
)
def test_a_scan_that_fails_stops(name: str) -> None:
    with pytest.raises(Problem) as raised:
        wait(lambda: status(name, "in ECR's words"), "r:t", lambda _: None)
    assert (raised.value.value, raised.value.detail) == (name, "in ECR's words")


@pytest.mark.parametrize("answer", [None, status("IN_PROGRESS")])
def test_a_scan_that_does_not_end_stops(answer: Mapping[str, Any] | None) -> None:
    with pytest.raises(Problem, match="does not end"):
        wait(lambda: answer, "r:t", lambda _: None, seconds=0.05, look=0.01)


# --- the command ---------------------------------------------------------------------------------


def gate(
    folder: Path, aws: str, *, severity: str = "critical", accepted: str = ""
) -> subprocess.CompletedProcess[str]:
    """With a program `aws` that does so, and with nothing but Python's own library."""
    program = folder / "aws"
    program.write_text(f'#!/bin/sh\necho "$*" >> {folder}/log\n{aws}\n')
    program.chmod(0o755)
    (folder / "findings.toml").write_text(accepted)
    given = ["--repository", "r", "--tag", "t", "--severity", severity, "--timeout", "0.2"]
    given += ["--accepted", str(folder / "findings.toml")]
    return subprocess.run(
        [sys.executable, "-S", "-m", "deployments.findings", *given],
        cwd=ROOT,
        env={"PATH": f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def answering(answer: Mapping[str, Any]) -> str:
    return f"cat <<'END'\n{json.dumps(answer)}\nEND"


def test_a_critical_finding_stops_the_release(tmp_path: Path) -> None:
    done = gate(tmp_path, answering(BASIC))
    assert done.returncode == 1, done.stderr
    assert "CVE-2026-1 CRITICAL in zlib 1.3  https://security-tracker" in done.stdout
    assert (tmp_path / "log").read_text() == (
        "ecr describe-image-scan-findings --output json --repository-name r --image-id imageTag=t\n"
    )


def test_one_that_is_accepted_does_not(tmp_path: Path) -> None:
    until = datetime.now(UTC).date() + timedelta(days=30)
    done = gate(tmp_path, answering(BASIC), accepted=ENTRY.replace("2027-01-31", str(until)))
    assert done.returncode == 0, done.stderr
    assert f"accepted until {until}: CVE-2026-1" in done.stdout


def test_what_is_below_does_not(tmp_path: Path) -> None:
    done = gate(tmp_path, answering(ENHANCED))
    assert done.returncode == 0, done.stderr
    assert "below critical: 2 HIGH, 1 UNDEFINED" in done.stdout


def test_a_scan_that_tells_nothing_yet_lets_nothing_through(tmp_path: Path) -> None:
    done = gate(tmp_path, answering(blank("COMPLETE")))
    assert done.returncode == 1
    assert "ECR does not tell what was found" in done.stderr
    assert "nothing that stops a release" not in done.stdout


def test_what_was_scanned_and_has_nothing_goes_through(tmp_path: Path) -> None:
    done = gate(tmp_path, answering(CLEAN))
    assert done.returncode == 0, done.stderr
    assert "nothing that stops a release" in done.stdout


def test_no_scan(tmp_path: Path) -> None:
    done = gate(
        tmp_path,
        'echo "An error occurred (ScanNotFoundException) when calling …" >&2; exit 254',
    )
    assert done.returncode == 1
    assert "not begun yet" in done.stdout
    assert "does not end" in done.stderr


def test_what_aws_refuses(tmp_path: Path) -> None:
    done = gate(tmp_path, "echo 'An error occurred (AccessDeniedException)' >&2; exit 254")
    assert done.returncode == 1
    assert "AccessDeniedException" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bad_list_stops_before_anything_is_asked(tmp_path: Path) -> None:
    done = gate(tmp_path, answering(BASIC), accepted="accepted = 1")
    assert done.returncode == 1
    assert not (tmp_path / "log").exists()


def test_an_unknown_severity(tmp_path: Path) -> None:
    assert gate(tmp_path, answering(BASIC), severity="worst").returncode == 2


def test_the_setting_has_these_choices() -> None:
    from typing import get_args

    from infra.settings import Settings

    assert get_args(Settings.model_fields["scan_severity"].annotation) == CHOICES
