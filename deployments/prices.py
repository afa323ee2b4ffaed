"""AWS's list prices, as far as an installation and its alternatives meet them: `prices.json`.

Each price names its source, and each source where and when it was read; nothing is from memory.
`make prices` refreshes a region through AWS's Price List API (infra/cost/price_list.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from flows.problem import Problem

FILE = Path(__file__).with_name("prices.json")


@dataclass(frozen=True)
class Free:
    """What an account has of something each month before it is billed."""

    amount: Decimal  # of what the price's name ends in
    kind: str  # 'always'; or '12 months', for accounts opened before 15 July 2025
    shared: str = ""  # the price whose allowance this is, too


@dataclass(frozen=True)
class Prices:
    """Of one region, in US dollars without tax, each for one of what its name ends in."""

    region: str
    as_of: str  # the date of the oldest that is the region's own
    source: str
    amounts: Mapping[str, Decimal]
    free: Mapping[str, Free] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Decimal:
        """Raises Problem where it is not known."""
        if name not in self.amounts:
            raise Problem(
                "a price is not known",
                where={"file": FILE.name, "region": self.region, "price": name},
                fix=f"make prices SET=region={self.region}",
            )
        return self.amounts[name]


def prices(region: str, file: Path = FILE) -> Prices:
    """Raises Problem for a region whose prices are not in the file."""
    content = read(file)
    if region not in content["regions"]:
        raise Problem(
            "the prices of this region are not known",
            where={"file": file.name},
            value=region,
            detail=f"known are {', '.join(content['regions'])}",
            fix=f"make prices SET=region={region}",
        )
    own = content["regions"][region]
    found = {**content["everywhere"], **own}
    return Prices(
        region,
        as_of=min(content["sources"][price["source"]]["as_of"] for price in own.values()),
        source="AWS list prices, without tax; deployments/prices.json names a source for each",
        amounts={name: Decimal(price["usd"]) for name, price in found.items()},
        free={
            name: Free(Decimal(one["amount"]), one["kind"], one.get("shared", ""))
            for name, one in content["free"].items()
        },
    )


def read(file: Path = FILE) -> dict[str, Any]:
    """The file as it is: sources, regions, everywhere, free, price_list."""
    content: dict[str, Any] = json.loads(file.read_text())
    return content


def written(content: Mapping[str, Any]) -> str:
    """As text: one price, or one source, a line, so that a change is a line of a diff."""

    def mapping(value: Mapping[str, Any], depth: int) -> str:
        margin = "  " * (depth + 1)
        inner = (
            f"{margin}{json.dumps(name)}: {entry(item, depth + 1)}" for name, item in value.items()
        )
        return "{\n" + ",\n".join(inner) + "\n" + "  " * depth + "}"

    def entry(value: Any, depth: int) -> str:
        leaf = not isinstance(value, dict) or not any(
            isinstance(item, dict) and "where" not in value for item in value.values()
        )
        return json.dumps(value) if leaf else mapping(value, depth)

    return mapping(content, 0) + "\n"
