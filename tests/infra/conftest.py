"""The templates as CDK makes them, and AWS as infra/local plays it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from deployments.declared import Data, Deployment
from infra.extra import Extra

if TYPE_CHECKING:
    from infra.local.aws import LocalAws

Templates = dict[str, dict[str, Any]]  # a stack's name: its template


class Synthesise(Protocol):
    def __call__(
        self,
        context: Mapping[str, Any] = ...,
        deployments: Sequence[Deployment] | None = None,
        more: Sequence[Extra] | None = None,
    ) -> Templates: ...


@pytest.fixture(scope="session")
def synthesise() -> Synthesise:
    """The templates of these settings and deployments, checked by cdk-nag."""

    @cache
    def once(
        context: tuple[tuple[str, Any], ...],
        deployments: tuple[Deployment, ...] | None,
        more: tuple[Extra, ...] | None,
    ) -> str:
        from infra.app import app

        with tempfile.TemporaryDirectory() as folder:
            app(folder, dict(context), deployments, more).synth()
            made = sorted(Path(folder).glob("*.template.json"))
            return json.dumps(
                {
                    file.name.removesuffix(".template.json"): json.loads(file.read_text())
                    for file in made
                }
            )

    def synthesised(
        context: Mapping[str, Any] | None = None,
        deployments: Sequence[Deployment] | None = None,
        more: Sequence[Extra] | None = None,
    ) -> Templates:
        fixed = None if deployments is None else tuple(deployments)
        text = once(
            tuple(sorted((context or {}).items())), fixed, None if more is None else tuple(more)
        )
        found: Templates = json.loads(text)
        return found

    return synthesised


@pytest.fixture(scope="session")
def templates(synthesise: Synthesise) -> Templates:
    """Those of the settings and the deployments as they are in the repository."""
    return synthesise()


@pytest.fixture
def aws() -> Iterator[LocalAws]:
    """AWS with nothing in it, and with IAM enforced."""
    from infra.local.aws import local_aws

    with local_aws() as running:
        yield running


def deployment(name: str, *data: Data) -> Deployment:
    return Deployment(name, "", data)


def reads(key: str, bucket: str = "{{$NIGHTSHIFT_DATA_BUCKET}}") -> Data:
    return Data("source", bucket, key, read=True, write=False)


def writes(key: str, bucket: str = "{{$NIGHTSHIFT_DATA_BUCKET}}") -> Data:
    return Data("destination", bucket, key, read=True, write=True)
