# pyright: reportUnknownMemberType=false
"""Bias correction: the mean error of every output channel taken off its layer's bias.

Rounded weights and clipped inputs shift the mean of a layer's output; the bias takes that back for nothing (Nagel et
al. 2019, arXiv:1906.04721, section 4.2, empirically). Layers are corrected in order, each with inputs as the integer
program computes them behind the layers that have been corrected: later ones take back what earlier ones leave.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from engine.analyze.evaluator import Sample
from engine.errors import Cancelled
from engine.graph.float_run import FloatModel
from engine.graph.graph import Graph, Node
from engine.memory import release_free_memory
from engine.ops.elementwise import Clip, Relu
from engine.ops.linear import Conv, ConvTranspose, Linear
from engine.plan.corrections import Corrected, Correction
from engine.plan.types import Plan, Resolution, Unit
from engine.program.executor import run_instruction
from engine.program.types import Convolution, FullyConnected, Instruction, Program
from engine.quantise.observing import Watch, watch_values
from engine.quantise.step import Work

if TYPE_CHECKING:
    from engine.session import Session

Floats = NDArray[np.float64]

SAMPLES = 16
"""That are carried through the program side by side."""

LEAST_ACTIVE = 0.05
"""A channel of which a smaller share is within its Relu or Clip keeps its bias: it would have to move too far."""


@dataclass(frozen=True)
class BiasCorrection:
    """See the module."""

    title: str = "Take mean errors off the biases"

    def __call__(self, session: Session, work: Work) -> Plan:
        """A plan with other biases for the layers whose mean error that lowers; the session's own where there is none.

        Raises:
            CalibrationError, GraphError: The session is not calibrated, or has no integer program.
            Cancelled: ``work.cancelled()``.
        """
        biases = corrected_biases(session, work.samples[:SAMPLES], work)
        if not biases:
            return session.plan
        title = f"mean errors of {len(biases)} layers taken off their biases"
        return session.plan.with_correction(
            session.corrections.add(Correction(kind="bias", title=title, biases=biases))
        )


def corrected_biases(session: Session, samples: Sequence[Sample], work: Work) -> Mapping[str, Floats]:
    """New biases by node, float64 [channels], of layers in integers whose mean error they lower on samples.

    Raises:
        Cancelled: ``work.cancelled()``.
    """
    graph, program = session.graph, session.program()
    layers = _layers(graph, session.resolve(), program)
    targets = _float_means(session.evaluator.model, graph, layers, samples, work.cancelled)
    corrected = Corrected.of(map(session.corrections.get, session.plan.corrections), session.source_graph)
    walk = _Walk(program, samples)
    found: dict[str, Floats] = {}
    for done, item in enumerate(program.instructions):
        if work.cancelled():
            raise Cancelled
        layer = layers.get(item.outputs[0])
        results = walk.run(item)
        if layer is not None and isinstance(item.op, Convolution | FullyConnected):
            change, results = _settled(walk, item, item.op, results, layer, targets[item.outputs[0]])
            if change.any():
                found[layer.node.id] = _bias_of(graph, layer.node, corrected, len(change)) + change
        walk.take(item, results)
        work.progress(done + 1, len(program.instructions))
    release_free_memory()
    return found


@dataclass(frozen=True)
class _Layer:
    """A layer of multiplications and the function that its requantisation clamps with; ``axis`` is of its channels."""

    node: Node
    axis: int
    scale: float
    low: float
    high: float


def _layers(graph: Graph, resolution: Resolution, program: Program) -> Mapping[str, _Layer]:
    """The layers in integers by the value that their unit makes."""
    found: dict[str, _Layer] = {}
    for unit in resolution.units:
        node, value = graph.by_id[unit.anchor], graph.by_id[unit.last].outputs[0]
        if isinstance(node.op, Conv | ConvTranspose | Linear) and program.types[value].is_quantised:
            axis = len(graph.types[value].shape) - 1 if isinstance(node.op, Linear) else 1
            found[value] = _Layer(node, axis, program.types[value].scale, *_bounds(graph, unit))
    return found


def _bounds(graph: Graph, unit: Unit) -> tuple[float, float]:
    """Between which values the unit's function lets its sums through."""
    low, high = -np.inf, np.inf
    for node_id in unit.nodes:
        op = graph.by_id[node_id].op
        if isinstance(op, Relu):
            low = max(low, 0.0)
        elif isinstance(op, Clip):
            low, high = max(low, op.low), min(high, op.high)
    return low, high


def _float_means(
    model: FloatModel, graph: Graph, layers: Mapping[str, _Layer], samples: Sequence[Sample], cancelled: Watch
) -> Mapping[str, Floats]:
    """The float model's mean of each channel of every layer. Raises Cancelled."""
    sums = {value: np.zeros(graph.types[value].shape[layer.axis]) for value, layer in layers.items()}

    def seen(name: str, array: NDArray[np.float32]) -> None:
        others = tuple(axis for axis in range(array.ndim) if axis != layers[name].axis)
        sums[name] += array.mean(axis=others, dtype=np.float64)

    watch_values(model, samples, layers, seen, cancelled)
    return {value: total / len(samples) for value, total in sums.items()}


class _Walk:
    """Carries samples through a program side by side; what nothing reads any more is dropped."""

    def __init__(self, program: Program, samples: Sequence[Sample]) -> None:
        self._program = program
        arrays = [{value: sample.inputs[name] for name, value in program.inputs.items()} for sample in samples]
        self._values = [
            {value: torch.from_numpy(np.ascontiguousarray(array)) for value, array in fed.items()} for fed in arrays
        ]
        self._last = {name: item for item in program.instructions for name in item.inputs}

    def run(self, item: Instruction) -> list[tuple[torch.Tensor, ...]]:
        """What an instruction makes of each sample."""
        return [run_instruction(item, [self._operand(values, name) for name in item.inputs]) for values in self._values]

    def take(self, item: Instruction, results: Sequence[tuple[torch.Tensor, ...]]) -> None:
        """Go on with these results."""
        for values, outputs in zip(self._values, results, strict=True):
            values.update((n, t) for n, t in zip(item.outputs, outputs, strict=True) if n in self._last)
            for name in item.inputs:
                if self._last[name] is item:
                    values.pop(name, None)

    def _operand(self, values: Mapping[str, torch.Tensor], name: str) -> torch.Tensor | None:
        constant = self._program.constants.get(name)
        return (values[name] if constant is None else constant.tensor) if name else None


def _settled(
    walk: _Walk,
    item: Instruction,
    op: Convolution | FullyConnected,
    results: list[tuple[torch.Tensor, ...]],
    layer: _Layer,
    target: Floats,
) -> tuple[Floats, list[tuple[torch.Tensor, ...]]]:
    """The change of a layer's bias, [channels] in real units, that brings its means to the target, and its results with
    it. Channels whose mean it does not bring nearer keep theirs.
    """
    means, active = _means(results, layer)
    error = means - target
    steps = np.asarray(op.scaling.multiplier, np.float64) * 2.0 ** -np.asarray(op.scaling.shift, np.float64)
    accumulator = layer.scale * steps
    moves = (active >= LEAST_ACTIVE) & (accumulator > 0.0)
    wanted = np.where(moves, -error / (np.maximum(active, LEAST_ACTIVE) * np.where(moves, accumulator, 1.0)), 0.0)
    change = np.rint(wanted).astype(np.int64)
    after, _ = _means(walk.run(replace(item, op=replace(op, bias=op.bias + change))), layer)
    change = np.where(np.abs(after - target) < np.abs(error), change, 0)
    if not change.any():
        return change.astype(np.float64), results
    return change * accumulator, walk.run(replace(item, op=replace(op, bias=op.bias + change)))


def _means(results: Sequence[tuple[torch.Tensor, ...]], layer: _Layer) -> tuple[Floats, Floats]:
    """Mean of each channel in real units, and the share of it that is strictly within the layer's bounds."""
    low, high = layer.low / layer.scale, layer.high / layer.scale
    totals, active = list[Floats](), list[Floats]()
    for (tensor,) in results:
        rows = tensor.movedim(layer.axis, 0).reshape(tensor.shape[layer.axis], -1)
        totals.append(rows.mean(dim=1, dtype=torch.float64).numpy())
        within = (rows > low + 0.5) & (rows < high - 0.5)
        active.append(within.to(torch.float64).mean(dim=1).numpy())
    return np.mean(totals, axis=0) * layer.scale, np.mean(active, axis=0)


def _bias_of(graph: Graph, node: Node, corrected: Corrected, channels: int) -> Floats:
    """The bias that the program has now."""
    if node.id in corrected.biases:
        return np.asarray(corrected.biases[node.id], np.float64)
    if len(node.inputs) > 2 and node.inputs[2]:
        return np.asarray(graph.constants[node.inputs[2]].once(), np.float64).reshape(-1)
    return np.zeros(channels)
