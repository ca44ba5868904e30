# pyright: reportUnknownMemberType=false
"""A look-up table beside its function: where it clips, how far it is off, and what that costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from engine.analyze.errors import interval_of
from engine.analyze.evaluator import Evaluator, Sample
from engine.analyze.metrics import NO_SUMS, error_sums
from engine.errors import Cancelled
from engine.graph.graph import Graph
from engine.ops.elementwise import Unary
from engine.ops.float_kernels import run_node
from engine.plan.types import Unit
from engine.program.executor import run_instruction
from engine.program.lowering.elementwise import function_of
from engine.program.types import Instruction, Program, Table8, Table16
from engine.qtype import INTEGER_RANGE, QType
from engine.reports_distribution import TableCurve

if TYPE_CHECKING:
    from engine.session import Session

Floats = NDArray[np.float64]
Function = Callable[[Floats], Floats]

BINS = 128
_INT16_STEP = 32
"""An int16 table is looked at every so many integers: four times between two of its entries."""

_OUTPUT_SAMPLES = 4
"""For what a table costs at the model's outputs, which takes a run of all that lies behind."""


@dataclass(frozen=True, eq=False)
class _Table:
    """A table of a program, and the function that it stands for."""

    instruction: Instruction
    source: str
    result: str
    incoming: QType
    outgoing: QType
    function: Function
    name: str

    def made(self, integers: NDArray[np.int64]) -> Floats:
        """What the chip makes of integers of the input's type, in real units."""
        tensor = torch.from_numpy(integers.astype(self.incoming.dtype))
        (found,) = run_instruction(self.instruction, [tensor])
        return found.double().numpy() * self.outgoing.scale


def table_curve(
    session: Session, unit: Unit, samples: Sequence[Sample], cancelled: Callable[[], bool]
) -> TableCurve | None:
    """The table of a unit over samples; None for a unit that is not one table. Raises Cancelled."""
    program, graph, evaluator = session.program(), session.graph, session.evaluator
    table = _table_of(graph, program, unit)
    if table is None:
        return None
    low, high = INTEGER_RANGE[table.incoming.dtype]
    places = np.arange(low, high + 1, 1 if table.incoming.dtype == "int8" else _INT16_STEP)
    x: Floats = places.astype(np.float64) * table.incoming.scale
    inputs: list[Floats] = []
    for sample in samples:
        if cancelled():
            raise Cancelled
        reference = evaluator.reference(sample)[table.source].detach()
        inputs.append(evaluator.comparable(table.source, reference, table.incoming).double().numpy().reshape(-1))
    reach = max((float(np.abs(values).max(initial=0.0)) for values in inputs), default=0.0)
    everything = np.concatenate(inputs) if inputs else np.zeros(0)
    edges = np.linspace(-max(reach, -x[0]), max(reach, x[-1]), BINS + 1)
    parts = [_parts(table, values) for values in inputs]
    op = table.instruction.op
    return TableCurve(
        function=table.name,
        entries=len(op.table) if isinstance(op, Table8 | Table16) else 0,
        input_dtype=table.incoming.dtype,
        output_dtype=table.outgoing.dtype,
        low=low * table.incoming.scale,
        high=high * table.incoming.scale,
        input_step=table.incoming.scale,
        output_step=table.outgoing.scale,
        x=tuple(x.tolist()),
        exact=tuple(_finite(table.function(x)).tolist()),
        made=tuple(table.made(places).tolist()),
        input_edges=tuple(edges.tolist()),
        input_counts=tuple(np.histogram(everything, edges)[0].tolist()),
        clipped=interval_of([part.clipped for part in parts]),
        clipping_power=interval_of([part.clipping for part in parts]),
        rounding_power=interval_of([part.rounding for part in parts]),
        entries_power=interval_of([part.entries for part in parts]),
        signal_power=interval_of([part.signal for part in parts]),
        output_db=interval_of([_output_db(evaluator, table, sample) for sample in samples[:_OUTPUT_SAMPLES]]),
    )


def _table_of(graph: Graph, program: Program, unit: Unit) -> _Table | None:
    nodes = [graph.by_id[node] for node in unit.nodes]
    ops = tuple(node.op for node in nodes if isinstance(node.op, Unary))
    made = [item for item in program.instructions if item.unit == unit.anchor]
    tables = [item for item in made if isinstance(item.op, Table8 | Table16)]
    if len(ops) < len(nodes) or len(tables) != 1:
        return None
    (item,), source, result = tables, nodes[0].inputs[0], nodes[-1].outputs[0]
    if item.outputs != (result,):
        return None
    name = " of ".join(node.op.type_name for node in reversed(nodes))
    return _Table(item, source, result, program.types[item.inputs[0]], program.types[result], function_of(ops), name)


@dataclass(frozen=True)
class _Parts:
    """Percent of a sample's inputs that are clipped, and mean squares at the table's output: the parts of its error in
    the order in which they are added, and the function's values themselves."""

    clipped: float
    clipping: float
    rounding: float
    entries: float
    signal: float


def _parts(table: _Table, values: Floats) -> _Parts:
    low, high = INTEGER_RANGE[table.incoming.dtype]
    scale = table.incoming.scale
    within = np.clip(values, low * scale, high * scale)
    integers = np.clip(np.rint(values / scale), low, high)
    exact, clipped, rounded = (_finite(table.function(x)) for x in (values, within, integers * scale))
    made = table.made(integers.astype(np.int64))
    return _Parts(
        clipped=100.0 * float((values != within).mean()),
        clipping=_power(clipped - exact),
        rounding=_power(rounded - clipped),
        entries=_power(made - rounded),
        signal=_power(exact),
    )


def _power(values: Floats) -> float:
    return float(np.square(values).mean()) if values.size else 0.0


def _finite(values: Floats) -> Floats:
    return np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)


def _output_db(evaluator: Evaluator, table: _Table, sample: Sample) -> float:
    """SQNR at the model's outputs where the table alone is in integers, fed the float model's values quantised."""
    reference = evaluator.reference(sample)
    source = reference[table.source].detach()
    integers = np.clip(np.rint(source.double().numpy() / table.incoming.scale), *INTEGER_RANGE[table.incoming.dtype])
    made = torch.from_numpy(table.made(integers.astype(np.int64)).astype(np.float32)).reshape(source.shape)
    found = _behind(evaluator, reference, {table.result: made})
    outputs = [value for value in evaluator.graph.outputs if evaluator.graph.types[value].is_float]
    sums = sum((error_sums(reference[v], found.get(v, reference[v]), 1.0) for v in outputs), NO_SUMS)
    return sums.sqnr_db


def _behind(
    evaluator: Evaluator, reference: Mapping[str, torch.Tensor], changed: dict[str, torch.Tensor]
) -> Mapping[str, torch.Tensor]:
    """The float model's values behind changed ones, computed from these and the reference."""
    found = dict(changed)
    with torch.inference_mode():
        for node in evaluator.graph.nodes:
            if any(value in found for value in node.inputs) and not any(value in changed for value in node.outputs):
                values = {value: found.get(value, reference.get(value)) for value in node.inputs}
                known = {value: tensor for value, tensor in values.items() if tensor is not None}
                outputs = run_node(node.op, evaluator.model.operands(node, known))
                found.update((name, tensor) for name, tensor in zip(node.outputs, outputs, strict=False) if name)
    return found
