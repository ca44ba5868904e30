"""Data movement as ONNX nodes."""

from __future__ import annotations

from engine.export.onnx_nodes.builder import TO_ONNX, Emission
from engine.ops import layout as ops


@TO_ONNX.register(ops.Reshape)
def _reshape(op: ops.Reshape, emission: Emission) -> None:
    inputs = (emission.inputs[0], emission.integers("shape", op.shape))
    if 0 in op.shape:
        emission.node("Reshape", inputs, allowzero=1)
    else:
        emission.node("Reshape", inputs)


@TO_ONNX.register(ops.Transpose)
def _transpose(op: ops.Transpose, emission: Emission) -> None:
    emission.node("Transpose", perm=op.perm)


@TO_ONNX.register(ops.Concat)
def _concat(op: ops.Concat, emission: Emission) -> None:
    emission.node("Concat", axis=op.axis)


@TO_ONNX.register(ops.Split)
def _split(op: ops.Split, emission: Emission) -> None:
    emission.node("Split", (emission.inputs[0], emission.integers("sizes", op.sizes)), axis=op.axis)


@TO_ONNX.register(ops.Slice)
def _slice(op: ops.Slice, emission: Emission) -> None:
    shape = emission.shape()
    bounds = tuple(zip(op.starts, op.stops, op.steps, strict=True))
    axes = [axis for axis, size in enumerate(shape) if bounds[axis] != (0, size, 1)]
    _cut(emission, emission.inputs[0], emission.outputs[0], {axis: bounds[axis] for axis in axes})


def _cut(emission: Emission, source: str, result: str, bounds: dict[int, tuple[int, int, int]]) -> None:
    """A Slice along some axes. A stop of -1 means "through element 0", which ONNX writes below -size."""
    shape = emission.shape()
    stops = [stop if stop >= 0 else -shape[axis] - 1 for axis, (_, stop, _) in bounds.items()]
    columns = (
        emission.integers("starts", [start for start, _, _ in bounds.values()]),
        emission.integers("stops", stops),
        emission.integers("axes", list(bounds)),
        emission.integers("steps", [step for _, _, step in bounds.values()]),
    )
    emission.node("Slice", (source, *columns), (result,))


@TO_ONNX.register(ops.Roll)
def _roll(op: ops.Roll, emission: Emission) -> None:
    """Along each axis two slices, put together the other way round."""
    source, shape = emission.inputs[0], emission.shape()
    last = len(op.axes) - 1
    for index, (shift, axis) in enumerate(zip(op.shifts, op.axes, strict=True)):
        cut = -shift % shape[axis]
        front, back = emission.inner("front"), emission.inner("back")
        result = emission.outputs[0] if index == last else emission.inner("rolled")
        _cut(emission, source, front, {axis: (cut, shape[axis], 1)})
        _cut(emission, source, back, {axis: (0, cut, 1)})
        emission.node("Concat", (front, back), (result,), axis=axis)
        source = result


@TO_ONNX.register(ops.Pad)
def _pad(op: ops.Pad, emission: Emission) -> None:
    value = emission.scalar("value", op.value) if op.mode == "constant" else ""
    emission.node("Pad", (emission.inputs[0], emission.integers("pads", op.pads), value), mode=op.mode)


@TO_ONNX.register(ops.Gather)
def _gather(op: ops.Gather, emission: Emission) -> None:
    indices = emission.integers("indices", op.indices, op.indices_shape)
    emission.node("Gather", (emission.inputs[0], indices), axis=op.axis)


@TO_ONNX.register(ops.LookUp)
def _look_up(op: ops.LookUp, emission: Emission) -> None:
    emission.node("Gather", axis=op.axis)


@TO_ONNX.register(ops.Expand)
def _expand(op: ops.Expand, emission: Emission) -> None:
    emission.node("Expand", (emission.inputs[0], emission.integers("shape", op.shape)))


@TO_ONNX.register(ops.Tile)
def _tile(op: ops.Tile, emission: Emission) -> None:
    emission.node("Tile", (emission.inputs[0], emission.integers("repeats", op.repeats)))


@TO_ONNX.register(ops.DepthToSpace)
def _depth_to_space(op: ops.DepthToSpace, emission: Emission) -> None:
    emission.node("DepthToSpace", blocksize=op.block, mode=op.mode)


@TO_ONNX.register(ops.SpaceToDepth)
def _space_to_depth(op: ops.SpaceToDepth, emission: Emission) -> None:
    """ONNX knows one order; for the other, axes are taken apart and put together."""
    if op.mode == "DCR":
        emission.node("SpaceToDepth", blocksize=op.block)
        return
    _, channels, height, width = emission.shape()
    b = op.block
    apart, turned = emission.inner("apart"), emission.inner("turned")
    split = emission.integers("split", (0, channels, height // b, b, width // b, b))
    whole = emission.integers("whole", (0, channels * b * b, height // b, width // b))
    emission.node("Reshape", (emission.inputs[0], split), (apart,))
    emission.node("Transpose", (apart,), (turned,), perm=(0, 1, 3, 5, 2, 4))
    emission.node("Reshape", (turned, whole))


@TO_ONNX.register(ops.Identity)
def _identity(op: ops.Identity, emission: Emission) -> None:
    emission.node("Identity")
