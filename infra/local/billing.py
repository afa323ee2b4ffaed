"""The one call to AWS Billing that moto lacks: cost allocation tags, of which none is known yet."""

from __future__ import annotations

import json
from typing import Any


def register() -> None:
    """Teach moto's Cost Explorer to answer as AWS does while a tag is new."""
    from moto.ce.responses import CostExplorerResponse

    response: Any = CostExplorerResponse
    response.update_cost_allocation_tags_status = _update_tags


def _update_tags(response: Any) -> str:
    asked = json.loads(response.body)["CostAllocationTagsStatus"]
    return json.dumps(
        {
            "Errors": [
                {
                    "TagKey": tag["TagKey"],
                    "Code": "TagKeysNotFoundException",
                    "Message": f"Tag keys not found: {tag['TagKey']}",
                }
                for tag in asked
            ]
        }
    )
