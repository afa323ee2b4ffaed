"""A buildspec, run here as CodeBuild would run it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments.operate.buildspec import Failed, read, run
from flows.problem import Problem

PATH = "/usr/bin:/bin"


def written(folder: Path, *commands: str, **phases: Any) -> Path:
    build = {"build": {"on-failure": "ABORT", "commands": list(commands)}} if commands else {}
    spec = {"version": 0.2, "env": {"shell": "bash"}, "phases": {**phases, **build}}
    file = folder / "buildspec.yml"
    file.write_text(yaml.safe_dump(spec, sort_keys=False))
    return file


def test_variables_last_from_command_to_command_and_from_phase_to_phase(tmp_path: Path) -> None:
    said: list[str] = []
    file = written(
        tmp_path,
        'echo "$HERE, $(bash -c \'echo "$EXPORTED"\'), $GIVEN, ${SHORT:0:3}"',
        "pwd",
        pre_build={"commands": ["HERE='a b'", "export EXPORTED=c", "cd .", "SHORT=abcdef"]},
    )
    assert run(file, {"PATH": PATH, "GIVEN": "d"}, said.append) is None
    assert said[-3:] == ["a b, c, d, abc", "[build] pwd", str(tmp_path)]


def test_it_has_the_environment_that_it_is_given_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTSIDE", "seen")
    said: list[str] = []
    assert run(written(tmp_path, "env"), {"PATH": PATH}, said.append) is None
    names = {line.partition("=")[0] for line in said if "=" in line}
    assert "PATH" in names
    assert "OUTSIDE" not in names


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("(exit 7)", 7),
        ("exit 7", 7),
        ("exit 0", 0),  # the rest is not done: it cannot be well
        ("A=$(exit 7)", 7),
        ("false || (exit 7)", 7),
        ("set -e\n(exit 7)\ntrue", 7),
        ("kill -KILL $$", 128 + signal.SIGKILL),
        ("no-such-program", 127),
    ],
)
def test_the_first_that_fails_ends_it_and_is_named(
    tmp_path: Path, command: str, status: int
) -> None:
    file = written(tmp_path, "true", command, "touch after", post_build={"commands": ["touch b"]})
    assert run(file, {"PATH": PATH}, lambda _: None) == Failed("build", command, status)
    assert {each.name for each in tmp_path.iterdir()} == {"buildspec.yml"}


def test_errors_are_said_in_their_place_and_nothing_waits_for_input(tmp_path: Path) -> None:
    said: list[str] = []
    file = written(tmp_path, "echo one; echo two >&2; cat; printf three")
    assert run(file, {"PATH": PATH}, said.append) is None
    assert said[1:] == ["one", "two", "three"]


def test_what_a_command_leaves_running_ends_with_the_build(tmp_path: Path) -> None:
    file = written(tmp_path, "sleep 600 & echo $! > pid")
    assert run(file, {"PATH": PATH}, lambda _: None) is None
    assert gone(int((tmp_path / "pid").read_text()))


def test_interrupted_it_leaves_nothing_running(tmp_path: Path) -> None:
    file = written(tmp_path, "bash -c 'echo $$ > pid; sleep 600; true'")
    program = f"""
        import signal
        from pathlib import Path
        from deployments.operate.buildspec import run

        def interrupt(*_):
            raise KeyboardInterrupt

        signal.signal(signal.SIGTERM, interrupt)
        run(Path({str(file)!r}), {{"PATH": {PATH!r}}}, print)
        """
    running = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)])
    pid = tmp_path / "pid"
    until = time.monotonic() + 60
    while not (pid.exists() and pid.read_text().strip()) and time.monotonic() < until:
        time.sleep(0.05)
    running.send_signal(signal.SIGTERM)
    assert running.wait(60) != 0
    assert gone(int(pid.read_text()))


def gone(pid: int) -> bool:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True  # nobody has waited for it yet
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.05)
    return False


# --- what only CodeBuild could run ---------------------------------------------------------------

GOOD: dict[str, Any] = {
    "version": 0.2,
    "env": {"shell": "bash"},
    "phases": {
        "install": {"runtime-versions": {"python": "3.13"}},
        "build": {"commands": ["true"]},
    },
}


def test_runtimes_are_codebuilds_own_affair(tmp_path: Path) -> None:
    file = tmp_path / "buildspec.yml"
    file.write_text(yaml.safe_dump(GOOD))
    assert [command.text for command in read(file)] == ["true"]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"version": 0.1}, "version"),
        ({"artifacts": {"files": ["a"]}}, "the file"),
        ({"env": {"shell": "sh"}}, "env.shell"),
        ({"env": {"shell": "bash", "variables": {"A": "b"}}}, "env"),
        ({"phases": {"test": {"commands": ["true"]}}}, "phases"),
        ({"phases": {"build": {"commands": ["true"], "finally": ["true"]}}}, "phases.build"),
        ({"phases": {"build": {"commands": [{"a": "b"}]}}}, "phases.build.commands"),
        ({"phases": {"build": {"commands": []}}}, "phases"),
        (
            {"phases": {"build": {"commands": ["true"], "on-failure": "CONTINUE"}}},
            "phases.build.on-failure",
        ),
        (
            {"phases": {"build": {"commands": ["true"]}, "post_build": {"commands": ["true"]}}},
            "phases.build.on-failure",
        ),
    ],
)
def test_what_it_does_not_know_it_does_not_run(
    tmp_path: Path, change: dict[str, Any], place: str
) -> None:
    file = tmp_path / "buildspec.yml"
    file.write_text(yaml.safe_dump(GOOD | change))
    with pytest.raises(Problem) as raised:
        run(file, {"PATH": PATH}, lambda _: None)
    assert raised.value.where["in"] == place


@pytest.mark.parametrize("text", [None, "a: [", "- a"])
def test_what_is_no_buildspec(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "buildspec.yml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(Problem, match="buildspec"):
        read(file)
