"""`python -m infra.cost`, as make calls it."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from deployments.prices import FILE
from infra.cost import __main__ as command


@pytest.fixture
def cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "cost.json"
    monkeypatch.setattr(command, "COST", file)
    return file


def data(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def test_the_bill_is_printed_and_written(cost: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["bill", "--out", str(cost.parent / "out")]) == 0
    said = capsys.readouterr().out
    assert "cost-report/daily: 30.4 runs a month of 10.0 minutes" in said
    found = data(cost)
    assert f"${Decimal(found['monthly_total_usd']):.2f} a month" in said
    assert data(cost.parent / "out" / "predicted.json") == found
    assert found["instead"]["deployment"] == "cost-report/daily"
    ways = {way["name"]: way["monthly_total_usd"] for way in found["instead"]["ways"]}
    assert {"Nightshift", "Lambda", "AWS Batch", "Managed Airflow", "Prefect Cloud"} <= ways.keys()
    for name, price in ways.items():
        assert f"{name} " in said
        assert Decimal(price) > 0


def test_options_and_settings_change_it(cost: Path) -> None:
    totals = []
    for more in ([], ["--runs-per-day", "24"], ["--pushes", "0"], ["--set", "network=private"]):
        assert command.main(["bill", *more]) == 0
        totals.append(Decimal(data(cost)["monthly_total_usd"]))
    plain, hourly, unreleased, private = totals
    assert unreleased < plain < hourly
    assert private > plain + 30


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--set", "region=eu-central-1"], "make prices SET=region=eu-central-1"),
        (["--set", "colour=red"], "no such setting"),
        (["--set", "colour"], "write key=value"),
    ],
)
def test_what_cannot_be_is_said(
    cost: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], text: str
) -> None:
    assert command.main(["bill", *arguments]) == 1
    assert text in capsys.readouterr().err
    assert not cost.exists()


@pytest.mark.parametrize("amount", ["-1", "some", "NaN"])
def test_an_amount_is_one(amount: str) -> None:
    with pytest.raises(SystemExit):
        command.main(["bill", f"--minutes={amount}"])


def test_without_an_account_the_prices_stay(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = FILE.read_text()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "nowhere")
    assert command.main(["prices"]) == 1
    assert "log in first" in capsys.readouterr().err
    assert FILE.read_text() == before
