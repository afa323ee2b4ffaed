"""Files in a folder or below an S3 prefix, through one small set of verbs.

A location is a local path or `s3://bucket/prefix`. Local files go through `pathlib`, S3 through
boto3, which finds region, credentials (an ECS task's role included) and endpoint
(`AWS_ENDPOINT_URL`) the way every AWS tool does.

`write` is all or nothing: a reader sees the old bytes or the new ones. S3 promises that for PUT;
locally the bytes go to a temporary file that is renamed. Failures a person can mend become a
`Problem`; others (throttling, a lost connection) are raised as they come, for the task's retries.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol

from flows.problem import Problem


@dataclass(frozen=True)
class Stored:
    """One file as a listing shows it. `version` changes whenever the content may have."""

    name: str  # below the location, with '/'; empty where the location itself is the file
    size: int
    version: str
    modified: float  # seconds since 1970


class Storage(Protocol):
    """What a flow does with files. Names are relative to the location, with '/'."""

    @property
    def location(self) -> str:
        """Where the files are, as it was given."""

    def files(self, prefix: str = "") -> list[Stored]:
        """Every file whose name starts with `prefix`, sorted by name."""
        ...

    def read(self, name: str) -> bytes | None:
        """The whole file, or None where there is none."""
        ...

    def open(self, name: str) -> io.BufferedReader:
        """The file's bytes as a seekable stream; its `raw` reads just what is asked for."""
        ...

    def copy(self, name: str) -> AbstractContextManager[Path]:
        """The whole file on the local disk, for as long as the context lasts."""
        ...

    def write(self, name: str, content: bytes) -> None: ...

    def delete(self, name: str) -> None:
        """Remove the file; no error where there is none."""
        ...

    def address(self, name: str = "") -> str:
        """The file as people and other tools name it."""
        ...


def storage(location: str) -> Storage:
    """The storage at a local path, `file://` or `s3://` address."""
    if location.startswith("s3://"):
        bucket, _, prefix = location.removeprefix("s3://").partition("/")
        return S3(location.rstrip("/"), bucket, prefix.strip("/"))
    if "://" in location and not location.startswith("file://"):
        raise Problem(
            f"cannot read or write {location.partition('://')[0]}:// addresses",
            value=location,
            fix="name a local path or s3://bucket/prefix",
        )
    return Local(location.removeprefix("file://"))


def may_pass(error: BaseException) -> bool:
    """Whether an error is the network's or S3's, and may not come again."""
    return isinstance(error, ConnectionError | TimeoutError) or type(error).__module__.startswith(
        ("botocore.", "urllib3.")
    )


# --- local folders -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Local:
    location: str

    def files(self, prefix: str = "") -> list[Stored]:
        root = Path(self.location)
        found = [root] if root.is_file() else [p for p in root.rglob("*") if p.is_file()]
        files: list[Stored] = []
        for path in found:
            name = "" if path == root else path.relative_to(root).as_posix()
            if name.startswith(prefix) and not path.name.startswith("."):
                stat = path.stat()
                version = f"{stat.st_size}-{stat.st_mtime_ns}"
                files.append(Stored(name, stat.st_size, version, stat.st_mtime))
        return sorted(files, key=lambda file: file.name)

    def read(self, name: str) -> bytes | None:
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._problem(error, name, "read") from error

    def open(self, name: str) -> io.BufferedReader:
        try:
            return self._path(name).open("rb")
        except OSError as error:
            raise self._problem(error, name, "read") from error

    @contextlib.contextmanager
    def copy(self, name: str) -> Iterator[Path]:
        self.open(name).close()  # says what is wrong, if it cannot be read
        yield self._path(name)

    def write(self, name: str, content: bytes) -> None:
        path = self._path(name)
        temporary = ""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
                temporary = file.name
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(
                0o644
            )  # NamedTemporaryFile makes files that only their owner reads
            Path(temporary).replace(path)
        except BaseException as error:
            if temporary:
                Path(temporary).unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise self._problem(error, name, "write") from error
            raise

    def delete(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)

    def address(self, name: str = "") -> str:
        return str(self._path(name).absolute())

    def _path(self, name: str) -> Path:
        return Path(self.location, name)

    def _problem(self, error: OSError, name: str, verb: str) -> Problem:
        fixes = {
            errno.ENOSPC: "free some room on the disk, or name another folder",
            errno.EDQUOT: "free some of your disk quota, or name another folder",
            errno.ENOTDIR: "name a folder: a file stands in the way",
            errno.EEXIST: "name a folder: a file stands in the way",
            errno.ENOENT: "check the path; the file may have been removed meanwhile",
        }
        return Problem(
            f"cannot {verb} {self.address(name)}",
            where={"file": self.address(name)},
            detail=error.strerror or str(error),
            fix=fixes.get(error.errno or 0, f"name a place where you may {verb}"),
        )


# --- S3 ------------------------------------------------------------------------------------------


@cache
def _client() -> Any:
    import boto3  # late: it costs a quarter of a second that local runs need not pay
    from botocore.config import Config

    client = boto3.client("s3", config=Config(retries={"mode": "standard", "max_attempts": 5}))
    if folder := os.environ.get(_REQUESTS):  # somebody wants to know what they cost
        client.meta.events.register("before-send.s3", partial(_count, Path(folder)))
    return client


_REQUESTS = "NIGHTSHIFT_REQUESTS"  # a folder where each request leaves a byte, in PUT or GET


def _count(folder: Path, event_name: str, **_: Any) -> None:
    """Each try counts, as S3 counts it; never fails. https://aws.amazon.com/s3/pricing/: PUT, COPY,
    POST and LIST have one price, DELETE has none, all others have GET's.
    """
    operation = event_name.rpartition(".")[2]
    if operation.startswith(("Delete", "Abort")):
        return
    dear = ("Put", "Copy", "Post", "List", "Create", "Upload", "Complete")
    kind = "PUT" if operation.startswith(dear) else "GET"
    with contextlib.suppress(OSError), (folder / kind).open("ab") as file:
        file.write(b".")


@dataclass(frozen=True)
class S3:
    location: str
    bucket: str
    prefix: str

    def files(self, prefix: str = "") -> list[Stored]:
        with self._problems("list", prefix):
            pages = _client().get_paginator("list_objects_v2")
            found = [
                self._stored(entry)
                for page in pages.paginate(Bucket=self.bucket, Prefix=self._below(prefix))
                for entry in page.get("Contents", ())
                if not entry["Key"].endswith("/")  # a folder's marker
            ]
        if not found and not prefix and self.prefix:
            found = self._itself()
        return sorted(found, key=lambda file: file.name)

    def _itself(self) -> list[Stored]:
        """The one object that the location names, if it does. Asked for by name: a role that may
        list what is below `bill/` may not list what else starts with `bill`.
        """
        from botocore.exceptions import ClientError

        try:
            entry = _client().head_object(Bucket=self.bucket, Key=self.prefix)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("403", "404"):
                return []
            raise
        return [self._stored({**entry, "Key": self.prefix, "Size": entry["ContentLength"]})]

    def _absent(self, name: str) -> bool:
        """Whether a refusal means that there is no such object: S3 says 404 only to those who may
        list the whole bucket, and a job may list its own prefix
        (https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html).
        """
        from botocore.exceptions import ClientError

        key = self._key(name)
        try:
            page = _client().list_objects_v2(Bucket=self.bucket, Prefix=key, MaxKeys=1)
        except ClientError:
            return False
        return all(entry["Key"] != key for entry in page.get("Contents", ()))

    def _stored(self, entry: dict[str, Any]) -> Stored:
        name = entry["Key"].removeprefix(self.prefix).lstrip("/")
        version = f"{entry['Size']}-{entry['ETag']}".replace('"', "")
        return Stored(name, entry["Size"], version, entry["LastModified"].timestamp())

    def read(self, name: str) -> bytes | None:
        from botocore.exceptions import ClientError

        with self._problems("read", name):
            try:
                body = _client().get_object(Bucket=self.bucket, Key=self._key(name))["Body"]
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code in ("NoSuchKey", "404") or (code in _DENIED and self._absent(name)):
                    return None
                raise
            content: bytes = body.read()
            return content

    def open(self, name: str) -> io.BufferedReader:
        with self._problems("read", name):
            size = _client().head_object(Bucket=self.bucket, Key=self._key(name))["ContentLength"]
        return io.BufferedReader(_Ranges(self, name, size), buffer_size=_RANGE)

    @contextlib.contextmanager
    def copy(self, name: str) -> Iterator[Path]:
        # Many ranged reads of half a bill take longer than one download of all of it, and boto3
        # takes up a download where it broke off.
        with tempfile.NamedTemporaryFile(prefix="nightshift-") as file:
            try:
                with self._problems("read", name):
                    _client().download_fileobj(self.bucket, self._key(name), file)
                file.flush()
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                raise Problem(
                    f"no room on the disk for a copy of {self.address(name)}",
                    where={"folder": tempfile.gettempdir()},
                    detail=error.strerror or "",
                    fix="free some room there, or name another folder in TMPDIR",
                ) from error
            yield Path(file.name)

    def write(self, name: str, content: bytes) -> None:
        with self._problems("write", name):
            _client().put_object(Bucket=self.bucket, Key=self._key(name), Body=content)

    def delete(self, name: str) -> None:
        with self._problems("delete", name):
            _client().delete_object(Bucket=self.bucket, Key=self._key(name))

    def address(self, name: str = "") -> str:
        return f"s3://{self.bucket}/{self._key(name)}"

    def _key(self, name: str) -> str:
        return self._below(name) if name else self.prefix

    def _below(self, name: str) -> str:
        return f"{self.prefix}/{name}" if self.prefix else name

    @contextlib.contextmanager
    def _problems(self, verb: str, name: str) -> Iterator[None]:
        from botocore.exceptions import (
            ClientError,
            NoCredentialsError,
            NoRegionError,
            ParamValidationError,
        )

        try:
            yield
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in _DENIED and verb == "read" and self._absent(name):
                code = "NoSuchKey"
            if code not in (*_FIXES, *_DENIED):
                raise
            raise Problem(
                f"cannot {verb} {self.address(name)}",
                where={"file": self.address(name)},
                detail=f"S3 answered {code}",
                fix=self._ask_for(verb, name) if code in _DENIED else _FIXES[code],
            ) from error
        except (NoCredentialsError, NoRegionError, ParamValidationError) as error:
            raise Problem(
                f"cannot {verb} {self.address(name)}",
                detail=str(error),
                fix="log in to AWS first (aws sso login, or AWS_PROFILE), and check the address",
            ) from error

    def _ask_for(self, verb: str, name: str) -> str:
        on = f"arn:aws:s3:::{self.bucket}"
        target = on if verb == "list" else f"{on}/{self._key(name)}"
        return (
            "name it as the deployment's Source or Destination, from which its role is made; or "
            f'ask for an entry in infra/access.toml: actions = ["{_ACTIONS[verb]}"], '
            f'resources = ["{target}"]'
        )


_DENIED = ("AccessDenied", "403")
_ACTIONS = {
    "list": "s3:ListBucket",
    "read": "s3:GetObject",
    "write": "s3:PutObject",
    "delete": "s3:DeleteObject",
}
_FIXES = {
    "NoSuchBucket": "check the bucket's name",
    "NoSuchKey": "check the path; the file may have been removed meanwhile",
    "404": "check the path; the file may have been removed meanwhile",
    "InvalidAccessKeyId": "log in to AWS again: these credentials are not known",
    "ExpiredToken": "log in to AWS again: these credentials have expired",
}

_RANGE = 4 << 20  # bytes a request when a file is read from end to end


class _Ranges(io.RawIOBase):
    """An S3 object as a seekable stream: each read is one ranged GET."""

    def __init__(self, s3: S3, name: str, size: int) -> None:
        self._s3, self._name, self._size, self._at = s3, name, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        end = min(self._at + len(buffer), self._size)
        if end <= self._at:
            return 0
        s3 = self._s3
        with s3._problems("read", self._name):
            body = _client().get_object(
                Bucket=s3.bucket, Key=s3._key(self._name), Range=f"bytes={self._at}-{end - 1}"
            )["Body"]
            content = body.read()
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)
