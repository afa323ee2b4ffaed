"""What an installation of Nightshift costs: found by its tag, exact, and next to its prediction."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from flows.cost_report import installations as rolled
from flows.cost_report.analyse import analyse
from flows.cost_report.model import Analysis, Installation, Report, Unavailable
from flows.cost_report.predicted import NAME, Prediction, predicted
from flows.cost_report.publish import summary
from flows.cost_report.report import fmt, render
from flows.cost_report.report.markdown import markdown_summary
from flows.cost_report.scan import Scan, prove
from flows.cost_report.tables import COSTS, INSTALLATIONS
from flows.problem import Problem
from tests.unit import bills, report_fixture
from tests.unit.analyse_fixture import Row, rollup, rows, steady, table

PERIOD = "2026-11"
FIRST = date(2026, 11, 1)
ECS = "Amazon Elastic Container Service"
ECR = "Amazon EC2 Container Registry (ECR)"


# --- found in the bill ---------------------------------------------------------------------------


def scan(folder: Path, *tags: dict[str, str] | None, **changes: Any) -> Scan:
    """A bill with one charge of 3.00 for each set of tags, and it adds up."""
    path = folder / "bill.csv"
    bills.write_csv(path, [bills.row(Tags=each, **changes) for each in tags])
    found = bills.scan(path, period=PERIOD)
    prove(found)
    return found


def lines(found: Scan) -> list[tuple[str, str, str, int, Decimal]]:
    return [
        (r["TagKey"], r["TagValue"], r["ServiceName"], r["RowCount"], r["EffectiveCost"])
        for r in found.rollup.installations.to_pylist()
    ]


@pytest.mark.parametrize(
    "key", ["nightshift", "user:nightshift", "user_nightshift", "resourceTags/nightshift"]
)
def test_the_tag_is_known_however_aws_spells_it(tmp_path: Path, key: str) -> None:
    found = scan(tmp_path, {key: "nightshift-prod", "team": "web"}, {"team": "web"}, None)
    ec2 = "Amazon Elastic Compute Cloud"
    assert lines(found) == [(key, "nightshift-prod", ec2, 1, Decimal(3))]
    assert found.rollup.installations.schema == INSTALLATIONS


@pytest.mark.parametrize(
    "key", ["Nightshift", "nightshift2", "my-nightshift", "accountTag/nightshift", "aws:nightshift"]
)
def test_other_tags_are_not_ours(tmp_path: Path, key: str) -> None:
    assert lines(scan(tmp_path, {key: "nightshift-prod"})) == []


def test_a_bill_without_tags_has_no_installation(tmp_path: Path) -> None:
    assert lines(scan(tmp_path, None)) == []
    path = bills.write_csv(tmp_path / "short.csv", [bills.short()])
    assert lines(bills.scan(path, period=PERIOD)) == []


def test_rows_of_other_periods_do_not_count(tmp_path: Path) -> None:
    tags = {"nightshift": "nightshift-prod"}
    mine, other = bills.row(Tags=tags), bills.row(Tags=tags, **bills.month("2026-10"))
    path = bills.write_csv(tmp_path / "bill.csv", [mine, other, mine])
    found = bills.scan(path, period=PERIOD)
    prove(found)
    assert [line[3:] for line in lines(found)] == [(2, Decimal(6))]


def test_many_values_are_not_held(tmp_path: Path) -> None:
    found = scan(tmp_path, *({"nightshift": f"n-{n}"} for n in range(rolled.MOST + 20)))
    assert {line[1] for line in lines(found)} == {rolled.OTHERS}
    assert sum(line[3] for line in lines(found)) == rolled.MOST + 20
    (one,) = analyse(found.rollup, PERIOD).installations
    assert one.effective_cost == 3 * (rolled.MOST + 20)


def test_what_does_not_add_up_is_not_published(tmp_path: Path) -> None:
    found = scan(tmp_path, {"nightshift": "nightshift-prod"}, {"nightshift": "nightshift-dev"})
    less = replace(found.rollup, installations=found.rollup.installations.slice(1))
    with pytest.raises(Problem, match="does not add up"):
        prove(replace(found, rollup=less))


def test_the_total_is_the_tags_total(tmp_path: Path) -> None:
    """To the last digit, and a charge whose tag is spelled twice counts once."""
    twice = {"nightshift": "nightshift-prod", "user:nightshift": "nightshift-prod"}
    found = scan(
        tmp_path,
        twice,
        {"nightshift": "nightshift-prod"},
        {"nightshift": "nightshift-prod"},
        EffectiveCost="0.000000000000000001",
    )
    (one,) = analyse(found.rollup, PERIOD).installations
    of_tag = [
        r["EffectiveCost"]
        for r in found.rollup.tags.to_pylist()
        if r["TagKey"] == one.tag_key and r["TagValue"] == one.name
    ]
    assert one.tag_key == "nightshift"
    assert one.effective_cost == sum(of_tag) == Decimal("0.000000000000000003")


# --- what it costs -------------------------------------------------------------------------------


def tagged(
    first: date, costs: Iterable[object], service: str = ECS, name: str = "nightshift-prod"
) -> list[Row]:
    return [
        {
            "ChargeDate": each["ChargeDate"],
            "BillingCurrency": "USD",
            "TagKey": "nightshift",
            "TagValue": name,
            "ServiceName": service,
            "RowCount": 1,
            **{cost: each[cost] for cost in COSTS},
        }
        for each in rows(first, costs)
    ]


def found(
    charges: Iterable[Row], last: int = 21, prediction: Prediction | Unavailable | None = None
) -> Analysis:
    """The analyses of a bill up to a day of November; its newest day is never complete."""
    seen = rows(FIRST, steady(FIRST, date(2026, 11, last)))
    rolled_up = replace(rollup(seen), installations=table(charges, INSTALLATIONS))
    return analyse(rolled_up, PERIOD, prediction)


def prediction(total: str, name: str = "nightshift-prod", **services: str) -> Prediction:
    return Prediction(
        name, Decimal(total), {k.replace("_", " "): Decimal(v) for k, v in services.items()}, ""
    )


def only(analysis: Analysis) -> Installation:
    (one,) = analysis.installations
    return one


def test_a_month_is_the_mean_of_its_complete_days() -> None:
    one = only(found([*tagged(FIRST, ["0.02"] * 21), *tagged(FIRST, ["0.01"] * 21, ECR)]))
    assert (one.effective_cost, one.first_day, one.days) == (Decimal("0.63"), FIRST, 20)
    assert one.a_month == Decimal("0.9")
    assert [(s.name, s.effective_cost, s.a_month) for s in one.services] == [
        (ECS, Decimal("0.42"), Decimal("0.6")),
        (ECR, Decimal("0.21"), Decimal("0.3")),
    ]
    assert (one.predicted, one.difference) == (None, None)


def test_one_that_began_in_mid_month_has_the_rate_of_its_own_days() -> None:
    one = only(found(tagged(date(2026, 11, 16), ["0.01"] * 6)))
    assert (one.first_day, one.days) == (date(2026, 11, 16), 5)
    assert one.a_month == Decimal("0.3")  # and not what the month will come to


def test_a_day_without_a_charge_cost_nothing() -> None:
    one = only(found(tagged(FIRST, ["0.30"])))
    assert (one.days, one.a_month) == (20, Decimal("0.45"))


def test_a_whole_month_is_what_it_cost() -> None:
    costs = [f"0.0{n % 7}13" for n in range(30)]
    one = only(found(tagged(FIRST, costs), last=30))
    assert one.a_month == one.effective_cost == sum(map(Decimal, costs))


def test_before_its_first_complete_day_there_is_no_rate() -> None:
    one = only(found(tagged(date(2026, 11, 21), ["0.01"]), prediction=prediction("1", ECS="1")))
    assert (one.effective_cost, one.a_month, one.difference) == (Decimal("0.01"), None, None)
    assert one.predicted == 1
    assert [s.a_month for s in one.services] == [None]


def test_charges_dated_outside_the_month_are_in_the_total_and_not_in_the_rate() -> None:
    late = tagged(date(2026, 10, 30), ["5"])
    one = only(found([*late, *tagged(FIRST, ["0.01"] * 21)]))
    assert (one.effective_cost, one.a_month) == (Decimal("5.21"), Decimal("0.3"))
    assert one.first_day == FIRST


def test_credits_may_outweigh_it() -> None:
    one = only(found(tagged(FIRST, ["-0.01"] * 21)))
    assert (one.effective_cost, one.a_month) == (Decimal("-0.21"), Decimal("-0.3"))
    assert "nightshift-prod has cost −$0.210 so far" in said(one)


def test_the_dearest_comes_first() -> None:
    names = found(
        [*tagged(FIRST, ["1"], name="b"), *tagged(FIRST, ["1"], name="a"), *tagged(FIRST, ["2"])]
    ).installations
    assert [one.name for one in names] == ["nightshift-prod", "a", "b"]


# --- next to what was predicted ------------------------------------------------------------------


def test_services_are_compared_by_name_however_it_is_spelled() -> None:
    charges = [*tagged(FIRST, ["0.01"] * 21), *tagged(FIRST, ["0.02"] * 21, ECR)]
    expected = Prediction(
        "nightshift-prod",
        Decimal("0.75"),
        {
            "AWS Fargate": Decimal("0.2"),
            "Amazon ECS": Decimal("0.05"),
            "Amazon Elastic Container Registry": Decimal("0.4"),
            "AWS CodePipeline": Decimal("0.1"),
        },
        "2026-11-27",
    )
    one = only(found(charges, prediction=expected))
    assert (one.a_month, one.predicted) == (Decimal("0.9"), Decimal("0.75"))
    assert (one.difference, one.prices_as_of) == (Decimal("0.15"), "2026-11-27")
    assert [(s.name, s.predicted, s.difference) for s in one.services] == [
        (ECR, Decimal("0.4"), Decimal("0.2")),
        (ECS, Decimal("0.25"), Decimal("0.05")),
        ("AWS CodePipeline", Decimal("0.1"), Decimal("-0.1")),
    ]


def test_a_service_that_was_not_predicted_has_no_difference() -> None:
    one = only(found(tagged(FIRST, ["0.01"] * 21), prediction=prediction("1", Other="1")))
    assert [(s.name, s.predicted, s.difference) for s in one.services] == [
        (ECS, None, None),
        ("Other", Decimal(1), Decimal(-1)),
    ]


def test_the_prediction_of_another_installation_is_not_held_against_it() -> None:
    ours, theirs = found(
        tagged(FIRST, ["0.01"] * 21), prediction=prediction("1", "nightshift-dev", ECS="1")
    ).installations
    assert (ours.name, ours.predicted) == ("nightshift-prod", None)
    assert (theirs.name, theirs.tag_key, theirs.predicted) == ("nightshift-dev", "", Decimal(1))


def test_only_dollars_are_compared_with_dollars() -> None:
    euros = [{**each, "BillingCurrency": "EUR"} for each in tagged(FIRST, ["0.01"] * 21)]
    seen = rows(FIRST, ["1"] * 21, BillingCurrency="EUR")
    rolled_up = replace(rollup(seen), installations=table(euros, INSTALLATIONS))
    one = only(analyse(rolled_up, PERIOD, prediction("1", ECS="1")))
    assert (one.currency, one.predicted) == ("EUR", None)


def test_without_charges_and_prediction_there_is_nothing() -> None:
    assert found([]).installations == ()


# --- predicted.json ------------------------------------------------------------------------------

GOOD: dict[str, Any] = {
    "installation": "nightshift-prod",
    "monthly_total_usd": "0.3100",
    "lines": [
        {"service": "AWS Fargate", "monthly_usd": "0.20", "more": [1]},
        {"service": "Amazon S3", "monthly_usd": "0E-6"},
        {"service": "AWS Fargate", "monthly_usd": "0.11"},
    ],
    "prices_as_of": "2026-11-27",
    "assumptions": {"runs_per_day": 1},
}


def write(folder: Path, content: object) -> str:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    (folder / NAME).write_bytes(text)
    return str(folder)


def test_a_prediction_is_read_as_decimals(tmp_path: Path) -> None:
    services = {"AWS Fargate": Decimal("0.31"), "Amazon S3": Decimal(0)}
    expected = Prediction("nightshift-prod", Decimal("0.31"), services, "2026-11-27")
    assert predicted(write(tmp_path, GOOD)) == expected


def test_none_is_no_problem(tmp_path: Path) -> None:
    assert predicted(str(tmp_path)) is None
    assert predicted(str(tmp_path / "not-there-yet")) is None


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "Expecting value"),
        (b"\xff\xfe\x00", "decode"),
        (b"[" * 100_000, ""),
        ([], "the file is no object"),
        ({}, "lines"),
        ({**GOOD, "lines": {}}, "lines is no list"),
        ({**GOOD, "lines": [1]}, "line 1 is no object"),
        ({**GOOD, "installation": None}, "installation is no text"),
        ({**GOOD, "prices_as_of": 2026}, "prices_as_of is no text"),
        ({**GOOD, "monthly_total_usd": 0.31}, "monthly_total_usd is no amount"),
        ({**GOOD, "monthly_total_usd": "NaN"}, "monthly_total_usd is no amount"),
        ({**GOOD, "monthly_total_usd": "1E+999"}, "monthly_total_usd is no amount"),
        ({**GOOD, "lines": [{"service": "S3"}]}, "monthly_usd is no amount"),
    ],
)
def test_another_shape_is_a_problem_that_says_which(
    tmp_path: Path, content: object, why: str
) -> None:
    with pytest.raises(Problem) as caught:
        predicted(write(tmp_path, content))
    assert caught.value.summary == "predicted.json is not a prediction of costs"
    assert why in caught.value.detail
    assert caught.value.where == {"file": str(tmp_path / NAME)}


def test_a_folder_of_that_name_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    with pytest.raises(Problem, match="cannot read"):
        predicted(str(tmp_path))


def test_text_that_no_file_can_hold_is_replaced(tmp_path: Path) -> None:
    odd = {**GOOD, "installation": "\ud800"}
    found = predicted(write(tmp_path, odd))
    assert found is not None
    assert found.installation == "?"


# --- said ----------------------------------------------------------------------------------------


def report(*installations: Installation, unavailable: tuple[Unavailable, ...] = ()) -> Report:
    typical = report_fixture.typical()
    mine = replace(typical.analysis, installations=installations, unavailable=unavailable)
    return replace(typical, analysis=mine)


def said(*installations: Installation, unavailable: tuple[Unavailable, ...] = ()) -> str:
    return " ".join(render(report(*installations, unavailable=unavailable)).split())


def one_of(costs: Iterable[object], expected: Prediction | None = None, last: int = 21) -> str:
    return said(*found(tagged(FIRST, costs), last, expected).installations).replace(fmt.NBSP, " ")


def test_an_account_without_the_tag_sees_nothing_of_it() -> None:
    page = said()
    assert "What Nightshift costs" not in page
    assert "-ours" not in page
    assert "What Nightshift costs" not in markdown_summary(report())


def test_the_page_says_what_it_costs_and_what_a_month_is() -> None:
    page = one_of(["0.01"] * 21)
    assert "nightshift-prod has cost $0.210 so far; at this rate a month costs $0.300." in page
    assert "A month is 30 times the mean of the 20 complete days since 1 Nov 2026." in page
    assert "<code>make cost OUT=…</code>" in page


@pytest.mark.parametrize(
    ("total", "words"),
    [
        ("0.20", "a month costs $0.300, $0.100 (50.0%) more than the $0.200 predicted."),
        ("0.60", "a month costs $0.300, $0.300 (50.0%) less than the $0.600 predicted."),
        ("0.29", "a month costs $0.300, about the $0.290 that was predicted."),
        ("0", "a month costs $0.300, $0.300 more than the $0.000 predicted."),
    ],
)
def test_the_page_says_how_it_compares(total: str, words: str) -> None:
    page = one_of(["0.01"] * 21, prediction(total, Amazon_ECS=total))
    assert words in page
    assert "make cost" not in page


@pytest.mark.parametrize(
    ("as_of", "written"),
    [("2026-11-27", "27 Nov 2026"), ("<b>then</b>", "&lt;b&gt;then&lt;/b&gt;")],
)
def test_the_page_says_of_when_the_prices_are(as_of: str, written: str) -> None:
    expected = replace(prediction("0.20"), prices_as_of=as_of)
    page = one_of(["0.01"] * 21, expected)
    assert f"Predicted for a month, at the prices of {written}." in page


def test_the_page_names_the_largest_difference() -> None:
    charges = [*tagged(FIRST, ["0.01"] * 21), *tagged(FIRST, ["0.02"] * 21, ECR)]
    expected = prediction("0.75", Amazon_ECS="0.25", Amazon_ECR="0.5")
    page = said(*found(charges, prediction=expected).installations)
    assert f"The largest difference: {ECR}, $0.100 more." in page


def test_a_complete_month_needs_no_rate() -> None:
    page = one_of(["0.01"] * 30, prediction("0.20", Amazon_ECS="0.20"), last=30)
    assert "nightshift-prod cost $0.300, $0.100 (50.0%) more than the $0.200 predicted." in page
    assert "A month is" not in page


def test_its_first_day_is_not_held_against_anything() -> None:
    page = said(*found(tagged(date(2026, 11, 21), ["0.01"])).installations)
    assert "nightshift-prod has cost $0.0100 so far: its first day is not complete yet." in page


def test_a_prediction_without_charges_says_how_they_come() -> None:
    nothing = found([], prediction=prediction("0.31", AWS_Fargate="0.31"))
    page = said(*nothing.installations)
    assert "nightshift-prod was predicted to cost $0.310 a month, and no charge" in page
    assert "has to be active as a cost allocation tag" in page
    text = markdown_summary(report(*nothing.installations))
    assert "- nightshift-prod: no charge carries its tag, predicted $0.310 a month" in text


def test_a_prediction_that_cannot_be_read_is_said_so() -> None:
    broken = Unavailable("prediction", "predicted.json is not a prediction of costs")
    analysis = found(tagged(FIRST, ["0.01"] * 21), prediction=broken)
    assert broken in analysis.unavailable
    page = said(*analysis.installations, unavailable=analysis.unavailable)
    assert page.count("Predicted.json is not a prediction of costs.") == 2  # here, and in the list
    assert "make cost" not in page


def test_the_summary_and_the_artifact_have_it() -> None:
    (one,) = found(tagged(FIRST, ["0.01"] * 21), prediction=prediction("0.2")).installations
    (line,) = summary(report(one))["installations"]
    assert line == one
    text = markdown_summary(report(one))
    assert "**What Nightshift costs**" in text
    assert "- nightshift-prod: $0.210 so far, $0.300 a month at this rate, predicted $0.200" in text


def test_an_empty_roll_up_has_the_columns() -> None:
    assert rollup([]).installations.schema == INSTALLATIONS
    assert rolled.InstallationSums().table() == pa.table(INSTALLATIONS.empty_table())
