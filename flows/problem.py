"""A failure is data: what happened, where, why, and what to do about it."""

from __future__ import annotations


class Problem(Exception):
    """Something a person can put right, said so that they can.

    `where` names the place from the outside in (file, row group, row, column), `value` is what was
    found there as text. It reads the same in a terminal, in the Prefect UI and in a log line.
    """

    def __init__(
        self,
        summary: str,
        *,
        fix: str,
        where: dict[str, object] | None = None,
        value: object = None,
        detail: str = "",
    ) -> None:
        self.summary = summary
        self.fix = fix
        self.where = {name: place for name, place in (where or {}).items() if place is not None}
        self.value = None if value is None else _short(str(value))
        self.detail = detail
        super().__init__(str(self))

    def __str__(self) -> str:
        lines = [self.summary]
        if self.where:
            lines.append("where: " + ", ".join(f"{k} {v}" for k, v in self.where.items()))
        if self.value is not None:
            lines.append(f"value: {self.value!r}")
        if self.detail:
            lines.append(f"why:   {self.detail}")
        return "\n  ".join([*lines, f"fix:   {self.fix}"])

    def __reduce__(self) -> tuple[object, ...]:
        # Prefect pickles exceptions; the default would call __init__ without its keywords.
        return _again, (self.args, self.__dict__)


def _again(args: tuple[object, ...], state: dict[str, object]) -> Problem:
    problem = Problem.__new__(Problem, *args)
    problem.__dict__.update(state)
    return problem


def _short(text: str, most: int = 200) -> str:
    return text if len(text) <= most else f"{text[:most]}… ({len(text)} characters)"
