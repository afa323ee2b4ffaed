"""Killed at any moment, a run leaves the report of before, whole; the next run finishes the job."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e import command
from tests.e2e.bills import as_parquet, costs, export
from tests.e2e.command import Command
from tests.e2e.dying import MOMENTS
from tests.e2e.places import Folder, Place, everything, pointer, pointer_name, published

PERIOD = "2026-11"
BEFORE = [name for name in MOMENTS if name != "after-the-pointer"]


@dataclass(frozen=True)
class Undisturbed:
    """A bill that was refreshed, and what runs that nobody kills publish before and after."""

    bill: Folder
    old: dict[str, bytes]  # the whole destination
    new: dict[str, bytes]  # the report's files
    pointer: bytes


@pytest.fixture(scope="module")
def undisturbed(
    prefect_api: str, s3_endpoint: str, tmp_path_factory: pytest.TempPathFactory
) -> Undisturbed:
    root = Folder(tmp_path_factory.mktemp("undisturbed"))
    bill = root.below("bill")
    export(bill, {"daily-00001.parquet": as_parquet(costs("1", "2", period="2026-10"))},
           period="2026-10", execution="e-october")  # fmt: skip
    reports = []
    for execution, amounts in (("e-0", ("3", "4")), ("e-1", ("3", "4", "5"))):
        chunks = {f"daily-0000{i}.parquet": as_parquet(costs(*amounts, f"{i}.5")) for i in (1, 2)}
        export(bill, chunks, execution=execution)
        out = root.below(execution)
        assert command.call(bill.location, "--out", out.location).status == 0
        reports.append(out)
    old, new = reports
    return Undisturbed(bill, everything(old), published(new, PERIOD), new.get(pointer_name(PERIOD)))


def killed(moment: str, undisturbed: Undisturbed, out: Place, run: Command) -> None:
    for name, content in undisturbed.old.items():
        out.put(name, content)
    outcome = run(
        moment, undisturbed.bill.location, "--out", out.location, module="tests.e2e.dying"
    )
    assert outcome.status == -signal.SIGKILL, outcome


def check(moment: str, undisturbed: Undisturbed, out: Place, run: Command, call: Command) -> None:
    killed(moment, undisturbed, out, run)
    assert pointer(out, PERIOD)["execution_id"] == "e-0"
    assert published(out, PERIOD)
    now = everything(out)
    assert {name: now[name] for name in undisturbed.old} == undisturbed.old

    assert call(undisturbed.bill.location, "--out", out.location).status == 0
    assert published(out, PERIOD) == undisturbed.new
    assert out.get(pointer_name(PERIOD)) == undisturbed.pointer


@pytest.mark.parametrize("moment", BEFORE)
def test_a_kill_leaves_the_old_report(
    moment: str, undisturbed: Undisturbed, run: Command, call: Command, tmp_path: Path
) -> None:
    check(moment, undisturbed, Folder(tmp_path), run, call)


def test_a_kill_leaves_the_old_report_on_s3(
    undisturbed: Undisturbed, run: Command, call: Command, bucket: Place
) -> None:
    check("before-the-pointer", undisturbed, bucket, run, call)


def test_a_kill_after_the_pointer_has_published(
    undisturbed: Undisturbed, run: Command, call: Command, tmp_path: Path
) -> None:
    out = Folder(tmp_path)
    killed("after-the-pointer", undisturbed, out, run)
    assert published(out, PERIOD) == undisturbed.new
    before = everything(out)
    assert call(undisturbed.bill.location, "--out", out.location).out.startswith("nothing new: ")
    assert everything(out) == before
