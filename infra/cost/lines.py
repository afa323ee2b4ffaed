"""A bill: lines of quantity times price, and what an account has free of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from deployments.prices import Prices

Kind = Literal["fixed", "per run", "per push"]

_DIGITS = Decimal("0.0000000001")  # 10⁻¹⁰ of a dollar: finer than any price for a thousand of it


@dataclass(frozen=True)
class Use:
    """So much of something in a month. `price` is its name in prices.json, '' where it is free."""

    resource: str  # as the template names it, or what makes it: 'cost-report/daily'
    service: str  # FOCUS's ServiceName, as AWS's bill has it
    what: str
    kind: Kind
    unit: str
    quantity: Decimal
    price: str


@dataclass(frozen=True)
class Line:
    use: Use
    unit_price: Decimal
    free: Decimal = Decimal(0)  # of the quantity

    @property
    def monthly(self) -> Decimal:
        return (self.use.quantity * self.unit_price).quantize(_DIGITS)

    @property
    def monthly_with_free_tier(self) -> Decimal:
        return ((self.use.quantity - self.free) * self.unit_price).quantize(_DIGITS)


@dataclass(frozen=True)
class Bill:
    """US dollars a month, without tax."""

    lines: tuple[Line, ...]
    assumptions: tuple[str, ...] = ()
    free_of_charge: Mapping[str, str] = field(default_factory=dict)  # a type: why

    @property
    def total(self) -> Decimal:
        return sum((line.monthly for line in self.lines), Decimal(0))

    @property
    def total_with_free_tier(self) -> Decimal:
        return sum((line.monthly_with_free_tier for line in self.lines), Decimal(0))

    def of(self, *kinds: Kind) -> Bill:
        """The lines of these kinds alone."""
        return Bill(tuple(line for line in self.lines if line.use.kind in kinds), self.assumptions)


def priced(uses: Iterable[Use], prices: Prices) -> tuple[Line, ...]:
    """Each with its price. What an account has always free goes to the first lines that use it."""
    always = {name: free for name, free in prices.free.items() if free.kind == "always"}
    left = {name: free.amount for name, free in always.items()}
    lines = []
    for use in uses:
        free = Decimal(0)
        if use.price in always:
            whose = always[use.price].shared or use.price
            free = min(left[whose], use.quantity)
            left[whose] -= free
        lines.append(Line(use, prices[use.price] if use.price else Decimal(0), free))
    return tuple(lines)
