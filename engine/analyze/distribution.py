# pyright: reportUnknownMemberType=false
"""How the values of a node are distributed, float and quantised, by channel and sample; and its look-up table."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.analyze.errors import interval_of
from engine.analyze.evaluator import Evaluator, Sample
from engine.analyze.sample_view import sample_view
from engine.analyze.table_curve import table_curve
from engine.errors import Cancelled, DataError, PlanError
from engine.graph.graph import Graph
from engine.ops.elementwise import Elementwise
from engine.ops.linear import Conv, ConvTranspose, Linear
from engine.ops.reduce import BatchNorm, GroupNorm, InstanceNorm, LayerNorm, Pool, RMSNorm
from engine.program.types import Program
from engine.qtype import INTEGER_RANGE
from engine.reports_distribution import NodeDistribution

if TYPE_CHECKING:
    from engine.session import Session

Floats = NDArray[np.float64]
Watch = Callable[[], bool]

BINS = 160
_BY_ROWS = (Linear, LayerNorm, RMSNorm)
_BY_PLANES = (Conv, ConvTranspose, BatchNorm, GroupNorm, InstanceNorm, Pool)

MOST_CHANNELS = 4096
"""Channels beyond are not told apart."""


def distribution(
    session: Session,
    node_id: str,
    samples: int = 8,
    sample: int | None = None,
    channel: int | None = None,
    cancelled: Watch = lambda: False,
) -> NodeDistribution:
    """What a node's unit makes over the first ``samples`` calibration samples, or over one of them.

    Raises:
        PlanError: The model has no such node, or the unit makes no numbers.
        DataError: There is no such sample or channel.
        CalibrationError: The session is not calibrated.
        Cancelled: ``cancelled()``.
    """
    graph, resolution, program = session.graph, session.resolve(), session.program()
    if node_id not in graph.by_id:
        raise PlanError(f"the model has no node '{node_id}'")
    value = graph.by_id[resolution.unit_of[node_id].last].outputs[0]
    if not graph.types[value].is_float:
        raise PlanError(f"'{node_id}' makes {graph.types[value].dtype} values, which have no distribution to compare")
    given = tuple(session.samples(samples))
    if sample is not None and not 0 <= sample < len(given):
        raise DataError(f"there is no sample {sample}", hint=f"choose one from 0 to {len(given) - 1}")
    pairs = [_pair(session.evaluator, program, item, value, cancelled) for item in given]
    shown = pairs if sample is None else [pairs[sample]]
    channels = _by_channel(channel_axis(graph, value), shown)
    if channel is not None and not 0 <= channel < len(channels):
        raise DataError(f"there is no channel {channel}", hint=f"'{node_id}' has {len(channels)}")
    chosen = shown if channel is None else [channels[channel]]
    exact, made = (np.concatenate([pair[side].reshape(-1) for pair in chosen]) for side in (0, 1))
    qtype = program.types[value]
    edges = histogram_edges(exact, made, qtype.scale if qtype.is_quantised else None)
    threshold = INTEGER_RANGE[qtype.dtype][1] * qtype.scale if qtype.is_quantised else None
    ratios = [_sqnr_db(*pair) for pair in pairs]
    clipped = [100.0 * float((np.abs(pair[0]) > threshold).mean()) if threshold else 0.0 for pair in pairs]
    return NodeDistribution(
        id=node_id,
        value=value,
        dtype=qtype.dtype,
        sqnr_db=tuple(ratios),
        mean_db=interval_of([ratio for ratio in ratios if ratio is not None]),
        sample=sample,
        worst=min(range(len(ratios)), key=lambda at: math.inf if ratios[at] is None else ratios[at] or 0.0),
        channel=channel,
        edges=tuple(edges.tolist()),
        float_counts=tuple(np.histogram(exact, edges)[0].tolist()),
        quantised_counts=tuple(np.histogram(made, edges)[0].tolist()),
        threshold=threshold,
        step=qtype.scale if qtype.is_quantised else None,
        clipped=interval_of(clipped),
        channel_low=tuple(float(pair[0].min(initial=math.inf)) for pair in channels),
        channel_high=tuple(float(pair[0].max(initial=-math.inf)) for pair in channels),
        channel_db=tuple(_sqnr_db(*pair) for pair in channels),
        table=table_curve(session, resolution.unit_of[node_id], given, cancelled),
        view=None if sample is None else sample_view(session, sample, given[sample]),
    )


def _pair(
    evaluator: Evaluator, program: Program, sample: Sample, value: str, cancelled: Watch
) -> tuple[Floats, Floats]:
    """A value in the float model and in the program, masks as far as their softmax can tell. Raises Cancelled."""
    if cancelled():
        raise Cancelled
    qtype = program.types[value]
    tensors = (evaluator.reference(sample)[value].detach(), evaluator.value(program, sample, value))
    exact, made = (evaluator.comparable(value, tensor, qtype).double().numpy() for tensor in tensors)
    return exact, made


def _by_channel(axis: int | None, pairs: Sequence[tuple[Floats, Floats]]) -> list[tuple[Floats, Floats]]:
    """Both sides of each channel along an axis, over samples; none where there is no axis, or they are too many."""
    count = 0 if axis is None else pairs[0][0].shape[axis]
    if axis is None or count > MOST_CHANNELS:
        return []
    sides = ([np.moveaxis(pair[side], axis, 0).reshape(count, -1) for pair in pairs] for side in (0, 1))
    exact, made = (np.concatenate(side, axis=1) for side in sides)
    return list(zip(exact, made, strict=True))


def channel_axis(graph: Graph, value: str) -> int | None:
    """The axis of a value's channels, by the nearest layer that makes or reads it in its shape; None without one.

    Without such a layer: 1 for pictures [N, C, H, W] and volumes, else the last.
    """
    rank = len(graph.types[value].shape)
    if rank < 2:
        return None
    shape, seen, pending = graph.types[value].shape, {value}, [value]
    while pending:
        name = pending.pop(0)
        maker = graph.producer.get(name)
        around = [node for node in (maker, *graph.consumers.get(name, ())) if node is not None]
        for node in around:
            if isinstance(node.op, _BY_ROWS):
                return rank - 1
            if isinstance(node.op, _BY_PLANES):
                return 1
        nearby = [v for node in around if isinstance(node.op, Elementwise) for v in (*node.inputs, *node.outputs)]
        fresh = [v for v in nearby if v in graph.producer and v not in seen and graph.types[v].shape == shape]
        seen.update(fresh)
        pending.extend(fresh)
    return 1 if rank in (4, 5) else rank - 1


def histogram_edges(exact: Floats, made: Floats, step: float | None) -> Floats:
    """Edges of about :data:`BINS` bins of one width over both. Quantised values lie ``step`` apart: each bin then holds
    as many levels as the next, or some would stand out empty for no other reason."""
    low = min(0.0, float(exact.min(initial=0.0)), float(made.min(initial=0.0)))
    high = max(0.0, float(exact.max(initial=0.0)), float(made.max(initial=0.0)))
    if step is None or high <= low:
        return np.linspace(low, high if high > low else low + 1.0, BINS + 1)
    width = step * max(1, math.ceil((high - low) / (BINS * step)))
    first, last = (math.floor((end + 0.5 * step) / width) for end in (low, high))
    return np.asarray(np.arange(first, last + 2) * width - 0.5 * step, np.float64)


def _sqnr_db(exact: Floats, made: Floats) -> float | None:
    """Signal to noise in dB; None where there is no noise, or no signal."""
    noise, signal = float(np.square(exact - made).sum()), float(np.square(exact).sum())
    return 10.0 * math.log10(signal / noise) if noise > 0.0 and signal > 0.0 else None
