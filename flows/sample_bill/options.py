"""What to generate: the options, checked, and the billing periods that follow from them."""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal, get_args

Focus = Literal["1.2", "1.0"]
Format = Literal["parquet", "csv.gz", "csv"]
Layout = Literal["overwrite", "create-new", "plain"]
Granularity = Literal["daily", "hourly"]
CHOICES = {"focus": Focus, "format": Format, "layout": Layout, "granularity": Granularity}


class BadOptions(ValueError):
    """Options that make no bill; the text says what to change."""


@dataclass(frozen=True)
class Options:
    """Everything the bytes depend on: equal options give byte-identical files.

    `rows` counts the rows of a whole month. More rows split the same money finer.
    `last_day` cuts the last month after that day, as a bill looks in mid-month.
    `anomalies` is a number per month, from the second month on (see anomalies.py).
    """

    rows: int = 20_000
    months: int = 3
    last_period: str = "2026-11"
    last_day: int | None = None
    seed: int = 7
    focus: Focus = "1.2"
    format: Format = "parquet"
    layout: Layout = "overwrite"
    granularity: Granularity = "daily"
    rows_per_file: int = 1_000_000
    row_group_rows: int = 250_000
    anomalies: int = 2
    export: str = "nightshift-sample"

    def __post_init__(self) -> None:
        for name, kind in CHOICES.items():
            if getattr(self, name) not in get_args(kind):
                raise BadOptions(f"{name} must be one of {', '.join(get_args(kind))}")
        for name in ("rows", "months", "rows_per_file", "row_group_rows"):
            if getattr(self, name) < 1:
                raise BadOptions(f"{name} must be at least 1")
        if self.anomalies < 0 or self.seed < 0:
            raise BadOptions("anomalies and seed must not be negative")
        days = days_in(self.last_period)
        if self.last_day is not None and not 1 <= self.last_day <= days:
            raise BadOptions(f"last_day {self.last_day} is not a day of {self.last_period}")


@dataclass(frozen=True)
class Period:
    """A billing period: `name` as 2026-11, `first_index` counts days from the bill's first day.

    `visible` is how many of its `days` the bill shows; fewer only in a month cut by last_day.
    """

    name: str
    first: date
    days: int
    visible: int
    first_index: int

    @property
    def end(self) -> date:
        """The exclusive end, as FOCUS wants it."""
        return self.first + timedelta(days=self.days)

    @property
    def partial(self) -> bool:
        return self.visible < self.days


def first_of(period: str) -> date:
    """2026-11 -> date(2026, 11, 1)."""
    try:
        return date.fromisoformat(f"{period}-01")
    except ValueError:
        raise BadOptions(f"a period looks like 2026-11, not {period!r}") from None


def days_in(period: str) -> int:
    first = first_of(period)
    return calendar.monthrange(first.year, first.month)[1]


def periods(options: Options) -> tuple[Period, ...]:
    """The bill's periods, oldest first."""
    last = first_of(options.last_period)
    found: list[Period] = []
    index = 0
    for back in range(options.months - 1, -1, -1):
        month = last.year * 12 + last.month - 1 - back
        name = f"{month // 12:04d}-{month % 12 + 1:02d}"
        days = days_in(name)
        visible = options.last_day if back == 0 and options.last_day else days
        found.append(Period(name, first_of(name), days, visible, index))
        index += days
    return tuple(found)
