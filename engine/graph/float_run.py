"""Running the float graph, keeping in memory only what is still needed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import DataError, GraphError, QuantscopeError
from engine.graph.graph import Graph, Node
from engine.graph.unsupported import check_runnable
from engine.ops.float_kernels import TORCH_DTYPES, run_node, to_torch
from engine.ops.other import Input

Feeds: TypeAlias = Mapping[str, "NDArray[np.generic] | Tensor"]
Visit: TypeAlias = Callable[[Node, tuple[Tensor, ...]], None]


class FloatModel:
    """A graph ready to run in float: constants as torch tensors (over the mapped file), and when each value dies:
    ``dying`` has for each node the values that nothing reads after it.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._weights: dict[str, Tensor] = {}
        self.dying = _last_reads(graph)

    def weight(self, name: str) -> Tensor:
        """A constant as a tensor, made on first use.

        Raises:
            GraphError: Torch cannot hold its element type.
        """
        tensor = self._weights.get(name)
        if tensor is None:
            try:
                tensor = self._weights[name] = to_torch(self.graph.constants[name].once())
            except TypeError as error:
                raise GraphError(f"constant '{name}': {error}", path=self.graph.source) from error
        return tensor

    def run(
        self, inputs: Feeds, *, keep: Collection[str] | None = None, visit: Visit | None = None
    ) -> dict[str, Tensor]:
        """Run all nodes in order.

        Args:
            inputs: An array or tensor for each graph input, of its exact shape.
            keep: Names of the values to return; the graph outputs unless given.
            visit: Called after each node with its outputs (Input nodes included), which may be freed afterwards.

        Returns:
            The kept values by name. They may share memory with each other and with ``inputs``.

        Raises:
            DataError: An input is missing or has another shape or element type.
            GraphError: A node cannot be computed or is not supported, or ``keep`` names no value.
        """
        check_runnable(self.graph)
        kept = frozenset(self.graph.outputs if keep is None else keep)
        unknown = sorted(name for name in kept if name not in self.graph.types)
        if unknown:
            raise GraphError(f"the graph has no value named {', '.join(unknown)}", path=self.graph.source)
        values = {name: channels_last(fed_tensor(self.graph, name, inputs)) for name in self.graph.inputs}
        with torch.inference_mode():
            for index, node in enumerate(self.graph.nodes):
                outputs = self.outputs_of(node, values)
                values.update((name, value) for name, value in zip(node.outputs, outputs, strict=False) if name)
                if visit is not None:
                    visit(node, outputs)
                for name in self.dying[index]:
                    if name not in kept:
                        del values[name]
        return {name: values[name] if name in values else self.weight(name) for name in kept}

    def operands(self, node: Node, values: Mapping[str, Tensor]) -> list[Tensor | None]:
        """The node's inputs from computed values and constants; None for absent ones."""
        constants = self.graph.constants
        return [None if not name else self.weight(name) if name in constants else values[name] for name in node.inputs]

    def outputs_of(self, node: Node, values: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """What one node makes of computed values. Raises GraphError and others as :meth:`run`, naming the node."""
        if isinstance(node.op, Input):
            return (values[node.outputs[0]],)
        try:
            return run_node(node.op, self.operands(node, values))
        except QuantscopeError as error:
            raise type(error)(error.message, path=self.graph.source, node=node.id, hint=error.hint) from error
        except RuntimeError as error:
            raise GraphError(f"cannot be computed in float: {error}", path=self.graph.source, node=node.id) from error


def run_float(
    graph: Graph, inputs: Feeds, keep: Collection[str] | None = None, *, visit: Visit | None = None
) -> dict[str, Tensor]:
    """Run the graph once in float; see :meth:`FloatModel.run`. For many runs make one :class:`FloatModel`."""
    return FloatModel(graph).run(inputs, keep=keep, visit=visit)


def fed_tensor(graph: Graph, name: str, inputs: Feeds) -> Tensor:
    """The tensor fed for a graph input, checked against the graph.

    Raises:
        DataError: It is missing, or has another shape or element type.
    """
    kind = graph.types[name]
    if name not in inputs:
        raise DataError(f"input '{name}' is missing", hint=f"feed an array of shape {list(kind.shape)}")
    fed = inputs[name]
    tensor = fed if isinstance(fed, Tensor) else to_torch(np.asarray(fed))
    if tuple(tensor.shape) != kind.shape or tensor.dtype != TORCH_DTYPES[kind.dtype]:
        raise DataError(
            f"input '{name}' is {str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}, "
            f"the model takes {kind.dtype}{list(kind.shape)}"
        )
    return tensor


def channels_last(tensor: Tensor) -> Tensor:
    """Pictures with their channels side by side in memory, as integer kernels have them, and as what is computed from
    them then stays: convolutions take less time, and comparing with integers needs no copy in another order."""
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor


def _last_reads(graph: Graph) -> Sequence[tuple[str, ...]]:
    """For each node the values that nothing reads after it, its own unread outputs included."""
    last: dict[str, int] = {}
    for index, node in enumerate(graph.nodes):
        for name in (*node.inputs, *node.outputs):
            if name and name not in graph.constants:
                last[name] = index
    dying: list[list[str]] = [[] for _ in graph.nodes]
    for name, index in last.items():
        dying[index].append(name)
    return [tuple(names) for names in dying]
