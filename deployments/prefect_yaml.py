"""prefect.yaml as it is written, and the flows that it names."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from flows.problem import Problem

DATA_BUCKET = "NIGHTSHIFT_DATA_BUCKET"  # the variable that prefect.yaml names the bucket by
PREFECT_YAML = Path("prefect.yaml")


def read(file: Path = PREFECT_YAML) -> dict[str, Any]:
    """What the file says: a mapping, with a list under `deployments`."""
    try:
        content = yaml.safe_load(file.read_text())
    except FileNotFoundError:
        raise Problem(
            "there is no prefect.yaml",
            where={"file": file.absolute()},
            fix="run this in the project's own folder",
        ) from None
    except yaml.YAMLError as error:
        raise Problem(
            "prefect.yaml is not YAML",
            where={"file": file},
            detail=" ".join(str(error).split()),
            fix="mend the line that is named",
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("deployments"), list):
        raise Problem(
            "prefect.yaml has no list of deployments",
            where={"file": file},
            fix="write `deployments:` with a list below it",
        )
    return content


def place(file: Path, number: int, entry: Any) -> dict[str, object]:
    """Where an entry stands, for errors: file and deployment. It has a name and an entrypoint."""
    where: dict[str, object] = {"file": file, "deployment": number}
    if not isinstance(entry, dict):
        raise Problem(
            "a deployment is not a mapping", where=where, value=entry, fix="see prefect.yaml"
        )
    for key in ("name", "entrypoint"):
        if not isinstance(entry.get(key), str) or not entry[key]:
            raise Problem(
                f"a deployment has no {key}",
                where={**where, "key": key},
                value=entry.get(key),
                fix=f"give it a {key}: text",
            )
    return {**where, "deployment": entry["name"]}


def load_flow(file: Path, where: dict[str, object], entrypoint: str) -> Any:
    """The flow itself; importing its file is all that runs of it."""
    from prefect.flows import load_flow_from_entrypoint  # late: Prefect takes a second to import

    root = str(file.absolute().parent)
    if root not in sys.path:
        sys.path.insert(0, root)  # where `prefect deploy` and the image run
    path, colon, function = entrypoint.rpartition(":")
    if colon and path.endswith(".py"):
        path = str(file.absolute().parent / path)
    try:
        return load_flow_from_entrypoint(f"{path}{colon}{function}", use_placeholder_flow=False)
    except Exception as error:
        raise Problem(
            "the flow cannot be imported",
            where={**where, "key": "entrypoint"},
            value=entrypoint,
            detail=f"{type(error).__name__}: {error}",
            fix="write it as path/to/file.py:function, and see that the file imports by itself",
        ) from error
