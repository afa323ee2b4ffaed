"""What is known of one execution of a pipeline and its actions, as CodePipeline's API tells it."""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]


@dataclass
class Action:
    """One of an execution's actions."""

    stage: str
    declared: Json  # as the pipeline has it
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: str = "InProgress"
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    changed: datetime = field(default_factory=lambda: datetime.now(UTC))
    external_id: str = ""
    url: str = ""
    summary: str = ""
    code: str = ""  # of the error
    artifacts: list[Json] = field(default_factory=list)  # that it has made

    @property
    def name(self) -> str:
        return str(self.declared["name"])

    def state(self) -> Json:
        """As GetPipelineState tells it."""
        latest: Json = {
            "actionExecutionId": self.id,
            "status": self.status,
            "lastStatusChange": self.changed,
        }
        texts = {
            "summary": self.summary,
            "externalExecutionId": self.external_id,
            "externalExecutionUrl": self.url,
        }
        latest |= {name: text for name, text in texts.items() if text}
        if self.code:
            latest["errorDetails"] = {"code": self.code, "message": self.summary}
        return {"actionName": self.name, "latestExecution": latest}

    def detail(self, version: int, execution: str) -> Json:
        """As ListActionExecutions tells it."""
        result = {
            "externalExecutionId": self.external_id,
            "externalExecutionSummary": self.summary,
            "externalExecutionUrl": self.url,
        }
        told: Json = {name: text for name, text in result.items() if text}
        if self.code:
            told["errorDetails"] = {"code": self.code, "message": self.summary}
        kind = self.declared["actionTypeId"]
        return {
            "pipelineExecutionId": execution,
            "actionExecutionId": self.id,
            "pipelineVersion": version,
            "stageName": self.stage,
            "actionName": self.name,
            "startTime": self.began,
            "lastUpdateTime": self.changed,
            "status": self.status,
            "input": {
                "actionTypeId": kind,
                "configuration": self.declared.get("configuration") or {},
            },
            "output": {"executionResult": told},
        }


@dataclass
class Execution:
    """Its thread writes, requests read."""

    pipeline: Json  # as it was when it began
    trigger: tuple[str, str]  # type, detail
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: str = "InProgress"
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    changed: datetime = field(default_factory=lambda: datetime.now(UTC))
    commit: str = ""
    message: str = ""  # of the commit
    source: str = ""  # the action that has brought it
    actions: list[Action] = field(default_factory=list)
    artifacts: dict[str, Json] = field(default_factory=dict)  # by name: where they are
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def name(self) -> str:
        return str(self.pipeline["name"])

    @property
    def failed(self) -> Action | None:
        return next((action for action in self.actions if action.status == "Failed"), None)

    def told(self) -> Json:
        """https://docs.aws.amazon.com/codepipeline/latest/APIReference/API_PipelineExecution.html"""
        revisions = [
            {
                "name": self.source,
                "revisionId": self.commit,
                "revisionSummary": self.message,
            }
        ]
        return {
            "pipelineName": self.name,
            "pipelineVersion": self.pipeline["version"],
            "pipelineExecutionId": self.id,
            "status": self.status,
            "artifactRevisions": revisions if self.commit else [],
            "executionMode": "SUPERSEDED",
            "executionType": "STANDARD",
            "trigger": {"triggerType": self.trigger[0], "triggerDetail": self.trigger[1]},
        }

    def summary(self) -> Json:
        """https://docs.aws.amazon.com/codepipeline/latest/APIReference/API_PipelineExecutionSummary.html"""
        revisions = [
            {
                "actionName": self.source,
                "revisionId": self.commit,
                "revisionSummary": self.message,
            }
        ]
        return {
            "pipelineExecutionId": self.id,
            "status": self.status,
            "startTime": self.began,
            "lastUpdateTime": self.changed,
            "sourceRevisions": revisions if self.commit else [],
            "executionMode": "SUPERSEDED",
            "executionType": "STANDARD",
            "trigger": {"triggerType": self.trigger[0], "triggerDetail": self.trigger[1]},
        }
