"""What a refusal says: where in the event, what was expected there, and what came.

The decoder's own message names the path only; what is expected is told from the declared type, what came is
cut out of the event's own text. All of it runs for refused events only.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
from msgspec import inspect

from kernel.fixed import Amount

_SHOWN = 80
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|\[\.\.\.\]")
_AT = re.compile(r" - at `\$(.*)`$")
_MISSING = re.compile(r"^Object missing required field `(.*)`")
_UNKNOWN = re.compile(r"^Object contains unknown field `(.*)`")
_AMOUNT = "a number or decimal string from 0 to 10^12 with at most 6 decimals"

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST = msgspec.json.Decoder(list[msgspec.Raw])


class Fault(NamedTuple):
    """What is wrong with a value: its path (``amount``, ``property.pest_issues[0]``), what was expected, what came."""

    path: str
    expected: str
    actual: str


def explain(declared: type[msgspec.Struct], raw: bytes | msgspec.Raw, error: Exception) -> Fault:
    """The fault behind an error of decoding ``raw`` as ``declared``.

    Examples
    --------
    >>> class Point(msgspec.Struct):
    ...     x: float
    >>> try:
    ...     msgspec.json.decode(b'{"x": "1"}', type=Point)
    ... except msgspec.ValidationError as error:
    ...     explain(Point, b'{"x": "1"}', error)
    Fault(path='x', expected='a number', actual='"1"')
    """
    message = str(error)
    at = _AT.search(message)
    steps = list(_steps(at.group(1))) if at else []
    node: inspect.Type | None = inspect.type_info(declared)
    for step in steps:
        node = _inside(node, step)
    if missing := _MISSING.match(message):
        steps.append(missing.group(1))
        return Fault(write_path(steps), describe(_inside(node, missing.group(1))), "nothing")
    actual = text_at(raw, steps)
    if unknown := _UNKNOWN.match(message):
        known = ", ".join(field.encode_name for field in node.fields) if isinstance(node, inspect.StructType) else ""
        path = [*steps, unknown.group(1)]
        return Fault(write_path(path), f"no key but {known}", text_at(raw, path))
    return Fault(write_path(steps), describe(node), actual)


def write_path(steps: Sequence[str | int]) -> str:
    """The written form of a path.

    Examples
    --------
    >>> write_path(["property", "pest_issues", 0])
    'property.pest_issues[0]'
    """
    text = ""
    for step in steps:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def shorten(value: object) -> str:
    """Short JSON of a value or, of ``Raw`` and bytes, the text as it stands.

    Examples
    --------
    >>> shorten(True), shorten(msgspec.Raw(b"1.50"))
    ('true', '1.50')
    """
    raw = bytes(value) if isinstance(value, bytes | msgspec.Raw) else msgspec.json.encode(value)
    text = raw.decode("utf-8", "replace")
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def describe(node: inspect.Type | None) -> str:
    """A declared type in words.

    Examples
    --------
    >>> from eventstore.fields import Id, Quantity
    >>> describe(inspect.type_info(Id)), describe(inspect.type_info(Quantity | None))
    ('a string of 1 to 256 characters', 'a number from 0 to 10^12')
    """
    match node:
        case inspect.UnionType():
            members = [describe(each) for each in node.types if not isinstance(each, inspect.NoneType)]
            return " or ".join(members)
        case inspect.StrType():
            return "a string" + _of_length(node.min_length, node.max_length)
        case inspect.FloatType():
            return "a number" + _between(node.ge, node.le, node.gt, node.lt)
        case inspect.IntType():
            return "a whole number" + _between(node.ge, node.le, node.gt, node.lt)
        case inspect.BoolType():
            return "true or false"
        case inspect.LiteralType():
            values = [str(value) for value in node.values]
            return values[0] if len(values) == 1 else f"one of {', '.join(values)}"
        case inspect.EnumType():
            return f"one of {', '.join(str(member.value) for member in node.cls)}"
        case inspect.CustomType() if node.cls is Amount:
            return _AMOUNT
        case inspect.StructType() | inspect.DictType():
            return "an object"
        case inspect.ListType() | inspect.VarTupleType():
            return f"a list, each {describe(node.item_type)}"
        case inspect.Metadata():
            return describe(node.type)
        case inspect.DateTimeType():
            return "an RFC 3339 time"
        case None:
            return "another value"
    return type(node).__name__.removesuffix("Type").lower()


def text_at(raw: bytes | msgspec.Raw, steps: Sequence[str | int]) -> str:
    """The text of the value at a path, as it was sent; ``nothing`` where there is none."""
    part: bytes | msgspec.Raw = raw
    try:
        for step in steps:
            part = _OBJECT.decode(part)[step] if isinstance(step, str) else _LIST.decode(part)[step]
    except LookupError:
        return "nothing"
    except msgspec.DecodeError:
        pass  # the value around it is what came
    return shorten(bytes(part).strip())


def _steps(path: str) -> Iterator[str | int]:
    for match in _STEP.finditer(path):
        name, index = match.groups()
        if name is None and index is None:
            return  # a key that the decoder does not name: the object around it is at fault
        yield name if name is not None else int(index)


def _inside(node: inspect.Type | None, step: str | int) -> inspect.Type | None:
    match node:
        case inspect.Metadata():
            return _inside(node.type, step)
        case inspect.UnionType():
            return next((found for each in node.types if (found := _inside(each, step)) is not None), None)
        case inspect.StructType():
            return next((field.type for field in node.fields if field.encode_name == step), None)
        case inspect.DictType():
            return node.value_type
        case inspect.ListType() | inspect.VarTupleType():
            return node.item_type
    return None


def _of_length(least: int | None, most: int | None) -> str:
    if least is not None and most is not None:
        return f" of {least} to {most} characters"
    if least is not None:
        return " that is not empty" if least == 1 else f" of at least {least} characters"
    return f" of at most {most} characters" if most is not None else ""


def _between(ge: float | None, le: float | None, gt: float | None, lt: float | None) -> str:
    low = f" from {_number(ge)}" if ge is not None else f" above {_number(gt)}" if gt is not None else ""
    high = f" to {_number(le)}" if le is not None else f" below {_number(lt)}" if lt is not None else ""
    return low + high


def _number(value: float) -> str:
    if abs(value) == 1e12:
        return "10^12" if value > 0 else "-10^12"
    return f"{value:g}"
