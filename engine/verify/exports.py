"""The exported and the package stage: programs that nobody here wrote, or another process, compute the same bits."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch

from engine.export.extras import needs_extra
from engine.export.integer_onnx import integer_model
from engine.program.types import FloatKernel
from engine.verify.checks import Job, Outcome, processor_count
from engine.verify.fed import each_computed_from
from engine.verify.processes import run_program
from engine.verify.tally import Tally, exact
from engine.verify.values import from_float

UNIT = ""


def compare_integer_onnx(job: Job, optimised: bool) -> Outcome:
    """Every integer value of the ``integer-onnx`` export in ONNX Runtime. What float nodes make is fed.

    Raises:
        ExportError: The plan has no such form.
        ThirdPartyError: ONNX Runtime does not compute it.
        Cancelled: The user stopped.
    """
    program = job.program
    model = integer_model(job.session)
    made = [item for item in program.instructions if isinstance(item.op, FloatKernel)]
    floats = {model.names[value]: value for item in made for value in item.outputs if value}
    integers = [item for item in program.instructions if not isinstance(item.op, FloatKernel)]
    shown = {value: model.names[value] for item in integers for value in item.outputs if value}
    tally = Tally(exact)
    for result, values in each_computed_from(job, model.proto, floats, list(shown.values()), optimised):
        for value, name in shown.items():
            tally.add(value, result(name), values[value])
    more = f"; fed what {len(made)} float nodes make" if made else ""
    return Outcome(tally, UNIT, f"outputs and every intermediate{more}")


def compare_tosa_export(job: Job) -> Outcome:
    """Every integer value of the ``tosa`` export on the TOSA reference model.

    Raises:
        ExportError: An instruction has no TOSA form, or the extra is missing.
        ThirdPartyError: The reference model is not installed, refuses or crashes.
        Cancelled: The user stopped.
    """
    with needs_extra("tosa"):
        from engine.verify.tosa import compare_tosa
    found = compare_tosa(job.session, job.samples, cancelled=job.cancelled)
    count = len(found.segments)
    return Outcome(found.tally, UNIT, f"outputs and every intermediate of {count} segment{'s' * (count != 1)}")


def compare_package(job: Job) -> Outcome:
    """The outputs of the package in a process of its own, with another number of threads (with the same number where
    float nodes are in it, which torch may sum otherwise).

    Raises:
        ExportError: The package cannot be written.
        ThirdPartyError: The process failed.
        Cancelled: The user stopped.
    """
    own = torch.get_num_threads()
    has_floats = bool(from_float(job.program))
    threads = own if has_floats else max(2, processor_count()) if own == 1 else 1
    tally = Tally(exact)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        package = folder / "m.qspkg"
        job.session.export(package)
        for index, sample in enumerate(job.samples):
            np.savez(folder / f"{index}.in.npz", allow_pickle=False, **{key: sample[key] for key in sample})
        run_program("package", [str(package), str(folder), str(threads)], "the package's process", job.cancelled)
        for index, sample in enumerate(job.samples):
            wanted = job.session.run(sample)
            with np.load(folder / f"{index}.out.npz", allow_pickle=False) as found:
                for output, array in wanted.items():
                    tally.add(output, found[output], np.asarray(array))
    return Outcome(tally, UNIT, f"outputs; {own} thread{'s' * (own != 1)} here, {threads} there")
