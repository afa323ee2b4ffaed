"""Anomalies with a known answer.

The sizes are what a FinOps engineer would want a message about, whatever detector is used: at
least 100 USD on its worst day (a person's attention costs about that much) and clearly outside
what the service does anyway. They are chosen from practice, not tuned to any detector:

kind         what happens                                      size on its worst day
spike        one day: a runaway query, a load test left on     70-250 % of the service, >= 150 USD
step         4-10 days: a deployment that doubles a fleet      40-110 % of the service, >= 100 USD
new-service  a service nobody used, for 8-20 days: a trial      110-320 USD a day
runaway      an account, all services, 3-7 days: leaked key    70-180 % of the account, >= 200 USD
leak         14-24 days, growing evenly: logs, snapshots       50-100 % of the service, >= 100 USD

Days differ by up to 10 %. An anomaly starts no earlier than day 28 of the data (no baseline before
that) and not in its first month. On one service, and on an account that runs away, at most one
happens within a week; when a month has no room for another, it has fewer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from flows.sample_bill.catalog import SERVICES
from flows.sample_bill.draw import rng
from flows.sample_bill.options import Options, Period, periods
from flows.sample_bill.organisation import ACCOUNTS

Floats = NDArray[np.float64]

# Days from the first to the last, at least and at most.
LENGTHS = {
    "spike": (1, 1),
    "step": (4, 10),
    "new-service": (8, 20),
    "runaway": (3, 7),
    "leak": (14, 24),
}
# At least so many USD on the worst day; from and to which multiple of the usual cost of a day
# (new-service has no usual cost: up to so many USD).
SIZES = {
    "spike": (150.0, 0.7, 2.5),
    "step": (100.0, 0.4, 1.1),
    "new-service": (110.0, 0.0, 320.0),
    "runaway": (200.0, 0.7, 1.8),
    "leak": (100.0, 0.5, 1.0),
}
KINDS = tuple(LENGTHS)
QUIET_DAYS = 28
GAP_DAYS = 7


@dataclass(frozen=True)
class Anomaly:
    """`extra`: USD a day above the ordinary, one entry per day from `first_day` to `last_day`.

    `service` is None when all services of the account are meant. `usual`: USD a day of what is
    named (the service over all accounts, or the account) in the four weeks before the month.
    """

    kind: str
    service: str | None
    account: str
    first_day: date
    last_day: date
    extra: tuple[float, ...]
    usual: float

    @property
    def extra_effective_cost(self) -> float:
        return round(sum(self.extra), 2)


@dataclass(frozen=True)
class _Place:
    """Where an anomaly sits: days from `start`, on `service` (None: all) of `account`.

    `length`: days it would last; `days`: those of them that lie within the data.
    """

    start: int
    length: int
    days: int
    service: int | None
    account: int


def _clash(place: _Place, taken: list[_Place]) -> bool:
    """Two anomalies at once on one service, or on an account as a whole, have no one answer."""
    for other in taken:
        apart = (
            place.start >= other.start + other.days + GAP_DAYS
            or other.start >= place.start + place.days + GAP_DAYS
        )
        same_service = place.service is not None and place.service == other.service
        whole = place.service is None or other.service is None
        if not apart and (same_service or (whole and place.account == other.account)):
            return True
    return False


def _place(
    kind: str, cost: Floats, usual: Floats, month: Period, random: np.random.Generator
) -> _Place | None:
    """A random place for an anomaly of this kind, or None when the draw does not suit.

    `usual`: ordinary USD a day, shape (services, accounts); of `cost` (services, accounts, days)
    it matters only which services nobody uses.
    """
    earliest = max(month.first_index, QUIET_DAYS)
    start = int(random.integers(earliest, month.first_index + month.days))
    low, high = LENGTHS[kind]
    length = int(random.integers(low, high + 1))
    days = min(length, cost.shape[2] - start)
    service: int | None = None
    if kind == "new-service":
        asleep = [i for i in range(len(SERVICES)) if not cost[i].any()]
        if not asleep:
            return None
        service = int(random.choice(asleep))
        account = int(random.integers(0, len(ACCOUNTS)))
    elif kind == "runaway":
        # Leaked keys are found where few look: not in the biggest production accounts.
        small = [a for a in range(len(ACCOUNTS)) if 60 < usual[:, a].sum() < 500]
        if not small:
            return None
        account = int(random.choice(small))
    else:
        # What happens to a service of less than 60 USD a day is not worth a message.
        service = int(random.choice(np.flatnonzero(usual.sum(axis=1) > 60)))
        account = int(random.choice(np.flatnonzero(usual[service])))
    return _Place(start, length, days, service, account)


def _extra(kind: str, place: _Place, usual: float, random: np.random.Generator) -> Floats:
    """USD above the ordinary for each day of the anomaly, in whole cents."""
    least, low, high = SIZES[kind]
    size = max(least, usual * random.uniform(low, high))
    if kind == "new-service":
        size = random.uniform(least, high)
    growing = np.arange(1, place.length + 1) / place.length if kind == "leak" else 1.0
    by_day = size * random.uniform(1.0, 1.1, place.length) * growing
    return np.asarray(np.round(by_day[: place.days], 2))


def _add(cost: Floats, place: _Place, extra: Floats) -> None:
    days = slice(place.start, place.start + place.days)
    if place.service is not None:
        cost[place.service, place.account, days] += extra
        return
    # A runaway account grows in everything it uses, in proportion.
    mix = cost[:, place.account, days]
    cost[:, place.account, days] += mix / mix.sum(axis=0) * extra


def inject(options: Options, cost: Floats) -> tuple[Floats, tuple[Anomaly, ...]]:
    """The cost with anomalies, and what was added. Shape (services, accounts, days)."""
    cost = cost.copy()
    ordinary = cost.copy()
    months = periods(options)
    taken: list[_Place] = []
    found: list[Anomaly] = []
    for month in months[1:]:
        random = rng(options.seed, "anomalies", month.first.toordinal())
        before = slice(max(0, month.first_index - QUIET_DAYS), month.first_index)
        usual = ordinary[:, :, before].mean(axis=2)
        kinds = list(random.permutation(KINDS))
        for number in range(options.anomalies):
            kind = str(kinds[number % len(kinds)])
            place = None
            for _ in range(200):
                drawn = _place(kind, cost, usual, month, random)
                if drawn is not None and not _clash(drawn, taken):
                    place = drawn
                    break
            if place is None:
                continue
            taken.append(place)
            named = usual[:, place.account] if place.service is None else usual[place.service]
            level = float(named.sum())
            extra = _extra(kind, place, level, random)
            _add(cost, place, extra)
            first = months[0].first + timedelta(days=place.start)
            found.append(
                Anomaly(
                    kind=kind,
                    service=None if place.service is None else SERVICES[place.service].name,
                    account=ACCOUNTS[place.account].id,
                    first_day=first,
                    last_day=first + timedelta(days=place.days - 1),
                    extra=tuple(float(value) for value in extra),
                    usual=round(level, 2),
                )
            )
    return cost, tuple(sorted(found, key=lambda a: (a.first_day, a.kind, a.account)))


def visible(anomalies: tuple[Anomaly, ...], last: date) -> tuple[Anomaly, ...]:
    """What a bill that ends with the day `last` can show of the anomalies."""
    shown: list[Anomaly] = []
    for a in anomalies:
        if a.first_day <= last:
            end = min(a.last_day, last)
            extra = a.extra[: (end - a.first_day).days + 1]
            shown.append(Anomaly(a.kind, a.service, a.account, a.first_day, end, extra, a.usual))
    return tuple(shown)
