"""The resources of a stack brought from one template to the next, and back if one of them fails.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-updating-stacks-update-behaviors.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from moto.cloudformation.models import Event, cloudformation_backends

from infra.local.cloudformation.api import Props, is_missing
from infra.local.cloudformation.kind import Kind, at, put
from infra.local.cloudformation.resource import KINDS, Resource, Resources, in_order, named, needs

_KEEP = ("Retain", "RetainExceptOnCreate")


class Failed(Exception):
    """A resource could not be made or changed."""


@dataclass
class Deployment:
    stack: Any
    old: Resources
    new: Resources
    imports: bool = False
    undo: list[Callable[[], None]] = field(default_factory=list)
    obsolete: list[Resource] = field(default_factory=list)

    def run(self) -> None:
        wanted = self.new.wanted()
        for key, template in wanted.items():
            before = self.old.made.get(key)
            try:
                self.new.add(self._bring(key, template, before))
            except Exception as error:
                status = "UPDATE_FAILED" if before else "CREATE_FAILED"
                tell(self.stack, status, key, template["Type"], reason=str(error))
                raise Failed(f"{key} ({template['Type']}): {error}") from error
        self.obsolete += [item for key, item in self.old.made.items() if key not in wanted]

    def roll_back(self) -> list[str]:
        """What could not be undone."""
        failed = []
        for step in reversed(self.undo):
            try:
                step()
            except Exception as error:
                failed.append(str(error))
        return failed

    def clean_up(self) -> None:
        """What the new template no longer has, and what was replaced. AWS, too, lets go of what it
        cannot delete here, and the update still counts as complete.
        """
        template = self.new._template["Resources"]
        for resource in backwards(self.obsolete, self.old):
            still_there = template.get(resource.logical_resource_id)
            policy = (
                still_there.get("UpdateReplacePolicy")
                if still_there
                else resource.template.get("DeletionPolicy")
            )
            if policy in _KEEP:
                tell(self.stack, "DELETE_SKIPPED", resource.logical_resource_id, resource)
            else:
                delete(self.stack, resource)

    def _bring(self, key: str, template: Props, before: Resource | None) -> Resource:
        kind = KINDS[template["Type"]]
        properties = self.new.resolved(template)
        kind.check(properties)
        if before is None:
            return self._create(key, template, properties)
        if before.kind is not kind:
            raise ValueError("Update of resource type is not permitted.")
        given = before.template.get("Properties", {})
        if kind.name and not at(properties, kind.name) and not at(given, kind.name):
            properties = put(properties, kind.name, at(before.properties, kind.name))
        if properties == before.properties:
            return replace(before, template=template)
        if kind.must_replace(properties, before.properties):
            made = self._create(key, template, self.new.resolved(template))
            self.obsolete.append(before)
            return made
        after = replace(before, template=template, properties=properties)
        self.undo.append(lambda: _update(self.stack, after, before))
        _update(self.stack, before, after)
        return after

    def _create(self, key: str, template: Props, given: Props) -> Resource:
        kind, api = KINDS[template["Type"]], self.new.api
        properties = named(self.stack.name, key, kind, given)
        name = str(at(properties, kind.name)) if kind.name else ""
        there = kind.find(api, name, properties) if kind.find else None
        if there:
            if not self._takes_in(kind, template, there):
                raise ValueError(f"{kind.type} {name} already exists")
            taken = Resource(kind, api, key, there, properties, template)
            tell(self.stack, "IMPORT_COMPLETE", key, taken)
            return taken
        tell(self.stack, "CREATE_IN_PROGRESS", key, kind.type)
        try:
            made = Resource(kind, api, key, kind.create(api, properties), properties, template)
        except Exception:
            half = kind.find(api, name, properties) if kind.find else None
            if half:  # made, but not set as it should be
                Resource(kind, api, key, half, properties, template).delete()
            raise
        if template.get("DeletionPolicy") != "Retain":
            self.undo.append(lambda: self._take_back(made))
        tell(self.stack, "CREATE_COMPLETE", key, made)
        return made

    def _take_back(self, made: Resource) -> None:
        if not delete(self.stack, made):
            raise Failed(f"{made.logical_resource_id} could not be deleted again")

    def _takes_in(self, kind: Kind, template: Props, physical_id: str) -> bool:
        """As it is: importing does not change a resource.

        https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/import-resources-automatically.html
        """
        stacks: Any = cloudformation_backends[self.stack.account_id][self.stack.region_name].stacks
        owned = {
            (resource.kind.type, resource.physical_resource_id)
            for stack in stacks.values()
            for resource in stack.resource_map.made.values()
        }
        return (
            self.imports
            and kind.importable
            and isinstance(at(template.get("Properties", {}), kind.name), str)
            and template.get("DeletionPolicy") in _KEEP
            and (kind.type, physical_id) not in owned
        )


def delete_all(stack: Any) -> list[str]:
    """What could not be deleted. What that needs stays as well."""
    resources: Resources = stack.resource_map
    failed: list[str] = []
    needed: set[str] = set()
    for resource in backwards(resources.made.values(), resources):
        key = resource.logical_resource_id
        if resource.template.get("DeletionPolicy") in _KEEP:
            tell(stack, "DELETE_SKIPPED", key, resource)
        elif key in needed or not delete(stack, resource):
            needed |= needs(resource.template)
            if key not in needed:
                failed.append(key)
            continue
        resources.drop(key)
    return failed


def delete(stack: Any, resource: Resource) -> bool:
    key = resource.logical_resource_id
    tell(stack, "DELETE_IN_PROGRESS", key, resource)
    try:
        resource.delete()
    except Exception as error:
        if not is_missing(error):
            tell(stack, "DELETE_FAILED", key, resource, reason=str(error))
            return False
    tell(stack, "DELETE_COMPLETE", key, resource)
    return True


def _update(stack: Any, before: Resource, after: Resource) -> None:
    tell(stack, "UPDATE_IN_PROGRESS", after.logical_resource_id, after)
    assert after.kind.update  # else it would have been replaced
    after.kind.update(after.api, after.physical_resource_id, after.properties, before.properties)
    tell(stack, "UPDATE_COMPLETE", after.logical_resource_id, after)


def backwards(resources: Iterable[Resource], of: Resources) -> list[Resource]:
    """What needs others before those others."""
    place = {key: n for n, key in enumerate(in_order(of._resource_json_map))}
    return sorted(resources, key=lambda item: -place[item.logical_resource_id])


def tell(
    stack: Any, status: str, logical_id: str, what: Resource | str, *, reason: str | None = None
) -> None:
    kind, made = (what, None) if isinstance(what, str) else (what.kind.type, what)
    event = Event(
        stack_id=stack.stack_id,
        stack_name=stack.name,
        logical_resource_id=logical_id,
        physical_resource_id=made.physical_resource_id if made else "",
        resource_type=kind,
        resource_status=status,
        resource_status_reason=reason,
        resource_properties=None,
    )
    stack.events.append(event)
