"""CodePipeline: each execution goes from stage to stage, as the pipeline's role."""

from __future__ import annotations

import copy
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from moto.codepipeline.exceptions import (
    PipelineExecutionNotFoundException,
    PipelineNotFoundException,
)
from moto.codepipeline.models import codepipeline_backends

from flows.problem import Problem
from infra.local.aws import ACCOUNT, LocalAws
from infra.local.iam import NotTrusted, assume
from infra.local.iam.ask import ask
from infra.local.release import events
from infra.local.release.builds import REVISION
from infra.local.release.executions import Action, Execution, Json
from infra.local.release.source import Repository
from infra.local.release.stages import Stages

Say = Callable[[str], None]

_LOOK = 0.25  # seconds between looks at a build
_LONGEST = 2048  # characters of a summary: API_ActionExecution.html

# What CodePipeline uses besides what has an API. Of a connection it asks both names of the service:
# which of them AWS checks follows the ARN's own.
_ARCHIVE = ("codecommit:UploadArchive", "codecommit:GetUploadArchiveStatus")


class Failed(Exception):
    """Of an action: the error's code, and the summary as CodePipeline words it."""

    def __init__(self, code: str, summary: str) -> None:
        super().__init__(summary)
        self.code, self.summary = code, summary[:_LONGEST]


@dataclass
class Pipelines:
    """Those of one local AWS, with one source."""

    aws: LocalAws
    repository: Repository
    say: Say
    _executions: list[Execution] = field(default_factory=list)
    _stages: dict[str, Stages] = field(default_factory=dict)  # by pipeline
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _threads: list[threading.Thread] = field(default_factory=list)
    _closed: threading.Event = field(default_factory=threading.Event)

    # --- what CodePipeline's API asks ------------------------------------------------------------

    def start(self, name: str, trigger: str, detail: str) -> Execution:
        """A new execution, which begins at once."""
        execution = Execution(copy.deepcopy(self._pipeline(name)), (trigger, detail))
        thread = threading.Thread(target=self._run, args=[execution], name=f"release-{name}")
        with self._changed:
            self._stages.setdefault(name, Stages()).begin(execution.id)
            self._executions.append(execution)
            self._threads = [each for each in self._threads if each.is_alive()] + [thread]
        if not self._closed.is_set():
            thread.start()
        return execution

    def get_pipeline_execution(self, request: Json) -> Json:
        name, id_ = request["pipelineName"], request["pipelineExecutionId"]
        for execution in self.executions(name):
            if execution.id == id_:
                return {"pipelineExecution": execution.told()}
        raise PipelineExecutionNotFoundException(
            f"The pipeline execution ID '{id_}' was not found for the pipeline '{name}'"
        )

    def list_pipeline_executions(self, request: Json) -> Json:
        """The newest first."""
        found = self.executions(request["pipelineName"])[::-1]
        most = request.get("maxResults") or 100
        return {"pipelineExecutionSummaries": [each.summary() for each in found[:most]]}

    def list_action_executions(self, request: Json) -> Json:
        """The newest first."""
        wanted = (request.get("filter") or {}).get("pipelineExecutionId")
        found = [
            action.detail(execution.pipeline["version"], execution.id)
            for execution in self.executions(request["pipelineName"])[::-1]
            if wanted in (None, execution.id)
            for action in execution.actions[::-1]
        ]
        return {"actionExecutionDetails": found[: request.get("maxResults") or 100]}

    def get_pipeline_state(self, request: Json) -> Json:
        """https://docs.aws.amazon.com/codepipeline/latest/APIReference/API_GetPipelineState.html"""
        name = request["name"]
        pipeline = self._pipeline(name)
        executions = self.executions(name)
        return {
            "pipelineName": name,
            "pipelineVersion": pipeline["version"],
            "stageStates": [self._stage_state(name, s, executions) for s in pipeline["stages"]],
        }

    def _stage_state(self, name: str, stage: Json, executions: list[Execution]) -> Json:
        told: Json = {
            "stageName": stage["name"],
            "inboundTransitionState": {"enabled": True},
            "actionStates": [{"actionName": action["name"]} for action in stage["actions"]],
        }
        with self._changed:
            waiting = self._stages.setdefault(name, Stages()).waiting(stage["name"])
        if waiting:
            inbound = {"pipelineExecutionId": waiting, "status": "InProgress"}
            told["inboundExecutions"] = [inbound]
        for execution in reversed(executions):
            own = [action for action in execution.actions if action.stage == stage["name"]]
            if own:
                told["actionStates"] = [action.state() for action in own]
                statuses = {action.status for action in own}
                status = next((s for s in ("Failed", "InProgress") if s in statuses), "Succeeded")
                told["latestExecution"] = {"pipelineExecutionId": execution.id, "status": status}
                break
        return told

    def executions(self, name: str) -> list[Execution]:
        """All of a pipeline, the first first. Raises PipelineNotFoundException."""
        self._pipeline(name)
        return [each for each in list(self._executions) if each.name == name]

    def _pipeline(self, name: str) -> Json:
        known = codepipeline_backends[ACCOUNT][self.aws.region].pipelines.get(name)
        if known is None:
            raise PipelineNotFoundException(
                f"The account with id '{ACCOUNT}' does not include a pipeline with the name "
                f"'{name}'"
            )
        found: Json = known.pipeline
        return found

    # --- one execution ---------------------------------------------------------------------------

    def _run(self, execution: Execution) -> None:
        self._tell_pipeline(execution, "STARTED")
        status = "Succeeded"
        for stage in execution.pipeline["stages"]:
            if not self._enters(execution, stage["name"]):
                status = "Superseded" if not self._closed.is_set() else "Stopped"
                break
            try:
                self._tell_stage(execution, stage["name"], "STARTED")
                done = all(self._acts(execution, stage["name"], one) for one in _in_order(stage))
                self._tell_stage(execution, stage["name"], "SUCCEEDED" if done else "FAILED")
            finally:
                self._leaves(execution, stage["name"])
            if not done:
                status = "Failed"
                break
        execution.status, execution.changed = status, datetime.now(UTC)
        self._tell_pipeline(execution, status.upper())
        execution.over.set()

    def _enters(self, execution: Execution, stage: str) -> bool:
        """Comes back once it is in the stage; or False: a newer one has taken its place."""
        with self._changed:
            stages = self._stages[execution.name]
            found = stages.arrive(stage, execution.id)
            for each in self._executions:
                if each.id in found.superseded:
                    each.status = "Superseded"
            self._changed.notify_all()
            while stages.inside(stage) != execution.id:
                if execution.status == "Superseded" or self._closed.is_set():
                    return False
                self._changed.wait(_LOOK)
            return True

    def _leaves(self, execution: Execution, stage: str) -> None:
        with self._changed:
            self._stages[execution.name].leave(stage)
            self._changed.notify_all()

    def _acts(self, execution: Execution, stage: str, declared: Json) -> bool:
        """Whether the action has succeeded."""
        action = Action(stage, declared)
        execution.actions.append(action)
        self._tell_action(execution, action, "STARTED")
        try:
            self._act(execution, action)
            action.status = "Succeeded"
        except Failed as failed:
            action.status, action.code, action.summary = "Failed", failed.code, failed.summary
        except (NotTrusted, ClientError, BotoCoreError) as error:
            action.status, action.code, action.summary = "Failed", _code(error), str(error)
        except Problem as problem:
            action.status, action.code = "Failed", "ConfigurationError"
            action.summary = str(problem)
        except Exception as error:  # a fault of the emulator's own
            action.status, action.code = "Failed", "InternalError"
            action.summary = f"{type(error).__name__}: {error}"
        action.changed = execution.changed = datetime.now(UTC)
        self._tell_action(execution, action, action.status.upper())
        return action.status == "Succeeded"

    def _act(self, execution: Execution, action: Action) -> None:
        provider = action.declared["actionTypeId"]["provider"]
        match provider:
            case "CodeCommit" | "CodeStarSourceConnection":
                self._source(execution, action, connection=provider != "CodeCommit")
            case "CodeBuild":
                self._build(execution, action)
            case _:
                raise Failed("ConfigurationError", f"{provider} is not known here")

    def _source(self, execution: Execution, action: Action, *, connection: bool) -> None:
        """https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-CodeCommit.html"""
        configuration = action.declared["configuration"]
        branch = configuration["BranchName"]
        if connection:
            arn = configuration["ConnectionArn"]
            use = f"{arn.split(':')[2]}:UseConnection"
            self._ask(execution, action, arn, use)
            commit = self.repository.head(branch)
            message = self.repository.subject(commit)
        else:
            client = self._client(execution, action, "codecommit")
            at = {"repositoryName": configuration["RepositoryName"]}
            commit = client.get_branch(**at, branchName=branch)["branch"]["commitId"]
            told = client.get_commit(**at, commitId=commit)["commit"]
            message = told["message"].partition("\n")[0]
            arn = f"arn:aws:codecommit:{self.aws.region}:{ACCOUNT}:{at['repositoryName']}"
            self._ask(execution, action, arn, *_ARCHIVE)
        execution.commit, execution.message, execution.source = commit, message, action.name
        action.external_id, action.summary = commit, message
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "source.zip"
            self.repository.archive(commit, file)
            for output in action.declared["outputArtifacts"]:
                self._store(execution, action, output["name"], file.read_bytes(), commit)
        self.say(f"release {execution.id[:8]}: {commit[:12]} {message}")

    def _store(
        self, execution: Execution, action: Action, name: str, content: bytes, commit: str
    ) -> None:
        """Keys are as CodePipeline makes them: myPipeline/SourceArti/EXAMPLE."""
        bucket = execution.pipeline["artifactStore"]["location"]
        key = f"{execution.name[:20]}/{name[:10]}/{uuid.uuid4().hex[:7]}.zip"
        self._client(execution, action, "s3").put_object(
            Bucket=bucket, Key=key, Body=content, Metadata={REVISION: commit}
        )
        place = {"name": name, "s3location": {"bucket": bucket, "key": key}}
        execution.artifacts[name] = place
        action.artifacts.append(place)

    def _build(self, execution: Execution, action: Action) -> None:
        """https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-CodeBuild.html"""
        (given,) = action.declared["inputArtifacts"]
        place = execution.artifacts[given["name"]]["s3location"]
        client = self._client(execution, action, "codebuild")
        started = client.start_build(
            projectName=action.declared["configuration"]["ProjectName"],
            sourceVersion=f"arn:aws:s3:::{place['bucket']}/{place['key']}",
        )["build"]
        action.external_id = started["id"]
        action.url = (
            f"https://console.aws.amazon.com/codebuild/home?region={self.aws.region}"
            f"#/builds/{started['id']}/view/new"
        )
        while True:
            (build,) = client.batch_get_builds(ids=[started["id"]])["builds"]
            if build["buildComplete"]:
                break
            time.sleep(_LOOK)
        if build["buildStatus"] != "SUCCEEDED":
            raise Failed("JobFailed", why(build))

    def _ask(self, execution: Execution, action: Action, resource: str, *actions: str) -> None:
        """Raises Failed if the role may not."""
        for each in actions:
            refused = ask(self.aws.record, _role(execution, action), each, resource)
            if refused:
                raise Failed("PermissionError", refused)

    def _client(self, execution: Execution, action: Action, service: str) -> Any:
        keys = assume(
            _role(execution, action),
            "codepipeline.amazonaws.com",
            context={"aws:SourceAccount": ACCOUNT, "aws:SourceArn": self._arn(execution)},
            region=self.aws.region,
        )
        return boto3.client(service, endpoint_url=self.aws.url, region_name=self.aws.region, **keys)

    # --- what it tells ---------------------------------------------------------------------------

    def _arn(self, execution: Execution) -> str:
        return f"arn:aws:codepipeline:{self.aws.region}:{ACCOUNT}:{execution.name}"

    def _base(self, execution: Execution, state: str) -> Json:
        return {
            "pipeline": execution.name,
            "execution-id": execution.id,
            "start-time": events.iso(execution.began),
            "state": state,
            "version": float(execution.pipeline["version"]),
            "pipeline-execution-attempt": 1.0,
        }

    def _tell_pipeline(self, execution: Execution, state: str) -> None:
        detail = self._base(execution, state)
        if state == "STARTED":
            kind, by = execution.trigger
            detail["execution-trigger"] = {"trigger-type": kind, "trigger-detail": by}
        events.put(self.aws.region, events.PIPELINE, self._arn(execution), detail)
        failed = execution.failed
        why_ = f": {failed.summary}" if failed is not None and state == "FAILED" else ""
        self.say(f"release {execution.id[:8]} {state.lower()}{why_}")

    def _tell_stage(self, execution: Execution, stage: str, state: str) -> None:
        detail = {**self._base(execution, state), "stage": stage}
        events.put(self.aws.region, events.STAGE, self._arn(execution), detail)

    def _tell_action(self, execution: Execution, action: Action, state: str) -> None:
        result = {
            "external-execution-url": action.url,
            "external-execution-summary": action.summary,
            "external-execution-id": action.external_id,
            "error-code": action.code,
        }
        kind = action.declared["actionTypeId"]
        detail = {
            **self._base(execution, state),
            "stage": action.stage,
            "action-execution-id": action.id,
            "action": action.name,
            "region": self.aws.region,
            "type": {name: kind[name] for name in ("owner", "provider", "category", "version")},
        }
        if state != "STARTED":
            detail["execution-result"] = {name: text for name, text in result.items() if text}
        given = [a["name"] for a in action.declared.get("inputArtifacts") or []]
        if given:
            detail["input-artifacts"] = [
                execution.artifacts[name] for name in given if name in execution.artifacts
            ]
        if action.artifacts:
            detail["output-artifacts"] = action.artifacts
        events.put(self.aws.region, events.ACTION, self._arn(execution), detail)

    def close(self) -> None:
        """What waits ends; what builds ends with its build, which is stopped first."""
        self._closed.set()
        with self._changed:
            self._changed.notify_all()
            threads = list(self._threads)
        for thread in threads:
            if thread.is_alive():
                thread.join(timeout=60)


def why(build: Json) -> str:
    """As CodePipeline sums up a build that has not succeeded, as BatchGetBuilds tells it."""
    told = f"Build terminated with state: {build['buildStatus']}"
    for phase in build["phases"]:
        if phase.get("phaseStatus", "SUCCEEDED") == "SUCCEEDED":
            continue
        for context in phase.get("contexts") or []:
            if context.get("statusCode"):
                return (
                    f"{told}. Phase: {phase['phaseType']}, Code: {context['statusCode']}, "
                    f"Message: {context['message']}"
                )
    return told


def _role(execution: Execution, action: Action) -> str:
    return str(action.declared.get("roleArn") or execution.pipeline["roleArn"])


def _in_order(stage: Json) -> Iterator[Json]:
    yield from sorted(stage["actions"], key=lambda action: action.get("runOrder", 1))


def _code(error: Exception) -> str:
    if isinstance(error, NotTrusted) or "AccessDenied" in str(error):
        return "PermissionError"
    return "ConfigurationError"
