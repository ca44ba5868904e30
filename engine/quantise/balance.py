# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
"""Factors that make channels alike: steps small enough for every channel of a value, and every weight that reads it.

A tensor's int8 step is that of its largest channel; the weights of an output channel share the step of their largest.
A factor moves range from the one to the other: with activation peaks a_i and weight peaks w_i (each relative to its
output channel's largest), s_i = w_i^(1-k) / a_i^k up to a common factor. k = 1/2 makes both alike (Nagel et al. 2019,
equation 11, with the activations' ranges in place of the weights that make them, since these have a scale for each
channel), k = 1 the activations alone, k = 0 the weights (SmoothQuant's alpha). Which k is best differs from place to
place: it is chosen by the error at the outputs of the layers that read the value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from engine.analyze.evaluator import Sample
from engine.calibrate.observers import TensorStatistics
from engine.calibrate.ranges import MseRange
from engine.errors import Cancelled
from engine.graph.float_run import FloatModel
from engine.graph.graph import Graph, Node
from engine.ops.elementwise import Clip
from engine.ops.float_kernels import run_node
from engine.ops.linear import Conv, ConvTranspose, Linear
from engine.ops.reduce import BatchNorm
from engine.plan.types import Resolution
from engine.qtype import INTEGER_RANGE
from engine.quantise.channels import Channels, Labels, Place
from engine.quantise.observing import Watch, watch_values

Floats = NDArray[np.float64]

STRENGTHS = (0.25, 0.5, 0.75, 1.0)
"""Values of k that are tried, beside leaving the channels as they are."""

DEAD = 1e-6
"""A channel this much smaller than the largest carries nothing: it keeps its scale."""

_ITERATIONS = 30
_SETTLED = 1e-2
_LARGEST_FACTOR = 2.0**20
_WEIGHT_LEVELS = 127
_TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, eq=False)
class Extrema:
    """Smallest and largest element of each label [count] over some values and samples; ``beside`` is the largest
    magnitude of what is fixed in the same values as labels of each component, by the component's number [count].
    """

    low: Floats
    high: Floats
    beside: Floats

    @property
    def peak(self) -> Floats:
        """Largest magnitudes [count]."""
        return np.maximum(self.high, -self.low)


def materialised(graph: Graph, resolution: Resolution) -> tuple[str, ...]:
    """The float values that units make, as integers."""
    made = (value for unit in resolution.units for value in graph.by_id[unit.last].outputs)
    return tuple(value for value in made if value and resolution.dtypes[value] in INTEGER_RANGE)


def clip_peaks(model: FloatModel, samples: Iterable[Sample], cancelled: Watch) -> Mapping[str, Floats]:
    """The largest value of each channel [1, C, 1, ...] in front of every Clip with an upper bound. Raises Cancelled."""
    clips = [node for node in model.graph.nodes if isinstance(node.op, Clip) and np.isfinite(node.op.high)]
    wanted = {node.inputs[0] for node in clips if len(model.graph.types[node.inputs[0]].shape) > 1}
    peaks: dict[str, Floats] = {}

    def seen(name: str, array: NDArray[np.float32]) -> None:
        others = tuple(axis for axis in range(array.ndim) if axis != 1)
        found = array.max(axis=others, keepdims=True).astype(np.float64)
        peaks[name] = np.maximum(peaks[name], found) if name in peaks else found

    if wanted:
        watch_values(model, samples, wanted, seen, cancelled)
    return peaks


def extrema_of(
    model: FloatModel, channels: Channels, values: Iterable[str], samples: Iterable[Sample], cancelled: Watch
) -> Extrema:
    """What the labels of ``values`` reach over samples. Raises Cancelled."""
    low, high, beside = (np.zeros(channels.count) for _ in range(3))
    components = channels.components()
    labels = {value: channels.of[value] for value in values if value in channels.of}

    def seen(name: str, array: NDArray[np.float32]) -> None:
        of = labels[name]
        same = tuple(axis for axis, size in enumerate(of.shape) if size == 1)
        least, most = array.min(axis=same, keepdims=True), array.max(axis=same, keepdims=True)
        np.minimum.at(low, of, least)
        np.maximum.at(high, of, most)
        fixed = float(np.maximum(most, -least)[of == 0].max(initial=0.0))
        groups = np.unique(components[of[of != 0]])
        beside[groups] = np.maximum(beside[groups], fixed)

    watch_values(model, samples, labels, seen, cancelled)
    return Extrema(low, high, beside)


@dataclass(frozen=True, eq=False)
class Rows:
    """Magnitudes of the weights that read labels: float32 [output channels, inputs of each], and the inputs' labels,
    [1, inputs] where all outputs read the same.
    """

    magnitudes: NDArray[np.float32]
    labels: Labels


def rows_of(graph: Graph, place: Place) -> Rows | None:
    """The weights at a place that reads; None where each output reads one input, whose scale is then its own."""
    op, array = graph.by_id[place.node].op, np.abs(np.asarray(graph.constants[place.constant].once(), np.float32))
    if isinstance(op, ConvTranspose):
        inputs, per_group = array.shape[:2]
        labels = np.broadcast_to(place.labels, array.shape)
        grouped = (op.groups, inputs // op.groups, per_group, -1)
        array, labels = (part.reshape(grouped).swapaxes(1, 2) for part in (array, labels))
        array, labels = (part.reshape(per_group * op.groups, inputs // op.groups, -1) for part in (array, labels))
    elif isinstance(op, Conv | Linear):
        labels = np.broadcast_to(place.labels, (place.labels.shape[0], array.shape[1], *place.labels.shape[2:]))
        array, labels = (part.reshape(*part.shape[:2], -1) for part in (array, labels))
    else:
        return None
    return Rows(array.max(axis=2), labels[:, :, 0]) if array.shape[1] > 1 else None


def balanced(
    channels: Channels, rows: Sequence[Rows], extrema: Extrema, components: Labels, strength: Floats
) -> Floats:
    """Factors [count] with strength k of each label [count]; NaN leaves a label as it is.

    Where no weight suffers (each output reads one input) k is 1. The weights' rows change with the factors of all their
    inputs, so this is repeated until it settles. Each component keeps the largest magnitude of its values.
    """
    peak = extrema.peak
    largest = np.zeros(channels.count)
    np.maximum.at(largest, components, peak)
    top = np.maximum(largest, extrema.beside)[components]
    moves = ~np.isnan(strength) & (peak > DEAD * np.maximum(top, _TINY))
    moves[0] = False
    k = np.where(moves, strength, 0.0)
    factors = np.ones(channels.count)
    for _ in range(_ITERATIONS):
        weight = weight_peaks(rows, factors)
        reach = np.where(moves, peak * factors / np.where(top > 0, top, 1.0), 1.0)
        step = np.where(weight > 0.0, weight ** (1.0 - k) / reach**k, 1.0 / reach)
        wanted = np.where(moves, np.clip(factors * step, 1.0 / _LARGEST_FACTOR, _LARGEST_FACTOR), 1.0)
        wanted = _levelled(wanted, peak, top, components, moves)
        settled = float(np.abs(np.log2(wanted / factors)).max()) < _SETTLED
        factors = wanted
        if settled:
            break
    return np.where(moves, np.minimum(factors, channels.most), 1.0)


def _levelled(factors: Floats, peak: Floats, top: Floats, components: Labels, moves: NDArray[np.bool_]) -> Floats:
    """The factors with each component's largest magnitude as it was."""
    largest = np.zeros(len(factors))
    np.maximum.at(largest, components[moves], (peak * factors)[moves])
    reached = largest[components]
    return np.where(moves & (reached > 0.0), factors * top / np.where(reached > 0.0, reached, 1.0), factors)


def weight_peaks(rows: Iterable[Rows], factors: Floats) -> Floats:
    """The largest weight that reads each label [count], relative to the largest of its output channel, with factors.

    Labels that nothing but layers of one input for each output reads have 0.
    """
    peaks, inverse = np.zeros(len(factors)), (1.0 / factors).astype(np.float32)
    for item in rows:
        shrunk = inverse[item.labels]
        largest = (item.magnitudes * shrunk).max(axis=1, keepdims=True)
        relative = item.magnitudes / np.where(largest > 0.0, largest, 1.0)
        if len(shrunk) == 1:
            np.maximum.at(peaks, item.labels[0], relative.max(axis=0) * shrunk[0])
        else:
            np.maximum.at(peaks, item.labels, relative * shrunk)
    return peaks


@dataclass(frozen=True, eq=False)
class Reading:
    """How a layer's output suffers from the rounding of its input and of its weights, for factors at its input."""

    node: Node
    labels: Labels
    """Of the input, broadcast to it."""
    read: Labels
    """Of the weight, broadcast to it."""
    components: NDArray[np.int64]


def readings(graph: Graph, channels: Channels, components: Labels) -> tuple[Reading, ...]:
    """The layers that read free labels, in graph order."""
    found: list[Reading] = []
    for place in channels.places:
        node = graph.by_id[place.node]
        source = node.inputs[0]
        if place.is_read and place.labels.any() and source in channels.of and not isinstance(node.op, BatchNorm):
            groups = np.unique(components[place.labels[place.labels != 0]])
            found.append(Reading(node, channels.of[source], place.labels, groups))
    return tuple(found)


def reading_errors(
    model: FloatModel,
    found: Sequence[Reading],
    tried: Sequence[Floats],
    samples: Iterable[Sample],
    fake: FakeQuantise,
    cancelled: Watch,
) -> Floats:
    """The error of each component [tried, count] under several sets of factors: the mean share of noise over the output
    channels of the layers that read it. Raises Cancelled.
    """
    errors = np.zeros((len(tried), len(tried[0])))
    inputs = {item.node.inputs[0] for item in found}
    for sample in samples:
        if cancelled():
            raise Cancelled
        values = model.run(sample.inputs, keep=inputs)
        for item in found:
            x = values[item.node.inputs[0]]
            weight = model.weight(item.node.inputs[1])
            exact = _applied(item.node, x, weight)
            known: dict[bytes, float] = {}
            for index, factors in enumerate(tried):
                key = factors[item.labels].tobytes() + factors[item.read].tobytes()
                if key not in known:
                    known[key] = _noise_share(item, x, weight, exact, factors, fake)
                errors[index, item.components] += known[key]
    return errors


def _noise_share(
    item: Reading, x: torch.Tensor, weight: torch.Tensor, exact: torch.Tensor, factors: Floats, fake: FakeQuantise
) -> float:
    grown = fake.value(item.node.inputs[0], x * torch.from_numpy(factors[item.labels].astype(np.float32)))
    shrunk = fake.weight(item.node, weight / torch.from_numpy(factors[item.read].astype(np.float32)))
    return noise_share(exact, _applied(item.node, grown, shrunk), 1 if isinstance(item.node.op, Conv) else -1)


def noise_share(exact: torch.Tensor, found: torch.Tensor, axis: int) -> float:
    """The mean over channels of noise / (noise + signal), which no scale of a channel changes; 0 where both vanish."""
    signal = exact.movedim(axis, 0).reshape(exact.shape[axis], -1)
    noise = (found - exact).movedim(axis, 0).reshape(exact.shape[axis], -1).square().sum(dim=1, dtype=torch.float64)
    power = signal.square().sum(dim=1, dtype=torch.float64) + noise
    return float(torch.where(power > 0, noise / power.clamp(min=1e-300), torch.zeros_like(power)).mean())


def _applied(node: Node, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The layer without its bias."""
    with torch.inference_mode():
        return run_node(node.op, [x, weight, None][: len(node.inputs)])[0]


@dataclass(frozen=True)
class FakeQuantise:
    """Rounds values to the types of a resolution, in float."""

    resolution: Resolution

    def value(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """A value in the steps of its type, with the range of least squared error."""
        dtype = self.resolution.dtypes[name]
        if dtype not in INTEGER_RANGE:
            return x
        levels = INTEGER_RANGE[dtype][1]
        statistics = TensorStatistics()
        statistics.update(x.numpy())
        step = max(MseRange().threshold(statistics, levels) / levels, _TINY)
        return (x / step).round_().clamp_(-levels, levels).mul_(step)

    def weight(self, node: Node, weight: torch.Tensor) -> torch.Tensor:
        """Weights in steps of their output channel's largest / 127."""
        axis = 1 if isinstance(node.op, ConvTranspose) else 0
        others = [at for at in range(weight.dim()) if at != axis]
        step = weight.abs().amax(dim=others, keepdim=True).clamp(min=_TINY) / _WEIGHT_LEVELS
        return (weight / step).round_().mul_(step)
