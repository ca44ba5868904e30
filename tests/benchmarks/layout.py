"""Layout elimination: bytes that layout operators move as exported and as compiled, and whether all bits stay.

    python -m tests.benchmarks.layout [--without-bits] [NAME ...]

Defaults of ``journey5``, batch 1. A row a model, in kB (1000 B) of the element widths that the plan gives:

exported    what the graph's layout operators read and write, each a copy: reshapes too
before      the same without reshapes and other pure renames of a row-major buffer, which cost nothing as it is
after       what the remaining moves read and write; removed: the share of ``before`` that is gone
folded      ``after`` for engines that read through any view, cyclic shifts and any number of strides
strided     what kernels fetch in vain because they read through views in runs shorter than the memory's access
gone, left  layout operators (and other renames) that vanish; those that still move something
plan ms     the plan from scratch, and again after an edit of one unit's precision (CPU time, medians of 15)
bits        the integer program run in planned memory through the views, as both plans have it, and in the order and at
            the addresses of the compiled model at O0, O1 and O2: every operand and every value compared with the
            ordinary program's on a random sample (ranges from two others)
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch

from engine.clock.estimate import Estimator
from engine.compile.layout import LayoutPlan, LayoutPlanner, plan_layout
from engine.compile.orders import ANYWHERE
from engine.compile.replay import replay, replay_compiled, rescaled_inputs
from engine.plan.compile_options import CompileOptions, Level
from engine.precision import Precision
from engine.session import Session
from engine.simulate.placement import Frames, Placement, placements_of
from tests.benchmarks.models import find_shared, model_path
from tests.benchmarks.silicon import export_models

REPEATS = 15
MEASURED = ("EdgeNeXt_xx_small", "EdgeNeXt_small", "EfficientFormerv2_s0", "EfficientFormerv2_s2")
"""Models of ``../shared/silicon``; the others are built by :mod:`tests.benchmarks.models`."""

MODELS = ("swin_t", *MEASURED, "vit_s", "dinov2_vits_focus")


@dataclass(frozen=True)
class Row:
    """One model's figures; ``bits`` is what the replay said, "" where it was not asked."""

    name: str
    nodes: int
    plan: LayoutPlan
    folded: LayoutPlan
    scratch_ms: float
    edit_ms: float
    bits: str

    def __str__(self) -> str:
        size = self.plan.bytes
        figures = "".join(f"{value / 1e3:10,.0f}" for value in (size.exported, size.before, size.after))
        folded = f"{self.folded.bytes.after / 1e3:8,.0f}"
        units = f"{len(self.plan.eliminated):6}{len(self.plan.moved):6}"
        times = f"{self.scratch_ms:9.1f}{self.edit_ms:7.2f}"
        shares = f"{size.removed:9.1%}{folded}{size.strided / 1e3:9,.0f}"
        return f"{self.name:22}{self.nodes:6}{figures}{shares}{units}{times}  {self.bits}"


HEADER = (
    f"{'model':22}{'nodes':>6}{'exported':>10}{'before':>10}{'after':>10}{'removed':>9}{'folded':>8}{'strided':>9}"
    f"{'gone':>6}{'left':>6}{'plan ms':>9}{'edit':>7}  bits"
)


def path_of(name: str) -> Path:
    """The model's file, built where it is missing."""
    if name not in MEASURED:
        return model_path(name)
    shared = find_shared()
    if shared is None:
        sys.exit("no ../shared/silicon here; name its folder with QUANTSCOPE_SHARED")
    return export_models(shared, [name]) / f"{name}.onnx"


def measured(name: str, *, bits: bool) -> Row:
    """Plan a model, time it, and replay it."""
    session = Session.open(path_of(name))
    graph = session.graph
    frames: Frames = {}
    placed = placements_of(graph, session.resolve(), frames)
    edited = _edited(session, frames, placed)
    scratch, edits = list[float](), list[float]()
    for _ in range(REPEATS):
        planner = LayoutPlanner(graph)
        scratch.append(_timed_ms(lambda planner=planner: planner.plan(placed)))
        edits.append(_timed_ms(lambda planner=planner: planner.plan(edited)))
    plan, folded = plan_layout(graph, placed), plan_layout(graph, placed, reach=ANYWHERE)
    text = _bits(session, (plan, folded)) if bits else ""
    return Row(name, len(graph.nodes), plan, folded, median(scratch), median(edits), text)


def _edited(session: Session, frames: Frames, placed: Sequence[Placement]) -> Sequence[Placement]:
    """The units once a node in the middle of the model is int16."""
    nodes, plan = session.graph.nodes, session.plan
    for node in nodes[len(nodes) // 2 :]:
        session.set_plan(plan.mark((node.id,), Precision.INT16))
        edited = placements_of(session.graph, session.resolve(), frames)
        session.set_plan(plan)
        if edited != placed:
            return edited
    return placed


def _timed_ms(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return 1e3 * (time.process_time() - start)


def _bits(session: Session, plans: Sequence[LayoutPlan]) -> str:
    """Calibrate on random pictures, run the program as it is and as the plans have it."""
    rng = np.random.default_rng(0)
    kinds = {name: session.graph.types[name].shape for name in session.graph.inputs}
    with tempfile.TemporaryDirectory() as folder:
        pictures = {name: rng.normal(size=(2, *shape[1:])).astype(np.float32) for name, shape in kinds.items()}
        np.savez(Path(folder) / "pictures.npz", allow_pickle=False, **pictures)
        session.calibrate(Path(folder) / "pictures.npz")
    graph, program = session.graph, session.program()
    exact = plan_layout(graph, placements_of(graph, session.resolve()), rescaled=rescaled_inputs(graph, program))
    sample = {name: torch.from_numpy(rng.normal(size=shape).astype(np.float32)) for name, shape in kinds.items()}
    found = [replay(graph, program, plan, sample) for plan in plans]
    for level in (Level.O0, Level.O1, Level.O2):
        form = Estimator(graph, session.target).simulate(session.resolve(), CompileOptions(level=level)).compiled
        found.append(replay_compiled(graph, program, form, sample))
    differing = sum(len(each.differing) for each in found)
    verdict = f"{differing} values differ" if differing else f"equal, {sum(each.elements for each in found):,} elements"
    return verdict if exact.storages == plans[0].storages else f"{verdict}; scales ask for another plan"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.layout", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(MODELS)}")
    parser.add_argument("--without-bits", action="store_true", help="plan only")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in MODELS]
    if unknown:
        parser.error(f"no model {unknown[0]}; there are {', '.join(MODELS)}")
    torch.set_num_threads(1)
    print(HEADER)
    failed = 0
    for name in options.names or MODELS:
        row = measured(name, bits=not options.without_bits)
        print(row, flush=True)
        failed += "differ" in row.bits or "another" in row.bits
    return failed


if __name__ == "__main__":
    sys.exit(main())
