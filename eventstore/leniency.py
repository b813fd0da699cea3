"""Null where a default stands: the same as absent.

A field declared ``bool = False`` has no null in its type, yet ``"escalated": null`` means that it was not
given. Such keys are taken out of the payload's text before it is stored, so that whoever decodes it later
meets only what the type allows. Runs only after the decoder has refused a payload.
"""

from decimal import Decimal
from typing import Any

import msgspec
from msgspec import inspect

# Numbers pass as decimals: their text, and with it the exactness of an amount, survives the round trip.
_DECODER = msgspec.json.Decoder(float_hook=Decimal)
_ENCODER = msgspec.json.Encoder(decimal_format="number")


def without_nulls(payload: type[msgspec.Struct], data: bytes) -> bytes | None:
    """``data`` without the nulls of optional fields that take none; None when there are no such nulls."""
    value = _DECODER.decode(data)
    if not _strip(inspect.type_info(payload), value):
        return None
    return _ENCODER.encode(value)


def _strip(node: inspect.Type, value: Any) -> bool:
    """Remove from ``value`` in place; whether anything was removed."""
    match node:
        case inspect.Metadata():
            return _strip(node.type, value)
        case inspect.UnionType():
            return sum(_strip(each, value) for each in node.types) > 0  # every branch is visited
        case inspect.ListType() | inspect.VarTupleType() if isinstance(value, list):
            return sum(_strip(node.item_type, each) for each in value) > 0
        case inspect.StructType() if isinstance(value, dict):
            is_changed = False
            for field in node.fields:
                name = field.encode_name
                if name not in value:
                    continue
                if value[name] is None and not field.required and not takes_null(field.type):
                    del value[name]
                    is_changed = True
                else:
                    is_changed |= _strip(field.type, value[name])
            return is_changed
    return False


def takes_null(node: inspect.Type) -> bool:
    """Whether null is a value of the declared type."""
    match node:
        case inspect.Metadata():
            return takes_null(node.type)
        case inspect.UnionType():
            return any(takes_null(each) for each in node.types)
    return isinstance(node, inspect.NoneType | inspect.AnyType)
