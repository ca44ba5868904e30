"""A small graph and the engine's answers about it, as plain records, for the tests of models and panels."""

from __future__ import annotations

from collections.abc import Mapping

from engine.reports import (
    EdgeInfo,
    Errors,
    GraphInfo,
    Interval,
    NodeDetail,
    NodeError,
    NodeInfo,
    NodePlan,
    NodeTime,
    Timing,
)
from engine.service.messages import Opened, PlanData
from gui.document.document import Document

IDS: tuple[str, ...] = ("image", "/stem/Conv", "/stem/Relu", "/head/Reshape", "/head/fc/Gemm", "logits")
OPERATORS = ("Input", "Conv", "Relu", "Reshape", "Linear", "Output")
KINDS = ("io", "conv", "activation", "layout", "matmul", "io")
NAMESPACES = ((), ("stem",), ("stem",), ("head",), ("head", "fc"), ())
SHAPES = ((1, 3, 8, 8), (1, 16, 8, 8), (1, 16, 8, 8), (1, 1024), (1, 10), (1, 10))

ACCUMULATED_DB: Mapping[str, float] = dict(zip(IDS[1:], (40.0, 39.0, 39.0, 21.5, 21.5), strict=True))
INTRODUCED_DB: Mapping[str, float | None] = dict(zip(IDS[1:], (40.5, None, None, 22.0, None), strict=True))
LATENCY_US: Mapping[str, float] = dict(zip(IDS, (550.0, 12.0, 0.0, 1.5, 100.0, 0.0), strict=True))
BOUNDS: Mapping[str, str] = dict(zip(IDS, ("launch", "mac", "free", "dma", "mac", "free"), strict=True))


def graph() -> GraphInfo:
    rows = zip(IDS, OPERATORS, KINDS, NAMESPACES, SHAPES, strict=True)
    return GraphInfo(
        name="small",
        path="/models/small.onnx",
        digest="00",
        opset=17,
        nodes=tuple(
            NodeInfo(
                id=node_id,
                name=node_id.rsplit("/", 1)[-1],
                op_type=operator,
                kind=kind,
                namespace=namespace,
                inputs=(),
                outputs=(f"{node_id}_output_0",),
                shapes=(shape,),
                dtypes=("float32",),
                attributes={"group": "1"} if operator == "Conv" else {},
                provenance=(node_id,),
            )
            for node_id, operator, kind, namespace, shape in rows
        ),
        edges=tuple(
            EdgeInfo(source, target, f"{source}_output_0", shape, "float32")
            for source, target, shape in zip(IDS, IDS[1:], SHAPES, strict=False)
        ),
        inputs=("image",),
        outputs=("logits",),
        parameters=1234,
        notes=(),
    )


def opened(project: str = "", calibrated: bool = True, plan: PlanData | None = None) -> Opened:
    return Opened(
        id=1,
        graph=graph(),
        plan=plan or PlanData(),
        project=project,
        calibrated=calibrated,
        calibration_data="/data/samples.npz" if calibrated else "",
    )


def node_plans(plan: PlanData, refused: Mapping[str, str] | None = None) -> tuple[NodePlan, ...]:
    """Everything as asked for, int8 where nothing was, except for refused nodes with their reasons; Relu is fused."""
    rows: list[NodePlan] = []
    for node_id in IDS:
        requested = plan.choices.get(node_id, "auto")
        reason = (refused or {}).get(node_id, "")
        effective = "int8" if reason or requested == "auto" else requested
        fused_into = "/stem/Conv" if node_id == "/stem/Relu" else ""
        rows.append(NodePlan(node_id, requested, effective, effective, reason, fused_into, scale=0.02))
    return tuple(rows)


def timing() -> Timing:
    nodes = tuple(
        NodeTime(node_id, latency_us, BOUNDS[node_id], "why", dma_bytes=1500, macs=100)
        for node_id, latency_us in LATENCY_US.items()
    )
    total_us = sum(LATENCY_US.values())
    return Timing("journey5", total_us / 1000, 1e6 / total_us, 6000, nodes)


def errors(samples: int = 8, better_by_db: float = 0.0) -> Errors:
    nodes = tuple(
        NodeError(
            id=node_id,
            accumulated_db=Interval(ACCUMULATED_DB[node_id] + better_by_db, 0.5),
            introduced_db=Interval(None if value is None else value + better_by_db, 0.5),
            cosine=0.999,
            mse=1.5e-5,
            max_abs=0.25,
        )
        for node_id, value in INTRODUCED_DB.items()
    )
    return Errors(samples, Interval(21.5 + better_by_db, 0.5), nodes)


def detail(node_id: str) -> NodeDetail:
    return NodeDetail(
        id=node_id,
        histogram_edges=(-1.0, -0.5, 0.0, 0.5, 1.0),
        float_histogram=(1, 10, 100, 3),
        quantised_histogram=(0, 11, 100, 3),
        float_range=(-0.9, 0.8),
        scales={"/stem/Relu_output_0": 0.01},
        weight_low=(-0.5, -0.25),
        weight_high=(0.25, 0.5),
        threshold=0.75,
        clipped_fraction=0.02,
    )


def answered(document: Document, refused: Mapping[str, str] | None = None, better_by_db: float = 0.0) -> None:
    """Give a document everything the engine has to say about its present plan."""
    document.resolve(document.revision, node_plans(document.plan, refused), (), 0)
    document.time(document.revision, timing())
    document.measure(document.revision, errors(better_by_db=better_by_db), is_final=True)


def filled() -> Document:
    """A document with an open, calibrated model and all results."""
    document = Document()
    document.open(opened("/models/small.qscope"), "/models/small.qscope")
    answered(document)
    return document
