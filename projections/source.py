"""Writers of generated source: one function per event type, one per view.

The source is meant to be read (``leadwheel catalogue --source TYPE`` prints it): names are those of the
events and features, and equal expressions stand once.
"""

import keyword
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from projections.expressions import Expr, Operand

if TYPE_CHECKING:
    from projections.plan import Plan

_NOT_NAME = re.compile(r"\W+")


def python_name(text: str) -> str:
    """A Python identifier that reads like the text."""
    name = _NOT_NAME.sub("_", text).strip("_").lower() or "value"
    if name[0].isdigit():
        name = f"n{name}"
    return f"{name}_" if keyword.iskeyword(name) else name


class Names:
    """Distinct identifiers from wished-for ones."""

    def __init__(self, taken: tuple[str, ...] = ()) -> None:
        self._taken = set(taken)

    def fresh(self, wish: str) -> str:
        name, number = python_name(wish), 1
        while name in self._taken:
            number += 1
            name = f"{python_name(wish)}_{number}"
        self._taken.add(name)
        return name


class ViewWriter:
    """Collects the lines that compute a view's values from the state ``s`` as of ``at``.

    ``change`` is the local that holds the earliest instant at which a value may change.
    """

    def __init__(self, plan: "Plan") -> None:
        self.plan = plan
        self.lines: list[str] = []
        self._names = Names(("s", "at", "change", "DAY", "NEVER"))
        self._operands: dict[Expr, Operand] = {}
        self._shared: dict[object, Any] = {}
        self._codes: dict[str, str] = {}
        self._hint = "value"

    def line(self, text: str) -> None:
        self.lines.append(text)

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

    def changes_at(self, code: str) -> None:
        """Declare that a value may change at the instant that ``code`` gives."""
        self.line(f"if {code} < change:")
        self.line(f"    change = {code}")

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
    ``updates`` change the state, grouped under their conditions.
    """

    def __init__(self, event_name: str) -> None:
        self.event_name = event_name
        self.names = Names(("s", "at", "p", "is_ordered", "local"))
        self.reads: list[str] = []
        self.guards: list[str] = []
        self._updates: dict[tuple[str, ...], list[str]] = {}
        self._locals: dict[str, str] = {}

    def read(self, code: str, wish: str) -> str:
        """A local that holds the value of ``code``, read once."""
        name = self._locals.get(code)
        if name is None:
            name = self._locals[code] = self.names.fresh(wish)
            self.reads.append(f"{name} = {code}")
        return name

    def guard(self, test: str) -> None:
        """Where ``test`` holds, an event that comes out of order cannot be folded in place."""
        if test not in self.guards:
            self.guards.append(test)

    def update(self, conditions: tuple[str, ...], lines: list[str]) -> None:
        self._updates.setdefault(conditions, []).extend(lines)

    def source(self, function_name: str) -> list[str]:
        body = list(self.reads)
        if self.guards:
            tests = " or ".join(self.guards)
            body += [f"if not is_ordered and ({tests}):", "    return False"]
        for conditions in sorted(self._updates, key=len):
            lines = self._updates[conditions]
            if conditions:
                body.append(f"if {' and '.join(conditions)}:")
                body += [f"    {line}" for line in lines]
            else:
                body += lines
        body.append("return True")
        return [f"def {function_name}(s, at, p, is_ordered):", *(f"    {line}" for line in body)]
