"""An ONNX model under construction, and what a typed operator sees of it while it becomes nodes."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from engine.graph.graph import TensorType
from engine.ops.base import Behaviour

TO_ONNX: Behaviour[Callable[[Any, Emission], None]] = Behaviour("ONNX nodes")
"""``(op, emission) -> None``: add the nodes that compute the operator."""

Dimensions = Sequence[int | str]
Attribute = int | float | str | Sequence[int] | Sequence[float]


@dataclass
class OnnxBuilder:
    """Nodes and initializers of one ONNX graph, with unique names.

    ``opset`` is the version of the standard operators; ``domains`` collects the versions of others.
    """

    opset: int
    nodes: list[onnx.NodeProto] = field(default_factory=list[onnx.NodeProto])
    initializers: dict[str, onnx.TensorProto] = field(default_factory=dict[str, onnx.TensorProto])
    domains: dict[str, int] = field(default_factory=dict[str, int])
    _values: set[str] = field(default_factory=set[str])
    _labels: set[str] = field(default_factory=set[str])

    def reserve(self, names: Sequence[str]) -> None:
        """Keep these value names from being given to anything new."""
        self._values.update(names)

    def fresh(self, stem: str) -> str:
        """An unused value name."""
        return _claimed(stem, self._values)

    def initializer(self, name: str, array: NDArray[np.generic]) -> str:
        """A constant under exactly this name; the second time it is the first one's."""
        if name not in self.initializers:
            self._values.add(name)
            self.initializers[name] = numpy_helper.from_array(np.array(array, order="C"), name)
        return name

    def constant(self, stem: str, array: NDArray[np.generic]) -> str:
        """A constant under a new name."""
        return self.initializer(self.fresh(stem), array)

    def node(
        self,
        op_type: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        label: str,
        **attributes: Attribute,
    ) -> None:
        """Append a node; absent optional inputs at the end are left out."""
        node = onnx.NodeProto(op_type=op_type, input=_trimmed(inputs), output=list(outputs))
        node.attribute.extend(helper.make_attribute(key, value) for key, value in sorted(attributes.items()))
        self.append(node, label)

    def append(self, node: onnx.NodeProto, label: str) -> None:
        """Append a node that is already made, under a name of its own."""
        node.name = _claimed(label, self._labels)
        self._values.update(node.output)
        self.nodes.append(node)

    def model(
        self,
        name: str,
        inputs: Mapping[str, tuple[str, Dimensions]],
        outputs: Mapping[str, tuple[str, Dimensions]],
        metadata: Mapping[str, str],
    ) -> onnx.ModelProto:
        """The finished model; ``inputs`` and ``outputs`` give dtype and dimensions of each value by name."""
        graph = helper.make_graph(
            self.nodes, name, _infos(inputs), _infos(outputs), list(self.initializers.values())
        )
        opsets = [helper.make_opsetid(domain, version) for domain, version in sorted(self.domains.items())]
        opsets.insert(0, helper.make_opsetid("", self.opset))
        model = helper.make_model(graph, opset_imports=opsets, producer_name="quantscope")
        model.ir_version = helper.find_min_ir_version_for(opsets, ignore_unknown=True)
        helper.set_model_props(model, dict(metadata))
        return model


def _infos(values: Mapping[str, tuple[str, Dimensions]]) -> list[onnx.ValueInfoProto]:
    return [
        helper.make_tensor_value_info(name, onnx_type(dtype), list(dims)) for name, (dtype, dims) in values.items()
    ]


def numpy_type(dtype: str) -> np.dtype[Any]:
    """The numpy type of a dtype name, bfloat16 and its like included."""
    return np.dtype(getattr(ml_dtypes, dtype, dtype))


def onnx_type(dtype: str) -> int:
    """ONNX's number of an element type."""
    return int(helper.np_dtype_to_tensor_dtype(numpy_type(dtype)))


def serialised(model: onnx.ModelProto) -> bytes:
    """The model's bytes, the same for the same model."""
    return model.SerializeToString(deterministic=True)


def _claimed(stem: str, taken: set[str]) -> str:
    name, count = stem, 1
    while name in taken:
        name = f"{stem}.{count}"
        count += 1
    taken.add(name)
    return name


def _trimmed(inputs: Sequence[str]) -> list[str]:
    names = list(inputs)
    while names and not names[-1]:
        names.pop()
    return names


@dataclass(frozen=True)
class Emission:
    """One operator becoming nodes: value names in the new model, and the types of its inputs.

    ``constants`` holds the arrays of constant inputs by position; ``label`` the new nodes' name.
    """

    builder: OnnxBuilder
    label: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    types: tuple[TensorType | None, ...]
    constants: Mapping[int, NDArray[np.generic]]

    def shape(self, index: int = 0) -> tuple[int, ...]:
        """Shape of an input that is there."""
        kind = self.types[index]
        assert kind is not None
        return kind.shape

    @property
    def dtype(self) -> str:
        """Element type of the first input."""
        kind = self.types[0]
        assert kind is not None
        return kind.dtype

    def has(self, index: int) -> bool:
        return index < len(self.inputs) and bool(self.inputs[index])

    def node(
        self,
        op_type: str,
        inputs: Sequence[str] | None = None,
        outputs: Sequence[str] | None = None,
        **attributes: Attribute,
    ) -> None:
        """Append a node; inputs and outputs are the operator's unless given."""
        self.builder.node(
            op_type,
            self.inputs if inputs is None else inputs,
            self.outputs if outputs is None else outputs,
            self.label,
            **attributes,
        )

    def inner(self, stem: str) -> str:
        """A name for a value between this operator's nodes."""
        return self.builder.fresh(f"{self.outputs[0]}/{stem}")

    def integers(self, stem: str, values: Sequence[int], shape: tuple[int, ...] | None = None) -> str:
        """A constant of int64."""
        array = np.array(values, dtype=np.int64)
        return self.builder.constant(f"{self.outputs[0]}/{stem}", array if shape is None else array.reshape(shape))

    def scalar(self, stem: str, value: float, dtype: str | None = None) -> str:
        """A constant of one element and no axes, in the first input's type unless given."""
        array = np.array(value).astype(numpy_type(dtype or self.dtype))
        return self.builder.constant(f"{self.outputs[0]}/{stem}", array)

    def ones(self, stem: str, shape: tuple[int, ...]) -> str:
        """A constant of ones in the first input's type."""
        return self.builder.constant(f"{self.outputs[0]}/{stem}", np.ones(shape, numpy_type(self.dtype)))
