"""`make logs`: what a run has written, from CloudWatch, or from Prefect's history if it is gone."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime

from deployments.litestream import NoHistory
from deployments.operate import history
from deployments.operate import installation as aws
from deployments.operate.cloudwatch import Stream, stream_of
from deployments.operate.history import Run
from deployments.operate.installation import Installation
from deployments.operate.trigger import FINAL, Answer, answer_of
from deployments.operate.wake import LOOK, Say
from deployments.operate.words import distance, time_of
from deployments.orchestrator.journal import ANSWERS
from flows.problem import Problem

_AGAIN = 5.0  # seconds between looks at a run that has not started
_SHORTEST = 4  # characters of an id that name a run
_BEFORE_ALL = datetime.min.replace(tzinfo=UTC)


def logs(at: Installation, wanted: str, say: Say, *, follow: bool = False) -> None:
    """Writes the log of a run (name, id or how it begins; '': the newest), and what comes after it
    while the run goes on, if `follow`. Raises Problem if there is no such run.
    """
    run, kept = find(at, wanted)
    if follow and not run.task and run.type not in FINAL:
        say(f"{run.name} has not started yet")
        while not run.task and run.type not in FINAL:
            time.sleep(_AGAIN)
            run, kept = find(at, run.id)
    if run.task and _write(at, run, say, follow):
        return
    say(_title(run))
    lines = _kept(at, run) if kept is None else kept
    for line in lines or ["nothing is kept of its log, neither in CloudWatch nor by Prefect"]:
        say(line)


def find(at: Installation, wanted: str) -> tuple[Run, list[str] | None]:
    """The run, and what Prefect's history has of its log; None if the history was not looked at."""
    answered = among(_answered(at), wanted) if wanted else None
    if answered is not None and answered.task:
        return answered, None
    try:
        with history.copy(at) as database:
            if found := history.find(database, answered.id if answered else wanted):
                return found, history.log_lines(database, found.id)
            newest = history.newest(database, 5)
    except NoHistory:
        if answered is None:
            raise
    if answered is not None:  # too young for the copy
        return answered, []
    raise unknown(wanted, newest, datetime.now(UTC))


def _kept(at: Installation, run: Run) -> list[str]:
    try:
        with history.copy(at) as database:
            return history.log_lines(database, run.id)
    except NoHistory:
        return []


def among(runs: Iterable[Run], wanted: str) -> Run | None:
    """The newest that is called so, or whose id begins so."""
    fitting = [
        run
        for run in runs
        if run.name == wanted or (len(wanted) >= _SHORTEST and run.id.startswith(wanted))
    ]
    return max(fitting, key=lambda run: run.at or _BEFORE_ALL, default=None)


def unknown(wanted: str, newest: Iterable[Run], now: datetime) -> Problem:
    names = [
        f"{run.name} ({run.deployment}, {distance(run.at, now) if run.at else run.state})"
        for run in newest
    ]
    return Problem(
        "there is no such run" if wanted else "nothing has run yet",
        value=wanted or None,
        detail=f"the newest are {', '.join(names)}" if names else "",
        fix="name one by its name or its id: make logs RUN=…"
        if names
        else "run something: make trigger DEPLOYMENT=flow/name",
    )


def _answered(at: Installation) -> list[Run]:
    """Runs that somebody has asked for within the last day. The journal's `last` does not say which
    ECS task a run had, so that for others the history is asked.
    """
    found = []
    for key, _ in aws.listed(at, ANSWERS):
        answer = answer_of(aws.read_mapping(at, key))
        if answer is not None and answer.run:
            found.append(_of(answer))
    return found


def _of(answer: Answer) -> Run:
    return Run(
        id=answer.run,
        name=answer.name,
        deployment="",
        state=answer.state,
        type=answer.type,
        task=answer.task,
        at=time_of(answer.at),
    )


# --- from CloudWatch -----------------------------------------------------------------------------


def _write(at: Installation, run: Run, say: Say, follow: bool) -> bool:
    """Whether there was anything."""
    stream = Stream(at, stream_of(run.task))
    any_line = False
    while True:
        ended = not follow or has_ended(at, run)  # asked before the last look
        if ended and follow and any_line:
            time.sleep(LOOK)  # what it wrote last is still on its way
        for line in stream.new():
            if not any_line:
                say(_title(run))
            any_line = True
            say(line)
        if ended:
            return any_line
        time.sleep(LOOK)


def has_ended(at: Installation, run: Run) -> bool:
    """As the orchestrator says, or, while it does not, ECS."""
    if run.type in FINAL:
        return True
    if any(other.id == run.id and other.type in FINAL for other in _answered(at)):
        return True
    journal = aws.journal(at)
    if journal and any(each.get("id") == run.id for each in journal.last):
        return True
    task = aws.task(at, run.task)
    return task is None or task.get("lastStatus") == "STOPPED"


def _title(run: Run) -> str:
    of = f" of {run.deployment}" if run.deployment else ""
    return f"--- {run.name}{of} ({run.id}), {run.state}"
