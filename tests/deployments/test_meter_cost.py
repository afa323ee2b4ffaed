"""What a run costs, and the size that would have done."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.hardware import SIZES, valid
from deployments.meter.cost import billed, cost, of_size
from deployments.meter.often import runs_a_year
from deployments.meter.rates import rates
from deployments.meter.sizes import HEADROOM, SLOWER, larger, seconds_at, smaller
from deployments.meter.usage import Load, Measured, Terms, Usage, cpu_in_all, memory_in_use
from deployments.meter.words import KEY, Metered, line, markdown, money
from deployments.prices import Prices
from deployments.wanted import Schedule

PRICES = Prices(
    "us-east-1",
    "2026-11-27",
    "as they were",
    {
        "fargate-x86_64-vcpu-hour": Decimal("0.04048"),
        "fargate-x86_64-gb-hour": Decimal("0.004445"),
        "fargate-arm64-vcpu-hour": Decimal("0.03238"),
        "fargate-arm64-gb-hour": Decimal("0.00356"),
        "fargate-spot-x86_64-vcpu-hour": Decimal("0.012144"),
        "fargate-spot-x86_64-gb-hour": Decimal("0.0013335"),
        "fargate-spot-arm64-vcpu-hour": Decimal("0.009714"),
        "fargate-spot-arm64-gb-hour": Decimal("0.001068"),
        "public-ipv4-hour": Decimal("0.005"),
        "logs-gb": Decimal("0.50"),
        "s3-put": Decimal("0.000005"),
        "s3-get": Decimal("0.0000004"),
    },
)
SPOT = Terms("arm64", spot=True, public_ip=True)
ON_DEMAND = Terms("x86_64", spot=False, public_ip=False)


def usage(
    cpu: int = 1024,
    memory: int = 2048,
    seconds: float = 100,
    startup: float | None = 30,
    **more: Any,
) -> Usage:
    seen = {"peak": 400.0, "load": ((0.4, 70.0),), **more}
    return Usage(cpu, memory, seconds, startup, Measured(**seen))


# --- the cost ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "paid"), [(0, 60), (59.2, 60), (60, 60), (60.01, 61), (100, 100), (86_400, 86_400)]
)
def test_seconds_are_billed_whole_and_at_least_a_minute(seconds: float, paid: int) -> None:
    assert billed(seconds) == paid


@pytest.mark.parametrize(
    ("of", "terms", "lines"),
    [
        (
            usage(seconds=3600, log_bytes=10**9, puts=1000, gets=10_000),
            ON_DEMAND,
            ["0.04048", "0.00889", "0.50", "0.005", "0.004"],
        ),
        (usage(seconds=3600), SPOT, ["0.009714", "0.002136", "0.005"]),
        (usage(256, 512, 36), SPOT, ["0.000040475", "0.0000089", "0.0000833333"]),
    ],
)
def test_each_line(of: Usage, terms: Terms, lines: list[str]) -> None:
    amounts = [one.amount for one in cost(of, terms, PRICES).lines]
    assert [f"{amount:.10f}" for amount in amounts] == [f"{Decimal(one):.10f}" for one in lines]


TERMS = st.builds(
    Terms, st.sampled_from(["arm64", "x86_64"]), spot=st.booleans(), public_ip=st.booleans()
)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    cpu = draw(st.sampled_from(sorted(SIZES)))
    memory = draw(st.sampled_from(SIZES[cpu]))
    second = st.tuples(st.floats(0, cpu / 1024), st.floats(0, 10_000))
    load = draw(st.lists(second, max_size=20))
    seconds = sum(one for _, one in load) + draw(st.floats(0, 1000))
    count = st.integers(0, 10**12)
    return Usage(
        cpu,
        memory,
        seconds,
        draw(st.none() | st.floats(0, seconds)),
        Measured(draw(st.floats(0, memory)), tuple(load), draw(count), draw(count), draw(count)),
    )


@given(usages(), TERMS)
def test_the_total_is_the_sum_of_the_lines(of: Usage, terms: Terms) -> None:
    found = cost(of, terms, PRICES)
    assert found.total == sum(one.amount for one in found.lines)
    assert all(one.amount > 0 for one in found.lines)
    least = of_size(of.cpu, of.memory, of.seconds, terms, PRICES)
    assert found.total >= least >= of_size(256, 512, 0, terms, PRICES)


# --- the size that would have done ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        # It never used more than it would have had, and fits.
        (usage(load=((0.2, 100.0),)), (256, 512)),
        # 430 MB and a fifth are more than 512.
        (usage(peak=430.0, load=((0.2, 100.0),)), (256, 1024)),
        # A quarter of a vCPU would have taken four times as long for half of the time.
        (usage(load=((1.0, 50.0), (0.0, 50.0))), (512, 1024)),
        # Half of one would have taken twice as long, which is too long.
        (usage(load=((1.0, 90.0),)), None),
        # All of the CPU, less of the memory.
        (usage(1024, 8192, load=((1.0, 90.0),)), (1024, 2048)),
        (usage(256, 512, load=((0.1, 90.0),)), None),
        # The headroom is not there with less.
        (usage(256, 1024, peak=500.0), None),
        (usage(4096, 30720, peak=20_000.0, load=((0.1, 90.0),)), (4096, 24576)),
        # Nobody has looked.
        (usage(peak=0.0), None),
    ],
)
def test_what_would_have_done(of: Usage, expected: tuple[int, int] | None) -> None:
    found = smaller(of, SPOT, PRICES)
    assert (found and (found.cpu, found.memory)) == expected


def test_longer_may_be_dearer() -> None:
    """Half the CPU for one and a half times as long saves; with an address to pay for, less."""
    of = usage(load=((0.75, 100.0),), peak=800.0)
    without = smaller(of, Terms("arm64", spot=True, public_ip=False), PRICES)
    with_address = smaller(of, SPOT, PRICES)
    assert without
    assert with_address
    assert without.seconds == with_address.seconds == pytest.approx(150)
    assert without.saving > with_address.saving


@given(usages(), TERMS)
def test_whatever_is_proposed_would_have_done_and_is_the_cheapest(of: Usage, terms: Terms) -> None:
    found = smaller(of, terms, PRICES)
    paid = of_size(of.cpu, of.memory, of.seconds, terms, PRICES)
    best = paid - found.saving if found else paid
    if found:
        assert valid(found.cpu, found.memory)
        assert found.memory >= of.measured.peak * HEADROOM
        assert found.seconds <= of.seconds * SLOWER
        assert found.seconds >= of.seconds
        assert found.saving > 0
    for cpu, memories in SIZES.items():
        seconds = seconds_at(of, cpu)
        for memory in memories:
            would_do = memory >= of.measured.peak * HEADROOM and seconds <= of.seconds * SLOWER
            if would_do and of.measured.peak:
                assert of_size(cpu, memory, seconds, terms, PRICES) >= best - Decimal("1e-20")


@pytest.mark.parametrize(
    ("peak", "expected"), [(1900, None), (1990, (1024, 3072)), (2600, (1024, 4096))]
)
def test_where_memory_is_tight(peak: float, expected: tuple[int, int] | None) -> None:
    assert larger(usage(peak=peak)) == expected


# --- what is seen --------------------------------------------------------------------------------


def container(usage: int, cpu: int = 0, **detail: int) -> dict[str, Any]:
    return {
        "read": "2026-11-27T06:00:01.123456789Z",
        "cpu_stats": {"cpu_usage": {"total_usage": cpu}},
        "memory_stats": {"usage": usage, "stats": detail},
    }


@pytest.mark.parametrize(
    ("stats", "memory", "cpu"),
    [
        ({"a": container(100, 5, inactive_file=30)}, 70, 5),
        ({"a": container(100, inactive_file=30, total_inactive_file=40)}, 60, 0),
        ({"a": container(100, 5), "b": container(50, 6, inactive_file=10)}, 140, 11),
        ({"a": container(100, inactive_file=200)}, 100, 0),
        ({"a": None}, 0, 0),
        ({"a": {"read": "x", "memory_stats": {}, "cpu_stats": {}}}, 0, 0),
        ({}, 0, 0),
    ],
)
def test_the_stats(stats: dict[str, Any], memory: int, cpu: int) -> None:
    assert (memory_in_use(stats), cpu_in_all(stats)) == (memory, cpu)


def test_a_day_takes_no_more_room_than_a_minute() -> None:
    load = Load()
    for second in range(86_400):
        load.add(0.5 + second % 10 / 1e6, 1.0)
    load.add(1.0, 0.0)
    load.add(-1.0, 1.0)
    assert load() == ((0.5, 86_400.0),)


@pytest.mark.parametrize(
    ("crons", "runs"),
    [
        (["0 6 * * *"], 365),
        (["0 6 * * *", "0 18 * * 1-5"], 365 + 261),
        (["* * * * *"], 525_600),
        (["*/15 8-17 * * *"], 365 * 40),
        (["0 6 1 * *"], 12),
        (["0 6 L * *"], 12),
        (["0 0 31 2 *"], 0),
        (["0 0 29 2 *"], 0),  # 2026 is no leap year
        (["0 6 * * fri#2"], 12),
        (["@daily"], 365),
        (["@hourly"], 8760),
        (["@weekly", "@yearly"], 52 + 1),
        (["0,30 6 * * * 10,20"], 365 * 4),
        (["0 6 * * * 0 2026"], 365),
        (["0 6 * * * 0 2025"], 0),
        ([], 0),
    ],
)
def test_runs_a_year(crons: list[str], runs: int) -> None:
    found = [Schedule(cron, {"schedule": {"cron": cron}}) for cron in crons]
    off = Schedule("off", {"schedule": {"cron": "* * * * *"}, "active": False})
    assert runs_a_year([*found, off]) == runs


def test_either_day_or_both() -> None:
    def runs(day_or: bool) -> int:
        schedule = {"cron": "0 6 1 * 1", "day_or": day_or}
        return runs_a_year([Schedule("a", {"schedule": schedule})])

    # In 2026 one first of a month is a Monday: June's.
    assert (runs(True), runs(False)) == (52 + 12 - 1, 1)


def test_another_regions_prices_are_named() -> None:
    found, whose = rates("eu-nowhere-1")
    assert found.region == "us-east-1"
    assert "those of eu-nowhere-1 are not known" in whose


# --- in words ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "$0.00"),
        ("0.00042345", "$0.00042"),
        ("0.0000004", "$0.00000040"),
        ("0.08", "$0.08"),
        ("0.084", "$0.08"),
        ("0.0099", "$0.0099"),
        ("0.996", "$1.00"),
        ("12.345", "$12.34"),
        ("1234.5", "$1,234.50"),
    ],
)
def test_money(amount: str, text: str) -> None:
    assert money(Decimal(amount)) == text


def metered(of: Usage, **more: Any) -> Metered:
    given = {"prices": "Prices: AWS, us-east-1", "runs": 365, **more}
    return Metered(of, SPOT, cost(of, SPOT, PRICES), smaller(of, SPOT, PRICES), **given)


COSTS = "cost: $0.00047 (100 s of 1 vCPU, 2 GB, ARM64, Spot; 30 % start-up)"
SEEN = "peak 400 MB, 0.4 vCPU on average"


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (metered(usage()), f"{COSTS}; {SEEN}; 0.5 vCPU, 1 GB would do: $0.06 less a year"),
        (
            metered(usage(), runs=None),
            f"{COSTS}; {SEEN}; 0.5 vCPU, 1 GB would do: $0.00016 less each run",
        ),
        (metered(usage(), state="Failed"), f"{COSTS}; {SEEN}"),
        (metered(usage(), state="Unchanged"), f"{COSTS}; {SEEN}"),
        (
            metered(usage(load=((1.0, 100.0),))),
            f"{COSTS}; peak 400 MB, 1 vCPU on average; the size is right",
        ),
        (
            metered(usage(peak=2000.0)),
            f"{COSTS}; peak 2000 MB, 0.4 vCPU on average; its memory is tight: 1 vCPU, 3 GB would "
            "be safer",
        ),
        (
            metered(usage(peak=0.0, load=(), startup=None)),
            "cost: $0.00047 (100 s of 1 vCPU, 2 GB, ARM64, Spot); memory and CPU could not be "
            "measured",
        ),
        (
            metered(usage(seconds=15.7, startup=None, load=((1.0, 15.0),))),
            "cost: $0.00028 (16 s, billed as 60, of 1 vCPU, 2 GB, ARM64, Spot); peak 400 MB, "
            "1 vCPU on average; the size is right",
        ),
        (
            metered(usage(startup=None), here="laptop"),
            "would have cost: $0.00047 (100 s of 1 vCPU, 2 GB, ARM64, Spot; without image pull and "
            f"start); {SEEN}; 0.5 vCPU, 1 GB would do: $0.06 less a year",
        ),
    ],
)
def test_the_line(of: Metered, expected: str) -> None:
    assert line(of) == expected


def test_the_artifact() -> None:
    told = markdown(metered(usage(log_bytes=12_345, puts=3, gets=40)))
    assert "| vCPU | 1 × 100 s | 0.0002698 |" in told
    assert "| logs | 12 kB | 0.0000062 |" in told
    assert "| S3 reads | 40 | 0.0000160 |" in told
    assert "job_variables:\n  cpu: 512\n  memory: 1024\n" in told
    assert "at 365 runs" in told
    assert all(char.isalnum() or char == "-" for char in KEY), "Prefect wants it so"


@given(
    usages(), st.sampled_from(["", "laptop"]), st.booleans(), st.sampled_from(["Completed", "x"])
)
def test_there_are_words_for_whatever_was_seen(
    of: Usage, here: str, declared: bool, state: str
) -> None:
    found = metered(of, here=here, declared=declared, state=state)
    assert money(found.cost.total) in line(found)
    assert money(found.cost.total) in markdown(found)
