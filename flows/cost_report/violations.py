"""What breaks the rules of FOCUS: counted over all batches, with the first row as a sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flows.cost_report import columns
from flows.cost_report.batch import Batch
from flows.cost_report.exact import Mask
from flows.cost_report.model import Violation
from flows.cost_report.rules import ONE_CATEGORY, Rule


class BrokenRules:
    """Running counts of the rows that break each rule."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._counts: Counter[str] = Counter()
        self._samples: dict[str, Violation] = {}

    def add(self, batch: Batch, among: Mask | None) -> None:
        """Hold a batch against every rule; only the rows of `among` count, all if None."""
        for rule in self._rules:
            if not batch.has(rule.columns):
                continue  # another file has them
            broken = rule.broken(batch)
            broken = broken if among is None else broken & among
            count = int(np.count_nonzero(broken))
            if not count:
                continue
            self._counts[rule.id] += count
            if rule.id not in self._samples:
                self._samples[rule.id] = _sample(rule, batch, int(np.argmax(broken)))

    def violations(self) -> Iterator[Violation]:
        for rule, sample in self._samples.items():
            yield replace(sample, count=self._counts[rule])


def _sample(rule: Rule, batch: Batch, row: int) -> Violation:
    return Violation(
        rule.id,
        rule.section,
        rule.severity,
        rule.summary,
        1,
        batch.place.file,
        batch.place.first_row + row + 1,
        {name: batch.cell(name, row) for name in rule.columns},
    )


def gravest_first(violation: Violation) -> tuple[int, int, str]:
    """The order in which people read them."""
    order = ("blocking", "error", "warning")
    return order.index(violation.severity), -violation.count, violation.rule


def absent_columns(present: frozenset[str]) -> Iterable[Violation]:
    for name in columns.MANDATORY:
        if name not in present:
            summary = f"{name}, a column that FOCUS always has, is absent"
            yield Violation(f"{name}-absent", name, "error", summary, 1, "", 0, {})


def several_categories(daily: pa.Table) -> Iterable[Violation]:
    """Services that the roll-up shows in more than one category."""
    names = daily.filter(pc.is_valid(daily["ServiceName"]))
    pairs = names.group_by(["ServiceName", "ServiceCategory"]).aggregate([("RowCount", "sum")])
    several = [
        row
        for row in pairs.group_by("ServiceName")
        .aggregate([("ServiceCategory", "count_distinct"), ("RowCount_sum", "sum")])
        .sort_by("ServiceName")
        .to_pylist()
        if row["ServiceCategory_count_distinct"] > 1
    ]
    if several:
        first = several[0]["ServiceName"]
        categories = pairs.filter(pc.equal(pairs["ServiceName"], first))["ServiceCategory"]
        rule = ONE_CATEGORY
        yield Violation(
            rule.id,
            rule.section,
            rule.severity,
            rule.summary,
            sum(row["RowCount_sum_sum"] for row in several),
            "",
            0,
            {
                "ServiceName": first,
                "ServiceCategory": ", ".join(sorted(filter(None, categories.to_pylist()))),
            },
        )
