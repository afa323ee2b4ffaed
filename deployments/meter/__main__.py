"""python -m deployments.meter COMMAND …: an ECS task's command, metered.
python -m deployments.meter -m MODULE …: a module on this machine, as `python -m MODULE …`.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec


def main(arguments: list[str]) -> int:
    if len(arguments) > 1 and arguments[0] == "-m":
        from deployments.meter.here import run_module

        if not _there(arguments[1]):
            print(f"there is no module {arguments[1]}", file=sys.stderr)
            return 1
        run_module(arguments[1], arguments[2:])
        return 0
    if not arguments or arguments[0].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    from deployments.meter.run import run

    return run(arguments, os.environ)


def _there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # nor what it would be in
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
