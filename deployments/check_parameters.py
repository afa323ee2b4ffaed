"""The parameters of one entry of prefect.yaml, against its flow."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from deployments.wanted import Schedule
from flows.problem import Problem


def parameter_problems(
    where: dict[str, object],
    flow: Any,
    parameters: Any,
    schedules: Sequence[Schedule],
    schema: dict[str, Any] | None,
) -> Iterator[Problem]:
    """Those of the deployment, and with what each schedule sets instead.

    `schema`: the flow's parameters as Prefect's server checks them; None where it does not.
    """
    if not isinstance(parameters, dict):
        return
    yield from _problems({**where, "key": "parameters"}, flow, parameters, schema, not schedules)
    for schedule in schedules:
        here = {**where, "key": f"schedules.{schedule.slug}.parameters"}
        own = schedule.fields["parameters"]
        missing = [n for n in _required(flow) if n not in parameters and n not in own]
        yield from _missing(here if own else {**where, "key": "parameters"}, flow, missing)
        if own:
            yield from _problems(here, flow, own, schema, False)


def _required(flow: Any) -> list[str]:
    found = inspect.signature(flow.fn).parameters.values()
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in found if p.default is p.empty and p.kind not in kinds]


def _missing(where: dict[str, object], flow: Any, names: Sequence[str]) -> Iterator[Problem]:
    for name in names:
        yield Problem(
            "a parameter that the flow needs is not given",
            where={**where, "key": f"{where['key']}.{name}"},
            detail=f"{flow.name} has no default for it",
            fix=f"give {name} a value in prefect.yaml, or a default in the flow",
        )


def _problems(
    where: dict[str, object],
    flow: Any,
    given: Mapping[str, Any],
    schema: dict[str, Any] | None,
    complete: bool,
) -> Iterator[Problem]:
    from prefect.exceptions import ParameterTypeError
    from prefect.utilities.schema_tools import validate

    key = where["key"]
    signature = inspect.signature(flow.fn).parameters
    anything = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in signature.values())
    unknown = [name for name in given if name not in signature and not anything]
    for name in unknown:
        near = difflib.get_close_matches(str(name), list(signature), n=1)
        yield Problem(
            "the flow has no such parameter",
            where={**where, "key": f"{key}.{name}"},
            value=name,
            detail=f"{flow.name} has {', '.join(signature) or 'none'}",
            fix=f"write {near[0]}" if near else "take it out, or add it to the flow",
        )
    if complete:
        yield from _missing(where, flow, [n for n in _required(flow) if n not in given])
    wrong = False
    if schema is not None:
        for error in validate(dict(given), schema, ignore_required=True):
            wrong = True
            path = ".".join(map(str, error.path))
            yield Problem(
                "a parameter has a value that the flow does not take",
                where={**where, "key": f"{key}.{path}"},
                value=error.instance,
                detail=error.message,
                fix="give it a value of the kind that the flow's signature names",
            )
    if wrong or unknown:
        return
    # What only the flow knows: it validates the value before it runs. Those that are missing are
    # told of above, and have no value to look at.
    try:
        flow.validate_parameters({**dict.fromkeys(_required(flow)), **given})
    except ParameterTypeError as error:
        for line in str(error).splitlines()[1:]:
            name, _, message = line.removeprefix(" - ").partition(": ")
            if name.partition(".")[0] in given:
                yield Problem(
                    "a parameter has a value that the flow does not take",
                    where={**where, "key": f"{key}.{name}"},
                    value=given[name.partition(".")[0]],
                    detail=message,
                    fix="give it a value of the kind that the flow's signature names",
                )
