"""The resources: which exist, where, how big, how tagged. Vectorised; no string per resource.

A resource belongs to a group: one service in one account. Its id is a prefix (by group and region)
and 16 hexadecimal digits, so a million ids cost a million 64-bit numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flows.sample_bill import organisation as org
from flows.sample_bill.catalog import SERVICES
from flows.sample_bill.draw import rng
from flows.sample_bill.money import Money

ROWS_PER_RESOURCE = 3
# Beyond this the ids of short-lived resources make the variety (usage.py).
MOST_RESOURCES = 150_000
# Every account uses it, and it is cheap: whatever the size and seed of a bill, all hostile tag
# values are in it, and they do not lead its lists.
HOSTILE_SERVICE = "AmazonCloudWatch"


@dataclass(frozen=True)
class Pool:
    """Arrays over resources, grouped; `start` and `size` are over groups.

    `tag_start` (resources + 1,), `tag_key`, `tag_value`: tags in compressed form; values index
    one list of all values, `tag_values`.
    """

    groups: tuple[tuple[int, int], ...]
    start: NDArray[np.int64]
    size: NDArray[np.int64]
    region: NDArray[np.int8]
    zone: NDArray[np.int8]
    weight: NDArray[np.float64]
    digits: NDArray[np.uint64]
    tag_start: NDArray[np.int64]
    tag_key: NDArray[np.int32]
    tag_value: NDArray[np.int32]
    tag_values: tuple[str, ...]


def groups_of(money: Money) -> tuple[tuple[int, int], ...]:
    """(service, account) of every group, in the order of first appearance."""
    return tuple(dict.fromkeys((s.service, s.account) for s in money.streams))


def _sizes(rows_per_day: NDArray[np.float64]) -> NDArray[np.int64]:
    wanted = np.maximum(1, np.ceil(rows_per_day / ROWS_PER_RESOURCE))
    shrink = min(1.0, MOST_RESOURCES / wanted.sum())
    return np.asarray(np.maximum(1, wanted * shrink), dtype=np.int64)


def _tags(
    seed: int, group: int, service: int, account: int, count: int, offsets: tuple[int, ...]
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Tag value codes and whether each tag is there, both of shape (count, keys)."""
    random = rng(seed, "tags", group)
    where = org.ACCOUNTS[account]
    app = random.integers(0, len(org.APPS), count)
    team = (app * 7 + account) % (len(org.TEAMS) - len(org.HOSTILE_TEAMS))
    hostile = random.random(count) < 0.004
    pick = np.arange(count) % len(org.HOSTILE_TEAMS) + org.HOSTILE_TEAMS.start
    if SERVICES[service].name == HOSTILE_SERVICE:
        hostile[0], pick[0] = True, org.HOSTILE_TEAMS[account % len(org.HOSTILE_TEAMS)]
    team = np.where(hostile, pick, team)
    unit = org.UNITS.index(where.unit) if where.unit else 0
    values = np.stack(
        [
            team,
            np.full(count, org.ENVS.index(where.env)),
            app,
            (team * 3 + account) % len(org.CENTERS),
            random.integers(0, len(org.CREATORS), count),
            np.full(count, unit),
        ],
        axis=1,
    ) + np.array(offsets)
    tagged = hostile | (random.random(count) < SERVICES[service].tagged)
    present = tagged[:, None] & (random.random((count, 6)) < (0.93, 0.9, 0.8, 0.6, 0.85, 1.0))
    present[:, org.TAG_TEAM] |= hostile
    # A cost category is a rule on the account: it needs nobody to tag anything.
    present[:, org.TAG_UNIT] = where.unit is not None
    return values.astype(np.int32), present


def build(
    seed: int, groups: tuple[tuple[int, int], ...], rows_per_day: NDArray[np.float64]
) -> Pool:
    """The pool for groups that get so many rows a day, shape (groups,)."""
    lists = (org.TEAMS, org.ENVS, org.APPS, org.CENTERS, org.CREATORS, org.UNITS)
    offsets = tuple(int(n) for n in np.cumsum([0, *(len(values) for values in lists)])[:-1])
    size = _sizes(rows_per_day)
    start = np.concatenate([[0], np.cumsum(size)[:-1]])
    region, zone, weight, digits, values, present = [], [], [], [], [], []
    for group, (service, account) in enumerate(groups):
        random = rng(seed, "pool", group)
        count = int(size[group])
        places = org.ACCOUNTS[account].regions
        chance = np.array([0.7, 0.2, 0.1])[: len(places)]
        drawn = random.choice(places, count, p=chance / chance.sum())
        region.append(drawn if SERVICES[service].regional else np.full(count, org.GLOBAL))
        zone.append(random.integers(0, 3, count))
        weight.append(random.lognormal(0.0, 1.1, count))
        digits.append(random.integers(0, 2**63, count).astype(np.uint64))
        one, there = _tags(seed, group, service, account, count, offsets)
        values.append(one)
        present.append(there)
    there = np.concatenate(present)
    row, key = np.nonzero(there)
    return Pool(
        groups,
        start.astype(np.int64),
        size,
        np.concatenate(region).astype(np.int8),
        np.concatenate(zone).astype(np.int8),
        np.concatenate(weight),
        np.concatenate(digits),
        np.concatenate([[0], np.cumsum(there.sum(axis=1))]).astype(np.int64),
        key.astype(np.int32),
        np.concatenate(values)[row, key],
        tuple(value for values_ in lists for value in values_),
    )
