"""Operators that move data."""

from __future__ import annotations

import math

from engine.errors import GraphError
from engine.graph.source import Apply, Converted, SourceNode, converts
from engine.ops import layout as ops
from engine.ops.layout import Identity


def reshaped(node: SourceNode, shape: tuple[int, ...], spelling: str) -> Converted:
    """A Reshape of the first input, or nothing where the shape stays."""
    if math.prod(shape) != math.prod(node.shape(0)):
        raise GraphError(f"shape {list(node.shape(0))} cannot become {list(shape)}", node=node.name)
    return [Apply(Identity() if shape == node.shape(0) else ops.Reshape(shape, spelling), node.inputs[:1])]


@converts("Reshape")
def _reshape(node: SourceNode) -> Converted:
    wanted = node.attribute_or_input("shape", 1)
    if wanted is None:
        return None
    source = node.shape(0)
    keeps_zero = bool(node.integer("allowzero"))
    shape = [source[axis] if size == 0 and not keeps_zero else size for axis, size in enumerate(wanted)]
    if -1 in shape:
        known = math.prod(size for size in shape if size != -1)
        shape[shape.index(-1)] = math.prod(source) // known if known else 0
    return reshaped(node, tuple(shape), "Reshape")


@converts("Flatten")
def _flatten(node: SourceNode) -> Converted:
    shape = node.shape(0)
    axis = node.integer("axis", 1)
    axis = axis + len(shape) if axis < 0 else axis
    return reshaped(node, (math.prod(shape[:axis]), math.prod(shape[axis:])), "Flatten")


@converts("Squeeze")
def _squeeze(node: SourceNode) -> Converted:
    if node.has(1) and not node.is_constant(1):
        return None
    shape = node.shape(0)
    listed = node.attribute_or_input("axes", 1)
    if listed is None:
        axes = tuple(axis for axis, size in enumerate(shape) if size == 1)
    else:
        axes = node.axes(listed, len(shape))
    return reshaped(node, tuple(size for axis, size in enumerate(shape) if axis not in axes), "Squeeze")


@converts("Unsqueeze")
def _unsqueeze(node: SourceNode) -> Converted:
    listed = node.attribute_or_input("axes", 1)
    if listed is None:
        return None
    rank = len(node.shape(0)) + len(listed)
    axes = node.axes(listed, rank)
    sizes = iter(node.shape(0))
    return reshaped(node, tuple(1 if axis in axes else next(sizes) for axis in range(rank)), "Unsqueeze")


@converts("Transpose")
def _transpose(node: SourceNode) -> Converted:
    rank = len(node.shape(0))
    perm = node.integer_list("perm") or tuple(reversed(range(rank)))
    return [Apply(Identity() if perm == tuple(range(rank)) else ops.Transpose(perm), node.inputs)]


@converts("Concat")
def _concat(node: SourceNode) -> Converted:
    axis = node.axis(node.integer("axis"), len(node.shape(0)))
    parts = tuple(value for index, value in enumerate(node.inputs) if node.shape(index)[axis]) or node.inputs[:1]
    return [Apply(Identity() if len(parts) == 1 else ops.Concat(axis), parts)]


@converts("Split")
def _split(node: SourceNode) -> Converted:
    if node.has(1) and not node.is_constant(1):
        return None
    shape = node.shape(0)
    axis = node.axis(node.integer("axis"), len(shape))
    sizes = node.attribute_or_input("split", 1) or _even_sizes(shape[axis], len(node.outputs))
    if len(sizes) == 1:
        return [Apply(Identity(), node.inputs[:1])]
    return [Apply(ops.Split(axis, sizes), node.inputs[:1])]


def _even_sizes(size: int, pieces: int) -> tuple[int, ...]:
    """Equal pieces; the last one smaller where they do not come out even."""
    each = -(-size // pieces)
    return (each,) * (pieces - 1) + (size - each * (pieces - 1),)


@converts("Slice")
def _slice(node: SourceNode) -> Converted:
    if any(node.has(index) and not node.is_constant(index) for index in range(1, 5)):
        return None
    shape = node.shape(0)
    starts, ends = node.attribute_or_input("starts", 1), node.attribute_or_input("ends", 2)
    if starts is None or ends is None:
        return None
    axes = node.attribute_or_input("axes", 3) or tuple(range(len(starts)))
    steps = node.integers(4) or (1,) * len(starts)
    normalised = [(0, size, 1) for size in shape]
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        axis = node.axis(axis, len(shape))
        # Python's own rule is ONNX's, huge ends included; -1 as a stop means "through element 0".
        normalised[axis] = slice(start, end, step).indices(shape[axis])
    if all(bounds == (0, size, 1) for bounds, size in zip(normalised, shape, strict=True)):
        return [Apply(Identity(), node.inputs[:1])]
    begin, stop, stride = (tuple(column) for column in zip(*normalised, strict=True))
    return [Apply(ops.Slice(begin, stop, stride), node.inputs[:1])]


@converts("Pad")
def _pad(node: SourceNode) -> Converted:
    if any(node.has(index) and not node.is_constant(index) for index in range(1, 4)):
        return None
    amounts = node.attribute_or_input("pads", 1)
    value = node.scalar(2) if node.has(2) else node.real("value", 0.0)
    if amounts is None or value is None:
        return None
    rank = len(node.shape(0))
    axes = node.integers(3) if node.has(3) else tuple(range(rank))
    pads = [0] * (2 * rank)
    for index, axis in enumerate(axes or ()):
        axis = node.axis(axis, rank)
        pads[axis], pads[axis + rank] = amounts[index], amounts[index + len(amounts) // 2]
    return _cropped_and_padded(node, pads, value)


def _cropped_and_padded(node: SourceNode, pads: list[int], value: float) -> Converted:
    """Negative padding is cropping: a Slice before the Pad."""
    shape, rank = node.shape(0), len(pads) // 2
    crops = [max(0, -pad) for pad in pads]
    grown = tuple(max(0, pad) for pad in pads)
    crop = ops.Slice(
        tuple(crops[:rank]),
        tuple(size - end for size, end in zip(shape, crops[rank:], strict=True)),
        (1,) * rank,
    )
    pad = ops.Pad(grown, node.text("mode", "constant"), value)
    if any(crops) and any(grown):
        cropped = node.inner("cropped")
        return [Apply(crop, node.inputs[:1], (cropped,)), Apply(pad, (cropped,))]
    if any(crops):
        return [Apply(crop, node.inputs[:1])]
    return [Apply(pad if any(grown) else Identity(), node.inputs[:1])]


@converts("Gather")
def _gather(node: SourceNode) -> Converted:
    """With constant indices a selection, otherwise a look-up (an embedding)."""
    indices = node.integers(1)
    size = node.shape(0)[axis := node.axis(node.integer("axis"), len(node.shape(0)))]
    if indices is None:
        return [Apply(ops.LookUp(axis), node.inputs)]
    if any(not -size <= index < size for index in indices):
        raise GraphError(f"an index is out of range for axis {axis} of size {size}", node=node.name)
    positive = tuple(index % size for index in indices)
    return [Apply(ops.Gather(axis, positive, node.shape(1)), node.inputs[:1])]


@converts("Tile")
def _tile(node: SourceNode) -> Converted:
    repeats = node.integers(1)
    if repeats is None:
        return None
    return [Apply(Identity() if set(repeats) == {1} else ops.Tile(repeats), node.inputs[:1])]


@converts("DepthToSpace")
def _depth_to_space(node: SourceNode) -> Converted:
    return [Apply(ops.DepthToSpace(node.integer("blocksize"), node.text("mode", "DCR")), node.inputs)]


@converts("SpaceToDepth")
def _space_to_depth(node: SourceNode) -> Converted:
    if node.text("mode", "DCR") != "DCR":  # since opset 28
        return None
    return [Apply(ops.SpaceToDepth(node.integer("blocksize")), node.inputs)]
