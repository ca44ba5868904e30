"""Loop, Scan and SequenceMap by the specification; what ``onnx.reference`` has covers part of it.

Its own Loop glues results along an axis that they do not have, takes an absent condition for false, and fails where
nothing is looped over; its Scan knows neither other axes and directions than the first nor the batches of opset 8; the
body of its SequenceMap reads nothing from outside.
"""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.helper import tensor_dtype_to_np_dtype
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

Array = NDArray[Any]

_UNBATCHED_SCAN_OPSET = 9
"""Before it every input of Scan had a batch axis in front, and the first one was the lengths of the batch's rows."""


class _WithBody(OpRun):
    """An operator that runs the graph in its attribute ``body`` once for each step."""

    op_domain = ""
    body: ReferenceEvaluator
    _run_body: Callable[..., Sequence[Any]]

    def need_context(self) -> bool:
        """The body may read every value made before it."""
        return True

    def _names(self) -> list[str]:
        return [str(name) for name in self.body.input_names]

    def _results(self, inputs: Mapping[str, object], bindings: object) -> list[Any]:
        return list(self._run_body(inputs, bindings=bindings))

    def _nothing(self, index: int) -> Array:
        """What stands for an output of the body that was never made, stacked: no elements."""
        kinds = cast("Sequence[onnx.TypeProto]", self.body.output_types)
        kind = kinds[index].tensor_type
        sizes = [int(dimension.dim_value) for dimension in kind.shape.dim]
        return np.zeros((0, *sizes), tensor_dtype_to_np_dtype(kind.elem_type or int(onnx.TensorProto.FLOAT)))


class Loop(_WithBody):
    """``body(i, condition, *states) -> condition, *states, *scanned`` while condition and i < M."""

    def _run(self, M: Array | None, cond: Array | None, *states: object, **context: Any) -> tuple[object, ...]:
        names = self._names()
        values: dict[str, object] = {**(context.get("context") or {})}
        current = [*states]
        scanned: list[list[Array]] = [[] for _ in range(len(self.body.output_names) - 1 - len(states))]
        condition, step = cond is None or bool(np.all(cond)), 0
        while condition and (M is None or step < int(np.ravel(M)[0])):
            values.update(zip(names, (np.array(step, np.int64), np.array(condition), *current), strict=False))
            goes_on, *results = self._results(values, context.get("bindings"))
            condition, step = bool(np.all(goes_on)), step + 1
            current = results[: len(states)]
            for collected, result in zip(scanned, results[len(states) :], strict=True):
                collected.append(result)
        first = 1 + len(states)
        stacked = [np.stack(x) if x else self._nothing(first + index) for index, x in enumerate(scanned)]
        return (*current, *stacked)


class Scan(_WithBody):
    """``body(*states, *slices) -> *states, *scanned`` for every slice of the scanned inputs."""

    num_scan_inputs: int

    def _run(self, *inputs: Array | None, **context: Any) -> tuple[object, ...]:
        if self.run_params["opsets"][""] >= _UNBATCHED_SCAN_OPSET:
            return self._scanned([x for x in inputs if x is not None], context)
        lengths, *batched = inputs
        count = next(x for x in batched if x is not None).shape[0]
        steps = [None] * count if lengths is None else [int(length) for length in lengths]
        rows = [self._scanned([x[row] for x in batched if x is not None], context, steps[row]) for row in range(count)]
        return tuple(np.stack(_padded(parts)) for parts in zip(*rows, strict=True))

    def _scanned(
        self, inputs: Sequence[Array], context: Mapping[str, Any], length: int | None = None
    ) -> tuple[Array, ...]:
        names = self._names()
        count = self.num_scan_inputs
        states, scanned = list(inputs[: len(inputs) - count]), inputs[len(inputs) - count :]
        directions = self._listed("scan_input_directions", count) or self._listed("directions", count)
        axes = self._listed("scan_input_axes", count)
        sequences = [np.moveaxis(x, axis, 0) for x, axis in zip(scanned, axes or [0] * count, strict=True)]
        steps = len(sequences[0]) if length is None else length
        sequences = [
            x[:steps][::-1] if backwards else x[:steps]
            for x, backwards in zip(sequences, directions or [0] * count, strict=True)
        ]
        values: dict[str, object] = {**(context.get("context") or {})}
        collected: list[list[Array]] = []
        for step in range(steps):
            values.update(zip(names, (*states, *(x[step] for x in sequences)), strict=True))
            results = self._results(values, context.get("bindings"))
            states = results[: len(states)]
            collected.append(results[len(states) :])
        return (*states, *self._stacked(collected, len(states)))

    def _stacked(self, collected: Sequence[Sequence[Array]], states: int) -> list[Array]:
        count = len(self.body.output_names) - states
        axes = self._listed("scan_output_axes", count) or [0] * count
        backwards = self._listed("scan_output_directions", count) or [0] * count
        stacks: list[Array] = []
        for index in range(count):
            parts = [results[index] for results in collected]
            stack = np.stack(parts) if parts else self._nothing(states + index)
            stacks.append(np.moveaxis(stack[::-1] if backwards[index] else stack, 0, axes[index]))
        return stacks

    def _listed(self, name: str, count: int) -> list[int]:
        """An attribute of one integer for each input or output; empty where it is not there."""
        values: Sequence[int] | None = getattr(self, name, None)
        return list(values)[:count] if values else []


class SequenceMap(_WithBody):
    """``body(element, *others) -> *results`` for every element; of other sequences the one at the same place."""

    def _run(self, elements: Sequence[Array], *others: object, **context: Any) -> tuple[list[Array], ...]:
        names = self._names()
        values: dict[str, object] = {**(context.get("context") or {})}
        results: list[list[Array]] = []
        for place, element in enumerate(elements):
            beside = [cast("list[object]", other)[place] if isinstance(other, list) else other for other in others]
            values.update(zip(names, [element, *beside], strict=True))
            results.append(self._results(values, context.get("bindings")))
        return tuple([row[index] for row in results] for index in range(len(self.onnx_node.output)))


def _padded(parts: Sequence[Array]) -> list[Array]:
    """Rows of a batch, the shorter ones filled up with zeros."""
    longest = max(len(part) if part.ndim else 0 for part in parts)
    return [part if not part.ndim else np.pad(part, _behind(part, longest)) for part in parts]


def _behind(part: Array, length: int) -> list[tuple[int, int]]:
    return [(0, length - len(part)), *[(0, 0)] * (part.ndim - 1)]
