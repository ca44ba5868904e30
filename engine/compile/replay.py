# pyright: reportUnknownMemberType=false
"""The proof of a layout plan: the integer program run in planned memory, beside the program as it is.

All buffers of a run lie in one array of bytes, at addresses that the memory planner gives them by their lifetimes, over
bytes that mean nothing. Eliminated units are not run: who reads their outputs gathers the elements of another buffer
through the view. What is left to move is one gather. Every operand that is read, and every value that is made, is
compared with the ordinary program's: a wrong view, a missing copy or two live buffers that overlap change bits.

Values inside a unit, constants, and what is converted between float and integers at a seam lie outside of this memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.compile.layout import LayoutPlan, Rescaled, Storage
from engine.compile.memory import Buffer, MemoryProblem, plan_greedy
from engine.compile.view_rules import VIEW
from engine.compile.views import View, sliced
from engine.graph.graph import Graph
from engine.ops.layout import Concat
from engine.program.executor import run_instruction, run_program
from engine.program.types import DataMovement, FloatKernel, Instruction, Program

_ALIGNMENT_BYTES = 64
_NOTHING = 0xA5


@dataclass(frozen=True)
class Replay:
    """What came of a replay.

    Attributes:
        differing: Values that came out otherwise where they were read or made, in the order of the program.
        elements: How many were compared.
        skipped: Instructions that were not run.
        moves: Instructions that were run as a copy.
        arena_bytes: The memory that held all buffers; ``buffer_bytes`` is their sum.
    """

    differing: tuple[str, ...]
    elements: int
    skipped: int
    moves: int
    arena_bytes: int
    buffer_bytes: int

    @property
    def is_equal(self) -> bool:
        return not self.differing


def rescaled_inputs(graph: Graph, program: Program) -> Rescaled:
    """Which movements of a program bring what they read to another scale."""
    found: set[tuple[str, str]] = set()
    for item in program.instructions:
        node = graph.by_id.get(item.unit)
        if node is None or (VIEW.find(node.op) is None and not isinstance(node.op, Concat)):
            continue
        if isinstance(node.op, Concat):
            operands = zip(node.inputs, item.inputs, strict=False) if _is_join(item) else ()
            found.update((item.unit, value) for value, operand in operands if operand != value)
        elif not isinstance(item.op, DataMovement | FloatKernel) and item.outputs[0] in node.outputs:
            found.add((item.unit, node.inputs[0]))
    return frozenset(found)


def _is_join(item: Instruction) -> bool:
    return isinstance(item.op, DataMovement) and isinstance(item.op.op, Concat)


def replay(graph: Graph, program: Program, plan: LayoutPlan, inputs: Mapping[str, Tensor]) -> Replay:
    """Run a program as a layout plan has it. ``inputs`` are the model's float inputs by name.

    Raises:
        DataError: An input is missing.
        QuantscopeError: A kernel cannot compute.
    """
    values: dict[str, Tensor] = {value: inputs[name] for name, value in program.inputs.items() if name in inputs}

    def keep(item: Instruction, _operands: Sequence[Tensor | None], results: Sequence[Tensor]) -> None:
        values.update((name, result.clone()) for name, result in zip(item.outputs, results, strict=True))

    run_program(program, inputs, visit=keep)
    return _Replayer(graph, program, plan, values).run()


class _Replayer:
    def __init__(self, graph: Graph, program: Program, plan: LayoutPlan, values: Mapping[str, Tensor]) -> None:
        self._graph = graph
        self._program = program
        self._plan = plan
        self._values = values
        self._outside: dict[str, Tensor] = {name: values[name] for name in program.inputs.values()}
        self._buffers, self._arena_bytes = self._memory()
        self._differing: dict[str, None] = {}
        self._elements = self._skipped = self._moves = 0

    def run(self) -> Replay:
        with torch.inference_mode():
            for item in self._program.instructions:
                if isinstance(item.op, DataMovement) and item.unit in self._plan.eliminated:
                    self._skipped += 1
                elif isinstance(item.op, DataMovement) and item.unit in self._plan.moved:
                    self._move(item)
                    self._moves += 1
                else:
                    self._compute(item)
            for value in self._program.outputs.values():
                self._read(value)
        return Replay(
            differing=tuple(self._differing),
            elements=self._elements,
            skipped=self._skipped,
            moves=self._moves,
            arena_bytes=self._arena_bytes,
            buffer_bytes=sum(buffer.nbytes for buffer in self._buffers.values()),
        )

    # -- memory ----------------------------------------------------------------------------------------------

    def _memory(self) -> tuple[dict[str, NDArray[np.generic]], int]:
        """Every buffer at its planned address of one array, and the size of that."""
        lives = self._lifetimes()
        buffers: list[Buffer] = []
        for root, (first, last) in lives.items():
            element_bytes = self._values[root].element_size()
            size = self._graph.types[root].element_count * element_bytes
            buffers.append(Buffer(root, first, last, size, _ALIGNMENT_BYTES))
        plan = plan_greedy(MemoryProblem(tuple(buffers)))
        arena_bytes = max((a + b.size_bytes for a, b in zip(plan.addresses, buffers, strict=True)), default=0)
        arena = np.full(arena_bytes, _NOTHING, np.uint8)
        found: dict[str, NDArray[np.generic]] = {}
        for buffer, address in zip(buffers, plan.addresses, strict=True):
            dtype = self._values[buffer.name].numpy().dtype
            found[buffer.name] = arena[address : address + buffer.size_bytes].view(dtype)
        return found, arena_bytes

    def _lifetimes(self) -> dict[str, tuple[int, int]]:
        """First and last instruction that touches each buffer."""
        found: dict[str, tuple[int, int]] = {}
        end = len(self._program.instructions)
        touched = [(step, name) for step, item in enumerate(self._program.instructions) for name in self._touched(item)]
        for step, name in [*touched, *((end, value) for value in self._program.outputs.values())]:
            storage = self._plan.storages.get(name)
            if storage is not None:
                first, last = found.get(storage.root, (step, step))
                found[storage.root] = min(first, step), max(last, step)
        return found

    def _touched(self, item: Instruction) -> tuple[str, ...]:
        eliminated = isinstance(item.op, DataMovement) and item.unit in self._plan.eliminated
        return () if eliminated else (*item.inputs, *item.outputs)

    # -- instructions ----------------------------------------------------------------------------------------

    def _compute(self, item: Instruction) -> None:
        """What the CPU computes in float is taken as it is, once its operands are the same."""
        operands = [self._read(name) if name else None for name in item.inputs]
        if isinstance(item.op, FloatKernel):
            results = tuple(self._values[name] for name in item.outputs)
        else:
            results = run_instruction(item, operands)
        for name, result in zip(item.outputs, results, strict=True):
            self._write(name, result)

    def _move(self, item: Instruction) -> None:
        assert isinstance(item.op, DataMovement)
        if _is_join(item):
            self._join(item)
            return
        source = self._plan.storages.get(item.inputs[0])
        rule = VIEW.find(item.op.op)
        views = rule(item.op.op, source.view) if source is not None and rule is not None else ()
        results: Sequence[Tensor] | None = None
        for index, name in enumerate(item.outputs):
            if self._plan.storages[name].root != name and name not in self._plan.written:
                continue
            view = views[index] if views else None
            if source is not None and view is not None:
                self._write(name, self._gather(Storage(source.root, view)))
            else:
                results = results or run_instruction(item, [self._read(value) for value in item.inputs])
                self._write(name, results[index])

    def _join(self, item: Instruction) -> None:
        """Copy the inputs of a concatenation that were not written in place, then look at the whole."""
        assert isinstance(item.op, DataMovement) and isinstance(item.op.op, Concat)
        node, whole, axis = self._graph.by_id[item.unit], self._plan.storages[item.outputs[0]], item.op.op.axis
        start = 0
        for value, name in zip(node.inputs, item.inputs, strict=True):
            size = self._values[name].shape[axis] if name in self._values else self._constant(name).shape[axis]
            part = sliced(whole.view, axis, start, size) if size else None
            if part is not None and not self._is_in_place(value, whole.root, part):
                self._scatter(Storage(whole.root, part), self._read(name))
            start += size
        self._read(item.outputs[0])

    def _is_in_place(self, value: str, root: str, part: View) -> bool:
        storage = self._plan.storages.get(value)
        return storage is not None and value in self._plan.written and storage == Storage(root, part)

    # -- access ----------------------------------------------------------------------------------------------

    def _constant(self, name: str) -> Tensor:
        return self._program.constants[name].tensor

    def _read(self, name: str) -> Tensor:
        storage = self._plan.storages.get(name)
        if storage is None:
            found = self._outside.get(name)
            return self._constant(name) if found is None else found
        found = self._gather(storage)
        self._compare(name, found)
        return found

    def _gather(self, storage: Storage) -> Tensor:
        return torch.from_numpy(np.asarray(self._buffers[storage.root][storage.view.addresses()]))

    def _write(self, name: str, result: Tensor) -> None:
        storage = self._plan.storages.get(name)
        if storage is None:
            self._outside[name] = result
            return
        self._compare(name, result)
        self._scatter(storage, result)

    def _scatter(self, storage: Storage, result: Tensor) -> None:
        self._buffers[storage.root][storage.view.addresses()] = result.numpy()

    def _compare(self, name: str, found: Tensor) -> None:
        expected = self._values[name]
        self._elements += found.numel()
        same = found.dtype == expected.dtype and found.shape == expected.shape
        if not same or found.numpy().tobytes() != expected.contiguous().numpy().tobytes():
            self._differing.setdefault(name)
