"""`python -m infra.cost COMMAND`: what an installation costs, beforehand."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from deployments.check import checked
from deployments.prefect_yaml import DATA_BUCKET, PREFECT_YAML
from deployments.prices import FILE, prices, read, written
from flows.problem import Problem
from infra.cost import page, price_list
from infra.cost.assumptions import Assumptions
from infra.cost.instead import beside
from infra.cost.measured import minutes
from infra.cost.predict import PREDICTED, predict
from infra.cost.resources import bill
from infra.cost.runs import MINUTES, jobs
from infra.cost.synthesise import templates
from infra.cost.words import as_data, beside_as_data, dollars, table, table_beside
from infra.settings import BadSettings, Settings, given, load

COST = Path("cost.json")


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    commands = {"bill": _bill, "prices": _prices, "page": _page}
    try:
        commands[options.command](options)
    except (BadSettings, Problem) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m infra.cost",
        description="What an installation costs a month by list prices, before it is deployed.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    cost = commands.add_parser(
        "bill",
        help="the whole bill of a month, line by line; writes cost.json",
        description="The whole bill of a month: every resource of the templates, the hardware and "
        "the schedules of prefect.yaml. Writes cost.json into the working folder.",
    )
    cost.add_argument(
        "--runs-per-day",
        type=_amount,
        metavar="N",
        help="of each deployment, instead of prefect.yaml's schedules",
    )
    cost.add_argument(
        "--minutes",
        type=_amount,
        metavar="N",
        default=MINUTES,
        help="of one run, where none was measured (10)",
    )
    cost.add_argument("--stack", help="an installation whose journal knows how long runs take")
    cost.add_argument(
        "--out",
        metavar="FOLDER",
        help=f"write {PREDICTED} there too: a folder or s3://bucket/prefix",
    )
    for one in fields(Assumptions):
        cost.add_argument(
            f"--{one.name.replace('_', '-')}",
            type=_amount,
            metavar="N",
            default=one.default,
            help=one.metadata["sentence"].format(f"{one.default:f}").replace("%", "%%"),
        )
    refresh = commands.add_parser(
        "prices",
        help="refresh deployments/prices.json through the AWS Price List API",
        description="Asks AWS for every price of the settings' region, says what has changed, and "
        "writes deployments/prices.json. What is not found without doubt stays as it was.",
    )
    commands.add_parser(
        "page", help="write the tables of docs/cost.md and README.md, draw docs/cost.svg"
    )
    for command in (cost, refresh):
        command.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="a setting instead of the file's; may be repeated",
        )
    return parser


def _amount(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not value.is_finite() or value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount")
    return value


def _settings(options: argparse.Namespace) -> tuple[Settings, dict[str, str]]:
    context = given(options.set)
    return load(context), context


def _bill(options: argparse.Namespace) -> None:
    settings, context = _settings(options)
    known = prices(settings.region)  # first: CDK takes seconds
    assumed = Assumptions(**{one.name: getattr(options, one.name) for one in fields(Assumptions)})
    work = jobs(
        checked(PREFECT_YAML, {DATA_BUCKET: "data"}),
        runs_per_day=options.runs_per_day,
        minutes=options.minutes,
        measured=_measured(options.stack) if options.stack else {},
    )
    of = templates(context)
    made = bill(of, work, known, assumed)
    print(f"{settings.installation} in {settings.region}, prices of {known.as_of} or later\n")
    for job in work:
        print(f"{job.name}: {job.runs:.1f} runs a month of {job.minutes:.1f} minutes")
    print(f"\n{table(made)}\n")
    print(
        f"{dollars(made.total)} a month; {dollars(made.total_with_free_tier)} with what an account "
        "has always free."
    )
    data = as_data(made, settings.installation, known)
    if any(job.runs for job in work):
        job, found = beside(of, work, known)
        data["instead"] = beside_as_data(job, found)
        print(f"\nThe work of {job.name} done otherwise, without releases and stored data:\n")
        print(table_beside(found))
        print("\ndocs/cost.md says what is priced, and from where on each is cheaper.")
    _write(COST, data)
    print(f"Assumptions, each line as data, and what is free and why: {COST}")
    if options.out:
        print(f"and {predict(options.out, data)}")


def _measured(stack: str) -> dict[str, Decimal]:
    from deployments import whereabouts
    from deployments.operate.installation import installation, journal

    whereabouts.in_its_region()
    found = journal(installation(stack))
    return minutes(found.last if found else ())


def _write(file: Path, data: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def _prices(options: argparse.Namespace) -> None:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    settings, _ = _settings(options)
    content = read()
    try:
        found = price_list.look_up(
            price_list.wanted(content),
            settings.region,
            boto3.client("pricing", region_name=price_list.ENDPOINT),
        )
    except (BotoCoreError, ClientError) as error:
        raise Problem(
            "AWS does not tell its prices",
            detail=str(error),
            fix="log in first (aws sso login, or AWS_PROFILE); pricing:GetProducts is needed",
        ) from error
    for line in price_list.difference(content, settings.region, found):
        print(line)
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    FILE.write_text(written(price_list.merged(content, settings.region, found, today)))
    print(f"{len(found.amounts)} prices of {settings.region}, {today}: deployments/{FILE.name}")


def _page(_: argparse.Namespace) -> None:
    settings = load()
    known, made = prices(settings.region), templates({})
    page.PAGE.write_text(page.page(page.PAGE.read_text(), made, known))
    page.README.write_text(page.readme(page.README.read_text(), made, known))
    page.CHART.write_text(page.picture(made, known))
    print(f"{page.PAGE}\n{page.README}\n{page.CHART}")


if __name__ == "__main__":
    sys.exit(main())
