"""Gathering and scattering by indices that the file holds: movement of whole elements or rows."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from engine.errors import GraphError
from engine.graph.source import Apply, Converted, SourceNode, converts
from engine.ops.elementwise import Where
from engine.ops.layout import Concat, Gather, Identity, Reshape

_MOST_PLACES = 1 << 18
"""Longer lists of places stay indices that the reference reads."""

Places = NDArray[np.int64]


def _indices(node: SourceNode, index: int = 1) -> Places | None:
    """Constant indices, few enough to be listed."""
    array = node.array(index)
    if array is None or node.type(index).element_count > _MOST_PLACES:
        return None
    return array.astype(np.int64)


def _positive(node: SourceNode, indices: Places, size: int) -> Places:
    if indices.size and not (-size <= indices.min() and indices.max() < size):
        raise GraphError(f"an index is out of range for {size} elements", node=node.name)
    return np.where(indices < 0, indices + size, indices)


def _listed(places: Places) -> tuple[int, ...]:
    return tuple(int(place) for place in places.ravel())


def _reshape(node: SourceNode, steps: list[Apply], value: str, old: tuple[int, ...], new: tuple[int, ...]) -> str:
    """The value in a new shape, where that is another one."""
    if old == new:
        return value
    result = node.inner("rows")
    steps.append(Apply(Reshape(new), (value,), (result,)))
    return result


def _flat_places(node: SourceNode, indices: Places, shape: tuple[int, ...]) -> Places:
    """Rows that [..., k] indices name among the k axes of ``shape``, flattened."""
    parts = [_positive(node, indices[..., axis], size) for axis, size in enumerate(shape)]
    flat = np.zeros(indices.shape[:-1], np.int64)
    for part, size in zip(parts, shape, strict=True):
        flat = flat * size + part
    return flat


@converts("GatherND")
def _gather_nd(node: SourceNode) -> Converted:
    indices = _indices(node)
    if indices is None:
        return None
    shape, batch = node.shape(0), node.integer("batch_dims")
    depth = batch + indices.shape[-1]
    flat = _flat_places(node, indices, shape[batch:depth])
    outer = np.arange(math.prod(shape[:batch]), dtype=np.int64).reshape(
        *shape[:batch], *(1,) * (flat.ndim - batch)
    )
    flat = outer * math.prod(shape[batch:depth]) + flat
    steps: list[Apply] = []
    rows = _reshape(node, steps, node.inputs[0], shape, (math.prod(shape[:depth]), *shape[depth:]))
    return [*steps, Apply(Gather(0, _listed(flat), flat.shape), (rows,))]


def _along(indices: Places, axis: int) -> Places | None:
    """The indices of one line along ``axis``, where all lines are alike."""
    line = np.moveaxis(indices, axis, -1).reshape(-1, indices.shape[axis])
    return line[0] if len(line) and (line == line[0]).all() else None


def _element_places(node: SourceNode, indices: Places, axis: int) -> Places:
    """Places in the flat data of the elements that indices along ``axis`` name."""
    shape = node.shape(0)
    flat = np.zeros(indices.shape, np.int64)
    for place, (size, count) in enumerate(zip(shape, indices.shape, strict=True)):
        own: Places = np.arange(count, dtype=np.int64).reshape((count, *(1,) * (len(shape) - 1 - place)))
        flat = flat * size + (_positive(node, indices, size) if place == axis else own)
    return flat


@converts("GatherElements")
def _gather_elements(node: SourceNode) -> Converted:
    indices, shape = _indices(node), node.shape(0)
    if indices is None or not indices.size:
        return None
    axis = node.axis(node.integer("axis"), len(shape))
    line = _along(indices, axis) if _others_whole(indices.shape, shape, axis) else None
    if line is not None:
        return [Apply(Gather(axis, _listed(_positive(node, line, shape[axis])), line.shape), node.inputs[:1])]
    steps: list[Apply] = []
    flat = _reshape(node, steps, node.inputs[0], shape, (math.prod(shape),))
    places = _element_places(node, indices, axis)
    return [*steps, Apply(Gather(0, _listed(places), indices.shape), (flat,))]


def _others_whole(given: tuple[int, ...], shape: tuple[int, ...], axis: int) -> bool:
    """Whether the indices reach over all of the data's other axes."""
    return given[:axis] == shape[:axis] and given[axis + 1 :] == shape[axis + 1 :]


@converts("ScatterND")
def _scatter_nd(node: SourceNode) -> Converted:
    """Rows of data and updates one after the other, each place then takes its own or the last update of it."""
    indices, shape = _indices(node), node.shape(0)
    if indices is None or node.text("reduction", "none") != "none":
        return None
    depth = indices.shape[-1]
    rows, rest = math.prod(shape[:depth]), shape[depth:]
    places = _flat_places(node, indices, shape[:depth]).ravel()
    return _replaced(node, places, (rows, *rest), (len(places), *rest), shape[:depth])


@converts("ScatterElements", "Scatter")
def _scatter_elements(node: SourceNode) -> Converted:
    indices, shape = _indices(node), node.shape(0)
    if indices is None or node.text("reduction", "none") != "none":
        return None
    axis = node.axis(node.integer("axis"), len(shape))
    line = _along(indices, axis) if _others_whole(indices.shape, shape, axis) else None
    if line is None:
        places = _element_places(node, indices, axis).ravel()
        return _replaced(node, places, (math.prod(shape),), (len(places),), shape)
    places = _positive(node, line, shape[axis])
    joined = node.inner("joined")
    taken = _taken(places, shape[axis])
    return [
        Apply(Concat(axis), (node.inputs[0], node.inputs[2]), (joined,)),
        Apply(Gather(axis, _listed(taken), taken.shape), (joined,)),
    ]


def _taken(places: Places, size: int) -> Places:
    """For each of ``size`` places the element of data, or of updates behind it, that it gets."""
    result = np.arange(size, dtype=np.int64)
    result[places] = size + np.arange(len(places))
    return result


def _replaced(
    node: SourceNode, places: Places, data: tuple[int, ...], updates: tuple[int, ...], indexed: tuple[int, ...]
) -> Converted:
    if data[0] > _MOST_PLACES:
        return None
    if not len(places):
        return [Apply(Identity(), node.inputs[:1])]
    steps: list[Apply] = []
    parts = (
        _reshape(node, steps, node.inputs[0], node.shape(0), data),
        _reshape(node, steps, node.inputs[2], node.shape(2), updates),
    )
    joined = node.inner("joined")
    steps.append(Apply(Concat(0), parts, (joined,)))
    return [*steps, Apply(Gather(0, _listed(_taken(places, data[0])), indexed), (joined,))]


@converts("ReverseSequence")
def _reverse_sequence(node: SourceNode) -> Converted:
    """The first elements of each sequence turned round, as many as its (constant) length."""
    lengths, shape = _indices(node), node.shape(0)
    time, batch = node.integer("time_axis"), node.integer("batch_axis", 1)
    if lengths is None or {time, batch} != {0, 1}:
        return None
    steps_in_time = np.arange(shape[time])[:, None]
    source = np.where(steps_in_time < lengths, lengths - 1 - steps_in_time, steps_in_time)
    places = source * shape[batch] + np.arange(shape[batch])
    if time == 1:
        places = (source + np.arange(shape[batch]) * shape[time]).T
    steps: list[Apply] = []
    rows = _reshape(node, steps, node.inputs[0], shape, (shape[0] * shape[1], *shape[2:]))
    return [*steps, Apply(Gather(0, _listed(places), places.shape), (rows,))]


@converts("Trilu")
def _trilu(node: SourceNode) -> Converted:
    """The upper or lower triangle, zeros elsewhere."""
    if node.has(1) and not node.is_constant(1):
        return None
    diagonal = int(node.scalar(1) or 0)
    rows, columns = node.shape(0)[-2:]
    lower = np.tri(rows, columns, diagonal if not node.integer("upper", 1) else diagonal - 1, dtype=np.bool_)
    mask = node.constant(~lower if node.integer("upper", 1) else lower, "mask")
    zero = node.constant(np.zeros((), node.type(0).dtype), "zero")
    return [Apply(Where(), (mask, node.inputs[0], zero))]
