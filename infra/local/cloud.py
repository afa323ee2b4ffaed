"""The whole of it: AWS, the templates deployed, the image, Prefect, and tasks that run."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployments.orchestrator.journal import FIRST_START, KEY
from deployments.orchestrator.surroundings import PORT
from deployments.outputs import LIVE, Outputs, outputs
from flows.problem import Problem
from infra.local import installation, topics
from infra.local.alarms import Alarms
from infra.local.aws import LocalAws, local_aws
from infra.local.engine import Engine
from infra.local.fargate import Fargate, local_fargate
from infra.local.fargate.containers import Containers
from infra.local.fargate.processes import Processes
from infra.local.fargate.runtime import Runtime
from infra.local.fargate.task import Task
from infra.local.prefect import Api, Server, Worker, base_environment, server, worker
from infra.local.process import port
from infra.local.release import source
from infra.local.release.direct import Direct, direct
from infra.local.release.path import ReleasePath, release_path
from infra.local.rules import Rules, local_rules
from infra.local.schedules import Scheduler
from infra.names import SERVICE, Names

Say = Callable[[str], None]

_GROUP = f"service:{SERVICE}"


@dataclass
class Cloud:
    """One that runs.

    Either its orchestrator is the template's own ECS service, which sleeps and wakes, or this
    machine's own server and worker stand for it: `stand_in`.
    """

    aws: LocalAws
    fargate: Fargate
    scheduler: Scheduler
    rules: Rules
    alarms: Alarms
    pipeline: ReleasePath
    names: Names
    outputs: Outputs
    folder: Path
    project: Path
    auth: str  # of the Prefect API: 'name:password'
    stand_in: tuple[Server, Worker] | None = None

    @property
    def server(self) -> Server:
        """This machine's own. Raises Problem if the orchestrator is an ECS service."""
        return self._stand_in()[0]

    @property
    def worker(self) -> Worker:
        """The same."""
        return self._stand_in()[1]

    def _stand_in(self) -> tuple[Server, Worker]:
        if self.stand_in is None:
            raise Problem(
                "nothing stands for the orchestrator here: it is an ECS service",
                fix="ask for its task: Cloud.orchestrator",
            )
        return self.stand_in

    @property
    def orchestrator(self) -> Task | None:
        """The task of the service that lives, from its request until it has ended; None asleep."""
        return next((task for task in reversed(self.lives()) if not task.ended.is_set()), None)

    def lives(self) -> list[Task]:
        """All tasks that the service has had, the first first."""
        return [task for task in self.fargate.tasks() if task.planned.group == _GROUP]

    def awake_seconds(self) -> float:
        """How long all of them together have run, as Fargate bills it."""
        return sum(task.seconds() for task in self.lives())

    @property
    def awake(self) -> Api | None:
        """The API of who is awake; it may not answer yet. None while the orchestrator sleeps, or
        has not got so far.
        """
        if self.stand_in is not None:
            return self.stand_in[0].api
        task = self.orchestrator
        if task is None or task.last_status != "RUNNING":
            return None
        return Api(f"http://{task.address}:{PORT}/api", self.auth)

    @property
    def api(self) -> Api:
        """The same. Raises Problem instead of None."""
        if (api := self.awake) is None:
            task = self.orchestrator
            raise Problem(
                "the orchestrator sleeps" if task is None else "the orchestrator does not run",
                where={"service": SERVICE, **({"status": task.last_status} if task else {})},
                fix="wake it: make wake",
            )
        return api

    @property
    def image(self) -> str:
        """The one that is live, as ECR has it: REPOSITORY@sha256:…"""
        found = self.aws.client("ecr").describe_images(
            repositoryName=self.names.installation, imageIds=[{"imageTag": LIVE}]
        )
        return f"{self.outputs.values['ImageRepository']}@{found['imageDetails'][0]['imageDigest']}"

    @property
    def bucket(self) -> str:
        """Of the data."""
        return self.outputs.values["DataBucket"]

    @property
    def state_bucket(self) -> str:
        return self.outputs.values["StateBucket"]

    def journal(self) -> dict[str, Any]:
        """What the orchestrator says about itself; {} before it has said anything."""
        s3: Any = self.aws.client("s3")
        try:
            answer = s3.get_object(Bucket=self.state_bucket, Key=KEY)
        except s3.exceptions.NoSuchKey:
            return {}
        found: dict[str, Any] = json.loads(answer["Body"].read())
        return found

    def begin_history(self) -> None:
        """Says that a start without any history is meant, as `make deploy` does the first time."""
        self.aws.client("s3").put_object(Bucket=self.state_bucket, Key=FIRST_START, Body=b"")

    def wake(self) -> None:
        """Sets the service's desired count to 1. It is lost if the orchestrator just sets it to 0:
        then do it again.
        """
        self.pipeline.direct.wake()

    def release(self, project: Path | None = None) -> str:
        """The quick way to another image, past the pipeline: built from this folder, made `live`,
        and the orchestrator woken. The image: REPOSITORY@sha256:…
        """
        line = self.pipeline.direct
        line.register(line.push(project or self.project))
        line.wake()
        return self.image

    def push(self, files: Mapping[str, str | None], message: str = "A change") -> str:
        """What people do: a commit that changes these files (None: removes them), pushed to the
        source repository, which starts the pipeline; its id. Does not wait.
        """
        return source.commit(self.pipeline.repository, self.folder / "clone", files, message)

    def deploy(self, context: Mapping[str, str] | None = None) -> None:
        """What `make deploy` does later: both stacks updated from this folder's templates, with
        these settings instead of infra/settings.toml's.
        """
        templates = installation.synthesise(self.project, context, first=False)
        installation.update(self.aws, templates, self.names)
        self.outputs = outputs(self.names.installation, self.aws.client("cloudformation"))

    def environment(self) -> dict[str, str]:
        """What makes AWS's own tools come here as the person who deploys, and Prefect's if there is
        an API awake.
        """
        found = {
            **self.aws.environment(),
            "NIGHTSHIFT_DATA_BUCKET": self.bucket,
            "NIGHTSHIFT_STACK": self.names.installation,
            "NIGHTSHIFT_IMAGE": self.image,
            **self.pipeline.repository.leads_here(),
            "NO_PROXY": "127.0.0.1,localhost",
        }
        if (api := self.awake) is None:
            return found
        host = api.ui.removeprefix("http://").partition(":")[0]
        return {
            **found,
            **api.environment(),
            "NO_PROXY": ",".join(dict.fromkeys(("127.0.0.1", "localhost", host))),
        }

    def reconcile(self) -> str:
        """As the orchestrator does when it wakes; what it says."""
        return self.deployments("reconcile", "--image", self.image)

    def deployments(self, *arguments: str) -> str:
        """`python -m deployments ARGUMENTS` as the orchestrator; what it says."""
        return _deployments(self.project, self.aws, self.names, self.api, *arguments)


@contextmanager
def local_cloud(
    project: Path,
    folder: Path,
    *,
    engine: Engine | None,
    bill: Path | None = None,
    context: Mapping[str, str] | None = None,
    aws_port: int = 0,
    prefect_port: int = 0,
    tag: str = "localhost/nightshift:local",
    orchestrator: bool = False,
    say: Say = lambda _: None,
    said: Callable[[Task, str], None] = lambda _task, _line: None,
) -> Iterator[Cloud]:
    """A new one of the project (a checkout), with what it keeps below `folder`, until the context
    ends. `bill`: a folder that is put where AWS would export the bill to. `tag`: what the image is
    called that is built.

    `orchestrator`: it runs as the template's own service, and is woken once, as after the first
    push; does not wait for it. Otherwise its service is held, and this machine's own server (at
    `prefect_port`) and worker stand for it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    chosen = installation.settings(context)
    names = installation.names(chosen)
    auth = f"nightshift:{secrets.token_urlsafe(32)}"
    with ExitStack() as stack:
        aws = stack.enter_context(local_aws(port(aws_port), region=chosen.region))
        say(f"AWS at {aws.url}")
        stack.enter_context(topics.heard(say))
        rules = stack.enter_context(local_rules(aws, say=say))
        # Both take a while, and need nobody.
        prefect = None if orchestrator else stack.enter_context(server(folder, auth, prefect_port))
        templates = _Meanwhile(lambda: installation.synthesise(project, context))
        line: Direct = stack.enter_context(direct(aws, names, folder, engine, tag, say))
        host = f"{names.account}.dkr.ecr.{chosen.region}.amazonaws.com"
        runtime: Runtime
        if engine is None:
            runtime = Processes(project)
        else:
            runtime = Containers(engine, {host: line.host_port})
        pushed = line.push(project)
        installation.deploy(aws, templates.result(), names, auth)
        say(f"{names.installation} is deployed from its own templates")
        line.register(pushed)
        found = outputs(names.installation, aws.client("cloudformation"))
        if bill is not None:
            count = _upload(aws, bill, found.values["DataBucket"], "bills/")
            say(f"{count} files of a bill in s3://{found.values['DataBucket']}/bills/")
        fargate = stack.enter_context(local_fargate(aws, runtime, say=say, said=said))
        if prefect is not None:
            fargate.held.add(SERVICE)  # this machine's own server and worker stand for it
        scheduler = stack.enter_context(Scheduler(aws, say=say))
        alarms = stack.enter_context(Alarms(aws, tasks=fargate.tasks, say=say))
        path = stack.enter_context(release_path(aws, line, chosen, project, folder, engine, say))
        watch = (scheduler, rules, alarms)
        cloud = Cloud(aws, fargate, *watch, path, names, found, folder, project, auth)
        if prefect is None:
            cloud.begin_history()
            cloud.wake()
        else:
            cloud.stand_in = (prefect, _worker_of(prefect, cloud, stack, say))
        yield cloud


def _worker_of(prefect: Server, cloud: Cloud, stack: ExitStack, say: Say) -> Worker:
    """The stand-in's, once its server has the deployments."""
    prefect.wait()
    say(f"Prefect at {prefect.api.ui}")
    arguments = ("reconcile", "--image", cloud.image)
    reconciled = _deployments(cloud.project, cloud.aws, cloud.names, prefect.api, *arguments)
    for line in reconciled.splitlines():
        say(line)
    queue = cloud.outputs.values["TaskQueueName"]
    as_orchestrator = _as_orchestrator(cloud.aws, cloud.names)
    return stack.enter_context(worker(cloud.folder, prefect.api, as_orchestrator, queue))


class _Meanwhile:
    """A result that is worked on while something else is done."""

    def __init__(self, work: Callable[[], dict[str, str]]) -> None:
        self._found: dict[str, str] = {}
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=[work], daemon=True)
        self._thread.start()

    def _run(self, work: Callable[[], dict[str, str]]) -> None:
        try:
            self._found = work()
        except Exception as error:
            self._error = error

    def result(self) -> dict[str, str]:
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._found


def _as_orchestrator(aws: LocalAws, names: Names) -> dict[str, str]:
    task = names.arn("ecs", f"task/{names.installation}/local")
    keys = aws.role(names.role("orchestrator"), "ecs-tasks.amazonaws.com", task)
    return {**aws.environment(), **{name.upper(): value for name, value in keys.items()}}


def _deployments(project: Path, aws: LocalAws, names: Names, api: Api, *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "deployments", *arguments],
        cwd=project,
        env={
            **base_environment(),
            **_as_orchestrator(aws, names),
            **api.environment(),
            "NIGHTSHIFT_STACK": names.installation,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Problem(
            f"python -m deployments {arguments[0]} has failed",
            detail=(done.stderr or done.stdout).strip()[-2000:],
            fix="mend what it names",
        )
    return done.stdout.strip()


def _upload(aws: LocalAws, folder: Path, bucket: str, prefix: str) -> int:
    s3: Any = aws.client("s3")
    files = sorted(f for f in folder.rglob("*") if f.is_file() and not f.name.startswith("."))
    for file in files:
        s3.upload_file(str(file), bucket, prefix + file.relative_to(folder).as_posix())
    return len(files)


def download(aws: LocalAws, bucket: str, prefix: str, folder: Path) -> list[Path]:
    """What is below a prefix, into a folder: S3 here gives nothing to a browser."""
    s3: Any = aws.client("s3")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    made = []
    for each in (each for page in pages for each in page.get("Contents", [])):
        file = folder / each["Key"].removeprefix(prefix)
        if not file.exists() or file.name == "latest.json":
            file.parent.mkdir(parents=True, exist_ok=True)
            s3.download_file(bucket, each["Key"], str(file))
            made.append(file)
    return made
