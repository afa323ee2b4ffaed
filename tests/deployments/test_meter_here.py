"""A module on a developer's machine: its end is its own, and a line says what it would cost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    LogFilter,
    LogFilterFlowRunId,
)

from deployments.meter.__main__ import main

REPOSITORY = Path(__file__).parents[2]

FLOW = '''
import os, sys, time
from prefect import flow, task
from prefect.states import Completed

@task
def one() -> int:
    return 1

@flow
def inner() -> int:
    return 2

@flow
def line_count(way: str) -> object:
    """Is not long."""
    one()
    inner()
    if way == "fails":
        raise ValueError("its own fault")
    if way == "waits":
        print("ready", flush=True)
        time.sleep(60)
    if way == "nothing":
        return Completed(name="Unchanged")
    return None

if __name__ == "__main__":
    way = sys.argv[1]
    if way == "no-flow":
        raise SystemExit(2)
    assert __name__ == "__main__"
    assert sys.argv[1:] == [way]
    line_count(way)
    print("its own words")
    raise SystemExit(3 if way == "three" else 0)
'''

PREFECT_YAML = """
name: x
deployments:
  - name: nightly
    entrypoint: jobs/line_count.py:line_count
    schedules:
      - slug: nightly
        cron: "0 3 * * *"
        timezone: UTC
    work_pool:
      name: fargate
      job_variables:
        cpu: 2048
        memory: 8192
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "line_count.py").write_text(FLOW)
    return tmp_path


def start(project: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=project,
        env=os.environ | {"PYTHONPATH": f"{REPOSITORY}{os.pathsep}{project}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def metered(project: Path, way: str, module: str = "jobs.line_count") -> tuple[int, str, str]:
    with start(project, "-m", "deployments.meter", "-m", module, way) as process:
        out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def cost_lines(err: str) -> list[str]:
    return [line for line in err.splitlines() if "would have cost" in line]


def test_what_it_would_have_cost(project: Path, prefect: SyncPrefectClient) -> None:
    (project / "prefect.yaml").write_text(PREFECT_YAML)
    status, out, err = metered(project, "well")
    assert (status, out) == (0, "its own words\n"), err
    (said,) = cost_lines(err)
    assert "s, billed as 60, of 2 vCPU, 8 GB, ARM64, Spot; without image pull and start)" in said
    assert "0.25 vCPU, 0.5 GB would do: $" in said
    assert said.endswith(" less a year")
    (run,) = [
        run
        for run in prefect.read_flow_runs(limit=50)
        if run.parameters == {"way": "well"} and not run.parent_task_run_id
    ]
    assert f"Flow run '{run.name}'" in said
    of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
    (artifact,) = prefect.read_artifacts(artifact_filter=of_run)
    assert (artifact.key, artifact.type) == ("run-cost", "markdown")
    assert "cpu: 256\n  memory: 512" in str(artifact.data)
    kept = prefect.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id])))
    assert [log.message for log in kept if log.message.startswith("would have cost: $")]


def test_without_a_deployment(project: Path, prefect: SyncPrefectClient) -> None:
    _, _, err = metered(project, "well")
    (said,) = cost_lines(err)
    assert said.endswith("prefect.yaml gives it no size: this is the smallest that would do")


@pytest.mark.parametrize(
    ("way", "status", "lines"),
    [("three", 3, 1), ("fails", 1, 1), ("nothing", 0, 1), ("no-flow", 2, 0)],
)
def test_the_end_is_its_own(
    project: Path, prefect: SyncPrefectClient, way: str, status: int, lines: int
) -> None:
    found, out, err = metered(project, way)
    assert found == status
    assert ("its own words" in out) == (way in ("three", "nothing"))
    assert len(cost_lines(err)) == lines
    assert all("would do" not in line for line in cost_lines(err) if way in ("fails", "nothing"))
    if way == "fails":
        assert "\nValueError: its own fault\n" in err


def test_who_interrupts_it_does_not_wait(project: Path, prefect: SyncPrefectClient) -> None:
    """As without a meter: the same status, and no word about money."""
    statuses = []
    for before in ((), ("-m", "deployments.meter")):
        with start(project, *before, "-m", "jobs.line_count", "waits") as process:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        statuses.append(process.returncode)
        assert not cost_lines(err)
    assert statuses[0] == statuses[1]


def test_a_server_that_goes_away(project: Path, prefect: SyncPrefectClient) -> None:
    """It says so in a line, and the module ends as it would."""
    code = (
        "import sys\n"
        "from deployments.meter import here\n"
        "here._tell = lambda *_: (_ for _ in ()).throw(OSError('it is gone'))\n"
        "here.run_module('jobs.line_count', ['three'])\n"
    )
    with start(project, "-c", code) as process:
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (3, "its own words\n")
    assert "warning: what this would cost could not be told: OSError: it is gone" in err


def test_a_module_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-m", "flows.nowhere"]) == 1
    assert capsys.readouterr().err == "there is no module flows.nowhere\n"


def test_nobody_else_is_told(tmp_path: Path) -> None:
    """Prefect sends usage to its makers unless it is told not to; what the shell says holds."""
    names = ("DO_NOT_TRACK", "PREFECT_SERVER_ANALYTICS_ENABLED")
    (tmp_path / "told.py").write_text(f"import os\nprint(*map(os.environ.get, {names}))\n")

    def told(**more: str) -> str:
        kept = {name: value for name, value in os.environ.items() if name not in names}
        done = subprocess.run(
            [sys.executable, "-m", "deployments.meter", "-m", "told"],
            cwd=tmp_path,
            env={**kept, "PYTHONPATH": str(REPOSITORY), **more},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    assert told() == "1 false\n"
    assert told(DO_NOT_TRACK="0") == "0 false\n"
