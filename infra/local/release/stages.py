"""Which execution is in which stage of a pipeline in SUPERSEDED mode. Decides, and does nothing.

https://docs.aws.amazon.com/codepipeline/latest/userguide/concepts-how-it-works.html
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Arrival:
    """What an execution finds at a stage."""

    enters: bool  # or waits, unless it is itself among the superseded
    superseded: tuple[str, ...] = ()  # executions that end now


class Stages:
    """A stage has one execution in it, and one that waits for it: a newer one takes its place."""

    def __init__(self) -> None:
        self._begun: list[str] = []  # the oldest first
        self._inside: dict[str, str] = {}  # by stage
        self._waiting: dict[str, str] = {}

    def begin(self, execution: str) -> None:
        self._begun.append(execution)

    def arrive(self, stage: str, execution: str) -> Arrival:
        waiting = self._waiting.get(stage)
        if stage not in self._inside:
            self._inside[stage] = execution
            return Arrival(enters=True)
        if waiting is None:
            self._waiting[stage] = execution
            return Arrival(enters=False)
        newer = max(waiting, execution, key=self._begun.index)
        self._waiting[stage] = newer
        older = execution if newer == waiting else waiting
        return Arrival(enters=False, superseded=(older,))

    def leave(self, stage: str) -> str | None:
        """Which execution is in the stage now."""
        self._inside.pop(stage, None)
        if (after := self._waiting.pop(stage, None)) is not None:
            self._inside[stage] = after
        return after

    def inside(self, stage: str) -> str | None:
        return self._inside.get(stage)

    def waiting(self, stage: str) -> str | None:
        return self._waiting.get(stage)
