"""What the charts share: drawing with drawsvg, the frame of a chart, its axes and weekends."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import drawsvg as dw
from markupsafe import Markup

from flows.cost_report.report import fmt
from flows.cost_report.report.scales import Scale, ticks

Point = tuple[float, float]


@dataclass(frozen=True)
class Size:
    """A chart is drawn twice, for a page and for a phone: scaled down, its text is too small."""

    name: str
    width: int
    height: int
    left: int
    right: int
    grid_lines: int
    day_step: int  # every how many days the axis names one
    top: int = 18
    bottom: int = 26


SIZES = (
    Size("wide", 940, 300, left=64, right=24, grid_lines=5, day_step=2),
    Size("slim", 360, 250, left=48, right=8, grid_lines=4, day_step=7),
)


@dataclass(frozen=True)
class Frame:
    """The empty chart that values go into: where days and amounts are."""

    drawing: Any
    size: Size
    days: tuple[date, ...]
    y: Scale
    left: float
    slot: float  # the width of a day

    def x(self, on: date) -> float:
        """The middle of a day."""
        return self.left + ((on - self.days[0]).days + 0.5) * self.slot

    def baseline(self) -> Markup:
        """Draws the zero line over everything, and gives the finished drawing."""
        zero = number(self.y(0))
        right = number(self.left + self.slot * len(self.days))
        self.drawing.append(dw.Line(number(self.left), zero, right, zero, class_="axis"))
        return markup(self.drawing)


def frame(
    title: str,
    description: str,
    size: Size,
    days: tuple[date, ...],
    values: Sequence[float],
    money: fmt.Money,
) -> Frame:
    """Weekends, gridlines and axis labels around `values`."""
    made = drawing(size.width, size.height, f"chart {size.name}", role="img")
    made.append(dw.Title(fmt.clean(title)))
    made.append(_Desc(fmt.clean(description)))
    marks = ticks(min(values, default=0.0), max(values, default=0.0), size.grid_lines)
    labels = [money.compact(value) for value in marks]
    left = max(size.left, 7 * max(map(len, labels)) + 12)
    y = Scale(marks[0], marks[-1], size.height - size.bottom, size.top)
    slot = (size.width - left - size.right) / len(days)
    new = Frame(made, size, days, y, left, slot)
    _weekends(new)
    for value, label in zip(marks, labels, strict=True):
        at = number(y(value))
        made.append(dw.Line(left, at, size.width - size.right, at, class_="grid"))
        made.append(dw.Text(label, 12, left - 8, number(y(value) + 4), text_anchor="end"))
    for on in days[:: size.day_step]:
        text = fmt.short_day(on) if on in (days[0], on.replace(day=1)) else str(on.day)
        made.append(
            dw.Text(
                text, 12, number(new.x(on)), size.height - size.bottom + 17, text_anchor="middle"
            )
        )
    return new


def _weekends(on: Frame) -> None:
    height = on.size.height - on.size.top - on.size.bottom
    for day in on.days:
        if day.weekday() >= 5:
            left = number(on.x(day) - on.slot / 2)
            on.drawing.append(
                dw.Rectangle(left, on.size.top, number(on.slot), height, class_="weekend")
            )


def label(on: Frame, at: Point, text: str, *, below: bool = False) -> None:
    """A figure beside a point: to the left of it, or to the right where there is no room."""
    room = at[0] - on.left > len(text) * 7.5
    on.drawing.append(
        dw.Text(
            text,
            13,
            number(at[0] - 8 if room else at[0] + 8),
            number(at[1] + 20 if below else max(at[1] - 9, on.size.top)),
            text_anchor="end" if room else "start",
            class_="label",
        )
    )


class _Desc(dw.Title):  # type: ignore[misc]  # drawsvg has no types, and no <desc>
    TAG_NAME = "desc"


def drawing(width: int, height: int, class_: str, **attributes: str) -> Any:
    """An empty drawing. The values of attributes are not escaped: they must be ours."""
    named = {name.replace("_", "-"): value for name, value in attributes.items()}
    return dw.Drawing(width, height, **{"class": class_}, **named)


def lines(points: Sequence[Point], *, class_: str, close: bool = False) -> Any:
    """A line through `points`; closed, an area."""
    flat = [number(v) for point in points for v in point]
    return dw.Lines(*flat, close=close, class_=class_, **({} if close else {"fill": "none"}))


def number(value: float) -> float:
    """A tenth of a pixel is as fine as a screen shows, and keeps the file small."""
    rounded = round(value, 1)
    return int(rounded) if rounded == int(rounded) else rounded


# HTML parsers know SVG's namespaces, and an empty <defs> says nothing.
_BOILERPLATE = re.compile(r' xmlns(:xlink)?="[^"]*"\s*|<defs>\s*</defs>\s*')


def markup(finished: Any) -> Markup:
    """The drawing as part of a page: drawsvg escapes text, and attributes are only ever ours."""
    return Markup(_BOILERPLATE.sub(" ", finished.as_svg(header="")).replace("\n", ""))  # noqa: S704
