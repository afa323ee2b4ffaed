"""What each deployment may do, in words, and what of it would be new, as a diff."""

from __future__ import annotations

from infra.access import declared_policies, difference, in_words
from infra.extra import Extra
from infra.names import Names
from infra.settings import load
from tests.infra.conftest import deployment, reads, writes

NAMES = Names("nightshift-prod", "us-east-1", "123456789012")
KEY = Extra("a/b", ("ssm:GetParameter",), ("arn:aws:ssm:us-east-1:1:parameter/k",), "Reads k.")


def test_in_words() -> None:
    said = in_words(NAMES, deployment("a/b", reads("in/"), writes("out/", bucket="theirs")), [KEY])
    assert said.splitlines() == [
        "### a/b",
        "",
        "- reads `s3://nightshift-prod-data-123456789012-us-east-1/in/`: its parameter `source`",
        "- reads and writes `s3://theirs/out/`: its parameter `destination`",
        "- also: ssm:GetParameter on `arn:aws:ssm:us-east-1:1:parameter/k`, because: Reads k.",
        "- nothing else",
    ]


def test_one_place_and_none() -> None:
    assert in_words(NAMES, deployment("a/b", reads("in/")), []).endswith("\n- nothing else")
    assert in_words(NAMES, deployment("a/b"), []).splitlines() == [*("### a/b", "", "- nothing")]


def test_another_prefix_is_a_diff_of_that_role_alone() -> None:
    before = declared_policies(NAMES, load(), [deployment("a/b", reads("in/"))], [])
    after = declared_policies(NAMES, load(), [deployment("a/b", reads("new/"))], [])
    bucket = "arn:aws:s3:::nightshift-prod-data-123456789012-us-east-1"
    assert difference(after, before).splitlines() == [
        "```diff",
        "@@ nightshift-prod-job-a-b @@",
        f"- allow s3:GetObject on {bucket}/in/*",
        f"- allow s3:ListBucket on {bucket}, if s3:prefix StringLike in/*",
        f"+ allow s3:GetObject on {bucket}/new/*",
        f"+ allow s3:ListBucket on {bucket}, if s3:prefix StringLike new/*",
        "```",
    ]


def test_roles_that_come_and_go_say_so() -> None:
    before = declared_policies(NAMES, load(), [deployment("a/b", reads("in/"))], [])
    after = declared_policies(NAMES, load(), [deployment("c/d", reads("in/"))], [])
    said = difference(after, before)
    assert "@@ nightshift-prod-job-a-b (goes) @@" in said
    assert "@@ nightshift-prod-job-c-d (new) @@" in said
    assert "@@ nightshift-prod-orchestrator @@" in said  # who may pass which role


def test_an_extra_is_in_the_diff() -> None:
    one = [deployment("a/b", reads("in/"))]
    before = declared_policies(NAMES, load(), one, [])
    said = difference(declared_policies(NAMES, load(), one, [KEY]), before)
    assert "+ allow ssm:GetParameter on arn:aws:ssm:us-east-1:1:parameter/k" in said


def test_nothing_new() -> None:
    same = declared_policies(NAMES, load(), [deployment("a/b", reads("in/"))], [])
    assert difference(same, same) == "None."
