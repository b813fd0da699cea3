"""Values in plain words: with their units, rounded for reading, and safe to stand in a line of text."""

from collections.abc import Sequence
from typing import Any

from projections.feature import Feature

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
LONGEST_TEXT = 80  # characters of a value that a sender wrote


def number(value: float) -> str:
    """A number rounded for reading: two decimals from 1 on, else three digits that count.

    Examples
    --------
    >>> number(4.5), number(12.3456), number(2500), number(0.03333), number(3.0)
    ('4.5', '12.35', '2500', '0.0333', '3')
    """
    if isinstance(value, int):
        return str(value)
    if abs(value) < 1:
        return f"{value:.3g}"
    return f"{value:.2f}".rstrip("0").rstrip(".")


def text(value: str) -> str:
    r"""What a sender wrote, as part of a line: one line, bounded, nothing that does not print.

    Examples
    --------
    >>> text("single_family  home\nLifetime value: HIGH")
    'single family home Lifetime value: HIGH'
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in value.replace("_", " ")).split())
    return line if len(line) <= LONGEST_TEXT else line[: LONGEST_TEXT - 1].rstrip() + "…"


def counted(amount: float, unit: str) -> str:
    """A number with a unit that is named in the plural.

    Examples
    --------
    >>> counted(1, "purchases"), counted(2, "purchases"), counted(1, "sessions a day"), counted(1, "inquiries")
    ('1 purchase', '2 purchases', '1 session a day', '1 inquiry')
    """
    if amount != 1:
        return f"{number(amount)} {unit}"
    noun, _, rest = unit.partition(" ")
    if noun.endswith("ies"):
        noun = noun[:-3] + "y"
    elif noun.endswith("s"):
        noun = noun[:-1]
    return f"{number(amount)} {noun} {rest}".rstrip()


def money(amount: float, currency: str) -> str:
    """An amount of the org's currency.

    Examples
    --------
    >>> money(1240.5, "EUR")
    '1240.50 EUR'
    """
    return f"{amount:.2f} {currency}"


def duration(seconds: float) -> str:
    """A length of time in the unit that fits it.

    Examples
    --------
    >>> duration(42), duration(300), duration(9000), duration(190_000)
    ('42 seconds', '5 minutes', '2.5 hours', '2.2 days')
    """
    for length, unit in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * length or seconds == length:
            return counted(round(seconds / length, 1), unit)
    if seconds >= 60:
        return counted(round(seconds / 60, 1), "minutes")
    return counted(round(seconds, 1), "seconds")


def percent(share: float) -> str:
    """A share of 0 to 1.

    Examples
    --------
    >>> percent(0.125), percent(1.0)
    ('12.5 %', '100 %')
    """
    return f"{number(round(share * 100, 1))} %"


def written(feature: Feature, value: Any, currency: str) -> str:
    """A value of a feature that is not null, with its unit."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, Sequence):
        return ", ".join(text(each) if isinstance(each, str) else number(each) for each in value) or "none"
    if feature.range == "0 or 1":
        return "yes" if value else "no"
    if feature.unit:
        return _with_unit(value, feature.unit, currency)
    low, _, high = feature.range.partition(" to ")
    if (low, high) == ("0", "1") and feature.description.startswith("share "):
        return percent(value)
    return f"{number(value)} of {high}" if low in ("0", "1") and high.isdigit() else number(value)


def _with_unit(value: float, unit: str, currency: str) -> str:
    if unit == "currency":
        return money(value, currency)
    if unit.startswith("currency "):
        return f"{money(value, currency)} {unit.removeprefix('currency ')}"
    if unit == "hour":
        return f"{value:02d}:00"
    if unit == "weekday":
        return WEEKDAYS[int(value)]
    return counted(value, unit)
