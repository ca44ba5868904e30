# pyright: reportUnknownMemberType=false
"""One calibration sample as a person knows it: its picture, and what both models make of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.analyze.evaluator import Sample
from engine.reports_distribution import Picture, SampleView

if TYPE_CHECKING:
    from engine.calibrate.recipe import Recipe
    from engine.session import Session

MOST_SIDE = 256
"""Pixels of a picture's longer side; larger ones are thinned out."""

LEAST_SIDE = 8
"""What is smaller is no picture, whatever its shape."""

_CHANNELS = (1, 3)
_WHITE = 255.0


def sample_view(session: Session, index: int, sample: Sample) -> SampleView:
    """What is to be seen of a sample, the ``index``-th: the error at the outputs, the classes that both models choose
    where the first output is a choice of one, and the picture where an input is one. Raises CalibrationError."""
    evaluator, program = session.source_evaluator, session.program()
    outputs = session.evaluator.outputs(program, sample)
    ratio = evaluator.output_error(sample, outputs).sqnr_db
    name = session.graph.outputs[0]
    kind = session.graph.types[name]
    classes: list[int | None] = [None, None]
    if kind.is_float and len(kind.shape) > 1 and kind.element_count == max(kind.shape) > 1:
        classes = [int(found[name].argmax()) for found in (evaluator.reference_outputs(sample), outputs)]
    output_db = ratio if math.isfinite(ratio) else None
    return SampleView(index, output_db, classes[0], classes[1], picture_of(session, sample))


def picture_of(session: Session, sample: Sample) -> Picture | None:
    """The first input that has the shape of a picture ([1, C, H, W] or [1, H, W, C] with one channel or three), as the
    recipe of the calibration undoes it, or else from its smallest value to its largest; None where there is none."""
    recipe = None if session.data is None else session.data.recipe
    for array in sample.inputs.values():
        pixels = _rows(array)
        if pixels is not None:
            shown = np.ascontiguousarray(_as_bytes(pixels, recipe)[_thinned(pixels.shape[0], pixels.shape[1])])
            return Picture(shown.shape[1], shown.shape[0], shown.tobytes())
    return None


def _rows(array: NDArray[np.generic]) -> NDArray[np.float64] | None:
    """The first picture of a batch as [H, W, C]."""
    if array.ndim != 4 or not len(array):
        return None
    first = np.asarray(array[0], np.float64)
    if first.shape[0] in _CHANNELS:
        first = np.moveaxis(first, 0, -1)
    is_picture = first.shape[2] in _CHANNELS and min(first.shape[:2]) >= LEAST_SIDE and np.isfinite(first).all()
    return first if is_picture else None


def _as_bytes(pixels: NDArray[np.float64], recipe: Recipe | None) -> NDArray[np.uint8]:
    """[H, W, C] to red, green and blue [H, W, 3]."""
    if recipe is not None and recipe.channel_count == pixels.shape[2]:
        pixels = pixels * np.array(recipe.channel_scales) + np.array(recipe.channel_means)
        pixels = pixels[:, :, ::-1] if recipe.channels == "BGR" else pixels
    else:
        low, high = float(pixels.min()), float(pixels.max())
        pixels = (pixels - low) * (_WHITE / (high - low)) if high > low else np.zeros_like(pixels)
    shown = np.clip(np.rint(pixels), 0.0, _WHITE).astype(np.uint8)
    return np.repeat(shown, 3, axis=2) if shown.shape[2] == 1 else shown


def _thinned(height: int, width: int) -> tuple[slice, slice]:
    step = -(-max(height, width) // MOST_SIDE)
    return slice(None, None, step), slice(None, None, step)
