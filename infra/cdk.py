"""The stock CDK CLI, run with this project's own Node and Python."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from flows.problem import Problem

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "build" / "cdk"  # as cdk.json has it
BIN = Path(sys.executable).parent
CLI = BIN / "cdk"


def run(
    command: str, arguments: Sequence[str], context: Mapping[str, str], *, silent: bool = False
) -> None:
    """`cdk COMMAND ARGUMENTS`, with the settings that were given instead of the file's.

    `silent`: what it says is shown only when it fails. Raises Problem when it is not there;
    SystemExit with its own exit status when it fails, after it has said why.
    """
    if not CLI.exists():
        raise Problem(
            "the CDK CLI is not set up",
            where={"file": CLI},
            fix="run it by make, which sets it up: make help",
        )
    values = [text for key, value in context.items() for text in ("-c", f"{key}={value}")]
    done = subprocess.run(  # noqa: S603 - our own program, and no shell
        [str(BIN / "node"), str(CLI.resolve()), command, *arguments, *values],
        cwd=ROOT,
        env=_environment(),
        check=False,
        stdout=subprocess.PIPE if silent else None,
        stderr=subprocess.STDOUT if silent else None,
        text=True,
    )
    if done.returncode:
        if silent:
            print(done.stdout, file=sys.stderr)
        raise SystemExit(done.returncode)


def template(stack: str) -> Path:
    """Where `cdk synth` puts a stack's template."""
    return OUTPUT / f"{stack}.template.json"


def _environment() -> dict[str, str]:
    return os.environ | {
        "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}",
        "CDK_DISABLE_VERSION_CHECK": "true",  # this one is pinned
    }
