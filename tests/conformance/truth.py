"""One integer truth: every form of a session's program computes the executor's bits, every value of it.

The executor with one thread is the measure. Beside it: itself with two threads, and with several samples as one batch;
the compiler's layout, and its kernels in their order, run in planned memory; the ``integer-onnx`` export in ONNX
Runtime, the ``package`` export, the ``tosa`` export on the TOSA reference model.
Values that follow a float node are compared where the form computes float nodes with the same bits (the package); for
the others each integer segment is fed the executor's values, so that they are compared all the same.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from engine.clock.check import check_compiled
from engine.clock.estimate import Estimator
from engine.compile.layout import plan_layout
from engine.compile.orders import ANYWHERE, Reach
from engine.compile.replay import replay, replay_compiled, rescaled_inputs, stands
from engine.errors import ExportError, QuantscopeError, ThirdPartyError
from engine.export.integer_onnx import integer_model, program_model
from engine.export.package import value_type
from engine.export.qdq.batch import BatchForm
from engine.export.run import load_package
from engine.export.segments import INTEGER, Segment, cut
from engine.export.tosa.segment import TosaSegment
from engine.export.tosa.write import tosa_steps
from engine.graph.graph import TensorType
from engine.plan.compile_options import CompileOptions, Level
from engine.program.types import Program
from engine.session import Session
from engine.simulate.placement import placements_of
from engine.verify.tally import exact
from engine.verify.tosa_reference import reference_results
from engine.verify.values import Arrays, from_float, program_values

BATCH = 3
TOSA = "tosa"
LAYOUT = "layout"
COMPILED = "compiled"


@dataclass(frozen=True)
class Difference:
    """A value that one form computes otherwise: which form, which value, how many of its elements."""

    form: str
    value: str
    elements: int
    sample: int


@dataclass(frozen=True)
class Refused:
    """What a form refuses, as a user is told."""

    form: str
    error: QuantscopeError

    @property
    def reason(self) -> str:
        """The message without its numbers and names, to count by."""
        return re.sub(r"'[^']*'", "'…'", re.sub(r"-?\d[\d.,]*(e[+-]?\d+)?", "N", self.error.message))


@dataclass(frozen=True)
class TosaJob:
    """Integer segments as TOSA with what they are fed, and what they are to compute."""

    segments: tuple[TosaSegment, ...]
    wanted: Arrays
    sample: int


@dataclass(frozen=True)
class Broken:
    """A form that ended in what is no answer to a user."""

    form: str
    text: str

    @staticmethod
    def of(form: str, error: Exception) -> Broken:
        """One line on an exception, with the place in the engine that raised it."""
        places = traceback.extract_tb(error.__traceback__)
        ours = [place for place in places if "engine" in Path(place.filename).parts] or places
        where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
        return Broken(form, f"{type(error).__name__} at {where}: {' '.join(str(error).split())[:300]}")


@dataclass
class Verdict:
    """What came of one session: how much was compared by form, what differs, what was refused, what broke, and what is
    left for the reference model."""

    elements: dict[str, int] = field(default_factory=dict[str, int])
    differences: list[Difference] = field(default_factory=list[Difference])
    refused: list[Refused] = field(default_factory=list[Refused])
    broken: list[Broken] = field(default_factory=list[Broken])
    jobs: list[TosaJob] = field(default_factory=list[TosaJob])

    def compare(self, form: str, sample: int, wanted: Arrays, found: Arrays) -> None:
        """Count the elements of every value that was ``found``."""
        for name, array in found.items():
            expected = wanted[name]
            same_kind = (array.dtype, array.shape) == (expected.dtype, expected.shape)
            differing = exact(array, expected).differing if same_kind else max(array.size, 1)
            self.elements[form] = self.elements.get(form, 0) + array.size
            if differing:
                self.differences.append(Difference(form, name, differing, sample))


def judged(session: Session, samples: Sequence[Arrays], folder: Path, *, tosa: bool) -> Verdict:
    """Compare every form on the samples; TOSA segments are returned as jobs.

    Args:
        session: A calibrated session.
        samples: Model inputs.
        folder: Where the package is written.
        tosa: Whether to make TOSA jobs.

    Raises:
        QuantscopeError: There is no integer program.
    """
    verdict = Verdict()
    program = session.program()
    wanted = [program_values(program, inputs) for inputs in samples]
    _judge_threads(verdict, program, samples, wanted)
    _judge_batch(verdict, session, samples)
    forms: dict[str, Callable[[], None]] = {
        LAYOUT: lambda: _judge_layout(verdict, session, samples),
        COMPILED: lambda: _judge_compiled(verdict, session, samples),
        "integer-onnx": lambda: _judge_integer_onnx(verdict, session, samples, wanted),
        "package": lambda: _judge_package(verdict, session, samples, wanted, folder / "model.qspkg"),
        TOSA: lambda: _add_tosa(verdict, session, wanted) if tosa else None,
    }
    for form, judge in forms.items():
        try:
            judge()
        except ExportError as error:
            verdict.refused.append(Refused(form, error))
        except Exception as error:  # whatever else it is, it is a failure of this form
            verdict.broken.append(Broken.of(form, error))
    return verdict


def _judge_threads(verdict: Verdict, program: Program, samples: Sequence[Arrays], wanted: Sequence[Arrays]) -> None:
    """Float kernels may round otherwise with other threads; what does not follow one is the same."""
    floats, before = from_float(program), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for index, inputs in enumerate(samples):
            found = {k: v for k, v in program_values(program, inputs).items() if k not in floats}
            verdict.compare("two threads", index, wanted[index], found)
    finally:
        torch.set_num_threads(before)


def _judge_layout(verdict: Verdict, session: Session, samples: Sequence[Arrays]) -> None:
    """Values read through views of buffers that share memory, without the movements that these stand for."""
    program, placed = session.program(), placements_of(session.graph, session.resolve())
    rescaled = rescaled_inputs(session.graph, program)
    for index, inputs in enumerate(samples):
        tensors = {name: torch.from_numpy(np.array(array)) for name, array in inputs.items()}
        for reach in (Reach(), ANYWHERE):
            plan = plan_layout(session.graph, placed, reach=reach, rescaled=rescaled)
            found = replay(session.graph, program, plan, tensors)
            verdict.elements[LAYOUT] = verdict.elements.get(LAYOUT, 0) + found.elements
            verdict.differences += [Difference(LAYOUT, name, 1, index) for name in found.differing]


def _judge_compiled(verdict: Verdict, session: Session, samples: Sequence[Arrays]) -> None:
    """Kernels in their order, fused and unfused, values at their addresses on the chip and in DRAM."""
    program, estimator = session.program(), Estimator(session.graph, session.target)
    rescaled = rescaled_inputs(session.graph, program)
    for level in (Level.O0, Level.O1, Level.O2):
        simulation = estimator.simulate(session.resolve(), CompileOptions(level=level))
        check_compiled(simulation.compiled, simulation.trace, session.target)
        for index, inputs in enumerate(samples) if stands(simulation.compiled.layout, rescaled) else ():
            tensors = {name: torch.from_numpy(np.array(array)) for name, array in inputs.items()}
            found = replay_compiled(session.graph, program, simulation.compiled, tensors)
            verdict.elements[COMPILED] = verdict.elements.get(COMPILED, 0) + found.elements
            verdict.differences += [Difference(COMPILED, name, 1, index) for name in found.differing]


def _judge_batch(verdict: Verdict, session: Session, samples: Sequence[Arrays]) -> None:
    """Where the batch is open: several samples at once against one after the other."""
    batched = session.batched_graph(BATCH)
    if batched is None:
        return
    twin = Session(batched, session.target_reference, session.bindings)
    twin.plan, twin.calibration = session.plan, session.calibration
    chosen = [samples[index % len(samples)] for index in range(BATCH)]
    single = [program_values(session.program(), inputs) for inputs in chosen]
    found = program_values(twin.program(), {name: np.concatenate([x[name] for x in chosen]) for name in chosen[0]})
    floats = from_float(session.program())
    names = [name for name in single[0] if name not in floats and name in found]
    wanted = {name: np.concatenate([values[name] for values in single]) for name in names}
    verdict.compare("batch", 0, wanted, {name: found[name] for name in names})


def _judge_integer_onnx(
    verdict: Verdict, session: Session, samples: Sequence[Arrays], wanted: Sequence[Arrays]
) -> None:
    """The whole model up to float nodes, and where there are any, each integer segment."""
    program = session.program()
    floats = from_float(program)
    model = integer_model(session, intermediates=True)
    runner = _runtime(model.proto.SerializeToString())
    for index, inputs in enumerate(samples):
        values = _computed(runner, inputs)
        found = {name: values[port] for name, port in model.names.items() if name in wanted[index]}
        verdict.compare("integer-onnx", index, wanted[index], {k: v for k, v in found.items() if k not in floats})
    if floats:
        for segment in cut(program):
            if segment.kind == INTEGER:
                _judge_segment(verdict, session, segment, samples, wanted)


def _judge_segment(
    verdict: Verdict, session: Session, segment: Segment, samples: Sequence[Arrays], wanted: Sequence[Arrays]
) -> None:
    program = session.program()
    fed = {value: name for name, value in program.inputs.items()}
    part = replace(
        program,
        instructions=segment.instructions,
        inputs={value: value for value in segment.inputs},
        outputs={f"{value}/left": value for value in segment.outputs},
    )
    ports = {
        port: value_type(session.graph, program, value).shape
        for ports in (part.inputs, part.outputs)
        for port, value in ports.items()
    }
    known: dict[str, TensorType] = dict(session.graph.types)
    model = program_model(part, known, BatchForm({}, ports), intermediates=True)
    runner = _runtime(model.proto.SerializeToString())
    for index, inputs in enumerate(samples):
        available = {**wanted[index], **{value: inputs[name] for value, name in fed.items()}}
        values = _computed(runner, {value: available[value] for value in segment.inputs})
        made = [name for item in segment.instructions for name in item.outputs if name]
        verdict.compare("integer-onnx", index, wanted[index], {name: values[model.names[name]] for name in made})


def _runtime(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _computed(runner: onnxruntime.InferenceSession, inputs: Arrays) -> dict[str, NDArray[Any]]:
    names = [port.name for port in runner.get_outputs()]
    return dict(zip(names, map(np.asarray, runner.run(None, dict(inputs))), strict=True))


def _judge_package(
    verdict: Verdict, session: Session, samples: Sequence[Arrays], wanted: Sequence[Arrays], path: Path
) -> None:
    """Its program's values, float ones too, and the outputs as a user gets them."""
    session.export(path, "package")
    package = load_package(path)
    for index, inputs in enumerate(samples):
        values = program_values(package.program, inputs)  # those inside CPU segments have names of their own
        verdict.compare("package", index, wanted[index], {k: v for k, v in values.items() if k in wanted[index]})
        outputs = {name: np.asarray(array) for name, array in session.run(inputs).items()}
        verdict.compare("package", index, outputs, package.run(inputs))


def _add_tosa(verdict: Verdict, session: Session, wanted: Sequence[Arrays]) -> None:
    steps = tosa_steps(session, intermediates=True)
    segments = tuple(step.tosa for step in steps if step.tosa is not None)
    if segments:
        verdict.jobs += [TosaJob(segments, values, index) for index, values in enumerate(wanted)]


def run_tosa(verdicts: Sequence[Verdict]) -> None:
    """Compute the jobs of all verdicts on the TOSA reference model, in one process, and compare."""
    runs = [
        (segment, {name: job.wanted[name] for name in segment.inputs})
        for verdict in verdicts
        for job in verdict.jobs
        for segment in job.segments
    ]
    if not runs:  # the reference model need not be installed
        return
    results = iter(reference_results(runs))
    for verdict in verdicts:
        for job in verdict.jobs:
            for result in [next(results) for _ in job.segments]:
                if isinstance(result, ThirdPartyError):
                    verdict.broken.append(Broken(TOSA, str(result)))
                else:
                    verdict.compare(TOSA, job.sample, job.wanted, result)
        verdict.jobs.clear()
