"""Of the executor, what no local cloud comes to: images that ECS does not know apart, and replicas
that stay incomplete. The rest is in tests/asleep.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from deployments.orchestrator import executor, history
from deployments.orchestrator.executor import Executor
from deployments.orchestrator.life import Do, History, Phase
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
