"""Fixed point: payload numbers enter the fold as integers of millionths, so that sums never drift.

Law 7 of the feature specification: the integer nearest to x·10⁶, half to even, with x the JSON
number's nearest float64; an amount is taken from its exact decimal instead.
"""

import re
from decimal import Decimal
from fractions import Fraction

MICRO = 1_000_000

# Exponents beyond this need no exact fraction (whose cost grows with them) to be refused.
_DIGITS = 100
_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)

# Below this the product x·10⁶ in float64 is off by less than 2⁻¹⁰ from the exact one, so a fractional
# part further than 0.01 from one half cannot round the wrong way (tests/unit/kernel/test_fixed.py).
_SAFE = float(2**43)


def micro(x: float) -> int:
    """The integer nearest to x·10⁶, half to even, of the exact product.

    Parameters
    ----------
    x : finite float64 or int.

    Examples
    --------
    >>> micro(4.5), micro(-0.3), micro(30)
    (4500000, -300000, 30000000)
    """
    product = x * 1e6
    if -_SAFE < product < _SAFE:
        nearest = round(product)
        if abs(product - nearest) < 0.49:
            return nearest
    return round(Fraction(x) * MICRO)


class Amount(int):
    """Money in millionths of the org's currency, exact: the type of an ``amount`` in a payload.

    Comes from a JSON number or a decimal string of at most six decimals, 0 to 10¹².
    """

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> "Amount":
        """From ``int``, ``Decimal`` (of a JSON number) or ``str``. Raises ``ValueError`` saying what was expected.

        Examples
        --------
        >>> Amount.parse("12.50") == Amount.parse(Decimal("12.5")) == 12_500_000
        True
        """
        if isinstance(value, str):
            if not _DECIMAL.fullmatch(value):
                raise ValueError("Expected a decimal number")
            value = Decimal(value)
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            raise ValueError("Expected a number or decimal string")
        if isinstance(value, Decimal) and (not value.is_finite() or abs(value.adjusted()) > _DIGITS):
            raise ValueError("Expected an amount from 0 to 10^12 with at most 6 decimals")
        if not 0 <= value <= 10**12:
            raise ValueError("Expected an amount from 0 to 10^12")
        value = Decimal(value)
        exponent = value.as_tuple().exponent
        if isinstance(exponent, int) and exponent >= -6:
            return cls(value.scaleb(6))  # at most 19 digits: exact under any context
        # A fraction, not a scaled decimal: the decimal context would round what has more than 28 digits.
        micros = Fraction(value) * MICRO
        if micros.denominator != 1:
            raise ValueError("Expected at most 6 decimals")
        return cls(micros.numerator)
