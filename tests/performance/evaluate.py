"""How good the report's findings are, on sample bills whose anomalies and month-ends are known.

    python -m tests.performance.evaluate [--seeds N | --seed S] [--out evaluate.json]

Per seed: one bill of four months, generated and read the way the job does it, and analysed by the
real `analyse()`.

Anomalies: the reports of the second, third and fourth month, each with the months before as its
history. An alert is right if it overlaps an injected anomaly (a day more at either end) in its
service or its account; where an anomaly is all services of an account, a service's alert counts if
it names that account among its reasons. An alert that matches nothing is a false one. Precision is
counted on alerts as they are shown. An injected anomaly without an alert in any of the reports is
missed: recall is counted on anomalies, whatever their size on the days that the bill shows of them.

Forecast: the third and the fourth month, with two and three months of history, cut after day 5, 10,
15 and 20, against the EffectiveCost of the whole month. The bill's newest day is taken as
incomplete by the job, so that "day 10" knows nine complete days. The whole month is what the bill
says it is: usage, purchases, support, tax, credits, refunds and corrections. BilledCost is shown
beside it.

The seeds that are reported (5001 and on) were not looked at while the methods were made: seeds from
1 and from 1000 on were used for that.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from statistics import mean

import pyarrow as pa
import pyarrow.parquet as pq

from flows.cost_report import locate, scan
from flows.cost_report import model as report
from flows.cost_report.analyse import analyse
from flows.cost_report.tables import COMMITMENTS, TAGS, RollUp
from flows.sample_bill import Anomaly, Options, Period, periods
from flows.sample_bill import tables as sample
from flows.sample_bill.organisation import ACCOUNTS

FIRST, SEEDS = 5001, 30  # the reported seeds; about two minutes on one core
CUTS = (5, 10, 15, 20)
FORECAST = (2, 3)  # the third and the fourth month
MEASURES = ("EffectiveCost", "BilledCost")
MARGIN = timedelta(days=1)
ACCOUNT_NAMES = {account.id: account.name for account in ACCOUNTS}


@dataclass
class Tally:
    """What was counted over all seeds."""

    alerts: int = 0
    false: int = 0
    injected: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    errors: dict[tuple[str, int], list[float]] = field(default_factory=lambda: defaultdict(list))
    inside: dict[tuple[str, int], list[bool]] = field(default_factory=lambda: defaultdict(list))
    without: int = 0  # cases without a forecast


def options(seed: int) -> Options:
    """A bill per seed, ending in another month of the year each time."""
    return Options(rows=10_000, months=4, last_period=f"2026-{seed % 12 + 1:02d}", seed=seed)


def days_of(world: sample.World, period: Period, folder: Path) -> pa.Table:
    """Write a month as FOCUS Parquet and read it as the job does: DAILY."""
    place = folder / f"{period.name}-{period.visible}"
    place.mkdir()
    pq.write_table(pa.concat_tables(sample.month(world, period)), place / "bill.parquet")
    return scan.roll_up_days(locate.locate(str(place), period.name).execution)


def analysis(daily: pa.Table, before: list[pa.Table], period: Period) -> report.Analysis:
    history = pa.concat_tables(before) if before else daily.slice(0, 0)
    rollup = RollUp(daily, TAGS.empty_table(), COMMITMENTS.empty_table(), history)
    return analyse(rollup, period.name)


def matches(alert: report.Anomaly, injected: Anomaly) -> bool:
    """Whether an alert is about an injected anomaly; see the module's text for the rule."""
    if alert.last_day < injected.first_day - MARGIN or alert.first_day > injected.last_day + MARGIN:
        return False
    if alert.dimension == "SubAccountId":
        return alert.id == injected.account
    if injected.service is not None:
        return alert.id == injected.service
    return any(reason.name == ACCOUNT_NAMES[injected.account] for reason in alert.reasons)


def evaluate(seed: int, tally: Tally) -> None:
    chosen = options(seed)
    world = sample.build(chosen)
    every = periods(chosen)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = [days_of(world, period, folder) for period in every]
        anomalies(world.anomalies, whole, every, tally)
        for number in FORECAST:
            for day in CUTS:
                cut = days_of(world, replace(every[number], visible=day), folder)
                made = analysis(cut, whole[:number], every[number])
                forecasts(made, whole[number], day, tally)


def anomalies(
    injected: Sequence[Anomaly], whole: list[pa.Table], every: Sequence[Period], tally: Tally
) -> None:
    found: set[Anomaly] = set()
    for number in range(1, len(every)):
        for alert in analysis(whole[number], whole[:number], every[number]).anomalies:
            about = {one for one in injected if matches(alert, one)}
            found |= about
            tally.alerts += 1
            tally.false += not about
    tally.injected.update(one.kind for one in injected)
    tally.found.update(one.kind for one in found)


def forecasts(made: report.Analysis, whole: pa.Table, day: int, tally: Tally) -> None:
    for forecast in made.forecasts:
        truth = float(sum(whole[forecast.measure].to_pylist()))
        if forecast.month_end is None or forecast.low is None or forecast.high is None:
            tally.without += 1
            continue
        key = (forecast.measure, day)
        tally.errors[key].append(float(forecast.month_end) / truth - 1)
        tally.inside[key].append(float(forecast.low) <= truth <= float(forecast.high))


def figures(tally: Tally, seeds: Sequence[int]) -> dict[str, object]:
    """What evaluate.json holds: shares are 0..1."""

    def mape(measure: str, day: int) -> float:
        return round(mean(map(abs, tally.errors[measure, day])), 5)

    def coverage(measure: str, days: Sequence[int]) -> float:
        return round(mean(hit for day in days for hit in tally.inside[measure, day]), 4)

    main = MEASURES[0]
    return {
        "precision": round(1 - tally.false / tally.alerts, 4) if tally.alerts else None,
        "recall": round(tally.found.total() / tally.injected.total(), 4)
        if tally.injected
        else None,
        **{f"mape_day_{day}": mape(main, day) for day in CUTS},
        "coverage_80": coverage(main, CUTS),
        "alerts": tally.alerts,
        "false_alerts": tally.false,
        "injected": tally.injected.total(),
        "missed": tally.injected.total() - tally.found.total(),
        "recall_by_kind": {
            kind: round(tally.found[kind] / count, 4)
            for kind, count in sorted(tally.injected.items())
        },
        "injected_by_kind": dict(sorted(tally.injected.items())),
        "forecasts": len(seeds) * len(FORECAST) * len(CUTS),
        "without_forecast": tally.without,
        "bias_by_day": {str(day): round(mean(tally.errors[main, day]), 5) for day in CUTS},
        "coverage_80_by_day": {str(day): coverage(main, [day]) for day in CUTS},
        "billed_cost": {
            **{f"mape_day_{day}": mape(MEASURES[1], day) for day in CUTS},
            "coverage_80": coverage(MEASURES[1], CUTS),
        },
        "seeds": list(seeds),
    }


GOALS = {"precision": ">= 0.95", "recall": ">= 0.90", "mape_day_10": "<= 0.03"}
GOALS["coverage_80"] = "0.75 - 0.85"


def show(found: dict[str, object], seconds: float) -> None:
    print(f"{len(found['seeds'])} bills of four months, {seconds:.0f} s\n")  # type: ignore[arg-type]
    print(f"{'':<24}{'reached':>9}  goal")
    for key in ("precision", "recall", *(f"mape_day_{day}" for day in CUTS), "coverage_80"):
        print(f"{key:<24}{found[key]!s:>9}  {GOALS.get(key, '')}")
    print()
    for key in ("alerts", "false_alerts", "injected", "missed"):
        print(f"{key:<24}{found[key]:>9}")
    for key in ("recall_by_kind", "coverage_80_by_day", "bias_by_day", "billed_cost"):
        print(f"{key:<24}  {found[key]}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.performance.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="one seed only")
    parser.add_argument(
        "--first", type=int, default=FIRST, help="the first one (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, default=Path("evaluate.json"))
    chosen = parser.parse_args(arguments)
    seeds = (
        [chosen.seed]
        if chosen.seed is not None
        else list(range(chosen.first, chosen.first + chosen.seeds))
    )
    tally = Tally()
    began = time.monotonic()
    for number, seed in enumerate(seeds, 1):
        evaluate(seed, tally)
        if sys.stderr.isatty():
            print(f"\r{number} of {len(seeds)} bills ", end="", file=sys.stderr, flush=True)
    found = figures(tally, seeds)
    show(found, time.monotonic() - began)
    chosen.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
