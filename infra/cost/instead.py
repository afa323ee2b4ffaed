"""The same job done otherwise, each way with its price, its limits and what one gives up.

What every way needs is left out of all of them: the release pipeline, and the data in S3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from deployments.hardware import nearest
from deployments.prices import Prices
from infra.cost.assumptions import Assumptions
from infra.cost.lines import Bill, Kind, Use, priced
from infra.cost.resources import CLOUDWATCH, EC2, ECR, VPC, Templates, bill, fargate
from infra.cost.runs import DAYS, Job

HOURS = Decimal(730)
_BOOT = Decimal(1) / 60  # hours: an instance's start, assumed a minute


@dataclass(frozen=True)
class Work:
    """What is to be done: so many runs a day, each of so many minutes on so much hardware."""

    runs_per_day: Decimal = Decimal(1)
    minutes: Decimal = Decimal(10)
    cpu: int = 1024
    memory: int = 2048

    @property
    def runs(self) -> Decimal:
        return self.runs_per_day * DAYS

    @property
    def size(self) -> tuple[int, int]:
        return nearest(self.cpu, self.memory)

    @property
    def hours(self) -> Decimal:
        """Of Fargate tasks, their start included, in a month."""
        return self.runs * (self.minutes / 60 + Assumptions().start_seconds / 3600)


@dataclass(frozen=True)
class Way:
    name: str
    how: str  # what is priced
    gives_up: str
    price: Callable[[Work], Iterable[Use]]
    limit: Callable[[Work], str] = lambda _: ""  # why it does not fit, or nothing

    def bill(self, work: Work, prices: Prices) -> Bill | None:
        """None where the work does not fit, or a price is not known in the region."""
        if self.limit(work):
            return None
        uses = tuple(self.price(work))
        known = all(use.price in prices.amounts for use in uses if use.price)
        return Bill(priced(uses, prices)) if known else None

    def why_not(self, work: Work, prices: Prices) -> str:
        """Why it has no bill, in words."""
        limit = self.limit(work)
        return f"it does not fit: {limit}" if limit else f"a price is not known in {prices.region}"


def nightshift(templates: Templates, work: Work, prices: Prices) -> Bill:
    """This installation, for this work: without its releases and the data in S3."""
    cpu, memory = work.size
    job = Job("job", cpu, memory, work.runs, work.minutes)
    nothing = {name: Decimal(0) for name in ("pushes", "data_gb", "artifacts_gb")}
    return bill(templates, (job,), prices, Assumptions(**nothing))


OURS = "Nightshift"


@dataclass(frozen=True)
class Instead:
    """One way to do the work of a job."""

    name: str
    bill: Bill | None
    how: str
    gives_up: str
    why_not: str = ""  # where it has no bill


def beside(templates: Templates, jobs: Sequence[Job], prices: Prices) -> tuple[Job, list[Instead]]:
    """Every way to do the work of the job that runs longest in a month, ours first."""
    job = max(jobs, key=lambda one: one.runs * one.minutes)
    work = Work(job.runs / DAYS, job.minutes, job.cpu, job.memory)
    ours = nightshift(templates, work, prices)
    about = "its orchestrator, alarms and images, without releases and stored data"
    found = [Instead(OURS, ours, about, "")]
    for way in ways():
        theirs = way.bill(work, prices)
        why_not = "" if theirs else way.why_not(work, prices)
        found.append(Instead(way.name, theirs, way.how, way.gives_up, why_not))
    return job, found


def ways() -> tuple[Way, ...]:
    return (
        Way(
            "EC2, always on, cron",
            "the smallest t4g with the job's memory and 0.5 GB for the system, 8 GB gp3, an "
            "address",
            "somebody patches it; no retries, no history, no alerts; one job's memory for all",
            _ec2_always,
            _no_t4g,
        ),
        Way(
            "EC2, started and stopped",
            "the same instance, started by a schedule and stopped by itself, a minute to boot",
            "as above, and a stop that fails is paid for until somebody sees it",
            _ec2_started,
            _no_t4g,
        ),
        Way(
            "Lambda",
            "ARM64, an image in ECR; memory as the job's, or more where its CPU is tied to it "
            "(1,769 MB a vCPU); a schedule",
            "runs beyond 15 minutes or 10 GB; no history beyond logs. A zip has 250 MB at most, so "
            "it is an image",
            _lambda,
            _no_lambda,
        ),
        Way(
            "AWS Batch",
            "the same Fargate Spot task, an address, a schedule; Batch itself is free",
            "Prefect: flows of many tasks, run history, pages, parameters by hand",
            _batch,
        ),
        Way(
            "Step Functions",
            "the same Fargate Spot task by RunTask.sync, four transitions a run, a schedule",
            "Prefect; the flow's logic is in JSON; retries and history are there",
            _step_functions,
        ),
        Way(
            "Managed Airflow, serverless",
            "the same Fargate Spot task, and the ECS operator that starts it and waits for it",
            "Airflow's pages and Python DAGs: workflows are YAML; Prefect",
            _mwaa_serverless,
        ),
        Way(
            "Managed Airflow",
            "mw1.micro, one NAT gateway for its private subnets, the same Fargate Spot task",
            "nothing; it is paid for day and night",
            _mwaa,
        ),
        Way(
            "Prefect that never sleeps",
            "server and worker of 0.5 vCPU and 1 GB each, db.t4g.micro with 20 GB, a load balancer "
            "at a tenth of a capacity unit, four addresses, the same Fargate Spot task",
            "nothing; it adds pages at any time, and a database with backups",
            _prefect,
        ),
        Way(
            "Prefect Cloud",
            "Starter, the first plan with a work pool on own compute; ecs:push needs no worker; "
            "the same Fargate Spot task",
            "a long-lived key of the account is at Prefect; 20 deployments, 7 days of history",
            _prefect_cloud,
        ),
    )


# --- their lines ---------------------------------------------------------------------------------


def _task(work: Work) -> Iterator[Use]:
    cpu, memory = work.size
    yield from fargate("job", "per run", cpu, memory, work.hours, spot=True, address=True)
    yield from _image()
    yield from _logs(work)


def _image() -> Iterator[Use]:
    size = Assumptions().repository_gb()
    yield Use("job", ECR, "images", "fixed", "GB-month", size, "ecr-gb-month")


def _logs(work: Work) -> Iterator[Use]:
    gb = work.runs * Assumptions().run_log_mb / 1000
    yield Use("job", CLOUDWATCH, "logs taken in", "per run", "GB", gb, "logs-gb")
    yield Use("job", CLOUDWATCH, "logs kept", "per run", "GB-month", gb, "logs-gb-month")


def _schedule(work: Work, times: int = 1) -> Use:
    return Use(
        "job", "CloudWatch Events", "scheduled", "per run", "invocation", work.runs * times,
        "scheduler-invocation",
    )  # fmt: skip


# GB of memory: https://aws.amazon.com/ec2/instance-types/t4/
T4G = {
    "nano": Decimal("0.5"), "micro": Decimal(1), "small": Decimal(2), "medium": Decimal(4),
    "large": Decimal(8), "xlarge": Decimal(16), "2xlarge": Decimal(32),
}  # fmt: skip
_SYSTEM = Decimal("0.5")


def t4g(memory: int) -> str | None:
    """The smallest that has as many MiB and what the system needs."""
    wanted = Decimal(memory) / 1024 + _SYSTEM
    return next((name for name, gb in T4G.items() if gb >= wanted), None)


def _no_t4g(work: Work) -> str:
    return "" if t4g(work.memory) else "no t4g has that much memory"


def _ec2(work: Work, hours: Decimal, kind: Kind) -> Iterator[Use]:
    size = t4g(work.memory)
    yield Use("instance", EC2, f"t4g.{size}", kind, "hour", hours, f"ec2-t4g.{size}-hour")
    yield Use("instance", EC2, "8 GB gp3", "fixed", "GB-month", Decimal(8), "ebs-gp3-gb-month")
    yield Use("instance", VPC, "public IPv4 address", kind, "hour", hours, "public-ipv4-hour")


def _ec2_always(work: Work) -> Iterator[Use]:
    yield from _ec2(work, HOURS, "fixed")
    yield from _logs(work)


def _ec2_started(work: Work) -> Iterator[Use]:
    yield from _ec2(work, min(HOURS, work.runs * (work.minutes / 60 + _BOOT)), "per run")
    yield _schedule(work)
    yield from _logs(work)


# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html and configuration-memory
LAMBDA_MINUTES, LAMBDA_MB, LAMBDA_MB_PER_VCPU = 15, 10_240, 1_769


def _lambda_memory(work: Work) -> int:
    return max(work.memory, work.cpu * LAMBDA_MB_PER_VCPU // 1024)


def _no_lambda(work: Work) -> str:
    if work.minutes > LAMBDA_MINUTES:
        return f"longer than {LAMBDA_MINUTES} minutes"
    return "more than 10 GB" if _lambda_memory(work) > LAMBDA_MB else ""


def _lambda(work: Work) -> Iterator[Use]:
    name = "AWS Lambda"
    seconds = work.runs * work.minutes * 60 * Decimal(_lambda_memory(work)) / 1024
    yield Use("job", name, "compute", "per run", "GB-second", seconds, "lambda-arm64-gb-second")
    yield Use("job", name, "requests", "per run", "request", work.runs, "lambda-request")
    yield _schedule(work)
    yield from _image()
    yield from _logs(work)


def _batch(work: Work) -> Iterator[Use]:
    yield from _task(work)
    yield _schedule(work)


def _step_functions(work: Work) -> Iterator[Use]:
    yield from _task(work)
    yield _schedule(work)
    yield Use(
        "job", "AWS Step Functions", "transitions", "per run", "transition", work.runs * 4,
        "stepfunctions-transition",
    )  # fmt: skip


_MWAA = "Amazon Managed Workflows for Apache Airflow"


def _mwaa_serverless(work: Work) -> Iterator[Use]:
    yield from _task(work)
    yield Use(
        "workflow", _MWAA, "tasks", "per run", "hour", work.hours, "mwaa-serverless-task-hour"
    )


def _mwaa(work: Work) -> Iterator[Use]:
    yield from _task(work)
    yield Use("environment", _MWAA, "mw1.micro", "fixed", "hour", HOURS, "mwaa-micro-hour")
    yield Use("environment", EC2, "NAT gateway", "fixed", "hour", HOURS, "nat-hour")
    yield Use("environment", VPC, "its address", "fixed", "hour", HOURS, "public-ipv4-hour")


def _prefect(work: Work) -> Iterator[Use]:
    for name in ("server", "worker"):
        yield from fargate(name, "fixed", 512, 1024, HOURS, spot=False, address=True)
    rds, elb = "Amazon Relational Database Service", "Elastic Load Balancing"
    yield Use("database", rds, "db.t4g.micro", "fixed", "hour", HOURS, "rds-t4g.micro-hour")
    yield Use("database", rds, "20 GB gp3", "fixed", "GB-month", Decimal(20), "rds-gp3-gb-month")
    yield Use("load balancer", elb, "hours", "fixed", "hour", HOURS, "alb-hour")
    yield Use("load balancer", elb, "capacity", "fixed", "LCU-hour", HOURS / 10, "alb-lcu-hour")
    yield Use("load balancer", VPC, "addresses", "fixed", "hour", 2 * HOURS, "public-ipv4-hour")
    yield from _task(work)


def _prefect_cloud(work: Work) -> Iterator[Use]:
    yield Use(
        "plan", "Prefect Cloud", "Starter", "fixed", "month", Decimal(1),
        "prefect-cloud-starter-month",
    )  # fmt: skip
    yield from _task(work)
