"""The same verbs over a local folder and S3; both are held to the same tests."""

from __future__ import annotations

import contextlib
import errno
import io
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from flows.problem import Problem
from flows.storage import Local, Storage, storage

if TYPE_CHECKING:
    from tests.e2e.places import Bucket

Put = Callable[[str, bytes], None]


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Storage, str]:
    """A storage below a prefix, empty, and the address of what it lies in."""
    if request.param == "local":
        return storage(str(tmp_path / "below")), str(tmp_path)
    bucket: Bucket = request.getfixturevalue("bucket")
    return storage(f"s3://{bucket.bucket}/below"), f"s3://{bucket.bucket}"


# --- both ----------------------------------------------------------------------------------------


def test_what_is_written_is_read_and_listed(place: tuple[Storage, str]) -> None:
    store, _ = place
    assert store.files() == []
    store.write("a/b.json", b"one")
    store.write("a/b.json", b"three")
    store.write("c.json", b"")
    assert store.read("a/b.json") == b"three"
    assert store.read("c.json") == b""
    assert [(file.name, file.size) for file in store.files()] == [("a/b.json", 5), ("c.json", 0)]
    assert [file.name for file in store.files("a/")] == ["a/b.json"]
    assert [file.name for file in store.files("c.")] == ["c.json"]


def test_what_is_not_there_is_none_and_may_be_deleted(place: tuple[Storage, str]) -> None:
    store, _ = place
    assert store.read("nothing.json") is None
    store.delete("nothing.json")
    with pytest.raises(Problem, match="cannot read") as caught:
        store.open("nothing.json")
    assert "nothing.json" in str(caught.value.where["file"])
    store.write("a.json", b"x")
    store.delete("a.json")
    assert store.read("a.json") is None


def test_files_are_sorted_by_name_as_text(place: tuple[Storage, str]) -> None:
    store, _ = place
    for name in ("a/b", "a-b", "a/a/z", "B", "ä"):
        store.write(name, b"")
    assert [file.name for file in store.files()] == ["B", "a-b", "a/a/z", "a/b", "ä"]


def test_neighbours_with_the_same_beginning_are_not_below(place: tuple[Storage, str]) -> None:
    store, around = place
    storage(around).write("below-not/x", b"")
    store.write("x", b"")
    assert [file.name for file in store.files()] == ["x"]


def test_a_version_changes_with_the_content(place: tuple[Storage, str]) -> None:
    store, _ = place
    store.write("x", b"one")
    before = store.files()
    assert store.files() == before
    store.write("x", b"two")
    assert store.files()[0].version != before[0].version


def test_a_stream_seeks_as_a_file_does(place: tuple[Storage, str]) -> None:
    store, _ = place
    content = bytes(range(256)) * 500
    store.write("x.bin", content)
    plain = io.BytesIO(content)
    with store.open("x.bin") as stream:
        for offset, whence, size in [
            (0, 0, 10),
            (-8, 2, 8),
            (-8, 2, 100),
            (100_000, 0, 5),
            (-5, 1, 30_000),
            (0, 2, 1),
            (5_000_000, 0, 1),
            (7, 0, -1),
        ]:
            assert stream.seek(offset, whence) == plain.seek(offset, whence)
            assert stream.read(size) == plain.read(size)
            assert stream.tell() == plain.tell()
    with store.open("x.bin") as stream:
        stream.raw.seek(100, io.SEEK_SET)
        assert stream.raw.read(3) == content[100:103]


def test_a_copy_lies_on_this_disk_for_as_long_as_it_is_needed(place: tuple[Storage, str]) -> None:
    store, _ = place
    store.write("a/x.bin", b"content")
    with store.copy("a/x.bin") as path:
        assert path.read_bytes() == b"content"
    assert path.exists() == isinstance(store, Local), "a local file is its own copy"
    with pytest.raises(ZeroDivisionError), store.copy("a/x.bin") as path:
        raise ZeroDivisionError
    assert path.exists() == isinstance(store, Local)
    assert store.read("a/x.bin") == b"content"
    with pytest.raises(Problem, match="cannot read"), store.copy("nothing.bin"):
        pytest.fail("there is nothing to copy")


def test_an_empty_file_is_an_empty_stream(place: tuple[Storage, str]) -> None:
    store, _ = place
    store.write("empty", b"")
    with store.open("empty") as stream:
        assert stream.read() == b""


def test_a_location_may_be_one_file(place: tuple[Storage, str]) -> None:
    store, _ = place
    store.write("bill.csv", b"content")
    address = store.address("bill.csv")
    one = storage(address)
    (file,) = one.files()
    assert (file.size, one.address(file.name)) == (7, address)
    assert one.read(file.name) == b"content"
    with one.open(file.name) as stream:
        assert stream.read() == b"content"


def test_a_file_as_destination_is_never_overwritten(place: tuple[Storage, str]) -> None:
    store, _ = place
    store.write("bill.csv", b"mine")
    wrong = storage(store.address("bill.csv"))
    for name in ("billing_period=2026-11/latest.json", "bill.csv"):
        with contextlib.suppress(Problem):  # S3 has no folders: there it works
            wrong.write(name, b"report")
    assert store.read("bill.csv") == b"mine"


def test_addresses_are_those_of_other_tools(place: tuple[Storage, str]) -> None:
    store, around = place
    assert store.address() == f"{around}/below"
    assert store.address("a/b.json") == f"{around}/below/a/b.json"


# --- local folders -------------------------------------------------------------------------------


def test_an_address_is_local_s3_or_refused() -> None:
    assert isinstance(storage("bills"), Local)
    assert storage("file:///bills").address("x") == "/bills/x"
    assert storage("s3://bucket").address("x") == "s3://bucket/x"
    assert storage("s3://bucket/a/b/").address("x") == "s3://bucket/a/b/x"
    with pytest.raises(Problem, match="gs://"):
        storage("gs://bucket/prefix")


def test_hidden_files_are_not_part_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / ".DS_Store").write_bytes(b"x")
    (tmp_path / "a.csv").write_bytes(b"x")
    assert [file.name for file in Local(str(tmp_path)).files()] == ["a.csv"]


def test_writing_replaces_the_file_at_once_and_leaves_nothing_else(tmp_path: Path) -> None:
    store = Local(str(tmp_path))
    store.write("x.json", b"old")
    with (tmp_path / "x.json").open("rb") as reader:
        store.write("x.json", b"new")
        assert reader.read() == b"old", "whoever is reading goes on reading the old file"
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
    assert stat.S_IMODE((tmp_path / "x.json").stat().st_mode) & 0o444 == 0o444


def test_a_full_disk_is_a_problem_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Local(str(tmp_path))
    store.write("x.json", b"old")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(Problem, match="No space left") as caught:
        store.write("x.json", b"new")
    assert "disk" in caught.value.fix
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
    assert store.read("x.json") == b"old"


def test_being_stopped_while_writing_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    store = Local(str(tmp_path))
    store.write("x.json", b"old")
    monkeypatch.setattr("os.fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        store.write("x.json", b"new")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_a_folder_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(Problem, match="cannot write"):
        Local(str(tmp_path / "file")).write("a/b.json", b"x")
    with pytest.raises(Problem, match="cannot read"):
        Local(str(tmp_path)).open("file/b.json")
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_a_folder_cannot_be_read_as_a_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for verb in (Local.read, Local.open):
        with pytest.raises(Problem, match="cannot read"):
            verb(Local(str(tmp_path)), "folder")


# --- S3 ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("s3_endpoint")
def test_a_bucket_that_is_not_there_is_a_problem() -> None:
    store = storage("s3://there-is-no-such-bucket/prefix")
    for act in (store.files, lambda: store.read("x"), lambda: store.write("x", b"")):
        with pytest.raises(Problem) as caught:
            act()
        assert caught.value.fix == "check the bucket's name"


@pytest.mark.usefixtures("s3_endpoint")
@pytest.mark.parametrize("address", ["s3://", "s3://Not A Bucket/x"])
def test_an_address_that_names_no_bucket_is_a_problem(address: str) -> None:
    with pytest.raises(Problem):
        storage(address).files()


def test_more_objects_than_a_page_and_folder_markers(
    bucket: Bucket, s3_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "3")  # AWS: 1,000
    for name in ("", "0", "1", "2", "3", "4", "5", "6", "7", "folder/"):
        s3_client.put_object(Bucket=bucket.bucket, Key=f"p/{name}", Body=b"")
    names = [file.name for file in storage(f"s3://{bucket.bucket}/p").files()]
    assert names == ["0", "1", "2", "3", "4", "5", "6", "7"]


@pytest.mark.parametrize("code", ["AccessDenied", "ExpiredToken", "InvalidAccessKeyId", "403"])
def test_what_a_person_can_mend_is_a_problem(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Problem, match=f"S3 answered {code}"):
        _answer(code, monkeypatch).read("x")


def test_a_disk_without_room_for_a_copy_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        number = errno.ENOSPC

        def download_fileobj(self, *_: Any) -> None:
            raise OSError(self.number, "No space left on device")

    monkeypatch.setattr("flows.storage._client", Full)
    with pytest.raises(Problem, match="no room") as caught, storage("s3://b/p").copy("x"):
        pytest.fail("there is no copy")
    assert "TMPDIR" in caught.value.fix
    Full.number = errno.ECONNRESET  # that passes by itself: it is left to the retries
    with pytest.raises(ConnectionResetError), storage("s3://b/p").copy("x"):
        pytest.fail("there is no copy")


@pytest.mark.parametrize("code", ["SlowDown", "InternalError", "503"])
def test_what_passes_by_itself_is_left_to_the_retries(
    code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.exceptions import ClientError

    with pytest.raises(ClientError, match=code):
        _answer(code, monkeypatch).read("x")


def _answer(code: str, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """An S3 that answers every request with this error."""
    from botocore.exceptions import ClientError

    class Broken:
        def __getattr__(self, operation: str) -> Any:
            def answer(**_: Any) -> None:
                raise ClientError({"Error": {"Code": code, "Message": "no"}}, operation)

            return answer

    monkeypatch.setattr("flows.storage._client", Broken)
    return storage("s3://bucket/prefix")
