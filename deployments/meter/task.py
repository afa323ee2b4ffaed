"""A run on Fargate, from what ECS, Prefect and the work pool say of it. Pure."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from deployments.meter.cost import cost
from deployments.meter.often import VARIABLE
from deployments.meter.rates import rates
from deployments.meter.sizes import smaller
from deployments.meter.usage import Measured, Terms, Usage
from deployments.meter.words import Metered

# What the task metadata endpoint does not tell, and the work pool therefore does.
CAPACITY = "NIGHTSHIFT_CAPACITY"  # the capacity provider strategy that RunTask is given
ARCHITECTURE = "NIGHTSHIFT_ARCHITECTURE"  # the task definition's: ARM64 or X86_64
PUBLIC_IP = "NIGHTSHIFT_PUBLIC_IP"  # assignPublicIp: ENABLED or DISABLED


def metered(
    environment: Mapping[str, str],
    task: Mapping[str, Any],
    flow_run: Mapping[str, Any],
    measured: Measured,
    now: datetime,
) -> Metered:
    """`task`: as the metadata endpoint has it; `flow_run`: as Prefect has it, {} where it does not
    answer. Raises KeyError, ValueError or Problem where something is missing.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4-fargate-response.html
    """
    pulled = datetime.fromisoformat(task["PullStartedAt"])
    start = flow_run.get("start_time")
    startup = (datetime.fromisoformat(start) - pulled).total_seconds() if start else 0.0
    usage = Usage(
        cpu=round(task["Limits"]["CPU"] * 1024),
        memory=int(task["Limits"]["Memory"]),
        seconds=(now - pulled).total_seconds(),
        startup=startup if startup > 0 else None,
        measured=measured,
    )
    prices, whose = rates(task["TaskARN"].split(":")[3])
    x86 = environment.get(ARCHITECTURE, os.uname().machine).upper() == "X86_64"
    terms = Terms(
        "x86_64" if x86 else "arm64",
        spot="FARGATE_SPOT" in environment.get(CAPACITY, ""),
        public_ip=environment.get(PUBLIC_IP) == "ENABLED",
    )
    runs = environment.get(VARIABLE, "")
    return Metered(
        usage,
        terms,
        cost(usage, terms, prices),
        smaller(usage, terms, prices),
        whose,
        runs=int(runs) if runs.isdecimal() else None,
        state=(flow_run.get("state") or {}).get("name") or "unknown",
    )
