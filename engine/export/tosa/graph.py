"""A TOSA graph under construction: tensors, constants and operators, with the shapes that each one has."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from numpy.typing import NDArray

from engine.errors import ExportError
from engine.export.tosa.schema import LARGEST_RANK, TosaOp, raw_bytes

Shape = tuple[int, ...]
AttributeValue = int | bool | bytes | Sequence[int]
HINT = "mark the node float, or export a package"


@dataclass(frozen=True)
class Tensor:
    """A tensor of the graph: ``dtype`` is int8, int16, int32 or int48."""

    key: str
    shape: Shape
    dtype: str

    @property
    def rank(self) -> int:
        return len(self.shape)


@dataclass(frozen=True)
class ShapeConstant:
    """A constant list of sizes (a CONST_SHAPE)."""

    key: str
    values: Shape


@dataclass(frozen=True)
class Operator:
    """One operator with its operands by key.

    ``location`` names the graph nodes that it computes, ``unit`` the unit that they belong to ("" for constants).
    """

    op: TosaOp
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attribute: Mapping[str, AttributeValue]
    location: str
    unit: str = ""


@dataclass
class TosaGraph:
    """Operators in order. ``arrays`` holds the values of constants, ``names`` what keys are called in the file.

    ``transposed`` remembers what TRANSPOSE was applied to, so that two in a row become one. ``node``, ``location``
    and ``unit`` say for whom operators are being added.
    """

    tensors: list[Tensor] = field(default_factory=list[Tensor])
    shapes: dict[Shape, ShapeConstant] = field(default_factory=dict[Shape, ShapeConstant])
    arrays: dict[str, NDArray[np.signedinteger]] = field(default_factory=dict[str, "NDArray[np.signedinteger]"])
    operators: list[Operator] = field(default_factory=list[Operator])
    inputs: list[Tensor] = field(default_factory=list[Tensor])
    outputs: list[Tensor] = field(default_factory=list[Tensor])
    names: dict[str, str] = field(default_factory=dict[str, str])
    transposed: dict[str, tuple[Tensor, Shape]] = field(default_factory=dict[str, "tuple[Tensor, Shape]"])
    node: str = ""
    location: str = ""
    unit: str = ""
    _constants: dict[tuple[object, ...], Tensor] = field(default_factory=dict[tuple[object, ...], Tensor])

    def refuse(self, message: str) -> ExportError:
        """The error for what has no TOSA form, naming the node that operators are being added for."""
        return ExportError(f"{message} has no TOSA form", node=self.node, hint=HINT)

    def input(self, shape: Shape, dtype: str) -> Tensor:
        """A new tensor that the caller feeds."""
        tensor = self._tensor(shape, dtype)
        self.inputs.append(tensor)
        return tensor

    def constant(self, array: NDArray[np.signedinteger], dtype: str | None = None) -> Tensor:
        """A constant of the array's type, or of ``dtype`` (int48 from int64); equal ones are one tensor."""
        dtype = dtype or array.dtype.name
        content = (dtype, array.shape, hashlib.blake2b(raw_bytes(array, dtype), digest_size=16).digest())
        found = self._constants.get(content)
        if found is None:
            found = self._constants[content] = self._tensor(tuple(array.shape), dtype)
            self.arrays[found.key] = array
            self.operators.append(Operator(TosaOp.CONST, (), (found.key,), {}, ""))
        return found

    def scalar(self, value: int, dtype: str, rank: int) -> Tensor:
        """A constant of one element that broadcasts against tensors of ``rank`` axes."""
        return self.constant(np.full((1,) * rank, value, np.int64), dtype)

    def sizes(self, values: Sequence[int]) -> ShapeConstant:
        """A constant list of sizes; equal ones are one."""
        key = tuple(int(value) for value in values)
        found = self.shapes.get(key)
        if found is None:
            found = self.shapes[key] = ShapeConstant(f"shape{len(self.shapes)}", key)
            self.operators.append(Operator(TosaOp.CONST_SHAPE, (), (found.key,), {}, ""))
        return found

    def add(
        self,
        op: TosaOp,
        inputs: Sequence[Tensor | ShapeConstant],
        shape: Shape,
        dtype: str,
        **attribute: AttributeValue,
    ) -> Tensor:
        """Append an operator of one output of the given shape and type.

        Raises:
            ExportError: The output is empty or has more axes than TOSA allows.
        """
        result = self._tensor(shape, dtype)
        keys = tuple(item.key for item in inputs)
        self.operators.append(Operator(op, keys, (result.key,), attribute, self.location, self.unit))
        if op is TosaOp.TRANSPOSE:
            self.transposed[result.key] = cast("Tensor", inputs[0]), tuple(cast("Shape", attribute["perms"]))
        return result

    def prune(self) -> None:
        """Remove operators, tensors and sizes that no output needs; inputs stay."""
        needed = {tensor.key for tensor in (*self.outputs, *self.inputs)}
        kept: list[Operator] = []
        for item in reversed(self.operators):
            if needed.intersection(item.outputs):
                needed.update(item.inputs)
                kept.append(item)
        self.operators = kept[::-1]
        self.tensors = [tensor for tensor in self.tensors if tensor.key in needed]
        self.shapes = {values: item for values, item in self.shapes.items() if item.key in needed}

    def _tensor(self, shape: Shape, dtype: str) -> Tensor:
        if len(shape) > LARGEST_RANK or 0 in shape:
            raise self.refuse(f"a tensor of shape {list(shape)} (at most {LARGEST_RANK} axes, none empty)")
        tensor = Tensor(f"tensor{len(self.tensors)}", tuple(int(size) for size in shape), dtype)
        self.tensors.append(tensor)
        return tensor
