"""What a payload's field is, read once from its declaration: kind, whether it may be missing."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import msgspec
from msgspec import inspect

from kernel.fixed import Amount
from projections.expressions import Dtype

FieldKind = Literal["number", "amount", "text", "flag", "list", "struct", "mixed"]


@dataclass(frozen=True)
class FieldInfo:
    """``clears``: null is a value of its own (the field's absence is ``UNSET``). ``words``: the only texts it takes."""

    kind: FieldKind
    is_whole: bool
    is_optional: bool
    clears: bool
    words: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "whole number" if self.is_whole else self.kind


@lru_cache(maxsize=512)
def declared_fields(payload: type[msgspec.Struct]) -> tuple[inspect.Field, ...]:
    """The fields of a payload as msgspec tells them, which takes a while and is asked for by every feature."""
    fields: tuple[inspect.Field, ...] = inspect.type_info(payload).fields  # type: ignore[attr-defined]
    return fields


def field_info(payload: type[msgspec.Struct], path: str) -> FieldInfo | None:
    """The declaration behind a dotted path such as ``property.city``; None where there is none."""
    optional = False
    names = path.split(".")
    for depth, name in enumerate(names):
        declared = {each.name: each for each in declared_fields(payload)}
        if name not in declared:
            return None
        # An UNSET default is the one that is neither required nor told by msgspec.
        field = declared[name]
        untold = field.default is msgspec.NODEFAULT and field.default_factory is msgspec.NODEFAULT
        info = _info(field.type, clears=not field.required and untold)
        optional = optional or info.is_optional
        if depth == len(names) - 1:
            return replace(info, is_optional=optional)
        nested = [t.cls for t in _members(field.type) if isinstance(t, inspect.StructType)]
        if not nested:
            return None
        payload = nested[0]
    return None


#: What a field of a kind can be served as, the usual type first.
_DTYPES: dict[FieldKind, tuple[Dtype, ...]] = {
    "number": ("float",),
    "amount": ("float",),
    "text": ("string",),
    "flag": ("int",),
    "list": ("list",),
    "struct": (),
    "mixed": ("string",),
}


def dtypes_of(info: FieldInfo) -> tuple[Dtype, ...]:
    """The types as which a field's value can be served, the usual one first; none for a struct."""
    return ("int", "float") if info.is_whole else _DTYPES[info.kind]


def fields_of(payload: type[msgspec.Struct], *kinds: FieldKind) -> list[str]:
    """The names of the fields of some kinds."""
    found = ((name, field_info(payload, name)) for name in payload.__struct_fields__)
    return [name for name, info in found if info is not None and info.kind in kinds]


def is_never_negative(payload: type[msgspec.Struct], path: str) -> bool:
    """Whether the bounds of a numeric field leave no value below zero."""
    *outer, name = path.split(".")
    for each in outer:
        nested = [t.cls for t in _types_of(payload, each) if isinstance(t, inspect.StructType)]
        if not nested:
            return False
        payload = nested[0]
    types = [each for each in _types_of(payload, name) if not isinstance(each, inspect.NoneType)]
    return bool(types) and all(map(_is_from_zero, types))


def _types_of(payload: type[msgspec.Struct], name: str) -> tuple[inspect.Type, ...]:
    return next((_members(each.type) for each in declared_fields(payload) if each.name == name), ())


def _is_from_zero(declared: inspect.Type) -> bool:
    match declared:
        case inspect.IntType(ge=ge, gt=gt) | inspect.FloatType(ge=ge, gt=gt):
            return max(bound for bound in (ge, gt, -1) if bound is not None) >= 0
        case inspect.LiteralType(values=values):
            return all(isinstance(value, int) and value >= 0 for value in values)
        case inspect.BoolType():
            return True
        case _:
            return _kind(declared) == "amount"


def undecodable(payload: type[msgspec.Struct]) -> str | None:
    """The first field of a type that no JSON value is decoded to; None where there is none."""
    return next((each.name for each in declared_fields(payload) if _has_foreign(each.type)), None)


def _has_foreign(declared: inspect.Type) -> bool:
    match declared:
        case inspect.CustomType(cls=cls):
            return cls is not Amount
        case inspect.StructType(cls=cls):
            return undecodable(cls) is not None
        case inspect.UnionType(types=types):
            return any(map(_has_foreign, types))
        case inspect.DictType(key_type=key, value_type=value):
            return _has_foreign(key) or _has_foreign(value)
        case inspect.TupleType(item_types=items):
            return any(map(_has_foreign, items))
        case inspect.Metadata(type=inner):
            return _has_foreign(inner)
        case _:
            item = getattr(declared, "item_type", None)  # of lists, sets and the like
            return item is not None and _has_foreign(item)


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
    whole = all(isinstance(t, inspect.IntType | inspect.LiteralType | inspect.NoneType) for t in members)
    words = tuple(word for t in members for word in _words(t)) if kind == "text" else ()
    return FieldInfo(kind, whole and kind == "number", is_null or clears, clears, words)


def _words(declared: inspect.Type) -> tuple[str, ...]:
    match declared:
        case inspect.LiteralType(values=values):
            return tuple(str(each) for each in values)
        case inspect.EnumType(cls=cls):
            return tuple(str(each.value) for each in cls)
        case _:
            return ()


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
        case inspect.EnumType(cls=cls) if issubclass(cls, str):
            return "text"
        case inspect.LiteralType(values=values):
            kinds = {type(value) for value in values}
            return "text" if kinds == {str} else "number" if kinds == {int} else "mixed"
        case inspect.ListType() | inspect.VarTupleType():
            return "list"
        case inspect.StructType():
            return "struct"
        case _:
            return "mixed"
