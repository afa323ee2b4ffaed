"""From a push to the image: which links of it the templates have."""

from __future__ import annotations

from collections.abc import Iterator

from infra.picture.nodes import actions, pipelines, source_actions
from infra.picture.parts import Edge
from infra.picture.template import Cloud, Resource


def edges(cloud: Cloud) -> Iterator[Edge]:
    for pipeline, action in source_actions(cloud):
        yield from _source(cloud, pipeline, action)
    for pipeline in pipelines(cloud):
        yield from _pipeline(cloud, pipeline)
    for project in cloud.of("CodeBuild::Project"):
        yield from _build(cloud, project)


def _source(cloud: Cloud, pipeline: Resource, action: dict[str, object]) -> Iterator[Edge]:
    if "FullRepositoryId" in action:
        yield Edge("Developers", "Elsewhere", "push")
        if action.get("DetectChanges") == "true":
            yield Edge("Elsewhere", pipeline.id, f"a push to {action['BranchName']} starts")
        return
    repository = cloud.find("CodeCommit::Repository", action["RepositoryName"])
    source = repository.id if repository else "Elsewhere"
    yield Edge("Developers", source, "push")
    arn = f"arn:aws:codecommit:::{cloud.text(action['RepositoryName'])}"
    for rule in cloud.of("Events::Rule"):
        if not any(cloud.find("CodePipeline::Pipeline", t["Arn"]) for t in rule.get("Targets")):
            continue
        if arn in map(cloud.text, rule.get("EventPattern", "resources") or []):
            branches = rule.get("EventPattern", "detail", "referenceName") or []
            yield Edge(source, rule.id, ", ".join(branches))
        for target in rule.get("Targets"):
            role = cloud.role(target.get("RoleArn"))
            if cloud.find("CodePipeline::Pipeline", target["Arn"]) == pipeline and cloud.may(
                role, "codepipeline:StartPipelineExecution", pipeline
            ):
                yield Edge(rule.id, pipeline.id, "starts")


def _pipeline(cloud: Cloud, pipeline: Resource) -> Iterator[Edge]:
    role = cloud.role(pipeline.get("RoleArn"))
    for action in actions(pipeline):
        project = cloud.find("CodeBuild::Project", action.get("ProjectName"))
        if project and cloud.may(role, "codebuild:StartBuild", project):
            yield Edge(pipeline.id, project.id, "starts")
    store = cloud.find("S3::Bucket", pipeline.get("ArtifactStore", "Location"))
    if store and cloud.may(role, "s3:PutObject", store, "/any"):
        yield Edge(pipeline.id, store.id, "commit")


def _build(cloud: Cloud, project: Resource) -> Iterator[Edge]:
    role = cloud.role(project.get("ServiceRole"))
    variables = {
        variable["Name"]: cloud.text(variable["Value"])
        for variable in project.get("Environment", "EnvironmentVariables") or []
    }
    for pipeline in pipelines(cloud):
        store = cloud.find("S3::Bucket", pipeline.get("ArtifactStore", "Location"))
        if store and cloud.may(role, "s3:GetObject", store, "/any"):
            yield Edge(store.id, project.id)
    for repository in cloud.of("ECR::Repository"):
        named = variables.get("IMAGE", "").endswith(f"/{cloud.name(repository)}")
        if named and cloud.may(role, "ecr:PutImage", repository):
            yield Edge(project.id, repository.id, "pushes")
    for service in cloud.of("ECS::Service"):
        named = variables.get("SERVICE") == cloud.name(service)
        if named and cloud.may(role, "ecs:UpdateService", service):
            yield Edge(project.id, service.id, "wakes, to deploy it")
