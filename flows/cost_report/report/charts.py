"""The charts, as inline SVG without a colour or a font in it: style.css gives them both.

Drawn with drawsvg (2.4.2, 2026-08): 0.2 MB without dependencies, 0.06 s to import, the same bytes
every time, escaped text. Weighed against it: pygal (0.6 MB, 0.17 s; its own colours, a script and
the date in every file, no bars with an interval), leather (0.1 MB, 0.04 s; fixed colours, no
stacks), svg.py (0.1 MB, 0.19 s; escapes nothing), altair (11 MB, 0.9 s, and a browser to draw it)
and matplotlib (130 MB, 1.8 s; fixed colours). None of them stacks bars beside a forecast with its
interval in CSS variables, so the axes are ours: `svg.py`, `scales.py`.

drawsvg escapes text and titles but not attributes: no text of the bill may ever become one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

import drawsvg as dw
from markupsafe import Markup

from flows.cost_report.report import fmt
from flows.cost_report.report.svg import SIZES, Frame, Point, Size, frame, label, lines, number

LANE = 16  # the height of a line of marks


@dataclass(frozen=True)
class Stack:
    """One group of the stacked chart, `values` aligned with the chart's days."""

    name: str
    values: tuple[Decimal, ...]
    tone: int  # its colour: --s1 to --s8, the last for what is left


@dataclass(frozen=True)
class Outlook:
    """The forecast of the remaining days, and where the month ends."""

    as_of: date
    daily: tuple[tuple[date, Decimal], ...]
    observed: Decimal
    month_end: Decimal
    low: Decimal
    high: Decimal

    @property
    def spread(self) -> tuple[float, float]:
        """The interval as factors of each remaining day: the days' ends add up to the month's."""
        rest = float(self.month_end - self.observed)
        if not rest:
            return 1.0, 1.0
        return float(self.low - self.observed) / rest, float(self.high - self.observed) / rest


@dataclass(frozen=True)
class Mark:
    """Days that a numbered finding is about."""

    number: int
    first: date
    last: date
    text: str


@dataclass(frozen=True)
class DailyChart:
    """Cost per day, stacked by group; `marks` are the odd days, drawn above the bars."""

    days: tuple[date, ...]
    stacks: tuple[Stack, ...]
    money: fmt.Money
    title: str
    description: str
    outlook: Outlook | None = None
    marks: tuple[Mark, ...] = ()

    @property
    def labels(self) -> list[str]:
        """Column headings of its figures; `#` tells the table macro that they are numbers."""
        return [f"#{fmt.short(stack.name, 60)}" for stack in self.stacks] + ["#Total"]

    def total(self, index: int) -> Decimal:
        """All groups of one day."""
        return sum((stack.values[index] for stack in self.stacks), Decimal(0))

    def svg(self) -> Markup:
        """Both sizes; the style sheet shows one."""
        return Markup("").join(_daily(self, size) for size in SIZES)


@dataclass(frozen=True)
class CumulativeChart:
    """The month so far, day by day, and the forecast of the rest of it."""

    days: tuple[date, ...]
    daily: tuple[tuple[date, Decimal], ...]
    money: fmt.Money
    title: str
    description: str
    outlook: Outlook | None = None
    start: Decimal = Decimal(0)  # charges of the bill that are dated outside the month

    def svg(self) -> Markup:
        """Both sizes; the style sheet shows one."""
        return Markup("").join(_cumulative(self, size) for size in SIZES)


def _daily(chart: DailyChart, size: Size) -> Markup:
    lanes = _lanes(chart.marks)
    room = replace(size, top=size.top + LANE * (max(lanes, default=-1) + 1))
    on = frame(chart.title, chart.description, room, chart.days, list(_extents(chart)), chart.money)
    wide = min(on.slot * 0.74, 34.0)
    if chart.outlook:
        _expected(on, chart.outlook, wide, chart.money)
    for index in range(len(chart.days)):
        _stack(on, chart, index, wide)
    for mark, lane in zip(chart.marks, lanes, strict=True):
        _mark(on, mark, 10 + LANE * lane)
    return on.baseline()


def _lanes(marks: Iterable[Mark]) -> list[int]:
    """A line for each mark on which no other mark has the same days."""
    taken: list[list[Mark]] = []
    lanes = []
    for mark in marks:
        free = (
            n
            for n, lane in enumerate(taken)
            if all(m.last < mark.first or mark.last < m.first for m in lane)
        )
        lane = next(free, len(taken))
        if lane == len(taken):
            taken.append([])
        taken[lane].append(mark)
        lanes.append(lane)
    return lanes


def _stack(on: Frame, chart: DailyChart, index: int, wide: float) -> None:
    """One day's bar: what was paid upwards from zero, what came back downwards."""
    day = chart.days[index]
    above = below = 0.0
    for stack in chart.stacks:
        value = float(stack.values[index])
        if not value:
            continue
        start = above if value > 0 else below
        end = start + value
        above, below = (end, below) if value > 0 else (above, end)
        name = fmt.short(fmt.clean(stack.name), 60)
        text = f"{fmt.weekday_day(day)} · {name}: {chart.money(stack.values[index])}"
        _box(on, day, start, end, wide, f"s{stack.tone}", text)


def _expected(on: Frame, outlook: Outlook, wide: float, money: fmt.Money) -> None:
    """The remaining days' bars, each with the interval as a line through its end."""
    low, high = outlook.spread
    for day, amount in outlook.daily:
        if not on.days[0] <= day <= on.days[-1]:
            continue
        value = float(amount)
        _box(
            on,
            day,
            0.0,
            value,
            wide,
            "expected",
            f"{fmt.weekday_day(day)} · forecast: {money(amount)}",
        )
        x = number(on.x(day))
        ends = number(on.y(value * low)), number(on.y(value * high))
        on.drawing.append(dw.Line(x, ends[0], x, ends[1], class_="whisker"))


def _extents(chart: DailyChart) -> Iterable[float]:
    """The ends of every bar and interval."""
    for index in range(len(chart.days)):
        values = [float(stack.values[index]) for stack in chart.stacks]
        yield sum(v for v in values if v > 0)
        yield sum(v for v in values if v < 0)
    if chart.outlook:
        for _, amount in chart.outlook.daily:
            yield float(amount)
            yield from (float(amount) * factor for factor in chart.outlook.spread)


def _box(
    on: Frame, day: date, start: float, end: float, wide: float, class_: str, text: str
) -> None:
    upper, lower = on.y(max(start, end)), on.y(min(start, end))
    left = number(on.x(day) - wide / 2)
    box = dw.Rectangle(
        left, number(upper), number(wide), number(max(lower - upper, 0.4)), class_=class_
    )
    box.append_title(text)
    on.drawing.append(box)


def _mark(on: Frame, mark: Mark, y: float) -> None:
    """The finding's number, and a line over its days."""
    first, last = max(mark.first, on.days[0]), min(mark.last, on.days[-1])
    if first > last:
        return
    left, right = on.x(first) - on.slot / 2 + 1, on.x(last) + on.slot / 2 - 1
    line = dw.Line(number(left), number(y + 3), number(right), number(y + 3), class_="mark")
    line.append_title(mark.text)
    on.drawing.append(line)
    text = dw.Text(
        str(mark.number),
        11,
        number((left + right) / 2),
        number(y),
        text_anchor="middle",
        class_="mark-number",
    )
    on.drawing.append(text)


def _cumulative(chart: CumulativeChart, size: Size) -> Markup:
    outlook = chart.outlook
    done = _added_up(chart.start, chart.daily)
    ahead = _added_up(outlook.observed, outlook.daily) if outlook else []
    values = [v for _, v in done + ahead]
    if outlook:
        values += [float(outlook.low), float(outlook.high)]
    on = frame(chart.title, chart.description, size, chart.days, values, chart.money)
    if outlook and ahead:
        _fan(on, outlook, ahead, chart.money)
    path = _points(on, done)
    if not path:
        return on.baseline()
    floor = on.y(0)
    on.drawing.append(
        lines([(path[0][0], floor), *path, (path[-1][0], floor)], close=True, class_="area")
    )
    on.drawing.append(lines(path, class_="line"))
    on.drawing.append(dw.Circle(number(path[-1][0]), number(path[-1][1]), 4, class_="dot"))
    crowded = (
        bool(ahead) and on.x(ahead[-1][0]) - path[-1][0] < 110
    )  # the two figures would overlap
    spent = sum((amount for _, amount in chart.daily), chart.start)
    label(on, path[-1], chart.money(spent), below=crowded)
    return on.baseline()


def _fan(on: Frame, outlook: Outlook, ahead: list[tuple[date, float]], money: fmt.Money) -> None:
    """The rest of the month, and the interval opening around it."""
    base = float(outlook.observed)
    low, high = outlook.spread
    start = [(outlook.as_of, base)]
    lower = _points(on, start + [(day, base + (v - base) * low) for day, v in ahead])
    upper = _points(on, start + [(day, base + (v - base) * high) for day, v in ahead])
    middle = _points(on, start + ahead)
    on.drawing.append(lines(upper + lower[::-1], close=True, class_="fan"))
    on.drawing.append(lines(middle, class_="ahead"))
    on.drawing.append(dw.Circle(number(middle[-1][0]), number(middle[-1][1]), 4, class_="dot open"))
    label(on, middle[-1], money(outlook.month_end))


def _added_up(start: Decimal, daily: Iterable[tuple[date, Decimal]]) -> list[tuple[date, float]]:
    line, total = [], start
    for day, amount in daily:
        total += amount
        line.append((day, float(total)))
    return line


def _points(on: Frame, line: list[tuple[date, float]]) -> list[Point]:
    return [(on.x(day), on.y(v)) for day, v in line if on.days[0] <= day <= on.days[-1]]
