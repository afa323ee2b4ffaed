"""`make ui`: the Prefect UI over a copy of the history, the live server, or this machine's runs."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from deployments.litestream import last_words
from deployments.operate import history
from deployments.operate import installation as aws
from deployments.operate.installation import CONTAINER, Installation, asking
from deployments.operate.status import condition
from deployments.operate.wake import Say
from deployments.operate.words import moment
from flows.problem import Problem

PORT = 4200
_PATIENCE = 180  # seconds until a server answers
_QUIET = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
# This machine's own: nothing that a proxy could reach.
_DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


# --- this machine's own --------------------------------------------------------------------------


def this_machine(port: int | None) -> NoReturn:
    """Becomes the server of the user's own Prefect home, where `make run` and the like write."""
    command = [sys.executable, "-m", "prefect", "server", "start"]
    command += ["--port", str(port)] if port else []
    os.execve(sys.executable, command, {**os.environ, **_QUIET})  # noqa: S606


# --- a copy --------------------------------------------------------------------------------------


def over_a_copy(at: Installation, say: Say, port: int | None = None) -> None:
    """Until Ctrl-C. Nothing can be changed there, and the copy goes away."""
    say(f"restoring the history of {at.stack} …")
    with history.copy(at) as database, serving(database, free_port(port)) as address:
        now = datetime.now(UTC)
        say(f"history of {at.stack} as of {moment(history.as_of(database), now)}")
        say(f"  {address}")
        say("a copy, to be read: nothing that is clicked there has an effect. Ctrl-C ends it")
        if _is_awake(at):
            say("the orchestrator is awake: make ui LIVE=1 shows what it does now")
        while True:
            time.sleep(1)


@contextmanager
def serving(database: Path, port: int) -> Iterator[str]:
    """A Prefect server that only reads; its address, once it answers."""
    bring_up_to_date(database)
    address = f"http://127.0.0.1:{port}"
    log = database.with_name("server.log")
    where = ["--host", "127.0.0.1", "--port", str(port), "--no-services"]
    with log.open("wb") as out:
        server = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "prefect", "server", "start", *where],
            env=_environment(database, reading=True)
            | {"PREFECT_SERVER_UI_API_URL": f"{address}/api"},
            cwd=database.parent,  # a prefect.toml of the folder at hand is not meant
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,  # Ctrl-C is for us, who end it
        )
    try:
        _wait(server, address, log)
        yield address
    finally:
        _end(server)


def _environment(database: Path, *, reading: bool) -> dict[str, str]:
    """No profile, address or password of the user's: this server is nobody else's."""
    own = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    made = own | _QUIET | {"PREFECT_HOME": str(database.parent / "home")}
    if not reading:
        return made | {"PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{database}"}
    return made | {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": (
            f"sqlite+aiosqlite:///file:{database}?mode=ro&uri=true"
        ),
        "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": "false",
        "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    }


def _wait(server: subprocess.Popen[bytes], address: str, log: Path) -> None:
    until = time.monotonic() + _PATIENCE
    while server.poll() is None and time.monotonic() < until:
        with suppress(OSError):  # urllib's errors included
            _DIRECTLY.open(f"{address}/api/health", timeout=5).close()
            return
        time.sleep(0.2)
    raise Problem(
        "the Prefect server does not start",
        where={"address": address},
        detail=last_words(log.read_text(errors="replace")),
        fix="see what it says; another port: make ui PORT=4300",
    )


def _end(server: subprocess.Popen[bytes]) -> None:
    for how, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
        with suppress(ProcessLookupError):
            os.killpg(server.pid, how)
        with suppress(subprocess.TimeoutExpired):
            server.wait(seconds)


def free_port(wanted: int | None) -> int:
    """The port that is wanted, or Prefect's own if it is free, or any. Raises Problem if the one
    that is wanted is taken.
    """
    for port in (wanted,) if wanted else (PORT, 0):
        with socket.socket() as tried, suppress(OSError):
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(("127.0.0.1", port))
            return int(tried.getsockname()[1])
    raise Problem("the port is taken", value=wanted, fix="name another: make ui PORT=4300")


# --- its schema ----------------------------------------------------------------------------------


def bring_up_to_date(database: Path) -> None:
    """Changes the copy, if it is of an earlier Prefect than this one. Raises Problem if it is of a
    later one.
    """
    with history.opened(database) as connection:
        (version,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    known, newest = schemas()
    if version in newest:
        return
    if version not in known:
        raise Problem(
            "the history is of a later Prefect than this one",
            value=version,
            fix="take the project's newest version, and set it up: git pull, and make ui again",
        )
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"],
        env=_environment(database, reading=False),
        cwd=database.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Problem(
            "the copy cannot be brought to this Prefect's schema",
            value=version,
            detail=last_words(done.stderr or done.stdout),
            fix="use the version of the project that is deployed",
        )


def schemas() -> tuple[set[str], set[str]]:
    """The versions of the schema that the installed Prefect knows, and the newest of them. Read
    from the files: to import them takes seconds.
    """
    spec = find_spec("prefect")
    assert spec is not None
    assert spec.origin
    folder = Path(spec.origin).parent / "server/database/_migrations/versions/sqlite"
    known: set[str] = set()
    before: set[str] = set()
    for file in folder.glob("*.py"):
        text = file.read_text()
        known |= set(re.findall(r"^revision\b[^=]*= *[\"'](\w+)", text, re.MULTILINE))
        before |= set(re.findall(r"^down_revision\b[^=]*= *[\"'](\w+)", text, re.MULTILINE))
    return known, known - before


# --- the live one --------------------------------------------------------------------------------


def live(at: Installation, say: Say, port: int | None = None) -> None:
    """Against AWS a tunnel, until Ctrl-C; against the local cloud the address. Raises Problem if
    the orchestrator is not awake.
    """
    task = _running_task(at)
    address = private_address(task)
    if is_local(str(at.client("ecs").meta.endpoint_url)):
        say(f"  http://{address}:{PORT}")
        say(f"password: {_password(at)}")
        return
    tunnel(at, task, address, say, port)


def tunnel(
    at: Installation, task: dict[str, object], address: str, say: Say, port: int | None
) -> None:
    for program, fix in _NEEDED.items():
        if shutil.which(program) is None:
            raise Problem(f"the program {program} is not on PATH", fix=fix)
    if not task.get("enableExecuteCommand"):
        raise Problem(
            "the orchestrator's task has no tunnel",
            where={"task": task.get("taskArn")},
            detail="it was started without ECS Exec",
            fix="deploy the stack of this version (make deploy), and wake it again",
        )
    local = free_port(port)
    say(f"  http://127.0.0.1:{local}")
    say(f"password: {_password(at)}")
    say("Ctrl-C ends the tunnel")
    tunnelled = subprocess.Popen(tunnel_command(task, address, local, _region(at)))  # noqa: S603
    try:
        status = tunnelled.wait()
    except KeyboardInterrupt:  # which it has heard as well
        with suppress(subprocess.TimeoutExpired):
            tunnelled.wait(10)
        return
    finally:
        tunnelled.kill()
    if status:
        raise Problem(
            "the tunnel has ended",
            detail=f"aws ssm start-session: exit status {status}",
            fix="see what it says above; make status says whether the orchestrator is awake",
        )


_NEEDED = {
    "aws": "install the AWS CLI: "
    "https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html",
    "session-manager-plugin": "install it: https://docs.aws.amazon.com/systems-manager/latest/"
    "userguide/session-manager-working-with-install-plugin.html",
}


def tunnel_command(task: dict[str, object], address: str, port: int, region: str) -> list[str]:
    """The server listens on the task's own address and not on its loopback, so that the task is the
    way and the address is the end:
    https://docs.aws.amazon.com/systems-manager/latest/userguide/session-manager-working-with-sessions-start.html
    """
    cluster = str(task["clusterArn"]).rpartition("/")[2]
    id_ = str(task["taskArn"]).rpartition("/")[2]
    containers = task["containers"]
    assert isinstance(containers, list)
    # There may be another's beside it, such as GuardDuty's.
    runtime = next(one["runtimeId"] for one in containers if one["name"] == CONTAINER)
    return [
        *("aws", "ssm", "start-session", "--region", region),
        *("--target", f"ecs:{cluster}_{id_}_{runtime}"),
        *("--document-name", "AWS-StartPortForwardingSessionToRemoteHost"),
        *("--parameters", f"host={address},portNumber={PORT},localPortNumber={port}"),
    ]


def private_address(task: dict[str, object]) -> str:
    """Of the ECS task: the one that its network interface has."""
    attachments = task.get("attachments") or ()
    assert isinstance(attachments, (list, tuple))
    for attachment in attachments:
        for detail in attachment.get("details", ()):
            if detail.get("name") == "privateIPv4Address":
                return str(detail["value"])
    raise Problem(
        "the orchestrator's task has no address yet",
        where={"task": task.get("taskArn")},
        fix="it is still starting; try again in a moment",
    )


def is_local(endpoint: str) -> bool:
    """Whether an endpoint is on this machine."""
    host = urlsplit(endpoint).hostname or ""
    return host == "localhost" or host.startswith("127.") or host == "::1"


def _running_task(at: Installation) -> dict[str, object]:
    if aws.mode(at) == "external":
        raise Problem(
            "this installation has no Prefect server of its own",
            where={"stack": at.stack},
            fix="look at the one that the setting prefect_api_url names",
        )
    journal, service = aws.journal(at), aws.service(at)
    arn = journal.holder if journal else ""
    found = aws.task(at, arn) if arn and arn in service.tasks else None
    if found is None:
        raise Problem(
            "the orchestrator is not awake",
            where={"stack": at.stack},
            detail=f"it is {condition(journal, service)}",
            fix="wake it (make wake), or look at its history: make ui",
        )
    return dict(found)


def _is_awake(at: Installation) -> bool:
    return condition(aws.journal(at), aws.service(at)) == "working"


def _region(at: Installation) -> str:
    return str(at.client("ecs").meta.region_name)


def _password(at: Installation) -> str:
    """'name:password', as the UI's one field takes it."""
    with asking("read the password of the Prefect API"):
        found = at.client("ssm").get_parameter(Name=at.output("ApiSecret"), WithDecryption=True)
    return str(found["Parameter"]["Value"])
