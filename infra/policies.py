"""IAM statements as plain data, each a small function of the names that it is about.

Nothing here knows CDK: an ARN is text (or text with a token in it), so that a statement reads as it
will stand in the account. Actions are written out one by one. Which of them AWS cannot tie to a
resource is in the Service Authorization Reference
(https://docs.aws.amazon.com/service-authorization/latest/reference/) and in `WITHOUT_RESOURCE`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Statement = dict[str, Any]
Place = tuple[str, str]  # a bucket's ARN, and a key or prefix in it

_CHANNEL = "it answers for itself alone; who may open a session is decided where it is opened"
_INSPECTOR = "Inspector lists what it knows of the account, and takes no resource"

# Actions that AWS ties to no resource: a statement about them has to say `*`.
WITHOUT_RESOURCE = {
    "ecr:GetAuthorizationToken": "a login token is for the whole registry",
    "ecs:DescribeTaskDefinition": "ECS checks no resource for it",
    "ecs:RegisterTaskDefinition": "the definition does not exist yet; PassRole limits its roles",
    "ecs:ListTasks": "ECS checks container instances, which Fargate has not; one cluster, though",
    "inspector2:ListCoverage": _INSPECTOR,
    "inspector2:ListFindings": _INSPECTOR,
    "ssmmessages:CreateControlChannel": _CHANNEL,
    "ssmmessages:CreateDataChannel": _CHANNEL,
    "ssmmessages:OpenControlChannel": _CHANNEL,
    "ssmmessages:OpenDataChannel": _CHANNEL,
}

# Why an ARN may end in a wildcard, by what stands before it.
_UNKNOWN_BEFOREHAND = {
    "arn:aws:s3:::": "what lies below a prefix: objects have no names before they are written",
    ":log-stream:": "ECS and CodeBuild name a log's streams, one for each task or build",
    ":task/": "ECS names tasks when it starts them",
    ":task-definition/": "ECS counts a family's revisions",
    ":stack/": "CloudFormation ends a stack's ARN with an id of its own",
}


def wildcard(statement: Statement, resource: str) -> str:
    """Why the statement's resource is not one name. Raises KeyError where there is no reason."""
    if resource == "*":
        return "; ".join(f"{action}: {WITHOUT_RESOURCE[action]}" for action in statement["Action"])
    for part, reason in _UNKNOWN_BEFOREHAND.items():
        if part in resource:
            return reason
    raise KeyError(resource)


def allow(
    sid: str, actions: Sequence[str], resources: Sequence[str], condition: Any = None
) -> Statement:
    statement = {
        "Sid": sid,
        "Effect": "Allow",
        "Action": sorted(actions),
        "Resource": list(resources),
    }
    return {**statement, "Condition": condition} if condition else statement


def document(statements: Sequence[Statement]) -> dict[str, Any]:
    """The policy as IAM takes it. A list of one is written as that one, to keep templates short."""
    return {"Version": "2012-10-17", "Statement": [_shorter(s) for s in statements]}


def _shorter(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shorter(item) for key, item in value.items()}
    if isinstance(value, list) and len(value) == 1:
        return _shorter(value[0])
    return value


# --- who may take a role -------------------------------------------------------------------------


def trust(service: str, account: str, source_arn: str = "") -> dict[str, Any]:
    """The service takes the role, for our own account's resources and for no one else's:
    https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html
    """
    condition: dict[str, Any] = {"StringEquals": {"aws:SourceAccount": account}}
    if source_arn:
        condition["ArnLike"] = {"aws:SourceArn": source_arn}
    return document(
        [
            {
                "Effect": "Allow",
                "Principal": {"Service": service},
                "Action": "sts:AssumeRole",
                "Condition": condition,
            }
        ]
    )


def pass_roles(sid: str, arns: Sequence[str], service: str) -> Statement:
    """Hand these roles to this service; without it a caller could hand over any role."""
    return allow(sid, ["iam:PassRole"], arns, {"StringEquals": {"iam:PassedToService": service}})


def no_iam() -> Statement:
    """Whatever else is granted one day: a job never changes who may do what."""
    return {"Sid": "NeverIam", "Effect": "Deny", "Action": ["iam:*"], "Resource": ["*"]}


# --- S3 ------------------------------------------------------------------------------------------


def list_objects(sid: str, bucket_arn: str, *keys: str) -> Statement:
    """See the names below the keys, and no others: S3 compares the request's own prefix."""
    prefixes = [f"{below(key)}*" for key in keys]
    condition = {"StringLike": {"s3:prefix": prefixes}} if all(keys) else None
    return allow(sid, ["s3:ListBucket"], [bucket_arn], condition)


def read_objects(sid: str, *places: Place) -> Statement:
    """Read what is below a key; one that does not end in / may be an object itself."""
    resources = []
    for bucket_arn, key in places:
        itself = [f"{bucket_arn}/{key}"] if key and not key.endswith("/") else []
        resources += [*itself, _below(bucket_arn, key)]
    return allow(sid, ["s3:GetObject"], resources)


def write_objects(sid: str, *places: Place) -> Statement:
    """Write and replace below a key. Publishing replaces a pointer and deletes nothing."""
    return allow(sid, ["s3:PutObject"], [_below(*place) for place in places])


def delete_objects(sid: str, *places: Place) -> Statement:
    return allow(sid, ["s3:DeleteObject"], [_below(*place) for place in places])


def _below(bucket_arn: str, key: str) -> str:
    return f"{bucket_arn}/{below(key)}*"


def below(key: str) -> str:
    return key if not key or key.endswith("/") else f"{key}/"


# --- what tasks, builds and schedules need -------------------------------------------------------


def log_in_to_registry() -> Statement:
    return allow("LogInToRegistry", ["ecr:GetAuthorizationToken"], ["*"])


def pull(repository_arn: str) -> Statement:
    actions = [
        "ecr:BatchCheckLayerAvailability",
        "ecr:BatchGetImage",
        "ecr:GetDownloadUrlForLayer",
    ]
    return allow("PullImage", actions, [repository_arn])


def see_images(repository_arn: str) -> Statement:
    return allow("SeeWhatIsLive", ["ecr:DescribeImages"], [repository_arn])


def push(repository_arn: str) -> Statement:
    actions = [
        "ecr:CompleteLayerUpload",
        "ecr:InitiateLayerUpload",
        "ecr:PutImage",
        "ecr:UploadLayerPart",
    ]
    return allow("PushImage", actions, [repository_arn])


def read_findings(repository_arn: str) -> list[Statement]:
    # Where the registry has enhanced scanning, ECR asks Inspector in the caller's name:
    # https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-scanning-enhanced-iam.html
    inspector = ["inspector2:ListCoverage", "inspector2:ListFindings"]
    return [
        allow("ReadFindings", ["ecr:DescribeImageScanFindings"], [repository_arn]),
        allow("ReadInspectorFindings", inspector, ["*"]),
    ]


def write_logs(*log_group_arns: str) -> Statement:
    streams = [f"{arn}:log-stream:*" for arn in log_group_arns]
    return allow("WriteLogs", ["logs:CreateLogStream", "logs:PutLogEvents"], streams)


def read_parameters(*parameter_arns: str) -> Statement:
    # A SecureString under the account's own aws/ssm key needs no kms:Decrypt of its own:
    # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_execution_IAM_role.html
    return allow("ReadSecret", ["ssm:GetParameters"], parameter_arns)


def set_desired_count(service_arn: str, cluster_arn: str) -> Statement:
    return allow("SetDesiredCount", ["ecs:UpdateService"], [service_arn], _in_cluster(cluster_arn))


def send_messages(queue_arn: str) -> Statement:
    return allow("KeepWhatFailed", ["sqs:SendMessage"], [queue_arn])


# --- the orchestrator ----------------------------------------------------------------------------


def run_tasks(definitions: str, tasks: str, cluster_arn: str) -> list[Statement]:
    """Start, watch and stop ECS tasks of our own families in our own cluster, as prefect-aws's
    worker and observer do (`prefect_aws/workers/ecs_worker.py`, `observers/ecs.py`), and list them.
    """
    tagging = {"StringEquals": {"ecs:CreateAction": ["RunTask"]}}
    defining = ["ecs:DescribeTaskDefinition", "ecs:RegisterTaskDefinition"]
    return [
        allow("RunTasks", ["ecs:RunTask"], [definitions], _in_cluster(cluster_arn)),
        allow(
            "WatchTasks", ["ecs:DescribeTasks", "ecs:StopTask"], [tasks], _in_cluster(cluster_arn)
        ),
        allow("ListTasks", ["ecs:ListTasks"], ["*"], _in_cluster(cluster_arn)),
        allow("TagTasks", ["ecs:TagResource"], [tasks], tagging),
        allow("DefineTasks", defining, ["*"]),
    ]


def receive_messages(queue_arn: str) -> Statement:
    actions = [
        "sqs:ChangeMessageVisibility",
        "sqs:DeleteMessage",
        "sqs:GetQueueUrl",
        "sqs:ReceiveMessage",
    ]
    return allow("HearOfTasks", actions, [queue_arn])


def read_logs(log_group_arn: str) -> Statement:
    return allow("ReadJobLogs", ["logs:GetLogEvents"], [f"{log_group_arn}:log-stream:*"])


def own_service(service_arn: str, cluster_arn: str) -> Statement:
    return allow("OwnService", ["ecs:UpdateService"], [service_arn], _in_cluster(cluster_arn))


def answer_sessions() -> Statement:
    """What ECS Exec's agent asks for in the task's own name:
    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html
    """
    actions = [
        "ssmmessages:CreateControlChannel",
        "ssmmessages:CreateDataChannel",
        "ssmmessages:OpenControlChannel",
        "ssmmessages:OpenDataChannel",
    ]
    return allow("AnswerSessions", actions, ["*"])


def set_schedules(*schedule_arns: str) -> Statement:
    actions = ["scheduler:GetSchedule", "scheduler:UpdateSchedule"]
    return allow("SetSchedules", actions, schedule_arns)


def tell_people(topic_arn: str) -> Statement:
    return allow("TellPeople", ["sns:Publish"], [topic_arn])


def read_outputs(stack_arns: Sequence[str]) -> Statement:
    return allow("ReadOutputs", ["cloudformation:DescribeStacks"], stack_arns)


def _in_cluster(cluster_arn: str) -> dict[str, Any]:
    return {"ArnEquals": {"ecs:cluster": cluster_arn}}


# --- the release path ----------------------------------------------------------------------------


def read_commits(repository_arn: str) -> Statement:
    # https://docs.aws.amazon.com/codepipeline/latest/userguide/security-iam-permissions-console-logs.html
    actions = [
        "codecommit:CancelUploadArchive",
        "codecommit:GetBranch",
        "codecommit:GetCommit",
        "codecommit:GetUploadArchiveStatus",
        "codecommit:UploadArchive",
    ]
    return allow("ReadSource", actions, [repository_arn])


def use_connection(connection_arn: str) -> Statement:
    # Both names of the service: which one AWS checks follows the ARN's own.
    actions = ["codeconnections:UseConnection", "codestar-connections:UseConnection"]
    return allow("UseConnection", actions, [connection_arn])


def start_builds(project_arn: str) -> Statement:
    return allow("StartBuilds", ["codebuild:BatchGetBuilds", "codebuild:StartBuild"], [project_arn])


def start_pipeline(pipeline_arn: str) -> Statement:
    return allow("StartPipeline", ["codepipeline:StartPipelineExecution"], [pipeline_arn])


def carry_artifacts(bucket_arn: str) -> list[Statement]:
    # https://docs.aws.amazon.com/codepipeline/latest/userguide/how-to-custom-role.html
    on_bucket = ["s3:GetBucketAcl", "s3:GetBucketLocation", "s3:GetBucketVersioning"]
    on_objects = ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"]
    return [
        allow("FindArtifacts", on_bucket, [bucket_arn]),
        allow("CarryArtifacts", on_objects, [f"{bucket_arn}/*"]),
    ]


def read_artifacts(bucket_arn: str) -> list[Statement]:
    # https://docs.aws.amazon.com/codebuild/latest/userguide/setting-up-service-role.html
    on_bucket = ["s3:GetBucketAcl", "s3:GetBucketLocation"]
    return [
        allow("FindArtifacts", on_bucket, [bucket_arn]),
        allow("ReadArtifacts", ["s3:GetObject", "s3:GetObjectVersion"], [f"{bucket_arn}/*"]),
    ]
