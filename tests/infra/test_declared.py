"""What prefect.yaml and the flows' signatures say together."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from deployments.declared import Data, declared
from flows.problem import Problem

FLOW = """
from __future__ import annotations

from typing import TYPE_CHECKING

from prefect import flow

from flows.data import Access, Destination, Source

if TYPE_CHECKING:
    from decimal import Decimal


@flow(name="copy-it")
def copy(source: Source, destination: Destination, n: int = 1) -> Decimal | None: ...


@flow
def archive(destination: Destination = "s3://archive/here/", *, source: Source) -> None: ...


@flow
def unknown(source: Source, amount: Decimal) -> None: ...


@flow
def nothing(n: int = 1) -> None: ...
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "jobs.py").write_text(FLOW)
    return tmp_path


def write(project: Path, text: str) -> Path:
    file = project / "prefect.yaml"
    file.write_text(text)
    return file


def one(function: str, parameters: str) -> str:
    return f"""
deployments:
  - name: daily
    entrypoint: jobs.py:{function}
    description: >-
      Copies
      it.
    parameters: {parameters}
"""


def test_our_own() -> None:
    (daily,) = declared()
    assert (daily.name, daily.slug) == ("cost-report/daily", "cost-report-daily")
    assert {data.parameter: (data.key, data.read, data.write) for data in daily.data} == {
        "source": ("bills/", True, False),
        "destination": ("reports/", True, True),
    }


def test_the_signature_and_the_values_together(project: Path) -> None:
    values = '{source: "s3://{{ $NIGHTSHIFT_DATA_BUCKET }}/in", destination: "s3://out/a/b/", n: 2}'
    (daily,) = declared(write(project, one("copy", values)))
    assert (daily.name, daily.description) == ("copy-it/daily", "Copies it.")
    assert daily.data == (
        Data("source", "{{$NIGHTSHIFT_DATA_BUCKET}}", "in", read=True, write=False),
        Data("destination", "out", "a/b/", read=True, write=True),
    )
    assert [data.address for data in daily.data] == [
        "s3://{{$NIGHTSHIFT_DATA_BUCKET}}/in",
        "s3://out/a/b/",
    ]


def test_a_default_of_the_flow_is_a_value(project: Path) -> None:
    (daily,) = declared(write(project, one("archive", '{source: "s3://in"}')))
    assert {data.address for data in daily.data} == {"s3://archive/here/", "s3://in/"}


def test_a_flow_without_data_has_none(project: Path) -> None:
    (daily,) = declared(write(project, one("nothing", "{}")))
    assert daily.data == ()


@pytest.mark.parametrize(
    ("text", "summary", "names"),
    [
        (one("copy", "{}"), "not an S3 address", ["daily", "source"]),
        (one("copy", '{source: "/tmp/x"}'), "not an S3 address", ["daily", "source", "'/tmp/x'"]),
        (
            one("copy", '{source: "s3://b/x*"}'),
            "IAM would read a pattern",
            ["source", "'s3://b/x*'"],
        ),
        (one("copy", '{source: "s3://b/{{ $X }}/"}'), "IAM would read a pattern", ["source"]),
        (one("copi", "{}"), "cannot be imported", ["daily", "'jobs.py:copi'"]),
        (one("unknown", '{source: "s3://b/"}'), "cannot be found out", ["amount", "'Decimal'"]),
        ("deployments:\n  - name: x\n", "has no entrypoint", ["deployment 1"]),
        ("deployments:\n  - entrypoint: x\n", "has no name", ["deployment 1"]),
        ("deployments:\n  - x\n", "not a mapping", ["deployment 1"]),
        ("deployments: {}\n", "no list of deployments", ["prefect.yaml"]),
        ("a: [", "is not YAML", ["prefect.yaml", "line 1"]),
    ],
)
def test_what_is_wrong_is_named(project: Path, text: str, summary: str, names: list[str]) -> None:
    with pytest.raises(Problem, match=summary) as caught:
        declared(write(project, text))
    message = str(caught.value)
    assert all(name in message for name in names), message
    assert caught.value.fix


def test_two_that_would_share_a_role(project: Path) -> None:
    entry = "  - {name: %s, entrypoint: 'jobs.py:nothing'}\n"
    text = "deployments:\n" + entry % "a.b" + entry % "a-b"
    with pytest.raises(Problem, match="share one role"):
        declared(write(project, text))


def test_no_prefect_yaml(tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"there is no prefect\.yaml"):
        declared(tmp_path / "prefect.yaml")
