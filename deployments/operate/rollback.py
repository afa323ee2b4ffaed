"""`make rollback`: another image becomes `live`, and with it what the next run uses."""

from __future__ import annotations

from collections.abc import Callable

from deployments.operate import installation as aws
from deployments.operate.installation import Installation, asking, code
from deployments.operate.releases import live, releases, repository, wanted
from deployments.outputs import LIVE
from flows.problem import Problem

Say = Callable[[str], None]


def rollback(at: Installation, to: str, say: Say) -> None:
    """`to`: a tag or a digest. What runs already ends on its own image; the orchestrator, which is
    woken, takes the other one. Raises Problem if there is no such image, or if it was never
    released.
    """
    found = releases(at, scanned=False)
    was, target = live(found), wanted(found, to)
    if target.live:
        say(f"{target} is live already")
        return
    if not target.released:
        raise Problem(
            "the image was never released",
            value=target.tag,
            detail="its release was stopped before it went live, or has not come to its end",
            fix="go back to one that make releases calls released. For this one mend what stopped "
            "it, or accept what its scan finds in infra/findings.toml, and release that commit",
        )
    _make_live(at, target.digest)
    aws.set_to_one(at)
    say(f"live is {target}; it was {was or 'none'}")
    say("the next push makes its own image live: take back there, too, what was wrong")


def _make_live(at: Installation, digest: str) -> None:
    """Gives the tag to the very manifest that is there: nothing is pulled or pushed.

    https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-retag.html
    """
    from botocore.exceptions import ClientError

    ecr, name = at.client("ecr"), repository(at)
    with asking("read the image's manifest"):
        answer = ecr.batch_get_image(repositoryName=name, imageIds=[{"imageDigest": digest}])
    if not answer["images"]:
        raise Problem(
            "the image is not there any more",
            where={"repository": name},
            value=digest,
            fix="see what there is: make releases",
        )
    (image,) = answer["images"]
    of_type = {}
    if image.get("imageManifestMediaType"):
        of_type["imageManifestMediaType"] = image["imageManifestMediaType"]
    with asking("make the image live"):
        try:
            ecr.put_image(
                repositoryName=name,
                imageTag=LIVE,
                imageDigest=digest,
                imageManifest=image["imageManifest"],
                **of_type,
            )
        except ClientError as error:
            if code(error) != "ImageAlreadyExistsException":  # somebody else was faster
                raise
