"""Runs after runs: nothing new, a new execution, a refresh under our hands; and what Prefect shows
of each.
"""

from __future__ import annotations

import itertools
import types
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import prefect
import pytest

from flows.cost_report import flow, read
from flows.storage import Local
from tests.e2e import bills
from tests.e2e.bills import as_csv, as_parquet, corrupted, costs, export, said
from tests.e2e.command import Command
from tests.e2e.places import (
    Bucket,
    Folder,
    Place,
    everything,
    pointer,
    pointer_name,
    published,
    summary,
)
from tests.e2e.prefect_runs import Run

PERIOD = "2026-11"
STEPS = ("locate", "unchanged", "read", "changed", "check", "recall", "roll_up", "predicted",
         "analyse", "publish")  # fmt: skip
FILE = "daily-00001.parquet"
DATA = f"data/BILLING_PERIOD={PERIOD}/{FILE}"


@pytest.fixture
def tag() -> Iterator[str]:
    """Marks the runs of a test, to find them again."""
    name = f"test-{uuid.uuid4()}"
    with prefect.tags(name):
        yield name


def deliver(place: Place, execution: str, *amounts: str) -> None:
    export(place, {FILE: as_parquet(costs(*amounts))}, execution=execution)


# --- the same bill again -------------------------------------------------------------------------


def test_the_same_execution_is_not_read_again(
    place: Place, call: Command, out: Folder, tag: str
) -> None:
    deliver(place, "e-1", "1", "2")
    with prefect.tags("first"):
        first = call(place.location, "--out", out.location)
    assert first.out.startswith("report: ")
    before = everything(out)

    place.put(DATA, corrupted(place.get(DATA)))  # whoever reads it now will fail
    with prefect.tags(f"{tag}-again"):
        again = call(place.location, "--out", out.location)
    assert again.status == 0
    assert again.out.startswith("nothing new: ")
    assert again.report == first.report
    assert everything(out) == before

    run = Run.tagged(f"{tag}-again")
    assert (run.flow_run.state.name, run.flow_run.state.type.value) == ("Unchanged", "COMPLETED")
    assert first.report in run.flow_run.state.message
    assert set(run.tasks("locate", "unchanged")) == {"locate", "unchanged"}


def test_a_plain_file_is_not_read_again(call: Command, folder: Folder, out: Folder) -> None:
    folder.put("bill.csv", as_csv(costs("1")))
    for words in ("report: ", "nothing new: "):
        assert call(folder.location, "--out", out.location).out.startswith(words)


def test_a_process_says_that_nothing_is_new(run: Command, folder: Folder, out: Folder) -> None:
    deliver(folder, "e-1", "1", "2")
    for words in ("report: ", "nothing new: "):
        outcome = run(folder.location, "--out", out.location)
        assert outcome.status == 0
        assert outcome.out.startswith(words)  # and stdout holds nothing else
        assert Path(outcome.report).is_file()
        assert "error" not in outcome.err.lower()


def test_two_destinations_get_the_same_bytes(
    run: Command, sample_bill: Path, folder: Folder, bucket: Bucket
) -> None:
    """In two processes whose sets and dictionaries of text are not in the same order."""
    for seed, place in (("1", folder), ("2", bucket)):
        arguments = (str(sample_bill), "--out", place.location)
        assert run(*arguments, PYTHONHASHSEED=seed).status == 0
    assert everything(folder) == everything(bucket)
    assert len(folder.names()) == 9


# --- another execution ---------------------------------------------------------------------------


def test_a_new_execution_replaces_the_pointer_and_readers_are_safe(
    call: Command, folder: Folder, out: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(folder, "e-1", "1", "2")
    assert call(folder.location, "--out", out.location).status == 0
    old = everything(out)

    seen: list[str] = []
    write = Local.write

    def watched(place: Local, name: str, content: bytes) -> None:
        write(place, name, content)
        assert published(out, PERIOD)  # a reader, just now
        seen.append(pointer(out, PERIOD)["execution_id"])

    monkeypatch.setattr(Local, "write", watched)
    deliver(folder, "e-2", "1", "2", "4")
    assert call(folder.location, "--out", out.location).status == 0
    assert seen == ["e-1"] * 8 + ["e-2"]
    assert said(summary(out, PERIOD)) == bills.totals(costs("1", "2", "4"), doubles=True)
    now = everything(out)
    del old[pointer_name(PERIOD)]
    assert {name: now[name] for name in old} == old  # who has followed the old pointer reads on


def test_each_month_has_its_own_pointer(call: Command, folder: Folder, out: Folder) -> None:
    for month in ("2026-10", "2026-11"):
        content = as_parquet(costs("1", "2", period=month))
        export(folder, {FILE: content}, period=month, execution=f"e-{month}")
    assert call(folder.location, "--out", out.location, "--period", "2026-10").status == 0
    october = everything(out)
    assert call(folder.location, "--out", out.location).status == 0
    assert pointer(out, "2026-11")["execution_id"] == "e-2026-11"
    assert {name: out.get(name) for name in october} == october


# --- a refresh while the bill is read ------------------------------------------------------------


def refreshing(monkeypatch: pytest.MonkeyPatch, times: int, refresh: Callable[[int], None]) -> None:
    """Let a refresh arrive while the bill is read, so many times: after its first batch."""
    batches, refreshes = read.batches, itertools.count(1)

    def interrupted(*arguments: Any) -> Iterator[Any]:
        for number, batch in enumerate(batches(*arguments)):
            if not number and (refreshed := next(refreshes)) <= times:
                refresh(refreshed)
            yield batch

    monkeypatch.setattr(read, "batches", interrupted)


@pytest.mark.parametrize("times", [1, 2])
def test_a_refresh_while_reading(
    times: int,
    place: Place,
    call: Command,
    out: Folder,
    tag: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deliver(place, "e-0", "1", "2")
    refreshing(monkeypatch, times, lambda n: deliver(place, f"e-{n}", "1", "2", f"{n}00"))
    assert call(place.location, "--out", out.location).status == 0
    assert pointer(out, PERIOD)["execution_id"] == f"e-{times}"
    expected = bills.totals(costs("1", "2", f"{times}00"), doubles=True)
    assert said(summary(out, PERIOD)) == expected
    tasks = Run.tagged(tag).tasks(*STEPS, *["read", "locate"] * times)
    assert len(tasks["read"]) == len(tasks["locate"]) == times + 1


def test_a_bill_that_always_changes(
    place: Place, call: Command, out: Folder, tag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(place, "e-0", "1", "2")
    refreshing(monkeypatch, 9, lambda n: deliver(place, f"e-{n}", "1", "2", f"{n}00"))
    error = call(place.location, "--out", out.location).error
    assert "changed each time" in error
    assert place.location in error
    assert not out.path.exists()
    assert len(Run.tagged(tag).tasks(*["read"] * 3)["read"]) == 3


def test_a_refresh_that_takes_the_file_away(
    place: Place, call: Command, out: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read then is no bill at all; the new one is."""
    deliver(place, "e-0", "1", "2")
    batches, calls = read.batches, itertools.count(1)

    def too_late(*arguments: Any) -> Iterator[Any]:
        if next(calls) == 1:
            place.remove(DATA)
            content = as_parquet(costs("1", "2", "3"))
            export(place, {"daily-00002.parquet": content}, execution="e-1")
        yield from batches(*arguments)

    monkeypatch.setattr(read, "batches", too_late)
    assert call(place.location, "--out", out.location).status == 0
    expected = bills.totals(costs("1", "2", "3"), doubles=True)
    assert said(summary(out, PERIOD)) == expected


# --- what Prefect shows --------------------------------------------------------------------------


def test_prefect_shows_the_run(run: Command, sample_bill: Path, out: Folder) -> None:
    outcome = run(str(sample_bill), "--out", out.location)
    shown = Run(UUID(outcome.flow_run_id))
    assert shown.flow_run.name == f"cost-report {PERIOD}"
    assert shown.flow_run.state.type.value == "COMPLETED"
    assert outcome.report in shown.flow_run.state.message
    assert shown.flow_run.parameters["source"] == str(sample_bill)

    tasks = shown.tasks(*STEPS)
    assert set(tasks) == set(STEPS)
    for name, (task,) in tasks.items():
        assert task.state.type.value == "COMPLETED", name
        assert task.run_count == 1

    artifacts = shown.artifacts()
    assert "# " in artifacts["cost-report-summary"].data
    assert "Amazon" in artifacts["cost-report-top-services"].data
    assert outcome.report in artifacts["cost-report-link"].data

    log = shown.logs(f"published {outcome.report}")
    for text in ("billing period 2026-11", "read 9,500 rows", "reconciled", outcome.report):
        assert text in log


def test_prefect_shows_a_failure(run: Command, folder: Folder, out: Folder) -> None:
    folder.put("bill.csv", as_csv(costs("1", "two")))
    shown = Run(UUID(run(folder.location, "--out", out.location).flow_run_id))
    assert shown.flow_run.state.type.value == "FAILED"
    assert "'two'" in shown.flow_run.state.message
    tasks = shown.tasks("locate", "unchanged", "read", "changed")
    assert set(tasks) == {"locate", "unchanged", "read", "changed"}
    (reading,) = tasks["read"]
    assert reading.state.type.value == "FAILED"
    assert reading.run_count == 1  # what is wrong with the bill is not tried again
    assert not shown.artifacts()
    assert "Traceback" not in shown.logs("'two'")


def test_prefect_shows_progress_of_a_long_scan(
    call: Command, folder: Folder, out: Folder, tag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(0, 3)  # each look at it is three seconds later
    monkeypatch.setattr(flow, "time", types.SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(read, "BATCH_ROWS", 10)
    rows = costs(*("0.1",) * 100)
    export(folder, {FILE: as_parquet(rows, rows_per_group=20)})
    assert call(folder.location, "--out", out.location).status == 0
    run = Run.tagged(tag)
    assert run.artifacts()["progress"].data == 100
    assert "50 %" in run.logs("100 %")


def test_prefect_keeps_no_results(call: Command, folder: Folder, out: Folder, tag: str) -> None:
    deliver(folder, "e-1", "1", "2")
    kept = Folder(Path(prefect.settings.get_current_settings().home, "storage"))
    before = kept.names()
    assert call(folder.location, "--out", out.location).status == 0
    assert kept.names() == before
    for name, runs in Run.tagged(tag).tasks(*STEPS).items():
        for task in runs:
            assert len(str(task.state.data)) < 500, name
