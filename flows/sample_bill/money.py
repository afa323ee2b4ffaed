"""What everything costs on each day, before any row exists.

The unit of money is EffectiveCost in USD per (service, account, day): level x growth x weekday x
time of month x lognormal noise. Rows divide this money (usage.py), so the number of rows never
changes a daily total.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from flows.sample_bill.catalog import SERVICES, Service
from flows.sample_bill.commitments import COMMITMENTS
from flows.sample_bill.draw import rng
from flows.sample_bill.options import Options, periods
from flows.sample_bill.organisation import ACCOUNTS

Floats = NDArray[np.float64]

ON_DEMAND, SPOT, FIRST_PLAN = 0, 1, 2
SPOT_SHARE = 0.09
# A demand below this share of the fee leaves part of a commitment unused.
MOST_COVERED = 0.62


@dataclass(frozen=True)
class Stream:
    """Usage of one service by one account, paid in one way.

    `pay`: ON_DEMAND, SPOT, or FIRST_PLAN + index into COMMITMENTS.
    """

    service: int
    account: int
    pay: int


@dataclass(frozen=True)
class Money:
    """`effective`: shape (streams, days), USD. `unused`: shape (commitments, days), USD."""

    streams: tuple[Stream, ...]
    effective: Floats
    unused: Floats


def shares(seed: int, index: int, service: Service) -> Floats:
    """How a service's cost divides over the accounts, shape (accounts,), sum 1."""
    random = rng(seed, "shares", index)
    size = np.array([account.size for account in ACCOUNTS])
    chosen = np.zeros(len(ACCOUNTS), dtype=bool)
    order = np.argsort(-size * random.lognormal(0.0, 0.6, len(ACCOUNTS)), kind="stable")
    chosen[order[: service.accounts]] = True
    weight = np.where(chosen, size * random.lognormal(0.0, 0.4, len(ACCOUNTS)), 0.0)
    # No slivers: an account either uses a service or does not.
    weight = np.where(chosen, np.maximum(weight, 0.02 * weight.sum()), 0.0)
    return np.asarray(weight / weight.sum())


def _autoregressive(noise: Floats, memory: float) -> Floats:
    """Noise with memory: a busy day tends to follow a busy day. Unit variance in, unit out."""
    out = np.empty_like(noise)
    out[0] = noise[0]
    fresh = (1.0 - memory**2) ** 0.5
    for day in range(1, len(noise)):
        out[day] = memory * out[day - 1] + fresh * noise[day]
    return out


def baseline(options: Options) -> Floats:
    """Ordinary EffectiveCost, shape (services, accounts, days), all days of whole months."""
    months = periods(options)
    days = sum(month.days for month in months)
    weekend = np.array(
        [(months[0].first + timedelta(days=day)).weekday() >= 5 for day in range(days)]
    )
    in_month = np.concatenate([np.arange(m.days) / m.days for m in months])
    at_home = np.array([account.weekend for account in ACCOUNTS])
    cost = np.zeros((len(SERVICES), len(ACCOUNTS), days))
    for index, service in enumerate(SERVICES):
        if service.monthly == 0:
            continue
        random = rng(options.seed, "money", index)
        level = service.monthly / 30.4 * (1.0 + service.growth) ** (np.arange(days) / 30.4)
        week = np.where(weekend, service.weekend, 1.0)
        season = 1.0 + 0.015 * np.sin(2 * np.pi * (in_month + random.random()))
        slow = _autoregressive(random.standard_normal(days), 0.6)
        quick = random.standard_normal(days)
        noise = np.exp(service.noise * (0.6 * slow + 0.8 * quick))
        own = np.exp(0.03 * random.standard_normal((len(ACCOUNTS), days)))
        home = np.where(weekend[None, :], at_home[:, None], 1.0)
        total = level * week * season * noise
        cost[index] = shares(options.seed, index, service)[:, None] * total * own * home
    return cost


def divide(options: Options, cost: Floats) -> Money:
    """Says how each (service, account, day) is paid: on demand, spot, or by a commitment."""
    days = cost.shape[2]
    left = cost.copy()
    streams: list[Stream] = []
    rows: list[Floats] = []
    unused = np.zeros((len(COMMITMENTS), days))
    for plan, commitment in enumerate(COMMITMENTS):
        covered = [
            index
            for index, service in enumerate(SERVICES)
            if any(commitment.key in sku.plans for sku in service.skus)
        ]
        demand = left[covered]
        total = demand.sum(axis=(0, 1))
        fee = float(commitment.daily)
        wobble = 0.985 - 0.03 * rng(options.seed, "use", plan).random(days)
        used = np.minimum(fee * wobble, MOST_COVERED * total)
        unused[plan] = fee - used
        for position, index in enumerate(covered):
            for account in range(len(ACCOUNTS)):
                if demand[position, account].any():
                    part = demand[position, account] * (used / total)
                    streams.append(Stream(index, account, FIRST_PLAN + plan))
                    rows.append(part)
                    left[index, account] -= part
    for index, service in enumerate(SERVICES):
        sold_spot = any(sku.spot for sku in service.skus)
        for account in range(len(ACCOUNTS)):
            if not cost[index, account].any():
                continue
            if sold_spot:
                streams.append(Stream(index, account, SPOT))
                rows.append(left[index, account] * SPOT_SHARE)
                left[index, account] *= 1.0 - SPOT_SHARE
            streams.append(Stream(index, account, ON_DEMAND))
            rows.append(left[index, account])
    return Money(tuple(streams), np.stack(rows), unused)
