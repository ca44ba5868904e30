"""Random graphs of all that lets a channel's factor through, stops it, makes it or reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from hypothesis import strategies as st

from engine.graph.graph import Constant, Graph, Node, TensorType
from engine.graph.type_rules import TYPE_RULES
from engine.ops.base import Op
from engine.ops.elementwise import (
    Add,
    Affine,
    Clip,
    Div,
    Gelu,
    LeakyRelu,
    Maximum,
    Minimum,
    Mul,
    PRelu,
    Relu,
    Sigmoid,
    Sub,
)  # fmt: skip
from engine.ops.layout import Concat, Gather, Pad, Reshape, Roll, Slice, Split, Transpose
from engine.ops.linear import Conv, ConvTranspose, Linear, MatMul
from engine.ops.other import Input
from engine.ops.reduce import (
    AveragePool,
    BatchNorm,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    MaxPool,
    ReduceMean,
    Resize,
    RMSNorm,
    Softmax,
)  # fmt: skip

CHANNELS = 4
SHAPE = (1, CHANNELS, 6, 6)


@dataclass
class Net:
    """A graph in the making; values keep their shapes by the type rules, constants are random."""

    seed: int = 0
    nodes: list[Node] = field(default_factory=list[Node])
    types: dict[str, TensorType] = field(default_factory=dict[str, TensorType])
    constants: dict[str, Constant] = field(default_factory=dict[str, Constant])

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def input(self, *shape: int) -> str:
        self.types["x"] = TensorType(shape or SHAPE, "float32")
        self.nodes.append(Node("x", Input(), (), ("x",)))
        return "x"

    def constant(self, *shape: int, around: float = 0.0) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = Constant.of((self.rng.normal(size=shape) * 0.4 + around).astype(np.float32))
        self.types[name] = self.constants[name].type
        return name

    def add(self, op: Op, *inputs: str, pieces: int = 1) -> str:
        """A node; returns its first output, the others are named like it with .1, .2, ... behind."""
        rule = TYPE_RULES.find(op)
        assert rule is not None
        name = f"n{len(self.nodes)}"
        names = (name, *(f"{name}.{index}" for index in range(1, pieces)))
        self.types.update(zip(names, rule(op, *(self.types[value] for value in inputs)), strict=True))
        self.nodes.append(Node(name, op, inputs, names))
        return name

    def shape(self, value: str) -> tuple[int, ...]:
        return self.types[value].shape

    def conv(self, source: str, outputs: int = CHANNELS, groups: int = 1, kernel: int = 3, *, bias: bool = True) -> str:
        inputs = self.shape(source)[1]
        weight = self.constant(outputs, inputs // groups, kernel, kernel)
        operands = (source, weight, self.constant(outputs)) if bias else (source, weight)
        pad = kernel // 2
        return self.add(Conv((1, 1), (pad,) * 4, (1, 1), groups), *operands)

    def linear(self, source: str, outputs: int | None = None, *, bias: bool = True) -> str:
        inputs = self.shape(source)[-1]
        weight = self.constant(outputs or inputs, inputs)
        return self.add(Linear(), *((source, weight, self.constant(outputs or inputs)) if bias else (source, weight)))

    def build(self, *outputs: str, name: str = "random") -> Graph:
        return Graph(name, tuple(self.nodes), self.types, self.constants, ("x",), outputs)


Grow = Callable[[Net, str, str], str]
"""Adds nodes that read the newest value and an older one, both of SHAPE; returns a value of SHAPE."""


def _unary(op: Op) -> Grow:
    return lambda net, a, b: net.add(op, a)


def _binary(op: Op) -> Grow:
    return lambda net, a, b: net.add(op, a, b)


def _with_constant(op: Op, *shape: int, around: float = 0.0) -> Grow:
    return lambda net, a, b: net.add(op, a, net.constant(*shape, around=around))


def _transposed_conv(net: Net, a: str, b: str) -> str:
    op = ConvTranspose((1, 1), (1, 1, 1, 1), (1, 1), (0, 0), 2)
    return net.add(op, a, net.constant(CHANNELS, CHANNELS // 2, 3, 3), net.constant(CHANNELS))


def _batch_norm(net: Net, a: str, b: str) -> str:
    return net.add(BatchNorm(), a, net.constant(CHANNELS, around=1.0), net.constant(CHANNELS))


def _joined(net: Net, a: str, b: str) -> str:
    """Channels of two values side by side, shuffled, convolved."""
    both = net.add(Concat(1), a, b)
    shuffled = net.add(Gather(1, (5, 0, 3, 1, 7, 2, 6, 4), (8,)), both)
    return net.conv(shuffled, CHANNELS, 2)


def _parted(net: Net, a: str, b: str) -> str:
    """One half of the channels goes on, the other is multiplied by a gate."""
    half = net.add(Split(1, (2, 2)), net.conv(a), pieces=2)
    gated = net.add(Mul(), f"{half}.1", net.add(Sigmoid(), half))
    return net.conv(net.add(Concat(1), half, gated))


def _gate(net: Net, a: str, b: str) -> str:
    """Squeeze and excitation."""
    wide = net.add(Relu(), net.conv(a))
    inner = net.add(Relu(), net.conv(net.add(ReduceMean((2, 3)), wide), 2, kernel=1))
    return net.conv(net.add(Mul(), wide, net.add(Sigmoid(), net.conv(inner, CHANNELS, kernel=1))))


def _rows(net: Net, a: str, b: str) -> str:
    """To tokens and back, through a norm and a block of two linear layers."""
    tokens = net.add(Transpose((0, 2, 1)), net.add(Reshape((1, CHANNELS, 36)), a))
    normed = net.add(LayerNorm(1), tokens, net.constant(CHANNELS, around=1.0), net.constant(CHANNELS))
    inner = net.add(Relu(), net.linear(normed, 6))
    mixed = net.linear(net.add(RMSNorm(1), inner, net.constant(6, around=1.0)), CHANNELS)
    return net.add(Reshape(SHAPE), net.add(Transpose((0, 2, 1)), mixed))


def _attention(net: Net, a: str, b: str) -> str:
    """Two heads over 36 tokens, with a window that is rolled, and queries, keys and values from one layer."""
    tokens = net.add(Roll((3,), (1,)), net.add(Transpose((0, 2, 1)), net.add(Reshape((1, CHANNELS, 36)), a)))
    normed = net.add(LayerNorm(1), tokens, net.constant(CHANNELS, around=1.0), net.constant(CHANNELS))
    parts = net.add(Reshape((1, 36, 3, 2, 2)), net.linear(normed, 12))
    split = net.add(Split(0, (1, 1, 1)), net.add(Transpose((2, 0, 3, 1, 4)), parts), pieces=3)
    q, k, v = (net.add(Reshape((1, 2, 36, 2)), value) for value in (split, f"{split}.1", f"{split}.2"))
    shares = net.add(Softmax(3), net.add(Affine(0.7, 0.0), net.add(MatMul(), q, net.add(Transpose((0, 1, 3, 2)), k))))
    heads = net.add(Transpose((0, 2, 1, 3)), net.add(MatMul(), shares, v))
    mixed = net.linear(net.add(Reshape((1, 36, CHANNELS)), heads), CHANNELS)
    return net.add(Reshape(SHAPE), net.add(Transpose((0, 2, 1)), mixed))


def _padded(net: Net, a: str, b: str) -> str:
    return net.add(Slice((0, 0, 0, 0), (1, 4, 6, 6), (1, 1, 1, 1)), net.add(Pad((0, 0, 1, 1, 0, 0, 1, 1)), a))


def _filled(net: Net, a: str, b: str) -> str:
    filled = net.add(Pad((0, 0, 1, 1, 0, 0, 1, 1), value=1.5), a)
    return net.add(Slice((0, 0, 1, 1), (1, 4, 7, 7), (1, 1, 1, 1)), filled)


def _group_norm(net: Net, a: str, b: str) -> str:
    return net.add(GroupNorm(2), a, net.constant(CHANNELS, around=1.0), net.constant(CHANNELS))


def _instance_norm(net: Net, a: str, b: str) -> str:
    return net.add(InstanceNorm(), a, net.constant(CHANNELS, around=1.0), net.constant(CHANNELS))


def _with_token(net: Net, a: str, b: str) -> str:
    """A constant row beside the others, as a class token."""
    joined = net.add(Concat(2), net.conv(a), net.constant(1, CHANNELS, 1, 6))
    return net.add(Slice((0, 0, 1, 0), (1, 4, 7, 6), (1, 1, 1, 1)), net.conv(joined))


GROWTH: tuple[Grow, ...] = (
    lambda net, a, b: net.conv(a),
    lambda net, a, b: net.conv(a, bias=False),
    lambda net, a, b: net.add(Relu(), net.conv(a)),
    lambda net, a, b: net.conv(a, groups=CHANNELS),
    lambda net, a, b: net.conv(net.add(Relu(), net.conv(a, 8, 2)), CHANNELS, 2),
    _transposed_conv, _batch_norm, _joined, _parted, _gate, _rows, _attention, _padded, _filled, _with_token,
    _group_norm, _instance_norm,
    _unary(Relu()), _unary(LeakyRelu(0.1)), _unary(Clip(0.0, float("inf"))), _unary(Clip(0.0, 1.0)), _unary(Gelu()),
    _unary(Affine(-2.0, 0.0)), _unary(Affine(2.0, 1.0)), _unary(MaxPool((3, 3), (1, 1), (1, 1, 1, 1))),
    _unary(AveragePool((3, 3), (1, 1), (1, 1, 1, 1))), _unary(Resize((6, 6), (1.0, 1.0))),
    _binary(Add()), _binary(Add()), _binary(Sub()), _binary(Mul()), _binary(Maximum()),
    _with_constant(Add(), CHANNELS, 1, 1), _with_constant(Add(), 1), _with_constant(Mul(), 1, CHANNELS, 1, 1),
    _with_constant(Minimum(), CHANNELS, 1, 1), _with_constant(Div(), CHANNELS, 1, 1, around=4.0),
    _with_constant(PRelu(), CHANNELS, 1, 1),
)  # fmt: skip


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """A random graph of up to 8 steps that ends in a convolution; at times two nodes share one weight."""
    net = Net(draw(st.integers(0, 1000)))
    values = [net.conv(net.input())]
    for _ in range(draw(st.integers(1, 8))):
        grow = draw(st.sampled_from(GROWTH))
        values.append(grow(net, values[-1], draw(st.sampled_from(values))))
    graph = net.build(net.conv(values[-1]))
    return _tied(graph) if draw(st.integers(0, 4)) == 0 else graph


def _tied(graph: Graph) -> Graph:
    """The graph with the first and the last convolution of equal shape sharing their weights."""
    first, last = graph.nodes[1], graph.nodes[-1]
    inputs = (last.inputs[0], first.inputs[1], *last.inputs[2:])
    return replace(graph, nodes=(*graph.nodes[:-1], replace(last, inputs=inputs)))
