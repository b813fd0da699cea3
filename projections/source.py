"""Writers of generated source: one function per event type, one per view.

The source is meant to be read (``leadwheel catalogue --source TYPE`` prints it): names are those of the
events and features, equal expressions stand once, and what belongs together stands in one paragraph.
"""

import builtins
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from projections.aggregators import runtime
from projections.expressions import Expr, Operand
from projections.signals import python_name

if TYPE_CHECKING:
    from projections.plan import Plan

#: What generated functions call or hand on; no field and no feature may be called so in them.
# fmt: off
_GLOBALS = (
    "s", "at", "p", "is_ordered", "change", "array", "bisect_right", "UNSET", "MICRO", "SECOND", "MINUTE", "HOUR", "DAY",
    "micro", "key64", "format_time", "local_us",
)

#: Locals that one paragraph of a fold or view assigns and the next may assign again.
SCRATCH = (
    "times", "totals", "values", "counts", "marks", "old", "new", "index", "latest", "recent", "opened", "sent", "early",
    "caused", "waiting", "steps", "dates", "was", "gap", "switched", "leaves",
)
# fmt: on

RESERVED = frozenset([*_GLOBALS, *SCRATCH, *runtime.__all__, *dir(builtins)])


class Names:
    """Distinct identifiers from wished-for ones, none of which hides what the code around them calls."""

    def __init__(self, reserved: Iterable[str] = RESERVED) -> None:
        self._taken = set(reserved)

    def fresh(self, wish: str) -> str:
        base = python_name(wish)
        name, number = base, 1
        while name in self._taken:
            number += 1
            name = f"{base}_{number}"
        self._taken.add(name)
        return name


class ViewWriter:
    """Collects the lines that compute a view's values from the state ``s`` as of ``at``.

    ``change`` is the local that holds the earliest instant at which a value may change.
    """

    def __init__(self, plan: "Plan") -> None:
        self.plan = plan
        self._parts: list[str | Callable[[], Iterable[str]]] = []
        self._names = Names()
        self._operands: dict[Expr, Operand] = {}
        self._shared: dict[object, Any] = {}
        self._codes: dict[str, str] = {}
        self._hint = "value"

    def line(self, text: str) -> None:
        self._parts.append(text)

    def later(self, lines: Callable[[], Iterable[str]]) -> None:
        """Lines at this place that are known when the whole view is."""
        self._parts.append(lines)

    def lines(self) -> Iterator[str]:
        for part in self._parts:
            if isinstance(part, str):
                yield part
            else:
                yield from part()

    def fresh(self, wish: str) -> str:
        return self._names.fresh(wish)

    def named(self, code: str, wish: str | None = None) -> str:
        """A local that holds the value of ``code``; the same code gives the same local."""
        name = self._codes.get(code)
        if name is None:
            name = self._codes[code] = self.fresh(wish or self._hint)
            self.line(f"{name} = {code}")
        return name

    def share(self, key: object, make: Callable[[], Any]) -> Any:
        """Whatever ``make`` returns, made (and its lines written) once per view."""
        if key not in self._shared:
            self._shared[key] = make()
        return self._shared[key]

    def changes_at(self, instant: str, test: str) -> None:
        """Declare that, where ``test`` holds, a value may change at an instant."""
        self.line(f"if {test} and (leaves := {instant}) < change:")
        self.line("    change = leaves")

    def constant(self, value: object, wish: str) -> str:
        return self.plan.constant(value, wish)

    def operand(self, expr: Expr, hint: str | None = None) -> Operand:
        """The operand of an expression, written once."""
        found = self._operands.get(expr)
        if found is None:
            outer, self._hint = self._hint, hint or self._hint
            found = self._operands[expr] = expr.emit(self)
            self._hint = outer
        return found


class FoldWriter:
    """Collects the lines with which one event type changes the state.

    Three phases, in this order: ``reads`` take values from the payload ``p`` (only they can raise, so a
    poisonous event leaves the state untouched), ``guards`` ask for a refold where the event comes too late,
    ``updates`` change the state, in paragraphs grouped under their conditions.
    """

    def __init__(self, event_name: str) -> None:
        self.event_name = event_name
        self._names = Names()
        self._reads: list[str] = []
        self._guards: list[str] = []
        self._updates: dict[tuple[str, ...], list[list[str]]] = {}
        self._locals: dict[str, str] = {}

    def read(self, code: str, wish: str) -> str:
        """A local that holds the value of ``code``, read once."""
        name = self._locals.get(code)
        if name is None:
            name = self._locals[code] = self._names.fresh(wish)
            self._reads.append(f"{name} = {code}")
        return name

    def guard(self, test: str) -> None:
        """Where ``test`` holds, an event that comes out of order cannot be folded in place."""
        if test not in self._guards:
            self._guards.append(test)

    def update(self, conditions: tuple[str, ...], lines: list[str]) -> None:
        """A paragraph that runs where all conditions hold."""
        if "False" not in conditions:
            self._updates.setdefault(conditions, []).append(lines)

    def source(self, function_name: str, doc: str) -> list[str]:
        paragraphs = [self._reads] if self._reads else []
        if self._guards:
            paragraphs.append([f"if not is_ordered and ({' or '.join(self._guards)}):", "    return False"])
        for conditions in sorted(self._updates, key=len):
            updates = self._updates[conditions]
            if conditions:
                paragraphs.append([f"if {' and '.join(conditions)}:", *indented(spaced(updates))])
            else:
                paragraphs += updates
        body = [doc, *spaced([*paragraphs, ["return True"]])]
        return [f"def {function_name}(s, at, p, is_ordered):", *indented(body)]


def spaced(paragraphs: Iterable[list[str]]) -> Iterator[str]:
    """Paragraphs with an empty line between, where one of two neighbours is longer than two lines."""
    before: list[str] | None = None
    for lines in paragraphs:
        if before is not None and max(len(before), len(lines)) > 2:
            yield ""
        yield from lines
        before = lines


def indented(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield f"    {line}" if line else ""


def made(local: str, slot: str, initial: str) -> list[str]:
    """Lines that bind a local to what a slot holds, made when the slot is empty."""
    return [f"{local} = {slot}", f"if {local} is None:", f"    {local} = {slot} = {initial}"]
