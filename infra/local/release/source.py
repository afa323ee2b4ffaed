"""The source repository: bare, real git, in a folder. Who pushes to it starts the pipeline."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from flows.problem import Problem

_LOOK = 0.1  # seconds between looks at what was pushed
_NOTHING = "0" * 40
_UPDATES = "updates"  # in the repository: a line for each reference that a push has changed

# One write for all that one push has changed, at the end: two pushes at once lose nothing.
_HOOK = f"""#!/bin/sh
cat >>"$GIT_DIR/{_UPDATES}"
"""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Update:
    """Of one reference, by one push."""

    before: str  # commit; '' if there was no such reference
    after: str  # commit; '' if there is none now
    reference: str  # 'refs/heads/main'

    @property
    def event(self) -> str:
        if not self.before:
            return "referenceCreated"
        return "referenceUpdated" if self.after else "referenceDeleted"

    @property
    def kind(self) -> str:
        return "tag" if self.reference.startswith("refs/tags/") else "branch"

    @property
    def name(self) -> str:
        return self.reference.split("/", 2)[-1]

    def detail(self, repository: str, repository_id: str) -> dict[str, str]:
        """As CodeCommit's event has it:
        https://docs.aws.amazon.com/codecommit/latest/userguide/monitoring-events.html
        """
        commits = {"commitId": self.after, "oldCommitId": self.before}
        return {
            "event": self.event,
            "repositoryName": repository,
            "repositoryId": repository_id,
            "referenceType": self.kind,
            "referenceName": self.name,
            "referenceFullName": self.reference,
            **{name: commit for name, commit in commits.items() if commit},
        }


def update(line: str) -> Update:
    """A line that git hands to post-receive: https://git-scm.com/docs/githooks#post-receive"""
    before, after, reference = line.split(" ", 2)
    return Update(before.replace(_NOTHING, ""), after.replace(_NOTHING, ""), reference)


@dataclass(frozen=True)
class Repository:
    """`url` is what AWS's users call it: codecommit::REGION://NAME, or a provider's owner/name."""

    path: Path
    url: str
    branch: str

    def head(self, branch: str = "") -> str:
        """The branch's newest commit. Raises Problem if there is no such branch."""
        name = f"refs/heads/{branch or self.branch}"
        found = git(self.path, "rev-parse", "--verify", "--quiet", name, check=False)
        if not found:
            raise Problem(
                "there is no such branch in the source repository",
                where={"repository": self.url},
                value=branch or self.branch,
                fix=f"push it: git push {self.url} HEAD:{branch or self.branch}",
            )
        return found

    def archive(self, commit: str, file: Path) -> None:
        """The commit's files, zipped."""
        git(self.path, "archive", "--format=zip", f"--output={file}", commit)

    def subject(self, commit: str) -> str:
        return git(self.path, "log", "-1", "--format=%s", commit)

    def leads_here(self) -> dict[str, str]:
        """Variables with which git comes here for the repository's own URL."""
        return {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.{self.path}.insteadOf",
            "GIT_CONFIG_VALUE_0": self.url,
        }


def repository(path: Path, url: str, branch: str, project: Path) -> Repository:
    """A new one, with the commit that is checked out in the project if that is a git repository."""
    path.mkdir(parents=True)
    git(path, "init", "--quiet", "--bare", f"--initial-branch={branch}")
    git(path, "config", "receive.shallowUpdate", "true")  # from a clone that is not complete
    git(path, "config", "gc.auto", "0")
    if is_repository(project):
        git(project, "push", "--quiet", str(path), f"HEAD:refs/heads/{branch}")
    hook = path / "hooks" / "post-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(_HOOK)
    hook.chmod(0o755)
    (path / _UPDATES).touch()
    return Repository(path, url, branch)


def commit(
    repository: Repository, clone: Path, files: Mapping[str, str | None], message: str
) -> str:
    """A commit on the branch that changes these files (None: removes them), made in a clone and
    pushed to the repository's own URL; its id.
    """
    leads = repository.leads_here()
    if not clone.exists():
        clone.parent.mkdir(parents=True, exist_ok=True)
        git(clone.parent, "clone", "--quiet", repository.url, str(clone), more=leads)
    else:
        git(clone, "pull", "--quiet", "--ff-only", "origin", repository.branch, more=leads)
    for name, text in files.items():
        if text is None:
            (clone / name).unlink()
            continue
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_text(text)
    git(clone, "add", "--all")
    who = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.com")
    git(clone, *who, "commit", "--quiet", "--allow-empty", "--message", message)
    git(clone, "push", "--quiet", repository.url, f"HEAD:{repository.branch}", more=leads)
    return git(clone, "rev-parse", "HEAD")


def is_repository(project: Path) -> bool:
    """With a commit, and not merely inside of one."""
    top = git(project, "rev-parse", "--show-toplevel", check=False)
    if not top or Path(top).resolve() != project.resolve():
        return False
    return bool(git(project, "rev-parse", "--verify", "--quiet", "HEAD", check=False))


class Watch:
    """Tells of each update, in order, each once."""

    def __init__(self, of: Repository, tell: Callable[[Update], None], say: Say) -> None:
        self._file = of.path / _UPDATES
        self._tell = tell
        self._say = say
        self._read = 0  # bytes
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="source", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_LOOK):
            for each in self.news():
                try:
                    self._tell(each)
                except Exception as error:  # of this push: the next is still to be told
                    self._say(f"a push was not told: {type(error).__name__}: {error}")

    def news(self) -> list[Update]:
        """What has come since the last look. A line that is not whole yet is left."""
        with self._file.open("rb") as file:
            file.seek(self._read)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._read += len(whole) + len(newline)
        return [update(line) for line in whole.decode().splitlines()]


def environment() -> dict[str, str]:
    """This process's, without what git would take for the repository in hand, and nothing of the
    user's configuration but who they are.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}


def git(
    folder: Path, *arguments: str, check: bool = True, more: Mapping[str, str] | None = None
) -> str:
    """What it prints. Raises Problem if it fails, or gives '' unless `check`."""
    done = subprocess.run(  # noqa: S603
        ["git", *arguments],  # noqa: S607
        cwd=folder,
        env={**environment(), **(more or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and check:
        raise Problem(
            f"git {arguments[0]} has failed",
            where={"folder": folder},
            detail=done.stderr.strip()[-1000:],
            fix="see what git says",
        )
    return "" if done.returncode else done.stdout.strip()
