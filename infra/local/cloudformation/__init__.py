"""moto's CloudFormation, taught to create, update and delete our stacks as AWS does.

Moto (5.2.5) lacks half of our types, ignores a type it lacks, drops properties of others, makes
anew what AWS changes in place, and calls a stack complete whatever happened. Here a type is a
`Kind`: a few functions that make the same calls to moto's services as boto3 would, so that botocore
checks the properties. `Deployment` brings a stack's resources from one template to the next.

Covered: order by dependencies; in-place updates and replacements as the public resource schemas
have them; what does not differ is not touched; rollback of creates and updates; DeletionPolicy and
UpdateReplacePolicy; DELETE_FAILED; change sets, with ImportExistingResources; events per resource;
outputs, exports, conditions, parameters and intrinsic functions. A type or a property that is not
known fails the stack and is named.

Not covered: OnFailure and DisableRollback, RetainResources, stack policies, nested stacks, custom
resources and transforms; tags of the stack handed down; drift; whether a type exists in a region;
what CloudFormation's caller may do beyond CloudFormation. Of the types: FIFO names made up, code
that a CodeCommit repository starts with and its triggers; bucket settings beyond versioning,
lifecycle, public access, encryption, ownership and tags; users and groups of inline policies.
A service's task set or task is moto's own: nothing runs here.
"""

from __future__ import annotations

import functools


@functools.cache
def register() -> None:
    """Teach moto, in this process, before IAM is enforced in it. More than once is once."""
    from infra.local.cloudformation import (
        api,
        change_sets,
        stacks,
    )  # moto is a second's work: not on import

    api.let_in()
    stacks.take_over()
    change_sets.take_over()
