"""Memory plans: peak over lower bound and time, for networks and for the problems of MiniMalloc.

    python -m tests.benchmarks.memory_plan                          all of it, half a minute a problem at most
    python -m tests.benchmarks.memory_plan --budget S --seed N      another time, other choices of the search
    python -m tests.benchmarks.memory_plan --effort N --only DE     slices of the search, so many on any machine however
                                                                    busy (30 a CPU second or so); the named problems
    python -m tests.benchmarks.memory_plan --cp-sat                 OR-Tools beside it, in as much time, from the greedy
                                                                    plan; installed into the benchmark cache

Networks: the lifetimes of all activations in int8, in the graph's order, 16-byte aligned. MobileNetV2 and ResNet-18 are
built as the silicon benchmark builds its models. Needs ``../shared`` for these and for MiniMalloc's problems.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from engine.compile.memory import Buffer, MemoryPlan, MemoryProblem, plan_better, plan_greedy, verify
from engine.compile.memory.warm import compile_kernels
from engine.graph.load import load_model
from engine.ops.base import Op
from engine.plan.resolve import resolve
from engine.plan.types import Plan
from engine.program.lowering import LOWER
from engine.simulate.placement import frame_of, place
from engine.target.target import load_target

from .models import cache_folder, find_shared, importable, installed, model_path
from .silicon import EXPORT_TIMEOUT_S, export_models

ALIGNMENT = 16
BUDGET_S = 30.0
REPEATS = 21
MOBILENET_V2 = "mobilenetv2_100"
CP_SAT = ("ortools==9.15.6755", "pandas==3.1.1", "python-dateutil==4.0.0")
CP_SAT_WORKERS = 2
_EXPORT = "import pathlib, sys, export_models; export_models.export(sys.argv[1], pathlib.Path(sys.argv[2]))"


def has_integer_form(op: Op) -> bool:
    return LOWER.find(op) is not None


def activations(path: Path) -> MemoryProblem:
    """Lifetimes of a network's activations, a byte an element: from the unit that makes one to its last reader."""
    graph = load_model(path)
    resolution = resolve(graph, Plan(), load_target("journey5"), has_integer_form)
    dtypes = {**{value: kind.dtype for value, kind in graph.types.items()}, **resolution.dtypes}
    renamed: dict[str, str] = {}
    made: dict[str, int] = {}
    last: dict[str, int] = {}
    for step, unit in enumerate(resolution.units):
        frame = frame_of(graph, unit)
        placed = place(graph, frame, tuple(dtypes[value] for value in frame.values), False)
        last.update({renamed.get(value, value): step for value in frame.reads})
        if placed.is_free:
            renamed[frame.writes[0]] = renamed.get(frame.reads[0], frame.reads[0])
        else:
            made.update({value: step for value, _ in placed.stores})
    last.update({renamed.get(value, value): len(resolution.units) for value in graph.outputs})
    buffers = (
        Buffer(value, step, last.get(value, step), graph.types[value].element_count, ALIGNMENT)
        for value, step in made.items()
    )
    return MemoryProblem(tuple(buffers))


def networks(shared: Path | None) -> Iterator[tuple[str, Path]]:
    if shared is not None:
        folder = export_models(shared, ["ResNet18"])
        yield "MobileNetV2", _mobilenet(shared, folder)
        yield "ResNet-18", folder / "ResNet18.onnx"
    yield "Swin-T", model_path("swin_t")


def _mobilenet(shared: Path, folder: Path) -> Path:
    """MobileNetV2 by the exporter of the silicon models, made where it is missing."""
    path = folder / "MobileNetV2.onnx"
    if not path.is_file():
        scratch = path.with_suffix(".part")
        search = os.pathsep.join((str(folder.parent / "packages"), str(shared / "silicon")))
        command = [sys.executable, "-W", "ignore", "-c", _EXPORT, MOBILENET_V2, str(scratch)]
        subprocess.run(command, check=True, timeout=EXPORT_TIMEOUT_S, env=os.environ | {"PYTHONPATH": search})
        scratch.replace(path)
    return path


def minimalloc(folder: Path) -> Iterator[tuple[str, MemoryProblem]]:
    """MiniMalloc's problems, named ``LETTER.CAPACITY.csv``; their lifetimes are half-open."""
    for path in sorted(folder.glob("*.csv")):
        with path.open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        buffers = (Buffer(r["id"], int(r["lower"]), int(r["upper"]) - 1, int(r["size"])) for r in rows)
        letter, capacity, _ = path.name.split(".")
        yield letter, MemoryProblem(tuple(buffers), int(capacity))


def greedy_timed(problem: MemoryProblem) -> tuple[MemoryPlan, float]:
    """The greedy plan and its median time in milliseconds, from the tuple of buffers on."""
    times_ms: list[float] = []
    plan = plan_greedy(problem)
    for _ in range(REPEATS):
        start = time.perf_counter()
        plan = plan_greedy(MemoryProblem(problem.buffers, problem.capacity_bytes))
        times_ms.append(1e3 * (time.perf_counter() - start))
    verify(problem, plan, within_capacity=False)
    return plan, statistics.median(times_ms)


def cp_sat_overhead(problem: MemoryProblem, greedy: MemoryPlan, budget_s: float) -> float:
    """Peak over lower bound of what CP-SAT finds: rectangles that do not overlap, hinted at by the greedy plan."""
    packages = cache_folder() / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    with importable([installed(requirement, packages) for requirement in CP_SAT]):
        cp_model: Any = importlib.import_module("ortools.sat.python.cp_model")
    unit = math.gcd(*(buffer.size_bytes for buffer in problem.buffers))
    model = cp_model.CpModel()
    peak = model.new_int_var(greedy.lower_bound_bytes // unit, greedy.peak_bytes // unit, "peak")
    times: list[Any] = []
    places: list[Any] = []
    for index, buffer in enumerate(problem.buffers):
        size = buffer.size_bytes // unit
        address = model.new_int_var(0, greedy.peak_bytes // unit - size, f"address {index}")
        model.add(address + size <= peak)
        model.add_hint(address, greedy.addresses[index] // unit)
        places.append(model.new_fixed_size_interval_var(address, size, f"place {index}"))
        times.append(model.new_fixed_size_interval_var(buffer.first, buffer.last + 1 - buffer.first, f"time {index}"))
    model.add_no_overlap_2d(times, places)
    model.minimize(peak)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = budget_s
    solver.parameters.num_workers = CP_SAT_WORKERS
    if solver.solve(model) not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return math.nan
    return solver.objective_value * unit / greedy.lower_bound_bytes


def print_networks(shared: Path | None) -> None:
    print(f"{'network':12} {'buffers':>7} {'bound, KiB':>10} {'greedy':>7} {'ms':>6}")
    for name, path in networks(shared):
        problem = activations(path)
        plan, greedy_ms = greedy_timed(problem)
        bound_kib = plan.lower_bound_bytes / 1024
        print(f"{name:12} {len(problem.buffers):7} {bound_kib:10.1f} {plan.overhead:7.3f} {greedy_ms:6.2f}", flush=True)


def print_minimalloc(folder: Path, options: argparse.Namespace) -> None:
    met: list[bool] = []
    worst = 1.0
    print(f"{'problem':7} {'buffers':>7} {'greedy':>7} {'ms':>6} {'better':>7} {'s':>6} {'CPU s':>6}  capacity")
    for name, problem in minimalloc(folder):
        if options.only and name not in options.only:
            continue
        greedy, greedy_ms = greedy_timed(problem)
        start, start_cpu = time.perf_counter(), time.process_time()
        better = plan_better(problem, options.budget, effort=options.effort, seed=options.seed)
        spent_s, cpu_s = time.perf_counter() - start, time.process_time() - start_cpu
        verify(problem, better, within_capacity=False)
        met.append(better.meets_capacity)
        worst = max(worst, better.overhead)
        beside = f"  CP-SAT {cp_sat_overhead(problem, greedy, options.budget):.4f}" if options.cp_sat else ""
        print(
            f"{name:7} {len(problem.buffers):7} {greedy.overhead:7.3f} {greedy_ms:6.2f} {better.overhead:7.4f} "
            f"{spent_s:6.2f} {cpu_s:6.2f}  {'met' if better.meets_capacity else 'not met'}{beside}",
            flush=True,
        )
    print(f"capacity met on {sum(met)} of {len(met)}; largest peak over bound {worst:.4f}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.memory_plan", description=__doc__)
    parser.add_argument("--budget", type=float, default=BUDGET_S, help="seconds for each problem of MiniMalloc")
    parser.add_argument("--effort", type=int, help="slices of the search for each of them; none: as the time allows")
    parser.add_argument("--seed", type=int, default=0, help="of the search")
    parser.add_argument("--only", default="", help="letters of MiniMalloc's problems")
    parser.add_argument("--cp-sat", action="store_true", help="OR-Tools beside it")
    options = parser.parse_args(arguments)
    compile_kernels()
    shared = find_shared()
    print_networks(shared)
    folder = None if shared is None else shared / "data" / "minimalloc"
    if folder is None or not folder.is_dir():
        print("no ../shared/data/minimalloc here; name ../shared with QUANTSCOPE_SHARED", file=sys.stderr)
        return 1
    print_minimalloc(folder, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
