"""Drawings inside table cells. Their figure stands in the next cell: screen readers skip them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import drawsvg as dw
from markupsafe import Markup

from flows.cost_report.report.scales import Scale
from flows.cost_report.report.svg import drawing, lines, markup, number


def spark(values: Sequence[Decimal]) -> Markup:
    """A line without axes; nothing for a single day."""
    if len(values) < 2:
        return Markup("")
    width, height, pad = 96, 24, 2
    made = drawing(width, height, "spark", aria_hidden="true")
    amounts = [float(v) for v in values]
    x = Scale(0, len(amounts) - 1, pad, width - pad)
    y = Scale(min(0.0, *amounts), max(0.0, *amounts), height - pad, pad)
    points = [(x(i), y(v)) for i, v in enumerate(amounts)]
    made.append(lines([(round(a), b) for a, b in points], class_="line"))
    made.append(dw.Circle(number(points[-1][0]), number(points[-1][1]), 2, class_="dot"))
    return markup(made)


def bar(share: float) -> Markup:
    """A horizontal bar filled to `share` of its cell."""
    made = drawing(100, 8, "bar", preserveAspectRatio="none", aria_hidden="true")
    made.append(dw.Rectangle(0, 0, 100, 8, class_="track"))
    made.append(dw.Rectangle(0, 0, number(100 * min(max(share, 0.0), 1.0)), 8, class_="fill"))
    return markup(made)


def swing(change: float, most: float) -> Markup:
    """A bar from the middle: to the right for more, to the left for less; `most` fills a half."""
    made = drawing(100, 14, "swing", preserveAspectRatio="none", aria_hidden="true")
    part = 49 * (min(max(change / most, -1.0), 1.0) if most else 0.0)
    name = "more" if change > 0 else "less"
    made.append(dw.Rectangle(number(min(50.0, 50 + part)), 2, number(abs(part)), 10, class_=name))
    made.append(dw.Line(50, 0, 50, 14, class_="zero"))
    return markup(made)
