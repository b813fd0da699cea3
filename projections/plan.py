"""The plan of a compiled catalogue: which slots the state has, and which lines change them on which event.

Aggregates register here what they keep and what an event does to it; equal aggregates share. The plan also
turns fields and conditions of signals into source.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from eventstore.types import EventType
from kernel.errors import DefinitionError
from kernel.fixed import micro
from projections.fields import FieldInfo, field_info
from projections.local_time import LocalTime
from projections.signals import TYPE, Computed, Condition, FieldLike, LocalField, Signal
from projections.source import FoldWriter, Names, python_name

#: ``int``: a whole number of any size; ``plain``: None, a number, string or tuple; ``array``: int64 values,
#: ascending or not (None while empty; a list where a value exceeds 64 bits); ``dict``/``list``: None while empty.
SlotKind = Literal["int", "plain", "array", "dict", "list"]

#: How a field's value enters the fold: millionths, an 8-byte key, or as it is.
ValueForm = Literal["micro", "key", "raw"]


@dataclass(frozen=True)
class Slot:
    """One attribute of the state, with the source of its initial value."""

    name: str
    kind: SlotKind
    initial: str


class Plan:
    """Slots, fold lines, and constants of one catalogue for one kind of entity."""

    def __init__(self, types: Iterable[EventType], local_time: LocalTime) -> None:
        self.types = tuple(types)
        self.local_time = local_time
        self.slots: list[Slot] = []
        self.folds = {each.name: FoldWriter(each.name) for each in self.types}
        self.prune_lines: list[str] = []
        self.constants: dict[str, Any] = {}
        self.uses_local_time = False
        self._constant_names: dict[int, str] = {}
        self._names = Names(("s", "at", "p", "change"))
        self._slot_names = Names(())
        self._built: dict[object, Any] = {}
        self._finishers: list[Callable[[], None]] = []

    def build(self, key: object, make: Callable[[], Any]) -> Any:
        """What ``make`` returns, made once per key: how equal aggregates come to share their slots."""
        if key not in self._built:
            self._built[key] = make()
        return self._built[key]

    def at_end(self, finish: Callable[[], None]) -> None:
        """Run ``finish`` when every aggregate has registered."""
        self._finishers.append(finish)

    def finish(self) -> None:
        while self._finishers:
            self._finishers.pop(0)()

    def slot(self, wish: str, kind: SlotKind, initial: str) -> str:
        """A new slot; returns the source that reaches it (``s.name``)."""
        name = self._slot_names.fresh(wish)
        self.slots.append(Slot(name, kind, initial))
        return f"s.{name}"

    def constant(self, value: object, wish: str) -> str:
        """A global of the generated module that holds ``value``."""
        name = self._constant_names.get(id(value))
        if name is None:
            name = self._constant_names[id(value)] = self._names.fresh(f"{wish}_of")
            self.constants[name] = value
        return name

    def prune(self, *lines: str) -> None:
        """Lines that drop what no window reaches any more, as of ``at``."""
        self.prune_lines.extend(lines)

    def matching(self, signal: Signal) -> list[EventType]:
        return [each for each in self.types if signal.matches(each)]

    def slug(self, signal: Signal) -> str:
        """A readable name for a signal's slots."""
        if signal.group is not None:
            base = signal.group.replace("declares:", "with_").split(",")[0]
        else:
            base = "_or_".join(snake_case(t.__name__) for t in signal.types)
        parts = [base if len(base) <= 40 else base[:40]]
        for each in signal.conditions:
            name = _field_name(each.field)
            if each.op == "given":
                parts.append(f"{'with' if each.operand else 'without'}_{name}")
            else:
                parts.append(f"{name}_{each.op}_{each.operand}")
        return python_name("_".join(parts))

    def on(
        self,
        signal: Signal,
        lines: Callable[..., list[str]],
        *,
        field: FieldLike | None = None,
        form: ValueForm = "micro",
        guard: str | None = None,
    ) -> None:
        """On each event of the signal, run lines.

        ``lines`` is called with the source of the field's value where a field is named (the lines then run only
        where it is given), else without arguments. ``guard`` is a test on ``at`` under which the event comes
        too late to be folded in place.
        """
        for event_type in self.matching(signal):
            writer = self.folds[event_type.name]
            conditions = self.conditions(writer, event_type, signal.conditions)
            arguments: tuple[str, ...] = ()
            if field is not None:
                value, given = self.value(writer, event_type, field, form)
                arguments = (value,)
                if given is not None and given not in conditions:
                    conditions = (*conditions, given)
            if guard is not None:
                writer.guard(guard)
            writer.update(conditions, lines(*arguments))

    def has_field(self, event_type: EventType, field: FieldLike) -> bool:
        return not isinstance(field, str) or field_info(event_type.payload, field) is not None

    def info(self, event_type: EventType, field: str) -> FieldInfo:
        """Raises ``DefinitionError`` for a field that the type does not declare."""
        info = field_info(event_type.payload, field)
        if info is None:
            known = ", ".join(event_type.payload.__struct_fields__) or "none"
            raise DefinitionError(event_type.name, f"unknown field {field!r}", f"fields of {event_type.name}: {known}")
        return info

    def value(self, w: FoldWriter, event_type: EventType, field: FieldLike, form: ValueForm) -> tuple[str, str | None]:
        """Source of a field's value, and of the test that it is given (None where it always is)."""
        if isinstance(field, LocalField):
            return self._local_value(w, field, form), None
        if isinstance(field, Computed):
            return self._computed_value(w, field, form)
        info = self.info(event_type, field)
        raw = self._raw(w, event_type, field)
        missing = "UNSET" if info.clears else "None"
        given = f"{raw} is not {missing}" if info.is_optional else None
        if form == "raw" or (form == "micro" and info.kind in ("amount", "flag") and not info.is_optional):
            return raw, given
        if form == "micro" and info.kind not in ("number", "amount", "flag"):
            raise DefinitionError(event_type.name, f"{field!r} is a {info.kind}, not a number")
        convert = {
            "key": f"key64({raw})" if info.kind == "text" else f"key64(str({raw}))",
            "micro": f"{raw} * MICRO" if info.is_whole else raw if info.kind == "amount" else f"micro({raw})",
        }[form]
        if convert == raw:
            return raw, given
        code = convert if given is None else f"None if {raw} is {missing} else {convert}"
        name = w.read(code, f"{_field_name(field)}_{form}")
        return name, None if given is None else f"{name} is not None"

    def conditions(self, w: FoldWriter, event_type: EventType, conditions: Iterable[Condition]) -> tuple[str, ...]:
        """Source of the tests of a signal, for one event type."""
        tests: list[str] = []
        for each in conditions:
            tests += [t for t in self._tests(w, event_type, each) if t not in tests]
        return tuple(tests)

    def _tests(self, w: FoldWriter, event_type: EventType, condition: Condition) -> list[str]:
        if condition.op == "given":
            if not self.has_field(event_type, condition.field):
                return ["False"] if condition.operand else []
            _, given = self.value(w, event_type, condition.field, "raw")
            if condition.operand:
                return [given] if given is not None else []
            return ["False"] if given is None else [given.replace(" is not ", " is ")]
        numeric = self._is_numeric(event_type, condition.field) and not isinstance(condition.operand, bool)
        value, given = self.value(w, event_type, condition.field, "micro" if numeric else "raw")
        test = _comparison(value, condition, in_micro=numeric)
        return [t for t in (given, test) if t is not None]

    def _is_numeric(self, event_type: EventType, field: FieldLike) -> bool:
        if isinstance(field, LocalField):
            return False
        if isinstance(field, Computed):
            return field.returns in (int, float)
        return self.info(event_type, field).kind in ("number", "amount")

    def _raw(self, w: FoldWriter, event_type: EventType, field: str) -> str:
        payload, source, optional = event_type.payload, "p", False
        for name in field.split("."):
            info = field_info(payload, name)
            assert info is not None, field  # noqa: S101 - info() has walked the same path
            code = f"None if {source} is None else {source}.{name}" if optional else f"{source}.{name}"
            source = w.read(code, f"{name}_raw" if name in ("at", "p", "s") else name)
            optional = optional or info.is_optional
            nested = _struct_types(payload, name)
            payload = nested[0] if nested else payload
        return source

    def _local_value(self, w: FoldWriter, field: LocalField, form: ValueForm) -> str:
        if field is TYPE:
            return repr(w.event_name) if form != "key" else f"key64({w.event_name!r})"
        self.uses_local_time = True
        local = w.read("local_us(at)", "local_time")
        code = {
            "hour": f"{local} // HOUR % 24",
            "weekday": f"({local} // DAY + 3) % 7",
            "date": f"{local} // DAY",
        }[field.name]
        name = w.read(code, f"local_{field.name}")
        return w.read(f"{name} * MICRO", f"{name}_micro") if form == "micro" else name

    def _computed_value(self, w: FoldWriter, field: Computed, form: ValueForm) -> tuple[str, str]:
        raw = w.read(f"{self.constant(field.function, field.name)}(p)", field.name)
        if form == "raw":
            return raw, f"{raw} is not None"
        convert = f"micro({raw})" if form == "micro" else f"key64(str({raw}))"
        name = w.read(f"None if {raw} is None else {convert}", f"{field.name}_{form}")
        return name, f"{name} is not None"


def snake_case(name: str) -> str:
    """``PurchaseCompleted`` as ``purchase_completed``.

    Examples
    --------
    >>> snake_case("SessionNoShow")
    'session_no_show'
    """
    return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))


def _field_name(field: FieldLike) -> str:
    return field.replace(".", "_") if isinstance(field, str) else field.name


def _comparison(value: str, condition: Condition, *, in_micro: bool) -> str:
    def constant(x: Any) -> Any:
        return micro(x) if in_micro else x

    if condition.op == "isin":
        return f"{value} in {tuple(constant(x) for x in condition.operand)!r}"
    if condition.op == "eq" and isinstance(condition.operand, bool):
        return f"{value} is {condition.operand}"
    sign = {"eq": "==", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}[condition.op]
    return f"{value} {sign} {constant(condition.operand)!r}"


def _struct_types(payload: type[msgspec.Struct], name: str) -> list[type[msgspec.Struct]]:
    declared = {each.name: each for each in msgspec.inspect.type_info(payload).fields}[name].type  # type: ignore[attr-defined]
    members = declared.types if isinstance(declared, msgspec.inspect.UnionType) else (declared,)
    return [t.cls for t in members if isinstance(t, msgspec.inspect.StructType)]
