"""python -m deployments.meter COMMAND …: an ECS task's command, metered.
python -m deployments.meter -m MODULE …: a module on this machine, as `python -m MODULE …`.
"""

from __future__ import annotations

import os
import sys


def main(arguments: list[str]) -> int:
    if len(arguments) > 1 and arguments[0] == "-m":
        from deployments.meter.here import run_module

        run_module(arguments[1], arguments[2:])
        return 0
    if not arguments or arguments[0].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    from deployments.meter.run import run

    return run(arguments, os.environ)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
