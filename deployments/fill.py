"""`{{ $VARIABLE }}` in prefect.yaml: filled in from the environment, as `prefect deploy` does."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

_VARIABLE = re.compile(r"\{\{\s*\$(\w+)\s*\}\}")
_PLACEHOLDER = re.compile(r"\{\{.*?\}\}")


def filled(value: Any, variables: Mapping[str, str]) -> Any:
    """The value with every variable that is set put in; others stay as they are written. An empty
    one is as good as none: no address or name is made with it.
    """
    if isinstance(value, str):
        return _VARIABLE.sub(lambda match: variables.get(match[1]) or match[0], value)
    if isinstance(value, dict):
        return {key: filled(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, variables) for item in value]
    if isinstance(value, date):
        return value.isoformat()  # YAML knows dates, JSON does not: as Prefect reads them
    return value


def unfilled(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Placeholders that nothing was put in for: key (`parameters.source`) and placeholder."""
    if isinstance(value, str):
        for match in _PLACEHOLDER.finditer(value):
            yield key, match[0]
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from unfilled(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for number, item in enumerate(value, start=1):
            yield from unfilled(item, f"{key}.{number}")
