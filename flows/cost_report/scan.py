"""One pass over the bill: every value checked, every rule counted, every cost added up exactly."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flows.cost_report import columns, exact, read
from flows.cost_report.batch import Batch
from flows.cost_report.exact import Ints, Mask
from flows.cost_report.group import Coded, Sums
from flows.cost_report.installations import InstallationSums, unlike_tags
from flows.cost_report.locate import HISTORY_PERIODS, Execution
from flows.cost_report.model import Total, Violation
from flows.cost_report.rules import ONE_CATEGORY, RULES, Rule
from flows.cost_report.tables import (
    COMMITMENT_KEYS,
    COMMITMENTS,
    COSTS,
    DAILY,
    DAILY_KEYS,
    RollUp,
)
from flows.cost_report.tagged import TagSums
from flows.cost_report.violations import (
    BrokenRules,
    absent_columns,
    gravest_first,
    several_categories,
)
from flows.problem import Problem

_DAY = 86_400_000  # milliseconds

Progress = Callable[[int, int], None]  # bytes read, bytes in all


@dataclass(frozen=True)
class Scan:
    """What reading a bill leaves. Totals are counted apart from the roll-ups, as their proof."""

    rollup: RollUp
    totals: tuple[Total, ...]
    other_periods: tuple[Total, ...]
    violations: tuple[Violation, ...]
    rules_checked: int
    rules_skipped: tuple[str, ...]
    columns: frozenset[str]
    rows: int
    files: int


def scan(
    execution: Execution, progress: Progress | None = None, rules: tuple[Rule, ...] = RULES
) -> Scan:
    """Read the execution's files once, in bounded memory, and hold every row against `rules`.

    A value that cannot be added up raises a Problem.
    """
    present = _present_columns(execution)
    checked = [rule for rule in rules if present.issuperset(rule.columns)]
    wanted = columns.ADDED_UP.union(*(rule.columns for rule in checked))
    reading = _Reading(execution.period, checked, execution.source)
    for batch in _batches(execution, wanted, progress):
        reading.add(batch)
    return reading.result(present, len(execution.files))


def roll_up_days(execution: Execution, progress: Progress | None = None) -> pa.Table:
    """The daily roll-up alone, of an earlier period that has no report: DAILY."""
    _present_columns(execution)
    daily = _Days(execution.period)
    for batch in _batches(execution, {*columns.REQUIRED, *DAILY_KEYS}, progress):
        daily.add(batch)
    return daily.tables()[0]


def prove(scan: Scan) -> None:
    """Refuse to go on unless the roll-up adds up to the bill, to the last digit and row."""
    found = scan.rollup.daily.group_by("BillingCurrency").aggregate(
        [(name, "sum") for name in ("RowCount", *COSTS)]
    )
    rolled = {row["BillingCurrency"]: row for row in found.to_pylist()}
    for total in scan.totals:
        row = rolled.pop(total.currency, {})
        sums = [row.get(f"{name}_sum") for name in ("RowCount", *COSTS)]
        costs = [total.billed_cost, total.effective_cost, total.list_cost, total.contracted_cost]
        if sums != [total.rows, *costs]:
            raise _unequal(total.currency, sums, [total.rows, *costs])
    if rolled:
        raise _unequal(next(iter(rolled)), list(rolled.values()), [])
    for currency, mine, tagged in unlike_tags(scan.rollup):
        raise _unequal(currency, mine, tagged)


def with_history(rollup: RollUp, tables: list[pa.Table]) -> RollUp:
    """The roll-up with the days of earlier months beside those that its own files held."""
    history = pa.concat_tables([*reversed(tables), rollup.history])
    return replace(rollup, history=history)


def _unequal(currency: str, rolled: list[object], bill: list[object]) -> Problem:
    return Problem(
        "the roll-up does not add up to the bill: nothing is published",
        where={"currency": currency},
        value=f"roll-up {', '.join(map(str, rolled))}; bill {', '.join(map(str, bill))}",
        fix="this is a fault of the job: please report it with the bill's format and columns",
    )


def _batches(
    execution: Execution, wanted: Collection[str], progress: Progress | None
) -> Iterable[Batch]:
    before = 0
    for file in execution.files:
        for batch in read.batches(file, wanted):
            yield batch
            if progress:
                progress(before + int(file.size * min(batch.place.part, 1)), execution.bytes)
        before += file.size


def _present_columns(execution: Execution) -> frozenset[str]:
    """The FOCUS names of the columns that any file has; every file must have the required ones."""
    focus = {name.lower(): name for name in (*columns.WANTED, *columns.MANDATORY)}
    present: set[str] = set()
    for file in execution.files:
        names = read.column_names(file)
        here = {focus.get(name.lower(), name) for name in names}
        missing = [name for name in columns.REQUIRED if name not in here]
        if missing:
            raise Problem(
                "the bill lacks a column that totals need",
                where={"file": file.address, "column": ", ".join(missing)},
                detail=f"the file has {len(names)} columns: {', '.join(names[:6])}, …",
                fix="export FOCUS 1.0 to 1.2 with all columns",
            )
        present |= here
    return frozenset(present)


class _Days:
    """The daily roll-up of every billing period that the rows name."""

    def __init__(self, period: str) -> None:
        self.period = period
        self.sums = Sums(["BillingPeriod", "ChargeDate", *DAILY_KEYS], COSTS)

    def add(self, batch: Batch) -> Coded:
        """Add a batch; returns the billing period of its rows."""
        months = _by_span(batch.times["BillingPeriodStart"], "M")
        days = _days(batch.times["ChargePeriodStart"])
        keys = [months, days, *(batch.text(name) for name in DAILY_KEYS)]
        self.sums.add_batch(keys, [batch.money[name] for name in COSTS], batch.rows)
        return months

    def tables(self) -> tuple[pa.Table, pa.Table]:
        """DAILY of the period, and of the HISTORY_PERIODS before it."""
        table = self.sums.table()
        period = table["BillingPeriod"]
        oldest = str(np.datetime64(self.period, "M") - HISTORY_PERIODS)
        earlier = pc.and_(pc.less(period, self.period), pc.greater_equal(period, oldest))
        return tuple(
            table.filter(rows).drop_columns("BillingPeriod").cast(DAILY)
            for rows in (pc.equal(period, self.period), earlier)
        )


class _Reading:
    """The running state of one pass."""

    def __init__(self, period: str, rules: list[Rule], source: str) -> None:
        self.period = period
        self.source = source
        self.broken = BrokenRules(rules)
        self.days = _Days(period)
        self.tags = TagSums()
        self.commitments = Sums(COMMITMENT_KEYS, COSTS)
        self.installations = InstallationSums()
        self.totals: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0] * 9)

    def add(self, batch: Batch) -> None:
        months = self.days.add(batch)
        current = months.where(np.array([month == self.period for month in months.values]))
        all_current = bool(current.all())
        self._add_totals(batch, months)
        self.broken.add(batch, None if all_current else current)
        self._add_tags(batch, None if all_current else current)
        self.installations.add(batch, _days, None if all_current else current)
        self._add_commitments(batch, current)

    def _add_totals(self, batch: Batch, months: Coded) -> None:
        currency = batch.text("BillingCurrency")
        for month in np.flatnonzero(np.bincount(months.codes)):
            for code in np.flatnonzero(np.bincount(currency.codes)):
                rows = (months.codes == month) & (currency.codes == code)
                count = int(np.count_nonzero(rows))
                if not count:
                    continue
                total = self.totals[months.values[month] or "", currency.values[code] or ""]
                total[0] += count
                for i, name in enumerate(COSTS):
                    money = batch.money[name]
                    money = money if count == batch.rows else money.take(rows)
                    total[1 + i] += exact.total(money)
                    total[5 + i] += 0 if money.null is None else int(money.null.sum())

    def _add_tags(self, batch: Batch, current: Mask | None) -> None:
        currency, category = batch.text("BillingCurrency"), batch.text("ChargeCategory")
        costs, tags = [batch.money[name] for name in COSTS], batch.tags
        rows = batch.rows
        if current is not None:
            currency, category = currency.take(current), category.take(current)
            costs = [money.take(current) for money in costs]
            tags = tags and tags.take(current)
            rows = int(np.count_nonzero(current))
        self.tags.add_batch(currency, category, tags, costs, rows)

    def _add_commitments(self, batch: Batch, current: Mask) -> None:
        chosen = current & ~batch.text("CommitmentDiscountId").null
        count = int(np.count_nonzero(chosen))
        if count:
            keys = [batch.text(name).take(chosen) for name in COMMITMENT_KEYS]
            costs = [batch.money[name].take(chosen) for name in COSTS]
            self.commitments.add_batch(keys, costs, count)

    def result(self, present: frozenset[str], files: int) -> Scan:
        daily, history = self.days.tables()
        rollup = RollUp(
            daily,
            self.tags.table(),
            self.commitments.table().cast(COMMITMENTS),
            history,
            self.installations.table(),
        )
        totals = _totals({k: v for k, v in self.totals.items() if k[0] == self.period})
        others = _totals({k: v for k, v in self.totals.items() if k[0] != self.period})
        rows = sum(total.rows for total in totals)
        if others and not rows:
            periods = sorted({period for period, _ in self.totals})
            raise Problem(
                "the bill has no data for this billing period",
                where={"bill": self.source},
                value=self.period,
                detail=f"it has {', '.join(periods)}",
                fix=f"name one of them: PERIOD={periods[-1]}",
            )
        broken = [*self.broken.violations(), *absent_columns(present), *several_categories(daily)]
        every = (*RULES, ONE_CATEGORY)
        skipped = tuple(rule.id for rule in every if not present.issuperset(rule.columns))
        return Scan(
            rollup,
            totals,
            others,
            tuple(sorted(broken, key=gravest_first)),
            len(every) - len(skipped),
            skipped,
            present,
            rows,
            files,
        )


def _days(instants: Ints) -> Coded:
    return _by_span(instants, "D")


def _by_span(instants: Ints, unit: Literal["D", "M"]) -> Coded:
    """Instants (milliseconds) as codes of the days or months they fall in, UTC."""
    if not instants.size:
        return Coded(np.zeros(0, dtype=np.int32), [None])
    if unit == "M" and (instants == instants[0]).all():  # nearly always, and four times as fast
        month = str(instants[0].astype("datetime64[ms]").astype("datetime64[M]"))
        return Coded.constant(month, instants.size)
    if unit == "D":
        spans = instants // _DAY
    else:
        spans = instants.astype("datetime64[ms]").astype("datetime64[M]").astype(np.int64)
    first, last = int(spans.min()), int(spans.max())
    names = np.arange(first, last + 1).astype(f"datetime64[{unit}]").astype(str)
    return Coded((spans - (first - 1)).astype(np.int32), [None, *names.tolist()])


def _totals(sums: dict[tuple[str, str], list[int]]) -> tuple[Total, ...]:
    """The totals per currency, over the billing periods in `sums`."""
    currencies: dict[str, list[int]] = {}
    for (_, currency), counts in sorted(sums.items()):
        before = currencies.get(currency, [0] * len(counts))
        currencies[currency] = [a + b for a, b in zip(before, counts, strict=True)]
    return tuple(_total(currency, *counts) for currency, counts in currencies.items())


def _total(currency: str, rows: int, *counts: int) -> Total:
    billed, effective, listed, contracted = (exact.amount(units) for units in counts[:4])
    nulls = dict(zip(COSTS, counts[4:], strict=True))
    return Total(currency, rows, billed, effective, listed, contracted, nulls)
