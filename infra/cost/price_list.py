"""`make prices`: a region's prices, asked of AWS's Price List API.

prices.json says of each price by which service, usage type and attributes it is found. Of what AWS
answers exactly one product must be it; otherwise the old price stays, and it is said. Spot's are
not in the list: they are in the file that the pricing page of Fargate shows.
https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_pricing_GetProducts.html
"""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from flows.problem import Problem

SPOT = "https://dftu77xade0tc.cloudfront.net/fargate-spot-prices.json"
ENDPOINT = "us-east-1"  # the API answers there, for every region


@dataclass(frozen=True)
class Wanted:
    name: str
    service: str
    usage_types: tuple[str, ...]  # without the region's prefix; any of them
    where: Mapping[str, str]


@dataclass(frozen=True)
class Found:
    """Each price by its name, and why others were not found."""

    amounts: Mapping[str, Decimal]
    missing: Mapping[str, str]


def wanted(content: Mapping[str, Any]) -> tuple[Wanted, ...]:
    return tuple(
        Wanted(name, one["service"], tuple(one["usagetype"]), one.get("where", {}))
        for name, one in content["price_list"].items()
    )


def look_up(names: Iterable[Wanted], region: str, pricing: Any, spot: str = SPOT) -> Found:
    """`pricing`: boto3's client of the Price List API. `spot`: the address of Spot's prices."""
    amounts: dict[str, Decimal] = {}
    missing: dict[str, str] = {}
    spot_prices = None
    for one in names:
        if one.service == "spot":
            if spot_prices is None:
                spot_prices = _spot(region, spot)
            found = [spot_prices[unit] for unit in one.usage_types if unit in spot_prices]
        else:
            found = list(_prices(_products(one, region, pricing), one, region))
        if len(found) == 1:
            amounts[one.name] = found[0]
        else:
            missing[one.name] = f"{len(found)} products are it, where one should be"
    return Found(amounts, missing)


def _products(one: Wanted, region: str, pricing: Any) -> Iterator[Mapping[str, Any]]:
    """Those of the service in the region with these attributes; entries are JSON in a string."""
    field = "fromRegionCode" if one.service == "AWSDataTransfer" else "regionCode"
    filters = {field: region, **one.where}
    pages = pricing.get_paginator("get_products").paginate(
        ServiceCode=one.service,
        FormatVersion="aws_v1",
        Filters=[
            {"Type": "TERM_MATCH", "Field": name, "Value": value}
            for name, value in sorted(filters.items())
        ],
    )
    for page in pages:
        yield from map(json.loads, page["PriceList"])


def _prices(products: Iterable[Mapping[str, Any]], one: Wanted, region: str) -> Iterator[Decimal]:
    """The first step that costs anything, of each product that is the one."""
    for product in products:
        usage = product["product"]["attributes"].get("usagetype", "")
        if not any(_is(usage, wanted, region) for wanted in one.usage_types):
            continue
        steps = [
            (Decimal(step["beginRange"]), Decimal(step["pricePerUnit"]["USD"]))
            for term in product["terms"].get("OnDemand", {}).values()
            for step in term["priceDimensions"].values()
        ]
        paid = [amount for _, amount in sorted(steps) if amount]
        if paid:
            yield paid[0]


def _is(usage: str, wanted: str, region: str) -> bool:
    """Usage types begin with the region's letters, its name, or neither: 'EUC1-NatGateway-Hours'.
    Another word before it, as in 'EUC1-SpotUsage-Fargate-GB-Hours', makes it another.
    """
    pattern = rf"(?:[A-Z]{{2,4}}\d?-|{re.escape(region)}-)?{re.escape(wanted)}"
    return re.fullmatch(pattern, usage) is not None


def _spot(region: str, address: str) -> Mapping[str, Decimal]:
    """Spot's prices of a region by their units: 'ARM-vCPU-Hours'."""
    try:
        with urllib.request.urlopen(address, timeout=30) as answer:  # noqa: S310 - a constant
            content = json.load(answer)
        return {
            price["unit"]: Decimal(price["price"]["USD"])
            for price in content["prices"]
            if price["attributes"]["aws:region"] == region
        }
    except (OSError, ValueError, KeyError, InvalidOperation) as error:
        raise Problem(
            "Fargate Spot's prices cannot be read",
            where={"address": address},
            detail=str(error),
            fix="try again; the prices are as they were",
        ) from error


def merged(content: Mapping[str, Any], region: str, found: Found, today: str) -> dict[str, Any]:
    """The file's content with the region's new prices; those that were not found stay."""
    source = f"price-list-{region}"
    how = f"make prices, {region}: the Price List API, and {SPOT}"
    before = content["regions"].get(region, {})
    new = {name: {"usd": f"{usd:f}", "source": source} for name, usd in found.amounts.items()}
    return {
        **content,
        "sources": {**content["sources"], source: {"as_of": today, "from": how}},
        "regions": {**content["regions"], region: {**before, **new}},
    }


def difference(content: Mapping[str, Any], region: str, found: Found) -> Iterator[str]:
    """A line for each price that is another, new, or kept."""
    before = content["regions"].get(region, {})
    for name, usd in sorted(found.amounts.items()):
        old = before.get(name, {}).get("usd")
        if old is None:
            yield f"new      {name}: {usd:f}"
        elif Decimal(old) != usd:
            yield f"changed  {name}: {old} → {usd:f}"
    for name, why in sorted(found.missing.items()):
        kept = f"{before[name]['usd']} stays" if name in before else "it has none"
        yield f"missing  {name}: {why}; {kept}"
