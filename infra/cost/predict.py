"""predicted.json: what an installation should cost, where the bill report shows it beside what it
did cost.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from deployments.check import checked
from deployments.prefect_yaml import DATA_BUCKET, PREFECT_YAML
from deployments.prices import prices
from flows.storage import storage
from infra import cdk
from infra.cost.assumptions import Assumptions
from infra.cost.resources import bill
from infra.cost.runs import jobs
from infra.cost.words import as_data
from infra.names import Names
from infra.settings import Settings

PREDICTED = "predicted.json"
REPORTS = "reports"  # in the data bucket, where prefect.yaml sends the reports


def predict(folder: str, data: Mapping[str, Any]) -> str:
    """Writes it to the root of a destination, a folder or s3://…; says where."""
    storage(folder).write(PREDICTED, (json.dumps(data, indent=2) + "\n").encode())
    return f"{folder.rstrip('/')}/{PREDICTED}"


def deployed(settings: Settings, names: Names) -> str:
    """The prediction of what CDK has just deployed, into the data bucket; says where. `names` with
    the account's number. Raises Problem where the region's prices are not known.
    """
    known = prices(settings.region)
    stacks = (names.identity_stack, names.installation)
    templates = {stack: json.loads(cdk.template(stack).read_text()) for stack in stacks}
    work = jobs(checked(PREFECT_YAML, {DATA_BUCKET: names.bucket("data")}))
    made = bill(templates, work, known, Assumptions())
    data = as_data(made, settings.installation, known)
    return predict(f"s3://{names.bucket('data')}/{REPORTS}", data)
