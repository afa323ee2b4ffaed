"""What the built image is asked before it goes live."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows import smoke

ROOT = Path(__file__).parents[2]


def test_it_is_well_without_aws(tmp_path: Path) -> None:
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "PREFECT_API"))
    }
    done = subprocess.run(
        [sys.executable, "-m", "flows.smoke"],
        cwd=ROOT,
        env=environment | {"PREFECT_HOME": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "bill_report: fine" in done.stdout


def test_what_a_check_raises_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_well(folder: Path) -> None:
        assert folder.is_dir()
        raise AssertionError("not well")

    monkeypatch.setattr(smoke, "CHECKS", (not_well,))
    with pytest.raises(AssertionError, match="not well"):
        smoke.main()


def test_a_file_that_is_not_as_the_pointer_says_is_seen(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/report.html").write_bytes(b"whole")
    of = hashlib.sha256(b"whole").hexdigest()
    (tmp_path / "latest.json").write_text(json.dumps({"files": {"a/report.html": {"sha256": of}}}))
    assert smoke.published(tmp_path) == {"report.html": b"whole"}
    (tmp_path / "a/report.html").write_bytes(b"who")
    with pytest.raises(AssertionError, match=r"report\.html"):
        smoke.published(tmp_path)
