"""An expression as a person reads it: ``count(login) over 7d / 7``.

One function per kind of node; a node of a pack's own reads like a call, unless it registers here.
"""

from collections.abc import Iterable
from functools import singledispatch
from typing import Any

from projections.aggregators.keys import Keys
from projections.aggregators.ordered import (
    Carried,
    Favourite,
    FavouriteMean,
    FavouriteShare,
    FirstTime,
    LastTime,
    Recent,
)
from projections.aggregators.pairs import Pair, Replies, Turns, Unanswered
from projections.aggregators.progress import Available, Open, Reached, Running
from projections.aggregators.rhythm import Decayed, Sessions
from projections.aggregators.series import Windowed
from projections.aggregators.values import Extremum, Quantile
from projections.expressions import (
    Apply,
    Arithmetic,
    Compare,
    Constant,
    Expr,
    Extreme,
    Halving,
    IfNull,
    Logical,
    When,
)
from projections.instants import FirstOf, Instant, Since, TimeText
from projections.signals import Condition, FieldLike, LocalField, Signal, snake_case
from projections.windows import length_name

_GROUPS = {"interactions": "any interaction", "activities": "any activity", "every": "any event"}
_SIGNS = {"eq": "is", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}


@singledispatch
def readable(node: Expr | Instant) -> str:
    """The expression as text."""
    inner = [named(each) for each in node.signals()]
    if isinstance(node, Expr):
        inner += [readable(part) for part in node.parts()]
    return f"{_name(node)}({', '.join(inner)})"


def named(signal: Signal) -> str:
    """A signal as text: ``inbound_call where sentiment_score < -0.3``.

    Examples
    --------
    >>> from projections.signals import HOUR, INTERACTIONS
    >>> named(INTERACTIONS.where(HOUR, ge=9, lt=17))
    'any interaction where local hour >= 9 and local hour < 17'
    """
    if signal.group is None:
        text = " or ".join(snake_case(each.__name__) for each in signal.types)
    else:
        kind, _, detail = signal.group.partition(":")
        field, *excluded = detail.split(",")
        text = _GROUPS.get(kind, f"any event with {field}")
        text += f" but {' or '.join(excluded)}" if excluded else ""
    tests = " and ".join(map(_test, signal.conditions))
    return f"{text} where {tests}" if tests else text


def _name(node: object) -> str:
    return snake_case(type(node).__name__).replace("_", " ")


def _test(condition: Condition) -> str:
    field, operand = _field(condition.field), condition.operand
    match condition.op:
        case "given":
            return f"{field} is {'' if operand else 'not '}given"
        case "isin":
            return f"{field} is one of {', '.join(map(str, operand))}"
        case op:
            return f"{field} {_SIGNS[op]} {str(operand).lower() if isinstance(operand, bool) else operand}"


def _field(field: FieldLike) -> str:
    if isinstance(field, LocalField):
        return "type" if field.name == "type" else f"local {field.name}"
    return field if isinstance(field, str) else field.name.replace("_", " ")


def _field_of(field: FieldLike, signals: Iterable[Signal]) -> str:
    return f"{_field(field)} of {' and of '.join(map(named, signals))}"


#: What reads as words, not as a call: in brackets within a larger expression.
_WORDY: tuple[type[Expr], ...] = (
    *(When, IfNull, Compare, Logical, Since, Pair, Unanswered, Reached, Running, Available, Open),
    *(FavouriteShare, FavouriteMean, Sessions, Decayed),
)


def _operand(node: Expr) -> str:
    """A part of a larger expression, in brackets where it would be misread without."""
    text = readable(node)
    return f"({text})" if isinstance(node, (*_WORDY, Arithmetic)) else text


def _side(node: Expr, op: str, *, is_right: bool) -> str:
    """A side of an operation on numbers: no brackets where the order is plain."""
    if not isinstance(node, Arithmetic):
        return _operand(node)
    binds = {"+": 1, "-": 1, "*": 2, "/": 2}
    is_plain = binds[node.op] > binds[op] or (binds[node.op] == binds[op] and not is_right)
    return readable(node) if is_plain else f"({readable(node)})"


def _one(signal: Signal) -> str:
    """One event of a signal, after an article."""
    return named(signal).removeprefix("any ")


def _over(window_us: int | None) -> str:
    return "" if window_us is None else f" over {length_name(window_us)}"


# Aggregates.


@readable.register
def _(node: Windowed) -> str:
    field = getattr(node, "field", None)
    what = _field_of(field, [node.signal]) if field else named(node.signal)
    return f"{_name(node)}({what}){_over(node.window_us)}"


@readable.register
def _(node: Extremum) -> str:
    return f"{node.which}({_field_of(node.field, [node.signal])}){_over(node.window_us)}"


@readable.register
def _(node: Quantile) -> str:
    name = "median" if node.q == 0.5 else f"{node.q:g}-quantile"
    return f"{name}({_field_of(node.field, [node.signal])}){_over(node.window_us)}"


@readable.register
def _(node: Recent) -> str:
    which = "first" if node.is_first else "last"
    return f"{which} {node.n}({_field_of(node.field, [node.signal])}){_over(node.window_us)}"


@readable.register
def _(node: Sessions) -> str:
    what = "count" if node.what == "count" else "mean minutes"
    return f"{what} of sessions({named(node.signal)}, gap {length_name(node.gap_us)}){_over(node.window_us)}"


@readable.register
def _(node: Keys) -> str:
    return f"distinct({_field_of(node.field, node.met)})"


@readable.register
def _(node: Carried) -> str:
    sources = [_field_of(each.field, [each.signal]) for each in node.sources]
    which = "first" if node.is_first else "last" if node.is_strict else "latest"
    return f"{which}({', '.join(sources)}){_over(node.window_us)}"


def _favourite(node: Favourite) -> str:
    return f"most frequent {node.field} of the last {node.n} {_one(node.signal)}"


@readable.register
def _(node: FavouriteShare) -> str:
    return f"share of the {_favourite(node.favourite)} among these"


@readable.register
def _(node: FavouriteMean) -> str:
    return f"mean({node.rated} of {named(node.favourite.signal)} with the {_favourite(node.favourite)})"


@readable.register
def _(node: Turns) -> str:
    return f"{_pairs(node)} from a {named(node.opening)} to the {named(node.reply)} right after it{_pairing(node)}"


@readable.register
def _(node: Replies) -> str:
    return (
        f"{_pairs(node)} from the first {named(node.opening)} to the first {named(node.reply)} after it{_pairing(node)}"
    )


def _pairs(node: Pair) -> str:
    return "count" if node.what == "count" else "mean seconds"


def _pairing(node: Pair) -> str:
    return f", by {node.key}{_over(node.window_us)}"


@readable.register
def _(node: Unanswered) -> str:
    return f"distinct {node.key} of {named(node.cause)} without {named(node.answer)} for {length_name(node.within_us)}"


@readable.register
def _(node: Reached) -> str:
    return f"highest {node.step} of {named(node.completed)} with the {node.key} of the latest {named(node.enrolled)}"


@readable.register
def _(node: Running) -> str:
    return f"1 if no {named(node.finished)} of its {node.key} follows the latest {named(node.enrolled)}, else 0"


@readable.register
def _(node: Available) -> str:
    return f"distinct {node.key} with {named(node.on)} after any {named(node.off)}"


@readable.register
def _(node: Open) -> str:
    within = length_name(node.window_us)
    return f"distinct {node.key} of {named(node.asked)} over {within} without {named(node.closed)}"


@readable.register
def _(node: Decayed) -> str:
    return f"decayed count({named(node.signal)}, half-life {length_name(node.half_life_us)})"


# Instants.


@readable.register
def _(node: FirstTime) -> str:
    return f"first {_one(node.signal)}{_over(node.window_us)}"


@readable.register
def _(node: LastTime) -> str:
    return f"last {_one(node.signal)}{_over(node.window_us)}"


@readable.register
def _(node: FirstOf) -> str:
    return f"{readable(node.preferred)}, or without one the {readable(node.other)}"


@readable.register
def _(node: Since) -> str:
    if node.end is None:
        return f"whole days since the {readable(node.start)}"
    return f"whole days from the {readable(node.start)} to the {readable(node.end)}"


@readable.register
def _(node: TimeText) -> str:
    return f"time of the {readable(node.instant)}"


# Operations.


@readable.register
def _(node: Constant) -> str:
    return "null" if node.value is None else str(node.value)


@readable.register
def _(node: Arithmetic) -> str:
    left, right = _side(node.left, node.op, is_right=False), _side(node.right, node.op, is_right=True)
    return f"{left} {node.op} {right}"


@readable.register
def _(node: Extreme) -> str:
    return f"{node.which}({_argument(node.left)}, {_argument(node.right)})"


@readable.register
def _(node: IfNull) -> str:
    return f"{_operand(node.value)} or else {_operand(node.default)}"


@readable.register
def _(node: Compare) -> str:
    return f"{_argument(node.left)} {'is' if node.op == '==' else node.op} {_argument(node.right)}"


@readable.register
def _(node: Logical) -> str:
    return f"{_operand(node.left)} {node.op} {_operand(node.right)}"


@readable.register
def _(node: When) -> str:
    return f"if {readable(node.claim)} then {_operand(node.then)} else {_operand(node.otherwise)}"


@readable.register
def _(node: Halving) -> str:
    return f"2^(-({readable(node.value)}) / {node.half_life:g})"


@readable.register
def _(node: Apply) -> str:
    return f"{_called(node.function)}({', '.join(map(_argument, node.arguments))})"


def _called(function: Any) -> str:
    return getattr(function, "__name__", snake_case(type(function).__name__))


def _argument(node: Expr) -> str:
    return readable(node) if isinstance(node, Arithmetic) else _operand(node)
