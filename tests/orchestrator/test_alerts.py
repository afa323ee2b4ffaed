"""Who is told of runs that failed: what is said, of which runs, and how often."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import State
from prefect.states import AwaitingRetry, Cancelled, Completed, Crashed, Failed, Running, Scheduled

from deployments.diagnosis import Diagnosis
from deployments.orchestrator import again, alerts
from deployments.orchestrator.alerts import MARGIN, TRIES, Alerts, Place
from deployments.orchestrator.journal import Journal, JournalObject
from deployments.orchestrator.look import iso
from tests.e2e.places import Bucket

Deploy = Callable[..., UUID]
PLACE = Place("arn:aws:sns:us-east-1:123456789012:n-alerts", "n", "/n/jobs")
MEMORY = Diagnosis("error", "out of memory", "stop code X", "give it more `memory`")
FAILED = alerts.Failed(
    deployment="report/daily",
    run="amber-fox",
    id="0123",
    state="Failed",
    at=datetime(2026, 11, 27, 6, 3, 12, tzinfo=UTC),
    seconds=93.4,
    message="Flow run encountered an exception: ValueError: no such bill",
    task="arn:aws:ecs:us-east-1:123456789012:task/n/89ab",
)


# --- in words ------------------------------------------------------------------------------------


def test_what_where_why_and_what_next() -> None:
    assert alerts.subject(PLACE, FAILED) == "n: report/daily Failed"
    assert alerts.text(PLACE, FAILED) == (
        "what:\n"
        "  report/daily, run amber-fox (0123): Failed at 2026-11-27 06:03:12 UTC, after 93 s\n\n"
        "where:\n"
        "  ECS task 89ab\n"
        "  log group /n/jobs, stream job/prefect/89ab\n"
        "  make logs RUN=amber-fox\n\n"
        "why:\n"
        "  Flow run encountered an exception: ValueError: no such bill\n\n"
        "next:\n"
        "  make logs RUN=amber-fox shows what it has written\n"
        "  make trigger DEPLOYMENT=report/daily runs it again\n"
    )


def test_what_ecs_says_comes_before_what_prefect_says() -> None:
    said = alerts.text(PLACE, replace(FAILED, why=MEMORY, state="Crashed"))
    assert "out of memory\n  stop code X" in said
    assert "give it more `memory`" in said
    assert "no such bill" not in said


def test_one_without_an_ecs_task_and_without_a_word() -> None:
    said = alerts.text(PLACE, replace(FAILED, task="", message=""))
    assert "ECS task" not in said
    assert "log group /n/jobs\n" in said
    assert "Prefect does not say; its log may" in said


def test_a_long_message_is_cut_short() -> None:
    many = "\n".join(f"line {n}" for n in range(9))
    assert "line 3" in alerts.text(PLACE, replace(FAILED, message=many))
    assert "line 4" not in alerts.text(PLACE, replace(FAILED, message=many))
    long = alerts.text(PLACE, replace(FAILED, message="x" * 9000))
    assert len(long) < 1500


@pytest.mark.parametrize(
    "message",
    [
        "1 validation error [type=int_parsing, input_value='hunter2', input_type=str]",
        "cannot reach postgres://me:hunter2@db.example.com/x",
    ],
)
def test_it_says_no_values(message: str) -> None:
    said = alerts.text(PLACE, replace(FAILED, message=message))
    assert "hunter2" not in said
    assert "…" in said


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            "404 for https://h.example/a/b?X-Amz-Signature=SECRET&token=SECRET",
            "404 for https://h.example/a/b?…",
        ),
        ("for url 'https://h.example?SECRET' (seen)", "for url 'https://h.example?… (seen)"),
        ("https://h.example/a#access_token=SECRET", "https://h.example/a#…"),
        ("HTTPPool(host='h'): with url: /a?key=SECRET (Caused", "with url: /a?… (Caused"),
        ("https://me:SECRET@h.example/a?b=SECRET", "https://…@h.example/a?…"),
        ("postgres://me:SECRET@SECRET@h.example/a", "postgres://…@h.example/a"),
        ("postgres://me:SEC?RET@h.example/a", "postgres://…"),
        ("https://h.example?to=SECRET@b&c=SECRET", "https://…"),
        ("https://h.example/,https://me:SECRET@h.example/b", "https://h.example/,https://…@h.ex"),
        ("see https://errors.pydantic.dev/2/v/x#part", "https://errors.pydantic.dev/2/v/x#part"),
        ("which? a=1, s3://bucket/key", "which? a=1, s3://bucket/key"),
    ],
)
def test_what_is_asked_of_an_address_is_not_said(message: str, said: str) -> None:
    letter = alerts.text(PLACE, replace(FAILED, message=message))
    assert said in letter
    assert "SEC" not in letter
    why = replace(MEMORY, detail=f"it says: {message}")  # ECS names addresses, too
    assert said in alerts.text(PLACE, replace(FAILED, why=why))


@pytest.mark.parametrize(
    "noise",
    [
        *("\x1b[1;31m", "\x00", "\x07", "\x7f", "\x85", "\ud800", "\ufeff", "\r", "\x1b[0K"),
        *("\u2028", "\ue000"),
    ],
)
def test_only_what_can_be_read_is_said(noise: str) -> None:
    message = f"{noise}first{noise}\nsec\tond é 猫 {noise}last"
    letter = alerts.text(PLACE, replace(FAILED, message=message))
    assert "  first\n" in letter
    assert "sec ond é 猫" in letter
    assert "last" in letter
    assert letter.replace("\n", "").isprintable()
    assert "[" not in letter
    letter.encode()


def test_a_letter_is_one_that_sns_takes() -> None:
    why = replace(MEMORY, detail="猫" * 300_000, fix="é" * 300_000)
    letter = alerts.text(PLACE, replace(FAILED, why=why, run="x" * 300_000))
    assert len(letter.encode()) < 2**18
    assert [line for line in letter.splitlines() if line and line[0] != " "] == [
        *("what:", "where:", "why:", "next:")
    ]


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("n: rapport/été Failed", "n: rapport/?t? Failed"),
        ("two\nlines\tof it", "two lines of it"),
        ("x" * 99, "x" * 99),
        ("x" * 100, "x" * 96 + "..."),
    ],
)
def test_a_subject_is_one_that_sns_takes(text: str, subject: str) -> None:
    assert alerts.as_subject(text) == subject


# --- of which runs, and how often ----------------------------------------------------------------


class Sns:
    """Keeps what is published, unless it is away."""

    def __init__(self) -> None:
        self.published: list[dict[str, str]] = []
        self.away: list[Exception] = []  # for the next calls

    def publish(self, **message: str) -> None:
        if self.away:
            raise self.away.pop(0)
        self.published.append(message)

    def runs(self) -> list[str]:
        return [one["Message"].partition("run ")[2].partition(" ")[0] for one in self.published]


class Told:
    """Alerts of one life after another, over the same history."""

    def __init__(self, prefect: SyncPrefectClient, s3: Any, bucket: str) -> None:
        self.prefect, self.s3, self.bucket = prefect, s3, bucket
        self.sns, self.said, self.waited = Sns(), list[str](), list[float]()
        self.settled: set[str] = set()
        self.why: dict[str, Diagnosis] = {}
        self.now = datetime.now(UTC)
        self.journal = JournalObject(s3, bucket)
        self.journal.write(Journal(began=iso(self.now - timedelta(minutes=5))))
        self.begin()

    def begin(self) -> None:
        """Another life."""
        self.journal = JournalObject(self.s3, self.bucket)
        self.journal.read()
        self.alerts = Alerts(self.sns, PLACE, self.journal, self.said.append, self.waited.append)

    def attend(self, *, last: bool = False, after: timedelta = timedelta()) -> list[str]:
        now = datetime.now(UTC) + after
        self.alerts.attend(self.prefect, now, self.settled, self.why, last=last)
        return self.sns.runs()


@pytest.fixture
def told(prefect: SyncPrefectClient, s3_client: Any, bucket: Bucket) -> Told:
    return Told(prefect, s3_client, bucket.bucket)


def run(prefect: SyncPrefectClient, deployment: UUID, name: str, *states: State[Any]) -> UUID:
    made = prefect.create_flow_run_from_deployment(deployment, name=name, state=Scheduled())
    become(prefect, made.id, *states)
    return made.id


def become(prefect: SyncPrefectClient, id_: UUID, *states: State[Any]) -> None:
    for state in states:
        prefect.set_flow_run_state(id_, state, force=True)


def test_each_that_failed_is_told_once(
    told: Told, prefect: SyncPrefectClient, deploy: Deploy
) -> None:
    deployment = deploy()
    run(prefect, deployment, "first", Running(), Failed(message="a fault"))
    run(prefect, deployment, "well", Running(), Completed())
    run(prefect, deployment, "by-people", Running(), Cancelled())
    run(prefect, deployment, "retries", Running(), AwaitingRetry())
    run(prefect, deployment, "second", Running(), Failed(name="TimedOut"))
    assert told.attend() == ["first", "second"]
    assert told.attend() == ["first", "second"]
    told.begin()
    assert told.attend(last=True) == ["first", "second"]
    (first, second) = told.sns.published
    assert first["TopicArn"] == PLACE.topic
    assert first["Subject"] == "n: report/daily Failed"
    assert "a fault" in first["Message"]
    assert second["Subject"] == "n: report/daily TimedOut"


def test_what_ended_before_it_came_is_not_told(
    told: Told, prefect: SyncPrefectClient, deploy: Deploy
) -> None:
    """An installation that had no alerts before."""
    deployment = deploy()
    run(prefect, deployment, "old", Running(), Failed())
    told.journal.change(began=iso(datetime.now(UTC) + timedelta(seconds=1)))
    assert told.attend() == []


def test_one_that_ended_while_nobody_could_be_told_is_told_by_the_next_life(
    told: Told, prefect: SyncPrefectClient, deploy: Deploy
) -> None:
    """The first life has set the mark."""
    assert told.attend() == []
    run(prefect, deploy(), "amber-fox", Running(), Failed())
    told.journal.change(began=iso(datetime.now(UTC) + timedelta(hours=9)))
    told.begin()
    assert told.attend() == ["amber-fox"]


def test_one_that_is_retried_by_a_person_and_fails_again_is_told_again(
    told: Told, prefect: SyncPrefectClient, deploy: Deploy
) -> None:
    id_ = run(prefect, deploy(), "amber-fox", Running(), Failed())
    assert told.attend() == ["amber-fox"]
    become(prefect, id_, AwaitingRetry(), Running(), Failed())
    assert told.attend() == ["amber-fox"] * 2


def test_killed_between_the_alert_and_its_note_it_comes_twice(
    told: Told, prefect: SyncPrefectClient, deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than never."""
    assert told.attend() == []  # the mark is set
    run(prefect, deploy(), "amber-fox", Running(), Failed())

    def killed(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(told.journal, "change", killed)
    with pytest.raises(KeyboardInterrupt):
        told.attend()
    told.begin()
    assert told.attend() == ["amber-fox"] * 2
    assert told.attend() == ["amber-fox"] * 2


def test_killed_before_the_alert_it_comes_all_the_same(
    told: Told, prefect: SyncPrefectClient, deploy: Deploy
) -> None:
    run(prefect, deploy(), "amber-fox", Running(), Failed())
    told.sns.away = [KeyboardInterrupt()]  # type: ignore[list-item]
    with pytest.raises(KeyboardInterrupt):
        told.attend()
    told.begin()
    assert told.attend() == ["amber-fox"]


def test_one_that_crashed_is_told_once_it_is_known_that_it_does_not_run_again(
    told: Told, prefect: SyncPrefectClient, deploy: Deploy
) -> None:
    id_ = run(prefect, deploy(), "amber-fox", Running(), Crashed(message="gone"))
    assert told.attend() == []
    told.settled.add(str(id_))
    told.why[str(id_)] = MEMORY
    assert told.attend() == ["amber-fox"]
    assert "out of memory" in told.sns.published[0]["Message"]


def test_one_that_crashed_long_ago_is_not_looked_into_any_more(
    told: Told, prefect: SyncPrefectClient, deploy: Deploy
) -> None:
    run(prefect, deploy(), "amber-fox", Running(), Crashed())
    assert told.attend(after=again.SINCE - timedelta(minutes=1)) == []
    assert told.attend(after=again.SINCE + timedelta(minutes=1)) == ["amber-fox"]


def test_one_that_runs_again_is_not_told_and_the_last_of_them_is(
    told: Told, prefect: SyncPrefectClient, deploy: Deploy
) -> None:
    """Nor by a life that does not know of it."""
    deployment = deploy()
    ids, name = [], "amber-fox"
    id_ = run(prefect, deployment, name, Running(), Crashed())
    for number in range(1, again.TIMES + 1):
        ids.append(str(id_))
        former = prefect.read_flow_run(id_)
        (one, root) = (again.seen(former), ids[0])
        made = again.run_again(prefect, again.Again(one, root, number, "Spot"), former)
        told.settled.add(str(id_))
        assert told.attend() == []
        become(prefect, made.id, Running(), Crashed())
        id_ = made.id
    told.begin()
    told.settled.clear()
    assert told.attend(after=again.SINCE + timedelta(minutes=1)) == ["amber-fox-again-2"]


def test_what_was_told_long_ago_is_forgotten_and_not_told_again(
    told: Told, prefect: SyncPrefectClient, deploy: Deploy
) -> None:
    run(prefect, deploy(), "amber-fox", Running(), Failed())
    told.attend()
    assert len(told.journal.now.told) == 1
    told.attend(after=MARGIN + timedelta(minutes=1))
    assert not told.journal.now.told
    assert told.attend(after=MARGIN + timedelta(minutes=2)) == ["amber-fox"]
    before = told.journal.now
    told.attend(after=MARGIN + timedelta(minutes=3))
    assert told.journal.now is before, "nothing is written where nothing has changed"


@pytest.mark.parametrize("tenths", range(10))
def test_when_it_is_forgotten_it_is_not_told_again(
    told: Told, prefect: SyncPrefectClient, deploy: Deploy, tenths: int
) -> None:
    """Whatever part of a second lies between the run's end and the look."""
    id_ = run(prefect, deploy(), "amber-fox", Running(), Failed())
    told.attend()
    ended = prefect.read_flow_run(id_).end_time
    assert ended
    for second in (0, 1, 2):
        whole = datetime.fromtimestamp(int(ended.timestamp()), UTC)
        now = whole + MARGIN + timedelta(seconds=second + tenths / 10)
        told.alerts.attend(prefect, now, told.settled, told.why, last=False)
    assert told.sns.runs() == ["amber-fox"]
    assert not told.journal.now.told


REFUSED = ClientError({"Error": {"Code": "AuthorizationError", "Message": "no"}}, "Publish")
AWAY = EndpointConnectionError(endpoint_url="https://sns.us-east-1.amazonaws.com")


@pytest.mark.parametrize("error", [REFUSED, AWAY], ids=["refused", "away"])
def test_sns_is_away_and_what_it_was_to_tell_comes_later(
    told: Told, prefect: SyncPrefectClient, deploy: Deploy, error: Exception
) -> None:
    """It is not asked at each look, and nobody waits for it while there is work."""
    run(prefect, deploy(), "amber-fox", Running(), Failed())
    told.sns.away = [error] * 2
    assert told.attend() == []
    assert "nobody can be told that report/daily Failed" in told.alerts.trouble
    told.attend()
    assert len(told.sns.away) == 1, "not again so soon"
    assert told.waited == []
    told.attend(after=timedelta(minutes=1))
    assert told.attend(after=timedelta(hours=1)) == ["amber-fox"]
    assert told.alerts.trouble == ""


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "Message"}}, "Publish")


@pytest.mark.parametrize("code", sorted(alerts.REFUSALS))
@pytest.mark.parametrize("last", [True, False])
def test_one_that_sns_refuses_is_told_without_its_reason_and_holds_nobody_up(
    told: Told, prefect: SyncPrefectClient, deploy: Deploy, code: str, last: bool
) -> None:
    deployment = deploy()
    run(prefect, deployment, "first", Running(), Failed(message="its reason"))
    run(prefect, deployment, "second", Running(), Failed(message="another"))
    told.sns.away = [refusal(code)]
    assert told.attend(last=last) == ["first", "second"]
    first, second = (one["Message"] for one in told.sns.published)
    assert "its reason" not in first
    assert f"SNS did not take what it says ({code}); its log has it" in first
    assert "make logs RUN=first" in first
    assert "another" in second
    assert told.alerts.trouble == ""
    assert told.waited == []
    told.begin()
    assert told.attend(last=last) == ["first", "second"]


def test_a_topic_that_takes_nothing_is_trouble(
    told: Told, prefect: SyncPrefectClient, deploy: Deploy
) -> None:
    """It is not what the letter says then, and it is told once that is mended."""
    run(prefect, deploy(), "amber-fox", Running(), Failed())
    told.sns.away = [refusal("InvalidParameter")] * 2
    assert told.attend() == []
    assert "nobody can be told" in told.alerts.trouble
    assert told.attend(after=timedelta(hours=1)) == ["amber-fox"]


def test_before_the_sleep_it_is_tried_a_few_times(
    told: Told, prefect: SyncPrefectClient, deploy: Deploy
) -> None:
    run(prefect, deploy(), "amber-fox", Running(), Failed())
    told.sns.away = [AWAY] * (TRIES - 1)
    assert told.attend(last=True) == ["amber-fox"]
    assert len(told.waited) == TRIES - 1


def test_and_then_it_sleeps_with_it_untold_and_the_next_life_tells(
    told: Told, prefect: SyncPrefectClient, deploy: Deploy
) -> None:
    run(prefect, deploy(), "amber-fox", Running(), Failed())
    told.sns.away = [AWAY] * TRIES
    assert told.attend(last=True) == []
    assert told.alerts.trouble
    told.begin()
    assert told.attend() == ["amber-fox"]


def test_a_stack_without_a_topic(told: Told, prefect: SyncPrefectClient, deploy: Deploy) -> None:
    run(prefect, deploy(), "amber-fox", Running(), Failed())
    told.alerts = Alerts(
        told.sns, Place("", "n", ""), told.journal, told.said.append, told.waited.append
    )
    assert told.attend() == []
