"""The float graph: what the user sees and marks. Immutable; edits live in the plan."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.ops.base import Op


@dataclass(frozen=True)
class TensorType:
    """Shape (all dimensions bound) and numpy dtype name (``float32``, ``int64``, ``bool``, ...) of a value."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def element_count(self) -> int:
        count = 1
        for size in self.shape:
            count *= size
        return count

    @property
    def is_float(self) -> bool:
        return self.dtype in ("float32", "float16", "float64", "bfloat16")


@dataclass(frozen=True, eq=False)
class Constant:
    """A weight or other constant. The data is read when first asked for (memory-mapped where the file allows)."""

    type: TensorType
    load: Callable[[], NDArray[np.generic]]

    @cached_property
    def array(self) -> NDArray[np.generic]:
        """The values, [*shape]. Read-only."""
        return self.load()

    def once(self) -> NDArray[np.generic]:
        """The values, without keeping them for the next time: for whoever makes something else of them. Read-only."""
        return self.array if "array" in vars(self) else self.load()

    @cached_property
    def digest(self) -> str:
        """Content hash of type and values."""
        hasher = hashlib.blake2b(f"{self.type.dtype}{self.type.shape}".encode(), digest_size=16)
        hasher.update(np.ascontiguousarray(self.once()).reshape(-1).view(np.uint8).data)
        return hasher.hexdigest()

    @staticmethod
    def of(array: NDArray[np.generic]) -> Constant:
        """A constant that is already in memory."""
        return Constant(TensorType(tuple(array.shape), array.dtype.name), lambda: array)


@dataclass(frozen=True)
class Node:
    """One operator application.

    ``id`` is stable across sessions of the same file; ``inputs`` and ``outputs`` name values ("" is an absent
    optional input); ``namespace`` are the module scopes, outermost first; ``provenance`` the source file's nodes.
    """

    id: str
    op: Op
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    namespace: tuple[str, ...] = ()
    provenance: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The last part of the id: what fits on a box."""
        return self.id.rstrip("/").rsplit("/", 1)[-1] or self.id


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in topological order, the type of every value (constants included), and the constants.

    ``symbolic_batch``: the file leaves the batch dimension open, so it can be opened again with another batch.
    ``open_sizes``: values whose sizes depend on data, with those that do not; their types' shapes are estimates.
    """

    name: str
    nodes: tuple[Node, ...]
    types: Mapping[str, TensorType]
    constants: Mapping[str, Constant]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    source: Path | None = None
    digest: str = ""
    opset: int = 0
    symbolic_batch: bool = False
    notes: tuple[str, ...] = field(default=())
    open_sizes: Mapping[str, tuple[int | None, ...]] = field(default_factory=dict[str, tuple[int | None, ...]])

    @cached_property
    def producer(self) -> Mapping[str, Node]:
        """The node that makes each non-constant value (inputs included: their Input nodes)."""
        return {value: node for node in self.nodes for value in node.outputs if value}

    @cached_property
    def consumers(self) -> Mapping[str, tuple[Node, ...]]:
        """The nodes that read each value, in topological order, each once."""
        readers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for value in dict.fromkeys(node.inputs):
                if value:
                    readers.setdefault(value, []).append(node)
        return {value: tuple(nodes) for value, nodes in readers.items()}

    @cached_property
    def by_id(self) -> Mapping[str, Node]:
        return {node.id: node for node in self.nodes}

    def with_constants(self, arrays: Mapping[str, NDArray[Any]]) -> Graph:
        """The graph with other values for some constants (of the same shapes); itself where there are none."""
        if not arrays:
            return self
        changed = {name: Constant.of(array.astype(self.types[name].dtype)) for name, array in arrays.items()}
        return replace(self, constants={**self.constants, **changed})

    def dimensions(self, value: str) -> tuple[int | str, ...]:
        """The sizes of a value, names for those that depend on data."""
        sizes = self.open_sizes.get(value)
        if sizes is None:
            return self.types[value].shape
        return tuple(f"{value}.{axis}" if size is None else size for axis, size in enumerate(sizes))

    def activations(self, node: Node) -> tuple[str, ...]:
        """The node's inputs that are neither constants nor absent."""
        return tuple(value for value in node.inputs if value and value not in self.constants)
