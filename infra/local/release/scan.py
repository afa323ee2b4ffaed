"""ECR's basic scan of what is pushed: for a moment IN_PROGRESS, then COMPLETE with what a test says
is found.

https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-scanning-basic.html

A test may have it COMPLETE before it tells anything, as ECR is with enhanced scanning:
https://github.com/aws/aws-sdk/issues/289
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

Finding = Mapping[str, Any]  # ImageScanFinding: name, severity, uri, description, attributes


def finding(name: str, severity: str, package: str = "", version: str = "") -> Finding:
    """One as ECR tells it. `name`: CVE-2026-1234; `severity`: CRITICAL, HIGH, MEDIUM, LOW, …"""
    given = {"package_name": package, "package_version": version}
    return {
        "name": name,
        "severity": severity,
        "uri": f"https://security-tracker.debian.org/tracker/{name}",
        "attributes": [{"key": key, "value": value} for key, value in given.items() if value],
    }


@dataclass(frozen=True)
class Scan:
    """Of one image."""

    at: datetime  # when it is complete
    told: datetime  # when ECR tells what it has found
    found: tuple[Finding, ...]

    def status(self, now: datetime) -> dict[str, str]:
        if now < self.at:
            return {"status": "IN_PROGRESS"}
        return {
            "status": "COMPLETE",
            "description": "The scan was completed successfully.",
        }

    def findings(self, now: datetime) -> dict[str, Any]:
        """ImageScanFindings."""
        if now < self.told:
            return {"findings": []}
        return {
            "imageScanCompletedAt": self.at,
            "vulnerabilitySourceUpdatedAt": self.at,
            "findingSeverityCounts": dict(Counter(each["severity"] for each in self.found)),
            "findings": [dict(each) for each in self.found],
        }


@dataclass
class Scanner:
    """`findings` is asked once for each image that is pushed: by its digest."""

    findings: Callable[[str], Sequence[Finding]] = lambda _: ()
    seconds: float = 0.5  # that a scan takes
    late: float = 0  # seconds more until ECR tells what it has found

    def scan(self, digest: str) -> Scan:
        """One that begins now."""
        at = datetime.now(UTC) + timedelta(seconds=self.seconds)
        return Scan(at, at + timedelta(seconds=self.late), tuple(self.findings(digest)))
