"""What would exist, in a few lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from infra.settings import Settings

# list price, us-east-1, 2026: https://aws.amazon.com/vpc/pricing/
NAT_GATEWAY = "about $33 a month for its NAT gateway, whether anything runs or not, and $0.045 a GB"
LIMIT = 50 * 1024  # bytes of YAML that CDK hands to CloudFormation without a bucket

_ORCHESTRATOR = {
    "asleep": "asleep when idle",
    "always": "always on",
    "external": "working for an external Prefect API",
}


def what_would_exist(settings: Settings, templates: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [
        f"{settings.installation} in {settings.region}: {settings.network} network, jobs on "
        f"{'Fargate Spot' if settings.spot else 'Fargate on demand'}, orchestrator "
        f"{_ORCHESTRATOR[settings.orchestrator]}"
    ]
    for stack, template in templates.items():
        lines += ["", stack, *_resources(template)]
    notes = _notes(settings)
    return "\n".join([*lines, *(["", *notes] if notes else [])])


def _resources(template: Mapping[str, Any]) -> list[str]:
    services: dict[str, Counter[str]] = {}
    for resource in template["Resources"].values():
        _, service, kind = resource["Type"].split("::")
        services.setdefault(service, Counter())[kind] += 1
    width = max(map(len, services), default=0)
    return [
        f"  {service:{width}}  "
        + ", ".join(kind if count == 1 else f"{kind} × {count}" for kind, count in kinds.items())
        for service, kinds in sorted(services.items())
    ]


def _notes(settings: Settings) -> list[str]:
    notes = []
    if settings.network == "private":
        notes.append(f"The private network costs {NAT_GATEWAY}.")
    if settings.bill_export and not settings.makes_export:
        notes.append(
            f"No bill export: CloudFormation makes one in us-east-1 only, not in {settings.region}."
            " docs/cloud-engineers.md says how to make it."
        )
    if settings.monthly_budget_usd and not settings.makes_budget:
        notes.append(f"No budget: CloudFormation makes none in {settings.region}.")
    return notes
