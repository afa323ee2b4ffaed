"""`python -m infra.picture FILE` draws what `python -m infra synth` has written."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from flows.problem import Problem
from infra.cdk import template
from infra.names import Names
from infra.picture.draw import draw
from infra.picture.graph import graph
from infra.settings import BadSettings, load


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m infra.picture FILE", file=sys.stderr)
        return 2
    try:
        Path(arguments[0]).write_text(draw(graph(_templates())))
    except (BadSettings, Problem) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _templates() -> dict[str, Any]:
    settings = load()
    names = Names(settings.installation, settings.region)
    found = {}
    for stack in (names.identity_stack, names.installation):
        try:
            found[stack] = json.loads(template(stack).read_text())
        except FileNotFoundError:
            raise Problem(
                "there is no template to draw from",
                where={"file": template(stack)},
                fix="python -m infra synth",
            ) from None
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
