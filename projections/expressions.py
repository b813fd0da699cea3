"""Expressions over aggregates: how a feature's value follows from what the state keeps.

A node is immutable and compares by content, so equal expressions are computed once. Each node can write the
lines of Python that compute it (``emit``); null is ``None`` and spreads through every operation that does not
say otherwise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, overload

from projections.signals import Signal
from projections.windows import Window, window_of
from projections.wording import hinted

if TYPE_CHECKING:
    from projections.source import ViewWriter

Dtype = Literal["int", "float", "string", "list"]
ExprLike = "Expr | int | float | str | None"

#: Thresholds on floats hold within this (law 7 of the feature specification).
TOLERANCE = 1e-9


class Operand(NamedTuple):
    """Python source of a value, and whether it may be None."""

    code: str
    is_nullable: bool


class Expr(ABC):
    """A value as of a time. Operators build larger expressions."""

    @property
    @abstractmethod
    def dtype(self) -> Dtype: ...

    @abstractmethod
    def emit(self, w: ViewWriter) -> Operand: ...

    def parts(self) -> tuple[Expr, ...]:
        """The expressions that this one is made of."""
        return ()

    def signals(self) -> tuple[Signal, ...]:
        """The signals that this node itself listens to."""
        return ()

    def listened(self) -> Iterator[Signal]:
        """The signals that the whole expression listens to."""
        yield from self.signals()
        for part in self.parts():
            yield from part.listened()

    def nodes(self) -> Iterator[Expr]:
        """The expression itself and everything that it is made of, from the whole to the parts."""
        yield self
        for part in self.parts():
            yield from part.nodes()

    def label(self) -> str | None:
        """What a feature of this is called where no name is given: ``<signal>_<aggregate>_<window>``, or None."""
        return None

    def within(self, window: Window) -> Expr:
        """The same, with every aggregate in it seen through a window. Raises ``TypeError`` where that makes no sense."""
        return mapped(self, lambda part: part.within(window))

    @overload
    def over(self, window: Window | int, /) -> Expr: ...

    @overload
    def over(self, window: Window | int, /, *more: Window | int) -> Spread: ...

    def over(self, window: Window | int, /, *more: Window | int) -> Expr | Spread:
        """The same within a window (a plain number is days), or within each of several.

        A window is the half-open interval (τ − w, τ]. An expression over a window is that of its parts over it.
        """
        windows = [window_of(each) for each in (window, *more)]
        if not more:
            return self.within(windows[0])
        return Spread(tuple((each, Documented(self.within(each))) for each in windows))

    def doc(
        self, text: str, *, unit: str = "", range: str = "", null: str = "", vocabulary: Iterable[str] = ()
    ) -> Documented:
        """Say what a feature means: a sentence, its unit, its range, what null means, the words of a category."""
        return Documented(self, text, unit, range, null, tuple(vocabulary))

    def __add__(self, other: Any) -> Expr:
        return Arithmetic("+", self, lift(other))

    def __radd__(self, other: Any) -> Expr:
        return Arithmetic("+", lift(other), self)

    def __sub__(self, other: Any) -> Expr:
        return Arithmetic("-", self, lift(other))

    def __rsub__(self, other: Any) -> Expr:
        return Arithmetic("-", lift(other), self)

    def __mul__(self, other: Any) -> Expr:
        return Arithmetic("*", self, lift(other))

    def __rmul__(self, other: Any) -> Expr:
        return Arithmetic("*", lift(other), self)

    def __truediv__(self, other: Any) -> Expr:
        return Arithmetic("/", self, lift(other))

    def __rtruediv__(self, other: Any) -> Expr:
        return Arithmetic("/", lift(other), self)

    def __ge__(self, other: Any) -> Condition:
        return Compare(">=", self, lift(other))

    def __gt__(self, other: Any) -> Condition:
        return Compare(">", self, lift(other))

    def __le__(self, other: Any) -> Condition:
        return Compare("<=", self, lift(other))

    def __lt__(self, other: Any) -> Condition:
        return Compare("<", self, lift(other))

    def __bool__(self) -> bool:
        hint = "say both(…, …) for and, either(…, …) for or, when(…, …, …) for if"
        raise hinted(TypeError("what an expression is, is known only when it is read"), hint)

    def equals(self, other: Any) -> Condition:
        """Whether both are the same; ``==`` itself compares the expressions, not their values."""
        return Compare("==", self, lift(other))


@dataclass(frozen=True)
class Documented:
    """An expression with what the catalogue says of it."""

    expr: Expr
    text: str = ""
    unit: str = ""
    range: str = ""
    null: str = ""
    vocabulary: tuple[str, ...] = ()


@dataclass(frozen=True)
class Spread:
    """One expression over several windows: a feature for each, its name and text with ``{w}`` for the window's."""

    over: tuple[tuple[Window, Documented], ...]

    def doc(
        self, text: str, *, unit: str = "", range: str = "", null: str = "", vocabulary: Iterable[str] = ()
    ) -> Spread:
        """Say what the features mean, ``{w}`` standing for the window."""
        words = tuple(vocabulary)
        return Spread(
            tuple(
                (w, Documented(each.expr, text.replace("{w}", w.name), unit, range, null.replace("{w}", w.name), words))
                for w, each in self.over
            )
        )


E = TypeVar("E", bound=Expr)


def mapped(expr: E, change: Callable[[Expr], Expr]) -> E:
    """The expression made of changed parts; itself where none changes."""
    if not is_dataclass(expr):
        return expr
    changed: dict[str, Any] = {}
    for each in fields(expr):
        value = getattr(expr, each.name)
        if isinstance(value, Expr):
            changed[each.name] = change(value)
        elif isinstance(value, tuple) and any(isinstance(one, Expr) for one in value):
            changed[each.name] = tuple(change(one) if isinstance(one, Expr) else one for one in value)
    return replace(expr, **changed) if changed else expr


class Condition(Expr):
    """A claim: true, or else false. A comparison with null is false."""

    @property
    def dtype(self) -> Dtype:
        return "int"


@dataclass(frozen=True)
class Constant(Expr):
    """A literal, None included. ``kind`` keeps 1 and 1.0 apart, which compare equal."""

    value: int | float | str | None
    kind: Dtype = "float"

    @property
    def dtype(self) -> Dtype:
        return self.kind

    def emit(self, w: ViewWriter) -> Operand:
        return Operand(repr(self.value), self.value is None)


def lift(value: Any) -> Expr:
    """An expression from an expression or a literal. Raises ``TypeError`` for anything else."""
    if isinstance(value, Expr):
        return value
    if value is None or isinstance(value, float):
        return Constant(value)
    if isinstance(value, int | str):
        return Constant(value, "string" if isinstance(value, str) else "int")
    raise TypeError(f"not an expression, number or string: {value!r}")


@dataclass(frozen=True)
class Arithmetic(Expr):
    """``+ - * /``; division by zero is null, and so is what is not finite."""

    op: Literal["+", "-", "*", "/"]
    left: Expr
    right: Expr

    def __post_init__(self) -> None:
        for side in (self.left, self.right):
            if side.dtype not in ("int", "float"):
                hint = "count() and distinct(…) make numbers of texts, when(….equals(…), 1, 0) of one of them"
                raise hinted(TypeError(f"{self.op} needs numbers, not a {side.dtype}"), hint)

    @property
    def dtype(self) -> Dtype:
        return "int" if self.op != "/" and self.left.dtype == self.right.dtype == "int" else "float"

    def parts(self) -> tuple[Expr, ...]:
        return self.left, self.right

    def emit(self, w: ViewWriter) -> Operand:
        left, right = w.operand(self.left), w.operand(self.right)
        tests = [f"{side.code} is not None" for side in (left, right) if side.is_nullable]
        if self.op == "/" and not (isinstance(self.right, Constant) and self.right.value):
            tests = [t for t in tests if not t.startswith(f"{right.code} ")] + [right.code]
        code = f"{left.code} {self.op} {right.code}"
        if self._may_overflow():
            return Operand(w.named(f"finite({code}){_where(tests)}"), True)
        return Operand(w.named(code + _where(tests)), bool(tests))

    def _may_overflow(self) -> bool:
        """Whether the result may not be finite: no sum of features reaches 10³⁰⁸, a product or a quotient of two might."""
        sides = (self.right,) if self.op == "/" else (self.left, self.right)
        return self.op in "*/" and all(s.dtype == "float" and not isinstance(s, Constant) for s in sides)


def _where(tests: list[str]) -> str:
    return f" if {' and '.join(tests)} else None" if tests else ""


@dataclass(frozen=True)
class Extreme(Expr):
    """The least or the greatest of two numbers; null if either is."""

    which: Literal["min", "max"]
    left: Expr
    right: Expr

    @property
    def dtype(self) -> Dtype:
        return "int" if self.left.dtype == self.right.dtype == "int" else "float"

    def parts(self) -> tuple[Expr, ...]:
        return self.left, self.right

    def emit(self, w: ViewWriter) -> Operand:
        left, right = w.operand(self.left), w.operand(self.right)
        sign = "<=" if self.which == "min" else ">="
        code = f"{left.code} if {left.code} {sign} {right.code} else {right.code}"
        tests = [f"{side.code} is None" for side in (left, right) if side.is_nullable]
        if not tests:
            return Operand(w.named(code), False)
        return Operand(w.named(f"None if {' or '.join(tests)} else {code}"), True)


def ratio(part: Any, whole: Any) -> Expr:
    """``part / whole``; null where the whole is 0."""
    return lift(part) / lift(whole)


def least(left: Any, right: Any) -> Expr:
    """The smaller of two."""
    return Extreme("min", lift(left), lift(right))


def greatest(left: Any, right: Any) -> Expr:
    """The larger of two."""
    return Extreme("max", lift(left), lift(right))


@dataclass(frozen=True)
class IfNull(Expr):
    """The first, or where it is null the second."""

    value: Expr
    default: Expr

    @property
    def dtype(self) -> Dtype:
        if self.value.dtype == "int" and self.default.dtype == "float":
            return "float"
        return self.value.dtype

    def parts(self) -> tuple[Expr, ...]:
        return self.value, self.default

    def emit(self, w: ViewWriter) -> Operand:
        value, default = w.operand(self.value), w.operand(self.default)
        if not value.is_nullable:
            return value
        code = f"{value.code} if {value.code} is not None else {default.code}"
        return Operand(w.named(code), default.is_nullable)


def if_null(value: Any, default: Any) -> Expr:
    """``value``, or ``default`` where it is null."""
    return IfNull(lift(value), lift(default))


@dataclass(frozen=True)
class Compare(Condition):
    """A comparison of numbers or strings. ``>=`` and ``<=`` between floats hold within ``TOLERANCE``."""

    op: Literal[">=", ">", "<=", "<", "=="]
    left: Expr
    right: Expr

    def __post_init__(self) -> None:
        kinds = {_comparable(side.dtype) for side in (self.left, self.right) if side != Constant(None)}
        if len(kinds) > 1 or "list" in kinds:
            problem = f"a {self.left.dtype} is compared with a {self.right.dtype}"
            raise hinted(TypeError(problem), "numbers are compared with numbers, texts with texts")

    def parts(self) -> tuple[Expr, ...]:
        return self.left, self.right

    def emit(self, w: ViewWriter) -> Operand:
        left, right = w.operand(self.left), w.operand(self.right)
        bound = right.code
        if "float" in (self.left.dtype, self.right.dtype) and self.op in (">=", "<="):
            bound = f"{bound} {'-' if self.op == '>=' else '+'} {TOLERANCE!r}"
        tests = [f"{side.code} is not None" for side in (left, right) if side.is_nullable]
        return Operand("(" + " and ".join([*tests, f"{left.code} {self.op} {bound}"]) + ")", False)


@dataclass(frozen=True)
class Logical(Condition):
    """Both of two claims, or at least one."""

    op: Literal["and", "or"]
    left: Condition
    right: Condition

    def parts(self) -> tuple[Expr, ...]:
        return self.left, self.right

    def emit(self, w: ViewWriter) -> Operand:
        return Operand(f"({w.operand(self.left).code} {self.op} {w.operand(self.right).code})", False)


def both(left: Condition, right: Condition) -> Condition:
    """Whether both hold."""
    return Logical("and", left, right)


def either(left: Condition, right: Condition) -> Condition:
    """Whether at least one holds."""
    return Logical("or", left, right)


@dataclass(frozen=True)
class When(Expr):
    """One of two values, by a claim. Only the claim decides what is evaluated into the answer."""

    claim: Condition
    then: Expr
    otherwise: Expr

    def __post_init__(self) -> None:
        _common_dtype(self.then, self.otherwise)

    @property
    def dtype(self) -> Dtype:
        return _common_dtype(self.then, self.otherwise)

    def parts(self) -> tuple[Expr, ...]:
        return self.claim, self.then, self.otherwise

    def emit(self, w: ViewWriter) -> Operand:
        claim, then, otherwise = w.operand(self.claim), w.operand(self.then), w.operand(self.otherwise)
        code = f"{then.code} if {claim.code} else {otherwise.code}"
        return Operand(w.named(code), then.is_nullable or otherwise.is_nullable)


def _comparable(dtype: Dtype) -> str:
    return "number" if dtype in ("int", "float") else dtype


def _common_dtype(then: Expr, otherwise: Expr) -> Dtype:
    sides = {side.dtype for side in (then, otherwise) if side != Constant(None)}
    if sides == {"int", "float"}:
        return "float"
    if len(sides) != 1:
        problem = f"both sides of when() need one type, not {' and '.join(sorted(sides)) or 'null'}"
        raise hinted(TypeError(problem), "two numbers, or two texts; a side that is left out is null")
    return sides.pop()


def when(claim: Condition, then: Any, otherwise: Any = None) -> Expr:
    """``then`` where the claim holds, else ``otherwise`` (null unless given)."""
    return When(claim, lift(then), lift(otherwise))


@dataclass(frozen=True)
class Halving(Expr):
    """2^(−x / half_life); null where x is."""

    value: Expr
    half_life: float

    @property
    def dtype(self) -> Dtype:
        return "float"

    def parts(self) -> tuple[Expr, ...]:
        return (self.value,)

    def emit(self, w: ViewWriter) -> Operand:
        value = w.operand(self.value)
        code = f"2.0 ** (-{value.code} / {self.half_life!r})"
        if value.is_nullable:
            code = f"{code} if {value.code} is not None else None"
        return Operand(w.named(code), value.is_nullable)


@dataclass(frozen=True)
class Apply(Expr):
    """A pack's own function of other values; null if one of them is, or if it raises an arithmetic error."""

    function: Callable[..., Any]
    arguments: tuple[Expr, ...]
    returns: Dtype

    @property
    def dtype(self) -> Dtype:
        return self.returns

    @property
    def name(self) -> str:
        return getattr(self.function, "__name__", type(self.function).__name__)

    def parts(self) -> tuple[Expr, ...]:
        return self.arguments

    def emit(self, w: ViewWriter) -> Operand:
        operands = [w.operand(each) for each in self.arguments]
        call = f"applied({', '.join([w.constant(self.function, self.name), *(o.code for o in operands)])})"
        return Operand(w.named(call), True)


def apply(function: Callable[..., Any], *arguments: Any, returns: Dtype) -> Expr:
    """A Python function of other values, called at read; it must depend on nothing else."""
    return Apply(function, tuple(lift(a) for a in arguments), returns)
