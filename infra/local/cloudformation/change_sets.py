"""Moto's change sets, carried out as stacks are: this is how the CDK CLI deploys.

A change set's name is its stack's own, and one that is not there can be deleted: the CLI gives each
stack's the same name, and deletes the last one first.
"""

from __future__ import annotations

import functools
from typing import Any

from moto.cloudformation.exceptions import AlreadyExistsException, ValidationError
from moto.cloudformation.models import CloudFormationBackend
from moto.cloudformation.responses import CloudFormationResponse
from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult, EmptyResult

from infra.local.cloudformation.stacks import deploy, may_update


class ChangeSetNotFound(ServiceException):
    code = "ChangeSetNotFound"


def take_over() -> None:
    backend: Any = CloudFormationBackend
    backend.create_change_set = _one_stack_of_a_name(backend.create_change_set)
    response: Any = CloudFormationResponse
    response.create_change_set = _that_may_import(response.create_change_set)
    response.describe_change_set = _describe
    response.execute_change_set = _execute
    response.delete_change_set = _delete


def _describe(self: Any) -> Any:
    return ActionResult(_named(self))


def _delete(self: Any) -> Any:
    if found := _find(self):
        del self.cloudformation_backend.change_sets[found.change_set_id]
    return EmptyResult()


def _execute(self: Any) -> Any:
    change_set = _named(self)
    if change_set.execution_status != "AVAILABLE":
        name = change_set.change_set_name
        message = f"ChangeSet [{name}] cannot be executed in its current status"
        raise ValidationError(message=message)
    stack = self.cloudformation_backend.stacks[change_set.stack_id]
    if change_set.tags:
        stack.tags = change_set.tags
    imports = getattr(change_set, "imports", False)
    verb = change_set.change_set_type
    deploy(stack, verb, change_set.template, change_set.parameters, imports=imports)
    change_set.execution_status = "EXECUTE_COMPLETE"
    return EmptyResult()


def _named(self: Any) -> Any:
    found = _find(self)
    if found is None:
        raise ChangeSetNotFound(f"ChangeSet [{self._get_param('ChangeSetName')}] does not exist")
    return found


def _find(self: Any) -> Any:
    """The newest change set that the request means; those of a deleted stack are gone with it."""
    name, stack = self._get_param("ChangeSetName"), self._get_param("StackName")
    for change_set in reversed(self.cloudformation_backend.change_sets.values()):
        living = change_set.stack_id in self.cloudformation_backend.stacks
        by_name = living and change_set.change_set_name == name
        if name == change_set.change_set_id or (
            by_name and stack in (None, change_set.stack_name, change_set.stack_id)
        ):
            return change_set
    return None


def _one_stack_of_a_name(create: Any) -> Any:
    @functools.wraps(create)
    def wrapped(self: Any, *arguments: Any, **named: Any) -> Any:
        same = [stack for stack in self.stacks.values() if stack.name == named["stack_name"]]
        if named["change_set_type"] == "UPDATE":
            for stack in same:
                may_update(stack)
        for stack in same if named["change_set_type"] == "CREATE" else []:
            if stack.status != "REVIEW_IN_PROGRESS":
                raise AlreadyExistsException(f"Stack [{stack.name}] already exists")
            del self.stacks[stack.stack_id]  # it was never more than an earlier change set
        return create(self, *arguments, **named)

    return wrapped


def _that_may_import(answer: Any) -> Any:
    @functools.wraps(answer)
    def wrapped(self: Any) -> Any:
        result = answer(self)
        newest = next(reversed(self.cloudformation_backend.change_sets.values()))
        newest.imports = self._get_bool_param("ImportExistingResources", False)
        return result

    return wrapped
