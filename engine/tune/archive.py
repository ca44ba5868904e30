"""All plans that a search has measured, and the front among them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from engine.tune.front import Costs, dominates
from engine.tune.records import Measured
from engine.tune.space import Genome


@dataclass(frozen=True)
class Found:
    """A measured plan. ``number`` is its place among all; ``is_heuristic``: one of those that a search begins with."""

    number: int
    genome: Genome
    origin: str
    measured: Measured
    is_heuristic: bool

    @cached_property
    def costs(self) -> Costs:
        return self.measured.loss, self.measured.latency_ms, float(self.measured.ddr_bytes)


class Archive:
    """Measured plans by genome, in the order of their measurement; ``front`` are those that no other one dominates."""

    def __init__(self) -> None:
        self._found: dict[Genome, Found] = {}
        self.front: list[Found] = []

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Found]:
        return iter(self._found.values())

    def get(self, genome: Genome) -> Found | None:
        return self._found.get(genome)

    def add(self, genome: Genome, origin: str, measured: Measured, is_heuristic: bool) -> Found:
        """Keep a measurement; one of a genome that is here already stays as it was."""
        known = self._found.get(genome)
        if known is not None:
            return known
        found = Found(len(self._found), genome, origin, measured, is_heuristic)
        self._found[genome] = found
        if not measured.problem and not any(_covers(other.costs, found.costs) for other in self.front):
            self.front = [other for other in self.front if not dominates(found.costs, other.costs)]
            self.front.append(found)
        return found

    @property
    def heuristics(self) -> Sequence[Found]:
        return [found for found in self if found.is_heuristic and not found.measured.problem]

    @property
    def usable(self) -> Sequence[Found]:
        """Those that have a program."""
        return [found for found in self if not found.measured.problem]


def _covers(a: Costs, b: Costs) -> bool:
    return a == b or dominates(a, b)
