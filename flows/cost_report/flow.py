"""The bill report: reads an account's own bill, checks it, adds it up exactly and explains where
the money goes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run, task_run
from prefect.states import Completed
from prefect.tasks import exponential_backoff

from flows.data import Destination, Source
from flows.problem import Problem
from flows.storage import may_pass

# pyarrow and pandas are imported by the step that needs them: an unchanged bill needs neither.
if TYPE_CHECKING:
    import pyarrow as pa
    from prefect.client.schemas.objects import TaskRun

    from flows.cost_report.locate import Bill, Execution
    from flows.cost_report.model import Analysis, Unavailable
    from flows.cost_report.predicted import Prediction
    from flows.cost_report.publish import Published
    from flows.cost_report.scan import Scan
    from flows.cost_report.tables import RollUp

RETRIES = 3
REREADS = 2  # when a refresh replaces the bill under our hands


def _is_io(_task: Any, _run: TaskRun, state: State[Any]) -> bool:
    """Retry what may pass by itself: the network and S3, never a wrong bill."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, OSError) or may_pass(error)


# Nothing is cached or persisted: a bill's roll-ups are large, and the published report is the
# result.
step = task(
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=exponential_backoff(2),
    retry_jitter_factor=0.5,
    retry_condition_fn=_is_io,
)


def _run_name() -> str:
    return f"cost-report {flow_run.parameters.get('period') or 'newest'}"


@flow(name="cost-report", flow_run_name=_run_name, persist_result=False)
def cost_report(
    source: Source, destination: Destination, period: str | None = None
) -> State[Published | None]:
    """Read the bill at `source` and publish where the money goes to `destination`.

    Args: source: an AWS Data Export of FOCUS (its own folder or s3:// prefix), or FOCUS files
        (Parquet, CSV, CSV.gz). destination: a folder or s3:// prefix; reports go below
        `billing_period=…/`. period: the billing period, `2026-11`; the newest by default.
    """
    log = get_run_logger()
    bill = locate(source, period)
    _name_run(bill.execution.period)
    known = unchanged(bill.execution, destination)
    if known:
        return Completed(name="Unchanged", message=f"already published: {known.report}", data=known)

    for _ in range(1 + REREADS):
        try:
            scan = read(bill.execution)
        except Problem:
            if not changed(bill.execution):
                raise
        else:
            if not changed(bill.execution):
                break
        log.warning("the export was refreshed while it was read: reading it again")
        bill = locate(source, bill.execution.period)
    else:
        raise Problem(
            "the bill changed each time it was read",
            where={"source": source},
            fix="run again when the export has finished refreshing",
        )

    check(scan)
    rollup = roll_up(scan, recall(bill.history, destination))
    analysis = analyse(rollup, bill.execution.period, predicted(destination))
    published = publish(bill, scan, rollup, analysis, destination)
    return Completed(message=f"published {published.report}", data=published)


# --- the steps -----------------------------------------------------------------------------------


@step
def locate(source: str, period: str | None) -> Bill:
    """Find the newest execution of the export for the period."""
    from flows.cost_report.locate import locate

    bill = locate(source, period)
    execution = bill.execution
    get_run_logger().info(
        "billing period %s, execution %s: %d file(s), %.1f MB",
        execution.period,
        execution.id,
        len(execution.files),
        execution.bytes / 1e6,
    )
    return bill


@step
def unchanged(execution: Execution, destination: str) -> Published | None:
    """Look whether this very execution is published already."""
    from flows.cost_report.publish import find_published

    return find_published(destination, execution)


@step
def read(execution: Execution) -> Scan:
    """Read every row once: check it and add it up."""
    from flows.cost_report.scan import scan

    found = scan(execution, _progress("Reading the bill"))
    get_run_logger().info("read %s rows", f"{found.rows:,}")
    return found


@step
def changed(execution: Execution) -> bool:
    """Look whether a refresh has replaced the bill meanwhile."""
    from flows.cost_report.locate import changed

    return changed(execution)


@step
def check(scan: Scan) -> None:
    """Judge what the rules of FOCUS found: a blocking violation ends the run."""
    log = get_run_logger()
    for violation in scan.violations:
        level = log.info if violation.severity == "warning" else log.warning
        level("%s: %s (%s rows)", violation.severity, violation.summary, f"{violation.count:,}")
        if violation.severity == "blocking":
            raise Problem(
                violation.summary,
                where={"file": violation.sample_file, "row": violation.sample_row},
                value=violation.sample,
                detail=f"{violation.count:,} row(s) break the rule {violation.rule}",
                fix="correct the bill, or export it again; nothing was published",
            )
    log.info("%d rules of FOCUS checked", scan.rules_checked)


@step
def recall(history: tuple[Execution, ...], destination: str) -> list[pa.Table]:
    """Fetch the days of earlier months: from their reports, or from the export where there is
    none yet.
    """
    from flows.cost_report.publish import published_days
    from flows.cost_report.scan import roll_up_days

    log = get_run_logger()
    tables = []
    for execution in history:
        days = published_days(destination, execution)
        if days is None:
            log.info("reading %s, as a past to compare with", execution.period)
            try:
                days = roll_up_days(execution, _progress(f"Reading {execution.period}"))
            except Problem as problem:  # a shorter past is no reason to report nothing
                log.warning("left out of the past: %s", problem)
                continue
        tables.append(days)
    return tables


@step
def roll_up(scan: Scan, history: list[pa.Table]) -> RollUp:
    """Prove that the roll-up equals the bill to the last digit, and give it its past."""
    from flows.cost_report.scan import prove, with_history

    prove(scan)
    for total in scan.totals:
        get_run_logger().info(
            "%s: billed %s, effective %s, in %s rows: reconciled",
            total.currency,
            f"{total.billed_cost:,.2f}",
            f"{total.effective_cost:,.2f}",
            f"{total.rows:,}",
        )
    return with_history(scan.rollup, history)


@step
def predicted(destination: str) -> Prediction | Unavailable | None:
    """Fetch what an installation of Nightshift was predicted to cost: a side matter, which no run
    fails for.
    """
    from flows.cost_report.model import Unavailable
    from flows.cost_report.predicted import predicted

    try:
        return predicted(destination)
    except Exception as error:
        if not isinstance(error, Problem) and task_run.run_count <= RETRIES:
            raise
        get_run_logger().warning("the prediction is left out: %s", error)
        return Unavailable("prediction", str(getattr(error, "summary", error)))


@step
def analyse(rollup: RollUp, period: str, prediction: Prediction | Unavailable | None) -> Analysis:
    """Find what changed, what is odd, what is wasted, and where the month will end."""
    from flows.cost_report.analyse import analyse

    found = analyse(rollup, period, prediction)
    get_run_logger().info("%d movers, %d anomalies", len(found.movers), len(found.anomalies))
    return found


@step
def publish(
    bill: Bill, scan: Scan, rollup: RollUp, analysis: Analysis, destination: str
) -> Published:
    """Write the report, and the pointer to it last."""
    from flows.cost_report import publish as out
    from flows.cost_report.assemble import assemble
    from flows.cost_report.report import render
    from flows.cost_report.report.markdown import markdown_summary, top_services

    report = assemble(bill, scan, analysis)
    execution = bill.execution
    files = out.files_of(report, rollup, render(report))
    published = out.publish(destination, execution.period, execution.id, files)

    key = "cost-report"
    create_markdown_artifact(markdown_summary(report), key=f"{key}-summary")
    create_table_artifact(top_services(report), key=f"{key}-top-services")
    create_link_artifact(
        _link(published.report), link_text=f"Cost report {execution.period}", key=f"{key}-link"
    )
    get_run_logger().info("published %s", published.report)
    return published


# --- what Prefect shows --------------------------------------------------------------------------


def _name_run(period: str) -> None:
    """Name the run after its period, which may be known only once the bill is located."""
    if flow_run.id:
        with get_client(sync_client=True) as client:
            client.update_flow_run(flow_run.id, name=f"cost-report {period}")


def _link(address: str) -> str:
    """An address as a link: the S3 console's for an object."""
    if not address.startswith("s3://"):
        return f"file://{address}"
    bucket, _, key = address.removeprefix("s3://").partition("/")
    return f"https://console.aws.amazon.com/s3/object/{bucket}?prefix={key}"


def _progress(what: str) -> Callable[[int, int], None]:
    """Progress as an artifact, and in the log at every tenth; the first after two seconds, as
    short work needs none.
    """
    log = get_run_logger()
    began = shown = time.monotonic()
    artifact: Any = None
    tenth = 0

    def show(done: int, of: int) -> None:
        nonlocal artifact, shown, tenth
        now, part = time.monotonic(), done / (of or 1)
        if artifact is None and now - began > 2:
            artifact = create_progress_artifact(100 * part, key="progress", description=what)
        elif artifact is not None and (now - shown > 2 or part >= 1):
            update_progress_artifact(artifact, 100 * part)
        else:
            return
        shown = now
        if int(part * 10) > tenth:
            tenth = int(part * 10)
            log.info(
                "%s: %d %%, about %.0f s to go", what, 100 * part, (now - began) * (1 / part - 1)
            )

    return show
