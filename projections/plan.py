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
from kernel.times import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from projections.expressions import Dtype
from projections.fields import FieldInfo, declared_fields, dtypes_of, field_info, fields_of
from projections.local_time import LocalTime
from projections.signals import TYPE, Computed, Condition, FieldLike, LocalField, Signal, field_name
from projections.source import FoldWriter, Names, indented
from projections.wording import did_you_mean

#: ``int``: a whole number of any size; ``plain``: None, a number, string or tuple; ``array``: int64 values,
#: ascending or not (None while empty; a list where a value exceeds 64 bits); ``tallies``: counts of few small values,
#: 32 bits each; ``dict``/``list``: None while empty.
SlotKind = Literal["int", "plain", "array", "tallies", "dict", "list"]

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
        self.durations: dict[str, str] = {}
        self._constant_names: dict[int, str] = {}
        self._names = Names()
        self._slot_names = Names(())
        self._built: dict[object, Any] = {}
        self.registering = ("", "")  #: the feature that registers now: where it stands, and its reference
        self._finishers: list[tuple[tuple[str, str], Callable[[], None]]] = []

    def build(self, key: object, make: Callable[[], Any]) -> Any:
        """What ``make`` returns, made once per key: how equal aggregates come to share their slots."""
        if key not in self._built:
            self._built[key] = make()
        return self._built[key]

    def at_end(self, finish: Callable[[], None]) -> None:
        """Run ``finish`` when every aggregate has registered."""
        self._finishers.append((self.registering, finish))

    def finish(self) -> None:
        while self._finishers:
            (where, reference), finish = self._finishers.pop(0)
            try:
                finish()
            except DefinitionError as error:
                raise DefinitionError(where, f"{reference}: {error.where}: {error.problem}", error.hint) from error

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

    def duration(self, us: int) -> str:
        """A global of the generated module that holds a length of time: ``DAYS_7``."""
        for name, unit_us in _UNITS.items():
            if us % unit_us == 0:
                constant = name if us == unit_us else f"{name}S_{us // unit_us}"
                if us != unit_us:
                    self.durations[constant] = f"{us // unit_us} * {name}"
                return constant
        self.durations[f"MICROS_{us}"] = str(us)
        return f"MICROS_{us}"

    def prune(self, *lines: str) -> None:
        """Lines that drop what no window reaches any more, as of ``at``."""
        self.prune_lines.extend(lines)

    def matching(self, signal: Signal) -> list[EventType]:
        return [each for each in self.types if signal.matches(each)]

    def on(
        self,
        signal: Signal,
        lines: Callable[..., list[str]],
        *,
        field: FieldLike | None = None,
        form: ValueForm = "micro",
        guard: str | Callable[..., str] | None = None,
        missing: Literal["skip", "clears", "none"] = "skip",
        is_in_order: bool = False,
    ) -> None:
        """On each event of the signal, run lines.

        ``lines`` is called with the source of the field's value where a field is named, else without arguments. The
        lines then run only where it is given; ``missing="clears"``: also for a null that clears, as None; ``"none"``:
        always, a missing value being None. ``guard`` is a test on ``at``, or makes one of the value, under which the
        event comes too late to be folded in place. Paragraphs ``is_in_order`` run in the order of their declaration,
        whatever their conditions.
        """
        for event_type in self.matching(signal):
            writer = self.folds[event_type.name]
            conditions = self.conditions(writer, event_type, signal.conditions)
            arguments: tuple[str, ...] = ()
            if field is not None:
                value, given = self.value(writer, event_type, field, form)
                if missing == "clears":
                    _, given = self.value(writer, event_type, field, "raw")
                if missing == "none" and given is not None:
                    value = writer.read(f"{value} if {given} else None", f"{field_name(field)}_or_none")
                elif given is not None and given not in conditions:
                    conditions = (*conditions, given)
                arguments = (value,)
            if guard is not None:
                writer.guard(guard if isinstance(guard, str) else guard(*arguments))
            paragraph = lines(*arguments)
            if is_in_order and conditions and "False" not in conditions:
                conditions, paragraph = (), [f"if {' and '.join(conditions)}:", *indented(paragraph)]
            writer.update(conditions, paragraph)

    def has_field(self, event_type: EventType, field: FieldLike) -> bool:
        return not isinstance(field, str) or field_info(event_type.payload, field) is not None

    def info(self, event_type: EventType, field: str) -> FieldInfo:
        """Raises ``DefinitionError`` for a field that the type does not declare."""
        info = field_info(event_type.payload, field)
        if info is None:
            hint = did_you_mean(field, event_type.payload.__struct_fields__, f"fields of {event_type.name}")
            raise DefinitionError(event_type.name, f"unknown field {field!r}", hint)
        return info

    def check_dtype(self, signal: Signal, field: FieldLike, returns: Dtype) -> None:
        """Raises ``DefinitionError`` where a field cannot be served as a feature of that type."""
        for event_type in self.matching(signal):
            if isinstance(field, str) and returns not in dtypes_of(info := self.info(event_type, field)):
                expected = " or ".join(dtypes_of(info)) or "a field inside of it"
                raise DefinitionError(
                    event_type.name, f"{field!r} is a {info}, not a {returns}", f"expected {expected}"
                )

    def value(self, w: FoldWriter, event_type: EventType, field: FieldLike, form: ValueForm) -> tuple[str, str | None]:
        """Source of a field's value, and of the test that it is given (None where it always is)."""
        if isinstance(field, LocalField):
            return self._local_value(w, field, form), None
        if isinstance(field, Computed):
            return self._computed_value(w, field, form)
        info = self.info(event_type, field)
        if form == "micro" and info.kind not in ("number", "amount", "flag"):
            numbers = fields_of(event_type.payload, "number", "amount", "flag")
            hint = f"numbers of {event_type.name}: {', '.join(numbers) or 'none'}"
            raise DefinitionError(event_type.name, f"{field!r} is a {info}, not a number", hint)
        if form == "key" and info.kind in ("list", "struct"):
            names = fields_of(event_type.payload, "text", "number", "amount", "flag", "mixed")
            problem = f"{field!r} is a {info}: only a text, a number or a flag names a thing"
            hint = f"those of {event_type.name}: {', '.join(names) or 'none'}"
            raise DefinitionError(event_type.name, problem, hint)
        raw = self._raw(w, event_type, field)
        given = _given(raw, info, form)
        code = _converted(raw, info, form)
        if code == raw:
            return raw, given
        if given is not None:
            code = f"{code} if {given} else None"
        return w.read(code, f"{field_name(field)}_{form}"), given

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
            return ["False"] if given is None else [given.replace(" is not ", " is ")]  # in raw form it is one test
        numeric = self._is_numeric(event_type, condition.field) and not isinstance(condition.operand, bool)
        self._check_operand(event_type, condition, is_numeric=numeric)
        value, given = self.value(w, event_type, condition.field, "micro" if numeric else "raw")
        test = _comparison(value, condition, in_micro=numeric)
        return [t for t in (given, test) if t is not None]

    def _is_numeric(self, event_type: EventType, field: FieldLike) -> bool:
        if isinstance(field, LocalField):
            return False
        if isinstance(field, Computed):
            return field.returns in (int, float)
        return self.info(event_type, field).kind in ("number", "amount")

    def _check_operand(self, event_type: EventType, condition: Condition, *, is_numeric: bool) -> None:
        """A test that can never be passed, or would raise on each event, is a mistake."""
        field, operand = condition.field, condition.operand
        operands = operand if condition.op == "isin" else (operand,)
        if is_numeric:
            wrong = [each for each in operands if isinstance(each, str | bool)]
            expected = "a number"
        elif isinstance(field, str):
            info = self.info(event_type, field)
            kind = {"text": str, "flag": bool}.get(info.kind, object)
            wrong = [each for each in operands if not isinstance(each, kind)]
            wrong += [each for each in operands if info.words and each not in info.words]
            expected = f"one of {', '.join(info.words)}" if info.words else f"a {info}"
        else:
            kind = str if field is TYPE else int if isinstance(field, LocalField) else object
            wrong = [each for each in operands if not isinstance(each, kind)]
            expected = f"{'the name of a type' if field is TYPE else 'a whole number'}"
        if wrong:
            raise DefinitionError(
                event_type.name, f"{field_name(field)!r} is compared with {wrong[0]!r}", f"expected {expected}"
            )

    def _raw(self, w: FoldWriter, event_type: EventType, field: str) -> str:
        payload, source, optional = event_type.payload, "p", False
        for name in field.split("."):
            info = field_info(payload, name)
            assert info is not None, field  # noqa: S101 - info() has walked the same path
            code = f"{source}.{name} if {source} else None" if optional else f"{source}.{name}"
            source = w.read(code, name)
            optional = optional or info.is_optional
            nested = _struct_types(payload, name)
            payload = nested[0] if nested else payload
        return source

    def _local_value(self, w: FoldWriter, field: LocalField, form: ValueForm) -> str:
        if field is TYPE:
            return repr(w.event_name) if form != "key" else w.read(f"key64({w.event_name!r})", "type_key")
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
        given = f"{raw} is not None"
        if form == "raw":
            return raw, given
        convert = f"bounded({raw})" if form == "micro" else f"key64(str({raw}))"
        return w.read(f"{convert} if {given} else None", f"{field.name}_{form}"), given


_UNITS = {"DAY": DAY_US, "HOUR": HOUR_US, "MINUTE": MINUTE_US, "SECOND": SECOND_US}


def _given(raw: str, info: FieldInfo, form: ValueForm) -> str | None:
    """Source of the test that a value is given. A null that clears is a value as it is, but no number and no key."""
    if not info.is_optional:
        return None
    if not info.clears:
        return f"{raw} is not None"
    return f"{raw} is not UNSET" if form == "raw" else f"{raw} is not UNSET and {raw} is not None"


def _converted(raw: str, info: FieldInfo, form: ValueForm) -> str:
    """Source of a field's value in a form."""
    if info.kind == "amount" and form != "key":
        return f"+{raw}"  # a plain integer: the state keeps no other
    if form == "raw":
        return raw
    if form == "key":
        return f"key64({raw})" if info.kind == "text" else f"key64(str({raw}))"
    return f"{raw} * MICRO" if info.is_whole or info.kind == "flag" else f"micro({raw})"


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
    declared = {each.name: each for each in declared_fields(payload)}[name].type
    members = declared.types if isinstance(declared, msgspec.inspect.UnionType) else (declared,)
    return [t.cls for t in members if isinstance(t, msgspec.inspect.StructType)]
