"""A session's integer segments on the TOSA reference model against the executor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.export.tosa.segment import TosaSegment
from engine.export.tosa.write import tosa_steps
from engine.verify.processes import Watch, never
from engine.verify.tally import Tally, exact
from engine.verify.tosa_reference import reference_outputs
from engine.verify.values import Arrays, program_values

if TYPE_CHECKING:
    from engine.session import Session


@dataclass(frozen=True)
class TosaComparison:
    """What was compared, and the segments that were computed."""

    tally: Tally
    segments: tuple[TosaSegment, ...]


def compare_tosa(
    session: Session, samples: Sequence[Arrays], *, intermediates: bool = True, cancelled: Watch = never
) -> TosaComparison:
    """Every integer segment, fed the executor's values: all that it computes, or (without ``intermediates``) what
    leaves it.

    Raises:
        CalibrationError: The session is not calibrated.
        ExportError: An instruction has no TOSA form.
        ThirdPartyError: The reference model is not installed, refused a segment or crashed.
        Cancelled: The user stopped.
    """
    segments = tuple(
        step.tosa for step in tosa_steps(session, intermediates=intermediates) if step.tosa is not None
    )
    tally = Tally(exact)
    for sample in samples:
        wanted = program_values(session.program(), sample, cancelled)
        jobs = [(segment, {name: wanted[name] for name in segment.inputs}) for segment in segments]
        for outputs in reference_outputs(jobs, cancelled):
            for name, array in outputs.items():
                tally.add(name, array, wanted[name])
    return TosaComparison(tally, segments)
