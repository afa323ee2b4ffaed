"""The command line, killed with SIGKILL at a chosen moment:

python -m tests.e2e.dying MOMENT ARGUMENTS…
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

from flows import storage
from flows.cost_report import __main__, analyse, locate, publish, read, scan


def die(*_: object, **__: object) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def after_the_first_batch() -> None:
    found = read.batches

    def batches(*arguments: Any) -> Iterator[Any]:
        yield next(found(*arguments))
        die()

    setattr(read, "batches", batches)  # noqa: B010 - for mypy, which knows its arguments


def on_write(chosen: Callable[[int, str], bool], *, after: bool = False) -> None:
    """Before (or after) the first write that is chosen by its number or name."""
    writes = 0

    def deadly(write: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(write)
        def wrapped(place: object, name: str, content: bytes) -> None:
            nonlocal writes
            writes += 1
            if after:
                write(place, name, content)
            if chosen(writes, name):
                die()
            write(place, name, content)

        return wrapped

    for kind in (storage.Local, storage.S3):
        kind.write = deadly(kind.write)  # type: ignore[method-assign]


MOMENTS: dict[str, Callable[[], None]] = {
    "locate": lambda: setattr(locate, "locate", die),
    "read": after_the_first_batch,
    "roll-up": lambda: setattr(scan, "prove", die),
    "analyse": lambda: setattr(analyse, "analyse", die),
    "publish": lambda: setattr(publish, "files_of", die),
    "half-a-file": lambda: setattr(os, "fsync", die),  # written beside, not yet in its place
    "between-files": lambda: on_write(lambda number, _: number == 5),
    "before-the-pointer": lambda: on_write(lambda _, name: name.endswith("latest.json")),
    "after-the-pointer": lambda: on_write(lambda _, name: name.endswith("latest.json"), after=True),
}


if __name__ == "__main__":
    moment, *arguments = sys.argv[1:]
    MOMENTS[moment]()
    sys.exit(__main__.main(arguments))
