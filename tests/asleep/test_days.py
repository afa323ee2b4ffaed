"""Days in minutes: it sleeps, is woken for what is due, and sleeps again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from infra.local.cloud import Cloud
from tests.asleep import days
from tests.local_cloud.runs import until
from tests.needs import ONLY_LONG

DAYS = 3
DAY = 120  # seconds


@ONLY_LONG
def test_days_go_by(asleep: Cloud) -> None:
    """A release brings a schedule earlier than the wake-up; then nobody does anything."""
    cloud = asleep
    now = datetime.now(UTC)
    first = now.replace(second=0, microsecond=0) + timedelta(minutes=2 + now.minute % 2)
    entry = days.at("*/2 * * * *")
    days.release(cloud, days.PULSE, entry)
    due = [first + timedelta(minutes=2 * day) for day in range(DAYS)]
    seconds_before = cloud.awake_seconds()
    began = datetime.now(UTC)
    until(
        lambda: (
            days.is_asleep(cloud)
            and datetime.now(UTC) > due[-1]
            and len(done(cloud, due)) == len(due)
        ),
        DAY * (DAYS + 1) + 120,
        lambda: f"{days.runs(cloud, 'patient/pulse')} {cloud.journal()}",
    )
    whole = (datetime.now(UTC) - began).total_seconds()
    awake = cloud.awake_seconds() - seconds_before
    # Every time has its run, each has one, and one ECS task each.
    pulses = days.runs(cloud, "patient/pulse")
    times = [moment(run["expected_start_time"]) for run in pulses if run["idempotency_key"]]
    assert len(times) == len(set(times))
    assert [run["state_type"] for run in done(cloud, due)] == ["COMPLETED"] * DAYS
    assert all(len(days.tasks_of(cloud, str(run_id(run)))) == 1 for run in done(cloud, due))
    # It has slept in between: a life for each, and none for a good part of the time.
    assert len(cloud.lives()) >= 1 + DAYS
    print(f"awake {awake:.0f} s of {whole:.0f} s")
    assert awake < whole - 20 * (DAYS - 1)
    assert [event.outcome for event in cloud.scheduler.events].count("delivered") >= DAYS
    days.release(cloud, entry, days.PULSE)
    until(lambda: cloud.orchestrator, 30, lambda: "not woken")
    days.sleeps(cloud)
    at = days.wake_up(cloud)
    assert at is not None
    assert (at.hour, at.minute) == (5, 59)  # as before


def done(cloud: Cloud, due: list[datetime]) -> list[dict[str, str]]:
    return [
        run
        for run in days.runs(cloud, "patient/pulse")
        if moment(run["expected_start_time"]) in due and run["state_type"] == "COMPLETED"
    ]


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def run_id(run: dict[str, str]) -> str:
    import uuid

    return str(uuid.UUID(run["id"]))
