"""`buildspec.yml`, run on this machine as CodeBuild runs it: its commands are written down once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from flows.problem import Problem

BUILDSPEC = Path("buildspec.yml")
PHASES = ("install", "pre_build", "build", "post_build")  # in CodeBuild's order

_PATIENCE = 10.0  # seconds that what runs has to end itself after an interrupt


@dataclass(frozen=True)
class Command:
    phase: str
    text: str


@dataclass(frozen=True)
class Failed:
    """What has ended a build."""

    phase: str
    command: str  # as the buildspec has it
    status: int  # 128 and the signal's number if one has killed it


def run(file: Path, environment: Mapping[str, str], say: Callable[[str], None]) -> Failed | None:
    """The commands in order, in one bash in the file's folder, with this environment and no other;
    `say` gets each line. The first command that fails ends it.

    In one shell, because variables last from one command to the next:
    https://docs.aws.amazon.com/codebuild/latest/userguide/build-spec-ref.html#build-spec-ref-versions

    Raises Problem if there is something in the file that this does not know.
    """
    commands = read(file)
    bash = shutil.which("bash", path=environment.get("PATH")) or shutil.which("bash")
    if bash is None:
        raise Problem("the program bash is not on PATH", fix="install it")
    with tempfile.TemporaryDirectory(prefix="nightshift-build-") as temporary:
        folder = Path(temporary)
        for number, command in enumerate(commands):
            (folder / str(number)).write_text(command.text + "\n")
            (folder / f"{number}.said").write_text(f"[{command.phase}] {_line(command.text)}\n")
        (folder / "script").write_text(_script(folder, len(commands)))
        status = _bash([bash, str(folder / "script")], file.parent, environment, say)
        reached = int((folder / "reached").read_text() or 0)
    if reached == len(commands):
        return None
    return Failed(commands[reached].phase, commands[reached].text, status)


def read(file: Path) -> list[Command]:
    """Raises Problem if CodeBuild would do something that is not known here."""
    try:
        spec = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise Problem(
            "the buildspec cannot be read", where={"file": file}, detail=str(error), fix="mend it"
        ) from error
    spec = _table(file, "the file", spec, "version", "env", "phases")
    _only(file, "version", str(spec.get("version")), "0.2")
    _only(file, "env.shell", _table(file, "env", spec.get("env"), "shell").get("shell"), "bash")
    phases = _table(file, "phases", spec.get("phases"), *PHASES)
    commands: list[Command] = []
    for phase in (name for name in PHASES if name in phases):
        at = f"phases.{phase}"
        known = ["commands", "on-failure", *(["runtime-versions"] if phase == "install" else [])]
        does = _table(file, at, phases[phase], *known)
        # CodeBuild would go on to post_build after a build that has failed:
        # https://docs.aws.amazon.com/codebuild/latest/userguide/view-build-details-phases.html
        if "on-failure" in does or (phase == "build" and "post_build" in phases):
            _only(file, f"{at}.on-failure", does.get("on-failure"), "ABORT")
        for text in does.get("commands") or ():
            if not isinstance(text, str):
                raise _unknown(file, f"{at}.commands", text, "each command is text")
            commands.append(Command(phase, text.strip()))
    if not commands:
        raise _unknown(file, "phases", list(phases), "there is no command in it")
    return commands


def _table(file: Path, at: str, value: Any, *known: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _unknown(file, at, value, "not a mapping")
    for key in value:
        if key not in known:
            raise _unknown(file, at, key, f"known are {', '.join(known)}")
    return value


def _only(file: Path, at: str, value: object, wanted: str) -> None:
    if value != wanted:
        raise _unknown(file, at, value, f"only {wanted} is known")


def _unknown(file: Path, at: str, value: object, why: str) -> Problem:
    return Problem(
        "the buildspec has something that only CodeBuild could run",
        where={"file": file, "in": at},
        value=value,
        detail=why,
        fix="write it as a command, or teach deployments/operate/buildspec.py",
    )


def _line(text: str) -> str:
    return " ".join(text.split())


def _script(folder: Path, count: int) -> str:
    """Each command is a file that the one shell reads, so that no quoting comes between; how many
    have gone well is in a file of its own.
    """
    reached = folder / "reached"
    lines = [f"printf 0 >'{reached}'"]
    for number in range(count):
        lines += [
            f"cat '{folder / str(number)}.said'",
            f". '{folder / str(number)}' </dev/null",
            "case $? in 0) ;; *) exit ;; esac",  # with that status
            f"printf {number + 1} >'{reached}'",
        ]
    return "\n".join([*lines, ""])


def _bash(
    command: list[str], folder: Path, environment: Mapping[str, str], say: Callable[[str], None]
) -> int:
    with subprocess.Popen(  # noqa: S603 - the project's own buildspec
        command,
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # a group of its own, to end as a whole
    ) as building:
        # What a command has left running would keep the output open.
        ended = threading.Thread(target=_leave_nothing, args=[building], daemon=True)
        ended.start()
        try:
            for line in building.stdout or ():
                say(line.rstrip("\n"))
        except BaseException:
            _kill(building, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                building.wait(_PATIENCE)
            _kill(building, signal.SIGKILL)
            raise
        ended.join()
    status = building.returncode
    return status if status >= 0 else 128 - status


def _leave_nothing(building: subprocess.Popen[str]) -> None:
    building.wait()
    _kill(building, signal.SIGKILL)


def _kill(building: subprocess.Popen[str], number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(building.pid, number)
