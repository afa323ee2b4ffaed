"""What was asked, what was answered, and which grants nothing has used."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from infra.local.iam.policy import Statement, actions_matched
from infra.local.iam.verdict import Verdict


@dataclass(frozen=True)
class Entry:
    principal: str  # the role's or the user's name
    action: str
    resource: str
    allowed: bool
    why: str


@dataclass(frozen=True)
class Grant:
    """One action of one Allow statement, as the policy writes it."""

    role: str
    policy: str
    statement: str  # its Sid, or its position from 0
    action: str


class Record:
    """Every decision. Threads of the server write, the test's reads."""

    def __init__(self, statements_of_role: Callable[[str], Iterable[Statement]]) -> None:
        self._statements_of_role = statements_of_role
        self._lock = threading.Lock()
        self._entries: list[Entry] = []
        self._used: set[Grant] = set()

    def add(self, principal: str, verdicts: Iterable[Verdict], *, role: bool) -> None:
        """The verdicts of one request, which counts as a use of grants if all of it is allowed."""
        judged = list(verdicts)
        entries = [
            Entry(principal, v.call.action, v.call.resource, v.allowed, v.why) for v in judged
        ]
        used = {
            grant
            for verdict in judged
            for statement in verdict.used
            for grant in _grants(principal, statement, verdict.call.action)
        }
        with self._lock:
            self._entries += entries
            if role and all(verdict.allowed for verdict in judged):
                self._used |= used

    def entries(self, principal: str = "") -> list[Entry]:
        with self._lock:
            return [e for e in self._entries if principal in ("", e.principal)]

    def refused(self, principal: str = "") -> list[Entry]:
        return [entry for entry in self.entries(principal) if not entry.allowed]

    def unused(self, role: str) -> list[Grant]:
        """What the role may do, as of now, and has not done."""
        granted = [
            grant
            for statement in self._statements_of_role(role)
            if statement.allow
            for grant in _grants(role, statement)
        ]
        with self._lock:
            return [grant for grant in granted if grant not in self._used]


def _grants(role: str, statement: Statement, action: str = "") -> list[Grant]:
    """All of a statement's grants, or those that cover an action."""
    listed = actions_matched(statement, action) if action else statement.actions
    if statement.not_actions:  # it grants what it does not list: one grant
        listed = [f"NotAction {', '.join(statement.actions)}"]
    return [Grant(role, statement.policy, statement.label, pattern) for pattern in listed]
