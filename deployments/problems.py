"""Several problems as one error: whoever mends prefect.yaml wants to see them all."""

from __future__ import annotations

from collections.abc import Iterable

from flows.problem import Problem


class Problems(Problem):
    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        super().__init__(f"{len(problems)} problems", fix="put each right; none of it was deployed")

    def __str__(self) -> str:
        return "\n\n".join([*map(str, self.problems), f"{self.summary}: {self.fix}"])


def raise_all(found: Iterable[Problem]) -> None:
    """Nothing if there are none; one as it is."""
    problems = tuple(found)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise Problems(problems)
