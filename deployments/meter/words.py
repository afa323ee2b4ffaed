"""What is told of a run: a line for its log, and an artifact. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from deployments.meter.cost import LEAST, Cost, billed
from deployments.meter.sizes import HEADROOM, SLOWER, Smaller, larger
from deployments.meter.usage import Terms, Usage

KEY = "run-cost"  # of the artifact
COMPLETED = "Completed"  # what Prefect calls a state of that type, unless the flow names it


@dataclass(frozen=True)
class Metered:
    """All that is known once a run has ended."""

    usage: Usage
    terms: Terms
    cost: Cost
    smaller: Smaller | None
    prices: str  # whose and of when, in words
    runs: int | None = None  # a year, by the deployment's schedules; None where it has none
    state: str = COMPLETED  # the name of the run's last, as far as it is known
    here: str = ""  # on whose machine, where it was not Fargate: then nothing was paid
    declared: bool = True  # it has a size of its own, and not just the smallest that would do

    @property
    def whole(self) -> bool:
        """What failed, or found nothing to do (Unchanged), does not tell what size it needs."""
        return self.state == COMPLETED


def line(of: Metered) -> str:
    usage, seen = of.usage, of.usage.measured
    parts = [_what(of)]
    if usage.startup:
        parts.append(f"{_percent(usage.startup, usage.seconds)} start-up")
    if of.here:
        parts.append("without image pull and start")
    said = [
        f"{'would have cost' if of.here else 'cost'}: {money(of.cost.total)} ({'; '.join(parts)})",
        f"peak {_mb(seen.peak)}, {seen.vcpus:.2g} vCPU on average"
        if seen.peak
        else "memory and CPU could not be measured",
    ]
    return "; ".join([*said, *_advice(of)])


def _advice(of: Metered) -> list[str]:
    if not (of.whole and of.usage.measured.peak):
        return []
    if not of.declared:
        return ["prefect.yaml gives it no size: this is the smallest that would do"]
    if more := larger(of.usage):
        return [f"its memory is tight: {size(*more)} would be safer"]
    if of.smaller is None:
        return ["the size is right"]
    return [f"{size(of.smaller.cpu, of.smaller.memory)} would do: {_saving(of, of.smaller)}"]


def _saving(of: Metered, smaller: Smaller) -> str:
    if of.runs:
        return f"{money(smaller.saving * of.runs)} less a year"
    return f"{money(smaller.saving)} less each run"


def markdown(of: Metered) -> str:
    rows = [f"| {one.what} | {one.quantity} | {one.amount:.7f} |" for one in of.cost.lines]
    all_of_it = f"| **all** | | **{of.cost.total:.7f}** |"
    parts = [
        f"**{money(of.cost.total)}** {'would have been paid ' if of.here else ''}for {_what(of)}.",
        "\n".join(["| | | US dollars |", "|---|--:|--:|", *rows, all_of_it]),
        _time(of),
        *_size(of),
        f"{of.prices}. Spot's are of that day, and move. S3 requests are those of `flows.storage`; "
        "what a flow asks of AWS by other means is not in it.",
    ]
    return "\n\n".join(part for part in parts if part)


def _time(of: Metered) -> str:
    usage = of.usage
    if of.here:
        return (
            f"It ran on {of.here}, in {usage.seconds:.0f} s. On Fargate pulling the image and "
            "starting are paid for as well, and its CPUs are slower or faster than these."
        )
    if usage.startup:
        share = _percent(usage.startup, usage.seconds)
        return (
            f"Start-up: {usage.startup:.0f} s ({share}), from the start of the image pull until "
            "the flow began."
        )
    return ""


def _size(of: Metered) -> list[str]:
    usage, seen = of.usage, of.usage.measured
    if not seen.peak:
        return ["Memory and CPU could not be measured."]
    said = (
        f"Peak memory: {_mb(seen.peak)} of {usage.memory} ({_percent(seen.peak, usage.memory)}). "
        f"CPU: {seen.vcpus:.2g} of {usage.cpu / 1024:g} vCPU on average."
    )
    if not of.whole:
        return [said, f"It ended as {of.state}, which says nothing about the size that it needs."]
    if not of.declared:
        what = "`prefect.yaml` gives it no size. The smallest that would do:"
        return [said, what, _yaml(usage.cpu, usage.memory)]
    if more := larger(usage):
        return [said, f"**Its memory is tight**: {size(*more)} would be safer.", _yaml(*more)]
    rule = (
        f"{_percent(HEADROOM - 1, 1)} more memory than the peak, at most {SLOWER:g} times as long"
    )
    if of.smaller is None:
        return [said, f"**The size is right**: no cheaper one would do ({rule})."]
    longer = round(of.smaller.seconds) > round(usage.seconds)
    took = f"about {of.smaller.seconds:.0f} s" if longer else "in the same time"
    runs = f" at {of.runs} runs" if of.runs else ""
    less = (
        f"**{size(of.smaller.cpu, of.smaller.memory)} would do**, {took}: "
        f"{_saving(of, of.smaller)}{runs} ({rule})."
    )
    return [said, less, _yaml(of.smaller.cpu, of.smaller.memory)]


def _yaml(cpu: int, memory: int) -> str:
    return f"```yaml\njob_variables:\n  cpu: {cpu}\n  memory: {memory}\n```"


def _what(of: Metered) -> str:
    usage, terms = of.usage, of.terms
    time = f"{billed(usage.seconds)} s"
    if usage.seconds < LEAST:
        time = f"{usage.seconds:.0f} s, billed as {LEAST},"
    spot = "Spot" if terms.spot else "on demand"
    return f"{time} of {size(usage.cpu, usage.memory)}, {terms.architecture.upper()}, {spot}"


def size(cpu: int, memory: int) -> str:
    return f"{cpu / 1024:g} vCPU, {memory / 1024:g} GB"


def money(amount: Decimal) -> str:
    """Cents, or two digits where it is less than one: $0.08, $0.00042."""
    places = 1 - amount.adjusted() if 0 < amount < Decimal("0.01") else 2
    return f"${amount:,.{places}f}"


def _percent(part: float, of: float) -> str:
    return f"{part / of:.0%}".replace("%", " %") if of else "0 %"


def _mb(amount: float) -> str:
    return f"{amount:.0f} MB"
