"""Operators that ``onnx.reference`` gets wrong, by the specification."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx.reference.op_run import OpRun
from onnx.reference.ops.op_scatter_elements import ScatterElements

from engine.ops.float_kernels.reference_control import Loop, Scan, SequenceMap
from engine.ops.float_kernels.reference_versions import VERSIONED

Array = NDArray[np.generic]


class GatherElements(OpRun):
    """The reference's own fails where the index is longer than the data along other axes than the first."""

    op_domain = ""

    def _run(self, data: Array, indices: NDArray[np.integer], axis: int = 0) -> tuple[Array, ...]:
        places: list[NDArray[np.integer]] = list(np.indices(indices.shape, sparse=True))
        places[axis] = indices
        return (data[tuple(places)],)


class MaxPool(OpRun):
    """The reference's own gives wrong indices. Only the form with indices comes here; see the typed MaxPool."""

    op_domain = ""

    def _run(
        self,
        x: Array,
        auto_pad: str = "NOTSET",
        ceil_mode: int = 0,
        dilations: list[int] | None = None,
        kernel_shape: list[int] | None = None,
        pads: list[int] | None = None,
        storage_order: int = 0,
        strides: list[int] | None = None,
    ) -> tuple[Array, ...]:
        kernel = kernel_shape or []
        rank = len(kernel)
        dilations, strides = dilations or [1] * rank, strides or [1] * rank
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
        sizes = x.shape[2:]
        begins, ends = _pads(auto_pad, pads or [0] * (2 * rank), sizes, reach, strides)
        if ceil_mode:
            ends = [
                end + max(0, -(size + begin + end - k) % stride)
                for size, begin, end, k, stride in zip(sizes, begins, ends, reach, strides, strict=True)
            ]
        widths = [(0, 0), (0, 0), *zip(begins, ends, strict=True)]
        lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype.name).min
        places = np.pad(_numbered(x.shape, column_major=bool(storage_order)), widths)
        values = np.pad(x, widths, constant_values=lowest)
        winner = _windows(values, kernel, dilations, strides)
        best = winner.argmax(axis=-1, keepdims=True)
        at = _windows(places, kernel, dilations, strides)
        return tuple(np.take_along_axis(array, best, -1)[..., 0] for array in (winner, at))


def _pads(
    mode: str, given: list[int], sizes: tuple[int, ...], reach: list[int], strides: list[int]
) -> tuple[list[int], list[int]]:
    """Padding at the begin and at the end of each axis."""
    rank = len(reach)
    if mode == "NOTSET":
        return given[:rank], given[rank:]
    if mode == "VALID":
        return [0] * rank, [0] * rank
    totals = [
        max(0, (-(-size // stride) - 1) * stride + k - size)
        for size, stride, k in zip(sizes, strides, reach, strict=True)
    ]
    smaller, larger = [total // 2 for total in totals], [total - total // 2 for total in totals]
    return (larger, smaller) if mode == "SAME_LOWER" else (smaller, larger)


def _numbered(shape: tuple[int, ...], *, column_major: bool) -> Array:
    """The index of every element in the flattened tensor; column-major within each image, if asked."""
    count = int(np.prod(shape))
    if not column_major:
        return np.arange(count).reshape(shape)
    turned = np.arange(count).reshape(*shape[:2], *reversed(shape[2:]))
    return turned.transpose(0, 1, *reversed(range(2, len(shape))))


def _windows(x: Array, kernel: list[int], dilations: list[int], strides: list[int]) -> Array:
    """[N, C, *outputs, elements of the window in row-major order]."""
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    views = np.lib.stride_tricks.sliding_window_view(x, reach, axis=tuple(range(2, x.ndim)))
    picked = views[(slice(None), slice(None), *(slice(None, None, s) for s in strides), ...)]
    picked = picked[(..., *(slice(None, None, d) for d in dilations))]
    return picked.reshape(*picked.shape[: x.ndim], -1)


class Scatter(ScatterElements):
    """The first name of ScatterElements."""

    op_domain = ""


class GroupNormalization(OpRun):
    """The reference's own takes opset 18's weights, one for each group, for those of each channel."""

    op_domain = ""

    def _run(
        self,
        x: Array,
        scale: Array,
        bias: Array,
        epsilon: float = 1e-5,
        num_groups: int = 1,
        stash_type: int = 1,
    ) -> tuple[Array, ...]:
        grouped = x.astype(np.float32).reshape(x.shape[0], num_groups, -1)
        centred = grouped - grouped.mean(axis=2, keepdims=True)
        normalised = centred / np.sqrt((centred**2).mean(axis=2, keepdims=True) + epsilon)
        shape = (1, -1, *(1,) * (x.ndim - 2))
        scale, bias = (np.repeat(w, x.shape[1] // w.shape[0]).reshape(shape) for w in (scale, bias))
        return ((normalised.reshape(x.shape) * scale + bias).astype(x.dtype),)


REFERENCE_FIXES: tuple[type[OpRun], ...] = (
    GatherElements,
    GroupNormalization,
    Loop,
    MaxPool,
    Scan,
    Scatter,
    SequenceMap,
    *VERSIONED,
)
