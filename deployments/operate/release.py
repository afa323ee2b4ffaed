"""`make release`: by hand what the pipeline does for a push, with the same commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from deployments.operate import buildspec
from deployments.operate.installation import Installation, asking
from deployments.operate.releases import live, releases
from flows.problem import Problem

Say = Callable[[str], None]

_NEEDED = {
    "docker": "install Docker, or start it: https://docs.docker.com/engine/install/",
    "aws": "install the AWS CLI: "
    "https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html",
}


def release(at: Installation, say: Say, folder: Path | None = None) -> int:
    """The exit status: 0 if the commit that is checked out in `folder` is live, 1 if a command has
    failed. Raises Problem if it cannot begin.
    """
    here = folder or Path.cwd()
    commit = clean_head(here)
    file, variables = of_project(at)
    environment = {
        **os.environ,
        # Found by name, as CodeBuild finds it.
        "AWS_DEFAULT_REGION": at.client("ecr").meta.region_name,
        **variables,
        "PATH": path(os.environ.get("PATH", "")),
        "CODEBUILD_RESOLVED_SOURCE_VERSION": commit,
    }
    for program, fix in _NEEDED.items():
        if shutil.which(program, path=environment["PATH"]) is None:
            raise Problem(f"the program {program} is not on PATH", fix=fix)
    say(f"releasing {commit[:12]} to {at.stack}")
    failed = buildspec.run(here / file, environment, say)
    now = live(releases(at, scanned=False))
    if failed is None:
        say(f"live is {now or 'none'}")
        return 0
    say(f"the release has stopped in {failed.phase}, exit status {failed.status}:")
    say(f"  {' '.join(failed.command.split())}")
    say(f"live is {now or 'none'}; see above why")
    return 1


def of_project(at: Installation) -> tuple[str, dict[str, str]]:
    """The buildspec's name, and the variables that the stack's CodeBuild project gives it."""
    with asking("describe the CodeBuild project"):
        found = at.client("codebuild").batch_get_projects(names=[at.stack])["projects"]
    if not found:
        raise Problem(
            "the stack has no CodeBuild project",
            where={"stack": at.stack},
            fix="a cloud engineer deploys the stack of this version: make deploy",
        )
    variables = found[0]["environment"].get("environmentVariables") or ()
    file = str(found[0]["source"].get("buildspec") or buildspec.BUILDSPEC)
    return file, {str(each["name"]): str(each["value"]) for each in variables}


def path(given: str) -> str:
    """With this Python's folder first, as the gate needs a Python of today; and with the AWS CLI of
    `make`'s own at the end, for where there is no other.
    """
    environment = Path(sys.prefix)
    parts = [str(Path(sys.executable).parent), given, str(environment / "awscli" / "bin")]
    return os.pathsep.join(part for part in parts if part)


def clean_head(folder: Path) -> str:
    """The commit that is checked out. Raises Problem if anything is not in it: the image's tag
    would say what is not so.
    """
    changed = _git(folder, "status", "--porcelain")
    if changed:
        lines = changed.splitlines()
        raise Problem(
            "there are changes that are in no commit",
            where={"folder": folder},
            detail=", ".join(line[3:] for line in lines[:5]) + (", …" if len(lines) > 5 else ""),
            fix="commit them, or put them away (git stash -u)",
        )
    return _git(folder, "rev-parse", "HEAD").strip()


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603
            ["git", *arguments],  # noqa: S607
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            env=_own(os.environ),
        )
    except FileNotFoundError:
        raise Problem("the program git is not on PATH", fix="install it") from None
    if done.returncode:
        raise Problem(
            "git does not say what is checked out",
            where={"folder": folder},
            detail=done.stderr.strip(),
            fix="run this in the project's own folder, a git repository with a commit",
        )
    return done.stdout


def _own(environment: Mapping[str, str]) -> dict[str, str]:
    return {**environment, "LC_ALL": "C"}
