"""Files of events for the command line: NDJSON or CSV, gzipped or not, to JSON lines as they are posted.

Enters: a file, and a mapping of its columns if they are not named as the envelope's keys. Leaves: one JSON
object per row, in order, with the line it came from. A row without an id gets one from its own content and the
number of equal rows before it, so that reading a file twice posts the same ids.
"""

import csv
import gzip
import hashlib
import io
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec

from kernel.errors import SettingsError
from kernel.settings_topics import ENVELOPE_KEYS, clashing, is_envelope_key

_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])

#: Type of event → field → whether its text stands for itself: "text", or is JSON: "json".
FieldForms = Mapping[str, Mapping[str, str]]


class Row(NamedTuple):
    """One event's bytes, the number of its line, and the bytes of the file read so far."""

    body: bytes
    line: int
    read_bytes: int


class ColumnMapping(NamedTuple):
    """What a file's columns are called in the envelope, and what is the same in every row."""

    columns: dict[str, str]
    constants: dict[str, Any]


NO_MAPPING = ColumnMapping({}, {})


def read_mapping(path: Path) -> ColumnMapping:
    """A TOML file: ``column = "key"``, and a table ``[constants]`` with ``key = value``. Raises ``SettingsError``."""
    try:
        tree = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError("mapping", str(path), f"expected TOML: {error}") from error
    constants = tree.pop("constants", {})
    if not isinstance(constants, dict):
        raise SettingsError("constants", str(path), "expected a table of key = value")
    for column, key in [*tree.items(), *((key, key) for key in constants)]:
        if not isinstance(key, str) or not is_envelope_key(key):
            raise SettingsError(column, str(path), f"expected data.FIELD or one of {', '.join(ENVELOPE_KEYS)}")
    if (twice := clashing([*tree.values(), *constants])) is not None:
        raise SettingsError(twice, str(path), "expected each key once, and none within another")
    return ColumnMapping(tree, constants)


def read_rows(path: Path, mapping: ColumnMapping = NO_MAPPING, forms: FieldForms | None = None) -> Iterator[Row]:
    """All rows of a file, in order.

    Parameters
    ----------
    forms : how the texts of a CSV's payload columns are meant; a field that is not in it is a string.

    Raises
    ------
    SettingsError
        The file cannot be read, or a column has no meaning.
    """
    try:
        with path.open("rb") as raw, _inflated(raw) as stream:
            first = stream.peek(64).lstrip()[:1]
            rows = _ndjson(stream, mapping) if first in (b"{", b"[", b"") else _csv(stream, path, mapping, forms or {})
            seen: Counter[bytes] = Counter()
            for line, digest_of, event in rows:
                yield Row(_with_id(event, digest_of, seen), line, raw.tell())
    except (OSError, EOFError) as error:
        raise SettingsError("file", str(path), f"expected a readable file: {error}") from error


def _inflated(raw: io.BufferedReader) -> Any:  # the two readers share no declared type
    magic = raw.read(2)
    raw.seek(0)
    return gzip.GzipFile(fileobj=raw) if magic == b"\x1f\x8b" else raw


def is_absent(value: object) -> bool:
    """Whether a field is not there, or null."""
    return value is None or (isinstance(value, msgspec.Raw) and bytes(value) == b"null")


def mapped(fields: Mapping[str, Any], mapping: ColumnMapping) -> dict[str, Any] | None:
    """An event of the fields of an object, as a mapping names them; None where fields would stand in each other.

    A field that is not mapped keeps its name, if it is a key of the envelope. ``a.b`` is ``b`` in the object ``a`` where
    no field is called so.
    """
    named = {mapping.columns.get(column, column): value for column, value in fields.items()}
    for column, key in mapping.columns.items():
        if column not in fields and (value := _within(fields, column)) is not None:
            named[key] = value
    return nest({**mapping.constants, **{key: value for key, value in named.items() if is_envelope_key(key)}})


def nest(flat: Mapping[str, Any]) -> dict[str, Any] | None:
    """``data.x.y`` as nested objects; None where one key stands within another."""
    event: dict[str, Any] = {}
    for key, value in flat.items():
        node = event
        *parents, leaf = key.split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                return None
        if leaf in node:
            return None
        node[leaf] = value
    return event


def _within(fields: Mapping[str, Any], column: str) -> Any:
    """The value of ``a.b``; None where it is not there."""
    first, _, rest = column.partition(".")
    if not rest or first not in fields:
        return None
    try:
        inner = _OBJECT.decode(fields[first])
    except (msgspec.DecodeError, TypeError, RecursionError):
        return None
    return inner[rest] if rest in inner else _within(inner, rest)


_Read = Iterator[tuple[int, bytes, dict[str, Any] | bytes]]


def _ndjson(lines: IO[bytes], mapping: ColumnMapping) -> _Read:
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text:
            continue
        try:
            fields = _OBJECT.decode(text)
        except (msgspec.DecodeError, RecursionError):
            yield number, text, text  # posted as it is: the refusal will say what is wrong
            continue
        if mapping is NO_MAPPING:
            yield number, text, dict(fields)
        else:
            yield number, text, mapped(fields, mapping) or text


def _csv(stream: IO[bytes], path: Path, mapping: ColumnMapping, forms: FieldForms) -> _Read:
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="", errors="replace")
    try:
        reader = csv.reader(text)
        keys = _header(next(reader, []), path, mapping)
        for cells in reader:
            if not any(cells):
                continue
            texts = {key: cell for key, cell in zip(keys, cells, strict=False) if cell != "" and is_envelope_key(key)}
            typed = forms.get(texts.get("type") or str(mapping.constants.get("type", "")), {})
            values = {key: _value(key, cell, typed) for key, cell in texts.items()}
            row = "\x1f".join(cells).encode()
            yield reader.line_num, row, nest({**mapping.constants, **values}) or row
    except csv.Error as error:
        raise SettingsError("file", str(path), f"expected CSV: {error}") from error
    finally:
        text.detach()  # the file is its opener's to close


def _header(columns: list[str], path: Path, mapping: ColumnMapping) -> list[str]:
    keys = [mapping.columns.get(column.strip(), column.strip()) for column in columns]
    unknown = [key for key in keys if not is_envelope_key(key)]
    if unknown and mapping is NO_MAPPING:
        expected = f"no such key; expected data.FIELD or one of {', '.join(ENVELOPE_KEYS)}"
        raise SettingsError(unknown[0], str(path), expected)
    return keys


def _value(key: str, text: str, typed: Mapping[str, str]) -> Any:
    if key == "time":
        return msgspec.Raw(text.encode()) if _NUMBER.fullmatch(text) else text
    if not key.startswith("data."):
        return text
    form = typed.get(key[5:], "text")
    if form == "json" or (form == "flag" and text.lower() in ("true", "false")):
        try:
            candidate = text.lower() if form == "flag" else text
            msgspec.json.decode(candidate)
        except msgspec.DecodeError:
            return text  # refused later, with the type's expectation
        return msgspec.Raw(candidate.encode())
    return text


def _with_id(event: dict[str, Any] | bytes, row: bytes, seen: Counter[bytes]) -> bytes:
    if isinstance(event, bytes):
        return event
    if is_absent(event.get("id")):
        digest = hashlib.sha256(row).digest()[:16]
        event["id"] = f"row:{digest.hex()}:{seen[digest]}"
        seen[digest] += 1
    return msgspec.json.encode(event)
