"""Tags of a resource, brought to what the template says."""

from __future__ import annotations

from infra.local.cloudformation.api import Api, Props


def keys_gone(new: Props, old: Props) -> list[str]:
    return sorted(_keys(old) - _keys(new))


def retag(api: Api, service: str, arn: str, new: Props, old: Props) -> None:
    """Of the services whose calls are named TagResource and UntagResource."""
    gone = keys_gone(new, old)
    if gone:
        api.call(service, "untag_resource", resourceArn=arn, tagKeys=gone)
    if new.get("Tags") and new.get("Tags") != old.get("Tags"):
        api.call(service, "tag_resource", resourceArn=arn, tags=new["Tags"])


def _keys(properties: Props) -> set[str]:
    return {tag["Key"] for tag in properties.get("Tags", [])}
