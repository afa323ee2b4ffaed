"""What the analyses find, as plain frozen data: the report, summary.json and the CSV files are all
made from this.

Amounts are `Decimal` in units of `currency`; shares and percentages are `float` (they are never
added up). Everything is per currency. Dates are UTC days. Text that came out of the bill (names,
ids, tags) is untrusted wherever it appears.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal


@dataclass(frozen=True)
class Total:
    """The whole bill in one currency; `null_costs` counts rows whose cost is null, per FOCUS
    cost column.
    """

    currency: str
    rows: int
    billed_cost: Decimal
    effective_cost: Decimal
    list_cost: Decimal
    contracted_cost: Decimal
    null_costs: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class DailyCost:
    """One day of one service category (or 'Other'): the stacked chart."""

    currency: str
    day: date
    group: str
    effective_cost: Decimal
    billed_cost: Decimal


@dataclass(frozen=True)
class Share:
    """One member of a dimension ('ServiceName', 'SubAccountId', 'RegionId') and its part of the
    month.
    """

    currency: str
    dimension: str
    name: str  # what people call it; a sub account shows its name
    id: str
    effective_cost: Decimal
    billed_cost: Decimal
    share: float  # of the currency's effective cost, 0..1
    daily: tuple[
        Decimal, ...
    ]  # effective cost per day of the period, first to last day seen: sparklines


@dataclass(frozen=True)
class Reason:
    """A part of a mover that explains it: the member of another dimension that moved most."""

    dimension: str
    name: str
    change: Decimal


@dataclass(frozen=True)
class Mover:
    """What changed between two spans of equal length ('day over day' or 'month over month')."""

    currency: str
    comparison: str  # 'day over day' | 'month over month'
    dimension: str  # 'ServiceName' | 'SubAccountId'
    name: str
    id: str
    before: Decimal
    after: Decimal
    change: Decimal
    percent: float | None  # None where `before` is zero
    before_span: tuple[date, date]  # inclusive
    after_span: tuple[date, date]
    reasons: tuple[Reason, ...]
    kind: str  # 'changed' | 'new' | 'gone'


@dataclass(frozen=True)
class Anomaly:
    """Days on which a service or an account cost more than its own past explains."""

    currency: str
    dimension: str  # 'ServiceName' | 'SubAccountId'
    name: str
    id: str
    first_day: date
    last_day: date
    actual: Decimal  # effective cost over those days
    expected: Decimal
    excess: Decimal
    percent: float | None
    score: float  # robust standard deviations on the worst day
    reasons: tuple[Reason, ...]
    sentence: str  # one plain sentence; bill text in it is untrusted


@dataclass(frozen=True)
class Forecast:
    """Where the month ends, in one currency and measure; None fields where there is too little
    history.
    """

    currency: str
    measure: str  # 'EffectiveCost' | 'BilledCost'
    as_of: date  # last day whose cost is taken as complete
    observed: Decimal
    month_end: Decimal | None
    low: Decimal | None  # 80 % prediction interval
    high: Decimal | None
    days_observed: int
    days_in_month: int
    method: str  # one sentence a finance person understands
    back_test_days: int  # how many past (month, day) pairs were forecast again
    back_test_mape: float | None  # mean absolute percentage error, 0..1
    back_test_coverage: float | None  # how often the truth lay in the interval, 0..1
    daily: tuple[tuple[date, Decimal], ...]  # expected cost of each remaining day
    why_none: str = ""  # why there is no forecast


@dataclass(frozen=True)
class TagCoverage:
    """One tag key: how much of the taggable spend carries it (Usage rows, effective cost)."""

    currency: str
    key: str
    tagged: Decimal
    untagged: Decimal
    coverage: float  # 0..1
    values: int
    top: tuple[tuple[str, Decimal], ...]  # the dearest values
    truncated: bool  # more distinct values than are kept apart


@dataclass(frozen=True)
class CommitmentUse:
    """One commitment (savings plan, reservation): what was used, what was wasted, what was
    bought.
    """

    currency: str
    id: str
    name: str
    type: str
    category: str
    used: Decimal  # effective cost of Usage rows with status Used
    unused: Decimal  # … Unused: the waste
    purchased: Decimal  # billed cost of Purchase rows in this period
    utilisation: float | None  # used / (used + unused)


@dataclass(frozen=True)
class CommitmentCoverage:
    """How much of the usage that has a price category was covered by commitments (effective
    cost).
    """

    currency: str
    committed: Decimal
    standard: Decimal
    dynamic: Decimal  # spot
    coverage: float | None  # committed / (committed + standard)


@dataclass(frozen=True)
class Savings:
    """From list price to what was paid: negotiated rates first, commitments and spot second."""

    currency: str
    list_cost: Decimal
    contracted_cost: Decimal
    effective_cost: Decimal
    negotiated: Decimal  # list - contracted
    committed: Decimal  # contracted - effective
    saved: float | None  # (list - effective) / list, over the same rows (Usage)


@dataclass(frozen=True)
class ChargeKind:
    """The bill by kind of charge: usage, purchases, taxes, credits, refunds and corrections
    apart.
    """

    currency: str
    kind: str  # 'Usage' | 'Purchase' | 'Tax' | 'Credit' | 'Refund' | 'Adjustment' | 'Correction'
    rows: int
    billed_cost: Decimal
    effective_cost: Decimal


@dataclass(frozen=True)
class Invoice:
    """Σ BilledCost per InvoiceId: what must equal the invoice."""

    currency: str
    id: str  # '' where the bill names none yet
    billed_cost: Decimal


@dataclass(frozen=True)
class InstallationService:
    """What one service costs an installation; predicted lines without a charge have cost zero."""

    name: str  # the bill's name, or the prediction's where the bill has none
    effective_cost: Decimal  # all that the bill has so far
    a_month: Decimal | None  # a whole month at the rate of the days so far
    predicted: Decimal | None  # a month; None where nothing was predicted for it
    difference: Decimal | None  # a_month - predicted


@dataclass(frozen=True)
class Installation:
    """What one installation of Nightshift costs, by its tag, next to what was predicted.

    `effective_cost` is the tag's total in tag_costs, to the last digit. Estimates (`a_month`,
    `difference`) have six decimals, because an installation costs cents.
    """

    currency: str
    name: str  # the tag's value, `nightshift-prod`; '' where that is empty
    tag_key: str  # as the bill spells it; '' where no charge carries the tag
    effective_cost: Decimal
    first_day: date | None  # of its charges in the billing period
    days: int  # complete days since then: what the rate is taken from
    a_month: Decimal | None  # None before its first complete day
    predicted: Decimal | None  # USD a month; None without a prediction
    difference: Decimal | None
    prices_as_of: str  # of the prediction
    services: tuple[InstallationService, ...]


@dataclass(frozen=True)
class Unavailable:
    """An analysis that this bill does not allow, and what it would take."""

    analysis: str
    why: str


@dataclass(frozen=True)
class Analysis:
    """Everything found in one bill. Tuples are sorted the way they are shown, dearest first."""

    charge_kinds: tuple[ChargeKind, ...]
    invoices: tuple[Invoice, ...]
    daily: tuple[DailyCost, ...]
    shares: tuple[Share, ...]
    movers: tuple[Mover, ...]
    anomalies: tuple[Anomaly, ...]
    forecasts: tuple[Forecast, ...]
    tags: tuple[TagCoverage, ...]
    commitments: tuple[CommitmentUse, ...]
    coverage: tuple[CommitmentCoverage, ...]
    savings: tuple[Savings, ...]
    unavailable: tuple[Unavailable, ...]
    installations: tuple[Installation, ...] = ()


@dataclass(frozen=True)
class Violation:
    """One rule of FOCUS that rows of the bill break."""

    rule: str  # our id
    section: str  # of FOCUS 1.2
    severity: str  # 'blocking' | 'error' | 'warning'
    summary: str
    count: int
    sample_file: str
    sample_row: int  # 1-based, data rows of that file
    sample: dict[str, str]  # the columns the rule looks at, as text


@dataclass(frozen=True)
class Report:
    """All that is published about one execution of one billing period."""

    billing_period: str  # '2026-11'
    execution_id: str
    source: str  # where the bill was read
    focus_version: str  # '1.2', or what the columns look like
    first_day: date | None  # of charges seen
    last_day: date | None
    rows: int
    files: int
    totals: tuple[Total, ...]
    other_periods: tuple[
        Total, ...
    ]  # rows in the files that belong to other billing periods: not in `totals`
    history: tuple[
        tuple[str, str], ...
    ]  # (billing period, execution id) that baselines were made from
    rules_checked: int
    rules_skipped: tuple[str, ...]  # rules whose columns the bill lacks
    violations: tuple[Violation, ...]
    analysis: Analysis
