"""A copy of this project with what the tests add to it, as its users would."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]

BY_HAND = """\

  - name: by-hand
    entrypoint: flows/cost_report/flow.py:cost_report
    schedules: []
    parameters:
      source: s3://{{ $NIGHTSHIFT_DATA_BUCKET }}/bills/
      destination: s3://{{ $NIGHTSHIFT_DATA_BUCKET }}/by-hand/
    work_pool:
      name: fargate
      job_variables:
        cpu: 1024
        memory: 2048
"""

EVERY_MINUTE = """\

  - name: every-minute
    entrypoint: flows/cost_report/flow.py:cost_report
    schedules:
      - slug: every-minute
        cron: "* * * * *"
        timezone: UTC
    parameters:
      source: s3://{{ $NIGHTSHIFT_DATA_BUCKET }}/bills/
      destination: s3://{{ $NIGHTSHIFT_DATA_BUCKET }}/every-minute/
    work_pool:
      name: fargate
      job_variables:
        cpu: 1024
        memory: 2048
"""


def copied(to: Path) -> Path:
    """What is under version control, or would be: what a clone has."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    return to


def commit(project: Path) -> None:
    """All of it, as the first commit of a repository."""
    who = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.com")
    for arguments in (("init", "--quiet"), ("add", "--all"), (*who, "commit", "-qm", "First")):
        subprocess.run(["git", *arguments], cwd=project, check=True)


def follow_the_readme(project: Path) -> str:
    """What the README says about a flow of one's own, done; the name of its deployment."""
    text = (project / "README.md").read_text()
    section = text.partition("## Add a flow of your own")[2].partition("\n## ")[0]
    (flow,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    (entry,) = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    (file,) = set(re.findall(r"entrypoint: (\S+):", entry))
    (project / file).write_text(flow)
    declare(project, "\n" + entry)
    (name,) = re.findall(r"- name: (\S+)", entry)
    (function,) = re.findall(r"entrypoint: \S+:(\S+)", entry)
    return f"{function.replace('_', '-')}/{name}"


def declare(project: Path, entry: str) -> None:
    """Add an entry to prefect.yaml."""
    file = project / "prefect.yaml"
    file.write_text(file.read_text() + entry)


def withdraw(project: Path, entry: str) -> None:
    """Take one out again."""
    file = project / "prefect.yaml"
    text = file.read_text()
    assert entry in text
    file.write_text(text.replace(entry, ""))
