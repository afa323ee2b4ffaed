"""What a rule's target gets of an event. Pure: nothing of moto in here.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html

A template that is a string keeps its quotation marks: AWS sends JSON, so that a mail has them too.
Recorded on AWS (custom-variables-match-all):
https://github.com/localstack/localstack/blob/main/tests/aws/services/events/test_events_inputs.snapshot.json
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

Json = Mapping[str, Any]

_STEP = re.compile(r"\.(?P<name>[\w\-/]+|\*)|\[(?P<index>\d+|\*)\]")
_VARIABLE = re.compile(r"<(?P<name>[\w.\-]+)>")
_QUOTE = re.compile(r'\\.|(?P<quote>")', re.DOTALL)
_ABSENT = object()


def text(target: Json, event: Json, rule_arn: str, received: str) -> str:
    """The JSON text of a target as PutTargets has it. `received`: the time, ISO 8601.

    Raises ValueError for a path that EventBridge does not know.
    """
    if "Input" in target:
        return str(target["Input"])
    if "InputPath" in target:
        found = value(event, str(target["InputPath"]))
        return compact(None if found is _ABSENT else found)
    if "InputTransformer" in target:
        given = target["InputTransformer"]
        known: dict[str, Any] = {
            name: value(event, path) for name, path in (given.get("InputPathsMap") or {}).items()
        }
        known |= {
            "aws.events.rule-arn": rule_arn,
            "aws.events.rule-name": rule_arn.split("/")[-1],
            "aws.events.event.ingestion-time": received,
            "aws.events.event": {key: part for key, part in event.items() if key != "detail"},
            "aws.events.event.json": dict(event),
        }
        return filled(str(given["InputTemplate"]), known)
    return compact(dict(event))


def filled(template: str, known: Json) -> str:
    """Within a string a value is put as it is, not escaped; elsewhere as JSON. A variable that the
    event has nothing for is empty: of one outside of a string AWS does not say it, here it is "".
    """

    def put(match: re.Match[str]) -> str:
        found = known.get(match["name"], _ABSENT)
        within = sum(1 for m in _QUOTE.finditer(template, 0, match.start()) if m["quote"]) % 2
        if found is _ABSENT:
            return "" if within else '""'
        return found if within and isinstance(found, str) else compact(found)

    made = _VARIABLE.sub(put, template)
    try:
        return compact(json.loads(made))  # "the JSON that is passed to the target is minified"
    except ValueError:
        return made  # a value had a quotation mark


def value(event: Any, path: str) -> Any:
    """What the event has there; of a wildcard the list of all. Raises ValueError."""
    if not path.startswith("$") or _STEP.sub("", path[1:]):
        raise ValueError(f"{path!r} is no JSON path that EventBridge knows")
    found, many = [event], False
    for step in _STEP.finditer(path):
        many = many or "*" in (step["name"], step["index"])
        found = [below for one in found for below in _below(one, step["name"], step["index"])]
    if many:
        return found
    return found[0] if found else _ABSENT


def _below(one: Any, name: str | None, index: str | None) -> list[Any]:
    key = name or index or ""
    if key == "*":
        return list(one.values()) if isinstance(one, dict) else one if isinstance(one, list) else []
    if index is not None:
        return one[int(index) : int(index) + 1] if isinstance(one, list) else []
    return [one[key]] if isinstance(one, dict) and key in one else []


def compact(found: Any) -> str:
    return json.dumps(found, separators=(",", ":"), ensure_ascii=False)
