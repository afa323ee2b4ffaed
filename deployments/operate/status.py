"""`make status`: what the installation does, why, and what comes next, on one screen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from deployments.operate import installation as aws
from deployments.operate.installation import Installation, Service, WakeUp
from deployments.operate.words import distance, first_line, moment, short_digest, time_of
from deployments.orchestrator.journal import FIRST_START, REQUESTS, Journal
from flows.problem import Problem

NEVER = "never started"
ASLEEP = "asleep"
WAKING = "waking"
STOPPED = "stopped"
_LATE = timedelta(minutes=2)  # EventBridge is within a minute


@dataclass(frozen=True)
class Seen:
    stack: str
    journal: Journal | None  # None: no orchestrator was ever awake
    service: Service
    wakes: bool = True  # whether the stack has a schedule that wakes it
    wake_up: WakeUp | None = None
    requests: tuple[datetime, ...] = ()  # when they were made, the oldest first
    first_start: bool = False  # a start without any history was announced


def look(at: Installation) -> Seen:
    """Raises Problem if it was never started, and nobody has told it to."""
    wakes = bool(at.outputs.values.get("WakeUpSchedule"))
    seen = Seen(
        stack=at.stack,
        journal=aws.journal(at),
        service=aws.service(at),
        wakes=wakes,
        wake_up=aws.wakes(at) if wakes else None,
        requests=tuple(time for _, time in aws.listed(at, REQUESTS)),
        first_start=bool(aws.listed(at, FIRST_START)),
    )
    if condition(seen.journal, seen.service) == NEVER:
        raise Problem(
            "the orchestrator was never started",
            where={"stack": seen.stack},
            detail="there is no history in the state bucket"
            + ("; a first start is announced" if seen.first_start else ""),
            fix=f"start it: make wake{'' if seen.first_start else ' NEW=1'}",
        )
    return seen


def condition(journal: Journal | None, service: Service) -> str:
    """NEVER, ASLEEP, STOPPED (the service is at 0, and it did not go to sleep), WAKING, 'working'
    or 'going to sleep'. What the journal says holds only while the task that it names runs.
    """
    if journal is None:
        return WAKING if service.desired else NEVER
    if journal.holder and journal.holder in service.tasks:
        return journal.doing
    if service.desired:
        return WAKING
    return ASLEEP if journal.doing == ASLEEP else STOPPED


# --- the screen ----------------------------------------------------------------------------------


def screen(seen: Seen, now: datetime) -> str:
    lines = [f"{seen.stack} {_headline(seen, now)}"]
    lines += [f"{name:<10}{text}" for name, text in _rows(seen, now)]
    lines += [f"! {text}" for text in warnings(seen, now)]
    return "\n".join(lines)


def _headline(seen: Seen, now: datetime) -> str:
    journal, is_so = seen.journal or Journal(), condition(seen.journal, seen.service)
    since = time_of(journal.since)
    began = time_of(journal.began) or since
    if is_so == ASLEEP:
        return f"is asleep since {moment(since, now)}"
    if is_so == STOPPED:
        return f"has stopped: it was {journal.doing} since {moment(since, now)}, and is set to 0"
    if is_so == WAKING and journal.holder not in seen.service.tasks:
        runs = seen.service.tasks
        return f"is waking: {'its ECS task runs' if runs else 'ECS is to start its task'}"
    if is_so == WAKING:
        return f"is waking since {moment(since, now)}"
    if is_so == "working":
        because = f": {journal.because}" if journal.because else ""
        return f"is awake since {moment(began, now)}{because}"
    return f"is {is_so} since {moment(since, now)}; awake since {moment(began, now)}"


def _rows(seen: Seen, now: datetime) -> Iterator[tuple[str, str]]:
    journal, service = seen.journal or Journal(), seen.service
    if seen.wakes:
        yield "wake-up", _wake_up(seen.wake_up, now)
    else:
        yield "wake-up", "none: it is always on"
    for number, run in enumerate(journal.next):
        named = f"{run.get('deployment', '')} {run.get('run', '')}".strip()
        yield "" if number else "next", f"{moment(time_of(run.get('at')), now)}  {named}"
    if not journal.next:
        yield "next", "no run is scheduled"
    for number, run in enumerate(journal.last):
        yield "" if number else "last", _last(run, now)
    if not journal.last:
        yield "last", "nothing has run yet"
    if journal.image:
        yield "image", short_digest(journal.image)
    if seen.requests:
        waits = "1 waits" if len(seen.requests) == 1 else f"{len(seen.requests)} wait"
        yield "requests", f"{waits}, since {moment(seen.requests[0], now)}"
    yield "service", f"desired {service.desired}, running {service.running}"


def _wake_up(found: WakeUp | None, now: datetime) -> str:
    if found is None:
        return "none"
    if found.at is None:
        return found.expression
    return moment(found.at, now)


def _last(run: dict[str, str], now: datetime) -> str:
    at = time_of(run.get("at"))
    when = distance(at, now) if at else "at a time that is not known"
    named = f"{run.get('deployment', '')} {run.get('run', '')}".strip()
    message = first_line(run.get("message", ""))
    return f"{run.get('state', '')} {when}  {named}{f': {message}' if message else ''}"


# --- what is not as it should be -----------------------------------------------------------------


def warnings(seen: Seen, now: datetime) -> list[str]:
    journal, service = seen.journal or Journal(), seen.service
    is_so = condition(seen.journal, service)
    found = []
    if is_so == STOPPED:
        found.append("somebody, or something, has set the service to 0 while it worked: make wake")
    if journal.trouble:
        found.append(f"trouble: {journal.trouble}")
    if is_so == ASLEEP and seen.wakes and (lacks := _lacks(journal, seen.wake_up, now)):
        found.append(lacks)
    if is_so == WAKING and service.running < service.desired:
        found += why_not(service, time_of(journal.since))
    if journal.bad:
        lives = ", ".join(map(str, journal.bad))
        found.append(f"the copies of the history of lives {lives} are damaged; they are kept")
    return found


def _lacks(journal: Journal, wake_up: WakeUp | None, now: datetime) -> str:
    """Invariant I1: asleep implies that a wake-up exists no later than the next scheduled run."""
    mend = "make wake sets it anew"
    due = min((at for run in journal.next if (at := time_of(run.get("at")))), default=None)
    if wake_up is None:
        return f"there is no wake-up: nothing would wake it for the next run; {mend}"
    if not wake_up.enabled:
        return f"the wake-up is disabled: nothing would wake it for the next run; {mend}"
    if wake_up.at is None:
        return f"the wake-up is not what the orchestrator sets ({wake_up.expression}); {mend}"
    if due is not None and wake_up.at > due:
        return f"the wake-up is later than the next run, {moment(due, now)}; {mend}"
    if now - wake_up.at > _LATE:
        return f"the wake-up has passed, and it did not wake; {mend}"
    if (told := time_of(journal.wake_up)) and told != wake_up.at:
        return f"the orchestrator had set the wake-up to {moment(told, now)}"
    return ""


def why_not(service: Service, since: datetime | None) -> list[str]:
    """Why no task of the service runs, as far as ECS tells; [] if it has not failed since then."""
    found = []
    if service.ended and service.ended_at and (since is None or service.ended_at > since):
        found.append(f"its last task has ended: {service.ended.summary} ({service.ended.detail})")
        found.append(f"  fix: {service.ended.fix}")
    if service.event and "has reached a steady state" not in service.event:
        found.append(f"ECS says: {service.event}")
    return found
