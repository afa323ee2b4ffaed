"""Builds the image and pushes it, as CodeBuild does, with what runs containers on this machine.

`python -m infra.local.image [TAG]` builds it.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from flows.problem import Problem
from infra.local.engine import Engine, needed_engine
from infra.local.registry import Registry

TAG = "localhost/nightshift:dev"
_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"  # where Debian keeps the authorities it trusts

Say = Callable[[str], None]


def build(
    engine: Engine,
    context: Path,
    *,
    revision: str,
    source: str = "",
    tag: str = TAG,
    say: Say = lambda _: None,
) -> str:
    """The id of the image of this folder; `say` gets each line that the build prints. What has not
    changed since the last build is taken from there.
    """
    with alone(), tempfile.TemporaryDirectory() as temporary:
        made = Path(temporary)
        arguments = ["build", "--tag", tag, "--iidfile", str(made / "id")]
        # Not as the Dockerfile's arguments: podman would take the label of an earlier build's.
        for name, value in (("revision", revision), ("source", source)):
            arguments += ["--label", f"org.opencontainers.image.{name}={value}"] if value else []
        if engine.name == "podman":
            # Docker's format, as the pipeline's Docker pushes it.
            arguments += ["--layers", "--format", "docker", "--network", "host"]
            arguments += [part for volume in trust(made) for part in ("--volume", volume)]
        else:
            arguments += ["--progress", "plain"]
            arguments += [part for name in proxies() for part in ("--build-arg", name)]
        _tell(engine, [*arguments, str(context)], say)
        return (made / "id").read_text().strip().removeprefix("sha256:")


@contextmanager
def alone() -> Iterator[None]:
    """Builds that share layers get into each other's way in podman."""
    lock = Path(tempfile.gettempdir()) / f"nightshift-image-{os.getuid()}.lock"
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def push(
    engine: Engine, registry: Registry, image: str, repository: str, tags: Sequence[str]
) -> str:
    """The image's digest in the registry, where it then has these tags."""
    digest = ""
    for tag in tags:
        name = f"{registry.host_port}/{repository}:{tag}"
        if engine.name == "podman":
            with tempfile.NamedTemporaryFile() as file:
                options = ["--quiet", "--tls-verify=false", "--digestfile", file.name]
                engine.run("push", *options, image, f"docker://{name}")
                digest = Path(file.name).read_text().strip()
        else:
            engine.run("tag", image, name)
            said = engine.run("push", name).stdout
            digest = said.rpartition("digest: ")[2].split()[0]
            engine.run("rmi", name)  # the tag; the image stays
    return digest


def revision(project: Path) -> str:
    """The commit that is checked out, shortened as the pipeline does."""
    done = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"],  # noqa: S607
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"


def trust(folder: Path) -> Iterator[str]:
    """Mounts for a build behind a proxy that looks into TLS: pip and uv inside trust whom this
    machine trusts. The stages that use them are not the one that becomes the image.
    """
    bundle = os.environ.get("SSL_CERT_FILE", "")
    if not Path(bundle).is_file():
        return
    yield f"{bundle}:{_BUNDLE}:ro"
    for name, target, text in (
        ("pip.conf", "/etc/pip.conf", f"[global]\ncert = {_BUNDLE}\n"),
        ("uv.toml", "/etc/uv/uv.toml", "native-tls = true\n"),
    ):
        (folder / name).write_text(text)
        yield f"{folder / name}:{target}:ro"


def proxies() -> list[str]:
    """Build arguments that Docker knows and does not keep; podman passes them by itself."""
    names = ("http_proxy", "https_proxy", "no_proxy")
    return [n for name in names for n in (name, name.upper()) if n in os.environ]


def _tell(engine: Engine, arguments: Sequence[str], say: Say) -> None:
    last: deque[str] = deque(maxlen=20)
    with subprocess.Popen(  # noqa: S603 - our own engine
        [*engine.command, *arguments],
        env=os.environ | engine.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as building:
        for line in building.stdout or ():
            last.append(line.rstrip())
            say(last[-1])
    if building.returncode:
        raise Problem(
            "the image cannot be built",
            where={"engine": f"{engine.name} {engine.version}"},
            detail="\n".join(last),
            fix="mend what it names; where the base image cannot be pulled from its registry, "
            ".ci/base-image makes a stand-in for it",
        )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.local.image", description=__doc__)
    parser.add_argument("tag", nargs="?", default=TAG, metavar="TAG", help=f"default: {TAG}")
    options = parser.parse_args(arguments)
    project = Path.cwd()
    try:
        engine = needed_engine(project / "build/local/engine")
        image = build(engine, project, revision=revision(project), tag=options.tag, say=print)
        size = engine.run("image", "inspect", "--format", "{{.Size}}", image).stdout.strip()
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 1
    print(f"{options.tag}: {image[:12]}, {int(size) / 1e6:.0f} MB unpacked")
    return 0


if __name__ == "__main__":
    sys.exit(main())
