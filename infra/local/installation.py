"""The real templates, synthesised by the real CDK app and deployed into the local AWS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flows.problem import Problem
from infra.local.aws import ACCOUNT, LocalAws
from infra.names import Names
from infra.settings import Settings, load

ROOT = Path(__file__).parents[2]
STAGE = "local"


def settings(context: Mapping[str, str] | None = None) -> Settings:
    """infra/settings.toml's, of a stage that is nobody else's."""
    return load({"stage": STAGE, **(context or {})})


def synthesise(
    project: Path, context: Mapping[str, str] | None = None, *, first: bool = True
) -> dict[str, str]:
    """Each stack's template, as `cdk synth` writes it; `first`: of the first deployment. Raises
    Problem with what CDK says.
    """
    given = {"stage": STAGE, **({"first": "true"} if first else {}), **(context or {})}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "infra.app"],
            cwd=project,
            env={
                **{k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"},
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
                "CDK_OUTDIR": folder,
                "CDK_CONTEXT_JSON": json.dumps(given),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Problem(
                "the templates cannot be made",
                detail=(done.stderr or done.stdout).strip()[-2000:],
                fix="see what CDK says: make synth",
            )
        made = Path(folder).glob("*.template.json")
        return {file.name.removesuffix(".template.json"): file.read_text() for file in made}


def deploy(aws: LocalAws, templates: Mapping[str, str], names: Names, secret: str) -> None:
    """As `make deploy` does the first time: both stacks, then the API's secret."""
    cloudformation = aws.client("cloudformation")
    for stack in (names.identity_stack, names.installation):
        cloudformation.create_stack(
            StackName=stack,
            TemplateBody=templates[stack],
            Capabilities=["CAPABILITY_NAMED_IAM"],
        )
        _completed(cloudformation, stack, "CREATE_COMPLETE")
    aws.client("ssm").put_parameter(
        Name=names.secret,
        Description="Who may use this installation's Prefect API.",
        Type="SecureString",
        Value=secret,
    )


def update(aws: LocalAws, templates: Mapping[str, str], names: Names) -> None:
    """As `make deploy` does later. Raises Problem if a stack cannot be updated."""
    cloudformation = aws.client("cloudformation")
    for stack in (names.identity_stack, names.installation):
        try:
            cloudformation.update_stack(
                StackName=stack,
                TemplateBody=templates[stack],
                Capabilities=["CAPABILITY_NAMED_IAM"],
            )
        except cloudformation.exceptions.ClientError as error:
            if "No updates are to be performed" not in str(error):
                raise
            continue
        _completed(cloudformation, stack, "UPDATE_COMPLETE")


def _completed(cloudformation: Any, stack: str, status: str) -> None:
    found = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    if found["StackStatus"] != status:
        events = cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
        why = [e["ResourceStatusReason"] for e in events if e.get("ResourceStatusReason")]
        raise Problem(
            f"the stack {stack} cannot be {status.partition('_')[0].lower()}d",
            where={"status": found["StackStatus"]},
            detail="; ".join(why[-3:]),
            fix="mend the template",
        )


def names(of: Settings) -> Names:
    return Names(of.installation, of.region, ACCOUNT)
