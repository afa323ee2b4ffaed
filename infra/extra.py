"""What a cloud engineer allows a deployment beyond its flow's signature: `infra/access.toml`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployments.declared import Deployment
from flows.problem import Problem
from infra.policies import WITHOUT_RESOURCE

FILE = Path(__file__).with_name("access.toml")
_KEYS = ("deployment", "actions", "resources", "reason")


@dataclass(frozen=True)
class Extra:
    """One more thing that one deployment may do, and why."""

    deployment: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    reason: str  # the managed policy's description


def extras(deployments: Iterable[Deployment], file: Path = FILE) -> tuple[Extra, ...]:
    """The entries of access.toml, checked against the deployments there are."""
    try:
        content = tomllib.loads(file.read_text())
    except FileNotFoundError:
        return ()
    except tomllib.TOMLDecodeError as error:
        raise Problem(
            "access.toml is not TOML", where={"file": file}, detail=str(error), fix="mend that line"
        ) from error
    names = {deployment.name for deployment in deployments}
    entries = content.get("allow", [])
    if set(content) - {"allow"} or not isinstance(entries, list):
        raise Problem(
            "access.toml has only [[allow]] entries",
            where={"file": file},
            value=", ".join(sorted(content)),
            fix="write each as [[allow]] with " + ", ".join(_KEYS),
        )
    return tuple(_entry(file, n, entry, names) for n, entry in enumerate(entries, start=1))


def _entry(file: Path, number: int, entry: dict[str, Any], names: set[str]) -> Extra:
    where = {"file": file, "entry": number}
    if set(entry) != set(_KEYS):
        raise Problem(
            "an entry has other keys than it should",
            where=where,
            value=", ".join(sorted(entry)),
            fix="give it " + ", ".join(_KEYS),
        )
    for key in ("actions", "resources"):
        if not isinstance(entry[key], list) or not entry[key]:
            raise Problem(f"{key} is not a list", where=where, value=entry[key], fix="write a list")
    if entry["deployment"] not in names:
        raise Problem(
            "there is no such deployment in prefect.yaml",
            where={**where, "key": "deployment"},
            value=entry["deployment"],
            fix="name one of " + ", ".join(sorted(names)),
        )
    for action in entry["actions"]:
        if not re.fullmatch(r"[a-z0-9-]+:[A-Za-z0-9]+", str(action)) or action.startswith("iam:"):
            raise Problem(
                "not an action that can be given",
                where={**where, "key": "actions"},
                value=action,
                fix="name actions one by one, as service:Action; none of IAM's own",
            )
    for resource in entry["resources"]:
        _resource(where, str(resource), entry["actions"])
    reason = str(entry["reason"]).strip()
    # What IAM takes as a description:
    # https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreatePolicy.html
    if not re.fullmatch(r"[\t\n\r -~¡-ÿ]{10,1000}", reason):
        raise Problem(
            "a reason is 10 to 1,000 characters of Latin-1",
            where={**where, "key": "reason"},
            value=reason,
            fix="say what the job needs it for",
        )
    return Extra(entry["deployment"], tuple(entry["actions"]), tuple(entry["resources"]), reason)


def _resource(where: dict[str, object], resource: str, actions: list[str]) -> None:
    if resource == "*" and all(action in WITHOUT_RESOURCE for action in actions):
        return
    # A * may stand for the rest of a name, never for the service, the account or all of them.
    name = re.fullmatch(r"arn:aws:[a-z0-9-]+:[a-z0-9-]*:\d*:([^*?]+)\*?", resource)
    if not name:
        raise Problem(
            "not a resource that can be given",
            where={**where, "key": "resources"},
            value=resource,
            fix="write its ARN in full; a * may stand at the end, after a part of its name",
        )
