"""Folders and S3, as source and as destination: the same behaviour; and an S3 that stumbles."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import prefect
import pytest
from botocore.exceptions import (
    EndpointConnectionError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from flows import storage
from flows.cost_report import flow
from tests.e2e import bills
from tests.e2e.bills import as_csv, as_parquet, costs, export, said, zipped
from tests.e2e.command import Command
from tests.e2e.places import Bucket, Folder, Place, everything, published, summary
from tests.e2e.prefect_runs import Run

PERIOD = "2026-11"
ROWS = costs("1.25", "2.5", "1000000.0000000001")


@pytest.fixture(params=["local", "s3"])
def destination(request: pytest.FixtureRequest) -> Place:
    if request.param == "s3":
        bucket: Bucket = request.getfixturevalue("bucket")
        return bucket.below("the/reports")
    folder: Folder = request.getfixturevalue("out")
    return folder


def reported(
    call: Command, source: str, out: Place, rows: list[bills.Row] = ROWS, *, doubles: bool = False
) -> None:
    outcome = call(source, "--out", out.location)
    assert outcome.status == 0, outcome.err
    assert said(summary(out, PERIOD)) == bills.totals(rows, doubles=doubles)
    root, _, name = outcome.report.partition("/billing_period=")
    assert root == out.location
    assert out.get(f"billing_period={name}") == published(out, PERIOD)["report.html"]


# --- sources and destinations --------------------------------------------------------------------


def test_from_anywhere_to_anywhere(place: Place, destination: Place, call: Command) -> None:
    source = place.below("exports/daily")
    export(source, {"daily-00001.csv.gz": zipped(as_csv(ROWS))})
    reported(call, source.location, destination)


@pytest.mark.parametrize("end", ["", "/"])
def test_a_slash_at_the_end(end: str, place: Place, call: Command) -> None:
    place.put("bills/bill.csv", as_csv(ROWS))
    place.put("bills-of-old/bill.csv", as_csv(costs("999")))  # begins alike, is another place
    source, out = f"{place.location}/bills{end}", f"{place.location}/reports{end}"
    assert call(source, "--out", out).status == 0
    assert said(summary(place.below("reports"), PERIOD)) == bills.totals(ROWS)
    assert call(source, "--out", out).out.startswith("nothing new: ")


@pytest.mark.parametrize("name", ["bill.csv", "bill.csv.gz", "bill.parquet"])
def test_one_file(name: str, place: Place, call: Command, out: Folder) -> None:
    """Beside others, which are not read."""
    content = {
        "bill.csv": as_csv(ROWS),
        "bill.csv.gz": zipped(as_csv(ROWS)),
        "bill.parquet": as_parquet(ROWS),
    }
    place.put(f"bills/{name}", content[name])
    place.put("bills/another.csv", as_csv(costs("999")))
    source = f"{place.location}/bills/{name}"
    reported(call, source, out, doubles=name == "bill.parquet")
    assert call(source, "--out", out.location).out.startswith("nothing new: ")


def test_one_data_file_of_an_export(place: Place, call: Command, out: Folder) -> None:
    export(place, {"a.csv": as_csv(ROWS), "b.csv": as_csv(costs("9"))})
    reported(call, f"{place.location}/data/BILLING_PERIOD=2026-11/a.csv", out)


def test_names_that_are_not_simple(place: Place, call: Command, out: Folder) -> None:
    source, reports = place.below("Büro 2026/a+b%20c=d&e"), place.below("Bericht (neu)")
    export(source, {"daily 00001.csv": as_csv(ROWS)})
    reported(call, source.location, reports)


def test_many_files(
    place: Place, call: Command, out: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than one page of a listing: here a page has three names."""
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "3")
    rows = costs(*(f"{i}.01" for i in range(11)))
    export(place, {f"daily-{i:05d}.csv": as_csv([row]) for i, row in enumerate(rows)})
    for i in range(5):
        place.put(f"data/BILLING_PERIOD=2026-10/daily-{i:05d}.csv", as_csv(costs("999")))
    reported(call, place.location, out, rows)
    assert summary(out, PERIOD)["files"] == 11


def test_reports_beside_the_bill_are_no_bill(place: Place, call: Command) -> None:
    place.put("bill.csv", as_csv(ROWS))
    reported(call, place.location, place)
    assert call(place.location, "--out", place.location).out.startswith("nothing new: ")
    place.put("more.csv", as_csv(costs("5")))
    reported(call, place.location, place, [*ROWS, *costs("5")])


def test_folder_markers_are_no_files(bucket: Bucket, call: Command, out: Folder) -> None:
    bucket.put("bills/", b"")
    bucket.put("bills/2026/", b"")
    bucket.put("bills/2026/bill.csv", as_csv(ROWS))
    reported(call, bucket.below("bills").location, out)


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "parquet"])
def test_a_file_longer_than_one_request(
    suffix: str, bucket: Bucket, call: Command, out: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "_RANGE", 1_000)
    rows = costs(*(f"{i}.{i:04d}" for i in range(100)))
    content = {"csv": as_csv(rows), "csv.gz": zipped(as_csv(rows))}
    bucket.put(f"bill.{suffix}", content.get(suffix) or as_parquet(rows, rows_per_group=20))
    reported(call, bucket.location, out, rows, doubles=suffix == "parquet")


def test_a_path_from_here(call: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Folder(tmp_path).put("bills/bill.csv", as_csv(ROWS))
    assert call("bills", "--out", "reports").status == 0
    assert said(summary(Folder(tmp_path / "reports"), PERIOD)) == bills.totals(ROWS)
    assert call(f"file://{tmp_path}/bills", "--out", f"file://{tmp_path}/more").status == 0
    assert published(Folder(tmp_path / "more"), PERIOD)


# --- an S3 that stumbles -------------------------------------------------------------------------


class Stumbling:
    """A client of S3 whose `method` fails the first times, either at once or in the body."""

    def __init__(self, client: Any, method: str, times: int, error: Exception, in_body: bool):
        self.client, self.method, self.times = client, method, times
        self.error, self.in_body = error, in_body

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.client, name)
        return self._wrapped(found) if name == self.method else found

    def _wrapped(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **options: Any) -> Any:
            found = method(*arguments, **options) if self.in_body else None
            self.times -= 1
            if self.times < 0:
                return found or method(*arguments, **options)
            if found:
                return {**found, "Body": self}
            raise self.error

        return called

    def read(self, *_: Any) -> bytes:
        raise self.error


@pytest.fixture
def tag(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Marks the runs of a test, which wait next to nothing before they try again."""
    for step in (flow.locate, flow.unchanged, flow.read, flow.changed, flow.publish):
        assert step.retry_delay_seconds == [2, 4, 8]  # it backs off
        monkeypatch.setattr(step, "retry_delay_seconds", [0.01] * 3)
    name = f"test-{uuid.uuid4()}"
    with prefect.tags(name):
        yield name


AWAY = EndpointConnectionError(endpoint_url="http://s3")
CUT = ResponseStreamingError(error="Connection broken")
SHORT = IncompleteReadError(actual_bytes=1, expected_bytes=2)
SLOW = ReadTimeoutError(endpoint_url="http://s3")
STUMBLES = {
    "listing": ("get_paginator", AWAY, False, "locate"),
    "manifest": ("get_object", CUT, True, "locate"),
    "opening": ("head_object", AWAY, False, "read"),
    "reading": ("get_object", SLOW, True, "read"),
    "cut-off": ("get_object", SHORT, True, "read"),
    "writing": ("put_object", AWAY, False, "publish"),
}


@pytest.mark.parametrize("what", STUMBLES)
def test_a_stumble_of_s3_is_tried_again(
    what: str,
    bucket: Bucket,
    call: Command,
    tag: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    method, error, in_body, step = STUMBLES[what]
    if what == "manifest":
        export(bucket.below("bills"), {"daily-00001.parquet": as_parquet(ROWS)})
    else:
        bucket.put("bills/bill.parquet", as_parquet(ROWS))
    stumbling = Stumbling(bucket.client, method, 2, error, in_body)
    monkeypatch.setattr(storage, "_client", lambda: stumbling)
    out = bucket.below("reports")
    arguments = ["--period", PERIOD] if step == "read" else []
    outcome = call(bucket.below("bills").location, "--out", out.location, *arguments)
    assert outcome.status == 0, outcome.err
    assert stumbling.times < 0
    assert said(summary(out, PERIOD)) == bills.totals(ROWS, doubles=True)
    (task,) = Run.tagged(tag).tasks(step)[step]
    assert task.run_count == 3


def test_an_s3_that_stays_away(
    bucket: Bucket, call: Command, out: Folder, tag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("bill.parquet", as_parquet(ROWS))
    away = Stumbling(bucket.client, "get_paginator", 99, AWAY, False)
    monkeypatch.setattr(storage, "_client", lambda: away)
    outcome = call(bucket.location, "--out", out.location)
    assert outcome.status == 1
    assert outcome.err.startswith("error: ")
    assert "Could not connect to the endpoint" in outcome.err
    assert not out.path.exists()
    (task,) = Run.tagged(tag).tasks("locate")["locate"]
    assert task.run_count == 4


def test_a_wrong_bill_is_not_tried_again(
    bucket: Bucket, call: Command, out: Folder, tag: str
) -> None:
    bucket.put("bill.csv", as_csv(costs("1", "one and a half")))
    before = everything(bucket)
    assert "'one and a half'" in call(bucket.location, "--out", out.location).error
    (task,) = Run.tagged(tag).tasks("read")["read"]
    assert task.run_count == 1
    assert everything(bucket) == before
