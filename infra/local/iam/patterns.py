"""How IAM compares texts: wildcards, policy variables, ARNs.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

Context = Mapping[str, str | list[str]]  # keys in lower case: IAM's are case-insensitive

_PIECES = re.compile(r"\$\{(?P<name>[^}]*)\}|(?P<wildcard>[*?])")
_ESCAPES = {"*": "*", "?": "?", "$": "$"}  # ${*} is a star and not a wildcard
_DEFAULT = re.compile(r"(?P<name>[^,\s]+)\s*,\s*'(?P<default>[^']*)'")


class _Absent(Exception):
    """A policy variable whose key the request does not have: the text matches nothing."""


def equal(pattern: str, value: str, context: Context | None, *, fold: bool = False) -> bool:
    """`context` None: the policy's version is older than variables."""
    try:
        text = "".join(piece for piece, _ in _pieces(pattern, context))
    except _Absent:
        return False
    return text.casefold() == value.casefold() if fold else text == value


def like(pattern: str, value: str, context: Context | None, *, fold: bool = False) -> bool:
    try:
        regex = "".join(
            {"*": ".*", "?": "."}[piece] if wildcard else re.escape(piece)
            for piece, wildcard in _pieces(pattern, context)
        )
    except _Absent:
        return False
    return _compiled(regex, fold).fullmatch(value) is not None


def arn_like(pattern: str, value: str, context: Context | None) -> bool:
    """Each of the six parts by itself, so that a star in the account does not reach into the name.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html#Conditions_ARN
    """
    if pattern == "*":
        return True
    patterns = _split(pattern)
    values = value.split(":", len(patterns) - 1)
    return len(values) == len(patterns) and all(
        like(part, text, context) for part, text in zip(patterns, values, strict=True)
    )


def _split(pattern: str) -> list[str]:
    """At the first five colons that are outside of ${…}."""
    parts = [""]
    depth = 0
    for character in pattern:
        depth += (character == "{") - (character == "}")
        if character == ":" and not depth and len(parts) < 6:
            parts.append("")
        else:
            parts[-1] += character
    return parts


@lru_cache(maxsize=4096)
def _compiled(regex: str, fold: bool) -> re.Pattern[str]:
    return re.compile(regex, re.DOTALL | (re.IGNORECASE if fold else 0))


def _pieces(text: str, context: Context | None) -> Iterator[tuple[str, bool]]:
    """The text in pieces, each with whether it is a wildcard; a variable's value never is one."""
    end = 0
    for match in _PIECES.finditer(text):
        yield text[end : match.start()], False
        end = match.end()
        if match["wildcard"]:
            yield match["wildcard"], True
        elif context is None:
            yield match[0], False
        else:
            yield _variable(match["name"], context), False
    yield text[end:], False


def _variable(name: str, context: Context) -> str:
    if name in _ESCAPES:
        return _ESCAPES[name]
    given = _DEFAULT.fullmatch(name)
    value = context.get((given["name"] if given else name).lower())
    if isinstance(value, str):
        return value
    if given:
        return given["default"]
    raise _Absent(name)  # a key with many values cannot stand in a text either
