"""ECR's images as ECR keeps them, in moto's place: patches of moto 5.2.5's internals.

moto makes digests up, lets a tag that must not move be told by another name of the error, gives an
image the tag that it got last, whichever was asked for, and answers every scan with one finding.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any

from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult
from moto.ecr.exceptions import (
    ImageAlreadyExistsException,
    ImageNotFoundException,
    InvalidParameterException,
    ScanNotFoundException,
)
from moto.ecr.models import Image
from moto.ecr.responses import ECRResponse

from infra.local.iam.buckets import replaced
from infra.local.iam.enforce import _parsed
from infra.local.release.scan import Scan, Scanner

Answer = Callable[[Any], ActionResult]


class TagIsTaken(ServiceException):
    """In ECR's words. It says so of an image that has the tag already, too:
    https://github.com/aws/containers-roadmap/issues/2179
    """

    code = "ImageTagAlreadyExistsException"

    def __init__(self, tag: str, repository: str) -> None:
        super().__init__(
            f"The image tag '{tag}' already exists in the '{repository}' repository and cannot be "
            "overwritten because the repository is immutable."
        )


class OtherDigest(ServiceException):
    code = "ImageDigestDoesNotMatchException"

    def __init__(self) -> None:
        super().__init__("The image digest does not match the digest that was calculated.")


@contextmanager
def mended(scanner: Scanner) -> Iterator[None]:
    """For as long as this lasts, moto keeps images as ECR does."""
    with ExitStack() as stack:
        for name, answer in {
            "put_image": _put_image(scanner),
            "batch_get_image": _batch_get_image,
            "describe_images": _describe_images,
            "describe_image_scan_findings": _describe_findings,
            "get_download_url_for_layer": _download_url,
        }.items():
            stack.enter_context(replaced(ECRResponse, name, answer))
        yield


def is_immutable(mutability: str, filters: list[dict[str, str]], tag: str) -> bool:
    """Whether a tag stays where it is.

    https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html
    """
    excluded = any(fnmatch.fnmatchcase(tag, each["filter"]) for each in filters)
    return mutability.startswith("IMMUTABLE") != excluded


def parameters(response: Any) -> dict[str, Any]:
    """Of the request, as boto3 names them."""
    return _parsed(response)[1]


def digest_of(manifest: str) -> str:
    return f"sha256:{hashlib.sha256(manifest.encode()).hexdigest()}"


# --- PutImage ------------------------------------------------------------------------------------


def _put_image(scanner: Scanner) -> Answer:
    """https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutImage.html"""

    def answer(response: Any) -> ActionResult:
        given = parameters(response)
        repository = _repository(response, given)
        manifest: str = given["imageManifest"]
        tag: Any = given.get("imageTag")  # None: it gets none
        digest = digest_of(manifest)
        if given.get("imageDigest", digest) != digest:
            raise OtherDigest
        media_type = given.get("imageManifestMediaType") or _media_type(manifest)
        image: Any = _find(repository, {"imageDigest": digest})
        holder = _find(repository, {"imageTag": tag}) if tag else None
        if holder is not None and is_immutable(*_mutability(repository), tag):
            raise TagIsTaken(tag, repository.name)
        if image is not None and (tag is None or holder is image):
            raise ImageAlreadyExistsException(
                repository_name=repository.name,
                registry_id=repository.registry_id,
                digest=digest,
                image_tag=tag,
            )
        if holder is not None:
            holder.remove_tag(tag)
        if image is None:
            account = response.current_account
            image = Image(account, tag, manifest, repository.name, media_type, digest)
            repository.images.append(image)
            if repository.image_scanning_configuration.get("scanOnPush"):
                image.scan = scanner.scan(digest)
                image.last_scan = datetime.now()  # noqa: DTZ005 - as moto compares it
        else:
            image.update_tag(tag)
        return ActionResult({"image": _image(repository, image, {"imageTag": tag} if tag else {})})

    return answer


def _media_type(manifest: str) -> str:
    found = json.loads(manifest).get("mediaType")
    if not found:
        raise InvalidParameterException(
            "image manifest mediatype not provided in manifest or parameter"
        )
    return str(found)


def _mutability(repository: Any) -> tuple[str, list[dict[str, str]]]:
    mutability = str(getattr(repository.image_tag_mutability, "value", None) or "")
    filters = repository.image_tag_mutability_exclusion_filters or []
    return mutability or str(repository.image_tag_mutability), filters


# --- what there is -------------------------------------------------------------------------------


def _batch_get_image(response: Any) -> ActionResult:
    given = parameters(response)
    repository = _repository(response, given)
    images, failures = [], []
    for asked in given["imageIds"]:
        image = _find(repository, asked)
        if image is None:
            failures.append(
                {
                    "imageId": asked,
                    "failureCode": "ImageNotFound",
                    "failureReason": "Requested image not found",
                }
            )
            continue
        images.append(_image(repository, image, asked))
    return ActionResult({"images": images, "failures": failures})


def _describe_images(response: Any) -> ActionResult:
    given = parameters(response)
    repository = _repository(response, given)
    if asked := given.get("imageIds"):
        found = [_found(repository, each) for each in asked]
    else:
        found = list(repository.images)
    status = (given.get("filter") or {}).get("tagStatus", "ANY")
    wanted = {"TAGGED": [True], "UNTAGGED": [False]}.get(status, [True, False])
    details = [
        _detail(repository, image)
        for image in {image.image_digest: image for image in found}.values()
        if bool(image.image_tags) in wanted
    ]
    return ActionResult({"imageDetails": details})


def _describe_findings(response: Any) -> ActionResult:
    """https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeImageScanFindings.html"""
    given = parameters(response)
    repository = _repository(response, given)
    image = _found(repository, given["imageId"])
    if (scan := _scan(image)) is None:
        raise ScanNotFoundException(
            image_id=_shown(given["imageId"]),
            repository_name=repository.name,
            registry_id=repository.registry_id,
        )
    now = datetime.now(UTC)
    return ActionResult(
        {
            "registryId": repository.registry_id,
            "repositoryName": repository.name,
            "imageId": {"imageDigest": image.image_digest, **given["imageId"]},
            "imageScanStatus": scan.status(now),
            **({"imageScanFindings": scan.findings(now)} if now >= scan.at else {}),
        }
    )


def _download_url(response: Any) -> ActionResult:
    """Layers come from the local registry; what is needed here is the right to ask."""
    given = parameters(response)
    _repository(response, given)
    digest = given["layerDigest"]
    return ActionResult({"downloadUrl": "http://127.0.0.1/", "layerDigest": digest})


def _repository(response: Any, given: dict[str, Any]) -> Any:
    """Raises RepositoryNotFoundException."""
    return response.ecr_backend._get_repository(given["repositoryName"], given.get("registryId"))


def _scan(image: Any) -> Scan | None:
    found: Scan | None = getattr(image, "scan", None)
    return found


def _find(repository: Any, asked: dict[str, str]) -> Any:
    """By tag, by digest, or by both."""
    tag, digest = asked.get("imageTag"), asked.get("imageDigest")
    for image in list(repository.images):
        if tag not in (None, *image.image_tags) or digest not in (None, image.image_digest):
            continue
        return image
    return None


def _found(repository: Any, asked: dict[str, str]) -> Any:
    if (image := _find(repository, asked)) is not None:
        return image
    raise ImageNotFoundException(
        image_id=_shown(asked),
        repository_name=repository.name,
        registry_id=repository.registry_id,
    )


def _shown(asked: dict[str, str]) -> str:
    digest, tag = asked.get("imageDigest") or "null", asked.get("imageTag") or "null"
    return f"{{imageDigest:'{digest}', imageTag:'{tag}'}}"


def _image(repository: Any, image: Any, asked: dict[str, str]) -> dict[str, Any]:
    """Shape `Image`, with the tag that was asked for."""
    return {
        "registryId": repository.registry_id,
        "repositoryName": repository.name,
        "imageId": {**asked, "imageDigest": image.image_digest},
        "imageManifest": image.image_manifest,
        "imageManifestMediaType": image.image_manifest_media_type,
    }


def _detail(repository: Any, image: Any) -> dict[str, Any]:
    """Shape `ImageDetail`, which says nothing of a scan:
    https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeImages.html
    """
    manifest = json.loads(image.image_manifest)
    told: dict[str, Any] = {
        "registryId": repository.registry_id,
        "repositoryName": repository.name,
        "imageDigest": image.image_digest,
        "imageSizeInBytes": sum(layer.get("size", 0) for layer in manifest.get("layers", ())),
        "imagePushedAt": datetime.fromtimestamp(image.image_pushed_at, UTC),
        "imageManifestMediaType": image.image_manifest_media_type,
    }
    if image.image_tags:
        told["imageTags"] = list(image.image_tags)
    if media_type := (manifest.get("config") or {}).get("mediaType"):
        told["artifactMediaType"] = media_type
    return told
