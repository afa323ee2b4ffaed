"""The commands of the cloud: `python -m infra COMMAND`; make has one for each."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

from deployments.declared import declared
from flows.problem import Problem
from infra import access, cdk, lifecycle
from infra.describe import what_would_exist
from infra.execute import Account, execute, look
from infra.extra import extras
from infra.names import Names
from infra.settings import BadSettings, Settings, given, load


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        context = given(options.set)
        settings = load(context)
        commands = {
            "synth": _synth,
            "diff": _diff,
            "deploy": _deploy,
            "destroy": _destroy,
            "access": _access,
        }
        commands[options.command](settings, context, options)
    except (BadSettings, Problem) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. Running the command again takes up where it was.", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m infra",
        description="The cloud of one installation: infra/settings.toml says which.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, about in (
        ("synth", "print what would exist, and where the templates are"),
        ("diff", "what would change in the account"),
        ("deploy", "make it so"),
        ("destroy", "remove everything that costs; the data stays unless `purge` is set"),
        ("access", "what each deployment may read and write, and what of it would be new"),
    ):
        command = commands.add_parser(name, help=about, description=about[0].upper() + about[1:])
        command.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="a setting instead of the file's; may be repeated",
        )
        if name in ("deploy", "destroy"):
            command.add_argument("--yes", action="store_true", help="do not ask")
    return parser


def _names(settings: Settings, account: str) -> Names:
    return Names(settings.installation, settings.region, account)


def _synth(settings: Settings, context: dict[str, str], _: argparse.Namespace) -> None:
    cdk.run("synth", ["--quiet"], context, silent=True)
    names = _names(settings, "")
    paths = {s: cdk.template(s) for s in (names.identity_stack, names.installation)}
    templates = {stack: json.loads(path.read_text()) for stack, path in paths.items()}
    print(what_would_exist(settings, templates))
    print("\n" + "\n".join(str(path) for path in paths.values()))


def _diff(settings: Settings, context: dict[str, str], _: argparse.Namespace) -> None:
    Account(settings.region)  # says what is wrong before CDK does
    cdk.run("diff", [], context)


def _deploy(settings: Settings, context: dict[str, str], options: argparse.Namespace) -> None:
    account = Account(settings.region)
    names = _names(settings, account.id)
    seen = look(account, settings, names)
    steps = lifecycle.plan_deploy(
        settings,
        names,
        seen,
        context=context,
        ask=not options.yes,
        api_key=os.environ.get("PREFECT_API_KEY") if settings.orchestrator == "external" else None,
    )
    execute(account, names, steps)
    _predict(settings, names)


def _predict(settings: Settings, names: Names) -> None:
    """What it should cost, for the bill report. A side matter: what fails here is only said."""
    from infra.cost.predict import deployed  # late: it reads the flows

    try:
        print(f"What it should cost a month: {deployed(settings, names)}")
    except (Problem, OSError) as error:
        print(f"No prediction of what it costs: {error}")


def _destroy(settings: Settings, context: dict[str, str], options: argparse.Namespace) -> None:
    account = Account(settings.region)
    names = _names(settings, account.id)
    seen = look(account, settings, names)
    steps = lifecycle.plan_destroy(settings, names, seen, context=context)
    if not options.yes:
        print(f"In account {account.id}, {settings.region}:")
        for step in steps:
            if text := lifecycle.described(step):
                print(f"  {text}")
        print(f"Type {settings.installation} to go on: ", end="", flush=True)
        if sys.stdin.readline().strip() != settings.installation:
            raise Problem("nothing was changed", fix="type the installation's name, or give YES=1")
    execute(account, names, steps)


def _access(settings: Settings, _: dict[str, str], __: argparse.Namespace) -> None:
    deployments = declared()
    more = extras(deployments)
    names = _names(settings, "<account>")
    words = [access.in_words(names, deployment, more) for deployment in deployments]
    print("\n\n".join([f"## What {settings.installation} may do", *words]))
    print("\n## Difference to what is deployed\n")
    try:
        account = Account(settings.region)
    except Problem as problem:
        print(f"Not compared: {problem.summary} ({problem.detail}).")
        return
    print(access.compared(settings, deployments, more, account))


if __name__ == "__main__":
    sys.exit(main())
