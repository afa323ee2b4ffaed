"""An image built and made live without the pipeline: how a local cloud begins, with what is in the
folder and in no commit yet.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from deployments.outputs import LIVE, RELEASED
from infra.local.aws import LocalAws
from infra.local.engine import Engine
from infra.local.release import docker
from infra.local.release.docker import MANIFEST
from infra.names import SERVICE, Names

Say = Callable[[str], None]


@dataclass(frozen=True)
class Pushed:
    """An image in the registry of this machine."""

    digest: str  # 'sha256:…'
    manifest: str  # JSON


@dataclass(frozen=True)
class Direct:
    """Of one installation. `host_port` is the registry's, '' where there is no engine."""

    aws: LocalAws
    names: Names
    push: Callable[[Path], Pushed]  # builds a project's image
    host_port: str

    def register(self, pushed: Pushed) -> None:
        """ECR knows of the image what its registry has; the registry itself is another program. It
        has a tag that no commit has, for it may be of none, and counts as released.
        """
        ecr = self.aws.client("ecr")
        taken = (
            ecr.exceptions.ImageAlreadyExistsException,
            ecr.exceptions.ImageTagAlreadyExistsException,
        )
        own = f"local-{pushed.digest[7:19]}"
        for tag in (own, f"{RELEASED}{own}", LIVE):
            with suppress(*taken):  # it has the tag already
                ecr.put_image(
                    repositoryName=self.names.installation,
                    imageManifest=pushed.manifest,
                    imageManifestMediaType=MANIFEST,
                    imageTag=tag,
                )

    def wake(self) -> None:
        """As the person who deploys."""
        self.aws.client("ecs").update_service(
            cluster=self.names.installation, service=SERVICE, desiredCount=1
        )


@contextmanager
def direct(
    aws: LocalAws, names: Names, folder: Path, engine: Engine | None, tag: str, say: Say
) -> Iterator[Direct]:
    """With a registry until the context ends, and what it keeps below `folder`. `tag`: what the
    image is called that is built.
    """
    if engine is None:
        yield Direct(aws, names, _nothing_to_push, "")
        return
    from infra.local import image as images
    from infra.local.registry import registry

    here = engine

    def push(project: Path) -> Pushed:
        say("building the image …")
        revision = images.revision(project)
        built = images.build(here, project, revision=revision, tag=tag, say=say)
        digest = images.push(here, where, built, names.installation, [revision, LIVE])
        return Pushed(digest, docker.manifest(where.host_port, names.installation, digest)[0])

    with registry(folder / "registry", engine=engine) as where:
        try:
            yield Direct(aws, names, push, where.host_port)
        finally:
            _forget(engine, where.host_port)


def _forget(engine: Engine, host_port: str) -> None:
    """Names that tasks and builds leave: their registry is no more. Of an image that was pulled by
    its digest, podman lists another digest, and knows all of them.
    """
    listed = engine.run("images", "--format", "{{.Repository}} {{.ID}}", check=False).stdout
    known = (line.split(" ") for line in listed.splitlines())
    for image in {id_ for repository, id_ in known if repository.startswith(f"{host_port}/")}:
        of = "{{json .RepoTags}}\n{{json .RepoDigests}}"
        told = engine.run("image", "inspect", "--format", of, image, check=False).stdout
        for name in (name for line in told.splitlines() for name in json.loads(line) or ()):
            if name.startswith(f"{host_port}/"):
                engine.run("rmi", name, check=False)


def _nothing_to_push(project: Path) -> Pushed:
    """Of what would be in the image, a digest and a manifest: without an engine there is nothing
    else.
    """
    found = hashlib.sha256(str(project).encode())
    parts = [project / "prefect.yaml"]
    for part in ("flows", "deployments"):
        parts += sorted((project / part).rglob("*.py"))
    for file in parts:
        found.update(file.read_bytes() if file.is_file() else b"")
    config = {"digest": f"sha256:{found.hexdigest()}"}  # so that no two have the same manifest
    manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": config})
    return Pushed(f"sha256:{hashlib.sha256(manifest.encode()).hexdigest()}", manifest)
