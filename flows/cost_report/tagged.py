"""Cost per tag key and value, exactly, although a row has many tags.

Keys and values come as codes, so a batch is summed by those; a pair's texts are looked at once per
batch.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa

from flows.cost_report import exact
from flows.cost_report.batch import Tags
from flows.cost_report.exact import Ints, Money
from flows.cost_report.group import Coded, Codes, Partial, Sums, group
from flows.cost_report.tables import COSTS, TAGS

# A key with more values than this tells resources apart rather than owners: its values are not kept
# apart. Every value would have to be held, and which ones are dearest is not known before the end.
# AWS allows 500 cost allocation tag keys.
MOST_VALUES = 10_000
OTHER_VALUES = "(more than 10,000 values)"


class TagSums:
    """Running sums by currency, charge category, tag key and tag value."""

    def __init__(self) -> None:
        self._sums = Sums(["BillingCurrency", "ChargeCategory", "TagKey", "TagValue"], COSTS)
        self._known: dict[tuple[str, str], tuple[int, int]] = {}  # not of keys that are wide
        self._counts: Counter[str] = Counter()  # values per key
        self._wide: set[str] = set()

    def add_batch(
        self, currency: Coded, category: Coded, tags: Tags | None, costs: list[Money], rows: int
    ) -> None:
        of_row = group([(coded.codes, len(coded.values)) for coded in (currency, category)], rows)
        recoded = [
            interner.recode(codes, coded.values)
            for interner, coded, codes in zip(
                self._sums.interners, (currency, category), of_row.codes, strict=False
            )
        ]
        # Every row once, under no key: what a key leaves out is told from it at the end.
        nothing = np.zeros(of_row.count, dtype=np.int32)
        counts = np.bincount(of_row.of_row, minlength=of_row.count)
        sums = np.stack([exact.sum_by(cost, of_row.of_row, of_row.count) for cost in costs])
        self._sums.add(Partial([*recoded, nothing, nothing], counts, sums))
        if tags is None or not tags.keys.codes.size:
            return

        row = np.repeat(np.arange(rows), tags.lengths)
        keys = [(coded.codes, len(coded.values)) for coded in (tags.keys, tags.values)]
        of_tag = group([(of_row.of_row.take(row), of_row.count), *keys], len(row))
        member, *pairs = of_tag.codes
        counts = np.bincount(of_tag.of_row, minlength=of_tag.count)
        most = int(tags.lengths.max())
        sums = np.stack(
            [exact.sum_by(cost.repeat(row, most), of_tag.of_row, of_tag.count) for cost in costs]
        )
        codes = [*(codes[member] for codes in recoded), *self._interned(tags, *pairs)]
        self._sums.add(Partial(codes, counts, sums))

    def _interned(self, tags: Tags, keys: Ints, values: Ints) -> tuple[Codes, Codes]:
        """The codes of a batch's keys and values in those of the whole bill."""
        names, texts = tags.keys.values, tags.values.values
        codes = np.zeros((2, len(keys)), dtype=np.int32)
        for i, (key, value) in enumerate(zip(keys.tolist(), values.tolist(), strict=True)):
            pair = names[key] or "", texts[value] or ""
            codes[:, i] = self._known.get(pair) or self._learn(*pair)
        return codes[0], codes[1]

    def _learn(self, key: str, value: str) -> tuple[int, int]:
        """Codes for a pair not seen before, and for those of keys with too many values."""
        keys, values = self._sums.interners[2:]
        if key not in self._wide:
            self._counts[key] += 1
            if self._counts[key] <= MOST_VALUES:
                found = self._known[key, value] = keys.code(key), values.code(value)
                return found
            self._wide.add(key)
            self._known = {pair: codes for pair, codes in self._known.items() if pair[0] != key}
        return keys.code(key), values.code(OTHER_VALUES)

    def table(self) -> pa.Table:
        """TAGS: a line per value, and one with a null TagValue for what does not carry the key."""
        keys, values = self._sums.interners[2:]
        merged = self._sums.merge()
        currency, category, key, value = merged.codes
        wide = np.isin(key, [keys.code(name) for name in self._wide])
        value = np.where(wide, values.code(OTHER_VALUES), value).astype(np.int32)

        final = Sums(["BillingCurrency", "ChargeCategory", "TagKey", "TagValue"], COSTS)
        final.interners = self._sums.interners
        tagged = key > 0
        final.add(
            Partial(
                [codes[tagged] for codes in (currency, category, key, value)],
                merged.rows[tagged],
                merged.sums[:, :, tagged],
            )
        )
        # Untagged = every row - those that carry the key; so per key: add all, subtract the tagged.
        every = ~tagged
        for code in range(1, len(keys.values)):
            mine = key == code
            lines = np.flatnonzero(every | mine)
            sign = np.where(every[lines], 1, -1)
            final.add(
                Partial(
                    [
                        currency[lines],
                        category[lines],
                        np.full(len(lines), code, dtype=np.int32),
                        np.zeros(len(lines), dtype=np.int32),
                    ],
                    merged.rows[lines] * sign,
                    merged.sums[:, :, lines] * sign,
                )
            )
        table = final.table()
        present = pa.array(np.asarray(table["RowCount"]) != 0)
        return table.filter(present).cast(TAGS)
