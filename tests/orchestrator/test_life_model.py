"""Whatever happens, and in whatever order: it ends asleep, with a wake-up, and nothing is lost.

`world` has what is around the orchestrator, `executor_model` what each step does to it, and here is
what may happen. What decides is `life.decide` itself. The controls show that the model can fail.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from deployments.orchestrator import life
from deployments.orchestrator.life import Do, Mode, Program, Seen, SetWakeUp, Step, Unbegun
from tests.orchestrator.executor_model import Care, Decide, Executor
from tests.orchestrator.world import (
    BY_HAND,
    GRACE,
    Every,
    Image,
    Process,
    Run,
    Task,
    World,
    seconds,
)

MANY = 10_000  # events in a few hours
HOURS = timedelta(hours=3)  # in which it falls asleep if nothing else happens
MODES: st.SearchStrategy[Mode] = st.sampled_from(
    ["asleep", "asleep", "asleep", "external", "always"]
)
SCHEDULES = st.builds(
    Every, st.sampled_from([17, 60, 24 * 60]), st.integers(0, 23)
)  # a quarter of an hour leaves little time to sleep
IMAGES = st.dictionaries(st.sampled_from("ab"), SCHEDULES)


class Life(RuleBasedStateMachine):
    decide: Decide = staticmethod(life.decide)
    care = Care()

    @initialize(mode=MODES, image=IMAGES)
    def installed(self, mode: Mode, image: Image) -> None:
        self.world = World(mode, self._make)
        self.world.images = [image]
        self.world.wake()
        self.run_on(120)

    def _make(self, world: World, task: Task) -> Process:
        return Executor(world, task, type(self).decide, self.care)

    def _run(self, duration: timedelta, most: int = MANY) -> int:
        count = self.world.run(self.world.now + duration, most)
        assert count < MANY, "it turns in circles"
        return count

    # --- time ---

    @rule(events=st.integers(1, 30))
    def a_few_steps(self, events: int) -> None:
        """Anything may happen between any two of them."""
        self._run(HOURS, events)

    @rule(step=st.sampled_from([*Do, Do.LEAVE, Do.STOP_SERVER, Do.VERIFY, Do.SLEEP]))
    def up_to(self, step: Do) -> None:
        """That it is doing this now: what happens next happens in the middle of it."""
        for _ in range(200):
            processes = [task.process for task in self.world.alive()]
            if any(isinstance(each, Executor) and each.doing is step for each in processes):
                return
            self._run(HOURS, 1)

    @rule(duration=st.sampled_from([1, 10, 60, 200]))
    def run_on(self, duration: int) -> None:
        self._run(seconds(duration))

    @rule(minutes=st.sampled_from([10, 60, 300]))
    def long_time(self, minutes: int) -> None:
        if self.world.mode != "always" or minutes < 100:
            self._run(timedelta(minutes=minutes))

    # --- ends ---

    @precondition(lambda self: self.world.alive())
    @rule(data=st.data(), events=st.integers(0, 40))
    def killed(self, data: st.DataObject, events: int) -> None:
        self._run(HOURS, events)
        for task in self.world.alive()[:1]:
            while isinstance(task.process, Executor) and task.process.at_zero:
                self._run(HOURS, 1)  # the one moment in which a kill may lose a wake-up
            if task.process:
                self.world.kill(task)

    @precondition(lambda self: self.world.alive())
    @rule(which=st.sampled_from(["worker", "server", "litestream"]))
    def killed_alone(self, which: str) -> None:
        process = self.world.alive()[-1].process
        assert isinstance(process, Executor)
        if getattr(process, which):
            getattr(process, f"end_{which}")()
            self.world.nudge()

    @rule()
    def stack_updated(self) -> None:
        """Its task is replaced, with the successor beside it."""
        self.world.deployment += 1
        self.world.service()

    @rule()
    def started_by_hand(self) -> None:
        """A second one, beside the service's: nobody should, and it must do no harm."""
        self.world.wake()
        if len(self.world.tasks) < 3:
            self.world.start(BY_HAND)

    @rule(provisioning=st.sampled_from([1, 20, 60, 30 * 60]), stopping=st.sampled_from([1, 15]))
    def slow(self, provisioning: int, stopping: int) -> None:
        self.world.provisioning, self.world.stopping = seconds(provisioning), seconds(stopping)

    @rule(minutes=st.sampled_from([0.1, 2, 20]))
    def s3_away(self, minutes: float) -> None:
        self.world.s3_away_until = self.world.now + timedelta(minutes=minutes)

    @rule()
    def last_sync_fails(self) -> None:
        self.world.last_sync_fails = True

    # --- people ---

    @rule(image=IMAGES)
    def released(self, image: Image) -> None:
        self.world.images.append(image)
        self.world.wake()
        self.world.nudge()

    @rule()
    def woken(self) -> None:
        self.world.wake()

    @rule()
    def asked_for_a_run(self) -> None:
        world = self.world
        world.requests[world.number()] = world.now + seconds(15)
        world.wake()
        world.nudge()

    @rule(minutes=st.sampled_from([0, 1, 7, 30]))
    def run_added(self, minutes: int) -> None:
        """At a server that answers; at somebody else's server only while it is watched."""
        world = self.world
        for task in world.alive():
            process = task.process
            assert process
            assert isinstance(process, Executor)
            if world.mode == "external" and process.seen.phase is life.Phase.LEAVE:
                continue  # after its last look nobody looks there any more
            if world.answers(process) and (process.ours or world.mode == "external"):
                due = world.now + timedelta(minutes=minutes)
                world.commit(process, {world.number(): Run(due)})
                world.nudge()
                return

    @rule(data=st.data())
    def run_ends(self, data: st.DataObject) -> None:
        """Sooner than it would have: well, by its own fault, or taken by Spot."""
        going = [job for job in self.world.jobs.values() if job.state != "STOPPED"]
        if going:
            job = data.draw(st.sampled_from(going))
            job.well = data.draw(st.booleans())
            job.stopped = data.draw(st.booleans())
            job.event = self.world.now

    @rule(late=st.integers(0, 60))
    def eventbridge_is_late(self, late: int) -> None:
        self.world.late = self.world.tells_late = seconds(late)

    # --- what holds ---

    @invariant()
    def one_writes(self) -> None:
        """I2."""
        world = self.world
        writing = [
            task
            for task in world.alive()
            if task.process and task.process.ours and task.process.server
        ]
        assert len(writing) <= 1, "two orchestrators write (I2)"
        for task in writing:
            assert world.journal.holder == task.number, "it writes, and the journal is not its (I2)"

    @invariant()
    def kept(self) -> None:
        """What is written reaches S3, where that answers."""
        world = self.world
        for process in (task.process for task in world.alive()):
            if process and process.ours and process.server and process.uncovered:
                since = max(process.uncovered, world.s3_away_until)
                assert world.now - since < timedelta(minutes=5), "nothing is brought to S3"

    @invariant()
    def people_are_told(self) -> None:
        """Of what was to run after a sleep, and did not."""
        world = self.world
        if world.slept is None or world.sleeps < 1:
            return
        database, known = world.truth(), world.slept.runs
        told = world.overdue
        for number, run in (database.runs if database else {}).items():
            before = known.get(number)
            waits = run.state == "SCHEDULED" and before and before.expected == run.expected
            if waits and world.now > run.expected + GRACE + timedelta(hours=1):
                assert told, "a run is overdue, and nobody knows"

    @invariant()
    def nobody_is_told_twice(self) -> None:
        """Nor too early."""
        told: Counter[Unbegun] = Counter()
        for letter in self.world.overdue:
            assert letter.at is not None
            assert all(letter.at >= one.due + GRACE for one in letter.runs), "told too early"
            told.update(letter.runs)
        assert not [one for one, times in told.items() if times > 1], "told twice"

    @invariant()
    def none_twice(self) -> None:
        """But for one whose beginning is lost with the task, because S3 was away."""
        world = self.world
        twice = [run for run, count in world.started.items() if count > 1]
        assert set(twice) <= world.unkept, "a run has begun twice"

    @invariant()
    def asleep(self) -> None:
        world = self.world
        database = world.truth()
        if world.asleep_since is None or not world.sleeps or database is None:
            return
        assert world.mode != "always", "it is to be always on"
        assert world.wake_up is not None, "no wake-up (I1)"
        assert world.wake_up + world.late > world.now, "the wake-up has passed (I1)"
        due = [every.next(world.asleep_since) for every in database.schedules.values()]
        due += [run.due for run in database.runs.values() if run.state == "SCHEDULED"]
        assert all(world.wake_up < at for at in due), "a run is due before the wake-up (I1)"
        assert world.slept is not None
        assert world.slept.commits == database.commits, "not brought home"
        assert not database.busy(), "it sleeps, and a run is busy (I6)"
        settled = all(run.settled for run in database.runs.values())
        assert settled, "it sleeps, and nobody has looked whether a run is to run again"
        runs = [run for run in database.runs.values() if run.state == "SCHEDULED"]
        overdue = [life._whole(run.expected + GRACE) for run in runs]
        first = min((at for at in overdue if at > world.asleep_since), default=None)
        assert world.watchdog, "nobody would be told of a run that never happens"
        letters = [*world.overdue, *([world.watchdog] if world.tells else [])]
        told = {life._whole(one.due + GRACE) for letter in letters for one in letter.runs}
        right = first in told if first else not world.tells
        assert right or world.mode == "external", "the watchdog stands at another time"
        assert not world.requests, "it sleeps, and somebody has asked for a run"
        assert database.image == world.live, "it sleeps, and another image is live (I8)"
        assert database.schedules == world.images[world.live], "not what prefect.yaml says (I8)"
        for name, every in database.schedules.items():
            newest = every.newest(world.asleep_since)
            if newest > database.changed[name]:
                ran = [
                    run
                    for run in database.runs.values()
                    if run.schedule == name and run.time == newest and run.state != "SCHEDULED"
                ]
                assert len(ran) == 1, f"of {name} at {newest:%H:%M}: {len(ran)} runs"

    def teardown(self) -> None:
        """If nothing else happens, it ends asleep; or it stays, and works."""
        if not hasattr(self, "world"):
            return
        world = self.world
        slept, until = world.sleeps, world.now + HOURS
        while world.now < until and (world.mode == "always" or world.sleeps == slept):
            if world.asleep_since:
                break
            self._run(timedelta(minutes=2))
        self.one_writes()
        self.asleep()
        if world.mode == "always" or (world.mode == "external" and not world.external.next()):
            self._run(timedelta(minutes=10))
            working = [
                task.process for task in world.alive() if task.number == world.journal.holder
            ]
            process = next(iter(working), None)
            assert process is not None, "nobody works"
            assert process.worker, "it is awake, and does not work"
            assert process.database.image == world.live, "another image is live (I8)"
        else:
            assert world.asleep_since or world.sleeps > slept, "it stays awake for ever"


BUDGET = settings(
    max_examples=200,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def test_any_order() -> None:
    run_state_machine_as_test(Life, settings=BUDGET)


# --- controls: what the model finds --------------------------------------------------------------


def without(*left_out: Step | type) -> Decide:
    """The decision with steps of it left out, where others come with them."""

    def decide(seen: Seen) -> tuple[Step, ...]:
        steps = life.decide(seen)
        return tuple(s for s in steps if s not in left_out and type(s) not in left_out) or steps

    return decide


def instead(change: Callable[[Seen], Seen]) -> Decide:
    """The decision of one who sees something else."""
    return lambda seen: life.decide(change(seen))


def late_wake_up(seen: Seen) -> tuple[Step, ...]:
    """The wake-up only after the sleep: too late for one that is asleep."""
    steps = life.decide(seen)
    return (Do.LEAVE,) if any(isinstance(step, SetWakeUp) for step in steps) else steps


def swapped(first: Do, then: Do) -> Decide:
    def decide(seen: Seen) -> tuple[Step, ...]:
        steps = life.decide(seen)
        return tuple(then if step is first else step for step in steps)

    return decide


WRONG: dict[str, Decide] = {
    "the wake-up is not moved": late_wake_up,
    "it does not wait for its predecessor": instead(lambda seen: replace(seen, predecessor="")),
    "nothing is set straight": instead(lambda seen: replace(seen, straight=True)),
    "nothing is set straight before another worker": without(Do.SET_STRAIGHT),
    "nobody attends before the sleep": instead(lambda seen: replace(seen, attended=True)),
    "nobody would be told of what does not begin": instead(lambda seen: replace(seen, grace=None)),
    "nothing is reconciled": instead(lambda seen: replace(seen, reconciled=True)),
    "a newer image does not matter": instead(lambda seen: replace(seen, newer=False)),
    "Litestream is not started again": instead(
        lambda seen: (
            replace(seen, litestream=Program.RUNNING)
            if seen.phase is not life.Phase.LEAVE
            else seen
        )
    ),
}
SEARCH = settings(
    BUDGET,
    max_examples=300,
    derandomize=True,
    phases=[Phase.generate],
    database=None,
    print_blob=False,
)


def found(**wrong: Any) -> None:
    """Any failure will do: what is first broken is a matter of chance."""
    machine = type(
        "Wrong", (Life,), {k: staticmethod(v) if callable(v) else v for k, v in wrong.items()}
    )
    with pytest.raises(Exception) as raised:
        run_state_machine_as_test(machine, settings=SEARCH)
    assert isinstance(raised.value, (AssertionError, ExceptionGroup)), raised.value


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_decision_is_found(what: str) -> None:
    found(decide=WRONG[what])


# What is seldom met by chance is told as a story: right, it ends well, and wrong, it does not.


def released_while_it_sleeps(life_: Life) -> None:
    life_.up_to(Do.SLEEP)
    life_.released({"a": Every(17, 5)})


def added_while_it_leaves(life_: Life) -> None:
    life_.up_to(Do.LEAVE)
    life_.run_added(0)


def stays_after_it_has_given_up_the_journal(life_: Life) -> None:
    life_.up_to(Do.SLEEP)
    life_.s3_away(0.1)
    life_.asked_for_a_run()
    for _ in range(100):
        life_._run(HOURS, 1)
        life_.one_writes()


def last_write_is_lost(life_: Life) -> None:
    life_.world.stopping = seconds(0.2)
    life_.last_sync_fails()
    life_.up_to(Do.STOP_SERVER)
    for task in life_.world.alive():
        life_.world.sync(task)  # and not again before it stops
    life_.run_added(30)


STORIES: dict[Callable[[Life], None], dict[str, Any]] = {
    released_while_it_sleeps: {"care": Care(looks_after_sleep=False)},
    added_while_it_leaves: {"care": Care(looks_while_leaving=False)},
    stays_after_it_has_given_up_the_journal: {"care": Care(holds_on=False)},
    last_write_is_lost: {"decide": staticmethod(swapped(Do.VERIFY, Do.SLEEP))},
}


def told(story: Callable[[Life], None], **wrong: Any) -> None:
    machine: Life = type("Told", (Life,), wrong)()
    machine.installed("asleep", {"a": Every(60, 12)})
    machine.woken()
    story(machine)
    machine.teardown()


@pytest.mark.parametrize("story", STORIES)
def test_a_story_ends_well(story: Callable[[Life], None]) -> None:
    told(story)


@pytest.mark.parametrize("story", STORIES)
def test_the_wrong_story_is_found(story: Callable[[Life], None]) -> None:
    with pytest.raises(AssertionError):
        told(story, **STORIES[story])
