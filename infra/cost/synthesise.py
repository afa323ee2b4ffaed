"""The templates of some settings, in memory."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def templates(context: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """As `cdk synth` makes them: a stack's name, and its template."""
    from infra.app import app  # late: CDK takes seconds to import

    with tempfile.TemporaryDirectory() as folder:
        app(folder, context).synth()
        return {
            file.name.removesuffix(".template.json"): json.loads(file.read_text())
            for file in sorted(Path(folder).glob("*.template.json"))
        }
