"""The CDK app, as `cdk` starts it (cdk.json)."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import aws_cdk as cdk
from cdk_nag import AwsSolutionsChecks

from deployments.declared import Deployment, declared
from flows.problem import Problem
from infra.extra import Extra, extras
from infra.reviewed import acknowledge
from infra.settings import BadSettings, Settings, load
from infra.stack import stacks


def app(
    outdir: str | None = None,
    context: Mapping[str, Any] | None = None,
    deployments: Sequence[Deployment] | None = None,
    more: Sequence[Extra] | None = None,
) -> cdk.App:
    """The app with its stacks; `synth` checks it with cdk-nag. The settings come from the file and
    from CDK's context, the deployments from prefect.yaml, unless they are given.
    """
    made = cdk.App(outdir=outdir, context=dict(context or {}), analytics_reporting=False)
    values = {key: made.node.try_get_context(key) for key in Settings.model_fields}
    settings = load({key: value for key, value in values.items() if value is not None})
    deployments = declared() if deployments is None else deployments
    more = extras(deployments) if more is None else more
    first = made.node.try_get_context("first") in (True, "true")
    account = str(made.node.try_get_context("account") or "")
    for stack in stacks(made, settings, deployments, more, first=first, account=account):
        acknowledge(stack)
    cdk.Validations.of(made).add_plugins(AwsSolutionsChecks(made))
    return made


def main() -> None:
    try:
        app().synth()
    except (BadSettings, Problem) as error:
        sys.exit(str(error))
    except RuntimeError as error:
        if "Validation failed" not in str(error):
            raise
        sys.exit(1)  # cdk-nag has said what and where


if __name__ == "__main__":
    main()
