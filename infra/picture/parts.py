"""What a picture is made of, before anything has a place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Node:
    id: str  # the resource's logical id; for what is no resource, something that is none either
    kind: str  # where it is drawn: `layout` has a place for each
    what: str  # 'SQS queue'
    name: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class Edge:
    source: str
    target: str
    label: str = ""
