"""Convolutional backbones of 1280 features with a classifier, by widths: what the head-swap test compiles."""

from __future__ import annotations

from dataclasses import dataclass

from engine.graph.graph import Graph
from engine.ops.elementwise import Add, Clip
from engine.ops.layout import Reshape
from engine.ops.linear import Conv, Linear
from engine.ops.reduce import AveragePool

from .graphs import GraphBuilder, Shape

FEATURES = 1280


@dataclass(frozen=True)
class Stage:
    """Inverted residual blocks: expansion, output channels, number, and stride of the first."""

    expansion: int
    channels: int
    blocks: int
    stride: int


MOBILENET_V2 = (
    Stage(1, 16, 1, 1),
    Stage(6, 24, 2, 2),
    Stage(6, 32, 3, 2),
    Stage(6, 64, 4, 2),
    Stage(6, 96, 3, 1),
    Stage(6, 160, 3, 2),
    Stage(6, 320, 1, 1),
)
"""Sandler et al., 2018, table 2."""


class Backbone(GraphBuilder):
    """A MobileNetV2 of a width and an input size, up to its classifier."""

    def __init__(self, width: float, size: int) -> None:
        super().__init__()
        self.value = self.input("image", (1, 3, size, size))
        self.shape: Shape = (1, 3, size, size)
        self.count = 0
        self.conv(max(8, round(32 * width / 8) * 8), 3, 2, 1)
        for stage in MOBILENET_V2:
            channels = max(8, round(stage.channels * width / 8) * 8)
            for block in range(stage.blocks):
                self.residual(stage.expansion, channels, stage.stride if block == 0 else 1)
        self.conv(FEATURES, 1, 1, 1)

    def conv(self, channels: int, kernel: int, stride: int, groups: int, clamp: bool = True) -> None:
        self.count += 1
        name, pad = f"conv{self.count}", kernel // 2
        batch, inputs, height, width = self.shape
        self.constant(f"{name}.w", (channels, inputs // groups, kernel, kernel))
        self.constant(f"{name}.b", (channels,))
        op = Conv((stride, stride), (pad,) * 4, (1, 1), groups)
        self.shape = (batch, channels, -(-height // stride), -(-width // stride))
        self.value = self.node(name, op, (self.value, f"{name}.w", f"{name}.b"), self.shape)
        if clamp:
            self.value = self.node(f"{name}.clip", Clip(0.0, 6.0), (self.value,), self.shape)

    def residual(self, expansion: int, channels: int, stride: int) -> None:
        before, value = self.shape, self.value
        hidden = before[1] * expansion
        if expansion > 1:
            self.conv(hidden, 1, 1, 1)
        self.conv(hidden, 3, stride, hidden)
        self.conv(channels, 1, 1, 1, clamp=False)
        if self.shape == before:
            self.value = self.node(f"add{self.count}", Add(), (value, self.value), self.shape)

    def classifier(self, classes: int) -> Graph:
        size = self.shape[2]
        pool = AveragePool((size, size), (1, 1), (0, 0, 0, 0))
        self.node("pool", pool, (self.value,), (1, FEATURES, 1, 1))
        self.node("flat", Reshape((1, FEATURES)), ("pool",), (1, FEATURES))
        self.constant("head.w", (classes, FEATURES))
        self.constant("head.b", (classes,))
        self.node("head", Linear(), ("flat", "head.w", "head.b"), (1, classes))
        return self.build("head")
