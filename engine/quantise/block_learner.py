# pyright: reportUnknownMemberType=false
"""The descent of one block of a program towards the float model's; see :mod:`engine.quantise.reconstruct`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from engine.errors import DataError, GraphError
from engine.program.types import Program
from engine.qtype import INTEGER_RANGE
from engine.quantise.blocks import Block
from engine.train.forward import ForwardPass
from engine.train.module import IntegerModule
from engine.train.turns import turn_of

_HELD_SHARE = 4
"""One sample in so many judges a block."""

_WITHIN = 0.45
"""Steps from its integer within which a weight starts."""

_SMALLEST = 1e-30
"""An error below it counts as this much."""

_LEVELS = INTEGER_RANGE["int8"][1]


@dataclass(frozen=True)
class Rates:
    """The largest change of one iteration: of ``weights`` in steps of their scale, of ``biases`` in steps of the unit's
    output, of ``thresholds`` as a share of themselves. They fall to 0 along a cosine."""

    weights: float = 0.01
    biases: float = 0.01
    thresholds: float = 0.001


@dataclass(frozen=True, eq=False)
class BlockData:
    """By sample and value: what a block reads as the program has it (``exact``) and, of quantised values, in float
    (``floats``); and what the float model's block gives (``targets``)."""

    exact: Sequence[Mapping[str, Tensor]]
    floats: Sequence[Mapping[str, Tensor]]
    targets: Sequence[Mapping[str, Tensor]]


@dataclass(frozen=True, eq=False)
class _Knob:
    """A parameter and the largest change of its elements in one iteration."""

    parameter: nn.Parameter
    size: Tensor | float


def parted(samples: int) -> tuple[Sequence[int], Sequence[int]]:
    """The places of samples to learn from, and of those to judge by. Where there are fewer than four, all do both."""
    places = range(samples)
    held = places[_HELD_SHARE - 1 :: _HELD_SHARE]
    return ([place for place in places if place not in held], held) if held else (places, places)


class BlockLearner:
    """Learns the numbers of ``module``, which are those of one block."""

    def __init__(
        self,
        module: IntegerModule,
        block: Block,
        data: BlockData,
        weights: Mapping[str, Tensor],
        batch: int,
        dropped: float,
        seed: int,
    ) -> None:
        """Prepare to learn.

        Args:
            weights: By output of the block, how much the square of each element's error counts; 1 where there is none.
            batch: Samples an iteration.
            dropped: Share of the elements of what the block reads that are the float model's.
        """
        self._module, self._block, self._data, self._weights = module, block, data, weights
        self._batch, self._dropped = batch, dropped
        self._generator = torch.Generator().manual_seed(seed)
        self._fitted, self._held = parted(len(data.exact))
        self._unit = 1.0

    def run(self, iterations: int, rates: Rates, watch: Callable[[], None]) -> bool:
        """Learn, and call ``watch`` before each iteration; whether the block is better on samples that were not learned
        from. It is not where the descent leads to numbers that no program can have."""
        knobs = self._knobs(rates)
        if not self._data.targets[0] or not knobs:
            return False
        self._unit = max(self._error(self._held), _SMALLEST)
        self._start()
        rows = self._rows()
        optimiser = torch.optim.Adam([knob.parameter for knob in knobs], lr=1.0, eps=_SMALLEST)
        try:
            for iteration in range(iterations):
                watch()
                optimiser.zero_grad(set_to_none=True)
                self._descend(rows)
                _change(optimiser, knobs, 0.5 * (1.0 + math.cos(math.pi * iteration / iterations)))
            return self._error(self._held) < 1.0
        except GraphError:
            return False

    def _knobs(self, rates: Rates) -> list[_Knob]:
        module, found = self._module, list[_Knob]()
        for name, parameter in zip(module.weights.names, module.weights.values, strict=True):
            step = module.weights.step(name)
            size = float(parameter.detach().abs().mean()) / _LEVELS if step is None else step.float()
            found.append(_Knob(parameter, rates.weights * size))
        scales = _output_scales(module.program())
        for node, parameter in zip(module.biases.nodes, module.biases.values, strict=True):
            found.append(_Knob(parameter, rates.biases * scales[node]))
        found.append(_Knob(module.thresholds.growths, rates.thresholds))
        return [knob for knob in found if knob.parameter.numel()]

    def _start(self) -> None:
        """Move weights from the middle of their steps to where the float model has them, or nearly so."""
        weights = self._module.weights
        for name, parameter in zip(weights.names, weights.values, strict=True):
            step = weights.step(name)
            if step is not None:
                chosen = torch.clamp(torch.round(parameter.detach() / step), -_LEVELS, _LEVELS)
                own = torch.clamp(self._module.original(name) / step, chosen - _WITHIN, chosen + _WITHIN)
                parameter.data.copy_(own * step)

    def _rows(self) -> int:
        """Samples to run at once: as many as the model takes, where that gives the bits of one after the other."""
        own = self._module.own_rows
        size = turn_of(self._module.bound(own), own, self._batch * own)
        together = size // own
        if together > 1 and len(self._fitted) >= together and self._is_alike(self._fitted[:together], size):
            return together
        return 1

    def _is_alike(self, places: Sequence[int], rows: int) -> bool:
        """Whether samples joined along their first axis give what they give alone."""
        try:
            run = self._module.begin(rows)
        except DataError:
            return False
        one, values = self._module.begin(self._module.own_rows), self._values(places)
        if any(run.graph.types[name].shape != tensor.shape for name, tensor in values.items()):
            return False
        with torch.no_grad():
            self._compute(run, places, 0.0)
            together = dict(run.exact)
            for index, place in enumerate(places):
                self._compute(one, [place], 0.0)
                for name in self._data.targets[0]:
                    alone = one.exact[name]
                    size = len(alone)
                    if not torch.equal(together[name][index * size : (index + 1) * size], alone):
                        return False
        return True

    def _values(self, places: Sequence[int]) -> Mapping[str, Tensor]:
        """The values of the graph that the block reads and gives, of some samples."""
        read = _joined(self._data.exact, places)
        known = self._module.bound(self._module.own_rows).types
        return {name: value for name, value in read.items() if name in known} | _joined(self._data.targets, places)

    def _descend(self, rows: int) -> None:
        """Add up the slopes of a batch."""
        order = torch.randperm(len(self._fitted), generator=self._generator)[: self._batch]
        chosen = [self._fitted[int(place)] for place in order]
        step = rows if len(chosen) % rows == 0 else 1
        run = self._module.begin(step * self._module.own_rows)
        for start in range(0, len(chosen), step):
            places = chosen[start : start + step]
            self._compute(run, places, self._dropped)
            (self._distance(run, places) * (len(places) / len(chosen))).backward()

    def _error(self, places: Sequence[int]) -> float:
        """The mean error of samples, in the unit of the first that was asked for."""
        with torch.no_grad():
            run, total = self._module.begin(self._module.own_rows), 0.0
            for place in places:
                self._compute(run, [place], 0.0)
                total += float(self._distance(run, [place]))
        return total / len(places)

    def _compute(self, run: ForwardPass, places: Sequence[int], dropped: float) -> None:
        """Run the block on some samples; its outputs are then in ``run``."""
        exact, floats = _joined(self._data.exact, places), _joined(self._data.floats, places)
        run.exact, run.smooth = {}, {}
        for name, tensor in exact.items():
            kind = run.program.types[name]
            own = floats.get(name)
            if dropped and own is not None:
                largest = INTEGER_RANGE[kind.dtype][1]
                levels = torch.clamp(torch.round(own / kind.scale), -largest, largest).to(tensor.dtype)
                tensor = torch.where(torch.rand(tensor.shape, generator=self._generator) < dropped, levels, tensor)
            run.exact[name] = tensor
            run.smooth[name] = tensor * kind.scale if kind.is_quantised else tensor
        run.follow(self._block.steps(run.program, exact), frozenset(self._data.targets[0]))

    def _distance(self, run: ForwardPass, places: Sequence[int]) -> Tensor:
        """The weighed mean squared error of the block's outputs, a scalar."""
        errors = [
            ((run.smooth[name] - target).square() * self._weights.get(name, torch.ones(()))).mean()
            for name, target in _joined(self._data.targets, places).items()
        ]
        return torch.stack(errors).sum() / self._unit


def _output_scales(program: Program) -> Mapping[str, float]:
    """By node, the scale of what its unit gives."""
    found: dict[str, float] = {}
    for item in program.instructions:
        kind = program.types[item.outputs[0]]
        found.update(dict.fromkeys(item.nodes, kind.scale if kind.is_quantised else 0.0))
    return found


def _joined(values: Sequence[Mapping[str, Tensor]], places: Sequence[int]) -> dict[str, Tensor]:
    """Values of some samples, joined along their first axis."""
    return {name: torch.cat([values[place][name] for place in places]) for name in values[0]}


def _change(optimiser: torch.optim.Optimizer, knobs: Sequence[_Knob], share: float) -> None:
    """One step of an optimiser whose steps are about 1, scaled to those of the knobs."""
    before = [knob.parameter.detach().clone() for knob in knobs]
    optimiser.step()
    with torch.no_grad():
        for knob, old in zip(knobs, before, strict=True):
            knob.parameter.copy_(old + (knob.parameter - old) * (knob.size * share))
