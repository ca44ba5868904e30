"""Resize and its predecessor Upsample."""

from __future__ import annotations

import math

from engine.graph.source import Apply, Converted, SourceNode, converts
from engine.ops.float_kernels.resize import COORDINATES, NEAREST
from engine.ops.layout import Identity
from engine.ops.reduce import Resize

_COORDINATES_OPSET = 11
"""Resize before it knew one transformation only, the one named asymmetric since, and rounded down."""


@converts("Upsample")
def _upsample(node: SourceNode) -> Converted:
    scales = node.real_list("scales")
    if scales is None:
        scales = _reals(node, 1)
    return None if scales is None else _legacy(node, scales)


def _legacy(node: SourceNode, scales: tuple[float, ...]) -> Converted:
    sizes = tuple(math.floor(size * scale) for size, scale in zip(node.shape(0), scales, strict=True))
    return _spatial(node, scales, sizes, node.text("mode", "nearest"), "asymmetric", "floor")


@converts("Resize")
def _resize(node: SourceNode) -> Converted:
    if node.version < _COORDINATES_OPSET:
        scales = _reals(node, 1)
        return None if scales is None else _legacy(node, scales)
    if node.text("keep_aspect_ratio_policy", "stretch") != "stretch":
        return None
    extent = _extent(node)
    if extent is None:
        return None
    coordinates = node.text("coordinate_transformation_mode", "half_pixel")
    return _spatial(
        node, *extent, node.text("mode", "nearest"), coordinates, node.text("nearest_mode", "round_prefer_floor")
    )


def _extent(node: SourceNode) -> tuple[tuple[float, ...], tuple[int, ...]] | None:
    """Scale and output size of every axis, from whichever of the two the node gives."""
    shape = node.shape(0)
    axes = node.axes_in_order("axes", len(shape))
    all_scales, all_sizes = [1.0] * len(shape), list(shape)
    sizes = node.integers(3)
    if node.has(3) and node.type(3).element_count:
        if sizes is None:
            return None
        for axis, size in zip(axes, sizes, strict=True):
            all_sizes[axis] = size
            all_scales[axis] = size / shape[axis]
        return tuple(all_scales), tuple(all_sizes)
    scales = _reals(node, 2)
    if scales is None:
        return None
    for axis, scale in zip(axes, scales, strict=True):
        all_sizes[axis] = math.floor(shape[axis] * scale)
        all_scales[axis] = scale
    return tuple(all_scales), tuple(all_sizes)


def _reals(node: SourceNode, index: int) -> tuple[float, ...] | None:
    array = node.array(index)
    return None if array is None else tuple(float(value) for value in array.ravel())


def _spatial(
    node: SourceNode,
    scales: tuple[float, ...],
    sizes: tuple[int, ...],
    mode: str,
    coordinates: str,
    nearest_rounding: str,
) -> Converted:
    """A Resize over the spatial axes; None where other axes change or the mode is not one of ours."""
    if sizes == node.shape(0) and set(scales) == {1.0}:
        return [Apply(Identity(), node.inputs[:1])]
    if scales[:2] != (1.0, 1.0) or len(sizes) < 3:
        return None
    if coordinates not in COORDINATES or nearest_rounding not in NEAREST or not node.type(0).is_float:
        return None
    op = Resize(
        sizes=sizes[2:],
        scales=scales[2:],
        mode={"bilinear": "linear"}.get(mode, mode),
        coordinates=coordinates,
        nearest_rounding=nearest_rounding,
        cubic_coefficient=node.real("cubic_coeff_a", -0.75),
        exclude_outside=bool(node.integer("exclude_outside")),
        antialias=bool(node.integer("antialias")),
    )
    return [Apply(op, node.inputs[:1])]
