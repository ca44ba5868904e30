"""Operators that ``onnx.reference`` gets wrong, by the specification."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx.reference.op_run import OpRun

Array = NDArray[np.generic]


class GatherElements(OpRun):
    """The reference's own fails where the index is longer than the data along other axes than the first."""

    op_domain = ""

    def _run(self, data: Array, indices: NDArray[np.integer], axis: int = 0) -> tuple[Array, ...]:
        places: list[NDArray[np.integer]] = list(np.indices(indices.shape, sparse=True))
        places[axis] = indices
        return (data[tuple(places)],)


REFERENCE_FIXES: tuple[type[OpRun], ...] = (GatherElements,)
