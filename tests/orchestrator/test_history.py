"""The database comes home, and comes back, whatever has become of its copy."""

from __future__ import annotations

import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from deployments.litestream import Replica, command, config, environment
from deployments.orchestrator import history
from deployments.orchestrator.history import (
    KEPT,
    begin,
    bring_back,
    compact,
    damage,
    keys,
    prune,
    remove,
    verified,
)
from deployments.orchestrator.journal import FIRST_START, Journal, life_folder, lives
from flows.problem import Problem
from tests.e2e.places import Bucket

PATIENCE = 60  # seconds


def create(database: Path, rows: int = 0) -> None:
    """One that looks like Prefect's."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("CREATE TABLE run (name TEXT, state BLOB)")
        connection.execute("CREATE INDEX by_name ON run (name)")
    add(database, rows)


def add(database: Path, rows: int, size: int = 200) -> None:
    with closing(sqlite3.connect(database)) as connection:
        for number in range(rows):
            with connection:
                connection.execute(
                    "INSERT INTO run VALUES (?, randomblob(?))", (f"cat-{number}", size)
                )


def counted(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        (rows,) = connection.execute("SELECT count(*) FROM run").fetchone()
        return int(rows)


@contextmanager
def replicating(replica: Replica, database: Path) -> Iterator[None]:
    configured = database.with_name("litestream.yml")
    configured.write_text(config(replica, database))
    with database.with_name("log").open("wb") as log:
        running = subprocess.Popen(
            command("replicate", configured), env=environment(), stdout=log, stderr=log
        )
    try:
        yield
    finally:
        running.terminate()
        running.wait(PATIENCE)


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


class Place:
    """A state bucket with the lives that a test makes."""

    def __init__(self, s3: Any, bucket: str, endpoint: str, folder: Path) -> None:
        self.s3, self.bucket, self.endpoint, self.folder = s3, bucket, endpoint, folder
        self.database = folder / "home" / "prefect.db"
        self.said: list[str] = []

    def replica(self, life: int) -> Replica:
        return Replica(self.bucket, life_folder(life), "us-east-1", self.endpoint)

    def live(self, life: int, *rows: int) -> None:
        """A life that writes as many rows each time, each with files of their own in S3."""
        folder = self.folder / f"life-{life}"
        folder.mkdir()
        database = folder / "prefect.db"
        create(database)
        with replicating(self.replica(life), database):
            for more in rows:
                there = len(self.written(life))
                add(database, more)
                until(lambda there=there: len(self.written(life)) > there)  # type: ignore[misc]
        assert verified(self.replica(life), database)

    def written(self, life: int) -> list[str]:
        """Without the snapshot, which comes in its own time."""
        return [key for key in self.files(life) if "/0000/" in key]

    def files(self, life: int) -> list[str]:
        return keys(self.s3, self.bucket, f"{life_folder(life)}/")

    def first_start(self) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=FIRST_START, Body=b"{}")

    def cut(self, key: str) -> None:
        body = self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body[: len(body) // 2])

    def wake(self, journal: Journal) -> tuple[int, ...]:
        self.said.clear()
        return bring_back(
            self.s3, self.replica(journal.life), journal, self.database, self.said.append
        )


@pytest.fixture
def place(s3_client: Any, bucket: Bucket, s3_endpoint: str, tmp_path: Path) -> Place:
    return Place(s3_client, bucket.bucket, s3_endpoint, tmp_path)


# --- back ----------------------------------------------------------------------------------------


def test_the_journals_life_comes_back(place: Place) -> None:
    place.live(1, 10)
    place.live(2, 10, 5)
    assert place.wake(Journal(life=2)) == ()
    assert counted(place.database) == 15
    assert "restored life 2" in place.said[-1]
    # Over what is there, and what SQLite has left beside it.
    place.database.with_name("prefect.db-wal").write_bytes(b"of another")
    assert place.wake(Journal(life=1)) == ()
    assert counted(place.database) == 10
    # Where there is no journal: the newest.
    assert place.wake(Journal()) == ()
    assert counted(place.database) == 15


def test_a_life_that_nobody_has_adopted_is_not_the_history(place: Place) -> None:
    """Its orchestrator was killed before it had said what it had restored."""
    place.live(1, 10)
    place.live(2, 3)
    assert place.wake(Journal(life=1)) == ()
    assert counted(place.database) == 10
    assert prune(place.s3, place.bucket, Journal(life=1)) == [2]
    assert lives(keys(place.s3, place.bucket, "prefect/lives/")) == (1,)


@pytest.mark.parametrize("which", ["snapshot", "all"])
def test_a_damaged_life_is_passed_over_and_kept(place: Place, which: str) -> None:
    place.live(1, 10)
    place.live(2, 10, 5)
    doomed = [key for key in place.files(2) if which == "all" or "/0009/" in key]
    assert doomed
    for key in doomed:
        place.cut(key)
    before = place.files(2)
    bad = place.wake(Journal(life=2))
    assert bad == (2,)
    assert counted(place.database) == 10
    assert any("life 2 is damaged; it is kept" in line for line in place.said)
    assert place.files(2) == before
    # Next time it is not even looked at, and it is never pruned.
    assert place.wake(Journal(life=2, bad=bad)) == ()
    assert counted(place.database) == 10
    assert prune(place.s3, place.bucket, Journal(life=2, bad=bad)) == []
    assert place.files(2) == before


def test_of_a_damaged_end_the_newest_good_state(place: Place) -> None:
    """It costs what was written last, not the life."""
    place.live(1, 10)
    place.live(2, 10, 5, 7)
    level_0 = place.written(2)
    assert len(level_0) >= 3
    place.cut(level_0[-1])
    assert place.wake(Journal(life=2)) == ()
    assert 10 <= counted(place.database) < 22
    assert damage(place.database) == ""
    assert any("is lost" in line for line in place.said)
    assert level_0[-1] in place.files(2)


def test_a_life_that_is_gone(place: Place) -> None:
    place.live(1, 10)
    assert place.wake(Journal(life=2)) == ()
    assert counted(place.database) == 10
    assert "life 2, which the journal names, has left nothing in S3" in place.said[0]


def test_a_database_that_is_not_prefects_is_damaged(place: Place, tmp_path: Path) -> None:
    place.live(1, 10)
    other = tmp_path / "other"
    other.mkdir()
    with closing(sqlite3.connect(other / "prefect.db")) as connection, connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE shop (name TEXT)")
    with replicating(place.replica(2), other / "prefect.db"):
        until(lambda: bool(place.files(2)))
    assert place.wake(Journal(life=2)) == (2,)
    assert counted(place.database) == 10
    assert any("alembic_version" in line for line in place.said)


def test_nothing_can_be_restored(place: Place) -> None:
    """Not even an announced first start makes that an empty history."""
    place.live(1, 10)
    for key in place.files(1):
        place.cut(key)
    place.first_start()
    with pytest.raises(Problem, match="no history in S3 can be restored") as caught:
        place.wake(Journal(life=1))
    assert "tried 1" in caught.value.detail
    assert not place.database.exists()
    assert place.files(1)


def test_all_of_it_is_gone(place: Place) -> None:
    place.first_start()
    with pytest.raises(Problem, match="no history in S3 can be restored") as caught:
        place.wake(Journal(life=3))
    assert "tried nothing; the journal names 3" in caught.value.detail


def test_all_are_bad(place: Place) -> None:
    place.live(1, 1)
    with pytest.raises(Problem, match="no history in S3 can be restored"):
        place.wake(Journal(life=1, bad=(1,)))


def test_an_s3_that_is_away_damages_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.live(1, 1)
    place.live(2, 1)

    def away(*_: Any, **__: Any) -> None:
        raise Problem("the history cannot be restored", detail="away", fix="wait")

    monkeypatch.setattr(history, "restore", away)
    monkeypatch.setattr(history, "transactions", away)
    with pytest.raises(Problem, match="away"):
        place.wake(Journal(life=2))
    assert not any("damaged" in line for line in place.said)


# --- the first start -----------------------------------------------------------------------------


def test_a_new_history_is_announced_first(place: Place) -> None:
    with pytest.raises(Problem, match="nobody has said that one is to begin") as caught:
        place.wake(Journal())
    assert "make wake NEW=1" in str(caught.value)
    place.first_start()
    assert place.wake(Journal()) == ()
    assert place.said == ["a new history begins"]


def test_a_history_that_is_there_is_taken_up_though_a_first_start_is_announced(
    place: Place,
) -> None:
    place.live(1, 10)
    place.first_start()
    assert place.wake(Journal()) == ()
    assert counted(place.database) == 10


def test_it_begins_with_the_images_empty_one(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seed = tmp_path / "seed.db"
    create(seed)
    monkeypatch.setattr(history, "SEED", seed)
    place.first_start()
    place.wake(Journal())
    assert counted(place.database) == 0
    add(place.database, 1)
    begin(place.database)
    assert counted(place.database) == 0
    assert counted(seed) == 0
    monkeypatch.setattr(history, "SEED", tmp_path / "none")
    begin(place.database)
    assert list(place.database.parent.iterdir()) == []


def test_nothing_of_the_former_stays(tmp_path: Path) -> None:
    database = tmp_path / "prefect.db"
    for name in ("prefect.db", "prefect.db-wal", "prefect.db-shm", "prefect.db.tmp"):
        (tmp_path / name).write_text("old")
    (tmp_path / ".prefect.db-litestream" / "ltx").mkdir(parents=True)
    (tmp_path / "other.db").write_text("mine")
    remove(database)
    assert [path.name for path in tmp_path.iterdir()] == ["other.db"]
    remove(database)


# --- small ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kept", "shrinks"), [(0.5, True), (0.9, False)])
def test_it_is_vacuumed_where_a_quarter_is_free(tmp_path: Path, kept: float, shrinks: bool) -> None:
    database = tmp_path / "prefect.db"
    create(database)
    with closing(sqlite3.connect(database)) as connection:
        with connection:
            for _ in range(400):
                connection.execute("INSERT INTO run VALUES ('cat', randomblob(4000))")
        with connection:
            connection.execute("DELETE FROM run WHERE rowid > ?", (400 * kept,))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size, rows = database.stat().st_size, counted(database)
    said: list[str] = []
    compact(database, said.append)
    assert (database.stat().st_size < size * 0.75) == shrinks
    assert len(said) == shrinks
    assert counted(database) == rows
    assert damage(database) == ""
    said.clear()
    compact(database, said.append)
    assert said == [], "there is nothing more to give back"


def test_none_is_not_vacuumed(tmp_path: Path) -> None:
    compact(tmp_path / "prefect.db", lambda text: pytest.fail(text))
    assert list(tmp_path.iterdir()) == []


# --- home ----------------------------------------------------------------------------------------


def test_home_is_where_all_of_it_is(place: Place) -> None:
    folder = place.folder / "life-1"
    place.live(1, 10)
    database = folder / "prefect.db"
    assert verified(place.replica(1), database)
    for change in (
        "INSERT INTO run VALUES ('late', NULL)",
        "UPDATE run SET state = x'00' WHERE rowid = 3",
        "DELETE FROM run WHERE rowid = 5",
        "CREATE TABLE more (x)",
    ):
        with replicating(place.replica(1), database):
            until(lambda: verified(place.replica(1), database))
        with closing(sqlite3.connect(database)) as connection, connection:
            connection.execute(change)
        assert not verified(place.replica(1), database)
    assert not (folder / "verify.db").exists()


def test_nothing_in_s3_is_not_home(place: Place) -> None:
    place.folder.joinpath("x").mkdir()
    database = place.folder / "x" / "prefect.db"
    create(database, 1)
    assert not verified(place.replica(1), database)


def test_a_copy_that_was_left_half_way_is_no_hindrance(place: Place) -> None:
    place.live(1, 10)
    database = place.folder / "life-1" / "prefect.db"
    database.with_name("verify.db").write_text("killed while it verified")
    assert verified(place.replica(1), database)


# --- prune ---------------------------------------------------------------------------------------


def put(place: Place, *numbers: int) -> None:
    for life in numbers:
        for name in ("0000/a.ltx", "0009/b.ltx"):
            place.s3.put_object(Bucket=place.bucket, Key=f"{life_folder(life)}/{name}", Body=b"x")


def there(place: Place) -> tuple[int, ...]:
    return lives(keys(place.s3, place.bucket, "prefect/lives/"))


def test_so_many_lives_are_kept(place: Place) -> None:
    put(place, *range(1, 13))
    assert prune(place.s3, place.bucket, Journal(life=12)) == [7, 6, 5, 4, 3, 2, 1]
    assert there(place) == (12, 11, 10, 9, 8)
    assert len(there(place)) == KEPT
    assert prune(place.s3, place.bucket, Journal(life=12)) == []


def test_damaged_ones_stay_and_do_not_count(place: Place) -> None:
    put(place, *range(1, 13))
    prune(place.s3, place.bucket, Journal(life=12, bad=(2, 11)))
    assert there(place) == (12, 11, 10, 9, 8, 7, 2)


def test_what_came_to_nothing_goes(place: Place) -> None:
    put(place, 4, 5, 6, 7)
    assert prune(place.s3, place.bucket, Journal(life=5)) == [7, 6]
    assert there(place) == (5, 4)


@pytest.mark.parametrize("life", [1, 3, 12])
def test_never_the_journals_own(place: Place, life: int) -> None:
    put(place, *range(1, 13))
    for bad in ((), tuple(range(1, 13))):
        prune(place.s3, place.bucket, Journal(life=life, bad=bad))
        assert life in there(place)


def test_a_life_is_not_another_whose_number_begins_like_it(place: Place) -> None:
    put(place, 1, *range(10, 16))
    assert prune(place.s3, place.bucket, Journal(life=15)) == [10, 1]
    assert there(place) == (15, 14, 13, 12, 11)


def test_only_lives_are_pruned(place: Place) -> None:
    put(place, *range(1, 8))
    others = ["prefect/orchestrator.json", "prefect/requests/a.json", "prefect/lives/readme.txt"]
    for key in others:
        place.s3.put_object(Bucket=place.bucket, Key=key, Body=b"{}")
    prune(place.s3, place.bucket, Journal(life=7))
    assert set(others) <= set(keys(place.s3, place.bucket, ""))
