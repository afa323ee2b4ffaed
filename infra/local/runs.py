"""What becomes of the flow runs, as Prefect's API tells it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from flows.problem import Problem
from infra.local.prefect import Api

_EVERY = 1.0  # seconds

Told = Callable[[str], None]


class Runs:
    """Tells of each new state of each run, once. `api` gives the API of who is awake: it is at
    another address after each sleep, and knows the same runs.
    """

    def __init__(self, api: Callable[[], Api], say: Told, completed: Callable[[], None]) -> None:
        self._awake = api
        self._say = say
        self._completed = completed
        self._states: dict[str, str] = {}  # run id: state id
        self._names: dict[str, str] = {}  # deployment id: 'cost-report/daily'

    def look(self) -> None:
        """Raises Problem if nobody is awake, OSError if it does not answer."""
        self._api = self._awake()
        runs = self._api(
            "/flow_runs/filter",
            {
                "sort": "EXPECTED_START_TIME_DESC",
                "limit": 50,
                "flow_runs": {"state": {"type": {"not_any_": ["SCHEDULED"]}}},
            },
        )
        for run in reversed(runs):
            if self._states.get(run["id"]) == run["state_id"]:
                continue
            self._states[run["id"]] = run["state_id"]
            self._say(f"run {run['name']} of {self._name(run)}: {_state(run['state'])}")
            if run["state"]["type"] == "COMPLETED":
                self._completed()

    def _name(self, run: dict[str, Any]) -> str:
        deployment = run["deployment_id"]
        if not deployment:
            return "no deployment"
        if deployment not in self._names:
            found = self._api(f"/deployments/{deployment}")
            flow = self._api(f"/flows/{found['flow_id']}")
            self._names[deployment] = f"{flow['name']}/{found['name']}"
        return self._names[deployment]


def _state(state: dict[str, Any]) -> str:
    message = " ".join(str(state.get("message") or "").split())
    return f"{state['name']} ({message[:300]})" if message else str(state["name"])


@contextmanager
def told(
    api: Callable[[], Api], say: Told, completed: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Tells of the runs until the context ends; silent while there is no API (Problem)."""
    runs = Runs(api, say, completed)
    end = threading.Event()

    def watch() -> None:
        while not end.wait(_EVERY):
            with suppress(OSError, Problem):  # the server is away, and comes back
                runs.look()

    thread = threading.Thread(target=watch, name="runs", daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
