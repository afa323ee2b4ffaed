"""Whatever is set: it synthesises, cdk-nag and cfn-lint find nothing, and it fits."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import pytest

from infra.describe import LIMIT
from infra.settings import Settings
from tests.infra.conftest import Synthesise, Templates, deployment, reads, writes

CONNECTION = {
    "source": "connection",
    "connection_arn": "arn:aws:codeconnections:eu-west-1:123456789012:connection/0a1b",
    "repository": "a-rather-long-owner/a-rather-long-repository",
}
EXTERNAL = {"orchestrator": "external", "prefect_api_url": "https://prefect.example.com/api"}

# Every value of every setting that changes what exists, as context. Switches that add or take away
# something of their own go together.
CHOICES: list[list[dict[str, Any]]] = [
    [
        {},
        {**CONNECTION, "region": "eu-west-1"},
        {"existing_repository": "true", "repository": "jobs"},
    ],
    [{}, {"network": "private"}],
    [{}, {"orchestrator": "always"}, EXTERNAL],
    [
        {},
        {
            "alert_email": "ops@example.com",
            "awake_hours_alarm": 0,
            "bill_export": "false",
            "egress_ports": "[443, 5432]",
            "monthly_budget_usd": "0",
            "spot": "false",
        },
    ],
]
LONGEST = {"name": "n" * 16, "stage": "s" * 8, "region": "ap-southeast-1", "branch": "b" * 60}


def every_combination() -> list[dict[str, Any]]:
    return [
        {key: value for choice in chosen for key, value in choice.items()}
        for chosen in itertools.product(*CHOICES)
    ]


def test_the_choices_name_every_setting() -> None:
    named = {key for choices in CHOICES for choice in choices for key in choice} | set(LONGEST)
    # These change one value each, which other tests look at; purge is not in the templates.
    one_value = {"log_retention_days", "scan_severity", "wake_lead_seconds", "history_days"}
    one_value |= {"overdue_minutes"}
    assert set(Settings.model_fields) - named == {*one_value, "purge"}


def test_every_combination_synthesises(synthesise: Synthesise) -> None:
    """With cdk-nag, which fails the synthesis for a finding that nobody acknowledged."""
    combinations = every_combination()
    assert len(combinations) == 36
    for context in combinations:
        made = synthesise(context)
        assert set(made) == {"nightshift-prod", "nightshift-prod-identity"}
        for template in made.values():
            needs_nothing(template)


def needs_nothing(template: dict[str, Any]) -> None:
    """No bootstrap, no Lambda, no asset, no parameter."""
    assert not {"Parameters", "Rules", "Conditions", "Transform"} & set(template)
    kinds = {resource["Type"] for resource in template["Resources"].values()}
    assert not {kind for kind in kinds if "Lambda" in kind or "Custom" in kind}
    assert "cdk-hnb659fds" not in json.dumps(template)


@pytest.mark.parametrize(
    "context",
    [{}, {**CONNECTION, **EXTERNAL, "network": "private"}, {"orchestrator": "always", **LONGEST}],
    ids=["default", "connection-external-private", "longest"],
)
def test_cfn_lint_finds_nothing(synthesise: Synthesise, context: dict[str, Any]) -> None:
    from cfnlint.api import lint
    from cfnlint.config import ManualArgs

    for template in synthesise(context).values():
        config = ManualArgs(regions=[context.get("region", "us-east-1")])
        found = lint(json.dumps(template), config=config)
        assert [str(match) for match in found] == []


def test_it_fits_into_what_cloudformation_takes_without_a_bucket(synthesise: Synthesise) -> None:
    """The longest names, the largest settings, and fifteen deployments."""
    many = [
        deployment(f"a-flow-of-ours-{n}/daily", reads(f"in-{n}/"), writes(f"out-{n}/"))
        for n in range(15)
    ]
    largest = {**LONGEST, "network": "private", "alert_email": "o" * 60 + "@example.com"}
    for stack, template in synthesise(largest, many).items():
        assert yaml_size(template) < LIMIT, stack


def yaml_size(template: dict[str, Any]) -> int:
    """At least the bytes that the CDK CLI sends: it writes YAML with lists indented."""
    import yaml

    class Indented(yaml.SafeDumper):
        def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
            super().increase_indent(flow, indentless=indentless and False)

    return len(yaml.dump(template, Dumper=Indented, width=10_000).encode())


# What a key, a password or a token looks like: known forms, and what has the letters of chance.
KNOWN = re.compile(
    r"(AKIA|ASIA)[0-9A-Z]{16}|-----BEGIN|(?i:password|passwd|bearer )|xox[bap]-|ghp_|pn[ub]_"
    r"|//[^/@\s]+:[^/@\s]+@"
)


def is_suspicious(text: str) -> bool:
    tokens = r"[A-Za-z0-9_-]{32,}"  # token_urlsafe and its kind
    keys = r"(?<![\w/+-])[A-Za-z0-9/+]{40}(?![\w/+=-])"  # AWS's secret access keys
    words = [*re.findall(tokens, text), *re.findall(keys, text)]
    chance = [w for w in words if all(re.search(f"[{kind}]", w) for kind in ("a-z", "A-Z", "0-9"))]
    return bool(KNOWN.search(text) or chance)


def test_templates_have_no_secret(synthesise: Synthesise) -> None:
    """Nothing looks like one, whatever is set, and what is in the environment is a name."""
    for context in (*[c for choices in CHOICES for c in choices], LONGEST):
        for template in synthesise(context).values():
            assert [text for text in texts(template) if is_suspicious(text)] == []
            for definition in template["Resources"].values():
                if definition["Type"] == "AWS::ECS::TaskDefinition":
                    only_names(definition["Properties"]["ContainerDefinitions"][0])


@pytest.mark.parametrize(
    "secret",
    [
        "nightshift:3q2-7wAAbbCCddEEffGGhhIIjjKKllMMnnOOppQQ",
        "AKIAIOSFODNN7EXAMPLE",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "pnu_0123456789abcdef",
        "https://me:hunter2@prefect.example.com/api",
        "password=hunter2",
    ],
)
def test_the_scan_finds_one(secret: str) -> None:
    (found,) = texts({"Environment": [{"Name": "X", "Value": secret}, {"Ref": "Y" * 50}]})[1:]
    assert is_suspicious(found)


def texts(value: Any) -> list[str]:
    """Every text of a template that is not the name of one of its own parts."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [text for item in value for text in texts(item)]
    if isinstance(value, dict):
        parts = {"Ref", "Fn::GetAtt", "DependsOn"}
        return [text for key, item in value.items() if key not in parts for text in texts(item)]
    return []


def only_names(container: dict[str, Any]) -> None:
    assert {v["Name"] for v in container["Environment"]} <= {
        *("NIGHTSHIFT_STACK", "NIGHTSHIFT_ORCHESTRATOR", "AWS_DEFAULT_REGION", "PREFECT_API_URL"),
        *("NIGHTSHIFT_WAKE_LEAD", "NIGHTSHIFT_HISTORY_DAYS", "NIGHTSHIFT_OVERDUE_MINUTES"),
    }
    for secret in container["Secrets"]:  # where it is, not what it is
        assert secret["ValueFrom"]["Fn::Sub"].startswith("arn:aws:ssm:")


# --- changing things -----------------------------------------------------------------------------


def changed(before: Templates, after: Templates) -> set[str]:
    """Logical ids of the resources that are not the same in both."""
    return {
        f"{stack}/{name}"
        for stack in {*before, *after}
        for name in {*before[stack]["Resources"], *after[stack]["Resources"]}
        if before[stack]["Resources"].get(name) != after[stack]["Resources"].get(name)
    }


IDENTITY = "nightshift-prod-identity"


def test_another_prefix_changes_that_role_alone(synthesise: Synthesise) -> None:
    before = synthesise({}, [deployment("a/b", reads("in/")), deployment("c/d", writes("x/"))])
    after = synthesise({}, [deployment("a/b", reads("other/")), deployment("c/d", writes("x/"))])
    assert changed(before, after) == {f"{IDENTITY}/JobABRole"}


def test_another_name_changes_that_role_and_who_may_pass_it(synthesise: Synthesise) -> None:
    before = synthesise({}, [deployment("a/b", reads("in/")), deployment("c/d", writes("x/"))])
    after = synthesise({}, [deployment("z/b", reads("in/")), deployment("c/d", writes("x/"))])
    assert changed(before, after) == {
        f"{IDENTITY}/JobABRole",
        f"{IDENTITY}/JobZBRole",
        f"{IDENTITY}/OrchestratorRole",
    }


@pytest.mark.parametrize(
    "context",
    [
        {"spot": "false"},
        {"log_retention_days": 7},
        {"scan_severity": "high"},
        {"alert_email": "ops@example.com"},
        {"monthly_budget_usd": "1"},
        {"awake_hours_alarm": 2},
        {"branch": "release"},
        {"egress_ports": "[443, 5432]"},
        {"bill_export": "false"},
        CONNECTION,
        {"existing_repository": "true"},
        {"purge": "true"},
    ],
    ids=str,
)
def test_no_such_setting_touches_the_orchestrator_its_wake_up_or_a_bucket(
    synthesise: Synthesise, context: dict[str, Any]
) -> None:
    before, after = synthesise(), synthesise(context)
    kinds = {
        before["nightshift-prod"]["Resources"].get(name.split("/")[1], {}).get("Type")
        for name in changed(before, after)
        if name.startswith("nightshift-prod/")
    }
    assert not kinds & {
        "AWS::ECS::Service",
        "AWS::ECS::TaskDefinition",
        "AWS::ECS::Cluster",
        "AWS::Scheduler::Schedule",
        "AWS::S3::Bucket",
    }


def test_no_setting_of_an_installation_replaces_a_bucket(synthesise: Synthesise) -> None:
    """A bucket is replaced when its name changes: it depends on name, stage and region alone."""
    plain = buckets(synthesise())
    for context in every_combination():
        if "region" not in context:
            assert buckets(synthesise(context)) == plain


def buckets(made: Templates) -> dict[str, Any]:
    return {
        name: resource["Properties"]["BucketName"]
        for name, resource in made["nightshift-prod"]["Resources"].items()
        if resource["Type"] == "AWS::S3::Bucket"
    }
