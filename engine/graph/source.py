"""A source node as its converter sees it, and the registry of converters.

A converter turns one ONNX node, whose constant inputs are known, into typed operators. It registers for a domain and
an operator type, and returns the steps to take, the known values of the outputs, or None: then the node stays an
``OnnxOp``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from engine.errors import GraphError
from engine.graph.graph import Constant, TensorType
from engine.ops.base import Op


@dataclass(frozen=True)
class Apply:
    """Apply an operator; ``outputs`` are the source node's unless given."""

    op: Op
    inputs: tuple[str, ...]
    outputs: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Known:
    """The outputs are constants."""

    constants: tuple[Constant, ...]

    @staticmethod
    def of(array: NDArray[np.generic]) -> Known:
        return Known((Constant.of(array),))


@dataclass(frozen=True)
class Elements:
    """The output is a sequence of known length: ``values``, made by ``steps`` where they are not there already."""

    values: tuple[str, ...]
    steps: tuple[Apply, ...] = ()


Converted: TypeAlias = Sequence[Apply] | Known | Elements | None
Converter: TypeAlias = Callable[["SourceNode"], Converted]

CONVERTERS: dict[tuple[str, str], Converter] = {}
"""Converters by (domain, operator type). Filled when ``engine.graph.converters`` is imported, constant afterwards."""


def converts(*op_types: str, domain: str = "") -> Callable[[Converter], Converter]:
    """Decorator that registers a converter. A second registration is a programming error."""

    def add(converter: Converter) -> Converter:
        for op_type in op_types:
            if (domain, op_type) in CONVERTERS:
                raise ValueError(f"{domain}::{op_type} is registered twice")
            CONVERTERS[domain, op_type] = converter
        return converter

    return add


def _as_written(value: float) -> float:
    """The shortest decimal that is this float32: what the author wrote, 1e-05 and not 9.999999747e-06."""
    return float(str(np.float32(value)))


@dataclass(frozen=True)
class SourceNode:
    """One ONNX node with its inputs resolved to values of known type.

    ``version`` is the opset of the node's domain; ``sequences`` are the elements of sequences that are known;
    ``fresh`` makes an unused value name, ``add_constant`` registers a constant; both take a stem.
    """

    name: str
    op_type: str
    domain: str
    version: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, ir.Attr]
    types: Mapping[str, TensorType]
    constants: Mapping[str, Constant]
    sequences: Mapping[str, tuple[str, ...]]
    fresh: Callable[[str], str] = field(repr=False)
    add_constant: Callable[[str, Constant], str] = field(repr=False)

    # --- inputs and outputs

    def has(self, index: int) -> bool:
        """Is the optional input there?"""
        return index < len(self.inputs) and bool(self.inputs[index])

    def given(self, count: int) -> tuple[str, ...]:
        """The first ``count`` inputs, without absent ones at the end."""
        inputs = list(self.inputs[:count])
        while inputs and not inputs[-1]:
            inputs.pop()
        return tuple(inputs)

    def wants(self, index: int) -> bool:
        """Is the optional output used by name?"""
        return index < len(self.outputs) and bool(self.outputs[index])

    def type(self, index: int) -> TensorType:
        """Type of an input that is there."""
        return self.types[self.inputs[index]]

    def shape(self, index: int) -> tuple[int, ...]:
        return self.type(index).shape

    def is_constant(self, index: int) -> bool:
        return self.has(index) and self.inputs[index] in self.constants

    def array(self, index: int) -> NDArray[np.generic] | None:
        """The values of a constant input; None where it is not constant or not there."""
        return self.constants[self.inputs[index]].array if self.is_constant(index) else None

    def integers(self, index: int) -> tuple[int, ...] | None:
        """The values of a constant integer input, flattened; None where it is not constant or not there."""
        array = self.array(index)
        return None if array is None else tuple(int(value) for value in np.ravel(array))

    def scalar(self, index: int) -> float | None:
        """The value of a constant input with one element; None otherwise."""
        if not self.is_constant(index) or self.type(index).element_count != 1:
            return None
        array = self.constants[self.inputs[index]].array
        value = float(array.item())
        return _as_written(value) if array.dtype == np.float32 else value

    # --- attributes

    def integer(self, name: str, default: int = 0) -> int:
        attribute = self.attributes.get(name)
        return default if attribute is None else int(attribute.as_int())

    def real(self, name: str, default: float = 0.0) -> float:
        attribute = self.attributes.get(name)
        return default if attribute is None else _as_written(attribute.as_float())

    def text(self, name: str, default: str = "") -> str:
        attribute = self.attributes.get(name)
        return default if attribute is None else str(attribute.as_string())

    def integer_list(self, name: str) -> tuple[int, ...] | None:
        """The attribute's values, or None where it is not there."""
        attribute = self.attributes.get(name)
        return None if attribute is None else tuple(int(value) for value in attribute.as_ints())

    def real_list(self, name: str) -> tuple[float, ...] | None:
        attribute = self.attributes.get(name)
        return None if attribute is None else tuple(float(value) for value in attribute.as_floats())

    # --- helpers for converters

    def axis(self, value: int, rank: int) -> int:
        """A non-negative axis.

        Raises:
            GraphError: The axis is out of range.
        """
        if not -rank <= value < rank:
            raise GraphError(f"axis {value} is out of range for {rank} dimensions", node=self.name)
        return value % rank

    def axes(self, values: Sequence[int], rank: int) -> tuple[int, ...]:
        """Sorted non-negative axes."""
        return tuple(sorted(self.axis(value, rank) for value in values))

    def axes_in_order(self, name: str, rank: int) -> tuple[int, ...]:
        """Non-negative axes of an attribute in the order given; all axes where it is not there."""
        listed = self.integer_list(name)
        return tuple(range(rank)) if listed is None else tuple(self.axis(value, rank) for value in listed)

    def attribute_or_input(self, name: str, index: int) -> tuple[int, ...] | None:
        """Integers that older opsets keep in an attribute and newer ones in a constant input."""
        listed = self.integer_list(name)
        return listed if listed is not None else self.integers(index)

    def constant(self, array: NDArray[np.generic], stem: str = "constant") -> str:
        """Register an array as a constant; returns its value name."""
        return self.add_constant(f"{self.outputs[0]}/{stem}", Constant.of(array))

    def inner(self, stem: str) -> str:
        """A name for a value between two steps of one conversion."""
        return self.fresh(f"{self.outputs[0]}/{stem}")
