"""Puts the release path in the place of moto's pipelines, builds and commits: patches of moto
5.2.5's internals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from moto.codebuild.responses import CodeBuildResponse
from moto.codecommit.exceptions import RepositoryDoesNotExistException
from moto.codecommit.responses import CodeCommitResponse
from moto.codepipeline.responses import CodePipelineResponse
from moto.core.exceptions import JsonRESTError
from moto.core.responses import ActionResult
from moto.iam.models import iam_backends
from moto.sts.models import sts_backends

from flows.problem import Problem
from infra.local.aws import ACCOUNT
from infra.local.release.builds import Builds
from infra.local.release.images import parameters
from infra.local.release.pipelines import Pipelines
from infra.local.release.source import Repository, git

Json = dict[str, Any]


class BranchDoesNotExist(JsonRESTError):
    code = 400

    def __init__(self, branch: str) -> None:
        super().__init__("BranchDoesNotExistException", f"Branch {branch} does not exist.")


class CommitDoesNotExist(JsonRESTError):
    code = 400

    def __init__(self, commit: str) -> None:
        super().__init__("CommitDoesNotExistException", f"Commit {commit} does not exist.")


@contextmanager
def commits(repository: Repository, name: str) -> Iterator[None]:
    """CodeCommit's GetBranch and GetCommit of the repository that has this name there."""

    def here(response: Any) -> Json:
        given: Json = parameters(response)
        if given["repositoryName"] != name:
            raise RepositoryDoesNotExistException(given["repositoryName"])
        return given

    def get_branch(response: Any) -> ActionResult:
        branch = here(response)["branchName"]
        try:
            commit = repository.head(branch)
        except Problem as problem:
            raise BranchDoesNotExist(branch) from problem
        return ActionResult({"branch": {"branchName": branch, "commitId": commit}})

    def get_commit(response: Any) -> ActionResult:
        """https://docs.aws.amazon.com/codecommit/latest/APIReference/API_Commit.html"""
        commit = here(response)["commitId"]
        told = git(repository.path, "log", "-1", f"--format={_FORMAT}", commit, check=False)
        if not told:
            raise CommitDoesNotExist(commit)
        tree, parents, author, committer, message = told.split("\0", 4)
        return ActionResult(
            {
                "commit": {
                    "commitId": commit,
                    "treeId": tree,
                    "parents": parents.split(),
                    "message": message,
                    "author": _person(author),
                    "committer": _person(committer),
                    "additionalData": "",
                }
            }
        )

    with _added(CodeCommitResponse, {"get_branch": get_branch, "get_commit": get_commit}):
        yield


# The parts of it that hold no zero byte; %ad and %cd: seconds, zone.
_FORMAT = "%T%x00%P%x00%an|%ae|%at +0000%x00%cn|%ce|%ct +0000%x00%B"


def _person(text: str) -> Json:
    name, email, date = text.rsplit("|", 2)
    return {"name": name, "email": email, "date": date}


@contextmanager
def in_place(pipelines: Pipelines, builds: Builds) -> Iterator[None]:
    def start(response: Any) -> ActionResult:
        given = parameters(response)
        execution = pipelines.start(given["name"], "StartPipelineExecution", _caller(response))
        return ActionResult({"pipelineExecutionId": execution.id})

    asked = (
        pipelines.get_pipeline_execution,
        pipelines.list_pipeline_executions,
        pipelines.list_action_executions,
        pipelines.get_pipeline_state,
    )
    of_pipelines = {operation.__name__: _answering(operation) for operation in asked}
    of_builds = {
        operation.__name__: _answering(operation)
        for operation in (builds.start_build, builds.batch_get_builds, builds.stop_build)
    }
    with ExitStack() as stack:
        stack.enter_context(
            _added(CodePipelineResponse, {**of_pipelines, "start_pipeline_execution": start})
        )
        stack.enter_context(_added(CodeBuildResponse, of_builds))
        yield


def _answering(operation: Callable[[Json], Json]) -> Callable[[Any], ActionResult]:
    return lambda response: ActionResult(operation(parameters(response)))


def _caller(response: Any) -> str:
    """Its ARN."""
    key = response.get_access_key()
    role = sts_backends[ACCOUNT]["aws"].get_assumed_role_from_access_key(key)
    if role is not None:
        return str(role.arn)
    for user in iam_backends[ACCOUNT]["aws"].users.values():
        if any(each.access_key_id == key for each in user.access_keys):
            return str(user.arn)
    return f"arn:aws:iam::{ACCOUNT}:root"


@contextmanager
def _added(owner: Any, methods: dict[str, Any]) -> Iterator[None]:
    """Set attributes, and put back what there was, if there was something."""
    before = {name: owner.__dict__[name] for name in methods if name in owner.__dict__}
    for name, method in methods.items():
        setattr(owner, name, method)
    try:
        yield
    finally:
        for name in methods:
            if name in before:
                setattr(owner, name, before[name])
            else:
                delattr(owner, name)
