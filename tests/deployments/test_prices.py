"""The price file: what is in it is complete, sourced, and written the same way again."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from deployments.prices import FILE, prices, read, written
from flows.problem import Problem

METERED = (  # deployments/meter names these
    *("fargate-arm64-vcpu-hour", "fargate-arm64-gb-hour", "fargate-x86_64-vcpu-hour"),
    *("fargate-x86_64-gb-hour", "fargate-storage-gb-hour", "public-ipv4-hour"),
    *("s3-put", "s3-get", "logs-gb"),
)


def test_every_price_has_a_source_with_a_date() -> None:
    content = read()
    for region in (*content["regions"].values(), content["everywhere"]):
        for name, price in region.items():
            source = content["sources"][price["source"]]
            assert date.fromisoformat(source["as_of"]) <= datetime.now(UTC).date(), name
            assert "https://" in source["from"] or "make prices" in source["from"]
            assert Decimal(price["usd"]) > 0


def test_what_is_free_and_how_it_is_found_are_about_prices_there_are() -> None:
    content = read()
    names = {*content["regions"]["us-east-1"], *content["everywhere"]}
    assert set(content["free"]) <= names
    assert set(content["price_list"]) <= set(content["regions"]["us-east-1"])
    # What AWS's list does not have: read on its page by a person.
    by_hand = set(content["regions"]["us-east-1"]) - set(content["price_list"])
    assert by_hand == {"mwaa-serverless-task-hour"}


def test_the_metering_finds_its_prices() -> None:
    known = prices("us-east-1")
    assert all(known[name] > 0 for name in METERED)
    assert known["fargate-arm64-vcpu-hour"] == Decimal("0.03238")
    assert known.free["logs-gb"].kind == "always"
    assert known.free["s3-put"].kind == "12 months"


def test_spot_is_cheaper_by_at_most_seventy_percent() -> None:
    known = prices("us-east-1")
    for what in ("arm64-vcpu-hour", "arm64-gb-hour", "x86_64-vcpu-hour", "x86_64-gb-hour"):
        part = known[f"fargate-spot-{what}"] / known[f"fargate-{what}"]
        assert Decimal("0.3") <= part < 1


def test_a_region_that_is_not_known_says_how_it_becomes_so() -> None:
    with pytest.raises(Problem, match=r"fix:   make prices SET=region=eu-central-1"):
        prices("eu-central-1")


def test_a_price_that_is_not_known_is_a_problem() -> None:
    with pytest.raises(Problem, match="a price is not known"):
        prices("us-east-1")["gold-ounce"]


def test_a_price_is_as_old_as_the_oldest(tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    file.write_text(
        '{"sources": {"a": {"as_of": "2026-02-01"}, "b": {"as_of": "2026-01-01"}},'
        '"regions": {"r": {"x": {"usd": "1", "source": "a"}, "y": {"usd": "2", "source": "b"}}},'
        '"everywhere": {}, "free": {}}'
    )
    assert prices("r", file).as_of == "2026-01-01"


def test_the_file_is_written_as_it_is() -> None:
    assert written(read()) == FILE.read_text()
