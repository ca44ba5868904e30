# pyright: reportUnknownMemberType=false
"""A session's integer program as a torch module: forward the program's bits, backward the float operators' slopes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from engine.errors import CalibrationError, DataError
from engine.graph.graph import Graph, Node
from engine.ops.float_kernels import to_torch
from engine.plan.corrections import Corrected, Correction
from engine.plan.scales import ValueTypes, assign_types, planned_scales, threshold_names
from engine.plan.types import Plan
from engine.program.lowering.assemble import UnitCache, lower
from engine.program.types import Program, Quantise
from engine.qtype import INTEGER_RANGE
from engine.train.forward import ForwardPass
from engine.train.learned import BIASED, learned_biases, learned_weights
from engine.train.parameters import Biases, Thresholds, Weights, correction_of, merged

if TYPE_CHECKING:
    from engine.session import Session

_BIAS = 2
"""The place of the bias among the inputs."""

_BYTE = INTEGER_RANGE["int8"][1]


class IntegerModule(nn.Module):
    """The integer program of a session's plan, to be trained.

    Each forward pass lowers the present weights, scales and thresholds and runs the program's own instructions, so what
    it gives are the bits that the chip will give. Backward, each unit has the slope of its float operators at these
    values: straight through roundings, zero where a value is clipped, and for scales that of LSQ (arXiv:1902.08153).

    The plan, its precisions (int16, tables, float nodes) and what is not trained stay as they are. Called with input
    tensors [N, ...] in the order of the model's inputs; answers the output, or a tuple of them. Any N will do where the
    model leaves its batch open, otherwise a multiple of the one that it is bound to.

    Attributes:
        weights: Constants of convolutions, linear layers, matrix products and normalisations, with their scales.
        biases: Of convolutions and linear layers, also where the model has none.
        thresholds: Of 8-bit values whose scale is not inherited.
        threshold_of: By program value, the value whose threshold its scale is made of.
    """

    def __init__(
        self, session: Session, nodes: Collection[str] | None = None, graphs: dict[int, Graph] | None = None
    ) -> None:
        """Make the module of the session's present plan.

        Args:
            nodes: Those that are trained; None for all. What others read too stays as it is.
            graphs: Of :meth:`bound`, to share with other modules of the same float model.

        Raises:
            CalibrationError, GraphError: The session has no integer program.
        """
        super().__init__()
        if session.calibration is None:
            raise CalibrationError("the session is not calibrated", hint="calibrate it with data first")
        program = session.program()
        self._session, self._plan, self._calibration = session, session.plan, session.calibration
        self._resolution = session.resolve()
        corrections = (session.corrections.get(digest) for digest in session.plan.corrections)
        self._base = Corrected.of(corrections, session.source_graph)
        self._graphs: dict[int, Graph] = {} if graphs is None else graphs
        self._fixed: dict[str, Tensor] = {}
        graph = session.graph
        trained = frozenset(graph.by_id if nodes is None else nodes)
        self.weights = Weights(learned_weights(graph, self._resolution, self._base, trained))
        self.biases = Biases(learned_biases(graph, self._resolution, self._base, trained))
        self._units = frozenset(unit.nodes for unit in self._resolution.units if not trained.isdisjoint(unit.nodes))
        self._lowered: dict[int, UnitCache] = {}
        types = self._types(self._plan)
        self.threshold_of = _threshold_of(graph, types, program) | dict(
            threshold_names(graph, self._plan, self._resolution, types)
        )
        if nodes is not None:
            self.threshold_of = _within(self.threshold_of, graph, trained)
        names = dict.fromkeys(self.threshold_of.values())
        self.thresholds = Thresholds({name: types.scales.calibrated(name, _BYTE) * _BYTE for name in names})

    def plan(self) -> Plan:
        """The session's plan with the present thresholds."""
        return self._plan.with_thresholds(self.thresholds.current())

    def correction(self, title: str) -> Correction:
        """The present weights on their grid, their scales, and the biases."""
        return correction_of(self.weights, self.biases, title)

    def program(self, batch: int | None = None) -> Program:
        """The integer program of the present numbers, for the session's own batch or another.

        Raises:
            GraphError: Numbers that no program can have (NaN, scales that lie too far apart).
            DataError: The model does not take that batch.
        """
        rows = self.own_rows if batch is None else batch
        graph, cache = self.bound(rows), UnitCache()
        if rows in self._lowered:
            cache.entries.update(self._lowered[rows].entries)
        corrected = merged(self._base, self.weights, self.biases)
        program = lower(graph, self._resolution, self._types(self.plan()), cache, corrected)
        self._lowered.setdefault(rows, cache.without(self._units))
        return program

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The model's outputs for tensors in the order of its inputs."""
        found = self.outputs(dict(zip(self._session.graph.inputs, inputs, strict=True)))
        results = tuple(found[name] for name in self._session.graph.outputs)
        return results[0] if len(results) == 1 else results

    def outputs(self, inputs: Mapping[str, Tensor], known: Program | None = None) -> dict[str, Tensor]:
        """The model's outputs by name for inputs by name, [N, ...].

        Args:
            known: :meth:`program` of the present numbers, for :meth:`rows_for` N samples, where somebody has it.

        Raises:
            DataError: The inputs differ in N, or the model does not take N samples.
            GraphError: As :meth:`program`.
        """
        counts = {len(tensor) for tensor in inputs.values()}
        if len(counts) != 1:
            raise DataError(f"the inputs have {', '.join(map(str, sorted(counts)))} samples, expected as many in each")
        (count,) = counts
        rows = self.rows_for(count)
        graph, program, operands = self.bound(rows), known or self.program(rows), _Operands(self)
        parts: list[dict[str, Tensor]] = []
        for start in range(0, count, rows):
            fed = {name: tensor[start : start + rows] for name, tensor in inputs.items()}
            parts.append(ForwardPass(graph, program, operands, self.device).run(fed))
        return {name: torch.cat([part[name] for part in parts]) for name in self._session.graph.outputs}

    def begin(self, rows: int) -> ForwardPass:
        """A pass over the present program for ``rows`` samples at once, before its first step. Raises as
        :meth:`outputs`."""
        return ForwardPass(self.bound(rows), self.program(rows), _Operands(self), self.device)

    def rows_for(self, count: int) -> int:
        """How many of ``count`` samples run at once: all, where the model leaves its batch open.

        Raises:
            DataError: They are no multiple of the batch that the model is bound to.
        """
        rows = self.own_rows
        if count == rows or count in self._graphs or self._batched(count) is not None:
            return count
        if count % rows:
            raise DataError(f"{count} samples, the model takes {rows} at once", hint=f"feed a multiple of {rows}")
        return rows

    def original(self, name: str) -> Tensor:
        """A constant as the float model has it, float64."""
        return torch.from_numpy(np.array(self._session.graph.constants[name].once(), np.float64))

    def fixed(self, name: str) -> Tensor:
        """A constant that is not trained, on the device."""
        found = self._fixed.get(name)
        if found is None or found.device != self.device:
            found = to_torch(self._session.graph.constants[name].array)
            found = found.to(self.device, torch.float32 if found.is_floating_point() else found.dtype)
            self._fixed[name] = found
        return found

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.thresholds.growths.device

    @property
    def own_rows(self) -> int:
        """Samples that the model is bound to."""
        graph = self._session.graph
        sizes = {graph.types[name].shape[0] for name in graph.inputs if graph.types[name].shape}
        return max(next(iter(sizes)), 1) if len(sizes) == 1 else 1

    def bound(self, rows: int) -> Graph:
        """The float graph for a number of samples at once. Raises DataError."""
        if rows == self.own_rows:
            return self._session.graph
        found = self._batched(rows)
        if found is None:
            raise DataError(f"the model takes {self.own_rows} samples at once, not {rows}")
        return found

    def _batched(self, rows: int) -> Graph | None:
        if rows not in self._graphs:
            graph = self._session.batched_graph(rows)
            if graph is None:
                return None
            self._graphs[rows] = graph.with_constants(self._base.same)
        return self._graphs[rows]

    def _types(self, plan: Plan) -> ValueTypes:
        scale_of = planned_scales(self._calibration, plan, self._base.ranges)
        return assign_types(self._session.graph, plan, self._resolution, scale_of)


class _Operands:
    """What the passes of one set of numbers ask for: constants and scales, with their gradients."""

    def __init__(self, module: IntegerModule) -> None:
        self._module = module
        self._thresholds = module.thresholds.current()

    def constant(self, node: Node, place: int) -> Tensor | None:
        if place == _BIAS and isinstance(node.op, BIASED):
            return self._module.biases.of(node.id)
        name = node.inputs[place]
        if not name:
            return None
        weights = self._module.weights
        return weights.quantised(name) if name in weights else self._module.fixed(name)

    def scale(self, value: str, step: float) -> Tensor:
        """A mask's scale, for one, is bounded by its logits': then the threshold has no say in it."""
        name = self._module.threshold_of.get(value)
        if name is not None and step == self._thresholds[name] / _BYTE:
            return self._module.thresholds.scale(name, step)
        return torch.tensor([step], device=self._module.device)


def _threshold_of(graph: Graph, types: ValueTypes, program: Program) -> dict[str, str]:
    """Values that a seam quantises to 8 bits -> the float value whose threshold their scale is made of."""
    seams = (item for item in program.instructions if isinstance(item.op, Quantise))
    made = {item.outputs[0]: item.inputs[0] for item in seams}
    return {
        name: value
        for name, value in made.items()
        if value in graph.types and program.types[name].scale == types.scales.calibrated(value, _BYTE)
    }


def _within(threshold_of: Mapping[str, str], graph: Graph, nodes: Collection[str]) -> dict[str, str]:
    """The thresholds that decide on scales of these nodes' values alone."""
    made = {value for node in nodes for value in graph.by_id[node].outputs}
    shared = {name for value, name in threshold_of.items() if value.partition("@")[0] not in made}
    return {value: name for value, name in threshold_of.items() if name not in shared}
