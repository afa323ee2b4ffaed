"""`make releases`: the images there are, the newest first: what each is of, and which is live."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from deployments.findings import SEVERITIES
from deployments.operate.installation import Installation, asking
from deployments.operate.words import distance, first_line, short_digest
from deployments.outputs import LIVE
from flows.problem import Problem

_COMMIT = re.compile(r"[0-9a-f]{7,40}")


@dataclass(frozen=True)
class Release:
    """An image of the installation's repository."""

    digest: str  # 'sha256:…'
    tags: tuple[str, ...]  # `live` excepted: as a rule one, the commit's first 12 digits
    pushed: datetime
    live: bool
    scan: str  # '1 CRITICAL, 3 HIGH', 'nothing found', 'in progress', 'none'

    @property
    def tag(self) -> str:
        return next(iter(self.tags), "-")

    def __str__(self) -> str:
        return f"{self.tag} ({short_digest(self.digest)})"


def repository(at: Installation) -> str:
    """Its name, without the registry."""
    return at.output("ImageRepository").partition("/")[2]


def releases(at: Installation) -> list[Release]:
    """The newest first."""
    with asking("describe the images"):
        pages = at.client("ecr").get_paginator("describe_images")
        asked = pages.paginate(repositoryName=repository(at), filter={"tagStatus": "TAGGED"})
        found = [_release(image) for page in asked for image in page["imageDetails"]]
    return sorted(found, key=lambda one: (one.pushed, one.tag), reverse=True)


def live(found: Sequence[Release]) -> Release | None:
    return next((one for one in found if one.live), None)


def _release(image: Mapping[str, Any]) -> Release:
    tags = image.get("imageTags") or ()
    return Release(
        digest=str(image["imageDigest"]),
        tags=tuple(sorted(tag for tag in tags if tag != LIVE)),
        pushed=image["imagePushedAt"],
        live=LIVE in tags,
        scan=scan(image),
    )


def scan(image: Mapping[str, Any]) -> str:
    """What ECR's scan says of an image that DescribeImages shows."""
    status = str((image.get("imageScanStatus") or {}).get("status") or "")
    if status in ("COMPLETE", "ACTIVE"):
        counts = (image.get("imageScanFindingsSummary") or {}).get("findingSeverityCounts") or {}
        worst_first = sorted(counts, key=lambda name: -_rank(name))
        said = ", ".join(f"{counts[name]} {name}" for name in worst_first if counts[name])
        return said or "nothing found"
    return status.lower().replace("_", " ") or "none"


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
            LIVE if one.live else "",
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
        fix="name a tag or a digest that make releases shows. Of older ones the last 20 are kept",
    )
