"""Taking the weights out of a serialised ONNX model without copying them.

A protobuf parser copies every weight into memory. Here the file is walked on the wire level instead (field numbers of
onnx.proto, which are frozen), and each large tensor is replaced by a reference to its place in the file, in ONNX's
own form for external data. What is left is the graph alone, a few hundred kilobytes, which is then parsed as usual.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

SELF_LOCATION = "<model file>"
"""External-data location that stands for the model file itself."""

_THRESHOLD_BYTES = 256
"""Shorter fields stay where they are: a reference would be as long."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {_FIXED64: 8, _FIXED32: 4}
_MAX_DEPTH = 64


class WireError(ValueError):
    """The bytes are not a serialised protobuf message, or end too early."""


@dataclass(frozen=True)
class _Message:
    """Which fields of a message hold, at any depth, tensors."""

    name: str
    fields: dict[int, _Message]


_TENSOR = _Message("TensorProto", {})
_ATTRIBUTE = _Message("AttributeProto", {5: _TENSOR, 10: _TENSOR})
_NODE = _Message("NodeProto", {5: _ATTRIBUTE})
_GRAPH = _Message("GraphProto", {1: _NODE, 5: _TENSOR})
_FUNCTION = _Message("FunctionProto", {7: _NODE})
_MODEL = _Message("ModelProto", {7: _GRAPH, 25: _FUNCTION})
_ATTRIBUTE.fields.update({6: _GRAPH, 11: _GRAPH})

_DATA_TYPE, _FLOAT_DATA, _RAW_DATA, _DOUBLE_DATA = 2, 4, 9, 10
_PACKED_DATA = {_FLOAT_DATA: 1, _DOUBLE_DATA: 11}
"""Typed fields whose packed form is byte for byte that of raw data, and the element type for which that holds."""


@dataclass(frozen=True)
class _Field:
    number: int
    wire_type: int
    start: int
    """Where the field's key begins."""
    body: int
    """Where the field's content begins."""
    end: int


def without_tensors(data: memoryview) -> bytes:
    """The serialised model with its large tensors replaced by references into ``data``.

    Raises:
        WireError: ``data`` is not a protobuf message or is truncated.
    """
    return b"".join(_rewritten(data, 0, len(data), _MODEL, 0))


def _varint(data: memoryview, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while position < end and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise WireError(f"malformed number at byte {position}")


def _fields(data: memoryview, start: int, end: int) -> Iterator[_Field]:
    position = start
    while position < end:
        key, body = _varint(data, position, end)
        number, wire_type = key >> 3, key & 7
        if wire_type == _VARINT:
            _, stop = _varint(data, body, end)
        elif wire_type == _BYTES:
            length, body = _varint(data, body, end)
            stop = body + length
        elif wire_type in _FIXED_SIZES:
            stop = body + _FIXED_SIZES[wire_type]
        else:
            raise WireError(f"unknown wire type {wire_type} at byte {position}")
        if number == 0:
            raise WireError(f"field number 0 at byte {position}")
        if stop > end:
            raise WireError(f"a field at byte {position} needs {stop - body} bytes, only {end - body} are left")
        yield _Field(number, wire_type, position, body, stop)
        position = stop


def _key(number: int, wire_type: int) -> bytes:
    return _encoded(number << 3 | wire_type)


def _encoded(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _length_delimited(number: int, body: bytes) -> bytes:
    return _key(number, _BYTES) + _encoded(len(body)) + body


def _rewritten(data: memoryview, start: int, end: int, message: _Message, depth: int) -> list[bytes]:
    """Serialised pieces of one message, nested messages rewritten where they may hold tensors."""
    if depth > _MAX_DEPTH:
        raise WireError("graphs are nested too deeply")
    if message is _TENSOR:
        return _referencing(data, start, end)
    pieces: list[bytes] = []
    copied = start
    for field in _fields(data, start, end):
        inner = message.fields.get(field.number)
        if inner is None or field.wire_type != _BYTES or field.end - field.body < _THRESHOLD_BYTES:
            continue
        pieces.append(bytes(data[copied : field.start]))
        body = b"".join(_rewritten(data, field.body, field.end, inner, depth + 1))
        pieces.append(_length_delimited(field.number, body))
        copied = field.end
    pieces.append(bytes(data[copied:end]))
    return pieces


def _referencing(data: memoryview, start: int, end: int) -> list[bytes]:
    """A TensorProto whose data, if it is one large block, is replaced by its place in the file."""
    fields = list(_fields(data, start, end))
    block = _data_block(data, fields)
    if block is None:
        return [bytes(data[start:end])]
    entries = {"location": SELF_LOCATION, "offset": str(block.body), "length": str(block.end - block.body)}
    pieces = [bytes(data[start : block.start]), bytes(data[block.end : end])]
    for name, text in entries.items():
        entry = _length_delimited(1, name.encode()) + _length_delimited(2, text.encode())
        pieces.append(_length_delimited(13, entry))
    pieces.append(_key(14, _VARINT) + _encoded(1))  # data_location = EXTERNAL
    return pieces


def _data_block(data: memoryview, fields: list[_Field]) -> _Field | None:
    """The one field that holds all of a tensor's data, if there is one and it is large."""
    data_type = next((_varint(data, f.body, f.end)[0] for f in fields if f.number == _DATA_TYPE), 0)
    blocks = [
        field
        for field in fields
        if field.wire_type == _BYTES
        and (field.number == _RAW_DATA or _PACKED_DATA.get(field.number) == data_type)
        and field.end - field.body >= _THRESHOLD_BYTES
    ]
    return blocks[0] if len(blocks) == 1 else None
