"""The product's own clock, made fast enough to fit.

What a schedule consists of does not depend on how long its jobs take, and how long each takes is a sum of parts that
are each proportional to one parameter's time. So a model is compiled once for each parameter; after that, trying
other figures is a product of matrices and one pass of the event model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engine.clock.estimate import Estimator
from engine.clock.event import pace_ticks, simulate
from engine.compile.types import QUEUES, Engine, Schedule
from engine.errors import MeasurementError
from engine.fit.measurements import Measurement
from engine.fit.parameters import Parameter, scaled
from engine.graph.graph import Graph
from engine.graph.load import load_model
from engine.plan.resolve import resolve
from engine.plan.types import Plan, Resolution
from engine.precision import Precision
from engine.program.lowering.assemble import has_lowering
from engine.simulate.cost import microseconds
from engine.target.target import Target

Vector = NDArray[np.float64]

_SLOWER = 2.0
"""Factor by which a parameter's time is changed to see which jobs it is part of."""


@dataclass(frozen=True, eq=False)
class Clocked:
    """A model whose times follow from the parameters' factors.

    Attributes:
        schedule: Its jobs, with the durations of the target as it was.
        fixed: [jobs]: ticks that no parameter changes.
        parts: [jobs, parameters]: ticks at factor 1 that grow with each.
        kernel_of: Node to the index of its kernel.
        cores, cpu_cores: Of the target.
    """

    schedule: Schedule
    fixed: Vector
    parts: Vector
    kernel_of: Mapping[str, int]
    cores: int
    cpu_cores: int

    def at(self, factors: Vector) -> Schedule:
        """The schedule where each parameter's time is its factor as long."""
        ticks = np.rint(self.fixed + self.parts @ factors).astype(np.int64)
        return replace(self.schedule, ticks=ticks)

    def latency_us(self, schedule: Schedule) -> float:
        """One frame, from an idle chip, the host's part included."""
        return microseconds(simulate(schedule).total_ticks)

    def period_us(self, schedule: Schedule) -> float:
        """From frame to frame with enough frames in flight."""
        cpu_us = microseconds(int(schedule.ticks[schedule.engine == Engine.CPU].sum()))
        return max(microseconds(pace_ticks(schedule)) / self.cores, cpu_us / self.cpu_cores)

    def kernel_us(self, schedule: Schedule, node: str) -> float:
        """The kernel of a node alone: its busiest engine and its launch."""
        of_kernel = schedule.kernel == self.kernel_of[node]
        busy = np.zeros(max(QUEUES) + 1, np.int64)
        queue = np.asarray(QUEUES)[schedule.engine[of_kernel]]
        np.add.at(busy, queue[queue >= 0], schedule.ticks[of_kernel][queue >= 0])
        launch = QUEUES[Engine.LAUNCH]
        return microseconds(int(busy[launch] + np.delete(busy, launch).max()))


def clocked(graph: Graph, precision: Precision, target: Target, parameters: Sequence[Parameter]) -> Clocked:
    """Compile a model for the fit."""
    resolution = resolved_at(graph, precision, target)
    simulation = Estimator(graph, target).simulate(resolution)
    schedule = simulation.compiled.schedule
    own = schedule.ticks.astype(np.float64)
    columns = [
        (_ticks(graph, resolution, scaled(target, parameter, _SLOWER), schedule) - own) / (_SLOWER - 1.0)
        for parameter in parameters
    ]
    parts = np.stack(columns, axis=1) if columns else np.zeros((len(own), 0))
    kernel_of = {
        node: index
        for index, costed in enumerate(simulation.compiled.kernels)
        for unit in costed.kernel.units
        for node in unit.frame.unit.nodes
    }
    cpu_cores = int(target.cpu.cores.value)
    return Clocked(schedule, own - parts.sum(axis=1), parts, kernel_of, target.core_count, cpu_cores)


def resolved_at(graph: Graph, precision: Precision, target: Target) -> Resolution:
    """The model with every node at a precision, where it can be."""
    plan = Plan() if precision is Precision.AUTO else Plan().mark(tuple(graph.by_id), precision)
    return resolve(graph, plan, target, has_lowering)


def _ticks(graph: Graph, resolution: Resolution, target: Target, like: Schedule) -> Vector:
    """Durations on another target, of the same jobs."""
    schedule = Estimator(graph, target).simulate(resolution).compiled.schedule
    if not np.array_equal(schedule.engine, like.engine):
        raise AssertionError("how long jobs take changed what they are")
    return schedule.ticks.astype(np.float64)


def clocked_models(
    rows: Iterable[Measurement], target: Target, parameters: Sequence[Parameter]
) -> dict[tuple[str, Precision], Clocked]:
    """Every measured model at its precision.

    Raises:
        MeasurementError: A row names a node that its model has no kernel for.
        QuantscopeError: A model cannot be opened.
    """
    found: dict[tuple[str, Precision], Clocked] = {}
    graphs: dict[str, Graph] = {}
    for row in rows:
        key = (row.model, row.precision)
        if key not in found:
            if row.model not in graphs:
                graphs = {row.model: load_model(row.path)}
            found[key] = clocked(graphs[row.model], row.precision, target, parameters)
        if row.node and row.node not in found[key].kernel_of:
            text = f"row {row.row}: column 'node': '{row.node}' is no node of '{row.model}' that takes time"
            raise MeasurementError(text, path=row.path, hint="name one that `quantscope estimate` lists with a time")
    return found
