"""Plain records of graph and plan, for the window, the command line and files."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from engine.graph.graph import Graph, Node
from engine.ops.base import Op
from engine.ops.elementwise import Elementwise, Unary
from engine.ops.layout import Layout, LookUp
from engine.ops.linear import Conv, ConvTranspose, Mac
from engine.ops.other import Input, OnnxOp, Unsupported
from engine.ops.reduce import (
    BatchNorm,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    LogSoftmax,
    Pool,
    Reduction,
    RMSNorm,
    Softmax,
)
from engine.plan import regions
from engine.plan.types import Plan, Resolution
from engine.precision import Precision
from engine.qtype import QType
from engine.reports import (
    EdgeInfo,
    GraphInfo,
    NodeInfo,
    NodePlan,
    NodeTime,
    Refusal,
    RegionPlan,
    RegionVerdict,
    Timing,
)
from engine.simulate import timing as simulated
from engine.target.target import Target

_KINDS: tuple[tuple[str, tuple[type[Op], ...]], ...] = (
    ("io", (Input,)),
    ("conv", (Conv, ConvTranspose)),
    ("matmul", (Mac,)),
    ("norm", (LayerNorm, RMSNorm, InstanceNorm, GroupNorm, BatchNorm, Softmax, LogSoftmax)),
    ("activation", (Unary,)),
    ("elementwise", (Elementwise,)),
    ("layout", (Layout, LookUp)),
    ("reduce", (Reduction, Pool)),
)


def kind_of(op: Op) -> str:
    """The family an operator is coloured by."""
    return next((kind for kind, classes in _KINDS if isinstance(op, classes)), "other")


def describe_graph(graph: Graph) -> GraphInfo:
    """The graph as the window draws it; reads no weights."""
    return GraphInfo(
        name=graph.name,
        path=str(graph.source or ""),
        digest=graph.digest,
        opset=graph.opset,
        nodes=tuple(_node(graph, node) for node in graph.nodes),
        edges=tuple(_edges(graph)),
        inputs=graph.inputs,
        outputs=graph.outputs,
        parameters=sum(c.type.element_count for c in graph.constants.values() if c.type.is_float),
        notes=graph.notes,
    )


def _node(graph: Graph, node: Node) -> NodeInfo:
    types = [graph.types[value] for value in node.outputs if value]
    return NodeInfo(
        id=node.id,
        name=node.name,
        op_type=node.op.type_name,
        kind=kind_of(node.op),
        namespace=node.namespace,
        inputs=node.inputs,
        outputs=node.outputs,
        shapes=tuple(item.shape for item in types),
        dtypes=tuple(item.dtype for item in types),
        attributes=_attributes(graph, node),
        provenance=node.provenance,
        problem=node.op.problem if isinstance(node.op, Unsupported) else "",
    )


def _attributes(graph: Graph, node: Node) -> dict[str, str]:
    """Attributes and constant operands as short text."""
    hidden = ("body", "spelling", "reason", "hint")
    texts = {name: _short(value) for name, value in node.op.attributes().items() if name not in hidden}
    for value in node.inputs:
        if value in graph.constants:
            kind = graph.constants[value].type
            texts[value] = f"{kind.dtype} {'×'.join(map(str, kind.shape)) or 'scalar'}"
    if isinstance(node.op, OnnxOp | Unsupported) and node.op.domain:
        texts["domain"] = node.op.domain
    return texts


def _short(value: object, limit: int = 120) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _edges(graph: Graph) -> list[EdgeInfo]:
    edges: list[EdgeInfo] = []
    for node in graph.nodes:
        for value in dict.fromkeys(node.inputs):
            source = graph.producer.get(value)
            if source is not None:
                kind = graph.types[value]
                edges.append(EdgeInfo(source.id, node.id, value, kind.shape, kind.dtype))
    return edges


def describe_plan(
    graph: Graph, plan: Plan, resolution: Resolution, types: Mapping[str, QType] | None
) -> tuple[NodePlan, ...]:
    """Requested and effective precision of every node, with output scales where calibration gives them."""
    rows: list[NodePlan] = []
    for node in graph.nodes:
        effective = resolution.effective[node.id]
        unit = resolution.unit_of[node.id]
        last = graph.by_id[unit.last].outputs[0]
        qtype = types.get(last) if types is not None else None
        rows.append(
            NodePlan(
                id=node.id,
                requested=plan.requested(node.id).value,
                effective=effective.precision.value,
                dtype=effective.dtype,
                reason=effective.reason,
                fused_into="" if unit.anchor == node.id else unit.anchor,
                scale=qtype.scale if qtype is not None and qtype.is_quantised else None,
            )
        )
    return tuple(rows)


def describe_timing(graph: Graph, target: Target, timing: simulated.Timing) -> Timing:
    """The timing in graph order; the latency is the nodes' sum."""
    nodes = tuple(
        NodeTime(node.id, time.latency_us, time.bound.value, time.why, time.dma_bytes, time.macs)
        for node in graph.nodes
        for time in (timing.nodes[node.id],)
    )
    return Timing(
        target=target.name,
        latency_ms=timing.latency_us / 1e3,
        throughput_fps=timing.throughput_fps,
        ddr_bytes=timing.ddr_bytes,
        nodes=nodes,
        stated_error=target.stated_error.text,
    )


def describe_regions(plan: Plan, resolution: Resolution) -> tuple[RegionPlan, ...]:
    """The plan's fusion regions, each with whether it takes effect."""
    return tuple(
        RegionPlan(region.name, region.nodes, resolved.legal, resolved.reason)
        for region, resolved in zip(plan.regions, resolution.regions, strict=True)
    )


def describe_verdict(
    name: str,
    verdict: regions.RegionVerdict,
    without: simulated.Timing | None = None,
    fused: simulated.Timing | None = None,
) -> RegionVerdict:
    """A verdict, with what a legal region saves between two timings."""
    breach = verdict.breach
    record = RegionVerdict(name, verdict.nodes, verdict.legal, nearest=verdict.nearest, written=verdict.written)
    if breach is not None:
        return msgspec.structs.replace(
            record,
            rule=verdict.rule,
            text=verdict.text,
            reason=breach.message,
            offending=breach.nodes,
            measured=breach.measured,
            limit=breach.limit,
        )
    if without is None or fused is None:
        return record
    slower = fused.latency_us > without.latency_us
    return msgspec.structs.replace(
        record,
        saving_us=without.latency_us - fused.latency_us,
        saved_bytes=without.ddr_bytes - fused.ddr_bytes,
        note="it would take longer: what it reads and writes has to be on the chip at once" if slower else "",
    )


def cpu_nodes(graph: Graph, resolution: Resolution) -> tuple[str, ...]:
    """Nodes that compute float values on the CPU. Index arithmetic is not counted: nothing there is quantised."""
    return tuple(
        node.id
        for node in graph.nodes
        if resolution.effective[node.id].precision is Precision.FLOAT
        and any(graph.types[value].is_float for value in node.outputs if value)
    )


def refusals(graph: Graph, plan: Plan, resolution: Resolution) -> tuple[Refusal, ...]:
    """Nodes that run on the CPU unasked, or otherwise than requested, with the reason."""
    found: list[Refusal] = []
    for node in graph.nodes:
        effective = resolution.effective[node.id]
        requested = plan.requested(node.id)
        unasked_cpu = effective.precision is Precision.FLOAT and requested is not Precision.FLOAT
        differs = requested not in (Precision.AUTO, effective.precision)
        if effective.reason and (unasked_cpu or differs):
            found.append(Refusal(node.id, node.op.type_name, effective.precision.value, effective.reason))
    return tuple(found)
