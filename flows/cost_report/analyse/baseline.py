"""Which days cost too much: a weekday-seasonal baseline with a robust residual.

For each day of the period, and each service or account, from the eight weeks before that day:

    profile  = what a weekday costs relative to the mean weekday (medians over the weeks)
    level    = median of the last four weeks, each day divided by its weekday's profile
    expected = level x the day's profile
    spread   = how far a normal day strays from the median of its week: 1.4826 x the median of that
               (MAD), or what the upper decile says, if that is more

Medians throughout, so that a spike of last week is not taken for normal, and nothing has to be
cleaned first.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import pandas as pd

from flows.cost_report.analyse.days import Days, month_before
from flows.cost_report.analyse.series import WEEK, Floats, median, weekday_profile, weekdays

WINDOW = 8 * WEEK  # days that a baseline looks back
LEVEL = 4 * WEEK  # days that say how much is spent now
ENOUGH = 2 * WEEK  # covered days, of the last four weeks, without which no day is judged
PROFILED = 3 * WEEK  # days without which all weekdays count as alike

# A day is odd when all three hold. 3.5 robust standard deviations is Iglewicz and Hoaglin's rule
# for outliers; a quarter more than expected is what a person would call much more; and one percent
# of a typical day of the bill is worth a look.
SCORE = 3.5
RELATIVE = 0.25
ABSOLUTE_SHARE = 0.01
ABSOLUTE_LEAST = 1.0  # unit of currency a day

MAD_TO_SIGMA = 1.4826  # for a normal distribution
DECILE_TO_SIGMA = 1.2816
LEAST_SPREAD = 0.05  # of the expected cost: a flat rate that moves by a few percent is not odd
# A lump that came on this day of every earlier month is no news, unless it has grown by a quarter.
LUMP = 2.0  # times the member's median day
RHYTHM = 1.25
BRIDGE = 2  # ordinary days, like a weekend, that do not end an anomaly


@dataclass(frozen=True)
class Baseline:
    """One day's expectation per member, from the days before it. Arrays of shape (members,)."""

    level: Floats
    profile: Floats  # (7, members)
    spread: Floats  # at profile 1

    def expected(self, weekday: int) -> Floats:
        expected: Floats = np.maximum(self.level * self.profile[weekday], 0.0)
        return expected


@dataclass(frozen=True)
class Odd:
    """One run of days on which one member cost too much."""

    member: str
    first: date
    last: date
    expected: float  # over the whole run
    score: float  # robust standard deviations on the worst day


def least_excess(total: pd.DataFrame) -> float:
    """The absolute threshold: currency units a day, scaled to the size of the bill."""
    days = total.to_numpy(dtype=np.float64)
    typical = median(days)[0] if days.size else np.nan
    return float(np.fmax(ABSOLUTE_SHARE * typical, ABSOLUTE_LEAST))


def baseline(window: Floats, weekday: npt.NDArray[np.intp], floor: float) -> Baseline:
    """From the days before: `window` of shape (days, members), oldest first.

    `floor`: the absolute threshold.
    """
    profile = np.ones((WEEK, window.shape[1]))
    if np.sum(~np.isnan(window[:, 0])) >= PROFILED:
        profile = np.maximum(weekday_profile(window, weekday), 0.0)
    factor = profile[weekday]
    level_of = np.where(factor > 0, window / np.where(factor > 0, factor, 1.0), np.nan)
    level = np.nan_to_num(median(level_of[-LEVEL:]))
    weeks = level_of[len(level_of) % WEEK :].reshape(-1, WEEK, window.shape[1])
    residual = (weeks - median(weeks, axis=1)[:, np.newaxis]).reshape(-1, window.shape[1])
    mad = np.nan_to_num(median(np.abs(residual)))
    decile = np.nan_to_num(_upper_decile(residual))
    spread = np.maximum.reduce(
        [
            MAD_TO_SIGMA * mad,
            decile / DECILE_TO_SIGMA,
            LEAST_SPREAD * np.abs(level),
            np.full(len(level), floor / SCORE),
        ]
    )
    return Baseline(level, profile, spread)


def _upper_decile(values: Floats) -> Floats:
    ordered = np.sort(values, axis=0)
    count = np.sum(~np.isnan(values), axis=0, keepdims=True)
    at = np.maximum(np.ceil(0.9 * count).astype(np.intp) - 1, 0)
    decile: Floats = np.take_along_axis(ordered, at, axis=0)[0]
    return decile


def judged_from(days: Days) -> date | None:
    """The first day of the period that has enough past; None if there is none."""
    past = sorted(days.covered)
    for day in days.shown:
        if sum(1 for other in past if 0 < (day - other).days <= LEVEL) >= ENOUGH:
            return day
    return None


def odd_runs(matrix: pd.DataFrame, days: Days, floor: float) -> list[Odd]:
    """Runs of odd days in the period, per member (column) of a daily matrix.

    While a run lasts its days are held against the baseline from before it, so that a step up is
    one run, and does not become normal halfway.
    """
    start = judged_from(days)
    if start is None or matrix.empty:
        return []
    values = matrix.to_numpy(dtype=np.float64)
    index = list(matrix.index)
    weekday = weekdays(index)
    members = list(matrix.columns)
    usual = LUMP * median(values)
    runs: dict[int, _Run] = {}
    found: list[Odd] = []
    for at in range(index.index(start), len(index)):
        past = slice(max(0, at - WINDOW), at)
        fresh = baseline(values[past], weekday[past], floor)
        earlier = _lumps(values, index[0], index[at], days, usual)
        for column in _candidates(values[at], fresh, runs, weekday[at], floor):
            run = runs.get(column) or _Run(members[column], fresh, column)
            if run.goes_on(values[at][column], earlier[column], weekday[at], floor):
                run.add(index[at], at, values[at][column], weekday[at])
                runs[column] = run
            elif column in runs and at - run.last_at > BRIDGE:
                found.append(runs.pop(column).odd())
    return found + [run.odd() for run in runs.values()]


def _candidates(
    cost: Floats, fresh: Baseline, runs: dict[int, _Run], weekday: int, floor: float
) -> list[int]:
    """Columns worth a closer look: running already, or above the fresh baseline."""
    above = cost - fresh.expected(weekday) >= floor
    return sorted({*np.flatnonzero(above).tolist(), *runs})


class _Run:
    """A run of odd days of one member, held against the baseline from before its first day."""

    def __init__(self, member: str, base: Baseline, column: int) -> None:
        self.member = member
        self.level = float(base.level[column])
        self.profile = base.profile[:, column]
        self.spread = float(base.spread[column])
        self.days: list[date] = []
        self.last_at = -1
        self.score = 0.0

    def expected(self, weekday: int) -> float:
        return max(self.level * float(self.profile[weekday]), 0.0)

    def score_of(self, cost: float, weekday: int) -> float:
        spread = self.spread * max(float(self.profile[weekday]), 0.5)  # quiet days have noise too
        return (cost - self.expected(weekday)) / spread

    def goes_on(self, cost: float, earlier: float, weekday: int, floor: float) -> bool:
        expected = self.expected(weekday)
        excess = cost - expected
        return (
            excess >= floor
            and excess >= RELATIVE * expected
            and self.score_of(cost, weekday) >= SCORE
            and not cost <= RHYTHM * earlier
        )

    def add(self, day: date, at: int, cost: float, weekday: int) -> None:
        self.days.append(day)
        self.last_at = at
        self.score = max(self.score, self.score_of(cost, weekday))

    def odd(self) -> Odd:
        first, last = self.days[0], self.days[-1]
        expected = sum(
            self.expected((first.weekday() + n) % WEEK) for n in range((last - first).days + 1)
        )
        return Odd(self.member, first, last, expected, self.score)


def _lumps(values: Floats, first: date, day: date, days: Days, usual: Floats) -> Floats:
    """The lump that came on this day, give or take one, of every earlier month: (members,).

    0 where none did. `values`: all days from `first` on. `usual`: what makes a lump of a day.
    """
    least: Floats | None = None
    start, end = month_before(day)
    while end >= first:
        same = min(day.day, end.day)
        near = [start.replace(day=n) for n in range(max(1, same - 1), min(end.day, same + 1) + 1)]
        known = [(other - first).days for other in near if other in days.covered]
        if known:
            most = values[known].max(axis=0)
            most = np.where(most > usual, most, 0.0)
            least = most if least is None else np.minimum(least, most)
        start, end = month_before(start)
    return np.zeros(values.shape[1]) if least is None else least
