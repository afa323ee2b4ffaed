"""What a test cannot do without."""

from __future__ import annotations

import os

import pytest

# What takes minutes each, and is run before a version rather than before a change.
LONG = bool(os.environ.get("NIGHTSHIFT_LONG"))
ONLY_LONG = pytest.mark.skipif(not LONG, reason="takes minutes: NIGHTSHIFT_LONG=1 runs it")


def need(condition: object, reason: str) -> None:
    """Skips the test where something is missing; in CI nothing is skipped, it fails."""
    if condition:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"not skipped in CI: {reason}")
    pytest.skip(reason)
