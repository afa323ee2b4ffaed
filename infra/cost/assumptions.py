"""What a bill beforehand has to assume. Measured figures say where; the rest is assumed, and said.

Each can be set on the command line: `python -m infra.cost bill --help`.
"""

# ruff: noqa: RUF009 - `_assumed` is dataclasses.field, with a sentence

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any


def _assumed(default: str, sentence: str) -> Any:
    return field(default=Decimal(default), metadata={"sentence": sentence})


@dataclass(frozen=True)
class Assumptions:
    """Amounts a month unless they say otherwise; `{}` in a sentence is the amount."""

    hours: Decimal = _assumed("730", "A month has {} hours.")
    start_seconds: Decimal = _assumed(
        "30",
        "An ECS task is billed from the start of its image pull; {} s until the run begins are "
        "assumed, not measured on AWS.",
    )
    after_seconds: Decimal = _assumed(
        "8",
        "The orchestrator is awake for {} s after a run (make bench-wake), and from the wake-up "
        "on, which is counted in full.",
    )
    wake_seconds: Decimal = _assumed(
        "31.6",
        "A wake-up with nothing to run, after a push or once a week, takes {} s (make bench-wake), "
        "and the start of its task.",
    )
    puts_minute: Decimal = _assumed(
        "25", "Litestream writes to S3 {} times a minute while awake; 14 to 37 were seen."
    )
    lists_minute: Decimal = _assumed(
        "4", "Awake, the orchestrator looks for requests in S3 {} times a minute: every 15 s."
    )
    wake_gets: Decimal = _assumed("200", "A wake-up reads {} objects from S3 (assumed).")
    queue_minute: Decimal = _assumed(
        "6", "Awake, the observer asks SQS {} times a minute (assumed; it waits up to 20 s)."
    )
    run_gets: Decimal = _assumed("500", "A run reads S3 {} times (assumed).")
    run_puts: Decimal = _assumed("50", "A run writes to S3, or lists it, {} times (assumed).")
    run_log_mb: Decimal = _assumed("1", "A run writes {} MB of logs (assumed).")
    wake_log_mb: Decimal = _assumed(
        "1", "The orchestrator writes {} MB of logs a wake-up (assumed)."
    )
    run_nat_gb: Decimal = _assumed(
        "0.1", "Behind a NAT gateway a run, or a wake-up, sends {} GB through it (assumed)."
    )
    image_gb: Decimal = _assumed(
        "0.1858", "The image has {} GB, compressed (measured); ECR bills layers once."
    )
    images: Decimal = _assumed(
        "4", "Of the releases that are kept, {} differ in their dependencies (assumed)."
    )
    release_gb: Decimal = _assumed(
        "0.005", "Every other release that is kept adds {} GB of layers (assumed)."
    )
    data_gb: Decimal = _assumed("1", "Bills and reports in the data bucket take {} GB (assumed).")
    state_gb: Decimal = _assumed(
        "0.1", "Prefect's history takes {} GB (assumed; 100 runs are 4 MB)."
    )
    artifacts_gb: Decimal = _assumed("0.1", "The pipeline's artifacts take {} GB (assumed).")
    pushes: Decimal = _assumed("20", "{} pushes a month are released.")
    build_minutes: Decimal = _assumed(
        "5",
        "A release builds for {} minutes on arm1.small (assumed), and its source takes one; "
        "CodePipeline rounds each up.",
    )
    users: Decimal = _assumed(
        "5",
        "{} people use CodeCommit; the first five of an account pay nothing, by its price list.",
    )
    mails: Decimal = _assumed("5", "{} alerts are mailed.")

    def repository_gb(self, kept: int = 20) -> Decimal:
        """Of so many releases."""
        images = min(self.images, Decimal(kept))
        return images * self.image_gb + (kept - images) * self.release_gb

    def sentences(self) -> Iterator[str]:
        for one in fields(self):
            yield one.metadata["sentence"].format(f"{getattr(self, one.name):f}")


ALWAYS = (
    "List prices without tax. Jobs and the orchestrator run on ARM64.",
    "Runs do not overlap: each is counted with a wake-up of its own, so that this is at most.",
    "Data moves within the region and through S3's gateway endpoint, which is free.",
    "Free tiers are an account's, and count as if nothing else used them. Those of an account's "
    "first 12 months, and credits, are not counted.",
)
