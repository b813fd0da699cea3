"""Definitions as text that is equal for equal definitions in every process: what fingerprints are taken of.

A function counts with its source and with what it refers to: constants, and functions and classes of its own top-level
package, as far as they lead. What it calls in other packages counts by name only.
"""

import builtins
import inspect
import re
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from hashlib import sha256
from typing import Any

import msgspec

from eventstore.types import EventType, Payload
from projections.expressions import Expr
from projections.fields import declared_fields
from projections.signals import Computed, Signal

_PLAIN = (str, bytes, int, float, bool, complex, type(None), re.Pattern)


def digest(*parts: str) -> str:
    """Sixteen hexadecimal digits that stand for texts."""
    return sha256("\n".join(parts).encode()).hexdigest()[:16]


def definition(value: Any) -> str:
    """A value, expression or function as text."""
    return _Writer().text(value)


def payload_definition(event_type: EventType, names: Iterable[str] | None = None) -> str:
    """What an event type's payload declares of some fields (None: of all): their types, bounds and defaults."""
    declared = _fields(event_type.payload)
    wanted = declared if names is None else [name for name in declared if name in set(names)]
    return f"{event_type.name}({'; '.join(declared[name] for name in wanted)})"


@cache
def _fields(payload: type[msgspec.Struct]) -> dict[str, str]:
    return {
        field.name: f"{field.encode_name}={field.type!r} required={field.required} default={field.default!r}"
        for field in declared_fields(payload)
    }


def payload_definitions(text: str, affected_by: Iterable[EventType]) -> list[str]:
    """What an expression, given by its text, reads of the payloads of the types that move it.

    A field is taken as read where the text names it, and every field where a function reads the payload: rather one too
    many than one too few.
    """
    words = None if "Computed(" in text else set(re.findall(r"\w+", text))
    return [payload_definition(each, words) for each in affected_by]


class _Writer:
    """Writes one definition; what it has met already is only named, so that circles end."""

    def __init__(self) -> None:
        self._met: set[int] = set()

    def text(self, value: Any) -> str:
        if isinstance(value, _PLAIN):
            return repr(value)
        if isinstance(value, tuple | list):
            return f"[{', '.join(self.text(each) for each in value)}]"
        if isinstance(value, set | frozenset):
            return f"{{{', '.join(sorted(self.text(each) for each in value))}}}"
        if isinstance(value, Mapping):
            return f"{{{', '.join(f'{self.text(k)}: {self.text(v)}' for k, v in value.items())}}}"
        if isinstance(value, type):
            return self._class(value)
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, types.MethodType):
            return f"{self._function(value.__func__)} of {self.text(value.__self__)}"
        if isinstance(value, types.ModuleType):
            return value.__name__
        if is_dataclass(value):
            return self._dataclass(value)
        return self._object(value)

    def _dataclass(self, value: Any) -> str:
        inner = ", ".join(f"{f.name}={self.text(getattr(value, f.name))}" for f in fields(value) if f.compare)
        kind = type(value)
        is_ours = isinstance(value, Expr | Signal | Computed) or kind.__module__.startswith("projections.")
        return f"{kind.__name__ if is_ours and not callable(value) else self._class(kind)}({inner})"

    def _object(self, value: Any) -> str:
        if inspect.isroutine(value) or isinstance(value, types.BuiltinFunctionType):
            return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', repr(value))}"
        if id(value) in self._met:
            return type(value).__name__
        self._met.add(id(value))
        if isinstance(value, msgspec.Struct):
            inner = {name: getattr(value, name) for name in value.__struct_fields__}
        else:
            inner = dict(getattr(value, "__dict__", {}))
            inner |= {n: getattr(value, n) for n in getattr(value, "__slots__", ()) if hasattr(value, n)}
        if not inner and "__repr__" in vars(type(value)):
            return f"{self._class(type(value))}{value!r}"
        return f"{self._class(type(value))}{self.text(inner)}"

    def _class(self, value: Any) -> str:
        name: str = f"{value.__module__}.{value.__qualname__}"
        if issubclass(value, Payload):
            return name  # what it declares counts field by field
        if id(value) in self._met or value.__module__ in ("builtins", "typing"):
            return str(value.__qualname__)
        self._met.add(id(value))
        return f"{name}:{digest(_source(value))}"

    def _function(self, function: Any) -> str:
        if id(function) in self._met:
            return str(function.__qualname__)
        self._met.add(id(function))
        code = function.__code__
        cells = zip(code.co_freevars, function.__closure__ or (), strict=False)
        around = {name: cell.cell_contents for name, cell in cells if _is_filled(cell)}
        around |= {name: function.__globals__[name] for name in sorted(_names_in(code)) if name in function.__globals__}
        home: str = _package(function)
        used = {
            name: self.text(each) if _is_own(each, home) else _name(each)
            for name, each in around.items()
            if getattr(builtins, name, None) is not each
        }
        return f"{function.__qualname__}:{digest(_source(function), repr(sorted(used.items())))}"


def _names_in(code: types.CodeType) -> set[str]:
    """Global names that a function's code, and the code inside of it, may refer to."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names_in(constant)
    return names


def _is_filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:  # a name that the function around has not assigned yet
        return False


def _is_own(value: Any, home: str) -> bool:
    if isinstance(value, type | types.FunctionType):
        return _package(value) == home
    return not isinstance(value, types.ModuleType)


def _package(value: type | types.FunctionType) -> str:
    return (value.__module__ or "").partition(".")[0]


def _name(value: Any) -> str:
    return (
        f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', getattr(value, '__name__', repr(value)))}"
    )


@cache
def _source(value: Callable[..., Any] | type) -> str:
    try:
        return inspect.getsource(value)
    except (OSError, TypeError):
        code = getattr(value, "__code__", None)
        return repr(code.co_code) + repr(code.co_consts) if code is not None else repr(value)
