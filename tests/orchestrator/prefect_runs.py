"""What the shared Prefect server has of a test's own runs."""

from __future__ import annotations

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import FlowRun


def all_runs(prefect: SyncPrefectClient) -> list[FlowRun]:
    """Of the deployments that there are; unasked, the server lists 200 of all that it has."""
    ours = [one.id for one in prefect.read_deployments()]
    return prefect.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=ours))
    )
