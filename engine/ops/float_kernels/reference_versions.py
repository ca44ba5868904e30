"""Operators whose older versions mean something else than the one form that ``onnx.reference`` has of them."""

# The reference's own methods have no types, and name each attribute.
# pyright: reportIncompatibleMethodOverride=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportReturnType=false, reportArgumentType=false

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx.reference.op_run import OpRun
from onnx.reference.ops.op_batch_normalization import BatchNormalization_14
from onnx.reference.ops.op_grid_sample import GridSample as ReferenceGridSample
from onnx.reference.ops.op_one_hot import OneHot as ReferenceOneHot
from onnx.reference.ops.op_pad import Pad_18
from onnx.reference.ops.op_resize import Resize as ReferenceResize
from onnx.reference.ops.op_roi_align import RoiAlign as ReferenceRoiAlign

Array = NDArray[Any]


def _opset(operator: OpRun) -> int:
    return int(operator.run_params["opsets"][""])


def _says(operator: OpRun, attribute: str) -> bool:
    """Whether the node gives the attribute; else it has the default of the newest version."""
    return any(item.name == attribute for item in operator.onnx_node.attribute)


class Hardmax(OpRun):
    """Before opset 13 over all axes from ``axis`` on, flattened, and from the second one by default."""

    op_domain = ""

    def _run(self, x: Array, axis: int = -1) -> tuple[Array, ...]:
        if _opset(self) >= 13:
            return (_first_largest(x, axis),)
        first = (axis if _says(self, "axis") else 1) % x.ndim
        rows = x.reshape(int(np.prod(x.shape[:first])), -1)
        return (_first_largest(rows, 1).reshape(x.shape),)


def _first_largest(x: Array, axis: int) -> Array:
    """1 at the first largest element along the axis, 0 elsewhere."""
    result = np.zeros_like(x)
    np.put_along_axis(result, np.argmax(x, axis=axis, keepdims=True), 1, axis=axis)
    return result


class RoiAlign(ReferenceRoiAlign):
    """Before opset 16 without the shift by half a pixel."""

    op_domain = ""

    def _run(self, *inputs: Array, **attributes: Any) -> tuple[Array, ...]:
        if not _says(self, "coordinate_transformation_mode") and _opset(self) < 16:
            attributes["coordinate_transformation_mode"] = "output_half_pixel"
        return super()._run(*inputs, **attributes)


class GridSample(ReferenceGridSample):
    """Before opset 20 the modes had the names of two dimensions."""

    op_domain = ""

    def _run(self, x: Array, grid: Array, **attributes: Any) -> tuple[Array, ...]:
        names = {"bilinear": "linear", "bicubic": "cubic"}
        mode = attributes.get("mode") or "linear"
        return super()._run(x, grid, **{**attributes, "mode": names.get(mode, mode)})


class OneHot(ReferenceOneHot):
    """The depth may be a tensor of one element."""

    op_domain = ""

    def _run(self, indices: Array, depth: Array, values: Array, axis: int = -1) -> tuple[Array, ...]:
        return super()._run(indices, np.ravel(depth)[0], values, axis=axis)


class BatchNormalization(BatchNormalization_14):
    """Until opset 8 ``spatial = 0`` gave every position its own statistics; ``momentum`` matters in training alone."""

    op_domain = ""

    def _run(
        self, x: Array, scale: Array, bias: Array, mean: Array, variance: Array, **attributes: Any
    ) -> tuple[Array, ...]:
        if attributes.get("training_mode") or len(self.onnx_node.output) > 1:
            return super()._run(x, scale, bias, mean, variance, **{**attributes, "training_mode": 1})
        by_position = attributes.get("spatial", 1) == 0 and _opset(self) < 9
        shape = mean.shape if by_position else (-1, *(1,) * (x.ndim - 2))
        scale, bias, mean, variance = (array.reshape(shape) for array in (scale, bias, mean, variance))
        epsilon = attributes.get("epsilon") or 1e-5
        return ((scale * (x - mean) / np.sqrt(variance + epsilon) + bias).astype(x.dtype),)


class Pad(Pad_18):
    """Negative padding crops."""

    op_domain = ""

    def _run(
        self,
        data: Array,
        pads: Array,
        constant_value: Array | None = None,
        axes: Array | None = None,
        mode: str = "constant",
        value: float | None = None,
    ) -> tuple[Array, ...]:
        listed = range(data.ndim) if axes is None else [int(axis) for axis in axes]
        begins, ends = np.split(np.asarray(pads), 2)
        for axis, begin, end in zip(listed, begins, ends, strict=True):
            kept = slice(max(0, -int(begin)), data.shape[axis] - max(0, -int(end)))
            data = data[tuple(kept if index == axis % data.ndim else slice(None) for index in range(data.ndim))]
        filler = constant_value if value is None else np.array(value, data.dtype)
        return super()._run(data, np.maximum(pads, 0), filler, axes, mode=mode)


class Resize(ReferenceResize):
    """Opset 10 has the scales second, and one transformation, the one that is named asymmetric since."""

    op_domain = ""

    def _run(self, x: Array, *rest: Array | None, **attributes: Any) -> tuple[Array, ...]:
        if _opset(self) >= 11:
            return super()._run(x, *rest, **attributes)
        old = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return super()._run(x, None, rest[0], None, **{**attributes, **old})


VERSIONED: tuple[type[OpRun], ...] = (BatchNormalization, GridSample, Hardmax, OneHot, Pad, Resize, RoiAlign)
