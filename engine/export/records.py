"""Operators as plain JSON values and back: a table of allowed classes, fields checked against their annotations.

Numbers, strings, lists and ``{"class": name, field: value, ...}``; an array stands as ``{"array": digest}`` and lies in
an :class:`ArrayStore`. Nothing is ever evaluated or unpickled.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from engine.errors import PackageError
from engine.export.onnx_nodes import TO_ONNX
from engine.program import types as program_types
from engine.program.types import Output, ProgramOp

Array = NDArray[np.generic]
Json = Any
"""What ``json`` reads and writes."""


def array_digest(array: Array) -> str:
    """Content hash over element type, shape and values."""
    hasher = hashlib.blake2b(f"{array.dtype.str}{array.shape}".encode(), digest_size=16)
    hasher.update(np.ascontiguousarray(array).data)
    return hasher.hexdigest()


class ArrayStore:
    """Arrays by content hash, each once."""

    def __init__(self) -> None:
        self._arrays: dict[str, Array] = {}

    def put(self, array: Array) -> str:
        digest = array_digest(array)
        self._arrays.setdefault(digest, array)
        return digest

    def __iter__(self) -> Iterator[tuple[str, Array]]:
        """Digests and arrays, sorted by digest."""
        return iter(sorted(self._arrays.items(), key=lambda item: item[0]))


@lru_cache(maxsize=1)
def allowed_classes() -> Mapping[str, type]:
    """Every class that may stand in a record, by name: program operators, graph operators and output types."""
    program = [
        item
        for item in vars(program_types).values()
        if isinstance(item, type) and issubclass(item, ProgramOp) and item is not ProgramOp
    ]
    classes: list[type] = [Output, *program, *TO_ONNX]
    return {cls.__name__: cls for cls in classes}


def encode(value: object, store: ArrayStore) -> Json:
    """A field's value, or a whole operator, as a JSON value; its arrays go to the store."""
    if isinstance(value, np.ndarray):
        return {"array": store.put(cast("Array", value))}
    if isinstance(value, np.generic):
        return encode(cast("np.generic[Any]", value).item(), store)
    if isinstance(value, tuple | list):
        return [encode(item, store) for item in cast("tuple[object, ...]", value)]
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return _encoded_object(value, store)


def _encoded_object(value: object, store: ArrayStore) -> Json:
    name = type(value).__name__
    if allowed_classes().get(name) is not type(value) or not is_dataclass(value):
        raise TypeError(f"{name} has no place in a package")
    return {"class": name} | {entry.name: encode(getattr(value, entry.name), store) for entry in fields(value)}


def decode(value: Json, arrays: Callable[[str], Array]) -> object:
    """The inverse of :func:`encode`; ``arrays`` finds an array by its digest.

    Raises:
        PackageError: The value has no such form, names an unknown class, or a field does not fit its annotation.
    """
    if isinstance(value, list):
        return tuple(decode(item, arrays) for item in cast("list[Json]", value))
    if not isinstance(value, dict):
        return value
    record = cast("dict[str, Json]", value)
    for key, read in _TAGGED.items():
        if record.keys() == {key}:
            return read(record[key], arrays)
    return _decoded_object(record, arrays)


def decode_op(value: Json, arrays: Callable[[str], Array]) -> ProgramOp:
    """A program operator. Raises PackageError."""
    op = decode(value, arrays)
    if not isinstance(op, ProgramOp):
        raise PackageError(f"an instruction holds {type(op).__name__} where an operator belongs")
    return op


def _decoded_object(record: dict[str, Json], arrays: Callable[[str], Array]) -> object:
    name = record.get("class")
    cls = allowed_classes().get(name) if isinstance(name, str) else None
    if cls is None:
        raise PackageError(f"unknown operator {name!r}", hint="this version is older than the package's")
    hints = _field_types(cls)
    given = {key: decode(item, arrays) for key, item in record.items() if key != "class"}
    if given.keys() != hints.keys():
        raise PackageError(f"{name} has fields {sorted(given)}, expected {sorted(hints)}")
    for key, item in given.items():
        if not _fits(item, hints[key]):
            raise PackageError(f"field '{key}' of {name} holds {_shown(item)}, which is not a {_type_name(hints[key])}")
    return cls(**given)


def _read_bytes(text: Json, arrays: Callable[[str], Array]) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise PackageError(f"bytes are not in base64: {error}") from error


def _read_float(text: Json, arrays: Callable[[str], Array]) -> float:
    if text not in ("inf", "-inf", "nan"):
        raise PackageError(f"{text!r} is not a number")
    return float(text)


def _read_array(digest: Json, arrays: Callable[[str], Array]) -> Array:
    if not isinstance(digest, str):
        raise PackageError(f"{digest!r} names no array")
    return arrays(digest)


_TAGGED: Mapping[str, Callable[[Json, Callable[[str], Array]], object]] = {
    "array": _read_array,
    "bytes": _read_bytes,
    "float": _read_float,
}


@lru_cache(maxsize=256)
def _field_types(cls: type) -> Mapping[str, Any]:
    hints = get_type_hints(cls)
    return {entry.name: hints[entry.name] for entry in fields(cls)}


def _fits(value: object, hint: Any) -> bool:
    """Whether a decoded value is of an annotated type (the forms that operators use)."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, option) for option in arguments)
    if origin is tuple:
        return _tuple_fits(value, arguments)
    if origin is np.ndarray:
        wanted = get_args(arguments[1])[0]
        return isinstance(value, np.ndarray) and issubclass(cast("Array", value).dtype.type, wanted)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return value is None if hint is type(None) else isinstance(value, cast("type", hint))


def _tuple_fits(value: object, arguments: tuple[Any, ...]) -> bool:
    if not isinstance(value, tuple):
        return False
    items = cast("tuple[object, ...]", value)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return all(_fits(item, arguments[0]) for item in items)
    return len(items) == len(arguments) and all(map(_fits, items, arguments))


def _shown(value: object) -> str:
    text = _array_type(cast("Array", value)) if isinstance(value, np.ndarray) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _array_type(array: Array) -> str:
    return f"{array.dtype}{list(array.shape)}"


def _type_name(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint)
