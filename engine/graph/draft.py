"""The graph while it is being built and cleaned: mutable, with producers and readers kept up to date."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import replace

from engine.graph.graph import Constant, Node, TensorType
from engine.graph.naming import NodeNames
from engine.ops.layout import Identity
from engine.ops.other import Input

_GAP = 1 << 60
"""Between the numbers of slots at first, so that others fit between them."""


class Draft:
    """Nodes in topological order in numbered slots; a removed node leaves its slot empty.

    ``symbolic_batch``: the file leaves the batch open. Its graph must be the same for every batch: axes of size one may
    be the batch, and no constant may have it in its shape.
    """

    def __init__(self) -> None:
        self.symbolic_batch = False
        self.names = NodeNames()
        self.types: dict[str, TensorType] = {}
        self.constants: dict[str, Constant] = {}
        self.inputs: list[str] = []
        self.outputs: list[str] = []
        self._slots: dict[int, Node | None] = {}
        self._order: list[int] = []
        self._producer: dict[str, int] = {}
        self._readers: dict[str, set[int]] = {}
        self._fresh = 0

    # --- values

    def add_constant(self, name: str, constant: Constant) -> str:
        """Register a constant under an unused name derived from ``name``; returns the name."""
        if name in self.types:
            name = self.fresh_name(name)
        self.constants[name] = constant
        self.types[name] = constant.type
        return name

    def fresh_name(self, stem: str) -> str:
        """A value name that is not in use."""
        while True:
            self._fresh += 1
            name = f"{stem}~{self._fresh}"
            if name not in self.types:
                return name

    def producer(self, value: str) -> Node | None:
        """The node that makes ``value``; None for constants and absent values."""
        slot = self._producer.get(value)
        return None if slot is None else self._slots[slot]

    def readers(self, value: str) -> list[Node]:
        """The nodes that read ``value``."""
        found = (self._slots[slot] for slot in sorted(self._readers.get(value, ())))
        return [node for node in found if node is not None]

    # --- nodes

    def append(self, node: Node) -> None:
        """Add a node behind all others. Its output types must be set by the caller."""
        slot = self._order[-1] + _GAP if self._order else 0
        self._order.append(slot)
        self._put(slot, node)

    def insert_before(self, anchor: Node, node: Node) -> None:
        """Add a node directly before another. Its inputs must be made before that place."""
        slot = self._slot_of(anchor)
        at = bisect_left(self._order, slot)
        before = self._order[at - 1] if at else slot - _GAP
        between = (before + slot) // 2
        assert before < between < slot, "the gap holds 60 nodes, a pattern adds two or three"
        insort(self._order, between)
        self._put(between, node)

    def nodes(self) -> Iterator[Node]:
        """The nodes in topological order.

        Replacing the current node, or adding and removing nodes before it, meanwhile is safe; what is added so is not
        visited.
        """
        for slot in tuple(self._order):
            node = self._slots[slot]
            if node is not None:
                yield node

    def replace(self, old: Node, new: Node) -> None:
        """Put ``new`` in the place of ``old``. Its inputs must be made before that place."""
        slot = self._slot_of(old)
        self.remove(old)
        self._put(slot, new)

    def remove(self, node: Node) -> None:
        """Take a node out. Nothing may read its outputs any more, or a replacement must follow."""
        slot = self._slot_of(node)
        self._slots[slot] = None
        for value in node.outputs:
            self._producer.pop(value, None)
        for value in set(node.inputs):
            self._readers.get(value, set()).discard(slot)

    def redirect(self, old: str, new: str) -> None:
        """Let every reader of value ``old`` read ``new`` instead."""
        for slot in sorted(self._readers.get(old, ())):
            node = self._slots[slot]
            if node is None:
                continue
            inputs = tuple(new if value == old else value for value in node.inputs)
            self._slots[slot] = replace(node, inputs=inputs)
            self._readers.setdefault(new, set()).add(slot)
        self._readers.pop(old, None)

    def _slot_of(self, node: Node) -> int:
        return self._producer[next(value for value in node.outputs if value)]

    def _put(self, slot: int, node: Node) -> None:
        self._slots[slot] = node
        for value in node.outputs:
            if value:
                self._producer[value] = slot
        for value in node.inputs:
            if value:
                self._readers.setdefault(value, set()).add(slot)

    # --- whole-graph clean-ups

    def drop_dead(self) -> int:
        """Remove nodes (inputs excepted) and constants that no output depends on; returns how many nodes went."""
        wanted = set(self.outputs)
        removed = 0
        for slot in reversed(self._order):
            node = self._slots[slot]
            if node is None:
                continue
            if isinstance(node.op, Input) or wanted.intersection(node.outputs):
                wanted.update(node.inputs)
            else:
                self.remove(node)
                removed += 1
        made = {value for node in self.nodes() for value in node.outputs}
        self.constants = {name: constant for name, constant in self.constants.items() if name in wanted}
        self.types = {name: kind for name, kind in self.types.items() if name in made or name in self.constants}
        return removed

    def drop_identities(self) -> int:
        """Remove every Identity, except where a graph output needs a node of its own; returns how many went."""
        removed = 0
        for node in self.nodes():
            if not isinstance(node.op, Identity):
                continue
            source, result = node.inputs[0], node.outputs[0]
            if result not in self.outputs:
                self.redirect(result, source)
                self.remove(node)
            elif not self._renamed(node, source, result):
                continue
            removed += 1
        return removed

    def _renamed(self, identity: Node, source: str, result: str) -> bool:
        """Let the maker of an identity's input make the graph output itself, where it may."""
        maker = self.producer(source)
        if maker is None or isinstance(maker.op, Input) or source in self.outputs:
            return False
        self.remove(identity)
        self.redirect(result, source)
        readers = self.readers(source)
        outputs: Sequence[str] = [result if value == source else value for value in maker.outputs]
        self.replace(maker, replace(maker, outputs=tuple(outputs)))
        if readers:
            self.redirect(source, result)
        self.types[result] = self.types[source]
        return True
