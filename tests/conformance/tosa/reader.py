"""The bytes of a ``.tosa`` file as tensors, constants and operators: what the engine's writer writes, read back."""

# The flatbuffers package has no types.
# pyright: reportMissingTypeStubs=false

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from flatbuffers import number_types
from flatbuffers.encode import Get
from flatbuffers.packer import uoffset
from flatbuffers.table import Table
from numpy.typing import NDArray

from engine.export.tosa.graph import AttributeValue, Operator, Shape, Tensor
from engine.export.tosa.schema import ATTRIBUTE_FIELDS, DTYPE_OF, FILE_IDENTIFIER, TosaOp

_BOOL = 1
_SHAPE = 10
_DTYPE_NAMES: Mapping[int, str] = {_BOOL: "bool", _SHAPE: "shape", **{int(n): name for name, n in DTYPE_OF.items()}}
"""Element types by their number in the schema. Sizes are in lists of their own, and so are tensors of them."""

_FLAGS = {"local_bound", "round", "scale32", "per_channel", "input_unsigned", "output_unsigned"}
_VECTORS = {"kernel", "stride", "pad", "dilation", "out_pad", "perms"}
_BYTES = {"min_val", "max_val"}
"""Fields of attributes that are no 32-bit number."""

_IDENTIFIER_PLACE = 4
_INT48_BYTES = 6


class UnreadableError(Exception):
    """The file holds something that no integer program has; the text says what."""


@dataclass(frozen=True)
class TosaFile:
    """The one block of a ``.tosa`` file. ``arrays`` holds constants, int48 as int64; ``sizes`` constant shapes."""

    tensors: Mapping[str, Tensor]
    arrays: Mapping[str, NDArray[np.generic]]
    sizes: Mapping[str, Shape]
    operators: tuple[Operator, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def read_tosa(data: bytes) -> TosaFile:
    """The graph of a ``.tosa`` file.

    Raises:
        UnreadableError: It is none, has several blocks, or an operator or element type that is never exported.
    """
    if data[_IDENTIFIER_PLACE : _IDENTIFIER_PLACE + len(FILE_IDENTIFIER)] != FILE_IDENTIFIER:
        raise UnreadableError("no TOSA flatbuffer")
    root = _Record(Table(bytearray(data), Get(uoffset, data, 0)))
    blocks = [block for region in root.records(1) for block in region.records(1)]
    if len(blocks) != 1:
        raise UnreadableError(f"{len(blocks)} blocks: control flow")
    (block,) = blocks
    operators = tuple(_operator(record) for record in block.records(1))
    tensors = {tensor.key: (tensor, stored) for tensor, stored in map(_tensor, block.records(2))}
    return TosaFile(
        {key: tensor for key, (tensor, _) in tensors.items()},
        {key: _array(tensor, stored) for key, (tensor, stored) in tensors.items() if stored},
        dict(map(_sizes, block.records(5))),
        operators,
        block.texts(3),
        block.texts(4),
    )


def _operator(record: _Record) -> Operator:
    number = record.number(0, number_types.Uint32Flags)
    if number not in set(TosaOp):
        raise UnreadableError(f"operator {number} of the schema, which is never exported")
    op = TosaOp(number)
    held = record.record(2)
    fields = enumerate(ATTRIBUTE_FIELDS.get(op, ()))
    attribute = {} if held is None else {name: _field(held, slot, name) for slot, name in fields}
    return Operator(op, record.texts(3), record.texts(4), attribute, op.name)


def _field(record: _Record, slot: int, name: str) -> AttributeValue:
    if name in _FLAGS:
        return bool(record.number(slot, number_types.BoolFlags))
    if name in _VECTORS:
        return record.numbers(slot)
    if name in _BYTES:
        return record.data(slot)
    return record.number(slot, number_types.Int32Flags)


def _tensor(record: _Record) -> tuple[Tensor, bytes]:
    number = record.number(2, number_types.Uint32Flags)
    if number not in _DTYPE_NAMES:
        raise UnreadableError(f"element type {number} of the schema, which is never exported")
    return Tensor(record.text(0), record.numbers(1), _DTYPE_NAMES[number]), record.data(3)


def _sizes(record: _Record) -> tuple[str, Shape]:
    count = record.number(1, number_types.Uint32Flags)
    return record.text(0), tuple(np.frombuffer(record.data(2), "<i8", count).tolist()) if count else ()


def _array(tensor: Tensor, stored: bytes) -> NDArray[np.generic]:
    return array_of(stored, tensor.dtype, math.prod(tensor.shape)).reshape(tensor.shape)


def array_of(stored: bytes, dtype: str, count: int) -> NDArray[np.generic]:
    """The first ``count`` elements as the schema stores them, int48 (6 bytes each) as int64; padding may follow."""
    if dtype != "int48":
        return np.frombuffer(stored, np.dtype(dtype).newbyteorder("<"), count)
    narrow = np.frombuffer(stored, np.uint8, count * _INT48_BYTES).reshape(-1, _INT48_BYTES)
    wide = np.zeros((count, 8), np.uint8)
    wide[:, 2:] = narrow
    return wide.view("<i8").ravel() >> 16


class _Record:
    """A flatbuffer table whose fields are asked for by their number in the schema."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def _place(self, slot: int) -> int:
        """Offset of a field from the table's start, 0 where it is absent."""
        return self.table.Offset(4 + 2 * slot)

    def number(self, slot: int, flags: type) -> int:
        """A number; one that is not stored is 0."""
        place = self._place(slot)
        return self.table.Get(flags, self.table.Pos + place) if place else 0

    def text(self, slot: int) -> str:
        place = self._place(slot)
        return self.table.String(self.table.Pos + place).decode() if place else ""

    def data(self, slot: int) -> bytes:
        """A vector of bytes."""
        place = self._place(slot)
        if not place:
            return b""
        start = self.table.Vector(place)
        return bytes(self.table.Bytes[start : start + self.table.VectorLen(place)])

    def record(self, slot: int) -> _Record | None:
        """A union's or a field's table."""
        place = self._place(slot)
        return _Record(Table(self.table.Bytes, self.table.Indirect(self.table.Pos + place))) if place else None

    def numbers(self, slot: int) -> tuple[int, ...]:
        """A vector of int32."""
        return tuple(self.table.Get(number_types.Int32Flags, place) for place in self._elements(slot))

    def texts(self, slot: int) -> tuple[str, ...]:
        return tuple(self.table.String(place).decode() for place in self._elements(slot))

    def records(self, slot: int) -> list[_Record]:
        return [_Record(Table(self.table.Bytes, self.table.Indirect(place))) for place in self._elements(slot)]

    def _elements(self, slot: int) -> Iterator[int]:
        """Places of a vector's elements of 4 bytes."""
        place = self._place(slot)
        if place:
            start = self.table.Vector(place)
            yield from range(start, start + 4 * self.table.VectorLen(place), 4)
