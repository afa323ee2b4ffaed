"""Puts the page together: templates, style sheet, script, and the policy that allows only those."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import jinja2
from markupsafe import Markup

from flows.cost_report.model import Report
from flows.cost_report.report import cells, fmt, series, view

HERE = Path(__file__).parent
ROWS = 12  # a table's rows beyond these are folded away
CARDS = series.MARKS  # and a list's entries


def page(report: Report) -> str:
    """report.html as text; encode it as UTF-8."""
    style, script = _asset("style.css"), _asset("table.js")
    html = (
        _environment()
        .get_template("page.html.j2")
        .render(
            report=report,
            found=report.analysis,
            currencies=view.currency_views(report),
            why_not=lambda *words: view.why_not(report, *words),
            COMPARISONS=view.COMPARISONS,
            policy=_policy(style, script),
            style=Markup(style),  # noqa: S704  ours, not the bill's
            script=Markup(script),  # noqa: S704
        )
    )
    return fmt.clean(html)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,  # everything out of the bill is text, wherever it stands
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        spark=cells.spark,
        bar=cells.bar,
        swing=cells.swing,
        dimension=fmt.dimension,
        span=fmt.span,
        count=fmt.count,
        main_reasons=view.main_reasons,
        ROWS=ROWS,
        CARDS=CARDS,
    )
    environment.filters.update(
        day=fmt.day,
        month=fmt.month,
        percent=fmt.percent,
        exact=fmt.exact,
        grouped=fmt.grouped,
        short=fmt.short,
        sentence=fmt.sentence,
    )
    return environment


def _policy(style: str, script: str) -> str:
    """Nothing is fetched or sent; of all code only ours runs. (The icon is an empty data URL.)"""
    return (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src data:; "
        "base-uri 'none'; form-action 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _asset(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
