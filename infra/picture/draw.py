"""The picture as SVG: its own background, so that it reads the same on a white and a dark page.

Plain text rather than a library: two dozen boxes and as many lines. Same graph, same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from html import escape

from infra.picture.graph import Graph
from infra.picture.layout import BORDER, LINE, WIDTH, Box, Layout, Line, Point, layout
from infra.picture.parts import Node

_STYLE = """
  text { font: 11px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #334155 }
  .h { font-size: 17px; font-weight: 650; fill: #0f172a }
  .lane { font-size: 14px; font-weight: 650 }
  .what { font-size: 10.5px; fill: #64748b }
  .name { font-size: 12.5px; font-weight: 600; fill: #0f172a }
  .label { fill: #1e293b; paint-order: stroke; stroke-width: 4px; stroke-linejoin: round }
  .dev { stroke: #eaf1fb } .ops { stroke: #eaf6f0 }
  .way { fill: none; stroke: #475569; stroke-width: 1.4 }
  .box { fill: #fff; stroke: #94a3b8 }
  .shared { fill: #fff4d6; stroke: #b7791f; stroke-width: 2 }
  .frame { fill: #ffffff; fill-opacity: .5; stroke: #64748b; stroke-dasharray: 5 4 }
  .not-ours { stroke-dasharray: 3 3 }
"""
_COLOURS = {  # a box's left edge: what kind of thing it is
    **dict.fromkeys(("developer", "source", "pipeline", "build"), "#2563eb"),
    **dict.fromkeys(("on_push", "task_events", "schedule"), "#db2777"),
    **dict.fromkeys(("service", "job"), "#ea580c"),
    **dict.fromkeys(("artifacts", "data", "state", "export", "outside"), "#15803d"),
    **dict.fromkeys(("queue", "lost", "unheard", "topic", "alert"), "#7c3aed"),
}
_NOT_OURS = ("developer", "outside")  # no resource of the templates: drawn with a broken line
EDGE = 5  # px of that colour


def draw(graph: Graph) -> str:
    """Raises Problem for a node or an edge that has no place."""
    graph = _shorter(graph)
    made = layout(graph)
    about = "Two workflows, development and operation, and the image that both share."
    height = _n(made.height)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img" aria-label="{about}">',
        f"<title>{about}</title>",
        f"<style>{_STYLE}</style>",
        '<defs><marker id="end" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="8" '
        'markerHeight="8" markerUnits="userSpaceOnUse" orient="auto">'
        '<path d="M0 0.5 8 4 0 7.5z" fill="#475569"/></marker></defs>',
        *_ground(graph, made),
        *(_frame(node, made.boxes[node.id]) for node in graph.of("cluster")),
        *(_way(line) for line in made.lines),
        *(text for node in graph.nodes for text in _box(node, made.boxes[node.id])),
        *_alerts(graph, made),
        *(_label(line) for line in made.lines if line.label),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _shorter(graph: Graph) -> Graph:
    """Names without what all have: the installation, and a bucket's account and region."""
    first = "|".join(re.escape(node.name) for node in graph.of("cluster")) or "$"

    def short(text: str) -> str:
        return re.sub(rf"(?<!\S)({first})-|-<AccountId>\S*", "", text)

    return Graph(
        tuple(
            replace(node, name=short(node.name), details=tuple(map(short, node.details)))
            for node in graph.nodes
        ),
        graph.edges,
    )


def _ground(graph: Graph, made: Layout) -> Iterator[str]:
    height = made.height
    yield f'<rect width="{WIDTH}" height="{_n(height)}" rx="10" fill="#ffffff"/>'
    yield f'<rect x="12" y="44" width="{WIDTH - 24}" height="{BORDER - 44}" fill="#eaf1fb"/>'
    yield (
        f'<rect x="12" y="{BORDER}" width="{WIDTH - 24}" height="{_n(height - BORDER - 12)}" '
        'fill="#eaf6f0"/>'
    )
    name = next((node.name for node in graph.of("cluster")), "Nightshift")
    yield _text((24, 30), name, "h")
    about = (
        f"Drawn from its CloudFormation templates. Left out of names: {name}- and bucket suffixes."
    )
    yield _text((WIDTH - 24, 30), about, "what", "end")
    yield _text((28, 68), "Development: from a push to the image", "lane")
    yield _text((28, BORDER + 24), "Operation: from the image to the data", "lane")


def _frame(node: Node, box: Box) -> str:
    at = (box.right - 12, box.bottom - 12)
    return _rect(box, "frame") + _text(at, f"{node.what} {node.name}", "what", "end")


def _box(node: Node, box: Box) -> Iterator[str]:
    if node.kind in ("cluster", "alert"):
        return
    if node.kind == "image":
        yield from _image(node, box)
        return
    yield _rect(box, "box not-ours" if node.kind in _NOT_OURS else "box")
    yield (
        f'<rect x="{_n(box.x)}" y="{_n(box.y)}" width="{EDGE}" height="{_n(box.h)}" '
        f'fill="{_COLOURS[node.kind]}"/>'
    )
    room = box.w - EDGE - 14
    lines = [("what", 10.5, node.what), ("name", 12.5, node.name)]
    lines += [("", 11, detail) for detail in node.details]
    x, y = box.x + EDGE + 8, box.y + 18
    for class_, size, text in lines:
        yield _text((x, y), fitted(text, size, room), class_)
        y += LINE + (2 if class_ == "what" else 0)


def _image(node: Node, box: Box) -> Iterator[str]:
    yield _rect(box, "shared")
    x, y = box.middle
    yield _text(
        (x, y - 12), f"{node.what}: the one block that both workflows share", "what", "middle"
    )
    yield _text((x, y + 8), f"the image {node.name}", "h", "middle")
    yield _text((x, y + 27), "development ends in it, operation starts from it", "", "middle")


def _alerts(graph: Graph, made: Layout) -> Iterator[str]:
    """All in one box: a line for each, with what it watches and whether anyone hears of it."""
    alerts = graph.of("alert")
    if not alerts:
        return
    box = made.boxes[alerts[0].id]
    yield _rect(box, "box")
    yield (
        f'<rect x="{_n(box.x)}" y="{_n(box.y)}" width="{EDGE}" height="{_n(box.h)}" '
        f'fill="{_COLOURS["alert"]}"/>'
    )
    x, y = box.x + EDGE + 8, box.y + 18
    yield _text((x, y), "What tells people, and what it watches", "what")
    for alert in alerts:
        y += LINE
        watched = [graph.node(e.source) for e in graph.edges if e.target == alert.id]
        of = " and ".join(f"{_PLAIN.get(node.kind, node.what)} {node.name}" for node in watched)
        text = alert.name + (f": {of}" if of else "")
        told = any(e.source == alert.id for e in graph.edges)
        text += "" if told else " (tells nobody)"
        yield _text((x, y + 2), fitted(text, 11, box.w - EDGE - 14))


_PLAIN = {"lost": "queue", "unheard": "queue", "service": "service", "pipeline": "pipeline"}


# --- marks ---------------------------------------------------------------------------------------


def _way(line: Line) -> str:
    path = "M" + " ".join(f"{_n(x)} {_n(y)}" for x, y in line.points)
    return f'<path class="way" d="{path}" marker-end="url(#end)"/>'


def _label(line: Line) -> str:
    halo = "label dev" if line.at[1] < BORDER else "label ops"
    return _text(line.at, fitted(line.label, 11, line.room), halo, line.anchor)


def _rect(box: Box, class_: str) -> str:
    return (
        f'<rect class="{class_}" x="{_n(box.x)}" y="{_n(box.y)}" width="{_n(box.w)}" '
        f'height="{_n(box.h)}" rx="3"/>'
    )


def _text(at: Point, text: str, class_: str = "", anchor: str = "") -> str:
    attributes = f' class="{class_}"' if class_ else ""
    attributes += f' text-anchor="{anchor}"' if anchor else ""
    return f'<text x="{_n(at[0])}" y="{_n(at[1])}"{attributes}>{escape(text)}</text>'


def fitted(text: str, size: float, room: float) -> str:
    """As much of the text as there is room for, its middle left out."""
    if width(text, size) <= room:
        return text
    for keep in range(len(text) - 1, 2, -1):
        short = f"{text[: keep - keep // 3]}…{text[len(text) - keep // 3 :]}"
        if width(short, size) <= room:
            return short
    return "…"


def width(text: str, size: float) -> float:
    """About what it takes in the widest of the fonts; there is no font here to ask."""
    wide = {**dict.fromkeys("iljtfr.,:;'|!()[]/ ", 0.36), **dict.fromkeys("mwMW…", 0.92)}
    return size * sum(wide.get(sign, 0.68 if sign.isupper() else 0.57) for sign in text)


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
