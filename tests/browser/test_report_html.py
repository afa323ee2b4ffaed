"""report.html in a real browser: nothing leaves it, only its own script runs, people can use it."""

from __future__ import annotations

import functools
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.cost_report.report import render
from tests.browser.chromium import Page, browser, installed
from tests.unit import report_fixture as shapes

SERVICES = "#c1-share1"

# What injected markup would try: run a handler, load an image, send something away.
ATTACK = """
(() => {
  const ways = [
    (d) => (d.innerHTML = '<img src=x onerror="window.ran = 1">'),
    (d) => d.setAttribute("onclick", "window.ran = 1"),
    (d) => d.append(document.createElement("script")),
  ];
  for (const way of ways) {
    const d = document.createElement("div");
    document.body.append(d);
    try { way(d) } catch {}
    d.click();
  }
  new Image().src = "/beacon.png";
  return fetch("/beacon").catch(() => 0).then(() => 0);
})()
"""

# Copying is over when it was announced.
COPIED = """
new Promise((done) => {
  const wait = () => (document.getElementById("said").textContent ? done() : setTimeout(wait, 20));
  wait();
})
"""


class Site(http.server.ThreadingHTTPServer):
    """Serves a folder and remembers what was asked for."""

    daemon_threads = True
    asked: list[str]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        if isinstance(self.server, Site):
            self.server.asked.append(self.path)


@pytest.fixture(scope="module")
def devtools() -> Iterator[str]:
    if not installed():
        reason = "no Chromium is installed (apt-get install chromium)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with browser() as address:
        yield address


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    for name, shape in shapes.SHAPES.items():
        (folder / f"{name}.html").write_text(render(shape()), encoding="utf-8")
    server = Site(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    server.asked = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def page(devtools: str) -> Iterator[Page]:
    opened = Page(devtools)
    opened.look()
    yield opened
    opened.close()


def url(site: Site, shape: str) -> str:
    return f"http://127.0.0.1:{site.server_port}/{shape}.html"


def troubles(page: Page) -> list[dict[str, Any]]:
    """Dialogs, errors, console messages, violations of the policy."""
    return page.seen(
        "Page.javascriptDialogOpening",
        "Runtime.exceptionThrown",
        "Runtime.consoleAPICalled",
        "Log.entryAdded",
    )


@pytest.mark.parametrize("shape", shapes.SHAPES)
def test_nothing_leaves_the_page_and_nothing_goes_wrong(page: Page, site: Site, shape: str) -> None:
    site.asked.clear()
    page.open(url(site, shape))
    page.ask("new Promise(done => setTimeout(done, 300))")  # an icon would be asked for by now
    asked = [r["request"]["url"] for r in page.seen("Network.requestWillBeSent")]
    assert [a for a in asked if a != "data:,"] == [url(site, shape)]
    assert site.asked == [f"/{shape}.html"]
    assert troubles(page) == []
    assert page.ask("document.images.length") == 0


def test_markup_in_the_bill_is_seen_as_text(page: Page, site: Site) -> None:
    page.open(url(site, "hostile"))
    assert page.ask("document.scripts.length") == 1
    assert page.ask(f"document.body.innerText.includes({shapes.HOSTILE!r})")
    assert (
        page.ask(
            "document.querySelectorAll('svg script, svg img, svg foreignObject, [onerror]').length"
        )
        == 0
    )
    assert page.ask(
        "[...document.querySelectorAll('svg title')].some(t => t.textContent.includes('<script>'))"
    )


def test_the_policy_stops_what_is_not_ours(page: Page, site: Site) -> None:
    page.open(url(site, "typical"))
    page.ask(ATTACK)
    assert page.ask("window.ran === undefined")
    assert not [path for path in site.asked if "beacon" in path]
    assert len(troubles(page)) >= 2  # the browser said so


@pytest.mark.parametrize("shape", shapes.SHAPES)
def test_the_page_never_scrolls_sideways(page: Page, site: Site, shape: str) -> None:
    page.open(url(site, shape))
    for width in (320, 390, 768, 1024, 1280):
        page.look(width)
        assert page.ask("document.documentElement.scrollWidth") <= width


def names(page: Page) -> list[str]:
    return list(
        page.ask(
            f"[...document.querySelectorAll('{SERVICES} tbody th')].map(h => h.innerText.trim())"
        )
    )


def test_tables_sort_by_mouse_and_by_keyboard(page: Page, site: Site) -> None:
    page.open(url(site, "typical"))
    unsorted = names(page)
    heads = f"{SERVICES} thead th"
    page.click(f"{heads}:nth-of-type(1) .sort")
    assert names(page) == sorted(unsorted, key=str.lower)
    assert page.ask(f"document.querySelector('{heads}').getAttribute('aria-sort')") == "ascending"
    page.ask(f"document.querySelectorAll('{heads} .sort')[1].focus()")
    page.key("Enter", 13, "\r")
    assert names(page)[:3] == unsorted[:3]  # dearest first, as published
    page.key(" ", 32, " ")
    assert names(page)[0] == "Amazon Simple Notification Service"
    sorts = page.ask(
        f"[...document.querySelectorAll('{heads}')].map(h => h.getAttribute('aria-sort'))"
    )
    assert [s for s in sorts if s] == ["ascending"]
    assert "ascending" in page.ask("document.getElementById('said').textContent")
    assert page.ask("document.activeElement.getAttribute('role')") == "button"
    assert troubles(page) == []


def test_sums_stay_at_the_bottom(page: Page, site: Site) -> None:
    page.open(url(site, "typical"))
    page.click("#c1-kinds thead .sort")
    last = page.ask("document.querySelector('#c1-kinds tbody tr:last-child').innerText")
    assert last.startswith("All charges")


def copied(page: Page, table: str) -> list[list[str]]:
    page.ask("navigator.clipboard.writeText('')")
    page.click(f"{table} .copy")
    page.ask(COPIED)
    text = page.ask("navigator.clipboard.readText()")
    return [line.split("\t") for line in text.split("\n")]


def allow_clipboard(page: Page, site: Site) -> None:
    page.call(
        "Browser.grantPermissions",
        permissions=["clipboardReadWrite", "clipboardSanitizedWrite"],
        origin=f"http://127.0.0.1:{site.server_port}",
        browserContextId=page.context,
    )


def test_tables_copy_with_every_digit_and_every_row(page: Page, site: Site) -> None:
    allow_clipboard(page, site)
    page.open(url(site, "typical"))
    rows = copied(page, SERVICES)
    assert rows[0] == ["Service", "Effective, USD", "Share", "Billed, USD"]
    services = [s for s in shapes.typical().analysis.shares if s.dimension == "ServiceName"]
    assert len(rows) == len(services) + 1
    assert rows[1][1] == f"{services[0].effective_cost.normalize():f}"
    assert rows[1][2] == "0.31"


def test_copied_cells_are_no_formulas(page: Page, site: Site) -> None:
    allow_clipboard(page, site)
    page.open(url(site, "hostile"))
    cells = [row[0] for row in copied(page, SERVICES)]
    assert '"\'=HYPERLINK(""http://example.invalid"",""x"") @SUM(A1)"' in cells
    assert "'-2+3 +cmd|' /C calc'!A0" in cells
    assert not [cell for cell in cells if cell[:1] in "=+-@"]


def test_without_scripts_everything_is_there(page: Page, site: Site) -> None:
    page.scripts(False)
    page.open(url(site, "crowded"))
    assert page.ask("document.querySelectorAll('.copy, .sort').length") == 0
    shown = (
        f"[...document.querySelectorAll('{SERVICES} tbody tr')].filter(r => r.offsetHeight).length"
    )
    assert page.ask(shown) == 12
    page.click(f"{SERVICES} .fold input")
    assert page.ask(shown) == 300
    page.click("#checked > details summary")
    assert page.ask("document.querySelector('#checked > details').open")


def test_light_and_dark(page: Page, site: Site) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    page.open(url(site, "typical"))
    light = page.ask(ground)
    page.look(dark=True)
    assert page.ask(ground) != light
    fill = page.ask("getComputedStyle(document.querySelector('svg.wide .s1')).fill")
    assert fill == "rgb(122, 162, 247)"


def test_charts_are_named_and_drawn_for_the_screen_at_hand(page: Page, site: Site) -> None:
    page.look(390)
    page.open(url(site, "typical"))
    shown = "[...document.querySelectorAll('svg.chart')].filter(s => s.getClientRects().length)"
    assert page.ask(f"{shown}.map(s => s.classList[1])") == ["slim", "slim"]
    page.look(1280)
    assert page.ask(f"{shown}.map(s => s.classList[1])") == ["wide", "wide"]
    tree = page.call("Accessibility.getFullAXTree")["nodes"]
    roles = [
        (n["role"]["value"], n.get("name", {}).get("value", "")) for n in tree if not n["ignored"]
    ]
    charts = [name for role, name in roles if role in ("image", "img", "graphics-document")]
    assert "Effective cost per day, November 2026" in charts
    assert {"banner", "navigation", "main", "contentinfo"} <= {role for role, _ in roles}
    assert all(
        name for role, name in roles if role in ("button", "link", "checkbox", "region", "table")
    )


def test_it_prints(page: Page, site: Site, tmp_path: Path) -> None:
    page.look(media="")
    page.open(url(site, "typical"))
    page.pdf(tmp_path / "report.pdf")
    content = (tmp_path / "report.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert 3 <= content.count(b"/Type /Page\n") <= 9
