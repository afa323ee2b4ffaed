"""Who may do what, as data: before any of it is a template."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from deployments.declared import declared
from flows.problem import Problem
from infra import grants, policies
from infra.extra import Extra, extras
from infra.grants import Role
from infra.names import Names
from infra.settings import Settings, load
from tests.infra.conftest import deployment, reads, writes

NAMES = Names("nightshift-prod", "us-east-1")
CONNECTION = {
    "source": "connection",
    "connection_arn": "arn:aws:codeconnections:us-east-1:123456789012:connection/0a1b",
    "repository": "us/jobs",
}
EXTERNAL = {"orchestrator": "external", "prefect_api_url": "https://prefect.example.com/api"}


def every_role(settings: Settings) -> tuple[Role, ...]:
    jobs = grants.job_roles(NAMES, declared(), ())
    return (*jobs, *grants.own_roles(NAMES, settings, jobs))


SETTINGS = [load(), load({"orchestrator": "always"}), load(CONNECTION), load(EXTERNAL)]


def wildcards() -> dict[tuple[str, str], str]:
    """Every resource that is not one name: (role, resource): AWS's reason."""
    return {
        (role.name, resource): policies.wildcard(statement, resource)
        for settings in SETTINGS
        for role in every_role(settings)
        for statement in role.statements
        if statement["Effect"] == "Allow"
        for resource in statement["Resource"]
        if re.search(r"[*?]", resource)
    }


def test_every_wildcard_that_remains_is_here_with_awss_reason() -> None:
    """A new one has to be argued for in this list."""
    account = "${AWS::AccountId}"
    assert set(wildcards()) == {
        ("job-cost-report-daily", f"arn:aws:s3:::nightshift-prod-data-{account}-us-east-1/bills/*"),
        (
            "job-cost-report-daily",
            f"arn:aws:s3:::nightshift-prod-data-{account}-us-east-1/reports/*",
        ),
        ("execution", "*"),
        ("execution", NAMES.log_group_arn("jobs") + ":log-stream:*"),
        ("execution", NAMES.log_group_arn("orchestrator") + ":log-stream:*"),
        ("orchestrator", "*"),
        ("orchestrator", NAMES.arn("ecs", "task-definition/nightshift-prod-job*:*")),
        ("orchestrator", NAMES.arn("ecs", "task/nightshift-prod/*")),
        ("orchestrator", NAMES.log_group_arn("jobs") + ":log-stream:*"),
        ("orchestrator", NAMES.arn("cloudformation", "stack/nightshift-prod/*")),
        ("orchestrator", NAMES.arn("cloudformation", "stack/nightshift-prod-identity/*")),
        ("orchestrator", f"arn:aws:s3:::nightshift-prod-state-{account}-us-east-1/prefect/*"),
        ("build", "*"),
        ("build", NAMES.log_group_arn("build") + ":log-stream:*"),
        ("build", f"arn:aws:s3:::nightshift-prod-artifacts-{account}-us-east-1/*"),
        ("pipeline", f"arn:aws:s3:::nightshift-prod-artifacts-{account}-us-east-1/*"),
    }
    assert all(reason for reason in wildcards().values())


def test_a_star_alone_is_for_actions_that_aws_ties_to_no_resource() -> None:
    for settings in SETTINGS:
        for role in every_role(settings):
            for statement in role.statements:
                if statement["Effect"] == "Allow" and "*" in statement["Resource"]:
                    assert set(statement["Action"]) <= set(policies.WITHOUT_RESOURCE)


def test_actions_are_written_out() -> None:
    for settings in SETTINGS:
        for role in every_role(settings):
            allowed = [s for s in role.statements if s["Effect"] == "Allow"]
            assert [a for s in allowed for a in s["Action"] if "*" in a] == []


def test_only_the_orchestrator_passes_roles_and_only_our_own() -> None:
    for settings in SETTINGS:
        for role in every_role(settings):
            passing = [s for s in role.statements if "iam:PassRole" in s["Action"]]
            assert not passing or role.name == "orchestrator"
            for statement in passing:
                assert all(
                    re.fullmatch(
                        r"arn:aws:iam::\$\{AWS::AccountId\}:role/nightshift-prod-[\w-]+", arn
                    )
                    for arn in statement["Resource"]
                )
                assert set(statement["Condition"]["StringEquals"]) == {"iam:PassedToService"}


def test_no_role_changes_iam_and_a_jobs_is_told_so() -> None:
    for settings in SETTINGS:
        for role in every_role(settings):
            iam = {a for s in role.statements if s["Effect"] == "Allow" for a in s["Action"]}
            assert {action for action in iam if action.startswith("iam:")} <= {"iam:PassRole"}
            denied = policies.no_iam() in role.statements
            assert denied is role.name.startswith("job-")


def test_each_mode_has_the_roles_that_it_needs() -> None:
    assert {role.name for role in every_role(load())} == {
        *("job-cost-report-daily", "execution", "orchestrator"),
        *("build", "pipeline", "scheduler", "source-event"),
    }
    always = {role.name: role for role in every_role(load({"orchestrator": "always"}))}
    (tells,) = always["scheduler"].statements  # nobody is woken, and a run may still not begin
    assert tells["Action"] == ["sns:Publish"]
    assert "source-event" not in {role.name for role in every_role(load(CONNECTION))}


def test_the_build_may_do_to_its_images_what_buildspec_does_and_no_more() -> None:
    """Neither take a tag away nor delete an image, and nothing in another repository."""
    role = next(role for role in every_role(load()) if role.name == "build")
    on_images = [s for s in role.statements if any(a.startswith("ecr:") for a in s["Action"])]
    named = [s for s in on_images if s["Sid"] != "LogInToRegistry"]
    assert {a for s in named for a in s["Action"]} == {
        *("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"),
        *("ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload"),
        *("ecr:PutImage", "ecr:DescribeImageScanFindings"),
    }
    assert {r for s in named for r in s["Resource"]} == {NAMES.repository_arn}
    # Of the account's findings it may see which there are, as ECR asks for in its name.
    (inspector,) = (s for s in role.statements if s["Sid"] == "ReadInspectorFindings")
    assert inspector["Action"] == ["inspector2:ListCoverage", "inspector2:ListFindings"]


def test_the_history_is_read_written_pruned_and_its_absence_is_seen() -> None:
    """With an external API it is the journal alone, and what is asked for."""
    bucket = NAMES.bucket_arn("state")
    for settings in SETTINGS:
        role = next(r for r in every_role(settings) if r.name == "orchestrator")
        found = {s["Sid"]: (s["Action"], s["Resource"]) for s in role.statements}
        below = [f"{bucket}/prefect/*"]
        assert found["ListState"] == (["s3:ListBucket"], [bucket])
        assert found["ReadState"] == (["s3:GetObject"], below)
        assert found["WriteState"] == (["s3:PutObject"], below)
        assert found["PruneState"] == (["s3:DeleteObject"], below)
        # Else S3 says 403 of a journal that is not there.
        assert not [s for s in role.statements if s["Sid"] == "ListState" and "Condition" in s]


def statements(*data: Any) -> dict[str, dict[str, Any]]:
    (role,) = grants.job_roles(NAMES, [deployment("a/b", *data)], ())
    return {statement["Sid"]: statement for statement in role.statements}


def test_a_prefix_is_listed_and_read_and_nothing_beside_it() -> None:
    made = statements(reads("bills/"))
    data = "arn:aws:s3:::nightshift-prod-data-${AWS::AccountId}-us-east-1"
    assert list(made) == ["List1", "Read", "NeverIam"]
    assert made["List1"]["Resource"] == [data]
    assert made["List1"]["Condition"] == {"StringLike": {"s3:prefix": ["bills/*"]}}
    assert made["Read"]["Resource"] == [f"{data}/bills/*"]


def test_without_a_slash_it_may_be_one_object() -> None:
    made = statements(reads("bill.csv", bucket="other"))
    assert made["Read"]["Resource"] == [
        "arn:aws:s3:::other/bill.csv",
        "arn:aws:s3:::other/bill.csv/*",
    ]
    assert made["List1"]["Condition"] == {"StringLike": {"s3:prefix": ["bill.csv/*"]}}


def test_a_destination_is_written_and_never_deleted_from() -> None:
    made = statements(writes("reports"))
    assert made["Write"]["Action"] == ["s3:PutObject"]
    assert made["Write"]["Resource"][0].endswith("/reports/*")
    assert not any("Delete" in a for s in made.values() for a in s["Action"])


def test_several_places_are_one_statement_each() -> None:
    made = statements(reads("in/", bucket="one"), writes("out/", bucket="two"), reads("x", "one"))
    assert list(made) == ["List1", "List2", "Read", "Write", "NeverIam"]
    assert made["List1"]["Condition"] == {"StringLike": {"s3:prefix": ["in/*", "x/*"]}}
    assert made["List2"]["Condition"] == {"StringLike": {"s3:prefix": ["out/*"]}}
    assert made["Read"]["Resource"] == [
        *("arn:aws:s3:::one/in/*", "arn:aws:s3:::two/out/*"),
        *("arn:aws:s3:::one/x", "arn:aws:s3:::one/x/*"),
    ]
    assert made["Write"]["Resource"] == ["arn:aws:s3:::two/out/*"]


def test_a_whole_bucket_has_no_condition() -> None:
    made = statements(reads("", bucket="public-data"))
    assert "Condition" not in made["List1"]
    assert made["Read"]["Resource"] == ["arn:aws:s3:::public-data/*"]


def test_another_variable_is_not_known() -> None:
    with pytest.raises(Problem, match="not one that an installation knows") as caught:
        statements(reads("x/", bucket="{{$OTHER}}"))
    assert "a/b" in str(caught.value)


def test_a_name_that_iam_does_not_take() -> None:
    with pytest.raises(Problem, match="a name that IAM does not take"):
        grants.job_roles(NAMES, [deployment("a-flow-with-a-long-name/" + "daily" * 8)], ())


# --- access.toml ---------------------------------------------------------------------------------

ENTRY = {
    "deployment": '"cost-report/daily"',
    "actions": '["secretsmanager:GetSecretValue"]',
    "resources": '["arn:aws:secretsmanager:us-east-1:123456789012:secret:prices-AbC"]',
    "reason": '"Reads the key of the price list."',
}


def write(folder: Path, **changes: str) -> Path:
    file = folder / "access.toml"
    values = {**ENTRY, **changes}
    file.write_text("[[allow]]\n" + "".join(f"{k} = {v}\n" for k, v in values.items() if v))
    return file


def test_an_extra_is_one_deployments_with_its_reason(tmp_path: Path) -> None:
    more = extras(declared(), write(tmp_path))
    assert more == (
        Extra(
            "cost-report/daily",
            ("secretsmanager:GetSecretValue",),
            ("arn:aws:secretsmanager:us-east-1:123456789012:secret:prices-AbC",),
            "Reads the key of the price list.",
        ),
    )
    with_it, without = grants.job_roles(NAMES, [*declared(), deployment("z/z")], more)
    assert (with_it.extras, without.extras) == (more, ())


def test_a_wildcard_at_the_end_of_a_name_is_fine(tmp_path: Path) -> None:
    extras(declared(), write(tmp_path, resources='["arn:aws:s3:::bucket/prefix/*"]'))
    extras(declared(), write(tmp_path, actions='["ecr:GetAuthorizationToken"]', resources='["*"]'))


@pytest.mark.parametrize(
    ("changes", "summary"),
    [
        ({"deployment": '"cost-report/hourly"'}, "no such deployment"),
        ({"actions": '["*"]'}, "not an action"),
        ({"actions": '["s3:*"]'}, "not an action"),
        ({"actions": '["iam:PassRole"]'}, "not an action"),
        ({"actions": '["iam:CreateUser"]'}, "not an action"),
        ({"actions": '"s3:GetObject"'}, "not a list"),
        ({"actions": "[]"}, "not a list"),
        ({"resources": '["*"]'}, "not a resource"),
        ({"resources": '["arn:aws:s3:::*"]'}, "not a resource"),
        ({"resources": '["arn:aws:*:::x"]'}, "not a resource"),
        ({"resources": '["arn:aws:s3:::a*b"]'}, "not a resource"),
        ({"resources": '["bucket"]'}, "not a resource"),
        ({"reason": '"because"'}, "a reason"),
        ({"reason": '"漢字 is not in Latin-1"'}, "a reason"),
        ({"reason": ""}, "other keys"),
        ({"until": '"2027"'}, "other keys"),
    ],
)
def test_what_is_wrong_with_an_entry_is_named(
    tmp_path: Path, changes: dict[str, str], summary: str
) -> None:
    with pytest.raises(Problem, match=summary) as caught:
        extras(declared(), write(tmp_path, **changes))
    assert "entry 1" in str(caught.value)
    assert caught.value.fix


@pytest.mark.parametrize("text", ["[[allow]\n", "[allow]\n", "[[deny]]\n"])
def test_what_is_wrong_with_the_file_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "access.toml"
    file.write_text(text)
    with pytest.raises(Problem, match=r"access\.toml"):
        extras(declared(), file)


def test_no_file_is_no_extra(tmp_path: Path) -> None:
    assert extras(declared(), tmp_path / "access.toml") == ()
