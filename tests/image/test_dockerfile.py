"""What the Dockerfile says, and whether there is every package for the machine it is for."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.needs import need

DOCKERFILE = Path("Dockerfile").read_text()
LAST_STAGE = DOCKERFILE.rpartition("\nFROM ")[2]


def test_uv_is_the_makefiles() -> None:
    (ours,) = re.findall(r"^ARG UV=(\S+)$", DOCKERFILE, re.M)
    (makes,) = re.findall(r"^UV := (\S+)$", Path("Makefile").read_text(), re.M)
    assert ours == makes


def test_there_is_one_base_and_it_names_its_release() -> None:
    (base,) = re.findall(r"^ARG BASE=(\S+)$", DOCKERFILE, re.M)
    assert re.fullmatch(r"[a-z0-9.]+/[a-z/]+/python:3\.13-slim-trixie", base)
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.M)) == {"${BASE}"}


def test_packages_are_the_locks_and_are_never_built() -> None:
    (install,) = re.findall(r"pip install (?:[^\n]*\\\n)*[^\n]*run\.txt", DOCKERFILE)
    assert "--require-hashes" in install
    assert "--only-binary :all:" in install


def test_nothing_runs_in_the_stage_that_becomes_the_image() -> None:
    """Else what a build mounts (authorities, settings) would leave its places there."""
    assert not re.findall(r"^(?:RUN|ADD)\b", LAST_STAGE, re.M)


def test_it_runs_as_nobody_in_particular_and_declares_what_it_writes_to() -> None:
    assert re.findall(r"^USER ([1-9]\d*:[1-9]\d*)$", LAST_STAGE, re.M)
    assert re.findall(r"^VOLUME (.*)$", LAST_STAGE, re.M) == ["/tmp"]


def install(platform: str, folder: Path) -> subprocess.CompletedProcess[str]:
    options = f"--python-version 3.13 --python-platform {platform} --target {folder}".split()
    options += ["--only-binary", ":all:", "--require-hashes", "--no-deps", "--quiet"]
    return subprocess.run(
        [".venv/bin/uv", "pip", "install", *options, "--requirement", "requirements/run.txt"],
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_package_is_there_for_arm64(tmp_path: Path) -> None:
    """The lock's own files, by hash, as the pipeline installs them; and what it takes out of them
    has these names there too.
    """
    need(Path(".venv/bin/uv").exists(), "needs .venv, as `make` sets it up")
    done = install("aarch64-manylinux_2_40", tmp_path)  # the newest that uv knows; trixie has 2.41
    assert done.returncode == 0, done.stderr
    library = next((tmp_path / "pyarrow").glob("lib.*.so")).read_bytes()
    assert int.from_bytes(library[18:20], "little") == 183  # ELF's number for it
    (removed,) = re.findall(r"^ +rm (pyarrow/.*); \\$", DOCKERFILE, re.M)
    for pattern in removed.split():
        assert list(tmp_path.glob(pattern)), pattern
    shutil.rmtree(tmp_path)  # half a gigabyte, of which pytest would keep three


def test_a_package_that_is_not_there_would_be_noticed(tmp_path: Path) -> None:
    need(Path(".venv/bin/uv").exists(), "needs .venv, as `make` sets it up")
    done = install("riscv64-unknown-linux", tmp_path)
    assert done.returncode
    assert "no usable wheels" in done.stderr


@pytest.mark.parametrize("name", ["UV", "BASE", "REVISION", "SOURCE"])
def test_a_build_needs_no_argument(name: str) -> None:
    assert re.findall(rf"^ARG {name}=\S+$", DOCKERFILE, re.M)
