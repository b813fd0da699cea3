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
from projections.definitions import definition, payload_definition
from projections.expressions import Expr
from projections.language import FeatureSpec, View
from projections.local_time import LocalTime
from projections.plan import Plan, Slot, SlotKind
from projections.signals import python_name
from projections.source import ViewWriter, indented
from projections.wording import hint_for

#: Raised with every change of what the generated code or its runtime keeps in the state: old snapshots then refold.
STATE_FORMAT = 3

FoldFunction = Callable[[Any, int, Any, bool], bool]
ViewFunction = Callable[[Any, int], tuple[tuple[Any, ...], int]]


class CompiledFold:
    """The compiled catalogue of one kind of entity of one organisation.

    Attributes
    ----------
    source : the generated module, to be read.
    fingerprint : names the state's layout and all that fills it: the code, the functions of packs that it calls, the
        payloads' declarations, the time zone.
    fold : event type → function(state, at_us, payload, is_ordered) → False where a refold is needed.
    views : view → function(state, at_us) → (values in order of declaration, instant of the next change).
    identity : likewise a lead's name, e-mail and company; None where no pack says who a lead is.
    moves : event type → references of the features that it may change.
    touched : event type → bit mask of the views that it may change.
    dump, load : the state as what msgpack can carry, and an equal state made of that again; ``load`` raises
        ``ValueError``, ``TypeError`` or ``OverflowError`` for what is no dump of this layout.
    """

    def __init__(
        self, types: Iterable[EventType], views: Sequence[View], local_time: LocalTime, identity: View | None = None
    ) -> None:
        self.plan = Plan(types, local_time)
        self.view_names = tuple(view.name for view in views)
        self.moves = {t.name: _moved(t, views) for t in self.plan.types}
        writers = [self._view(f"view_{python_name(view.name)}", view) for view in views]
        if identity is not None:
            writers.append(self._view("identity", identity))
        self.plan.finish()
        self._view_lines = [list(lines()) for lines in writers]
        self.slots = tuple(self.plan.slots)
        self._check_size()
        self.source = "\n".join(self._module()) + "\n"
        self.fingerprint = sha256("\n".join(self._essence()).encode()).hexdigest()[:16]
        module = self._run()
        self.new: Callable[[], Any] = module["State"]
        self.fold: dict[str, FoldFunction] = {t.name: module[f"fold_{t.name}"] for t in self.plan.types}
        self.views: dict[str, ViewFunction] = {name: module[f"view_{name}"] for name in self.view_names}
        self.identity: ViewFunction | None = module.get("identity")
        self.dump: Callable[[Any], list[Any]] = module["dump"]
        self.load: Callable[[Sequence[Any]], Any] = module["load"]
        self.prune: Callable[[Any, int], None] = module["prune"]
        self.touched = {name: self._mask(moved) for name, moved in self.moves.items()}

    def function_source(self, name: str) -> str:
        """Source of one generated function. Raises ``KeyError`` when there is none of that name."""
        lines = self.source.splitlines()
        start = lines.index(next((line for line in lines if line.startswith(f"def {name}(")), ""))
        if not lines[start]:
            raise KeyError(name)
        end = next((i for i in range(start + 1, len(lines)) if lines[i][:1] not in ("", " ")), len(lines))
        return "\n".join(lines[start:end]).rstrip() + "\n"

    def _view(self, name: str, view: View) -> Callable[[], Iterator[str]]:
        """Register what a view needs; its lines are known when all views are."""
        writer = ViewWriter(self.plan)
        values = [self._value(writer, spec) for spec in view.specs.values()]

        def lines() -> Iterator[str]:
            yield f"def {name}(s, at):"
            yield from indented((_doc(view.description), "change = NEVER", *writer.lines(), "return ("))
            yield from (f"        {value}," for value in values)
            yield "    ), change"

        return lines

    def _value(self, writer: ViewWriter, spec: FeatureSpec) -> str:
        self.plan.registering = (spec.where, spec.reference)
        try:
            return writer.operand(spec.documented.expr, spec.name).code
        except DefinitionError as error:
            raise DefinitionError(
                spec.where, f"{spec.reference}: {error.where}: {error.problem}", error.hint
            ) from error
        except (TypeError, ValueError) as error:
            raise DefinitionError(spec.where, f"{spec.reference}: {error}", hint_for(error)) from error

    def _mask(self, moved: Sequence[str]) -> int:
        views = {reference.partition(":")[0] for reference in moved}
        return sum(1 << bit for bit, name in enumerate(self.view_names) if name in views)

    def _essence(self) -> Iterator[str]:
        """All that decides what the state of an entity is; words for the reader do not."""
        yield f"{STATE_FORMAT} {self.plan.local_time.zone}"
        yield from (line for line in self.source.splitlines() if not line.startswith('    """'))
        constants = {name: value for name, value in self.plan.constants.items() if value is not self.plan.local_time}
        yield from (f"{name} = {definition(value)}" for name, value in constants.items())
        yield from (payload_definition(each) for each in self.plan.types)

    def _module(self) -> Iterator[str]:
        yield from (f"{name} = {code}" for name, code in self.plan.durations.items())
        yield from ("", "", "class State:", f"    __slots__ = {tuple(s.name for s in self.slots)!r}", "")
        yield "    def __init__(self):"
        yield from (f"        self.{s.name} = {s.initial}" for s in self.slots)
        if not self.slots:
            yield "        pass"
        for event_type in self.plan.types:
            yield from ("", "", *self._fold(event_type))
        yield from ("", "", "def prune(s, at):", *(f"    {line}" for line in self.plan.prune_lines or ["pass"]))
        for lines in self._view_lines:
            yield from ("", "", *lines)
        yield from _saving(self.slots)

    def _fold(self, event_type: EventType) -> list[str]:
        doc = _doc(f"Moves {_listed(self.moves[event_type.name])}.")
        return self.plan.folds[event_type.name].source(f"fold_{event_type.name}", doc)

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


def _moved(event_type: EventType, views: Sequence[View]) -> tuple[str, ...]:
    return tuple(
        spec.reference for view in views for spec in view.specs.values() if affects(event_type, spec.documented.expr)
    )


def _listed(moved: Sequence[str]) -> str:
    """Features by name where they are few, else how many of each view."""
    if len(moved) <= 4:
        return ", ".join(moved) or "no feature"
    counts: dict[str, int] = {}
    for reference in moved:
        view = reference.partition(":")[0]
        counts[view] = counts.get(view, 0) + 1
    return f"{len(moved)} features: " + ", ".join(f"{count} of {view}" for view, count in counts.items())


def _doc(text: str) -> str:
    """A docstring line of any text."""
    plain = text.replace("\\", "/").replace('"', "'").replace("\n", " ")
    return f'"""{plain}"""'


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
        case "array" | "tallies":
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
    "tallies": ("{0} is not None", "unpacked({0}, 'I')"),
    "dict": ("{0} is not None", "unlisted({0})"),
    "plain": ("{0}.__class__ is list", "tuple({0})"),
}
