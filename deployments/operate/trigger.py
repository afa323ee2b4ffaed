"""`make trigger`: a run now, wherever the orchestrator is, and its log until it has ended."""

from __future__ import annotations

import difflib
import json
import shlex
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from deployments.operate import installation as aws
from deployments.operate.cloudwatch import Stream, stream_of
from deployments.operate.installation import Installation
from deployments.operate.status import ASLEEP, STOPPED, condition
from deployments.operate.wake import AGAIN, LOOK, PATIENCE, Say, Waking
from deployments.operate.words import first_line, iso
from deployments.orchestrator.journal import ANSWERS, REQUESTS
from flows.problem import Problem

FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
INTERRUPTED = 130
_SETTLE = 20.0  # seconds in which a crashed run may be run again
_DRAIN = 6.0  # seconds in which the last lines reach CloudWatch
_LOST = 90.0  # seconds that it may be asleep while a run has not ended


@dataclass(frozen=True)
class Answer:
    """What the orchestrator says of a request."""

    refused: str = ""
    run: str = ""  # its id
    name: str = ""
    state: str = ""
    type: str = ""
    task: str = ""  # its ECS task's ARN
    message: str = ""
    at: str = ""

    @property
    def ended(self) -> bool:
        return self.type in FINAL


def answer_of(content: Mapping[str, Any] | None) -> Answer | None:
    if content is None:
        return None
    known = {name: str(content.get(name) or "") for name in Answer.__dataclass_fields__}
    return Answer(**known)


# --- what is asked for ---------------------------------------------------------------------------


def parameters(pairs: Iterable[str]) -> dict[str, Any]:
    """Of KEY=VALUE each. A value is JSON if it reads as JSON, else text."""
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise Problem(
                "a parameter is not KEY=VALUE",
                value=pair,
                fix="make trigger DEPLOYMENT=flow/name PARAM='period=2026-11'; a value with "
                "spaces: python -m deployments.operate trigger flow/name --parameter 'key=a b'",
            )
        try:
            found[key] = json.loads(value, parse_constant=_not_json)
        except ValueError:
            found[key] = value
    return found


def _not_json(word: str) -> Any:
    raise ValueError(word)  # NaN and Infinity are Python's, not JSON's


def known(deployment: str, deployments: Iterable[str]) -> None:
    """Raises Problem if the installation has no such deployment, with the nearest names."""
    names = sorted(deployments)
    if deployment in names:
        return
    near = difflib.get_close_matches(deployment, names, n=3, cutoff=0.4) or names[:5]
    raise Problem(
        "there is no such deployment",
        value=deployment,
        detail=f"there is {', '.join(near)}" if near else "this installation has none",
        fix="name one that is deployed, as flow/name; make deploy for one that is new",
    )


def request(at: Installation, deployment: str, given: Mapping[str, Any]) -> str:
    """Writes the request; its id."""
    id_ = uuid.uuid4().hex
    content = {
        "deployment": deployment,
        "parameters": dict(given),
        "at": iso(datetime.now(UTC)),
        "by": _me(at),
    }
    aws.write(at, f"{REQUESTS}{id_}.json", content)
    return id_


def _me(at: Installation) -> str:
    """For the record only."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return str(at.client("sts").get_caller_identity()["Arn"])
    except (BotoCoreError, ClientError):
        return ""


# --- from asking to the end ----------------------------------------------------------------------


def trigger(
    at: Installation,
    deployment: str,
    given: Mapping[str, Any],
    say: Say,
    *,
    follow: bool = True,
    seconds: float = PATIENCE,
    again: float = AGAIN,
) -> int:
    """The exit status: 0 if the run has completed (or, without `follow`, was taken)."""
    known(deployment, at.outputs.roles)
    id_ = request(at, deployment, given)
    answer: Answer | None = None
    try:
        say(f"asked for {deployment}")
        answer = _taken(at, id_, say, seconds, again)
        say(f"taken: run {answer.name} ({answer.run})")
        if not follow:
            say(f"follow it: {logs_of(answer)}")
            return 0
        answer = Following(at, id_, answer, say).to_the_end()
    except KeyboardInterrupt:
        say(_goes_on(answer))
        return INTERRUPTED
    return 0 if answer.type == "COMPLETED" else 1


def _goes_on(answer: Answer | None) -> str:
    if answer is None:
        return (
            "the request stays: the orchestrator runs it when it is awake (make status, make logs)"
        )
    return f"the run goes on; follow it: {logs_of(answer)}"


def _taken(at: Installation, id_: str, say: Say, seconds: float, again: float) -> Answer:
    waking = Waking(at, say, again, insist=True)
    told = False
    until = time.monotonic() + seconds
    while True:
        answer = answer_of(aws.read_mapping(at, f"{ANSWERS}{id_}.json"))
        if answer and answer.refused:
            raise Refused(answer.refused)
        if answer:
            return answer
        if waking.look() and not told:
            told = True
            say("the orchestrator is awake")
        if time.monotonic() > until:
            raise Problem(
                "the orchestrator does not take the request",
                where={"stack": at.stack, "log group": at.log_group},
                detail=f"no answer within {seconds:g} s; the request stays, and is taken when it "
                "is awake",
                fix=f"see what it says: aws logs tail {at.log_group} --since 15m; and make status",
            )
        time.sleep(min(LOOK, again))


class Refused(Problem):
    """The orchestrator's own Problem, in its words."""

    def __init__(self, text: str) -> None:
        self._text = text
        super().__init__("the orchestrator refuses the run", detail=text, fix="see what it says")

    def __str__(self) -> str:
        return self._text


class Following:
    """A run's states and lines as they come. A run that is run again is another."""

    def __init__(self, at: Installation, id_: str, answer: Answer, say: Say) -> None:
        self._at, self._id, self._say = at, id_, say
        self._answer = answer
        self._streams: dict[str, Stream] = {}
        self._told = ""
        self._changed = time.monotonic()

    def to_the_end(self) -> Answer:
        slept: float | None = None
        while True:
            self._look()
            if self._answer.ended and self._is_over():
                return self._answer
            slept = None if self._answer.ended else self._asleep_since(slept)
            if slept is not None and time.monotonic() - slept > _LOST:
                raise Problem(
                    "the orchestrator sleeps, and has not said how the run ended",
                    where={"run": self._answer.name, "state": self._answer.state},
                    fix=f"see its log: {logs_of(self._answer)}; and make status",
                )
            time.sleep(LOOK)

    def _look(self) -> None:
        found = answer_of(aws.read_mapping(self._at, f"{ANSWERS}{self._id}.json"))
        if found is not None and found.refused:
            raise Refused(found.refused)
        if found is not None and found != self._answer:
            if found.run != self._answer.run:
                self._say(f"run again, as {found.name} ({found.run})")
            self._answer, self._changed = found, time.monotonic()
        self._lines()
        if (said := state_line(self._answer)) != self._told:
            self._told = said
            self._say(said)

    def _lines(self) -> None:
        if task := self._answer.task:
            self._streams.setdefault(task, Stream(self._at, stream_of(task)))
        for stream in self._streams.values():
            for line in stream.new():
                self._say(f"| {line}")

    def _is_over(self) -> bool:
        """Also when the last lines are here, and nothing was run again."""
        crashed = self._answer.type == "CRASHED"
        wait = _SETTLE if crashed else _DRAIN
        if not crashed and not self._answer.task:
            return True
        return time.monotonic() - self._changed > wait

    def _asleep_since(self, slept: float | None) -> float | None:
        journal = aws.journal(self._at)
        if condition(journal, aws.service(self._at)) not in (ASLEEP, STOPPED):
            return None
        return time.monotonic() if slept is None else slept


def logs_of(answer: Answer) -> str:
    """The command: names may have spaces."""
    return f"make logs RUN={shlex.quote(answer.name)}"


def state_line(answer: Answer) -> str:
    message = first_line(answer.message, 300)
    return f"{answer.name}: {answer.state}{f' ({message})' if message else ''}"
