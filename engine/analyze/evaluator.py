# pyright: reportUnknownMemberType=false
"""Errors of every node on one sample, computed incrementally: what is keyed by content is never computed twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from engine.analyze.felt import felt_values
from engine.analyze.keys import combine, sample_key, value_keys
from engine.analyze.metrics import NO_SUMS, ErrorSums, error_sums
from engine.analyze.rows import Stacking, stacking_of
from engine.analyze.store import Store
from engine.analyze.units import UnitWork, works_of
from engine.errors import Cancelled
from engine.graph.float_run import FloatModel
from engine.graph.graph import Graph
from engine.ops.layout import DepthToSpace, Identity, Reshape, Roll, SpaceToDepth, Transpose
from engine.plan.masks import COMPUTED_MASK, maskable
from engine.program.executor import run_instruction
from engine.program.types import Instruction, Output, Program, Quantise
from engine.qtype import INTEGER_RANGE, QType

PERMUTATIONS = (Reshape, Transpose, Roll, DepthToSpace, SpaceToDepth, Identity)
"""Operators that keep every element: sums over elements are their input's."""

_SUMS_CAPACITY = 1_000_000

_CAPACITY_BYTES = 768 << 20
"""Four samples of Swin-T or ViT-S at 224 x 224; with what one more sample takes while it is computed, under 1.5 GB."""

_OUTPUTS_BYTES = 64 << 20
"""Of the float model's outputs alone: a search compares with those of the same samples again and again."""

_BYTES = 4
"""Of one element of a float value."""

References = Mapping[str, torch.Tensor]
Watch = Callable[[], bool]


@dataclass(frozen=True, eq=False)
class Sample:
    """One model input set, [batch, ...] float32 arrays by input name, and the hash of its content."""

    digest: str
    inputs: Mapping[str, NDArray[np.generic]]

    @staticmethod
    def of(inputs: Mapping[str, NDArray[np.generic]]) -> Sample:
        parts = [(name, str(array.dtype), str(array.shape)) for name, array in inputs.items()]
        data = [np.ascontiguousarray(array).tobytes() for array in inputs.values()]
        return Sample(combine(repr(parts), *data).hex(), inputs)


def _bytes_of(tensors: References) -> int:
    """What the tensors hold in memory: those that are views of one another count once."""
    storages = (tensor.untyped_storage() for tensor in tensors.values())
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def _never() -> bool:
    return False


class Evaluator:
    """Runs programs of one graph on samples and keeps what may be asked for again, within a memory bound.

    ``capacity_bytes`` bounds integer results and float references together; a third of it is for the integers, which
    keeps about as many samples of both. ``mark`` tells graphs apart that share what is kept (:meth:`beside`).
    """

    def __init__(self, graph: Graph, capacity_bytes: int = _CAPACITY_BYTES, mark: str = "") -> None:
        self.graph = graph
        self.model = FloatModel(graph)
        self.executed = 0
        self._mark = mark
        self._maskable = maskable(graph)
        integers_bytes = capacity_bytes // 3
        self._tensors: Store[torch.Tensor] = Store(integers_bytes, lambda t: t.numel() * t.element_size())
        self._references: Store[References] = Store(capacity_bytes - integers_bytes, _bytes_of)
        self._outputs: Store[References] = Store(_OUTPUTS_BYTES, _bytes_of)
        self.sums: Store[ErrorSums] = Store(_SUMS_CAPACITY, lambda _: 1)
        self._works: tuple[Program, tuple[UnitWork, ...]] | None = None
        self._stacking: tuple[Stacking | None] | None = None

    def beside(self, graph: Graph, mark: str) -> Evaluator:
        """An evaluator of the same model with other constants, within the same memory bound."""
        other = Evaluator(graph, 0, mark)
        other._tensors, other._references = self._tensors, self._references
        other._outputs, other.sums, other._stacking = self._outputs, self.sums, self._stacking
        return other

    def label(self, *parts: str | bytes) -> bytes:
        """The key of what follows from ``parts`` and this graph."""
        return combine(self._mark, *parts)

    def reference(self, sample: Sample) -> References:
        """The float model's value for every non-constant value of the graph."""
        key = (self._mark + sample.digest).encode()
        found = self._references.get(key)
        if found is None:
            values = [value for node in self.graph.nodes for value in node.outputs if value]
            found = self.model.run(sample.inputs, keep=values)
            self._references.put(key, found)
        return found

    def keeps(self, samples: int) -> bool:
        """Whether the float model's values on so many samples fit into the store."""
        kinds = (self.graph.types[value] for node in self.graph.nodes for value in node.outputs if value)
        bytes_a_sample = sum(_BYTES * kind.element_count for kind in kinds)
        return samples * bytes_a_sample <= self._references.capacity_bytes

    def reference_outputs(self, sample: Sample) -> References:
        """The float model's outputs, and what is read by a softmax or sigmoid in front of them."""
        key = self.label("outputs", sample.digest)
        found = self._outputs.get(key)
        if found is None:
            whole = self._references.get((self._mark + sample.digest).encode())
            wanted = {*self.graph.outputs, *felt_values(self.graph, self.graph.types)}
            known = self.model.run(sample.inputs, keep=wanted) if whole is None else whole
            found = {name: _compact(known[name]) for name in wanted}
            self._outputs.put(key, found)
        return found

    def output_error(self, sample: Sample, outputs: References, names: Sequence[str] | None = None) -> ErrorSums:
        """Error of a program's outputs (:meth:`outputs`), those of numbers together; or of others that
        :meth:`reference_outputs` has, as floats."""
        reference, plain = self.reference_outputs(sample), QType("float32")
        numbers = (name for name in (names or self.graph.outputs) if self.graph.types[name].is_float)
        return _total(self.error(reference, name, outputs[name], plain) for name in numbers)

    def accumulated(self, program: Program, sample: Sample, cancelled: Watch = _never) -> Mapping[str, ErrorSums]:
        """Error of every materialised float value: everything quantised as planned, against the float model.

        Raises Cancelled between instructions once ``cancelled()``.
        """
        keys = value_keys(program, sample.digest)
        wanted = self.measurable(program)
        types = program.types
        labels = {value: self.accumulated_label(keys[name], value, types[name]) for value, name in wanted.items()}
        missing = {value for value in wanted if labels[value] not in self.sums}
        if missing:
            self._measure(program, sample, keys, wanted, labels, missing, cancelled)
        return {value: self._known(labels[value]) for value in wanted}

    def outputs(self, program: Program, sample: Sample) -> Mapping[str, torch.Tensor]:
        """The program's model outputs for a sample, from the store as far as it has them."""
        keys = value_keys(program, sample.digest)
        names = set(program.outputs.values())
        values = self._compute(program, sample, keys, names, lambda name, tensor: None, _never)
        return {output: values[name] for output, name in program.outputs.items()}

    def value(self, program: Program, sample: Sample, value: str) -> torch.Tensor:
        """One graph value as the program computes it, dequantised to float32."""
        name = program.value_of[value]
        keys = value_keys(program, sample.digest)
        tensor = self._compute(program, sample, keys, {name}, lambda name, tensor: None, _never)[name]
        qtype = program.types[name]
        return tensor.to(torch.float32) * qtype.scale if qtype.is_quantised else tensor.to(torch.float32)

    def introduced(self, program: Program, sample: Sample, cancelled: Watch = _never) -> Mapping[str, ErrorSums]:
        """Error that each unit adds: the unit in integers, fed the float model's values quantised.

        Keyed by unit id. Exact data movement and float nodes add none and are absent, as are units that make truth
        values or indices. Raises Cancelled.
        """
        # Once for all units, also where it is too large for the store; not at all where every sum is known.
        reference = cache(lambda: self.reference(sample))
        found: dict[str, ErrorSums] = {}
        for work in self.works(program):
            if cancelled():
                raise Cancelled
            if work.measured and not work.is_exact:
                found[work.unit] = self._introduced_by(program, work, sample, reference)
        return found

    def works(self, program: Program) -> tuple[UnitWork, ...]:
        """The integer units of a program, found once for the last one asked about."""
        if self._works is None or self._works[0] is not program:
            self._works = (program, works_of(self.graph, program))
        return self._works[1]

    def stacking(self, doubled: Callable[[], Graph | None]) -> Stacking | None:
        """How the graph takes several variants of a sample at once; ``doubled`` binds it to twice its batch, which is
        asked for once."""
        if self._stacking is None:
            self._stacking = (stacking_of(self.graph, doubled()),)
        return self._stacking[0]

    def _introduced_by(
        self, program: Program, work: UnitWork, sample: Sample, reference: Callable[[], References]
    ) -> ErrorSums:
        label = self.introduced_label(sample, work)
        if label not in self.sums:
            values = self.alone(program, work, sample, reference)
            self.sums.put(label, self.total_error(program, work, reference(), values))
        return self._known(label)

    def introduced_label(self, sample: Sample, work: UnitWork) -> bytes:
        """The key of the error that a unit adds on a sample."""
        return self.introduced_recipe(work) + sample_key(sample.digest)

    def introduced_recipe(self, work: UnitWork) -> bytes:
        """That key without the sample's."""
        return self.label("introduced", work.digest)

    def total_error(self, program: Program, work: UnitWork, reference: References, values: References) -> ErrorSums:
        """Error of all numbers that a unit makes."""
        return _total(self.error(reference, value, values[value], program.types[value]) for value in work.measured)

    def alone(
        self, program: Program, work: UnitWork, sample: Sample, reference: Callable[[], References]
    ) -> dict[str, torch.Tensor]:
        """What a unit reads and makes, as the program has it, where its operands are the float model's values,
        quantised."""
        values = fed_values(program, sample)
        for name in work.operands:
            if name not in values:
                values[name] = self._quantised(name, program.types[name], sample, reference)
        for item in work.instructions:
            self._execute(program, item, values)
        return values

    def _quantised(
        self, name: str, qtype: QType, sample: Sample, reference: Callable[[], References]
    ) -> torch.Tensor:
        """The float model's value as an integer operand of the given type."""
        value = name if name in self.graph.types else name.rpartition("@")[0]
        if not qtype.is_quantised:
            return reference()[value]
        key = self.label("quantised", sample.digest, value, repr(qtype))
        found = self._tensors.get(key)
        if found is None:
            found = self.quantised(reference()[value], qtype)
            self._tensors.put(key, found)
        return found

    def quantised(self, value: torch.Tensor, qtype: QType) -> torch.Tensor:
        """A float value as an integer operand of the given type; as it is where that is no quantised one."""
        if not qtype.is_quantised:
            return value
        op = Quantise(qtype.scale, Output(qtype.dtype, *INTEGER_RANGE[qtype.dtype]))
        return run_instruction(Instruction(op, ("value",), ("quantised",), (), ""), [value])[0]

    def comparable(self, value: str, tensor: torch.Tensor, qtype: QType) -> torch.Tensor:
        """The tensor as errors see it: attention masks, infinite ones too, only as far as their softmax can tell."""
        masked_from = self._maskable.get(value)
        if masked_from is None:
            return tensor
        limit = INTEGER_RANGE[qtype.dtype][1] * qtype.scale if qtype.is_quantised else COMPUTED_MASK
        return torch.where(tensor.abs() >= masked_from, tensor.clamp(-limit, limit), tensor)

    def error(self, reference: References, value: str, tensor: torch.Tensor, qtype: QType) -> ErrorSums:
        """Error of a value as the program has it (integers, or floats) against the float model's."""
        expected = self.comparable(value, reference[value], qtype)
        found = tensor if qtype.is_quantised else self.comparable(value, tensor, qtype)
        return error_sums(expected, found, qtype.scale)

    def measurable(self, program: Program) -> Mapping[str, str]:
        """Graph value -> program value, for what has a float reference to be compared with."""
        types = self.graph.types
        return {value: name for value, name in program.value_of.items() if types[value].is_float}

    def accumulated_label(self, key: bytes, value: str, qtype: QType) -> bytes:
        """The key of the error of a value, which its own key and its reference make."""
        end = len(sample_key(""))
        return self.accumulated_recipe(key[:-end], value, qtype) + key[-end:]

    def accumulated_recipe(self, recipe: bytes, value: str, qtype: QType) -> bytes:
        """That key without the sample's, of a value whose own key without it is ``recipe``."""
        return self.label("accumulated", recipe, value, repr(qtype.scale))

    def _known(self, label: bytes) -> ErrorSums:
        found = self.sums.get(label)
        assert found is not None
        return found

    def _measure(
        self,
        program: Program,
        sample: Sample,
        keys: Mapping[str, bytes],
        wanted: Mapping[str, str],
        labels: Mapping[str, bytes],
        missing: set[str],
        cancelled: Watch,
    ) -> None:
        reference = self.reference(sample)
        inherited = {value for value in missing if self.source_of(program, value) is not None}
        measured = {wanted[value]: value for value in missing - inherited}

        def note(name: str, tensor: torch.Tensor) -> None:
            value = measured.get(name)
            if value is not None:
                self.sums.put(labels[value], self.error(reference, value, tensor, program.types[name]))

        self._compute(program, sample, keys, set(measured), note, cancelled)
        for value in wanted:
            if value in inherited:
                self._inherit(program, value, labels)

    def source_of(self, program: Program, value: str) -> str | None:
        """The value whose sums ``value`` shares, because a node only permutes its elements (and does not quantise)."""
        node = self.graph.producer[value]
        if not isinstance(node.op, PERMUTATIONS) or not self.graph.activations(node):
            return None
        source = node.inputs[0]
        quantises = program.types[value].is_quantised and not program.types[source].is_quantised
        return None if quantises else source

    def _inherit(self, program: Program, value: str, labels: Mapping[str, bytes]) -> None:
        source = self.source_of(program, value)
        assert source is not None
        self.sums.put(labels[value], self._known(labels[source]))

    def _compute(
        self,
        program: Program,
        sample: Sample,
        keys: Mapping[str, bytes],
        needed: set[str],
        note: Callable[[str, torch.Tensor], None],
        cancelled: Watch,
    ) -> dict[str, torch.Tensor]:
        """Make the needed values, executing only instructions whose results are not in the store."""
        values: dict[str, torch.Tensor] = {}
        todo = self._missing_instructions(program, keys, needed, values)
        values.update(fed_values(program, sample))
        last_use = {name: index for index, item in enumerate(todo) for name in item.inputs}
        for name in needed & values.keys():
            note(name, values[name])
        for index, item in enumerate(todo):
            if cancelled():
                raise Cancelled
            self._execute(program, item, values)
            for output in item.outputs:
                self._tensors.put(keys[output], _compact(values[output]))
                if output in needed:
                    note(output, values[output])
            for name in item.inputs:
                if last_use[name] == index and name not in needed:
                    values.pop(name, None)
        return values

    def _missing_instructions(
        self, program: Program, keys: Mapping[str, bytes], needed: set[str], values: dict[str, torch.Tensor]
    ) -> list[Instruction]:
        """Instructions to execute, in order; what the store has is put into ``values``."""
        pending = set(needed)
        todo: list[Instruction] = []
        for item in reversed(program.instructions):
            asked = [output for output in item.outputs if output in pending]
            stored = {output: self._tensors.get(keys[output]) for output in asked}
            if not asked:
                continue
            if all(tensor is not None for tensor in stored.values()):
                values.update({output: tensor for output, tensor in stored.items() if tensor is not None})
                continue
            todo.append(item)
            pending.update(item.inputs)
        todo.reverse()
        return todo

    def _execute(self, program: Program, item: Instruction, values: dict[str, torch.Tensor]) -> None:
        operands = [self._operand(program, name, values) for name in item.inputs]
        results = run_instruction(item, operands)
        self.executed += 1
        values.update(zip(item.outputs, results, strict=True))

    def _operand(self, program: Program, name: str, values: Mapping[str, torch.Tensor]) -> torch.Tensor | None:
        if not name:
            return None
        constant = program.constants.get(name)
        return values[name] if constant is None else constant.tensor


def fed_values(program: Program, sample: Sample) -> dict[str, torch.Tensor]:
    """What a sample feeds a program, by the program's names."""
    arrays = {value: sample.inputs[name] for name, value in program.inputs.items()}
    return {value: torch.from_numpy(np.ascontiguousarray(array)) for value, array in arrays.items()}


def _compact(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor, copied where it is a small part of a memory that it would keep alive."""
    own = tensor.numel() * tensor.element_size()
    return tensor.clone() if tensor.untyped_storage().nbytes() > own else tensor


def _total(parts: Iterable[ErrorSums]) -> ErrorSums:
    return sum(parts, NO_SUMS)
