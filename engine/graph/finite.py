"""Checking weights for values that no calculation survives."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.errors import CalibrationError
from engine.graph.graph import Graph, Node
from engine.ops.elementwise import Add, Where

_PIECE_ELEMENTS = 1 << 20
"""Values looked at together, which bounds the memory that the check takes."""


_MASKING = (Add, Where)


def _not_finite(values: NDArray[np.generic]) -> NDArray[np.bool_]:
    return ~np.isfinite(values)


def check_finite(graph: Graph) -> None:
    """Read every floating-point constant once and refuse NaN and infinity.

    Infinities that an operator of attention masks adds or selects (``Add``, ``Where``) are meant and allowed.

    Raises:
        CalibrationError: A constant holds NaN or infinity; names the node that reads it.
    """
    for node in graph.nodes:
        for index, name in enumerate(node.inputs):
            constant = graph.constants.get(name)
            if constant is not None and constant.type.is_float:
                _check(graph, node, index, constant.once())


def _check(graph: Graph, node: Node, index: int, array: NDArray[np.generic]) -> None:
    flat = array.reshape(-1)
    is_bad = np.isnan if isinstance(node.op, _MASKING) else _not_finite
    bad = sum(
        int(np.count_nonzero(is_bad(flat[start : start + _PIECE_ELEMENTS])))
        for start in range(0, flat.size, _PIECE_ELEMENTS)
    )
    if bad:
        raise CalibrationError(
            f"constant input {index} ('{node.inputs[index]}') has {bad} values of {flat.size} that are NaN or infinite",
            path=graph.source,
            node=node.id,
            hint="export the model again from weights that are finite",
        )
