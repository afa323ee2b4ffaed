"""AWS's cron expressions, which no library here reads: cronsim, which Prefect brings, has neither
years nor `15W`, counts weekdays from another day and knows Debian's daylight saving time.

https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html#cron-based
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

LAST_YEAR = 2199

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


@dataclass(frozen=True)
class _Field:
    name: str
    first: int
    last: int
    names: tuple[str, ...] = ()  # the first stands for 1

    def number(self, text: str) -> int:
        if text in self.names:
            return self.names.index(text) + 1
        if not re.fullmatch("[0-9]{1,4}", text) or not self.first <= int(text) <= self.last:
            raise ValueError(f"{self.name}: {text!r} is not in {self.first}-{self.last}")
        return int(text)

    def numbers(self, text: str) -> frozenset[int]:
        """Those of a list of values, ranges and steps."""
        return frozenset(number for part in text.split(",") for number in self._part(part))

    def _part(self, text: str) -> range:
        span, slash, step = text.partition("/")
        if slash and not re.fullmatch("[1-9][0-9]{0,3}", step):
            raise ValueError(f"{self.name}: {step!r} is no step")
        if span == "*":
            low, high = self.first, self.last
        else:
            start, dash, end = span.partition("-")
            low = self.number(start)
            high = self.number(end) if dash else self.last if slash else low
        if low > high:
            raise ValueError(f"{self.name}: {span!r} ends before it starts")
        return range(low, high + 1, int(step or 1))


_MINUTES = _Field("minutes", 0, 59)
_HOURS = _Field("hours", 0, 23)
_DAYS = _Field("day-of-month", 1, 31)
_MONTH = _Field("month", 1, 12, _MONTHS)
_WEEKDAY = _Field("day-of-week", 1, 7, _WEEKDAYS)
_YEAR = _Field("year", 1970, LAST_YEAR)

Days = Callable[[int, int], frozenset[int]]  # of a year's month


@dataclass(frozen=True)
class Cron:
    """An expression, taken apart."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: Days
    months: frozenset[int]
    years: frozenset[int]

    def times(self, since: datetime) -> Iterator[datetime]:
        """Every matching minute of a clock on the wall from that of `since` on, in order. Naive."""
        floor = since.replace(second=0, microsecond=0, tzinfo=None)
        for year in range(floor.year, LAST_YEAR + 1):
            for month in range(1, 13):
                if (year, month) < (floor.year, floor.month):
                    continue
                if year not in self.years or month not in self.months:
                    continue
                for day in sorted(self.days(year, month)):
                    if (year, month, day) < (floor.year, floor.month, floor.day):
                        continue
                    for hour in self.hours:
                        for minute in self.minutes:
                            time = datetime(year, month, day, hour, minute)  # noqa: DTZ001 - naive
                            if time >= floor:
                                yield time


def parse(fields: str) -> Cron:
    """What stands between the brackets of `cron(...)`. Raises ValueError naming the field.

    Five fields and an optional year, as the user guide says; the API's reference speaks of six.
    """
    parts = fields.upper().split()
    if len(parts) not in (5, 6):
        raise ValueError(f"cron: {len(parts)} fields in {fields!r}; there are five, and a year")
    minutes, hours, day, month, weekday = parts[:5]
    if (day == "?") == (weekday == "?"):
        raise ValueError("day-of-month, day-of-week: exactly one of the two must be ?")
    return Cron(
        minutes=tuple(sorted(_MINUTES.numbers(minutes))),
        hours=tuple(sorted(_HOURS.numbers(hours))),
        days=_of_month(day) if weekday == "?" else _of_week(weekday),
        months=_MONTH.numbers(month),
        years=_YEAR.numbers(parts[5] if len(parts) == 6 else "*"),
    )


def _of_month(text: str) -> Days:
    """`L` is the month's last day, `15W` the weekday closest to the 15th, in the same month."""
    parts = text.split(",")
    closest = [_DAYS.number(part[:-1]) for part in parts if part.endswith("W")]
    plain = [part for part in parts if part != "L" and not part.endswith("W")]
    numbers = _DAYS.numbers(",".join(plain)) if plain else frozenset()

    def days(year: int, month: int) -> frozenset[int]:
        last = calendar.monthrange(year, month)[1]
        found = {number for number in numbers if number <= last}
        found |= {_closest_weekday(year, month, day) for day in closest if day <= last}
        return frozenset(found | ({last} if "L" in parts else set()))

    return days


def _closest_weekday(year: int, month: int, day: int) -> int:
    last = calendar.monthrange(year, month)[1]
    weekday = calendar.weekday(year, month, day)
    if weekday == calendar.SATURDAY:
        return day - 1 if day > 1 else day + 2
    if weekday == calendar.SUNDAY:
        return day + 1 if day < last else day - 2
    return day


def _of_week(text: str) -> Days:
    """`L` is the week's last day, a Saturday; `6L` the month's last Friday, `6#3` its third."""
    if "#" in text:
        name, _, which = text.partition("#")
        number = _WEEKDAY.number(name)
        if not re.fullmatch("[1-5]", which):
            raise ValueError(f"day-of-week: {text!r} has to be one expression, such as 3#2")
        return lambda year, month: frozenset(_weekdays(year, month, number)[int(which) - 1 :][:1])
    parts = ["7" if part == "L" else part for part in text.split(",")]
    last = [_WEEKDAY.number(part[:-1]) for part in parts if part.endswith("L")]
    plain = [part for part in parts if not part.endswith("L")]
    numbers = _WEEKDAY.numbers(",".join(plain)) if plain else frozenset()

    def days(year: int, month: int) -> frozenset[int]:
        found = {day for number in numbers for day in _weekdays(year, month, number)}
        return frozenset(found | {_weekdays(year, month, number)[-1] for number in last})

    return days


def _weekdays(year: int, month: int, number: int) -> list[int]:
    """The month's days that are this weekday, 1 for Sunday."""
    last = calendar.monthrange(year, month)[1]
    first = 1 + (number - 2 - calendar.weekday(year, month, 1)) % 7  # calendar: 0 is Monday
    return list(range(first, last + 1, 7))
