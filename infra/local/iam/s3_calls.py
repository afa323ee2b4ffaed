"""S3: which calls AWS checks for a request.

Names differ between operations and actions:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
"""

from __future__ import annotations

from urllib.parse import parse_qs, unquote

from infra.local.iam.policy import Call
from infra.local.iam.request import Request, Value

_LISTS = {
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "ListObjectVersions": "ListBucketVersions",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "HeadBucket": "ListBucket",
}
_KEYS_OF_LISTS = {"Prefix": "s3:prefix", "Delimiter": "s3:delimiter", "MaxKeys": "s3:max-keys"}

_ON_BUCKET = {
    **dict.fromkeys(("CreateBucket", "DeleteBucket")),
    **dict.fromkeys(("GetBucketLocation", "GetBucketVersioning", "PutBucketVersioning")),
    **dict.fromkeys(("GetBucketPolicy", "PutBucketPolicy", "DeleteBucketPolicy")),
    **dict.fromkeys(("GetBucketTagging", "PutBucketTagging", "GetBucketPolicyStatus")),
    **dict.fromkeys(("GetBucketAcl", "PutBucketAcl", "GetBucketLogging", "PutBucketLogging")),
    **dict.fromkeys(("GetBucketOwnershipControls", "PutBucketOwnershipControls")),
    "DeleteBucketTagging": "PutBucketTagging",
    "GetBucketNotificationConfiguration": "GetBucketNotification",
    "PutBucketNotificationConfiguration": "PutBucketNotification",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "DeleteBucketLifecycle": "PutLifecycleConfiguration",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "DeleteBucketEncryption": "PutEncryptionConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "DeletePublicAccessBlock": "PutBucketPublicAccessBlock",
}

_READS = {
    "GetObject": ("GetObject",),
    "HeadObject": ("GetObject",),
    "GetObjectAttributes": ("GetObject", "GetObjectAttributes"),
    "GetObjectTagging": ("GetObjectTagging",),
    "GetObjectAcl": ("GetObjectAcl",),
}
_WRITES = {
    "PutObject": "PutObject",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "AbortMultipartUpload": "AbortMultipartUpload",
    "ListParts": "ListMultipartUploadParts",
    "PutObjectTagging": "PutObjectTagging",
    "DeleteObjectTagging": "DeleteObjectTagging",
    "PutObjectAcl": "PutObjectAcl",
}


def s3_calls(request: Request) -> list[Call]:
    operation = request.operation
    bucket = str(request.params.get("Bucket", ""))
    key = str(request.params.get("Key", ""))
    if operation == "ListBuckets":
        return [request.call("*", "ListAllMyBuckets")]
    if operation in _LISTS:
        return [Call(f"s3:{_LISTS[operation]}", _bucket(request, bucket), _of_list(request))]
    if operation in _ON_BUCKET:
        return [request.call(_bucket(request, bucket), _ON_BUCKET[operation] or operation)]
    if operation in _READS:
        version = str(request.params.get("VersionId", ""))
        return _read(request, _READS[operation], bucket, key, version)
    if operation in _WRITES:
        return _write(request, _WRITES[operation], bucket, key)
    if operation in ("CopyObject", "UploadPartCopy"):
        source = _read(request, ("GetObject",), *_source(request))
        return [*source, *_write(request, "PutObject", bucket, key)]
    if operation == "DeleteObject":
        return [_delete(request, bucket, key, str(request.params.get("VersionId", "")))]
    if operation == "DeleteObjects":
        return delete_calls(request)
    return []


def delete_calls(request: Request) -> list[Call]:
    """DeleteObjects key by key: AWS decides on each, and answers for each."""
    bucket = str(request.params.get("Bucket", ""))
    objects = request.params.get("Delete", {}).get("Objects", [])
    return [_delete(request, bucket, one["Key"], one.get("VersionId")) for one in objects]


def _bucket(request: Request, name: str) -> str:
    return f"arn:{request.partition}:s3:::{name or '*'}"


def _object(request: Request, bucket: str, key: str) -> str:
    return f"{_bucket(request, bucket)}/{key}"


def _of_list(request: Request) -> dict[str, Value]:
    return {
        name: str(request.params[parameter])
        for parameter, name in _KEYS_OF_LISTS.items()
        if parameter in request.params
    }


def _read(
    request: Request, actions: tuple[str, ...], bucket: str, key: str, version: str = ""
) -> list[Call]:
    resource = _object(request, bucket, key)
    suffix = "Version" if version else ""
    context: dict[str, Value] = {"s3:VersionId": version} if version else {}
    calls = [
        Call(f"s3:{a.replace('Object', 'Object' + suffix, 1)}", resource, context) for a in actions
    ]
    if not version and request.known.has_object(bucket, key) is False:
        # Whether a key exists is told only to those who may list the bucket; the request has no
        # prefix, so a grant that is tied to s3:prefix does not count; others get 403:
        # https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
        calls.append(request.call(_bucket(request, bucket), "ListBucket"))
    return calls


def _write(request: Request, action: str, bucket: str, key: str) -> list[Call]:
    resource = _object(request, bucket, key)
    actions = [action]
    if action == "PutObject":
        given = request.params
        # To compare an ETag is to read:
        # https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
        actions += ["GetObject"] if given.get("IfMatch") else []
        actions += ["PutObjectTagging"] if given.get("Tagging") else []
        actions += ["PutObjectAcl"] if given.get("ACL") else []
    return [request.call(resource, one) for one in actions]


def _delete(request: Request, bucket: str, key: str, version: str | None) -> Call:
    resource = _object(request, bucket, key)
    if version:
        return request.call(resource, "DeleteObjectVersion", s3__VersionId=version)
    return request.call(resource, "DeleteObject")


def _source(request: Request) -> tuple[str, str, str]:
    """x-amz-copy-source: bucket/key, quoted, with ?versionId=… perhaps."""
    path, _, query = str(request.params.get("CopySource", "")).partition("?")
    bucket, _, key = unquote(path).lstrip("/").partition("/")
    return bucket, key, parse_qs(query).get("versionId", [""])[0]
