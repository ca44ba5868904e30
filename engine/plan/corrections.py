"""Numbers that stand in for a model's constants: what equalisation, learned rounding and training leave behind."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.calibrate.result import TensorRange
from engine.errors import PlanError
from engine.graph.graph import Graph
from engine.plan.types import Unit

Arrays = Mapping[str, NDArray[Any]]


def _none() -> Arrays:
    return MappingProxyType({})


@dataclass(frozen=True, eq=False)
class Correction:
    """Numbers in place of constants of one graph. Only what a method changes is in it; several stack.

    Attributes:
        kind: The method, one word: ``equalise``, ``bias``, ``rounding``, ``training``, ...
        title: One line for the user.
        same: By constant, values that leave the model's function as it is (equalisation): the float model is computed
            with them too.
        weights: By constant, what the integer program quantises in its place; the float model keeps the original.
            Chosen integers q are written as q * scale, beside their scale in ``weight_scales``.
        weight_scales: By constant, the scale of each output channel, float64 [channels] ([1] for a matrix operand), in
            place of the channel's largest magnitude / 127.
        biases: By node (Conv, ConvTranspose, Linear), the bias of the integer program, float64 [channels]; the node
            need not have one.
        ranges: By value, its calibrated range once ``same`` is in place.
    """

    kind: str
    title: str
    same: Arrays = field(default_factory=_none)
    weights: Arrays = field(default_factory=_none)
    weight_scales: Arrays = field(default_factory=_none)
    biases: Arrays = field(default_factory=_none)
    ranges: Mapping[str, TensorRange] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        for table in self.arrays.values():
            for array in table.values():
                array.flags.writeable = False

    @property
    def arrays(self) -> Mapping[str, Arrays]:
        """The tables of arrays by their names."""
        return {name: getattr(self, name) for name in ("same", "weights", "weight_scales", "biases")}

    @cached_property
    def digest(self) -> str:
        """Content hash."""
        hasher = hashlib.blake2b(f"{self.kind}\n{self.title}\n".encode(), digest_size=16)
        for table, arrays in self.arrays.items():
            for name, array in sorted(arrays.items()):
                hasher.update(f"{table} {name} {array.dtype} {array.shape}\n".encode())
                hasher.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        for name, measured in sorted(self.ranges.items()):
            numbers = [None if number is None else float(number) for number in msgspec.structs.astuple(measured)]
            hasher.update(f"{name} {numbers}\n".encode())
        return hasher.hexdigest()


@dataclass(frozen=True, eq=False)
class Corrected:
    """All corrections of a plan, merged: what the graph and lowering see. See :class:`Correction` for the tables."""

    same: Arrays = field(default_factory=_none)
    weights: Arrays = field(default_factory=_none)
    weight_scales: Arrays = field(default_factory=_none)
    biases: Arrays = field(default_factory=_none)
    ranges: Mapping[str, TensorRange] = field(default_factory=lambda: MappingProxyType({}))
    _marks: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    same_digest: str = ""
    """Of the constants that the float model has in place of its own; "" for none."""

    @staticmethod
    def of(corrections: Iterable[Correction], graph: Graph) -> Corrected:
        """Corrections in the order of their application. New float values take back what was chosen for the old."""
        same: dict[str, NDArray[Any]] = {}
        weights: dict[str, NDArray[Any]] = {}
        weight_scales: dict[str, NDArray[Any]] = {}
        biases: dict[str, NDArray[Any]] = {}
        ranges: dict[str, TensorRange] = {}
        marks: dict[str, str] = {}
        changed = hashlib.blake2b(digest_size=16)
        for correction in corrections:
            for name in correction.same:
                weights.pop(name, None)
                weight_scales.pop(name, None)
                for node in graph.consumers.get(name, ()):
                    biases.pop(node.id, None)
            same |= correction.same
            weights |= correction.weights
            weight_scales |= correction.weight_scales
            biases |= correction.biases
            ranges |= correction.ranges
            if correction.same:
                changed.update(correction.digest.encode())
            for table in correction.arrays.values():
                for name in table:
                    marks[name] = f"{marks.get(name, '')}/{correction.digest}"
        return Corrected(same, weights, weight_scales, biases, ranges, marks, changed.hexdigest() if same else "")

    def graph(self, source: Graph) -> Graph:
        """The float model: the source's graph with the constants that leave its function as it is."""
        return source.with_constants(self.same)

    def key_of(self, graph: Graph, unit: Unit) -> tuple[str, ...]:
        """What distinguishes the unit's constants from those of other corrections."""
        if not self._marks:
            return ()
        names = (name for node in unit.nodes for name in (node, *graph.by_id[node].inputs))
        return tuple(self._marks.get(name, "") for name in names)


class CorrectionStore:
    """Corrections by digest: a plan names them, and every plan of the history finds its own here."""

    def __init__(self) -> None:
        self._known: dict[str, Correction] = {}

    def add(self, correction: Correction) -> str:
        """Keep a correction; returns its digest."""
        self._known.setdefault(correction.digest, correction)
        return correction.digest

    def __contains__(self, digest: str) -> bool:
        return digest in self._known

    def __iter__(self) -> Iterator[Correction]:
        return iter(tuple(self._known.values()))

    def get(self, digest: str) -> Correction:
        """The correction of that digest.

        Raises:
            PlanError: There is none.
        """
        found = self._known.get(digest)
        if found is None:
            hint = "it was made in another project, or its file is gone; make it again"
            raise PlanError(f"the plan has a correction {digest[:8]} that is not here", hint=hint)
        return found
