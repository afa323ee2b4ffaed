"""Runs that people ask for through S3."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from botocore.exceptions import ConnectionClosedError
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Completed, Crashed, Failed, Pending, Running

from deployments.orchestrator import requests as module
from deployments.orchestrator.again import SINCE
from deployments.orchestrator.requests import Requests
from tests.e2e.places import Bucket
from tests.orchestrator.prefect_runs import all_runs

ARN = "arn:aws:ecs:eu-west-1:123456789012:task/nightshift-prod/one"
SCHEMA = {
    "type": "object",
    "properties": {"most": {"type": "integer", "position": 0, "title": "most"}},
}

Deploy = Callable[..., UUID]


class Asking:
    """Who asks, and the orchestrator's side. `settled` and `again` are the executor's."""

    def __init__(self, prefect: SyncPrefectClient, s3: Any, bucket: Bucket) -> None:
        self.prefect, self.s3, self.bucket = prefect, s3, bucket.bucket
        self.said: list[str] = []
        self.again: dict[str, str] = {}
        self.settled: set[str] = set()
        self.restart()

    def restart(self) -> None:
        self.requests = Requests(self.s3, self.bucket, self.said.append)

    def ask(self, content: object = None, id: str = "", **more: Any) -> str:
        id = id or uuid.uuid4().hex
        given = {"deployment": "report/daily", "parameters": {}, "at": "…", "by": "", **more}
        body = content if isinstance(content, bytes) else json.dumps(content or given).encode()
        self.s3.put_object(Bucket=self.bucket, Key=f"prefect/requests/{id}.json", Body=body)
        return id

    def attend(self) -> None:
        self.requests.attend(self.prefect, self.again, self.settled)

    def answer(self, id: str) -> dict[str, str]:
        key = f"prefect/answers/{id}.json"
        found: dict[str, str] = json.loads(
            self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        )
        assert datetime.fromisoformat(found.pop("at")) <= datetime.now(UTC)
        return found

    def answers(self) -> list[str]:
        found = self.s3.list_objects_v2(Bucket=self.bucket, Prefix="prefect/answers/")
        return [each["Key"] for each in found.get("Contents", ())]

    def runs(self) -> list[FlowRun]:
        return all_runs(self.prefect)


@pytest.fixture
def asking(prefect: SyncPrefectClient, s3_client: Any, bucket: Bucket, deploy: Deploy) -> Asking:
    deploy(
        parameters={"most": 1, "note": "as declared"},
        parameter_openapi_schema=SCHEMA,
        enforce_parameter_schema=True,
    )
    return Asking(prefect, s3_client, bucket)


# --- taken ---------------------------------------------------------------------------------------


def test_asked_and_answered(asking: Asking) -> None:
    id = asking.ask(parameters={"most": 5})
    assert asking.requests.waiting() == (id,)
    asking.attend()
    assert asking.requests.waiting() == ()
    (run,) = asking.runs()
    assert run.parameters == {"most": 5, "note": "as declared"}
    assert run.state is not None
    assert run.next_scheduled_start_time is not None
    assert run.next_scheduled_start_time <= datetime.now(UTC)
    assert asking.answer(id) == {
        "run": str(run.id),
        "name": run.name,
        "state": "Scheduled",
        "type": "SCHEDULED",
        "task": "",
        "message": run.state.message or "",
    }
    assert run.name in asking.said[0]


def test_the_answer_goes_with_the_run(asking: Asking) -> None:
    id = asking.ask()
    asking.attend()
    (run,) = asking.runs()
    state: State[Any]
    for state, expected in ((Pending(), "PENDING"), (Running(), "RUNNING")):
        asking.prefect.set_flow_run_state(run.id, state)
        asking.attend()
        assert asking.answer(id)["type"] == expected
    asking.prefect.update_flow_run(run.id, infrastructure_pid=f"nightshift-prod::{ARN}")
    asking.attend()
    assert asking.answer(id)["task"] == ARN
    asking.prefect.set_flow_run_state(run.id, Completed(message="42 rows"))
    asking.attend()
    assert asking.answer(id)["state"] == "Completed"
    assert asking.answer(id)["message"] == "42 rows"


def test_it_is_not_written_where_nothing_is_new(asking: Asking, s3_client: Any) -> None:
    id = asking.ask()
    asking.attend()
    s3_client.delete_object(Bucket=asking.bucket, Key=f"prefect/answers/{id}.json")
    asking.attend()
    assert asking.answers() == []
    asking.prefect.set_flow_run_state(asking.runs()[0].id, Pending())
    asking.attend()
    assert asking.answer(id)["type"] == "PENDING"


def test_several_at_once(asking: Asking) -> None:
    ids = [asking.ask(parameters={"most": number}) for number in range(4)]
    asking.ask({"deployment": "report/none"}, id="bad")
    asking.attend()
    found = {run.id: run.parameters["most"] for run in asking.runs()}
    assert [found[UUID(asking.answer(id)["run"])] for id in ids] == [0, 1, 2, 3]
    assert "refused" in asking.answer("bad")
    assert asking.requests.waiting() == ()


def test_the_folder_itself_is_no_request(asking: Asking, s3_client: Any) -> None:
    """The S3 console makes such an object; it would keep the orchestrator awake for ever."""
    s3_client.put_object(Bucket=asking.bucket, Key="prefect/requests/", Body=b"")
    assert asking.requests.waiting() == ()


# --- once ----------------------------------------------------------------------------------------


class KilledError(Exception):
    pass


@pytest.mark.parametrize("before", ["put_object", "delete_object"])
@pytest.mark.parametrize("restarted", [True, False])
def test_tried_twice_it_runs_once(
    asking: Asking, s3_client: Any, before: str, restarted: bool
) -> None:
    """Killed after the run was made, and before it was answered or the request deleted."""
    id = asking.ask()

    class Killed:
        def __getattr__(self, name: str) -> Any:
            if name == before:
                raise KilledError
            return getattr(s3_client, name)

    asking.requests._s3 = Killed()
    with pytest.raises(KilledError):
        asking.attend()
    assert asking.requests.waiting() == (id,)
    asking.requests._s3 = s3_client
    if restarted:
        asking.restart()
    asking.attend()
    (run,) = asking.runs()
    assert asking.answer(id)["run"] == str(run.id)
    assert asking.requests.waiting() == ()


def test_a_request_is_another_though_it_asks_for_the_same(asking: Asking) -> None:
    ids = [asking.ask(), asking.ask()]
    asking.attend()
    assert len({asking.answer(id)["run"] for id in ids}) == 2


def test_a_restart_goes_on_answering(asking: Asking) -> None:
    id = asking.ask()
    asking.attend()
    asking.restart()
    asking.prefect.set_flow_run_state(asking.runs()[0].id, Failed(message="no"), force=True)
    asking.attend()
    assert asking.answer(id)["type"] == "FAILED"


def test_an_interrupted_first_look_forgets_nobody(asking: Asking, s3_client: Any) -> None:
    ids = [asking.ask(), asking.ask()]
    asking.attend()

    class Interrupted:
        """S3 goes away between the first answer and the second."""

        reads = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(s3_client, name)

        def get_object(self, **given: Any) -> Any:
            self.reads += 1
            if self.reads == 2:
                raise ConnectionClosedError(endpoint_url="http://s3")
            return s3_client.get_object(**given)

    asking.restart()
    asking.requests._s3 = Interrupted()
    with pytest.raises(ConnectionClosedError):
        asking.attend()
    for run in asking.runs():
        asking.prefect.set_flow_run_state(run.id, Completed(), force=True)
    asking.attend()
    assert [asking.answer(id)["type"] for id in ids] == ["COMPLETED", "COMPLETED"]


# --- refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"[]", b"null", b'"report/daily"', b"\xff\xfe", b"{}"),
        b'{"deployment": "report/daily", "parameters": {"most": NaN}}',
        b"[" * 100_000,
        {"deployment": 5},
        {"deployment": "daily"},
        {"deployment": "report/daily/x"},
        {"deployment": "report/daily", "parameters": [1]},
    ],
)
def test_what_cannot_be_read_is_refused(asking: Asking, content: Any) -> None:
    id = asking.ask(content)
    asking.attend()
    assert "a request cannot be read" in asking.answer(id)["refused"]
    assert "fix:" in asking.answer(id)["refused"]
    assert asking.requests.waiting() == ()
    assert asking.runs() == []
    asking.restart()
    asking.attend()  # an answer without a run is no trouble to the next life


@pytest.mark.parametrize("name", ["report/none", "nothing/daily", "report/%2e%2e", "a b/ü?x=1#y"])
def test_no_such_deployment(asking: Asking, name: str) -> None:
    id = asking.ask(deployment=name)
    asking.attend()
    assert "there is no such deployment" in asking.answer(id)["refused"]
    assert name in asking.answer(id)["refused"]
    assert asking.runs() == []


@pytest.mark.parametrize("parameters", [{"most": "many"}, {"most": [1]}])
def test_parameters_that_the_flow_does_not_take(asking: Asking, parameters: dict[str, Any]) -> None:
    id = asking.ask(parameters=parameters)
    asking.attend()
    refused = asking.answer(id)["refused"]
    assert "Prefect refuses the run" in refused
    assert "most" in refused
    assert json.dumps(parameters) in refused
    assert asking.requests.waiting() == ()
    assert asking.runs() == []


def test_half_a_character(asking: Asking) -> None:
    """It is valid JSON, and cannot be sent."""
    id = asking.ask(b'{"deployment": "report/daily", "parameters": {"note": "\\ud800"}}')
    asking.attend()
    assert "refused" in asking.answer(id)
    assert asking.requests.waiting() == ()


# --- not its fault -------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [500, 503, 429, 401, 408])
def test_a_server_in_trouble_leaves_it_waiting(
    asking: Asking, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    id = asking.ask()

    def refuse(*_: Any, **__: Any) -> Any:
        request = httpx.Request("POST", "http://server")
        raise httpx.HTTPStatusError(
            "no", request=request, response=httpx.Response(status, request=request)
        )

    with monkeypatch.context() as patch:
        patch.setattr(asking.prefect, "create_flow_run_from_deployment", refuse)
        with pytest.raises(httpx.HTTPStatusError):
            asking.attend()
    assert asking.requests.waiting() == (id,)
    assert asking.answers() == []
    asking.attend()
    assert asking.answer(id)["run"] == str(asking.runs()[0].id)


def test_a_server_that_is_away_leaves_it_waiting(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = asking.ask()

    def away(*_: Any, **__: Any) -> Any:
        raise httpx.ConnectError("away")

    with monkeypatch.context() as patch:
        patch.setattr(asking.prefect, "read_deployment_by_name", away)
        with pytest.raises(httpx.ConnectError):
            asking.attend()
    assert asking.requests.waiting() == (id,)


# --- crashed, and run again ----------------------------------------------------------------------


def crash(asking: Asking, run: UUID) -> None:
    states: tuple[State[Any], ...] = (Pending(), Running(), Crashed(message="gone"))
    for state in states:
        asking.prefect.set_flow_run_state(run, state, force=True)


def test_a_crash_is_not_told_before_it_is_settled(asking: Asking) -> None:
    id = asking.ask()
    asking.attend()
    (run,) = asking.runs()
    crash(asking, run.id)
    asking.attend()
    assert asking.answer(id)["type"] == "SCHEDULED"
    asking.settled.add(str(run.id))
    asking.attend()
    assert asking.answer(id)["type"] == "CRASHED"
    assert asking.answer(id)["message"] == "gone"


@pytest.mark.parametrize("restarted", [True, False])
def test_the_answer_goes_over_to_the_newer_run(asking: Asking, restarted: bool) -> None:
    id = asking.ask()
    asking.attend()
    (first,) = asking.runs()
    assert first.deployment_id is not None
    crash(asking, first.id)
    second = asking.prefect.create_flow_run_from_deployment(first.deployment_id, name="a-again")
    third = asking.prefect.create_flow_run_from_deployment(first.deployment_id, name="a-again-2")
    if restarted:
        asking.restart()
    asking.again = {str(first.id): str(second.id)}
    asking.settled.add(str(first.id))
    asking.attend()
    assert asking.answer(id)["run"] == str(second.id)
    assert asking.answer(id)["name"] == "a-again"
    assert asking.answer(id)["type"] == "SCHEDULED"
    asking.again[str(second.id)] = str(third.id)
    asking.prefect.set_flow_run_state(third.id, Completed(), force=True)
    asking.attend()
    assert asking.answer(id)["run"] == str(third.id)
    assert asking.answer(id)["type"] == "COMPLETED"


def test_a_crash_of_long_ago_is_told(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks into it any more: who asked would wait for ever."""
    id = asking.ask()
    asking.attend()
    crash(asking, asking.runs()[0].id)
    asking.restart()
    monkeypatch.setattr(module, "SINCE", timedelta())
    asking.attend()
    assert asking.answer(id)["type"] == "CRASHED"
    assert timedelta(minutes=10) < SINCE < timedelta(hours=1)


def test_a_run_that_was_deleted(asking: Asking) -> None:
    id = asking.ask()
    asking.attend()
    asking.prefect.delete_flow_run(asking.runs()[0].id)
    asking.attend()
    assert asking.answer(id) == {"refused": "the run was deleted"}
    asking.attend()


# --- old answers ---------------------------------------------------------------------------------


def test_answers_of_yesterday_go(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    ended, goes_on = asking.ask(), asking.ask()
    refused = asking.ask(b"{")
    asking.attend()
    run = UUID(asking.answer(ended)["run"])
    asking.prefect.set_flow_run_state(run, Completed(), force=True)
    asking.attend()
    asking.s3.put_object(Bucket=asking.bucket, Key="prefect/answers/junk.json", Body=b"[]")
    asking.restart()
    asking.attend()
    assert len(asking.answers()) == 4, "not yet"
    monkeypatch.setattr(module, "_KEPT", timedelta(seconds=-1))
    asking.restart()
    asking.attend()
    assert asking.answers() == [f"prefect/answers/{goes_on}.json"]
    assert refused not in asking.answers()
