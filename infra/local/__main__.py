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
from infra.local.runs import told

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build" / "local"
SAMPLE = ROOT / "build" / "sample-bill"
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
        "templates deployed into it, the image in a registry, Prefect's server and worker, and "
        "ECS tasks that run. Ends with Ctrl-C, and leaves nothing running.",
    )
    parser.add_argument(
        "--port", type=int, default=4200, help="of the Prefect server (%(default)s)"
    )
    parser.add_argument("--aws-port", type=int, default=4566, help="of AWS's API (%(default)s)")
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
    with local_cloud(
        ROOT,
        FOLDER / "now",
        engine=engine,
        bill=options.bill,
        context=context,
        aws_port=options.aws_port,
        prefect_port=options.port,
        say=_say,
        said=_said,
    ) as cloud:
        environment = FOLDER / "env"
        environment.write_text(_exports(cloud))
        environment.chmod(0o600)  # with passwords, of this cloud only
        print(_ready(cloud, engine, time.monotonic() - began), flush=True)
        try:
            with told(cloud.api, _say, lambda: _fetch(cloud)):
                while True:
                    time.sleep(1)
                    cloud.server.program.check()
                    cloud.worker.program.check()
        finally:
            environment.unlink()
            _say("stopping …")


def _ready(cloud: Cloud, engine: Engine | None, seconds: float) -> str:
    runtime = cloud.fargate.runtime
    lines = [
        "",
        f"Ready after {seconds:.0f} s. Ctrl-C ends all of it.",
        "",
        f"  Prefect UI   {cloud.api.ui}   password: {cloud.api.auth}",
        f"  AWS          {cloud.aws.url}   (account {cloud.names.account}, {cloud.aws.region})",
        f"  data         s3://{cloud.bucket}/   bills/ in, reports/ out",
        f"  ECS tasks    {runtime.name}, image {cloud.image.rpartition('/')[2][:40]}…",
        *(f"               without {lack}" for lack in runtime.lacks),
        f"  logs         {_relative(cloud.folder / 'logs')}",
        "",
        "In another terminal:",
        "",
        f"  . {_relative(FOLDER / 'env')}   # Prefect's and AWS's own tools come here",
        *(f"  prefect deployment run {name}   # now" for name in cloud.outputs.roles),
        "",
    ]
    if engine is None:
        lines.insert(2, "There is no container engine: tasks run as processes.")
    return "\n".join(lines)


def _exports(cloud: Cloud) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}$PATH"
    values = [f"export {k}={shlex.quote(v)}" for k, v in cloud.environment().items()]
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
