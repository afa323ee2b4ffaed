"""One picture: dollars a month over minutes a day, for each way, both on logarithmic scales."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal

import drawsvg as draw

Curve = Sequence[tuple[Decimal, Decimal]]  # minutes a day, dollars a month; with gaps at its ends

WIDTH, HEIGHT = 960, 600
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 690, 52, 540
_X = (1.0, 1440.0)
_Y = (0.1, 500.0)
_LABEL = 17  # between two labels' lines
_INK = "#767c84"  # on white and on black alike
# Paul Tol's vibrant and muted schemes, those that stand out on white and on black.
_COLOURS = (
    "#ee7733", "#0077bb", "#33a0b8", "#cc3311", "#009988", "#aa4499", "#999933", "#7766cc",
    "#88756a", "#55852f",
)  # fmt: skip
_TICKS_X = (
    (1, "1 min"), (2, "2"), (5, "5"), (10, "10"), (15, "15"), (30, "30"), (60, "1 h"), (180, "3 h"),
    (480, "8 h"), (1440, "24 h"),
)  # fmt: skip
_TICKS_Y = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)


def chart(curves: Mapping[str, Curve], title: str) -> str:
    """The SVG. The first curve is drawn thicker."""
    made = draw.Drawing(WIDTH, HEIGHT, font_family="system-ui, sans-serif", id_prefix="cost")
    made.append(_text(title, 15, _LEFT, 26, weight="600"))
    _axes(made)
    labels = []
    for number, (name, curve) in enumerate(curves.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        points = [(_x(float(x)), _y(float(y))) for x, y in curve]
        made.append(
            draw.Lines(
                *(value for point in points for value in point),
                fill="none",
                stroke=colour,
                stroke_width=3.5 if number == 0 else 1.8,
                stroke_linejoin="round",
            )
        )
        labels.append((points[-1], name, colour, number == 0))
    _labels(made, labels)
    return str(made.as_svg()) + "\n"


def _axes(made: draw.Drawing) -> None:
    for value, text in _TICKS_X:
        x = _x(value)
        made.append(draw.Line(x, _TOP, x, _BOTTOM, stroke=_INK, stroke_width=1, opacity=0.25))
        made.append(_text(text, 12, x, _BOTTOM + 18, anchor="middle"))
    for amount in _TICKS_Y:
        y = _y(amount)
        made.append(draw.Line(_LEFT, y, _RIGHT, y, stroke=_INK, stroke_width=1, opacity=0.25))
        made.append(_text(f"${amount:g}", 12, _LEFT - 8, y + 4, anchor="end"))
    middle = (_LEFT + _RIGHT) / 2
    made.append(_text("minutes of one run a day", 13, middle, _BOTTOM + 42, anchor="middle"))


def places(heights: Sequence[float], apart: float, low: float, high: float) -> list[float]:
    """Places near these heights, in their order, none nearer to another than `apart`."""
    order = sorted(range(len(heights)), key=lambda n: heights[n])
    found: list[float] = []
    for n in order:
        found.append(max(heights[n], found[-1] + apart if found else low))
    ceiling = high
    for position in range(len(found) - 1, -1, -1):
        found[position] = min(found[position], ceiling)
        ceiling = found[position] - apart
    placed = [0.0] * len(heights)
    for position, n in enumerate(order):
        placed[n] = found[position]
    return placed


def _labels(
    made: draw.Drawing, labels: Sequence[tuple[tuple[float, float], str, str, bool]]
) -> None:
    at = places([point[1] for point, *_ in labels], _LABEL, _TOP, _BOTTOM)
    for ((x, y), name, colour, first), height in zip(labels, at, strict=True):
        made.append(
            draw.Line(
                x, y, _RIGHT + 14, height, stroke=colour, stroke_width=1, stroke_dasharray="2 3"
            )
        )
        made.append(
            _text(
                name, 13, _RIGHT + 18, height + 4, colour=colour, weight="700" if first else "500"
            )
        )


def _text(
    text: str,
    size: int,
    x: float,
    y: float,
    *,
    anchor: str = "start",
    colour: str = _INK,
    weight: str = "400",
) -> draw.Text:
    return draw.Text(
        text, size, round(x, 1), round(y, 1), text_anchor=anchor, fill=colour, font_weight=weight
    )


def _x(value: float) -> float:
    return round(_along(value, _X) * (_RIGHT - _LEFT) + _LEFT, 1)


def _y(value: float) -> float:
    return round(_BOTTOM - _along(value, _Y) * (_BOTTOM - _TOP), 1)


def _along(value: float, scale: tuple[float, float]) -> float:
    low, high = map(math.log10, scale)
    return (math.log10(min(max(value, scale[0]), scale[1])) - low) / (high - low)
