"""What prefect.yaml declares, and what data each deployment's flow says it reads and writes.

The flow's signature names the parameters that are data (`Source`, `Destination`), prefect.yaml
gives them their values. Together they are all that a job may touch: its IAM role is made from that.
"""

from __future__ import annotations

import inspect
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_type_hints

import yaml

from flows.data import Access
from flows.problem import Problem

PREFECT_YAML = Path("prefect.yaml")


@dataclass(frozen=True)
class Data:
    """An S3 location that a deployment's flow works on."""

    parameter: str
    bucket: str  # as prefect.yaml has it: a name, or `{{ $VARIABLE }}`
    key: str  # 'bills/': what is below it; 'bill.csv': that object, or what is below it; '': all
    read: bool
    write: bool

    @property
    def address(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class Deployment:
    """One entry of prefect.yaml."""

    name: str  # 'cost-report/daily', as Prefect writes it: flow, then deployment
    description: str
    data: tuple[Data, ...]

    @property
    def slug(self) -> str:
        """The name as resource names may have it: `cost-report-daily`."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


def declared(file: Path = PREFECT_YAML) -> tuple[Deployment, ...]:
    """Every deployment of prefect.yaml, by name. Imports the flows; runs none of them."""
    try:
        content = yaml.safe_load(file.read_text())
    except FileNotFoundError:
        raise Problem(
            "there is no prefect.yaml",
            where={"file": file.absolute()},
            fix="run this in the project's own folder",
        ) from None
    except yaml.YAMLError as error:
        raise Problem(
            "prefect.yaml is not YAML",
            where={"file": file},
            detail=" ".join(str(error).split()),
            fix="mend the line that is named",
        ) from error
    entries = content.get("deployments") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise Problem(
            "prefect.yaml has no list of deployments",
            where={"file": file},
            fix="write `deployments:` with a list below it",
        )
    found = [_deployment(file, number, entry) for number, entry in enumerate(entries, start=1)]
    _one_each(file, found)
    return tuple(sorted(found, key=lambda deployment: deployment.name))


def _one_each(file: Path, found: list[Deployment]) -> None:
    slugs: dict[str, str] = {}
    for deployment in found:
        other = slugs.setdefault(deployment.slug, deployment.name)
        if other is not deployment.name:
            raise Problem(
                "two deployments would share one role",
                where={"file": file, "deployment": deployment.name},
                value=deployment.slug,
                detail=f"{other} is called the same once its signs are dashes",
                fix="give one of them another name",
            )


def _deployment(file: Path, number: int, entry: Any) -> Deployment:
    where: dict[str, object] = {"file": file, "deployment": number}
    if not isinstance(entry, dict):
        raise Problem(
            "a deployment is not a mapping", where=where, value=entry, fix="see prefect.yaml"
        )
    for key in ("name", "entrypoint"):
        if not isinstance(entry.get(key), str) or not entry[key]:
            raise Problem(
                f"a deployment has no {key}",
                where={**where, "key": key},
                value=entry.get(key),
                fix=f"give it a {key}: text",
            )
    where["deployment"] = entry["name"]
    flow = _flow(file, where, entry["entrypoint"])
    parameters = entry.get("parameters") or {}
    data = tuple(
        _data(where, name, access, parameters.get(name, default))
        for name, access, default in _annotated(where, flow)
    )
    return Deployment(
        name=f"{flow.name}/{entry['name']}",
        description=" ".join(str(entry.get("description") or "").split()),
        data=data,
    )


def _flow(file: Path, where: dict[str, object], entrypoint: str) -> Any:
    from prefect.flows import load_flow_from_entrypoint  # late: Prefect takes a second to import

    root = str(file.absolute().parent)
    if root not in sys.path:
        sys.path.insert(0, root)  # where `prefect deploy` and the image run
    path, colon, function = entrypoint.rpartition(":")
    if colon and path.endswith(".py"):
        path = str(file.absolute().parent / path)
    try:
        return load_flow_from_entrypoint(f"{path}{colon}{function}", use_placeholder_flow=False)
    except Exception as error:
        raise Problem(
            "the flow cannot be imported",
            where={**where, "key": "entrypoint"},
            value=entrypoint,
            detail=f"{type(error).__name__}: {error}",
            fix="write it as path/to/file.py:function, and see that the file imports by itself",
        ) from error


def _annotated(where: dict[str, object], flow: Any) -> list[tuple[str, Access, Any]]:
    """The flow's parameters that are data, with their defaults (None where there is none)."""
    function = flow.fn
    found = []
    for parameter in inspect.signature(function).parameters.values():
        try:
            # One by one: names that only type checkers import may stand in the other annotations.
            one = SimpleNamespace(__annotations__={"it": parameter.annotation})
            hint = get_type_hints(one, globalns=function.__globals__, include_extras=True)["it"]
        except NameError as error:
            raise Problem(
                "what a parameter is cannot be found out",
                where={**where, "parameter": parameter.name},
                value=parameter.annotation,
                detail=str(error),
                fix="import what its annotation names outside of TYPE_CHECKING",
            ) from error
        for access in getattr(hint, "__metadata__", ()):
            if isinstance(access, Access):
                empty = parameter.default is inspect.Parameter.empty
                found.append((parameter.name, access, None if empty else parameter.default))
    return found


def _data(where: dict[str, object], name: str, access: Access, value: Any) -> Data:
    where = {**where, "parameter": name}
    match = re.fullmatch(r"s3://(\{\{\s*\$\w+\s*\}\}|[^/{}\s]+)(?:/(.*))?", str(value or ""))
    if not match:
        raise Problem(
            "a job on Fargate reads and writes S3, and this is not an S3 address",
            where=where,
            value=value,
            fix="give the parameter in prefect.yaml as s3://bucket/prefix/",
        )
    bucket, key = re.sub(r"\s", "", match[1]), match[2] or ""
    if re.search(r"[*?${}]", key):
        raise Problem(
            "a role is made from this prefix, in which IAM would read a pattern",
            where=where,
            value=value,
            detail="it has one of * ? $ { }",
            fix="name the prefix itself",
        )
    return Data(name, bucket, key.lstrip("/"), access.read, access.write)
