"""The program `docker` of a build, with an engine that only notes what it is asked."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from infra.local.aws import ACCOUNT, LocalAws, local_aws
from infra.local.engine import Engine
from infra.local.iam import assume
from infra.local.release import docker
from infra.names import Names

HOST = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com"
REPOSITORY = "nightshift"
IMAGE = f"{HOST}/{REPOSITORY}"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/build"
PUSH = (
    *("ecr:BatchCheckLayerAvailability", "ecr:InitiateLayerUpload", "ecr:UploadLayerPart"),
    *("ecr:CompleteLayerUpload", "ecr:PutImage"),
)
PULL = ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")

# It keeps what an image's name is about as its digest, and who has logged in.
ENGINE = """#!/bin/sh
echo "$@" >>"{log}"
case "$1" in
  login) echo '{{"auths": {{"{here}": {{}}}}}}' >"$REGISTRY_AUTH_FILE" ;;
  push)
    while [ "$1" != --digestfile ]; do shift; done
    cat "{folder}/digest" >"$2" ;;
  fails) exit 3 ;;
esac
"""


def manifest(content: str) -> bytes:
    layers = [{"size": 1, "digest": f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"}]
    return json.dumps({"mediaType": docker.MANIFEST, "layers": layers, "schemaVersion": 2}).encode()


def digest_of(content: str) -> str:
    return f"sha256:{hashlib.sha256(manifest(content)).hexdigest()}"


@dataclass
class Build:
    """A place in which `docker` is that program."""

    aws: LocalAws
    folder: Path
    shims: Path
    here: str

    def docker(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        keys = assume(ROLE, "codebuild.amazonaws.com")
        return subprocess.run(
            ["docker", *arguments],
            cwd=self.folder,
            env={
                "PATH": f"{self.shims}:{os.defpath}",
                "AWS_ENDPOINT_URL": self.aws.url,
                "AWS_DEFAULT_REGION": "us-east-1",
                **{name.upper(): value for name, value in keys.items()},
                "DOCKER_CONFIG": str(self.folder / "logins"),
                "CODEBUILD_BUILD_ID": "nightshift:1",
            },
            capture_output=True,
            text=True,
            check=False,
        )

    def push(self, content: str, tag: str) -> subprocess.CompletedProcess[str]:
        (self.folder / "digest").write_text(digest_of(content))
        return self.docker("push", f"{IMAGE}:{tag}")

    def asked(self) -> list[str]:
        """What the engine was, and forgets."""
        file = self.folder / "log"
        lines = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return lines

    def tags(self, content: str) -> list[str]:
        ecr = self.aws.client("ecr")
        details = ecr.describe_images(repositoryName=REPOSITORY)["imageDetails"]
        found = {each["imageDigest"]: each.get("imageTags", []) for each in details}
        return sorted(found.get(digest_of(content), []))


@contextmanager
def registry() -> Iterator[str]:
    """It has every image that a test knows of."""
    known = {digest_of(content): manifest(content) for content in ("one", "other")}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = known[self.path.rpartition("/")[2]]
            self.send_response(200)
            self.send_header("Content-Type", docker.MANIFEST)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def aws() -> Iterator[LocalAws]:
    with local_aws() as running:
        iam = running.client("iam")
        trust = {
            "Effect": "Allow",
            "Principal": {"Service": "codebuild.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
        document = json.dumps({"Version": "2012-10-17", "Statement": trust})
        iam.create_role(RoleName="build", AssumeRolePolicyDocument=document)
        yield running


def may(aws: LocalAws, *actions: str) -> None:
    arn = Names("nightshift", "us-east-1", ACCOUNT).arn("ecr", f"repository/{REPOSITORY}")
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": arn}
    document = json.dumps({"Version": "2012-10-17", "Statement": statement})
    aws.client("iam").put_role_policy(
        RoleName="build", PolicyName="rights", PolicyDocument=document
    )


@pytest.fixture
def build(aws: LocalAws, tmp_path: Path) -> Iterator[Build]:
    may(aws, *PUSH, *PULL)
    aws.client("ecr").create_repository(
        repositoryName=REPOSITORY,
        imageTagMutability="IMMUTABLE_WITH_EXCLUSION",
        imageTagMutabilityExclusionFilters=[{"filterType": "WILDCARD", "filter": "live"}],
    )
    with registry() as here:
        program = tmp_path / "podman"
        program.write_text(ENGINE.format(log=tmp_path / "log", folder=tmp_path, here=here))
        program.chmod(0o755)
        engine = Engine("podman", "4", (str(program),))
        shims = docker.write(tmp_path / "docker", engine, {HOST: here}, "1.2", sys.executable)
        yield Build(aws, tmp_path, shims, here)
    aws.client("ecr").delete_repository(repositoryName=REPOSITORY, force=True)


@pytest.fixture
def logged_in(build: Build) -> Build:
    done = build.docker("login", "--username", "AWS", "--password-stdin", HOST)
    assert done.returncode == 0, done.stderr
    assert build.asked() == [
        f"login --tls-verify=false --username AWS --password-stdin {build.here}"
    ]
    return build


def test_a_push_tells_ecr_what_the_registry_has(logged_in: Build) -> None:
    build = logged_in
    done = build.push("one", "a")
    assert done.returncode == 0, done.stderr
    assert digest_of("one") in done.stdout
    (asked,) = build.asked()
    assert asked.startswith("push --quiet --tls-verify=false --digestfile ")
    assert asked.endswith(f"{build.here}/{REPOSITORY}:a docker://{build.here}/{REPOSITORY}:a")
    assert build.tags("one") == ["a"]


def test_live_moves_and_another_tag_does_not(logged_in: Build) -> None:
    build = logged_in
    for content, tag in (("one", "a"), ("one", "live"), ("other", "live"), ("other", "live")):
        done = build.push(content, tag)
        assert done.returncode == 0, done.stderr
    done = build.push("other", "a")
    assert done.returncode == 1
    assert "tag invalid: The image tag 'a' already exists in the 'nightshift'" in done.stderr
    assert (build.tags("one"), build.tags("other")) == (["a"], ["live"])


def test_a_pull_takes_what_ecr_says_the_tag_is(logged_in: Build) -> None:
    build = logged_in
    build.push("one", "a")
    build.asked()
    done = build.docker("pull", "--platform", "linux/arm64", f"{IMAGE}:a")
    assert done.returncode == 0, done.stderr
    pulled = f"{build.here}/{REPOSITORY}@{digest_of('one')}"
    assert build.asked() == [
        f"pull --quiet --tls-verify=false {pulled}",
        f"tag {pulled} {build.here}/{REPOSITORY}:a",
    ]
    done = build.docker("pull", f"{IMAGE}:b")
    assert done.returncode == 1
    assert "manifest unknown" in done.stderr


@pytest.mark.parametrize("verb", ["push", "pull"])
def test_who_has_not_logged_in_is_refused(build: Build, verb: str) -> None:
    done = build.docker(verb, f"{IMAGE}:a")
    assert done.returncode == 1
    assert "no basic auth credentials" in done.stderr
    assert build.asked() == []


@pytest.mark.parametrize("missing", PUSH)
def test_a_push_needs_each_right(logged_in: Build, missing: str) -> None:
    build = logged_in
    may(build.aws, *(set(PUSH) - {missing}))
    done = build.push("one", "a")
    assert done.returncode == 1
    assert f"not authorized to perform: {missing}" in done.stderr
    assert build.tags("one") == []


@pytest.mark.parametrize("missing", PULL)
def test_a_pull_needs_each_right(logged_in: Build, missing: str) -> None:
    build = logged_in
    build.push("one", "a")
    may(build.aws, *(set(PULL) - {missing}))
    done = build.docker("pull", f"{IMAGE}:a")
    assert done.returncode == 1
    assert f"not authorized to perform: {missing}" in done.stderr


def test_a_run_carries_what_it_can_be_found_by(build: Build) -> None:
    done = build.docker("run", "--rm", "--network", "none", f"{IMAGE}:a", "true")
    assert done.returncode == 0, done.stderr
    (asked,) = build.asked()
    assert "--label nightshift.build=nightshift:1" in asked
    assert "--label nightshift.local=1.2" in asked
    assert asked.endswith(f"--rm --network none {build.here}/{REPOSITORY}:a true")


def test_the_rest_is_the_engines_own(build: Build) -> None:
    assert build.docker("tag", f"{IMAGE}:a", f"{IMAGE}:live").returncode == 0
    assert build.docker("fails").returncode == 3
    here = f"{build.here}/{REPOSITORY}"
    assert build.asked() == [f"tag {here}:a {here}:live", "fails"]
