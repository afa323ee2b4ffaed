"""What each of the orchestrator's programs is given, and what is in this image."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deployments import litestream
from deployments.check import checked
from deployments.orchestrator.surroundings import Surroundings
from deployments.prefect_yaml import DATA_BUCKET, PREFECT_YAML
from deployments.wanted import CatchUp, Wanted, with_roles
from deployments.work_pool import base_job_template, output
from flows.problem import Problem

SERVER = "prefect.server.api.server:create_app"
DAY = 24 * 60 * 60  # seconds

_SECRETS = ("PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING", "PREFECT_API_KEY")


def _base() -> dict[str, str]:
    """This process's own, without Prefect's: each program is given what it needs of that."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}


def of_litestream() -> dict[str, str]:
    """No password of Prefect's is its business."""
    return litestream.environment(given=_base())


def of_server(where: Surroundings, database: Path, *, known: bool) -> dict[str, str]:
    """`known`: this version of Prefect has had the history before. Then its tables are as they
    should be, and its block types are in them, which takes as long to find out as half a start.
    """
    once = "false" if known else "true"
    return {
        **_base(),
        "PREFECT__SERVER_FINAL": "1",  # nothing more is mounted after this
        "PREFECT_HOME": str(database.parent),
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{database}",
        "PREFECT_SERVER_API_AUTH_STRING": os.environ["PREFECT_SERVER_API_AUTH_STRING"],
        "PREFECT_API_DATABASE_MIGRATE_ON_START": once,
        "PREFECT_API_BLOCKS_REGISTER_ON_START": once,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_API_URL": "/api",  # wherever the browser has the page from
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(where.history_days * DAY),
        "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": "P7D",
        # Half a CPU may be busy for a while.
        "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
        "PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT": "60",
        "PREFECT_LOGGING_COLORS": "false",
        "DO_NOT_TRACK": "1",
    }


def of_worker(where: Surroundings, folder: Path) -> dict[str, str]:
    """Small: what it has of Prefect's, it gives to every ECS task that it starts."""
    kept = {name: os.environ[name] for name in _SECRETS[1:] if name in os.environ}
    return {
        **_base(),
        **kept,
        "PREFECT_API_URL": where.api,
        "PREFECT_HOME": str(folder / "worker"),
        "PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_SQS_QUEUE_NAME": where.queue,
        "PREFECT_WORKER_QUERY_SECONDS": "5",
        "PREFECT_LOGGING_COLORS": "false",
        "DO_NOT_TRACK": "1",
    }


def wanted(
    where: Surroundings, file: Path = PREFECT_YAML
) -> tuple[tuple[Wanted, ...], Problem | None]:
    """Every deployment that has a role; and what is to be said of those that have none yet: they
    came with a push, and their roles come with `make deploy`.
    """
    found = checked(file, _variables(where))
    roles, stack = where.outputs.roles, where.outputs.stack
    ready = [one for one in found if one.name in roles]
    without: Problem | None = None
    try:
        with_roles(found, roles, stack)
    except Problem as problem:
        without = problem
    return with_roles(ready, roles, stack), without


def catch_up(where: Surroundings, file: Path = PREFECT_YAML) -> Mapping[str, CatchUp]:
    """By deployment. A prefect.yaml that is not right is told of when it is reconciled."""
    try:
        return {one.name: one.catch_up for one in checked(file, _variables(where))}
    except Problem:
        return {}


def template(where: Surroundings) -> dict[str, Any]:
    return base_job_template(where.outputs.values, where.image, external=where.mode == "external")


def _variables(where: Surroundings) -> dict[str, str]:
    return {**os.environ, DATA_BUCKET: output(where.outputs.values, "DataBucket")}
