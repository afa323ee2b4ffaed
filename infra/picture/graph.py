"""What there is to see: a node for what exists in the templates, an edge for what links it there.

An edge is never drawn because it should be there: each has the property or the permission that
makes it, and without that it is gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from infra.picture import development, nodes, operation
from infra.picture.parts import Edge, Node
from infra.picture.template import read


@dataclass(frozen=True)
class Graph:
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def of(self, kind: str) -> list[Node]:
        return [node for node in self.nodes if node.kind == kind]

    def node(self, id: str) -> Node:
        return next(node for node in self.nodes if node.id == id)

    def kinds(self, edge: Edge) -> tuple[str, str]:
        return self.node(edge.source).kind, self.node(edge.target).kind


def graph(templates: Mapping[str, Mapping[str, Any]]) -> Graph:
    """Raises Problem for a resource that has neither a place nor a reason to be left out."""
    cloud = read(templates)
    found = tuple(nodes.nodes(cloud))
    return Graph(found, tuple(_once([*development.edges(cloud), *operation.edges(cloud)])))


def _once(edges: list[Edge]) -> Iterator[Edge]:
    yield from dict.fromkeys(edges)
