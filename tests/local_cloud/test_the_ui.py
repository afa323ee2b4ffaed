"""The Prefect UI, as someone sees it who looks at what ran."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.cloud import Cloud
from tests.browser import chromium
from tests.local_cloud.runs import Run, start, until
from tests.needs import need

PICTURE = "NIGHTSHIFT_PICTURE"  # a variable: where to put a picture of the run


@pytest.fixture
def page(cloud: Cloud) -> Iterator[chromium.Page]:
    """A browser that has given the password."""
    need(chromium.installed(), "no Chromium")
    with chromium.browser() as address:
        opened = chromium.Page(address)
        opened.look(1280, 800)
        opened.open(f"{cloud.api.ui}/v2/login")
        shows(opened, "Login")
        opened.ask("document.querySelector('input').focus()")
        opened.call("Input.insertText", text=cloud.api.auth)
        opened.key("Enter", 13, "\r")
        shows(opened, "Dashboard")
        yield opened
        opened.close()


def shows(page: chromium.Page, *texts: str) -> None:
    def look() -> bool:
        seen = str(page.ask("document.body.innerText"))
        return all(text in seen for text in texts)

    until(look, 30, lambda: str(page.ask("document.body.innerText")))


def test_the_run_its_artifacts_and_the_report_link(cloud: Cloud, page: chromium.Page) -> None:
    run = start(cloud, "cost-report/daily", {"destination": f"s3://{cloud.bucket}/reports/ui/"})
    assert run.wait() == "COMPLETED"
    _see_the_run(cloud, page, run)
    _see_the_report_link(cloud, page, run)


def _see_the_run(cloud: Cloud, page: chromium.Page, run: Run) -> None:
    page.open(f"{cloud.api.ui}/v2/runs/flow-run/{run.id}?tab=Artifacts")
    shows(page, run.now["name"], "Completed", "fargate", "10 Task runs")
    shows(page, "cost-report-summary", "cost-report-top-services", "cost-report-link")
    if place := os.environ.get(PICTURE):
        page.open(f"{cloud.api.ui}/v2/runs/flow-run/{run.id}?tab=Logs")
        shows(page, "Beginning flow run")
        page.ask("new Promise(done => setTimeout(done, 2000))")  # the graph draws itself
        page.picture(Path(place))


def _see_the_report_link(cloud: Cloud, page: chromium.Page, run: Run) -> None:
    link = run.artifacts()["cost-report-link"]
    page.open(f"{cloud.api.ui}/v2/artifacts/artifact/{link['id']}")
    shows(page, "cost-report-link")
    links = "JSON.stringify([...document.querySelectorAll('a')].map(a => a.href))"
    until(
        lambda: [
            href
            for href in json.loads(str(page.ask(links)))
            if href.startswith(f"https://console.aws.amazon.com/s3/object/{cloud.bucket}?prefix=")
            and href.endswith("/report.html")
        ],
        30,
        lambda: str(page.ask(links)),
    )
