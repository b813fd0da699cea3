"""What a payload's field is, read once from its declaration: kind, whether it may be missing."""

from dataclasses import dataclass
from typing import Literal

import msgspec
from msgspec import inspect

from kernel.fixed import Amount

FieldKind = Literal["number", "amount", "text", "flag", "list", "struct", "mixed"]


@dataclass(frozen=True)
class FieldInfo:
    """``clears``: null is a value of its own (the field's absence is ``UNSET``)."""

    kind: FieldKind
    is_whole: bool
    is_optional: bool
    clears: bool


def field_info(payload: type[msgspec.Struct], path: str) -> FieldInfo | None:
    """The declaration behind a dotted path such as ``property.city``; None where there is none."""
    optional = False
    names = path.split(".")
    for depth, name in enumerate(names):
        declared = {each.name: each for each in inspect.type_info(payload).fields}  # type: ignore[attr-defined]
        if name not in declared:
            return None
        # An UNSET default is the one that is neither required nor told by msgspec.
        field = declared[name]
        untold = field.default is msgspec.NODEFAULT and field.default_factory is msgspec.NODEFAULT
        info = _info(field.type, clears=not field.required and untold)
        optional = optional or info.is_optional
        if depth == len(names) - 1:
            return FieldInfo(info.kind, info.is_whole, optional, info.clears)
        nested = [t.cls for t in _members(field.type) if isinstance(t, inspect.StructType)]
        if not nested:
            return None
        payload = nested[0]
    return None


def _members(declared: inspect.Type) -> tuple[inspect.Type, ...]:
    if isinstance(declared, inspect.UnionType):
        return declared.types
    if isinstance(declared, inspect.Metadata):
        return _members(declared.type)
    return (declared,)


def _info(declared: inspect.Type, *, clears: bool) -> FieldInfo:
    members = _members(declared)
    is_null = any(isinstance(t, inspect.NoneType) for t in members)
    kinds = {_kind(t) for t in members if not isinstance(t, inspect.NoneType)}
    kind: FieldKind = kinds.pop() if len(kinds) == 1 else "mixed"
    whole = all(isinstance(t, inspect.IntType | inspect.NoneType) for t in members)
    return FieldInfo(kind, whole and kind == "number", is_null or clears, clears)


def _kind(declared: inspect.Type) -> FieldKind:
    match declared:
        case inspect.IntType() | inspect.FloatType():
            return "number"
        case inspect.CustomType(cls=cls) if cls is Amount:
            return "amount"
        case inspect.BoolType():
            return "flag"
        case inspect.StrType():
            return "text"
        case inspect.LiteralType(values=values) | inspect.EnumType(cls=values):
            return "text" if all(isinstance(v, str) for v in values) else "mixed"
        case inspect.ListType() | inspect.VarTupleType():
            return "list"
        case inspect.StructType():
            return "struct"
        case _:
            return "mixed"
