"""What the orchestrator does next, from what it sees: one situation at a time, and as a picture."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from deployments.orchestrator import life
from deployments.orchestrator.life import (
    AT_MOST,
    LOOK,
    SLACK,
    WITHIN,
    Do,
    End,
    History,
    Phase,
    Program,
    Seen,
    SetWakeUp,
    SetWatchdog,
    Step,
    Unbegun,
    Wait,
    Work,
    awake_because,
    decide,
    missed,
    wanted_wake_up,
    wanted_watchdog,
)

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
LEAD = timedelta(minutes=3)
FAR = NOW + timedelta(hours=9)
SOON = NOW + timedelta(minutes=5)
SECOND = timedelta(seconds=1)

RUNS, STARTS, NOT = Program.RUNNING, Program.STARTING, Program.ABSENT
IDLE = Work(next=FAR, next_run="amber-fox of report/daily")
BUSY = Work(busy=("amber-fox of report/daily",), next=FAR)
ASKED = Work(requests=True, next=FAR)


def seen(**changes: Any) -> Seen:
    """One that has just begun."""
    return Seen(NOW, "asleep", LEAD, **changes)


def holds(**changes: Any) -> Seen:
    return replace(seen(holder=True), **changes)


def awake(**changes: Any) -> Seen:
    """All is up, and nothing is to be done."""
    ready = holds(history=History.OURS, replicated=True, litestream=RUNS, server=RUNS)
    return replace(
        replace(ready, straight=True, reconciled=True, attended=True, work=IDLE), **changes
    )


def works(**changes: Any) -> Seen:
    return replace(awake(phase=Phase.WORK, worker=RUNS), **changes)


def leaves(**changes: Any) -> Seen:
    going = awake(phase=Phase.LEAVE, asked_again=True, wake_up=FAR - LEAD)
    return replace(going, **changes)


def external(**changes: Any) -> Seen:
    known = holds(mode="external", straight=True, reconciled=True, attended=True, work=IDLE)
    return replace(known, **changes)


DO_STOP = (Do.STOP_WORKER, Do.STOP_SERVER, Do.STOP_LITESTREAM)

# why: what is seen, and the steps; of a Wait its reason
SITUATIONS: dict[str, tuple[Seen, tuple[object, ...]]] = {
    # whose the history is
    "it has just begun": (seen(), (Do.TAKE_OVER,)),
    "the last one has not ended": (
        seen(predecessor="arn:7"),
        ("the last orchestrator has not ended: arn:7",),
    ),
    "it was replaced: it writes nothing more": (
        works(replaced=True),
        (*DO_STOP, End(False, "another orchestrator has taken over")),
    ),
    "it was replaced before it began": (
        seen(replaced=True),
        (End(False, "another orchestrator has taken over"),),
    ),
    # told to end, or hindered
    "ECS tells it to end": (
        works(told_to_end=True),
        (*DO_STOP, End(True, "ECS has told it to end")),
    ),
    "it is told to end while it leaves": (
        leaves(told_to_end=True, server=NOT),
        (Do.STOP_LITESTREAM, End(True, "ECS has told it to end")),
    ),
    "the disk is full: another task has another disk": (
        works(hindered="the disk is full"),
        (*DO_STOP, End(False, "the disk is full")),
    ),
    # it wakes
    "there is no database": (holds(), (Do.RESTORE,)),
    "it is restored": (holds(history=History.HERE), (Do.START_LITESTREAM,)),
    "Litestream runs: the server may start beside its first copy": (
        holds(history=History.HERE, litestream=RUNS),
        (Do.START_SERVER,),
    ),
    "the first copy is not made": (
        holds(history=History.HERE, litestream=RUNS, server=STARTS),
        ("Litestream makes the first copy of this life",),
    ),
    "the first copy is made": (
        holds(history=History.HERE, litestream=RUNS, server=STARTS, replicated=True),
        (Do.ADOPT,),
    ),
    "the server does not answer yet": (
        holds(history=History.OURS, litestream=RUNS, server=STARTS),
        ("the Prefect server starts",),
    ),
    "the server answers": (
        holds(history=History.OURS, litestream=RUNS, server=RUNS),
        (Do.SET_STRAIGHT,),
    ),
    "the truth is told": (awake(reconciled=False), (Do.RECONCILE,)),
    "somebody else's server: nothing is restored or started": (
        holds(mode="external"),
        (Do.SET_STRAIGHT,),
    ),
    # something ended by itself
    "Litestream was killed": (works(litestream=NOT), (Do.START_LITESTREAM,)),
    "the server was killed": (works(server=NOT), (Do.START_SERVER,)),
    "the worker was killed: it may have taken a run": (
        works(worker=NOT, straight=False),
        (Do.SET_STRAIGHT,),
    ),
    # it works
    "nobody answers": (works(work=None), ("Prefect does not answer",)),
    "a run is due soon": (
        awake(work=Work(next=SOON, next_run="amber-fox")),
        (Do.START_WORKER,),
    ),
    "a run is busy, and no worker is there": (
        awake(work=BUSY),
        (Do.SET_STRAIGHT, Do.START_WORKER),
    ),
    "a run is busy": (
        works(work=BUSY),
        (Do.ATTEND, "1 run busy: amber-fox of report/daily"),
    ),
    "nothing is left to do": (works(), (Do.ATTEND, Do.STOP_WORKER)),
    "it is always on": (works(mode="always"), (Do.ATTEND, "it is always on")),
    "it is always on, and another image is live": (
        works(mode="always", newer=True),
        (Do.ATTEND, Do.STOP_WORKER),
    ),
    # towards the sleep
    "the worker has stopped": (awake(), (Do.ASK_AGAIN,)),
    "what ended last has not been looked into": (awake(attended=False), (Do.ATTEND,)),
    "the wake-up is not set": (awake(asked_again=True), (SetWakeUp(FAR - LEAD),)),
    "the wake-up is another run's": (
        awake(asked_again=True, wake_up=FAR),
        (SetWakeUp(FAR - LEAD),),
    ),
    "the wake-up is set": (awake(asked_again=True, wake_up=FAR - LEAD), (Do.LEAVE,)),
    "another image is live: a run that is due is for that one, and no wake-up is wanted": (
        awake(asked_again=True, newer=True, work=Work(next=NOW)),
        (Do.LEAVE,),
    ),
    # it leaves
    "the server stops first": (leaves(), (Do.STOP_SERVER,)),
    "then Litestream, and what it kept is compared": (
        leaves(server=NOT),
        (Do.STOP_LITESTREAM, Do.VERIFY),
    ),
    "the replica has not got all": (leaves(server=NOT, litestream=NOT), (Do.START_LITESTREAM,)),
    "the replica has all": (leaves(server=NOT, litestream=NOT, verified=True), (Do.SLEEP,)),
    "it has all, and Litestream runs": (leaves(server=NOT, verified=True), (Do.STOP_LITESTREAM,)),
    "another image is live": (
        leaves(server=NOT, litestream=NOT, verified=True, newer=True),
        (End(True, "another image is live: ECS starts that one"),),
    ),
    "another image is live, and comes before the requests": (
        leaves(newer=True, work=ASKED, wake_up=None),
        (Do.STOP_SERVER,),
    ),
    "somebody else's server: to sleep at once": (
        external(phase=Phase.LEAVE, wake_up=FAR - LEAD),
        (Do.SLEEP,),
    ),
    # something comes up
    "somebody asks for a run": (leaves(work=ASKED), (Do.STAY,)),
    "somebody asks at the very last": (
        leaves(server=NOT, litestream=NOT, verified=True, work=ASKED),
        (Do.STAY,),
    ),
    "a run was taken": (leaves(work=BUSY), (Do.STAY,)),
    "a run was added": (leaves(work=Work(next=SOON)), (Do.STAY,)),
    "a run was added, for after the wake-up": (leaves(work=Work(next=FAR)), (Do.STOP_SERVER,)),
    "the wake-up is near": (leaves(wake_up=NOW + SLACK), (Do.STAY,)),
    "the wake-up is just not near": (leaves(wake_up=NOW + SLACK + SECOND), (Do.STOP_SERVER,)),
    "the wake-up is not known": (leaves(wake_up=None), (Do.STAY,)),
    "something came up: the same life goes on": (
        leaves(phase=Phase.WORK, server=NOT, litestream=NOT, work=ASKED),
        (Do.START_LITESTREAM,),
    ),
}


@pytest.mark.parametrize("why", SITUATIONS)
def test_what_it_does(why: str) -> None:
    situation, steps = SITUATIONS[why]
    assert tuple(s.because if isinstance(s, Wait) else s for s in decide(situation)) == steps


def test_a_look_comes_every_few_seconds_while_runs_go_on() -> None:
    assert decide(works(work=BUSY))[-1] == Wait(LOOK, "1 run busy: amber-fox of report/daily")


# --- why it is awake -----------------------------------------------------------------------------

REASONS: dict[str, Seen] = {
    "": works(),
    "1 run busy: a": works(work=Work(busy=("a",), requests=True)),
    "5 runs busy: a, b, c and 2 more": works(work=Work(busy=tuple("abcde"))),
    "1 run not settled yet: a": works(work=Work(unsettled=("a",), next=SOON)),
    "somebody asks for a run": works(work=ASKED, newer=True),
    "amber-fox is due at 12:05:00": works(work=Work(next=SOON, next_run="amber-fox")),
    "a run is due at 12:06:00": works(work=Work(next=NOW + 2 * LEAD)),
    "it is always on": works(mode="always"),
    "the external server does not say when the next run is": external(
        work=Work(), asked_again=True
    ),
}


@pytest.mark.parametrize("reason", REASONS)
def test_why_it_is_awake(reason: str) -> None:
    assert awake_because(REASONS[reason]) == reason


def test_nothing_keeps_it_awake() -> None:
    assert not awake_because(works(work=None))
    assert not awake_because(works(work=Work()))
    assert not awake_because(works(work=Work(next=NOW + 2 * LEAD + SECOND)))
    assert not awake_because(works(work=Work(next=SOON), newer=True))
    assert not awake_because(works(mode="always", newer=True))
    assert not awake_because(external(asked_again=True))


def test_where_the_schedule_is_not_known_it_stays_on() -> None:
    """And starts one worker, rather than one after the other: each makes `asked_again` false."""
    unknown = external(work=Work())
    assert decide(unknown) == (Do.ASK_AGAIN,)
    assert decide(replace(unknown, asked_again=True)) == (Do.START_WORKER,)
    stays = decide(replace(unknown, worker=RUNS, phase=Phase.WORK))
    assert stays[0] is Do.ATTEND
    assert isinstance(stays[1], Wait)
    known = replace(unknown, worker=RUNS, phase=Phase.WORK, work=IDLE)
    assert decide(known) == (Do.ATTEND, Do.STOP_WORKER)


# --- when it is woken ----------------------------------------------------------------------------


def test_the_wake_up_is_before_the_next_run() -> None:
    assert wanted_wake_up(awake()) == FAR - LEAD
    odd = FAR + timedelta(microseconds=900_000)
    assert wanted_wake_up(awake(asked_again=True, phase=Phase.WORK)) == FAR - LEAD
    assert wanted_wake_up(replace(awake(), work=Work(next=odd))) == FAR - LEAD, "to the second"


@pytest.mark.parametrize("work", [None, Work(), Work(next=NOW + 2 * AT_MOST)])
def test_it_wakes_now_and_then_with_nothing_to_do(work: Work | None) -> None:
    idle = replace(awake(), work=work)
    assert wanted_wake_up(idle) == NOW + AT_MOST
    later = replace(idle, wake_up=NOW + AT_MOST, now=NOW + timedelta(minutes=59))
    assert wanted_wake_up(later) == NOW + AT_MOST, "not set again at each look"
    much_later = replace(later, now=NOW + timedelta(minutes=61))
    assert wanted_wake_up(much_later) == much_later.now + AT_MOST


def test_a_wake_up_that_came_before_the_sleep_is_not_lost() -> None:
    asleep = leaves(server=NOT, litestream=NOT, verified=True)
    assert missed(asleep) == ""
    assert missed(replace(asleep, work=None)) == ""
    assert missed(replace(asleep, work=ASKED)) == "somebody asks for a run"
    assert missed(replace(asleep, newer=True)) == "another image is live"
    assert missed(replace(asleep, wake_up=NOW)) == "the wake-up came before the sleep"
    assert missed(replace(asleep, wake_up=None)) == "the wake-up came before the sleep"


# --- when people are told that a run has not begun -----------------------------------------------

GRACE = timedelta(minutes=30)
DAILY = Unbegun("report/daily", "amber-fox", FAR)
LATER = Unbegun("report/weekly", "blue-cat", FAR + WITHIN + SECOND)
GUARD = SetWatchdog(FAR + GRACE, (DAILY,))


def guards(*unbegun: Unbegun, **changes: Any) -> Seen:
    guarded = awake(grace=GRACE, work=replace(IDLE, unbegun=unbegun))
    return replace(guarded, **{"asked_again": True, "wake_up": FAR - LEAD, **changes})


def test_the_watchdog_stands_where_the_next_run_is_overdue() -> None:
    assert wanted_watchdog(guards(LATER, DAILY)) == GUARD
    assert wanted_watchdog(guards()) == SetWatchdog()
    assert wanted_watchdog(guards(work=None)) == SetWatchdog()


def test_of_what_is_overdue_people_were_told() -> None:
    was = replace(DAILY, due=NOW - GRACE)
    assert wanted_watchdog(guards(was)) == SetWatchdog()
    assert wanted_watchdog(guards(was, LATER, DAILY)) == GUARD


def test_a_time_that_eventbridge_may_have_too_late_is_put_off_once() -> None:
    soon = replace(DAILY, due=NOW - GRACE + SECOND)
    late = SetWatchdog(NOW + life.SOON, (soon,))
    assert wanted_watchdog(guards(soon)) == late
    looks_again = guards(soon, watchdog=late, now=NOW + life.SOON - SECOND)
    assert wanted_watchdog(looks_again) == late


def test_it_stays_until_eventbridge_must_have_fired() -> None:
    """Which is within the minute: to move it on at once would be to call it off."""
    was = replace(DAILY, due=NOW - GRACE - SECOND)
    stands = SetWatchdog(NOW - SECOND, (was,))
    assert wanted_watchdog(guards(was, LATER, watchdog=stands)) == stands
    past = replace(DAILY, due=NOW - GRACE - WITHIN)
    stood = SetWatchdog(NOW - WITHIN, (past,))
    moved = SetWatchdog(LATER.due + GRACE, (LATER,))
    assert wanted_watchdog(guards(past, LATER, watchdog=stood)) == moved
    assert wanted_watchdog(guards(LATER, watchdog=stands)) == moved, "late, but it has begun"


def test_runs_that_are_overdue_at_about_one_time_share_a_letter() -> None:
    """At the last one's time: of none too early."""
    also = Unbegun("report/also", "red-owl", FAR)
    edge = replace(LATER, due=FAR + WITHIN)
    together = SetWatchdog(edge.due + GRACE, (DAILY, also, edge))
    one = guards(edge, also, DAILY)
    assert wanted_watchdog(one) == SetWatchdog(together.at, (also, DAILY, edge))
    assert wanted_watchdog(guards(DAILY, LATER)) == GUARD


def test_one_that_begins_is_not_named_any_more() -> None:
    edge = replace(LATER, due=FAR + WITHIN)
    both = SetWatchdog(edge.due + GRACE, (DAILY, edge))
    now = FAR + GRACE + SECOND  # the first is overdue, and the other is not yet
    assert wanted_watchdog(guards(DAILY, edge, watchdog=both, now=now)) == both
    alone = wanted_watchdog(guards(DAILY, watchdog=both, now=now))
    assert alone == SetWatchdog(now + life.SOON, (DAILY,)), "it is told of as soon as can be"
    other = wanted_watchdog(guards(edge, watchdog=both, now=now))
    assert other == SetWatchdog(both.at, (edge,))
    assert both.at
    tells = {"watchdog": both, "now": both.at + SECOND}
    assert wanted_watchdog(guards(edge, **tells)) == both, "it is telling, perhaps"


def test_what_is_overdue_while_it_tells_comes_after_that() -> None:
    next_ = replace(LATER, due=DAILY.due + WITHIN + SECOND)
    moves_on = FAR + GRACE + WITHIN + 2 * SECOND
    assert wanted_watchdog(guards(DAILY, next_, watchdog=GUARD, now=moves_on)) == SetWatchdog(
        moves_on + life.SOON, (next_,)
    )


def test_a_life_that_begins_while_it_tells_leaves_it() -> None:
    """It knows when, and not of which."""
    left = SetWatchdog(FAR + GRACE)
    for after in (timedelta(), WITHIN - SECOND):
        begins = guards(DAILY, LATER, watchdog=left, now=FAR + GRACE + after)
        assert wanted_watchdog(begins) == left
        assert Do.LEAVE not in decide(replace(begins, work=late(begins))), "and it stays awake"
    for others in ((), (LATER,)):
        now = FAR + GRACE + SECOND
        begun = wanted_watchdog(guards(*others, watchdog=left, now=now))
        assert begun == (SetWatchdog(LATER.due + GRACE, others) if others else SetWatchdog())


def late(seen: Seen) -> Work:
    """What there is to do where the first of the runs is Late, as Prefect tells it."""
    assert seen.work
    return replace(seen.work, next=seen.work.unbegun[0].due)


def test_a_life_that_begins_before_it_tells_sets_it_with_its_runs() -> None:
    edge = replace(LATER, due=FAR + WITHIN)
    both = SetWatchdog(edge.due + GRACE, (DAILY, edge))
    now = FAR + GRACE + SECOND  # the first is overdue, and nobody was told
    left = SetWatchdog(both.at)
    assert wanted_watchdog(guards(DAILY, edge, watchdog=left, now=now)) == both
    told = replace(DAILY, due=FAR - 2 * WITHIN)
    assert wanted_watchdog(guards(told, DAILY, edge, watchdog=left, now=now)) == both


def test_it_is_never_too_early() -> None:
    odd = replace(DAILY, due=FAR + timedelta(microseconds=1))
    assert wanted_watchdog(guards(odd)) == SetWatchdog(FAR + GRACE + SECOND, (odd,))


def test_none_is_wanted_or_there_is_none() -> None:
    assert wanted_watchdog(guards(DAILY, grace=timedelta())) == SetWatchdog()
    assert wanted_watchdog(guards(DAILY, grace=None)) is None


def test_it_is_moved_before_anything_else() -> None:
    """While it works as much as before it sleeps, and also where it never sleeps."""
    assert decide(guards(DAILY)) == (GUARD, Do.LEAVE)
    assert decide(guards(DAILY, watchdog=GUARD)) == (Do.LEAVE,)
    assert decide(guards(DAILY, watchdog=SetWatchdog())) == (GUARD, Do.LEAVE)
    busy = guards(phase=Phase.WORK, worker=RUNS, work=replace(BUSY, unbegun=(DAILY,)))
    assert decide(busy)[:2] == (GUARD, Do.ATTEND)
    assert decide(replace(busy, mode="always", watchdog=GUARD))[0] is Do.ATTEND
    assert decide(guards(watchdog=GUARD)) == (SetWatchdog(), Do.LEAVE)


def test_it_does_not_sleep_with_another() -> None:
    going = guards(DAILY, phase=Phase.LEAVE, watchdog=GUARD)
    assert decide(going) == (Do.STOP_SERVER,)
    assert decide(replace(going, watchdog=SetWatchdog())) == (Do.STAY,)
    assert decide(replace(going, watchdog=None)) == (Do.STAY,)
    assert decide(replace(going, watchdog=None, grace=None)) == (Do.STOP_SERVER,)


# --- the picture ---------------------------------------------------------------------------------

ARCHITECTURE = Path(__file__).parents[2] / "docs" / "architecture.md"
SECTION = "## The life of the orchestrator"
Edge = tuple[str, str, str]


def state(now: Seen) -> str:
    """Where in the picture it is."""
    if not now.holder:
        return "begun"
    if now.phase is Phase.LEAVE:
        if now.server is not NOT:
            return "leaving"
        return "home" if now.verified else "going_home"
    if now.history is not History.OURS:
        return "empty" if now.history is History.ABSENT else "restored"
    if now.litestream is NOT or now.server is NOT:
        return "staying"
    if not now.straight:
        return "adopted"
    if not now.reconciled:
        return "straight"
    return "idle" if now.worker is NOT else "working"


AFTER: dict[object, dict[str, Any]] = {
    Do.TAKE_OVER: {"holder": True},
    Do.RESTORE: {"history": History.HERE},
    Do.START_LITESTREAM: {"litestream": RUNS},
    Do.ADOPT: {"history": History.OURS},
    Do.START_SERVER: {"server": RUNS},
    Do.SET_STRAIGHT: {"straight": True, "attended": False},
    Do.RECONCILE: {"reconciled": True},
    Do.START_WORKER: {"worker": RUNS, "asked_again": False, "phase": Phase.WORK},
    Do.ATTEND: {"attended": True},
    Do.STOP_WORKER: {"worker": NOT, "attended": False},
    Do.ASK_AGAIN: {"asked_again": True},
    Do.LEAVE: {"phase": Phase.LEAVE},
    Do.STAY: {"phase": Phase.WORK, "asked_again": False, "verified": False},
    Do.STOP_SERVER: {"server": NOT},
    Do.STOP_LITESTREAM: {"litestream": NOT},
}


def name(step: Step) -> str:
    if isinstance(step, Do):
        return step.name.lower().replace("_", " ")
    return {SetWakeUp: "set wake up", SetWatchdog: "set watchdog", End: "end"}[type(step)]


def carried_out(now: Seen, steps: tuple[Step, ...], verified: bool) -> Iterator[tuple[Edge, Seen]]:
    """Each with what it leads to."""
    for step in steps:
        if isinstance(step, Wait):
            continue
        before = state(now)
        if step is Do.SLEEP or isinstance(step, End):
            yield (before, name(step), "asleep" if step is Do.SLEEP else "ended"), now
            return
        if isinstance(step, SetWakeUp):
            now = replace(now, wake_up=step.at)
        elif isinstance(step, SetWatchdog):
            now = replace(now, watchdog=step)
        elif step is Do.VERIFY:
            now = replace(now, verified=verified)
        else:
            now = replace(now, **AFTER[step])
        yield (before, name(step), state(now)), now


def walked() -> set[Edge]:
    """Every edge of a life in which nothing is killed, found by walking through it."""
    edges: set[Edge] = set()
    known: set[Seen] = set()
    todo = [seen(replicated=True, grace=GRACE)]
    while todo:
        now = todo.pop()
        if now in known:
            continue
        known.add(now)
        for work in (BUSY, IDLE, ASKED):
            for newer in {now.newer, now.reconciled}:
                looked = replace(now, work=work, newer=newer)
                for verified in (True, False):
                    for edge, then in carried_out(looked, decide(looked), verified):
                        edges.add(edge)
                        last = then
                    todo.append(last if edges else now)
    return edges


def drawn(text: str) -> set[Edge]:
    """The edges of the mermaid block in the section; [*] is where a life begins."""
    block = re.search(
        r"```mermaid\nstateDiagram-v2\n(.*?)```", text.partition(SECTION)[2], re.DOTALL
    )
    assert block, "the picture is gone"
    arrows = re.findall(r"^ +(\w+) --> (\w+) *: (.+)$", block[1], re.MULTILINE)
    return {(a, label.strip(), b) for a, b, labels in arrows for label in labels.split(",")}


def test_the_picture_is_the_codes() -> None:
    assert drawn(ARCHITECTURE.read_text()) == walked()


def test_a_person_can_read_the_picture() -> None:
    assert len({end for a, _, b in walked() for end in (a, b)}) <= 15
    steps = {label for _, label, _ in walked()}
    assert {name(step) for step in Do} <= steps, "every step is in it"


def test_the_picture_follows_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """A control: with another decision it is another picture."""
    monkeypatch.setattr(life, "awake_because", lambda _: "")
    assert drawn(ARCHITECTURE.read_text()) != walked()
