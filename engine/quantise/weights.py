# pyright: reportUnknownMemberType=false
"""Weight scales of least squared error at the layer's output, channel by channel.

The largest weight of a channel need not be the largest level: clipping a few weights makes the steps of all others
finer. The error of an output is the sum over inputs i of (w_i - q_i s)^2 E[x_i^2], inputs taken as uncorrelated: each
weight's error counts by the second moment of what it multiplies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.errors import Cancelled
from engine.graph.graph import Graph, Node
from engine.ops.linear import Conv, Linear
from engine.plan.corrections import Corrected, Correction
from engine.plan.types import Plan
from engine.quantise.observing import watch_values
from engine.quantise.step import Work

if TYPE_CHECKING:
    from engine.session import Session

Floats = NDArray[np.float64]

LEVELS = 127
SHARES = np.linspace(0.5, 1.0, 26)
"""Of a channel's largest magnitude, which the largest level is tried to stand for."""

LEAST_GAIN = 0.02
"""By how much a channel's error must fall for it to be clipped."""

_SAMPLES = 8
_PIECE = 1 << 22
"""Weights times candidates at a time, which bounds the memory."""


@dataclass(frozen=True)
class WeightScales:
    """See the module."""

    title: str = "Choose the weights' scales by their error"

    def __call__(self, session: Session, work: Work) -> Plan:
        """A plan with other scales for channels that are better clipped; the session's own where there is none.

        Layers whose scales an earlier correction chose keep them.

        Raises:
            Cancelled: ``work.cancelled()``.
        """
        graph = session.graph
        corrected = Corrected.of(map(session.corrections.get, session.plan.corrections), session.source_graph)
        taken = corrected.weights.keys() | corrected.weight_scales.keys()
        layers = [node for node in graph.nodes if _has_rows(graph, node) and node.inputs[1] not in taken]
        moments = _moments(session, layers, work)
        scales: dict[str, Floats] = {}
        for done, node in enumerate(layers):
            if work.cancelled():
                raise Cancelled
            found = best_scales(*_rows(graph, node, moments[node.inputs[0]]))
            if found is not None:
                scales[node.inputs[1]] = found
            work.progress(done + 1, len(layers))
        if not scales:
            return session.plan
        title = f"weight scales of {len(scales)} layers chosen by their error"
        digest = session.corrections.add(Correction(kind="weights", title=title, weight_scales=scales))
        return session.plan.with_correction(digest)


def best_scales(weight: Floats, importance: Floats) -> Floats | None:
    """The scale of each row of weights [rows, inputs]; None where no row is better clipped.

    The square of a weight's error counts by ``importance`` [rows or 1, inputs].
    """
    largest = np.abs(weight).max(axis=1)
    whole = np.where(largest > 0.0, largest, 1.0) / LEVELS
    chosen = whole.copy()
    step = max(1, _PIECE // (max(1, weight.shape[1]) * len(SHARES)))
    for start in range(0, len(weight), step):
        piece = slice(start, start + step)
        counts = importance[piece] if len(importance) > 1 else importance
        scales = SHARES[:, None] * whole[piece]
        levels = np.clip(np.rint(weight[piece] / scales[:, :, None]), -LEVELS, LEVELS)
        errors = (np.square(weight[piece] - levels * scales[:, :, None]) * counts).sum(axis=2)
        best = errors.argmin(axis=0)
        gains = errors[best, np.arange(errors.shape[1])] < (1.0 - LEAST_GAIN) * errors[-1]
        chosen[piece] = np.where(gains, scales[best, np.arange(errors.shape[1])], whole[piece])
    return None if (chosen == whole).all() else chosen


def _has_rows(graph: Graph, node: Node) -> bool:
    return isinstance(node.op, Conv | Linear) and len(node.inputs) > 1 and node.inputs[1] in graph.constants


def _moments(session: Session, layers: list[Node], work: Work) -> Mapping[str, Floats]:
    """Mean square of each input channel of the layers, by value. Raises Cancelled."""
    axes = {node.inputs[0]: -1 if isinstance(node.op, Linear) else 1 for node in layers}
    sums: dict[str, Floats] = {}

    def seen(name: str, array: NDArray[np.float32]) -> None:
        rows = np.moveaxis(array, axes[name], 0).reshape(array.shape[axes[name]], -1)
        found = np.einsum("ij,ij->i", rows, rows, dtype=np.float64) / rows.shape[1]
        sums[name] = sums[name] + found if name in sums else found

    watch_values(session.evaluator.model, work.samples[:_SAMPLES], axes, seen, work.cancelled)
    return sums


def _rows(graph: Graph, node: Node, moments: Floats) -> tuple[Floats, Floats]:
    """The weights [outputs, inputs * taps], and how much the square of each one's error counts."""
    weight = np.asarray(graph.constants[node.inputs[1]].once(), np.float64)
    outputs, per_group = weight.shape[:2]
    groups = node.op.groups if isinstance(node.op, Conv) else 1
    taps = int(np.prod(weight.shape[2:]))
    group: NDArray[np.int64] = np.arange(outputs if groups > 1 else 1, dtype=np.int64) * groups // outputs
    counts = moments[group[:, None] * per_group + np.arange(per_group)]
    return weight.reshape(outputs, -1), np.repeat(counts, taps, axis=1)
