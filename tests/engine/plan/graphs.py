"""Small float graphs with real constants, and random ones for properties of plans."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.graph.graph import Constant, Graph, Node, TensorType
from engine.ops.base import Op
from engine.ops.elementwise import Add, Affine, Clip, Div, Gelu, Mod, Mul, Pow, Relu, Sub, Tanh
from engine.ops.layout import Concat, Roll, Slice, Transpose
from engine.ops.linear import Conv
from engine.ops.other import Input
from engine.ops.reduce import ArgMax, AveragePool, LayerNorm, LogSoftmax, MaxPool, Softmax

Shape = tuple[int, ...]
SHAPE: Shape = (1, 4, 6, 6)


class Builder:
    """Adds nodes one by one; a node's id is the name of its first output."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.types: dict[str, TensorType] = {}
        self.constants: dict[str, Constant] = {}

    def input(self, name: str, shape: Shape = SHAPE, dtype: str = "float32") -> str:
        self.types[name] = TensorType(shape, dtype)
        self.nodes.append(Node(name, Input(), (), (name,)))
        return name

    def constant(self, name: str, array: NDArray[np.generic] | Sequence[float] | float) -> str:
        values = np.asarray(array)
        values = values.astype(np.float32) if values.dtype == np.float64 else values
        self.constants[name] = Constant.of(values)
        self.types[name] = self.constants[name].type
        return name

    def node(self, name: str, op: Op, *inputs: str, shape: Shape = SHAPE, dtype: str = "float32") -> str:
        self.types[name] = TensorType(shape, dtype)
        self.nodes.append(Node(name, op, tuple(inputs), (name,)))
        return name

    def conv(self, name: str, source: str, seed: int = 0) -> str:
        """A 3x3 convolution that keeps the shape."""
        channels = self.types[source].shape[1]
        weight = np.random.default_rng(seed).normal(0, 0.2, (channels, channels, 3, 3))
        return self.node(
            name, Conv((1, 1), (1, 1, 1, 1), (1, 1)), source, self.constant(f"{name}.weight", weight),
            shape=self.types[source].shape,
        )  # fmt: skip

    def build(self, *outputs: str) -> Graph:
        inputs = tuple(node.outputs[0] for node in self.nodes if isinstance(node.op, Input))
        return Graph("test", tuple(self.nodes), self.types, self.constants, inputs, outputs)


Grow = Callable[[Builder, str, Sequence[str], st.DataObject], str]
"""Adds a node with the given name that reads earlier values of SHAPE, and returns a value of SHAPE."""


def _binary(op: Op) -> Grow:
    def grow(builder: Builder, name: str, values: Sequence[str], data: st.DataObject) -> str:
        a, b = (data.draw(st.sampled_from(list(values))) for _ in range(2))
        return builder.node(name, op, a, b)

    return grow


def _unary(op: Op) -> Grow:
    return lambda builder, name, values, data: builder.node(name, op, data.draw(st.sampled_from(list(values))))


def _conv(builder: Builder, name: str, values: Sequence[str], data: st.DataObject) -> str:
    return builder.conv(name, data.draw(st.sampled_from(list(values))))


def _norm(builder: Builder, name: str, values: Sequence[str], data: st.DataObject) -> str:
    weight = builder.constant(f"{name}.weight", np.ones(SHAPE[-1], np.float32))
    return builder.node(name, LayerNorm(1), data.draw(st.sampled_from(list(values))), weight)


def _joined(builder: Builder, name: str, values: Sequence[str], data: st.DataObject) -> str:
    a, b = (data.draw(st.sampled_from(list(values))) for _ in range(2))
    builder.node(f"{name}.concat", Concat(1), a, b, shape=(1, 8, 6, 6))
    return builder.node(name, Slice((0, 2, 0, 0), (1, 6, 6, 6), (1, 1, 1, 1)), f"{name}.concat")


def _index(builder: Builder, name: str, values: Sequence[str], data: st.DataObject) -> str:
    source = data.draw(st.sampled_from(list(values)))
    builder.node(f"{name}.index", ArgMax(1, False), source, shape=(1, 6, 6), dtype="int64")
    return source


GROWTH: tuple[Grow, ...] = (
    _conv, _conv, _norm, _joined, _index,
    _binary(Add()), _binary(Sub()), _binary(Mul()), _binary(Div()), _binary(Pow()), _binary(Mod(True)),
    _unary(Relu()), _unary(Relu()), _unary(Clip(0.0, 6.0)), _unary(Clip(-1.0, 1.0)), _unary(Gelu()), _unary(Tanh()),
    _unary(Affine(0.5, 0.0)), _unary(Affine(-2.0, 0.0)), _unary(Affine(2.0, 1.0)),
    _unary(Transpose((0, 1, 3, 2))), _unary(Roll((1,), (2,))),
    _unary(MaxPool((3, 3), (1, 1), (1, 1, 1, 1))), _unary(AveragePool((3, 3), (1, 1), (1, 1, 1, 1))),
    _unary(Softmax(3)), _unary(LogSoftmax(3)),
)  # fmt: skip


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """A random graph of up to 10 steps; its outputs are the last value and, at times, one from its middle."""
    data = draw(st.data())
    builder = Builder()
    values = [builder.input("x")]
    for step in range(draw(st.integers(1, 10))):
        # Two of three nodes read what is newest, so that chains come about.
        recent = values[-1:] if draw(st.integers(0, 2)) else values
        values.append(draw(st.sampled_from(GROWTH))(builder, f"n{step}", recent, data))
    middle = draw(st.sampled_from(values)) if draw(st.booleans()) else values[-1]
    return builder.build(*dict.fromkeys((values[-1], middle)))
