"""Litestream against an S3: what is brought back, and what is said when nothing can be."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
import yaml

from deployments.litestream import (
    NoHistory,
    Replica,
    command,
    config,
    environment,
    frozen,
    replica,
    restore,
)
from flows.problem import Problem
from tests.e2e.places import Bucket

PLACE = Replica("the-state", "prefect/lives/17", "eu-west-1")


# --- what it is told -----------------------------------------------------------------------------


def test_against_aws_it_is_told_no_endpoint() -> None:
    (database,) = yaml.safe_load(config(PLACE, Path("/d/prefect.db")))["dbs"]
    assert database["path"] == "/d/prefect.db"
    assert database["replica"] == {
        "type": "s3",
        "bucket": "the-state",
        "path": "prefect/lives/17",
        "region": "eu-west-1",
        "sync-interval": "1s",
    }


def test_an_emulator_is_asked_by_path() -> None:
    place = Replica("b", "p", "us-east-1", "http://127.0.0.1:4566")
    (database,) = yaml.safe_load(config(place, Path("/d")))["dbs"]
    assert database["replica"]["endpoint"] == "http://127.0.0.1:4566"
    assert database["replica"]["force-path-style"] is True


@pytest.mark.parametrize(
    ("endpoint", "told"),
    [
        ("https://s3.eu-west-1.amazonaws.com", None),
        ("https://s3.cn-north-1.amazonaws.com.cn", None),
        ("http://127.0.0.1:4566", "http://127.0.0.1:4566"),
    ],
)
def test_the_endpoint_is_the_clients(endpoint: str, told: str | None) -> None:
    meta = SimpleNamespace(endpoint_url=endpoint, region_name="eu-west-1")
    assert replica(SimpleNamespace(meta=meta), "b", "p") == Replica("b", "p", "eu-west-1", told)


def test_a_bundle_of_certificates_is_handed_over_as_go_wants_it() -> None:
    assert environment(given={"AWS_CA_BUNDLE": "/ca.pem"}) == {"SSL_CERT_FILE": "/ca.pem"}
    own = {"AWS_CA_BUNDLE": "/ca.pem", "SSL_CERT_FILE": "/other.pem"}
    assert environment(given=own) == {"SSL_CERT_FILE": "/other.pem"}
    assert environment(given={"AWS_CA_BUNDLE": "", "HOME": "/h"}) == {"HOME": "/h"}


def test_credentials_take_the_place_of_a_profile() -> None:
    session = boto3.Session("key", "secret", "token")
    given = {"AWS_PROFILE": "p", "AWS_SESSION_TOKEN": "old", "HOME": "/h"}
    assert environment(frozen(session), given) == {
        "HOME": "/h",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_SESSION_TOKEN": "token",
    }
    fixed = environment(frozen(boto3.Session("key", "secret")), {"AWS_SESSION_TOKEN": "old"})
    assert "AWS_SESSION_TOKEN" not in fixed


def test_who_is_nobody_is_told_to_log_in() -> None:
    with pytest.raises(Problem, match="AWS does not know who you are"):
        frozen(SimpleNamespace(get_credentials=lambda: None))


# --- what it does --------------------------------------------------------------------------------


@pytest.fixture
def place(s3_endpoint: str, bucket: Bucket) -> Replica:
    return Replica(bucket.bucket, "prefect/lives/1", "us-east-1", s3_endpoint)


@contextmanager
def replicating(place: Replica, database: Path) -> Iterator[subprocess.Popen[bytes]]:
    configured = database.with_name("litestream.yml")
    configured.write_text(config(place, database))
    with database.with_name("log").open("wb") as log:
        running = subprocess.Popen(
            command("replicate", configured), env=environment(), stdout=log, stderr=log
        )
    try:
        yield running
    finally:
        running.kill()
        running.wait()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "live" / "prefect.db"
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as made:
        made.execute("pragma journal_mode=wal")
        made.execute("create table run (number integer primary key)")
        made.commit()
        yield path


def add(database: Path, count: int) -> None:
    with closing(sqlite3.connect(database)) as opened:
        for _ in range(count):
            opened.execute("insert into run default values")
            opened.commit()


def counted(database: Path) -> int:
    with closing(sqlite3.connect(database)) as opened:
        return int(opened.execute("select count(*) from run").fetchone()[0])


def files(s3: Any, place: Replica) -> list[str]:
    found = s3.list_objects_v2(Bucket=place.bucket, Prefix=place.path).get("Contents", ())
    return [each["Key"] for each in found]


def until(true: Any, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_what_was_there_a_sync_before_kill_9_comes_back(
    place: Replica, database: Path, tmp_path: Path, s3_client: Any
) -> None:
    with replicating(place, database) as running:
        until(lambda: files(s3_client, place))
        before = len(files(s3_client, place))
        add(database, 200)
        until(lambda: len(files(s3_client, place)) > before)
        time.sleep(2.5)
        running.send_signal(signal.SIGKILL)
    restore(place, tmp_path / "copy.db")
    assert counted(tmp_path / "copy.db") == 200
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy.db", "live"]  # nothing is left over


def test_an_empty_place_is_no_history(place: Replica, tmp_path: Path) -> None:
    with pytest.raises(NoHistory) as raised:
        restore(place, tmp_path / "copy.db")
    assert raised.value.where == {"copy": place.address}
    assert not list(tmp_path.iterdir())


@pytest.fixture
def replicated(place: Replica, database: Path, s3_client: Any) -> Replica:
    add(database, 300)
    with replicating(place, database):
        until(lambda: files(s3_client, place))
        time.sleep(1.5)
    return place


def damaged_front(content: bytes) -> bytes:
    return b"x" * 100 + content[100:]


def damaged_middle(content: bytes) -> bytes:
    half = len(content) // 2
    return (
        content[:half]
        + bytes(byte ^ 255 for byte in content[half : half + 64])
        + content[half + 64 :]
    )


def cut_short(content: bytes) -> bytes:
    return content[: len(content) // 2]


@pytest.mark.parametrize("damage", [damaged_front, damaged_middle, cut_short])
def test_a_damaged_copy_is_a_problem_and_no_database(
    replicated: Replica, tmp_path: Path, s3_client: Any, damage: Any
) -> None:
    for key in files(s3_client, replicated):
        body = s3_client.get_object(Bucket=replicated.bucket, Key=key)["Body"].read()
        s3_client.put_object(Bucket=replicated.bucket, Key=key, Body=damage(body))
    with pytest.raises(Problem, match="cannot be restored") as raised:
        restore(replicated, tmp_path / "copy.db")
    assert not isinstance(raised.value, NoHistory)
    assert raised.value.detail
    assert not (tmp_path / "copy.db").exists()


def test_no_such_bucket_is_a_problem_and_not_an_empty_history(
    place: Replica, tmp_path: Path
) -> None:
    other = Replica("nobody-has-this-bucket", place.path, place.region, place.endpoint)
    with pytest.raises(Problem, match="NoSuchBucket") as raised:
        restore(other, tmp_path / "copy.db")
    assert not isinstance(raised.value, NoHistory)


def test_an_s3_that_does_not_answer_is_given_up(tmp_path: Path) -> None:
    away = Replica("b", "p", "us-east-1", "http://127.0.0.1:9")
    with pytest.raises(Problem, match="within 1 s"):
        restore(away, tmp_path / "copy.db", seconds=1)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there_is_left_alone(place: Replica, tmp_path: Path) -> None:
    (tmp_path / "copy.db").write_text("mine")
    with pytest.raises(Problem, match="there is a file"):
        restore(place, tmp_path / "copy.db")
    assert (tmp_path / "copy.db").read_text() == "mine"


def test_a_path_with_a_dollar_is_no_variable(
    replicated: Replica, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", "/no/such/file.pem")
    folder = tmp_path / "$HOME"
    folder.mkdir()
    restore(replicated, folder / "copy.db")
    assert counted(folder / "copy.db") == 300
