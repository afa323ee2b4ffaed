"""Which images the repository's lifecycle rules keep."""

from __future__ import annotations

import fnmatch
import json
from dataclasses import dataclass
from typing import Any

import pytest

from deployments.outputs import LIVE, RELEASED
from infra.local.release.images import is_immutable
from infra.registry import KEPT, UNRELEASED
from tests.infra.conftest import Templates

Rule = dict[str, Any]


@dataclass(frozen=True)
class Image:
    number: int  # the newest has the highest
    tags: tuple[str, ...]


@pytest.fixture(scope="module")
def repository(templates: Templates) -> dict[str, Any]:
    (found,) = (
        resource["Properties"]
        for resource in templates["nightshift-prod"]["Resources"].values()
        if resource["Type"] == "AWS::ECR::Repository"
    )
    return dict(found)


@pytest.fixture(scope="module")
def rules(repository: dict[str, Any]) -> list[Rule]:
    return list(json.loads(repository["LifecyclePolicy"]["LifecyclePolicyText"])["rules"])


def kept(images: list[Image], rules: list[Rule]) -> set[Image]:
    """As ECR's evaluator does it, of images that have tags and rules that count them: each rule
    counts all that it matches, the newest first, and takes none that a rule before it matches.

    https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html
    """
    newest_first = sorted(images, key=lambda image: -image.number)
    left, decided = set(images), set[Image]()
    for rule in sorted(rules, key=lambda rule: int(rule["rulePriority"])):
        selection = rule["selection"]
        if selection["tagStatus"] != "tagged":
            continue
        assert selection["countType"] == "imageCountMoreThan"
        matched = [
            image
            for image in newest_first
            if all(fnmatch.filter(image.tags, pattern) for pattern in selection["tagPatternList"])
        ]
        left -= {each for each in matched[selection["countNumber"] :] if each not in decided}
        decided |= set(matched)
    return left


def image(number: int, *, released: bool = False, live: bool = False) -> Image:
    tag = f"{number:012x}"
    more = [f"{RELEASED}{tag}"] if released else []
    return Image(number, (tag, *more, *([LIVE] if live else [])))


def test_what_was_stopped_takes_no_releases_place(rules: list[Rule]) -> None:
    good = [image(number, released=True, live=number == KEPT) for number in range(1, KEPT + 1)]
    refused = [image(KEPT + number) for number in range(1, 3 * KEPT)]
    assert kept([*good, *refused], rules) == {*good, *refused[-UNRELEASED:]}


def test_a_release_takes_the_oldest_ones_place(rules: list[Rule]) -> None:
    good = [image(number, released=True, live=number == 30) for number in range(1, 31)]
    assert kept(good, rules) == set(good[-KEPT:])


def test_what_is_live_stays_however_old_it_is(rules: list[Rule]) -> None:
    """After a rollback to the oldest, and many releases that were not to be."""
    old = image(1, released=True, live=True)
    good = [image(number, released=True) for number in range(2, 40)]
    left = kept([old, *good], rules)
    assert left == {old, *good[-KEPT:]}


def test_what_is_being_released_stays(rules: list[Rule]) -> None:
    """Pushed, and its scan looked at."""
    good = [image(number, released=True) for number in range(KEPT)]
    assert image(KEPT) in kept([*good, image(KEPT)], rules)


def test_live_moves_and_no_other_tag(repository: dict[str, Any]) -> None:
    filters = [
        {"filter": each["ImageTagMutabilityExclusionFilterValue"]}
        for each in repository["ImageTagMutabilityExclusionFilters"]
    ]
    mutability = repository["ImageTagMutability"]
    assert not is_immutable(mutability, filters, LIVE)
    for tag in ("0123456789ab", f"{RELEASED}0123456789ab"):
        assert is_immutable(mutability, filters, tag)
