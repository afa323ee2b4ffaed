"""What `make local` says of the orchestrator: lines made of its journal."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from infra.local.journal import asleep, changes, moment

TODAY = datetime(2026, 11, 26, 12, tzinfo=UTC)
WAKING: dict[str, Any] = {
    "life": 3,
    "doing": "waking",
    "because": "",
    "since": "2026-11-26T21:00:00Z",
}
WORKING = {**WAKING, "doing": "working", "because": "1 run busy: amber-fox of cost-report/daily"}
ASLEEP = {
    **WAKING,
    "doing": "asleep",
    "since": "2026-11-26T21:04:05Z",
    "wake_up": "2026-11-27T05:57:00Z",
    "next": [{"deployment": "cost-report/daily", "run": "x", "at": "2026-11-27T06:00:00Z"}],
}


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ({}, {}, []),
        ({}, WAKING, ["the orchestrator is waking"]),
        (
            WAKING,
            WORKING,
            ["the orchestrator is working: 1 run busy: amber-fox of cost-report/daily"],
        ),
        (WORKING, {**WORKING, "since": "later", "last": [{}]}, []),
        (
            WORKING,
            {**WORKING, "because": "a run is due"},
            ["the orchestrator is working: a run is due"],
        ),
        (ASLEEP, {**ASLEEP, "next": []}, []),
        (WORKING, {**WORKING, "life": 4}, ["the orchestrator is working: " + WORKING["because"]]),
        (WAKING, {**WAKING, "trouble": "S3"}, ["the orchestrator has trouble: S3"]),
        ({**WAKING, "trouble": "S3"}, WAKING, []),
        (
            {**WAKING, "bad": [1]},
            {**WAKING, "bad": [1, 2]},
            ["the history of life 2 is damaged; an older one is used"],
        ),
    ],
)
def test_what_is_new_is_said_once(
    before: dict[str, Any], now: dict[str, Any], said: list[str]
) -> None:
    assert changes(before, now) == said
    assert changes(now, now) == []


def test_sleep_says_until_when() -> None:
    assert len(changes(WORKING, ASLEEP)) == 1
    assert asleep(ASLEEP, TODAY) == (
        "the orchestrator is asleep since 21:04:05 UTC; next wake-up 2026-11-27 05:57:00 UTC, "
        "for cost-report/daily at 2026-11-27 06:00:00 UTC"
    )
    assert asleep({"doing": "asleep"}) == "the orchestrator is asleep; no wake-up is set"


def test_moments_are_in_utc() -> None:
    assert moment("2026-11-26T23:30:00+02:00", TODAY) == "21:30:00 UTC"
