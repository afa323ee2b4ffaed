"""Moto's stacks, carried out by what is here."""

from __future__ import annotations

from typing import Any

from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.models import CloudFormationBackend, Stack, cloudformation_backends
from moto.cloudformation.parsing import OutputMap

from infra.local.cloudformation.deployment import Deployment, Failed, delete_all
from infra.local.cloudformation.resource import Resources, with_zones

# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html
_CANNOT_UPDATE = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "UPDATE_ROLLBACK_FAILED", "DELETE_FAILED")


def take_over() -> None:
    stack: Any = Stack
    stack._create_resource_map = lambda self: _resources(self, self.template_dict, self.parameters)
    stack._create_output_map = lambda self: _outputs(self, {})  # none before it is deployed
    stack.create_resources = lambda self: deploy(self, "CREATE", self.template, self.parameters)
    stack.update = _update
    backend: Any = CloudFormationBackend
    backend.delete_stack = _delete_stack


def deploy(
    stack: Any, verb: str, body: str, parameters: dict[str, Any], *, imports: bool = False
) -> None:
    """`verb`: CREATE or UPDATE. What fails is seen in the stack's status and events, as in AWS."""
    template = Stack.parse_template(body)
    old, new = stack.resource_map, _resources(stack, template, parameters)
    deployment = Deployment(stack, old, new, imports)
    _status(stack, f"{verb}_IN_PROGRESS")
    try:
        deployment.run()
        outputs = _outputs(stack, with_zones(template, new.api))
        outputs._resource_map = new
        list(outputs.values())  # an output that cannot be had fails the deployment
        _check_exports(stack, outputs)
    except Exception as error:
        _undo(stack, verb, deployment, body, str(error))
        return
    stack.template, stack.template_dict, stack.parameters = body, template, parameters
    stack.description = template.get("Description")
    stack.resource_map, stack.output_map = new, outputs
    _forget_exports(stack)
    _exports(stack).update({export.name: export for export in outputs.exports})
    deployment.clean_up()
    _status(stack, f"{verb}_COMPLETE")


def _undo(stack: Any, verb: str, deployment: Deployment, body: str, reason: str) -> None:
    rollback = "ROLLBACK" if verb == "CREATE" else "UPDATE_ROLLBACK"
    _status(stack, f"{rollback}_IN_PROGRESS", reason)
    failed = deployment.roll_back()
    if verb == "CREATE":
        stack.template = body
    _status(stack, f"{rollback}_{'FAILED' if failed else 'COMPLETE'}", "; ".join([reason, *failed]))


def _update(
    self: Any, template: str, role_arn: Any = None, parameters: Any = None, tags: Any = None
) -> None:
    may_update(self)
    given = parameters or {}
    if self.has_template(template) and self.has_parameters(given) and tags in (None, self.tags):
        raise ValidationError(message="No updates are to be performed.")
    self.role_arn = role_arn
    if tags is not None:
        self.tags = tags
    deploy(self, "UPDATE", template, given)


def may_update(stack: Any) -> None:
    busy = stack.status.endswith("_IN_PROGRESS") and stack.status != "REVIEW_IN_PROGRESS"
    if busy or stack.status in _CANNOT_UPDATE:
        message = f"Stack:{stack.stack_id} is in {stack.status} state and can not be updated."
        raise ValidationError(message=message)


def _delete_stack(self: Any, name_or_stack_id: str) -> None:
    for stack in list(self.stacks.values()):
        if name_or_stack_id not in (stack.stack_id, stack.name):
            continue
        if stack.enable_termination_protection:
            message = (
                f"Stack [{stack.name}] cannot be deleted while TerminationProtection is enabled"
            )
            raise ValidationError(message=message)
        _status(stack, "DELETE_IN_PROGRESS", "User Initiated")
        failed = delete_all(stack)
        if failed:
            reason = f"The following resource(s) failed to delete: [{', '.join(failed)}]."
            _status(stack, "DELETE_FAILED", reason)
            continue
        _forget_exports(stack)
        stack.output_map = _outputs(stack, {})
        _status(stack, "DELETE_COMPLETE")
        self.deleted_stacks[stack.stack_id] = self.stacks.pop(stack.stack_id)


# --- parts of moto's stack -----------------------------------------------------------------------


def _resources(stack: Any, template: dict[str, Any], parameters: dict[str, Any]) -> Resources:
    resources = Resources(
        stack.stack_id,
        stack.name,
        parameters,
        stack.tags,
        account_id=stack.account_id,
        region_name=stack.region_name,
        template=template,
        cross_stack_resources=stack.cross_stack_resources,
    )
    resources.load()
    return resources


def _outputs(stack: Any, template: dict[str, Any]) -> Any:
    return OutputMap(stack.resource_map, template, stack.stack_id)


def _exports(stack: Any) -> dict[str, Any]:
    exports: dict[str, Any] = cloudformation_backends[stack.account_id][stack.region_name].exports
    return exports


def _check_exports(stack: Any, outputs: Any) -> None:
    others = {name for name, export in _exports(stack).items() if not _own(stack, export)}
    if others & {export.name for export in outputs.exports}:
        raise Failed("Export names must be unique across a given region")


def _own(stack: Any, export: Any) -> bool:
    return bool(export.exporting_stack_id == stack.stack_id)


def _forget_exports(stack: Any) -> None:
    exports = _exports(stack)
    for name in [name for name, export in exports.items() if _own(stack, export)]:
        del exports[name]


def _status(stack: Any, status: str, reason: str | None = None) -> None:
    stack.status, stack.stack_status_reason = status, reason
    stack._add_stack_event(status, resource_status_reason=reason)
