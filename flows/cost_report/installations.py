"""What carries the tag of an installation of Nightshift, by day and service.

tag_costs says what a tag costs in all; what an installation cost since it is there, and for what,
needs day and service as well. Only charges with this one tag are kept: a few a day.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flows.cost_report.batch import Batch
from flows.cost_report.exact import Ints, Mask
from flows.cost_report.group import Coded, Sums
from flows.cost_report.tables import COSTS, INSTALLATIONS, RollUp

# Every resource of an installation carries `nightshift`. FOCUS leaves the keys of people's tags as
# they are; AWS's exports have put `user:`, `user_` or `resourceTags/` before them
# (https://docs.aws.amazon.com/cur/latest/userguide/table-dictionary-cur2-tag-columns.html).
SPELLING = re.compile(r"(resourceTags/)?(user[:_])?nightshift")

# An account has an installation or a few. Somebody else's tag of this name may have many values,
# and every one would have to be held.
MOST = 100
OTHERS = "(more than 100 installations)"

KEYS = ("ChargeDate", "BillingCurrency", "TagKey", "TagValue", "ServiceName")


class InstallationSums:
    """Running sums by day, currency, spelling of the tag, installation and service."""

    def __init__(self) -> None:
        self._sums = Sums(KEYS, COSTS)
        self._seen: set[str] = set()

    def add(self, batch: Batch, days_of: Callable[[Ints], Coded], current: Mask | None) -> None:
        """Add a batch's charges that carry the tag; a batch without any costs nothing.

        `days_of`: instants as days. `current`: the rows that count, all if None.
        """
        tags = batch.tags
        if tags is None:
            return
        spelled = [name is not None and bool(SPELLING.fullmatch(name)) for name in tags.keys.values]
        if not any(spelled):
            return
        of_tag = np.repeat(np.arange(batch.rows), tags.lengths)
        chosen = np.array(spelled)[tags.keys.codes]
        if current is not None:
            chosen &= current[of_tag]
        count = int(np.count_nonzero(chosen))
        if not count:
            return
        rows = of_tag[chosen]  # a row that has the tag in two spellings is there twice
        keys = [
            days_of(batch.times["ChargePeriodStart"][rows]),
            _pick(batch.text("BillingCurrency"), rows),
            tags.keys.take(chosen),
            self._few(tags.values.take(chosen)),
            _pick(batch.text("ServiceName"), rows),
        ]
        costs = [batch.money[name].repeat(rows, sum(spelled)) for name in COSTS]
        self._sums.add_batch(keys, costs, count)

    def _few(self, values: Coded) -> Coded:
        """The same values, but for those beyond MOST."""
        texts: list[str | None] = [None] * len(values.values)
        for code in np.flatnonzero(np.bincount(values.codes, minlength=len(texts))):
            text = values.values[code] or ""
            if text in self._seen or len(self._seen) <= MOST:
                self._seen.add(text)
                texts[code] = text
            else:
                texts[code] = OTHERS
        return Coded(values.codes, texts)

    def table(self) -> pa.Table:
        """INSTALLATIONS. With too many values none is kept apart: which came first says nothing."""
        table = self._sums.table()
        if len(self._seen) > MOST:
            table = table.set_column(
                table.column_names.index("TagValue"),
                "TagValue",
                pa.array([OTHERS] * len(table), pa.string()),
            )
        return table.cast(INSTALLATIONS)


def _pick(column: Coded, rows: npt.NDArray[np.intp]) -> Coded:
    return Coded(column.codes[rows], column.values)


def unlike_tags(rollup: RollUp) -> Iterator[tuple[str, list[object], list[object]]]:
    """Where the installations do not add up to what tag_costs says of the same tag:
    (currency, ours, tag_costs').
    """
    ours = _by_key(rollup.installations)
    tagged = rollup.tags.filter(pc.is_valid(rollup.tags["TagValue"]))
    theirs = {key: sums for key, sums in _by_key(tagged).items() if SPELLING.fullmatch(key[1])}
    for key in sorted({*ours, *theirs}):
        if ours.get(key) != theirs.get(key):
            yield key[0], ours.get(key, []), theirs.get(key, [])


def _by_key(table: pa.Table) -> dict[tuple[str, str], list[object]]:
    names = ["RowCount", *COSTS]
    found = table.group_by(["BillingCurrency", "TagKey"], use_threads=False).aggregate(
        [(name, "sum") for name in names]
    )
    return {
        (row["BillingCurrency"] or "", row["TagKey"] or ""): [row[f"{name}_sum"] for name in names]
        for row in found.to_pylist()
    }
