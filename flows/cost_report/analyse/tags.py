"""Tag coverage: how much of the usage carries each tag key."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from flows.cost_report.analyse.sums import ZERO, sums_of, text, total
from flows.cost_report.model import TagCoverage
from flows.cost_report.tagged import OTHER_VALUES

TOP = 10  # dearest values named per key


def tag_coverage(tags: pa.Table, daily: pa.Table, currency: str) -> list[TagCoverage]:
    """Per key, over the effective cost of Usage rows; the best covered key first."""
    used = tags.filter(pc.equal(tags["ChargeCategory"], "Usage"))
    usage = total(daily.filter(pc.equal(daily["ChargeCategory"], "Usage")), "EffectiveCost")
    values: dict[str, dict[str, Decimal]] = defaultdict(dict)
    for (key, value), cost in sums_of(used, ["TagKey", "TagValue"], "EffectiveCost").items():
        if key is not None and value is not None:
            values[text(key)][text(value)] = cost
    found = [_key(currency, key, values[key], usage) for key in values]
    return sorted(found, key=lambda tag: (-tag.tagged, tag.key))


def _key(currency: str, key: str, values: dict[str, Decimal], usage: Decimal) -> TagCoverage:
    tagged = sum(values.values(), ZERO)
    dearest = sorted(values.items(), key=lambda item: (-item[1], item[0]))
    return TagCoverage(
        currency=currency,
        key=key,
        tagged=tagged,
        untagged=usage - tagged,
        coverage=min(max(float(tagged / usage), 0.0), 1.0) if usage else 0.0,
        values=len(values),
        top=tuple(dearest[:TOP]),
        truncated=OTHER_VALUES in values,
    )
