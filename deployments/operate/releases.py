"""`make releases`: the images there are, the newest first: what each is of, which is live, and
which were never released.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from deployments import findings
from deployments.findings import SEVERITIES
from deployments.operate.installation import Installation, asking, code
from deployments.operate.words import distance, first_line, short_digest
from deployments.outputs import LIVE, RELEASED
from flows.problem import Problem

_COMMIT = re.compile(r"[0-9a-f]{7,40}")


@dataclass(frozen=True)
class Release:
    """An image of the installation's repository."""

    digest: str  # 'sha256:…'
    tags: tuple[str, ...]  # its own: as a rule one, the commit's first 12 digits
    pushed: datetime
    live: bool
    released: bool  # once: neither the tests nor what the scan had found stopped it
    scan: str = ""  # '1 CRITICAL, 3 HIGH', 'nothing found', 'in progress', 'no scan'; '': not asked

    @property
    def tag(self) -> str:
        return next(iter(self.tags), "-")

    def __str__(self) -> str:
        return f"{self.tag} ({short_digest(self.digest)})"


def repository(at: Installation) -> str:
    """Its name, without the registry."""
    return at.output("ImageRepository").partition("/")[2]


def releases(at: Installation, *, scanned: bool = True) -> list[Release]:
    """The newest first. `scanned`: with what their scans say, a request for each."""
    with asking("describe the images"):
        pages = at.client("ecr").get_paginator("describe_images")
        asked = pages.paginate(repositoryName=repository(at), filter={"tagStatus": "TAGGED"})
        images = [image for page in asked for image in page["imageDetails"]]
    scans = _scans(at, [str(image["imageDigest"]) for image in images]) if scanned else {}
    found = [_release(image, scans.get(str(image["imageDigest"]), "")) for image in images]
    return sorted(found, key=lambda one: (one.pushed, one.tag), reverse=True)


def live(found: Sequence[Release]) -> Release | None:
    return next((one for one in found if one.live), None)


def _release(image: Mapping[str, Any], scan: str) -> Release:
    tags = image.get("imageTags") or ()
    return Release(
        digest=str(image["imageDigest"]),
        tags=tuple(sorted(tag for tag in tags if tag != LIVE and not tag.startswith(RELEASED))),
        pushed=image["imagePushedAt"],
        live=LIVE in tags,
        released=any(tag.startswith(RELEASED) for tag in tags),
        scan=scan,
    )


def _scans(at: Installation, digests: Sequence[str]) -> dict[str, str]:
    """What DescribeImages does not tell of basic scanning:
    https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeImages.html
    """
    from botocore.exceptions import ClientError

    ecr, name = at.client("ecr"), repository(at)

    def ask(digest: str) -> str:
        asked = {"repositoryName": name, "imageId": {"imageDigest": digest}}
        try:
            return scan(ecr.describe_image_scan_findings(**asked))
        except ClientError as error:
            if code(error) in ("ScanNotFoundException", "ImageNotFoundException"):
                return scan({})
            raise

    with asking("read what the images' scans have found"), ThreadPoolExecutor(8) as several:
        return dict(zip(digests, several.map(ask, digests), strict=True))


def scan(answer: Mapping[str, Any]) -> str:
    """In a few words what DescribeImageScanFindings answers."""
    status = findings.state(answer)
    if status not in findings.DONE:
        return status.lower().replace("_", " ") or "no scan"
    if not findings.tells(answer):
        return "not told yet"
    counts = answer["imageScanFindings"].get("findingSeverityCounts") or {}
    worst_first = sorted(counts, key=lambda name: -_rank(name))
    said = ", ".join(f"{counts[name]} {name}" for name in worst_first if counts[name])
    return said or "nothing found"


def _rank(severity: str) -> int:
    return SEVERITIES.index(severity) if severity in SEVERITIES else -1


def newest(found: Sequence[Release], most: int = 5) -> str:
    """A few, in a line."""
    return ", ".join(one.tag for one in found[:most]) or "there is none"


# --- the table -----------------------------------------------------------------------------------


def table(found: Sequence[Release], subjects: Mapping[str, str], now: datetime) -> str:
    """`subjects`: by tag, of the commits that are known here."""
    if not found:
        return "nothing was released yet: push a commit, or make release"
    head = ("", "tag", "image", "pushed", "scan", "commit")
    rows = [
        (
            _state(one),
            one.tag,
            short_digest(one.digest),
            distance(one.pushed, now),
            one.scan,
            first_line(subjects.get(one.tag, ""), 60),
        )
        for one in found
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    ]
    if live(found) is None:
        lines.append("! none is live: nothing can run until a release has made one so")
    return "\n".join(lines)


def _state(one: Release) -> str:
    if one.live:
        return LIVE
    return "released" if one.released else "not released"


def subjects(found: Sequence[Release]) -> dict[str, str]:
    """The first line of each commit that the git repository here has, by tag."""
    git = shutil.which("git")
    known: dict[str, str] = {}
    for tag in (tag for one in found for tag in one.tags if _COMMIT.fullmatch(tag)):
        if git is None:
            break
        command = [git, "log", "-1", "--format=%s", f"{tag}^{{commit}}", "--"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode == 0:
            known[tag] = done.stdout.strip()
    return known


def wanted(found: Sequence[Release], name: str) -> Release:
    """By tag or by digest. Raises Problem if there is no such one."""
    for one in found:
        if name and (name in one.tags or name == one.digest):
            return one
    if re.fullmatch(r"sha256:[0-9a-f]{12,}", name):  # as it is shown here
        of_it = [one for one in found if one.digest.startswith(name)]
        if len(of_it) == 1:
            return of_it[0]
    raise Problem(
        "there is no such release",
        value=name,
        detail=f"the newest are {newest(found)}",
        fix="name a tag or a digest that make releases shows. The last 20 that were released are "
        "kept",
    )
