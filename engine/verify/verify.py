"""All comparisons of a session with programs that nobody here wrote, stage by stage."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from engine.errors import Cancelled, ExportError, ThirdPartyError, ThirdPartyMissingError
from engine.reports import Agreement, Comparison, Mismatch, Stage, Verification
from engine.verify.checks import Check, Job, NotComparedError
from engine.verify.exports import compare_integer_onnx, compare_package, compare_tosa_export
from engine.verify.integers import compare_batches, compare_threads
from engine.verify.onnx_runtime import runtime_version
from engine.verify.processes import Watch, never
from engine.verify.qdq import compare_operators, compare_whole
from engine.verify.source_model import compare_with_runtime, compare_with_torch, is_onnx, is_torch, torch_version
from engine.verify.tosa_reference import reference_version

if TYPE_CHECKING:
    from engine.session import Session

Progress = Callable[[str, int, int], None]
"""Told what is being compared, how many comparisons are done, and how many there are."""

_RUNTIME = "ONNX Runtime"
_LEVELS = ("", ", optimised")
"""Without and with the runtime's graph optimisations."""

CHECKS: tuple[Check, ...] = (
    Check(Stage.FLOAT, _RUNTIME, "source model", compare_with_runtime, runtime_version, is_onnx),
    Check(Stage.FLOAT, "torch", "source model", compare_with_torch, torch_version, is_torch),
    *(
        Check(
            Stage.CALIBRATED,
            _RUNTIME,
            f"qdq, each operator{level}",
            partial(compare_operators, optimised=bool(level)),
            runtime_version,
        )
        for level in _LEVELS
    ),
    Check(Stage.CALIBRATED, _RUNTIME, "qdq, whole model", compare_whole, runtime_version),
    Check(Stage.INTEGER, "Quantscope", "other threads", compare_threads),
    Check(Stage.INTEGER, "Quantscope", "other batch", compare_batches),
    *(
        Check(
            Stage.EXPORTED,
            _RUNTIME,
            f"integer-onnx{level}",
            partial(compare_integer_onnx, optimised=bool(level)),
            runtime_version,
        )
        for level in _LEVELS
    ),
    Check(Stage.EXPORTED, "TOSA reference model", "tosa", compare_tosa_export, reference_version),
    Check(Stage.PACKAGE, "Quantscope", "another process", compare_package),
)
"""In the order of the stages."""


def verify(
    session: Session,
    samples: int = 2,
    stages: Collection[Stage] = tuple(Stage),
    progress: Progress | None = None,
    cancelled: Watch = never,
) -> Verification:
    """Compare each stage of a session with what other programs compute.

    Args:
        session: A calibrated session with samples.
        samples: How many of the calibration samples to compare with.
        stages: Which stages to compare.
        progress: Told before each comparison, and at the end.
        cancelled: Asked between instructions, and while other programs run.

    Raises:
        CalibrationError, DataError: The session is not calibrated, or its samples cannot be read.
        GraphError: The plan has no integer program.
        Cancelled: The user stopped.
    """
    session.program()
    job = Job(session, tuple(sample.inputs for sample in session.samples(samples)), cancelled)
    # Other programs compute the file's own constants.
    as_opened = replace(job, session=session.with_plan(replace(session.plan, corrections=())))
    chosen = [check for check in CHECKS if check.stage in stages and check.concerns(session)]
    comparisons: list[Comparison] = []
    mismatches: list[Mismatch] = []
    for done, check in enumerate(chosen):
        if cancelled():
            raise Cancelled
        if progress is not None:
            progress(f"{check.stage}, {check.party}, {check.what}", done, len(chosen))
        comparison, found = _carried_out(check, as_opened if check.stage is Stage.FLOAT else job)
        comparisons.append(comparison)
        mismatches.extend(found)
    if progress is not None:
        progress("done", len(chosen), len(chosen))
    first = next((item for item in comparisons if item.agreement is Agreement.DIFFERS), None)
    return Verification(
        len(job.samples),
        tuple(comparisons),
        tuple(mismatches),
        "" if first is None else first.stage,
        "" if first is None else first.node,
    )


def _carried_out(check: Check, job: Job) -> tuple[Comparison, list[Mismatch]]:
    """The comparison; one that could not be made says why."""
    try:
        outcome = check.run(job)
    except (NotComparedError, ThirdPartyMissingError, ExportError) as error:
        return check.absent(Agreement.UNAVAILABLE, str(error)), []
    except ThirdPartyError as error:
        return check.absent(Agreement.FAILED, str(error)), []
    return check.comparison(outcome, job.nodes), check.mismatches(outcome, job.nodes)
