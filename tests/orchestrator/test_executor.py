"""Of the executor, what no local cloud comes to: images that ECS does not know apart, and replicas
that stay incomplete. The rest is in tests/asleep.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from deployments.orchestrator import executor, history
from deployments.orchestrator.executor import Executor
from deployments.orchestrator.journal import REQUESTS
from deployments.orchestrator.life import Do, History, Phase, Program, SetWatchdog
from deployments.orchestrator.look import Looked
from tests.e2e.places import Bucket
from tests.orchestrator.test_environments import WHERE

OTHER = "sha256:" + "1" * 64


class Ecr:
    """Says which image is live."""

    def __init__(self) -> None:
        self.digest = OTHER
        self.refuses = ""

    def describe_images(self, **_: Any) -> Any:
        if self.refuses:
            raise ClientError({"Error": {"Code": self.refuses}}, "DescribeImages")
        return {"imageDetails": [{"imageDigest": self.digest}]}


@pytest.fixture
def ecr() -> Ecr:
    return Ecr()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def make(
    s3_client: Any, bucket: Bucket, tmp_path: Path, ecr: Ecr, said: list[str]
) -> Callable[..., Executor]:
    clients = {"s3": s3_client, "ecs": None, "scheduler": None, "ecr": ecr, "sns": None}

    def made(**changes: Any) -> Executor:
        where = replace(WHERE, bucket=bucket.bucket, **changes)
        one = Executor(where, clients.__getitem__, tmp_path, said.append, threading.Event())
        one._journal.read()
        one._take_over()
        return one

    return made


def test_another_image_is_live(make: Callable[..., Executor], ecr: Ecr) -> None:
    one = make()
    assert one._newer()
    assert one._journal.now.made_way == OTHER


def test_it_makes_way_once(make: Callable[..., Executor], said: list[str]) -> None:
    """ECS starts the same image again: to end for it once more would be to never sleep."""
    assert make()._newer()
    again = make()
    assert not again._newer()
    assert OTHER in again._journal.now.trouble


def test_it_makes_way_again_after_the_other_has_been(
    make: Callable[..., Executor], ecr: Ecr
) -> None:
    assert make()._newer()
    other = make(image=f"{WHERE.repository}@{OTHER}")  # it has come
    assert other._journal.now.made_way == ""
    ecr.digest = WHERE.digest  # back again
    assert other._newer()


@pytest.mark.parametrize("refuses", ["ImageNotFoundException", "AccessDeniedException"])
def test_what_is_live_cannot_be_seen(
    make: Callable[..., Executor], ecr: Ecr, refuses: str, said: list[str]
) -> None:
    ecr.refuses = refuses
    assert not make()._newer()
    assert refuses in "".join(said)


def test_a_replica_that_stays_incomplete_is_begun_anew(
    make: Callable[..., Executor], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The database is whole: a copy of all of it, elsewhere, is worth as much as the first was."""
    monkeypatch.setattr(history, "verified", lambda *_: False)
    monkeypatch.setattr(executor, "SLOWEST", 0)
    one = make()
    with closing(sqlite3.connect(tmp_path / "prefect.db")) as database, database:
        database.execute("CREATE TABLE t (x)")
    meta = tmp_path / ".prefect.db-litestream"
    meta.mkdir()
    one._seen = replace(one._seen, history=History.OURS, replicated=True, phase=Phase.LEAVE)
    life = one._life
    for _ in range(executor._UNVERIFIED):
        assert one._life == life
        one._do(Do.VERIFY)
    assert one._life == life + 1
    assert (one._seen.history, one._seen.replicated) == (History.HERE, False)
    assert one._seen.phase is Phase.WORK
    assert not one._seen.verified
    assert not meta.exists()


# --- requests ------------------------------------------------------------------------------------


@pytest.fixture
def looks(
    make: Callable[..., Executor], monkeypatch: pytest.MonkeyPatch
) -> Callable[[Program, float], tuple[bool, bool]]:
    """Looks at what there is to do, with a worker or without, so many seconds after the first time:
    whether S3 was asked for requests, and whether somebody asks for a run.
    """
    monkeypatch.setattr(executor, "connected", nullcontext)
    monkeypatch.setattr(executor, "look", lambda *_: Looked((), None, "", (), ()))
    one = make()
    began, waiting, asked = one._seen.now, one._requests.waiting, list[str]()

    def counted() -> tuple[str, ...]:
        asked.append("S3")
        return waiting()

    monkeypatch.setattr(one._requests, "waiting", counted)

    def looked(worker: Program, seconds: float) -> tuple[bool, bool]:
        now = began + timedelta(seconds=seconds)
        one._seen = replace(one._seen, now=now, worker=worker, watchdog=SetWatchdog())
        asked.clear()
        one._look_at_work()
        assert one._seen.work
        return bool(asked), one._seen.work.requests

    return looked


def test_requests_are_looked_for_less_often_while_runs_go_on(
    looks: Callable[[Program, float], tuple[bool, bool]], s3_client: Any, bucket: Bucket
) -> None:
    assert looks(Program.RUNNING, 0) == (True, False)
    s3_client.put_object(Bucket=bucket.bucket, Key=f"{REQUESTS}1.json", Body=b"{}")
    assert looks(Program.RUNNING, 14.9) == (False, False)
    assert looks(Program.RUNNING, 15) == (True, True)
    assert looks(Program.RUNNING, 18) == (False, True), "what was found is not forgotten"


def test_without_a_worker_none_is_missed(
    looks: Callable[[Program, float], tuple[bool, bool]], s3_client: Any, bucket: Bucket
) -> None:
    """It may go to sleep next."""
    assert looks(Program.RUNNING, 0) == (True, False)
    assert looks(Program.ABSENT, 1) == (True, False)
    s3_client.put_object(Bucket=bucket.bucket, Key=f"{REQUESTS}1.json", Body=b"{}")
    assert looks(Program.ABSENT, 2) == (True, True)
