"""Bill files, Parquet and CSV, as batches of the wanted columns: in bounded memory, one thread.

Text is read dictionary-encoded, which for Parquet means that the strings of a batch are never made:
the codes in the file are the codes we group by. Reading tags that way costs a sixth of reading them
as text.
"""

from __future__ import annotations

import contextlib
import csv
import ctypes
import gzip
import io
import sys
import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from flows.cost_report.batch import NULLS, Batch, Place, decode
from flows.cost_report.columns import NUMBERS, TIMES
from flows.cost_report.tables import COSTS
from flows.problem import Problem
from flows.storage import Storage, may_pass

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h

BATCH_ROWS = 1 << 16  # 65,536: about 30 MB of arrays, and no faster with more
COLUMN_BUFFER = 1 << 20  # bytes read ahead per column, so that a large row group is never held
CSV_BLOCK = 16 << 20  # bytes of text per batch

# Arrow's default allocator holds 50 MB more at the peak than jemalloc, where the build has that.
# And numpy's is told to keep what is freed: batches are all of one size, and handing their memory
# back to the kernel between them costs a tenth of the CPU time. (mallopt is glibc's.)
with contextlib.suppress(NotImplementedError):
    pa.set_memory_pool(pa.jemalloc_memory_pool())
with contextlib.suppress(AttributeError):
    for parameter in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD) if sys.platform == "linux" else ():
        ctypes.CDLL(None).mallopt(parameter, 128 << 20)

SUFFIXES = (".parquet", ".csv", ".csv.gz")


@dataclass(frozen=True)
class BillFile:
    """One file of a bill."""

    storage: Storage
    name: str
    size: int

    @property
    def address(self) -> str:
        return self.storage.address(self.name)

    @property
    def is_parquet(self) -> bool:
        return self.address.lower().endswith(".parquet")

    @property
    def is_gzip(self) -> bool:
        return self.address.lower().endswith(".gz")


def column_names(file: BillFile) -> tuple[str, ...]:
    """The names of a file's columns, as the file writes them."""
    with file.storage.open(file.name) as stream:
        if not file.is_parquet:
            return _csv_header(stream, file).names
        with _unreadable(file):
            return tuple(pq.read_schema(stream).names)


def batches(file: BillFile, wanted: Collection[str]) -> Iterator[Batch]:
    """The file's batches, in order, with those of the wanted columns (FOCUS names) that it has."""
    with file.storage.copy(file.name) as path:
        yield from (_parquet if file.is_parquet else _csv)(path, file, wanted)


_DAMAGE = (pa.ArrowException, OSError, EOFError, UnicodeDecodeError, zlib.error)


class _unreadable:
    """Turns what Arrow says of a broken file into a Problem that names it."""

    def __init__(
        self,
        file: BillFile,
        row_group: int | None = None,
        ragged: Sequence[pyarrow.csv.InvalidRow] = (),
    ) -> None:
        self.file, self.row_group, self.ragged = file, row_group, ragged

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, Problem) or _not_implemented(error):
            return
        if may_pass(error):  # some of botocore's are OSErrors, too
            return
        if isinstance(error, pa.ArrowInvalid) and self.ragged:
            raise _not_as_wide(self.ragged[0], self.file) from error
        if isinstance(
            error, pa.ArrowException | OSError | EOFError | UnicodeDecodeError | zlib.error
        ):
            raise Problem(
                "the file is damaged or cut off",
                where={"file": self.file.address, "row group": self.row_group},
                detail=str(error).splitlines()[0] if str(error) else type(error).__name__,
                fix="fetch the file again, or wait for the next refresh of the export",
            ) from error


def _not_implemented(error: BaseException) -> bool:
    """Whether Arrow says that it cannot code a text column; the Parquet reader says it in words."""
    return isinstance(error, pa.ArrowNotImplementedError) or "Not yet implemented" in str(error)


def _not_as_wide(row: pyarrow.csv.InvalidRow, file: BillFile) -> Problem:
    return Problem(
        "a row does not have as many cells as the header",
        where={"file": file.address, "row": row.number and row.number - 1},
        value=row.text,
        detail=f"{row.actual_columns} cells, the header has {row.expected_columns}",
        fix="quote cells that hold a comma or a line break, or fetch the file again",
    )


# --- Parquet -------------------------------------------------------------------------------------


def _parquet(path: Path, file: BillFile, wanted: Collection[str]) -> Iterator[Batch]:
    with _unreadable(file):
        schema = pq.read_schema(path)
    names = _match(schema.names, wanted, file)
    kinds = {actual: schema.field(actual).type for actual in names}
    as_codes = [
        actual
        for actual, name in names.items()
        if name not in (*COSTS, *TIMES, *NUMBERS) and pa.types.is_string(kinds[actual])
    ]
    maps = [actual for actual in names if pa.types.is_map(kinds[actual])]
    leaves = [f"{tags}.key_value.{leaf}" for tags in maps for leaf in ("key", "value")]
    with _unreadable(file):
        coded = _open(path, [*as_codes, *leaves])
        plain = _open(path, [])
    # Row group by row group: each has dictionaries of its own, and a batch across two cannot be
    # coded.
    done, total = 0, coded.metadata.num_rows
    for row_group in range(coded.num_row_groups):
        for batch in _row_group(coded, plain, row_group, names, file):
            place = Place(file.address, done, row_group, (done + len(batch)) / total)
            yield decode(_columns(batch, names), len(batch), place)
            done += len(batch)
    if done != total:
        raise Problem(
            "the file holds fewer rows than it says",
            where={"file": file.address},
            value=f"{done} of {total} rows",
            fix="fetch the file again",
        )


def _open(path: Path, as_codes: list[str]) -> pq.ParquetFile:
    # Not pre-buffered: that holds all wanted columns of a row group, which may be large.
    return pq.ParquetFile(
        path,
        read_dictionary=as_codes,
        buffer_size=COLUMN_BUFFER,
        pre_buffer=False,
        page_checksum_verification=True,  # where the writer left checksums
    )


def _row_group(
    coded: pq.ParquetFile,
    plain: pq.ParquetFile,
    row_group: int,
    names: dict[str, str],
    file: BillFile,
) -> Iterator[pa.RecordBatch]:
    """A row group's batches, with text as codes or, where Arrow cannot code it, as text.

    It cannot where a writer gave up its dictionary within the row group: parquet-mr's version 2
    goes on with DELTA_BYTE_ARRAY then.
    """
    done = 0
    try:
        for batch in _record_batches(coded, row_group, names, file):
            yield batch
            done += len(batch)
    except (pa.ArrowNotImplementedError, OSError) as error:
        if not _not_implemented(error):
            raise
        for batch in _record_batches(plain, row_group, names, file):
            if done < len(batch):
                yield batch.slice(done)
            done = max(0, done - len(batch))


def _record_batches(
    parquet: pq.ParquetFile, row_group: int, names: dict[str, str], file: BillFile
) -> Iterator[pa.RecordBatch]:
    with _unreadable(file, row_group):
        yield from parquet.iter_batches(
            batch_size=BATCH_ROWS, row_groups=[row_group], columns=list(names), use_threads=False
        )


# --- CSV -----------------------------------------------------------------------------------------


def _csv(path: Path, file: BillFile, wanted: Collection[str]) -> Iterator[Batch]:
    with path.open("rb") as stream:
        yield from _csv_stream(stream, file, wanted)


def _csv_stream(
    stream: io.BufferedReader, file: BillFile, wanted: Collection[str]
) -> Iterator[Batch]:
    header = _csv_header(stream, file)
    names = _match(header.names, wanted, file)
    if header.alone or not names:  # Arrow takes no names for all of them
        return
    stream.seek(0)
    text, code = pa.string(), pa.dictionary(pa.int32(), pa.string())
    types = {a: text if n in (*COSTS, *NUMBERS) else code for a, n in names.items()}
    source = pa.PythonFile(stream, mode="r")
    ragged: list[pyarrow.csv.InvalidRow] = []

    def note(row: pyarrow.csv.InvalidRow) -> str:
        ragged.append(row)  # raised later: Arrow swallows what is raised here
        return "error"

    options = {
        "read_options": pyarrow.csv.ReadOptions(use_threads=False, block_size=CSV_BLOCK),
        "parse_options": pyarrow.csv.ParseOptions(
            newlines_in_values=True,
            invalid_row_handler=note,
        ),
        "convert_options": pyarrow.csv.ConvertOptions(
            column_types=types,
            include_columns=list(names),
            null_values=list(NULLS),
            strings_can_be_null=True,
        ),
    }
    done = 0
    reader: pyarrow.csv.CSVStreamingReader | None = None
    while True:
        try:
            with _unreadable(file, ragged=ragged):
                if reader is None:
                    data = pa.CompressedInputStream(source, "gzip") if file.is_gzip else source
                    reader = pyarrow.csv.open_csv(data, **options)
                batch = reader.read_next_batch()
        except StopIteration:
            return
        part = stream.tell() / (file.size or 1)
        yield decode(_columns(batch, names), len(batch), Place(file.address, done, part=part))
        done += len(batch)


@dataclass(frozen=True)
class _CsvHeader:
    names: tuple[str, ...]
    alone: bool  # nothing follows it


def _csv_header(stream: io.BufferedReader, file: BillFile) -> _CsvHeader:
    with _unreadable(file):
        raw = gzip.GzipFile(fileobj=stream) if file.is_gzip else stream
        text = io.TextIOWrapper(raw, "utf-8-sig", newline="")
        try:
            names = next(csv.reader(text), None)
            alone = not any(line.strip() for line in text)
        except csv.Error as error:
            raise OSError(str(error)) from error
        finally:
            text.detach()
    if not names:
        raise Problem(
            "the file is empty: it has no header",
            where={"file": file.address},
            fix="name a FOCUS export; a bill without charges still has a header row",
        )
    return _CsvHeader(tuple(names), alone)


# --- both ----------------------------------------------------------------------------------------


def _match(names: Sequence[str], wanted: Collection[str], file: BillFile) -> dict[str, str]:
    """The file's column names that are wanted, with their FOCUS names.

    Case does not matter: Athena lowers it.
    """
    focus = {name.lower(): name for name in wanted}
    found: dict[str, str] = {}
    for name in names:
        known = focus.get(name.lower())
        if known in found.values():
            raise Problem(
                "a column is there twice",
                where={"file": file.address, "column": known},
                fix="leave one of the two out",
            )
        if known:
            found[name] = known
    return found


def _columns(batch: pa.RecordBatch, names: dict[str, str]) -> dict[str, pa.Array]:
    return {names[actual]: batch.column(actual) for actual in batch.schema.names}
