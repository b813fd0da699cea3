"""Claims: a named value, a comparison, and what to compare with. The lines that every table of this package is made of.

A table of claims can be checked by whoever sells, and is printed as it stands in the reference. Null fulfils no
comparison; a value that the organisation's packs do not have fulfils nothing at all.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

Comparison = Literal["<", "<=", "=", "!=", ">=", ">", "is null", "is known"]

_ABSENT = object()


class Claim(NamedTuple):
    """``name`` is a feature's reference, or ``risk:code``, ``prediction:name`` where the table says so."""

    name: str
    comparison: Comparison
    operand: float | str = 0.0

    def holds(self, known: Mapping[str, Any]) -> bool:
        """Whether it holds of these values."""
        return compared(known.get(self.name, _ABSENT), self.comparison, self.operand)

    @property
    def text(self) -> str:
        """As written in a document.

        Examples
        --------
        >>> Claim("activity:meeting_count", ">=", 2).text, Claim("outreach:email_open_rate", "is null").text
        ('activity:meeting_count ≥ 2', 'outreach:email_open_rate is null')
        """
        return f"{self.name} {comparison_text(self.comparison, self.operand)}"


Claims = tuple[Claim, ...]


def comparison_text(comparison: Comparison, operand: float | str) -> str:
    """The comparison alone, as written in a document."""
    if comparison in ("is null", "is known"):
        return comparison
    sign = {"<=": "≤", ">=": "≥", "!=": "≠"}.get(comparison, comparison)
    return f"{sign} {operand if isinstance(operand, str) else f'{operand:g}'}"


def compared(value: Any, comparison: Comparison, operand: float | str) -> bool:
    """Whether a value compares so.

    Examples
    --------
    >>> compared(3, ">=", 2), compared(None, "<", 2), compared(None, "is null", 0), compared("vp", "=", "vp")
    (True, False, True, True)
    """
    if value is None or comparison == "is null":
        return value is None and comparison == "is null"
    if value is _ABSENT:
        return False
    if comparison == "=":
        return bool(value == operand)
    if comparison == "!=":
        return bool(value != operand)
    if comparison == "is known":
        return True
    if isinstance(value, str) or isinstance(operand, str):
        return False
    if comparison == ">=":
        return bool(value >= operand)
    if comparison == "<":
        return bool(value < operand)
    return bool(value > operand if comparison == ">" else value <= operand)


def all_hold(claims: Claims, known: Mapping[str, Any]) -> bool:
    """Whether every claim holds."""
    for name, comparison, operand in claims:  # noqa: SIM110 - a third of the time of ``all``, for the busiest line here
        if not compared(known.get(name, _ABSENT), comparison, operand):
            return False
    return True


def names_of(claims: Claims) -> set[str]:
    """The values that the claims are about."""
    return {claim.name for claim in claims}
