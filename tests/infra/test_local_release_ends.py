"""What needs a release path of its own: another source, and the end."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

from infra.local import installation
from infra.local.aws import local_aws
from infra.local.iam.record import Entry
from infra.local.release import source
from infra.local.release.direct import Direct, Pushed
from infra.local.release.path import _detect, release_path
from infra.local.release.source import Update, git
from tests.infra.release_place import (
    CODECOMMIT,
    CONNECTION,
    NAME,
    action,
    buildspec,
    count,
    nap,
    place_of,
    until,
    without,
)


def test_a_connections_source_asks_for_the_right_to_use_it(tmp_path: Path) -> None:
    wanted = {
        "ConnectionArn": CONNECTION,
        "FullRepositoryId": "owner/name",
        "BranchName": "main",
        "DetectChanges": "true",
    }
    of_connection = {
        **action("Source", "CodeStarSourceConnection", wanted),
        "outputArtifacts": [{"name": "source"}],
    }
    with ExitStack() as stack:
        place = place_of(stack, tmp_path, of_connection)
        execution = place.run("true")
        assert execution.status == "Succeeded"
        record = place.aws.record
        assert record is not None
        use = "codeconnections:UseConnection"
        made = [entry for entry in record.entries("codepipeline") if entry.action == use]
        assert made == [Entry("codepipeline", use, CONNECTION, True, made[0].why)]
        # A push starts it, if it is to that branch of that repository.
        before = len(place.pipelines.executions(NAME))
        for reference, repository in (
            ("refs/heads/other", "owner/name"),
            ("refs/tags/main", "owner/name"),
            ("refs/heads/main", "owner/another"),
            ("refs/heads/main", "owner/name"),
        ):
            _detect(place.pipelines, Update("", execution.commit, reference), repository)
        (started,) = place.pipelines.executions(NAME)[before:]
        assert started.trigger == ("WebhookV2", CONNECTION)
        assert started.over.wait(30)
        with without(place.aws, "codepipeline", use):
            refused = place.start()
            assert refused.over.wait(30)
        assert refused.failed is not None
        assert refused.failed.code == "PermissionError"
        assert use in refused.failed.summary


# --- the cloud's end -----------------------------------------------------------------------------


def test_the_end_of_the_cloud_ends_a_build(tmp_path: Path) -> None:
    mark = nap()
    with ExitStack() as stack:
        place = place_of(stack, tmp_path, CODECOMMIT)
        place.push(buildspec(mark))
        execution = place.start()
        until(lambda: count(mark) == 1)
    assert count(mark) == 0
    assert execution.over.is_set()


def test_without_an_engine_a_push_changes_nothing_and_says_so(tmp_path: Path) -> None:
    said: list[str] = []
    with local_aws() as aws:
        settings = installation.settings()
        names = installation.names(settings)
        line = Direct(aws, names, lambda _: Pushed("", ""), "")
        folder = tmp_path / "cloud"
        given = (settings, tmp_path, folder, None, said.append)
        with release_path(aws, line, *given) as path:
            url = "codecommit::us-east-1://nightshift-local"
            assert path.repository.url == url
            project = tmp_path / "project"
            project.mkdir()
            git(project, "init", "--quiet")
            (project / "file").write_text("one\n")
            git(project, "add", "--all")
            who = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.com")
            git(project, *who, "commit", "--quiet", "--message", "First")
            git(project, "push", "--quiet", url, "HEAD:main", more=path.repository.leads_here())
            second = source.commit(path.repository, tmp_path / "clone", {"file": "two\n"}, "Second")
            until(lambda: len(said) == 4)
            assert path.repository.head() == second
            assert path.executions() == []
            assert path.tools()[0] == Path(sys.executable).parent
    nothing = "there is no container engine: nothing is built, and what is live stays"
    assert said[1::2] == [nothing, nothing]
    assert said[2] == f"push: main {second[:12]}"
