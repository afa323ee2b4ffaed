"""`python -m deployments COMMAND`: prefect.yaml, its deployment, and what became of its runs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from deployments import whereabouts
from deployments.check import checked
from deployments.prefect_yaml import DATA_BUCKET, PREFECT_YAML
from flows.problem import Problem


def main(arguments: Sequence[str] | None = None) -> int:
    try:
        whereabouts.in_its_region()
        options = _parser().parse_args(arguments)
        if options.command == "check":
            _check(options)
        elif options.command == "reconcile":
            _reconcile(options)
        else:
            _straighten(options)
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deployments", description="prefect.yaml and what Prefect has of it."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    check = commands.add_parser(
        "check",
        help="check prefect.yaml as a whole; needs no AWS and no server",
        description="Checks every deployment: flow, parameters, schedules, hardware, work pool, "
        "all that can be known without AWS. Changes nothing.",
    )
    reconcile = commands.add_parser(
        "reconcile",
        help="make the Prefect server have what prefect.yaml declares",
        description="Makes the Prefect server of PREFECT_API_URL have what prefect.yaml declares: "
        "the work pool with this image, every deployment with its role, and no other deployment "
        "of the work pool. The installation's stacks say where jobs run.",
    )
    reconcile.add_argument(
        "--image",
        required="NIGHTSHIFT_IMAGE" not in os.environ,
        default=os.environ.get("NIGHTSHIFT_IMAGE"),
        metavar="REPOSITORY@sha256:…",
        help="the image that every run uses from now on, by digest (by default NIGHTSHIFT_IMAGE)",
    )
    straighten = commands.add_parser(
        "straighten",
        help="make the Prefect server say what became of the runs it calls busy",
        description="Asks ECS about every run of the work pool that the Prefect server of "
        "PREFECT_API_URL calls PENDING, RUNNING or CANCELLING. What died becomes Crashed, or "
        "Cancelled if it was being cancelled; what never started is put back on the schedule. "
        "Best before the worker starts.",
    )
    straighten.add_argument(
        "--grace",
        type=float,
        default=30,
        metavar="SECONDS",
        help="how long a run may be PENDING without an ECS task (%(default)s)",
    )
    for command in (reconcile, straighten):
        command.add_argument(
            "--stack",
            default=whereabouts.stack(),
            help="the installation (by default NIGHTSHIFT_STACK, or else that of "
            "infra/settings.toml: %(default)s)",
        )
        command.add_argument("--dry-run", action="store_true", help="say what would be done, only")
    for command in (check, reconcile):
        command.add_argument(
            "--file", type=Path, default=PREFECT_YAML, help="instead of ./prefect.yaml"
        )
    return parser


def _check(options: argparse.Namespace) -> None:
    # What the bucket is called matters to nobody here, so long as it has a name.
    found = checked(options.file, {DATA_BUCKET: "the-data-bucket", **os.environ})
    for deployment in found:
        print(f"{deployment.name}: fine")


def _reconcile(options: argparse.Namespace) -> None:
    from deployments.outputs import outputs
    from deployments.reconcile import reconciled
    from deployments.wanted import with_roles
    from deployments.work_pool import base_job_template

    stack = outputs(options.stack)
    template = base_job_template(
        stack.values,
        options.image,
        external=os.environ.get("NIGHTSHIFT_ORCHESTRATOR") == "external",
    )
    variables = {**os.environ}
    variables[DATA_BUCKET] = os.environ.get(DATA_BUCKET) or stack.values.get("DataBucket", "")
    wanted = with_roles(checked(options.file, variables), stack.roles, options.stack)
    done = reconciled(wanted, template, dry_run=options.dry_run, say=print)
    if not done.steps:
        print("nothing to change")


def _straighten(options: argparse.Namespace) -> None:
    from deployments.outputs import outputs
    from deployments.set_straight import straightened
    from deployments.work_pool import output

    done = straightened(
        output(outputs(options.stack).values, "ClusterName"),
        grace=timedelta(seconds=options.grace),
        dry_run=options.dry_run,
        say=print,
    )
    if not done.steps and not done.notes:
        print("all true")


if __name__ == "__main__":
    sys.exit(main())
