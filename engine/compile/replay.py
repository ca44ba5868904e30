# pyright: reportUnknownMemberType=false
"""The proof of what the compiler does with memory: the integer program run in planned memory, beside the ordinary run.

Buffers lie in arrays of bytes at planned addresses, over bytes that mean nothing. Eliminated units are not run: who
reads their outputs gathers the elements of another buffer through the view. What is left to move is one gather. Every
operand that is read, and every value that is made, is compared with the ordinary program's: a wrong view, a missing
copy, two live buffers that overlap, or a kernel that runs too early change bits.

Values inside a unit, constants, and what is converted between float and integers at a seam lie outside of this memory;
what stays inside a kernel lies there whole, not tile by tile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.compile.memory import Buffer, MemoryProblem, plan_greedy
from engine.compile.storages import LayoutPlan, Rescaled, Storage
from engine.compile.types import Compiled
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
        arena_bytes: The memories that held the buffers; ``buffer_bytes`` is the sum of these.
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


def stands(plan: LayoutPlan, rescaled: Rescaled) -> bool:
    """Whether a plan made without scales holds with those of a program: what it lets vanish computes nothing."""
    return not any(anchor in plan.eliminated or value in plan.written for anchor, value in rescaled)


def _is_join(item: Instruction) -> bool:
    return isinstance(item.op, DataMovement) and isinstance(item.op.op, Concat)


def replay(graph: Graph, program: Program, plan: LayoutPlan, inputs: Mapping[str, Tensor]) -> Replay:
    """Run a program as a layout plan has it, in its own order. ``inputs`` are the model's float inputs by name.

    All buffers lie in one memory, each from the first instruction that touches it to the last.

    Raises:
        DataError: An input is missing.
        QuantscopeError: A kernel cannot compute.
    """
    values = _values_of(program, inputs)
    buffers: list[Buffer] = []
    for root, (first, last) in _lifetimes(program, plan).items():
        size_bytes = graph.types[root].element_count * values[root].element_size()
        buffers.append(Buffer(root, first, last, size_bytes, _ALIGNMENT_BYTES))
    found = plan_greedy(MemoryProblem(tuple(buffers)))
    memory = _Memory(values)
    memory.add_arena({b.name: (a, b.size_bytes) for b, a in zip(buffers, found.addresses, strict=True)})
    return _Replayer(graph, program, plan, values, memory).run(program.instructions)


def replay_compiled(graph: Graph, program: Program, compiled: Compiled, inputs: Mapping[str, Tensor]) -> Replay:
    """Run a program in the order of a compiled model's kernels, with their values at its addresses on the chip and in
    DRAM. Needs a plan that :func:`stands`. Raises as :func:`replay`."""
    values = _values_of(program, inputs)
    memory = _Memory(values)
    for planned in (compiled.sram, compiled.dram):
        places = zip(planned.problem.buffers, planned.plan.addresses, strict=True)
        memory.add_arena({buffer.name: (address, buffer.size_bytes) for buffer, address in places})
    order = [unit.anchor for unit in compiled.placed if unit.frame.is_input]
    order += [unit.anchor for costed in compiled.kernels for unit in costed.kernel.units]
    own: dict[str, list[Instruction]] = {anchor: [] for anchor in order}
    rest: list[Instruction] = []
    for item in program.instructions:
        own.get(item.unit, rest).append(item)
    instructions = [item for anchor in order for item in own[anchor]] + rest
    return _Replayer(graph, program, compiled.layout, values, memory).run(instructions)


def _values_of(program: Program, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Every value of the program as it is."""
    values: dict[str, Tensor] = {value: inputs[name] for name, value in program.inputs.items() if name in inputs}

    def keep(item: Instruction, _operands: Sequence[Tensor | None], results: Sequence[Tensor]) -> None:
        values.update((name, result.clone()) for name, result in zip(item.outputs, results, strict=True))

    run_program(program, inputs, visit=keep)
    return values


def _is_eliminated(item: Instruction, plan: LayoutPlan) -> bool:
    return isinstance(item.op, DataMovement) and item.unit in plan.eliminated


def _lifetimes(program: Program, plan: LayoutPlan) -> dict[str, tuple[int, int]]:
    """First and last instruction that touches each buffer; outputs are needed to the end."""
    touched = [
        (step, name)
        for step, item in enumerate(program.instructions)
        if not _is_eliminated(item, plan)
        for name in (*item.inputs, *item.outputs)
    ]
    end = len(program.instructions)
    found: dict[str, tuple[int, int]] = {}
    for step, name in [*touched, *((end, value) for value in program.outputs.values())]:
        storage = plan.storages.get(name)
        if storage is not None:
            first, last = found.get(storage.root, (step, step))
            found[storage.root] = min(first, step), max(last, step)
    return found


class _Memory:
    """Buffers by the values that they are named after; what has no address gets a buffer of its own when it is used."""

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        self._values = values
        self._buffers: dict[str, NDArray[np.generic]] = {}
        self.arena_bytes = 0

    def add_arena(self, places: Mapping[str, tuple[int, int]]) -> None:
        """One more memory, with the address and bytes of each buffer in it."""
        size_bytes = max((address + size for address, size in places.values()), default=0)
        arena = np.full(size_bytes, _NOTHING, np.uint8)
        self.arena_bytes += size_bytes
        for name, (address, size) in places.items():
            self._buffers[name] = arena[address : address + size].view(self._values[name].numpy().dtype)

    def __getitem__(self, name: str) -> NDArray[np.generic]:
        found = self._buffers.get(name)
        if found is None:
            array = self._values[name].numpy()
            found = self._buffers[name] = np.full(array.nbytes, _NOTHING, np.uint8).view(array.dtype)
        return found

    @property
    def buffer_bytes(self) -> int:
        """Bytes of all buffers together."""
        return sum(buffer.nbytes for buffer in self._buffers.values())


class _Replayer:
    def __init__(
        self, graph: Graph, program: Program, plan: LayoutPlan, values: Mapping[str, Tensor], memory: _Memory
    ) -> None:
        self._graph = graph
        self._program = program
        self._plan = plan
        self._values = values
        self._memory = memory
        self._outside: dict[str, Tensor] = {name: values[name] for name in program.inputs.values()}
        self._maker = {name: item for item in program.instructions for name in item.outputs}
        self._differing: dict[str, None] = {}
        self._elements = self._skipped = self._moves = 0

    def run(self, instructions: Sequence[Instruction]) -> Replay:
        with torch.inference_mode():
            for item in instructions:
                self._run(item)
            for value in self._program.outputs.values():
                self._read(value)
        return Replay(
            differing=tuple(self._differing),
            elements=self._elements,
            skipped=self._skipped,
            moves=self._moves,
            arena_bytes=self._memory.arena_bytes,
            buffer_bytes=self._memory.buffer_bytes,
        )

    # -- instructions ----------------------------------------------------------------------------------------

    def _run(self, item: Instruction) -> None:
        if _is_eliminated(item, self._plan):
            self._skipped += 1
        elif isinstance(item.op, DataMovement) and item.unit in self._plan.moved:
            self._move(item)
            self._moves += 1
        else:
            self._compute(item)

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
        if storage is not None:
            found = self._gather(storage)
            self._compare(name, found)
            return found
        if name not in self._outside and name not in self._program.constants:
            self._compute(self._maker[name])  # a conversion that stands before another of its readers
        return self._outside[name] if name in self._outside else self._constant(name)

    def _gather(self, storage: Storage) -> Tensor:
        return torch.from_numpy(np.asarray(self._memory[storage.root][storage.view.addresses()]))

    def _write(self, name: str, result: Tensor) -> None:
        storage = self._plan.storages.get(name)
        if storage is None:
            self._outside[name] = result
            return
        self._compare(name, result)
        self._scatter(storage, result)

    def _scatter(self, storage: Storage, result: Tensor) -> None:
        self._memory[storage.root][storage.view.addresses()] = result.numpy()

    def _compare(self, name: str, found: Tensor) -> None:
        expected = self._values[name]
        self._elements += found.numel()
        same = found.dtype == expected.dtype and found.shape == expected.shape
        if not same or found.numpy().tobytes() != expected.contiguous().numpy().tobytes():
            self._differing.setdefault(name)
