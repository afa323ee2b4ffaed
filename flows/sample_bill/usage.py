"""Usage rows: each day's money divided over that day's rows, as numbers only (no strings yet)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from flows.sample_bill.catalog import SERVICES
from flows.sample_bill.commitments import COMMITMENTS
from flows.sample_bill.draw import rng
from flows.sample_bill.money import FIRST_PLAN, SPOT, Money, Stream
from flows.sample_bill.organisation import REGIONS
from flows.sample_bill.pool import Pool
from flows.sample_bill.skus import Skus

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

# Bounds memory: a block's arrays take about 300 bytes a row.
BLOCK_ROWS = 250_000


@dataclass(frozen=True)
class Rows:
    """Usage rows as parallel arrays, shape (rows,). Costs in USD.

    `resource` and `sku` index Pool and Skus; `digits` are the last digits of the ResourceId.
    """

    stream: NDArray[np.int32]
    day: NDArray[np.int32]
    hour: NDArray[np.int8]
    resource: NDArray[np.int32]
    sku: NDArray[np.int32]
    digits: NDArray[np.uint64]
    quantity: Floats
    effective: Floats
    listed: Floats
    contracted: Floats

    def __len__(self) -> int:
        return len(self.stream)


def join(parts: list[Rows]) -> Rows:
    if len(parts) == 1:
        return parts[0]
    return Rows(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Rows)))


def take(rows: Rows, order: Ints) -> Rows:
    return Rows(*(getattr(rows, f.name)[order] for f in fields(Rows)))


@dataclass(frozen=True)
class Plan:
    """Everything about streams that does not change from day to day; arrays over streams.

    `weight`: share of the rows. `sku_list` from `sku_start`, `sku_count` entries: what a stream
    may consume (an entry is repeated as often as its SKU's weight says).
    """

    pay: Ints
    group_start: Ints
    group_size: Ints
    ephemeral: Floats
    weight: Floats
    sku_list: Ints
    sku_start: Ints
    sku_count: Ints


def row_weights(money: Money) -> Floats:
    """Relative number of rows per stream: by service, less than in proportion to money."""
    typical = money.effective.mean(axis=1)
    service = np.array([s.service for s in money.streams])
    total = np.bincount(service, typical, len(SERVICES))
    rows = np.array([SERVICES[s].rows for s in service])
    weight = rows * (typical / total[service]) ** 0.7
    return np.asarray(weight / weight.sum())


def _menu(stream: Stream, skus: Skus) -> list[int]:
    """The SKUs that a stream may consume: only what its way to pay applies to."""
    menu: list[int] = []
    for position, sku in enumerate(SERVICES[stream.service].skus):
        fits = {SPOT: sku.spot}.get(stream.pay, True)
        if stream.pay >= FIRST_PLAN:
            fits = COMMITMENTS[stream.pay - FIRST_PLAN].key in sku.plans
        if fits:
            menu += [skus.first[stream.service] + position] * sku.weight
    return menu


def plan(money: Money, pool: Pool, skus: Skus) -> Plan:
    group_of = {pair: index for index, pair in enumerate(pool.groups)}
    group = np.array([group_of[s.service, s.account] for s in money.streams])
    menus = [_menu(stream, skus) for stream in money.streams]
    count = np.array([len(menu) for menu in menus])
    return Plan(
        pay=np.array([s.pay for s in money.streams]),
        group_start=pool.start[group],
        group_size=pool.size[group],
        ephemeral=np.array([SERVICES[s.service].ephemeral for s in money.streams]),
        weight=row_weights(money),
        sku_list=np.array([sku for menu in menus for sku in menu]),
        sku_start=np.concatenate([[0], np.cumsum(count)[:-1]]),
        sku_count=count,
    )


def allocate(total: int, weight: Floats) -> Ints:
    """Whole numbers that add up to `total`, at least 1 wherever the weight is above 0."""
    base = (weight > 0).astype(np.int64)
    spare = total - int(base.sum())
    exact = weight / weight.sum() * spare
    counts = base + np.floor(exact).astype(np.int64)
    order = np.argsort(-(exact - np.floor(exact)), kind="stable")
    counts[order[: total - int(counts.sum())]] += 1
    return np.asarray(counts)


def _block(
    money: Floats, counts: Ints, seen: Ints, plan: Plan, pool: Pool, skus: Skus,
    random: np.random.Generator, day: int, hourly: bool,
) -> Rows:  # fmt: skip
    """`counts` rows per stream that together cost `money` (USD per stream), for one day."""
    rows = int(counts.sum())
    stream = np.repeat(np.arange(len(counts)), counts)
    begin = np.cumsum(counts) - counts
    nth = np.arange(rows) - begin[stream] + seen[stream]
    lap, within = np.divmod(nth, plan.group_size[stream])
    resource = plan.group_start[stream] + within
    choice = (resource * 31 + lap * 7) % plan.sku_count[stream]
    sku = plan.sku_list[plan.sku_start[stream] + choice] * len(REGIONS) + pool.region[resource]
    pay = plan.pay[stream]

    weight = pool.weight[resource] * random.lognormal(0.0, 0.15, rows)
    used = np.flatnonzero(counts)
    # The first row of a stream takes the rounding of the others, so it must not be tiny.
    weight[begin[used]] = np.maximum(weight[begin[used]], 1.5)
    share = money / np.maximum(np.bincount(stream, weight, len(counts)), 1e-300)
    price = skus.effective[pay, sku]
    scale = skus.scale[pay, sku]
    quantity = np.maximum(np.rint(weight * share[stream] / price * scale), 1.0) / scale
    off = money - np.bincount(stream, quantity * price, len(counts))
    head = begin[used]
    mended = np.rint((quantity[head] + off[used] / price[head]) * scale[head]) / scale[head]
    quantity[head] = np.maximum(mended, 1.0 / scale[head])

    short_lived = random.random(rows) < plan.ephemeral[stream]
    fresh = random.integers(0, 2**63, rows).astype(np.uint64)
    hour = random.integers(0, 24, rows) if hourly else np.zeros(rows)
    made = Rows(
        stream.astype(np.int32),
        np.full(rows, day, dtype=np.int32),
        hour.astype(np.int8),
        resource.astype(np.int32),
        sku.astype(np.int32),
        np.where(short_lived, fresh, pool.digits[resource]),
        quantity,
        np.round(quantity * price, 10),
        np.round(quantity * skus.price[sku], 10),
        np.round(quantity * skus.contracted[pay, sku], 10),
    )
    # AWS sorts a file by nothing in particular; sorted rows would compress better than real ones.
    return take(made, random.permutation(rows))


def day_rows(
    seed: int, money: Money, plan: Plan, pool: Pool, skus: Skus, day: int, rows: int, hourly: bool
) -> Iterator[Rows]:
    """The rows of one day (an index from the bill's first day) in blocks of bounded size."""
    cost = money.effective[:, day]
    counts = allocate(rows, np.where(cost > 0, plan.weight, 0.0))
    blocks = -(-rows // BLOCK_ROWS)
    seen = np.zeros_like(counts)
    for number in range(1, blocks + 1):
        upto = counts * number // blocks
        part = upto - seen
        due = cost * part / np.maximum(counts, 1)
        random = rng(seed, "rows", day, number)
        yield _block(due, part, seen, plan, pool, skus, random, day, hourly)
        seen = upto
