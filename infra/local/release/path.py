"""The release path of one installation in a local AWS."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from moto.codecommit.models import codecommit_backends
from moto.codepipeline.models import codepipeline_backends

from infra.local import process
from infra.local.aws import ACCOUNT, LocalAws
from infra.local.engine import Engine
from infra.local.release import api, docker, events, source
from infra.local.release.builds import Builds, needs
from infra.local.release.direct import Direct
from infra.local.release.executions import Execution
from infra.local.release.pipelines import Pipelines
from infra.local.release.scan import Scanner
from infra.local.release.source import Repository, Update
from infra.names import Names
from infra.settings import Settings

Say = Callable[[str], None]


@dataclass
class ReleasePath:
    """`shims`: a folder with the program `docker` that builds use. Without an engine there is
    neither that nor `pipelines` nor `builds`, and a push does nothing.
    """

    direct: Direct
    repository: Repository
    scanner: Scanner  # its `findings` are what ECR finds in what is pushed from now on
    names: Names
    pipelines: Pipelines | None = None
    builds: Builds | None = None
    shims: Path | None = None

    def executions(self) -> list[Execution]:
        """Of the installation's pipeline, the first first."""
        if self.pipelines is None:
            return []
        return self.pipelines.executions(self.names.installation)

    def tools(self) -> list[Path]:
        """Folders of a PATH in which the buildspec's programs are found: docker, python3, aws. The
        AWS CLI's folder has a python3 of its own.
        """
        return [
            *([self.shims] if self.shims else []),
            Path(sys.executable).parent,
            Path(sys.prefix) / "awscli" / "bin",
        ]


@contextmanager
def release_path(
    aws: LocalAws,
    direct: Direct,
    settings: Settings,
    project: Path,
    folder: Path,
    engine: Engine | None,
    say: Say,
) -> Iterator[ReleasePath]:
    """Until the context ends, with what it keeps below `folder`. The stacks are deployed."""
    names = direct.names
    codecommit = settings.source == "codecommit"
    name = settings.codecommit_repository if codecommit else settings.repository
    url = f"codecommit::{settings.region}://{name}" if codecommit else name
    where = folder / "source" / f"{name}.git"
    repository = source.repository(where, url, settings.branch, project)
    path = ReleasePath(direct, repository, aws.scanner, names)
    with ExitStack() as stack:
        if codecommit:
            stack.enter_context(api.commits(repository, name))
        if engine is not None:
            stack.enter_context(_running(path, aws, folder, engine, say))

        def pushed(update: Update) -> None:
            say(f"push: {update.name} {update.after[:12] or 'removed'}")
            if path.pipelines is None:
                say("there is no container engine: nothing is built, and what is live stays")
            elif codecommit:
                arn = names.arn("codecommit", name)
                detail = update.detail(name, _id(aws.region, name))
                events.put(aws.region, events.REPOSITORY, arn, detail)
            else:
                _detect(path.pipelines, update, name)

        stack.enter_context(source.Watch(repository, pushed, say))
        yield path


@contextmanager
def _running(
    path: ReleasePath, aws: LocalAws, folder: Path, engine: Engine, say: Say
) -> Iterator[None]:
    """Builds and executions; the latter end with the former, which are ended first."""
    needs()
    host = f"{path.names.account}.dkr.ecr.{aws.region}.amazonaws.com"
    registries = {host: path.direct.host_port}
    here = folder / "docker"
    path.shims = docker.write(here, engine, registries, process.owner(), sys.executable)
    path.builds = Builds(aws, folder / "builds", path.shims, say, _sweeping(engine))
    path.pipelines = Pipelines(aws, path.repository, say)
    with api.in_place(path.pipelines, path.builds):
        try:
            yield
        finally:
            path.builds.close()
            path.pipelines.close()


def _sweeping(engine: Engine) -> Callable[[str], None]:
    def sweep(build: str) -> None:
        """Removes the containers that a build has left."""
        label = f"label={docker.BUILD}={build}"
        left = engine.run("ps", "--all", "--quiet", "--filter", label, check=False).stdout.split()
        if left:
            engine.run("rm", "--force", "--volumes", *left, check=False)

    return sweep


def _id(region: str, name: str) -> str:
    known = codecommit_backends[ACCOUNT][region].repositories.get(name)
    if known is None:  # one that no stack of ours has made
        return str(uuid.uuid5(uuid.NAMESPACE_URL, name))
    return str(known.repository_metadata["repositoryId"])


def _detect(pipelines: Pipelines, update: Update, name: str) -> None:
    """A connection starts its pipelines itself, if they are to detect changes.

    https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-CodestarConnectionSource.html
    """
    if update.kind != "branch" or not update.after:
        return
    known = codepipeline_backends[ACCOUNT][pipelines.aws.region].pipelines
    for pipeline in list(known):
        for action in known[pipeline].pipeline["stages"][0]["actions"]:
            wanted = action.get("configuration") or {}
            if (
                wanted.get("FullRepositoryId") == name
                and wanted.get("BranchName") == update.name
                and wanted.get("DetectChanges", "true") == "true"
            ):
                pipelines.start(pipeline, "WebhookV2", wanted["ConnectionArn"])
