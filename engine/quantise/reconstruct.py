# pyright: reportUnknownMemberType=false
"""Block reconstruction: roundings, biases and thresholds of a block learned together, from what the float model's block
gives.

Layer by layer, weights are chosen for each layer's output alone; what counts is what leaves the block, where the errors
of its layers meet, and how much the model's outputs depend on it (BRECQ, Li et al., arXiv:2102.05426). Each iteration
runs the block's own instructions on the integers that the program feeds it, so what is learned is what the chip
computes; gradients are those of training (:mod:`engine.train`): straight through roundings, LSQ's for thresholds.
Weights start where the float model has them, but within the integers that the plan has chosen: those that lie near the
next one move first. Of the block's inputs, elements at random are the float model's own (QDrop, Wei et al.,
arXiv:2203.05740), so that a block does not learn the errors of a few samples by heart. No labels are read. A block
stays as it was unless what was learned is better on samples that it was not learned from; and all stay as they were
unless the model's outputs there are better beyond chance. With 8 bits and weights that were rounded layer by layer
already, most of what is left is the rounding of activations, which no weights take back: then nothing is learned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from engine.analyze.felt import felt_values
from engine.analyze.quality import measure
from engine.errors import Cancelled
from engine.graph.float_run import FloatModel
from engine.graph.graph import Graph
from engine.memory import release_free_memory
from engine.plan.corrections import Correction
from engine.program.types import Program
from engine.quantise.block_learner import BlockData, BlockLearner, Rates, parted
from engine.quantise.blocks import Block, blocks_of
from engine.quantise.clipping import output_slopes
from engine.quantise.lockstep import Lockstep, live_bytes
from engine.threads import one_thread
from engine.train.module import IntegerModule
from engine.train.turns import elements_of

if TYPE_CHECKING:
    from engine.plan.types import Plan
    from engine.quantise.step import Work
    from engine.session import Session

_MEMORY_BYTES = 600 << 20
"""For the values of all samples: with larger ones, fewer samples are used."""

_WEIGHED_SAMPLES = 16
_WEIGHED_ELEMENTS = 16_000_000
"""Elements of all block outputs of a sample up to which these are weighed by what the model's outputs make of them."""

_ITERATION_ELEMENTS = 10_000_000_000
"""Elements of all values of the samples that all iterations run: some two minutes of one core. Larger models do fewer
iterations, but not less than the fewest."""

_FEWEST_ITERATIONS = 16
_SEED = 20242


@dataclass(frozen=True)
class BlockReconstruction:
    """See the module.

    Attributes:
        iterations: For each block, at most; ``batch`` samples each.
        dropped: Share of the elements of a block's inputs that are the float model's.
        seed: Of the samples and elements that chance picks.
        certain: Keep nothing unless the 95 % interval of the gain at the outputs, on samples that were not learned
            from, lies above 0.
    """

    iterations: int = 120
    batch: int = 8
    dropped: float = 0.5
    rates: Rates = field(default_factory=Rates)
    seed: int = _SEED
    certain: bool = True
    title: str = "blocks learned from the float model"

    def __call__(self, session: Session, work: Work) -> Plan:
        """The plan with one correction on top, and other thresholds; the session's own where no block gains.

        Raises:
            CalibrationError, GraphError: As :meth:`engine.session.Session.program`.
            Cancelled: ``work.cancelled()``, asked before every iteration.
        """
        with one_thread():
            found = _Run(session, work, self).plan()
        release_free_memory()
        return found


class _Run:
    """One pass over the blocks: what was learned of earlier ones is in place for the next."""

    def __init__(self, session: Session, work: Work, options: BlockReconstruction) -> None:
        most = max(1, _MEMORY_BYTES // live_bytes(session.graph))
        self._session, self._tried, self._work, self._options = session, session, work, options
        self._samples = work.samples[:most]
        self._walk = Lockstep(session.evaluator.model, session.program(), self._samples)
        self._blocks = blocks_of(session.graph, session.resolve(), session.program())
        affordable = _ITERATION_ELEMENTS // (options.batch * elements_of(session.graph))
        self._iterations = min(options.iterations, max(_FEWEST_ITERATIONS, affordable))
        self._graphs: dict[int, Graph] = {}
        self._parts: list[Correction] = []
        self._done = 0

    def plan(self) -> Plan:
        """See :meth:`BlockReconstruction.__call__`."""
        weights = self._weights()
        for number, block in enumerate(self._blocks):
            self._reconstruct(number, block, weights)
            self._tell((number + 1) * self._iterations)
        if not self._parts or (self._options.certain and not is_certain(self._session, self._tried, self._work)):
            return self._session.plan
        merged = Correction(
            kind="reconstruction",
            title=f"{self._options.title}: {len(self._parts)} of {len(self._blocks)}",
            weights={name: array for part in self._parts for name, array in part.weights.items()},
            weight_scales={name: array for part in self._parts for name, array in part.weight_scales.items()},
            biases={name: array for part in self._parts for name, array in part.biases.items()},
        )
        digest = self._session.corrections.add(merged)
        return self._session.plan.with_thresholds(self._tried.plan.thresholds).with_correction(digest)

    def _tell(self, done: int) -> None:
        self._done = done
        self._work.progress(done, len(self._blocks) * self._iterations)

    def _watch(self) -> None:
        """Between iterations."""
        if self._work.cancelled():
            raise Cancelled
        self._tell(self._done + 1)

    def _weights(self) -> Mapping[str, Tensor]:
        """By block output the mean over samples of the model outputs' squared derivative to each element, 1 on average;
        for outputs of the model, and where there are too many elements, none."""
        graph = self._session.graph
        wanted = tuple({value for block in self._blocks for value in block.outputs} - set(graph.outputs))
        if sum(graph.types[value].element_count for value in wanted) > _WEIGHED_ELEMENTS:
            return {}
        felt = felt_values(graph, graph.types)
        model, generator = FloatModel(graph), torch.Generator().manual_seed(self._options.seed)
        total = {value: torch.zeros(graph.types[value].shape) for value in wanted}
        for sample in self._samples[:_WEIGHED_SAMPLES]:
            if self._work.cancelled():
                raise Cancelled
            for value, slopes in output_slopes(model, sample, generator, wanted, felt)[1].items():
                total[value] += slopes.square().mean(0).reshape(total[value].shape)
        return {value: found / found.mean() for value, found in total.items() if bool(found.any())}

    def _reconstruct(self, number: int, block: Block, weights: Mapping[str, Tensor]) -> None:
        """Learn one block, and compute it for all samples."""
        program = self._tried.program()
        data = _gathered(self._walk, program, block, len(self._samples))
        module = IntegerModule(self._tried, block.nodes, self._graphs)
        options = self._options
        learner = BlockLearner(module, block, data, weights, options.batch, options.dropped, options.seed + number)
        if learner.run(self._iterations, options.rates, self._watch):
            program = self._taken(module, f"block {number + 1} learned")
        for place, instruction in enumerate(program.instructions):
            if block.has(instruction):
                self._walk.run_integers(place, instruction)

    def _taken(self, module: IntegerModule, title: str) -> Program:
        """The program with what a module learned; without it, where that changes values of earlier blocks (thresholds
        of logits bound those of masks)."""
        before, correction = self._tried.program(), module.correction(title)
        plan = self._tried.plan.with_thresholds(module.thresholds.current())
        tried = self._tried.with_plan(plan.with_correction(self._session.corrections.add(correction)))
        if not self._walk.exchange(tried.program()):
            return before
        self._parts.append(correction)
        self._tried = tried
        return tried.program()


def is_certain(session: Session, tried: Session, work: Work) -> bool:
    """Whether a session's outputs are better than another's beyond chance, on the samples of the work that no block is
    learned from: the 95 % interval of the gain lies above 0. Raises Cancelled."""
    held = [work.samples[place] for place in parted(len(work.samples))[1]]
    gain = measure(tried, held, work.cancelled).gain_over(measure(session, held, work.cancelled))
    return gain.mean is not None and gain.half_width is not None and gain.mean > gain.half_width


def _gathered(walk: Lockstep, program: Program, block: Block, samples: int) -> BlockData:
    """What the block reads of every sample, and what it is to give, for which it is computed in float."""
    own = [item for item in program.instructions if block.has(item)]
    made = {name for item in own for name in item.outputs}
    read = dict.fromkeys(name for item in own for name in item.inputs if name and name not in program.constants)
    names = [name for name in read if name not in made]
    mixed = [name for name in names if program.types[name].is_quantised and walk.has_float(_graph_value(name))]
    exact = _each(samples, names, walk.integers)
    floats = _each(samples, mixed, lambda sample, name: walk.float_value(sample, _graph_value(name)))
    for item in own:
        walk.run_float(item)
    outputs = [value for value in block.outputs if value in program.types]
    return BlockData(exact, floats, _each(samples, outputs, walk.float_value))


def _graph_value(name: str) -> str:
    """What a seam made a program value of; other values themselves."""
    return name.partition("@")[0]


def _each(samples: int, names: Sequence[str], get: Callable[[int, str], Tensor]) -> Sequence[Mapping[str, Tensor]]:
    return [{name: get(sample, name) for name in names} for sample in range(samples)]
