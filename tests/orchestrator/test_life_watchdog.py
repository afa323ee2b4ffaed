"""Of runs that do not begin people are told once each, of none too early, and none is forgotten:
second by second, with EventBridge as late as it may be, and lives that end in between.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deployments.orchestrator import life
from deployments.orchestrator.life import Seen, SetWatchdog, Unbegun, Work
from tests.unit import examples as examples

NOW = datetime(2026, 11, 27, 5, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LONG = 1500  # seconds: what is overdue in the first ten minutes has been told of by then
LOOK = 3


@dataclass(frozen=True)
class Run:
    overdue: int  # seconds from NOW
    begins: int | None = None  # seconds from when it is overdue; None: never

    def unbegun(self, number: int, grace: timedelta) -> Unbegun:
        return Unbegun("report/daily", str(number), NOW + self.overdue * SECOND - grace)


@dataclass
class Eventbridge:
    """One schedule, which tells once, up to a minute late."""

    late: int
    at: datetime | None = None
    runs: tuple[Unbegun, ...] = ()
    told: list[tuple[datetime, tuple[Unbegun, ...]]] = field(default_factory=list)
    tells: bool = False

    def set(self, to: SetWatchdog, now: datetime) -> None:
        assert not to.at or to.at > now
        self.at, self.runs, self.tells = to.at, to.runs, to.at is not None

    def tick(self, now: datetime) -> None:
        if self.tells and self.at and now >= self.at + self.late * SECOND:
            self.told.append((self.at, self.runs))
            self.tells = False


def lived(
    runs: dict[Unbegun, Run], grace: timedelta, late: int, away: range
) -> list[tuple[datetime, tuple[Unbegun, ...]]]:
    """What people were told. `away`: the seconds in which no orchestrator is there."""
    schedule = Eventbridge(late)
    seen = Seen(NOW, "asleep", timedelta(minutes=2), grace)
    for second in range(LONG):
        now = NOW + second * SECOND
        schedule.tick(now)
        if second in away:
            seen = replace(seen, watchdog=None)
            continue
        if second % LOOK:
            continue
        waits = tuple(
            one
            for one, run in runs.items()
            if run.begins is None or second < run.overdue + run.begins
        )
        seen = replace(seen, now=now, work=Work(unbegun=waits))
        if seen.watchdog is None and schedule.at and now < schedule.at + life.LEFT:
            seen = replace(seen, watchdog=SetWatchdog(schedule.at))  # as the executor reads it
        wanted = life.wanted_watchdog(seen)
        assert wanted is not None
        if wanted != seen.watchdog:
            schedule.set(wanted, now)
            seen = replace(seen, watchdog=wanted)
    return schedule.told


RUNS = st.lists(
    st.builds(
        Run,
        st.integers(1, 600),
        st.one_of(st.none(), st.integers(-200, 200)),
    ),
    min_size=1,
    max_size=8,
)
AWAY = st.builds(
    lambda start, length: range(start, start + length), st.integers(1, 700), st.integers(0, 80)
)
ALL_AT_ONCE = [Run(300), Run(300), Run(360), Run(1200)]


@settings(max_examples=400)
@example(ALL_AT_ONCE, 30, 59, range(0))
@example(ALL_AT_ONCE, 30, 0, range(310, 320))
@example([Run(246), Run(304, 13), Run(329), Run(343)], 30, 46, range(330, 405))
@example([Run(1), Run(92)], 1, 0, range(93, 118))
@example([Run(300), Run(300, 5), Run(391), Run(480)], 30, 59, range(0))
@given(RUNS, st.sampled_from([1, 30]), st.integers(0, 59), AWAY)
def test_each_is_told_once(several: list[Run], minutes: int, late: int, away: range) -> None:
    grace = timedelta(minutes=minutes)
    runs = {run.unbegun(number, grace): run for number, run in enumerate(several)}
    letters = lived(runs, grace, late, away)
    told = Counter(one for _, named in letters for one in named)
    assert all(times == 1 for times in told.values()), "told twice"
    for at, named in letters:
        for one in named:
            assert at >= one.due + grace, "told too early"
            begins = runs[one].begins
            if begins is not None and not away:
                begun = one.due + grace + begins * SECOND
                near = life.SOON + LOOK * SECOND  # in which it is put off once and no more
                assert begun > at - near, "told of one that has begun"
    for one, run in runs.items():
        if run.begins is None:
            assert told[one], "forgotten"


# --- controls ------------------------------------------------------------------------------------


def told_of(several: list[Run], late: int = 59, away: range = range(0)) -> list[str]:
    grace = timedelta(minutes=30)
    runs = {run.unbegun(number, grace): run for number, run in enumerate(several)}
    return [one.run for _, named in lived(runs, grace, late, away) for one in named]


def test_without_letters_that_are_shared_some_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert told_of(ALL_AT_ONCE) == ["0", "1", "2", "3"]
    right = life.wanted_watchdog

    def first_alone(seen: Seen) -> SetWatchdog | None:
        wanted = right(seen)
        return replace(wanted, runs=wanted.runs[:1]) if wanted else None

    monkeypatch.setattr(life, "wanted_watchdog", first_alone)
    assert set(told_of(ALL_AT_ONCE)) < {"0", "1", "2", "3"}


def test_a_life_that_does_not_know_what_stands_calls_it_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    away = range(310, 320)  # EventBridge is to tell within these seconds and the next
    assert told_of([Run(300)], away=away) == ["0"]
    right = life.wanted_watchdog

    def knows_nothing(seen: Seen) -> SetWatchdog | None:
        unknown = seen.watchdog and seen.watchdog.at and not seen.watchdog.runs
        return right(replace(seen, watchdog=None) if unknown else seen)

    monkeypatch.setattr(life, "wanted_watchdog", knows_nothing)
    assert told_of([Run(300)], away=away) == []
