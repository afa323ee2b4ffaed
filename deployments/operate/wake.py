"""`make wake`: the service is set to 1, until the orchestrator says that it works."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from deployments.operate import installation as aws
from deployments.operate.installation import Installation, Service
from deployments.operate.status import ASLEEP, WAKING, condition, why_not
from deployments.orchestrator.journal import FIRST_START, LIVES, Journal
from flows.problem import Problem

AGAIN = 15.0  # seconds: a wake-up that arrives while it sets itself to 0 is lost
LOOK = 2.0  # seconds between looks
PATIENCE = 600.0  # seconds: pull, restore, start, with a second attempt

Say = Callable[[str], None]


class Waking:
    """Keeps the service at 1 until the orchestrator works, and tells what it sees, once each.

    `insist`: also if it was awake meanwhile, found nothing to do, and sleeps again.
    """

    def __init__(
        self, at: Installation, say: Say, again: float = AGAIN, *, insist: bool = False
    ) -> None:
        self._at, self._say, self._again, self._insist = at, say, again, insist
        self._began = datetime.now(UTC)
        self._former: str | None = None  # when the life began that is not the one woken for us
        self._set: float | None = None
        self._told: set[str] = set()

    def look(self) -> bool:
        """Whether it is awake, or has been since."""
        journal, service = aws.journal(self._at), aws.service(self._at)
        if self._former is None:
            self._former = former_life(journal, service)
        if condition(journal, service) == "working":
            return True
        if not self._insist and has_been_awake(journal, self._former):
            return True
        if self._set is None or time.monotonic() - self._set >= self._again:
            aws.set_to_one(self._at)
            self._set = time.monotonic()
        for text in (progress(journal, service), *why_not_yet(service, self._began)):
            if text not in self._told:
                self._told.add(text)
                self._say(text)
        return False


def former_life(journal: Journal | None, service: Service) -> str:
    """When the life began that will not do, as it is past or on its way to sleep; '' if none."""
    if journal is None:
        return ""
    wakes = condition(journal, service) == WAKING and journal.holder in service.tasks
    return "" if wakes else journal.began


def has_been_awake(journal: Journal | None, former: str) -> bool:
    """Whether another life than the former one has had nothing left to do. Seconds are enough for
    that, so that nobody may have seen it at work.
    """
    return (
        journal is not None
        and journal.began not in ("", former)
        and journal.doing in ("going to sleep", ASLEEP)
    )


def progress(journal: Journal | None, service: Service) -> str:
    """What is to be seen of a waking orchestrator, as one line."""
    is_so = condition(journal, service)
    if is_so == "going to sleep":
        return "it is going to sleep; woken again"
    if is_so == WAKING and journal and journal.holder and journal.holder in service.tasks:
        return "waking: it restores the history and starts Prefect"
    if service.tasks:
        return "its ECS task runs"
    return "waking: ECS starts its task"


def why_not_yet(service: Service, since: datetime) -> list[str]:
    """What has failed since then; not what was so before."""
    if service.ended_at is None or service.ended_at <= since:
        return []
    return why_not(service, since)


def wake(
    at: Installation,
    say: Say,
    *,
    new: bool = False,
    seconds: float = PATIENCE,
    again: float = AGAIN,
) -> None:
    """Comes back when it is awake, or has been and had nothing to do. `new`: it may begin without
    any history.
    """
    if new:
        announce(at)
        say("a new history may begin")
    waking = Waking(at, say, again)
    until = time.monotonic() + seconds
    while not waking.look():
        if time.monotonic() > until:
            raise Problem(
                "the orchestrator does not wake",
                where={"stack": at.stack, "log group": at.log_group},
                detail=f"it did not say that it works within {seconds:g} s",
                fix=f"see what it says: aws logs tail {at.log_group} --since 15m; and make status",
            )
        time.sleep(min(LOOK, again))
    found = aws.journal(at)
    if found and found.doing in ("going to sleep", ASLEEP):
        say("it was awake, has nothing to do, and goes to sleep again")
    else:
        say(f"awake{f': {found.because}' if found and found.because else ''}")


def announce(at: Installation) -> None:
    """Says that a start without history is meant. Raises Problem if there is a history."""
    if aws.read(at, FIRST_START) is not None:
        return
    found = aws.journal(at)
    lives = aws.listed(at, LIVES)
    if (found and found.life) or lives:
        raise Problem(
            "there is a history already",
            where={"bucket": at.bucket, "prefix": LIVES},
            detail=f"the journal names life {found.life}" if found else "there are lives in S3",
            fix="wake it without NEW=1. If the history is really to be given up, move it away "
            f"first: s3://{at.bucket}/prefect/",
        )
    aws.write(at, FIRST_START, {})
