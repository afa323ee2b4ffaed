"""The Condition block of a policy statement.

Operators, missing keys and keys with many values follow
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from infra.local.iam.patterns import Context, arn_like, equal, like


class UnsupportedPolicy(ValueError):
    """A policy says something that this evaluator does not know. It never guesses."""


_Compare = Callable[[str, str, Context | None], bool]  # the policy's text, the request's, variables


def _fold(pattern: str, value: str, context: Context | None) -> bool:
    return equal(pattern, value, context, fold=True)


def _number(compare: Callable[[float, float], bool]) -> _Compare:
    def holds(pattern: str, value: str, _context: Context | None) -> bool:
        try:
            return compare(float(value), float(pattern))
        except ValueError:
            return False

    return holds


_OPERATORS: dict[str, _Compare] = {
    "StringEquals": equal,
    "StringEqualsIgnoreCase": _fold,
    "StringLike": like,
    "ArnEquals": arn_like,  # the two behave alike
    "ArnLike": arn_like,
    "Bool": _fold,
    "NumericEquals": _number(operator.eq),
    "NumericLessThan": _number(operator.lt),
    "NumericLessThanEquals": _number(operator.le),
    "NumericGreaterThan": _number(operator.gt),
    "NumericGreaterThanEquals": _number(operator.ge),
}
_NEGATED: dict[str, str] = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NumericNotEquals": "NumericEquals",
}


@dataclass(frozen=True)
class Condition:
    """One key of one operator: all conditions of a statement must hold."""

    operator: str  # the positive one
    key: str
    values: tuple[str, ...]
    negated: bool = False
    if_exists: bool = False
    quantifier: str = ""  # ForAnyValue, ForAllValues or none


def conditions(block: Mapping[str, Mapping[str, Any]]) -> tuple[Condition, ...]:
    return tuple(
        _condition(name, key, values)
        for name, keys in block.items()
        for key, values in keys.items()
    )


def _condition(name: str, key: str, values: Any) -> Condition:
    quantifier, _, base = name.rpartition(":")
    if_exists = base.endswith("IfExists")
    base = base.removesuffix("IfExists")
    positive = _NEGATED.get(base, base)
    known = positive in _OPERATORS or (base == "Null" and not if_exists)
    if not known or quantifier not in ("", "ForAnyValue", "ForAllValues"):
        raise UnsupportedPolicy(f"condition operator {name!r} (of {key}) is not known here")
    return Condition(positive, key.lower(), _texts(values), positive != base, if_exists, quantifier)


def _texts(values: Any) -> tuple[str, ...]:
    listed = values if isinstance(values, list) else [values]
    return tuple(str(v).lower() if isinstance(v, bool) else str(v) for v in listed)


def holds(condition: Condition, context: Context, *, variables: bool = True) -> bool:
    """`context` has its keys in lower case."""
    found = context.get(condition.key)
    values = [found] if isinstance(found, str) else found
    if condition.operator == "Null":
        absent = "false" if values else "true"
        return absent in (value.lower() for value in condition.values)
    if not values:  # no values count as a missing key
        if condition.quantifier:
            return condition.quantifier == "ForAllValues" or condition.if_exists
        return condition.negated or condition.if_exists

    compare = _OPERATORS[condition.operator]
    known = context if variables else None
    met = [any(compare(p, value, known) for p in condition.values) for value in values]
    if condition.negated:
        met = [not one for one in met]
    if condition.quantifier:
        return any(met) if condition.quantifier == "ForAnyValue" else all(met)
    return all(met) if condition.negated else any(met)
