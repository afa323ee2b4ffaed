"""A restored copy of Prefect's database, and what is read from it. The live one is not touched."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deployments.litestream import NoHistory, frozen, replica, restore
from deployments.operate import installation as aws
from deployments.operate.installation import Installation, asking
from deployments.operate.words import time_of
from deployments.orchestrator.journal import life_folder
from deployments.straighten import task_arn
from flows.problem import Problem


@dataclass(frozen=True)
class Run:
    """A flow run that was started, or is about to be."""

    id: str
    name: str
    deployment: str  # 'cost-report/daily'
    state: str
    type: str
    task: str  # its last ECS task's ARN; '' if there is none
    at: datetime | None  # when it came into its state


@contextmanager
def copy(at: Installation) -> Iterator[Path]:
    """The newest history as a database file in a folder that goes away. Raises Problem if there is
    none, or if it is on another server.
    """
    journal = aws.journal(at)
    if aws.mode(at) == "external":
        raise Problem(
            "this installation keeps no history of its own",
            where={"stack": at.stack},
            detail="its runs are on the Prefect server that it was deployed with",
            fix="look there: the setting prefect_api_url names it",
        )
    if journal is None or not journal.life:
        raise NoHistory(
            "there is no history yet",
            where={"stack": at.stack},
            detail="no orchestrator has brought one home",
            fix="start it: make wake, or make wake NEW=1 if it never was; and make status",
        )
    with asking("read the credentials"):
        credentials = frozen(at.session)
    with tempfile.TemporaryDirectory(prefix="nightshift-history-") as folder:
        database = Path(folder) / "prefect.db"
        place = replica(at.client("s3"), at.bucket, life_folder(journal.life))
        restore(place, database, credentials=credentials)
        yield database


# --- what is in it -------------------------------------------------------------------------------


@contextmanager
def opened(database: Path) -> Iterator[sqlite3.Connection]:
    """To be read only."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        yield connection


def as_of(database: Path) -> datetime | None:
    """The newest time in it; None if nothing was ever written."""
    newest = """
        SELECT max(at) FROM (
            SELECT max(updated) AS at FROM flow_run
            UNION ALL SELECT max(timestamp) FROM flow_run_state
            UNION ALL SELECT max(updated) FROM task_run
            UNION ALL SELECT max(timestamp) FROM log
            UNION ALL SELECT max(updated) FROM deployment
        )
    """
    with opened(database) as connection:
        (found,) = connection.execute(newest).fetchone()
    return time_of(found)


_RUNS = """
    SELECT flow_run.id, flow_run.name, flow.name, deployment.name, flow_run.state_name,
           flow_run.state_type, flow_run.infrastructure_pid, flow_run.state_timestamp
    FROM flow_run
    LEFT JOIN deployment ON deployment.id = flow_run.deployment_id
    LEFT JOIN flow ON flow.id = flow_run.flow_id
"""
_NEWEST = " ORDER BY coalesce(flow_run.start_time, flow_run.expected_start_time) DESC LIMIT "


def find(database: Path, wanted: str) -> Run | None:
    """By name, id, or how an id begins; the newest of several. '': the newest that was started."""
    if not wanted:
        return next(iter(newest(database, 1)), None)
    with opened(database) as connection:
        found = connection.execute(
            f"{_RUNS} WHERE flow_run.name = ?1 OR flow_run.id LIKE ?1 || '%'{_NEWEST}1",
            [wanted],
        ).fetchall()
    return _run(found[0]) if found else None


def newest(database: Path, count: int) -> list[Run]:
    """Of those that were started, the newest first. Subflows run within another's task."""
    with opened(database) as connection:
        found = connection.execute(
            f"{_RUNS} WHERE flow_run.state_type NOT IN ('SCHEDULED') "
            f"AND flow_run.parent_task_run_id IS NULL{_NEWEST}?",
            [count],
        ).fetchall()
    return [_run(row) for row in found]


def _run(row: tuple[Any, ...]) -> Run:
    id_, name, flow, deployment, state, kind, pid, at = row
    return Run(
        id=id_,
        name=name,
        deployment=f"{flow}/{deployment}" if deployment else str(flow or ""),
        state=state or "",
        type=kind or "",
        task=task_arn(pid),
        at=time_of(at),
    )


_LEVELS = ((50, "CRITICAL"), (40, "ERROR"), (30, "WARNING"), (20, "INFO"), (0, "DEBUG"))


def log_lines(database: Path, run: str) -> list[str]:
    """What the run has told Prefect, its tasks' lines included."""
    with opened(database) as connection:
        found = connection.execute(
            "SELECT timestamp, level, name, message FROM log WHERE flow_run_id = ? "
            "ORDER BY timestamp, rowid",
            [run],
        ).fetchall()
    return [_line(*row) for row in found]


def _line(at: str, level: int, logger: str, message: str) -> str:
    word = next(word for least, word in _LEVELS if level >= least)
    time = time_of(at)
    when = f"{time.astimezone(UTC):%H:%M:%S}.{time.microsecond // 1000:03}" if time else at
    return f"{when} | {word:<7} | {logger} - {message}"
