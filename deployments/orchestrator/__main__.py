"""`python -m deployments.orchestrator`: wakes, works, and goes to sleep. Runs as an ECS task."""

from __future__ import annotations

import os
import signal
import sys
import threading
from datetime import UTC, datetime
from typing import Any

from flows.problem import Problem


def main() -> int:
    told_to_end = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told_to_end.set())
    try:
        return _live(told_to_end)
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 1


def _live(told_to_end: threading.Event) -> int:
    import boto3
    from botocore.config import Config

    from deployments.orchestrator.executor import Executor, scratch
    from deployments.orchestrator.surroundings import surroundings

    where = surroundings()
    # Before anything imports Prefect.
    os.environ["PREFECT_API_URL"] = where.api
    # The executor looks again by itself, at the server too: by default Prefect's client would wait
    # for a minute where that has died.
    os.environ["PREFECT_CLIENT_MAX_RETRIES"] = "1"
    config = Config(
        retries={"mode": "standard", "max_attempts": 4}, connect_timeout=5, read_timeout=20
    )

    def client(service: str) -> Any:
        return boto3.client(service, region_name=where.region, config=config)

    _say(f"{where.outputs.stack}: awake at {where.address}, image {where.digest}")
    status = Executor(where, client, scratch(), _say, told_to_end).live()
    # ECS ends whoever has set its service to 0: it need not make it look like a kill.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return status


def _say(text: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
