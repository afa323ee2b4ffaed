"""Who is told of runs that failed: the stack's topic, once for each.

The orchestrator alone knows what is final: a run that the infrastructure has ended runs again, and
only the last of its runs counts. What was told is in the journal, because a database that is
brought back may not know it: first it is published, then it is noted, so that one who is killed in
between leaves an alert that comes twice, and none that never comes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from deployments.diagnosis import Diagnosis
from deployments.orchestrator import again
from deployments.orchestrator.journal import JournalObject
from deployments.orchestrator.look import Names, iso, runs
from deployments.server import PAGE, asking
from deployments.straighten import task_arn

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

# How long it is remembered what was told. Longer than `again.SINCE`, until which a run that crashed
# may run again: what ended before has been dealt with.
MARGIN = timedelta(hours=1)
# What is older is not told any more: whoever could not be told for so long would get a flood. It
# sleeps for seven days at most.
LONGEST = timedelta(days=8)
TRIES = 3  # before it goes to sleep, and tells when it wakes
SUBJECT = 99  # characters: https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
_PAUSE = timedelta(seconds=30)  # between tries while it works; doubled each time
_LONGEST = timedelta(minutes=10)
_LINES, _LONG = 4, 600  # of what a state says
_PART = 4000  # characters of a part of a letter: four of them are far from SNS's 256 KiB
# It does not take this message, whenever it is asked: InvalidParameterValueException has the second
# code. https://docs.aws.amazon.com/sns/latest/api/API_Publish.html#API_Publish_Errors
REFUSALS = {
    "InvalidParameter",
    "InvalidParameterValue",
    "ParameterValueInvalid",
    "ValidationException",
}
_COLOURS = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")  # of a terminal: ECMA-48's control sequences


@dataclass(frozen=True)
class Failed:
    """A flow run that ended as Failed or Crashed, and will not be run again."""

    deployment: str
    run: str
    id: str
    state: str  # its name: Failed, TimedOut, Crashed
    at: datetime  # when it ended
    seconds: float  # in which it ran
    message: str = ""
    task: str = ""  # the ECS task's ARN; '' if it had none
    why: Diagnosis | None = None  # of its ECS task, where that says more than Prefect does


@dataclass(frozen=True)
class Place:
    """Of which installation people are told, and where."""

    topic: str  # its ARN; '' if the stack has none
    stack: str
    log_group: str  # of jobs


# --- in words ------------------------------------------------------------------------------------


def subject(place: Place, run: Failed) -> str:
    return as_subject(f"{place.stack}: {run.deployment} {run.state}")


def as_subject(text: str) -> str:
    """As SNS takes it: ASCII, on one line, fewer than 100 characters."""
    spaced = " ".join(text.encode("ascii", "replace").decode().split())
    plain = "".join(one for one in spaced if one.isprintable())
    return plain if len(plain) <= SUBJECT else f"{plain[: SUBJECT - 3]}..."


def text(place: Place, run: Failed) -> str:
    """A mail that says what, where, why, and what to do next."""
    logs = f"make logs RUN={run.run}"
    what = f"{run.deployment}, run {run.run} ({run.id}): {run.state} at {run.at:%Y-%m-%d %H:%M:%S}"
    where = [f"log group {place.log_group}"]
    if run.task:
        number = run.task.rpartition("/")[2]
        where = [f"ECS task {number}", f"{where[0]}, stream job/prefect/{number}"]
    where.append(logs)
    why, fix = _said(run.message), f"{logs} shows what it has written"
    if run.why:
        why, fix = masked(f"{run.why.summary}\n{run.why.detail}"), run.why.fix
    again_ = f"make trigger DEPLOYMENT={run.deployment} runs it again"
    return letter(
        what=f"{what} UTC, after {run.seconds:.0f} s",
        where="\n".join(where),
        why=why or "Prefect does not say; its log may",
        next=f"{fix}\n{again_}",
    )


def letter(**parts: str) -> str:
    """Each part below its name, for a mail in plain text."""
    return "\n\n".join(f"{name}:\n{_indented(content)}" for name, content in parts.items()) + "\n"


def _indented(content: str) -> str:
    plain = printable(content)
    kept = plain if len(plain) <= _PART else f"{plain[:_PART]}…"
    return "\n".join(f"  {line}" for line in kept.split("\n") if line.strip())


def printable(text: str) -> str:
    """What a flow has written, for a terminal perhaps, as a mail can have it."""
    lines = _COLOURS.sub("", text).splitlines()
    return "\n".join("".join(map(_printable, line)) for line in lines)


def _printable(one: str) -> str:
    if one.isspace():
        return " "
    return one if one.isprintable() else ""


def _said(message: str) -> str:
    """The first lines of what a state says, without the values that a run was given: pydantic
    names them in its errors.
    """
    lines = [line for line in printable(message).split("\n") if line.strip()][:_LINES]
    kept = re.sub(r"input_value=.*?, input_type", "input_value=…, input_type", "\n".join(lines))
    kept = masked(kept)
    return kept if len(kept) <= _LONG else f"{kept[:_LONG]}…"


def masked(text: str) -> str:
    """Addresses without what may be secret in them: a name and password before the host, and all
    that is asked for, since a signature or a token is there. Host and path stay.
    """
    text = re.sub(r"//([^/\s]*)@", _named, text)
    text = re.sub(r"\S+", _asked, text)
    # Also where the host is not named, as urllib3 does, and behind a #.
    return re.sub(r"([?#])[^?#=\s]+=\S*", r"\1…", text)


def _named(who: re.Match[str]) -> str:
    """A password with a question mark, or another address in the question: nothing stays."""
    return "//…?" if "?" in who[1] or "#" in who[1] else "//…@"


def _asked(word: re.Match[str]) -> str:
    address = word[0].find("//")
    question = word[0].find("?", address) if address >= 0 else -1
    return f"{word[0][:question]}?…" if question >= 0 else word[0]


# --- look, and tell ------------------------------------------------------------------------------


def key(run: FlowRun) -> str:
    """What is told once. A run that a person retries, and that fails again, is told again."""
    return f"{run.id} {run.run_count}"


class Alerts:
    """`say` is told of what was told; `wait` waits for a number of seconds, or less."""

    def __init__(
        self,
        sns: Any,
        place: Place,
        journal: JournalObject,
        say: Callable[[str], None],
        wait: Callable[[float], object],
    ) -> None:
        self._sns, self._place, self._journal = sns, place, journal
        self._say, self._wait = say, wait
        self._names = Names()
        self._failures = 0
        self._not_before = datetime.min.replace(tzinfo=UTC)
        self.trouble = ""  # why people cannot be told

    def attend(
        self,
        client: SyncPrefectClient,
        now: datetime,
        settled: Set[str],
        why: Mapping[str, Diagnosis],
        *,
        last: bool,
    ) -> None:
        """Tells of what has failed since the last time. `settled`: crashed runs that were looked
        into; of others it is open whether they run again. `why`: of crashed runs, by their ids.
        `last`: it goes to sleep next. Whom SNS does not take is told the next time.
        """
        if not self._place.topic:
            return
        since = max(self._since(), now - LONGEST)
        known = {one["run"] for one in self._journal.now.told}
        new = [run for run in ended_badly(client, since) if key(run) not in known]
        followed = again.followed(client, [again.seen(run) for run in new if _crashed(run)])
        for run in new:
            if _crashed(run) and _open(run, now, settled):
                continue
            if str(run.id) not in followed and not self._told(client, now, run, why, last):
                return
            told = {"run": key(run), "at": iso(run.end_time)}
            self._journal.change(told=(*self._journal.now.told, told))
        self._forget(now)

    def _since(self) -> datetime:
        """What ended before is not told: the first time, what there was before this life."""
        if not self._journal.now.told_since:
            self._journal.change(told_since=self._journal.now.began)
        return _time(self._journal.now.told_since)

    def _forget(self, now: datetime) -> None:
        """What ended long ago is not asked for any more, and need not be remembered."""
        journal, edge = self._journal.now, now - MARGIN
        if any(_time(one["at"]) <= edge for one in journal.told):
            kept = tuple(one for one in journal.told if _time(one["at"]) > edge)
            self._journal.change(told=kept, told_since=iso(edge + timedelta(seconds=1)))

    def _told(
        self,
        client: SyncPrefectClient,
        now: datetime,
        run: FlowRun,
        why: Mapping[str, Diagnosis],
        last: bool,
    ) -> bool:
        if not last and now < self._not_before:
            return False
        failed = _failed(client, self._names, run, why.get(str(run.id)))
        for number in range(1, (TRIES if last else 1) + 1):
            if self._published(now, failed):
                return True
            if number < TRIES and last:
                self._wait(2.0**number)
        return False

    def _published(self, now: datetime, run: Failed) -> bool:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            try:
                self._publish(run)
            except ClientError as error:
                code = error.response["Error"].get("Code", "")
                if code not in REFUSALS:
                    raise
                # It would refuse it each time, and what comes behind would never be told.
                self._say(f"SNS refuses what {run.run} of {run.deployment} says: {error}")
                without = f"SNS did not take what it says ({code}); its log has it"
                self._publish(replace(run, message=without, why=None))
        except (BotoCoreError, ClientError) as error:
            pause = min(_LONGEST, _PAUSE * 2 ** min(self._failures, 10))
            self._failures, self._not_before = self._failures + 1, now + pause
            self.trouble = f"nobody can be told that {run.deployment} {run.state}: {error}"
            self._say(self.trouble)
            return False
        self._failures, self.trouble = 0, ""
        self._say(f"told: {run.run} of {run.deployment} {run.state}")
        return True

    def _publish(self, run: Failed) -> None:
        self._sns.publish(
            TopicArn=self._place.topic,
            Subject=subject(self._place, run),
            Message=text(self._place, run),
        )


def ended_badly(client: SyncPrefectClient, since: datetime) -> Sequence[FlowRun]:
    """Runs of our pool that ended as Failed or Crashed after that time, the first to end first."""
    from prefect.client.schemas.filters import FlowRunFilterEndTime
    from prefect.client.schemas.objects import StateType
    from prefect.client.schemas.sorting import FlowRunSort

    after = FlowRunFilterEndTime.model_validate({"after_": since})
    types, sort = [StateType.FAILED, StateType.CRASHED], FlowRunSort.END_TIME_DESC
    found: list[FlowRun] = []
    with asking("which runs have failed"):
        while page := runs(client, types, sort, limit=PAGE, offset=len(found), end_time=after):
            found += page
            if len(page) < PAGE:
                break
    return found[::-1]


def _crashed(run: FlowRun) -> bool:
    return bool(run.state and run.state.is_crashed() and run.deployment_id)


def _open(run: FlowRun, now: datetime, settled: Set[str]) -> bool:
    """Whether it may run again yet. After `SINCE` nobody looks into it any more."""
    lately = run.end_time is None or now - run.end_time <= again.SINCE
    return lately and str(run.id) not in settled


def _failed(client: SyncPrefectClient, names: Names, run: FlowRun, why: Diagnosis | None) -> Failed:
    assert run.state is not None  # it was asked for by its state
    return Failed(
        deployment=names.of(client, run.deployment_id),
        run=run.name,
        id=str(run.id),
        state=run.state.name or run.state.type.value.title(),
        at=(run.end_time or run.state.timestamp).astimezone(UTC),
        seconds=run.total_run_time.total_seconds(),
        message=run.state.message or "",
        task=task_arn(run.infrastructure_pid),
        why=why,
    )


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
