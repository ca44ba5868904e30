"""The calibrated stage: the ``qdq`` export in ONNX Runtime, which rounds in float, against the integer program."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Mapping

from engine.export.package import value_type
from engine.export.qdq import QdqModel, qdq_model
from engine.export.qdq.rounding import tolerated_steps
from engine.reports import Agreement
from engine.verify.checks import Job, Outcome
from engine.verify.onnx_models import with_fed, with_outputs
from engine.verify.onnx_runtime import RuntimeJob, computed
from engine.verify.tally import Tally, exact, steps
from engine.verify.values import Arrays, program_values

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
    program, graph = job.program, job.session.graph
    held = {integers: value for value, integers in model.integers.items()} | {value: value for value in model.floats}
    types = {name: value_type(graph, program, value) for name, value in held.items()}
    changed, inputs = with_fed(model.proto, types)
    operators = with_outputs(changed, list(model.integers.values()))
    needed = {info.name for info in operators.graph.input}
    tolerated = tolerated_steps(program)
    tally = Tally(steps(1))
    wanted = [program_values(program, sample, job.cancelled) for sample in job.samples]
    fed = [
        {name: array for name, array in sample.items() if name in needed}
        | {inputs[name]: values[value] for name, value in held.items() if inputs[name] in needed}
        for sample, values in zip(job.samples, wanted, strict=True)
    ]
    runtime_job = RuntimeJob(operators, list(model.integers.values()), optimised)
    with computed(runtime_job, fed, job.cancelled) as results:
        for result, values in zip(results, wanted, strict=True):
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
    program = job.program
    wanted = [program_values(program, sample, job.cancelled) for sample in job.samples]
    outputs = Tally(exact)
    names = list(program.outputs)
    with computed(RuntimeJob(model.proto, names, optimised=True), job.samples, job.cancelled) as results:
        for result, values in zip(results, wanted, strict=True):
            for name in names:
                outputs.add(name, result(name), values[program.outputs[name]])
    tally = _every_value(job, model, wanted)
    limit_db = min(LEAST_SQNR_DB, _quantisation_db(job, wanted))
    agreement = Agreement.WITHIN if outputs.sqnr_db >= limit_db else Agreement.DIFFERS
    level = f"{outputs.sqnr_db:.1f} dB from" if outputs.noise else "equal to"
    text = f"outputs {level} the integer program's, at least {limit_db:.1f} dB tolerated"
    if tally.differing:
        text += f"; a first step at {job.nodes[tally.first_differing()]}"
    return Outcome(tally, UNIT, text, agreement if tally.differing else None, lists_all=False)


def _every_value(job: Job, model: QdqModel, wanted: list[Arrays]) -> Tally:
    """The integers of every value of the whole model."""
    names = list(model.integers.values())
    tally = Tally(steps(1))
    with computed(RuntimeJob(with_outputs(model.proto, names), names, True), job.samples, job.cancelled) as results:
        for result, values in zip(results, wanted, strict=True):
            for value, integers in model.integers.items():
                tally.add(value, result(integers), values[value])
    return tally


def _quantisation_db(job: Job, wanted: list[Arrays]) -> float:
    """How far the integer program's outputs are from the float model's."""
    outputs: Mapping[str, str] = job.program.outputs
    tally = Tally(exact)
    for sample, values in zip(job.samples, wanted, strict=True):
        for name, array in job.session.run_float(sample).items():
            tally.add(name, values[outputs[name]], array)
    return tally.sqnr_db
