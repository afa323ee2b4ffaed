"""Somewhere to put bills and find reports: a folder or an S3 prefix, seen without our own code."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


class Place(Protocol):
    """Files below a location, by names with '/'."""

    @property
    def location(self) -> str:
        """What the command line is given."""

    def put(self, name: str, content: bytes | str) -> None: ...

    def get(self, name: str) -> bytes: ...

    def remove(self, name: str) -> None: ...

    def names(self) -> list[str]:
        """Every file below, hidden ones included, sorted."""
        ...

    def below(self, name: str) -> Place: ...


@dataclass(frozen=True)
class Folder:
    path: Path

    @property
    def location(self) -> str:
        return str(self.path)

    def put(self, name: str, content: bytes | str) -> None:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_bytes(content))

    def get(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def remove(self, name: str) -> None:
        (self.path / name).unlink()

    def names(self) -> list[str]:
        files = (f for f in self.path.rglob("*") if f.is_file())
        return sorted(f.relative_to(self.path).as_posix() for f in files)

    def below(self, name: str) -> Folder:
        return Folder(self.path / name)


@dataclass(frozen=True)
class Bucket:
    client: Any
    bucket: str
    prefix: str = ""

    @property
    def location(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def put(self, name: str, content: bytes | str) -> None:
        self.client.put_object(Bucket=self.bucket, Key=self.prefix + name, Body=_bytes(content))

    def get(self, name: str) -> bytes:
        found = self.client.get_object(Bucket=self.bucket, Key=self.prefix + name)
        content: bytes = found["Body"].read()
        return content

    def remove(self, name: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=self.prefix + name)

    def names(self) -> list[str]:
        pages = self.client.get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=self.bucket, Prefix=self.prefix)
        keys = (entry["Key"] for page in found for entry in page.get("Contents", ()))
        return sorted(key.removeprefix(self.prefix) for key in keys)

    def below(self, name: str) -> Bucket:
        return Bucket(self.client, self.bucket, f"{self.prefix}{name}/")


def _bytes(content: bytes | str) -> bytes:
    return content.encode() if isinstance(content, str) else content


# --- what was published --------------------------------------------------------------------------


def pointer_name(period: str) -> str:
    return f"billing_period={period}/latest.json"


def pointer(place: Place, period: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(place.get(pointer_name(period)))
    return found


def published(place: Place, period: str) -> dict[str, bytes]:
    """The report's files as a reader who follows the pointer gets them: whole, or this fails."""
    shown = pointer(place, period)
    files = {}
    for name, is_ in shown["files"].items():
        content = place.get(f"billing_period={period}/{name}")
        assert len(content) == is_["bytes"], name
        assert hashlib.sha256(content).hexdigest() == is_["sha256"], name
        files[name.rpartition("/")[2]] = content
    assert shown["report"] in shown["files"]
    return files


def summary(place: Place, period: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(published(place, period)["summary.json"])
    return found


def everything(place: Place) -> dict[str, bytes]:
    """Every byte that is there."""
    return {name: place.get(name) for name in place.names()}
