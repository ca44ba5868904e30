"""A TOSA graph as the bytes of a ``.tosa`` file."""

# The flatbuffers package has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import pack

from flatbuffers.builder import Builder

from engine.export.tosa.graph import AttributeValue, Operator, ShapeConstant, Tensor, TosaGraph
from engine.export.tosa.schema import ATTRIBUTE_FIELDS, DTYPE_OF, FILE_IDENTIFIER, VERSION, raw_bytes

_DATA_ALIGNMENT = 8
_MAIN = "main"


def serialised(graph: TosaGraph) -> bytes:
    """The file's bytes: the same for the same graph."""
    return _Writer(graph).bytes()


class _Writer:
    """Flatbuffers are written from their leaves: every table after what it points to."""

    def __init__(self, graph: TosaGraph) -> None:
        self.graph = graph
        self.builder = Builder(1 << 16)

    def bytes(self) -> bytes:
        region = self._table({0: self._string(_MAIN), 1: self._offsets([self._block()])})
        version = self._version()
        root = self._table({0: version, 1: self._offsets([region])})
        self.builder.Finish(root, file_identifier=FILE_IDENTIFIER)
        return bytes(self.builder.Output())

    def _block(self) -> int:
        graph = self.graph
        operators = self._offsets([self._operator(item) for item in graph.operators])
        tensors = self._offsets([self._tensor(item) for item in graph.tensors])
        inputs = self._strings([item.key for item in graph.inputs])
        outputs = self._strings([item.key for item in graph.outputs])
        shapes = self._offsets([self._shape(item) for item in graph.shapes.values()])
        return self._table({0: self._string(_MAIN), 1: operators, 2: tensors, 3: inputs, 4: outputs, 5: shapes})

    def _version(self) -> int:
        self.builder.StartObject(4)
        for slot, number in enumerate(VERSION):
            self.builder.PrependInt32Slot(slot, number, -1)
        self.builder.PrependBoolSlot(3, False, True)
        return self.builder.EndObject()

    def _operator(self, item: Operator) -> int:
        attribute = self._attribute(ATTRIBUTE_FIELDS.get(item.op, ()), item.attribute)
        inputs, outputs = self._strings(item.inputs), self._strings(item.outputs)
        location = self._table({0: self._string(item.location)}) if item.location else 0
        self.builder.StartObject(6)
        self.builder.PrependUint32Slot(0, item.op, 0)
        self.builder.PrependUint8Slot(1, item.op, 0)
        self.builder.PrependUOffsetTRelativeSlot(2, attribute, 0)
        self.builder.PrependUOffsetTRelativeSlot(3, inputs, 0)
        self.builder.PrependUOffsetTRelativeSlot(4, outputs, 0)
        self.builder.PrependUOffsetTRelativeSlot(5, location, 0)
        return self.builder.EndObject()

    def _attribute(self, fields: Sequence[str], values: Mapping[str, AttributeValue]) -> int:
        unknown = values.keys() - set(fields)
        assert not unknown, f"no field {unknown}"
        vectors = {name: self._vector(value) for name, value in values.items() if not isinstance(value, int)}
        self.builder.StartObject(len(fields))
        for slot, name in enumerate(fields):
            value = values.get(name, 0)
            if name in vectors:
                self.builder.PrependUOffsetTRelativeSlot(slot, vectors[name], 0)
            elif isinstance(value, bool):
                self.builder.PrependBoolSlot(slot, value, False)
            elif isinstance(value, int):
                self.builder.PrependInt32Slot(slot, value, 0)
        return self.builder.EndObject()

    def _vector(self, value: bytes | Sequence[int]) -> int:
        return self._data(value) if isinstance(value, bytes) else self._integers(value)

    def _tensor(self, item: Tensor) -> int:
        name, shape = self._name(item.key), self._integers(item.shape)
        array = self.graph.arrays.get(item.key)
        stored = 0 if array is None else self._data(raw_bytes(array, item.dtype))
        self.builder.StartObject(6)
        self.builder.PrependUOffsetTRelativeSlot(0, name, 0)
        self.builder.PrependUOffsetTRelativeSlot(1, shape, 0)
        self.builder.PrependUint32Slot(2, DTYPE_OF[item.dtype], 0)
        self.builder.PrependUOffsetTRelativeSlot(3, stored, 0)
        return self.builder.EndObject()

    def _shape(self, item: ShapeConstant) -> int:
        name, data = self._name(item.key), self._data(pack(f"<{len(item.values)}q", *item.values))
        self.builder.StartObject(3)
        self.builder.PrependUOffsetTRelativeSlot(0, name, 0)
        self.builder.PrependUint32Slot(1, len(item.values), 0)
        self.builder.PrependUOffsetTRelativeSlot(2, data, 0)
        return self.builder.EndObject()

    def _table(self, offsets: Mapping[int, int]) -> int:
        """A table whose fields are all references."""
        self.builder.StartObject(max(offsets) + 1)
        for slot, offset in offsets.items():
            self.builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
        return self.builder.EndObject()

    def _name(self, key: str) -> int:
        return self._string(self.graph.names.get(key, key))

    def _string(self, text: str) -> int:
        return self.builder.CreateSharedString(text)

    def _strings(self, keys: Sequence[str]) -> int:
        return self._offsets([self._name(key) for key in keys])

    def _data(self, data: bytes) -> int:
        """Bytes that begin at a multiple of 8."""
        self.builder.Prep(_DATA_ALIGNMENT, len(data))
        return self.builder.CreateByteVector(data)

    def _integers(self, values: Sequence[int]) -> int:
        self.builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            self.builder.PrependInt32(value)
        return self.builder.EndVector()

    def _offsets(self, offsets: Sequence[int]) -> int:
        self.builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.builder.PrependUOffsetTRelative(offset)
        return self.builder.EndVector()
