"""What cannot be read or written: one clear error each, and what was published before stays."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.e2e import bills
from tests.e2e.bills import as_csv, as_parquet, charge, corrupted, costs, export, truncated, zipped
from tests.e2e.command import Command, call
from tests.e2e.places import Bucket, Folder, everything, pointer, published

BILL = costs("1.50", "2.25", "3.00")


@dataclass(frozen=True)
class Case:
    """A source that cannot be used, made in a folder, and what the error must name."""

    id: str
    make: Callable[[Folder], object]
    says: tuple[str, ...]
    period: str | None = None
    source: str = ""  # below the folder; the folder itself where empty


def puts(name: str, content: bytes | str) -> Callable[[Folder], object]:
    return lambda folder: folder.put(name, content)


def file(
    id: str, content: bytes | str, *says: str, name: str = "bill.csv", period: str | None = None
) -> Case:
    """One bad file; the error names it."""
    return Case(id, puts(name, content), (name, *says), period, name)


def cell(id: str, column: str, value: str, *says: str) -> Case:
    """A CSV bill whose third row holds a bad cell."""
    bad = [*BILL[:2], BILL[2] | {column: value}, charge()]
    return file(id, as_csv(bad), "row 3", f"column {column}", repr(value), *says)


def double(id: str, value: str, *says: str) -> Case:
    """A Parquet bill with a bad double in its second row group."""
    bad = [*BILL[:2], BILL[2], BILL[2] | {"ListCost": value}]
    content = as_parquet(bad, rows_per_group=2)
    says = ("row group 1", "row 4", "column ListCost", *says)
    return file(id, content, *says, name="bill.parquet")


def without(column: str) -> Case:
    names = [name for name in BILL[0] if name != column]
    return file(f"no-{column}", as_csv(BILL, names), "lacks a column", f"column {column}")


def delivered(folder: Folder, *, change: Callable[[Folder, str], object]) -> None:
    """An export, and then something happens to it."""
    change(folder, export(folder, {"daily-00001.csv.gz": zipped(as_csv(BILL))}))


def then(change: Callable[[Folder, str], object]) -> Callable[[Folder], None]:
    return lambda folder: delivered(folder, change=change)


def two_exports(folder: Folder) -> None:
    for name in ("daily", "hourly"):
        export(folder.below(name), {f"{name}-00001.csv": as_csv(BILL)}, name=name)


_MANIFEST = "metadata/BILLING_PERIOD=2026-11/daily-Manifest.json"
_DATA = "data/BILLING_PERIOD=2026-11/daily-00001.csv.gz"
LONG = costs(*(f"{i}.{i:03d}" for i in range(2_000)))
PARQUET, GZIP = as_parquet(LONG), zipped(as_csv(LONG))

PLACES = (
    Case("no-such-path", lambda _: None, ("no bill at this place", "nowhere"), source="nowhere"),
    Case("below-a-file", puts("a.csv", as_csv(BILL)), ("no bill", "a.csv/x"), source="a.csv/x"),
    Case("empty-folder", lambda f: f.path.mkdir(), ("no bill at this place",)),
    Case("no-bill-in-it", puts("notes.txt", "hello"), ("no FOCUS file", "notes.txt")),
    Case("no-manifest", then(Folder.remove), ("no manifest", "daily-00001.csv.gz")),
    Case(
        "torn-manifest",
        then(lambda f, name: f.put(name, truncated(f.get(name)))),
        ("manifest is not complete", _MANIFEST),
    ),
    Case(
        "empty-manifest",
        then(lambda f, name: f.put(name, b"")),
        ("manifest is not complete", _MANIFEST),
    ),
    Case(
        "manifest-of-something-else",
        then(lambda f, name: f.put(name, '["no", "manifest"]')),
        ("manifest is not complete", _MANIFEST),
    ),
    Case(
        "manifest-names-a-missing-file",
        then(lambda f, _: f.remove(_DATA)),
        ("names a file that is not there", _MANIFEST, _DATA),
    ),
    Case("two-exports", two_exports, ("more than one export", "daily", "hourly")),
    Case("no-such-period", then(lambda *_: None), ("no data", "2025-01", "2026-11"), "2025-01"),
    Case(
        "no-such-period-in-a-file",
        puts("bill.csv", as_csv(BILL)),
        ("no data", "2025-01", "2026-11"),
        "2025-01",
    ),
)

FILES = (
    file("empty-csv", b"", "empty"),
    file("empty-gzip", b"", name="bill.csv.gz"),
    file("empty-parquet", b"", "damaged", name="bill.parquet"),
    file("truncated-parquet", truncated(PARQUET), "damaged or cut off", name="bill.parquet"),
    file("corrupt-parquet", corrupted(PARQUET, 0.0002), "row group 0", name="bill.parquet"),
    file("corrupt-parquet-end", corrupted(PARQUET, 0.99), "damaged", name="bill.parquet"),
    file("csv-named-parquet", as_csv(BILL), "damaged", name="bill.parquet"),
    file("truncated-gzip", truncated(GZIP), "damaged or cut off", name="bill.csv.gz"),
    file("gzip-without-its-end", GZIP[:-9], "damaged or cut off", name="bill.csv.gz"),
    file("corrupt-gzip", corrupted(GZIP), "damaged or cut off", name="bill.csv.gz"),
    file("gzip-checksum", corrupted(GZIP, 1 - 8 / len(GZIP), 4), "damaged", name="bill.csv.gz"),
    file("csv-named-gzip", as_csv(BILL), "damaged", name="bill.csv.gz"),
    file("too-few-cells", as_csv(BILL) + b"1,2,3\n", "row 4", "3 cells", "1,2,3"),
    file("too-many-cells", as_csv(BILL) + b"," * len(BILL[0]) + b",x\n", "row 4", ",x"),
    file("open-quote", as_csv(BILL) + b'"never closed,1\n'),
    file("cut-in-a-row", truncated(as_csv(BILL), 0.9), "row 3"),
    file("latin-1", as_csv([charge(ServiceName="Größe")]).decode().encode("latin-1"), "utf-8"),
    file("utf-16", as_csv(BILL).decode().encode("utf-16"), "damaged"),
)

CELLS = (
    cell("cost-text", "BilledCost", "ten dollars", "not a plain decimal number"),
    cell("cost-nan", "EffectiveCost", "NaN", "not a plain decimal number"),
    cell("cost-infinite", "ListCost", "-inf", "not a plain decimal number"),
    file(
        "cost-dollars",
        as_csv([*BILL, charge(ContractedCost="$10,000.00 ")]),
        *("row 4", "column ContractedCost", "'$10,000.00", "1234.56"),
    ),
    cell("cost-too-large", "BilledCost", "1000000000000000", "too large"),
    cell("cost-too-large-exponent", "BilledCost", "1e15", "too large"),
    cell("cost-19-decimals", "BilledCost", "0.0000000000000000001", "more than 18 decimals"),
    cell("cost-half-a-number", "BilledCost", "1.2.3", "not a plain decimal number"),
    double("double-nan", "nan"),
    double("double-infinite", "inf"),
    double("double-too-large", "1e15", "too large"),
    file(
        "parquet-text-cost",
        as_parquet([*BILL, charge(ListCost="n/a")], money=pa.string()),
        *("row 4", "column ListCost", "'n/a'"),
        name="bill.parquet",
    ),
    cell("date-american", "ChargePeriodStart", "5/1/25", "ISO 8601", "2026-11-01T00:00:00Z"),
    cell("date-words", "BillingPeriodStart", "November 2026", "ISO 8601"),
    cell("date-empty", "ChargePeriodEnd", ""),
    file(
        "parquet-date",
        as_parquet([*BILL, charge(ChargePeriodStart="5/1/25")], times=pa.string()),
        *("row 4", "column ChargePeriodStart", "'5/1/25'"),
        name="bill.parquet",
    ),
    file(
        "no-currency",
        as_csv([*BILL, charge(BillingCurrency="")]),
        *("BillingCurrency is null", "row 4"),
    ),
    cell("tags-text", "Tags", "team=web", "JSON"),
    cell("quantity-text", "PricingQuantity", "a lot"),
    file("two-columns-of-a-name", as_csv(BILL, [*BILL[0], "BilledCost"]), "BilledCost"),
    file(
        "two-columns-but-for-case",
        as_csv([row | {"billedcost": "0"} for row in BILL]),
        "BilledCost",
    ),
)

CASES = (*PLACES, *FILES, *CELLS, *(without(column) for column in bills.REQUIRED))
AS_A_PROCESS = (
    *("no-such-path", "torn-manifest", "truncated-parquet", "corrupt-gzip", "cost-dollars"),
    "date-american",
)


@pytest.fixture(scope="module")
def old_report(
    prefect_api: str, s3_endpoint: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """What an earlier run published for the month."""
    folder = Folder(tmp_path_factory.mktemp("old"))
    folder.put("bill.csv", as_csv(costs("1", "2")))
    out = folder.below("out")
    assert call(folder.path.joinpath("bill.csv").as_posix(), "--out", out.location).status == 0
    return everything(out)


@pytest.fixture
def reported(out: Folder, old_report: dict[str, bytes]) -> Folder:
    """A destination that holds the earlier report."""
    for name, content in old_report.items():
        out.put(name, content)
    return out


def arguments(case: Case, folder: Folder, out: Folder) -> list[str]:
    case.make(folder)
    source = folder.path / case.source if case.source else folder.path
    period = ["--period", case.period] if case.period else []
    return [str(source), "--out", out.location, *period]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_bad_bill_is_refused_and_leaves_what_was(
    case: Case, call: Command, folder: Folder, reported: Folder
) -> None:
    before = everything(reported)
    error = call(*arguments(case, folder, reported)).error
    for text in case.says:
        assert text in error
    assert everything(reported) == before


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.id in AS_A_PROCESS], ids=lambda case: case.id
)
def test_a_process_says_so_last_and_publishes_nothing(
    case: Case, run: Command, folder: Folder, out: Folder
) -> None:
    error = run(*arguments(case, folder, out)).error
    for text in case.says:
        assert text in error
    assert not out.path.exists()


@pytest.mark.parametrize("period", ["2026-13", "2026-1", "November", "2026-11-01", "26-11", ""])
def test_a_malformed_period(period: str, call: Command, folder: Folder, out: Folder) -> None:
    folder.put("bill.csv", as_csv(BILL))
    error = call(folder.location, "--out", out.location, "--period", period).error
    assert "not a month" in error
    assert repr(period) in error
    assert "YYYY-MM" in error
    assert not out.path.exists()


def test_a_wrong_command_line(run: Command) -> None:
    outcome = run("--no-such-option")
    assert outcome.status == 2
    assert "usage:" in outcome.err


def test_an_address_that_is_not_understood(call: Command, folder: Folder, out: Folder) -> None:
    assert "gs://" in call("gs://bucket/bill", "--out", out.location).error
    folder.put("bill.csv", as_csv(BILL))
    assert "gs://" in call(folder.location, "--out", "gs://bucket/reports").error


# --- destinations --------------------------------------------------------------------------------


@pytest.mark.parametrize("destination", ["/proc/nightshift", "/proc/self/status/reports"])
def test_a_destination_that_cannot_be_written(
    destination: str, call: Command, folder: Folder
) -> None:
    folder.put("bill.csv", as_csv(BILL))
    error = call(folder.location, "--out", destination).error
    assert f"cannot write {destination}" in error or f"cannot read {destination}" in error


@pytest.mark.parametrize("name", ["reports", "reports/billing_period=2026-11"])
def test_a_file_in_the_way(name: str, call: Command, folder: Folder, tmp_path: Path) -> None:
    folder.put("bill.csv", as_csv(BILL))
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("in the way")
    error = call(folder.location, "--out", str(tmp_path / "reports")).error
    assert str(tmp_path / name) in error
    assert (tmp_path / name).read_text() == "in the way"


def test_a_folder_where_the_pointer_goes(call: Command, folder: Folder, out: Folder) -> None:
    folder.put("bill.csv", as_csv(BILL))
    (out.path / "billing_period=2026-11/latest.json").mkdir(parents=True)
    assert "latest.json" in call(folder.location, "--out", out.location).error
    assert not [name for name in out.names() if "/." in name]


def test_a_damaged_pointer_is_written_anew(call: Command, folder: Folder, out: Folder) -> None:
    folder.put("bill.csv", as_csv(BILL))
    out.put("billing_period=2026-11/latest.json", '{"execution_id": ')
    assert call(folder.location, "--out", out.location).status == 0
    assert published(out, "2026-11")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB, where this process may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small disk")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_disk_that_fills_up(call: Command, folder: Folder, small_disk: Path) -> None:
    out = Folder(small_disk / "reports")
    folder.put("bill.csv", as_csv(BILL))
    assert call(folder.location, "--out", out.location).status == 0
    shown, report = pointer(out, "2026-11"), published(out, "2026-11")

    with contextlib.suppress(OSError), (small_disk / "ballast").open("wb") as ballast:
        while True:
            ballast.write(b"-" * 4096)
            ballast.flush()
    os.truncate(small_disk / "ballast", (small_disk / "ballast").stat().st_size - 64 * 1024)
    folder.put("bill.csv", as_csv(costs("4")))
    error = call(folder.location, "--out", out.location).error
    assert "cannot write" in error
    assert "No space left on device" in error
    assert "free some room" in error
    assert pointer(out, "2026-11") == shown
    assert published(out, "2026-11") == report
    assert not [name for name in out.names() if "/." in name]

    (small_disk / "ballast").unlink()
    assert call(folder.location, "--out", out.location).status == 0
    assert pointer(out, "2026-11") != shown


def test_a_limit_on_file_sizes(run: Command, folder: Folder, reported: Folder) -> None:
    folder.put("bill.csv", as_csv(BILL))
    shown, report = pointer(reported, "2026-11"), published(reported, "2026-11")

    def limit() -> None:  # the report is larger, each of its other files is smaller
        resource.setrlimit(resource.RLIMIT_FSIZE, (32 * 1024, 32 * 1024))

    error = run(
        folder.location, "--out", reported.location, before=limit, PREFECT_LOGGING_LEVEL="WARNING"
    ).error
    assert "cannot write" in error
    assert "report.html" in error
    assert pointer(reported, "2026-11") == shown
    assert published(reported, "2026-11") == report
    assert not [name for name in reported.names() if "/." in name]


# --- S3 ------------------------------------------------------------------------------------------


def test_a_bucket_that_does_not_exist(
    call: Command, folder: Folder, out: Folder, s3_endpoint: str
) -> None:
    error = call("s3://no-such-bucket-anywhere/bills", "--out", out.location).error
    assert "s3://no-such-bucket-anywhere/bills" in error
    assert "NoSuchBucket" in error

    folder.put("bill.csv", as_csv(BILL))
    error = call(folder.location, "--out", "s3://no-such-bucket-anywhere/reports").error
    assert "s3://no-such-bucket-anywhere/reports" in error
    assert "NoSuchBucket" in error


def test_a_prefix_without_objects(call: Command, bucket: Bucket, out: Folder) -> None:
    bucket.put("bills-of-2026/bill.csv", as_csv(BILL))
    error = call(bucket.below("bills").location, "--out", out.location).error
    assert "no bill at this place" in error
    assert bucket.below("bills").location in error


@pytest.fixture
def new_client(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Boto3 looks for credentials once in a process: here it looks again."""
    import boto3

    from flows import storage

    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    storage._client.cache_clear()
    yield
    storage._client.cache_clear()


def test_no_right_to_read_or_write(
    bucket: Bucket,
    call: Command,
    out: Folder,
    new_client: None,
    s3_endpoint: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import boto3
    from moto.core.authorization import enable_iam_authentication

    iam: Any = boto3.Session().client("iam", endpoint_url=s3_endpoint)
    iam.create_user(UserName="reader")
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    bucket.put("bills/bill.csv", as_csv(BILL))
    bucket.put("reports/here.txt", b"")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    with enable_iam_authentication():
        error = call(bucket.below("bills").location, "--out", out.location).error
        assert "AccessDenied" in error
        assert bucket.below("bills").location in error
        assert 'actions = ["s3:ListBucket"]' in error

        out.put("bill.csv", as_csv(BILL))
        error = call(out.location, "--out", bucket.below("reports").location).error
        assert "AccessDenied" in error
        assert bucket.below("reports").location in error
    assert bucket.below("reports").names() == ["here.txt"]


def test_no_credentials(
    call: Command,
    bucket: Bucket,
    out: Folder,
    new_client: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "log in to AWS" in call(bucket.location, "--out", out.location).error
