"""What prefect.yaml declares, and what data each deployment's flow says it reads and writes.

The flow's signature names the parameters that are data (`Source`, `Destination`), prefect.yaml
gives them their values. Together they are all that a job may touch: its IAM role is made from that.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_type_hints

from deployments.prefect_yaml import PREFECT_YAML, load_flow, place, read
from flows.data import Access
from flows.problem import Problem


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
    entries = enumerate(read(file)["deployments"], start=1)
    found = [_deployment(file, number, entry) for number, entry in entries]
    one_each(file, found)
    return tuple(sorted(found, key=lambda deployment: deployment.name))


def one_each(file: Path, found: Iterable[Deployment]) -> None:
    """No two of them may come to the same resource names."""
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
    where = place(file, number, entry)
    return deployment(where, entry, load_flow(file, where, entry["entrypoint"]))


def deployment(where: dict[str, object], entry: dict[str, Any], flow: Any) -> Deployment:
    """One entry, whose flow is at hand."""
    parameters = entry.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise Problem(
            "parameters are not a mapping",
            where={**where, "key": "parameters"},
            value=parameters,
            fix="write each as name: value",
        )
    data = tuple(
        _data(where, name, access, parameters.get(name, default))
        for name, access, default in _annotated(where, flow)
    )
    return Deployment(
        name=f"{flow.name}/{entry['name']}",
        description=" ".join(str(entry.get("description") or "").split()),
        data=data,
    )


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
