"""Which installation this checkout is of, where nobody says: that of infra/settings.toml."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

from flows.problem import Problem

SETTINGS = Path(__file__).parents[1] / "infra" / "settings.toml"  # not in the image


def stack(environment: Mapping[str, str] = os.environ) -> str:
    """NIGHTSHIFT_STACK, or else the settings' `<name>-<stage>`."""
    if named := environment.get("NIGHTSHIFT_STACK"):
        return named
    settings = _settings()
    return f"{settings.get('name', 'nightshift')}-{settings.get('stage', 'prod')}"


def in_its_region(environment: MutableMapping[str, str] = os.environ) -> None:
    """Where the shell names no region it is the settings', as for `make deploy`: for boto3 and for
    the AWS CLI, which this process may start.
    """
    if region := _settings().get("region"):
        environment.setdefault("AWS_DEFAULT_REGION", str(region))


def _settings() -> dict[str, Any]:
    try:
        return tomllib.loads(SETTINGS.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise Problem(
            "a file of settings cannot be read",
            where={"file": SETTINGS},
            detail=str(error),
            fix="see what TOML is like: https://toml.io",
        ) from error
