"""Where everything goes: a fixed place for each kind of node, a fixed way for each kind of edge.

Development is the row above, operation the rows below, and the image stands in both. Only jobs and
buckets elsewhere may be many: they stand below each other, and what is below moves down.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from flows.problem import Problem
from infra.picture.graph import Graph
from infra.picture.parts import Edge, Node

WIDTH = 1160
BORDER = 314  # between development and operation
IMAGE_TOP, IMAGE_HEIGHT = BORDER - 38, 76
LINE = 16  # of a list
TEXT = 11
SPACE = 34  # between parallel arrows, a label above each

Point = tuple[float, float]


@dataclass(frozen=True)
class Box:
    x: float
    y: float
    w: float
    h: float

    @property
    def right(self) -> float:
        return self.x + self.w

    @property
    def bottom(self) -> float:
        return self.y + self.h

    @property
    def middle(self) -> Point:
        return self.x + self.w / 2, self.y + self.h / 2


@dataclass(frozen=True)
class Line:
    """An edge's way, the arrow at its end; its label at `at`, in not more than `room`."""

    points: tuple[Point, ...]
    label: str = ""
    at: Point = (0, 0)
    anchor: str = "middle"
    room: float = 400


@dataclass(frozen=True)
class Layout:
    height: float
    boxes: dict[str, Box]  # node's id; alerts are in one box of their own, ALERTS
    lines: tuple[Line, ...]


# --- nodes ---------------------------------------------------------------------------------------

# The columns of both lanes.
C1, C2, C3, C4 = 40, 300, 560, 950
W1, W2, W3, W4 = 150, 180, 200, 170
MARGIN = 24  # of the cluster's frame around what runs in it
ROW = 400  # where operation's first row begins
ALERTS = "alerts"
MANY = ("job", "outside", "alert")
FIXED = {
    "developer": Box(40, 86, 152, 68),
    "source": Box(272, 86, 152, 68),
    "on_push": Box(504, 86, 152, 68),
    "pipeline": Box(736, 86, 152, 68),
    "build": Box(968, 86, 152, 68),
    "artifacts": Box(736, 196, 152, 50),
    "image": Box(380, IMAGE_TOP, 740, IMAGE_HEIGHT),
    "schedule": Box(C1, ROW, W1, 68),
    "state": Box(C1, ROW + 104, W1, 68),
}


def layout(graph: Graph) -> Layout:
    """Raises Problem for a node or an edge that has no place."""
    for kind in dict.fromkeys(node.kind for node in graph.nodes):
        if kind not in MANY and len(graph.of(kind)) > 1:
            raise Problem(
                "two things would be drawn in one place",
                where={"kind": kind},
                value=", ".join(node.name for node in graph.of(kind)),
                fix="give each a place of its own in infra/picture/layout.py",
            )
    places = _places(graph)
    boxes = {}
    for node in graph.nodes:
        place = places.get(node.id) or places.get(node.kind)
        if not place:
            raise _unplaced(node.kind, node.name)
        boxes[node.id] = place
    bottom = max(box.bottom for box in (*boxes.values(), Box(0, ROW, 0, 172)))
    return Layout(bottom + 32, boxes, tuple(dict.fromkeys(_lines(graph, boxes))))


def _unplaced(kind: str, name: str) -> Problem:
    return Problem(
        "something has no place in the picture",
        where={"kind": kind},
        value=name,
        fix="give it one in infra/picture/layout.py",
    )


def _places(graph: Graph) -> dict[str, Box]:
    places = dict(FIXED)
    top = float(ROW)
    for job in graph.of("job"):
        links = sum(_is_data(graph, edge, job) for edge in graph.edges)
        height = max(32 + LINE * (1 + len(job.details)), SPACE * max(links, 2) + 12)
        places[job.id] = Box(C3, top, W3, height)
        top += height + 20
    tall = max(top - 20 - ROW, 172.0)
    places["service"] = Box(C2, ROW, W2, tall)
    places["data"] = Box(C4, ROW, W4, tall)
    frame = Box(C2 - MARGIN, ROW - MARGIN, C3 + W3 - C2 + 2 * MARGIN, tall + 2 * MARGIN + 12)
    places["cluster"] = frame
    row = frame.bottom + 54
    places |= {"queue": Box(C2, row, W2, 68), "task_events": Box(C3, row, W3, 68)}
    places["export"] = Box(C4, row, W4, 68)
    under = row + 68
    for bucket in graph.of("outside"):
        places[bucket.id] = Box(C4, under + 24, W4, 52)
        under += 76
    row = under + 58
    places |= {"lost": Box(C1, row, W1, 52), "unheard": Box(C2, row, W2, 52)}
    alerts = len(graph.of("alert"))
    places["alert"] = Box(C3, row, 330, max(32 + LINE * alerts, 104))
    places["topic"] = Box(C4, row, W4, 68)
    return places


# --- edges ---------------------------------------------------------------------------------------

BUCKETS = ("data", "outside")
# What is written beside an alert instead of drawn from afar.
IN_WORDS = ("pipeline", "service", "cluster")
# Straight to the right or the left, so far below the top of the smaller box.
ACROSS = {
    ("developer", "source"): 34,
    ("source", "on_push"): 34,
    ("source", "pipeline"): 34,
    ("on_push", "pipeline"): 34,
    ("pipeline", "build"): 34,
    ("schedule", "service"): 20,
    ("service", "schedule"): 20 + SPACE,
    ("state", "service"): 20,
    ("service", "state"): 20 + SPACE,
    ("service", "job"): 24,
    ("job", "service"): 24 + SPACE,
    ("task_events", "queue"): 34,
    ("unheard", "alert"): 26,
    ("alert", "topic"): 34,
}
# Straight up or down, so far from the left of the first box.
DOWN = {
    ("pipeline", "artifacts"): 76,
    ("build", "image"): 116,
    ("export", "data"): 85,
    ("queue", "service"): 90,
    ("queue", "unheard"): 90,
}


def _is_data(graph: Graph, edge: Edge, job: Node) -> bool:
    ends = {edge.source: edge.target, edge.target: edge.source}
    return job.id in ends and graph.node(ends[job.id]).kind in BUCKETS


def _lines(graph: Graph, boxes: dict[str, Box]) -> Iterator[Line]:
    for edge in graph.edges:
        kinds = graph.kinds(edge)
        if kinds[0] in IN_WORDS and kinds[1] == "alert":
            continue
        a, b = boxes[edge.source], boxes[edge.target]
        if kinds in ACROSS:
            yield _across(a, b, edge.label, ACROSS[kinds])
        elif kinds in DOWN:
            yield _down(a, b, a.x + DOWN[kinds], edge.label)
        elif "job" in kinds and set(kinds) & set(BUCKETS):
            yield _data(graph, edge, a, b)
        elif kinds == ("image", "job"):
            yield _pull(a, b, first=graph.of("job")[0].id == edge.target)
        else:
            yield _own_way(kinds, edge.label, a, b)


def _across(a: Box, b: Box, label: str, below: float) -> Line:
    y = min(a, b, key=lambda box: box.h).y + below
    start, end = (a.right, b.x) if a.x < b.x else (a.x, b.right)
    frame = MARGIN if {a.x, b.x} == {C1, C2} else 0  # its line is no place for a label
    left, right = min(start, end), max(start, end) - frame
    return Line(((start, y), (end, y)), label, ((left + right) / 2, y - 6), room=right - left - 4)


def _down(a: Box, b: Box, x: float, label: str) -> Line:
    start, end = (a.bottom, b.y) if a.y < b.y else (a.y, b.bottom)
    inside = MARGIN + 12 if end < start and b.x == C2 else 0  # below the frame, not across it
    return Line(((x, start), (x, end)), label, (x + 8, (start + end + inside) / 2 + 4), "start")


def _own_way(kinds: tuple[str, str], label: str, a: Box, b: Box) -> Line:
    points: tuple[Point, ...]
    match kinds:
        case ("artifacts", "build"):
            x, y = b.x + 24, a.middle[1]
            return Line(((a.right, y), (x, y), (x, b.bottom)))
        case ("build", "service"):  # between the rows, and past the image on its left
            x, y, channel = a.x + 68, IMAGE_TOP - 14, b.x + 40
            points = ((x, a.bottom), (x, y), (channel, y), (channel, b.y))
            return Line(points, label, (channel + 10, y - 6), "start")
        case ("image", "service"):
            x = b.x + 140
            return Line(((x, a.bottom), (x, b.y)), label, (x + 8, a.bottom + 16), "start")
        case ("cluster", "task_events"):
            return _down(a, b, b.middle[0], label)
        case ("schedule", "lost"):
            x, y, channel = b.x + 40, b.y - 24, a.x - 16
            points = ((a.x, a.y + 34), (channel, a.y + 34), (channel, y), (x, y), (x, b.y))
            return Line(points, label, (b.x + 8, y - 7), "start")
        case ("lost", "alert"):
            x, y = a.middle[0], a.bottom + 22
            return Line(((x, a.bottom), (x, y), (b.x, y)))
    raise _unplaced(" → ".join(kinds), label)


def _pull(image: Box, job: Box, *, first: bool) -> Line:
    """The first job from above; the others from a trunk on the right, inside the frame."""
    if first:
        return _down(image, job, job.middle[0], "")
    x, y = job.right + 12, job.y + 10
    return Line(((x, image.bottom), (x, y), (job.right, y)))


def _data(graph: Graph, edge: Edge, a: Box, b: Box) -> Line:
    """One below the other on the job's right side; to a bucket elsewhere down a way of its own."""
    reads = graph.node(edge.target).kind == "job"
    job, bucket = (edge.target, edge.source) if reads else (edge.source, edge.target)
    box, to = (b, a) if reads else (a, b)
    mine = [e for e in graph.edges if _is_data(graph, e, graph.node(job))]
    y = box.y + 28 + SPACE * mine.index(edge)
    left, right = C3 + W3 + MARGIN, C4 - 24
    points: tuple[Point, ...] = ((box.right, y), (to.x, y))
    if graph.node(bucket).kind == "outside":
        beyond = [e for e in graph.edges if "outside" in graph.kinds(e)]
        here = [e for e in beyond if bucket in (e.source, e.target)]
        x = C4 - 5 - (C4 - right - 6) * (beyond.index(edge) + 1) / len(beyond)
        end = to.y + to.h * (here.index(edge) + 1) / (len(here) + 1)
        points = ((box.right, y), (x, y), (x, end), (to.x, end))
    points = tuple(reversed(points)) if reads else points
    return Line(points, edge.label, ((left + right) / 2, y - 6), room=right - left - 4)
