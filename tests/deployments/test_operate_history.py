"""`make ui` and `make logs` over a copy of the history that Litestream has brought to S3."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import httpx
import pytest

from deployments.litestream import command, config, environment, replica
from deployments.operate import history, ui
from deployments.operate.__main__ import main
from deployments.orchestrator.history import fingerprint
from deployments.orchestrator.journal import Journal
from flows.problem import Problem
from tests.deployments.played import DEPLOYMENT, Played, install
from tests.prefect_server import prefect_server

REPOSITORY = Path(__file__).parents[2]
TASK = "arn:aws:ecs:us-east-1:123456789012:task/x/"
BEGAN = datetime.now(UTC)


@pytest.fixture(scope="module")
def empty(request: pytest.FixtureRequest) -> Path:
    """Of this Prefect; tests/conftest.py keeps one for its server."""
    kept = request.config.cache.mkdir(f"prefect-{metadata.version('prefect')}") / "prefect.db"
    if not kept.exists():
        part = kept.with_suffix(f".{os.getpid()}")
        subprocess.run(
            [sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"],
            env=os.environ
            | {"PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{part}"},
            check=True,
            capture_output=True,
        )
        part.replace(kept)
    return kept


@pytest.fixture(scope="module")
def database(empty: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As a Prefect server has written it, with four runs."""
    home = tmp_path_factory.mktemp("live")
    shutil.copy(empty, home / "prefect.db")
    with prefect_server(home) as api, httpx.Client(base_url=api, trust_env=False) as client:

        def post(path: str, body: Any) -> Any:
            for _ in range(10):
                answer = client.post(f"{api}{path}", json=body, timeout=60)
                if answer.status_code != 503:  # its database is busy, and has done nothing
                    break
                time.sleep(1)
            answer.raise_for_status()
            return answer.json()

        flow = post("/flows/", {"name": "cost-report"})
        named, _, of = DEPLOYMENT.partition("/")
        assert named == "cost-report"
        made = post("/deployments/", {"name": of, "flow_id": flow["id"]})
        for number, name in enumerate(("amber-fox", "blue-owl", "amber-fox", "coming-cat")):
            state: dict[str, Any] = {"type": "SCHEDULED", "name": "Scheduled"}
            body = {"flow_id": flow["id"], "deployment_id": made["id"], "name": name}
            run = post("/flow_runs/", {**body, "state": state})
            if name == "coming-cat":
                continue
            pid = {"infrastructure_pid": f"x::{TASK}{number}"}
            client.patch(f"{api}/flow_runs/{run['id']}", json=pid, timeout=60).raise_for_status()
            for kind in ("RUNNING", "COMPLETED"):
                done = {"type": kind, "name": kind.title()}
                post(f"/flow_runs/{run['id']}/set_state", {"state": done, "force": True})
            at = datetime.now(UTC).isoformat()
            line = {"flow_run_id": run["id"], "name": "prefect.flow_runs", "level": 20}
            post("/logs/", [{**line, "message": f"hello {number}", "timestamp": at}])
        until(lambda: post("/logs/filter", {"limit": 10}), lambda found: len(found) == 3)
    with contextlib.closing(sqlite3.connect(home / "prefect.db")) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
    return home / "prefect.db"


def until(look: Any, true: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true(look()):
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.fixture(scope="module")
def played(s3_endpoint: str, database: Path, tmp_path_factory: pytest.TempPathFactory) -> Played:
    """Asleep, with the history in life 3."""
    stack = f"nightshift-{uuid.uuid4().hex[:8]}"
    made = Played(install(stack), stack)
    own = tmp_path_factory.mktemp("replicated") / "prefect.db"
    shutil.copy(database, own)
    configured = own.with_name("litestream.yml")
    configured.write_text(config(replica(made.s3, made.at.bucket, "prefect/lives/3"), own))
    with own.with_name("log").open("wb") as log:
        running = subprocess.Popen(
            command("replicate", configured), env=environment(), stdout=log, stderr=log
        )
    until(lambda: made.keys("prefect/lives/3/"), bool)
    time.sleep(1.5)
    running.terminate()
    running.wait()
    made.journal(Journal(life=3, doing="asleep"))
    return made


@pytest.fixture
def stack(played: Played, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("NIGHTSHIFT_STACK", played.stack)
    return played.stack


# --- what is in it -------------------------------------------------------------------------------


def test_the_runs_of_a_copy(database: Path) -> None:
    found = history.newest(database, 5)
    assert [run.name for run in found] == ["amber-fox", "blue-owl", "amber-fox"]
    assert found[0].deployment == DEPLOYMENT
    assert found[0].task == f"{TASK}2"
    assert (found[0].state, found[0].type) == ("Completed", "COMPLETED")
    assert history.find(database, "") == found[0]
    assert history.find(database, "amber-fox") == found[0]
    assert history.find(database, found[1].id) == found[1]
    assert history.find(database, found[2].id[:13]) == found[2]
    assert history.find(database, "nobody") is None
    (line,) = history.log_lines(database, found[0].id)
    assert line.endswith(" | INFO    | prefect.flow_runs - hello 2")


def test_as_of_when_a_copy_is(database: Path, empty: Path) -> None:
    found = history.as_of(database)
    assert found is not None
    assert BEGAN < found <= datetime.now(UTC)
    assert history.as_of(empty) is None


# --- logs ----------------------------------------------------------------------------------------


def test_logs_that_cloudwatch_has(
    stack: str, played: Played, capsys: pytest.CaptureFixture[str]
) -> None:
    played.log(f"{TASK}1", "from CloudWatch")
    assert main(["logs", "blue-owl"]) == 0
    title, line = capsys.readouterr().out.splitlines()
    assert title.startswith(f"--- blue-owl of {DEPLOYMENT} (")
    assert line == "from CloudWatch"


@pytest.mark.parametrize("wanted", ["amber-fox", ""])
def test_logs_that_cloudwatch_has_not(
    stack: str, capsys: pytest.CaptureFixture[str], wanted: str
) -> None:
    assert main(["logs", *([wanted] if wanted else [])]) == 0
    title, line = capsys.readouterr().out.splitlines()
    assert title.startswith(f"--- amber-fox of {DEPLOYMENT} (")
    assert line.endswith("hello 2")


def test_logs_of_a_run_that_never_was(stack: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", "amber-fix"]) == 1
    said = capsys.readouterr().err
    assert "there is no such run" in said
    assert f"amber-fox ({DEPLOYMENT}, " in said


# --- the UI --------------------------------------------------------------------------------------


def get(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_the_ui_shows_the_history_and_changes_nothing(
    played: Played, tmp_path: Path, database: Path
) -> None:
    """The command as people use it, to Ctrl-C."""
    before = played.keys()
    with subprocess.Popen(
        [sys.executable, "-m", "deployments.operate", "ui", "--stack", played.stack],
        cwd=REPOSITORY,
        env=os.environ | {"TMPDIR": str(tmp_path), "PREFECT_API_URL": "http://127.0.0.1:9/api"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout
        said = []
        for line in program.stdout:
            said.append(line.rstrip())
            if "Ctrl-C" in line:
                break
        else:
            assert program.stderr
            raise AssertionError(program.stderr.read())
        address = said[2].strip()
        (copy,) = tmp_path.glob("nightshift-history-*/prefect.db")
        restored = fingerprint(copy)
        names = {run["name"] for run in get(f"{address}/api/flow_runs/filter", {})}
        settings = get(f"{address}/ui-settings")
        with urllib.request.urlopen(f"{address}/", timeout=30) as page:
            html = page.read().decode()
        with pytest.raises(urllib.error.HTTPError):
            get(f"{address}/api/flows/", {"name": "new"})
        assert fingerprint(copy) == restored == fingerprint(database)
        program.send_signal(signal.SIGINT)
        program.communicate(timeout=30)
    assert program.returncode == 0
    assert said[1].startswith(f"history of {played.stack} as of ")
    assert said[1].endswith(" ago)")
    assert names == {"amber-fox", "blue-owl", "coming-cat"}
    assert settings["api_url"] == f"{address}/api"
    assert settings["auth"] is None
    assert "<html" in html
    assert list(tmp_path.iterdir()) == []  # the copy is gone
    assert played.keys() == before
    with pytest.raises(urllib.error.URLError):
        get(f"{address}/api/health")  # and the server


def test_the_ui_of_an_installation_that_was_never_started(
    s3_endpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stack = f"nightshift-{uuid.uuid4().hex[:8]}"
    install(stack)
    assert main(["ui", "--stack", stack]) == 1
    assert "there is no history yet" in capsys.readouterr().err


def test_a_copy_of_a_later_prefect_is_refused(empty: Path, tmp_path: Path) -> None:
    later = tmp_path / "prefect.db"
    shutil.copy(empty, later)
    with contextlib.closing(sqlite3.connect(later)) as connection:
        connection.execute("update alembic_version set version_num = 'ffff'")
        connection.commit()
    with pytest.raises(Problem, match="a later Prefect"):
        ui.bring_up_to_date(later)


def test_a_copy_of_an_earlier_prefect_is_brought_up_to_date(tmp_path: Path, empty: Path) -> None:
    earlier = tmp_path / "prefect.db"
    shutil.copy(empty, earlier)
    downgrade = [sys.executable, "-m", "prefect", "server", "database", "downgrade", "-y"]
    subprocess.run(
        [*downgrade, "--revision", "-1"],
        env=os.environ
        | {"PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{earlier}"},
        check=True,
        capture_output=True,
    )
    assert version(earlier) not in ui.schemas()[1]
    ui.bring_up_to_date(earlier)
    assert {version(earlier)} == ui.schemas()[1]


def version(database: Path) -> str:
    with history.opened(database) as connection:
        return str(connection.execute("select version_num from alembic_version").fetchone()[0])


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Problem, match="the port is taken"):
            ui.free_port(port)
        assert ui.free_port(None) != port


def test_without_an_installation_it_is_this_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No AWS is asked, and none needs to be there."""
    became: list[Any] = []

    class Became(Exception):
        pass

    def execve(path: str, arguments: list[str], variables: dict[str, str]) -> None:
        became.append((arguments[1:], variables))
        raise Became

    monkeypatch.delenv("NIGHTSHIFT_STACK", raising=False)
    monkeypatch.setattr(os, "execve", execve)
    for options in ([], ["--local", "--stack", "x"], ["--port", "4300"]):
        with pytest.raises(Became):
            main(["ui", *options])
    start = ["-m", "prefect", "server", "start"]
    assert [arguments for arguments, _ in became] == [start, start, [*start, "--port", "4300"]]
    assert became[0][1]["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert became[0][1]["PREFECT_HOME"] == os.environ["PREFECT_HOME"]
