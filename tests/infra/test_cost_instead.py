"""Other ways to do the same, the break-even, the picture, and the page that shows them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.prices import prices
from flows.problem import Problem
from infra.cost import page
from infra.cost.assumptions import Assumptions
from infra.cost.break_even import AXES, Stretch, in_words, stretches
from infra.cost.chart import places
from infra.cost.instead import Way, Work, beside, nightshift, t4g, ways
from infra.cost.lines import Bill
from infra.cost.page import CHART, DAILY, PAGE, README
from infra.cost.resources import ECS, VPC, bill
from infra.cost.runs import Job
from infra.cost.words import dollars, number, table_beside
from tests.infra.conftest import Synthesise, Templates

KNOWN = prices("us-east-1")
WAYS = {way.name: way for way in ways()}


def cost(name: str, work: Work) -> Decimal:
    found = WAYS[name].bill(work, KNOWN)
    assert found
    return found.total


# --- each way ------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@given(
    minutes=st.integers(1, 600),
    longer=st.integers(0, 600),
    runs=st.integers(0, 40),
    more=st.integers(0, 40),
)
def test_more_never_costs_less(way: Way, minutes: int, longer: int, runs: int, more: int) -> None:
    one = way.bill(Work(Decimal(runs), Decimal(minutes)), KNOWN)
    other = way.bill(Work(Decimal(runs + more), Decimal(minutes + longer)), KNOWN)
    if one and other:
        assert other.total >= one.total >= 0
        assert one.total >= one.total_with_free_tier


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_each_says_what_is_priced_and_what_one_gives_up(way: Way) -> None:
    assert way.how
    assert way.gives_up


@pytest.mark.parametrize(
    ("work", "why"),
    [
        (Work(minutes=Decimal(15)), ""),
        (Work(minutes=Decimal("15.1")), "longer than 15 minutes"),
        (Work(memory=10_240), ""),
        (Work(memory=11_264), "more than 10 GB"),
        (Work(cpu=8192, memory=2048), "more than 10 GB"),  # its CPU comes with memory
    ],
)
def test_lambda_says_when_it_does_not_fit(work: Work, why: str) -> None:
    assert WAYS["Lambda"].limit(work) == why
    assert (WAYS["Lambda"].bill(work, KNOWN) is None) == bool(why)


def test_one_whose_price_nobody_knows_there_leaves_the_others_as_they_are(
    templates: Templates,
) -> None:
    """AWS's price list has not all of them, so that `make prices` brings a region without."""
    amounts = {k: v for k, v in KNOWN.amounts.items() if k != "mwaa-serverless-task-hour"}
    there = replace(KNOWN, region="eu-central-1", amounts=amounts)
    work = (Job("a/b", 1024, 2048, Decimal(30), Decimal(20)),)
    _, found = beside(templates, work, there)
    without = {one.name: one.why_not for one in found if one.bill is None}
    assert without == {
        "Lambda": "it does not fit: longer than 15 minutes",
        "Managed Airflow, serverless": "a price is not known in eu-central-1",
    }
    said = table_beside(found)
    assert all(why in said for why in without.values())


def test_lambdas_free_tier_covers_a_small_daily_job() -> None:
    found = WAYS["Lambda"].bill(Work(), KNOWN)
    assert found
    assert all(
        line.monthly_with_free_tier == 0 for line in found.lines if line.use.service == "AWS Lambda"
    )


@pytest.mark.parametrize(
    ("memory", "size"), [(512, "micro"), (1024, "small"), (2048, "medium"), (32_768, None)]
)
def test_an_instance_has_room_for_the_system(memory: int, size: str | None) -> None:
    assert t4g(memory) == size


def test_an_instance_that_is_stopped_pays_for_its_disk() -> None:
    found = WAYS["EC2, started and stopped"].bill(Work(runs_per_day=Decimal(0)), KNOWN)
    assert found
    assert found.total == Decimal("0.64")  # 8 GB


def test_what_stands_idle_costs_the_same_whatever_runs() -> None:
    for name in ("Managed Airflow", "Prefect that never sleeps", "Prefect Cloud"):
        idle = cost(name, Work(runs_per_day=Decimal(0)))
        assert cost(name, Work()) - idle < 1 < idle


def test_batch_is_the_task_alone(templates: Templates) -> None:
    """It is what Nightshift costs at least; the orchestrator is the difference."""
    for work in (Work(), Work(runs_per_day=Decimal(24)), Work(minutes=Decimal(300), memory=8192)):
        assert cost("AWS Batch", work) < nightshift(templates, work, KNOWN).total


# --- break-even ----------------------------------------------------------------------------------


def test_it_is_found_between_two_points() -> None:
    minutes = AXES[0]
    found = stretches(minutes, Work(), lambda work: work.minutes, lambda _: Decimal("77"))
    assert [one.ours for one in found] == [True, False]
    assert abs(found[0].end - 77) < 1
    assert found[0].start == minutes.points[0]
    assert found[-1].end == minutes.points[-1]


def test_the_stretches_cover_the_axis_without_a_gap(templates: Templates) -> None:
    for axis in AXES:
        for way in ways():
            found = stretches(
                axis,
                Work(),
                lambda work: nightshift(templates, work, KNOWN).total,
                lambda work, way=way: (b := way.bill(work, KNOWN)) and b.total,  # type: ignore[misc]
            )
            assert all(a.end == b.start and a.ours != b.ours for a, b in pairwise(found))


@pytest.mark.parametrize(
    ("ours", "text"),
    [
        ([True], "Nightshift, throughout"),
        ([None], "does not fit"),
        ([False], "EC2, throughout"),
        ([False, True], "EC2 below 20 min, Nightshift from there"),
        (
            [True, False, None],
            "Nightshift below 20 min, EC2 below 40 min, does not fit from there",
        ),
    ],
)
def test_it_is_said_in_a_line(ours: list[bool | None], text: str) -> None:
    bounds = [Decimal(20 * n) for n in range(len(ours) + 1)]
    found = [Stretch(a, b, who) for (a, b), who in zip(pairwise(bounds), ours, strict=True)]
    assert in_words(AXES[0], found, "EC2, started and stopped") == text


# --- the picture ---------------------------------------------------------------------------------


@given(st.lists(st.floats(52, 540), min_size=1, max_size=20))
def test_labels_are_apart_and_in_order(heights: list[float]) -> None:
    found = places(heights, 17, 52, 540)
    order = sorted(range(len(heights)), key=lambda n: heights[n])
    assert all(found[b] - found[a] >= 17 - 1e-9 for a, b in pairwise(order))
    assert max(found) <= 540


def test_the_picture_names_every_way(templates: Templates) -> None:
    root = ET.fromstring(page.picture(templates, KNOWN))
    texts = {element.text for element in root.iter() if element.tag.endswith("text")}
    assert {"Nightshift", *WAYS} <= texts


# --- the page ------------------------------------------------------------------------------------


def test_the_page_and_its_picture_are_up_to_date(templates: Templates) -> None:
    assert PAGE.read_text() == page.page(PAGE.read_text(), templates, KNOWN), "make cost-page"
    assert CHART.read_text() == page.picture(templates, KNOWN), "make cost-page"


def test_the_readme_is_up_to_date(templates: Templates, synthesise: Synthesise) -> None:
    text = README.read_text()
    assert text == page.readme(text, templates, KNOWN), "make cost-page"
    found = bill(templates, DAILY, KNOWN, Assumptions())
    running, releases = found.of("fixed", "per run"), found.of("per push")
    said = " ".join(text.split())
    assert f"comes to {dollars(running.total)} a month" in said
    assert f"{Assumptions().pushes:f} releases to {dollars(releases.total)} more" in said
    assert f"all of it to {dollars(found.total_with_free_tier)}" in said
    for mode in ("always", "asleep"):
        found = bill(synthesise({"orchestrator": mode}), DAILY, KNOWN, Assumptions())
        lines = [line for line in found.lines if line.use.resource == "orchestrator"]
        (hours,) = {line.use.quantity for line in lines if line.use.unit == "hour"}
        (requests,) = (line.monthly for line in lines if line.use.price == "s3-put")
        task = Bill(tuple(line for line in lines if line.use.service in (ECS, VPC))).total
        assert f"| {number(hours)} hours | {dollars(task)} | {dollars(requests)} |" in said, mode


def test_what_is_written_by_hand_stays(templates: Templates) -> None:
    text = PAGE.read_text().replace("# What it costs", "# Written by hand, with a \\ in it")
    assert "# Written by hand, with a \\ in it" in page.page(text, templates, KNOWN)


def test_a_page_without_a_place_is_a_problem(templates: Templates) -> None:
    with pytest.raises(Problem, match="no place for a table"):
        page.page("# Empty\n", templates, KNOWN)
