"""The settings of one installation: `infra/settings.toml`, then CDK context (`-c key=value`)."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from infra import regions

FILE = Path(__file__).with_name("settings.toml")

# What CloudWatch Logs accepts:
# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
Retention = Literal[
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922,
    3288, 3653,
]  # fmt: skip


def _setting(default: Any, fix: str, **limits: Any) -> Any:
    return Field(default, json_schema_extra={"fix": fix}, **limits)


class Settings(BaseModel):
    """What a cloud engineer decides. Every default is the cheap and safe choice."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    # Bucket names carry name, stage, account and region, and may have 63 characters.
    name: str = _setting(
        "nightshift",
        "lower-case letters, digits and dashes, 2 to 16 of them",
        pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$",
        min_length=2,
        max_length=16,
    )
    stage: str = _setting(
        "prod", "lower-case letters and digits, at most 8 of them", pattern=r"^[a-z][a-z0-9]{0,7}$"
    )
    region: str = _setting(
        "us-east-1",
        "a region of the commercial partition, such as eu-central-1",
        pattern=r"^(af|ap|ca|eu|il|me|mx|sa|us)-(central|(north|south)?(east|west)?)-\d$",
    )

    source: Literal["codecommit", "connection"] = _setting(
        "codecommit", '"codecommit", or "connection" for GitHub, GitLab or Bitbucket'
    )
    repository: str = _setting(
        "", 'with source = "connection", "owner/name"', pattern=r"^$|^[\w.-]+(/[\w.-]+)*$"
    )
    branch: str = _setting("main", "a branch's name", pattern=r"^[\w./-]+$")
    connection_arn: str = _setting(
        "",
        "the ARN that the console shows under Developer Tools, Connections",
        pattern=r"^$|^arn:aws:(codeconnections|codestar-connections):[\w-]+:\d{12}:connection/[\w-]+$",
    )
    existing_repository: bool = _setting(False, "true or false")

    network: Literal["public", "private"] = _setting("public", '"public" or "private"')
    egress_ports: tuple[Annotated[int, Field(ge=1, le=65535)], ...] = _setting(
        (443,), "a list of ports with 443 among them, which AWS's own APIs need"
    )
    spot: bool = _setting(True, "true or false")

    orchestrator: Literal["asleep", "always", "external"] = _setting(
        "asleep", '"asleep", "always" or "external"'
    )
    prefect_api_url: str = _setting(
        "",
        'with orchestrator = "external", its https address, without a name or password in it',
        pattern=r"^$|^https://[^\s@]+$",
    )
    wake_lead_seconds: int = _setting(120, "seconds, 15 to 3600", ge=15, le=3600)
    overdue_minutes: int = _setting(30, "minutes, 1 to 1440; 0 for none", ge=0, le=1440)
    history_days: int = _setting(60, "days, 1 to 3650", ge=1, le=3650)

    bill_export: bool = _setting(True, "true or false")

    scan_severity: Literal["low", "medium", "high", "critical"] = _setting(
        "critical", '"low", "medium", "high" or "critical"'
    )

    log_retention_days: Retention = _setting(
        30,
        "a number of days that CloudWatch knows: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, …",
    )
    alert_email: str = _setting(
        "", "an e-mail address, or nothing", pattern=r"^$|^[^@\s]+@[^@\s]+\.[^@\s]+$"
    )
    monthly_budget_usd: Decimal = _setting(
        Decimal(5), "dollars a month, 0 for none", ge=0, max_digits=9, decimal_places=2
    )
    awake_hours_alarm: int = _setting(6, "hours, 1 to 24; 0 for none", ge=0, le=24)

    purge: bool = _setting(False, "true or false")

    @model_validator(mode="after")
    def _together(self) -> Settings:
        if self.region in regions.NO_CODEBUILD:
            raise Together("region", self.region, "CloudFormation makes no CodeBuild project there")
        if self.source == "codecommit" and self.region in regions.NO_CODECOMMIT:
            raise Together("source", self.source, f"there is no CodeCommit in {self.region}")
        if self.source == "connection" and not self.connection_arn:
            raise Together("connection_arn", "", 'source = "connection" needs one')
        if self.source == "connection" and "/" not in self.repository:
            raise Together(
                "repository", self.repository, 'source = "connection" needs "owner/name"'
            )
        if self.source == "codecommit" and "/" in self.repository:
            raise Together("repository", self.repository, "CodeCommit's names have no /")
        if self.orchestrator == "external" and not self.prefect_api_url:
            raise Together("prefect_api_url", "", 'orchestrator = "external" needs one')
        if 443 not in self.egress_ports:
            raise Together("egress_ports", list(self.egress_ports), "443 is not among them")
        return self

    @property
    def installation(self) -> str:
        """The stack's name, and the first part of every other."""
        return f"{self.name}-{self.stage}"

    @property
    def codecommit_repository(self) -> str:
        return self.repository or self.installation

    @property
    def makes_export(self) -> bool:
        return self.bill_export and self.region in regions.EXPORTS

    @property
    def makes_budget(self) -> bool:
        return bool(self.monthly_budget_usd) and self.region not in regions.NO_BUDGETS


class Together(ValueError):
    """Settings that are right one by one and wrong together: key, value, why."""


class BadSettings(Exception):
    """One line for each bad setting: file, key, value, why, and the fix."""


def given(pairs: Iterable[str]) -> dict[str, str]:
    """The context that a command line's `--set key=value` make. Raises BadSettings."""
    context = {}
    for text in pairs:
        key, equals, value = text.partition("=")
        if not equals:
            raise BadSettings(f"--set {text}: no = in it (fix: write key=value)")
        context[key] = value
    return context


def load(context: Mapping[str, Any] | None = None, file: Path = FILE) -> Settings:
    """The settings of `file`, with what `context` says instead. Raises BadSettings."""
    try:
        values = tomllib.loads(file.read_text())
    except FileNotFoundError:
        values = {}
    except tomllib.TOMLDecodeError as error:
        raise BadSettings(f"{file.name}: {error} (fix: mend that line)") from error
    origin = dict.fromkeys(values, file.name)
    for key, value in (context or {}).items():
        values[key], origin[key] = _typed(key, value), "-c"
    try:
        return Settings(**values)
    except ValidationError as error:
        lines = [_line(origin, problem) for problem in error.errors()]
        raise BadSettings("\n".join(dict.fromkeys(lines))) from error


def _typed(key: str, value: Any) -> Any:
    """Context values given on a command line are text."""
    if isinstance(value, str) and key in Settings.model_fields:
        if Settings.model_fields[key].annotation is str:
            return value
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _line(origin: Mapping[str, str], problem: Any) -> str:
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, Together):
        key, value, why = cause.args
    else:
        key = str(problem["loc"][0])
        value, why = problem["input"], _WHY.get(problem["type"], problem["msg"])
    if key not in Settings.model_fields:
        fix = "one of " + ", ".join(Settings.model_fields)
        return (
            f"{origin.get(key, FILE.name)}: {key} = {_shown(value)}: no such setting (fix: {fix})"
        )
    extra = Settings.model_fields[key].json_schema_extra
    advice = extra.get("fix") if isinstance(extra, dict) else ""
    return f"{origin.get(key, FILE.name)}: {key} = {_shown(value)}: {why} (fix: {advice})"


_WHY = {
    "string_pattern_mismatch": "not a valid value",
    "string_too_short": "too short",
    "string_too_long": "too long",
    "literal_error": "not one of the choices",
    "greater_than_equal": "too small",
    "less_than_equal": "too large",
    "bool_parsing": "neither true nor false",
    "bool_type": "neither true nor false",
    "int_from_float": "not a whole number",
    "int_parsing": "not a whole number",
    "int_type": "not a whole number",
    "decimal_parsing": "not an amount",
    "decimal_type": "not an amount",
}


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return re.sub(r"//[^/@]*@", "//…@", text)  # a password in an address
