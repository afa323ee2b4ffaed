"""What one run has used. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Architecture = Literal["arm64", "x86_64"]

EVENT = 26  # bytes that CloudWatch counts for each event besides its text (API_PutLogEvents)


@dataclass(frozen=True)
class Terms:
    """What a second is paid for, and how. Neither size nor time."""

    architecture: Architecture
    spot: bool
    public_ip: bool


@dataclass(frozen=True)
class Measured:
    """What a run was seen to use."""

    peak: float  # MiB of memory at once, page cache aside; 0: it could not be measured
    load: tuple[tuple[float, float], ...]  # (vCPUs in use, for how many seconds)
    log_bytes: int = 0  # as CloudWatch counts them
    puts: int = 0  # PUT, COPY, POST and LIST, which S3 charges alike
    gets: int = 0  # GET and all else that it charges

    @property
    def vcpus(self) -> float:
        """In use on average, while it was looked at."""
        looked = sum(seconds for _, seconds in self.load)
        return sum(vcpus * seconds for vcpus, seconds in self.load) / looked if looked else 0.0


@dataclass(frozen=True)
class Usage:
    """Of a run, from the start of its image pull."""

    cpu: int  # units that it had: 1024 are one vCPU
    memory: int  # MiB that it had
    seconds: float
    startup: float | None  # of these, until the flow began; None where that is not known
    measured: Measured


class Load:
    """How long how many vCPUs were in use, to a hundredth: a day of seconds takes no more room
    than a minute.
    """

    def __init__(self) -> None:
        self._seconds: dict[float, float] = {}

    def add(self, cpu_seconds: float, seconds: float) -> None:
        if seconds > 0 and cpu_seconds >= 0:
            vcpus = round(cpu_seconds / seconds, 2)
            self._seconds[vcpus] = self._seconds.get(vcpus, 0.0) + seconds

    def clear(self) -> None:
        self._seconds.clear()

    @property
    def cpu_seconds(self) -> float:
        return sum(vcpus * seconds for vcpus, seconds in self._seconds.items())

    def __call__(self) -> tuple[tuple[float, float], ...]:
        return tuple(sorted(self._seconds.items()))


# --- as the task metadata endpoint has it --------------------------------------------------------


def memory_in_use(stats: Mapping[str, Any]) -> int:
    """Bytes, of all containers of /task/stats. Without the files that are in memory because they
    were read, which the kernel drops when it needs room: as `docker stats` counts it
    (https://docs.docker.com/reference/cli/docker/container/stats/).
    """
    return sum(map(_in_use, _memory(stats)))


def _memory(stats: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    # A container that has run for less than a second has null.
    return [one["memory_stats"] for one in stats.values() if one and one.get("memory_stats")]


def _in_use(memory: Mapping[str, Any]) -> int:
    usage = int(memory.get("usage") or 0)
    detail = memory.get("stats") or {}
    # The first is cgroup v1's name, in which the second leaves out what is below.
    inactive = int(detail.get("total_inactive_file", detail.get("inactive_file", 0)))
    return usage - inactive if inactive < usage else usage


def cpu_in_all(stats: Mapping[str, Any]) -> int:
    """Nanoseconds that all containers of /task/stats have used so far."""
    return sum(
        int(((one.get("cpu_stats") or {}).get("cpu_usage") or {}).get("total_usage") or 0)
        for one in stats.values()
        if one
    )
