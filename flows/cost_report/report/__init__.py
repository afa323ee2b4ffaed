"""The report as people read it: `render` makes report.html, one file that needs nothing else.

Nothing is imported until a report is rendered: a run that finds nothing new should not pay for
templates and charts.
"""

from __future__ import annotations

from flows.cost_report.model import Report


def render(report: Report) -> str:
    """The complete report.html. The same report gives the same bytes."""
    from flows.cost_report.report.page import page

    return page(report)
