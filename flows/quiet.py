"""What a flow on a laptop has Prefect leave undone, as in the image. Before Prefect is imported."""

from __future__ import annotations

import os

# A private job tells nobody about itself; and the first start of a temporary API makes its
# database, which takes longer than Prefect would wait.
_SETTINGS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}


def quiet() -> None:
    """What the shell says holds."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
