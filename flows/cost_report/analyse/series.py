"""Daily costs as floats, for statistics only: the way from an exact roll-up to a baseline, and never back to a total."""

from __future__ import annotations

from datetime import date
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from flows.cost_report.analyse.days import Days, span
from flows.cost_report.analyse.sums import money_sums, text

Floats: TypeAlias = npt.NDArray[np.float64]

WEEK = 7


def daily_matrix(charges: pa.Table, days: Days, dimension: str | None, cost: str) -> pd.DataFrame:
    """Cost per day (rows: every day from the first covered one to the newest seen) and member (columns, sorted).

    A covered day without a row cost 0.0; a day that no bill covers is NaN. The newest day of a bill that is still
    filling up holds what there is so far. Without a dimension: one column, ''.
    """
    last = days.seen
    first = min(days.covered, default=last)
    if first is None or last is None:
        return pd.DataFrame()
    keys = ["ChargeDate", dimension] if dimension else ["ChargeDate"]
    sums = money_sums(charges, keys, [cost])
    members = sums[dimension].to_pylist() if dimension else [""] * len(sums)
    long = pd.DataFrame(
        {
            "day": sums["ChargeDate"].to_pylist(),
            "member": [text(member) for member in members],
            "cost": np.asarray(sums[cost].cast(pa.float64())),
        }
    )
    long = long[long["day"].notna()]
    wide = long.pivot_table(index="day", columns="member", values="cost", aggfunc="sum")
    index = span(first, last)
    wide = wide.reindex(index=pd.Index(index, dtype=object), fill_value=None).fillna(0.0)
    wide = wide.astype(float)
    wide[[day not in days.covered and day != last for day in index]] = np.nan
    return wide.sort_index(axis=1)


def weekdays(index: list[date]) -> npt.NDArray[np.intp]:
    """0 = Monday … 6 = Sunday."""
    return np.array([day.weekday() for day in index], dtype=np.intp)


def median(values: Floats, axis: int = 0) -> Floats:
    """Median along an axis, NaN left out; NaN where nothing is left. (numpy's warns about that, and is slow.)"""
    ordered = np.sort(values, axis=axis)  # NaN last
    count = np.expand_dims(np.sum(~np.isnan(values), axis=axis), axis)
    if values.shape[axis] == 0:
        return np.full(count.squeeze(axis).shape, np.nan)
    low = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, axis)
    high = np.take_along_axis(ordered, np.minimum(count // 2, values.shape[axis] - 1), axis)
    middle: Floats = np.squeeze((low + high) / 2, axis)
    return middle


def weekday_profile(values: Floats, weekday: npt.NDArray[np.intp]) -> Floats:
    """What each weekday costs, relative to the mean weekday: shape (7, members).

    The median of each weekday over the weeks given; 1 where a weekday was not seen twice or nothing was spent.
    """
    profile = np.full((WEEK, values.shape[1]), np.nan)
    for day in range(WEEK):
        rows = values[weekday == day]
        enough = np.sum(~np.isnan(rows), axis=0) >= 2
        profile[day] = np.where(enough, median(rows), np.nan)
    known = np.all(~np.isnan(profile), axis=0)
    mean = np.where(known, np.sum(np.where(known, profile, 0.0), axis=0) / WEEK, 0.0)
    useful = mean > 0
    return np.where(useful, profile / np.where(useful, mean, 1.0), 1.0)
