"""Signals: which events a feature listens to. Immutable descriptions; the compiler resolves them.

A signal is a set of event types with conditions on the payload or on the local time of the event.
"""

import keyword
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from typing import Any, Final, Literal

from eventstore.types import EventType, Payload

_NOT_NAME = re.compile(r"\W+")
_LONGEST_SLUG = 40


@dataclass(frozen=True)
class LocalField:
    """A value taken from the event's own time or type instead of its payload."""

    name: Literal["hour", "weekday", "date", "type"]


HOUR: Final = LocalField("hour")  #: local hour of the day, 0-23
WEEKDAY: Final = LocalField("weekday")  #: local day of the week, 0 = Monday
DATE: Final = LocalField("date")  #: local date, in days since 1970-01-01
TYPE: Final = LocalField("type")  #: name of the event's type


@dataclass(frozen=True)
class Computed:
    """A value computed from a payload by a function of the pack's own. If it raises, the event is poison.

    ``returns`` says what it gives: ``float`` and ``int`` enter the fold in fixed point like any number, within the
    same bounds of ±10¹². None means that this event gives no value.
    """

    function: Callable[[Any], Any]
    returns: type = float

    @property
    def name(self) -> str:
        return self.function.__name__


FieldLike = str | LocalField | Computed


@dataclass(frozen=True)
class Condition:
    """One test of one field: all conditions of a signal must hold. A field that is not given fails every test
    except ``given=False``. Numbers are compared in fixed point, as they enter the fold.
    """

    field: FieldLike
    op: Literal["eq", "lt", "le", "gt", "ge", "isin", "given"]
    operand: Any


@dataclass(frozen=True)
class Signal:
    """A set of event types, by payload class or by a predicate that a named group stands for.

    ``name`` is what its features and slots are called after; it is no part of what the signal is.
    """

    types: tuple[type[Payload], ...] = ()
    group: str | None = None
    conditions: tuple[Condition, ...] = ()
    name: str | None = dataclass_field(default=None, compare=False)

    def where(
        self,
        field: FieldLike,
        *,
        eq: Any = None,
        lt: float | None = None,
        le: float | None = None,
        gt: float | None = None,
        ge: float | None = None,
        isin: Iterable[Any] | None = None,
        given: bool | None = None,
    ) -> "Signal":
        """Only those events whose field passes every test named.

        Examples
        --------
        >>> INTERACTIONS.where(HOUR, ge=9, lt=17).conditions[0].op
        'ge'
        """
        among = None if isin is None else tuple(isin)
        tests = {"eq": eq, "lt": lt, "le": le, "gt": gt, "ge": ge, "isin": among, "given": given}
        added = tuple(Condition(field, op, x) for op, x in _in_order(tests) if x is not None)
        if not added:
            raise ValueError("where() needs at least one test")
        return replace(self, conditions=self.conditions + added)

    @property
    def slug(self) -> str:
        """What slots and features of the signal are called after.

        Examples
        --------
        >>> INTERACTIONS.where(HOUR, ge=9, lt=17).slug, INTERACTIONS.where("score", lt=-0.3).slug
        ('interactions_hour_from_9_hour_below_17', 'interactions_score_below_minus_0_3')
        """
        return python_name("_".join([self._base(), *(_words(each) for each in self.conditions)]))

    def _base(self) -> str:
        if self.name is not None:
            return self.name
        if self.group is not None:
            return self.group.replace("declares:", "with_").split(",")[0]
        names = [snake_case(each.__name__) for each in self.types]
        whole = "_or_".join(names)
        return whole if len(whole) <= _LONGEST_SLUG or len(names) == 1 else f"{names[0]}_or_{len(names) - 1}_more"

    def declares(self, field: str) -> bool:
        """Whether the signal is the group of the types that declare a field."""
        return self.group is not None and self.group.partition(":")[2].split(",")[0] == field

    def matches(self, event_type: EventType) -> bool:
        """Whether events of the type may belong to the signal; the values of fields apart.

        Of a group, a type that does not declare a field that is tested has no such events.
        """
        if self.group is None:
            return issubclass(event_type.payload, self.types)
        for each in self.conditions:
            if isinstance(each.field, str) and not (each.op == "given" and not each.operand):
                declared = each.field.split(".")[0] in event_type.payload.__struct_fields__
                if not declared:
                    return False
        kind, _, detail = self.group.partition(":")
        if kind == "declares":
            excluded = detail.split(",")
            return excluded[0] in event_type.payload.__struct_fields__ and event_type.name not in excluded[1:]
        return _GROUPS[kind](event_type)


def _in_order(tests: dict[str, Any]) -> list[tuple[Any, Any]]:
    return [(op, tests[op]) for op in ("ge", "gt", "le", "lt", "eq", "isin", "given")]


_SIGNS = {"ge": "from", "gt": "above", "le": "up_to", "lt": "below"}


def _words(condition: Condition) -> str:
    """A condition as part of a name: ``escalated``, ``weekday_5_or_6``, ``score_below_minus_0_3``."""
    name, op, operand = field_name(condition.field), condition.op, condition.operand
    if op == "given":
        return f"{'with' if operand else 'without'}_{name}"
    if op == "eq" and isinstance(operand, bool):
        return name if operand else f"not_{name}"
    if op == "isin":
        return f"{name}_{'_or_'.join(map(_word, operand))}"
    return "_".join([name, *([_SIGNS[op]] if op in _SIGNS else []), _word(operand)])


def _word(value: Any) -> str:
    text = str(value)
    return f"minus_{text[1:]}" if isinstance(value, int | float) and value < 0 else text


def field_name(field: FieldLike) -> str:
    """A field as part of a name."""
    return field.replace(".", "_") if isinstance(field, str) else field.name


def python_name(text: str) -> str:
    """A Python identifier that reads like the text.

    Examples
    --------
    >>> python_name("30 days!"), python_name("class")
    ('n30_days', 'class_')
    """
    name = _NOT_NAME.sub("_", text).strip("_").lower() or "value"
    if name[0].isdigit():
        name = f"n{name}"
    return f"{name}_" if keyword.iskeyword(name) else name


def snake_case(name: str) -> str:
    """``PurchaseCompleted`` as ``purchase_completed``.

    Examples
    --------
    >>> snake_case("SessionNoShow")
    'session_no_show'
    """
    return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))


_GROUPS: dict[str, Callable[[EventType], bool]] = {
    "interactions": lambda t: t.by == "lead" and t.about == "lead",
    "activities": lambda t: t.is_activity,
    "every": lambda t: True,
}

#: Every event initiated by the lead, of whichever pack is on.
INTERACTIONS: Final = Signal(group="interactions")
#: The events that the sales pack calls activities.
ACTIVITIES: Final = Signal(group="activities")
#: Every event that a sender wrote, of whichever pack is on.
EVERY: Final = Signal(group="every")


def declaring(field: str, *, but_not: tuple[str, ...] = ()) -> Signal:
    """Every event whose type declares a field of that name, of whichever pack is on."""
    return Signal(group="declares:" + ",".join((field, *but_not)))
