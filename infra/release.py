"""From a push to the next run: source, build, image. A push starts it, nothing polls."""

from __future__ import annotations

from typing import Any

from aws_cdk import RemovalPolicy
from aws_cdk import aws_codebuild as codebuild
from aws_cdk import aws_codecommit as codecommit
from aws_cdk import aws_codepipeline as codepipeline
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_events as events
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.names import SERVICE, Names
from infra.settings import Settings
from infra.substitute import sub


def release(
    scope: Construct,
    settings: Settings,
    names: Names,
    *,
    images: ecr.Repository,
    artifacts: s3.Bucket,
    log: logs.CfnLogGroup,
) -> codepipeline.CfnPipeline:
    project = _project(scope, settings, names, images, log)
    pipeline = _pipeline(scope, settings, names, artifacts, project)
    if settings.source == "codecommit":
        if not settings.existing_repository:
            _repository(scope, settings)
        _on_push(scope, settings, names)
    return pipeline


def _repository(scope: Construct, settings: Settings) -> None:
    repository = codecommit.CfnRepository(
        scope,
        "Source",
        repository_name=settings.codecommit_repository,
        repository_description="Flows, their deployments, and the cloud they run on.",
    )
    repository.apply_removal_policy(RemovalPolicy.RETAIN)  # it is someone's work


def _project(
    scope: Construct,
    settings: Settings,
    names: Names,
    images: ecr.Repository,
    log: logs.CfnLogGroup,
) -> codebuild.CfnProject:
    values = {
        "IMAGE": images.repository_uri,
        "CLUSTER": settings.installation,
        "SERVICE": SERVICE,
        "SEVERITY": settings.scan_severity,
    }
    return codebuild.CfnProject(
        scope,
        "Build",
        name=settings.installation,
        description="Builds the image from buildspec.yml.",
        service_role=sub(names.role_arn("build")),
        source=codebuild.CfnProject.SourceProperty(type="CODEPIPELINE", build_spec="buildspec.yml"),
        artifacts=codebuild.CfnProject.ArtifactsProperty(type="CODEPIPELINE"),
        environment=codebuild.CfnProject.EnvironmentProperty(
            type="ARM_CONTAINER",  # as Fargate runs it: nothing is emulated
            compute_type="BUILD_GENERAL1_SMALL",
            image="aws/codebuild/amazonlinux-aarch64-standard:3.0",
            privileged_mode=True,  # to build images
            environment_variables=[
                codebuild.CfnProject.EnvironmentVariableProperty(
                    name=name, value=value, type="PLAINTEXT"
                )
                for name, value in values.items()
            ],
        ),
        logs_config=codebuild.CfnProject.LogsConfigProperty(
            cloud_watch_logs=codebuild.CfnProject.CloudWatchLogsConfigProperty(
                status="ENABLED", group_name=log.ref
            )
        ),
        timeout_in_minutes=30,
        queued_timeout_in_minutes=60,
    )


def _pipeline(
    scope: Construct,
    settings: Settings,
    names: Names,
    artifacts: s3.Bucket,
    project: codebuild.CfnProject,
) -> codepipeline.CfnPipeline:
    build = _action(
        "Build",
        "Build",
        "CodeBuild",
        {"ProjectName": project.ref},
        input_artifacts=[codepipeline.CfnPipeline.InputArtifactProperty(name="source")],
    )
    return codepipeline.CfnPipeline(
        scope,
        "Release",
        name=settings.installation,
        pipeline_type="V2",
        execution_mode="SUPERSEDED",  # of two pushes in quick succession the newer one ends as live
        role_arn=sub(names.role_arn("pipeline")),
        artifact_store=codepipeline.CfnPipeline.ArtifactStoreProperty(
            type="S3", location=artifacts.bucket_name
        ),
        stages=[_stage("Source", _source(settings)), _stage("Build", build)],
    )


def _source(settings: Settings) -> Any:
    output = [codepipeline.CfnPipeline.OutputArtifactProperty(name="source")]
    if settings.source == "codecommit":
        configuration = {
            "RepositoryName": settings.codecommit_repository,
            "BranchName": settings.branch,
            "PollForSourceChanges": "false",
        }
        return _action("Source", "Source", "CodeCommit", configuration, output_artifacts=output)
    configuration = {
        "ConnectionArn": settings.connection_arn,
        "FullRepositoryId": settings.repository,
        "BranchName": settings.branch,
        "DetectChanges": "true",
    }
    provider = "CodeStarSourceConnection"
    return _action("Source", "Source", provider, configuration, output_artifacts=output)


def _stage(name: str, action: Any) -> Any:
    return codepipeline.CfnPipeline.StageDeclarationProperty(name=name, actions=[action])


def _action(name: str, category: str, provider: str, configuration: Any, **artifacts: Any) -> Any:
    return codepipeline.CfnPipeline.ActionDeclarationProperty(
        name=name,
        action_type_id=codepipeline.CfnPipeline.ActionTypeIdProperty(
            category=category, owner="AWS", provider=provider, version="1"
        ),
        configuration=configuration,
        run_order=1,
        **artifacts,
    )


def _on_push(scope: Construct, settings: Settings, names: Names) -> None:
    events.CfnRule(
        scope,
        "OnPush",
        name=f"{settings.installation}-push",
        description=f"A commit on {settings.branch} starts the pipeline.",
        event_pattern={
            "source": ["aws.codecommit"],
            "detail-type": ["CodeCommit Repository State Change"],
            "resources": [sub(names.arn("codecommit", settings.codecommit_repository))],
            "detail": {
                "event": ["referenceCreated", "referenceUpdated"],
                "referenceType": ["branch"],
                "referenceName": [settings.branch],
            },
        },
        targets=[
            events.CfnRule.TargetProperty(
                id="Release",
                arn=sub(names.pipeline_arn),
                role_arn=sub(names.role_arn("source-event")),
            )
        ],
    )
