"""A deployment on the Prefect server of the session, whose database can be written to: what is
tested here is about times that have passed. Importing this sets hypothesis up, too, before any test
is defined.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate

from tests.conftest import SESSION
from tests.unit import examples as examples

Deploy = Callable[..., UUID]
Edit = Callable[..., None]


@pytest.fixture
def pool(prefect: SyncPrefectClient) -> str:
    return prefect.create_work_pool(WorkPoolCreate(name="fargate", type="ecs")).name


@pytest.fixture
def deploy(prefect: SyncPrefectClient, pool: str) -> Deploy:
    """Makes a deployment; its id. `schedules`: by their slugs."""

    def deployed(name: str = "daily", schedules: dict[str, Any] | None = None, **more: Any) -> UUID:
        return prefect.create_deployment(
            flow_id=prefect.create_flow_from_name("report"),
            name=name,
            work_pool_name=pool,
            schedules=[
                DeploymentScheduleCreate(schedule=schedule, slug=slug, active=True)
                for slug, schedule in (schedules or {}).items()
            ],
            **more,
        )

    return deployed


@pytest.fixture
def edit(prefect: SyncPrefectClient) -> Edit:
    """Sets columns of the rows of a table that belong to a deployment."""

    def edited(table: str, deployment: UUID, **values: Any) -> None:
        column = "id" if table == "deployment" else "deployment_id"
        settings = ", ".join(f"{name} = ?" for name in values)
        given = [
            value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
            if isinstance(value, datetime)
            else value
            for value in values.values()
        ]
        file = SESSION / "prefect-server" / "prefect.db"
        with closing(sqlite3.connect(file, timeout=60)) as database, database:
            done = database.execute(
                f"UPDATE {table} SET {settings} WHERE {column} = ?", [*given, str(deployment)]
            )
            assert done.rowcount > 0

    return edited
