"""What a payload must keep that its declared types do not say.

Two rules of the log reach into payloads whatever pack declares them: money is in the org's currency, and no
number has a magnitude over 10¹². The second is in the field types of ``eventstore.fields``; a type that
declares a number without bounds gets a check of its own, found once when the types are compiled.
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from msgspec import inspect

from eventstore.system import EVENT_RETRACTED, SYSTEM_ID_PREFIX
from eventstore.types import EventType
from eventstore.wording import Fault, shorten, write_path
from kernel.fixed import Amount

#: Looks at a decoded payload. The fault's path is inside the payload.
Check = Callable[[Any], Fault | None]

_LARGEST = 10**12


def checks_of(declared: EventType, currency: str) -> tuple[Check, ...]:
    """The checks that the payloads of one type need after decoding; for most types none."""
    checks: list[Check] = []
    if "currency" in declared.payload.__struct_fields__:
        checks.append(_currency_check(currency))
    if _has_unbounded(inspect.type_info(declared.payload)):
        checks.append(_check_magnitude)
    if declared.name == EVENT_RETRACTED:
        checks.append(_check_retracted_id)
    return tuple(checks)


def _currency_check(currency: str) -> Check:
    def check(payload: Any) -> Fault | None:
        given = payload.currency
        if given is None or given is msgspec.UNSET or given == currency:
            return None
        return Fault("currency", currency, shorten(given))

    return check


def _check_retracted_id(payload: Any) -> Fault | None:
    event_id: str = payload.event_id
    if event_id.isprintable() and not event_id.startswith(SYSTEM_ID_PREFIX):
        return None
    return Fault("event_id", "printable characters, not beginning with ~", shorten(event_id))


def _check_magnitude(payload: Any) -> Fault | None:
    for path, number in _numbers(payload, []):
        if not -_LARGEST <= number <= _LARGEST:
            return Fault(write_path(path), "a number of magnitude up to 10^12", shorten(number))
    return None


def _numbers(value: Any, path: list[str | int]) -> Iterator[tuple[list[str | int], float]]:
    if isinstance(value, bool | Amount):
        return
    if isinstance(value, int | float):
        yield path, value
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _numbers(getattr(value, name), [*path, name])
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _numbers(each, [*path, str(key)])
    elif isinstance(value, list | tuple):
        for index, each in enumerate(value):
            yield from _numbers(each, [*path, index])


def _has_unbounded(node: inspect.Type) -> bool:
    match node:
        case inspect.FloatType() | inspect.IntType():
            low = node.ge if node.ge is not None else node.gt
            high = node.le if node.le is not None else node.lt
            return low is None or high is None or low < -_LARGEST or high > _LARGEST
        case inspect.Metadata():
            return _has_unbounded(node.type)
        case inspect.UnionType():
            return any(_has_unbounded(each) for each in node.types)
        case inspect.StructType():
            return any(_has_unbounded(field.type) for field in node.fields)
        case inspect.ListType() | inspect.VarTupleType():
            return _has_unbounded(node.item_type)
        case inspect.DictType():
            return _has_unbounded(node.value_type)
    return isinstance(node, inspect.AnyType)
