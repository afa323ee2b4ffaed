"""What the orchestrator's programs are given, and which deployments it makes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from deployments.orchestrator import environments
from deployments.orchestrator.surroundings import Surroundings
from deployments.outputs import Outputs

PASSWORD = "nightshift:not-to-be-seen"

WHERE = Surroundings(
    mode="asleep",
    lead=timedelta(minutes=2),
    overdue=timedelta(minutes=30),
    history_days=60,
    task="arn:aws:ecs:eu-west-1:123456789012:task/nightshift-prod/0123",
    cluster="nightshift-prod",
    service="orchestrator",
    image="123456789012.dkr.ecr.eu-west-1.amazonaws.com/nightshift-prod@sha256:" + "0" * 64,
    repository="123456789012.dkr.ecr.eu-west-1.amazonaws.com/nightshift-prod",
    region="eu-west-1",
    address="10.0.0.7",
    api="http://10.0.0.7:4200/api",
    bucket="the-state",
    wake_up=("nightshift-prod", "wake-up"),
    watchdog=("nightshift-prod", "watchdog"),
    topic="arn:aws:sns:eu-west-1:123456789012:nightshift-prod-alerts",
    queue="nightshift-prod-tasks",
    outputs=Outputs("nightshift-prod", {"DataBucket": "the-data"}, {"cost-report/daily": "arn:r"}),
)


@pytest.fixture(autouse=True)
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING"):
        monkeypatch.setenv(name, PASSWORD)
    monkeypatch.setenv("PREFECT_API_URL", WHERE.api)
    monkeypatch.setenv("AWS_CA_BUNDLE", "/somewhere")


def test_each_program_is_given_the_password_only_if_it_needs_it() -> None:
    assert PASSWORD not in environments.of_litestream().values()
    server = environments.of_server(WHERE, Path("/d/prefect.db"), known=False)
    assert server["PREFECT_SERVER_API_AUTH_STRING"] == PASSWORD
    assert "PREFECT_API_AUTH_STRING" not in server
    worker = environments.of_worker(WHERE, Path("/d"))
    assert worker["PREFECT_API_AUTH_STRING"] == PASSWORD
    # It would hand on to every ECS task whatever it has of the server's.
    assert not [name for name in worker if name.startswith("PREFECT_SERVER")]
    assert worker["PREFECT_API_URL"] == WHERE.api


def test_litestream_is_not_given_what_it_refuses() -> None:
    assert "AWS_CA_BUNDLE" not in environments.of_litestream()


@pytest.mark.parametrize(("known", "once"), [(True, "false"), (False, "true")])
def test_migrations_and_block_types_once(known: bool, once: str) -> None:
    server = environments.of_server(WHERE, Path("/d/prefect.db"), known=known)
    assert server["PREFECT_API_DATABASE_MIGRATE_ON_START"] == once
    assert server["PREFECT_API_BLOCKS_REGISTER_ON_START"] == once


def test_how_long_history_is_kept() -> None:
    server = environments.of_server(
        replace(WHERE, history_days=2), Path("/d/prefect.db"), known=True
    )
    assert server["PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD"] == "172800"


def test_a_deployment_without_a_role_does_not_keep_the_others_back(tmp_path: Path) -> None:
    ours = Path("prefect.yaml").read_text()
    again = ours[ours.index("  - name: daily") :].replace("name: daily", "name: new", 1)
    file = tmp_path / "prefect.yaml"
    file.write_text(ours + "\n" + again)
    (tmp_path / "flows").symlink_to(Path("flows").resolve())
    ready, without = environments.wanted(WHERE, file)
    assert [one.name for one in ready] == ["cost-report/daily"]
    assert ready[0].fields["job_variables"]["task_role_arn"] == "arn:r"
    assert "cost-report/new" in str(without)
    assert "make deploy" in str(without)


def test_all_have_roles() -> None:
    ready, without = environments.wanted(WHERE)
    assert [one.name for one in ready] == ["cost-report/daily"]
    assert without is None


def test_a_prefect_yaml_that_is_wrong_says_nothing_of_catching_up(tmp_path: Path) -> None:
    assert environments.catch_up(WHERE) == {"cost-report/daily": "newest"}
    file = tmp_path / "prefect.yaml"
    file.write_text("deployments: 1\n")
    assert environments.catch_up(WHERE, file) == {}
