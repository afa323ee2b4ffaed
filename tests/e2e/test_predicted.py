"""predicted.json beside the reports: compared where it can be, and never a reason to fail."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import prefect
import pytest

from flows.cost_report import flow, predicted
from tests.e2e.bills import as_csv, charge, costs
from tests.e2e.command import Command
from tests.e2e.places import Folder, Place, everything, pointer_name, summary
from tests.e2e.prefect_runs import Run

PERIOD = "2026-11"
OURS = '{"nightshift": "nightshift-prod"}'
BILL = as_csv(
    [*costs("100", "200"), *(charge(f"{PERIOD}-{day:02d}", "0.01", Tags=OURS) for day in (1, 2, 3))]
)


@pytest.fixture
def tag() -> Iterator[str]:
    """Marks the runs of a test, to find them again."""
    name = f"test-{uuid.uuid4()}"
    with prefect.tags(name):
        yield name


def prediction(total: str) -> str:
    lines = [{"service": "Amazon EC2", "monthly_usd": total}]
    return json.dumps(
        {"installation": "nightshift-prod", "monthly_total_usd": total, "lines": lines}
    )


def installation(place: Place) -> dict[str, Any]:
    (one,) = summary(place, PERIOD)["installations"]
    return dict(one)


def test_it_is_compared_wherever_the_reports_are(
    place: Place, call: Command, folder: Folder
) -> None:
    folder.put("bill.csv", BILL)
    out = place.below("reports")
    out.put(predicted.NAME, prediction("0.20"))
    assert call(f"{folder.location}/bill.csv", "--out", out.location).status == 0
    one = installation(out)
    assert Decimal(one["effective_cost"]) == Decimal("0.03")
    assert (one["a_month"], one["predicted"], one["difference"]) == (
        "0.300000",
        "0.20",
        "0.100000",
    )
    assert out.get(predicted.NAME).decode() == prediction("0.20")


def test_the_same_prediction_gives_the_same_bytes(
    call: Command, folder: Folder, out: Folder
) -> None:
    """And another one is read when the bill has changed, not before."""
    folder.put("bill.csv", BILL)
    out.put(predicted.NAME, prediction("0.20"))
    assert call(folder.location, "--out", out.location).status == 0
    before = everything(out)

    out.remove(pointer_name(PERIOD))
    assert call(folder.location, "--out", out.location).out.startswith("report: ")
    assert everything(out) == before

    out.put(predicted.NAME, prediction("0.50"))
    assert call(folder.location, "--out", out.location).out.startswith("nothing new: ")
    assert installation(out)["predicted"] == "0.20"


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"monthly_total_usd": 0.2}'])
def test_one_that_cannot_be_read_is_left_out_and_said(
    content: str, call: Command, folder: Folder, out: Folder, tag: str
) -> None:
    folder.put("bill.csv", BILL)
    out.put(predicted.NAME, content)
    assert call(folder.location, "--out", out.location).status == 0
    assert installation(out)["predicted"] is None
    assert "prediction" in [one["analysis"] for one in summary(out, PERIOD)["unavailable"]]
    log = Run.tagged(tag).logs("the prediction is left out")
    assert "predicted.json is not a prediction of costs" in log


def test_a_network_that_stays_away_is_tried_again_and_left_out(
    call: Command, folder: Folder, out: Folder, tag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[str] = []

    def away(destination: str) -> None:
        tries.append(destination)
        raise ConnectionError("away")

    monkeypatch.setattr(predicted, "predicted", away)
    monkeypatch.setattr(flow.predicted, "retry_delay_seconds", [0.01] * flow.RETRIES)
    folder.put("bill.csv", BILL)
    assert call(folder.location, "--out", out.location).status == 0
    assert len(tries) == 1 + flow.RETRIES
    assert installation(out)["predicted"] is None
    assert "away" in Run.tagged(tag).logs("the prediction is left out")
