"""The calibrated stage: the ``qdq`` export in ONNX Runtime, which rounds in float, against the integer program."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

import numpy as np

from engine.export.qdq import QdqModel, qdq_model
from engine.export.qdq.rounding import tolerated_steps
from engine.reports import Agreement
from engine.verify.checks import Job, Outcome
from engine.verify.fed import each_computed_from
from engine.verify.onnx_models import with_outputs
from engine.verify.onnx_runtime import RuntimeJob, each_computed
from engine.verify.tally import Tally, exact, steps
from engine.verify.values import program_values

UNIT = "steps"
LEAST_SQNR_DB = 25.0
"""Of a whole model's outputs against the integer program's, unless quantisation itself leaves them further from the
float model's: rounding differences of one step are then amplified like all others.
"""


def compare_operators(job: Job, optimised: bool) -> Outcome:
    """Each operator of the export, fed the integer program's values: its integers may be one step off.

    Raises:
        ExportError: The plan has no such form.
        ThirdPartyError: ONNX Runtime does not compute it.
        Cancelled: The user stopped.
    """
    model = qdq_model(job.session)
    program = job.program
    held = {integers: value for value, integers in model.integers.items()}
    held |= {value: value for value in model.unquantised}
    tolerated = tolerated_steps(program)
    tally = Tally(steps(1))
    for result, values in each_computed_from(job, model.proto, held, list(model.integers.values()), optimised):
        for value, integers in model.integers.items():
            tally.add(value, result(integers), values[value], steps(tolerated[value]))
    wide = sum(tolerated[value] > 1 for value in model.integers)
    more = f", {max(tolerated.values())} for {wide} values by int16 tables" if wide else ""
    return Outcome(tally, UNIT, f"fed the program's values; tolerated: one step{more}")


def compare_whole(job: Job) -> Outcome:
    """The export as it runs: how far its outputs are from the integer program's, and where the two part.

    Raises:
        ExportError, ThirdPartyError, Cancelled: As :func:`compare_operators`.
    """
    model = qdq_model(job.session)
    outputs, quantisation, names = Tally(exact), Tally(exact), list(job.program.outputs)
    pairs = ((sample, job.session.run(sample)) for sample in job.samples)
    for result, wanted in each_computed(RuntimeJob(model.proto, names, optimised=True), pairs, job.cancelled):
        for name in names:
            outputs.add(name, result(name), np.asarray(wanted[name]))
    for sample in job.samples:
        wanted, floats = job.session.run(sample), job.session.run_float(sample)
        for name in names:
            quantisation.add(name, np.asarray(wanted[name]), np.asarray(floats[name]))
    tally = _every_value(job, model)
    limit_db = min(LEAST_SQNR_DB, quantisation.sqnr_db)
    agreement = Agreement.WITHIN if outputs.sqnr_db >= limit_db else Agreement.DIFFERS
    level = f"{outputs.sqnr_db:.1f} dB from" if outputs.noise else "equal to"
    text = f"outputs {level} the integer program's, at least {limit_db:.1f} dB tolerated"
    if tally.differing:
        text += f"; a first step at {job.nodes[tally.first_differing()]}"
    return Outcome(tally, UNIT, text, agreement if tally.differing else None, lists_all=False)


def _every_value(job: Job, model: QdqModel) -> Tally:
    """The integers of every value of the whole model."""
    names = list(model.integers.values())
    pairs = ((sample, program_values(job.program, sample, job.cancelled)) for sample in job.samples)
    tally = Tally(steps(1))
    runtime_job = RuntimeJob(with_outputs(model.proto, names), names, optimised=True)
    for result, values in each_computed(runtime_job, pairs, job.cancelled):
        for value, integers in model.integers.items():
            tally.add(value, result(integers), values[value])
    return tally
