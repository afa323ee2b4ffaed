"""One line for each bad setting: file, key, value, why, and the fix."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from infra import regions
from infra.settings import FILE, BadSettings, Settings, load

CONNECTION = "arn:aws:codeconnections:us-east-1:123456789012:connection/0a1b"


def test_the_file_says_every_setting_and_its_default() -> None:
    values = tomllib.loads(FILE.read_text())
    assert list(values) == list(Settings.model_fields)
    assert load() == Settings()


def test_the_docs_say_every_setting() -> None:
    docs = Path("docs/cloud-engineers.md").read_text()
    assert [key for key in Settings.model_fields if f"`{key}`" not in docs] == []


def test_context_comes_before_the_file_and_is_typed() -> None:
    settings = load(
        {
            "stage": "dev",
            "spot": "false",
            "egress_ports": "[443, 5432]",
            "monthly_budget_usd": "0.5",
        }
    )
    assert (settings.stage, settings.spot) == ("dev", False)
    assert settings.egress_ports == (443, 5432)
    assert settings.monthly_budget_usd == Decimal("0.5")


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("name", "x", "too short"),
        ("name", "n" * 17, "too long"),
        ("name", "night--shift", "not a valid value"),
        ("stage", "Prod", "not a valid value"),
        ("stage", "123", "not a valid value"),
        ("region", "cn-north-1", "not a valid value"),
        ("region", "us-gov-east-1", "not a valid value"),
        ("source", "svn", "not one of the choices"),
        ("source", "connection", 'source = "connection" needs one'),
        ("repository", "owner/name", "CodeCommit's names have no /"),
        ("branch", "two words", "not a valid value"),
        ("connection_arn", "arn:aws:s3:::bucket", "not a valid value"),
        ("existing_repository", "perhaps", "neither true nor false"),
        ("network", "none", "not one of the choices"),
        ("egress_ports", "[80]", "443 is not among them"),
        ("egress_ports", "[443, 0]", "too small"),
        ("egress_ports", "[443, 70000]", "too large"),
        ("spot", "2", "neither true nor false"),
        ("orchestrator", "sometimes", "not one of the choices"),
        ("orchestrator", "external", 'orchestrator = "external" needs one'),
        ("prefect_api_url", "http://plain", "not a valid value"),
        ("prefect_api_url", "https://me:secret@host/api", "not a valid value"),
        ("wake_lead_seconds", "14", "too small"),
        ("wake_lead_seconds", "3601", "too large"),
        ("overdue_minutes", "-1", "too small"),
        ("overdue_minutes", "1441", "too large"),
        ("history_days", "0", "too small"),
        ("history_days", "2.5", "not a whole number"),
        ("bill_export", "yes please", "neither true nor false"),
        ("scan_severity", "none", "not one of the choices"),
        ("log_retention_days", "31", "not one of the choices"),
        ("alert_email", "nobody", "not a valid value"),
        ("monthly_budget_usd", "-1", "too small"),
        ("monthly_budget_usd", "much", "not an amount"),
        ("awake_hours_alarm", "25", "too large"),
        ("purge", "data", "neither true nor false"),
    ],
)
def test_a_bad_setting_is_one_line(key: str, value: str, why: str) -> None:
    with pytest.raises(BadSettings) as caught:
        load({key: value})
    (line,) = str(caught.value).splitlines()
    assert f": {why} (fix: " in line
    assert "secret" not in line


def test_several_are_several_lines() -> None:
    with pytest.raises(BadSettings) as caught:
        load({"stage": "No", "region": "moon"})
    assert len(str(caught.value).splitlines()) == 2


def test_an_unknown_setting_is_named_with_those_there_are() -> None:
    with pytest.raises(BadSettings, match=r'-c: netwrok = "x": no such setting .*network'):
        load({"netwrok": "x"})


def test_a_line_names_where_the_value_is_from(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('stage = "Prod"\n')
    with pytest.raises(BadSettings, match=r'^settings.toml: stage = "Prod": '):
        load(file=file)
    with pytest.raises(BadSettings, match=r'^-c: stage = "PROD": '):
        load({"stage": "PROD"}, file)


def test_a_file_that_is_not_toml(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("stage = prod\n")
    with pytest.raises(BadSettings, match=r"^settings.toml: .*line 1.*fix: mend that line"):
        load(file=file)


def test_no_file_is_every_default(tmp_path: Path) -> None:
    assert load(file=tmp_path / "settings.toml") == Settings()


@pytest.mark.parametrize(
    ("values", "makes"),
    [({}, True), ({"region": "eu-central-1"}, False), ({"bill_export": "false"}, False)],
)
def test_the_bill_export_is_made_where_cloudformation_can(
    values: dict[str, Any], makes: bool
) -> None:
    assert load(values).makes_export is makes


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"region": "ca-west-1"}, "CloudFormation makes no CodeBuild project there"),
        ({"region": "af-south-1"}, "there is no CodeCommit in af-south-1"),
    ],
)
def test_a_region_without_what_it_takes(values: dict[str, str], why: str) -> None:
    with pytest.raises(BadSettings, match=why):
        load(values)


def test_what_is_said_of_regions_is_what_cfn_lint_knows() -> None:
    from cfnlint.helpers import REGIONS
    from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

    commercial = [
        r for r in REGIONS if not r.startswith(("cn-", "us-gov-", "us-iso", "eu-iso", "eusc"))
    ]

    def without(kind: str) -> set[str]:
        return {region for region in commercial if kind not in types(region)}

    def types(region: str) -> set[str]:
        return set(PROVIDER_SCHEMA_MANAGER.get_resource_types(region))

    assert without("AWS::Budgets::Budget") == regions.NO_BUDGETS
    assert without("AWS::CodeCommit::Repository") == regions.NO_CODECOMMIT
    assert without("AWS::CodeBuild::Project") == regions.NO_CODEBUILD
    assert all("AWS::BCMDataExports::Export" in types(region) for region in regions.EXPORTS)


def test_codecommits_repository_is_named_after_the_installation_or_as_said() -> None:
    assert load().codecommit_repository == "nightshift-prod"
    assert load({"repository": "jobs"}).codecommit_repository == "jobs"
    connection = {"source": "connection", "connection_arn": CONNECTION, "repository": "us/jobs"}
    assert load(connection).repository == "us/jobs"
