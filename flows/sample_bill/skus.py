"""Every SKU in every region, as arrays to look things up by index.

Costs have ten decimals, as AWS's do. Prices have few and quantities as many as are left, so that
price x quantity is exact in ten decimals and equals the cost to double precision.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from flows.sample_bill.catalog import SERVICES, Service, Sku
from flows.sample_bill.commitments import COMMITMENTS
from flows.sample_bill.draw import code
from flows.sample_bill.money import FIRST_PLAN, ON_DEMAND, SPOT
from flows.sample_bill.organisation import REGIONS

COST_DECIMALS = 10
SPOT_PERCENT = 34
WAYS = FIRST_PLAN + len(COMMITMENTS)
# AWS's rate codes: <sku>.<offer term>.<rate>. JRTCKXETXF is its code for On-Demand.
ON_DEMAND_TERM = "JRTCKXETXF.6YS6EN2CT7"


@dataclass(frozen=True)
class Skus:
    """Arrays over SKU x region; index = sku * len(REGIONS) + region.

    `price` (n,): list USD. `contracted`, `effective` (ways, n): USD. `scale` (ways, n): 10 to the
    number of decimals that a quantity may have. `first`: a service's first sku index.
    """

    of: tuple[tuple[Service, Sku], ...]
    first: dict[int, int]
    price: NDArray[np.float64]
    contracted: NDArray[np.float64]
    effective: NDArray[np.float64]
    scale: NDArray[np.float64]


def decimals(value: Decimal) -> int:
    exponent = value.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def regional_price(sku: Sku, region: int) -> Decimal:
    """The list price there; at most seven decimals, to leave three for discount and quantity."""
    price = Decimal(sku.price) * Decimal(str(REGIONS[region].price))
    places = min(7, decimals(Decimal(sku.price)) + 1)
    rounded = round(price, places)
    return rounded if rounded else Decimal(sku.price)


def percent_off(price: Decimal, percent: int) -> Decimal:
    return price * (100 - percent) / 100


def build() -> Skus:
    of: list[tuple[Service, Sku]] = []
    first: dict[int, int] = {}
    prices: list[float] = []
    contracted: list[list[float]] = []
    effective: list[list[float]] = []
    scales: list[list[float]] = []
    for index, service in enumerate(SERVICES):
        first[index] = len(of)
        for sku in service.skus:
            of.append((service, sku))
            for region in range(len(REGIONS)):
                price = regional_price(sku, region)
                agreed = percent_off(price, service.discount)
                spot = percent_off(price, 100 - SPOT_PERCENT)
                agreements = [agreed, spot] + [agreed] * len(COMMITMENTS)
                paid = [agreed, spot] + [percent_off(price, c.off) for c in COMMITMENTS]
                prices.append(float(price))
                contracted.append([float(value) for value in agreements])
                effective.append([float(value) for value in paid])
                scales.append(
                    [
                        10.0 ** (COST_DECIMALS - max(map(decimals, (price, a, p))))
                        for a, p in zip(agreements, paid, strict=True)
                    ]
                )
    return Skus(
        tuple(of),
        first,
        np.array(prices),
        np.array(contracted).T.copy(),
        np.array(effective).T.copy(),
        np.array(scales).T.copy(),
    )


def sku_id(service: Service, sku: Sku, region: int) -> str:
    return code(f"{service.code}/{sku.meter}/{REGIONS[region].id}", 16)


def price_id(service: Service, sku: Sku, region: int, way: int) -> str:
    """A SkuPriceId has one SkuId for parent, and another one for each way to pay."""
    if way == ON_DEMAND:
        term = ON_DEMAND_TERM
    else:
        name = "spot" if way == SPOT else COMMITMENTS[way - FIRST_PLAN].key
        term = f"{code(name, 10)}.{code(name + '/rate', 10)}"
    return f"{sku_id(service, sku, region)}.{term}"
