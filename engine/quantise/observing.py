# pyright: reportUnknownMemberType=false
"""Watching the float model run over a session's samples."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.analyze.evaluator import Sample
from engine.calibrate.calibration import tensor_range
from engine.calibrate.observers import TensorStatistics
from engine.calibrate.result import TensorRange
from engine.errors import Cancelled
from engine.graph.float_run import FloatModel
from engine.graph.graph import Graph, Node
from engine.memory import release_free_memory

if TYPE_CHECKING:
    from engine.session import Session

Watch = Callable[[], bool]
Seen = Callable[[str, NDArray[np.float32]], None]
"""Called with each wanted value's name and elements."""


def watch_values(
    model: FloatModel, samples: Iterable[Sample], values: Collection[str], seen: Seen, cancelled: Watch
) -> None:
    """Run a model over samples and show some of its float values, in graph order.

    Raises:
        Cancelled: ``cancelled()``, asked before every sample.
    """
    wanted = frozenset(values)

    def visit(node: Node, outputs: tuple[object, ...]) -> None:
        for name, output in zip(node.outputs, outputs, strict=False):
            if name in wanted:
                seen(name, np.asarray(output, np.float32))

    for sample in samples:
        if cancelled():
            raise Cancelled
        model.run(sample.inputs, keep=(), visit=visit)
    release_free_memory()


def ranges_with(session: Session, graph: Graph, values: Collection[str], cancelled: Watch) -> Mapping[str, TensorRange]:
    """The calibrated ranges of ``values`` in a graph with other constants, over all calibration samples.

    Raises:
        DataError: The session has no samples.
        Cancelled: ``cancelled()``.
    """
    statistics = {value: TensorStatistics() for value in values}
    if not statistics:
        return {}

    def seen(name: str, array: NDArray[np.float32]) -> None:
        statistics[name].update(array)

    watch_values(FloatModel(graph), session.samples(), values, seen, cancelled)
    return {name: tensor_range(found) for name, found in statistics.items()}
