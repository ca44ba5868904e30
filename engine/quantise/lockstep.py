# pyright: reportUnknownMemberType=false
"""The float model and the integer program side by side, unit by unit, over several samples.

A method that changes weights sees at each unit the integers that all units before it really compute, with the weights
that were chosen for these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from engine.analyze.evaluator import Sample
from engine.graph.float_run import FloatModel, channels_last, fed_tensor
from engine.graph.graph import Graph, Node
from engine.ops.other import Input
from engine.program.executor import last_uses, run_instruction
from engine.program.types import Instruction, Program

Look = Callable[[int, Node, Tensor], None]
"""Called with the place of the sample, a node and its first output in float, which it must not keep."""


class Lockstep:
    """Values of both sides for every sample, as long as something still reads them. ``graph`` is the float model's.

    Instructions are run in the order of the program, by :meth:`run_float` and then :meth:`run_integers`; between the
    two, an instruction may be replaced by another that reads and writes the same values.
    """

    def __init__(self, model: FloatModel, program: Program, samples: Sequence[Sample]) -> None:
        self._model = model
        self.graph = model.graph
        self._program = program
        self._last_uses = last_uses(program)
        self._readers = Counter(value for node in self.graph.nodes for value in set(node.inputs))
        self._readers.update(self.graph.outputs)
        self._done: set[str] = set()
        self._floats: list[dict[str, Tensor]] = [_fed(self.graph, sample) for sample in samples]
        self._integers = [{program.inputs[name]: tensor for name, tensor in fed.items()} for fed in self._floats]

    def integers(self, sample: int, value: str) -> Tensor:
        """A value of the program that was computed for a sample."""
        return self._integers[sample][value]

    def float_value(self, sample: int, value: str) -> Tensor:
        """A value of the float model that was computed for a sample; outputs of the model stay."""
        return self._floats[sample][value]

    def has_float(self, value: str) -> bool:
        """Whether a value of the float model is known."""
        return value in self._floats[0]

    def is_there(self, value: str) -> bool:
        """Whether a value of the graph is known on both sides."""
        return value in self._floats[0] and value in self._integers[0]

    def lost(self, sample: int, value: str) -> Tensor:
        """What the integers of a value of the graph lack of the float model's."""
        integers = self._integers[sample][value]
        return self._floats[sample][value] - integers * self._program.types[value].scale

    def exchange(self, program: Program) -> bool:
        """Go on with another program of the same units in the same order; False, and the old one stays, where it has
        other types for values that were computed."""
        if any(program.types[name] != self._program.types[name] for name in self._integers[0]):
            return False
        self._program, self._last_uses = program, last_uses(program)
        return True

    def run_float(self, instruction: Instruction, look: Look | None = None) -> None:
        """Compute the instruction's nodes in float for every sample."""
        nodes = [self.graph.by_id[name] for name in instruction.nodes if name not in self._done]
        with torch.inference_mode():
            for place, values in enumerate(self._floats):
                for node in nodes:
                    if not isinstance(node.op, Input):
                        outputs = self._model.outputs_of(node, values)
                        values.update((name, value) for name, value in zip(node.outputs, outputs, strict=False) if name)
                        if look is not None:
                            look(place, node, outputs[0])
        self._done.update(node.id for node in nodes)
        self._release_floats(nodes)

    def run_integers(self, place: int, instruction: Instruction) -> None:
        """Compute one instruction, at its ``place`` in the program, for every sample."""
        constants = self._program.constants
        with torch.inference_mode():
            for values in self._integers:
                names = instruction.inputs
                operands = [
                    None if not name else values[name] if name in values else constants[name].tensor for name in names
                ]
                values.update(zip(instruction.outputs, run_instruction(instruction, operands), strict=True))
                for name in self._last_uses[place]:
                    values.pop(name, None)

    def _release_floats(self, nodes: Sequence[Node]) -> None:
        for node in nodes:
            unread = [name for name in node.outputs if name and not self._readers[name]]
            for name in set(node.inputs):
                self._readers[name] -= 1
                if not self._readers[name]:
                    unread.append(name)
            for values in self._floats:
                for name in unread:
                    values.pop(name, None)


def _fed(graph: Graph, sample: Sample) -> dict[str, Tensor]:
    return {name: channels_last(fed_tensor(graph, name, sample.inputs)) for name in graph.inputs}


def live_bytes(graph: Graph) -> int:
    """The most bytes that the float values of one sample take at once, and the integers beside them."""
    readers = Counter(value for node in graph.nodes for value in set(node.inputs) if value not in graph.constants)
    live = most = 0
    for node in graph.nodes:
        live += sum(_bytes(graph, value) for value in node.outputs if value)
        most = max(most, live)
        for value in set(node.inputs):
            if value in readers:
                readers[value] -= 1
                live -= 0 if readers[value] else _bytes(graph, value)
    return most


def _bytes(graph: Graph, value: str) -> int:
    """Four for the float, one for the integer."""
    return graph.types[value].element_count * 5
