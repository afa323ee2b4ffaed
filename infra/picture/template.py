"""CloudFormation templates, read: what a resource is called, what a value points at, who may what.

Stacks know each other's parts by name, so everything is compared as text: a name, or an ARN without
its region and account, which is the same whether the template wrote it out or took it from a
resource.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from flows.problem import Problem

# type: the property with its name, and its ARN
_KNOWN = {
    "CodeBuild::Project": ("Name", "arn:aws:codebuild:::project/{name}"),
    "CodeCommit::Repository": ("RepositoryName", "arn:aws:codecommit:::{name}"),
    "CodePipeline::Pipeline": ("Name", "arn:aws:codepipeline:::{name}"),
    "CloudWatch::Alarm": ("AlarmName", ""),
    "ECR::Repository": ("RepositoryName", "arn:aws:ecr:::repository/{name}"),
    "ECS::Cluster": ("ClusterName", "arn:aws:ecs:::cluster/{name}"),
    "ECS::Service": ("ServiceName", "arn:aws:ecs:::service/{Cluster}/{name}"),
    "ECS::TaskDefinition": ("Family", ""),
    "Events::Rule": ("Name", ""),
    "IAM::Role": ("RoleName", "arn:aws:iam:::role/{name}"),
    "S3::Bucket": ("BucketName", "arn:aws:s3:::{name}"),
    "SNS::Topic": ("TopicName", "arn:aws:sns:::{name}"),
    "SQS::Queue": ("QueueName", "arn:aws:sqs:::{name}"),
    "Scheduler::Schedule": ("Name", "arn:aws:scheduler:::schedule/{GroupName}/{name}"),
    "Scheduler::ScheduleGroup": ("Name", ""),
}


@dataclass(frozen=True)
class Resource:
    id: str
    type: str  # without AWS::
    properties: Mapping[str, Any]

    def get(self, *path: str) -> Any:
        """A property of a property …, None where there is none."""
        value: Any = self.properties
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value


@dataclass(frozen=True)
class Statement:
    """What a role is given, or denied."""

    effect: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]


@dataclass(frozen=True)
class Cloud:
    """Every resource and output of the templates."""

    resources: Mapping[str, Resource]
    outputs: Mapping[str, Mapping[str, Any]]

    def of(self, type: str) -> list[Resource]:
        return [r for r in self.resources.values() if r.type == type]

    def name(self, resource: Resource) -> str:
        key, _ = _KNOWN.get(resource.type, ("", ""))
        return self.text(resource.get(key)) or resource.id

    def arn(self, resource: Resource) -> str:
        _, form = _KNOWN.get(resource.type, ("", ""))
        rest = {key: self.text(value) for key, value in resource.properties.items() if key in form}
        return form.format(name=self.name(resource), **rest)

    def find(self, type: str, value: Any) -> Resource | None:
        """The resource of this type that the value points at, by name or by ARN."""
        text = self.text(value)
        return next((r for r in self.of(type) if text in (self.name(r), self.arn(r))), None)

    def output(self, name: str) -> str:
        return self.text(self.outputs.get(name, {}).get("Value"))

    # --- values ----------------------------------------------------------------------------------

    def text(self, value: Any) -> str:
        """A value as text; what only AWS can fill in stays as <AccountId>."""
        text = re.sub(r"\$\{AWS::(\w+)\}", r"<\1>", self._text(value))
        if text.startswith("arn:") and text.count(":") >= 5:
            parts = text.split(":", 5)
            text = ":".join([*parts[:3], "", "", parts[5]])
        return text

    def _text(self, value: Any) -> str:
        match value:
            case None:
                return ""
            case {"Ref": str(id)}:
                topic = id in self.resources and self.resources[id].type == "SNS::Topic"
                return self._part(id, "Arn" if topic else "")
            case {"Fn::GetAtt": [str(id), str(attribute)]}:
                return self._part(id, attribute)
            case {"Fn::Sub": str(text)}:
                return re.sub(r"\$\{(\w+)(?:\.(\w+))?\}", lambda m: self._part(m[1], m[2]), text)
            case {"Fn::Join": [str(between), list(parts)]}:
                return between.join(map(self._text, parts))
            case {**function} if function:
                return ""  # Fn::Select and the like: the registry's address, never a name
        return str(value)

    def _part(self, id: str, attribute: str | None) -> str:
        if id not in self.resources:
            return f"${{{id}}}"
        resource = self.resources[id]
        return self.arn(resource) if attribute == "Arn" else self.name(resource)

    # --- who may do what -------------------------------------------------------------------------

    def role(self, arn: Any) -> Resource | None:
        return self.find("IAM::Role", arn)

    def statements(self, role: Resource) -> list[Statement]:
        """The role's own policies, and the managed ones that name it."""
        documents = [policy["PolicyDocument"] for policy in role.get("Policies") or []]
        documents += [
            policy.properties["PolicyDocument"]
            for policy in self.of("IAM::ManagedPolicy")
            if self.name(role) in map(self.text, policy.get("Roles") or [])
        ]
        return [
            Statement(
                s["Effect"],
                tuple(map(self.text, _listed(s["Action"]))),
                tuple(map(self.text, _listed(s["Resource"]))),
            )
            for document in documents
            for s in _listed(document["Statement"])
        ]

    def granted(self, role: Resource | None, action: str) -> list[str]:
        """On what the role may do this, as IAM's patterns; what is denied again is not there."""
        about = [
            statement
            for statement in (self.statements(role) if role else [])
            if any(fnmatchcase(action, pattern) for pattern in statement.actions)
        ]
        denied = [r for s in about if s.effect == "Deny" for r in s.resources]
        given = [r for s in about if s.effect == "Allow" for r in s.resources]
        return [r for r in given if not any(fnmatchcase(r, pattern) for pattern in denied)]

    def may(self, role: Resource | None, action: str, resource: Resource, below: str = "") -> bool:
        on = self.arn(resource) + below
        return any(fnmatchcase(on, pattern) for pattern in self.granted(role, action))


def read(templates: Mapping[str, Mapping[str, Any]]) -> Cloud:
    """The templates of one installation's stacks, by name."""
    resources: dict[str, Resource] = {}
    outputs: dict[str, Mapping[str, Any]] = {}
    for stack, template in sorted(templates.items()):
        for id, resource in template["Resources"].items():
            if id in resources:
                raise Problem(
                    "two stacks have a resource of the same logical id",
                    where={"stack": stack},
                    value=id,
                    fix="give one of them another id",
                )
            type = resource["Type"].removeprefix("AWS::")
            resources[id] = Resource(id, type, resource.get("Properties", {}))
        outputs |= template.get("Outputs", {})
    return Cloud(resources, outputs)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
