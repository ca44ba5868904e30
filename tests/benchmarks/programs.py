"""Time of whole models as integer programs against the same models in float32 torch.

    python -m tests.benchmarks.programs [MODEL ...] [--precision int8|int16] [--batch 1 8] [--threads 2] [--runs 15]
                                        [--operators]

Both run on the same threads, in turn. Float is the exported module itself, run by torch. Calibration is by random
samples: the figures are about time, not accuracy. ``--operators`` adds a row for each kind of instruction.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from engine.program.executor import run_program
from engine.program.types import DataMovement, FloatKernel, Instruction, Program
from engine.session import Session
from tests.benchmarks.models import model_path


@dataclass(frozen=True)
class Timed:
    """What is timed of a model: its ONNX and pt2 files by batch size, and what the exported module takes beside it."""

    onnx: Mapping[int, str]
    pt2: Mapping[int, str]
    arguments: Mapping[str, object] = field(default_factory=dict[str, object])


def _transformer(name: str) -> Timed:
    stems = {1: name, 8: f"{name}_8"}
    onnx, pt2 = ({batch: stem + suffix for batch, stem in stems.items()} for suffix in (".onnx", ".pt2"))
    return Timed(onnx, pt2, {"return_dict": False})


MODELS = {
    "efficientnet_lite0": Timed(
        {1: "efficientnet_lite0.onnx", 8: "efficientnet_lite0_batch.onnx"},
        {1: "efficientnet_lite0.pt2", 8: "efficientnet_lite0_8.pt2"},
    ),
    "swin_t": _transformer("swin_t"),
    "vit_s": _transformer("vit_s"),
}


def integer_program(name: str, precision: str, batch: int) -> tuple[Session, Program]:
    """The model's program with every node of one precision."""
    session = Session.open(model_path(name, MODELS[name].onnx[batch]), batch=batch)
    inputs = {value: session.graph.types[value].shape for value in session.graph.inputs}
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        samples = Path(folder) / "samples.npz"
        rows = max(4, batch)
        arrays = {value: rng.normal(size=(rows, *shape[1:])).astype(np.float32) for value, shape in inputs.items()}
        np.savez(samples, **arrays)  # type: ignore[arg-type]
        session.calibrate(samples)
    session.mark("*", precision)
    return session, session.program()


def float_module(name: str, batch: int) -> Callable[[Tensor], object]:
    """The exported module as a function of the picture."""
    timed = MODELS[name]
    module = torch.export.load(model_path(name, timed.pt2[batch])).module()
    return lambda x: module(x, **timed.arguments)


def kind_of(instruction: Instruction) -> str:
    """Name of the operator, with the graph's operator where it carries one."""
    op = instruction.op
    inner = f" {op.op.type_name}" if isinstance(op, DataMovement | FloatKernel) else ""
    return type(op).__name__ + inner


def operator_times_ms(program: Program, inputs: dict[str, Tensor], runs: int) -> dict[str, float]:
    """Milliseconds of each kind of instruction: the shortest of ``runs`` for every instruction, added."""
    shortest_s = [float("inf")] * len(program.instructions)
    for _ in range(runs):
        marks = [time.perf_counter()]
        run_program(program, inputs, visit=lambda *_, marks=marks: marks.append(time.perf_counter()))
        shortest_s = [min(old, b - a) for old, a, b in zip(shortest_s, marks, marks[1:], strict=False)]
    total: dict[str, float] = defaultdict(float)
    for instruction, seconds in zip(program.instructions, shortest_s, strict=True):
        total[kind_of(instruction)] += seconds * 1e3
    return dict(sorted(total.items(), key=lambda item: -item[1]))


def time_in_turn_ms(actions: Sequence[Callable[[], object]], runs: int) -> list[list[float]]:
    """Milliseconds of every run of every action, one after the other so that a busy machine slows all."""
    times: list[list[float]] = [[] for _ in actions]
    for _ in range(runs):
        for action, record in zip(actions, times, strict=True):
            start = time.perf_counter()
            action()
            record.append((time.perf_counter() - start) * 1e3)
    return times


def report(name: str, batch: int, precision: str, runs: int, with_operators: bool) -> None:
    """Print the row of one model and batch size."""
    session, program = integer_program(name, precision, batch)
    value = session.graph.inputs[0]
    x = torch.randn(session.graph.types[value].shape, generator=torch.Generator().manual_seed(0))
    module = float_module(name, batch)
    with torch.no_grad():
        actions = (lambda: run_program(program, {value: x}), lambda: module(x))
        (first,), _ = time_in_turn_ms(actions, 1)
        in_integers, in_float = time_in_turn_ms(actions, runs)
    medians = [statistics.median(times) for times in (in_integers, in_float)]
    shortest = [min(times) for times in (in_integers, in_float)]
    print(
        f"  {name:18} x {batch}  "
        f"integer {medians[0]:8.2f} ({shortest[0]:.2f})  float {medians[1]:8.2f} ({shortest[1]:.2f})  "
        f"ratio {medians[0] / medians[1]:.2f} ({shortest[0] / shortest[1]:.2f})  first run {first:.0f}",
        flush=True,
    )
    if with_operators:
        for kind, ms in operator_times_ms(program, {value: x}, runs).items():
            count = sum(kind_of(item) == kind for item in program.instructions)
            print(f"      {count:4} x {kind:32} {ms:8.3f}")


def main(arguments: list[str] | None = None) -> None:
    """Print one row a model."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.programs")
    parser.add_argument("models", nargs="*", metavar="MODEL", help=", ".join(MODELS))
    parser.add_argument("--precision", default="int8", choices=["int8", "int16"])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8], choices=[1, 8])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--operators", action="store_true", help="a row for each kind of instruction")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    print(f"{options.precision}, {options.threads} threads, milliseconds: median (shortest) of {options.runs} runs")
    for name in options.models or MODELS:
        for batch in options.batch:
            report(name, batch, options.precision, options.runs, options.operators)


if __name__ == "__main__":
    main()
