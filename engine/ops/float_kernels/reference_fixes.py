"""Operators that ``onnx.reference`` gets wrong, by the specification."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx.reference.op_run import OpRun
from onnx.reference.ops import op_loop

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
        dilations, strides, pads = dilations or [1] * rank, strides or [1] * rank, pads or [0] * (2 * rank)
        if auto_pad not in ("NOTSET", "VALID") or ceil_mode or storage_order:
            raise NotImplementedError("MaxPool with indices, automatic padding, ceil mode or column-major order")
        widths = [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)]
        lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype.name).min
        places = np.pad(np.arange(x.size).reshape(x.shape), widths)
        values = np.pad(x, widths, constant_values=lowest)
        winner = _windows(values, kernel, dilations, strides)
        best = winner.argmax(axis=-1, keepdims=True)
        at = _windows(places, kernel, dilations, strides)
        return tuple(np.take_along_axis(array, best, -1)[..., 0] for array in (winner, at))


def _windows(x: Array, kernel: list[int], dilations: list[int], strides: list[int]) -> Array:
    """[N, C, *outputs, elements of the window in row-major order]."""
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    views = np.lib.stride_tricks.sliding_window_view(x, reach, axis=tuple(range(2, x.ndim)))
    picked = views[(slice(None), slice(None), *(slice(None, None, s) for s in strides), ...)]
    picked = picked[(..., *(slice(None, None, d) for d in dilations))]
    return picked.reshape(*picked.shape[: x.ndim], -1)


class Loop(op_loop.Loop):
    """The reference's own takes an absent condition for false; it means true."""

    op_domain = ""

    def _run(self, M: Array | None, cond: Array | None, *args: object, **context: object) -> tuple[Array, ...]:
        condition = np.array(True) if cond is None else cond
        return super()._run(M, condition, *args, **context)  # pyright: ignore[reportUnknownMemberType]


REFERENCE_FIXES: tuple[type[OpRun], ...] = (GatherElements, Loop, MaxPool)
