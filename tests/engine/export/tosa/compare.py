"""A session's integer segments on the TOSA reference model against the executor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from engine.export.tosa.segment import TosaSegment
from engine.export.tosa.write import tosa_steps
from engine.program.executor import run_program
from engine.session import Session
from tests.engine.export.tosa.reference_model import Arrays, reference_outputs


@dataclass(frozen=True)
class Comparison:
    """How many values and elements were compared, and how many elements of which value differ."""

    values: int
    elements: int
    mismatches: Mapping[str, int]
    segments: tuple[TosaSegment, ...]


def program_values(session: Session, inputs: Mapping[str, NDArray[np.generic]]) -> Arrays:
    """What every instruction computes, by program value."""
    values: dict[str, np.ndarray] = {}
    fed = {name: torch.from_numpy(np.asarray(array)) for name, array in inputs.items()}
    run_program(
        session.program(),
        fed,
        visit=lambda item, _, results: values.update(
            (name, result.numpy().copy()) for name, result in zip(item.outputs, results, strict=True)
        ),
    )
    return values


def compared(session: Session, inputs: Mapping[str, NDArray[np.generic]], *, intermediates: bool = True) -> Comparison:
    """Every segment, fed the executor's values: all that it computes (``intermediates``), or its outputs."""
    wanted = program_values(session, inputs)
    steps = tosa_steps(session, intermediates=intermediates)
    segments = tuple(step.tosa for step in steps if step.tosa is not None)
    found: dict[str, np.ndarray] = {}
    for outputs in reference_outputs([(item, {n: wanted[n] for n in item.inputs}) for item in segments]):
        found.update(outputs)
    differing = {name: int((array != wanted[name]).sum()) for name, array in found.items()}
    elements = sum(array.size for array in found.values())
    return Comparison(len(found), elements, {n: count for n, count in differing.items() if count}, segments)
