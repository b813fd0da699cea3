"""What values a feature can have, read off its expression where its pack does not say: never below zero, or any."""

from collections.abc import Iterable

from eventstore.types import EventType
from projections.aggregators.keys import Keys
from projections.aggregators.ordered import Carried, FavouriteMean, FavouriteShare
from projections.aggregators.pairs import Pair, Unanswered
from projections.aggregators.progress import Available, Open, Reached
from projections.aggregators.rhythm import Decayed, Sessions, Streak
from projections.aggregators.sums import Count, Deviation, Totals
from projections.aggregators.values import Distinct, Mode
from projections.expressions import Arithmetic, Condition, Constant, Expr, Extreme, Halving, IfNull, When
from projections.fields import is_never_negative
from projections.instants import Since
from projections.signals import FieldLike, LocalField, Signal

ANY = "any number"
FROM_ZERO = "0 or more"

_COUNTS = (
    *(Available, Count, Decayed, Deviation, Distinct, FavouriteShare, Halving, Keys, Open, Pair, Reached),
    *(Sessions, Streak, Unanswered),
)


def range_of(expr: Expr, types: Iterable[EventType]) -> str:
    """The range of a number; empty for what is none.

    Parameters
    ----------
    types : that an entity's events can have.
    """
    if expr.dtype not in ("int", "float"):
        return ""
    if isinstance(expr, Condition):
        return "0 or 1"
    return FROM_ZERO if _is_from_zero(expr, tuple(types)) else ANY


def _is_from_zero(expr: Expr, types: tuple[EventType, ...]) -> bool:
    """Whether a value, where it is not null, is known not to be negative."""
    if isinstance(expr, (*_COUNTS, Condition)):
        return True
    match expr:
        case Constant(value=value):
            return value is None or (isinstance(value, int | float) and value >= 0)
        case Since(end=end):
            return end is None  # up to the as-of time; the other end may lie before this one
        case Arithmetic(op="-"):
            return False
        case Extreme(which="max"):
            return any(_is_from_zero(part, types) for part in expr.parts())
        case When(then=then, otherwise=otherwise):
            return _is_from_zero(then, types) and _is_from_zero(otherwise, types)
        case Arithmetic() | Extreme() | IfNull():
            return all(_is_from_zero(part, types) for part in expr.parts())
        case Totals(signal=signal, field=field) | Mode(signal=signal, field=field):
            return _gives_from_zero(signal, field, types)
        case Carried(sources=sources):
            return all(_gives_from_zero(each.signal, each.field, types) for each in sources)
        case FavouriteMean(favourite=favourite, rated=rated):
            return _gives_from_zero(favourite.signal, rated, types)
        case _:
            return False


def _gives_from_zero(signal: Signal, field: FieldLike, types: tuple[EventType, ...]) -> bool:
    if isinstance(field, LocalField):
        return True
    if not isinstance(field, str):
        return False  # a function of a pack's own
    return all(is_never_negative(each.payload, field) for each in types if signal.matches(each))
