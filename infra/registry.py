"""One image repository: a tag is pushed once and never moved, `live` excepted."""

from __future__ import annotations

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_ecr as ecr
from constructs import Construct

from deployments.outputs import LIVE, RELEASED
from infra.settings import Settings

KEPT = 20  # releases that one can go back to
UNRELEASED = 5  # of the newest images, what was built and stopped: to look at, or to release again


def registry(scope: Construct, settings: Settings) -> ecr.Repository:
    return ecr.Repository(
        scope,
        "Images",
        repository_name=settings.installation,
        image_scan_on_push=True,
        image_tag_mutability=ecr.TagMutability.IMMUTABLE_WITH_EXCLUSION,
        image_tag_mutability_exclusion_filters=[
            ecr.ImageTagMutabilityExclusionFilter.wildcard(LIVE)
        ],
        lifecycle_rules=[
            # An image is for the first rule that one of its tags meets, and for no other; a rule
            # counts the images that are for others, too, and leaves them where they are:
            # https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html
            # So `live` stays however old it is, and what was stopped takes no release's place.
            ecr.LifecycleRule(rule_priority=1, tag_pattern_list=[LIVE], max_image_count=1),
            ecr.LifecycleRule(
                rule_priority=2, tag_pattern_list=[f"{RELEASED}*"], max_image_count=KEPT
            ),
            ecr.LifecycleRule(rule_priority=3, tag_pattern_list=["*"], max_image_count=UNRELEASED),
            ecr.LifecycleRule(
                rule_priority=4,
                tag_status=ecr.TagStatus.UNTAGGED,
                max_image_age=Duration.days(1),
            ),
        ],
        removal_policy=RemovalPolicy.DESTROY,
        empty_on_delete=True,
    )
