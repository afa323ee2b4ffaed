"""Runs that people ask for: an object in S3 each, so that nobody needs a way to the Prefect API.

A request is carried out once: the run's idempotency key is the request's. It is deleted after the
first answer, which is written again with each change until the run has ended.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from deployments.orchestrator.again import SINCE, newest_of
from deployments.orchestrator.history import keys
from deployments.orchestrator.journal import ANSWERS, REQUESTS
from deployments.orchestrator.look import iso
from deployments.straighten import task_arn
from flows.problem import Problem

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
_KEPT = timedelta(days=1)  # an answer
_NOT_ITS_FAULT = (401, 403, 408, 429)  # of what the server may say to a request


@dataclass(frozen=True)
class Request:
    id: str
    deployment: str
    parameters: dict[str, Any]
    by: str


class Requests:
    """Those of one state bucket."""

    def __init__(self, s3: Any, bucket: str, say: Callable[[str], None]) -> None:
        self._s3, self._bucket, self._say = s3, bucket, say
        self._open: dict[str, str] | None = None  # id: its run's; None: not looked for yet
        self._written: dict[str, dict[str, str]] = {}

    def waiting(self) -> tuple[str, ...]:
        """The ids of those that nobody has taken."""
        found = keys(self._s3, self._bucket, REQUESTS)
        ids = (key.removeprefix(REQUESTS).removesuffix(".json") for key in found if _is_json(key))
        return tuple(sorted(ids))

    def attend(
        self,
        client: SyncPrefectClient,
        again: Mapping[str, str],
        settled: Container[str],
        waiting: Sequence[str] | None = None,
    ) -> None:
        """Takes those that wait, and answers for those whose runs go on.

        `waiting`: their ids, if they were asked for already: each look at S3 costs.
        `again`: runs that were run again, and as which. `settled`: the crashed ones of which it is
        known whether they are to be; of the others the end is not told yet.
        """
        opened = self._answered()
        for id_ in self.waiting() if waiting is None else waiting:
            try:
                request = self._read(id_)
                run = _start(client, request)
            except Problem as problem:
                self._say(str(problem))
                self._write(id_, {"refused": str(problem)})
            else:
                self._say(f"{request.deployment} runs as asked for: {run.name}")
                opened[id_] = str(run.id)
                self._answer(client, id_, opened, again, settled)
            self._s3.delete_object(Bucket=self._bucket, Key=f"{REQUESTS}{id_}.json")
        for id_ in tuple(opened):
            self._answer(client, id_, opened, again, settled)

    def _answered(self) -> dict[str, str]:
        """Those whose runs go on, that a former life has begun among them."""
        if self._open is None:
            found: dict[str, str] = {}
            for key in keys(self._s3, self._bucket, ANSWERS):
                got = self._s3.get_object(Bucket=self._bucket, Key=key)
                if run := _goes_on(got["Body"].read()):
                    found[key.removeprefix(ANSWERS).removesuffix(".json")] = run
                elif datetime.now(UTC) - got["LastModified"] > _KEPT:
                    self._s3.delete_object(Bucket=self._bucket, Key=key)
            self._open = found
        return self._open

    def _answer(
        self,
        client: SyncPrefectClient,
        id_: str,
        opened: dict[str, str],
        again: Mapping[str, str],
        settled: Container[str],
    ) -> None:
        from prefect.exceptions import ObjectNotFound

        opened[id_] = newest_of(again, opened[id_])
        try:
            run = client.read_flow_run(UUID(opened[id_]))
        except ObjectNotFound:
            self._write(id_, {"refused": "the run was deleted"})
            del opened[id_]
            return
        assert run.state is not None
        ended = run.end_time or run.state.timestamp
        lately = datetime.now(UTC) - ended < SINCE  # what is older is not run again
        if run.state.is_crashed() and lately and str(run.id) not in settled:
            return
        self._write(
            id_,
            {
                "run": str(run.id),
                "name": run.name,
                "state": run.state.name or "",
                "type": run.state.type.value,
                "task": task_arn(run.infrastructure_pid),
                "message": run.state.message or "",
            },
        )
        if run.state.type.value in FINAL:
            del opened[id_]

    def _write(self, id_: str, answer: dict[str, str]) -> None:
        if self._written.get(id_) == answer:
            return
        self._s3.put_object(
            Bucket=self._bucket,
            Key=f"{ANSWERS}{id_}.json",
            Body=json.dumps({**answer, "at": iso(datetime.now(UTC))}).encode(),
            ContentType="application/json",
        )
        self._written[id_] = answer

    def _read(self, id_: str) -> Request:
        key = f"{REQUESTS}{id_}.json"
        body = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        try:
            return _parsed(id_, json.loads(body, parse_constant=_no_number))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise Problem(
                "a request cannot be read",
                where={"object": f"s3://{self._bucket}/{key}"},
                detail=f"{type(error).__name__}: {error}",
                fix="ask with make trigger DEPLOYMENT=flow/name",
            ) from error


def _is_json(key: str) -> bool:
    """Not the folder itself, which some programs make as an object."""
    return key.endswith(".json")


def _goes_on(body: bytes) -> str:
    """The run of an answer, if that has not ended."""
    try:
        answer = json.loads(body)
        return "" if answer.get("type") in FINAL else str(UUID(answer["run"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""  # it was refused; or it is none of ours


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _parsed(id_: str, content: Any) -> Request:
    deployment, parameters = content["deployment"], content.get("parameters") or {}
    if not (isinstance(deployment, str) and isinstance(parameters, dict)):
        raise TypeError("deployment is text, parameters are a mapping")
    if not re.fullmatch(r"[^/]+/[^/]+", deployment):
        raise ValueError("a deployment is called FLOW/NAME")
    return Request(id_, deployment, parameters, str(content.get("by") or ""))


def _start(client: SyncPrefectClient, request: Request) -> FlowRun:
    import httpx
    from prefect.exceptions import ObjectNotFound, PrefectException

    where: dict[str, object] = {"deployment": request.deployment}
    try:
        found = client.read_deployment_by_name(request.deployment)
        return client.create_flow_run_from_deployment(
            found.id,
            parameters=request.parameters,
            idempotency_key=f"request {request.id}",
        )
    except ObjectNotFound:
        raise Problem(
            "there is no such deployment",
            where=where,
            fix="one of those that prefect.yaml in the live image declares: make status",
        ) from None
    except (httpx.HTTPStatusError, PrefectException) as error:
        response = getattr(error, "response", None)
        status = getattr(response, "status_code", 0)
        if response is None or status >= 500 or status in _NOT_ITS_FAULT:
            raise  # it waits
        raise Problem(
            "Prefect refuses the run",
            where=where,
            value=json.dumps(request.parameters) if request.parameters else None,
            detail=response.text,
            fix="see what it says of the parameters: make trigger DEPLOYMENT=… PARAM='name=value'",
        ) from error
    except ValueError as error:  # half a character, for example
        raise Problem(
            "the parameters cannot be handed to Prefect",
            where=where,
            detail=str(error),
            fix="ask again with others: make trigger DEPLOYMENT=… PARAM='name=value'",
        ) from error
