"""The integer-onnx export in ONNX Runtime against the integer program: mismatching elements of every value.

    python -m tests.benchmarks.integer_onnx [--samples N] [--plain] [NAME ...]

All int8, calibrated and run on real inputs. A row a model: instructions, those that stay in float, values compared,
elements that differ among values computed in integers alone (target: 0) and among those computed from a float node,
which the runtime rounds in its own way; then the seconds that export, loading and a sample take. ``--plain`` switches
ONNX Runtime's optimisations off. The first value that differs is named. Exit status 1 where an integer differs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.calibrate.recipe import load_recipe
from engine.errors import QuantscopeError
from engine.export.integer_onnx import IntegerModel, integer_model
from engine.program.executor import run_program
from engine.program.types import FloatKernel, Instruction, Program
from engine.session import Session
from engine.verify.values import from_float
from tests.benchmarks.models import ModelUnavailableError, cache_folder, model_path
from tests.benchmarks.zoo import CASES, photographs

DEMOS = Path(__file__).resolve().parents[2] / "resources" / "models"
DEMO_NAMES = ("mobile_fmnist", "swin_fmnist")
NAMES = (*DEMO_NAMES, "efficientnet_lite0", "pp_ocrv4_rec", "dinov2_vits_focus")
CALIBRATION_SAMPLES = 16

Arrays = Mapping[str, NDArray[np.generic]]


@dataclass
class Counts:
    """Elements compared and differing over samples."""

    elements: int = 0
    integer: int = 0
    after_float: int = 0
    first: str = ""


def opened(name: str, samples: int, folder: Path) -> Session:
    """A calibrated session.

    Raises:
        QuantscopeError: The model is refused, or cannot be had.
    """
    if name in DEMO_NAMES:
        session = Session.open(DEMOS / f"{name}.onnx")
        session.calibrate(DEMOS / "fmnist_samples.npz", recipe=DEMOS / "fmnist.toml", samples=32)
        return session
    session = Session.open(model_path(name, f"{name}.onnx"), bindings=CASES[name].bindings)
    case, data = CASES[name], folder / "samples.npz"
    if case.samples is None:
        recipe = case.recipe or load_recipe(cache_folder() / f"{name}.toml")
        session.calibrate(photographs(), recipe=recipe, samples=samples)
    else:
        np.savez(data, allow_pickle=False, **case.samples(samples, 1000))
        session.calibrate(data, recipe=case.recipe, samples=samples)
    return session


def compare(program: Program, model: IntegerModel, found: Arrays, sample: Arrays, counts: Counts) -> None:
    """Add one sample's mismatches to ``counts``."""
    floats = from_float(program)

    def visit(item: Instruction, _operands: Sequence[Tensor | None], results: Sequence[Tensor]) -> None:
        for value, result in zip(item.outputs, results, strict=True):
            if value:
                differing = int((found[model.names[value]] != result.numpy()).sum())
                counts.elements += result.numel()
                counts.integer += 0 if value in floats else differing
                counts.after_float += differing if value in floats else 0
                counts.first = counts.first or (value if differing else "")

    run_program(program, {key: torch.from_numpy(np.array(x)) for key, x in sample.items()}, visit=visit)


def measure(name: str, samples: int, plain: bool) -> bool:
    """Print one model's row; whether all integers are the program's.

    Raises:
        QuantscopeError: Some stage refuses the model, or it cannot be had.
    """
    with tempfile.TemporaryDirectory() as folder:
        session = opened(name, max(samples, CALIBRATION_SAMPLES), Path(folder))
        program = session.program()
        start = time.perf_counter()
        model = integer_model(session, intermediates=True)
        written = time.perf_counter()
        runner = _runtime(model, plain)
        loaded = time.perf_counter()
        ports = [port.name for port in runner.get_outputs()]
        counts, run_s = Counts(), 0.0
        for sample in session.samples(samples):
            begin = time.perf_counter()
            results = runner.run(None, dict(sample.inputs))
            run_s += time.perf_counter() - begin
            found = {port: np.asarray(result) for port, result in zip(ports, results, strict=True)}
            compare(program, model, found, sample.inputs, counts)
    floats = sum(isinstance(item.op, FloatKernel) for item in program.instructions)
    times = f"{written - start:8.2f} {loaded - written:6.2f} {run_s / samples:6.2f}"
    figures = f"{counts.elements:12} {counts.integer:8} {counts.after_float:11} {times}"
    print(f"{name:20} {len(program.instructions):5} {floats:5} {figures}  {counts.first}", flush=True)
    return counts.integer == 0


def _runtime(model: IntegerModel, plain: bool) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_DISABLE_ALL if plain else level.ORT_ENABLE_ALL
    return onnxruntime.InferenceSession(model.proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


def main() -> None:
    """Parse arguments and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join([*DEMO_NAMES, *CASES])}")
    parser.add_argument("--samples", type=int, default=4, metavar="N", help="to compare with")
    parser.add_argument("--plain", action="store_true", help="without ONNX Runtime's optimisations")
    options = parser.parse_args()
    print(
        f"{'':20} {'instr':>5} {'float':>5} {'elements':>12} {'integer':>8} {'after float':>11} {'export s':>8} "
        f"{'load s':>6} {'run s':>6}  first that differs"
    )
    same = True
    for name in options.names or NAMES:
        try:
            same &= measure(name, options.samples, options.plain)
        except (QuantscopeError, ModelUnavailableError) as error:
            same = False
            print(f"{name:20} not measured: {error}", flush=True)
    sys.exit(not same)


if __name__ == "__main__":
    main()
