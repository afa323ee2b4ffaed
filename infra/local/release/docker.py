"""`docker`, as a build finds it in its PATH: the engine of this machine, with the local registry in
ECR's place. `python -m infra.local.release.docker CONFIGURATION ARGUMENTS…`

What a push does with the registry's API on AWS, it does here with ECR's: with the credentials of
who pushes, so that their rights are needed, and so that ECR knows what the registry has.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import sys
import tempfile
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flows.problem import Problem
from infra.local import image as images
from infra.local.engine import Engine
from infra.local.process import OWNER
from infra.local.release.arguments import Call, call, localised, original

ROOT = Path(__file__).parents[3]
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_ACCEPTED = f"{MANIFEST}, application/vnd.oci.image.manifest.v1+json"
_NOBODY = 'denied: no basic auth credentials: log in first, with "aws ecr get-login-password"'


@dataclass(frozen=True)
class Configuration:
    """What the program needs to know of where it runs."""

    engine: str  # 'podman' or 'docker'
    command: tuple[str, ...]
    registries: Mapping[str, str]  # ECR's host: HOST:PORT here
    environment: Mapping[str, str]  # of the engine
    owner: str  # of its containers
    folder: str  # takes the logins of who has none of their own (DOCKER_CONFIG)


def write(
    folder: Path, engine: Engine, registries: Mapping[str, str], owner: str, python: str
) -> Path:
    """The folder to put into a PATH. Its program knows nothing of the environment that it is in."""
    shims = folder / "bin"
    shims.mkdir(parents=True, exist_ok=True)
    program = shutil.which(engine.command[0]) or engine.command[0]
    outer = {
        name: value
        for name, value in (os.environ | dict(engine.environment)).items()
        if not name.startswith(("AWS_", "GIT_"))
    }
    outer["TMPDIR"] = tempfile.gettempdir()  # where builds wait for each other
    configuration = Configuration(
        engine.name, (program, *engine.command[1:]), registries, outer, owner, str(folder)
    )
    file = folder / "docker.json"
    file.touch(mode=0o600)
    file.write_text(json.dumps(asdict(configuration)))
    shim = shims / "docker"
    words = [python, "-P", "-m", "infra.local.release.docker", str(file)]
    shim.write_text(
        f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {shlex.join(words)} "$@"\n'
    )
    shim.chmod(0o755)
    return shims


def main(arguments: Sequence[str]) -> int:
    file, *asked = arguments
    values = json.loads(Path(file).read_text())
    configuration = Configuration(**{**values, "command": tuple(values["command"])})
    caller = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    logins = Path(os.environ.get("DOCKER_CONFIG") or configuration.folder)
    logins.mkdir(parents=True, exist_ok=True)
    build = os.environ.get("CODEBUILD_BUILD_ID", "")
    os.environ.clear()
    os.environ.update(configuration.environment)
    if configuration.engine == "podman":
        os.environ["REGISTRY_AUTH_FILE"] = str(logins / "auth.json")
    else:
        os.environ["DOCKER_CONFIG"] = str(logins)
    os.environ.update(caller)
    wanted = call(localised(asked, configuration.registries), configuration.engine)
    try:
        return Docker(configuration, logins, build).do(wanted)
    except Refused as refused:
        print(refused, file=sys.stderr)
        return 1
    except Problem as problem:
        print(problem.detail or problem, file=sys.stderr)
        return 1


class Refused(Exception):
    """As the registry refuses, in its words."""


class Docker:
    def __init__(self, configuration: Configuration, logins: Path, build: str) -> None:
        self._configuration = configuration
        self._engine = Engine(configuration.engine, "", configuration.command)
        self._podman = configuration.engine == "podman"
        self._plain = ["--tls-verify=false"] if self._podman else []
        self._logins = logins
        self._build = build  # its id, '' outside of one

    def do(self, wanted: Call) -> int:
        """The exit status."""
        match wanted.verb:
            case "build":
                return self._make(wanted)
            case "push":
                for name in (each for each in wanted.rest if not each.startswith("-")):
                    self._push(name)
                return 0
            case "pull":
                for name in (each for each in wanted.rest if not each.startswith("-")):
                    self._pull(name)
                return 0
            case "login":
                return self._become("login", *self._plain, *wanted.rest)
            case "run" | "create":
                labels = [f"{OWNER}={self._configuration.owner}"]
                labels += [f"{BUILD}={self._build}"] if self._build else []
                own = [part for label in labels for part in ("--label", label)]
                return self._become(wanted.verb, *own, *wanted.rest)
            case "buildx" | "builder":
                return 0  # there is one builder, and nothing to set up
        return self._become(wanted.verb, *wanted.rest)

    def _become(self, *arguments: str) -> int:
        command = [*self._engine.command, *(each for each in arguments if each)]
        os.execvpe(command[0], command, dict(os.environ))  # noqa: S606

    def _make(self, wanted: Call) -> int:
        with images.alone(), tempfile.TemporaryDirectory() as folder:
            trust = images.trust(Path(folder)) if self._podman else ()
            own = [part for volume in trust for part in ("--volume", volume)]
            if not self._podman:
                own = [part for name in images.proxies() for part in ("--build-arg", name)]
            done = self._engine.run(
                "build", *own, *wanted.rest, check=False, stdout=None, stderr=None
            )
        if done.returncode == 0 and wanted.pushes:
            for name in wanted.tags:
                self._push(name)
        return int(done.returncode)

    # --- the registry ----------------------------------------------------------------------------

    def _push(self, name: str) -> None:
        place = original(name, self._configuration.registries)
        if place is None:
            self._become("push", *self._plain, name)
            return
        host, repository, tag = place
        ecr = self._ecr(host)
        _upload(ecr, repository)
        digest = self._push_layers(name)
        text, media_type = manifest(name.partition("/")[0], repository, digest)
        with _denied():
            try:
                ecr.put_image(
                    repositoryName=repository,
                    imageManifest=text,
                    imageManifestMediaType=media_type,
                    imageDigest=digest,
                    imageTag=tag,
                )
            except ecr.exceptions.ImageAlreadyExistsException:
                pass  # nothing has changed, of which a push says nothing
            except ecr.exceptions.ImageTagAlreadyExistsException as error:
                raise Refused(f"tag invalid: {error.response['Error']['Message']}") from error
        print(f"{tag}: digest: {digest} size: {len(text)}")

    def _push_layers(self, name: str) -> str:
        """The image's digest in the local registry, which moves any tag: ECR is who is asked."""
        if not self._podman:
            said = self._engine.run("push", name).stdout
            return str(said.rpartition("digest: ")[2].split()[0])
        with tempfile.NamedTemporaryFile() as file:
            options = ["--quiet", *self._plain, "--digestfile", file.name]
            self._engine.run("push", *options, name, f"docker://{name}")
            return Path(file.name).read_text().strip()

    def _pull(self, name: str) -> None:
        """What ECR says that the tag names."""
        place = original(name, self._configuration.registries)
        if place is None:
            self._become("pull", name)
            return
        host, repository, tag = place
        ecr = self._ecr(host)
        asked = {"imageDigest": tag[1:]} if tag.startswith("@") else {"imageTag": tag}
        with _denied():
            found = ecr.batch_get_image(repositoryName=repository, imageIds=[asked])["images"]
            if not found:
                raise Refused(f"manifest for {host}/{repository}:{tag} not found: manifest unknown")
            layers = json.loads(found[0]["imageManifest"]).get("layers", ())
            for layer in layers[:1]:  # what is asked for is the right
                ecr.get_download_url_for_layer(
                    repositoryName=repository, layerDigest=layer["digest"]
                )
        here = name.partition("/")[0]
        pulled = f"{here}/{repository}@{found[0]['imageId']['imageDigest']}"
        self._engine.run("pull", "--quiet", *self._plain, pulled)
        if not tag.startswith("@"):
            self._engine.run("tag", pulled, name)
        print(pulled)

    def _ecr(self, host: str) -> Any:
        """As who is logged in. Raises Refused if nobody is."""
        import boto3

        files = [self._logins / name for name in ("auth.json", "config.json")]
        known = {key for file in files if file.exists() for key in _auths(file)}
        if self._configuration.registries[host] not in known:
            raise Refused(_NOBODY)
        return boto3.client("ecr")


BUILD = "nightshift.build"  # a label of containers: the build that has started them


def _auths(file: Path) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(file.read_text() or "{}").get("auths", {})
    return found


class _denied:
    """The API's refusal, as the registry says it."""

    def __enter__(self) -> None: ...

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        from botocore.exceptions import ClientError

        if isinstance(error, ClientError):
            raise Refused(f"denied: {error.response['Error']['Message']}") from error


def _upload(ecr: Any, repository: str) -> None:
    """The calls that a push makes of each layer, made of one byte: the layers themselves go to the
    local registry.

    https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-push-iam.html
    """
    byte = b"\0"
    digest = f"sha256:{hashlib.sha256(byte).hexdigest()}"
    with _denied():
        ecr.batch_check_layer_availability(repositoryName=repository, layerDigests=[digest])
        upload = ecr.initiate_layer_upload(repositoryName=repository)["uploadId"]
        at = {"repositoryName": repository, "uploadId": upload}
        ecr.upload_layer_part(**at, partFirstByte=0, partLastByte=0, layerPartBlob=byte)
        ecr.complete_layer_upload(**at, layerDigests=[digest])


def manifest(host_port: str, repository: str, digest: str) -> tuple[str, str]:
    """The registry's own bytes, and their media type."""
    request = urllib.request.Request(
        f"http://{host_port}/v2/{repository}/manifests/{digest}", headers={"Accept": _ACCEPTED}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as answer:
        return answer.read().decode(), answer.headers.get_content_type()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
