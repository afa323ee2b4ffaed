"""Runs a buildspec for CodeBuild, as a program that can be ended as a whole: with SIGTERM, or with
who has started it. `python -m infra.local.release.runner FOLDER`

In the folder are `source`, what was unpacked, and `environment.json`; `failed.json` comes to it if
a command fails.
"""

from __future__ import annotations

import ctypes
import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from deployments.operate.buildspec import run
from flows.problem import Problem

ENVIRONMENT = "environment.json"
FAILED = "failed.json"
SOURCE = "source"
_PDEATHSIG = 1  # prctl(2)


def main(arguments: Sequence[str]) -> int:
    (folder,) = map(Path, arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    if sys.platform == "linux":
        # SIGTERM, so that what the build itself has started is ended too.
        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGTERM)
    environment = json.loads((folder / ENVIRONMENT).read_text())
    buildspec = environment.pop("BUILDSPEC")
    try:
        failed = run(folder / SOURCE / buildspec, environment, lambda line: print(line, flush=True))
    except Problem as problem:
        print(problem, flush=True)
        wrong = {"phase": "download_source", "command": "", "status": 1, "problem": str(problem)}
        (folder / FAILED).write_text(json.dumps(wrong))
        return 1
    except KeyboardInterrupt:
        return 130
    if failed is not None:
        (folder / FAILED).write_text(json.dumps(asdict(failed)))
    return 0 if failed is None else 1


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
