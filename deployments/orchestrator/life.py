"""The life of the orchestrator, decided: from what it sees to what it does next. Pure.

`executor` looks and carries out. Every look begins from nothing but what is seen, so that an
orchestrator that was killed anywhere goes on where its successor finds things.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Literal

Mode = Literal["asleep", "always", "external"]

WAIT = timedelta(seconds=1)  # for something that comes in seconds
LOOK = timedelta(seconds=3)  # between looks at what runs
# With nothing scheduled at all it still looks after itself now and then: history is pruned, and
# what a person has added at an external server is seen.
AT_MOST = timedelta(days=7)
# EventBridge fires within the minute: what stands is left there until it must have.
# https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
WITHIN = timedelta(seconds=90)
SOON = timedelta(seconds=30)  # so that a time is still to come when EventBridge has it
# In which one life follows on another, and has to tell of what came between. After longer people
# know from the last letter that something is wrong, and what is late begins all at once.
LEFT = timedelta(minutes=10)
SLACK = timedelta(seconds=5)  # in which the service is set to 0 before its wake-up comes


class Program(Enum):
    ABSENT = "absent"
    STARTING = "starting"  # it runs, and does not do its work yet
    RUNNING = "running"


class History(Enum):
    ABSENT = "absent"
    HERE = "here"  # restored, or begun
    OURS = "ours"  # and the journal names this life's own replica, which has all of it


class Phase(Enum):
    """How far this life has come. It goes back to WORK if something comes up while it leaves."""

    WAKE = "waking"
    WORK = "working"
    LEAVE = "going to sleep"


@dataclass(frozen=True)
class Unbegun:
    """A run that nobody has attended to yet: Scheduled, Late or Pending."""

    deployment: str
    run: str
    due: datetime  # or when it was made, if that is later


@dataclass(frozen=True)
class Work:
    """What there is to do, as Prefect and the state bucket tell."""

    busy: tuple[str, ...] = ()  # runs that are PENDING, RUNNING or CANCELLING, in words
    next: datetime | None = None  # when the next run is due
    next_run: str = ""  # which, in words
    requests: bool = False  # somebody asks for a run
    unsettled: tuple[str, ...] = ()  # ended runs whose ECS tasks have not: what follows is open
    unbegun: tuple[Unbegun, ...] = ()


@dataclass(frozen=True)
class SetWatchdog:
    """When people are told of runs that have not begun, and of which, in one letter."""

    at: datetime | None = None  # None: there is none to watch for
    runs: tuple[Unbegun, ...] = ()  # () with a time: the last life has left it, and knew which


@dataclass(frozen=True)
class Seen:
    now: datetime
    mode: Mode
    lead: timedelta  # from a wake-up to its run
    grace: timedelta | None = None  # after which a run is overdue; 0: never; None: no watchdog
    phase: Phase = Phase.WAKE
    told_to_end: bool = False  # ECS sends SIGTERM
    replaced: bool = False  # the journal names another orchestrator
    hindered: str = ""  # why this task cannot go on and another could: a full disk
    holder: bool = False  # the journal names this one
    predecessor: str = ""  # the ECS task that it names, if that is another which still lives
    history: History = History.ABSENT
    replicated: bool = False  # the replica of this life has its first copy
    litestream: Program = Program.ABSENT
    server: Program = Program.ABSENT
    worker: Program = Program.ABSENT
    straight: bool = False  # what Prefect says of its runs is true
    reconciled: bool = False
    work: Work | None = None  # None: nobody can be asked
    attended: bool = False  # to all that has ended so far: it runs again, or people were told
    asked_again: bool = False  # all that is due next was made, and no worker has run since
    wake_up: datetime | None = None  # when the schedule wakes us, as far as it was read
    watchdog: SetWatchdog | None = None  # as this life has set it, or the last has left it
    verified: bool = False  # the replica was restored and is equal; nothing has written since
    newer: bool = False  # another image is live: the next orchestrator is to be of that one


# --- steps ---------------------------------------------------------------------------------------


class Do(Enum):
    """Steps that need nothing to be said about them."""

    TAKE_OVER = "take over: the journal names this orchestrator"
    RESTORE = "restore the history"
    START_LITESTREAM = "start Litestream"
    ADOPT = "this life's replica is the one to restore from now on"
    START_SERVER = "start the Prefect server"
    SET_STRAIGHT = "set straight what the last life left"
    RECONCILE = "reconcile with prefect.yaml"
    START_WORKER = "start the worker"
    ATTEND = "attend to requests and to what was interrupted"
    STOP_WORKER = "stop the worker"
    ASK_AGAIN = "have Prefect make the next runs, and ask again"
    LEAVE = "go to sleep"
    STAY = "stay"
    STOP_SERVER = "stop the Prefect server"
    STOP_LITESTREAM = "stop Litestream"
    VERIFY = "verify the replica"
    SLEEP = "set the service to 0"


@dataclass(frozen=True)
class SetWakeUp:
    at: datetime


@dataclass(frozen=True)
class Wait:
    seconds: timedelta
    because: str


@dataclass(frozen=True)
class End:
    """Of this process. ECS starts another while the service's desired count is 1."""

    well: bool
    because: str


Step = Do | SetWakeUp | SetWatchdog | Wait | End


# --- the decision --------------------------------------------------------------------------------


def decide(seen: Seen) -> tuple[Step, ...]:
    """What to do now; then look again. Never empty."""
    if seen.replaced:
        # Another orchestrator has the history: nothing of ours may be added to it.
        return (*_stop_all(seen), End(False, "another orchestrator has taken over"))
    if seen.told_to_end or seen.hindered:
        because = "ECS has told it to end" if seen.told_to_end else seen.hindered
        return (*_stop_all(seen), End(seen.told_to_end, because))
    if not seen.holder:
        if seen.predecessor:
            return (Wait(WAIT, f"the last orchestrator has not ended: {seen.predecessor}"),)
        return (Do.TAKE_OVER,)
    if seen.phase is Phase.LEAVE:
        return _leave(seen)
    return _wake(seen) or _work(seen)


def _stop_all(seen: Seen) -> tuple[Step, ...]:
    """Whoever writes stops before what keeps it."""
    steps = (
        (seen.worker, Do.STOP_WORKER),
        (seen.server, Do.STOP_SERVER),
        (seen.litestream, Do.STOP_LITESTREAM),
    )
    return tuple(step for program, step in steps if program is not Program.ABSENT)


def _wake(seen: Seen) -> tuple[Step, ...]:
    """Until Prefect has the truth and can be asked; () then. A program's end leads back to it."""
    if seen.mode != "external":
        if seen.history is History.ABSENT:
            return (Do.RESTORE,)
        if seen.litestream is Program.ABSENT:
            return (Do.START_LITESTREAM,)
        if seen.server is Program.ABSENT:
            return (Do.START_SERVER,)
        if seen.history is History.HERE:
            if seen.replicated:
                return (Do.ADOPT,)
            return (Wait(WAIT / 5, "Litestream makes the first copy of this life"),)
        if seen.server is Program.STARTING:
            return (Wait(WAIT / 5, "the Prefect server starts"),)
    if not seen.straight:
        return (Do.SET_STRAIGHT,)
    return () if seen.reconciled else (Do.RECONCILE,)


def _work(seen: Seen) -> tuple[Step, ...]:
    if seen.work is None:
        return (Wait(LOOK, "Prefect does not answer"),)
    watchdog = wanted_watchdog(seen)
    moved = (watchdog,) if watchdog and watchdog != seen.watchdog else ()
    return (*moved, *_work_or_leave(seen, seen.work))


def _work_or_leave(seen: Seen, work: Work) -> tuple[Step, ...]:
    because = awake_because(seen)
    if because and seen.worker is Program.ABSENT:
        # The last worker may have taken a run while it was stopped, and have started nothing.
        before = (Do.SET_STRAIGHT,) if work.busy else ()
        return (*before, Do.START_WORKER)
    if because:
        return (Do.ATTEND, Wait(LOOK, because))
    if seen.worker is not Program.ABSENT:
        return (Do.ATTEND, Do.STOP_WORKER)
    if not seen.attended:
        return (Do.ATTEND,)  # and look again: it may run again
    if not seen.asked_again:
        return (Do.ASK_AGAIN,)  # and look again: what somebody added meanwhile keeps it awake
    if seen.newer:
        return (Do.LEAVE,)  # with the service left at 1
    at = wanted_wake_up(seen)
    if seen.wake_up != at:
        return (SetWakeUp(at),)
    return (Do.LEAVE,)


def _leave(seen: Seen) -> tuple[Step, ...]:
    """Nothing is busy, and the wake-up is set: bring the history home, then to sleep.

    Up to the very last step something may come up: then the same life goes on.
    """
    restart = seen.newer
    if not restart:
        work = seen.work or Work()
        if work.requests or work.busy:
            return (Do.STAY,)
        if seen.wake_up is None or seen.wake_up - SLACK <= seen.now:
            return (Do.STAY,)  # it would come before the sleep
        if work.next is not None and work.next - seen.lead < seen.wake_up:
            return (Do.STAY,)  # somebody has added a run, and it would come after that one
        if wanted_watchdog(seen) not in (None, seen.watchdog):
            return (Do.STAY,)  # it would tell of a run that is not the next any more
    if seen.mode != "external":
        if seen.server is not Program.ABSENT:
            return (Do.STOP_SERVER,)
        if not seen.verified:
            if seen.litestream is not Program.ABSENT:
                return (Do.STOP_LITESTREAM, Do.VERIFY)
            return (Do.START_LITESTREAM,)
        if seen.litestream is not Program.ABSENT:
            return (Do.STOP_LITESTREAM,)
    if restart:
        return (End(True, "another image is live: ECS starts that one"),)
    return (Do.SLEEP,)


def awake_because(seen: Seen) -> str:
    """Why it may not go to sleep, in words; '' if it may."""
    work = seen.work or Work()
    if work.busy:
        return _listed(work.busy, "busy")
    if work.unsettled:
        return _listed(work.unsettled, "not settled yet")
    if work.requests:
        return "somebody asks for a run"
    if seen.newer:
        return ""
    if work.next is not None and work.next - seen.now <= 2 * seen.lead:
        return f"{work.next_run or 'a run'} is due at {work.next:%H:%M:%S}"
    if seen.mode == "always":
        return "it is always on"
    # Once it stays for that, it stays: a worker that runs makes `asked_again` false.
    asked = seen.asked_again or seen.worker is not Program.ABSENT
    if seen.mode == "external" and asked and work.next is None:
        return "the external server does not say when the next run is"
    return ""


def wanted_wake_up(seen: Seen) -> datetime:
    """When to wake: before the next run, and at the latest after `AT_MOST`. To the second, as
    EventBridge has it.
    """
    latest = seen.now + AT_MOST
    next_run = (seen.work or Work()).next
    if next_run is None or next_run - seen.lead > latest:
        # Kept if it is about right: otherwise it would have to be set again at each look.
        if seen.wake_up and latest - timedelta(hours=1) <= seen.wake_up <= latest:
            return seen.wake_up
        return latest.replace(microsecond=0)
    return (next_run - seen.lead).replace(microsecond=0)


def wanted_watchdog(seen: Seen) -> SetWatchdog | None:
    """For the next runs to be overdue; None where there is no such schedule.

    It is one schedule, and once its time has come it is left alone until it must have told. So runs
    that are overdue within that time of each other share a letter, at the time of the last of them:
    people are told of each once, and of none too early.
    """
    if seen.grace is None:
        return None
    runs = (seen.work or Work()).unbegun if seen.grace else ()
    overdue = {run: _whole(run.due + seen.grace) for run in runs}
    stands, since = seen.watchdog, seen.now  # of what was overdue before, people were told
    if stands and stands.at:
        first, last = _overdue(stands.at, stands.runs, seen.grace)
        named = stands.runs or [run for run, at in overdue.items() if first <= at <= last]
        if seen.now < stands.at:
            since = min(since, first - timedelta(seconds=1))
        elif seen.now < stands.at + WITHIN and any(run in overdue for run in named):
            return stands  # it may be telling now: to move it on would be to call it off
        else:
            since = last
    coming = sorted(
        (run for run in runs if overdue[run] > since),
        key=lambda run: (overdue[run], run.deployment, run.run),
    )
    if not coming:
        return SetWatchdog()
    shared = overdue[coming[0]] + WITHIN

    def by(at: datetime) -> SetWatchdog:
        """Then, or as soon after that as its last run is overdue; of all that are so by then."""
        named = tuple(run for run in coming if overdue[run] <= max(shared, at))
        return SetWatchdog(max(at, overdue[named[-1]]), named)

    if stands and stands.at and seen.now < stands.at:
        if stands == by(stands.at):
            return stands  # it may have been set late, and is not put off at each look
        if seen.now > shared and any(run in overdue for run in stands.runs):
            return stands  # nor for each that begins
    return by(_whole(seen.now + SOON))


def _overdue(
    stands: datetime, runs: tuple[Unbegun, ...], grace: timedelta
) -> tuple[datetime, datetime]:
    """Of the runs that it tells of then, when the first and when the last are overdue. If the last
    life has left it, the times between which they are: what came before it was moved on at least
    `WITHIN` after its own time, and to one that is `SOON` or later.
    """
    times = [_whole(run.due + grace) for run in runs]
    if not times:
        return stands - WITHIN - SOON + timedelta(seconds=1), stands
    return min(times), max(times)


def _whole(time: datetime) -> datetime:
    """To the second, as EventBridge has it, and no sooner."""
    return (time + timedelta(microseconds=999_999)).replace(microsecond=0)


def missed(seen: Seen) -> str:
    """Why the service has to be set to 1 again right after it was set to 0, in words; '' if not.

    Whoever wakes it does something first and sets the service to 1 then. If that 1 came before the
    0, what was done shows in a look after the 0; if it came after, it holds.
    """
    if (seen.work or Work()).requests:
        return "somebody asks for a run"
    if seen.newer:
        return "another image is live"
    if seen.wake_up is None or seen.wake_up <= seen.now:
        return "the wake-up came before the sleep"
    return ""


def _listed(names: tuple[str, ...], what: str) -> str:
    shown = ", ".join(names[:3])
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{len(names)} {'run' if len(names) == 1 else 'runs'} {what}: {shown}{more}"
