"""Names that have `${AWS::AccountId}` in them, as the template has them."""

from __future__ import annotations

from typing import Any, cast

import aws_cdk as cdk


def sub(text: str) -> str:
    """The text as CloudFormation's Fn::Sub, where there is something to fill in."""
    return cdk.Fn.sub(text) if "${AWS::" in text else text


def sub_all(value: Any) -> Any:
    """The same for every text in a policy or a pattern."""
    if isinstance(value, str):
        return sub(value)
    if isinstance(value, dict):
        return {cast(str, key): sub_all(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [sub_all(item) for item in value]
    return value
