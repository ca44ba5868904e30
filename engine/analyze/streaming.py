# pyright: reportUnknownMemberType=false
"""Errors of every node on one sample in a single walk that keeps no value longer than it is needed.

For more samples than an evaluator keeps, keeping them is of no use: each would push out the one before. Here the float
model, the integer program and each unit alone go through the network side by side; what they compute is compared while
it is still near the processor, and its memory serves the next node.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby

import torch

from engine.analyze.evaluator import Evaluator, Sample, Watch, fed_values
from engine.analyze.keys import recipes, sample_key
from engine.analyze.metrics import ErrorSums
from engine.analyze.units import UnitWork
from engine.errors import Cancelled
from engine.graph.float_run import channels_last, fed_tensor
from engine.graph.graph import Node
from engine.graph.packed_run import PackedModel
from engine.program.executor import run_instruction
from engine.program.types import Instruction, Program


@dataclass(frozen=True, eq=False)
class Stage:
    """Instructions behind each other that belong to one unit.

    Attributes:
        ready: Place in the graph of the last node whose float value they are compared with or fed.
        work: The unit to run alone behind them; None where it adds no error.
        dying: Values of the program that nothing after the stage reads.
        done: Graph values whose float form nothing after the stage needs, and operands of units alone likewise.
    """

    items: tuple[Instruction, ...]
    ready: int
    work: UnitWork | None
    dying: list[str] = field(default_factory=list[str])
    done: list[str] = field(default_factory=list[str])


class Stream:
    """One program, ready to be measured sample by sample."""

    def __init__(self, evaluator: Evaluator, program: Program) -> None:
        self.evaluator = evaluator
        self.program = program
        self._wanted = evaluator.measurable(program)
        self.inherits = {value: evaluator.source_of(program, value) for value in self._wanted}
        self.places = {node.id: place for place, node in enumerate(evaluator.graph.nodes)}
        self._works = [work for work in evaluator.works(program) if work.measured and not work.is_exact]
        made, types = recipes(program), program.types
        self._accumulated = {
            value: evaluator.accumulated_recipe(made[name], value, types[name]) for value, name in self._wanted.items()
        }
        self._introduced = {work.unit: evaluator.introduced_recipe(work) for work in self._works}
        self.stages = self._all_stages()
        self.model = PackedModel(evaluator.model)
        self.is_whole = any(name in self.model.hidden for stage in self.stages for name in stage.done)

    def measure(
        self, sample: Sample, cancelled: Watch
    ) -> tuple[Mapping[str, ErrorSums], Mapping[str, ErrorSums]]:
        """What :meth:`Evaluator.accumulated` and :meth:`Evaluator.introduced` find. Raises Cancelled."""
        sums = self.evaluator.sums
        end = sample_key(sample.digest)
        labels = {value: recipe + end for value, recipe in self._accumulated.items()}
        alone = {unit: recipe + end for unit, recipe in self._introduced.items()}
        if any(label not in sums for label in (*labels.values(), *alone.values())):
            _Walk(self, sample, cancelled, labels, alone).run()
        return self._found(labels), self._found(alone)

    def _found(self, labels: Mapping[str, bytes]) -> Mapping[str, ErrorSums]:
        known = {name: self.evaluator.sums.get(label) for name, label in labels.items()}
        return {name: sums for name, sums in known.items() if sums is not None}

    def _all_stages(self) -> list[Stage]:
        chunks = [tuple(items) for _, items in groupby(self.program.instructions, key=lambda item: item.unit)]
        last_chunk = {items[0].unit: index for index, items in enumerate(chunks)}
        works = {work.unit: work for work in self._works}
        stages = [
            Stage(items, self._ready(items), works.get(items[0].unit) if last_chunk[items[0].unit] == index else None)
            for index, items in enumerate(chunks)
        ]
        last: dict[str, int] = {}
        last_float: dict[str, int] = {}
        for index, stage in enumerate(stages):
            for item in stage.items:
                last.update((name, index) for name in (*item.inputs, *item.outputs) if name)
            read = () if stage.work is None else (*stage.work.operands, *stage.work.results)
            made = [name for item in stage.items for name in item.outputs]
            last_float.update((name, index) for name in (*read, *made, *map(self.graph_value, (*read, *made))))
        for name, index in last.items():
            stages[index].dying.append(name)
        for name, index in last_float.items():
            stages[index].done.append(name)
        return stages

    def graph_value(self, name: str) -> str:
        """The graph value that a program value holds, or is a form of."""
        return name if name in self.evaluator.graph.types else name.rpartition("@")[0]

    def _ready(self, items: tuple[Instruction, ...]) -> int:
        producer = self.evaluator.graph.producer
        values = {self.graph_value(name) for item in items for name in (*item.inputs, *item.outputs) if name}
        return max((self.places[producer[value].id] for value in values if value in producer), default=0)


class _Walk:
    """One sample on its way."""

    def __init__(
        self,
        stream: Stream,
        sample: Sample,
        cancelled: Watch,
        labels: Mapping[str, bytes],
        alone: Mapping[str, bytes],
    ) -> None:
        self._stream = stream
        self._evaluator = stream.evaluator
        self._program = stream.program
        self._sample = sample
        self._cancelled = cancelled
        self._labels = labels
        self._alone = alone
        self._floats: dict[str, torch.Tensor] = {}
        self._values = fed_values(self._program, sample)
        self._operands: dict[str, torch.Tensor] = dict(self._values)
        self._next = 0

    def run(self) -> None:
        graph, inputs = self._evaluator.graph, self._sample.inputs
        fed = {name: channels_last(fed_tensor(graph, name, inputs)) for name in graph.inputs}
        self._stream.model.run(fed, self._visit, whole=self._stream.is_whole)

    def _visit(self, node: Node, outputs: tuple[torch.Tensor, ...]) -> None:
        self._floats.update((name, value) for name, value in zip(node.outputs, outputs, strict=False) if name)
        place, stages = self._stream.places[node.id], self._stream.stages
        while self._next < len(stages) and stages[self._next].ready <= place:
            if self._cancelled():
                raise Cancelled
            self._pass(stages[self._next])
            self._next += 1

    def _pass(self, stage: Stage) -> None:
        for item in stage.items:
            self._execute(item, self._values)
            for name in item.outputs:
                self._compare(name)
        if stage.work is not None:
            self._measure_alone(stage.work)
        for name in stage.dying:
            self._values.pop(name, None)
        for name in stage.done:
            self._floats.pop(name, None)
            self._operands.pop(name, None)

    def _compare(self, name: str) -> None:
        """Note the error of a value of the program, if it has one of its own."""
        label = self._labels.get(name)
        if label is None:
            return
        source = self._stream.inherits[name]
        shared = None if source is None else self._labels.get(source)
        known = None if shared is None else self._evaluator.sums.get(shared)
        if known is None:
            known = self._evaluator.error(self._floats, name, self._values[name], self._program.types[name])
        self._evaluator.sums.put(label, known)

    def _measure_alone(self, work: UnitWork) -> None:
        for name in work.operands:
            if name not in self._operands:
                value = self._floats[self._stream.graph_value(name)]
                self._operands[name] = self._evaluator.quantised(value, self._program.types[name])
        values = {name: self._operands[name] for name in work.operands}
        for item in work.instructions:
            self._execute(item, values)
        self._evaluator.sums.put(
            self._alone[work.unit], self._evaluator.total_error(self._program, work, self._floats, values)
        )

    def _execute(self, item: Instruction, values: dict[str, torch.Tensor]) -> None:
        constants = self._program.constants
        operands = [
            None if not name else constants[name].tensor if name in constants else values[name]
            for name in item.inputs
        ]
        values.update(zip(item.outputs, run_instruction(item, operands), strict=True))
        self._evaluator.executed += 1
