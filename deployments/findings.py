"""What ECR's scan finds in an image, and whether it may go live all the same: the release's gate.

`python -m deployments.findings` needs the AWS CLI and Python's own library alone, as there is
nothing more where images are built.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from flows.problem import Problem

# The least first. What nobody has judged yet (UNDEFINED; Inspector says UNTRIAGED) never stops a
# release, or any new finding would until somebody has looked at it; it is told of.
# https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ImageScanFinding.html
SEVERITIES = ("INFORMATIONAL", "UNDEFINED", "LOW", "MEDIUM", "HIGH", "CRITICAL")
CHOICES = ("low", "medium", "high", "critical")

LONGEST = timedelta(days=180)  # that a finding can be accepted for
SOON = timedelta(days=14)

PATIENCE = 600.0  # seconds: a scan begins when the image is pushed, and takes a minute or so
LOOK = 5.0  # seconds between looks

Say = Callable[[str], None]
Ask = Callable[[], Mapping[str, Any] | None]


@dataclass(frozen=True)
class Finding:
    id: str  # 'CVE-2026-12345'
    severity: str  # one of SEVERITIES
    package: str
    version: str
    link: str = ""
    fixed_in: str = ""  # the version that has a fix, where the scan knows it

    def __str__(self) -> str:
        fixed = f", fixed in {self.fixed_in}" if self.fixed_in else ""
        return f"{self.id} {self.severity} in {self.package} {self.version}{fixed}".rstrip()


@dataclass(frozen=True)
class Accepted:
    id: str
    until: date  # the last day
    reason: str
    package: str = ""  # '': in every package

    def covers(self, finding: Finding) -> bool:
        return self.id == finding.id and self.package in ("", finding.package)


@dataclass(frozen=True)
class Judged:
    stopping: tuple[tuple[Finding, Accepted | None], ...]  # with what had accepted it, until lately
    accepted: tuple[tuple[Finding, Accepted], ...]
    below: Mapping[str, int]  # how many there are of each severity that does not count
    gone: tuple[Accepted, ...]  # accepted, and not found


def judge(
    found: Sequence[Finding], accepted: Sequence[Accepted], severity: str, today: date
) -> Judged:
    """`severity`: the least that stops a release, one of CHOICES."""
    least = SEVERITIES.index(severity.upper())
    stopping: list[tuple[Finding, Accepted | None]] = []
    passing: list[tuple[Finding, Accepted]] = []
    below: Counter[str] = Counter()
    worst_first = sorted(found, key=lambda one: (-SEVERITIES.index(one.severity), one.id))
    for finding in worst_first:
        if SEVERITIES.index(finding.severity) < least:
            below[finding.severity] += 1
            continue
        entries = sorted(
            (one for one in accepted if one.covers(finding)), key=lambda one: one.until
        )
        entry = entries[-1] if entries else None
        if entry and today <= entry.until:
            passing.append((finding, entry))
        else:
            stopping.append((finding, entry))
    gone = tuple(entry for entry in accepted if not any(entry.covers(one) for one in found))
    return Judged(tuple(stopping), tuple(passing), dict(below), gone)


def report(judged: Judged, severity: str, file: Path, today: date) -> list[str]:
    """Line by line; what stops the release stands last, with what to do."""
    lines = []
    if judged.below:
        counts = ", ".join(f"{count} {name}" for name, count in judged.below.items())
        lines.append(f"below {severity}: {counts}")
    for finding, entry in judged.accepted:
        left = (entry.until - today).days
        soon = f" ! in {left} days it stops releases" if timedelta(left) <= SOON else ""
        lines.append(f"accepted until {entry.until}: {finding}: {entry.reason}{soon}")
    lines += [f"{entry.id} is not found any more: take it out of {file}" for entry in judged.gone]
    if not judged.stopping:
        return [*lines, f"the scan finds nothing that stops a release ({severity} and above)"]
    for finding, was in judged.stopping:
        lines.append(f"{finding}{f'  {finding.link}' if finding.link else ''}")
        if was:
            lines.append(f"  was accepted until {was.until}: {was.reason}")
    count = len(judged.stopping)
    lines.append(
        f"the release stops: {count} finding{'s' if count > 1 else ''} at or above {severity}"
    )
    lines.append(
        "  fix:   build on the newest base image, with the next commit (an empty one will do: git "
        "commit --allow-empty); for a Python package make lock. Where there is no fix yet, accept "
        f"it in {file}, with a reason and a last day"
    )
    return lines


# --- what is accepted ----------------------------------------------------------------------------


def read_accepted(file: Path, today: date) -> list[Accepted]:
    """Raises Problem, which names the entry, if the file cannot be used."""
    try:
        content = tomllib.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise Problem(
            "the accepted findings cannot be read",
            where={"file": file},
            detail=str(error),
            fix="mend that line; a file without entries accepts nothing",
        ) from error
    for key in content:
        if key != "accepted":
            raise _bad(file, {}, key, content[key], "no such key", "each entry is [[accepted]]")
    entries = content.get("accepted", [])
    if not isinstance(entries, list):
        raise _bad(file, {}, "accepted", entries, "not a list", "each entry is [[accepted]]")
    return [
        _accepted(file, {"entry": number}, entry, today)
        for number, entry in enumerate(entries, start=1)
    ]


def _accepted(file: Path, where: dict[str, object], entry: Any, today: date) -> Accepted:
    if not isinstance(entry, dict):
        raise _bad(file, where, "accepted", entry, "not a table", "each entry is [[accepted]]")
    if isinstance(entry.get("id"), str) and entry["id"]:
        where = {**where, "id": entry["id"]}
    for key, value in entry.items():
        if key not in ("id", "package", "until", "reason"):
            raise _bad(file, where, key, value, "no such key", "id, package, until or reason")
    for key in ("id", "reason"):
        if not isinstance(entry.get(key), str) or not entry[key].strip():
            raise _bad(file, where, key, entry.get(key), "not given", f'{key} = "…"')
    if not isinstance(entry.get("package", ""), str):
        raise _bad(file, where, "package", entry["package"], "not text", 'package = "…"')
    until = entry.get("until")
    latest = today + LONGEST
    if not isinstance(until, date) or isinstance(until, datetime):
        raise _bad(file, where, "until", until, "not a day", f"until = {latest}, or earlier")
    if until > latest:
        why = f"more than {LONGEST.days} days ahead"
        raise _bad(file, where, "until", until, why, f"until = {latest}, or earlier")
    return Accepted(entry["id"], until, entry["reason"].strip(), entry.get("package", ""))


def _bad(
    file: Path, where: dict[str, object], key: str, value: object, why: str, fix: str
) -> Problem:
    return Problem(
        "the accepted findings cannot be used",
        where={"file": file, **where, "key": key},
        value=value,
        detail=why,
        fix=fix,
    )


# --- what the scan says --------------------------------------------------------------------------


def findings(answer: Mapping[str, Any]) -> list[Finding]:
    """Of DescribeImageScanFindings: ECR's own scan, or Inspector's where the registry has enhanced
    scanning. https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ImageScanFindings.html
    """
    said = answer.get("imageScanFindings") or {}
    found = [_basic(one) for one in said.get("findings") or ()]
    for one in said.get("enhancedFindings") or ():
        if one.get("status", "ACTIVE") == "ACTIVE":  # not one that Inspector was told to suppress
            found += _enhanced(one)
    return found


def _basic(one: Mapping[str, Any]) -> Finding:
    more = {each["key"]: each.get("value", "") for each in one.get("attributes") or ()}
    return Finding(
        id=str(one.get("name", "")),
        severity=_severity(one),
        package=more.get("package_name", ""),
        version=more.get("package_version", ""),
        link=str(one.get("uri") or ""),
    )


def _enhanced(one: Mapping[str, Any]) -> list[Finding]:
    details = one.get("packageVulnerabilityDetails") or {}
    packages: list[Mapping[str, Any]] = details.get("vulnerablePackages") or [{}]
    return [
        Finding(
            id=str(details.get("vulnerabilityId") or one.get("title", "")),
            severity=_severity(one),
            package=str(package.get("name", "")),
            version=str(package.get("version", "")),
            link=str(details.get("sourceUrl") or ""),
            fixed_in=str(package.get("fixedInVersion") or "").replace("NotAvailable", ""),
        )
        for package in packages
    ]


def _severity(one: Mapping[str, Any]) -> str:
    said = str(one.get("severity", "")).upper()
    return said if said in SEVERITIES else "UNDEFINED"


DONE = ("COMPLETE", "ACTIVE")  # ACTIVE: Inspector has scanned it, and goes on looking
UNDER_WAY = ("", "IN_PROGRESS", "PENDING")


def state(answer: Mapping[str, Any] | None) -> str:
    """How far a scan is, in ECR's words: '' if there is none."""
    return str(((answer or {}).get("imageScanStatus") or {}).get("status") or "")


def tells(answer: Mapping[str, Any]) -> bool:
    """Whether what the scan has found is in it.

    With enhanced scanning ECR may say COMPLETE or ACTIVE some seconds before it has anything from
    Inspector, with `findings` that are empty: https://github.com/aws/aws-sdk/issues/289. What was
    scanned has a time, or counts: the examples in
    https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeImageScanFindings.html
    """
    said = answer.get("imageScanFindings") or {}
    return bool(said.get("imageScanCompletedAt") or said.get("findingSeverityCounts"))


def wait(
    ask: Ask, image: str, say: Say, *, seconds: float = PATIENCE, look: float = LOOK
) -> Mapping[str, Any]:
    """What the scan says once it has ended. Raises Problem if it fails, or does not end."""
    until = time.monotonic() + seconds
    told = None
    while True:
        answer = ask()
        status = state(answer)
        if answer is not None and status in DONE and tells(answer):
            return answer
        if answer is not None and status not in (*DONE, *UNDER_WAY):
            raise _not_scanned(image, status, str(answer["imageScanStatus"].get("description", "")))
        if status != told:
            blank = ", and nothing of what it has found" if status in DONE else ""
            say(f"waiting for ECR's scan of {image}: {status or 'not begun yet'}{blank}")
            told = status
        if time.monotonic() > until:
            raise Problem(
                "ECR's scan does not end",
                where={"image": image},
                value=status or "not begun",
                detail=f"waited {seconds:g} s"
                + (", and ECR does not tell what was found" if status in DONE else ""),
                fix="release again: the image is there, and its scan is looked at again. If there "
                "is none, see that the registry scans on push (ECR, Private registry, Scanning)",
            )
        time.sleep(min(look, seconds))


def _not_scanned(image: str, status: str, why: str) -> Problem:
    fix = (
        "start another scan, at most one a day for an image (aws ecr start-image-scan), and "
        "release again; or push the next commit"
    )
    if status == "UNSUPPORTED_IMAGE":
        fix = "take a base image, in the Dockerfile, whose operating system ECR can scan"
    return Problem(
        "ECR could not scan the image",
        where={"image": image},
        value=status,
        detail=why,
        fix=fix,
    )


def asked(repository: str, tag: str) -> Mapping[str, Any] | None:
    """As the AWS CLI answers; None while there is no scan. Raises Problem if AWS refuses."""
    command = ["aws", "ecr", "describe-image-scan-findings", "--output", "json"]
    command += ["--repository-name", repository, "--image-id", f"imageTag={tag}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    except FileNotFoundError:
        raise Problem(
            "the program aws is not on PATH",
            fix="install the AWS CLI: "
            "https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html",
        ) from None
    if done.returncode == 0:
        answer: Mapping[str, Any] = json.loads(done.stdout)
        return answer
    if "ScanNotFoundException" in done.stderr:
        return None
    raise Problem(
        "AWS does not tell what the scan has found",
        where={"repository": repository, "tag": tag},
        detail=done.stderr.strip(),
        fix="see what it says. Where the registry has enhanced scanning, who asks needs "
        "inspector2:ListFindings and inspector2:ListCoverage as well; the build role has them",
    )


# --- the command ---------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 if the image may go live, 1 if not."""
    options = _parser().parse_args(arguments)
    today = datetime.now(UTC).date()
    try:
        accepted = read_accepted(options.accepted, today)
        answer = wait(
            lambda: asked(options.repository, options.tag),
            f"{options.repository}:{options.tag}",
            lambda text: print(text, flush=True),
            seconds=options.timeout,
        )
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 1
    judged = judge(findings(answer), accepted, options.severity, today)
    print("\n".join(report(judged, options.severity, options.accepted, today)))
    return 1 if judged.stopping else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deployments.findings",
        description="Waits for ECR's scan of an image, and says whether it may go live.",
    )
    parser.add_argument("--repository", required=True, help="its name, without the registry")
    parser.add_argument("--tag", required=True)
    parser.add_argument(
        "--severity", required=True, type=str.lower, choices=CHOICES, help="the least that stops it"
    )
    parser.add_argument(
        "--accepted", required=True, type=Path, metavar="FILE", help="what is let through: TOML"
    )
    parser.add_argument("--timeout", type=float, default=PATIENCE, metavar="SECONDS")
    return parser


if __name__ == "__main__":
    sys.exit(main())
