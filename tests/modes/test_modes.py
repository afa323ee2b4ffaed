"""The orchestrator's other modes: always on, and with a Prefect API elsewhere. A cloud for each."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from infra.local import installation
from infra.local.cloud import Cloud, local_cloud
from infra.local.fargate.processes import Processes
from infra.local.prefect import server
from tests.asleep import days
from tests.local_cloud import project as projects
from tests.local_cloud.runs import until
from tests.local_cloud.telling import teller
from tests.needs import ONLY_LONG, need

pytestmark = ONLY_LONG


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = projects.copied(tmp_path_factory.mktemp("modes") / "project")
    (made / "flows" / "patient.py").write_text(days.PATIENT)
    projects.declare(made, days.BY_HAND)
    return made


@contextmanager
def cloud_of(project: Path, folder: Path, **context: str) -> Iterator[Cloud]:
    """Tasks are processes here: what is in the image makes no difference to the modes."""
    need(_can_run(project), "no PID namespaces: neither root nor Linux")
    say = teller()

    def said(task: Any, line: str) -> None:
        say(f"{task.id[:8]} | {line}")

    given = {"wake_lead_seconds": "15", **context}
    with local_cloud(
        project, folder, engine=None, context=given, orchestrator=True, say=say, said=said
    ) as cloud:
        yield cloud


def _can_run(project: Path) -> bool:
    from flows.problem import Problem

    try:
        Processes(project)
    except Problem:
        return False
    return True


def test_always_on(project: Path, tmp_path: Path) -> None:
    """It never sets itself to 0; its API answers who has the password, at its own address only."""
    with cloud_of(project, tmp_path / "cloud", orchestrator="always") as cloud:
        life = days.working(cloud)
        until(
            lambda: cloud.journal()["because"] == "it is always on",
            30,
            lambda: str(cloud.journal()),
        )
        deployments = cloud.api("/deployments/filter", {})
        assert {found["name"] for found in deployments} == {"daily", "by-hand"}
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{cloud.api.url}/deployments/name/patient/by-hand")
        assert refused.value.code == 401
        assert "WakeUpSchedule" not in cloud.outputs.values
        answer = days.ended(cloud, days.ask(cloud))
        assert answer["type"] == "COMPLETED"
        time.sleep(5)
        assert cloud.orchestrator is life
        assert days.service(cloud)["desiredCount"] == 1


def test_a_prefect_api_elsewhere(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Worker only: no database, no server; it sleeps and wakes by the other server's schedule."""
    with server(tmp_path / "elsewhere", "") as elsewhere:
        elsewhere.wait()
        url = elsewhere.api.url
        synthesise = installation.synthesise

        def plain(*arguments: Any) -> dict[str, str]:
            # Settings want https, and rightly so; this one has no certificate.
            found = synthesise(*arguments)
            return {name: text.replace(f"https{url[4:]}", url) for name, text in found.items()}

        monkeypatch.setattr(installation, "synthesise", plain)
        settings = {"orchestrator": "external", "prefect_api_url": f"https{url[4:]}"}
        with cloud_of(project, tmp_path / "cloud", **settings) as cloud:
            until(lambda: days.is_asleep(cloud), 120, lambda: str(cloud.journal()))
            journal = cloud.journal()
            assert journal["doing"] == "asleep"
            assert journal["life"] == 0  # no history of ours
            at = days.wake_up(cloud)
            assert at is not None
            assert (at.hour, at.minute, at.second) == (5, 59, 45)
            s3 = cloud.aws.client("s3")
            lives = s3.list_objects_v2(Bucket=cloud.state_bucket, Prefix="prefect/lives/")
            assert not lives.get("Contents")
            answer = days.ended(cloud, days.ask(cloud))
            assert answer["type"] == "COMPLETED"
            until(lambda: days.is_asleep(cloud), 60, lambda: str(cloud.journal()))
            assert elsewhere.api(f"/flow_runs/{answer['run']}")["state"]["type"] == "COMPLETED"
