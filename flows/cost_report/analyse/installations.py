"""What installations of Nightshift cost, next to what was predicted for a month.

A month is reckoned from the complete days since an installation's first charge: their mean, times
the days of the month. Linear, because there is no more to a few cents a day than that; and a whole
month, so that one that began on the 20th can be held against a prediction.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import cast

import pyarrow as pa

from flows.cost_report.analyse.days import Days
from flows.cost_report.analyse.sums import ZERO, between, sums_of, text, where
from flows.cost_report.model import Installation, InstallationService
from flows.cost_report.predicted import Prediction

ESTIMATE = Decimal("0.000001")
PREDICTED_IN = "USD"

# Names of one service: AWS's bills keep old ones ("Amazon EC2 Container Registry (ECR)"), and
# Fargate's hours and a VPC's addresses are on the lines of what they are part of.
_SAME = {
    "cloudwatch logs": "cloudwatch",
    "ec2 container registry": "ecr",
    "ecs": "elastic container service",
    "elastic container registry": "ecr",
    "fargate": "elastic container service",
    "s3": "simple storage service",
    "simple notification service": "sns",
    "virtual private cloud": "vpc",
}


@dataclass(frozen=True)
class _Rate:
    """The days that an installation's rate is taken from."""

    first: date
    last: date
    in_month: int

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    def a_month(self, cost: Decimal) -> Decimal:
        return (cost * self.in_month / self.days).quantize(ESTIMATE)


def installations(
    tagged: pa.Table, days: Days, currency: str, prediction: Prediction | None
) -> list[Installation]:
    """Each installation that the charges of one currency (INSTALLATIONS) name, the dearest first;
    then the one that was predicted, if none of them is it.
    """
    predicted = prediction if currency == PREDICTED_IN else None
    found = [
        _installation(of_one, days, currency, key, name, _if_of(predicted, name))
        for key, name, of_one in _each(tagged)
    ]
    found.sort(key=lambda one: (-one.effective_cost, one.name))
    if predicted and not any(one.name == predicted.installation for one in found):
        found.append(_uncharged(currency, predicted))
    return found


def _each(tagged: pa.Table) -> list[tuple[str, str, pa.Table]]:
    """(spelling of the tag, installation, its charges). One spelling, that of the most charges: a
    charge with two must not count twice.
    """
    rows = tagged.group_by("TagKey", use_threads=False).aggregate([("RowCount", "sum")])
    counted = [(-row["RowCount_sum"], row["TagKey"]) for row in rows.to_pylist()]
    if not counted:
        return []
    key = min(counted)[1]
    mine = where(tagged, TagKey=key)
    names = sorted({text(name) for name in mine["TagValue"].to_pylist()})
    return [(key, name, where(mine, TagValue=name)) for name in names]


def _if_of(prediction: Prediction | None, name: str) -> Prediction | None:
    return prediction if prediction and prediction.installation == name else None


def _installation(
    tagged: pa.Table, days: Days, currency: str, key: str, name: str, predicted: Prediction | None
) -> Installation:
    rate = _rate(tagged, days)
    services = _services(tagged, rate, predicted.services if predicted else {})
    a_month = sum((one.a_month or ZERO for one in services), ZERO) if rate else None
    total = predicted.monthly_total if predicted else None
    inside = _days_of(tagged, days)
    return Installation(
        currency=currency,
        name=name,
        tag_key=key,
        effective_cost=sum((one.effective_cost for one in services), ZERO),
        first_day=min(inside, default=None),
        days=rate.days if rate else 0,
        a_month=a_month,
        predicted=total,
        difference=_less(a_month, total),
        prices_as_of=predicted.prices_as_of if predicted else "",
        services=services,
    )


def _uncharged(currency: str, predicted: Prediction) -> Installation:
    """One that was predicted, and that no charge names."""
    services = tuple(
        InstallationService(name, ZERO, None, cost, None)
        for name, cost in sorted(predicted.services.items(), key=lambda item: (-item[1], item[0]))
    )
    return Installation(
        currency=currency,
        name=predicted.installation,
        tag_key="",
        effective_cost=ZERO,
        first_day=None,
        days=0,
        a_month=None,
        predicted=predicted.monthly_total,
        difference=None,
        prices_as_of=predicted.prices_as_of,
        services=services,
    )


def _rate(tagged: pa.Table, days: Days) -> _Rate | None:
    inside = _days_of(tagged, days)
    if not inside or days.complete is None or min(inside) > days.complete:
        return None
    return _Rate(min(inside), days.complete, days.in_month)


def _days_of(tagged: pa.Table, days: Days) -> set[date]:
    charged = between(tagged, days.first, days.last)["ChargeDate"].to_pylist()
    return {cast(date, day) for day in charged}


def _services(
    tagged: pa.Table, rate: _Rate | None, predicted: Mapping[str, Decimal]
) -> tuple[InstallationService, ...]:
    """By service, the dearest first; predicted services that the bill does not name come last."""
    so_far = sums_of(tagged, ["ServiceName"], "EffectiveCost")
    complete = between(tagged, rate.first, rate.last) if rate else tagged.slice(0, 0)
    at_rate = sums_of(complete, ["ServiceName"], "EffectiveCost")
    expected = _by_service(predicted)
    found = []
    for (service,), cost in sorted(so_far.items(), key=lambda it: (-it[1], text(it[0][0]))):
        a_month = rate.a_month(at_rate.get((service,), ZERO)) if rate else None
        _, due = expected.pop(_service(text(service)), ("", None))
        found.append(InstallationService(text(service), cost, a_month, due, _less(a_month, due)))
    nothing = ZERO if rate else None
    for name, due in sorted(expected.values(), key=lambda item: (-item[1], item[0])):
        found.append(InstallationService(name, ZERO, nothing, due, _less(nothing, due)))
    return tuple(found)


def _by_service(predicted: Mapping[str, Decimal]) -> dict[str, tuple[str, Decimal]]:
    """{a service however it is spelled: (its first name, USD a month)}."""
    found: dict[str, tuple[str, Decimal]] = {}
    for name, cost in predicted.items():
        first, before = found.get(_service(name), (name, ZERO))
        found[_service(name)] = first, before + cost
    return found


def _service(name: str) -> str:
    """A service's name without what its spellings differ in."""
    plain = re.sub(r"\(.*?\)", "", name.casefold())
    plain = re.sub(r"^\s*(amazon|aws)\s*", "", plain)
    plain = " ".join(plain.split())
    return _SAME.get(plain, plain)


def _less(a_month: Decimal | None, predicted: Decimal | None) -> Decimal | None:
    return None if a_month is None or predicted is None else a_month - predicted
