"""Signals: which events a feature listens to. Immutable descriptions; the compiler resolves them.

A signal is a set of event types with conditions on the payload or on the local time of the event.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from eventstore.types import EventType, Payload


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

    ``returns`` says what it gives: ``float`` and ``int`` enter the fold in fixed point like any number.
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
    """A set of event types, by payload class or by a predicate that a named group stands for."""

    types: tuple[type[Payload], ...] = ()
    group: str | None = None
    conditions: tuple[Condition, ...] = ()

    def where(
        self,
        field: FieldLike,
        *,
        eq: Any = None,
        lt: float | None = None,
        le: float | None = None,
        gt: float | None = None,
        ge: float | None = None,
        isin: tuple[Any, ...] | None = None,
        given: bool | None = None,
    ) -> "Signal":
        """Only those events whose field passes every test named.

        Examples
        --------
        >>> INTERACTIONS.where(HOUR, ge=9, lt=17).conditions[0].op
        'ge'
        """
        tests = {"eq": eq, "lt": lt, "le": le, "gt": gt, "ge": ge, "isin": isin, "given": given}
        added = tuple(Condition(field, op, x) for op, x in _in_order(tests) if x is not None)
        if not added:
            raise ValueError("where() needs at least one test")
        return replace(self, conditions=self.conditions + added)

    def matches(self, event_type: EventType) -> bool:
        """Whether events of the type belong to the signal, conditions apart."""
        if self.group is None:
            return issubclass(event_type.payload, self.types)
        kind, _, detail = self.group.partition(":")
        if kind == "declares":
            excluded = detail.split(",")
            return excluded[0] in event_type.payload.__struct_fields__ and event_type.name not in excluded[1:]
        return _GROUPS[kind](event_type)


def _in_order(tests: dict[str, Any]) -> list[tuple[Any, Any]]:
    return [(op, tests[op]) for op in ("ge", "gt", "le", "lt", "eq", "isin", "given")]


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
