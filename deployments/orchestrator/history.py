"""Prefect's database: brought back from S3, looked at before it is trusted, and brought home.

Each life writes a replica of its own below `lives/`, beginning with a copy of the whole. So nothing
that a life writes can damage an earlier one's, and two orchestrators cannot write the same.
"""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from deployments.litestream import NoHistory, Replica, restore, transactions
from deployments.orchestrator.journal import (
    FIRST_START,
    LIVES,
    PREFIX,
    Journal,
    life_folder,
    lives,
)
from flows.problem import Problem

SEED = Path(sys.prefix) / "share" / "nightshift" / "prefect.db"  # the Dockerfile makes it
KEPT = 5  # lives that stay restorable, the present one included
_BACK = 12  # states of a damaged replica that are tried, from the newest back

Say = Callable[[str], None]


def keys(s3: Any, bucket: str, prefix: str) -> list[str]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [each["Key"] for page in pages for each in page.get("Contents", ())]


def bring_back(
    s3: Any, replica: Replica, journal: Journal, database: Path, say: Say
) -> tuple[int, ...]:
    """Restores the newest good history into `database`; the lives that were found damaged.

    `replica`: of the journal's life; the others are beside it. Raises a Problem where there is no
    history and no first start was announced, and where S3 does not answer.
    """
    database.parent.mkdir(parents=True, exist_ok=True)
    there = lives(keys(s3, replica.bucket, LIVES))
    trusted = [life for life in there if not journal.life or life <= journal.life]
    if journal.life and journal.life not in there:
        say(f"life {journal.life}, which the journal names, has left nothing in S3")
    bad: list[int] = []
    for life in trusted:
        if life in journal.bad:
            continue
        of_life = Replica(replica.bucket, life_folder(life), replica.region, replica.endpoint)
        if _restored(of_life, database, say):
            say(f"restored life {life}, {database.stat().st_size / 1e6:.1f} MB")
            return tuple(bad)
        bad.append(life)
        say(
            f"the replica of life {life} is damaged; it is kept: s3://{of_life.bucket}/{of_life.path}/"
        )
    if there or journal.life:
        raise Problem(
            "no history in S3 can be restored",
            where={"bucket": replica.bucket, "prefix": LIVES},
            detail=f"tried {', '.join(map(str, trusted)) or 'nothing'}; the journal names "
            f"{journal.life or 'none'}",
            fix=f"move all below s3://{replica.bucket}/{PREFIX} away, and begin a new history: "
            "make wake NEW=1",
        )
    if not _announced(s3, replica.bucket):
        raise Problem(
            "there is no history in S3, and nobody has said that one is to begin",
            where={"bucket": replica.bucket, "prefix": LIVES},
            detail="another bucket or prefix than the history's would look the same",
            fix="see that it is the right one; if a new history is to begin: make wake NEW=1",
        )
    begin(database)
    say("a new history begins")
    return ()


def _announced(s3: Any, bucket: str) -> bool:
    return FIRST_START in keys(s3, bucket, FIRST_START)


def _restored(replica: Replica, database: Path, say: Say) -> bool:
    """Whether there is a good database now. Of a damaged replica the newest good state."""
    for number, transaction in enumerate(_states(replica)):
        remove(database)
        try:
            restore(replica, database, transaction=transaction)
        except NoHistory:
            return False
        except Problem as problem:
            if number == 0:
                say(str(problem))
            continue
        why = damage(database)
        if not why:
            if transaction:
                say(f"what was written after transaction {transaction} is lost")
            return True
        if number == 0:
            say(f"{replica.path} gives a damaged database: {why}")
    remove(database)
    return False


def _states(replica: Replica) -> Iterator[str | None]:
    """The newest, as Litestream finds it, and then the ends of its files, from the newest back."""
    yield None
    yield from transactions(replica)[: -_BACK - 1 : -1]


def damage(database: Path) -> str:
    """What is wrong with it; '' if it is a sound database of Prefect's."""
    try:
        with closing(sqlite3.connect(database)) as connection:
            (said,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            if said != "ok":
                return str(said)
            connection.execute("SELECT version_num FROM alembic_version").fetchone()
            return ""
    except sqlite3.DatabaseError as error:
        return str(error)


def begin(database: Path) -> None:
    """A new history: the image's empty one, or none where there is no image: Prefect makes it."""
    remove(database)
    if SEED.exists():
        shutil.copyfile(SEED, database)


def remove(database: Path) -> None:
    """With what SQLite and Litestream have beside it: a database that is put in its place must not
    meet the other's log.
    """
    for suffix in ("", "-wal", "-shm", ".tmp", ".tmp-wal", ".tmp-shm"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)
    forget_replica(database)


def forget_replica(database: Path) -> None:
    """Has Litestream begin a replica with a copy of the whole; it may not be running."""
    shutil.rmtree(database.with_name(f".{database.name}-litestream"), ignore_errors=True)


def reachable(s3: Any, bucket: str) -> bool:
    """Whether S3 answers at all: if not, nothing is the matter with what is in it."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        keys(s3, bucket, LIVES)
    except (BotoCoreError, ClientError):
        return False
    return True


def compact(database: Path, say: Say) -> None:
    """Gives back what pruning has freed, if it is a quarter. Before anything has it open: then it
    costs the one copy that each life begins with anyway.
    """
    if not database.exists():
        return
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        if free * 4 < pages:
            return
        before = database.stat().st_size
        connection.execute("VACUUM")
    say(f"vacuumed the history: {before / 1e6:.1f} to {database.stat().st_size / 1e6:.1f} MB")


# --- home ----------------------------------------------------------------------------------------


def verified(replica: Replica, database: Path) -> bool:
    """Whether the replica gives the same rows as the database. Nothing may be writing to it."""
    copy = database.with_name("verify.db")
    remove(copy)
    try:
        restore(replica, copy)
        return fingerprint(copy) == fingerprint(database)
    except NoHistory:
        return False
    finally:
        remove(copy)


def fingerprint(database: Path) -> str:
    """Of every row of every table, Litestream's own excepted."""
    digest = hashlib.sha256()
    with closing(sqlite3.connect(database)) as connection:
        connection.text_factory = bytes
        tables = [
            name.decode()
            for (name,) in connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE "
                "'CREATE VIRTUAL%' ORDER BY name"
            )
            if not name.startswith((b"_litestream", b"sqlite_"))
        ]
        for table in tables:
            digest.update(table.encode())
            for row in connection.execute(f'SELECT rowid, * FROM "{table}" ORDER BY rowid'):  # noqa: S608
                digest.update(repr(row).encode())
    return digest.hexdigest()


def prune(s3: Any, bucket: str, journal: Journal) -> list[int]:
    """Deletes the lives that nobody would go back to; which. Damaged ones stay for people."""
    there = lives(keys(s3, bucket, LIVES))
    former = [life for life in there if life <= journal.life and life not in journal.bad]
    doomed = [life for life in there if life not in former[:KEPT] and life not in journal.bad]
    for life in doomed:
        for key in keys(s3, bucket, f"{life_folder(life)}/"):
            s3.delete_object(Bucket=bucket, Key=key)
    return doomed
