"""What was of a run that died: its task runs and subflow runs ran in the same ECS task, and Prefect
goes on calling them Running.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import UUID

from deployments.server import PAGE, asking

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient


def crash(client: SyncPrefectClient, run: UUID, say: Callable[[str], None]) -> None:
    """Makes them Crashed. A run of a deployment that it started is somebody else's ECS task, and is
    left alone.
    """
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterId,
        FlowRunFilterParentFlowRunId,
        FlowRunFilterState,
        FlowRunFilterStateType,
        TaskRunFilter,
        TaskRunFilterState,
        TaskRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    busy = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
    message = "It was of a flow run that crashed, and ended with its ECS task."
    with asking("what was of a run that died"):
        tasks = client.read_task_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run])),
            task_run_filter=TaskRunFilter(
                state=TaskRunFilterState(type=TaskRunFilterStateType(any_=busy))
            ),
            limit=PAGE,
        )
        for task in tasks:
            client.set_task_run_state(task.id, Crashed(message=message), force=True)
        flows = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run]),
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=busy)),
            ),
            limit=PAGE,
        )
        own = [flow for flow in flows if flow.deployment_id is None]
        for flow in own:
            client.set_flow_run_state(flow.id, Crashed(message=message))
    if tasks or own:
        say(f"{len(tasks)} task runs and {len(own)} subflow runs of {run} are Crashed too")
    for flow in own:
        crash(client, flow.id, say)
