"""The prices to reckon with: the region's own, or those of the first that is known."""

from __future__ import annotations

from deployments.prices import Prices, prices
from flows.problem import Problem

OTHERWISE = "us-east-1"


def rates(region: str) -> tuple[Prices, str]:
    """And whose they are, in words. Raises Problem where there are none at all."""
    try:
        found = prices(region)
        note = ""
    except Problem:
        found = prices(OTHERWISE)
        note = f" (those of {region} are not known: `make prices`)"
    return found, f"Prices are those of {found.region}, {found.as_of}{note}: {found.source}"
