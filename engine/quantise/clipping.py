# pyright: reportUnknownMemberType=false
"""Thresholds of activations, chosen for what rounding and clipping do to the model's outputs.

An error e of a value moves the outputs by J e, J the float model's derivative there. For random signs v over the
outputs, (v J) . e has the mean square |J e|^2 (Hutchinson, Communications in Statistics 19, 1990), and v J is one step
backwards through the model for all values at once. The outputs are those in front of a last softmax or sigmoid. So
every candidate threshold of every value is tried by what it does at the outputs, with errors that add up or cancel
there as they really do, at the price of a few runs of the model. What is left out is that large errors are no longer in
proportion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from engine.analyze.felt import felt_values
from engine.errors import Cancelled
from engine.graph.float_run import FloatModel, channels_last, fed_tensor
from engine.graph.graph import Graph
from engine.ops.float_kernels import run_node
from engine.ops.other import Input
from engine.program.types import DataMovement, Dequantise, ExtremeReduce, FloatKernel, MaximumPool
from engine.qtype import INTEGER_RANGE
from engine.threads import one_thread

if TYPE_CHECKING:
    from engine.analyze.evaluator import Sample
    from engine.plan.types import Plan
    from engine.quantise.step import Work
    from engine.session import Session

_EXACT = (DataMovement, MaximumPool, ExtremeReduce, Dequantise, FloatKernel)
"""Instructions that write what they read, or floats."""

_PROJECTIONS = 4
_SAMPLES = 32
_FACTORS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5, 0.45, 0.4, 0.35, 0.3, 0.25)
"""Of the largest magnitude that calibration saw: the candidates, beside the threshold that the plan has."""

_SEED = 20241
_LEVELS = INTEGER_RANGE["int8"][1]


@dataclass(frozen=True)
class OutputClipping:
    """Chooses the threshold of each int8 value by the error that it causes at the model's outputs."""

    title: str = "Choose ranges by their error at the outputs"

    def __call__(self, session: Session, work: Work) -> Plan:
        """The plan with thresholds. Raises Cancelled, and as :meth:`engine.session.Session.program`."""
        rounded = _rounded_together(session, work)
        if not rounded:
            return session.plan
        candidates = {value: _candidates(session, value) for value in rounded}
        model = FloatModel(session.graph)
        lost = {value: torch.zeros(len(tried), dtype=torch.float64) for value, tried in candidates.items()}
        samples, generator = work.samples[:_SAMPLES], torch.Generator().manual_seed(_SEED)
        for done, sample in enumerate(samples, start=1):
            if work.cancelled():
                raise Cancelled
            with one_thread():
                _add_losses(model, sample, generator, rounded, candidates, lost)
            work.progress(done, len(samples))
        chosen = {value: candidates[value][int(found.argmin())] for value, found in lost.items()}
        changed = {value: best for value, best in chosen.items() if best != candidates[value][0]}
        thresholds = MappingProxyType({**session.plan.thresholds, **changed})
        return replace(session.plan, thresholds=thresholds) if changed else session.plan


def _rounded_together(session: Session, work: Work) -> Mapping[str, tuple[str, ...]]:
    """For each value whose threshold counts, the int8 values that are rounded with it. Raises Cancelled."""
    program = session.program()
    rounded = [
        value
        for item in program.instructions
        if not isinstance(item.op, _EXACT)
        for value in item.outputs
        if value in session.graph.types and program.types[value].dtype == "int8" and program.types[value].is_quantised
    ]
    scales = {value: program.types[value].scale for value in rounded}
    owned: dict[str, tuple[str, ...]] = {}
    for value in program.value_of:
        if work.cancelled():
            raise Cancelled
        if value in session.graph.types and program.types[value].is_quantised:
            wider = {**session.plan.thresholds, value: 2.0 * _LEVELS * program.types[value].scale}
            types = session.with_plan(replace(session.plan, thresholds=MappingProxyType(wider))).program().types
            moved = tuple(name for name in rounded if types[name].scale != scales[name])
            if moved:
                owned[value] = moved
    return owned


def _candidates(session: Session, value: str) -> tuple[float, ...]:
    """Thresholds to try, the present one first."""
    present = session.program().types[value].scale * _LEVELS
    assert session.calibration is not None
    largest = session.calibration.ranges[value].absolute_maximum
    return (present, *(factor * largest for factor in _FACTORS if largest > 0.0))


def _add_losses(
    model: FloatModel,
    sample: Sample,
    generator: torch.Generator,
    rounded: Mapping[str, tuple[str, ...]],
    candidates: Mapping[str, tuple[float, ...]],
    lost: Mapping[str, Tensor],
) -> None:
    """Add to each candidate's loss the power of its error at one sample's outputs."""
    wanted = tuple({name for names in rounded.values() for name in names})
    felt = felt_values(model.graph, model.graph.types)
    values, slopes = output_slopes(model, sample, generator, wanted, felt)
    for value, names in rounded.items():
        for place, threshold in enumerate(candidates[value]):
            moved = sum((slopes[name] @ _error(values[name], threshold) for name in names), torch.zeros(_PROJECTIONS))
            lost[value][place] += float(moved.double().square().mean())


def _error(value: Tensor, threshold: float) -> Tensor:
    """What rounding to int8 with a threshold adds to a flat value."""
    scale = threshold / _LEVELS
    return (value / scale).round_().clamp_(-_LEVELS, _LEVELS).mul_(scale).sub_(value)


def output_slopes(
    model: FloatModel, sample: Sample, generator: torch.Generator, wanted: Sequence[str], felt: Sequence[str]
) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
    """For each wanted value its elements [n] and the derivatives of random projections of the felt values
    [projections, n]."""
    with torch.enable_grad():
        values = _run(model, sample, wanted, felt)
        outputs = [values[name] for name in felt if values[name].requires_grad]
        sources = [values[name] for name in wanted]
        found: list[list[Tensor]] = []
        for turn in range(_PROJECTIONS):
            signs = [
                torch.empty(output.shape).bernoulli_(generator=generator).mul_(2.0).sub_(1.0) for output in outputs
            ]
            more = turn + 1 < _PROJECTIONS
            back: Sequence[Tensor | None] = [None] * len(sources)
            if outputs:
                back = torch.autograd.grad(outputs, sources, signs, retain_graph=more, allow_unused=True)
            found.append([_flat(slope, source) for slope, source in zip(back, sources, strict=True)])
    slopes = {name: torch.stack([turn[place] for turn in found]) for place, name in enumerate(wanted)}
    return {name: values[name].detach().reshape(-1) for name in wanted}, slopes


def _flat(slope: Tensor | None, source: Tensor) -> Tensor:
    return torch.zeros(source.numel()) if slope is None else slope.reshape(-1)


def _run(model: FloatModel, sample: Sample, wanted: Sequence[str], felt: Sequence[str]) -> Mapping[str, Tensor]:
    """The wanted and the felt values in float, with the graph that leads backwards from these."""
    graph: Graph = model.graph
    values: dict[str, Tensor] = {name: channels_last(fed_tensor(graph, name, sample.inputs)) for name in graph.inputs}
    for index, node in enumerate(graph.nodes):
        if not isinstance(node.op, Input):
            outputs = run_node(node.op, model.operands(node, values))
            values.update((name, value) for name, value in zip(node.outputs, outputs, strict=False) if name)
        for name in node.outputs:
            if name in wanted and not values[name].requires_grad:
                values[name].requires_grad_()
        for name in model.dying[index]:
            if name not in wanted and name not in felt:
                values.pop(name, None)
    return values
