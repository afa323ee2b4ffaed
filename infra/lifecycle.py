"""What deploying and destroying take besides CDK, decided first: from what is in the account to
a list of steps. `execute` carries them out.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from flows.problem import Problem
from infra.names import SERVICE, Names
from infra.settings import Settings


@dataclass(frozen=True)
class Seen:
    """What of an installation is in the account."""

    account: str
    stacks: dict[str, str] = field(default_factory=dict)  # those that exist: name, status
    buckets: dict[str, int] = field(default_factory=dict)  # ours that exist: name, bytes in it
    secret: bool = False
    service_role: bool = True  # the account's service-linked role of ECS exists
    repository: bool = False  # the CodeCommit repository exists
    repository_is_ours: bool = False  # … and belongs to the stack
    live_image: bool = False
    desired_count: int | None = None
    tasks: tuple[str, ...] = ()  # ARNs of what runs in the cluster
    definitions: tuple[str, ...] = ()  # ARNs of task definitions that workers have made
    history: bool = False  # an orchestrator's journal is in the bucket for state


# --- steps ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MakeSecret:
    """Credentials of the Prefect API, made up here and shown to nobody. CloudFormation cannot make
    a SecureString.
    """

    name: str
    value: str | None = None  # one that was given; otherwise one is made up


@dataclass(frozen=True)
class MakeServiceRole:
    """ECS's own role in this account. ECS makes it with the first cluster, which then fails where
    it is a stack's, as the role is not there yet:
    https://github.com/aws-cloudformation/cloudformation-coverage-roadmap/issues/818
    """


@dataclass(frozen=True)
class Cdk:
    command: str
    arguments: tuple[str, ...]
    context: dict[str, str]


@dataclass(frozen=True)
class AllowFirstStart:
    """Let the orchestrator start with no history. It takes none as an error otherwise, so that a
    mistake about where the history is does not begin another.
    """

    bucket: str


@dataclass(frozen=True)
class SetDesiredCount:
    count: int


@dataclass(frozen=True)
class ActivateTag:
    """Let bills and budgets see the installation's tag."""


@dataclass(frozen=True)
class StopTasks:
    arns: tuple[str, ...]


@dataclass(frozen=True)
class DeregisterDefinitions:
    arns: tuple[str, ...]


@dataclass(frozen=True)
class DeleteBucket:
    name: str


@dataclass(frozen=True)
class DeleteSecret:
    name: str


@dataclass(frozen=True)
class Say:
    text: str


Step = (
    MakeSecret
    | MakeServiceRole
    | Cdk
    | AllowFirstStart
    | SetDesiredCount
    | ActivateTag
    | StopTasks
    | DeregisterDefinitions
    | DeleteBucket
    | DeleteSecret
    | Say
)


# A stack that was never made: CDK removes it, and makes it anew.
_NOTHING_YET = (None, "REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE")


# --- plans ---------------------------------------------------------------------------------------


def plan_deploy(
    settings: Settings,
    names: Names,
    seen: Seen,
    *,
    context: dict[str, str],
    ask: bool,
    api_key: str | None = None,
) -> list[Step]:
    """From whatever is there to a running installation."""
    first = seen.stacks.get(names.installation) in _NOTHING_YET
    theirs = seen.repository and not seen.repository_is_ours and not settings.existing_repository
    if settings.source == "codecommit" and theirs:
        raise Problem(
            "the CodeCommit repository is there already, and not of this stack",
            where={"account": seen.account, "region": settings.region},
            value=settings.codecommit_repository,
            detail="an earlier installation left it, or it is someone else's",
            fix="set existing_repository = true in infra/settings.toml to use it",
        )
    steps: list[Step] = []
    if settings.orchestrator == "external" and not seen.secret and not api_key:
        raise Problem(
            "the external Prefect API's key is not known",
            value=names.secret,
            fix="give it once: PREFECT_API_KEY=… make deploy",
        )
    if not seen.secret or api_key:
        steps.append(MakeSecret(names.secret, api_key))
    if not seen.service_role:
        steps.append(MakeServiceRole())
    own = {"first": "true"} if first else {}
    arguments = ["--all", "--require-approval", "broadening" if ask else "never"]
    if first and seen.buckets:
        # The data of an earlier installation. CloudFormation wants the names as they are:
        # https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/import-resources-automatically.html
        arguments.append("--import-existing-resources")
        own["account"] = seen.account
    steps.append(Cdk("deploy", tuple(arguments), {**context, **own}))
    # Also where the first deployment was broken off here: without an image nothing has run yet.
    if settings.orchestrator != "external" and not seen.live_image and not seen.history:
        steps.append(AllowFirstStart(names.bucket("state")))
    if settings.orchestrator == "always" and seen.live_image and seen.desired_count == 0:
        steps.append(SetDesiredCount(1))
    steps.append(ActivateTag())
    if not seen.live_image:
        steps.append(Say(_first_push(settings)))
    return steps


def _first_push(settings: Settings) -> str:
    if settings.source == "connection":
        return (
            f"Next: push to {settings.branch} of {settings.repository}. That builds the image and "
            "starts the orchestrator."
        )
    host = f"https://git-codecommit.{settings.region}.amazonaws.com"
    # The empty helper takes away those set before, which may answer first with a password that has
    # expired: https://git-scm.com/docs/gitcredentials
    return (
        "Next: push. That builds the image and starts the orchestrator.\n\n"
        f"    git config --replace-all credential.{host}.helper ''\n"
        f"    git config --add credential.{host}.helper "
        "'!aws codecommit credential-helper $@'\n"
        f"    git config credential.{host}.UseHttpPath true\n"
        f"    git remote add aws {host}/v1/repos/{settings.codecommit_repository}\n"
        f"    git push aws HEAD:{settings.branch}"
    )


def plan_destroy(
    settings: Settings, names: Names, seen: Seen, *, context: dict[str, str]
) -> list[Step]:
    """To nothing that costs. Safe to repeat after it was broken off."""
    steps: list[Step] = []
    if seen.tasks:
        steps.append(StopTasks(seen.tasks))  # a cluster with tasks cannot be deleted
    if seen.stacks:
        steps.append(Cdk("destroy", ("--all", "--force"), context))
    if seen.definitions:
        steps.append(DeregisterDefinitions(seen.definitions))
    artifacts, *data = (names.bucket(content) for content in ("artifacts", "state", "data"))
    doomed = [artifacts, *(data if settings.purge else [])]
    steps += [DeleteBucket(name) for name in doomed if name in seen.buckets]
    if seen.secret:
        steps.append(DeleteSecret(names.secret))
    steps.append(Say(_what_stays(settings, seen, doomed)))
    return steps


def _what_stays(settings: Settings, seen: Seen, doomed: list[str]) -> str:
    stays = [
        f"s3://{name} ({size / 1e6:,.1f} MB)"
        for name, size in sorted(seen.buckets.items())
        if name not in doomed
    ]
    if settings.source == "codecommit" and seen.repository:
        stays.append(
            f"the CodeCommit repository {settings.codecommit_repository}"
            " (existing_repository = true uses it again)"
        )
    if not stays:
        return f"Nothing of {settings.installation} is left."
    purge = "" if settings.purge else ' `make destroy SET="purge=true"` deletes the buckets too.'
    listed = "\n".join(f"  {item}" for item in stays)
    return f"What stays:\n{listed}\nThe next `make deploy` takes up the buckets again.{purge}"


def described(step: Step) -> str:
    """A step as a line on the screen."""
    match step:
        case MakeSecret(name):
            return f"make the secret {name}"
        case MakeServiceRole():
            return "make ECS's service-linked role, which this account has not had"
        case Cdk(command):
            return f"cdk {command}"
        case AllowFirstStart(bucket):
            return f"let the orchestrator begin a history in s3://{bucket}"
        case SetDesiredCount(count):
            return f"set the {SERVICE}'s desired count to {count}"
        case ActivateTag():
            return "let bills and budgets see the tag `nightshift`"
        case StopTasks(arns):
            return f"stop {len(arns)} running ECS task(s)"
        case DeregisterDefinitions(arns):
            return f"deregister {len(arns)} task definition(s)"
        case DeleteBucket(name):
            return f"delete s3://{name} and everything in it"
        case DeleteSecret(name):
            return f"delete the secret {name}"
        case Say():
            return ""
