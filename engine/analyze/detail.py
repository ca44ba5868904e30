"""Details of one node on one sample: distributions, ranges, clipping."""

from __future__ import annotations

import numpy as np

from engine.analyze.accumulators import describe_accumulators
from engine.analyze.evaluator import Evaluator, Sample
from engine.errors import PlanError
from engine.graph.graph import Graph, Node
from engine.ops.linear import ConvTranspose, Mac
from engine.plan.types import Resolution
from engine.program.types import Program
from engine.qtype import INTEGER_RANGE
from engine.reports import NodeDetail

BINS = 128


def inspect_node(
    evaluator: Evaluator, program: Program, resolution: Resolution, node_id: str, sample: Sample
) -> NodeDetail:
    """Float and quantised distribution of what the node's unit materialises, and the ranges around it.

    Raises PlanError where the model has no such node.
    """
    graph = evaluator.graph
    if node_id not in graph.by_id:
        raise PlanError(f"the model has no node '{node_id}'")
    node = graph.by_id[node_id]
    value = graph.by_id[resolution.unit_of[node_id].last].outputs[0]
    qtype = program.types[value]
    tensors = (evaluator.reference(sample)[value].detach(), evaluator.value(program, sample, value))
    # An infinite attention mask has no place in a histogram.
    reference, quantised = (evaluator.comparable(value, t, qtype).double().numpy().reshape(-1) for t in tensors)
    low = float(min(reference.min(initial=0.0), quantised.min(initial=0.0)))
    high = float(max(reference.max(initial=0.0), quantised.max(initial=0.0)))
    edges = np.linspace(low, high if high > low else low + 1.0, BINS + 1)
    threshold = INTEGER_RANGE[qtype.dtype][1] * qtype.scale if qtype.is_quantised else None
    weight_low, weight_high = _weight_ranges(graph, node)
    sums = describe_accumulators(graph, program, resolution.unit_of[node_id].anchor)
    return NodeDetail(
        id=node_id,
        histogram_edges=tuple(edges.tolist()),
        float_histogram=tuple(np.histogram(reference, edges)[0].tolist()),
        quantised_histogram=tuple(np.histogram(quantised, edges)[0].tolist()),
        float_range=(float(reference.min(initial=0.0)), float(reference.max(initial=0.0))),
        scales={
            name: program.types[name].scale
            for name in dict.fromkeys((*graph.activations(node), value))
            if name in program.types and program.types[name].is_quantised
        },
        weight_low=weight_low,
        weight_high=weight_high,
        threshold=threshold,
        clipped_fraction=0.0 if threshold is None else float((np.abs(reference) > threshold).mean()),
        accumulator=sums[0] if sums else None,
    )


def _weight_ranges(graph: Graph, node: Node) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Smallest and largest weight of each output channel; empty for a node without constant weights."""
    if not isinstance(node.op, Mac) or len(node.inputs) < 2 or node.inputs[1] not in graph.constants:
        return (), ()
    weight = np.asarray(graph.constants[node.inputs[1]].once(), dtype=np.float64)
    axis = 1 if isinstance(node.op, ConvTranspose) else 0
    rows = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
    return tuple(rows.min(axis=1).tolist()), tuple(rows.max(axis=1).tolist())
