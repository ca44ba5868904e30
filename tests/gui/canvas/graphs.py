"""Graphs for the canvas's tests and benchmark: chains, random ones, and one shaped like a Swin transformer."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from gui.canvas.layout import LayeredInput
from gui.canvas.scene import Scene, SceneEdge, SceneNode


def layered(count: int, edges: Sequence[tuple[int, int]], pins: dict[int, int] | None = None) -> LayeredInput:
    """A graph of equal boxes for the layered layout."""
    ends = np.array(edges, dtype=np.int64).reshape(-1, 2)
    pin = np.zeros(count, dtype=np.int8)
    for node, side in (pins or {}).items():
        pin[node] = side
    size = np.where(pin == 0, 1.0, 0.0)
    nothing = np.zeros(len(ends))
    return LayeredInput(170.0 * size, 58.0 * size, ends[:, 0].copy(), ends[:, 1].copy(), nothing, nothing.copy(), pin)


def random_edges(count: int, seed: int, reach: int = 12) -> list[tuple[int, int]]:
    """A connected acyclic graph: each node follows the one before, and some others near it."""
    source = random.Random(seed)
    edges: set[tuple[int, int]] = set()
    for node in range(1, count):
        edges.add((node - 1 if source.random() < 0.8 else source.randrange(max(0, node - reach), node), node))
        if source.random() < 0.3:
            edges.add((source.randrange(max(0, node - reach), node), node))
    return sorted(edges, key=lambda edge: (edge[1], edge[0]))


class SceneBuilder:
    """Adds one operator after the other."""

    def __init__(self) -> None:
        self._nodes: list[SceneNode] = []
        self._edges: list[SceneEdge] = []

    def add(
        self, title: str, kind: str, namespace: Sequence[str] = (), inputs: Sequence[str] = (), shapes: str = "1×49×96"
    ) -> str:
        """Add an operator; returns its id."""
        identity = "/".join((*namespace, f"{title}_{len(self._nodes)}"))
        self._nodes.append(SceneNode(identity, title, title.split("_")[0], tuple(namespace), shapes, kind))
        self._edges.extend(SceneEdge(source, identity, f"{shapes} int8") for source in inputs)
        return identity

    def linear(self, namespace: Sequence[str], title: str, source: str) -> str:
        """A MatMul and its bias in a module of their own."""
        module = (*namespace, title)
        return self.add("Add", "elementwise", module, [self.add("MatMul", "matmul", module, [source])])

    def scene(self) -> Scene:
        """What was added."""
        return Scene(tuple(self._nodes), tuple(self._edges))


def swin(depths: Sequence[int] = (2, 2, 6, 2)) -> Scene:
    """About 36 operators a block, two residual connections each, in modules as torch names them."""
    build = SceneBuilder()
    x = build.add("input", "io", shapes="1×3×224×224")
    x = build.add("Conv", "conv", ("features", "0"), [x])
    x = build.add("LayerNorm", "norm", ("features", "0"), [x])
    for stage, depth in enumerate(depths):
        for block in range(depth):
            x = _swin_block(build, ("features", str(2 * stage + 1), str(block)), x)
        module = ("features", str(2 * stage + 2))
        slices = [build.add(f"Slice_{i}", "layout", module, [x]) for i in range(4)]
        x = build.add("reduction", "matmul", module, [build.add("Concat", "layout", module, slices)])
    x = build.add("head", "matmul", (), [build.add("ReduceMean", "reduce", (), [x])])
    build.add("output", "io", (), [x])
    return build.scene()


def _swin_block(build: SceneBuilder, block: tuple[str, ...], x: str) -> str:
    attention, residual = (*block, "attn"), x
    x = build.add("norm1", "norm", block, [x])
    for title in ("Reshape", "Transpose", "Reshape"):
        x = build.add(title, "layout", attention, [x])
    x = build.linear(attention, "qkv", x)
    x = build.add("Transpose", "layout", attention, [build.add("Reshape", "layout", attention, [x])])
    q, k, v = (build.add(f"Gather_{part}", "layout", attention, [x]) for part in "qkv")
    q = build.add("Mul", "elementwise", attention, [q])
    scores = build.add("MatMul", "matmul", attention, [q, build.add("Transpose", "layout", attention, [k])])
    for title, kind in (("Add", "elementwise"), ("Add", "elementwise"), ("Softmax", "activation")):
        scores = build.add(title, kind, attention, [scores])
    x = build.add("MatMul", "matmul", attention, [scores, v])
    for title in ("Transpose", "Reshape"):
        x = build.add(title, "layout", attention, [x])
    x = build.linear(attention, "proj", x)
    for title in ("Reshape", "Transpose", "Reshape", "Slice", "Slice"):
        x = build.add(title, "layout", attention, [x])
    residual = build.add("Add", "elementwise", block, [residual, x])
    mlp = (*block, "mlp")
    x = build.linear(mlp, "0", build.add("norm2", "norm", block, [residual]))
    x = build.linear(mlp, "3", build.add("Gelu", "activation", mlp, [x]))
    return build.add("Add", "elementwise", block, [residual, x])
