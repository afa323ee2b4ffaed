"""`python -m deployments.operate COMMAND`: what people do with an installation."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from deployments import whereabouts
from flows.problem import Problem

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 well, 1 a Problem or a run that has not completed, 130 after Ctrl-C."""
    signal.signal(signal.SIGTERM, _interrupt)
    options = argparse.Namespace(command="")
    try:
        whereabouts.in_its_region()
        return _do(_parser().parse_args(arguments, options))
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0 if options.command == "ui" else INTERRUPTED
    except BrokenPipeError:  # `make logs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _do(options: argparse.Namespace) -> int:
    from deployments.operate import ui
    from deployments.operate.installation import installation

    if options.command == "ui" and (options.local or not options.stack):
        ui.this_machine(options.port)
    at = installation(options.stack or whereabouts.stack())
    match options.command:
        case "status":
            from deployments.operate.status import look, screen

            print(screen(look(at), datetime.now(UTC)))
        case "wake":
            from deployments.operate.wake import wake

            wake(at, _say, new=options.new, seconds=options.timeout)
        case "trigger":
            from deployments.operate.trigger import parameters, trigger

            given = parameters(options.parameter)
            return trigger(
                at,
                options.deployment,
                given,
                _say,
                follow=not options.no_follow,
                seconds=options.timeout,
            )
        case "logs":
            from deployments.operate.logs import logs

            logs(at, options.run, _say, follow=options.follow)
        case "release":
            from deployments.operate.release import release

            return release(at, _say)
        case "releases":
            from deployments.operate.releases import releases, subjects, table

            found = releases(at)
            print(table(found, subjects(found), datetime.now(UTC)))
        case "rollback":
            from deployments.operate.rollback import rollback

            rollback(at, options.to, _say)
        case "ui":
            (ui.live if options.live else ui.over_a_copy)(at, _say, options.port)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deployments.operate",
        description="What people do with an installation, in AWS or in the local cloud: with the "
        "credentials and the region at hand.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    status = commands.add_parser(
        "status",
        help="what it does, why, and what comes next",
        description="On one screen: asleep or awake and why, the next wake-up, the next runs and "
        "the last ones, the image, and what is not as it should be.",
    )
    wake = commands.add_parser(
        "wake",
        help="wake the orchestrator",
        description="Sets the orchestrator's service to 1 and waits until it works. It goes to "
        "sleep by itself when nothing is left to do.",
    )
    wake.add_argument(
        "--new",
        action="store_true",
        help="it may begin without any history: the first start of an installation",
    )
    trigger = commands.add_parser(
        "trigger",
        help="run a deployment now",
        description="Asks for a run, wakes the orchestrator, and follows the run's states and log "
        "until it has ended. Exit status 0 if it has completed, 1 if not. Ctrl-C ends only the "
        "following: the run goes on.",
    )
    trigger.add_argument("deployment", metavar="FLOW/NAME", help="as prefect.yaml declares it")
    trigger.add_argument(
        "--parameter",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="instead of the deployment's own; VALUE is JSON if it reads as JSON, else text; may "
        "be repeated",
    )
    trigger.add_argument("--no-follow", action="store_true", help="end as soon as the run is made")
    for command in (wake, trigger):
        command.add_argument(
            "--timeout",
            type=float,
            default=600,
            metavar="SECONDS",
            help="how long to wait for the orchestrator (%(default)g)",
        )
    logs = commands.add_parser(
        "logs",
        help="what a run has written",
        description="The log of a run, from CloudWatch; if it is gone there, from Prefect's "
        "history.",
    )
    logs.add_argument(
        "run", nargs="?", default="", metavar="RUN", help="its name or id; by default the newest"
    )
    logs.add_argument("--follow", action="store_true", help="go on while the run does")
    ui = commands.add_parser(
        "ui",
        help="the Prefect UI over a copy of the history",
        description="Restores the installation's history and shows it in the Prefect UI on this "
        "machine, until Ctrl-C. Nothing is changed, and nothing is woken. Without --stack or "
        "NIGHTSHIFT_STACK: the UI over the runs on this machine, which needs no AWS.",
    )
    kind = ui.add_mutually_exclusive_group()
    kind.add_argument(
        "--live",
        action="store_true",
        help="the awake orchestrator's own UI, with its password: through a tunnel (AWS CLI and "
        "session-manager-plugin), or its address in the local cloud",
    )
    kind.add_argument(
        "--local", action="store_true", help="the runs on this machine, whatever the stack"
    )
    ui.add_argument("--port", type=int, metavar="N", help="on this machine (4200, or a free one)")
    release = commands.add_parser(
        "release",
        help="build, try, scan and make live the commit that is checked out",
        description="By hand what the pipeline does for a push: runs buildspec.yml's commands "
        "here, with Docker and the AWS CLI. Exit status 1 if one of them fails; what is live then "
        "stays so, unless only waking has failed.",
    )
    released = commands.add_parser(
        "releases",
        help="the images there are, and which is live",
        description="The newest first: live, released or not; tag (the commit), digest, age, what "
        "ECR's scan has found.",
    )
    rollback = commands.add_parser(
        "rollback",
        help="make an earlier release live again",
        description="Moves the tag `live` to another image, and wakes the orchestrator, which "
        "takes it for the runs that follow. Runs under way end on the image that they have.",
    )
    rollback.add_argument(
        "--to", required=True, metavar="TAG", help="a tag or a digest that `releases` shows"
    )
    for command in (status, wake, trigger, logs, release, released, rollback):
        command.add_argument(
            "--stack",
            default=whereabouts.stack(),
            help="the installation (by default NIGHTSHIFT_STACK, or else that of "
            "infra/settings.toml: %(default)s)",
        )
    ui.add_argument(
        "--stack",
        default=os.environ.get("NIGHTSHIFT_STACK") or "",
        help="the installation (by default NIGHTSHIFT_STACK); without one, this machine",
    )
    return parser


def _say(text: str) -> None:
    print(text, flush=True)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
