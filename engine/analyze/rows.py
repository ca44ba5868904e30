# pyright: reportUnknownMemberType=false
"""The float model on several variants of one sample at once: rows, which differ in some values and share the rest.

A row is one variant of the model's inputs of a sample. A value of several rows is one tensor, its rows behind each
other along the value's batch axis. Only what differs between rows and the reference is computed, and only for the rows
in which it does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from engine.graph.float_run import FloatModel
from engine.graph.graph import Graph, Node, TensorType
from engine.ops.float_kernels import run_node
from engine.ops.layout import Reshape


@dataclass(frozen=True, eq=False)
class Stacking:
    """How values and nodes of a graph take several rows.

    Attributes:
        axis: The batch axis of every value that has one.
        whole: Nodes that compute any number of rows as they compute one. The others do it row by row.
    """

    axis: Mapping[str, int]
    whole: frozenset[str]


def stacking_of(graph: Graph, doubled: Graph | None) -> Stacking | None:
    """How a graph takes several rows, read off the same model bound to twice its batch (None: there is none).

    None where it does not treat rows alone: the sizes of a value do not follow from its batch, or rows are mixed.
    """
    if doubled is None or graph.open_sizes:
        return None
    axis: dict[str, int] = {}
    for value in graph.producer:
        found = _batch_axis(graph.types[value], doubled.types.get(value))
        if found is None:
            return None
        if found >= 0:
            axis[value] = found
    pairs = list(zip(graph.nodes, doubled.nodes, strict=True))
    mixes = any(
        any(value in axis for value in node.inputs) and any(value not in axis for value in node.outputs if value)
        for node, _ in pairs
    )
    if mixes:
        return None
    return Stacking(axis, frozenset(node.id for node, twin in pairs if _is_whole(graph, node, doubled, twin)))


def _batch_axis(one: TensorType, two: TensorType | None) -> int | None:
    """The axis that doubles with the batch; -1 for a value that does not know of it, None where sizes do otherwise."""
    if two is None:
        return None
    if one.shape == two.shape:
        return -1
    if len(one.shape) != len(two.shape):
        return None
    changed = [axis for axis, (a, b) in enumerate(zip(one.shape, two.shape, strict=True)) if a != b]
    return changed[0] if len(changed) == 1 and two.shape[changed[0]] == 2 * one.shape[changed[0]] else None


def _is_whole(graph: Graph, node: Node, doubled: Graph, twin: Node) -> bool:
    if node.op != twin.op or node.inputs != twin.inputs:
        return False
    return all(_are_same(graph, doubled, value) for value in node.inputs if value in graph.constants)


def _are_same(graph: Graph, doubled: Graph, value: str) -> bool:
    """Whether a constant does not depend on the batch. Floating-point ones of one shape are the model's weights."""
    one, two = graph.constants[value], doubled.constants.get(value)
    if two is None or one.type != two.type:
        return False
    return one.type.is_float or bool(np.array_equal(one.array, two.array))


@dataclass(frozen=True, eq=False)
class Rows:
    """A value in the rows that differ from the reference: their numbers, in rising order, and one tensor of all."""

    numbers: tuple[int, ...]
    tensor: torch.Tensor


class RowModel:
    """Runs nodes of a float model on rows.

    ``stacking`` None: every row by itself.
    """

    def __init__(self, model: FloatModel, stacking: Stacking | None) -> None:
        self._model = model
        self._graph = model.graph
        self._axis: Mapping[str, int] = {} if stacking is None else stacking.axis
        self._whole = frozenset[str]() if stacking is None else stacking.whole
        self.stacks = stacking is not None

    def run(
        self, node: Node, changed: Mapping[str, Rows], reference: Mapping[str, torch.Tensor]
    ) -> dict[str, Rows]:
        """The outputs of a node in all rows in which one of its inputs differs."""
        rows = [changed[value].numbers for value in node.inputs if value in changed]
        numbers = rows[0] if len(set(rows)) == 1 else tuple(sorted({number for part in rows for number in part}))
        outputs = self._outputs(node, numbers, changed, reference)
        pairs = zip(node.outputs, outputs, strict=False)
        return {value: Rows(numbers, tensor) for value, tensor in pairs if value}

    def row(self, value: str, rows: Rows, number: int) -> torch.Tensor:
        """One row of a value."""
        if len(rows.numbers) == 1:
            return rows.tensor
        axis, size = self._axis[value], self._graph.types[value].shape[self._axis[value]]
        return rows.tensor.narrow(axis, rows.numbers.index(number) * size, size)

    def joined(self, value: str, first: Rows | None, number: int, tensor: torch.Tensor) -> Rows:
        """A value with one more row, whose number is higher than the others'."""
        if first is None:
            return Rows((number,), tensor)
        return Rows((*first.numbers, number), torch.cat([first.tensor, tensor], dim=self._axis[value]))

    def _outputs(
        self,
        node: Node,
        numbers: tuple[int, ...],
        changed: Mapping[str, Rows],
        reference: Mapping[str, torch.Tensor],
    ) -> Sequence[torch.Tensor]:
        if len(numbers) == 1 or node.id in self._whole:
            return run_node(node.op, [self._operand(value, numbers, changed, reference) for value in node.inputs])
        if isinstance(node.op, Reshape) and self._axis[node.inputs[0]] == self._axis[node.outputs[0]] == 0:
            first, *others = node.op.shape
            source = self._operand(node.inputs[0], numbers, changed, reference)
            assert source is not None
            return (source.reshape(first * len(numbers), *others),)
        return self._row_by_row(node, numbers, changed, reference)

    def _row_by_row(
        self,
        node: Node,
        numbers: tuple[int, ...],
        changed: Mapping[str, Rows],
        reference: Mapping[str, torch.Tensor],
    ) -> list[torch.Tensor]:
        single: list[tuple[torch.Tensor, ...]] = []
        for number in numbers:
            own = {
                value: Rows((number,), self.row(value, changed[value], number))
                for value in node.inputs
                if value in changed and number in changed[value].numbers
            }
            operands = [self._operand(value, (number,), own, reference) for value in node.inputs]
            single.append(run_node(node.op, operands))
        values = node.outputs[: len(single[0])]
        return [
            torch.cat([outputs[index] for outputs in single], dim=self._axis[value]) if value else single[0][index]
            for index, value in enumerate(values)
        ]

    def _operand(
        self,
        value: str,
        numbers: tuple[int, ...],
        changed: Mapping[str, Rows],
        reference: Mapping[str, torch.Tensor],
    ) -> torch.Tensor | None:
        """A value in all the given rows; those in which it does not differ have the reference's."""
        if not value:
            return None
        if value in self._graph.constants:
            return self._model.weight(value)
        rows = changed.get(value)
        if rows is None:
            return self._repeated(value, reference[value], len(numbers))
        if rows.numbers == numbers:
            return rows.tensor
        missing = len(numbers) - len(rows.numbers)
        axis = self._axis[value]
        together = torch.cat([rows.tensor, self._repeated(value, reference[value], missing)], dim=axis)
        if numbers[: len(rows.numbers)] == rows.numbers:
            return together
        return together.index_select(axis, self._order(value, numbers, rows.numbers))

    def _repeated(self, value: str, tensor: torch.Tensor, times: int) -> torch.Tensor:
        axis = self._axis.get(value)
        if axis is None or times == 1:
            return tensor
        if tensor.shape[axis] == 1:
            return tensor.expand(*(times if at == axis else -1 for at in range(tensor.dim())))
        return torch.cat([tensor] * times, dim=axis)

    def _order(self, value: str, numbers: tuple[int, ...], present: tuple[int, ...]) -> torch.Tensor:
        """Where each of ``numbers`` is in a tensor of the rows ``present`` with the reference's behind them."""
        size = self._graph.types[value].shape[self._axis[value]]
        missing = iter(range(len(present), len(numbers)))
        blocks = [present.index(number) if number in present else next(missing) for number in numbers]
        return torch.cat([torch.arange(block * size, (block + 1) * size) for block in blocks])
