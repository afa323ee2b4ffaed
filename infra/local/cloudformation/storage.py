"""AWS::S3 buckets and their policies, AWS::ECR repositories, AWS::Logs groups."""

from __future__ import annotations

from typing import Any

from infra.local.cloudformation.api import Api, Props, found, only, without
from infra.local.cloudformation.kind import Kind

# --- buckets -------------------------------------------------------------------------------------


def _create_bucket(api: Api, p: Props) -> str:
    name: str = p["BucketName"]
    place = None if api.region == "us-east-1" else {"LocationConstraint": api.region}
    api.call("s3", "create_bucket", Bucket=name, CreateBucketConfiguration=place)
    _update_bucket(api, name, p, {})
    return name


def _update_bucket(api: Api, name: str, p: Props, old: Props) -> None:
    for key in sorted(set(p) | set(old)):
        if key == "BucketName" or p.get(key) == old.get(key):
            continue
        put, delete, parameters = _SETTINGS[key]
        if key in p:
            api.call("s3", put, Bucket=name, **parameters(p[key]))
        elif delete:
            api.call("s3", delete, Bucket=name)
        else:  # versioning, once on, can only be suspended
            paused = {"Status": "Suspended"}
            api.call("s3", put, Bucket=name, VersioningConfiguration=paused)


def _lifecycle_rule(rule: Props) -> Props:
    """The template's flat rule as S3's."""
    given = dict(rule)
    result: Props = {"Status": given.pop("Status")} | only(given, "ID")
    if "Id" in given:
        result["ID"] = given.pop("Id")
    tags = given.pop("TagFilters", [])
    prefix = given.pop("Prefix", "")
    sizes = {
        name: int(given.pop(name))
        for name in ("ObjectSizeGreaterThan", "ObjectSizeLessThan")
        if name in given
    }
    parts = ({"Prefix": prefix} if prefix else {}) | sizes | ({"Tags": tags} if tags else {})
    result["Filter"] = {"And": parts} if len(parts) > 1 or tags else parts or {"Prefix": ""}
    expiration = {
        key: given.pop(name)
        for name, key in (
            ("ExpirationInDays", "Days"),
            ("ExpirationDate", "Date"),
            ("ExpiredObjectDeleteMarker", "ExpiredObjectDeleteMarker"),
        )
        if name in given
    }
    if expiration:
        result["Expiration"] = expiration
    if "NoncurrentVersionExpirationInDays" in given:
        days = given.pop("NoncurrentVersionExpirationInDays")
        result["NoncurrentVersionExpiration"] = {"NoncurrentDays": days}
    names = {"TransitionInDays": "Days", "TransitionDate": "Date"}
    later = {"TransitionInDays": "NoncurrentDays"}
    for name, spelling in (("Transitions", names), ("NoncurrentVersionTransitions", later)):
        if name in given:
            steps = given.pop(name)
            result[name] = [{spelling.get(k, k): v for k, v in step.items()} for step in steps]
    return result | given


def _encryption_rule(rule: Props) -> Props:
    default = dict(rule.get("ServerSideEncryptionByDefault", {}))
    applied = {"ApplyServerSideEncryptionByDefault": default} if default else {}
    return without(rule, "ServerSideEncryptionByDefault") | applied


_SETTINGS: dict[str, tuple[str, str, Any]] = {
    "VersioningConfiguration": (
        "put_bucket_versioning",
        "",
        lambda value: {"VersioningConfiguration": value},
    ),
    "LifecycleConfiguration": (
        "put_bucket_lifecycle_configuration",
        "delete_bucket_lifecycle",
        lambda value: {
            "LifecycleConfiguration": {"Rules": [_lifecycle_rule(rule) for rule in value["Rules"]]}
        },
    ),
    "PublicAccessBlockConfiguration": (
        "put_public_access_block",
        "delete_public_access_block",
        lambda value: {"PublicAccessBlockConfiguration": value},
    ),
    "BucketEncryption": (
        "put_bucket_encryption",
        "delete_bucket_encryption",
        lambda value: {
            "ServerSideEncryptionConfiguration": {
                "Rules": [
                    _encryption_rule(rule) for rule in value["ServerSideEncryptionConfiguration"]
                ]
            }
        },
    ),
    "OwnershipControls": (
        "put_bucket_ownership_controls",
        "delete_bucket_ownership_controls",
        lambda value: {"OwnershipControls": value},
    ),
    "Tags": (
        "put_bucket_tagging",
        "delete_bucket_tagging",
        lambda value: {"Tagging": {"TagSet": value}},
    ),
}


def _bucket_attributes(api: Api, name: str, _: Props) -> dict[str, Any]:
    return {
        "Arn": f"arn:aws:s3:::{name}",
        "DomainName": f"{name}.s3.amazonaws.com",
        "DualStackDomainName": f"{name}.s3.dualstack.{api.region}.amazonaws.com",
        "RegionalDomainName": f"{name}.s3.{api.region}.amazonaws.com",
        "WebsiteURL": f"http://{name}.s3-website-{api.region}.amazonaws.com",
    }


def _find_bucket(api: Api, name: str, _: Props) -> str | None:
    return name if found(lambda: api.call("s3", "head_bucket", Bucket=name)) else None


def _put_policy(api: Api, p: Props) -> str:
    bucket: str = p["Bucket"]
    api.call("s3", "put_bucket_policy", Bucket=bucket, Policy=p["PolicyDocument"])
    return bucket


# --- repositories of images ----------------------------------------------------------------------

_MUTABILITY = ("ImageTagMutability", "ImageTagMutabilityExclusionFilters")
_EXCLUSIONS = {"ImageTagMutabilityExclusionFilterValue": "filter"} | {
    "ImageTagMutabilityExclusionFilterType": "filterType"
}


def _mutability(p: Props) -> Props:
    filters = [
        {_EXCLUSIONS[name]: value for name, value in item.items()}
        for item in p.get("ImageTagMutabilityExclusionFilters", [])
    ]
    mutability = {"imageTagMutability": p.get("ImageTagMutability", "MUTABLE")}
    return mutability | ({"imageTagMutabilityExclusionFilters": filters} if filters else {})


def _create_images(api: Api, p: Props) -> str:
    own = ("EmptyOnDelete", "LifecyclePolicy", "RepositoryPolicyText")
    api.call("ecr", "create_repository", **_mutability(p), **without(p, *own, *_MUTABILITY))
    _repository_policies(api, p, {})
    return str(p["RepositoryName"])


def _update_images(api: Api, name: str, p: Props, old: Props) -> None:
    at = {"repositoryName": name}
    if _mutability(p) != _mutability(old):
        api.call("ecr", "put_image_tag_mutability", **at, **_mutability(p))
    scanning = p.get("ImageScanningConfiguration", {"scanOnPush": False})
    if scanning != old.get("ImageScanningConfiguration"):
        operation = "put_image_scanning_configuration"
        api.call("ecr", operation, **at, imageScanningConfiguration=scanning)
    _repository_policies(api, p, old)
    _retag(api, "ecr", api.arn("ecr", f"repository/{name}"), p, old)


def _repository_policies(api: Api, p: Props, old: Props) -> None:
    at = {"repositoryName": p["RepositoryName"]}
    rules, old_rules = p.get("LifecyclePolicy"), old.get("LifecyclePolicy")
    if rules and rules != old_rules:
        text = rules["LifecyclePolicyText"]
        api.call("ecr", "put_lifecycle_policy", **at, lifecyclePolicyText=text)
    elif old_rules and not rules:
        api.call("ecr", "delete_lifecycle_policy", **at)
    policy, old_policy = p.get("RepositoryPolicyText"), old.get("RepositoryPolicyText")
    if policy and policy != old_policy:
        api.call("ecr", "set_repository_policy", **at, policyText=policy)
    elif old_policy and not policy:
        api.call("ecr", "delete_repository_policy", **at)


def _retag(api: Api, service: str, arn: str, p: Props, old: Props) -> None:
    gone = {t["Key"] for t in old.get("Tags", [])} - {t["Key"] for t in p.get("Tags", [])}
    if gone:
        api.call(service, "untag_resource", resourceArn=arn, tagKeys=sorted(gone))
    if p.get("Tags") and p.get("Tags") != old.get("Tags"):
        api.call(service, "tag_resource", resourceArn=arn, tags=p["Tags"])


def _find_images(api: Api, name: str, _: Props) -> str | None:
    there = found(lambda: api.call("ecr", "describe_repositories", repositoryNames=[name]))
    return name if there else None


def _image_attributes(api: Api, name: str, _: Props) -> dict[str, Any]:
    host = f"{api.account}.dkr.ecr.{api.region}.amazonaws.com"
    return {"Arn": api.arn("ecr", f"repository/{name}"), "RepositoryUri": f"{host}/{name}"}


# --- log groups ----------------------------------------------------------------------------------


def _create_log_group(api: Api, p: Props) -> str:
    name: str = p["LogGroupName"]
    api.call("logs", "create_log_group", **without(p, "RetentionInDays"))
    _update_log_group(api, name, without(p, "Tags"), {})
    return name


def _update_log_group(api: Api, name: str, p: Props, old: Props) -> None:
    days = p.get("RetentionInDays")
    if days:
        api.call("logs", "put_retention_policy", logGroupName=name, retentionInDays=days)
    elif old.get("RetentionInDays"):
        api.call("logs", "delete_retention_policy", logGroupName=name)
    _retag(api, "logs", api.arn("logs", f"log-group:{name}"), p, old)


def _find_log_group(api: Api, name: str, _: Props) -> str | None:
    groups = api.call("logs", "describe_log_groups", logGroupNamePrefix=name)["logGroups"]
    return name if any(group["logGroupName"] == name for group in groups) else None


KINDS = (
    Kind(
        "AWS::S3::Bucket",
        _create_bucket,
        lambda api, name, _: api.call("s3", "delete_bucket", Bucket=name),
        _update_bucket,
        _bucket_attributes,
        name="BucketName",
        known=("BucketName", *_SETTINGS),
        find=_find_bucket,
        importable=True,
        lower_case=True,
    ),
    Kind(
        "AWS::S3::BucketPolicy",
        _put_policy,
        lambda api, bucket, _: api.call("s3", "delete_bucket_policy", Bucket=bucket),
        lambda api, _, p, _old: _put_policy(api, p),
        fixed=("Bucket",),
        known=("Bucket", "PolicyDocument"),
    ),
    Kind(
        "AWS::ECR::Repository",
        _create_images,
        lambda api, name, p: api.call(
            "ecr", "delete_repository", repositoryName=name, force=p.get("EmptyOnDelete", False)
        ),
        _update_images,
        _image_attributes,
        fixed=("EncryptionConfiguration",),
        name="RepositoryName",
        find=_find_images,
        importable=True,
        lower_case=True,
    ),
    Kind(
        "AWS::Logs::LogGroup",
        _create_log_group,
        lambda api, name, _: api.call("logs", "delete_log_group", logGroupName=name),
        _update_log_group,
        lambda api, name, _: {"Arn": api.arn("logs", f"log-group:{name}:*")},
        name="LogGroupName",
        find=_find_log_group,
        importable=True,
    ),
)
