"""What the pipeline does after a push, here: the image built, pushed, tagged `live`, and the
orchestrator's service woken. See buildspec.yml.
"""

from __future__ import annotations

import hashlib
import json
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from infra.local.aws import LocalAws
from infra.local.engine import Engine
from infra.names import LIVE, SERVICE, Names

Say = Callable[[str], None]

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


@dataclass(frozen=True)
class Pushed:
    """An image in the registry of this machine."""

    digest: str  # 'sha256:…'
    manifest: str  # JSON


@dataclass(frozen=True)
class Pipeline:
    """Of one installation. `host_port` is the registry's, '' where there is no engine."""

    aws: LocalAws
    names: Names
    push: Callable[[Path], Pushed]  # builds a project's image
    host_port: str

    def register(self, pushed: Pushed) -> str:
        """ECR knows of the image what its registry has; the registry itself is another program.
        Gives the image's name there: REPOSITORY@sha256:….
        """
        ecr = self.aws.client("ecr")
        repository = self.names.installation
        for tag in ("local", LIVE):
            with suppress(ecr.exceptions.ImageAlreadyExistsException):  # it has the tag already
                ecr.put_image(
                    repositoryName=repository,
                    imageManifest=pushed.manifest,
                    imageManifestMediaType=_MANIFEST,
                    imageDigest=pushed.digest,
                    imageTag=tag,
                )
        host = f"{self.names.account}.dkr.ecr.{self.aws.region}.amazonaws.com"
        return f"{host}/{repository}@{pushed.digest}"

    def wake(self) -> None:
        """As the person who deploys."""
        self.aws.client("ecs").update_service(
            cluster=self.names.installation, service=SERVICE, desiredCount=1
        )


@contextmanager
def pipeline(
    aws: LocalAws, names: Names, folder: Path, engine: Engine | None, tag: str, say: Say
) -> Iterator[Pipeline]:
    """Until the context ends, with what it keeps below `folder`. `tag`: what the image is called
    that is built.
    """
    if engine is None:
        yield Pipeline(aws, names, _nothing_to_push, "")
        return
    from infra.local import image as images
    from infra.local.registry import registry

    here = engine
    digests: list[str] = []

    def push(project: Path) -> Pushed:
        say("building the image …")
        revision = images.revision(project)
        built = images.build(here, project, revision=revision, tag=tag, say=say)
        digest = images.push(here, where, built, names.installation, [revision, LIVE])
        digests.append(digest)
        return Pushed(digest, _manifest(where.host_port, names.installation, digest))

    with registry(folder / "registry", engine=engine) as where:
        try:
            yield Pipeline(aws, names, push, where.host_port)
        finally:
            for digest in digests:  # a name that tasks leave
                pulled = f"{where.host_port}/{names.installation}@{digest}"
                engine.run("rmi", pulled, check=False)


def _manifest(host_port: str, repository: str, digest: str) -> str:
    request = urllib.request.Request(
        f"http://{host_port}/v2/{repository}/manifests/{digest}", headers={"Accept": _MANIFEST}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return str(answer.read().decode())


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
    digest = f"sha256:{found.hexdigest()}"
    config = {"digest": digest}  # so that no two have the same manifest
    manifest = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": config}
    return Pushed(digest, json.dumps(manifest))
