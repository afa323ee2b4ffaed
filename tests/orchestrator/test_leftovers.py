"""Task runs and subflow runs of a run that died, on a real Prefect server."""

from __future__ import annotations

import uuid

from prefect.client.orchestration import SyncPrefectClient
from prefect.states import Completed, Crashed, Pending, Running

from deployments.orchestrator import leftovers


def test_they_are_crashed_too(prefect: SyncPrefectClient) -> None:
    from prefect import flow, task

    @task
    def step() -> None: ...

    @flow
    def parent() -> None: ...

    @flow
    def child() -> None: ...

    key = uuid.uuid4().hex
    run = prefect.create_flow_run(parent, state=Running(), name=f"parent-{key}")
    open_task = prefect.create_task_run(step, run.id, "0", state=Running())
    done_task = prefect.create_task_run(step, run.id, "1", state=Completed())
    # How Prefect ties a subflow to its parent: by a task run of the parent's.
    of_child = prefect.create_task_run(step, run.id, "2", state=Pending())
    sub = prefect.create_flow_run(child, state=Running(), parent_task_run_id=of_child.id)
    inner = prefect.create_task_run(step, sub.id, "0", state=Running())
    prefect.set_flow_run_state(run.id, Crashed())
    said: list[str] = []

    leftovers.crash(prefect, run.id, said.append)

    def task_state(id_: uuid.UUID) -> str:
        state = prefect.read_task_run(id_).state
        assert state is not None
        return state.type.value

    sub_state = prefect.read_flow_run(sub.id).state
    assert sub_state is not None
    assert sub_state.type.value == "CRASHED"
    assert [task_state(one.id) for one in (open_task, of_child, inner)] == ["CRASHED"] * 3
    assert task_state(done_task.id) == "COMPLETED"
    assert "2 task runs and 1 subflow runs" in said[0]

    said.clear()
    leftovers.crash(prefect, run.id, said.append)
    assert said == []
