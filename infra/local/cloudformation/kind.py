"""What CloudFormation needs to know about a type of resource."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from infra.local.cloudformation.api import Api, Props


def id_as(name: str) -> Callable[[Api, str, Props], dict[str, Any]]:
    """For types of which the physical ID is all that can be asked for."""
    return lambda _api, physical_id, _: {name: physical_id}


@dataclass(frozen=True)
class Kind:
    """`create` answers the physical ID, which is what Ref gives.

    `update` gets the ID, the new and the old properties. Without `update`, or where a `fixed`
    property differs, the resource is replaced; `fixed` follows the createOnlyProperties of the
    public resource schemas. A path such as `Budget/BudgetName` names a nested property.

    `name` is the property that names the resource: without it a name is made up, and `find` says
    whether one of that name exists, which fails a create or, where `importable`, can be taken in.
    A type is importable if its primary ID is its name rather than something AWS makes up
    (https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/import-resources-automatically.html).
    """

    type: str
    create: Callable[[Api, Props], str]
    delete: Callable[[Api, str, Props], object]
    update: Callable[[Api, str, Props, Props], object] | None = None
    attributes: Callable[[Api, str, Props], dict[str, Any]] = lambda *_: {}
    fixed: tuple[str, ...] = ()
    name: str = ""
    find: Callable[[Api, str, Props], str | None] | None = None
    importable: bool = False
    lower_case: bool = False
    known: tuple[str, ...] = ()  # the properties, where no call checks them
    renames: bool = False  # another name is an update, not another resource

    def check(self, properties: Props) -> None:
        unknown = sorted(set(properties) - set(self.known))
        if self.known and unknown:
            raise ValueError(f"Encountered unsupported property {', '.join(unknown)}")

    def must_replace(self, new: Props, old: Props) -> bool:
        fixed = (*self.fixed, self.name) if self.name and not self.renames else self.fixed
        return not self.update or any(at(new, path) != at(old, path) for path in fixed)


def at(properties: Props, path: str) -> Any:
    value: Any = properties
    for step in path.split("/"):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def put(properties: Props, path: str, value: Any) -> Props:
    """The properties with one, maybe nested, set."""
    first, _, rest = path.partition("/")
    return properties | {first: put(properties.get(first, {}), rest, value) if rest else value}
