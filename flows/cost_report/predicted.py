"""What an installation was predicted to cost: predicted.json at the root of the destination.

`make cost OUT=…` and `make deploy` write it. It is a side matter: without it, or with one that
cannot be read, the report says what the bill says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from flows.problem import Problem
from flows.storage import storage

NAME = "predicted.json"

_AMOUNT = re.compile(r"-?\d{1,12}(\.\d{1,18})?(E-\d{1,2})?")  # as Decimal writes small ones


@dataclass(frozen=True)
class Prediction:
    """What an installation should cost a month, in USD, by service."""

    installation: str  # the value of its tag, `nightshift-prod`
    monthly_total: Decimal
    services: Mapping[str, Decimal]  # service → USD a month, all of its lines
    prices_as_of: str


def predicted(destination: str) -> Prediction | None:
    """The prediction at a destination, or None. One of another shape is a Problem."""
    store = storage(destination)
    content = store.read(NAME)
    if content is None:
        return None
    try:
        return _prediction(json.loads(content))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Problem(
            f"{NAME} is not a prediction of costs",
            where={"file": store.address(NAME)},
            detail=str(error).partition("\n")[0] or type(error).__name__,
            fix="write it anew: make cost OUT=<this destination>",
        ) from error


def _prediction(found: object) -> Prediction:
    body = _mapping(found)
    services: dict[str, Decimal] = {}
    lines = body["lines"]
    if not isinstance(lines, list):
        raise TypeError("lines is no list")
    for number, each in enumerate(lines, 1):
        line = _mapping(each, f"line {number}")
        service = _text(line, "service")
        services[service] = services.get(service, Decimal(0)) + _amount(line, "monthly_usd")
    return Prediction(
        _text(body, "installation"),
        _amount(body, "monthly_total_usd"),
        services,
        _text(body, "prices_as_of") if body.get("prices_as_of") is not None else "",
    )


def _mapping(found: object, what: str = "the file") -> Mapping[str, object]:
    if not isinstance(found, dict):
        raise TypeError(f"{what} is no object")
    return found


def _text(body: Mapping[str, object], key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str):
        raise TypeError(f"{key} is no text: {value!r:.100}")
    return value.encode("utf-8", "replace").decode()  # a lone surrogate fits into no file


def _amount(body: Mapping[str, object], key: str) -> Decimal:
    """A text, as money is in JSON: a float would not be what somebody wrote."""
    value = body.get(key)
    if not isinstance(value, str) or not _AMOUNT.fullmatch(value):
        raise ValueError(f"{key} is no amount in USD as text: {value!r:.100}")
    return Decimal(value)
