"""AWS::CodeCommit, AWS::CodeBuild, AWS::CodePipeline."""

from __future__ import annotations

from typing import Any

from moto.codebuild.models import codebuild_backends
from moto.codecommit.models import codecommit_backends
from moto.core.utils import iso_8601_datetime_with_milliseconds, unix_time

from infra.local.cloudformation.api import Api, Props, found, only, without
from infra.local.cloudformation.kind import Kind
from infra.local.cloudformation.tags import retag

# --- repositories --------------------------------------------------------------------------------


def _create_repository(api: Api, p: Props) -> str:
    answer = api.call("codecommit", "create_repository", **p)
    return str(answer["repositoryMetadata"]["repositoryId"])


def _update_repository(api: Api, _: str, p: Props, old: Props) -> None:
    """In place, the name too; moto has no call for either."""
    backend = codecommit_backends[api.account][api.region]
    repository = backend.repositories.pop(old["RepositoryName"])
    metadata = repository.repository_metadata
    name, former = p["RepositoryName"], metadata["repositoryName"]
    for key in ("cloneUrlHttp", "cloneUrlSsh", "Arn"):
        metadata[key] = metadata[key].removesuffix(former) + name
    metadata["repositoryName"] = name
    metadata["repositoryDescription"] = p.get("RepositoryDescription", "")
    metadata["lastModifiedDate"] = iso_8601_datetime_with_milliseconds()
    backend.repositories[name] = repository


def _find_repository(api: Api, name: str, _: Props) -> str | None:
    answer = found(lambda: api.call("codecommit", "get_repository", repositoryName=name))
    return answer["repositoryMetadata"]["repositoryId"] if answer else None


def _repository_attributes(api: Api, _: str, p: Props) -> dict[str, Any]:
    name = p["RepositoryName"]
    metadata = codecommit_backends[api.account][api.region].get_repository(name)
    return {
        "Arn": metadata["Arn"],
        "Name": name,
        "RepositoryId": metadata["repositoryId"],
        "CloneUrlHttp": metadata["cloneUrlHttp"],
        "CloneUrlSsh": metadata["cloneUrlSsh"],
    }


# --- builds --------------------------------------------------------------------------------------


def _create_project(api: Api, p: Props) -> str:
    # Moto asks for the location of what CodePipeline brings and takes; AWS has none for it.
    somewhere = {
        name: {"Location": "-"} | p[name]
        for name in ("Source", "Artifacts")
        if p[name]["Type"] == "CODEPIPELINE"
    }
    api.call("codebuild", "create_project", **p | somewhere)
    _write_project(api, p, {})
    return str(p["Name"])


def _write_project(api: Api, p: Props, old: Props) -> None:
    """Moto drops some settings of a new project and cannot update one."""
    project = codebuild_backends[api.account][api.region].codebuild_projects[p["Name"]]
    new, former = (api.fitted("codebuild", "create_project", x) for x in (p, old))
    for gone in former.keys() - new.keys():
        project.project_metadata.pop(gone, None)
    project.project_metadata |= new | {"lastModifiedDate": unix_time()}
    project.service_role, project.tags = new["serviceRole"], new.get("tags")


def _find_project(api: Api, name: str, _: Props) -> str | None:
    projects = api.call("codebuild", "batch_get_projects", names=[name])["projects"]
    return name if projects else None


# --- pipelines -----------------------------------------------------------------------------------

_BESIDE = ("Tags", "RestartExecutionOnUpdate", "DisableInboundStageTransitions")


def _pipeline(p: Props) -> Props:
    pipeline = without(p, *_BESIDE)
    if "ArtifactStores" in pipeline:
        stores = {store["Region"]: store["ArtifactStore"] for store in pipeline["ArtifactStores"]}
        pipeline["ArtifactStores"] = stores
    return pipeline


def _create_pipeline(api: Api, p: Props) -> str:
    api.call("codepipeline", "create_pipeline", pipeline=_pipeline(p), **only(p, "Tags"))
    return str(p["Name"])


def _update_pipeline(api: Api, name: str, p: Props, old: Props) -> None:
    if _pipeline(p) != _pipeline(old):
        api.call("codepipeline", "update_pipeline", pipeline=_pipeline(p))
    retag(api, "codepipeline", api.arn("codepipeline", name), p, old)


def _find_pipeline(api: Api, name: str, _: Props) -> str | None:
    return name if found(lambda: api.call("codepipeline", "get_pipeline", name=name)) else None


def _pipeline_attributes(api: Api, name: str, _: Props) -> dict[str, Any]:
    pipeline = api.call("codepipeline", "get_pipeline", name=name)["pipeline"]
    return {"Arn": api.arn("codepipeline", name), "Version": str(pipeline["version"])}


KINDS = (
    Kind(
        "AWS::CodeCommit::Repository",
        _create_repository,
        lambda api, _, p: api.call("codecommit", "delete_repository", **only(p, "RepositoryName")),
        _update_repository,
        _repository_attributes,
        name="RepositoryName",
        renames=True,
        known=("RepositoryName", "RepositoryDescription", "Tags"),
        find=_find_repository,
    ),
    Kind(
        "AWS::CodeBuild::Project",
        _create_project,
        lambda api, name, _: api.call("codebuild", "delete_project", name=name),
        lambda api, _, p, old: _write_project(api, p, old),
        lambda api, name, _: {"Arn": api.arn("codebuild", f"project/{name}")},
        name="Name",
        find=_find_project,
    ),
    Kind(
        "AWS::CodePipeline::Pipeline",
        _create_pipeline,
        lambda api, name, _: api.call("codepipeline", "delete_pipeline", name=name),
        _update_pipeline,
        _pipeline_attributes,
        name="Name",
        find=_find_pipeline,
        importable=True,
    ),
)
