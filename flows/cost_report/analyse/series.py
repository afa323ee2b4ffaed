"""Daily costs as floats, for statistics only: from an exact roll-up, and never back to a total."""

from __future__ import annotations

from datetime import date
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from flows.cost_report.analyse.days import Days, span
from flows.cost_report.analyse.sums import between, money_sums, text

Floats: TypeAlias = npt.NDArray[np.float64]

WEEK = 7


def daily_matrix(charges: pa.Table, days: Days, dimension: str | None, cost: str) -> pd.DataFrame:
    """Cost per day (rows: from the first covered one to the newest seen) and member (columns).

    A covered day without a row cost 0.0; a day that no bill covers is NaN. The newest day of a bill
    that is still filling up holds what there is so far. Without a dimension: one column, ''.
    """
    last = days.seen
    first = min(days.covered, default=last)
    if first is None or last is None:
        return pd.DataFrame()
    keys = ["ChargeDate", dimension] if dimension else ["ChargeDate"]
    sums = money_sums(between(charges, first, last), keys, [cost])
    index = span(first, last)
    members = [text(member) for member in sums[dimension].to_pylist()] if dimension else [""]
    columns = pd.Index(sorted(set(members)), dtype=object)
    at_day = np.asarray(pc.subtract(sums["ChargeDate"].cast(pa.int32()), _number(first)))
    at_member = (
        columns.get_indexer(pd.Index(members, dtype=object))
        if dimension
        else np.zeros(len(sums), dtype=np.intp)
    )
    values = np.zeros((len(index), len(columns)))
    np.add.at(values, (at_day, at_member), np.asarray(sums[cost].cast(pa.float64())))
    values[[day not in days.covered and day != last for day in index]] = np.nan
    return pd.DataFrame(values, index=pd.Index(index, dtype=object), columns=columns)


def _number(day: date) -> int:
    """A day as Arrow's date32 counts it."""
    return (day - date(1970, 1, 1)).days


def weekdays(index: list[date]) -> npt.NDArray[np.intp]:
    """0 = Monday … 6 = Sunday."""
    return np.array([day.weekday() for day in index], dtype=np.intp)


def median(values: Floats, axis: int = 0) -> Floats:
    """Median along an axis, NaN left out; NaN where nothing is left.

    numpy's own warns about that, and is slow.
    """
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

    `values`: consecutive days, shape (days, members). The median of each weekday over the whole
    weeks; all 1 for a member of which a weekday was not seen twice, or that cost nothing.
    """
    start = len(values) % WEEK
    weeks = values[start:].reshape(-1, WEEK, values.shape[1])
    typical = median(weeks)
    known = np.all(np.sum(~np.isnan(weeks), axis=0) >= 2, axis=0)
    mean = np.where(known, np.where(known, typical, 0.0).mean(axis=0), 0.0)
    profile = np.ones((WEEK, values.shape[1]))
    if len(weeks):
        useful = mean > 0
        relative = np.where(useful, typical / np.where(useful, mean, 1.0), 1.0)
        profile[weekday[start : start + WEEK]] = relative
    return profile
