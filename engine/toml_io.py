"""TOML for files that people read: errors that name the place, and a writer with one line per entry."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
import msgspec.inspect

from engine.errors import QuantscopeError

T = TypeVar("T")
Scalar = str | int | float | bool
Value = Scalar | Sequence["Value"] | Mapping[str, "Value"]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_AT_PATH = re.compile(r" - at `(key in )?\$(?P<path>[^`]*)`$")
_STEP = re.compile(r"\[[^]]*\]|\.[^.\[]+")


def read_text(path: Path, error: type[QuantscopeError]) -> str:
    """The text of a UTF-8 file (line ends as ``\\n``).

    Raises:
        error: The file is missing, unreadable or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as failure:
        raise error(f"cannot be read: {failure.strerror or failure}", path=path) from failure
    except UnicodeDecodeError as failure:
        raise error("is not a text file (UTF-8 expected)", path=path) from failure


def parse(text: str, path: Path, error: type[QuantscopeError]) -> dict[str, object]:
    """The tables of a TOML text; ``path`` is only named in the error.

    Raises:
        error: The text is not TOML (the line and column are in the message).
    """
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as failure:
        raise error(f"is not valid TOML: {failure}", path=path) from failure


def convert(tables: object, kind: type[T], path: Path, error: type[QuantscopeError]) -> T:
    """The typed form of parsed tables.

    Raises:
        error: A key is missing, unknown or of another type; the message names the key and what is expected.
    """
    try:
        return msgspec.convert(tables, kind)
    except msgspec.ValidationError as failure:
        raise error(_located(str(failure), msgspec.inspect.type_info(kind)), path=path) from failure


def _located(message: str, kind: msgspec.inspect.Type) -> str:
    """msgspec's "MESSAGE - at `$.table.key`" as "key 'table.key': MESSAGE, expected ..."."""
    found = _AT_PATH.search(message)
    text = message if found is None else message[: found.start()]
    text = text[:1].lower() + text[1:] + _expected(text, _type_at(kind, found["path"] if found else ""))
    place = found["path"].lstrip(".") if found else ""
    return f"key '{place}': {text}" if place else text


def _expected(text: str, kind: msgspec.inspect.Type | None) -> str:
    """What msgspec's message leaves out: the values or keys that there are."""
    if text.startswith("Invalid enum value") and isinstance(kind, msgspec.inspect.LiteralType):
        return f", expected one of {', '.join(repr(value) for value in kind.values)}"
    if text.startswith("Invalid enum value") and isinstance(kind, msgspec.inspect.EnumType):
        return f", expected one of {', '.join(repr(member.value) for member in kind.cls)}"
    if text.startswith("Object contains unknown field") and isinstance(kind, msgspec.inspect.StructType):
        return f", expected {', '.join(field.encode_name for field in kind.fields)}"
    return ""


def _type_at(kind: msgspec.inspect.Type, place: str) -> msgspec.inspect.Type | None:
    """The type that a path such as ``.input.crop`` or ``.regions[...]`` leads to; None where it leaves the
    structs.
    """
    found: msgspec.inspect.Type | None = kind
    for step in _STEP.findall(place):
        found = _inside(found, step)
    return found


def _inside(kind: msgspec.inspect.Type | None, step: str) -> msgspec.inspect.Type | None:
    for option in kind.types if isinstance(kind, msgspec.inspect.UnionType) else (kind,):
        if isinstance(option, msgspec.inspect.StructType):
            named = (field.type for field in option.fields if field.encode_name == step.lstrip("."))
            return next(named, None)
        if isinstance(option, msgspec.inspect.DictType):
            return option.value_type
        if isinstance(option, msgspec.inspect.VarTupleType | msgspec.inspect.ListType):
            return option.item_type
    return None


def entry(key: str, value: Value) -> str:
    """One ``key = value`` line (without the line end)."""
    return f"{quoted_key(key)} = {literal(value)}"


def entries(table: Mapping[str, Value]) -> Iterable[str]:
    """The lines of a table's entries, in the table's order."""
    return (entry(key, value) for key, value in table.items())


def quoted_key(key: str) -> str:
    """The key, quoted where TOML needs it."""
    return key if _BARE_KEY.fullmatch(key) else _string(key)


def literal(value: Value) -> str:
    """The value on one line; mappings become inline tables. Floats read back as the same number."""
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, Mapping):
        inside = ", ".join(entry(key, item) for key, item in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    return f"[{', '.join(literal(item) for item in value)}]"


def _string(text: str) -> str:
    # JSON's escapes are a subset of TOML's, but JSON leaves DEL alone and TOML does not.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


def _float(value: float) -> str:
    if math.isnan(value) or math.isinf(value):
        return str(value)
    return repr(float(value))
