"""The Prefect server that PREFECT_API_URL names, and its refusals as Problems."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx

from flows.problem import Problem

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

PAGE = 200  # the most that the API gives at once


@contextmanager
def connected() -> Iterator[SyncPrefectClient]:
    from prefect.client.orchestration import get_client
    from prefect.settings import get_current_settings

    url = get_current_settings().api.url
    if not url:
        # Otherwise Prefect would start a server for the occasion, and forget it afterwards.
        raise Problem(
            "it is not said which Prefect server",
            where={"variable": "PREFECT_API_URL"},
            fix="set it: PREFECT_API_URL=http://127.0.0.1:4200/api",
        )
    try:
        with get_client(sync_client=True) as client:
            yield client
    except httpx.TransportError as error:
        raise Problem(
            "the Prefect server does not answer",
            where={"variable": "PREFECT_API_URL"},
            value=url,
            detail=f"{type(error).__name__}: {error}",
            fix="see that it runs and can be reached from here",
        ) from error


@contextmanager
def asking(what: str) -> Iterator[None]:
    from prefect.exceptions import PrefectException

    try:
        yield
    except (httpx.HTTPStatusError, PrefectException) as error:
        response = getattr(error, "response", None)
        raise Problem(
            "the Prefect server refused a step",
            where={"step": what.partition("\n")[0]},
            detail=response.text if response is not None else str(error),
            fix="see what it says; running this again goes on where it stopped",
        ) from error
