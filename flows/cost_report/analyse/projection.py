"""From a daily series to the days ahead, and how far off that was before.

    day ahead = (mean of the last four weeks + trend) x weekday profile

The trend is half of the Theil-Sen slope of the last twelve weeks, used only where Mann and
Kendall's test supports it: half, because trends seldom last (in the M competitions damped trends
did better than full ones). The interval comes from the errors that the same method makes when it is
applied again to every past day ("rolling origin"), with Student's t for the number of errors that
do not overlap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from flows.cost_report.analyse.series import WEEK, Floats, weekday_profile

LEVEL = 4 * WEEK
WINDOW = 8 * WEEK
LEAST_FIT = 3 * WEEK  # days that a forecast is made from at least: each weekday three times
TREND = 12 * WEEK
LEAST_TREND = 6 * WEEK
DAMPED = 0.5
SUPPORTED = 1.2816  # Mann-Kendall z: 80 % confidence, as the interval's
ERROR_SPAN = 2 * WEEK  # the errors behind the interval are those of so many days ahead
# Days without which there is no forecast: with fewer, there are too few errors to tell how far off
# it may be, and intervals that say 80 % hold the truth less often than two times in three.
ENOUGH = 8 * WEEK
TESTABLE = 6 * WEEK  # days before a past day from which the method can be tried

# Student's t, 90th percentile (an 80 % interval is two-sided), by degrees of freedom; the last is
# the normal's.
T90: tuple[tuple[float, float], ...] = (
    *((1, 3.0777), (2, 1.8856), (3, 1.6377), (4, 1.5332), (5, 1.4759), (6, 1.4398), (8, 1.3968)),
    *((10, 1.3722), (15, 1.3406), (20, 1.3253), (30, 1.3104), (60, 1.2958), (math.inf, 1.2816)),
)


@dataclass(frozen=True)
class Fit:
    """What the days before a day say about the days after it, without their weekday."""

    level: float  # currency units a day, at the middle of the last four weeks
    slope: float  # per day
    lag: float  # days from the level's middle to the first day ahead
    profile: Floats  # (7,)

    def ahead(self, weekday: npt.NDArray[np.intp]) -> Floats:
        """The expected cost of each day ahead, given their weekdays in order."""
        steps = self.lag + np.arange(len(weekday))
        days: Floats = (self.level + self.slope * steps) * self.profile[weekday]
        return days


def fit(values: Floats, weekday: npt.NDArray[np.intp]) -> Fit:
    """Fit the last weeks of a series (days,), without gaps."""
    profile = weekday_profile(values[-WINDOW:, np.newaxis], weekday[-WINDOW:])[:, 0]
    if not np.all(profile > 0):
        profile = np.ones(WEEK)
    level_of = values[-TREND:] / profile[weekday[-TREND:]]
    used = level_of[-LEVEL:]
    return Fit(float(used.mean()), DAMPED * trend(level_of), (len(used) + 1) / 2, profile)


def trend(values: Floats) -> float:
    """The median slope between days at least a week apart; 0 where too few days or no test supports
    it.
    """
    count = len(values)
    if count < LEAST_TREND:
        return 0.0
    earlier, later = np.triu_indices(count, 1)
    rise = values[later] - values[earlier]
    spread = math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    if abs(float(np.sign(rise).sum())) < SUPPORTED * spread:
        return 0.0
    apart = later - earlier
    far = apart >= WEEK
    return float(np.median(rise[far] / apart[far]))


def t90(freedom: float) -> float:
    """Student's t for an 80 % interval, interpolated in 1 / degrees of freedom (at least one)."""
    steps = [1 / known for known, _ in reversed(T90)]
    return float(np.interp(1 / max(freedom, 1.0), steps, [value for _, value in reversed(T90)]))


class Projector:
    """A daily series without gaps, and its forecast from any of its days."""

    def __init__(self, values: Floats, weekday: npt.NDArray[np.intp]) -> None:
        self.values = values
        self.weekday = weekday
        self._sums = np.concatenate([[0.0], np.cumsum(values)])

    @cached_property
    def fits(self) -> list[Fit]:
        """From the days before each origin, LEAST_FIT … all days."""
        origins = range(LEAST_FIT, len(self.values) + 1)
        return [fit(self.values[:at], self.weekday[:at]) for at in origins]

    def ahead(self, origin: int, weekday: npt.NDArray[np.intp]) -> Floats:
        """The days from `origin` on (an index; the days before it are known)."""
        return self.fits[origin - LEAST_FIT].ahead(weekday)

    def half_width(self, origin: int, days: int) -> float:
        """Half of the 80 % interval of the sum of `days` days from `origin` on, in currency units.

        The error is measured on the mean cost of the next two weeks (fewer, where fewer remain or
        little is known), and taken to be as large for the days after: errors over a whole month
        overlap too much to count. They are errors of forecasts, about zero, so nothing has to be
        added for the level being an estimate.
        """
        span = max(1, min(days, ERROR_SPAN, (origin - LEAST_FIT) // 2))
        errors = [
            (self._sums[at + span] - self._sums[at])
            - self.ahead(at, self.weekday[at : at + span]).sum()
            for at in range(LEAST_FIT, origin - span + 1)
        ]
        apart = 1 + (len(errors) - 1) / span  # how many do not overlap
        typical = math.sqrt(float(np.mean(np.square(errors)))) / span
        return t90(apart) * typical * days
