# pyright: reportUnknownMemberType=false
"""Running the float graph for those who watch many samples: convolutions packed once for oneDNN.

Torch lays out a convolution's weights anew at every call; for the small convolutions of mobile networks that takes as
long as the products. Packed ahead, with a clamp behind computed in the same call, the forward takes half the time.
Results are those of :class:`engine.graph.float_run.FloatModel` up to the order of float32 additions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from engine.graph.float_run import Feeds, FloatModel, Visit, fed_tensor
from engine.graph.graph import Node
from engine.graph.unsupported import check_runnable
from engine.ops.elementwise import Clip, Relu
from engine.ops.float_kernels.linear import pad_pairs
from engine.ops.linear import Conv

_Kernel = Callable[[Tensor], Tensor]


def _packing_is_there() -> bool:
    """Whether this torch computes packed convolutions with what follows (it does where it has oneDNN)."""
    ops = torch.ops.mkldnn
    return torch.backends.mkldnn.is_available() and hasattr(ops, "_convolution_pointwise")


@dataclass(frozen=True)
class _Step:
    """One node, or a convolution and the clamp behind it; ``packed`` computes its one input."""

    node: Node
    last: Node
    packed: _Kernel | None


class PackedModel:
    """A graph ready to run in float on many samples; weights that are packed are held a second time."""

    def __init__(self, model: FloatModel) -> None:
        self.graph = model.graph
        self._model = model
        self._weights: dict[str, Tensor] = {}
        self._places = {node.id: index for index, node in enumerate(model.graph.nodes)}

    @cached_property
    def _whole(self) -> Sequence[_Step]:
        return self._steps(merging=False)

    @cached_property
    def _merged(self) -> Sequence[_Step]:
        return self._steps(merging=True)

    @cached_property
    def hidden(self) -> frozenset[str]:
        """Values that are never made unless a run is ``whole``."""
        return frozenset(step.node.outputs[0] for step in self._merged if step.last is not step.node)

    def run(self, inputs: Feeds, visit: Visit, *, whole: bool = True) -> None:
        """Run all nodes in order; see :meth:`FloatModel.run`. Unless ``whole``, a clamp is computed with the
        convolution that only it reads, and that convolution is not visited.
        """
        check_runnable(self.graph)
        values = {name: fed_tensor(self.graph, name, inputs) for name in self.graph.inputs}
        steps, dying = self._whole if whole else self._merged, self._model.dying
        with torch.inference_mode():
            for step in steps:
                if step.packed is None:
                    outputs = self._model.outputs_of(step.node, values)
                else:
                    outputs = (step.packed(values[step.node.inputs[0]]),)
                values.update((name, value) for name, value in zip(step.last.outputs, outputs, strict=False) if name)
                visit(step.last, outputs)
                for node in {step.node.id: step.node, step.last.id: step.last}.values():
                    for name in dying[self._places[node.id]]:
                        values.pop(name, None)

    def _steps(self, *, merging: bool) -> Sequence[_Step]:
        clamps = {step.id: clamp for step in self.graph.nodes if merging and (clamp := self._clamp_of(step))}
        merged = {clamp.id for clamp in clamps.values()}
        steps: list[_Step] = []
        for node in self.graph.nodes:
            if node.id not in merged:
                clamp = clamps.get(node.id)
                steps.append(_Step(node, clamp or node, self._packed(node, clamp)))
        return steps

    def _clamp_of(self, node: Node) -> Node | None:
        """The clamp that alone reads a convolution which can be packed."""
        readers = self.graph.consumers.get(node.outputs[0], ())
        alone = len(readers) == 1 and node.outputs[0] not in self.graph.outputs
        return readers[0] if alone and self._can_pack(node) and isinstance(readers[0].op, Relu | Clip) else None

    def _can_pack(self, node: Node) -> bool:
        op, graph = node.op, self.graph
        if not isinstance(op, Conv) or len(op.strides) != 2 or not _packing_is_there():
            return False
        parameters = [name for name in node.inputs[1:] if name]
        constant = all(name in graph.constants for name in parameters)
        return constant and all(graph.types[name].dtype == "float32" for name in (node.inputs[0], *parameters))

    def _packed(self, node: Node, clamp: Node | None) -> _Kernel | None:
        op = node.op
        if not isinstance(op, Conv) or not self._can_pack(node):
            return None
        plain = self._model.weight(node.inputs[1])
        pads, padding, taps = _padding(op, len(plain[0]))
        shape = list(self.graph.types[node.inputs[0]].shape)
        if pads:
            shape[2:] = [size + sum(op.pads[axis::2]) for axis, size in enumerate(shape[2:])]
        options: tuple[Any, ...] = (padding, list(op.strides), list(op.dilations), op.groups)
        weight = self._weights.get(node.id)
        if weight is None:
            wide = functional.pad(plain, taps) if any(taps) else plain
            weight = self._weights[node.id] = torch.ops.mkldnn._reorder_convolution_weight(wide, *options, shape)
        bias = self._model.weight(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
        after = _attribute(clamp)

        def run(x: Tensor) -> Tensor:
            x = functional.pad(x, pads) if pads else x
            return torch.ops.mkldnn._convolution_pointwise(x, weight, bias, *options, *after, "")

        return run


def _padding(op: Conv, channels: int) -> tuple[list[int], list[int], list[int]]:
    """What to pad the input with, what both sides are padded with in the convolution, and what to pad the kernel with,
    for a convolution whose every output reads ``channels`` channels.

    oneDNN takes one amount for both sides. Where they differ, taps of zero make up for it: in the input, padding costs
    a copy, which takes longer than a depthwise convolution does. Other convolutions would have to multiply by them.
    """
    begins, ends = op.pads[:2], op.pads[2:]
    if begins == ends:
        return [], list(begins), []
    lacking = [end - begin for begin, end in zip(begins, ends, strict=True)]
    if channels > 1 or any(size % step for size, step in zip(lacking, op.dilations, strict=True)):
        return pad_pairs(op.pads), [0, 0], []
    more = [size // step for size, step in zip(lacking, op.dilations, strict=True)]
    taps = pad_pairs([*(max(size, 0) for size in more), *(max(-size, 0) for size in more)])
    return [], [max(pair) for pair in zip(begins, ends, strict=True)], taps


def _attribute(clamp: Node | None) -> tuple[str, list[float]]:
    """oneDNN's name for what follows a convolution, and its parameters."""
    if clamp is None:
        return "none", []
    if isinstance(clamp.op, Clip):
        largest = float(np.finfo(np.float32).max)
        return "hardtanh", [max(clamp.op.low, -largest), min(clamp.op.high, largest)]
    return "relu", []

