"""The journal: one object in S3 that says which ECS task has the history, and what it is doing.

It is written only by whom it names, and only over what that one has read (S3's conditional writes),
so that of two orchestrators that start at once one takes over, and one that was replaced finds out
and ends. Whether the task that it names still lives is ECS's to say: no time-out, no clock.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from flows.problem import Problem

PREFIX = "prefect/"
KEY = f"{PREFIX}orchestrator.json"
FIRST_START = f"{PREFIX}first-start"
LIVES = f"{PREFIX}lives/"
REQUESTS = f"{PREFIX}requests/"
ANSWERS = f"{PREFIX}answers/"

_TRIES = 3


@dataclass(frozen=True)
class Journal:
    """Times are ISO 8601, in UTC. `next` and `last` are what `make status` shows."""

    holder: str = ""  # the ECS task's ARN; '' when asleep
    life: int = 0  # whose replica has the history; 0 before there is any
    began: str = ""
    doing: str = "asleep"
    since: str = ""
    because: str = ""  # why it is awake
    trouble: str = ""  # what it could not do, and goes on without
    wake_up: str | None = None
    next: tuple[dict[str, str], ...] = ()
    last: tuple[dict[str, str], ...] = ()
    # Runs that failed and were told of, or run again: `run` and when it ended, `at`.
    told: tuple[dict[str, str], ...] = ()
    told_since: str = ""  # what ended before is not told; '' before the first look
    image: str = ""
    made_way: str = ""  # the image, by digest, for which the last one to be replaced has ended
    prefect: str = ""  # the version whose migrations and block types the history has
    bad: tuple[int, ...] = field(default=())  # lives whose replicas are damaged; they are kept


def _same_life(before: Journal, wanted: Journal, found: Journal) -> bool:
    """Whether what is there was written by who writes now: by the life that has `before`."""
    if not before.began or found.began != before.began:
        return False
    return found.holder in ("", before.holder, wanted.holder)


def life_folder(life: int) -> str:
    return f"{LIVES}{life}"


class Replaced(Exception):
    """The journal is another orchestrator's by now."""


class JournalObject:
    """The journal as it stands in the state bucket, as far as this process knows."""

    def __init__(self, s3: Any, bucket: str) -> None:
        self._s3, self._bucket = s3, bucket
        self._etag: str | None = None
        self.now = Journal()

    def read(self) -> Journal:
        """The journal as it is. Raises a Problem if it is not one."""
        from botocore.exceptions import ClientError

        try:
            answer = self._s3.get_object(Bucket=self._bucket, Key=KEY)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("NoSuchKey", "404"):
                raise
            self._etag, self.now = None, Journal()
            return self.now
        self._etag = answer["ETag"]
        self.now = parsed(answer["Body"].read(), f"s3://{self._bucket}/{KEY}")
        return self.now

    def write(self, journal: Journal) -> None:
        """Over what was read or written last. Raises Replaced if that is not there any more."""
        for _ in range(_TRIES):
            etag = self._put(journal)
            if etag:
                self._etag, self.now = etag, journal
                return
            # A write whose answer was lost is there all the same, and this finds its own.
            before = self._etag, self.now
            if self.read() == journal:
                return
            if not _same_life(before[1], journal, self.now):
                # What the other has written is not ours to go on from.
                self._etag, self.now = before
                raise Replaced
        raise Replaced

    def _put(self, journal: Journal) -> str:
        """Its new ETag; '' if something else is there than was."""
        from botocore.exceptions import ClientError

        body = json.dumps(asdict(journal), indent=1).encode()
        condition = {"IfMatch": self._etag} if self._etag else {"IfNoneMatch": "*"}
        try:
            answer = self._s3.put_object(
                Bucket=self._bucket,
                Key=KEY,
                Body=body,
                ContentType="application/json",
                **condition,
            )
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in ("PreconditionFailed", "ConditionalRequestConflict", "412", "409"):
                return ""
            raise
        return str(answer["ETag"])

    def change(self, **changes: Any) -> None:
        """Writes if that changes anything."""
        changed = replace(self.now, **changes)
        if changed != self.now:
            self.write(changed)


def parsed(body: bytes, where: str) -> Journal:
    try:
        content = json.loads(body)
        known = {name: it for name, it in content.items() if name in Journal.__dataclass_fields__}
        for name in ("next", "last", "told", "bad"):
            known[name] = tuple(known.get(name) or ())
        known["life"] = int(known.get("life", 0))
        return Journal(**known)
    except (ValueError, TypeError, AttributeError) as error:
        raise Problem(
            "the orchestrator's journal cannot be read",
            where={"object": where},
            detail=str(error),
            fix="delete the object: then the newest life in the bucket is taken up",
        ) from error


def lives(keys: Iterable[str]) -> tuple[int, ...]:
    """The numbers of the lives that have anything in S3, the newest first."""
    found = {key.removeprefix(LIVES).partition("/")[0] for key in keys if key.startswith(LIVES)}
    return tuple(sorted((int(number) for number in found if number.isdigit()), reverse=True))
