"""Whether an event that came again is the same: equal type, equal payload, equal time if it names one.

Payloads are compared as their types read them (``12.5`` is ``"12.50"``, any order of keys, null or a given
default is absent); fields that the type does not declare are compared as JSON values, where 1 is 1.0 and
true is not 1. ``source`` is not compared.
"""

from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple

import msgspec
from msgspec import inspect

from eventstore.event import Event, NewEvent
from eventstore.types import EventTypes
from eventstore.wording import shorten, text_at, write_path
from kernel.times import format_time

_Path = list[str | int]

# Decimals: a number is what its text says, and one beyond float64's range is still comparable.
_JSON = msgspec.json.Decoder(float_hook=Decimal)


class Difference(NamedTuple):
    """The first thing in which two events of one id differ: ``expected`` is stored, ``actual`` came later."""

    path: str
    expected: str
    actual: str


def difference(stored: Event, later: NewEvent, types: EventTypes) -> Difference | None:
    """What makes the later event another one than the stored; None when it is the same."""
    if stored.type != later.type:
        return Difference("type", shorten(stored.type), shorten(later.type))
    if later.has_time and stored.at_us != later.at_us:
        return Difference("time", format_time(stored.at_us), format_time(later.at_us))
    if stored.data == later.data:
        return None
    path = _payload_difference(stored, later, types)
    if path is None:
        return None
    where = write_path(["data", *path])
    return Difference(where, text_at(stored.data, path), text_at(later.data, path))


def _payload_difference(stored: Event, later: NewEvent, types: EventTypes) -> _Path | None:
    declared = types.get(stored.type)
    before, after = _JSON.decode(stored.data), _JSON.decode(later.data)
    if declared is None:
        return _differs(before, after, [])
    try:
        typed = types.payload_of(stored)
    except msgspec.MsgspecError:  # the type has changed since: only the texts are left to compare
        return _differs(before, after, [])
    path = _differs(typed, later.payload, [])
    if path is not None:
        return path
    node = inspect.type_info(declared.payload)
    return _differs(_extras(node, before) or {}, _extras(node, after) or {}, [])


def _differs(a: Any, b: Any, path: _Path) -> _Path | None:
    """The path of the first difference between two decoded values."""
    if isinstance(a, msgspec.Struct) and type(a) is type(b):
        for name, encoded, default in _fields(type(a)):
            one, other = getattr(a, name), getattr(b, name)
            one, other = default if one is None else one, default if other is None else other
            if (found := _differs(one, other, [*path, encoded])) is not None:
                return found
        return None
    if isinstance(a, dict) and isinstance(b, dict):
        for key in [*a, *(key for key in b if key not in a)]:
            if key not in a or key not in b:
                return [*path, key]
            if (found := _differs(a[key], b[key], [*path, key])) is not None:
                return found
        return None
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        if len(a) != len(b):
            return path
        for index, (one, other) in enumerate(zip(a, b, strict=True)):
            if (found := _differs(one, other, [*path, index])) is not None:
                return found
        return None
    return None if a == b and isinstance(a, bool) == isinstance(b, bool) else path


@cache
def _fields(payload: type[msgspec.Struct]) -> tuple[tuple[str, str, Any], ...]:
    """Name, name in JSON, and what null stands for, of each field. Types are few and live as long as the process."""
    fields = []
    for field in msgspec.structs.fields(payload):
        default = field.default if field.default is not msgspec.NODEFAULT else None
        fields.append((field.name, field.encode_name, None if default is msgspec.UNSET else default))
    return tuple(fields)


def _extras(node: inspect.Type, value: Any) -> Any:
    """What of a decoded payload its type does not declare, at every level; None where nothing can be undeclared."""
    match node:
        case inspect.Metadata():
            return _extras(node.type, value)
        case inspect.UnionType():
            return next((found for each in node.types if (found := _extras(each, value)) is not None), None)
        case inspect.StructType() if isinstance(value, dict):
            declared = {field.encode_name: field.type for field in node.fields}
            extras = {key: each for key, each in value.items() if key not in declared}
            inner = {key: _extras(declared[key], each) for key, each in value.items() if key in declared}
            # An object in which nothing is undeclared is no different from one that is absent.
            return extras | {key: each for key, each in inner.items() if each} or None
        case inspect.ListType() | inspect.VarTupleType() if isinstance(value, list):
            items = [_extras(node.item_type, each) for each in value]
            return items if any(items) else None
    return None
