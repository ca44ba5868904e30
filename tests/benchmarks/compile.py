"""The compiler: how long it takes, and what fusion, layout and residency save.

    python -m tests.benchmarks.compile [--target journey5] [MODEL ...]

For each model: time to compile and simulate from scratch, and after one edit of a precision or of a fusion region
(medians; resolving the plan included); latency, frames a second and DDR traffic at level O0 and at O2; what the frame
waits for. ``chain_10k`` is a made-up model of 10,000 nodes; the others come from the benchmark cache.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from engine.clock.check import check_compiled
from engine.clock.estimate import Estimator
from engine.plan.compile_options import Level
from engine.plan.resolve import resolve
from engine.plan.types import Region
from engine.precision import Precision
from engine.program.lowering.assemble import has_lowering
from engine.session import Session
from tests.benchmarks.models import model_path

CHAIN = "chain_10k"
FILES = {"swin_t": "swin_t.onnx", "efficientnet_lite0": "efficientnet_lite0.onnx", "vit_s": "vit_s.onnx"}
EDITS = 31
FULL = 5
TOKENS, WIDTH = 196, 64


def chain(path: Path, blocks: int = 1000) -> None:
    """A model of ten nodes a block: a product, a function, a sum, a norm, and tokens moved to heads and back."""
    rng = np.random.default_rng(0)
    weight = numpy_helper.from_array(rng.normal(0, 0.1, (WIDTH, WIDTH)).astype(np.float32), "weight")
    scale = numpy_helper.from_array(np.ones(WIDTH, np.float32), "scale")
    split = numpy_helper.from_array(np.array([1, TOKENS, 4, WIDTH // 4], np.int64), "split")
    merged = numpy_helper.from_array(np.array([1, TOKENS, WIDTH], np.int64), "merged")
    nodes, value = [], "x"
    for block in range(blocks):
        name = f"b{block}."
        rows: tuple[tuple[str, tuple[str, ...], str, dict[str, Any]], ...] = (
            ("LayerNormalization", (value, "scale"), "norm", {}),
            ("MatMul", (f"{name}norm", "weight"), "up", {}),
            ("Gelu", (f"{name}up",), "gelu", {}),
            ("Reshape", (f"{name}gelu", "split"), "heads", {}),
            ("Transpose", (f"{name}heads",), "turned", {"perm": [0, 2, 1, 3]}),
            ("Relu", (f"{name}turned",), "relu", {}),
            ("Transpose", (f"{name}relu",), "back", {"perm": [0, 2, 1, 3]}),
            ("Reshape", (f"{name}back", "merged"), "tokens", {}),
            ("MatMul", (f"{name}tokens", "weight"), "down", {}),
            ("Add", (f"{name}down", value), "sum", {}),
        )
        nodes += [
            helper.make_node(op, list(inputs), [f"{name}{output}"], name=f"{name}{output}", **attributes)
            for op, inputs, output, attributes in rows
        ]
        value = f"{name}sum"
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, TOKENS, WIDTH])],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, [1, TOKENS, WIDTH])],
        [weight, scale, split, merged],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), path)


def opened(name: str, folder: Path, target: str) -> Session:
    if name != CHAIN:
        return Session.open(model_path(name, FILES[name]), target=target)
    path = folder / f"{name}.onnx"
    chain(path)
    return Session.open(path, target=target)


def spread_ms(times: int, work: Callable[[], object]) -> str:
    """Median and largest of some runs."""
    found: list[float] = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        found.append((time.perf_counter() - start) * 1e3)
    return f"{statistics.median(found):.1f} ms (largest {max(found):.1f})"


def edited_precision(session: Session, rng: random.Random) -> Callable[[], object]:
    """One node to int16, or back."""
    ids = [node.id for node in session.graph.nodes]

    def edit() -> object:
        node = rng.choice(ids)
        wanted = Precision.AUTO if session.plan.requested(node) is Precision.INT16 else Precision.INT16
        session.plan = session.plan.mark((node,), wanted)
        return session.simulation()

    return edit


def edited_region(session: Session, rng: random.Random) -> Callable[[], object]:
    """Two neighbouring units fused, or the region dissolved; that they can be is asked before."""
    units = session.resolve().units
    legal: list[tuple[str, ...]] = []
    for _ in range(50):
        place = rng.randrange(1, len(units) - 1)
        nodes = (*units[place].nodes, *units[place + 1].nodes)
        if session.region_verdict(nodes).legal:
            legal.append(nodes)

    def edit() -> object:
        if session.plan.regions:
            session.dissolve(session.plan.regions[0].name)
        else:
            session.plan = session.plan.with_region(Region("region", rng.choice(legal)))
        return session.simulation()

    return edit


def from_scratch(session: Session) -> object:
    """The plan resolved, compiled and simulated by objects that have seen no other."""
    resolution = resolve(session.graph, session.plan, session.target, has_lowering)
    return Estimator(session.graph, session.target).simulate(resolution, session.plan.compile)


def report(name: str, session: Session) -> None:
    estimator = Estimator(session.graph, session.target)
    resolution = session.resolve()
    options = session.plan.compile
    full = spread_ms(FULL, lambda: from_scratch(session))
    plain = estimator.simulate(resolution, msgspec.structs.replace(options, level=Level.O0)).timing
    simulation = estimator.simulate(resolution, options)
    check_compiled(simulation.compiled, simulation.trace, session.target)
    timing = simulation.timing
    rng = random.Random(0)
    session.simulation()
    precision = spread_ms(EDITS, edited_precision(session, rng))
    region = spread_ms(EDITS, edited_region(session, rng))
    plan = simulation.compiled.sram.plan
    shares = ", ".join(f"{bound} {share:.0%}" for bound, share in timing.share_by_bound().items() if share >= 0.005)
    print(f"{name} on {session.target.name}: {len(session.graph.nodes)} nodes, {len(resolution.units)} units,")
    print(f"  {len(simulation.compiled.kernels)} kernels, {simulation.compiled.schedule.size} jobs")
    print(f"  resolved, compiled and simulated in {full};")
    print(f"  after an edit of a precision {precision}, of a fusion region {region}: medians of {FULL} and {EDITS}")
    print(f"  latency {plain.latency_us / 1e3:.2f} -> {timing.latency_us / 1e3:.2f} ms (O0 -> {options.level}),")
    print(f"  {plain.throughput_fps:.0f} -> {timing.throughput_fps:.0f} frames a second,")
    print(f"  DDR {plain.ddr_bytes / 1e6:.1f} -> {timing.ddr_bytes / 1e6:.1f} MB,")
    print(f"  {plain.ddr_bytes / timing.ddr_bytes:.2f} x less; on-chip peak / bound {plan.overhead:.3f}")
    print(f"  the frame waits for: {shares}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    names = (*FILES, CHAIN)
    parser.add_argument("names", nargs="*", metavar="MODEL", help=", ".join(names))
    parser.add_argument("--target", default="journey5")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in names]
    if unknown:
        parser.error(f"no model named {', '.join(unknown)}")
    with tempfile.TemporaryDirectory() as folder:
        for name in options.names or names:
            report(name, opened(name, Path(folder), options.target))


if __name__ == "__main__":
    main()
