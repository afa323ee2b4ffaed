"""What a test cannot do without."""

from __future__ import annotations

import os

import pytest


def need(condition: object, reason: str) -> None:
    """Skips the test where something is missing; in CI nothing is skipped, it fails."""
    if condition:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"not skipped in CI: {reason}")
    pytest.skip(reason)
