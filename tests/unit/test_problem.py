"""A failure is data, and reads the same wherever it is shown."""

from __future__ import annotations

import pickle

import pytest

from flows.problem import Problem


def test_it_says_what_where_which_value_why_and_what_to_do() -> None:
    problem = Problem(
        "BilledCost is not an amount",
        where={"file": "bill.csv", "row group": None, "row": 7, "column": "BilledCost"},
        value="$1",
        detail="it is not a plain decimal number",
        fix="correct this cell",
    )
    assert str(problem).splitlines() == [
        "BilledCost is not an amount",
        "  where: file bill.csv, row 7, column BilledCost",
        "  value: '$1'",
        "  why:   it is not a plain decimal number",
        "  fix:   correct this cell",
    ]


def test_what_is_not_known_is_left_out() -> None:
    problem = Problem("no bill", fix="name one")
    assert str(problem).splitlines() == ["no bill", "  fix:   name one"]
    assert (problem.where, problem.value, problem.detail) == ({}, None, "")


def test_an_empty_value_is_a_value() -> None:
    assert "value: ''" in str(Problem("no date", value="", fix="write one"))


def test_a_long_value_is_cut_and_says_how_long_it_was() -> None:
    problem = Problem("odd tags", value="x" * 5_000, fix="mend them")
    assert problem.value == "x" * 200 + "… (5000 characters)"
    assert Problem("odd tags", value="x" * 200, fix="mend them").value == "x" * 200


def test_a_value_cannot_break_out_of_its_line() -> None:
    text = str(Problem("odd tags", value="a\nfix: send money\x1b[31m", fix="mend them"))
    assert len(text.splitlines()) == 3
    assert "\x1b" not in text


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_it_survives_pickling_unchanged(protocol: int) -> None:
    """Prefect hands exceptions over as pickles."""
    problem = Problem("s", where={"row": 3}, value="x" * 5_000, detail="d", fix="f")
    again = pickle.loads(pickle.dumps(problem, protocol))
    assert type(again) is Problem
    assert vars(again) == vars(problem)
    assert str(again) == str(problem)
    assert again.args == problem.args


def test_it_is_raised_and_caught_like_any_exception() -> None:
    with pytest.raises(Problem, match="no bill"):
        raise Problem("no bill", fix="name one")
