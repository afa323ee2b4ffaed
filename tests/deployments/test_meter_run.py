"""A flow run's command, metered: it notices nothing, and Prefect is told what it has cost."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from deployments.meter import watch as watched
from deployments.meter.ask import Asking, of_prefect
from deployments.meter.task import metered
from deployments.meter.usage import Measured
from deployments.meter.watch import Watch
from deployments.work_pool import COMMAND

REPOSITORY = Path(__file__).parents[2]
ID = "3dcb481a-21cc-4ee4-9187-d9f112c6580e"
ARN = "arn:aws:ecs:us-east-1:123456789012:task/nightshift-prod/0123456789abcdef0123456789abcdef"


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


@dataclass
class Far:
    """ECS's metadata endpoint and Prefect's API, as far as they are asked here."""

    state: str = "Completed"
    broken: tuple[str, ...] = ()  # paths that are answered with an error
    busy: list[str] = field(default_factory=list)  # paths that are answered with 503, once each
    asked: list[tuple[str, str, Any, str]] = field(default_factory=list)
    cpu: int = 0
    address: str = ""

    def answer(self, method: str, path: str, body: Any) -> Any:
        match method, path:
            case "GET", "/v4/x/task":
                limits = {"CPU": 1, "Memory": 2048}
                return {"TaskARN": ARN, "Limits": limits, "PullStartedAt": ago(100)}
            case "GET", "/v4/x/task/stats":
                self.cpu += 500_000_000
                memory = {"usage": 500 << 20, "stats": {"inactive_file": 100 << 20}}
                cpu = {"cpu_usage": {"total_usage": self.cpu}}
                return {"x": {"read": ago(0), "cpu_stats": cpu, "memory_stats": memory}}
            case "GET", _ if path == f"/api/flow_runs/{ID}":
                return {"start_time": ago(75), "state": {"name": self.state}}
            case "POST", "/api/logs/" | "/api/artifacts/":
                return body
        return None

    def posted(self, path: str) -> Any:
        (found,) = [body for method, to, body, _ in self.asked if (method, to) == ("POST", path)]
        return found

    def environment(self) -> dict[str, str]:
        return {
            "ECS_CONTAINER_METADATA_URI_V4": f"{self.address}/v4/x",
            "PREFECT_API_URL": f"{self.address}/api",
            "PREFECT_API_AUTH_STRING": "name:password",
            "PREFECT__FLOW_RUN_ID": ID,
            "NIGHTSHIFT_CAPACITY": "strategy [{'capacityProvider': 'FARGATE_SPOT', 'weight': 1}]",
            "NIGHTSHIFT_ARCHITECTURE": "ARM64",
            "NIGHTSHIFT_PUBLIC_IP": "ENABLED",
            "NIGHTSHIFT_RUNS_A_YEAR": "365",
        }


@contextmanager
def serving(far: Far) -> Iterator[Far]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            said = json.loads(body) if body else None
            told = far.answer(self.command, self.path, said)
            answer = json.dumps(told).encode()
            if self.path in far.busy:
                far.busy.remove(self.path)
                self.send_response(503)
            else:
                auth = self.headers.get("Authorization") or ""
                far.asked.append((self.command, self.path, said, auth))
                self.send_response(500 if self.path in far.broken or told is None else 200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        far.address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield far
        server.shutdown()


@pytest.fixture
def far() -> Iterator[Far]:
    with serving(Far()) as one:
        yield one


def command(code: str) -> list[str]:
    return [sys.executable, "-m", "deployments.meter", sys.executable, "-c", code]


def run(code: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command(code),
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        check=False,
        timeout=60,
    )


# --- what is told --------------------------------------------------------------------------------

WORKS = """
import os, time
from pathlib import Path
Path(os.environ["NIGHTSHIFT_REQUESTS"], "GET").write_bytes(b"." * 40)
print("the flow's own")
time.sleep(2.5)
"""


def test_a_run_that_completes(far: Far) -> None:
    done = run(WORKS, **far.environment())
    assert done.returncode == 0, done.stderr
    own, said = done.stdout.decode().splitlines()
    assert own == "the flow's own"
    assert done.stderr == b""
    assert said.startswith("cost: $0.000")
    assert "s of 1 vCPU, 2 GB, ARM64, Spot; 2" in said, "25 of a hundred seconds"
    assert "% start-up); peak 400 MB, 0." in said
    assert said.endswith(" less a year")
    (log,) = far.posted("/api/logs/")
    assert (log["message"], log["flow_run_id"], log["level"]) == (said, ID, 20)
    assert log["name"] == "prefect.flow_runs"
    artifact = far.posted("/api/artifacts/")
    assert (artifact["key"], artifact["type"]) == ("run-cost", "markdown")
    assert artifact["flow_run_id"] == ID
    assert "| S3 reads | 40 | 0.0000160 |" in artifact["data"]
    assert "| logs | 40 bytes |" in artifact["data"], "a line of 14 bytes, and 26 for the event"
    known = f"Basic {base64.b64encode(b'name:password').decode()}"
    assert {auth for _, path, _, auth in far.asked if path.startswith("/api")} == {known}
    assert {auth for _, path, _, auth in far.asked if path.startswith("/v4")} == {""}


def test_a_run_on_demand_without_schedule_or_address(far: Far) -> None:
    changed = {
        "NIGHTSHIFT_CAPACITY": "strategy [{'capacityProvider': 'FARGATE', 'weight': 1}]",
        "NIGHTSHIFT_PUBLIC_IP": "DISABLED",
        "NIGHTSHIFT_RUNS_A_YEAR": "",
    }
    done = run("pass", **far.environment() | changed)
    assert b"ARM64, on demand; " in done.stdout
    assert done.stdout.strip().endswith(b"less each run")
    assert "public IPv4" not in far.posted("/api/artifacts/")["data"]


@pytest.mark.parametrize(
    ("environment", "headers"),
    [
        ({"PREFECT_API_KEY": "pnu_1"}, {"Authorization": "Bearer pnu_1"}),
        ({"PREFECT_API_AUTH_STRING": "a:b"}, {"Authorization": "Basic YTpi"}),
        ({}, {}),
    ],
)
def test_how_prefect_knows_who_asks(environment: dict[str, str], headers: dict[str, str]) -> None:
    assert of_prefect(environment) == headers


# --- what is not its own -------------------------------------------------------------------------


@pytest.mark.parametrize("metering", [True, False])
@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("raise SystemExit(0)", 0),
        ("raise SystemExit(7)", 7),
        ("raise ValueError", 1),
        ("import os; os.kill(os.getpid(), 9)", 137),
        ("import os; os.kill(os.getpid(), 15)", 143),
    ],
)
def test_the_end_is_the_commands_own(far: Far, code: str, status: int, metering: bool) -> None:
    """137 is how ECS, and deployments/diagnosis.py, know of what was killed for its memory."""
    assert run(code, **far.environment() if metering else {}).returncode == status


def test_a_command_that_is_not_there() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deployments.meter", "no-such-thing"],
        cwd=REPOSITORY,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 127
    assert done.stderr == b"no-such-thing: No such file or directory\n"


def test_all_that_it_writes_is_passed_on(far: Far) -> None:
    code = (
        "import sys; sys.stdout.buffer.write(bytes(range(256)) * 8192); "
        "sys.stderr.write('x' * 300_000)"
    )
    done = run(code, **far.environment())
    assert done.stdout.startswith(bytes(range(256)) * 8192)
    assert done.stderr == b"x" * 300_000


def started(code: str, far: Far, stdin: int | None = None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command(code),
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], **far.environment()},
        stdin=stdin,
        stdout=subprocess.PIPE,
    )


def test_it_comes_as_it_is_written(far: Far) -> None:
    code = "import sys; print('first', flush=True); sys.stdin.read()"
    with started(code, far, stdin=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdin
        assert process.stdout.readline() == b"first\n"
        process.stdin.close()
        assert process.stdout.readline().startswith(b"cost: ")


def test_a_log_that_is_slow_gets_all_of_it(far: Far) -> None:
    """The last lines are the ones that say why."""
    code = "for n in range(20_000): print('line', n)\nprint('the last')"
    with started(code, far) as process:
        assert process.stdout
        time.sleep(3)  # as long as nothing is taken
        lines = process.stdout.read().splitlines()
    assert lines[19_999:20_001] == [b"line 19999", b"the last"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_the_commands(far: Far, number: signal.Signals) -> None:
    """It may take its time, and ends as it likes: ECS's 120 seconds are all its own."""
    code = (
        "import os, signal, sys, time\n"  # a print in a handler may come into another's middle
        f"signal.signal({int(number)}, lambda *_: (os.write(1, b'told\\n'), time.sleep(1), "
        "sys.exit(5)))\n"
        "os.write(1, b'ready\\n')\n"
        "time.sleep(60)"
    )
    with started(code, far) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        assert process.stdout.readline() == b"told\n"
        assert process.stdout.readline().startswith(b"cost: ")
        assert process.wait(30) == 5


def test_what_it_leaves_behind_keeps_nobody_waiting(far: Far) -> None:
    code = (
        "import subprocess, sys\n"
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid)"
    )
    process = started(code, far)
    assert process.stdout
    left = int(process.stdout.readline())
    try:
        assert process.wait(30) == 0, "before the minute that the other takes"
    finally:
        os.kill(left, signal.SIGKILL)
        process.stdout.close()


# --- what goes wrong -----------------------------------------------------------------------------

TOLD = "warning: what this run has cost could not be told: "


@pytest.mark.parametrize("status", [0, 3])
@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (lambda far: {"ECS_CONTAINER_METADATA_URI_V4": ""}, "is not set"),
        (lambda far: {"ECS_CONTAINER_METADATA_URI_V4": f"{far.address}/v5"}, "answered 500"),
        (lambda far: {"ECS_CONTAINER_METADATA_URI_V4": "http://127.0.0.1:1/v4"}, "refused"),
        (lambda far: {"ECS_CONTAINER_METADATA_URI_V4": "nonsense"}, ""),
        (lambda far: {"PREFECT_API_URL": "http://127.0.0.1:1/api"}, "refused"),
        (lambda far: {"PREFECT_API_URL": ""}, ""),
        (lambda far: {"PREFECT__FLOW_RUN_ID": ""}, "answered 500"),
    ],
)
def test_it_never_fails_a_run(
    far: Far, wrong: Callable[[Far], dict[str, str]], word: str, status: int
) -> None:
    environment = far.environment() | wrong(far)
    done = run(f"print('it ran'); raise SystemExit({status})", **environment)
    assert done.returncode == status
    assert done.stdout.splitlines()[0] == b"it ran"
    (said,) = done.stderr.decode().splitlines()
    assert said.startswith(TOLD)
    assert word in said
    assert "password" not in said


@pytest.mark.parametrize("path", ["/api/logs/", "/api/artifacts/", f"/api/flow_runs/{ID}"])
def test_the_line_is_written_where_prefect_refuses(path: str) -> None:
    with serving(Far(broken=(path,))) as far:
        done = run("pass", **far.environment())
    assert done.returncode == 0
    assert done.stdout.startswith(b"cost: ")
    assert done.stderr.decode().startswith(TOLD)


def test_prefect_is_busy_for_a_moment() -> None:
    paths = ["/api/logs/", "/api/artifacts/", f"/api/flow_runs/{ID}"]
    with serving(Far(busy=paths)) as far:
        done = run("pass", **far.environment())
        assert done.stderr == b""
        assert far.posted("/api/artifacts/")
        assert far.posted("/api/logs/")


def test_nowhere_to_write(far: Far) -> None:
    done = run("pass", **far.environment() | {"TMPDIR": "/nowhere"})
    assert done.returncode == 0
    assert done.stdout.startswith(b"cost: ")


def test_who_does_not_answer_is_not_waited_for(far: Far) -> None:
    gate = threading.Event()

    class Silent(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            gate.wait(60)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Silent) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        api = f"http://127.0.0.1:{server.server_port}/api"
        with pytest.raises(OSError, match="timed out"):
            Asking(0.2)("GET", api)
        done = run("pass", **far.environment() | {"PREFECT_API_URL": api})
        gate.set()
        server.shutdown()
    assert done.returncode == 0
    assert b"timed out" in done.stderr


def test_no_time_is_left() -> None:
    with pytest.raises(TimeoutError, match="no time left"):
        Asking(0)("GET", "http://127.0.0.1:1/")


def test_it_says_how_it_is_called() -> None:
    for arguments in ([], ["-m"], ["--help"]):
        done = subprocess.run(
            [sys.executable, "-m", "deployments.meter", *arguments],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert "python -m deployments.meter COMMAND" in done.stderr


# --- what is seen --------------------------------------------------------------------------------


def stats(read: str, cpu: float, memory: int) -> dict[str, Any]:
    return {
        "x": {
            "read": read,
            "cpu_stats": {"cpu_usage": {"total_usage": int(cpu * 1e9)}},
            "memory_stats": {"usage": memory, "stats": {}},
        }
    }


def test_seconds_are_those_of_the_stats() -> None:
    """The last is what the kernel has counted since."""
    began = datetime(2026, 11, 27, 6, tzinfo=UTC)
    watch = Watch("http://127.0.0.1:1/task/stats", began)
    watch.see({"x": None})
    watch.see(stats("2026-11-27T06:00:02.000000001Z", 1.0, 100))
    watch.see(stats("2026-11-27T06:00:02.000000001Z", 1.0, 100))  # the same again
    watch.see(stats("2026-11-27T06:00:03Z", 2.0, 300))
    watch.see(stats("2026-11-27T06:00:06Z", 2.0, 200))
    watch.end(2.5, began + timedelta(seconds=7))
    assert watch.load() == ((0.0, 3.0), (0.5, 3.0), (1.0, 1.0))
    assert watch.peak == 300


def surprising(part: str, value: object) -> dict[str, Any]:
    one = stats("2026-11-27T06:00:01Z", 1.0, 100)["x"]
    return {"x": one | {part: value}}


@pytest.mark.parametrize(
    "surprise",
    [
        *(None, [], "no", 5, {"x": 5}, {"x": [1]}),
        surprising("memory_stats", {"usage": 1, "stats": {"inactive_file": None}}),
        surprising("memory_stats", 7),
        surprising("cpu_stats", {"cpu_usage": {"total_usage": "much"}}),
        surprising("read", "yesterday"),
        surprising("read", "2026-11-27T06:00:01"),  # of no time zone
    ],
    ids=repr,
)
def test_stats_of_another_shape_are_not_seen(
    surprise: object, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """And those that come after them are."""
    began = datetime(2026, 11, 27, 6, tzinfo=UTC)
    last = threading.Event()
    answers = [surprise, surprise, stats("2026-11-27T06:00:02Z", 2.0, 300)]

    def answer(method: str, url: str) -> Any:
        if len(answers) == 1:
            last.set()
        return answers.pop(0) if len(answers) > 1 else answers[0]

    monkeypatch.setattr(watched, "EVERY", 0.01)
    monkeypatch.setattr(watched, "Asking", lambda _: answer)
    watch = Watch("http://127.0.0.1:1/task/stats", began)
    assert last.wait(30), "it does not look any more"
    watch.end(2.0, began + timedelta(seconds=2))
    assert (watch.load(), watch.peak) == (((1.0, 2.0),), 300)
    assert capfd.readouterr() == ("", "")


def test_a_run_whose_stats_are_of_another_shape() -> None:
    class Other(Far):
        def answer(self, method: str, path: str, body: Any) -> Any:
            return [] if path == "/v4/x/task/stats" else super().answer(method, path, body)

    with serving(Other()) as far:
        done = run(WORKS, **far.environment())
    assert done.returncode == 0
    assert done.stdout.splitlines()[1].startswith(b"cost: $0.000")
    assert done.stderr == b""


@pytest.mark.parametrize(
    ("change", "startup"),
    [
        ({}, None),
        ({"start_time": None}, None),
        ({"start_time": "2026-11-27T06:00:25Z"}, 25.0),
        ({"start_time": "2026-11-27T05:00:00Z"}, None),  # of an attempt before this task
    ],
)
def test_start_up(change: dict[str, Any], startup: float | None) -> None:
    task = {
        "TaskARN": ARN,
        "Limits": {"CPU": 0.25, "Memory": 512},
        "PullStartedAt": "2026-11-27T06:00:00Z",
    }
    now = datetime(2026, 11, 27, 6, 2, tzinfo=UTC)
    of = metered({}, task, change, Measured(100.0, ()), now)
    assert (of.usage.cpu, of.usage.memory, of.usage.seconds) == (256, 512, 120)
    assert of.usage.startup == startup
    assert of.runs is None


def test_the_work_pool_runs_it() -> None:
    assert COMMAND.startswith("python -m deployments.meter ")
