"""`python -m infra.local`: the production path on this machine, until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import sys
import threading
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from flows.problem import Problem
from infra.local.cloud import Cloud, download, local_cloud
from infra.local.engine import Engine, find_engine
from infra.local.fargate.task import Task
from infra.local.journal import Journal, changes, moment
from infra.local.runs import told
from infra.names import SERVICE

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build" / "local"
SAMPLE = ROOT / "build" / "sample-bill"
_LOOK = 1.0  # seconds between looks at the orchestrator's journal
_PATIENCE = 600  # seconds: a busy machine without an engine makes Prefect's first database
_ATTEMPTS = 5  # ECS tasks that the orchestrator may need to get so far
_LOCK = threading.Lock()


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        _run(options)
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        _say("stopped; nothing of it is left running")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m infra.local",
        description="The production path on this machine: AWS's API with the installation's own "
        "templates deployed into it, the image in a registry, and ECS tasks that run: the "
        "orchestrator, which sleeps when there is nothing to do, and its jobs. Ends with Ctrl-C, "
        "and leaves nothing running.",
    )
    parser.add_argument("--aws-port", type=int, default=4566, help="of AWS's API (%(default)s)")
    parser.add_argument(
        "--always", action="store_true", help="keep Prefect awake: --set orchestrator=always"
    )
    parser.add_argument(
        "--bill",
        type=Path,
        default=SAMPLE,
        help="a folder to put where AWS exports the bill to; by default the sample bill",
    )
    parser.add_argument(
        "--engine",
        choices=("auto", "processes"),
        default="auto",
        help="auto: a Docker engine or podman if there is one; processes: neither",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting instead of infra/settings.toml's; may be repeated",
    )
    return parser


def _run(options: argparse.Namespace) -> None:
    began = time.monotonic()
    shutil.rmtree(FOLDER / "now", ignore_errors=True)
    engine = None if options.engine == "processes" else find_engine(FOLDER / "engine")
    if not options.bill.is_dir():
        raise Problem(
            "there is no such folder of a bill",
            where={"folder": options.bill},
            fix="make the sample bill: make sample",
        )
    context = dict(pair.partition("=")[::2] for pair in options.set)
    if options.always:
        context["orchestrator"] = "always"
    always = context.get("orchestrator") == "always"
    with local_cloud(
        ROOT,
        FOLDER / "now",
        engine=engine,
        bill=options.bill,
        context=context,
        aws_port=options.aws_port,
        orchestrator=True,
        say=_say,
        said=_said,
    ) as cloud:
        environment = FOLDER / "env"
        try:
            with told(lambda: cloud.api, _say, lambda: _fetch(cloud)):
                journal = _first_life(cloud, always)
                _write(environment, _exports(cloud, always))
                ready = _ready(cloud, journal, engine, always, time.monotonic() - began)
                print(ready, flush=True)
                while True:
                    time.sleep(_LOOK)
                    journal = _tell(cloud, journal)
                    _write(environment, _exports(cloud, always))
        finally:
            environment.unlink(missing_ok=True)
            _say("stopping …")


def _first_life(cloud: Cloud, always: bool) -> Journal:
    """Waits until the deployments are there; the journal then."""
    journal: Journal = {}
    began = time.monotonic()
    end = began + _PATIENCE
    while True:
        journal = _tell(cloud, journal)
        api = cloud.awake if always else None
        up = not always or (api is not None and api.answers())
        if up and journal.get("doing") in ("working", "going to sleep", "asleep"):
            return journal
        ended = sum(task.ended.is_set() for task in cloud.lives())
        if ended >= _ATTEMPTS or time.monotonic() > end:
            raise Problem(
                "the orchestrator has not made its deployments",
                where={"seconds": round(time.monotonic() - began), "ECS tasks that ended": ended},
                detail=f"its journal says: {dict(journal)}",
                fix="see what it says above",
            )
        time.sleep(_LOOK)


def _tell(cloud: Cloud, before: Journal) -> Journal:
    """Says what is new in the orchestrator's journal; the journal."""
    now = cloud.journal()
    for line in changes(before, now):
        _say(line)
    if now.get("doing") == "asleep" != before.get("doing"):
        _fetch(cloud)  # of a run whose end nobody was there to tell
    return now


def _ready(
    cloud: Cloud, journal: Journal, engine: Engine | None, always: bool, seconds: float
) -> str:
    runtime = cloud.fargate.runtime
    deployment = next(iter(cloud.outputs.roles), "FLOW/NAME")
    if always:
        prefect = [f"  Prefect UI   {cloud.api.ui}   password: {cloud.auth}"]
    else:
        prefect = ["  Prefect      sleeps when there is nothing to do, as it does in AWS"]
        if journal.get("wake_up"):
            prefect += [f"               next wake-up: {moment(journal['wake_up'])}"]
    commands = {
        f". {_relative(FOLDER / 'env')}": "make's commands and AWS's own tools come here",
        "make status": "awake because, or asleep since; what comes next",
        f"make trigger DEPLOYMENT={deployment}": "wakes it, runs now, to the end",
        "make logs RUN=NAME": "what a run has written",
        "make ui": "the Prefect UI, also while it sleeps",
        "make wake": "without a reason",
    }
    if engine is not None:
        push = f"git push {cloud.pipeline.repository.url} HEAD:{cloud.pipeline.repository.branch}"
        commands[push] = "the pipeline: built, tested, scanned, live"
        commands["make releases"] = "the images there are, and which of them is live"
    width = max(map(len, commands))
    lines = [
        "",
        f"Ready after {seconds:.0f} s. Ctrl-C ends all of it.",
        "",
        *prefect,
        f"  AWS          {cloud.aws.url}   (account {cloud.names.account}, {cloud.aws.region})",
        f"  data         s3://{cloud.bucket}/   bills/ in, reports/ out",
        f"  ECS tasks    {runtime.name}, image {cloud.image.rpartition('/')[2][:40]}…",
        *(f"               without {lack}" for lack in runtime.lacks),
        f"  logs         here, and in CloudWatch: {cloud.names.log_group('jobs')}, "
        f"{cloud.names.log_group(SERVICE)}",
        "",
        "In another terminal:",
        "",
        *(f"  {command:<{width}}   # {what}" for command, what in commands.items()),
        "",
    ]
    if engine is None:
        lines.insert(2, "There is no container engine: tasks run as processes.")
    return "\n".join(lines)


def _write(file: Path, text: str) -> None:
    """If it is something new. With passwords, of this cloud only."""
    if file.exists() and file.read_text() == text:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    file.chmod(0o600)
    file.write_text(text)


def _exports(cloud: Cloud, always: bool) -> str:
    """Prefect's API only if it stays: at its next wake-up it has another address."""
    path = os.pathsep.join([*map(str, cloud.pipeline.tools()), "$PATH"])
    found = cloud.environment()
    if not always:
        found = {k: v for k, v in found.items() if not k.startswith("PREFECT_")}
    values = [f"export {k}={shlex.quote(v)}" for k, v in found.items()]
    home = cloud.folder / "you"  # not the user's own Prefect profile
    return "\n".join(
        [*values, f"export PREFECT_HOME={shlex.quote(str(home))}", f'export PATH="{path}"', ""]
    )


def _fetch(cloud: Cloud) -> None:
    """Reports where a browser can open them."""
    for file in download(cloud.aws, cloud.bucket, "reports/", FOLDER / "reports"):
        if file.suffix == ".html":
            _say(f"report: {_relative(file)}")


def _relative(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _say(text: str) -> None:
    with _LOCK:
        print(f"{datetime.now():%H:%M:%S}  {text}", flush=True)  # noqa: DTZ005 - for who watches


def _said(task: Task, line: str) -> None:
    _say(f"{task.id[:8]} | {line}")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
