"""The bill of a month: every resource is priced, and the sums are right."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.prices import Free, Prices, prices
from deployments.wanted import Schedule, Wanted
from flows.problem import Problem
from infra.cost.assumptions import Assumptions
from infra.cost.lines import Bill, Use, priced
from infra.cost.measured import minutes
from infra.cost.page import DAILY
from infra.cost.resources import FREE, RULES, bill
from infra.cost.runs import DAYS, Job, jobs
from infra.cost.words import as_data, dollars, number, table, unit
from tests.infra.conftest import Synthesise, Templates
from tests.infra.test_all_settings import EXTERNAL, every_combination

KNOWN = prices("us-east-1")


def of(templates: Templates, *work: Job, **assumed: int) -> Bill:
    amounts = {name: Decimal(value) for name, value in assumed.items()}
    return bill(templates, work or DAILY, KNOWN, Assumptions(**amounts))


def job(runs: Any = 30, minutes: Any = 10, cpu: int = 1024, memory: int = 2048) -> Job:
    return Job("report/daily", cpu, memory, Decimal(runs), Decimal(minutes))


def quantity(found: Bill, resource: str, what: str) -> Decimal:
    lines = [line for line in found.lines if line.use.resource == resource]
    (one,) = [line for line in lines if line.use.what == what]
    return one.use.quantity


# --- the goal ------------------------------------------------------------------------------------


def test_one_ten_minute_daily_job_is_at_most_a_dollar_a_month(templates: Templates) -> None:
    """All in with what an account has always free; without that, all but the releases."""
    whole = of(templates)
    assert whole.total_with_free_tier <= 1
    assert whole.of("fixed", "per run").total <= 1
    assert len(whole.of("per push").lines) == 4


# --- every resource ------------------------------------------------------------------------------


def test_whatever_is_set_every_type_has_a_rule_or_a_reason(synthesise: Synthesise) -> None:
    for context in every_combination():
        made = synthesise(context)
        assert bill(made, DAILY, KNOWN, Assumptions()).total > 0
    assert not set(RULES) & set(FREE)
    assert all(FREE.values())


def test_a_type_without_a_rule_is_a_problem(templates: Templates) -> None:
    more = {"Resources": {"Table": {"Type": "AWS::DynamoDB::Table"}}}
    with pytest.raises(Problem, match=r"no price[^$]*Table[^$]*AWS::DynamoDB::Table"):
        of({**templates, "more": more})


def test_a_bucket_that_nobody_knows_is_a_problem(templates: Templates) -> None:
    more = {"Resources": {"Scratch": {"Type": "AWS::S3::Bucket", "Properties": {}}}}
    with pytest.raises(Problem, match="size is not assumed"):
        of({**templates, "more": more})


# --- settings ------------------------------------------------------------------------------------


def test_the_jobs_are_on_spot_or_not(synthesise: Synthesise) -> None:
    spot, plain = of(synthesise()), of(synthesise({"spot": "false"}))
    assert any(line.use.what == "Fargate Spot, 1 vCPU" for line in spot.lines)
    assert not any("Spot" in line.use.what for line in plain.lines)
    assert plain.total > spot.total


def test_a_private_network_pays_for_its_gateway(synthesise: Synthesise) -> None:
    private = of(synthesise({"network": "private"}))
    prices_used = {line.use.price: line.use.quantity for line in private.lines}
    assert prices_used["nat-hour"] == 730
    (address,) = [line for line in private.lines if line.use.price == "public-ipv4-hour"]
    assert address.use.kind == "fixed"  # and no task has one
    assert address.use.quantity == 730


def test_one_that_is_always_on_is_there_all_month(synthesise: Synthesise) -> None:
    always = of(synthesise({"orchestrator": "always"}))
    assert quantity(always, "orchestrator", "Fargate, 1 GB") == 730
    assert not any(line.use.price == "scheduler-invocation" for line in always.lines)
    kinds = {line.use.kind for line in always.lines if line.use.resource == "orchestrator"}
    assert kinds == {"fixed"}


def test_with_an_external_server_nothing_is_replicated(synthesise: Synthesise) -> None:
    own, external = of(synthesise()), of(synthesise(EXTERNAL))
    what = "writes and lists"
    assert quantity(external, "orchestrator", what) < quantity(own, "orchestrator", what)


def test_logs_are_paid_for_as_long_as_they_are_kept(synthesise: Synthesise) -> None:
    group = "/nightshift-prod/jobs"
    month = of(synthesise({"log_retention_days": 30}), job(runs=1000))
    year = of(synthesise({"log_retention_days": 365}), job(runs=1000))
    assert quantity(month, group, "logs kept") == 1
    assert quantity(year, group, "logs kept") == Decimal(365) / 30


def test_the_lead_is_paid_for(synthesise: Synthesise) -> None:
    short, long = of(synthesise({"wake_lead_seconds": 15})), of(synthesise())
    what = "Fargate, 1 GB"
    hours = quantity(long, "orchestrator", what) - quantity(short, "orchestrator", what)
    assert abs(hours - DAYS * 105 / 3600) < Decimal("1e-15")


def test_the_orchestrator_is_awake_for_the_run_and_what_is_around_it(templates: Templates) -> None:
    found = of(templates, job(runs=30), pushes=0)
    # 120 s of lead, 30 to start, 600 to run, 8 after
    assert quantity(found, "orchestrator", "Fargate, 1 GB") == Decimal(30) * 758 / 3600


def test_a_task_costs_a_minute_at_least(templates: Templates) -> None:
    found = of(templates, job(runs=60, minutes=0), start_seconds=1)
    assert abs(quantity(found, "report/daily", "public IPv4 address") - 1) < Decimal("1e-20")


# --- sums ----------------------------------------------------------------------------------------


@given(
    runs=st.integers(0, 50_000),
    more=st.integers(0, 50_000),
    minutes=st.integers(0, 2_000),
    longer=st.integers(0, 2_000),
    size=st.sampled_from([(256, 512), (1024, 2048), (4096, 30720)]),
    pushes=st.integers(0, 500),
)
def test_more_never_costs_less_and_the_total_is_the_sum(
    templates: Templates,
    runs: int,
    more: int,
    minutes: int,
    longer: int,
    size: tuple[int, int],
    pushes: int,
) -> None:
    one = of(templates, job(runs, minutes, *size), pushes=pushes)
    other = of(templates, job(runs + more, minutes + longer, *size), pushes=pushes)
    assert other.total >= one.total
    assert other.total_with_free_tier >= one.total_with_free_tier
    for found in (one, other):
        assert found.total == sum(line.monthly for line in found.lines)
        assert found.total >= found.total_with_free_tier >= 0
        parts = [found.of(kind).total for kind in ("fixed", "per run", "per push")]
        assert sum(parts) == found.total
        assert all(0 <= line.free <= line.use.quantity for line in found.lines)


def test_what_is_free_is_free_once() -> None:
    def use(resource: str, amount: int) -> Use:
        return Use(resource, "s", "logs", "fixed", "GB", Decimal(amount), "logs-gb")

    known = Prices(
        "r",
        "2026-01-01",
        "",
        {"logs-gb": Decimal("0.5"), "s3-put": Decimal(1)},
        {"logs-gb": Free(Decimal(5), "always"), "s3-put": Free(Decimal(9), "12 months")},
    )
    first, second = priced([use("a", 4), use("b", 4)], known)
    assert [first.free, second.free] == [4, 1]
    assert first.monthly_with_free_tier == 0
    assert second.monthly_with_free_tier == Decimal("1.5")
    (put,) = priced([Use("a", "s", "w", "fixed", "request", Decimal(2), "s3-put")], known)
    assert put.free == 0  # a first year's is not counted


def test_what_is_free_of_logs_is_free_once() -> None:
    """Taken in or kept: https://aws.amazon.com/cloudwatch/pricing/ has one allowance for both."""
    taken = Use("a", "s", "w", "per run", "GB", Decimal(4), "logs-gb")
    kept = Use("a", "s", "w", "per run", "GB-month", Decimal(4), "logs-gb-month")
    assert [line.free for line in priced([taken, kept], KNOWN)] == [4, 1]


# --- how often -----------------------------------------------------------------------------------


def schedule(cron: str, **more: Any) -> Schedule:
    fields: Mapping[str, Any] = {"schedule": {"cron": cron, "timezone": "Europe/Berlin"}, **more}
    return Schedule("s", fields)


def test_a_month_is_a_twelfth_of_a_year() -> None:
    monthly, weekly = (
        Wanted("a/b", {}, (schedule("0 6 1 * *"),)),
        Wanted("c/d", {}, (schedule("@weekly"),)),
    )
    assert [one.runs * 12 for one in jobs([monthly, weekly])] == [12, 52]


def test_what_is_switched_off_does_not_run() -> None:
    fields = {"job_variables": {"cpu": 256, "memory": 512}}
    daily = (schedule("0 6 * * *"),)
    paused = Wanted("a/b", {**fields, "paused": True}, daily)
    by_hand = Wanted("c/d", fields)
    off = Wanted("e/f", fields, (schedule("0 6 * * *", active=False),))
    assert [one.runs for one in jobs([paused, by_hand, off])] == [0, 0, 0]
    assert [one.runs for one in jobs([paused, by_hand], runs_per_day=Decimal(2))] == [2 * DAYS] * 2


def test_hardware_and_minutes_are_the_deployments_own() -> None:
    known = Wanted("a/b", {"job_variables": {"cpu": "512", "memory": "1024"}})
    other = Wanted("c/d", {})
    first, second = jobs([known, other], minutes=Decimal(3), measured={"a/b": Decimal(7)})
    assert (first.cpu, first.memory, first.minutes) == (512, 1024, Decimal(7))
    assert (second.cpu, second.memory, second.minutes) == (1024, 2048, Decimal(3))


def test_minutes_that_were_measured_come_from_the_journal() -> None:
    def run(seconds: str | None, type: str = "COMPLETED") -> dict[str, str]:
        found = {"deployment": "a/b", "type": type}
        return found if seconds is None else {**found, "seconds": seconds}

    assert minutes([run("60"), run("180"), run(None), run("999", "CRASHED")]) == {"a/b": Decimal(2)}
    assert minutes([]) == {}


# --- words ---------------------------------------------------------------------------------------


def test_the_data_add_up_and_are_text(templates: Templates) -> None:
    found = of(templates)
    data = json.loads(json.dumps(as_data(found, "nightshift-prod", KNOWN)))
    assert Decimal(data["monthly_total_usd"]) == sum(
        Decimal(line["monthly_usd"]) for line in data["lines"]
    )
    assert data["installation"] == "nightshift-prod"
    assert data["prices_as_of"] == KNOWN.as_of
    assert "Amazon Elastic Container Service" in {line["service"] for line in data["lines"]}
    assert data["assumptions"]
    assert "AWS::Budgets::Budget" in data["free_of_charge"]


def test_the_bill_report_can_read_the_prediction(templates: Templates, tmp_path: Any) -> None:
    from flows.cost_report.predicted import predicted
    from infra.cost.predict import predict

    found = of(templates)
    predict(str(tmp_path), as_data(found, "nightshift-prod", KNOWN))
    read = predicted(str(tmp_path))
    assert read
    assert (read.installation, read.monthly_total) == ("nightshift-prod", found.total)
    assert sum(read.services.values()) == found.total


def test_the_table_ends_with_the_total(templates: Templates) -> None:
    found = of(templates)
    assert table(found).splitlines()[-1].split()[-2:] == [
        dollars(found.total),
        dollars(found.total_with_free_tier),
    ]


@pytest.mark.parametrize(
    ("amount", "of", "text"),
    [
        ("1", "alarm", "1 alarm"),
        ("2", "alarm", "2 alarms"),
        ("0.1", "GB-month", "0.1 GB-months"),
        ("0.02", "GB", "0.02 GB"),
        ("100", "minute", "100 minutes"),
        ("161.7", "request", "161.7 requests"),
        ("1521", "request", "1,521 requests"),
    ],
)
def test_a_quantity_is_said_as_people_say_it(amount: str, of: str, text: str) -> None:
    use = Use("a", "s", "w", "fixed", of, Decimal(amount), "")
    assert f"{number(use.quantity)} {unit(use)}" == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [("0", "$0.00"), ("0.00001", "<$0.0001"), ("0.0012", "$0.0012"), ("1234.5", "$1,234.50")],
)
def test_small_amounts_are_not_nothing(amount: str, text: str) -> None:
    assert dollars(Decimal(amount)) == text
