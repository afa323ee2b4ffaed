"""Which installation commands are about, where nobody says."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments import whereabouts
from flows.problem import Problem
from infra.settings import FILE, Settings


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "settings.toml"
    monkeypatch.setattr(whereabouts, "SETTINGS", file)
    return file


def test_the_settings_file_is_the_clouds_own() -> None:
    assert whereabouts.SETTINGS == FILE


def test_it_is_the_settings_installation_in_their_region(settings: Path) -> None:
    settings.write_text('name = "bills"\nstage = "dev"\nregion = "eu-central-1"\n')
    shell: dict[str, str] = {}
    whereabouts.in_its_region(shell)
    assert whereabouts.stack(shell) == "bills-dev"
    assert shell == {"AWS_DEFAULT_REGION": "eu-central-1"}


def test_what_the_shell_says_comes_first(settings: Path) -> None:
    settings.write_text('name = "bills"\nregion = "eu-central-1"\n')
    shell = {"NIGHTSHIFT_STACK": "nightshift-local", "AWS_DEFAULT_REGION": "us-west-2"}
    whereabouts.in_its_region(shell)
    assert whereabouts.stack(shell) == "nightshift-local"
    assert shell["AWS_DEFAULT_REGION"] == "us-west-2"


def test_what_the_settings_leave_out_is_as_make_deploy_has_it(settings: Path) -> None:
    settings.write_text("")
    assert whereabouts.stack({}) == Settings().installation


def test_in_the_image_there_are_none(settings: Path) -> None:
    shell: dict[str, str] = {}
    whereabouts.in_its_region(shell)
    assert shell == {}


def test_what_is_no_toml_is_a_problem(settings: Path) -> None:
    settings.write_text("name = bills")
    with pytest.raises(Problem, match="cannot be read") as caught:
        whereabouts.stack({})
    assert caught.value.where == {"file": settings}
