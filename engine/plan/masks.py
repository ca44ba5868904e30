"""Attention masks: values so low that a softmax makes 0 of them. They must not take the range of the logits.

A mask is a constant (-100 in Swin) or computed from an input ((1 - m) * -3.4e38, or a selection of minus infinity); it
is added to the logits, or replaces some of them. A softmax cannot tell a masked logit from any value that lies far
enough below the others. So what only softmaxes read, by way of additions, selections and layout, may be clipped there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from engine.graph.graph import Graph, Node
from engine.ops.elementwise import Add, Maximum, Sub, Where
from engine.ops.layout import Layout
from engine.ops.reduce import Softmax

ThresholdOf = Callable[[str], float]
"""Value name -> the calibrated magnitude that its largest integer would stand for."""

MASK_MARGIN = 8.0
"""Distance below every logit at which a masked one may be clipped: e^-8 is a tenth of an int8 softmax's step."""

CONSTANT_MASK = 30.0
"""A constant operand as low as minus this is a mask: e^-30 vanishes in any output type."""

COMPUTED_MASK = 1e4
"""An activation whose calibrated threshold is this large, and that only softmaxes read, is a mask: logits are not."""

ADDING = (Add, Sub)
SELECTING = (Where, Maximum)


def softmax_only(graph: Graph) -> frozenset[str]:
    """Values that softmaxes alone read, directly or through additions, selections and layout."""
    found: set[str] = set()
    for node in reversed(graph.nodes):
        for value in node.outputs:
            readers = graph.consumers.get(value, ())
            if value and value not in graph.outputs and readers and all(_leads_on(item, found) for item in readers):
                found.add(value)
    return frozenset(found)


def _leads_on(reader: Node, found: set[str]) -> bool:
    if isinstance(reader.op, Softmax):
        return True
    return isinstance(reader.op, (*ADDING, *SELECTING, Layout)) and found.issuperset(filter(None, reader.outputs))


def maskable(graph: Graph) -> Mapping[str, float]:
    """Values that may hold a mask, each with the magnitude from which its elements are masked.

    Those are logits to which a constant or computed mask may have been applied, and computed masks themselves.
    """
    hidden = softmax_only(graph)
    found: dict[str, float] = {}
    for node in graph.nodes:
        operands = _operands(graph, node)
        computed = [value for value in operands if value not in graph.constants]
        low = any(_is_low(graph, node, value) for value in operands)
        if hidden.issuperset(node.outputs) and (low or len(computed) > 1):
            found.update(dict.fromkeys(hidden.intersection(computed) - found.keys(), COMPUTED_MASK / 2))
            found.update(dict.fromkeys(node.outputs, CONSTANT_MASK if low else COMPUTED_MASK / 2))
        elif isinstance(node.op, Layout):
            _spread(found, node.inputs, hidden.intersection(node.outputs))
    for node in reversed(graph.nodes):
        if isinstance(node.op, Layout):
            _spread(found, node.outputs, hidden.intersection(node.inputs))
    return found


def _spread(found: dict[str, float], values: Iterable[str], others: Iterable[str]) -> None:
    """Give ``others`` what is known of ``values``, which hold the same elements."""
    known = [found[value] for value in values if value in found]
    for other in others:
        if known and other not in found:
            found[other] = min(known)


def mask_limits(graph: Graph, threshold_of: ThresholdOf) -> Mapping[str, float]:
    """Thresholds of masked logits and of masks themselves, by value name; others have none.

    Masked logits keep the range of what was masked plus :data:`MASK_MARGIN`. A mask reaches so far that the largest
    logit, with it added, still falls to the lower end of that range.
    """
    hidden = softmax_only(graph)
    finder = _Limits(graph, hidden, threshold_of)
    inner = [node for node in graph.nodes if hidden.intersection(node.outputs)]
    for node in inner:
        finder.find_logits(node)
    for node in reversed(inner):
        finder.find_masks(node)
    return finder.logits | finder.masks


class _Limits:
    """Limits of masked logits, found in the order of the graph, and of masks, found against it."""

    def __init__(self, graph: Graph, hidden: frozenset[str], threshold_of: ThresholdOf) -> None:
        self.graph = graph
        self.hidden = hidden
        self.threshold_of = threshold_of
        self.logits: dict[str, float] = {}
        self.masks: dict[str, float] = {}

    def find_logits(self, node: Node) -> None:
        operands = _operands(self.graph, node)
        if isinstance(node.op, Layout):
            limits = [self.logits[value] for value in node.inputs if value in self.logits]
            self.logits.update(dict.fromkeys(node.outputs, max(limits)) if limits else {})
            return
        seen = [value for value in operands if not self._is_mask(node, value)]
        if len(seen) < len(operands) and not all(value in self.graph.constants for value in seen):
            # A maximum hides nothing: it only keeps what was masked before it from becoming infinite.
            margin = 0.0 if isinstance(node.op, Maximum) else MASK_MARGIN
            self.logits[node.outputs[0]] = max(map(self._reach, seen)) + margin

    def find_masks(self, node: Node) -> None:
        for value in self.hidden.intersection(node.outputs):
            if value not in self.logits and self._is_computed_mask(value):
                readers = self.graph.consumers[value]
                self.masks[value] = max(self._needed(reader, value) for reader in readers)

    def _needed(self, reader: Node, value: str) -> float:
        """How far a mask must reach down for one of its readers."""
        out = reader.outputs[0]
        if isinstance(reader.op, Softmax):
            return 2.0 * MASK_MARGIN
        if isinstance(reader.op, ADDING) and out in self.logits:
            return 2.0 * max(self._reach(other) for other in reader.inputs if other != value) + MASK_MARGIN
        return max(self.logits.get(name) or self.masks.get(name, COMPUTED_MASK) for name in reader.outputs if name)

    def _is_mask(self, node: Node, value: str) -> bool:
        if value in self.graph.constants:
            return _is_low(self.graph, node, value)
        return value not in self.logits and self._is_computed_mask(value)

    def _is_computed_mask(self, value: str) -> bool:
        return self.graph.types[value].is_float and self.threshold_of(value) >= COMPUTED_MASK

    def _reach(self, value: str) -> float:
        constant = self.graph.constants.get(value)
        if constant is not None:
            return float(np.abs(np.asarray(constant.array, np.float64)).max(initial=0.0))
        return self.logits.get(value) or self.threshold_of(value)


def _operands(graph: Graph, node: Node) -> Sequence[str]:
    """The values that the node adds to each other or selects from; of other operators none."""
    if isinstance(node.op, Where):
        return node.inputs[1:] if graph.types[node.outputs[0]].is_float else ()
    return node.inputs if isinstance(node.op, (*ADDING, Maximum)) else ()


def _is_low(graph: Graph, node: Node, value: str) -> bool:
    """Whether the value is a constant that masks: low somewhere where it is added, everywhere where it is selected."""
    constant = graph.constants.get(value)
    if constant is None or constant.array.size == 0:
        return False
    array = np.asarray(constant.array, np.float64)
    if isinstance(node.op, Sub):
        return value == node.inputs[1] and float(array.max()) >= CONSTANT_MASK
    return float(array.max() if isinstance(node.op, SELECTING) else array.min()) <= -CONSTANT_MASK
