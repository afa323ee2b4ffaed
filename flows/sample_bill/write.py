"""Files: Parquet and CSV with the same bytes for the same tables."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import IO, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from flows.sample_bill import columns
from flows.sample_bill.options import Focus, Format, Options

SUFFIX: dict[Format, str] = {"parquet": "snappy.parquet", "csv.gz": "csv.gz", "csv": "csv"}
PLACES = 10
# Every Parquet column but those whose values hardly repeat.
DICTIONARY_COLUMNS = [
    f"{name}.key_value.{part}" if pa.types.is_map(kind) else name
    for version in get_args(Focus)
    for name, kind in zip(columns.names(version), columns.schema(version).types, strict=True)
    for part in ("key", "value")
    if name
    not in (
        "ResourceId",
        "BilledCost",
        "ContractedCost",
        "EffectiveCost",
        "ListCost",
        "PricingCurrencyEffectiveCost",
        "ConsumedQuantity",
        "PricingQuantity",
    )
]


def atomically(path: Path, text: str) -> None:
    """A reader sees the whole file or none of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.part")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


class Sink:
    """One data file being written."""

    def __init__(self, path: Path, options: Options, schema: pa.Schema) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._format = options.format
        self._rows = options.row_group_rows
        if options.format == "parquet":
            # Without store_schema a reader gets plain strings, as from AWS, not our dictionaries.
            self._parquet = pa.parquet.ParquetWriter(
                path,
                schema,
                compression="snappy",
                store_schema=False,
                use_dictionary=DICTIONARY_COLUMNS,
            )
            return
        self._raw: IO[bytes] = path.open("wb")
        self._file: IO[bytes] = self._raw
        if options.format == "csv.gz":
            # mtime 0 and no name: nothing in the header that differs between two runs.
            self._file = gzip.GzipFile("", "wb", 6, self._raw, mtime=0)  # type: ignore[assignment]
        names = columns.names(options.focus)
        self._file.write((",".join(f'"{name}"' for name in names) + "\n").encode())

    def write(self, table: pa.Table) -> None:
        if self._format == "parquet":
            self._parquet.write_table(table, row_group_size=self._rows)
            return
        pa.csv.write_csv(
            text_table(table),
            self._file,
            pa.csv.WriteOptions(include_header=False, quoting_style="needed"),
        )

    def close(self) -> None:
        if self._format == "parquet":
            self._parquet.close()
            return
        self._file.close()
        self._raw.close()


def decimal_texts(numbers: NDArray[np.float64], null: NDArray[np.bool_]) -> pa.Array:
    """Fixed-point text with ten decimals, never an exponent: 0.0000004000."""
    size = np.abs(np.where(null, 0.0, numbers))
    whole = np.floor(size)
    fraction = np.rint((size - whole) * 10**PLACES).astype(np.int64)
    carry = fraction == 10**PLACES
    whole = (whole + carry).astype(np.int64)
    fraction = np.where(carry, 0, fraction)
    digits = np.empty((len(size), PLACES), dtype=np.uint8)
    for place in range(PLACES - 1, -1, -1):
        fraction, digits[:, place] = np.divmod(fraction, 10)
    digits += ord("0")
    offsets = np.arange(len(size) + 1, dtype=np.int32) * PLACES
    behind = pa.StringArray.from_buffers(len(size), pa.py_buffer(offsets), pa.py_buffer(digits))
    before = pa.array(whole, mask=null).cast(pa.string())
    text = pc.binary_join_element_wise(before, behind, ".")
    below = pa.array((numbers < 0) & ~null)
    return pc.if_else(below, pc.binary_join_element_wise("-", text, ""), text)


def _json_texts(column: pa.ChunkedArray) -> pa.Array:
    """Maps as JSON objects. Python sees each distinct pair once; Arrow puts them together."""
    maps = pa.concat_arrays(column.chunks)
    keys, items = (
        part if pa.types.is_dictionary(part.type) else part.dictionary_encode()
        for part in (maps.keys, maps.items)
    )
    width = max(1, len(items.dictionary))
    pair = keys.indices.to_numpy().astype(np.int64) * width + items.indices.to_numpy()
    distinct, code = np.unique(pair, return_inverse=True)
    names, values = keys.dictionary.to_pylist(), items.dictionary.to_pylist()
    texts = [
        json.dumps({names[one // width]: values[one % width]}, ensure_ascii=False)[1:-1]
        for one in distinct.tolist()
    ]
    members = pa.array(texts, pa.string()).take(pa.array(code))
    joined = pc.binary_join(pa.ListArray.from_arrays(maps.offsets, members), ", ")
    objects = pc.binary_join_element_wise("{", joined, "}", "")
    return pc.if_else(maps.is_null(), pa.scalar(None, pa.string()), objects)


def _as_text(column: pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
    if pa.types.is_map(kind):
        return _json_texts(column)
    if kind == pa.float64():
        null = column.is_null().to_numpy(zero_copy_only=False)
        return decimal_texts(column.fill_null(0.0).to_numpy(), null)
    if pa.types.is_timestamp(kind):
        return pc.strftime(column.cast(pa.timestamp("s")), format="%Y-%m-%dT%H:%M:%SZ")
    return column.cast(pa.string())


def text_table(table: pa.Table) -> pa.Table:
    """Every column as the text that AWS writes into CSV; null becomes an empty field."""
    return pa.table({f.name: _as_text(table[f.name], f.type) for f in table.schema})
