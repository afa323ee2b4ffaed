"""Looks at a task's stats once a second, for as long as the run lasts."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from deployments.meter.ask import Asking
from deployments.meter.usage import Load, cpu_in_all, memory_in_use

EVERY = 1.0  # seconds


class Watch:
    """`url`: of the task's stats, at the task metadata endpoint."""

    def __init__(self, url: str, began: datetime) -> None:
        self.peak = 0  # bytes
        self.load = Load()
        self._url = url
        self._read = began
        self._cpu = 0  # nanoseconds, in all
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look_on, daemon=True)
        self._thread.start()

    def end(self, cpu_seconds: float, now: datetime) -> None:
        """`cpu_seconds`: in all, as the kernel counts them, to make up for the last second."""
        self._over.set()
        self._thread.join(EVERY)
        last = max(0.0, cpu_seconds - self._cpu / 1e9)
        self.load.add(last, (now - self._read).total_seconds())

    def _look_on(self) -> None:
        while not self._over.wait(EVERY):
            # Not seen this time, whatever it was: the next difference has all that was missed.
            with suppress(Exception):
                self.see(Asking(EVERY)("GET", self._url))

    def see(self, stats: Mapping[str, Any]) -> None:
        """By the stats' own times: it may be told of the same second twice."""
        reads = [one["read"] for one in stats.values() if one and one.get("read")]
        if not reads:
            return  # in the first second
        read, cpu = max(map(datetime.fromisoformat, reads)), cpu_in_all(stats)
        self.peak = max(self.peak, memory_in_use(stats))
        if read > self._read and cpu >= self._cpu:
            self.load.add((cpu - self._cpu) / 1e9, (read - self._read).total_seconds())
            self._read, self._cpu = read, cpu
