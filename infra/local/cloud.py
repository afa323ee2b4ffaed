"""The whole of it: AWS, the templates deployed, the image, Prefect, and tasks that run."""

from __future__ import annotations

import hashlib
import json
import secrets
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployments.outputs import Outputs, outputs
from flows.problem import Problem
from infra.local import installation
from infra.local.aws import LocalAws, local_aws
from infra.local.engine import Engine
from infra.local.fargate import Fargate, local_fargate
from infra.local.fargate.containers import Containers
from infra.local.fargate.processes import Processes
from infra.local.fargate.runtime import Runtime
from infra.local.fargate.task import Task
from infra.local.prefect import Api, Server, Worker, base_environment, server, worker
from infra.local.process import port
from infra.local.schedules import Scheduler
from infra.names import LIVE, SERVICE, Names

Say = Callable[[str], None]

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


@dataclass
class Cloud:
    """One that runs."""

    aws: LocalAws
    fargate: Fargate
    scheduler: Scheduler
    server: Server
    worker: Worker
    names: Names
    outputs: Outputs
    image: str  # REPOSITORY@sha256:…
    folder: Path
    project: Path

    @property
    def api(self) -> Api:
        return self.server.api

    @property
    def bucket(self) -> str:
        return self.outputs.values["DataBucket"]

    def environment(self) -> dict[str, str]:
        """What makes AWS's and Prefect's own tools come here, as the person who deploys."""
        return {
            **self.aws.environment(),
            **self.api.environment(),
            "NIGHTSHIFT_DATA_BUCKET": self.bucket,
            "NIGHTSHIFT_STACK": self.names.installation,
            "NIGHTSHIFT_IMAGE": self.image,
            "NO_PROXY": "127.0.0.1,localhost",
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
    say: Say = lambda _: None,
    said: Callable[[Task, str], None] = lambda _task, _line: None,
) -> Iterator[Cloud]:
    """A new one of the project (a checkout), with what it keeps below `folder`, until the context
    ends. `bill`: a folder that is put where AWS would export the bill to. `tag`: what the image is
    called that is built.
    """
    folder.mkdir(parents=True, exist_ok=True)
    chosen = installation.settings(context)
    names = installation.names(chosen)
    auth = f"nightshift:{secrets.token_urlsafe(32)}"
    with ExitStack() as stack:
        aws = stack.enter_context(local_aws(port(aws_port), region=chosen.region))
        say(f"AWS at {aws.url}")
        prefect = stack.enter_context(server(folder, auth, prefect_port))
        templates = _Meanwhile(lambda: installation.synthesise(project, context))
        host = f"{names.account}.dkr.ecr.{chosen.region}.amazonaws.com"
        runtime: Runtime
        if engine is None:
            runtime = Processes(project)
            digest, manifest = _no_image(project)
        else:
            from infra.local import image as images
            from infra.local.registry import registry

            where = stack.enter_context(registry(folder / "registry", engine=engine))
            runtime = Containers(engine, {host: where.host_port})
            say("building the image …")
            revision = images.revision(project)
            built = images.build(engine, project, revision=revision, tag=tag, say=say)
            digest = images.push(engine, where, built, names.installation, [revision, LIVE])
            pulled = f"{where.host_port}/{names.installation}@{digest}"  # a name that tasks leave
            stack.callback(engine.run, "rmi", pulled, check=False)
            manifest = _manifest(where.host_port, names.installation, digest)
        image = f"{host}/{names.installation}@{digest}"
        installation.deploy(aws, templates.result(), names, auth)
        say(f"{names.installation} is deployed from its own templates")
        _register(aws, names.installation, digest, manifest)
        found = outputs(names.installation, aws.client("cloudformation"))
        if bill is not None:
            count = _upload(aws, bill, found.values["DataBucket"], "bills/")
            say(f"{count} files of a bill in s3://{found.values['DataBucket']}/bills/")
        fargate = stack.enter_context(local_fargate(aws, runtime, say=say, said=said))
        fargate.held.add(SERVICE)  # this machine's own server and worker stand for it
        scheduler = stack.enter_context(Scheduler(aws, say=say))
        prefect.wait()
        say(f"Prefect at {prefect.api.ui}")
        reconciled = _deployments(project, aws, names, prefect.api, "reconcile", "--image", image)
        for line in reconciled.splitlines():
            say(line)
        queue = found.values["TaskQueueName"]
        started = stack.enter_context(
            worker(folder, prefect.api, _as_orchestrator(aws, names), queue)
        )
        yield Cloud(
            *(aws, fargate, scheduler, prefect, started, names, found, image, folder, project)
        )


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


def _register(aws: LocalAws, repository: str, digest: str, manifest: str) -> None:
    """ECR knows of the image what its registry has; the registry itself is another program."""
    for tag in ("local", LIVE):
        aws.client("ecr").put_image(
            repositoryName=repository,
            imageManifest=manifest,
            imageManifestMediaType=_MANIFEST,
            imageDigest=digest,
            imageTag=tag,
        )


def _manifest(host_port: str, repository: str, digest: str) -> str:
    request = urllib.request.Request(
        f"http://{host_port}/v2/{repository}/manifests/{digest}", headers={"Accept": _MANIFEST}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return str(answer.read().decode())


def _no_image(project: Path) -> tuple[str, str]:
    """Of a folder, a digest and a manifest: without an engine there is nothing else."""
    digest = hashlib.sha256(str(project).encode()).hexdigest()
    return f"sha256:{digest}", json.dumps({"schemaVersion": 2, "mediaType": _MANIFEST})


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
