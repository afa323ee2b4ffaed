"""What flows ask of S3 is counted, if somebody wants to know."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from deployments.meter.requests import REQUESTS, counted
from flows import storage
from flows.storage import storage as at


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="bucket")
        storage._client.cache_clear()
        yield "s3://bucket/here"
        storage._client.cache_clear()


def test_each_request_counts(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REQUESTS, str(tmp_path))
    files = at(bucket)
    assert counted(str(tmp_path)) == (0, 0)
    files.write("a", b"1")
    assert counted(str(tmp_path)) == (1, 0)
    assert files.read("a") == b"1"
    assert counted(str(tmp_path)) == (1, 1)
    assert [file.name for file in files.files()] == ["a"]
    assert counted(str(tmp_path)) == (2, 1), "to list costs as much as to write"
    with files.open("a") as stream:
        assert stream.read() == b"1"
    assert counted(str(tmp_path)) == (2, 3), "HEAD and GET"
    files.delete("a")
    assert counted(str(tmp_path)) == (2, 3), "to delete is free"


def test_nobody_wants_to_know(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(REQUESTS, raising=False)
    at(bucket).write("a", b"1")
    assert counted("") == (0, 0)


def test_where_it_cannot_be_written(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REQUESTS, "/nowhere")
    at(bucket).write("a", b"1")
    assert at(bucket).read("a") == b"1"
    assert counted("/nowhere") == (0, 0)
