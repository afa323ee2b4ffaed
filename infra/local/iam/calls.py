"""Which calls AWS checks for a request: the action, the resource's ARN and the context.

The resources of each action are in the Service Authorization Reference:
https://docs.aws.amazon.com/service-authorization/latest/reference/
An operation that is not mapped is checked against `*`, which only a grant on `*` covers.
"""

from __future__ import annotations

from collections.abc import Callable

from infra.local.iam.ecs_calls import ecs_calls
from infra.local.iam.policy import Call
from infra.local.iam.request import Request, pass_roles
from infra.local.iam.s3_calls import s3_calls


def calls(request: Request) -> list[Call]:
    mapping = _SERVICES.get(request.service)
    return (mapping(request) if mapping else []) or [request.call("*")]


# --- who may do what -----------------------------------------------------------------------------


def _iam(request: Request) -> list[Call]:
    given = request.params
    policy = str(given.get("PolicyArn", ""))
    named = any(name in given for name in ("RoleName", "UserName", "GroupName"))
    path = str(given.get("Path") or "/")
    context = {"iam__PolicyARN": policy} if policy and named else {}
    if boundary := given.get("PermissionsBoundary"):
        context["iam__PermissionsBoundary"] = str(boundary)

    def arn(kind: str, name: str) -> str:
        return request.arn(f"{kind}{path}{name}", regional=False)

    if "InstanceProfileName" in given:
        profile = request.call(arn("instance-profile", str(given["InstanceProfileName"])))
        return [profile, *pass_roles(request, [given.get("RoleName")], "ec2.amazonaws.com")]
    if role := given.get("RoleName"):
        return [request.call(request.known.role_arn(role) or arn("role", role), **context)]
    if user := given.get("UserName"):
        return [request.call(request.known.user_arn(user) or arn("user", user), **context)]
    if group := given.get("GroupName"):
        return [request.call(arn("group", group), **context)]
    if policy:
        return [request.call(policy)]
    if name := given.get("PolicyName"):
        return [request.call(arn("policy", name))]
    return []


def _sts(request: Request) -> list[Call]:
    external = request.params.get("ExternalId")
    context = {"sts__ExternalId": str(external)} if external else {}
    if session := request.params.get("RoleSessionName"):
        context["sts__RoleSessionName"] = str(session)
    return [request.call(str(request.params.get("RoleArn", "*")), **context)]


# --- services whose resource is a name among the parameters ---------------------------------------


def _sqs(request: Request) -> list[Call]:
    url = str(request.params.get("QueueUrl", ""))
    name = url.rsplit("/", 1)[-1] or str(request.params.get("QueueName", ""))
    action = request.operation.removesuffix("Batch")
    return [request.call(request.arn(name), action)] if name else []


def _sns(request: Request) -> list[Call]:
    given = request.params
    topic = given.get("TopicArn") or given.get("TargetArn") or given.get("ResourceArn")
    if not topic and request.operation == "CreateTopic":
        topic = request.arn(str(given.get("Name", "")))
    action = "Publish" if request.operation == "PublishBatch" else request.operation
    return [request.call(str(topic), action)] if topic else []


def _scheduler(request: Request) -> list[Call]:
    given = request.params
    if not request.operation.endswith("Schedule"):
        return []
    resource = request.arn(
        f"schedule/{given.get('GroupName') or 'default'}/{given.get('Name', '')}"
    )
    role = (given.get("Target") or {}).get("RoleArn")
    return [request.call(resource), *pass_roles(request, [role], "scheduler.amazonaws.com")]


def _logs(request: Request) -> list[Call]:
    """CloudWatch Logs checks a group as the streams of it, with nothing after the last colon (a
    refusal reads "on resource: arn:aws:logs:…:log-group::log-stream:", seen in
    https://github.com/hashicorp/terraform-provider-aws/issues/8804), so that a grant on the group
    must end in `:*`.
    """
    given = request.params
    tagged = str(given.get("resourceArn", ""))
    if tagged:
        return [request.call(tagged)]
    group = str(given.get("logGroupName") or given.get("logGroupIdentifier") or "")
    if group.startswith("arn:"):
        group = group.split(":", 6)[6].removesuffix(":*")
    if not group and request.operation != "DescribeLogGroups":
        return []
    return [
        request.call(request.arn(f"log-group:{group}:log-stream:{given.get('logStreamName', '')}"))
    ]


def _ssm(request: Request) -> list[Call]:
    named = request.listed("Name") + request.listed("Names") + request.listed("Path")
    if request.params.get("ResourceType") == "Parameter":
        named += request.listed("ResourceId")
    if "Parameter" not in request.operation and "Tags" not in request.operation:
        return []  # documents and the like have names too
    return [
        request.call(n if n.startswith("arn:") else request.arn(f"parameter/{n.strip('/')}"))
        for n in named
    ]


def _ecr(request: Request) -> list[Call]:
    named = request.listed("repositoryName") + request.listed("repositoryNames")
    return [request.call(request.arn(f"repository/{name}")) for name in named]


def _cloudformation(request: Request) -> list[Call]:
    name = str(request.params.get("StackName", ""))
    if not name:
        return []
    # A stack to be has no id yet.
    arn = name if name.startswith("arn:") else request.known.stack_arn(name)
    role = pass_roles(request, [request.params.get("RoleARN")], "cloudformation.amazonaws.com")
    return [request.call(arn or request.arn(f"stack/{name}/*")), *role]


def _codepipeline(request: Request) -> list[Call]:
    pipeline = request.params.get("pipeline") or {}
    name = request.params.get("name") or request.params.get("pipelineName") or pipeline.get("name")
    role = pass_roles(request, [pipeline.get("roleArn")], "codepipeline.amazonaws.com")
    return [request.call(request.arn(str(name))), *role] if name else []


def _codebuild(request: Request) -> list[Call]:
    builds = request.listed("id") + (request.listed("ids") if "Build" in request.operation else [])
    named = request.listed("projectName") + [str(build).split(":")[0] for build in builds]
    if request.operation.endswith(("Project", "Projects")):
        named += request.listed("name") + request.listed("names")
    roles = [request.params.get("serviceRole"), request.params.get("serviceRoleOverride")]
    role = pass_roles(request, roles, "codebuild.amazonaws.com")
    arns = dict.fromkeys(request.arn(f"project/{name.split('/')[-1]}") for name in named)
    return [request.call(arn) for arn in arns] + (role if arns else [])


def _codecommit(request: Request) -> list[Call]:
    named = request.listed("repositoryName") + request.listed("repositoryNames")
    return [request.call(request.arn(name)) for name in named]


def _events(request: Request) -> list[Call]:
    if request.operation == "PutEvents":
        buses = dict.fromkeys(
            str(entry.get("EventBusName") or "default").split("/")[-1]
            for entry in request.listed("Entries")
        )
        return [request.call(request.arn(f"event-bus/{bus}")) for bus in buses]
    named = request.listed("Rule") + (request.listed("Name") if "Rule" in request.operation else [])
    bus = str(request.params.get("EventBusName") or "default").split("/")[-1]
    prefix = "rule" if bus == "default" else f"rule/{bus}"
    roles = [
        target.get("RoleArn") for target in request.listed("Targets") if isinstance(target, dict)
    ]
    passed = pass_roles(request, [request.params.get("RoleArn"), *roles], "events.amazonaws.com")
    rules = [request.call(request.arn(f"{prefix}/{name}")) for name in named]
    return rules + (passed if rules else [])


def _budgets(request: Request) -> list[Call]:
    # Budgets has two actions for all its operations:
    # https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsbudgetservice.html
    action = "ViewBudget" if request.operation.startswith("Describe") else "ModifyBudget"
    given = request.params
    name = given.get("BudgetName") or (given.get("Budget") or given.get("NewBudget") or {}).get(
        "BudgetName"
    )
    return [request.call(request.arn(f"budget/{name}", regional=False) if name else "*", action)]


def _cloudwatch(request: Request) -> list[Call]:
    if request.operation == "PutMetricData":
        return [request.call("*", cloudwatch__namespace=str(request.params.get("Namespace", "")))]
    if not request.operation.endswith(("Alarm", "Alarms")):
        return []
    named = request.listed("AlarmName") + request.listed("AlarmNames")
    return [request.call(request.arn(f"alarm:{name}")) for name in named]


_SERVICES: dict[str, Callable[[Request], list[Call]]] = {
    "budgets": _budgets,
    "cloudformation": _cloudformation,
    "cloudwatch": _cloudwatch,
    "codebuild": _codebuild,
    "codecommit": _codecommit,
    "codepipeline": _codepipeline,
    "ecr": _ecr,
    "ecs": ecs_calls,
    "events": _events,
    "iam": _iam,
    "logs": _logs,
    "s3": s3_calls,
    "scheduler": _scheduler,
    "sns": _sns,
    "sqs": _sqs,
    "ssm": _ssm,
    "sts": _sts,
}
