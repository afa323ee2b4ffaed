"""The report and its Markdown: right figures, text as text, the same bytes, any shape of bill."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
import subprocess
import sys
import time
from dataclasses import replace
from datetime import date
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import pytest

from flows.cost_report import report as package
from flows.cost_report.report import fmt, render, view
from flows.cost_report.report.cells import bar, spark, swing
from flows.cost_report.report.charts import Mark, _lanes
from flows.cost_report.report.markdown import markdown_summary, top_services
from flows.cost_report.report.scales import Scale, ticks
from flows.cost_report.report.series import chart_days
from tests.unit import report_fixture as shapes

HERE = Path(package.__file__).parent
TAGS = frozenset(
    re.findall(
        r"\w+",
        """
        html head meta link title style script body header main section nav footer h1 h2 h3 h4 h5
        p a b span div ol ul li dl dt dd code details summary label input figure figcaption
        table thead tbody tr th td svg rect circle path line text desc
        """,
    )
)


class Page(HTMLParser):
    """What a browser would make of it: tags, attributes, text; and that every tag is closed."""

    VOID = frozenset({"meta", "link", "br", "input", "img"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text: dict[str, list[str]] = {}
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data: str) -> None:
        self.text.setdefault(self.open[-1] if self.open else "", []).append(data)

    def words(self) -> str:
        """All text that is not code."""
        return " ".join(
            t for tag, parts in self.text.items() if tag not in ("script", "style") for t in parts
        )


@pytest.mark.parametrize("shape", shapes.SHAPES)
def test_every_shape_is_a_closed_self_contained_page(shape: str) -> None:
    html = render(shapes.SHAPES[shape]())
    page = Page(html)
    assert page.open == []
    html.encode()  # no lone surrogates
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {tag for tag, _ in page.tags} <= TAGS
    for tag, attributes in page.tags:
        assert "style" not in attributes  # the policy would refuse it
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        for name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            if name in attributes:
                assert attributes[name] == "data:," or attributes[name][1:] in ids, (
                    tag,
                    attributes,
                )
        for name in ("aria-labelledby", "aria-describedby"):
            assert set(attributes.get(name, "").split()) <= set(ids)


def test_headings_do_not_skip_a_level() -> None:
    for shape in shapes.SHAPES.values():
        levels = [int(tag[1]) for tag, _ in Page(render(shape())).tags if re.fullmatch(r"h\d", tag)]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_policy_allows_our_style_and_script_and_nothing_else() -> None:
    page = Page(render(shapes.hostile()))
    policy = next(
        a["content"] for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        digest = base64.b64encode(
            hashlib.sha256("".join(page.text[tag]).encode()).digest()
        ).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
        assert len([t for t, _ in page.tags if t == tag]) == 1


def test_text_of_the_bill_stays_text() -> None:
    page = Page(render(shapes.hostile()))
    assert page.words().count(shapes.HOSTILE) > 40
    assert any(a.get("title") == shapes.HOSTILE for _, a in page.tags)
    assert not [t for t, _ in page.tags if t == "img"]
    assert "\x00" not in page.words()


def test_the_same_report_gives_the_same_bytes() -> None:
    first = render(shapes.typical())
    assert first == render(shapes.typical())
    program = """
import hashlib
from flows.cost_report.report import render
from tests.unit.report_fixture import typical
print(hashlib.sha256(render(typical()).encode()).hexdigest())
"""
    other = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=True,
        cwd=HERE.parents[2],
    )
    assert other.stdout.strip() == hashlib.sha256(first.encode()).hexdigest()


def test_small_and_quick() -> None:
    report = shapes.typical()
    render(report)
    started = time.process_time()
    size = len(render(report).encode())
    assert time.process_time() - started < 2  # 0.2 s alone; shared machines are slower
    assert size < 250_000


def test_nothing_heavy_is_imported_before_a_report_is_rendered() -> None:
    program = """
import sys
import flows.cost_report.report
print([name for name in ("jinja2", "drawsvg") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=HERE.parents[2],
    )
    assert done.stdout.strip() == "[]"


def test_chapters_come_in_order_with_their_figures() -> None:
    words = " ".join(Page(render(shapes.typical())).words().split())
    chapters = [
        "What we spent",
        "What changed and why",
        "What is odd",
        "Where the month will end",
        "What is wasted or untagged",
        "Where the money goes",
        "What Nightshift costs",
        "What was checked",
    ]
    places = [words.rindex(chapter) for chapter in chapters]
    assert places == sorted(places)
    report = shapes.typical()
    assert fmt.grouped(report.totals[0].billed_cost) in words
    assert "54 past days".replace(" ", fmt.NBSP).split(fmt.NBSP)[0] in words
    assert report.analysis.forecasts[0].method in words
    assert "$522.70 of commitments was paid for and not used." in words


def test_a_missing_analysis_says_why() -> None:
    words = " ".join(Page(render(shapes.one_day())).words().split())
    for missing in shapes.one_day().analysis.unavailable:
        assert words.count(missing.why) >= 2, missing  # in its chapter and in what was checked
    assert words.count("A forecast needs at least 14 days") == 2  # the headline and the chapter
    assert "this bill has no rows" in Page(render(shapes.zero_rows())).words()


def test_every_row_is_in_the_page_and_the_rest_is_folded() -> None:
    html = render(shapes.crowded())
    assert html.count(">Service ") >= 300
    assert "Show all 300 services" in html
    assert html.count("A row that breaks it") == 240
    assert f"234{fmt.NBSP}more broken rules" in html


def test_charges_outside_the_month_are_in_the_totals_and_said_to_be_missing_from_the_chart() -> (
    None
):
    report = shapes.typical()
    total = replace(
        report.totals[0], effective_cost=report.totals[0].effective_cost + Decimal("12.34")
    )
    currency = view.currency_views(replace(report, totals=(total,)))[0]
    assert currency.undrawn == Decimal("12.34")
    assert "Charges dated outside the month, $12.34 in all" in render(
        replace(report, totals=(total,))
    )


def test_a_period_that_is_no_month_is_drawn_over_the_days_seen() -> None:
    report = replace(shapes.typical(), billing_period="<b>")
    assert chart_days(report)[0] == date(2026, 11, 1)
    assert len(chart_days(report)) == 21
    render(report)


def test_a_bill_without_a_currency_has_a_page() -> None:
    report = shapes.merged(shapes.typical(""), shapes.typical("EUR"))
    words = Page(render(report)).words()
    assert "no currency" in words
    assert "20,590.83" in words


def test_more_groups_than_colours_join_the_rest() -> None:
    report = shapes.typical()
    daily = tuple(
        replace(d, group=f"{d.group} {n}") if d.group != "Other" else d
        for n in range(3)
        for d in report.analysis.daily
    )
    chart = view.currency_views(replace(report, analysis=replace(report.analysis, daily=daily)))[
        0
    ].daily
    assert chart is not None
    assert [s.tone for s in chart.stacks] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert sum(chart.total(i) for i in range(30)) == sum(d.effective_cost for d in daily)


@pytest.mark.parametrize(
    ("code", "largest", "amount", "written"),
    [
        ("USD", "1234567.89", "1234567.885", "$1,234,567.89"),
        ("USD", "1000", "-1234.5", "−$1,234.50"),
        ("USD", "1000", "0", "$0.00"),
        ("USD", "1000", "-0.000001", "> −$0.01"),
        ("USD", "1000", "0.0000008", "< $0.01"),
        ("USD", "0.0000008", "0.0000008", "$0.000000800"),
        ("JPY", "1000", "1234.5", "¥1,235"),
        ("KWD", "1000", "1234.5", "KWD 1,234.500"),
        (
            "EUR",
            "1000",
            "99999999999999999999.999999999999999999",
            "€100,000,000,000,000,000,000.00",
        ),
        ("", "1000", "1", "1.00"),
    ],
)
def test_money(code: str, largest: str, amount: str, written: str) -> None:
    money = fmt.money_for(code, [Decimal(largest)])
    assert money(Decimal(amount)).replace(fmt.NBSP, " ") == written


def test_exact_amounts_lose_nothing() -> None:
    amount = Decimal("-12345678901234567890.123456789012345678")
    assert fmt.exact(amount) == "-12345678901234567890.123456789012345678"
    assert fmt.grouped(amount) == "−12,345,678,901,234,567,890.123456789012345678"
    assert fmt.exact(Decimal("1E+3")) == "1000"
    assert fmt.exact(Decimal("-0.00")) == "0"


def test_dates_and_percentages() -> None:
    assert fmt.day(date(2026, 11, 3)).replace(fmt.NBSP, " ") == "3 Nov 2026"
    assert (
        fmt.span(date(2026, 10, 30), date(2026, 11, 5)).replace(fmt.NBSP, " ")
        == "30 Oct – 5 Nov 2026"
    )
    assert fmt.month("2028-02") == "February 2028"
    assert len(fmt.month_days("2028-02")) == 29
    assert fmt.month_days("2028-13") == fmt.month_days("0000-01") == ()
    assert fmt.percent(-0.1234, signed=True) == "−12.3%"
    assert fmt.percent(23.4, signed=True) == "+2,340%"
    assert fmt.percent(None) == "—"
    assert fmt.percent(0.0) == "0.0%"


def test_axes() -> None:
    assert ticks(0, 1360, 5) == [0.0, 500.0, 1000.0, 1500.0]
    assert ticks(-3, 7, 5) == [-4.0, -2.0, 0.0, 2.0, 4.0, 6.0, 8.0]
    assert ticks(0, 0, 5) == [0.0, 1.0]
    assert Scale(5, 5, 1, 2)(5) == 1
    assert fmt.Money("USD", 2).compact(-1500) == "−$1.5k"
    assert fmt.Money("USD", 2).compact(2e-7) == "$0.0000002"


def test_cells() -> None:
    assert spark([Decimal(1)]) == ""
    assert "polyline" in spark([Decimal(-1), Decimal(2)]) or "path" in spark(
        [Decimal(-1), Decimal(2)]
    )
    assert 'width="100"' in bar(7.0)
    assert 'class="less"' in swing(-1, 2)
    swing(0, 0)


def test_marks_of_the_same_days_go_on_different_lines() -> None:
    def mark(first: int, last: int) -> Mark:
        return Mark(1, date(2026, 11, first), date(2026, 11, last), "")

    assert _lanes([mark(1, 10), mark(7, 23), mark(11, 12), mark(27, 29)]) == [0, 1, 0, 0]


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_colours_have_contrast_in_both_themes() -> None:
    style = (HERE / "style.css").read_text()
    for theme in re.findall(r":root \{(.*?)\}", style, re.DOTALL)[:2]:
        colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", theme))

        def contrast(a: str, b: str, colours: dict[str, str] = colours) -> float:
            low, high = sorted((luminance(colours[a]), luminance(colours[b])))
            return (high + 0.05) / (low + 0.05)

        for text in ("ink", "soft", "accent", "more", "less"):
            assert (
                min(contrast(text, "page"), contrast(text, "box"), contrast(text, "weekend")) >= 4.5
            ), text
        for series in [f"s{n}" for n in range(1, 9)]:
            assert contrast(series, "page") >= 3, series
        assert contrast("focus", "page") >= 3


def test_markdown_says_what_matters() -> None:
    text = markdown_summary(shapes.typical()).replace(fmt.NBSP, " ")
    assert "| Billed | $20,590.83 |" in text
    assert "80% interval" in text
    assert (
        "- Amazon Elastic Compute Cloud: +$2,120.25 (+34.6%), mostly account prod-eu +$1,904.10"
        in text
    )
    assert "**What is odd**" in text
    assert "this bill has no rows" in markdown_summary(shapes.zero_rows()).lower()
    for shape in shapes.SHAPES.values():
        assert markdown_summary(shape()) == markdown_summary(shape())


@pytest.mark.parametrize(
    "name",
    [
        "[click](http://evil.example)",
        "![x](http://evil.example/x.png)",
        "<b>x</b>",
        "http://evil.example",
        "www.evil.example",
        "a@evil.example",
        "`x`",
        "| x | y |",
        "**x**",
        "# x",
        "- x",
        "1. x",
        "a\n\n# b",
        "&lt;b&gt;",
    ],
)
def test_markdown_of_the_bill_is_text(name: str) -> None:
    report = shapes.typical()
    found = report.analysis
    mover = replace(found.movers[0], name=name)
    share = replace(found.shares[0], name=name)
    report = replace(report, analysis=replace(found, movers=(mover,), shares=(share,)))
    line = next(line for line in markdown_summary(report).splitlines() if line.startswith("- "))
    for text in (line[2:].split(": +")[0], top_services(report)[0]["Service"]):
        bare = re.sub(r"\\.", "", text)  # what is escaped
        assert not re.search(r"[\[\]`*_|<>#@]|://|www\.|&(?!amp;|lt;|gt;)|^[-+=]|^\d+\.", bare), (
            text
        )
        assert "\n" not in text


def test_top_services_are_text_for_every_currency() -> None:
    rows = top_services(shapes.several_currencies())
    assert len(rows) == 30
    assert set(map(type, (value for row in rows for value in row.values()))) == {str}
    assert rows[0]["Service"] == "Amazon Elastic Compute Cloud"
    assert rows[10]["Effective"].startswith("¥")
    assert top_services(shapes.zero_rows()) == []
