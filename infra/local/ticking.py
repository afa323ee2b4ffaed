"""What AWS looks at by itself, again and again: here a thread does, while a context lasts."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from types import TracebackType


class Ticking:
    """Calls `tick` every `every` seconds from `_begin` to the context's end; with None nobody does.
    What goes wrong in the thread is raised then. `_patches` are undone then, too.
    """

    def __init__(self, name: str, every: float | None) -> None:
        self._name, self._every = name, every
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._broken: Exception | None = None
        self._patches = ExitStack()

    def tick(self) -> None:
        raise NotImplementedError

    def _begin(self) -> None:
        if self._every is not None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join()
        self._patches.close()
        if self._broken and error is None:
            raise self._broken

    def _run(self) -> None:
        try:
            while not self._stop.wait(self._every):
                self.tick()
        except Exception as error:
            self._broken = error
