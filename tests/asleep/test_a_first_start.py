"""The first of its lives: this file comes first."""

from __future__ import annotations

from infra.local.cloud import Cloud
from tests.asleep import days


def test_the_first_start_ends_asleep(cloud: Cloud) -> None:
    journal = days.sleeps(cloud)
    assert journal["life"] == 1
    assert journal["image"] == cloud.image
    assert len(cloud.lives()) == 1
    at = days.wake_up(cloud)
    assert at is not None  # six in the morning, less the lead
    assert (at.hour, at.minute, at.second) == (5, 59, 45)
    s3 = cloud.aws.client("s3")
    left = s3.list_objects_v2(Bucket=cloud.state_bucket, Prefix="prefect/first-start")
    assert not left.get("Contents")
