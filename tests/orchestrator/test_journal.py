"""Who has the history is one object in S3, and never two orchestrators' at once."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from deployments.orchestrator.journal import (
    KEY,
    Journal,
    JournalObject,
    Replaced,
    life_folder,
    lives,
    parsed,
)
from flows.problem import Problem
from tests.e2e.places import Bucket


class LostAnswers:
    """An S3 that does what it is told, and tells nobody, `times` over."""

    def __init__(self, s3: Any, times: int = 1) -> None:
        self._s3, self.times = s3, times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._s3, name)

    def put_object(self, **given: Any) -> Any:
        answer = self._s3.put_object(**given)
        if self.times:
            self.times -= 1
            raise ConnectionClosedError(endpoint_url="http://s3")
        return answer


FULL = Journal(
    holder="arn:aws:ecs:eu-west-1:123456789012:task/a/b",
    life=17,
    began="2026-11-26T21:00:00Z",
    doing="working",
    since="2026-11-26T21:00:20Z",
    because="1 run busy: amber-fox of cost-report/daily",
    wake_up="2026-11-27T05:57:00Z",
    next=({"deployment": "cost-report/daily", "run": "a-b", "at": "2026-11-27T06:00:00Z"},),
    last=({"deployment": "cost-report/daily", "run": "c-d", "state": "Completed"},),
    image="nightshift@sha256:00",
    bad=(12, 15),
)


@pytest.fixture
def journal(s3_client: Any, bucket: Bucket) -> JournalObject:
    return JournalObject(s3_client, bucket.bucket)


def another(s3: Any, bucket: Bucket) -> JournalObject:
    return JournalObject(s3, bucket.bucket)


def test_there_is_none_yet(journal: JournalObject) -> None:
    assert journal.read() == Journal()
    assert journal.now == Journal(doing="asleep", life=0, holder="")


def test_it_is_read_as_it_was_written(
    journal: JournalObject, s3_client: Any, bucket: Bucket
) -> None:
    journal.write(FULL)
    assert journal.now == FULL
    assert another(s3_client, bucket).read() == FULL
    body = s3_client.get_object(Bucket=bucket.bucket, Key=KEY)["Body"].read()
    assert json.loads(body) == json.loads(json.dumps(asdict(FULL)))


def test_one_of_two_that_begin_a_history_takes_over(
    journal: JournalObject, s3_client: Any, bucket: Bucket
) -> None:
    other = another(s3_client, bucket)
    assert journal.read() == other.read() == Journal()
    journal.change(holder="one")
    with pytest.raises(Replaced):
        other.change(holder="two")
    assert another(s3_client, bucket).read().holder == "one"


def test_one_of_two_that_wake_takes_over(
    journal: JournalObject, s3_client: Any, bucket: Bucket
) -> None:
    journal.write(Journal(life=3))
    one, two = another(s3_client, bucket), another(s3_client, bucket)
    one.read()
    two.read()
    two.change(holder="two")
    with pytest.raises(Replaced):
        one.change(holder="one")
    two.change(doing="working")
    assert another(s3_client, bucket).read() == Journal(holder="two", life=3, doing="working")


def test_who_was_replaced_finds_out_at_its_next_word(
    journal: JournalObject, s3_client: Any, bucket: Bucket
) -> None:
    journal.change(holder="one")
    successor = another(s3_client, bucket)
    successor.read()
    successor.change(holder="two")
    with pytest.raises(Replaced):
        journal.change(because="1 run busy")
    assert another(s3_client, bucket).read().holder == "two"


def test_one_that_is_deleted_is_no_longer_ours(
    journal: JournalObject, s3_client: Any, bucket: Bucket
) -> None:
    journal.change(holder="one")
    s3_client.delete_object(Bucket=bucket.bucket, Key=KEY)
    with pytest.raises((Replaced, ClientError)):
        journal.change(because="1 run busy")


@pytest.mark.parametrize("there", [False, True])
def test_a_lost_answer_is_not_somebody_else(
    s3_client: Any, bucket: Bucket, journal: JournalObject, there: bool
) -> None:
    if there:
        journal.write(FULL)
    s3 = LostAnswers(s3_client)
    mine = JournalObject(s3, bucket.bucket)
    mine.read()
    with pytest.raises(ConnectionClosedError):
        mine.change(holder="me")
    mine.change(holder="me")  # tried again, as the executor does
    mine.change(doing="working")
    assert another(s3_client, bucket).read().doing == "working"


def test_a_lost_answer_and_then_somebody_else(s3_client: Any, bucket: Bucket) -> None:
    mine = JournalObject(LostAnswers(s3_client), bucket.bucket)
    mine.read()
    with pytest.raises(ConnectionClosedError):
        mine.change(holder="me")
    other = another(s3_client, bucket)
    other.read()
    other.change(holder="other")
    with pytest.raises(Replaced):
        mine.change(holder="me")


def test_nothing_new_is_not_written(journal: JournalObject, s3_client: Any, bucket: Bucket) -> None:
    journal.write(FULL)
    before = s3_client.head_object(Bucket=bucket.bucket, Key=KEY)["LastModified"]
    s3_client.delete_object(Bucket=bucket.bucket, Key=KEY)
    journal.change(holder=FULL.holder, life=17)
    assert s3_client.list_objects_v2(Bucket=bucket.bucket)["KeyCount"] == 0
    assert before


def test_no_s3_is_not_an_empty_journal(s3_client: Any, journal: JournalObject) -> None:
    gone = JournalObject(s3_client, "nobody-has-this-bucket")
    with pytest.raises(ClientError, match="NoSuchBucket"):
        gone.read()


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"null", b"5", b"[]", b"[1]", b'"life"', b"\xff"),
        *(b'{"life": "seventeen"}', b'{"life": null}', b'{"life": []}', b'{"bad": 5}'),
    ],
)
def test_what_is_no_journal_is_a_problem(
    journal: JournalObject, s3_client: Any, bucket: Bucket, body: bytes
) -> None:
    """And no reason to begin anew."""
    s3_client.put_object(Bucket=bucket.bucket, Key=KEY, Body=body)
    with pytest.raises(Problem, match="journal cannot be read") as caught:
        journal.read()
    assert caught.value.where == {"object": f"s3://{bucket.bucket}/{KEY}"}


def test_what_a_newer_version_writes_is_passed_over() -> None:
    assert parsed(b'{"life": 4, "mood": "good"}', "") == Journal(life=4)
    assert parsed(b'{"next": null, "last": null, "bad": null}', "") == Journal()


def test_the_lives_there_are() -> None:
    keys = [
        *("prefect/lives/9/0000/a.ltx", "prefect/lives/9/0001/a.ltx", "prefect/lives/10/x"),
        *(
            "prefect/lives/",
            "prefect/lives/old/x",
            "prefect/lives/-1/x",
            "prefect/orchestrator.json",
        ),
        *("prefect/lives/2", "lives/99/x"),
    ]
    assert lives(keys) == (10, 9, 2)
    assert lives([]) == ()
    assert life_folder(10) == "prefect/lives/10"


class LosesAnswers:
    """An S3 that writes, and whose answer does not arrive: as many times as it is told."""

    def __init__(self, s3: Any, times: int) -> None:
        self._s3, self._times = s3, times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._s3, name)

    def put_object(self, **request: Any) -> Any:
        answer = self._s3.put_object(**request)
        if self._times:
            self._times -= 1
            raise ReadTimeoutError(endpoint_url="http://s3")
        return answer


def test_a_lost_answer_and_then_something_else_to_say(s3_client: Any, bucket: Bucket) -> None:
    """The journal is its own all the same: what ran would be stopped for another otherwise."""
    journal = another(s3_client, bucket)
    journal.change(holder="one", began="2026-11-26T06:00:00Z")
    journal._s3 = LosesAnswers(s3_client, 1)
    with pytest.raises(ReadTimeoutError):
        journal.change(because="1 run busy")
    journal.change(because="2 runs busy")
    assert another(s3_client, bucket).read() == journal.now
    assert journal.now.because == "2 runs busy"


def test_who_was_replaced_does_not_take_it_back(s3_client: Any, bucket: Bucket) -> None:
    journal = another(s3_client, bucket)
    journal.change(holder="one", began="2026-11-26T06:00:00Z")
    successor = another(s3_client, bucket)
    successor.read()
    successor.change(holder="two", began="2026-11-26T06:01:00Z")
    for because in ("1 run busy", "2 runs busy"):  # however often it tries
        with pytest.raises(Replaced):
            journal.change(because=because)
    successor.change(doing="working")
    assert another(s3_client, bucket).read().holder == "two"
