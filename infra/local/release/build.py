"""What is known of one build, as BatchGetBuilds and the event on EventBridge tell it."""

from __future__ import annotations

import subprocess
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from infra.local.aws import ACCOUNT
from infra.local.release import events

Json = dict[str, Any]


class Ended(Exception):
    """Of a build that does not succeed: its status, and why."""

    def __init__(self, status: str, code: str, message: str, phase: str = "") -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.phase = status, code, message, phase


@dataclass
class Phase:
    """One of a build's. https://docs.aws.amazon.com/codebuild/latest/APIReference/API_BuildPhase.html"""

    kind: str
    began: datetime
    status: str = ""  # while it lasts
    ended: datetime | None = None
    code: str = ""
    message: str = ""

    @property
    def seconds(self) -> int:
        return round(((self.ended or self.began) - self.began).total_seconds())

    def told(self) -> Json:
        told: Json = {"phaseType": self.kind, "startTime": self.began}
        if self.ended is not None:
            told |= {
                "phaseStatus": self.status,
                "endTime": self.ended,
                "durationInSeconds": self.seconds,
                "contexts": [{"statusCode": self.code, "message": self.message}],
            }
        return told


@dataclass
class Build:
    """Its thread writes, requests read."""

    id: str  # PROJECT:UUID
    arn: str
    number: int
    project: Json  # as BatchGetProjects tells it
    source_version: str  # 'arn:aws:s3:::BUCKET/KEY'
    buildspec: str
    region: str
    variables: dict[str, str]
    began: datetime
    status: str = "IN_PROGRESS"
    revision: str = ""
    ended: datetime | None = None
    phases: list[Phase] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    _stopping: str = ""  # the status that it is to end with
    _process: subprocess.Popen[str] | None = None

    def ends_as(self) -> str:
        """The status of one that is stopped from outside; ''."""
        return self._stopping

    @property
    def uuid(self) -> str:
        return self.id.partition(":")[2]

    @property
    def log_group(self) -> str:
        logs = (self.project.get("logsConfig") or {}).get("cloudWatchLogs") or {}
        return str(logs.get("groupName") or f"/aws/codebuild/{self.project['name']}")

    def phase(self, kind: str) -> None:
        """Goes on to a phase."""
        self.close("SUCCEEDED")
        self.phases.append(Phase(kind, datetime.now(UTC)))

    def close(self, status: str, code: str = "", message: str = "") -> None:
        """Ends the phase in hand."""
        if self.phases and self.phases[-1].ended is None:
            now = self.phases[-1]
            now.status, now.code, now.message = status, code, message
            now.ended = datetime.now(UTC)

    def told(self) -> Json:
        """https://docs.aws.amazon.com/codebuild/latest/APIReference/API_Build.html"""
        logs = f"arn:aws:logs:{self.region}:{ACCOUNT}:log-group:{self.log_group}"
        told: Json = {
            "id": self.id,
            "arn": self.arn,
            "buildNumber": self.number,
            "startTime": self.began,
            "currentPhase": self.phases[-1].kind,
            "buildStatus": self.status,
            "sourceVersion": self.source_version,
            "projectName": self.project["name"],
            "phases": [phase.told() for phase in self.phases],
            "source": {**self.project["source"], "buildspec": self.buildspec},
            "artifacts": {"location": ""},
            "environment": self.project["environment"],
            "serviceRole": self.project["serviceRole"],
            "logs": {
                "groupName": self.log_group,
                "streamName": self.uuid,
                "deepLink": self._log_link(),
                "cloudWatchLogsArn": f"{logs}:log-stream:{self.uuid}",
            },
            "timeoutInMinutes": self.project.get("timeoutInMinutes") or 60,
            "queuedTimeoutInMinutes": self.project.get("queuedTimeoutInMinutes") or 480,
            "buildComplete": self.ended is not None,
            "initiator": self.variables["CODEBUILD_INITIATOR"],
        }
        told["source"].pop("location", None)  # moto asks for one
        if self.revision:
            told["resolvedSourceVersion"] = self.revision
        if self.ended is not None:
            told["endTime"] = self.ended
        return told

    def _log_link(self) -> str:
        return (
            f"https://console.aws.amazon.com/cloudwatch/home?region={self.region}"
            f"#logsV2:log-groups/log-group/{self.log_group.replace('/', '$252F')}"
            f"/log-events/{self.uuid}"
        )

    def event(self) -> Json:
        """https://docs.aws.amazon.com/codebuild/latest/userguide/sample-build-notifications-ref.html"""
        environment = self.project["environment"]
        return {
            "build-status": self.status,
            "project-name": self.project["name"],
            "build-id": self.arn,
            "additional-information": {
                "artifact": {"location": ""},
                "environment": {
                    "image": environment["image"],
                    "privileged-mode": bool(environment.get("privilegedMode")),
                    "compute-type": environment["computeType"],
                    "type": environment["type"],
                    "environment-variables": environment.get("environmentVariables") or [],
                },
                "timeout-in-minutes": self.project.get("timeoutInMinutes") or 60,
                "build-complete": self.ended is not None,
                "initiator": self.variables["CODEBUILD_INITIATOR"],
                "build-start-time": events.american(self.began),
                "source": {"buildspec": self.buildspec, "type": self.project["source"]["type"]},
                "source-version": self.source_version,
                "logs": {
                    "group-name": self.log_group,
                    "stream-name": self.uuid,
                    "deep-link": self._log_link(),
                },
                "phases": [_phase_event(phase) for phase in self.phases],
            },
            "current-phase": self.phases[-1].kind,
            "current-phase-context": "[]",
            "version": "1",
        }


def _phase_event(phase: Phase) -> Json:
    told: Json = {"phase-type": phase.kind, "start-time": events.american(phase.began)}
    if phase.ended is not None:
        told |= {
            "phase-context": [f"{phase.code}: {phase.message}"],
            "phase-status": phase.status,
            "end-time": events.american(phase.ended),
            "duration-in-seconds": phase.seconds,
        }
    return told
