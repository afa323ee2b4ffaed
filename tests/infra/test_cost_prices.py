"""`make prices`, against answers in the shape of the Price List API."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from deployments.prices import prices, read, written
from flows.problem import Problem
from infra.cost.price_list import Found, Wanted, difference, look_up, merged, wanted

REGION = "eu-central-1"
GB_HOUR = Wanted("fargate-arm64-gb-hour", "AmazonECS", ("Fargate-ARM-GB-Hours",), {})


def product(usage: str, *steps: tuple[str, str], sku: str = "XSZATS4VYMDC9CYN") -> str:
    """As GetProducts answers: JSON in a string."""
    dimensions = {
        f"{sku}.JRTCKXETXF.{number}": {
            "unit": "hours",
            "beginRange": begin,
            "endRange": "Inf",
            "description": usage,
            "appliesTo": [],
            "rateCode": f"{sku}.JRTCKXETXF.{number}",
            "pricePerUnit": {"USD": usd},
        }
        for number, (begin, usd) in enumerate(steps)
    }
    return json.dumps(
        {
            "product": {
                "productFamily": "Compute",
                "attributes": {"regionCode": REGION, "usagetype": usage},
                "sku": sku,
            },
            "serviceCode": "AmazonECS",
            "terms": {"OnDemand": {f"{sku}.JRTCKXETXF": {"priceDimensions": dimensions}}},
            "version": "20260911000000",
            "publicationDate": "2026-09-11T00:00:00Z",
        }
    )


def asked(one: Wanted, *pages: list[str], spot: str = "") -> Found:
    """What comes of it when AWS answers with these pages."""
    client = boto3.client(
        "pricing", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    request: dict[str, Any] = {
        "ServiceCode": one.service,
        "FormatVersion": "aws_v1",
        "Filters": [
            {"Type": "TERM_MATCH", "Field": name, "Value": value}
            for name, value in sorted({"regionCode": REGION, **one.where}.items())
        ],
    }
    with Stubber(client) as stub:
        for number, products in enumerate(pages):
            token = {"NextToken": f"t{number}"} if number + 1 < len(pages) else {}
            expected = {**request, **({"NextToken": f"t{number - 1}"} if number else {})}
            stub.add_response("get_products", {"PriceList": products, **token}, expected)
        found = look_up([one], REGION, client, spot)
        stub.assert_no_pending_responses()
    return found


def test_the_one_product_is_found_among_its_like() -> None:
    found = asked(
        GB_HOUR,
        [
            product("EUC1-Fargate-GB-Hours", ("0", "0.0051100000")),
            product("EUC1-SpotUsage-Fargate-ARM-GB-Hours", ("0", "0.001")),
        ],
        [product("EUC1-Fargate-ARM-GB-Hours", ("0", "0.0040900000"))],
    )
    assert found == Found({"fargate-arm64-gb-hour": Decimal("0.00409")}, {})


@pytest.mark.parametrize(
    "usage", ["Fargate-ARM-GB-Hours", "EU-Fargate-ARM-GB-Hours", f"{REGION}-Fargate-ARM-GB-Hours"]
)
def test_a_region_has_letters_a_name_or_none(usage: str) -> None:
    assert asked(GB_HOUR, [product(usage, ("0", "0.1"))]).amounts


def test_the_first_step_that_costs_is_the_price() -> None:
    steps = (("14000000", "0.0000010000"), ("0", "0.0000000000"))
    one = Wanted("scheduler-invocation", "AWSEvents", ("ScheduledInvocation",), {})
    assert asked(one, [product("EUC1-ScheduledInvocation", *steps)]).amounts == {
        "scheduler-invocation": Decimal("0.000001")
    }


@pytest.mark.parametrize("count", [0, 2])
def test_none_or_two_are_missing(count: int) -> None:
    found = asked(GB_HOUR, [product("EUC1-Fargate-ARM-GB-Hours", ("0", "0.1"))] * count)
    assert not found.amounts
    assert found.missing == {
        "fargate-arm64-gb-hour": f"{count} products are it, where one should be"
    }


# --- Spot ----------------------------------------------------------------------------------------

SPOT = Wanted("fargate-spot-arm64-gb-hour", "spot", ("ARM-GB-Hours",), {})


@pytest.fixture
def page() -> Iterator[tuple[str, list[bytes]]]:
    """A server with what the pricing page of Fargate reads."""
    body: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body[0])

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/fargate-spot-prices.json", body
    server.shutdown()
    thread.join()
    server.server_close()


def test_spots_price_is_that_of_the_region(page: tuple[str, list[bytes]]) -> None:
    address, body = page
    units = [("ARM-GB-Hours", REGION, "0.0013"), ("ARM-GB-Hours", "us-east-1", "0.0011")]
    units.append(("GB-Hours", REGION, "0.0016"))
    rows = [
        {"unit": unit, "price": {"USD": usd}, "attributes": {"aws:region": region}}
        for unit, region, usd in units
    ]
    body.append(json.dumps({"prices": rows}).encode())
    assert asked(SPOT, spot=address).amounts == {"fargate-spot-arm64-gb-hour": Decimal("0.0013")}


@pytest.mark.parametrize("content", [b"<html>", b'{"prices": [{}]}'])
def test_another_shape_is_a_problem(page: tuple[str, list[bytes]], content: bytes) -> None:
    address, body = page
    body.append(content)
    with pytest.raises(Problem, match="Spot's prices cannot be read"):
        asked(SPOT, spot=address)


# --- the file ------------------------------------------------------------------------------------


def test_what_was_not_found_stays_and_is_said(tmp_path: Any) -> None:
    content = read()
    found = Found(
        {"s3-put": Decimal("0.000006"), "ecr-gb-month": Decimal("0.10")}, {"s3-get": "no"}
    )
    assert list(difference(content, "us-east-1", found)) == [
        "changed  s3-put: 0.000005 → 0.000006",
        "missing  s3-get: no; 0.0000004 stays",
    ]
    file = tmp_path / "prices.json"
    file.write_text(written(merged(content, "us-east-1", found, "2027-01-02")))
    after, before = prices("us-east-1", file), prices("us-east-1")
    assert after["s3-put"] == Decimal("0.000006")
    assert after["s3-get"] == before["s3-get"]
    assert json.loads(file.read_text())["sources"]["price-list-us-east-1"]["as_of"] == "2027-01-02"


def test_a_region_becomes_known(tmp_path: Any) -> None:
    found = Found({"s3-put": Decimal("0.0000054")}, {})
    assert list(difference(read(), REGION, found)) == ["new      s3-put: 0.0000054"]
    file = tmp_path / "prices.json"
    file.write_text(written(merged(read(), REGION, found, "2027-01-02")))
    known = prices(REGION, file)
    assert (known["s3-put"], known.as_of) == (Decimal("0.0000054"), "2027-01-02")
    with pytest.raises(Problem, match="a price is not known"):
        known["nat-hour"]


def test_every_price_of_the_file_can_be_asked_for() -> None:
    names = [one.name for one in wanted(read())]
    assert len(names) == len(set(names)) > 40
