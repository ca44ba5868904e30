"""Values of which the file does not say all: sizes that depend on data, and types that are no tensors of numbers.

A value of *open* type keeps what is known of it as ONNX's own TypeProto; the graph shows an estimate of its shape. What
reads such a value stays an ``OnnxOp``, which computes with whatever sizes come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from engine.errors import GraphError
from engine.graph.graph import Constant, TensorType
from engine.graph.loop_types import loop_types
from engine.graph.onnx_scopes import subgraphs
from engine.graph.onnx_types import described, dimensions, dtype_name, inferred_types, is_numeric, proto_of, static_type
from engine.graph.source import Apply
from engine.ops.float_kernels import DTYPE_NAMES, numpy_dtype, run_node, to_torch
from engine.ops.other import OnnxOp

_SIZED_BY_DATA = frozenset({"Compress", "ImageDecoder", "NonMaxSuppression", "NonZero", "Unique"})
"""Their outputs' sizes depend on their first input's values; the sizes of others on their constant inputs at most."""


class OpenTypes:
    """The open values of one model while it is imported.

    Args:
        declared: Types that the file states for values.
    """

    def __init__(self, declared: Mapping[str, ir.Value]) -> None:
        self._declared = declared
        self._open: dict[str, onnx.TypeProto] = {}

    def __contains__(self, value: str) -> bool:
        return value in self._open

    def open(self, value: str, proto: onnx.TypeProto) -> TensorType:
        """Mark a value as open; returns what the graph shows as its type."""
        self._open[value] = proto
        if not is_numeric(proto):
            return TensorType((), described(proto))
        return TensorType(tuple(size or 1 for size in dimensions(proto) or ()), dtype_name(proto))

    def is_numeric(self, value: str) -> bool:
        """Whether the value is a tensor of numbers, of whatever size."""
        return value not in self._open or is_numeric(self._open[value])

    def is_opaque(self, value: str) -> bool:
        """Whether the value is known to be no tensor of numbers."""
        return value in self._open and not self.is_unknown(value) and not self.is_numeric(value)

    def described(self, value: str) -> str:
        """The type of an open value in words."""
        return described(self._open[value])

    @property
    def count(self) -> int:
        """How many tensors of open size there are."""
        return sum(is_numeric(proto) for proto in self._open.values())

    def sizes(self, types: Mapping[str, TensorType]) -> dict[str, tuple[int | None, ...]]:
        """The sizes of open tensors, None for those that depend on data; as many as ``types`` has."""
        return {
            name: dimensions(proto) or (None,) * len(types[name].shape)
            for name, proto in self._open.items()
            if name in types and is_numeric(proto)
        }

    def of(self, step: Apply, types: Mapping[str, TensorType], constants: Mapping[str, Constant]) -> list[TensorType]:
        """Types of the outputs of an operator that was kept whole; the open ones among them are marked.

        Raises:
            GraphError: The inputs do not fit the operator.
        """
        op, outputs = step.op, step.outputs or ()
        assert isinstance(op, OnnxOp)
        protos = [self._open.get(value) or proto_of(types[value]) for value in step.inputs]
        known = {index: constants[value] for index, value in enumerate(step.inputs) if value in constants}
        try:
            inferred = loop_types(op, protos, known) or inferred_types(op, protos, known)
        except GraphError:
            if not all(map(self.is_numeric, step.inputs)):
                return [self.stated(name) for name in outputs]
            trial = self._trial_alone(step, types, constants)
            if trial is None:
                raise
            return trial
        made = list(zip(outputs, inferred, strict=True))
        found = [static_type(proto) or self._declared_type(name, proto) for name, proto in made]
        if None not in found:
            return [kind for kind in found if kind is not None]
        trial = None if self._cannot_try(op, step.inputs) else _trial(op, step.inputs, types, constants)
        certain = trial is not None and self._is_certain(op, step.inputs, types, constants)
        return [
            kind or self._opened(name, proto, None if trial is None else trial[index], certain)
            for index, ((name, proto), kind) in enumerate(zip(made, found, strict=True))
        ]

    def _declared_type(self, name: str, inferred: onnx.TypeProto | None) -> TensorType | None:
        """What the file states of a value, if it states all and does not contradict what is known."""
        value = self._declared.get(name)
        if value is None or value.type is None or value.shape is None:
            return None
        proto = type_proto(value)
        kind, sizes = static_type(proto), dimensions(inferred)
        if kind is None or sizes is None:
            return kind
        agrees = len(sizes) == len(kind.shape) and all(a in (None, b) for a, b in zip(sizes, kind.shape, strict=True))
        return kind if agrees else None

    def _cannot_try(self, op: OnnxOp, inputs: Sequence[str]) -> bool:
        """A loop may not end on made-up numbers, and only tensors can be made up."""
        body = onnx.FunctionProto.FromString(op.body)
        return any(True for node in body.node for _ in subgraphs(node)) or not all(map(self.is_numeric, inputs))

    def _is_certain(
        self, op: OnnxOp, inputs: Sequence[str], types: Mapping[str, TensorType], constants: Mapping[str, Constant]
    ) -> bool:
        """Whether sizes found by a trial hold for all data: one float input, and constants."""
        free = [value for value in inputs if value not in constants]
        computed = all(value == inputs[0] and types[value].is_float for value in free)
        return computed and op.op_type not in _SIZED_BY_DATA and not any(value in self._open for value in free)

    def _trial_alone(
        self, step: Apply, types: Mapping[str, TensorType], constants: Mapping[str, Constant]
    ) -> list[TensorType] | None:
        """By a trial, where ONNX's inference fails on an operator that runs (it does on some of its functions)."""
        op = step.op
        assert isinstance(op, OnnxOp)
        if self._cannot_try(op, step.inputs) or not self._is_certain(op, step.inputs, types, constants):
            return None
        return _trial(op, step.inputs, types, constants)

    def _opened(self, name: str, proto: onnx.TypeProto | None, trial: TensorType | None, certain: bool) -> TensorType:
        if trial is not None and certain:
            return trial
        if trial is not None and (proto is None or not is_numeric(proto) or dimensions(proto) is None):
            proto = proto_of(trial)
            proto.tensor_type.ClearField("shape")
        if proto is None:
            proto = self._stated(name)
        kind = self.open(name, proto)
        sizes = dimensions(proto) or ((None,) * len(trial.shape) if trial is not None else ())
        if trial is None or len(sizes) != len(trial.shape):
            return kind
        estimate = (found or 1 if size is None else size for size, found in zip(sizes, trial.shape, strict=True))
        return TensorType(tuple(estimate), trial.dtype)

    def stated(self, name: str) -> TensorType:
        """The type that the file states for what a node makes that nobody knows; marked where it is not whole."""
        return self._declared_type(name, None) or self.open(name, self._stated(name))

    def is_unknown(self, value: str) -> bool:
        """Whether not even the kind of the value is known."""
        return value in self._open and self._open[value].WhichOneof("value") is None

    def _stated(self, name: str) -> onnx.TypeProto:
        """What the file states of a value that ONNX says nothing of; nothing, if that is nothing."""
        value = self._declared.get(name)
        return onnx.TypeProto() if value is None else type_proto(value)


def type_proto(value: ir.Value) -> onnx.TypeProto:
    """What a file states of a value."""
    proto = onnx.TypeProto()
    if value.type is not None:
        ir.serde.serialize_type_into(proto, value.type)
        if value.shape is not None:
            ir.serde.serialize_shape_into(proto, value.shape)
    return proto


def _trial(
    op: OnnxOp, inputs: Sequence[str], types: Mapping[str, TensorType], constants: Mapping[str, Constant]
) -> list[TensorType] | None:
    """Types of the results for inputs of zeros, or of ones (a step of 0 is none); None where neither will do."""
    for fill in (0, 1):
        tensors = [
            to_torch(constants[value].array if value in constants else _filled(types[value], fill)) for value in inputs
        ]
        try:
            return [TensorType(tuple(x.shape), DTYPE_NAMES[x.dtype]) for x in run_node(op, tensors)]
        except GraphError:
            continue
    return None


def _filled(kind: TensorType, value: int) -> NDArray[np.generic]:
    return np.full(kind.shape, value, np.int8).astype(numpy_dtype(kind.dtype))
