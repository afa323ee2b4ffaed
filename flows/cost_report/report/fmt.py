"""How figures, dates and names are written: alike on the page, in its charts and in Markdown."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal

# Amounts have up to 38 digits; the default context's 28 would refuse to quantize them.
_EXACT = Context(prec=80, rounding=ROUND_HALF_UP)

MINUS = "\N{MINUS SIGN}"
NBSP = "\N{NO-BREAK SPACE}"
ZERO = Decimal(0)

# ISO 4217: currencies whose minor unit is not a hundredth.
_NO_MINOR_UNIT = re.compile("BIF|CLP|DJF|GNF|ISK|JPY|KMF|KRW|PYG|RWF|UGX|VND|VUV|XAF|XOF|XPF")
_THOUSANDTHS = re.compile("BHD|IQD|JOD|KWD|LYD|OMR|TND")

# Only symbols that mean one currency to most readers; every other currency shows its code.
_SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£", "INR": "₹", "JPY": "¥"}

# Not strftime's names: those follow the machine's locale.
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

# What UTF-8 cannot hold or a browser would not show. Tabs and line breaks are whitespace and stay.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True)
class Money:
    """Writes amounts of one currency, all with as many decimals so that columns line up."""

    code: str
    decimals: int

    def __call__(self, amount: Decimal, *, signed: bool = False) -> str:
        """'$1,234.57'; with `signed`, a plus as well."""
        return self._write(amount, _prefix(self.code), signed)

    def plain(self, amount: Decimal, *, signed: bool = False) -> str:
        """'1,234.57': for table cells whose heading names the currency."""
        return self._write(amount, "", signed)

    def _write(self, amount: Decimal, prefix: str, signed: bool) -> str:
        shown = _EXACT.quantize(amount, Decimal(1).scaleb(-self.decimals))
        if amount and not shown:  # never show something as nothing
            least = f"{prefix}{Decimal(1).scaleb(-self.decimals):f}"
            return f"<{NBSP}{least}" if amount > 0 else f">{NBSP}{MINUS}{least}"
        sign = MINUS if shown < 0 else "+" if signed and shown > 0 else ""
        return f"{sign}{prefix}{shown.copy_abs():,f}"

    def compact(self, amount: float) -> str:
        """'$1.2k': for chart axes."""
        size = abs(amount)
        for limit, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
            if size >= limit:
                text = f"{size / limit:.4g}{unit}"
                break
        else:
            text = f"{Decimal(f'{size:.4g}'):f}"
        return f"{MINUS if amount < 0 else ''}{_prefix(self.code)}{text}"


def money_for(code: str, amounts: Iterable[Decimal]) -> Money:
    """Cents, unless the currency has none; more where everything spent is less than a unit."""
    largest = max((abs(a) for a in amounts), default=ZERO)
    minor = 0 if _NO_MINOR_UNIT.fullmatch(code) else 3 if _THOUSANDTHS.fullmatch(code) else 2
    if largest and largest < 1:
        return Money(code, max(minor, 2 - largest.adjusted()))
    return Money(code, minor)


def _prefix(code: str) -> str:
    return _SYMBOLS.get(code, f"{short(code, 12)}{NBSP}" if code else "")


def exact(amount: Decimal) -> str:
    """Every digit, no exponent, no trailing zeros: '-1234.5000007'. What copying a cell gives."""
    text = f"{amount:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def grouped(amount: Decimal) -> str:
    """`exact` for reading: thousands separators, a real minus, and every decimal."""
    whole, _, decimals = exact(amount.copy_abs()).partition(".")
    sign = MINUS if amount < 0 else ""
    return f"{sign}{int(whole):,}" + (f".{decimals}" if decimals else "")


def percent(share: float | None, *, signed: bool = False, decimals: int = 1) -> str:
    """A share of one as '12.3%'; an em dash where there is none."""
    if share is None:
        return "—"
    value = round(share * 100, 0 if abs(share) >= 10 else decimals)
    if share and not value:
        return f"<{NBSP}0.1%" if share > 0 else f">{NBSP}{MINUS}0.1%"
    digits = 0 if abs(share) >= 10 else decimals
    sign = MINUS if value < 0 else "+" if signed and value > 0 else ""
    return f"{sign}{abs(value):,.{digits}f}%"


def count(number: int, one: str, many: str = "") -> str:
    """'1 row', '1,204 rows'."""
    return f"{number:,}{NBSP}{one if number == 1 else many or one + 's'}"


def day(value: date) -> str:
    """'3 Nov 2026', whatever the locale."""
    return f"{value.day}{NBSP}{_MONTHS[value.month - 1][:3]}{NBSP}{value.year}"


def short_day(value: date) -> str:
    """'3 Nov'."""
    return f"{value.day}{NBSP}{_MONTHS[value.month - 1][:3]}"


def weekday_day(value: date) -> str:
    """'Tue 3 Nov 2026'."""
    return f"{_WEEKDAYS[value.weekday()]}{NBSP}{day(value)}"


def span(first: date, last: date) -> str:
    """'3 Nov 2026', '3–9 Nov 2026', '30 Oct – 5 Nov 2026'."""
    if first == last:
        return day(first)
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day}–{day(last)}"
    if first.year == last.year:
        return f"{short_day(first)} – {day(last)}"
    return f"{day(first)} – {day(last)}"


def month(period: str) -> str:
    """'2026-11' as 'November 2026'; anything else as it is."""
    bounds = month_days(period)
    return f"{_MONTHS[bounds[0].month - 1]} {bounds[0].year}" if bounds else period


def month_days(period: str) -> tuple[date, ...]:
    """Every day of '2026-11'; none where that is no month."""
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", period) or period < "0001":
        return ()
    year, number = int(period[:4]), int(period[5:])
    first = date(year, number, 1)
    return tuple(first + timedelta(n) for n in range(calendar.monthrange(year, number)[1]))


def clean(text: str) -> str:
    """`text` without what no page can hold: control characters and lone surrogates."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def short(text: str, length: int = 160) -> str:
    """`text` on one line, cut to `length` characters: bounds the bytes, layout cuts further."""
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1] + "…"


def sentence(text: str) -> str:
    """A reason such as 'needs the bill of 2026-10' as a sentence of its own."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if not text or text[-1] in ".!?" else ".")


_DIMENSIONS = {
    "ServiceName": ("service", "services"),
    "ServiceCategory": ("service category", "service categories"),
    "SubAccountId": ("account", "accounts"),
    "BillingAccountId": ("billing account", "billing accounts"),
    "RegionId": ("region", "regions"),
    "ChargeCategory": ("kind of charge", "kinds of charge"),
    "ChargeClass": ("charge class", "charge classes"),
    "PricingCategory": ("pricing category", "pricing categories"),
    "CommitmentDiscountStatus": ("commitment status", "commitment statuses"),
    "ProviderName": ("provider", "providers"),
}


def dimension(column: str, number: int = 1) -> str:
    """A FOCUS column as people say it: 'service', 'accounts'."""
    if column in _DIMENSIONS:
        return _DIMENSIONS[column][number != 1]
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", column).lower()
    return words if number == 1 else words + "s"
