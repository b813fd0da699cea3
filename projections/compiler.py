"""From declarations to functions: generates, once at start, one straight-line function per event type and view.

As dataclasses generate theirs, so does a catalogue: slots of one object, no dispatch per feature. The source can
be printed (``CompiledFold.source``) and is a golden file of the tests.
"""

import linecache
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Any

from msgspec import UNSET

from eventstore.types import EventType
from kernel.errors import DefinitionError, LeadwheelError
from kernel.fixed import MICRO, micro
from kernel.keys import key64
from kernel.times import DAY_US, HOUR_US, MINUTE_US, SECOND_US, format_time
from projections.aggregators import runtime
from projections.expressions import Expr
from projections.language import FeatureSpec, View
from projections.local_time import LocalTime
from projections.plan import Plan, Slot, SlotKind
from projections.source import ViewWriter, python_name

#: Raised with every change of what the generated code or its runtime keeps in the state: old snapshots then refold.
STATE_FORMAT = 1

FoldFunction = Callable[[Any, int, Any, bool], bool]
ViewFunction = Callable[[Any, int], tuple[tuple[Any, ...], int]]


class CompiledFold:
    """The compiled catalogue of one kind of entity of one organisation.

    Attributes
    ----------
    source : the generated module, to be read.
    fingerprint : names the state's layout and the code that fills it.
    fold : event type → function(state, at_us, payload, is_ordered) → False where a refold is needed.
    views : view → function(state, at_us) → (values in order of declaration, instant of the next change).
    touched : event type → bit mask of the views that it may change.
    dump, load : the state as what msgpack can carry, and an equal state made of that again; ``load`` raises
        ``ValueError``, ``TypeError`` or ``OverflowError`` for what is no dump of this layout.
    """

    def __init__(self, types: Iterable[EventType], views: Sequence[View], local_time: LocalTime) -> None:
        self.plan = Plan(types, local_time)
        self.view_names = tuple(view.name for view in views)
        self._view_lines = [self._view(view) for view in views]
        self.plan.finish()
        self.slots = tuple(self.plan.slots)
        self._check_size()
        self.source = "\n".join(self._module()) + "\n"
        self.fingerprint = sha256(f"{STATE_FORMAT}\n{self.source}".encode()).hexdigest()[:16]
        module = self._run()
        self.new: Callable[[], Any] = module["State"]
        self.fold: dict[str, FoldFunction] = {t.name: module[f"fold_{t.name}"] for t in self.plan.types}
        self.views: dict[str, ViewFunction] = {name: module[f"view_{name}"] for name in self.view_names}
        self.dump: Callable[[Any], list[Any]] = module["dump"]
        self.load: Callable[[Sequence[Any]], Any] = module["load"]
        self.prune: Callable[[Any, int], None] = module["prune"]
        self.touched = {t.name: self._touched(t, views) for t in self.plan.types}

    def function_source(self, name: str) -> str:
        """Source of one generated function. Raises ``KeyError`` when there is none of that name."""
        lines = self.source.splitlines()
        start = lines.index(next((line for line in lines if line.startswith(f"def {name}(")), ""))
        if not lines[start]:
            raise KeyError(name)
        end = next((i for i in range(start + 1, len(lines)) if lines[i][:1] not in ("", " ")), len(lines))
        return "\n".join(lines[start:end]).rstrip() + "\n"

    def _view(self, view: View) -> list[str]:
        writer = ViewWriter(self.plan)
        values = [self._value(writer, spec) for spec in view.specs.values()]
        body = ["change = NEVER", *writer.lines, f"return ({', '.join(values)},), change"]
        return [f"def view_{python_name(view.name)}(s, at):", *(f"    {line}" for line in body)]

    def _value(self, writer: ViewWriter, spec: FeatureSpec) -> str:
        try:
            return writer.operand(spec.documented.expr, spec.name).code
        except DefinitionError as error:
            raise DefinitionError(
                spec.where, f"{spec.reference}: {error.where}: {error.problem}", error.hint
            ) from error
        except (TypeError, ValueError) as error:
            raise DefinitionError(spec.where, f"{spec.reference}: {error}") from error
        except RecursionError as error:
            raise DefinitionError(spec.where, f"{spec.reference}: refers to itself") from error

    def _touched(self, event_type: EventType, views: Sequence[View]) -> int:
        mask = 0
        for bit, view in enumerate(views):
            if any(affects(event_type, spec.documented.expr) for spec in view.specs.values()):
                mask |= 1 << bit
        return mask

    def _module(self) -> Iterator[str]:
        yield from ("class State:", f"    __slots__ = {tuple(s.name for s in self.slots)!r}", "")
        yield "    def __init__(self):"
        yield from (f"        self.{s.name} = {s.initial}" for s in self.slots)
        if not self.slots:
            yield "        pass"
        for event_type in self.plan.types:
            yield from ("", "", *self.plan.folds[event_type.name].source(f"fold_{event_type.name}"))
        yield from ("", "", "def prune(s, at):", *(f"    {line}" for line in self.plan.prune_lines or ["pass"]))
        for lines in self._view_lines:
            yield from ("", "", *lines)
        yield from _saving(self.slots)

    def _run(self) -> dict[str, Any]:
        filename = f"<leadwheel fold {self.fingerprint}>"
        module: dict[str, Any] = {
            "__name__": "leadwheel_fold",
            "array": array,
            "bisect_right": bisect_right,
            "UNSET": UNSET,
            "MICRO": MICRO,
            "SECOND": SECOND_US,
            "MINUTE": MINUTE_US,
            "HOUR": HOUR_US,
            "DAY": DAY_US,
            "micro": micro,
            "key64": key64,
            "format_time": format_time,
            "local_us": self.plan.local_time.local_us,
            **{name: getattr(runtime, name) for name in runtime.__all__},
            **self.plan.constants,
        }
        linecache.cache[filename] = (len(self.source), None, self.source.splitlines(keepends=True), filename)
        exec(compile(self.source, filename, "exec"), module)  # noqa: S102 - our own source, as dataclasses do
        return module

    def _check_size(self) -> None:
        if len(self.slots) > 20_000:
            raise LeadwheelError(f"a catalogue of {len(self.slots)} slots is not sensible")


def affects(event_type: EventType, expr: Expr) -> bool:
    """Whether an event of the type may change the expression's value."""
    return any(signal.matches(event_type) for signal in expr.listened())


def _saving(slots: Sequence[Slot]) -> Iterator[str]:
    """Source of ``dump`` and ``load``: most slots of most leads are empty, so what is None costs nothing."""
    yield from ("", "", "def dump(s):", "    return [")
    yield from (f"        {_dumping(slot.kind, f's.{slot.name}')}," for slot in slots)
    yield from ("    ]", "", "", "def load(dumped):", "    s = State()", "    (")
    yield from (f"        s.{slot.name}," for slot in slots)
    yield "    ) = dumped"
    for slot in slots:
        if slot.kind in _LOADING:
            test, code = _LOADING[slot.kind]
            yield from (
                f"    if {test.format(f's.{slot.name}')}:",
                f"        s.{slot.name} = {code.format(f's.{slot.name}')}",
            )
    yield "    return s"


def _dumping(kind: SlotKind, value: str) -> str:
    match kind:
        case "int":
            return f"{value} if -WIDE <= {value} < WIDE else str({value})"
        case "array":
            return f"None if {value} is None else packed({value})"
        case "dict":
            return f"None if {value} is None else listed({value})"
        case "list":
            return f"None if {value} is None else {value}[:]"
        case _:
            return value


_LOADING: dict[SlotKind, tuple[str, str]] = {
    "int": ("{0}.__class__ is not int", "int({0})"),
    "array": ("{0} is not None", "unpacked({0})"),
    "dict": ("{0} is not None", "unlisted({0})"),
    "plain": ("{0}.__class__ is list", "tuple({0})"),
}
