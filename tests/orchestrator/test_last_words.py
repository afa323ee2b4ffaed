"""Runs that have ended, whose ECS tasks have not."""

from __future__ import annotations

from typing import Any

import pytest

from deployments import set_straight
from deployments.orchestrator import last_words
from deployments.orchestrator.last_words import SECONDS, hear_out
from flows.problem import Problem

RUN = [{"key": "prefect.io/flow-run-id", "value": "a"}]


def task(desired: str, tags: list[dict[str, str]]) -> dict[str, Any]:
    return {"taskArn": "arn", "desiredStatus": desired, "lastStatus": "RUNNING", "tags": tags}


class Looks:
    """What ECS has, look by look; the last stays."""

    def __init__(self, *tasks: list[dict[str, Any]] | Problem) -> None:
        self._tasks = list(tasks)
        self.waits = 0

    def __call__(self, *_: Any) -> list[dict[str, Any]]:
        found = self._tasks.pop(0) if len(self._tasks) > 1 else self._tasks[0]
        if isinstance(found, Problem):
            raise found
        return found

    def wait(self, _: float) -> bool:
        self.waits += 1
        return False


SPEAKS, DONE = task("RUNNING", RUN), task("STOPPED", RUN)
OURSELVES = task("RUNNING", [{"key": "nightshift", "value": "x"}])


@pytest.mark.parametrize(
    ("looks", "waits"),
    [
        (Looks([]), 0),
        (Looks([OURSELVES, DONE]), 0),
        (Looks([SPEAKS, OURSELVES], [SPEAKS], [DONE]), 2),
        (Looks([SPEAKS]), SECONDS),
        (Looks([SPEAKS], Problem("ECS does not answer", fix="wait")), 1),
    ],
)
def test_it_waits_while_one_speaks(
    monkeypatch: pytest.MonkeyPatch, looks: Looks, waits: int
) -> None:
    monkeypatch.setattr(set_straight, "look", looks)
    hear_out(None, "nightshift-prod", looks.wait)
    assert looks.waits == waits


def test_there_is_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """ECS has told the orchestrator to end."""
    looks = Looks([SPEAKS])
    monkeypatch.setattr(set_straight, "look", looks)
    asked: list[float] = []

    def no_time(seconds: float) -> bool:
        asked.append(seconds)
        return True

    hear_out(None, "nightshift-prod", no_time)
    assert asked == [1]
    assert last_words.SECONDS > 1
