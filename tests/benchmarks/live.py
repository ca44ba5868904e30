"""How fast the maps follow an edit: Swin-T, one middle node changed to int16 and back.

    python -m tests.benchmarks.live [--edits 12] [--threads 2]

For each edit of a matrix product in the middle of the network: milliseconds to the new plan and latency map, to the
accumulated and introduced error maps of one sample, and to both after undo. Beside them, a float forward of what lies
downstream of the node, run by torch on the same threads.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from engine.analyze.evaluator import Sample
from engine.ops.float_kernels import run_node
from engine.ops.linear import Mac
from engine.session import Session
from tests.benchmarks.models import model_path


def milliseconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e3


def calibrated(path: Path, folder: Path) -> Session:
    """The model with ranges from four random samples: the figures are about time, not accuracy."""
    session = Session.open(path)
    name = session.graph.inputs[0]
    shape = session.graph.types[name].shape
    data = folder / "samples.npz"
    samples = np.random.default_rng(0).normal(size=(4, *shape[1:])).astype(np.float32)
    np.savez(data, **{name: samples})  # type: ignore[arg-type]
    session.calibrate(data)
    return session


def float_downstream(session: Session, sample: Sample, node_id: str) -> Callable[[], None]:
    """The float forward of a node and all that depends on it, its inputs at hand."""
    graph, model = session.graph, session.evaluator.model
    reached = set(graph.by_id[node_id].outputs)
    nodes = [graph.by_id[node_id]]
    for node in graph.nodes[graph.nodes.index(nodes[0]) + 1 :]:
        if reached & set(node.inputs):
            nodes.append(node)
            reached.update(node.outputs)
    reference = session.evaluator.reference(sample)

    def run() -> None:
        values = dict(reference)
        with torch.inference_mode():
            for node in nodes:
                values.update(zip(node.outputs, run_node(node.op, model.operands(node, values)), strict=False))

    return run


def main() -> None:
    """Print medians over edits of different nodes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edits", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        session = calibrated(model_path("swin_t", "swin_t.onnx"), Path(folder))
        sample = next(session.samples(1))
        report(session, sample, options.edits)


def report(session: Session, sample: Sample, edits: int) -> None:
    """Edit ``edits`` products around the middle; the first edits warm up and are not counted."""
    products = [node.id for node in session.graph.nodes if isinstance(node.op, Mac)]
    middle = len(products) // 2
    rows: dict[str, list[float]] = {}

    def note(name: str, work: Callable[[], object]) -> None:
        rows.setdefault(name, []).append(milliseconds(work))

    def plan_and_timing() -> None:
        session.node_plans()
        session.estimate()

    def errors() -> None:
        session.evaluator.accumulated(session.program(), sample)
        session.evaluator.introduced(session.program(), sample)

    plan_and_timing()
    errors()
    for node_id in products[middle - edits // 2 - 2 : middle + (edits + 1) // 2]:
        before = session.plan
        session.mark(node_id, "int16")
        note("new latency map", plan_and_timing)
        note("new error map, one sample", errors)
        session.set_plan(before)
        note("undo: latency map", plan_and_timing)
        note("undo: error map", errors)
        note("float forward downstream", float_downstream(session, sample, node_id))
    print(f"{len(session.graph.nodes)} nodes, {edits} edits, median (largest) in ms")
    for name, values in rows.items():
        counted = values[2:]
        print(f"{name:28} {statistics.median(counted):8.1f} ({max(counted):.1f})")
    ratios = [e / f for e, f in zip(rows["new error map, one sample"], rows["float forward downstream"], strict=True)]
    print(f"{'error map / float downstream':28} {statistics.median(ratios[2:]):8.2f} ({max(ratios[2:]):.2f})")


if __name__ == "__main__":
    main()
