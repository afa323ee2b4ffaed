"""One image repository: a tag is pushed once and never moved, `live` excepted."""

from __future__ import annotations

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_ecr as ecr
from constructs import Construct

from deployments.outputs import LIVE
from infra.settings import Settings

KEPT = 20  # releases that one can go back to


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
            # The first rule that an image meets decides: this one keeps `live`, however old it is.
            ecr.LifecycleRule(rule_priority=1, tag_pattern_list=[LIVE], max_image_count=1),
            ecr.LifecycleRule(rule_priority=2, tag_pattern_list=["*"], max_image_count=KEPT),
            ecr.LifecycleRule(
                rule_priority=3,
                tag_status=ecr.TagStatus.UNTAGGED,
                max_image_age=Duration.days(1),
            ),
        ],
        removal_policy=RemovalPolicy.DESTROY,
        empty_on_delete=True,
    )
