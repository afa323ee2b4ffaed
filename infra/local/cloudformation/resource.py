"""Resources of a stack, and the map in which moto looks them up."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from moto.cloudformation.exceptions import UnformattedGetAttTemplateException, ValidationError
from moto.cloudformation.parsing import ResourceMap, clean_json

from infra.local.cloudformation import ec2, ecs, iam, messages, release, storage, watch
from infra.local.cloudformation.api import Api, Props
from infra.local.cloudformation.kind import Kind, at, put

KINDS = {
    kind.type: kind
    for module in (ec2, ecs, iam, messages, release, storage, watch)
    for kind in module.KINDS
} | {"AWS::CDK::Metadata": Kind("AWS::CDK::Metadata", lambda *_: "metadata", lambda *_: None)}


@dataclass
class Resource:
    """What exists. Moto reads the names that it knows from its own models."""

    kind: Kind
    api: Api
    logical_resource_id: str
    physical_resource_id: str
    properties: Props  # as they were made: everything resolved
    template: Props

    @property
    def cf_resource_type(self) -> str:
        return self.kind.type

    def get_cfn_attribute(self, name: str) -> Any:
        attributes = self.kind.attributes(self.api, self.physical_resource_id, self.properties)
        if attributes.get(name) is None:
            raise UnformattedGetAttTemplateException
        return attributes[name]

    def is_created(self) -> bool:
        return True

    def delete(self) -> None:
        self.kind.delete(self.api, self.physical_resource_id, self.properties)


class Resources(ResourceMap):
    """Moto's map makes a resource when it is asked for it; here it only says what there is."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        check(self._template)

    def __getitem__(self, key: str) -> Any:
        return self._parsed_resources[key]

    def __iter__(self) -> Iterator[str]:
        return (key for key in self._resource_json_map if key in self._parsed_resources)

    def __len__(self) -> int:
        return len(list(iter(self)))

    @property
    def api(self) -> Api:
        return Api(self._account_id, self._region_name)

    @property
    def made(self) -> dict[str, Resource]:
        there = self._parsed_resources.items()
        return {key: value for key, value in there if isinstance(value, Resource)}

    def add(self, resource: Resource) -> None:
        self._parsed_resources[resource.logical_resource_id] = resource

    def drop(self, logical_id: str) -> None:
        self._parsed_resources.pop(logical_id, None)

    def wanted(self) -> dict[str, Props]:
        """What the template has, without what a condition leaves out; what others need first."""
        resources: dict[str, Props] = self._resource_json_map
        return {
            key: resources[key]
            for key in in_order(resources)
            if "Condition" not in resources[key]
            or self.lazy_condition_map[resources[key]["Condition"]]
        }

    def resolved(self, template: Props) -> Props:
        given = with_zones(copy.deepcopy(template.get("Properties", {})), self.api)
        properties: Props = _without_nothing(clean_json(given, self))
        return properties

    def validate_outputs(self) -> None:
        """Moto asks its own models what they have; here an output that is not there is an error."""

    def build_change_set_actions(self, template: Props) -> Any:
        check(template)
        return super().build_change_set_actions(template)


def check(template: Props) -> None:
    resources = template.get("Resources", {})
    unknown = sorted({item["Type"] for item in resources.values()} - KINDS.keys())
    if unknown:
        types = ", ".join(unknown)
        message = f"Template format error: Unrecognized resource types: [{types}]"
        raise ValidationError(message=message)
    outputs = set().union(*(_references(item) for item in template.get("Outputs", {}).values()))
    for block, names in (
        ("Resources", set().union(*map(needs, resources.values()))),
        ("Outputs", outputs),
    ):
        names -= resources.keys() | template.get("Parameters", {}).keys()
        unknown = sorted(name for name in names if not name.startswith("AWS::"))
        if unknown:
            where = f"[{', '.join(unknown)}] in the {block} block of the template"
            raise ValidationError(
                message=f"Template format error: Unresolved resource dependencies {where}"
            )
    in_order(resources)


def named(stack: str, logical_id: str, kind: Kind, properties: Props) -> Props:
    """The properties with a name made up, in the manner of CloudFormation, if they have none."""
    if not kind.name or at(properties, kind.name):
        return properties
    name = f"{stack[:24]}-{logical_id[:24]}-{secrets.token_hex(6).upper()}"
    return put(properties, kind.name, name.lower() if kind.lower_case else name)


def in_order(resources: dict[str, Props]) -> list[str]:
    order: list[str] = []
    on_the_way: list[str] = []

    def visit(key: str) -> None:
        if key in order:
            return
        if key in on_the_way:
            cycle = ", ".join(on_the_way[on_the_way.index(key) :])
            message = f"Circular dependency between resources: [{cycle}]"
            raise ValidationError(message=message)
        on_the_way.append(key)
        for needed in sorted(needs(resources[key]) & resources.keys()):
            visit(needed)
        on_the_way.pop()
        order.append(key)

    for key in resources:
        visit(key)
    return order


def needs(template: Props) -> set[str]:
    """The logical IDs that a resource's template names."""
    after = template.get("DependsOn", [])
    named = set([after] if isinstance(after, str) else after)
    return named | _references(template.get("Properties", {}))


def _references(value: Any) -> set[str]:
    if isinstance(value, list):
        return set().union(*map(_references, value))
    if not isinstance(value, dict):
        return set()
    found: set[str] = set()
    for key, item in value.items():
        if key == "Ref" and isinstance(item, str):
            found.add(item)
        elif key == "Fn::GetAtt":
            found.add(item[0] if isinstance(item, list) else item.split(".")[0])
        elif key == "Fn::Sub":
            text = item[0] if isinstance(item, list) else item
            places = (part.split("}")[0] for part in text.split("${")[1:])
            found |= {place.split(".")[0] for place in places if not place.startswith("!")}
            found |= _references(item[1:] if isinstance(item, list) else [])
        else:
            found |= _references(item)
    return found


def with_zones(value: Any, api: Api) -> Any:
    """Fn::GetAZs put in: moto answers us-east-1's, whatever the region."""
    if isinstance(value, list):
        return [with_zones(item, api) for item in value]
    if not isinstance(value, dict):
        return value
    if "Fn::GetAZs" in value:
        zones = api.call("ec2", "describe_availability_zones")["AvailabilityZones"]
        return sorted(zone["ZoneName"] for zone in zones)
    return {key: with_zones(item, api) for key, item in value.items()}


def _without_nothing(value: Any) -> Any:
    """AWS::NoValue leaves a None in lists."""
    if isinstance(value, list):
        return [_without_nothing(item) for item in value if item is not None]
    if isinstance(value, dict):
        return {key: _without_nothing(item) for key, item in value.items() if item is not None}
    return value
