"""Vela's report and our estimate side by side, by segment, unit and operator."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from engine.export.ethos_u.compile import HOST, Compilation, CompiledSegment, Step
from engine.export.ethos_u.records import FORMAT, VERSION, NodeRow, OperatorRow, SegmentRow, Summary, Totals
from engine.export.ethos_u.report import VelaOperator
from engine.export.segments import CPU
from engine.export.tosa.write import segment_path, step_records
from engine.program.types import Dequantise, Instruction, Quantise
from engine.reports import NodeTime

if TYPE_CHECKING:
    from engine.session import Session

_PRODUCTS = frozenset({"Conv2D", "DepthwiseConv2D", "TransposeConv2D", "MatMul", "FullyConnected", "Conv3D"})
"""Vela counts the multiply-accumulates of sums and transposes too, which run on the array; we count products."""
_WHERE = {CPU: "cpu", HOST: "host"}
_NPU = "npu"
_FIRST = Path("segment.tosa")


@dataclass
class _Booked:
    """What Vela says of one unit, added up."""

    operators: int = 0
    cycles: int = 0
    npu_cycles: int = 0
    memory_cycles: int = 0
    moved_bytes: dict[str, int] = field(default_factory=dict[str, int])
    weight_bytes: int = 0
    macs: int = 0

    def add(self, item: VelaOperator) -> None:
        self.operators += 1
        self.cycles += item.cycles
        self.npu_cycles += item.npu_cycles
        self.memory_cycles += item.cycles if item.is_memory_bound else 0
        for memory, size in item.moved_bytes.items():
            self.moved_bytes[memory] = self.moved_bytes.get(memory, 0) + size
        self.weight_bytes += item.weight_bytes
        self.macs += macs_of(item)


@dataclass
class _Rows:
    segments: list[SegmentRow] = field(default_factory=list[SegmentRow])
    operators: list[OperatorRow] = field(default_factory=list[OperatorRow])
    units: defaultdict[str, _Booked] = field(default_factory=lambda: defaultdict(_Booked))


def macs_of(item: VelaOperator) -> int:
    """Multiply-accumulates of an operator where it is a product, else 0."""
    return item.macs if item.operator in _PRODUCTS else 0


@dataclass(frozen=True)
class WrittenSegment:
    """An integer segment, the name of its TOSA file, and all its files by name."""

    step: Step
    file: str
    contents: Mapping[str, bytes]


def written_segments(compilation: Compilation) -> tuple[WrittenSegment, ...]:
    """The integer segments with their files: segment.tosa, segment.2.tosa, …, and what Vela made of each."""
    steps = [step for step in compilation.steps if step.tosa is not None]
    return tuple(_written(step, segment_path(_FIRST, number)) for number, step in enumerate(steps, 1))


def _written(step: Step, file: Path) -> WrittenSegment:
    assert step.tosa is not None
    contents = {file.name: step.tosa.data}
    if step.compiled is not None:
        contents |= {f"{file.stem}{end}": data for end, data in step.compiled.files.items()}
    return WrittenSegment(step, file.name, contents)


def summarised(
    session: Session, compilation: Compilation, written: Sequence[WrittenSegment], accelerator: str, vela: str
) -> Summary:
    """The summary of an export: what was compiled for which accelerator by which version of Vela."""
    rows = _booked(written)
    reports = [step.compiled.report for step in compilation.steps if step.compiled]
    clock_hz = reports[0].clock_hz
    nodes = tuple(_node_rows(session, compilation, rows.units, clock_hz))
    program = session.program()
    names = iter([item.file for item in written])
    steps = [record for step in compilation.steps for record in step_records(program, step, names)]
    return Summary(
        FORMAT,
        VERSION,
        session.graph.name,
        vela,
        accelerator,
        reports[0].system_config,
        reports[0].memory_mode,
        clock_hz,
        session.target.name,
        _totals(rows, nodes, clock_hz),
        tuple(rows.segments),
        nodes,
        tuple(rows.operators),
        dict(program.inputs),
        dict(program.outputs),
        tuple(steps),
    )


def _booked(written: Sequence[WrittenSegment]) -> _Rows:
    rows = _Rows()
    for item in written:
        tosa, compiled = item.step.tosa, item.step.compiled
        if tosa is None or compiled is None:
            rows.segments.append(SegmentRow(item.file, HOST))
            continue
        rows.segments.append(_segment_row(item, compiled))
        for operator in compiled.report.operators:
            unit = "" if operator.source is None else tosa.units[operator.source]
            rows.operators.append(_operator_row(item.file, unit, operator))
            rows.units[unit].add(operator)
    return rows


def _segment_row(item: WrittenSegment, compiled: CompiledSegment) -> SegmentRow:
    report = compiled.report
    names = tuple(name for name in item.contents if name != item.file)
    on_npu = sum(operator.on_npu for operator in report.operators)
    macs = sum(map(macs_of, report.operators))
    memory = dict(report.memory_bytes)
    return SegmentRow(item.file, _NPU, names, len(report.operators), on_npu, report.cycles, macs, memory)


def _operator_row(file: str, unit: str, item: VelaOperator) -> OperatorRow:
    return OperatorRow(
        file,
        item.operator,
        item.source,
        unit,
        item.on_npu,
        item.cycles,
        item.npu_cycles,
        macs_of(item),
        item.staging_bytes,
        dict(item.access_cycles),
        dict(item.moved_bytes),
        item.weight_bytes,
    )


def _node_rows(
    session: Session, compilation: Compilation, units: Mapping[str, _Booked], clock_hz: float
) -> Iterator[NodeRow]:
    """A row for each unit that the program computes, in its order."""
    times = {item.id: item for item in session.estimate().nodes}
    kinds = {node.id: node.op.type_name for node in session.graph.nodes}
    for where, instructions in _computed(compilation):
        for unit, run in groupby(instructions, key=lambda item: item.unit):
            nodes = tuple(dict.fromkeys(node for item in run for node in item.nodes))
            told = units.get(unit, _Booked())
            ours = times.get(unit, NodeTime(unit, 0.0, "", "", 0, 0))
            yield NodeRow(
                id=unit,
                nodes=nodes,
                op_type=kinds.get(unit, ""),
                where=where,
                reason=compilation.refusals.get(unit, ""),
                operators=told.operators,
                cycles=told.cycles,
                npu_cycles=told.npu_cycles,
                memory_cycles=told.memory_cycles,
                moved_bytes=told.moved_bytes,
                weight_bytes=told.weight_bytes,
                vela_us=told.cycles / clock_hz * 1e6,
                macs=told.macs,
                estimate_us=ours.latency_us,
                estimate_macs=ours.macs,
                bound=ours.bound,
            )


def _computed(compilation: Compilation) -> Iterator[tuple[str, Iterable[Instruction]]]:
    """Where each segment runs, and its instructions without the seams."""
    for step in compilation.steps:
        where = _WHERE.get(step.segment.kind, _NPU)
        yield where, [item for item in step.segment.instructions if not isinstance(item.op, Quantise | Dequantise)]


def _totals(rows: _Rows, nodes: Sequence[NodeRow], clock_hz: float) -> Totals:
    cycles = sum(row.cycles for row in rows.segments)
    memory: dict[str, int] = {}
    for row in rows.segments:
        for name, size in row.memory_bytes.items():
            memory[name] = max(memory.get(name, 0), size)
    on_chip = [row for row in nodes if row.where == _NPU]
    return Totals(
        operators=sum(row.operators for row in rows.segments),
        npu_operators=sum(row.npu_operators for row in rows.segments),
        cycles=cycles,
        vela_us=cycles / clock_hz * 1e6,
        macs=sum(row.macs for row in rows.segments),
        memory_bytes=memory,
        estimate_us=sum(row.estimate_us for row in on_chip),
        estimate_macs=sum(row.estimate_macs for row in on_chip),
    )
