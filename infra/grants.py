"""Who may do what: every role of an installation as data, before any of it is made.

The template is made from this, and so is what `make access` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from deployments.declared import Data, Deployment
from deployments.orchestrator.journal import PREFIX
from flows.problem import Problem
from infra import policies
from infra.extra import Extra
from infra.names import WAKE_UP, WATCHDOG, Names
from infra.policies import Statement
from infra.settings import Settings

DATA_BUCKET = "{{$NIGHTSHIFT_DATA_BUCKET}}"  # how prefect.yaml names the installation's own


@dataclass(frozen=True)
class Role:
    """One IAM role: who takes it, and what it may do."""

    name: str  # without the installation's: 'job-cost-report-daily'
    service: str  # whose principal takes it
    source_arn: str  # for the sake of which of our resources
    description: str
    statements: tuple[Statement, ...]
    extras: tuple[Extra, ...] = field(default=())


def job_roles(
    names: Names, deployments: Sequence[Deployment], extras: Sequence[Extra]
) -> tuple[Role, ...]:
    """One role for each deployment, from its flow's signature and its parameters."""
    roles = []
    for deployment in deployments:
        statements = _on_data(
            [(_bucket(names, deployment, data), data) for data in deployment.data]
        )
        roles.append(
            Role(
                names.job(deployment),
                "ecs-tasks.amazonaws.com",
                names.arn("ecs", "*"),
                f"What the deployment {deployment.name} may do.",
                (*statements, policies.no_iam()),
                tuple(extra for extra in extras if extra.deployment == deployment.name),
            )
        )
    longest = max((role.name for role in roles), key=len, default="")
    if len(names.installation) + 1 + len(longest) > 64:
        raise Problem(
            "a deployment's role would have a name that IAM does not take",
            value=f"{names.installation}-{longest}",
            detail="more than 64 characters",
            fix="give the deployment, its flow or the installation a shorter name",
        )
    return tuple(roles)


def _bucket(names: Names, deployment: Deployment, data: Data) -> str:
    """The ARN of the bucket that the data is in."""
    if data.bucket == DATA_BUCKET:
        return names.bucket_arn("data")
    if data.bucket.startswith("{{"):
        raise Problem(
            "the bucket's variable is not one that an installation knows",
            where={"deployment": deployment.name, "parameter": data.parameter},
            value=data.address,
            fix=f"write {DATA_BUCKET} or the bucket's own name",
        )
    return f"arn:aws:s3:::{data.bucket}"


def _on_data(located: Sequence[tuple[str, Data]]) -> list[Statement]:
    reads = [(bucket, data.key) for bucket, data in located if data.read]
    writes = [(bucket, data.key) for bucket, data in located if data.write]
    statements = []
    for number, bucket in enumerate(sorted({bucket for bucket, _ in reads}), start=1):
        keys = [key for in_bucket, key in reads if in_bucket == bucket]
        statements.append(policies.list_objects(f"List{number}", bucket, *keys))
    if reads:
        statements.append(policies.read_objects("Read", *reads))
    if writes:
        statements.append(policies.write_objects("Write", *writes))
    return statements


def own_roles(names: Names, settings: Settings, jobs: Sequence[Role]) -> tuple[Role, ...]:
    """The roles that keep an installation running."""
    roles = [
        _execution(names),
        _orchestrator(names, settings, jobs),
        _build(names),
        _pipeline(names, settings),
        _scheduler(names, settings),
    ]
    if settings.source == "codecommit":
        roles.append(_source_event(names))
    return tuple(roles)


def _execution(names: Names) -> Role:
    return Role(
        "execution",
        "ecs-tasks.amazonaws.com",
        names.arn("ecs", "*"),
        "ECS starts tasks with it: pulls the image, opens the log, reads the API's credentials.",
        (
            policies.log_in_to_registry(),
            policies.pull(names.repository_arn),
            policies.write_logs(names.log_group_arn("jobs"), names.log_group_arn("orchestrator")),
            policies.read_parameters(names.secret_arn),
        ),
    )


def _orchestrator(names: Names, settings: Settings, jobs: Sequence[Role]) -> Role:
    passed = [names.role_arn("execution"), *(names.role_arn(job.name) for job in jobs)]
    statements = [
        *policies.run_tasks(names.job_definitions_arn, names.tasks_arn, names.cluster_arn),
        policies.pass_roles("PassJobRoles", passed, "ecs-tasks.amazonaws.com"),
        policies.receive_messages(names.queue_arn("tasks")),
        policies.read_logs(names.log_group_arn("jobs")),
        policies.own_service(names.service_arn, names.cluster_arn),
        policies.read_outputs(names.stack_arns),
    ]
    schedules = [WATCHDOG] if settings.orchestrator == "always" else [WAKE_UP, WATCHDOG]
    scheduler = [names.role_arn("scheduler")]
    statements += [
        policies.set_schedules(*(names.schedule_arn(of) for of in schedules)),
        policies.pass_roles("PassSchedulerRole", scheduler, "scheduler.amazonaws.com"),
        policies.tell_people(names.topic_arn),
    ]
    state = names.bucket_arn("state")
    statements += [
        # The whole bucket, which has nothing else in it: who may list a prefix alone is told 403
        # instead of 404 of an object that is not there.
        # https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
        policies.list_objects("ListState", state, ""),
        policies.read_objects("ReadState", (state, PREFIX)),
        policies.write_objects("WriteState", (state, PREFIX)),
        policies.delete_objects("PruneState", (state, PREFIX)),
        policies.see_images(names.repository_arn),
    ]
    if settings.orchestrator != "external":
        statements.append(policies.answer_sessions())  # the tunnel to the live UI
    return Role(
        "orchestrator",
        "ecs-tasks.amazonaws.com",
        names.arn("ecs", "*"),
        "Prefect's server and worker: starts jobs, keeps their history, sets its own wake-up.",
        tuple(statements),
    )


def _build(names: Names) -> Role:
    return Role(
        "build",
        "codebuild.amazonaws.com",
        names.project_arn,
        "CodeBuild: builds the image, pushes it, makes it live, wakes the orchestrator.",
        (
            policies.write_logs(names.log_group_arn("build")),
            *policies.read_artifacts(names.bucket_arn("artifacts")),
            policies.log_in_to_registry(),
            policies.pull(names.repository_arn),
            policies.push(names.repository_arn),
            *policies.read_findings(names.repository_arn),
            policies.set_desired_count(names.service_arn, names.cluster_arn),
        ),
    )


def _pipeline(names: Names, settings: Settings) -> Role:
    source = (
        policies.read_commits(names.arn("codecommit", settings.codecommit_repository))
        if settings.source == "codecommit"
        else policies.use_connection(settings.connection_arn)
    )
    return Role(
        "pipeline",
        "codepipeline.amazonaws.com",
        names.pipeline_arn,
        "CodePipeline: takes each commit from the source to the build.",
        (
            source,
            policies.start_builds(names.project_arn),
            *policies.carry_artifacts(names.bucket_arn("artifacts")),
        ),
    )


def _scheduler(names: Names, settings: Settings) -> Role:
    statements = [policies.tell_people(names.topic_arn)]
    if settings.orchestrator != "always":
        statements += [
            policies.set_desired_count(names.service_arn, names.cluster_arn),
            policies.send_messages(names.queue_arn("wake-up-failed")),
        ]
    return Role(
        "scheduler",
        "scheduler.amazonaws.com",
        names.arn("scheduler", f"schedule-group/{names.installation}"),
        "EventBridge Scheduler: wakes the orchestrator, tells people of a run that has not begun.",
        tuple(statements),
    )


def _source_event(names: Names) -> Role:
    return Role(
        "source-event",
        "events.amazonaws.com",
        names.arn("events", f"rule/{names.installation}-push"),
        "EventBridge: starts the pipeline when a commit arrives.",
        (policies.start_pipeline(names.pipeline_arn),),
    )
